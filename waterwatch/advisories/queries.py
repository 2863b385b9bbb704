"""Answers about warning levels."""

import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

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


def level_of_water(session: Session, water_body_id: uuid.UUID) -> int | None:
    """The highest confirmed level anywhere on a water, or None."""
    level: int | None = session.execute(_OF_WATER, {"water_body_id": water_body_id}).scalar_one()
    return level
