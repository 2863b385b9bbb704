"""What the calendar and the rules say."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.workdays.rules import Limit, Ruled, Terms, limits_of

_GROUND = "workdays.ground"
BACK = timedelta(days=31)  # one session asks about several days
EVERYWHERE = 1000  # the depth of a rule that holds in every area
# All rules, and the days that are not what their weekday says: few, and the same for every agency.
_RULES = text("SELECT jurisdiction_id, severity, stage, amount, unit FROM deadline_rule")
_DAYS = text("""
SELECT day, is_working FROM workday WHERE is_working <> (extract(isodow FROM day) < 6) AND day >= :first
""")
# The agency's own area and those it lies in, each with how far up it is.
_AREAS = text("""
WITH RECURSIVE around (id, parent_id, depth) AS (
    SELECT j.id, j.parent_id, 0 FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id WHERE a.id = :agency_id
    UNION ALL SELECT j.id, j.parent_id, around.depth + 1 FROM around JOIN jurisdiction j ON j.id = around.parent_id
    WHERE around.depth < 10)
SELECT id, min(depth) AS depth FROM around GROUP BY id
""")
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


@dataclass(frozen=True)
class _Ground:
    """What is the same for every agency: the rules, each with its area, and the calendar from a day on."""

    rules: tuple[tuple[uuid.UUID | None, int, str, Limit], ...]
    calendar: dict[date, bool]
    first: date


def terms_of(session: Session, agency_id: uuid.UUID | None, since: date) -> Terms:
    """What holds for an agency's cases that begin on or after a day.

    Two queries for however many agencies one session asks about, and one for each where rules name areas.
    """
    ground = _ground(session, since)
    depths: dict[uuid.UUID | None, int] = {None: EVERYWHERE}
    if any(area_id is not None for area_id, *_rest in ground.rules):
        depths |= {row.id: row.depth for row in session.execute(_AREAS, {"agency_id": agency_id})}
    found = [
        Ruled(severity, stage, limit, depths[area]) for area, severity, stage, limit in ground.rules if area in depths
    ]
    return Terms(limits_of(found), ground.calendar)


def calendar_from(session: Session, first: date) -> Mapping[date, bool]:
    """The days on or after one that are not what their weekday says, and whether they are worked."""
    return _ground(session, first).calendar


def _ground(session: Session, since: date) -> _Ground:
    """Read once in a session: a job asks for a thousand letters at a time."""
    kept = session.info.get(_GROUND)
    if isinstance(kept, _Ground) and kept.first <= since:
        return kept
    first = since - BACK
    rules = tuple(
        (row.jurisdiction_id, row.severity, row.stage, Limit(row.amount, row.unit)) for row in session.execute(_RULES)
    )
    days = {row.day: row.is_working for row in session.execute(_DAYS, {"first": first})}
    made = session.info[_GROUND] = _Ground(rules, days, first)
    return made


def forget_ground(session: Session) -> None:
    """The calendar or the rules are changed in this session: what was read before does not hold."""
    session.info.pop(_GROUND, None)


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
