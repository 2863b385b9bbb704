"""Deadlines by the clock, by days and by working days: pure.

Working days are those of the State Council's yearly notice on holidays (国务院办公厅关于部分节假日安排的通知), with
its make-up days: a Saturday that is worked counts, a Wednesday in a long holiday does not. There are no half days. A
deadline of n working days ends at the same time of day on the n-th working day after the one it began on, in China's
time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone

# All of China keeps one civil time and no summer time since 1991, so no time-zone database is needed here.
CHINA_TIME = timezone(timedelta(hours=8), "Asia/Shanghai")

STAGES = ("acknowledge", "answer", "finish")
UNITS = ("hours", "working_days", "days")
MOST = {"hours": 1000, "working_days": 250, "days": 1000}
# However many working days are asked for, the calendar is read this far: the longest holiday has 9 days in a row.
DAYS_PER_WORKING_DAY, LONGEST_HOLIDAY_DAYS = 2, 30


@dataclass(frozen=True)
class Limit:
    """How long a department has: so many hours or days of the clock, or so many working days."""

    amount: int
    unit: str


Limits = Mapping[str, Limit]  # by stage

# Acknowledging and answering: ours (docs/guide-officer.md). Finishing: the national rule for reports by telephone 12369
# (环保举报热线工作管理办法, 60 days). By severity rank, red first.
DEFAULTS: Mapping[int, Limits] = {
    4: {"acknowledge": Limit(2, "hours"), "answer": Limit(3, "working_days"), "finish": Limit(60, "days")},
    3: {"acknowledge": Limit(24, "hours"), "answer": Limit(7, "working_days"), "finish": Limit(60, "days")},
    2: {"acknowledge": Limit(3, "working_days"), "answer": Limit(15, "working_days"), "finish": Limit(60, "days")},
    1: {"acknowledge": Limit(7, "working_days"), "answer": Limit(15, "working_days"), "finish": Limit(60, "days")},
}


def is_working(day: date, calendar: Mapping[date, bool]) -> bool:
    """Whether a day is worked: as the calendar says, or, where it is silent, from Monday to Friday."""
    known = calendar.get(day)
    return day.weekday() < 5 if known is None else known


def add_working_days(moment: datetime, amount: int, calendar: Mapping[date, bool]) -> datetime:
    """``amount`` (≥ 0) working days after ``moment`` (aware), at the same time of day in China; in its own zone."""
    due, left = moment.astimezone(CHINA_TIME), amount
    while left > 0:
        due += timedelta(days=1)
        left -= is_working(due.date(), calendar)
    return due.astimezone(moment.tzinfo)


def due(since: datetime, limit: Limit, calendar: Mapping[date, bool]) -> datetime:
    """When a limit that began at ``since`` (aware) is over."""
    if limit.unit == "working_days":
        return add_working_days(since, limit.amount, calendar)
    return since + (timedelta(hours=limit.amount) if limit.unit == "hours" else timedelta(days=limit.amount))


def remind_at(since: datetime, due_at: datetime) -> datetime:
    """When a reminder is due: a quarter of the time is left."""
    return due_at - (due_at - since) / 4


@dataclass(frozen=True)
class Terms:
    """What holds for one department: limits by severity rank and stage, and the calendar around now."""

    limits: Mapping[int, Limits] = field(default_factory=lambda: DEFAULTS)
    calendar: Mapping[date, bool] = field(default_factory=dict)

    def due(self, stage: str, severity: int, since: datetime) -> datetime:
        """When a stage of a case of this severity is to be done that was handed over at ``since``."""
        return due(since, self.limits[severity][stage], self.calendar)


@dataclass(frozen=True)
class Ruled:
    """One rule as it was found; ``depth``: how many areas lie between it and the department's own (0: none)."""

    severity: int
    stage: str
    limit: Limit
    depth: int


def limits_of(found: Iterable[Ruled]) -> dict[int, dict[str, Limit]]:
    """What holds, of the rules of all areas around a department: the smallest one's; else the default."""
    limits = {severity: dict(stages) for severity, stages in DEFAULTS.items()}
    for one in sorted(found, key=lambda rule: -rule.depth):
        limits[one.severity][one.stage] = one.limit
    return limits


def missing_years(loaded: Iterable[int], today: date) -> list[int]:
    """The years of this and the next whose calendar should be there and is not.

    The next one's notice comes in November, as a rule: it is missed from December on.
    """
    wanted = [today.year] + ([today.year + 1] if today.month == 12 else [])
    return [year for year in wanted if year not in set(loaded)]
