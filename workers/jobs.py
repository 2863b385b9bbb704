"""The one function RQ calls: begin an outbox row, run its topic's handler, and say what became of it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.log import get_logger, request_scope
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.outbox import Message
from waterwatch.kernel.settings import Settings
from workers.topics import TOPICS, Topic

LEASE_MARGIN_S = 5.0
log = get_logger(__name__)


def run(row_id: str, lease_no: int) -> None:
    """Do what an outbox row asks. Called in a freshly forked process, which opens its own connections.

    A row that is done, dead or leased anew since is nobody's business here: RQ may call twice, and Redis may have kept
    a ring longer than its lease. Every fault is recorded with the row; none reaches RQ, whose own retries would know
    nothing of the outbox.
    """
    with _context() as context:
        topic_name = _peek(context, uuid.UUID(row_id))
        topic = TOPICS.get(topic_name or "")
        if topic is None:
            log.error("job.unknown_topic", topic=topic_name, row_id=row_id)
            return
        with transaction(context.sessions) as session:
            message = outbox.begin(
                session, uuid.UUID(row_id), lease_no, lease_s=topic.timeout_s + LEASE_MARGIN_S
            )
        if message is None:
            return
        with request_scope(message.request_id):
            _perform(context, topic, message)


def _perform(context: JobContext, topic: Topic, message: Message) -> None:
    if message.attempt > topic.retry.max_attempts:
        _give_up(context, topic, message, message.last_error or "too_many_attempts")
        return
    try:
        topic.handler(context, message)
    except Unavailable as error:
        after_s = float(error.facts.get("retry_after_s", topic.retry.pause_s(message.attempt)))
        _put_back(context, message, after_s, error.error_code)
    except Exception as error:
        log.exception("job.failed", topic=message.topic, row_id=str(message.id), attempt=message.attempt)
        if message.attempt >= topic.retry.max_attempts:
            _give_up(context, topic, message, type(error).__name__)
        else:
            _put_back(context, message, topic.retry.pause_s(message.attempt), type(error).__name__)
    else:
        log.info("job.done", topic=message.topic, row_id=str(message.id), attempt=message.attempt)


def _put_back(context: JobContext, message: Message, after_s: float, error: str) -> None:
    log.warning("job.put_back", topic=message.topic, row_id=str(message.id), after_s=after_s, error=error)
    with transaction(context.sessions) as session:
        outbox.retry(session, message.id, message.lease_no, after_s=after_s, error=error)


def _give_up(context: JobContext, topic: Topic, message: Message, error: str) -> None:
    log.error("job.given_up", topic=message.topic, row_id=str(message.id), error=error)
    if topic.on_dead is not None:
        topic.on_dead(context, message)
    with transaction(context.sessions) as session:
        outbox.bury(session, message.id, message.lease_no, error=error)


def _peek(context: JobContext, row_id: uuid.UUID) -> str | None:
    with transaction(context.sessions) as session:
        row = session.get(outbox.OutboxRow, row_id)
        return row.topic if row else None


@contextmanager
def _context() -> Iterator[JobContext]:
    settings = Settings.from_environ()
    engine = make_engine(settings.database_url, pool_size=2)
    try:
        yield JobContext(settings, make_sessions(engine), ObjectStore(settings.objects_url))
    finally:
        engine.dispose()
