"""The sweep: watches every state's deadline, seals the audit, forgets what must be forgotten.

Each duty runs in transactions of its own; one that fails is logged and tried again at the next round, and never keeps
the others from running. Every duty is idempotent, so several sweeps may run at once.
"""

import contextlib
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from waterwatch.kernel import audit, outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service as mapping
from waterwatch.photos import service as photos
from waterwatch.reports import service as reports
from workers import deadlines
from workers.stopping import Stop
from workers.topics import TOPICS

BATCH = 200
KEEP_DONE = timedelta(days=7)
STALE_SPOOL_S = 3600.0
log = get_logger(__name__)

_ORIGINALS_DUE = text("""
SELECT id FROM photo WHERE original_key IS NOT NULL AND original_delete_after < :now
ORDER BY original_delete_after LIMIT :limit
""")
_UNCLAIMED = text("""
SELECT id FROM photo WHERE unclaimed_until < :now AND state IN ('ready', 'refused')
ORDER BY unclaimed_until LIMIT :limit
""")
_PUBLICATION_DUE = text("""
SELECT NOT EXISTS (SELECT FROM publication WHERE published_at > now() - make_interval(secs => :age_s))
   AND NOT EXISTS (SELECT FROM outbox WHERE topic = 'mapping.publish' AND done_at IS NULL AND dead_at IS NULL)
   AND EXISTS (SELECT FROM water_feature)
""")
_STRAYS = text("""
SELECT topic, count(*)::int AS rows FROM outbox
WHERE done_at IS NULL AND dead_at IS NULL AND NOT topic = ANY(:known) GROUP BY topic
""")


def run(settings: Settings, stop: Stop) -> None:
    """Sweep every ``settings.sweep_every_s`` until told to stop."""
    engine = make_engine(settings.database_url, pool_size=2)
    watchman = Sweep(JobContext(settings, make_sessions(engine), ObjectStore(settings.objects_url)))
    while not stop.is_set():
        watchman.round()
        stop.wait(settings.sweep_every_s)
    engine.dispose()


class Sweep:
    """Round after round; remembers only what it has last said, so that the log is not told the same every time."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._said: dict[str, int] = {}

    def round(self) -> dict[str, int]:
        """One round; returns what each duty did, by name. A duty that failed is missing."""
        done: dict[str, int] = {}
        for duty in DUTIES:
            try:
                done[duty.__name__] = duty(self._context)
            except Exception:
                log.exception("sweep.duty_failed", duty=duty.__name__)
        if any(done.values()):
            log.info("sweep.done", **{name: count for name, count in done.items() if count})
        try:
            self._say_what_is_late()
        except Exception:
            log.exception("sweep.duty_failed", duty="say_what_is_late")
        return done

    def _say_what_is_late(self) -> None:
        """What waits for a person past its deadline, and rows nobody knows how to work on; said when it changes."""
        found = late(self._context)
        for what in sorted(found.keys() | self._said.keys()):
            if found.get(what) != self._said.get(what):
                log.warning("sweep.late", what=what, rows=found.get(what, 0))
        self._said = found


def late(context: JobContext) -> dict[str, int]:
    """Counts of what no duty of the sweep can help: ``table.state`` past its deadline, ``topic:name`` without a job."""
    with transaction(context.sessions) as session:
        overdue = deadlines.overdue(session, now=context.now())
        strays = session.execute(_STRAYS, {"known": list(TOPICS)}).all()
    found = {".".join(key): rows for key, rows in overdue.items() if deadlines.REMEDIES.get(key) is None}
    return found | {f"topic:{row.topic}": row.rows for row in strays}


def seal_audit(context: JobContext) -> int:
    """Give new audit entries their place in the hash chain."""
    with transaction(context.sessions) as session:
        return audit.seal(session, now=context.now())


def forget_originals(context: JobContext) -> int:
    """Sealed originals whose retention is over: the reference goes first, then the file; reconcile finds a leftover."""
    with transaction(context.sessions) as session:
        due = session.execute(_ORIGINALS_DUE, {"now": context.now(), "limit": BATCH}).scalars().all()
    for photo_id in due:
        with transaction(context.sessions) as session:
            key = photos.forget_original(session, photo_id, now=context.now())
            reports.forget_stated(session, photo_id)
        if key is not None:
            context.objects.delete(key)
    return len(due)


def forget_unclaimed(context: JobContext) -> int:
    """Photos that no report named in time: the row goes first, then its objects; reconcile finds a leftover."""
    with transaction(context.sessions) as session:
        due = session.execute(_UNCLAIMED, {"now": context.now(), "limit": BATCH}).scalars().all()
    for photo_id in due:
        with transaction(context.sessions) as session:
            keys = photos.forget_unclaimed(session, photo_id, now=context.now())
        for key in keys:
            context.objects.delete(key)
    return len(due)


def prune_outbox(context: JobContext) -> int:
    """Rows done long ago."""
    with transaction(context.sessions) as session:
        return outbox.prune(session, older_than=KEEP_DONE)


def clear_spool(context: JobContext) -> int:
    """Files of uploads and decodings that died half-way: those that we name so, whatever else lies there.

    A file somebody else removes meanwhile is as good.
    """
    now, removed = time.time(), 0
    spool = Path(context.settings.spool_dir)
    folders = [folder for folder in spool.glob("sanitise-*") if folder.is_dir() and not folder.is_symlink()]
    inside = [path for folder in folders for path in sorted(folder.rglob("*"), reverse=True)]
    stale = [(path, now - STALE_SPOOL_S) for path in (*inside, *folders, *spool.glob("*.part"))]
    stale += [(path, now - context.settings.upload_keep_s) for path in spool.glob("*.upload")]
    if (bodies := context.settings.proxy_bodies_dir) is not None:  # of a proxy that was killed
        stale += [(path, now - STALE_SPOOL_S) for path in bodies.glob("[0-9]" * 10 + "*")]
    for path, horizon in stale:
        with contextlib.suppress(OSError):  # gone already, or a folder in which something younger lies
            if path.lstat().st_mtime < horizon:
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
                removed += 1
    return removed


def renew_publication(context: JobContext) -> int:
    """A map never published, or published so long ago that its readers would be told it is stale."""
    values = {"age_s": context.settings.published_stale_after_s / 2}
    with transaction(context.sessions) as session:
        is_due = bool(session.execute(_PUBLICATION_DUE, values).scalar_one())
        if is_due:
            mapping.request_publication(session, now=context.now())
        return int(is_due)


DUTIES: tuple[Callable[[JobContext], int], ...] = (
    seal_audit,
    # Each remedy once, however many states it serves, in the order of the table.
    *dict.fromkeys(remedy for remedy in deadlines.REMEDIES.values() if remedy is not None),
    forget_originals,
    forget_unclaimed,
    prune_outbox,
    clear_spool,
    renew_publication,
)
