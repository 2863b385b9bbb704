"""Which zones of protection a place or a water lies in. One indexed statement each; metres through geography."""

import json
import math
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session

MERCATOR_SLACK = 1.01  # Mercator stretches by 1/cos(latitude), and by a little more towards the pole
BESIDE_M = 200.0  # an intake's pipe begins on the bank, beside the drawn line


@dataclass(frozen=True)
class ZoneAt:
    """A zone at or near a place; ``distance_m`` is 0 inside it."""

    zone_id: uuid.UUID
    kind: str
    grade: int | None
    names: dict[str, str]
    distance_m: float


@dataclass(frozen=True)
class ZoneAlong:
    """A zone that a reach or lake touches, or that lies within :data:`BESIDE_M` of it.

    ``operator_id``: the agency that runs it, where one is known and was not retired.
    """

    feature_id: int
    zone_id: uuid.UUID
    kind: str
    grade: int | None
    names: dict[str, str]
    operator_id: uuid.UUID | None = None


# The strictest first: what people drink before what they bathe in.
_ORDER = "array_position(ARRAY['intake', 'drinking_water', 'nature_reserve', 'bathing'], z.kind), z.grade NULLS LAST"
_NAMES = """
coalesce((SELECT jsonb_object_agg(n.lang, n.name) FROM protected_zone_name n WHERE n.zone_id = z.id), '{}') AS names
"""
_AT = text(f"""
WITH place AS MATERIALIZED (
    SELECT ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography AS at,
           ST_Expand(ST_Transform(ST_SetSRID(ST_MakePoint(:lon, :lat), 4326), 3857), :within_mercator) AS box)
SELECT z.id AS zone_id, z.kind, z.grade, {_NAMES}, z.distance_m
FROM (SELECT p.*, ST_Distance(p.geom::geography, place.at) AS distance_m FROM place, protected_zone p
      WHERE p.retired_at IS NULL AND p.geom_3857 && place.box OFFSET 0) z
WHERE z.distance_m <= :within_m ORDER BY {_ORDER}, z.distance_m, z.id
""")  # noqa: S608  # the pieces are constants of this module
_ALONG = text(f"""
SELECT f.feature_id, z.id AS zone_id, z.kind, z.grade, {_NAMES},
       (SELECT a.id FROM agency a WHERE a.id = z.operator_id AND a.retired_at IS NULL) AS operator_id
FROM water_feature f JOIN protected_zone z
  ON z.geom_3857 && ST_Expand(f.geom_3857, {BESIDE_M * MERCATOR_SLACK} / cos(radians(ST_YMax(f.geom))))
WHERE f.feature_id = ANY(:feature_ids) AND z.retired_at IS NULL
  AND ST_DWithin(z.geom::geography, f.geom::geography, {BESIDE_M})
ORDER BY f.feature_id, {_ORDER}, z.id
""").bindparams(bindparam("feature_ids", type_=ARRAY(BigInteger)))  # noqa: S608

# Large reserves are cut to what a map of the place shows, and drawn no finer than its pixels.
_SHAPES = text("""
SELECT z.id, ST_AsGeoJSON(ST_SimplifyPreserveTopology(ST_Intersection(z.geom, place.box), :tolerance_deg), 5) AS shape
FROM protected_zone z,
     (SELECT ST_Expand(ST_SetSRID(ST_MakePoint(:lon, :lat), 4326), :around_deg) AS box) place
WHERE z.id = ANY(:ids) AND ST_Intersects(z.geom, place.box)
""").bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))
AROUND_DEG, TOLERANCE_DEG = 0.06, 0.00005


def shapes_near(session: Session, zone_ids: Collection[uuid.UUID], lon: float, lat: float) -> dict[uuid.UUID, Any]:
    """By zone, its shape within some 6 km of a place as GeoJSON geometry (WGS-84)."""
    around = {"lon": lon, "lat": lat, "around_deg": AROUND_DEG, "tolerance_deg": TOLERANCE_DEG}
    rows = session.execute(_SHAPES, {"ids": list(zone_ids)} | around)
    return {row.id: json.loads(row.shape) for row in rows}


def zones_at(session: Session, lon: float, lat: float, *, within_m: float = 0.0) -> list[ZoneAt]:
    """The zones a place (WGS-84) lies in, or lies within so many metres of; the strictest first."""
    stretch = MERCATOR_SLACK / max(0.05, math.cos(math.radians(lat)))
    values = {"lon": lon, "lat": lat, "within_m": within_m, "within_mercator": within_m * stretch + 1}
    return [ZoneAt(**row._mapping) for row in session.execute(_AT, values)]


def zones_along(session: Session, feature_ids: Collection[int]) -> list[ZoneAlong]:
    """The zones that each of these reaches and lakes touches or passes within :data:`BESIDE_M` of."""
    return [ZoneAlong(**row._mapping) for row in session.execute(_ALONG, {"feature_ids": list(feature_ids)})]
