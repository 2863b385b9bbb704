"""Warnings of what comes down the rivers, as alerts for everybody follow each other."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

ENDED_FOR: Final = timedelta(days=7)  # how long one that has ended is told of
MOST: Final = 200


@dataclass(frozen=True)
class Told:
    """When everybody was told something of a forecast; ``is_end``: that it warns no more."""

    at: datetime
    is_end: bool


@dataclass(frozen=True)
class PublicForecast:
    """A forecast that is, or was, public. ``steps``: what everybody was told of it, oldest first, to the second.
    ``lon``, ``lat``: the incident's public point.

    ``is_withdrawn``: its incident is none any more. Nothing of it may be told but that its warning has ended.
    One that was merged is so once its warning has ended: for some seconds that may be undone."""

    incident_id: uuid.UUID
    code: str
    kind: str
    level: int
    is_withdrawn: bool
    water: str
    lon: float
    lat: float
    steps: Sequence[Told]

    @property
    def is_standing(self) -> bool:
        """Whether the last that was told is that it warns."""
        return not self.steps[-1].is_end


_FORECASTS = """
SELECT f.incident_id, i.code, f.kind, f.level, coalesce(n.name, i.code) AS water,
       i.state = 'retracted' OR (i.state = 'merged' AND f.state <> 'standing') AS is_withdrawn,
       round(ST_X(i.public_point)::numeric, 5)::float8 AS lon, round(ST_Y(i.public_point)::numeric, 5)::float8 AS lat,
       told.times, told.are_ends
FROM downstream_forecast f JOIN incident i ON i.id = f.incident_id JOIN water_feature w ON w.id = i.water_feature_id
CROSS JOIN LATERAL (
    SELECT array_agg(at ORDER BY at, is_end) AS times, array_agg(is_end ORDER BY at, is_end) AS are_ends FROM (
        SELECT DISTINCT date_trunc('second', e.at) AS at, NOT (e.after ->> 'is_public')::boolean AS is_end
        FROM audit_entry e
        WHERE e.subject_kind = 'incident' AND e.subject_id = f.incident_id AND e.action = 'downstream.reckoned'
          AND ((e.after ->> 'is_public')::boolean OR (e.after ->> 'was_public')::boolean)) each) told
LEFT JOIN LATERAL (
    SELECT name FROM water_name WHERE water_body_id = w.water_body_id AND is_primary
    ORDER BY array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], lang) LIMIT 1) n ON true
WHERE told.times IS NOT NULL AND (f.state = 'standing' OR f.changed_at > :since) {and_where}
ORDER BY f.changed_at DESC, i.id LIMIT :limit
"""
_LATEST = text(_FORECASTS.format(and_where=""))
_ONE = text(_FORECASTS.format(and_where="AND i.code = :code"))


def public_forecasts(session: Session, *, now: datetime) -> list[PublicForecast]:
    """Those that changed last, and those that ended within a week. One query."""
    rows = session.execute(_LATEST, {"since": now - ENDED_FOR, "limit": MOST})
    return [_forecast(row) for row in rows]


def public_forecast(session: Session, code: str, *, now: datetime) -> PublicForecast | None:
    """The one of an incident, if it is public, or was within a week."""
    row = session.execute(_ONE, {"since": now - ENDED_FOR, "limit": 1, "code": code}).first()
    return _forecast(row) if row is not None else None


def _forecast(row: Any) -> PublicForecast:
    steps = [Told(at, is_end) for at, is_end in zip(row.times, row.are_ends, strict=True)]
    named = {name: getattr(row, name) for name in ("incident_id", "code", "kind", "level", "is_withdrawn")}
    return PublicForecast(**named, water=row.water, lon=row.lon, lat=row.lat, steps=steps)
