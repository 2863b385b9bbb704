"""Incidents as data and feeds tell them: of one water, an area, the country. Withdrawn and merged ones are never in it.

Positions are public points with the same digits everywhere, so that no two accounts of one place add up to more.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from waterwatch.atlas.rules import DECIMALS
from waterwatch.mapping.rules import ANSWERS, CASE_ANSWER, incident_answer

MOST = 20_000  # of one answer: more is no file for anybody's spreadsheet
FED = 50  # entries of a feed
ENDED_DAYS = 30  # so long a feed tells of incidents that have ended


@dataclass(frozen=True)
class PublicIncident:
    """What anybody may know of an incident, by itself: with its water, and how far the departments have come.

    ``lon``, ``lat`` WGS-84 degrees of the public point. ``answer`` is one of ``mapping.rules.ANSWERS``. ``changed_at``:
    when it was last confirmed, or its state changed.
    """

    code: str
    state: str
    kind: str
    severity: int
    lon: float
    lat: float
    opened_at: datetime
    last_confirmed_at: datetime
    closed_at: datetime | None
    changed_at: datetime
    water: str
    names: dict[str, str]
    answer: str

    @property
    def is_open(self) -> bool:
        """Whether it still colours its water."""
        return self.closed_at is None


# Names and answers are looked up for what is given out alone, and all of them at once: a water has many incidents.
_SELECT = f"""
WITH found AS MATERIALIZED (
    SELECT i.id, i.code, i.state, i.kind, i.severity, i.public_point, i.opened_at, i.last_confirmed_at, i.closed_at,
           i.state_since, i.water_feature_id
    FROM incident i {{source}} WHERE i.state NOT IN ('merged', 'retracted') AND {{where}}
    ORDER BY {{order}}, i.id LIMIT :limit),
placed AS MATERIALIZED (
    SELECT i.*, f.water_body_id FROM found i JOIN water_feature f ON f.id = i.water_feature_id),
named AS (
    SELECT n.water_body_id, jsonb_object_agg(n.lang, n.name) AS names FROM water_name n
    WHERE n.is_primary AND n.water_body_id IN (SELECT water_body_id FROM placed) GROUP BY n.water_body_id),
told AS (
    SELECT c.incident_id, max({CASE_ANSWER}) AS answer
    FROM escalation_case c WHERE c.incident_id IN (SELECT id FROM placed) GROUP BY c.incident_id)
SELECT i.code, i.state, i.kind, i.severity,
       round(ST_X(i.public_point)::numeric, {DECIMALS})::float8 AS lon,
       round(ST_Y(i.public_point)::numeric, {DECIMALS})::float8 AS lat,
       i.opened_at, i.last_confirmed_at, i.closed_at, greatest(i.state_since, i.last_confirmed_at) AS changed_at,
       b.public_id AS water, coalesce(named.names, '{{{{}}}}'::jsonb) AS names,
       {incident_answer("told.answer")} AS answer
FROM placed i JOIN water_body b ON b.id = i.water_body_id
LEFT JOIN named ON named.water_body_id = i.water_body_id LEFT JOIN told ON told.incident_id = i.id
ORDER BY {{order}}, i.id
"""  # noqa: S608  # the pieces are constants of this module
_WATER = "JOIN water_feature w ON w.id = i.water_feature_id AND w.water_body_id = :key"
# By the index of the places; a place on the line between two parts counts once.
_AREA = """JOIN (SELECT DISTINCT o.id FROM jurisdiction j JOIN jurisdiction_part p ON p.jurisdiction_id = j.id
      JOIN incident o ON ST_Intersects(o.public_point, p.geom) WHERE j.code = :key) inside ON inside.id = i.id"""
_WORST = "i.closed_at IS NOT NULL, i.severity DESC, i.opened_at DESC"
_LATEST = "greatest(i.state_since, i.last_confirmed_at) DESC"
_OPEN = "i.closed_at IS NULL"
_LATELY = f"""i.id IN (SELECT id FROM incident WHERE closed_at IS NULL UNION ALL
    SELECT incident_id FROM incident_span WHERE ended_at > now() - interval '{ENDED_DAYS} days')"""  # noqa: S608  # a constant


def _statement(source: str, where: str, order: str) -> TextClause:
    return text(_SELECT.format(source=source, where=where, order=order))


_OF_WATER = _statement(_WATER, "true", _WORST)
_OF_AREA = _statement(_AREA, _OPEN, _WORST)
_OF_ALL = _statement("", _OPEN, _WORST)
_BY_CODE = _statement("", "i.code = :key", _WORST)
_FEED_OF_WATER = _statement(_WATER, "true", _LATEST)
_FEED_OF_AREA = _statement(_AREA, _LATELY, _LATEST)
_FEED_OF_ALL = _statement("", _LATELY, _LATEST)


def of_water(session: Session, water_body_id: uuid.UUID) -> list[PublicIncident]:
    """Every incident of a water, also those that have ended: open before ended, worst first. One query."""
    return _rows(session, _OF_WATER, water_body_id, MOST)


def of_area(session: Session, code: str) -> list[PublicIncident]:
    """The open incidents whose public points lie in an area (GB/T 2260 code), worst first. One query."""
    return _rows(session, _OF_AREA, code, MOST)


def of_country(session: Session) -> list[PublicIncident]:
    """Every open incident, worst first. One query."""
    return _rows(session, _OF_ALL, None, MOST)


def by_code(session: Session, code: str) -> PublicIncident | None:
    """One incident, or None: unknown, merged or withdrawn."""
    return next(iter(_rows(session, _BY_CODE, code.upper(), 1)), None)


def latest_of_water(session: Session, water_body_id: uuid.UUID) -> list[PublicIncident]:
    """What changed last on a water, newest first. One query."""
    return _rows(session, _FEED_OF_WATER, water_body_id, FED)


def latest_of_area(session: Session, code: str) -> list[PublicIncident]:
    """What changed last in an area, newest first: open incidents, and those that ended lately. One query."""
    return _rows(session, _FEED_OF_AREA, code, FED)


def latest_of_country(session: Session) -> list[PublicIncident]:
    """What changed last anywhere, newest first: open incidents, and those that ended lately. One query."""
    return _rows(session, _FEED_OF_ALL, None, FED)


def _rows(session: Session, statement: TextClause, key: object, limit: int) -> list[PublicIncident]:
    found = []
    for row in session.execute(statement, {"key": key, "limit": limit} if key is not None else {"limit": limit}):
        facts = dict(row._mapping)
        found.append(PublicIncident(**(facts | {"answer": ANSWERS[facts["answer"]]})))
    return found
