"""Which change is told, and when."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from waterwatch.watches import rules

NOW = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
LEVELS = st.none() | st.integers(1, 4)


@given(before=LEVELS, after=LEVELS)
def test_a_change_is_called_by_where_it_leads(before: int | None, after: int | None) -> None:
    found = rules.change(before, after)
    assert (found is None) == (before == after)
    assert (found == rules.CLEARED) == (before is not None and after is None)
    assert (found == rules.RISEN) == ((after or 0) > (before or 0))


@given(level=LEVELS, minutes=st.integers(0, 600))
def test_an_hour_lies_between_two_messages_unless_it_is_red(level: int | None, minutes: int) -> None:
    told_at = NOW - timedelta(minutes=minutes)
    due_at = rules.may_tell_at(level, told_at, now=NOW)
    assert due_at == (NOW if level == rules.RED or minutes >= 60 else told_at + timedelta(hours=1))


def test_who_was_never_told_is_told_at_once() -> None:
    assert rules.may_tell_at(1, None, now=NOW) == NOW
