"""The outbox: leases, windows, attempts, dead letters."""

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.kernel import outbox
from waterwatch.kernel.db import transaction
from waterwatch.kernel.log import request_scope

PAST = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)


def emit(session: Session, topic: str = "t", **options: Any) -> None:
    outbox.emit(session, topic, {"n": 1}, now=PAST, **options)


def begun(session: Session, *, lease_s: float = 30) -> outbox.Message:
    """The one open row, leased and begun."""
    (ring,) = outbox.lease(session, window=8, lease_s=lease_s)
    message = outbox.begin(session, ring.id, ring.lease_no, lease_s=lease_s)
    assert message is not None
    return message


def row(session: Session, row_id: uuid.UUID) -> Any:
    return session.execute(text("SELECT * FROM outbox WHERE id = :id"), {"id": row_id}).one()


def test_urgent_rows_are_leased_first_and_older_ones_before_younger(session: Session) -> None:
    emit(session, "background", priority=outbox.BACKGROUND)
    emit(session, "second", available_at=PAST + timedelta(seconds=1))
    emit(session, "first")
    emit(session, "urgent", priority=outbox.URGENT, available_at=PAST + timedelta(seconds=9))
    assert [ring.topic for ring in outbox.lease(session, window=8, lease_s=30)] == [
        "urgent", "first", "second", "background",
    ]  # fmt: skip


def test_no_more_rows_are_out_than_the_window_allows(session: Session) -> None:
    for _ in range(5):
        emit(session)
    assert len(outbox.lease(session, window=3, lease_s=30)) == 3
    assert outbox.lease(session, window=3, lease_s=30) == []
    assert len(outbox.lease(session, window=4, lease_s=30)) == 1


def test_each_group_of_topics_has_a_window_of_its_own(session: Session) -> None:
    for topic in ("mail", "mail", "mail", "photo"):
        emit(session, topic)
    assert len(outbox.lease(session, window=2, lease_s=30, topics=["mail"])) == 2
    assert [ring.topic for ring in outbox.lease(session, window=2, lease_s=30, topics=["photo"])] == ["photo"]
    assert outbox.lease(session, window=2, lease_s=30, topics=["mail"]) == []


def test_a_row_is_not_leased_before_it_is_available(session: Session) -> None:
    emit(session, available_at=datetime.now(UTC) + timedelta(hours=1))
    assert outbox.lease(session, window=8, lease_s=30) == []


def test_two_relays_never_lease_the_same_row(sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        for _ in range(200):
            emit(session)
    found: list[uuid.UUID] = []
    together = threading.Barrier(4)

    def relay() -> None:
        with sessions() as session:
            session.connection()
            together.wait()
            rings = outbox.lease(session, window=60, lease_s=30)
            found.extend(ring.id for ring in rings)
            session.commit()

    threads = [threading.Thread(target=relay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) >= 60
    assert len(found) == len(set(found))


def test_a_lease_that_ran_out_is_given_again_under_the_next_number(session: Session) -> None:
    emit(session)
    (first,) = outbox.lease(session, window=8, lease_s=-1)
    (second,) = outbox.lease(session, window=8, lease_s=30)
    assert (second.id, second.lease_no) == (first.id, first.lease_no + 1)


def test_a_ring_out_of_date_begins_nothing(session: Session) -> None:
    emit(session)
    (first,) = outbox.lease(session, window=8, lease_s=-1)
    outbox.lease(session, window=8, lease_s=30)
    assert outbox.begin(session, first.id, first.lease_no, lease_s=30) is None


def test_a_ring_is_begun_once(session: Session) -> None:
    emit(session)
    message = begun(session)
    assert outbox.begin(session, message.id, message.lease_no, lease_s=30) is None


def test_a_ring_begins_nothing_once_its_row_was_given_back(session: Session) -> None:
    emit(session)
    message = begun(session)
    outbox.retry(session, message.id, message.lease_no, after_s=60, error="away", is_counted=False)
    assert outbox.begin(session, message.id, message.lease_no, lease_s=30) is None


def test_a_message_carries_what_its_row_holds(session: Session) -> None:
    with request_scope("request-7"):
        emit(session, "t")
    message = begun(session)
    assert (message.topic, message.payload, message.attempt, message.request_id) == ("t", {"n": 1}, 1, "request-7")
    assert message.age > timedelta(0)


def test_a_renewed_lease_lasts_longer(session: Session) -> None:
    emit(session)
    message = begun(session, lease_s=1)
    assert outbox.renew(session, message.id, message.lease_no, lease_s=600)
    assert row(session, message.id).leased_until > datetime.now(UTC) + timedelta(seconds=500)


def test_a_lease_that_is_over_is_not_renewed(session: Session) -> None:
    emit(session)
    message = begun(session)
    outbox.finish(session, message.id)
    assert not outbox.renew(session, message.id, message.lease_no, lease_s=30)


@pytest.mark.parametrize(("is_counted", "attempts"), [(True, 1), (False, 0)])
def test_a_retry_counts_only_what_was_the_jobs_own_fault(session: Session, is_counted: bool, attempts: int) -> None:
    emit(session)
    message = begun(session)
    outbox.retry(session, message.id, message.lease_no, after_s=60, error="x" * 500, is_counted=is_counted)
    found = row(session, message.id)
    assert (found.attempts, found.leased_until, len(found.last_error)) == (attempts, None, 200)
    assert outbox.lease(session, window=8, lease_s=30) == []


def test_a_worker_whose_lease_is_over_cannot_give_the_row_back(session: Session) -> None:
    emit(session)
    late = begun(session, lease_s=-1)
    (again,) = outbox.lease(session, window=8, lease_s=30)
    outbox.retry(session, late.id, late.lease_no, after_s=60, error="late")
    assert not outbox.bury(session, late.id, late.lease_no, error="late")
    found = row(session, again.id)
    assert (found.last_error, found.dead_at, found.leased_until is None) == (None, None, False)


def test_finishing_twice_is_finishing_once(session: Session) -> None:
    emit(session)
    message = begun(session)
    outbox.finish(session, message.id)
    first = row(session, message.id).done_at
    outbox.finish(session, message.id)
    assert row(session, message.id).done_at == first
    assert outbox.lease(session, window=8, lease_s=30) == []


def test_a_buried_row_stays_and_is_counted_as_dead(session: Session) -> None:
    emit(session)
    message = begun(session)
    assert outbox.bury(session, message.id, message.lease_no, error="ValueError")
    assert not outbox.bury(session, message.id, message.lease_no, error="ValueError")
    assert outbox.prune(session, older_than=timedelta(0)) == 0
    depth = outbox.depth(session)
    assert (depth.waiting, depth.dead) == (0, 1)


def test_depth_counts_leased_rows_as_waiting_and_tells_the_oldest_ones_age(session: Session) -> None:
    emit(session)
    emit(session)
    outbox.lease(session, window=1, lease_s=30)
    depth = outbox.depth(session)
    assert (depth.waiting, depth.dead) == (2, 0)
    assert depth.oldest_s > (datetime.now(UTC) - PAST).total_seconds() - 60


def test_one_run_absorbs_what_nobody_has_begun(session: Session) -> None:
    emit(session, "map")
    message = begun(session)
    for topic in ("map", "map", "other"):
        emit(session, topic)
    emit(session, "map", available_at=datetime.now(UTC) + timedelta(hours=1))
    assert outbox.absorb(session, message) == 2
    assert outbox.depth(session).waiting == 3  # itself, the other topic, and the one of the next hour


def test_only_rows_done_long_ago_are_pruned(session: Session) -> None:
    emit(session)
    message = begun(session)
    outbox.finish(session, message.id)
    emit(session)
    assert outbox.prune(session, older_than=timedelta(hours=1)) == 0
    assert outbox.prune(session, older_than=timedelta(0)) == 1
    assert outbox.depth(session).waiting == 1


def test_a_commit_rings_whoever_listens(sessions: sessionmaker[Session], database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {outbox.CHANNEL}")
        with transaction(sessions) as session:
            emit(session)
        assert [note.channel for note in listener.notifies(timeout=10, stop_after=1)] == [outbox.CHANNEL]


def test_a_rolled_back_transaction_leaves_nothing_to_do(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        emit(session)
        session.rollback()
    with transaction(sessions) as session:
        assert outbox.depth(session).waiting == 0


@pytest.mark.parametrize(
    "change",
    ["attempts = lease_no + 1", "done_at = now(), dead_at = now()", "priority = 10"],
)
def test_the_database_refuses_a_row_that_contradicts_itself(session: Session, change: str) -> None:
    emit(session)
    with pytest.raises(IntegrityError):
        session.execute(text(f"UPDATE outbox SET {change}"))


def test_leasing_uses_the_index_of_open_rows(explain: Callable[[str, dict[str, Any]], str]) -> None:
    plan = explain(
        "SELECT id FROM outbox WHERE done_at IS NULL AND dead_at IS NULL AND available_at <= clock_timestamp() "
        "ORDER BY priority, available_at LIMIT 64",
        {},
    )
    assert "ix_outbox_open" in plan


def test_a_job_takes_what_nobody_has_begun_most_urgent_first(session: Session, now: datetime) -> None:
    for priority in (5, 1, 9):
        outbox.emit(session, "letters", {"n": priority}, now=now, priority=priority)
    (rung,) = outbox.lease(session, window=1, lease_s=60, topics=["letters"])
    taken = outbox.take(session, "letters", limit=2, lease_s=60)
    assert [message.payload["n"] for message in taken] == [1, 5]
    assert outbox.begin(session, rung.id, rung.lease_no, lease_s=60) is None  # its ring is out of date
    assert [message.payload["n"] for message in outbox.take(session, "letters", limit=9, lease_s=60)] == [9]
    assert outbox.take(session, "letters", limit=9, lease_s=60) == []


def test_what_a_job_has_taken_does_not_use_up_the_window_of_its_rings(session: Session, now: datetime) -> None:
    for number in range(4):
        outbox.emit(session, "letters", {"n": number}, now=now)
    outbox.take(session, "letters", limit=2, lease_s=60)
    assert outbox.lease(session, window=2, lease_s=60, topics=["letters"]) == []
    rings = outbox.lease(session, window=2, lease_s=60, topics=["letters"], counts_begun=False)
    assert len(rings) == 2


def test_what_has_become_urgent_goes_ahead_of_others(session: Session, now: datetime) -> None:
    first, second = uuid.uuid4(), uuid.uuid4()
    for letter in (first, second):
        later = now + timedelta(days=400)
        outbox.emit(session, "letters", {"letter_id": str(letter)}, now=now, priority=7, available_at=later)
    outbox.hasten(session, "letters", "letter_id", second, at=now, priority=1)
    (message,) = outbox.take(session, "letters", limit=9, lease_s=60)
    assert message.payload == {"letter_id": str(second)}
