"""Publishing the public map: files named by their content, pages, and one pointer that is written last.

Any static host can serve what is published; with the application stopped the map still stands. Readers see the old map
or the new one, never half of each, wherever a publisher is killed. What one run costs grows with what has changed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.outbox import Message
from waterwatch.mapping import archive, publishing_pages, publishing_site
from waterwatch.mapping.publishing_run import Run
from waterwatch.mapping.shelf import open_shelf

TOPIC_PUBLISH = "mapping.publish"
TOPIC_ARCHIVE = "mapping.archive"
PUBLISHER_LOCK = 0x57415445_4D415031  # "WATE MAP1": the advisory lock of the one publisher
WAIT_FOR_ANOTHER_S = 20
log = get_logger(__name__)


def request_publication(session: Session, *, now: datetime) -> None:
    """Ask, in the caller's transaction, that the map be published anew."""
    outbox.emit(session, TOPIC_PUBLISH, {}, now=now, priority=outbox.NORMAL)


def publish(context: JobContext, message: Message) -> None:
    """Publish the present truth; one run serves every request that waits.

    Idempotent: files are named by their content, so a repeated run finds them there; the pointer and the pages are
    replaced whole. Requests are absorbed before anything is read, so what they ask for is in what is read. One
    publisher at a time, on however many machines: a second one waits, then finds little to do.

    Raises :class:`Unavailable` when the folder or the bucket cannot be written: the old map stands meanwhile.
    """
    with _alone(context) as still_alone:
        with transaction(context.sessions) as session:
            outbox.absorb(session, message)
        try:
            is_whole = _publish(context, still_alone)
        except Unavailable as trouble:
            log.error("publication.not_written", code=trouble.error_code, **trouble.facts)
            raise
        with transaction(context.sessions) as session:
            if not is_whole:  # the pages that were left for later, so that the next change of level need not wait
                request_publication(session, now=context.now())
            outbox.finish(session, message.id)


def _publish(context: JobContext, still_alone: Callable[[], None]) -> bool:
    """Levels, incidents and history first, then the pointer; what it superseded goes, and pages come last.

    Whether nothing was left for later.
    """
    run = Run(context, open_shelf(context.settings), context.now())
    state = run.read()
    _order_archive(context, run.tiles_ground)
    run.write_details(state)
    publishing_site.write(run)
    still_alone()
    run.point()
    run.clear(state)
    return publishing_pages.write(run, state)


def build_archive(context: JobContext, message: Message) -> None:
    """Build the archive of the geometry that is now, put it on the shelf and ask for a publication that names it.

    Idempotent and resumable: the pieces of a build that was killed are found again; the file is named by its content.
    """
    with transaction(context.sessions) as session:
        outbox.absorb(session, message)
    folder = context.settings.spool_dir / "archive"
    path = archive.ensure(context, folder=folder)
    known = archive.latest(context, folder=folder)
    run = Run(context, open_shelf(context.settings), context.now())
    run.shelve_archive(path, ground=known[0] if known is not None else "")
    with transaction(context.sessions) as session:
        request_publication(session, now=context.now())
        outbox.finish(session, message.id)
    for old in folder.glob("waters.*.pmtiles"):
        if old != path:
            old.unlink(missing_ok=True)


def _order_archive(context: JobContext, published_ground: str | None) -> None:
    """When the waters are others than those of the archive that is published, let it be built: it takes its time."""
    with transaction(context.sessions) as session:
        ground = archive.fingerprint(session)
        if ground is not None and ground == published_ground:
            return
        waiting = text("SELECT FROM outbox WHERE topic = :topic AND done_at IS NULL AND dead_at IS NULL LIMIT 1")
        if session.execute(waiting, {"topic": TOPIC_ARCHIVE}).first() is None:
            outbox.emit(session, TOPIC_ARCHIVE, {}, now=context.now(), priority=outbox.BACKGROUND)


@contextmanager
def _alone(context: JobContext) -> Iterator[Callable[[], None]]:
    """Hold the publisher's lock, on a connection of its own and without a transaction; it ends with the process.

    Gives a question to ask before the pointer is written: a database that was started anew meanwhile has forgotten the
    lock, and another publisher may have written a newer map. Then it raises :class:`Unavailable`.
    """
    engine = context.sessions.kw["bind"]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"SET lock_timeout = '{WAIT_FOR_ANOTHER_S}s'"))
        try:
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": PUBLISHER_LOCK})
        except OperationalError:
            raise Unavailable("another_publishes", retry_after_s=1.0) from None

        def still() -> None:
            try:
                connection.execute(text("SELECT 1"))
            except SQLAlchemyError:
                raise Unavailable("lock_was_lost", retry_after_s=1.0) from None

        try:
            yield still
        finally:
            with suppress(SQLAlchemyError):  # a lost connection has let the lock go by itself
                connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": PUBLISHER_LOCK})
                connection.execute(text("RESET lock_timeout"))
