"""The sweep: watches every state's deadline, seals the audit, forgets what must be forgotten.

Each duty runs in transactions of its own; one that fails is logged and tried again at the next round, and never keeps
the others from running. Every duty is idempotent, so several sweeps may run at once.
"""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.escalation import service as escalation
from waterwatch.incidents.queries import overdue_incidents
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import DomainError
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service as mapping
from waterwatch.moderation import service as moderation
from waterwatch.photos import service as photos

BATCH = 200
KEEP_DONE = timedelta(days=7)
STALE_SPOOL_S = 3600.0
log = get_logger(__name__)

# Work that should be under way but has no open outbox row any more is ordered again.
_PHOTOS_FORGOTTEN = text("""
SELECT p.id FROM photo p
WHERE p.state IN ('received', 'sanitising') AND p.state_deadline_at < :now AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'photos.sanitise' AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.payload ->> 'photo_id' = p.id::text)
ORDER BY p.state_deadline_at LIMIT :limit
""")
_REPORTS_FORGOTTEN = text("""
SELECT DISTINCT ON (r.id) rp.photo_id
FROM report r JOIN report_photo rp ON rp.report_id = r.id
WHERE r.state IN ('received', 'sanitising') AND r.state_deadline_at < :now
  AND NOT EXISTS (SELECT FROM report_photo x JOIN photo p ON p.id = x.photo_id
                  WHERE x.report_id = r.id AND p.state NOT IN ('ready', 'refused'))
  AND NOT EXISTS (SELECT FROM outbox o JOIN report_photo x ON o.payload ->> 'photo_id' = x.photo_id::text
                  WHERE x.report_id = r.id AND o.topic = 'photos.settled' AND o.done_at IS NULL AND o.dead_at IS NULL)
ORDER BY r.id LIMIT :limit
""")
_DELIVERIES_FORGOTTEN = text("""
SELECT d.id FROM delivery d
WHERE d.state IN ('pending', 'sending') AND d.state_deadline_at < :now AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'escalation.deliver' AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.payload ->> 'delivery_id' = d.id::text)
ORDER BY d.state_deadline_at LIMIT :limit
""")
_ORIGINALS_DUE = text("""
SELECT id FROM photo WHERE original_key IS NOT NULL AND original_delete_after < :now
ORDER BY original_delete_after LIMIT :limit
""")
_PUBLICATION_DUE = text("""
SELECT NOT EXISTS (SELECT FROM publication WHERE published_at > now() - make_interval(secs => :age_s))
   AND NOT EXISTS (SELECT FROM outbox WHERE topic = 'mapping.publish' AND done_at IS NULL AND dead_at IS NULL)
   AND EXISTS (SELECT FROM water_feature)
""")
# What nobody but a person can hurry: counted, logged, shown; the department's parent is told in a later version.
_OVERDUE = text("""
SELECT 'report' AS kind, state, count(*)::int AS rows FROM report WHERE state = 'in_review' AND state_deadline_at < :now
GROUP BY state
UNION ALL
SELECT 'case', state, count(*)::int FROM escalation_case WHERE state_deadline_at < :now GROUP BY state
""")


def run(settings: Settings, stop: threading.Event) -> None:
    """Sweep every ``settings.sweep_every_s`` until told to stop."""
    engine = make_engine(settings.database_url, pool_size=2)
    context = JobContext(settings, make_sessions(engine), ObjectStore(settings.objects_url))
    while not stop.is_set():
        sweep(context)
        stop.wait(settings.sweep_every_s)
    engine.dispose()


def sweep(context: JobContext) -> dict[str, int]:
    """One round; returns what each duty did, by name. A duty that failed is missing."""
    done: dict[str, int] = {}
    for duty in DUTIES:
        try:
            done[duty.__name__] = duty(context)
        except Exception:
            log.exception("sweep.duty_failed", duty=duty.__name__)
    if any(done.values()):
        log.info("sweep.done", **{name: count for name, count in done.items() if count})
    return done


def seal_audit(context: JobContext) -> int:
    """Give new audit entries their place in the hash chain."""
    with transaction(context.sessions) as session:
        return audit.seal(session, now=context.now())


def reorder_photos(context: JobContext) -> int:
    """Photos that should have been sanitised by now."""

    def order(session: Session, photo_id: uuid.UUID) -> None:
        outbox.emit(session, photos.TOPIC_SANITISE, {"photo_id": str(photo_id)}, now=context.now())

    return _for_each(context, _PHOTOS_FORGOTTEN, order)


def reorder_reports(context: JobContext) -> int:
    """Reports whose photos are all settled, but which have not moved on."""

    def order(session: Session, photo_id: uuid.UUID) -> None:
        outbox.emit(session, photos.TOPIC_SETTLED, {"photo_id": str(photo_id)}, now=context.now())

    return _for_each(context, _REPORTS_FORGOTTEN, order)


def reorder_deliveries(context: JobContext) -> int:
    """Deliveries nobody is trying any more."""

    def order(session: Session, delivery_id: uuid.UUID) -> None:
        outbox.emit(session, escalation.TOPIC_DELIVER, {"delivery_id": str(delivery_id)}, now=context.now())

    return _for_each(context, _DELIVERIES_FORGOTTEN, order)


def step_incidents_down(context: JobContext) -> int:
    """Incidents nobody confirmed for too long lose a colour."""
    with transaction(context.sessions) as session:
        due = overdue_incidents(session, now=context.now(), limit=BATCH)
    for incident_id in due:
        try:
            with transaction(context.sessions) as session:
                moderation.step_down(session, incident_id, now=context.now())
        except DomainError as error:
            log.warning("sweep.incident_left", incident_id=str(incident_id), error=error.error_code)
    return len(due)


def forget_originals(context: JobContext) -> int:
    """Sealed originals whose retention is over: the reference goes first, then the file; reconcile finds a leftover."""
    with transaction(context.sessions) as session:
        due = session.execute(_ORIGINALS_DUE, {"now": context.now(), "limit": BATCH}).scalars().all()
    for photo_id in due:
        with transaction(context.sessions) as session:
            key = photos.forget_original(session, photo_id, now=context.now())
        if key is not None:
            context.objects.delete(key)
    return len(due)


def prune_outbox(context: JobContext) -> int:
    """Rows done long ago."""
    with transaction(context.sessions) as session:
        return outbox.prune(session, older_than=KEEP_DONE)


def clear_spool(context: JobContext) -> int:
    """Files of uploads and decodings that died half-way."""
    horizon, removed = time.time() - STALE_SPOOL_S, 0
    for path in sorted(Path(context.settings.spool_dir).rglob("*"), reverse=True):
        if path.lstat().st_mtime < horizon:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
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


def count_overdue(context: JobContext) -> int:
    """Reports waiting for a moderator and cases waiting for a department past their deadline."""
    with transaction(context.sessions) as session:
        rows = session.execute(_OVERDUE, {"now": context.now()}).all()
    for row in rows:
        log.warning("sweep.overdue", kind=row.kind, state=row.state, rows=row.rows)
    return 0


DUTIES: tuple[Callable[[JobContext], int], ...] = (
    seal_audit,
    reorder_photos,
    reorder_reports,
    reorder_deliveries,
    step_incidents_down,
    forget_originals,
    prune_outbox,
    clear_spool,
    renew_publication,
    count_overdue,
)


def _for_each(context: JobContext, query: object, act: Callable[[Session, uuid.UUID], None]) -> int:
    with transaction(context.sessions) as session:
        found = session.execute(query, {"now": context.now(), "limit": BATCH}).scalars().all()  # type: ignore[call-overload]
        for row_id in found:
            act(session, row_id)
        return len(found)
