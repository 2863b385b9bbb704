import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterwatch.escalation.rules import CASE
from waterwatch.kernel.errors import Invalid
from waterwatch.officers.rules import (
    BUCKETS,
    NEVER,
    OPEN,
    can_acknowledge,
    can_answer,
    can_comment,
    due,
    read_cursor,
    write_cursor,
)

NOW = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS | st.none(), st.uuids())
def test_a_page_goes_on_exactly_where_the_one_before_ended(deadline: datetime | None, case_id: uuid.UUID) -> None:
    assert read_cursor(write_cursor(deadline, case_id)) == (deadline or NEVER, case_id)


@given(st.text(max_size=60))
def test_whatever_stands_in_its_place_is_refused_or_read_and_breaks_nothing(written: str) -> None:
    try:
        moment, _case_id = read_cursor(written)
    except Invalid:
        return
    assert moment.tzinfo is not None


@given(st.integers(1, 10_000), st.integers(-10_000, 20_000))
def test_a_deadline_is_late_once_past_and_near_in_its_last_quarter(whole_min: int, passed_min: int) -> None:
    since = NOW - timedelta(minutes=passed_min)
    deadline = since + timedelta(minutes=whole_min)
    found = due(deadline, since, now=NOW)
    assert found is not None
    left = whole_min - passed_min
    assert found.left == timedelta(minutes=left)
    assert found.standing == ("late" if left < 0 else "near" if 4 * left <= whole_min else "ok")


def test_where_nothing_is_due_nothing_is_said() -> None:
    assert due(None, NOW, now=NOW) is None


def test_every_state_of_a_case_that_has_an_agency_is_found_by_some_filter() -> None:
    found = {state for states in BUCKETS.values() for state in states}
    assert CASE.states - found == {"no_contact"}


@pytest.mark.parametrize("state", sorted(CASE.states))
def test_an_agency_says_something_where_the_case_may_move_and_a_foreign_one_never(state: str) -> None:
    assert can_acknowledge(state, is_own=True) == CASE.is_legal(state, "acknowledged")
    assert can_answer(state, is_own=True) == (state in OPEN)
    assert can_comment(state, is_own=True) == (state == "closed")
    assert not any(may(state, is_own=False) for may in (can_acknowledge, can_answer, can_comment))
