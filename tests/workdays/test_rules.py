from datetime import UTC, date, datetime, timedelta

import chinese_calendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterwatch.workdays import rules
from waterwatch.workdays.rules import CHINA_TIME, DEFAULTS, Limit, Ruled, Terms

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds are naive by contract
CALENDARS = st.dictionaries(st.dates(date(2024, 1, 1), date(2024, 3, 31)), st.booleans(), max_size=60)
# 国务院办公厅关于2025年部分节假日安排的通知（国办发明电〔2024〕12号）, and the one for 2026 (国办发明电〔2025〕7号).
NOTICES = {
    "off": [
        *(date(2025, 1, 28) + timedelta(days=n) for n in range(8)),  # 春节, 1月28日至2月4日
        *(date(2025, 10, 1) + timedelta(days=n) for n in range(8)),  # 国庆节、中秋节, 10月1日至8日
        *(date(2026, 2, 15) + timedelta(days=n) for n in range(9)),  # 春节, 2月15日至23日
        *(date(2026, 10, 1) + timedelta(days=n) for n in range(7)),  # 国庆节, 10月1日至7日
    ],
    "on": [  # 调休
        *(date(2025, 1, 26), date(2025, 2, 8), date(2025, 9, 28), date(2025, 10, 11)),
        *(date(2026, 2, 14), date(2026, 2, 28), date(2026, 9, 20), date(2026, 10, 10)),
    ],
}
CHINA = dict.fromkeys(NOTICES["off"], False) | dict.fromkeys(NOTICES["on"], True)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_the_calendar_that_comes_with_the_package_says_what_the_state_council_said() -> None:
    assert [day for day in NOTICES["off"] if chinese_calendar.is_workday(day)] == []
    assert [day for day in NOTICES["on"] if not chinese_calendar.is_workday(day)] == []


@pytest.mark.parametrize(
    ("since", "days", "until"),
    [
        # 国庆 2026: Tuesday 29 September, then Wednesday 30, and after seven days off Thursday 8 and Friday 9 October.
        ("2026-09-29T10:30+08:00", 3, "2026-10-09T10:30+08:00"),
        # The Saturday after them is worked, the Sunday is not.
        ("2026-09-29T10:30+08:00", 4, "2026-10-10T10:30+08:00"),
        ("2026-09-29T10:30+08:00", 5, "2026-10-12T10:30+08:00"),
        # 春节 2026: Friday 13 February, the Saturday is worked, nine days off, Tuesday 24.
        ("2026-02-13T16:00+08:00", 1, "2026-02-14T16:00+08:00"),
        ("2026-02-13T16:00+08:00", 2, "2026-02-24T16:00+08:00"),
        # 春节 2025: from within the holiday; Wednesday 5, Thursday 6, Friday 7, and Saturday 8 February is worked.
        ("2025-01-30T09:00+08:00", 4, "2025-02-08T09:00+08:00"),
        ("2025-01-30T09:00+08:00", 5, "2025-02-10T09:00+08:00"),
        # The Sunday before it is worked.
        ("2025-01-24T09:00+08:00", 1, "2025-01-26T09:00+08:00"),
        # 国庆、中秋 2025: Sunday 28 September is worked, eight days off.
        ("2025-09-27T12:00+08:00", 1, "2025-09-28T12:00+08:00"),
        ("2025-09-30T12:00+08:00", 2, "2025-10-10T12:00+08:00"),
        # Half past seven in the evening of the last working day in London is the holiday's first morning in China.
        ("2026-09-30T19:30+00:00", 1, "2026-10-07T19:30+00:00"),
    ],
)
def test_working_days_are_those_of_the_state_councils_notice(since: str, days: int, until: str) -> None:
    assert rules.add_working_days(at(since), days, CHINA) == at(until)


@pytest.mark.parametrize(
    ("severity", "since", "until"),
    [
        (4, "2026-05-20T10:30+08:00", "2026-05-20T12:30+08:00"),
        (3, "2026-05-22T10:30+08:00", "2026-05-23T10:30+08:00"),  # orange runs through the weekend
        (2, "2026-05-20T10:30+08:00", "2026-05-25T10:30+08:00"),  # Wednesday: Thursday, Friday, Monday
        (2, "2026-05-23T10:30+08:00", "2026-05-27T10:30+08:00"),  # Saturday: Monday, Tuesday, Wednesday
        (1, "2026-05-20T10:30+08:00", "2026-05-29T10:30+08:00"),
        # Friday 23:00 UTC is Saturday in China already.
        (2, "2026-05-22T23:00+00:00", "2026-05-26T23:00+00:00"),
    ],
)
def test_an_agency_has_two_hours_a_day_three_or_seven_working_days(severity: int, since: str, until: str) -> None:
    assert Terms().due("acknowledge", severity, at(since)) == at(until)


def test_it_answers_within_three_seven_or_fifteen_working_days_and_finishes_within_sixty_days() -> None:
    since = at("2026-05-20T10:30+08:00")
    due = [Terms().due("answer", rank, since) for rank in (4, 3, 2, 1)]
    assert due == [
        at("2026-05-25T10:30+08:00"),
        at("2026-05-29T10:30+08:00"),
        at("2026-06-10T10:30+08:00"),
        at("2026-06-10T10:30+08:00"),
    ]
    assert Terms().due("finish", 1, since) == at("2026-07-19T10:30+08:00")


@given(since=MOMENTS)
def test_the_graver_a_case_the_sooner_it_must_be_acknowledged(since: datetime) -> None:
    due = [Terms().due("acknowledge", rank, since) for rank in (4, 3, 2, 1)]
    assert since < due[0] < due[1] < due[2] < due[3]


@given(
    since=st.datetimes(datetime(2023, 12, 1), datetime(2024, 5, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    days=st.integers(1, 30),
    calendar=CALENDARS,
)
def test_a_deadline_ends_on_a_working_day_at_the_same_hour_after_just_so_many(
    since: datetime, days: int, calendar: dict[date, bool]
) -> None:
    due = rules.add_working_days(since, days, calendar)
    begun, ended = since.astimezone(CHINA_TIME), due.astimezone(CHINA_TIME)
    assert begun.timetz() == ended.timetz()
    between = [begun.date() + timedelta(days=n) for n in range(1, (ended.date() - begun.date()).days + 1)]
    assert sum(rules.is_working(day, calendar) for day in between) == days
    assert rules.is_working(ended.date(), calendar)


@given(since=MOMENTS, days=st.integers(0, 20), more=st.integers(0, 20))
def test_days_added_one_after_another_are_days_added_at_once(since: datetime, days: int, more: int) -> None:
    both = rules.add_working_days(rules.add_working_days(since, days, CHINA), more, CHINA)
    assert both == rules.add_working_days(since, days + more, CHINA)


def test_the_smallest_areas_rule_holds_and_what_none_says_is_the_default() -> None:
    found = [
        Ruled(2, "acknowledge", Limit(2, "working_days"), 2),
        Ruled(2, "acknowledge", Limit(1, "working_days"), 0),
        Ruled(2, "finish", Limit(30, "days"), 1000),
    ]
    limits = rules.limits_of(found)
    assert limits[2]["acknowledge"] == Limit(1, "working_days")
    assert limits[2]["finish"] == Limit(30, "days")
    assert limits[2]["answer"] == DEFAULTS[2]["answer"]
    assert limits[4] == DEFAULTS[4]


def test_a_reminder_is_due_when_a_quarter_of_the_time_is_left() -> None:
    since = at("2026-05-20T08:00+08:00")
    assert rules.remind_at(since, since + timedelta(hours=24)) == since + timedelta(hours=18)


def test_a_year_is_missed_from_its_first_day_and_the_next_one_from_december() -> None:
    assert rules.missing_years([2026], date(2026, 11, 30)) == []
    assert rules.missing_years([2026], date(2026, 12, 1)) == [2027]
    assert rules.missing_years([2025], date(2026, 1, 1)) == [2026]
