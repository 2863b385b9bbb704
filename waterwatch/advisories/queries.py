"""Answers about warning levels."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Level:
    """The level of one reach or lake; ``feature_id`` is the stable integer tiles join by."""

    feature_id: int
    water_body_id: uuid.UUID
    level: int
    since: datetime


_ALL = text("""
SELECT f.feature_id, f.water_body_id, a.level, a.since
FROM advisory a JOIN water_feature f ON f.id = a.water_feature_id
WHERE a.basis = 'confirmed' ORDER BY f.feature_id
""")
_OF_WATER = text("""
SELECT max(a.level) FROM advisory a JOIN water_feature f ON f.id = a.water_feature_id
WHERE a.basis = 'confirmed' AND f.water_body_id = :water_body_id
""")


# The level that stands, and the one that follows from the open incidents.
_LEVELS = text("""
SELECT (SELECT level FROM advisory WHERE water_feature_id = :id AND basis = 'confirmed') AS stands,
       (SELECT max(severity) FROM incident WHERE water_feature_id = :id AND closed_at IS NULL) AS follows
""")


def levels_of(session: Session, water_feature_id: uuid.UUID) -> tuple[int | None, int | None]:
    """The confirmed level a reach or lake carries, and the highest severity among its open incidents."""
    row = session.execute(_LEVELS, {"id": water_feature_id}).one()
    return row.stands, row.follows


def confirmed_levels(session: Session) -> list[Level]:
    """Every reach and lake that carries a confirmed warning."""
    return [Level(**row._mapping) for row in session.execute(_ALL)]


def level_of_water(session: Session, water_body_id: uuid.UUID) -> int | None:
    """The highest confirmed level anywhere on a water, or None."""
    level: int | None = session.execute(_OF_WATER, {"water_body_id": water_body_id}).scalar_one()
    return level
