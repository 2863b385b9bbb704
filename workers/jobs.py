"""The one function RQ calls: begin an outbox row, run its topic's handler, and say what became of it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from rq.timeouts import JobTimeoutException
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.log import get_logger, request_scope
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.outbox import Message
from waterwatch.kernel.settings import Settings
from workers.topics import TOPICS, Topic

# Faults of the surroundings (a server restarting, a full disk, a lost connection): they say nothing about the work. Nor
# does the end of a job's time by the clock: what computes has limits of its own, what is left is waiting for others.
SURROUNDINGS = (OperationalError, InterfaceError, PoolTimeout, OSError, JobTimeoutException)
log = get_logger(__name__)


def run(row_id: str, lease_no: int) -> None:
    """Do what an outbox row asks. Called in a freshly forked process, which opens its own connections.

    A row that is done, dead or leased anew since is nobody's business here: RQ may call twice, and Redis may have kept
    a ring longer than its lease. Every fault is recorded with the row; none reaches RQ, whose own retries would know
    nothing of the outbox. Where the database itself is away there is nothing to record it in: the lease runs out.
    """
    try:
        with _context() as context:
            with transaction(context.sessions) as session:
                lease_s = context.settings.outbox_lease_s
                message = outbox.begin(session, uuid.UUID(row_id), lease_no, lease_s=lease_s)
            if message is not None:
                with request_scope(message.request_id):
                    _perform(context, message)
    except SQLAlchemyError as error:
        log.warning("job.left_to_its_lease", row_id=row_id, error=type(error).__name__)


def _perform(context: JobContext, message: Message) -> None:
    topic = TOPICS[message.topic]  # the relay rings for no other
    limit = topic.retry.max_attempts
    if limit is not None and message.attempt > limit:  # its workers were killed, so nobody could give it up
        _give_up(context, topic, message, message.last_error or "too_many_attempts")
        return
    try:
        topic.handler(context, message)
    except Unavailable as error:
        after_s = float(error.facts.get("retry_after_s", topic.retry.pause_s(message.lease_no)))
        _put_back(context, topic, message, after_s, error.error_code)
    except Exception as error:
        name = type(error).__name__
        if isinstance(error, SURROUNDINGS) or (isinstance(error, DBAPIError) and error.connection_invalidated):
            _put_back(context, topic, message, topic.retry.pause_s(message.lease_no), name)
        else:
            _record_fault(context, topic, message, name)
    else:
        log.info("job.done", topic=message.topic, row_id=str(message.id), attempt=message.attempt)


def _put_back(context: JobContext, topic: Topic, message: Message, after_s: float, error: str) -> None:
    """Somebody else is to blame: again later, without counting, until the row is too old."""
    if topic.retry.is_over(0, message.age.total_seconds()):
        _give_up(context, topic, message, error)
        return
    log.warning("job.put_back", topic=message.topic, row_id=str(message.id), after_s=after_s, error=error)
    with transaction(context.sessions) as session:
        outbox.retry(session, message.id, message.lease_no, after_s=after_s, error=error, is_counted=False)


def _record_fault(context: JobContext, topic: Topic, message: Message, error: str) -> None:
    """The work itself failed, by its own fault or by ours."""
    log.exception("job.failed", topic=message.topic, row_id=str(message.id), attempt=message.attempt)
    if topic.retry.is_over(message.attempt, message.age.total_seconds()):
        _give_up(context, topic, message, error)
        return
    after_s = topic.retry.pause_s(message.attempt)
    with transaction(context.sessions) as session:
        outbox.retry(session, message.id, message.lease_no, after_s=after_s, error=error)


def _give_up(context: JobContext, topic: Topic, message: Message, error: str) -> None:
    """Tell whoever must know, then bury. Killed in between, it is done again: what ``on_dead`` does is idempotent."""
    log.error("job.given_up", topic=message.topic, row_id=str(message.id), error=error)
    try:
        if topic.on_dead is not None:
            topic.on_dead(context, message)
    except Unavailable as busy:
        after_s = float(busy.facts.get("retry_after_s", topic.retry.cap_s))
        with transaction(context.sessions) as session:
            outbox.retry(session, message.id, message.lease_no, after_s=after_s, error=error)
        return
    with transaction(context.sessions) as session:
        outbox.bury(session, message.id, message.lease_no, error=error)


@contextmanager
def _context() -> Iterator[JobContext]:
    settings = Settings.from_environ()
    engine = make_engine(settings.database_url, pool_size=2)
    try:
        yield JobContext(settings, make_sessions(engine), ObjectStore(settings.objects_url))
    finally:
        engine.dispose()
