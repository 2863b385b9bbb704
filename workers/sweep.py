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

from waterwatch.casework import pressing
from waterwatch.casework.queries import withheld_long_ago
from waterwatch.contacts import service as contacts
from waterwatch.duplicates import service as duplicates
from waterwatch.escalation import alarms, polling
from waterwatch.inbox import service as inbox
from waterwatch.inbox.queries import to_forget as mails_to_forget
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service as mapping
from waterwatch.notices.letters import CONFIRM_FOR
from waterwatch.officers import service as officers
from waterwatch.photos import forgetting
from waterwatch.photos import service as photos
from waterwatch.postbox import service as postbox
from waterwatch.reports import service as reports
from waterwatch.watches import approaching
from waterwatch.watches import service as watches
from workers import deadlines, papers
from workers.stopping import Stop
from workers.topics import TOPICS

BATCH = 200
KEEP_DONE = timedelta(days=7)
REDACT_AGAIN = timedelta(minutes=10)
STALE_SPOOL_S = 3600.0
STALE_MAP_S = 3600  # of a letter; its further letters come sooner or draw it again
SWEEP = Actor.system("sweep")
log = get_logger(__name__)

_ORIGINALS_DUE = text("""
SELECT id FROM photo WHERE original_key IS NOT NULL AND original_delete_after < :now
ORDER BY original_delete_after LIMIT :limit
""")
_UNCLAIMED = text("""
SELECT id FROM photo WHERE unclaimed_until < :now AND state IN ('ready', 'refused')
ORDER BY unclaimed_until LIMIT :limit
""")
# Reports that have ended so long ago that nobody needs to reach their authors; addresses that never answered.
_CONTACTS_DUE = text("""
SELECT r.id AS report_id, 'ended' AS reason FROM report r
WHERE r.state_since < :ended_before AND (
    r.state IN ('refused', 'withdrawn') OR (r.state IN ('accepted', 'merged') AND NOT EXISTS (
        SELECT FROM incident_report ir JOIN incident i ON i.id = ir.incident_id
        WHERE ir.report_id = r.id AND (i.closed_at IS NULL OR i.closed_at >= :ended_before))))
  AND (EXISTS (SELECT FROM report_contact c WHERE c.report_id = r.id)
    OR EXISTS (SELECT FROM push_subscription s WHERE s.report_id = r.id))
UNION ALL
SELECT c.report_id, 'unconfirmed' FROM report_contact c
WHERE c.by_mail AND NOT c.may_ask AND c.confirmed_at IS NULL AND c.created_at < :asked_before
LIMIT :limit
""")
# Reports that were refused so long ago that nothing of them serves anybody; one withdrawn before that erased it.
_ERASURES_DUE = text("""
SELECT id FROM report WHERE erased_at IS NULL AND (state = 'withdrawn' OR state = 'refused' AND state_since < :before)
ORDER BY state_since LIMIT :limit
""")
_REDACTIONS_FORGOTTEN = text("""
SELECT p.id FROM photo p WHERE p.redaction_wanted_at < :before AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'photos.redact' AND o.payload ->> 'photo_id' = p.id::text
      AND (o.done_at IS NULL AND o.dead_at IS NULL OR o.created_at > :before))
ORDER BY p.redaction_wanted_at LIMIT :limit
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
            key = forgetting.forget_original(session, photo_id, now=context.now())
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
            keys = forgetting.forget_unclaimed(session, photo_id, now=context.now())
        for key in keys:
            context.objects.delete(key)
    return len(due)


def erase_ended(context: JobContext) -> int:
    """What was refused so long ago that originals would be deleted: its place, words and photos, as if withdrawn."""
    before = context.now() - timedelta(days=context.settings.original_retention_days)
    with transaction(context.sessions) as session:
        due = session.execute(_ERASURES_DUE, {"before": before, "limit": BATCH}).scalars().all()
    for report_id in due:
        with transaction(context.sessions) as session:
            reports.erase_ended(session, report_id, before=before, actor=SWEEP, now=context.now())
    return len(due)


def forget_devices(context: JobContext) -> int:
    """Devices remembered for long enough, in the reports and in what was found alike by them."""
    before = context.now() - timedelta(seconds=context.settings.device_memory_s)
    with transaction(context.sessions) as session:
        return reports.forget_devices(session, before=before) + duplicates.forget_devices(session, before=before)


def forget_contacts(context: JobContext) -> int:
    """Ways to reach authors whose reports ended long ago, and addresses that never said they want to be written to."""
    now = context.now()
    values = {
        "ended_before": now - timedelta(days=context.settings.contact_retention_days),
        "asked_before": now - CONFIRM_FOR,
        "limit": BATCH,
    }
    with transaction(context.sessions) as session:
        due = session.execute(_CONTACTS_DUE, values).all()
    for row in due:
        erase = contacts.erase_contact if row.reason == "unconfirmed" else contacts.erase
        with transaction(context.sessions) as session:
            erase(session, row.report_id, row.reason, actor=SWEEP, now=now)
    return len(due)


def forget_watches(context: JobContext) -> int:
    """Addresses that were asked whether they want to watch a water, and never said so; who was told of warnings that
    ended long ago."""
    with transaction(context.sessions) as session:
        told = approaching.forget_told(session, now=context.now())
        return told + watches.forget_unconfirmed(session, actor=SWEEP, now=context.now(), limit=BATCH)


def forget_addressees(context: JobContext) -> int:
    """Which addresses were written to a day ago."""
    with transaction(context.sessions) as session:
        return postbox.forget_digests(session, now=context.now())


def ask_cities(context: JobContext) -> int:
    """Cities' Open311 servers that have something to be asked: a round for each. Returns how many were ordered."""
    with transaction(context.sessions) as session:
        return polling.order(session, now=context.now())


def forget_mails(context: JobContext) -> int:
    """Mails that came in and were kept for long enough: what they say goes first, then the file."""
    now = context.now()
    with transaction(context.sessions) as session:
        due = mails_to_forget(session, now=now, limit=BATCH)
    for mail_id in due:
        with transaction(context.sessions) as session:
            key = inbox.forget(session, mail_id, now=now)
        if key is not None:
            context.objects.delete(key)
    return len(due)


def forget_notes(context: JobContext) -> int:
    """What officers noted of cases that were taken back, or ended a year ago."""
    with transaction(context.sessions) as session:
        return officers.forget_notes(session, now=context.now())


def redact_again(context: JobContext) -> int:
    """Pictures that should long show what their redactions say, and that nobody is working on. Returns how many.

    An order that was given up is tried again only as often as this: a change no machine can carry out is in the log.
    """
    now = context.now()
    with transaction(context.sessions) as session:
        due = session.execute(_REDACTIONS_FORGOTTEN, {"before": now - REDACT_AGAIN, "limit": BATCH}).scalars().all()
        for photo_id in due:
            outbox.emit(session, photos.TOPIC_REDACT, {"photo_id": str(photo_id)}, now=now)
    return len(due)


def erase_withheld(context: JobContext) -> int:
    """Answers of agencies that were withheld long ago: their words and pictures."""
    before = context.now() - timedelta(days=context.settings.withheld_retention_days)
    with transaction(context.sessions) as session:
        due = withheld_long_ago(session, before=before, limit=BATCH)
    for answer_id in due:
        with transaction(context.sessions) as session:
            pressing.erase_withheld(session, answer_id, actor=SWEEP, now=context.now())
    return len(due)


def tell_leads_again(context: JobContext) -> int:
    """Cases that reached nobody, of which no lead has been told for an hour."""
    with transaction(context.sessions) as session:
        return alarms.tell_again(session, now=context.now())


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
    named = (*spool.glob("sanitise-*"), *spool.glob("redact-*"), *spool.glob("evidence-*"))
    folders = [folder for folder in named if folder.is_dir() and not folder.is_symlink()]
    inside = [path for folder in folders for path in sorted(folder.rglob("*"), reverse=True)]
    stale = [(path, now - STALE_SPOOL_S) for path in (*inside, *folders, *spool.glob("*.part"))]
    stale += [(path, now - STALE_MAP_S) for path in spool.glob("map-*.png")]
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
    deadlines.remind_agencies,
    deadlines.pass_over_slow,
    forget_originals,
    forget_unclaimed,
    erase_ended,
    forget_devices,
    forget_contacts,
    forget_watches,
    forget_addressees,
    ask_cities,
    forget_mails,
    forget_notes,
    redact_again,
    erase_withheld,
    tell_leads_again,
    prune_outbox,
    clear_spool,
    renew_publication,
    papers.show_figures,
    papers.propose_bulletins,
    papers.recall_bulletins,
)
