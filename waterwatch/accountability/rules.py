"""What is counted of a department's cases, over which time, and what may be said of it. No I/O.

The rules in words are in docs/accountability.md, for the departments that are measured by them.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Self

from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.states import Machine
from waterwatch.workdays.rules import CHINA_TIME

# Of fewer cases no median and no share is told: one slow case would be a department's whole name. Ours.
LEAST_CASES = 3
MOST_WORDS = 2000
_QUARTER = re.compile(r"(20[0-9]{2})Q([1-4])")
_MONTH = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")

RELEASE = Machine("period_release", "shown", frozenset({("shown", "published"), ("published", "shown")}))
COMMENT = Machine(
    "agency_comment",
    "held",
    frozenset({("held", "published"), ("held", "withheld"), ("published", "withheld"), ("withheld", "published")}),
)
WITHHELD_FOR = ("personal_data", "abuse", "not_about_figures", "not_from_the_agency")


@dataclass(frozen=True, order=True)
class Period:
    """A calendar quarter (``months`` 3) or month (1), in China's time."""

    starts_on: date
    months: int

    @classmethod
    def parse(cls, code: str) -> Self:
        """``2026Q3`` or ``2026-07``. Raises :class:`Invalid`."""
        if found := _QUARTER.fullmatch(code):
            return cls(date(int(found[1]), 3 * int(found[2]) - 2, 1), 3)
        if found := _MONTH.fullmatch(code):
            return cls(date(int(found[1]), int(found[2]), 1), 1)
        raise Invalid({"period": ["period_unreadable"]})

    @classmethod
    def quarter_of(cls, moment: datetime) -> Self:
        """The quarter an instant lies in."""
        day = moment.astimezone(CHINA_TIME).date()
        return cls(date(day.year, day.month - (day.month - 1) % 3, 1), 3)

    @property
    def code(self) -> str:
        """``2026Q3`` or ``2026-07``."""
        if self.months == 1:
            return f"{self.starts_on:%Y-%m}"
        return f"{self.starts_on.year}Q{(self.starts_on.month + 2) // 3}"

    @property
    def words(self) -> str:
        """As Chinese letters write it: ``2026 年第 3 季度`` or ``2026 年 7 月``."""
        if self.months == 1:
            return f"{self.starts_on.year} 年 {self.starts_on.month} 月"
        return f"{self.starts_on.year} 年第 {(self.starts_on.month + 2) // 3} 季度"

    @property
    def ends_on(self) -> date:
        """The first day after it."""
        return _months_on(self.starts_on, self.months)

    @property
    def last_day(self) -> date:
        """Its own last day."""
        return self.ends_on - timedelta(days=1)

    @property
    def since(self) -> datetime:
        """Its first instant."""
        return _midnight(self.starts_on)

    @property
    def until(self) -> datetime:
        """The first instant after it."""
        return _midnight(self.ends_on)

    @property
    def previous(self) -> "Period":
        """The one before, as long in months."""
        return Period(_months_on(self.starts_on, -self.months), self.months)

    @property
    def month_starts(self) -> list[date]:
        """The first days of its months."""
        return [_months_on(self.starts_on, number) for number in range(self.months)]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=CHINA_TIME)


def _months_on(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    return date(day.year + years, month + 1, 1)


@dataclass(frozen=True)
class Figures:
    """What is known of the cases that reached a department, or those of an area, within a period, as of an instant.

    ``cases`` count, each time one was handed over; besides them, and not held against anybody: ``withdrawn`` (by us, or
    the incident was none or another one), ``not_ours``, ``supervising`` (somebody else's case), ``not_reached`` (our
    letter did not arrive). ``acknowledge_due``, ``answer_due``: what is done, or should be by now; an open case whose
    time is not over is not among them, nor one whose mail came in time and waits for our lead. Medians, in seconds, are
    of those due: what was not done counts as longer than anything that was, so ``inf`` means that more than half are
    not done. ``settle_due``: past the time to finish, whatever became of them, closed, expired or open;
    ``verified_clean``: those of them that citizens found clean, whoever made them so; ``claimed``: closed by the
    department and verified by nobody; ``reopened``: said to be done, and a citizen's photo showed that it was not.
    """

    cases: int = 0
    withdrawn: int = 0
    not_ours: int = 0
    supervising: int = 0
    not_reached: int = 0
    acknowledge_due: int = 0
    acknowledged: int = 0
    acknowledged_on_time: int = 0
    acknowledge_median_s: float | None = None
    answer_due: int = 0
    answered: int = 0
    answered_on_time: int = 0
    answer_median_s: float | None = None
    settle_due: int = 0
    verified_clean: int = 0
    claimed: int = 0
    reopened: int = 0
    overdue: int = 0

    @property
    def acknowledged_on_time_percent(self) -> int | None:
        """Share acknowledged on time of those due."""
        return percent(self.acknowledged_on_time, self.acknowledge_due)

    @property
    def answered_percent(self) -> int | None:
        """Share answered of those due."""
        return percent(self.answered, self.answer_due)

    @property
    def answered_on_time_percent(self) -> int | None:
        """Share answered on time of those due."""
        return percent(self.answered_on_time, self.answer_due)

    @property
    def verified_clean_percent(self) -> int | None:
        """Share citizens found clean of those whose time to finish is over; None of too few."""
        return percent(self.verified_clean, self.settle_due)

    @property
    def is_clean_too_early(self) -> bool:
        """Whether there are cases, and of none of them the time to finish is over."""
        return self.settle_due == 0 and self.cases > self.reopened

    @property
    def acknowledge_median(self) -> float | None:
        """The median time to acknowledge, seconds; None of too few."""
        return self.acknowledge_median_s if self.acknowledge_due >= LEAST_CASES else None

    @property
    def answer_median(self) -> float | None:
        """The median time to answer, seconds; None of too few."""
        return self.answer_median_s if self.answer_due >= LEAST_CASES else None


def percent(part: int, whole: int) -> int | None:
    """A share in whole percent, halves rounded up; None of too few cases. 100 and 0 mean all and none."""
    if whole < LEAST_CASES:
        return None
    if 0 < part < whole:
        return min(99, max(1, math.floor(100 * part / whole + 0.5)))
    return 100 if part else 0


def ended_quarters(now: datetime, *, known: Iterable[str], back: int = 1) -> list[Period]:
    """The latest ``back`` quarters that are over and not among those known, the older first."""
    there, found = set(known), []
    period = Period.quarter_of(now)
    for _ in range(back):
        period = period.previous
        if period.code not in there:
            found.append(period)
    return found[::-1]
