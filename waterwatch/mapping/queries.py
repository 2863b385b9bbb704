"""What the map is drawn from."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class DrawnWater:
    """A reach or lake inside a small map: GeoJSON geometry clipped to the frame, its name and confirmed level."""

    water_feature_id: uuid.UUID
    kind: str
    name: str | None
    level: int | None
    geometry: dict[str, Any]


@dataclass(frozen=True)
class LevelledWater:
    """A coloured reach or lake with its name per language, for pages that list what carries a warning."""

    feature_id: int
    public_id: str
    level: int
    kind: str
    names: dict[str, str]
    geometry: dict[str, Any]


_IN_FRAME = text("""
WITH frame AS (SELECT ST_MakeEnvelope(:west, :south, :east, :north, 4326) AS box,
                      ST_Transform(ST_MakeEnvelope(:west, :south, :east, :north, 4326), 3857) AS box_3857)
SELECT f.id AS water_feature_id, f.kind, n.name, a.level,
       ST_AsGeoJSON(ST_Intersection(f.geom, frame.box), 5) AS geometry
FROM frame, water_feature f
LEFT JOIN water_name n ON n.water_body_id = f.water_body_id AND n.lang = 'zh-Hans' AND n.is_primary
LEFT JOIN advisory a ON a.water_feature_id = f.id AND a.basis = 'confirmed'
WHERE f.geom_3857 && frame.box_3857 AND (f.retired_at IS NULL OR a.level IS NOT NULL)
  AND ST_Intersects(f.geom, frame.box)
ORDER BY f.kind, f.feature_id LIMIT 400
""")
_LEVELLED = text("""
SELECT f.feature_id, b.public_id, a.level, f.kind,
       coalesce((SELECT jsonb_object_agg(n.lang, n.name) FROM water_name n
                 WHERE n.water_body_id = b.id AND n.is_primary), '{}'::jsonb) AS names,
       ST_AsGeoJSON(ST_SimplifyPreserveTopology(f.geom, 0.01), 4) AS geometry
FROM advisory a
JOIN water_feature f ON f.id = a.water_feature_id
JOIN water_body b ON b.id = f.water_body_id
WHERE a.basis = 'confirmed'
ORDER BY a.level DESC, f.feature_id LIMIT :limit
""")


def waters_in_frame(session: Session, bounds: tuple[float, float, float, float]) -> list[DrawnWater]:
    """Reaches and lakes that touch (west, south, east, north), clipped to it, lakes first so lines lie above them."""
    west, south, east, north = bounds
    rows = session.execute(_IN_FRAME, {"west": west, "south": south, "east": east, "north": north})
    return [DrawnWater(row.water_feature_id, row.kind, row.name, row.level, json.loads(row.geometry)) for row in rows]


def levelled_waters(session: Session, *, limit: int = 300) -> list[LevelledWater]:
    """The coloured reaches and lakes, worst first; at most ``limit``, because a page of thousands freezes a phone."""
    rows = session.execute(_LEVELLED, {"limit": limit})
    return [
        LevelledWater(row.feature_id, row.public_id, row.level, row.kind, row.names, json.loads(row.geometry))
        for row in rows
    ]
