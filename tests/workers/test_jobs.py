"""What becomes of a row when its handler ends, in whatever way."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from rq.timeouts import JobTimeoutException
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.workers.programs import environment
from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.log import current_request_id, request_scope
from waterwatch.kernel.outbox import Message
from waterwatch.kernel.settings import Settings
from workers import jobs
from workers.teams import MAP
from workers.topics import Retry, Topic

Run = Callable[..., Any]
POLICY = Retry(10, 30, 3)


@pytest.fixture
def run(settings: Settings, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one row under a handler of the test's own, as RQ would; gives the row afterwards."""
    for name, value in environment(settings).items():
        if name != "PYTHONPATH":
            monkeypatch.setenv(name, value)

    def run(
        handler: Callable[[JobContext, Message], None],
        *,
        retry: Retry = POLICY,
        on_dead: Callable[[JobContext, Message], None] | None = None,
        before: str | None = None,
    ) -> Any:
        monkeypatch.setattr(jobs, "TOPICS", {"tests.topic": Topic(handler, MAP, 10, retry, on_dead)})
        with request_scope("request-7"), transaction(sessions) as session:
            outbox.emit(session, "tests.topic", {}, now=datetime.now(UTC))
        with transaction(sessions) as session:
            if before is not None:
                session.execute(text(f"UPDATE outbox SET {before}"))
            (ring,) = outbox.lease(session, window=8, lease_s=30)
        jobs.run(str(ring.id), ring.lease_no)
        with transaction(sessions) as session:
            return session.execute(text("SELECT *, available_at > now() AS waits FROM outbox")).one()

    return run


def finish(context: JobContext, message: Message) -> None:
    with transaction(context.sessions) as session:
        outbox.finish(session, message.id)


def raising(error: Exception) -> Callable[[JobContext, Message], None]:
    def handler(_context: JobContext, _message: Message) -> None:
        raise error

    return handler


def lose_the_database(context: JobContext, _message: Message) -> None:
    with transaction(context.sessions) as session:
        session.connection().connection.dbapi_connection.close()  # type: ignore[union-attr]
        session.execute(text("SELECT 1"))


def test_what_succeeded_is_done(run: Run) -> None:
    found = run(finish)
    assert (found.done_at is not None, found.attempts, found.last_error) == (True, 1, None)


def test_a_job_runs_under_the_request_that_asked_for_it(run: Run) -> None:
    heard: list[str | None] = []
    run(lambda _context, _message: heard.append(current_request_id()))
    assert heard == ["request-7"]


def test_a_fault_is_counted_and_tried_again_later(run: Run) -> None:
    found = run(raising(KeyError("x")))
    assert (found.attempts, found.last_error, found.leased_until, found.waits) == (1, "KeyError", None, True)


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (raising(Unavailable("objects_unavailable", retry_after_s=60)), "objects_unavailable"),
        (raising(OSError(28, "No space left on device")), "OSError"),
        (lose_the_database, "OperationalError"),
        (raising(JobTimeoutException("60 s")), "JobTimeoutException"),
    ],
    ids=["unavailable", "disk", "database", "time"],
)
def test_what_is_not_the_jobs_fault_is_not_counted(
    run: Run, handler: Callable[[JobContext, Message], None], error: str
) -> None:
    found = run(handler)
    assert (found.attempts, found.last_error, found.leased_until, found.waits) == (0, error, None, True)


def test_the_last_fault_buries_and_tells(run: Run) -> None:
    told: list[int] = []
    found = run(
        raising(KeyError("x")),
        on_dead=lambda _context, message: told.append(message.attempt),
        before="attempts = 2, lease_no = 2",
    )
    assert (found.dead_at is not None, found.last_error, told) == (True, "KeyError", [3])


def test_work_that_killed_its_workers_too_often_is_not_begun_again(run: Run) -> None:
    told: list[int] = []
    found = run(
        lambda _context, _message: pytest.fail("it ran"),
        on_dead=lambda _context, message: told.append(message.attempt),
        before="attempts = 3, lease_no = 3, last_error = 'killed_by_signal_9'",
    )
    assert (found.dead_at is not None, found.last_error, told) == (True, "killed_by_signal_9", [4])


def test_waiting_for_others_ends_when_the_row_is_too_old(run: Run) -> None:
    found = run(
        raising(Unavailable("smtp_away", retry_after_s=5)),
        retry=Retry(1, 30, None, give_up_s=3600),
        before="created_at = now() - interval '2 hours'",
    )
    assert (found.dead_at is not None, found.last_error) == (True, "smtp_away")


def test_nothing_is_buried_before_somebody_was_told(run: Run) -> None:
    found = run(
        raising(KeyError("x")),
        on_dead=raising(Unavailable("busy", retry_after_s=9)),
        before="attempts = 2, lease_no = 2",
    )
    assert (found.dead_at, found.leased_until, found.attempts) == (None, None, 3)


def test_a_row_that_is_done_is_not_worked_on_again(run: Run, sessions: sessionmaker[Session]) -> None:
    found = run(finish)
    jobs.run(str(found.id), found.lease_no)
    with transaction(sessions) as session:
        assert session.execute(text("SELECT attempts FROM outbox")).scalar_one() == 1
