"""What the calendar and the rules say."""

import uuid
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.workdays.rules import (
    DAYS_PER_WORKING_DAY,
    DEFAULTS,
    LONGEST_HOLIDAY_DAYS,
    MOST,
    Limit,
    Ruled,
    Terms,
    limits_of,
)

# The agency's own area and those it lies in, each with how far up it is; depth 1000 is everywhere.
_RULES = text("""
WITH RECURSIVE around (id, parent_id, depth) AS (
    SELECT j.id, j.parent_id, 0 FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id WHERE a.id = :agency_id
    UNION ALL SELECT j.id, j.parent_id, around.depth + 1 FROM around JOIN jurisdiction j ON j.id = around.parent_id
    WHERE around.depth < 10)
SELECT r.severity, r.stage, r.amount, r.unit, coalesce(around.depth, 1000) AS depth
FROM deadline_rule r LEFT JOIN around ON around.id = r.jurisdiction_id
WHERE r.jurisdiction_id IS NULL OR around.id IS NOT NULL
""")
_DAYS = text("SELECT day, is_working FROM workday WHERE day BETWEEN :first AND :last")
_YEARS = text("""
SELECT extract(year FROM day)::int AS year, count(*)::int AS days, (count(*) FILTER (WHERE is_working))::int AS working
FROM workday GROUP BY 1 ORDER BY 1
""")
_LISTED = text("""
SELECT r.id AS rule_id, j.code, n.name, r.severity, r.stage, r.amount, r.unit
FROM deadline_rule r LEFT JOIN jurisdiction j ON j.id = r.jurisdiction_id
LEFT JOIN jurisdiction_name n ON n.jurisdiction_id = j.id AND n.lang = :lang
ORDER BY j.code NULLS FIRST, r.severity DESC, array_position(ARRAY['acknowledge', 'answer', 'finish'], r.stage)
""")


def terms_of(session: Session, agency_id: uuid.UUID | None, around: date) -> Terms:
    """What holds for an agency's cases that begin about ``around``. Two queries."""
    rows = session.execute(_RULES, {"agency_id": agency_id})
    limits = limits_of(Ruled(row.severity, row.stage, Limit(row.amount, row.unit), row.depth) for row in rows)
    working = [one.amount for stages in limits.values() for one in stages.values() if one.unit == "working_days"]
    last = around + timedelta(days=DAYS_PER_WORKING_DAY * max(working, default=0) + LONGEST_HOLIDAY_DAYS)
    return Terms(limits, calendar_between(session, around, last))


def default_terms(session: Session, around: date) -> Terms:
    """What holds where no rule says otherwise, with the calendar around a day."""
    return Terms(DEFAULTS, calendar_between(session, around, around + timedelta(days=MOST["working_days"])))


def calendar_between(session: Session, first: date, last: date) -> dict[date, bool]:
    """The days of a span that are in the calendar, and whether each is worked."""
    return {row.day: row.is_working for row in session.execute(_DAYS, {"first": first, "last": last})}


@dataclass(frozen=True)
class LoadedYear:
    """A year of the calendar: how many of its days are in it, and how many are worked."""

    year: int
    days: int
    working: int


def loaded_years(session: Session) -> list[LoadedYear]:
    """The years whose calendar is there, oldest first."""
    return [LoadedYear(**row._mapping) for row in session.execute(_YEARS)]


@dataclass(frozen=True)
class ListedRule:
    """A rule as an administrator reads it; ``code`` and ``name`` of its area are None where it holds everywhere."""

    rule_id: uuid.UUID
    code: str | None
    name: str | None
    severity: int
    stage: str
    amount: int
    unit: str


def listed_rules(session: Session, *, lang: str = "zh-Hans") -> list[ListedRule]:
    """Every rule, those that hold everywhere first."""
    return [ListedRule(**row._mapping) for row in session.execute(_LISTED, {"lang": lang})]
