"""Warnings of what comes down the rivers, as alerts for everybody follow each other."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

ENDED_FOR: Final = timedelta(days=7)  # how long one that has ended is told of
MOST: Final = 200


@dataclass(frozen=True)
class PublicForecast:
    """A forecast that is, or was, public. ``steps``: when it became so, and when it changed since, oldest first; the
    last is that of its end where it does not stand any more. ``lon``, ``lat``: the incident's public point.

    ``is_withdrawn``: its incident is none any more. Nothing of it may be told but that its warning has ended."""

    incident_id: uuid.UUID
    code: str
    kind: str
    level: int
    is_standing: bool
    is_withdrawn: bool
    water: str
    lon: float
    lat: float
    steps: Sequence[datetime]


# One that was public, ended and stands again is not public yet for a while: until then it is what it was, ended.
_FORECASTS = """
SELECT f.incident_id, i.code, f.kind, f.level, f.state = 'standing' AND f.public_at <= :now AS is_standing,
       i.state IN ('retracted', 'merged') AS is_withdrawn, coalesce(n.name, i.code) AS water,
       round(ST_X(i.public_point)::numeric, 5)::float8 AS lon, round(ST_Y(i.public_point)::numeric, 5)::float8 AS lat,
       ARRAY(SELECT date_trunc('second', first.at) UNION
             SELECT date_trunc('second', f.public_at)
             WHERE f.state = 'standing' AND f.public_at BETWEEN first.at AND :now UNION
             SELECT date_trunc('second', e.at) FROM audit_entry e
             WHERE e.subject_kind = 'incident' AND e.subject_id = f.incident_id AND e.action = 'downstream.reckoned'
               AND e.at > first.at
               AND NOT (f.state = 'standing' AND e.at >= f.state_since AND e.at < f.public_at) ORDER BY 1) AS steps
FROM downstream_forecast f JOIN incident i ON i.id = f.incident_id JOIN water_feature w ON w.id = i.water_feature_id
CROSS JOIN LATERAL (SELECT coalesce(f.first_public_at, f.public_at) AS at) first
LEFT JOIN LATERAL (
    SELECT name FROM water_name WHERE water_body_id = w.water_body_id AND is_primary
    ORDER BY array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], lang) LIMIT 1) n ON true
WHERE first.at <= :now AND (f.state = 'standing' OR f.state_since > first.at AND f.changed_at > :since)
  {and_where} ORDER BY f.changed_at DESC, i.id LIMIT :limit
"""
_LATEST = text(_FORECASTS.format(and_where=""))
_ONE = text(_FORECASTS.format(and_where="AND i.code = :code"))


def public_forecasts(session: Session, *, now: datetime) -> list[PublicForecast]:
    """Those that changed last, and those that ended within a week. One query."""
    rows = session.execute(_LATEST, {"now": now, "since": now - ENDED_FOR, "limit": MOST})
    return [PublicForecast(**row._mapping) for row in rows]


def public_forecast(session: Session, code: str, *, now: datetime) -> PublicForecast | None:
    """The one of an incident, if it is public."""
    row = session.execute(_ONE, {"now": now, "since": now - ENDED_FOR, "limit": 1, "code": code}).first()
    return PublicForecast(**row._mapping) if row is not None else None
