"""What is expected to reach which waters, as public pages and data tell it: by water, by area, and below an incident.

Only what everybody may know: forecasts that stand, whose head start is over, of open incidents, not yet passed. A
window's ends come without the minute the pollution was seen: see ``advisories.forecasts``.
"""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

from waterwatch.advisories.rules import Window

MOST = 20_000  # rows of one answer


@dataclass(frozen=True)
class Stretch:
    """What one incident's warning says of one water: of the part it reaches first, and of the last.

    ``distance_km``, ``last_km``: along the river from the incident to the near ends of both. ``is_lake``,
    ``is_dammed``: of any part. ``unit_peak`` (10⁻⁶/s), ``passage_s``: of the first, orders of magnitude;
    ``last_unit_peak``, ``last_passage_s``: of the last.
    """

    code: str
    kind: str
    level: int
    public_id: str
    water_kind: str
    names: dict[str, str]
    distance_km: float
    last_km: float
    first: Window
    last: Window
    is_lake: bool
    is_dammed: bool
    unit_peak: float | None
    passage_s: float | None
    last_unit_peak: float | None
    last_passage_s: float | None

    @property
    def is_timed(self) -> bool:
        """Whether any time is known."""
        return self.first.earliest is not None

    @property
    def is_one(self) -> bool:
        """Whether first and last are one place, or would be told alike."""
        return self.distance_km == self.last_km


@dataclass(frozen=True)
class WaterBelow:
    """A water of an area to which something comes: the level, and when the first of it is expected.

    ``distance_km``: along the river from the nearest incident to the nearest part of it within the area.
    """

    public_id: str
    kind: str
    names: dict[str, str]
    level: int
    first: Window
    distance_km: float


@dataclass(frozen=True)
class ExpectedPart:
    """One reach or lake of a forecast, as data: with its water, and its line or shape as GeoJSON where asked for."""

    code: str
    kind: str
    level: int
    feature_id: int
    water: str
    names: dict[str, str]
    distance_km: float
    window: Window
    lapses_at: datetime
    unit_peak: float | None
    passage_s: float | None
    is_lake: bool
    is_dammed: bool
    geometry: dict[str, Any]


_PUBLIC = """
downstream_forecast f JOIN incident i ON i.id = f.incident_id AND i.closed_at IS NULL
JOIN downstream_reach r ON r.incident_id = f.incident_id AND f.state = 'standing' AND r.public_at <= :now
     AND r.lapses_at > :now
JOIN water_feature w ON w.feature_id = r.feature_id JOIN water_body b ON b.id = w.water_body_id
"""
_NAMES = """coalesce((SELECT jsonb_object_agg(n.lang, n.name) FROM water_name n
    WHERE n.water_body_id = b.id AND n.is_primary), '{}'::jsonb)"""
_STRETCHES = """
SELECT *, {names} AS names FROM (
    SELECT i.code, i.kind, f.level, b.id, b.public_id, b.kind AS water_kind,
           min(r.distance_km) AS distance_km, max(r.distance_km) AS last_km, min(r.nth) AS nth,
           (array_agg(r.earliest_at ORDER BY r.nth))[1] AS earliest_at,
           (array_agg(r.probable_at ORDER BY r.nth))[1] AS probable_at,
           (array_agg(r.earliest_at ORDER BY r.nth DESC))[1] AS last_earliest_at,
           (array_agg(r.probable_at ORDER BY r.nth DESC))[1] AS last_probable_at,
           bool_or(r.is_lake) AS is_lake, bool_or(r.is_dammed) AS is_dammed,
           (array_agg(r.unit_peak ORDER BY r.nth))[1] AS unit_peak,
           (array_agg(r.passage_s ORDER BY r.nth))[1] AS passage_s,
           (array_agg(r.unit_peak ORDER BY r.nth DESC))[1] AS last_unit_peak,
           (array_agg(r.passage_s ORDER BY r.nth DESC))[1] AS last_passage_s
    FROM {public} WHERE {where}
    GROUP BY i.code, i.kind, f.level, b.id, b.public_id, b.kind) b
ORDER BY {order} LIMIT :limit
"""


def _stretches(where: str, order: str) -> TextClause:
    return text(_STRETCHES.format(names=_NAMES, public=_PUBLIC, where=where, order=order))


_OF_WATER = _stretches("w.water_body_id = :key", "level DESC, earliest_at NULLS LAST, distance_km, code")
_OF_INCIDENT = _stretches("i.id = :key", "nth, public_id")
_IN_AREA = text(f"""
SELECT b.public_id, b.kind, {_NAMES} AS names, found.level, found.earliest_at, found.probable_at, found.distance_km,
       count(*) OVER () AS waters
FROM (SELECT w.water_body_id, max(f.level) AS level, min(r.earliest_at) AS earliest_at,
             (array_agg(r.probable_at ORDER BY r.earliest_at NULLS LAST))[1] AS probable_at,
             min(r.distance_km) AS distance_km
      FROM {_PUBLIC}
      WHERE w.geom && (SELECT geom FROM jurisdiction WHERE code = :code)
        AND EXISTS (SELECT FROM jurisdiction j JOIN jurisdiction_part p ON p.jurisdiction_id = j.id
                    WHERE j.code = :code AND p.geom && w.geom AND ST_Intersects(p.geom, w.geom))
      GROUP BY w.water_body_id) found JOIN water_body b ON b.id = found.water_body_id
ORDER BY found.level DESC, found.earliest_at NULLS LAST, found.distance_km, b.rank, b.public_id LIMIT :limit
""")  # noqa: S608  # the pieces are constants of this module
_PARTS = """
SELECT i.code, i.kind, f.level, r.feature_id, b.public_id AS water, {names} AS names, r.distance_km, r.earliest_at,
       r.probable_at, r.lapses_at, r.unit_peak, r.passage_s, r.is_lake, r.is_dammed,
       ST_AsGeoJSON(ST_SimplifyPreserveTopology(w.geom, 0.0005), 5) AS geometry
FROM {public} WHERE {where} ORDER BY f.level DESC, i.code, r.nth LIMIT :limit
"""
_PARTS_OF_WATER = text(_PARTS.format(names=_NAMES, public=_PUBLIC, where="w.water_body_id = :key"))
_PARTS_OF_INCIDENT = text(_PARTS.format(names=_NAMES, public=_PUBLIC, where="i.code = :key"))


def of_water(session: Session, water_body_id: uuid.UUID, *, now: datetime, limit: int = 20) -> list[Stretch]:
    """What comes to a water, incident by incident, the gravest and then the soonest first. One query."""
    return _stretches_of(session, _OF_WATER, water_body_id, now, limit)


def of_incident(session: Session, incident_id: uuid.UUID, *, now: datetime, limit: int = 200) -> list[Stretch]:
    """The waters below an incident in the order in which it comes to them. One query."""
    return _stretches_of(session, _OF_INCIDENT, incident_id, now, limit)


def in_area(session: Session, code: str, *, now: datetime, limit: int = 50) -> tuple[int, list[WaterBelow]]:
    """How many waters of an area (GB/T 2260 code) something comes to, and the first of them. One query."""
    rows = session.execute(_IN_AREA, {"code": code, "now": now, "limit": limit}).all()
    found = [
        WaterBelow(
            row.public_id, row.kind, row.names, row.level, Window(row.earliest_at, row.probable_at), row.distance_km
        )
        for row in rows
    ]
    return (rows[0].waters if rows else 0), found


def parts_of_water(session: Session, water_body_id: uuid.UUID, *, now: datetime) -> list[ExpectedPart]:
    """Reach by reach what comes to a water. One query."""
    return _parts(session, _PARTS_OF_WATER, water_body_id, now)


def parts_of_incident(session: Session, code: str, *, now: datetime) -> list[ExpectedPart]:
    """Reach by reach what lies below an incident, the nearest first. One query."""
    return _parts(session, _PARTS_OF_INCIDENT, code.upper(), now)


def _stretches_of(session: Session, statement: TextClause, key: object, now: datetime, limit: int) -> list[Stretch]:
    rows = session.execute(statement, {"key": key, "now": now, "limit": limit})
    return [
        Stretch(
            row.code, row.kind, row.level, row.public_id, row.water_kind, row.names, row.distance_km, row.last_km,
            Window(row.earliest_at, row.probable_at), Window(row.last_earliest_at, row.last_probable_at),
            row.is_lake, row.is_dammed, row.unit_peak, row.passage_s, row.last_unit_peak, row.last_passage_s,
        )
        for row in rows
    ]  # fmt: skip


def _parts(session: Session, statement: TextClause, key: object, now: datetime) -> list[ExpectedPart]:
    rows = session.execute(statement, {"key": key, "now": now, "limit": MOST})
    return [
        ExpectedPart(
            row.code, row.kind, row.level, row.feature_id, row.water, row.names, row.distance_km,
            Window(row.earliest_at, row.probable_at), row.lapses_at, row.unit_peak, row.passage_s,
            row.is_lake, row.is_dammed,
            json.loads(row.geometry),
        )
        for row in rows
    ]  # fmt: skip
