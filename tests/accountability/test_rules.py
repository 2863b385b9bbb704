"""Periods and shares."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterwatch.accountability.rules import LEAST_CASES, Period, ended_quarters, percent
from waterwatch.kernel.errors import Invalid

days = st.datetimes(datetime(2001, 1, 1), datetime(2098, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # st adds it


@given(days)
def test_a_quarter_is_read_back_from_its_code_and_holds_its_instant(moment: datetime) -> None:
    period = Period.quarter_of(moment)
    assert Period.parse(period.code) == period
    assert period.since <= moment < period.until
    assert period.previous.until == period.since


@given(st.integers(2000, 2099), st.integers(1, 12))
def test_a_month_is_read_back_from_its_code(year: int, month: int) -> None:
    period = Period.parse(f"{year}-{month:02}")
    assert (period.starts_on, period.code) == (date(year, month, 1), f"{year}-{month:02}")
    assert period.previous.ends_on == period.starts_on


@pytest.mark.parametrize(
    "code", ["", "2026", "2026Q5", "2026Q0", "2026-13", "2026-7", "1999Q1", "2026Q1 ", "２０２６Q1"]
)
def test_what_is_no_period_is_refused(code: str) -> None:
    with pytest.raises(Invalid):
        Period.parse(code)


def test_the_year_turns() -> None:
    assert Period.parse("2026Q1").previous.code == "2025Q4"
    assert [f"{day:%Y-%m}" for day in Period.parse("2026Q4").month_starts] == ["2026-10", "2026-11", "2026-12"]
    assert Period.parse("2026Q4").last_day == date(2026, 12, 31)
    # Half an hour into the new year in China, still the old one in Greenwich.
    assert [one.code for one in ended_quarters(datetime(2025, 12, 31, 16, 30, tzinfo=UTC), known=())] == ["2025Q4"]


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_hundred_percent_is_all_and_none_is_none(part: int, rest: int) -> None:
    share = percent(part, part + rest)
    if part + rest < LEAST_CASES:
        assert share is None
    else:
        assert share is not None
        assert (share == 100) == (rest == 0)
        assert (share == 0) == (part == 0)
        assert abs(share - 100 * part / (part + rest)) <= 1
