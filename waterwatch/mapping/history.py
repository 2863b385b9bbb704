"""The past of the map: which level a water carried when, and how much was reported of it.

Everything counts in days and weeks of China (Asia/Shanghai); a week is named by its Monday. Incidents that were
withdrawn have no past. What is told here is public: no report is named, and of reports only how many there were.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

CHINA = ZoneInfo("Asia/Shanghai")
WEEKS = 53  # twelve months and the present week
MONTHS = 13  # twelve whole months and the present one
NO_LEVEL = 0


@dataclass(frozen=True)
class Span:
    """A level (rank 1 to 4) that held from an instant until another; ``until`` None: it holds still."""

    level: int
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class Step:
    """From an instant on the level is this one; 0 is "no warning"."""

    at: datetime
    level: int


@dataclass(frozen=True)
class Week:
    """One week: its highest level (0: none), how many incidents were open in it, how many reports came."""

    monday: date
    level: int
    incidents: int
    reports: int


@dataclass(frozen=True)
class History:
    """Twelve months of a water or an area. ``steps`` begins with the level at the beginning of the first week."""

    steps: list[Step]
    weeks: list[Week]


# The spans of a water, or of an area by the incidents' public points.
_OF_WATER = """
FROM water_feature f JOIN incident_span s ON s.water_feature_id = f.id
WHERE f.water_body_id = :key AND coalesce(s.ended_at, 'infinity') > :since
"""
_OF_AREA = """
FROM incident_span s JOIN incident i ON i.id = s.incident_id
WHERE coalesce(s.ended_at, 'infinity') > :since AND EXISTS (
    SELECT FROM jurisdiction j JOIN jurisdiction_part p ON p.jurisdiction_id = j.id
    WHERE j.code = :key AND ST_Intersects(p.geom, i.public_point))
"""
_SPANS = "SELECT s.incident_id, s.severity, s.started_at, s.ended_at {found} ORDER BY s.started_at, s.id"
# Reports that evidence what has spans, by the Monday of the week in which they came.
_REPORTS = """
SELECT date_trunc('week', r.received_at AT TIME ZONE 'Asia/Shanghai')::date AS monday, count(*)::int AS reports
FROM (SELECT DISTINCT s.incident_id {found}) found
JOIN incident_report ir USING (incident_id) JOIN report r ON r.id = ir.report_id
WHERE r.received_at >= :since GROUP BY 1
"""
_STATEMENTS = {
    name: (text(_SPANS.format(found=found)), text(_REPORTS.format(found=found)))
    for name, found in (("water", _OF_WATER), ("area", _OF_AREA))
}


def water_history(session: Session, water_body_id: uuid.UUID, *, now: datetime) -> History:
    """Level steps, incidents and reports per week of one water, all its reaches together. Two queries."""
    return _history(session, "water", water_body_id, now)


def area_history(session: Session, code: str, *, now: datetime) -> History:
    """The same of an administrative area (GB/T 2260 code): of the incidents whose public points lie in it."""
    return _history(session, "area", code, now)


def _history(session: Session, of: str, key: uuid.UUID | str, now: datetime) -> History:
    mondays = weeks_until(now)
    since = datetime.combine(mondays[0], datetime.min.time(), CHINA)
    spans, reports = _STATEMENTS[of]
    values = {"key": key, "since": since}
    rows = session.execute(spans, values).all()
    came = {row.monday: row.reports for row in session.execute(reports, values)}
    found = [Span(row.severity, row.started_at, row.ended_at) for row in rows]
    weeks = []
    for monday in mondays:
        begins = datetime.combine(monday, datetime.min.time(), CHINA)
        held = [row for row in rows if _overlaps(row.started_at, row.ended_at, begins, begins + timedelta(days=7))]
        level = max((row.severity for row in held), default=NO_LEVEL)
        weeks.append(Week(monday, level, len({row.incident_id for row in held}), came.get(monday, 0)))
    return History(steps_of(found, since=since), weeks)


def _overlaps(since: datetime, until: datetime | None, begins: datetime, ends: datetime) -> bool:
    return since < ends and (until is None or until > begins)


def weeks_until(now: datetime) -> list[date]:
    """The Mondays of the last :data:`WEEKS` weeks, the present one last."""
    today = now.astimezone(CHINA).date()
    monday = today - timedelta(days=today.weekday())
    return [monday - timedelta(weeks=back) for back in reversed(range(WEEKS))]


def months_until(now: datetime) -> list[date]:
    """The first days of the last :data:`MONTHS` months, the present one last."""
    first = now.astimezone(CHINA).date().replace(day=1)
    months = [first]
    while len(months) < MONTHS:
        first = (first - timedelta(days=1)).replace(day=1)
        months.insert(0, first)
    return months


def steps_of(spans: Iterable[Span], *, since: datetime) -> list[Step]:
    """How the highest level of some spans went, from ``since`` on: one step at each change, the first at ``since``."""
    held = list(spans)
    instants = {since} | {span.since for span in held} | {span.until for span in held if span.until is not None}
    steps: list[Step] = []
    for at in sorted(instant for instant in instants if instant >= since):
        level = max(
            (span.level for span in held if span.since <= at and (span.until is None or span.until > at)),
            default=NO_LEVEL,
        )
        if not steps or steps[-1].level != level:
            steps.append(Step(at, level))
    return steps


# Of each reach and level the days it held, days that meet taken together. A day counts from its first instant on.
_MONTH = text("""
SELECT f.feature_id, d.severity, lower(d.days) AS first_on, upper(d.days) - 1 AS last_on
FROM (SELECT water_feature_id, severity, unnest(range_agg(daterange(
          greatest((started_at AT TIME ZONE 'Asia/Shanghai')::date, :first),
          least((coalesce(ended_at, :now) AT TIME ZONE 'Asia/Shanghai')::date, :last), '[]'))) AS days
      FROM incident_span
      WHERE started_at < :until AND started_at <= :now AND (ended_at IS NULL OR ended_at >= :since)
      GROUP BY water_feature_id, severity) d
JOIN water_feature f ON f.id = d.water_feature_id
ORDER BY f.feature_id, first_on
""")


def month_spans(session: Session, month: date, *, now: datetime) -> dict[int, list[tuple[int, int, int]]]:
    """By level, (feature id, first day, last day) of one month, days counted from 1. One query."""
    following = (month + timedelta(days=31)).replace(day=1)
    values = {
        "first": month,
        "last": following - timedelta(days=1),
        "since": datetime.combine(month, datetime.min.time(), CHINA),
        "until": datetime.combine(following, datetime.min.time(), CHINA),
        "now": now,
    }
    spans: dict[int, list[tuple[int, int, int]]] = {4: [], 3: [], 2: [], 1: []}
    for row in session.execute(_MONTH, values):
        spans[row.severity].append((row.feature_id, row.first_on.day, row.last_on.day))
    return spans


@dataclass(frozen=True)
class Changes:
    """What the publisher has not yet written: rows to delete once it has, and the earliest instant they touch.

    ``withdrawn_from``: the reaches and lakes of which something that was published must go.
    """

    ids: Sequence[int]
    since: datetime | None
    withdrawn_from: frozenset[uuid.UUID]


def waiting_changes(session: Session) -> Changes:
    """The changes a publication that reads now will hold."""
    rows = session.execute(text("SELECT id, water_feature_id, since, is_withdrawal FROM map_change")).all()
    return Changes(
        [row.id for row in rows],
        min((row.since for row in rows), default=None),
        frozenset(row.water_feature_id for row in rows if row.is_withdrawal),
    )


def forget_changes(session: Session, changes: Changes) -> None:
    """They are written."""
    session.execute(text("DELETE FROM map_change WHERE id = ANY(:ids)"), {"ids": list(changes.ids)})
