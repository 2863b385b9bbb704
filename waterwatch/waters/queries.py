"""Every question about waters. Geometry leaves as numbers or GeoJSON; distances are metres through geography.

Nearest neighbours are found by the index on the Web-Mercator column (a true order locally, unlike degrees, which pick
the wrong river for 1-3 % of points) and measured exactly outside.
"""

import json
import math
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Float, Text, Uuid, bindparam, column, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session

from waterwatch.waters.rules import to_mercator

CANDIDATE_FLOOR_M = 50.0  # candidates lie within max(this, twice the accuracy), else the nearest within the limit
SEARCH_LIMIT_M = 2000.0
LAKE_GRID_DEG = 0.01  # about a kilometre; see snap()
MERCATOR_SLACK = 1.01  # Mercator stretches by 1/cos(latitude), and by a little more towards the pole
FETCHED = 24  # Mercator neighbours looked at when nothing is close, before exact metres rank them


@dataclass(frozen=True)
class Candidate:
    """A reach or lake near a place, with the public point on it (WGS-84)."""

    water_feature_id: uuid.UUID
    feature_id: int
    water_body_id: uuid.UUID
    public_id: str
    kind: str
    distance_m: float
    snapped_lon: float
    snapped_lat: float


@dataclass(frozen=True)
class Banks:
    """Two places (lon, lat in WGS-84) opposite each other, seen downstream."""

    left: tuple[float, float]
    right: tuple[float, float]


@dataclass(frozen=True)
class WaterView:
    """A water body as its page shows it. ``basin_id``: the water that gives the basin its name, if one does."""

    water_body_id: uuid.UUID
    public_id: str
    kind: str
    basin: str | None
    basin_area_km2: float | None
    mean_discharge_cms: float | None
    length_km: float | None
    parent_public_id: str | None
    parent_id: uuid.UUID | None
    basin_id: uuid.UUID | None


# The place is worked out first and by itself: a plan that knows nothing of it is as good as one made for it, so
# PostgreSQL keeps one and plans no more. What is fetched lies within a box in Mercator, which stretches all distances
# by 1/cos(latitude) and, towards the pole, by a little more (MERCATOR_SLACK); what counts is measured on the spheroid.
_PLACE = """
WITH place AS MATERIALIZED (
    SELECT ST_SetSRID(ST_MakePoint(:lon, :lat), 4326) AS at,
           ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography AS at_metric,
           ST_SetSRID(ST_MakePoint(:x, :y), 3857) AS at_3857,
           ST_Expand(ST_SetSRID(ST_MakePoint(:x, :y), 3857), :radius_mercator) AS box)
SELECT f.id AS water_feature_id, f.feature_id, f.water_body_id, b.public_id, f.kind, f.distance_m,
       ST_X(f.snapped) AS snapped_lon, ST_Y(f.snapped) AS snapped_lat
FROM (
    SELECT w.id, w.feature_id, w.water_body_id, w.kind, w.ord_stra,
           ST_Distance(w.geom::geography, place.at_metric) AS distance_m,
           ST_ClosestPoint(w.geom, CASE WHEN w.kind = 'lake' AND ST_Covers(w.geom, place.at)
               THEN ST_SnapToGrid(place.at, :lake_grid_deg) ELSE place.at END) AS snapped
    FROM place, {found} OFFSET 0) f
JOIN water_body b ON b.id = f.water_body_id
WHERE f.distance_m <= :radius_m
ORDER BY f.distance_m, f.ord_stra DESC NULLS LAST, f.feature_id
"""
# In the order of Candidate's fields. Named here, SQLAlchemy need not match them to the answer's columns each time.
_CANDIDATE = (
    column("water_feature_id", Uuid()),
    column("feature_id", BigInteger()),
    column("water_body_id", Uuid()),
    column("public_id", Text()),
    column("kind", Text()),
    column("distance_m", Float()),
    column("snapped_lon", Float()),
    column("snapped_lat", Float()),
)
_WITHIN = text(
    _PLACE.replace(
        "{found}",
        "water_feature w WHERE w.retired_at IS NULL AND w.geom_3857 && place.box"
        " AND ST_Distance(w.geom_3857, place.at_3857) <= :radius_mercator",
    )
).columns(*_CANDIDATE)
_NEAREST = text(
    _PLACE.replace(
        "{found}",
        "LATERAL (SELECT * FROM water_feature n WHERE n.retired_at IS NULL AND n.geom_3857 && place.box"  # noqa: S608
        f" ORDER BY n.geom_3857 <-> place.at_3857 LIMIT {FETCHED}) w",
    )
).columns(*_CANDIDATE)
NEIGHBOURS = 3
FLATTENING_SLACK = 1.0075  # Mercator's order is that of metres but for what the spheroid is flattened, 1/149 at most
# Only what Mercator cannot tell apart is measured on the spheroid, which costs more than all the rest.
_NEAREST_OF_MANY = text(f"""
SELECT p.nth, w.feature_id, w.distance_m
FROM (SELECT nth, ST_SetSRID(ST_MakePoint(lon, lat), 4326)::geography AS at,
             ST_Transform(ST_SetSRID(ST_MakePoint(lon, lat), 4326), 3857) AS at_3857,
             :within_m * {MERCATOR_SLACK} / greatest(0.05, cos(radians(lat))) AS within_mercator
      FROM unnest(CAST(:lons AS float8[]), CAST(:lats AS float8[])) WITH ORDINALITY p (lon, lat, nth) OFFSET 0) p,
LATERAL (
    SELECT n.feature_id, ST_Distance(n.geom::geography, p.at) AS distance_m FROM (
        SELECT near.*, min(far) OVER () AS least FROM (
            SELECT f.feature_id, f.geom, f.geom_3857 <-> p.at_3857 AS far FROM water_feature f
            WHERE f.retired_at IS NULL AND f.geom_3857 && ST_Expand(p.at_3857, p.within_mercator)
            ORDER BY f.geom_3857 <-> p.at_3857 LIMIT {NEIGHBOURS}) near OFFSET 0) n
    WHERE far <= least * {FLATTENING_SLACK} ORDER BY distance_m, n.feature_id LIMIT 1) w
WHERE w.distance_m <= :within_m
""")  # noqa: S608  # the pieces are constants of this module
_SNAP = text("""
SELECT ST_X(p) AS lon, ST_Y(p) AS lat, ST_Distance(nearest::geography, at::geography) AS distance_m
FROM (SELECT ST_ClosestPoint(f.geom, CASE WHEN f.kind = 'lake' AND ST_Covers(f.geom, place.at)
                 THEN ST_SnapToGrid(place.at, :lake_grid_deg) ELSE place.at END) AS p,
             ST_ClosestPoint(f.geom, place.at) AS nearest, place.at
      FROM water_feature f, (SELECT ST_SetSRID(ST_MakePoint(:lon, :lat), 4326) AS at) place
      WHERE f.id = :id) snapped
""")
BANK_M = 1000.0  # half the width of the widest rivers, and what simplified borders of counties err by (some 800 m)
BANK_REACH_M = 2500.0  # so far up and down from the place the banks are looked at
BANK_SAMPLES = 9
# On both sides of reach ``{feature}`` along a place, the points themselves; ``place`` is (at). Where ``{unless}`` holds
# nothing is worked out.
BANKS = f"""
SELECT nth, l.at AS left_at, r.at AS right_at
FROM (
    SELECT nth, ST_LineInterpolatePoint(geom, far)::geography AS at,
           ST_Azimuth(ST_LineInterpolatePoint(geom, far - 0.001)::geography,
                      ST_LineInterpolatePoint(geom, far + 0.001)::geography) AS heading
    FROM (
        SELECT geom, nth, least(0.999, greatest(0.001, here + (2.0 * nth / ({BANK_SAMPLES} - 1) - 1)
                                                       * {BANK_REACH_M} / length_m)) AS far
        FROM (
            SELECT d.geom, greatest(ST_Length(d.geom::geography), 1) AS length_m, ST_LineLocatePoint(d.geom, at) AS here
            FROM place, water_feature f, ST_Dump(f.geom) d
            WHERE f.id = {{feature}} AND f.kind = 'reach' AND NOT {{unless}} ORDER BY d.geom <-> at LIMIT 1) line,
        generate_series(0, {BANK_SAMPLES} - 1) nth) along) sample,
LATERAL (SELECT ST_Project(sample.at, {BANK_M}, heading - pi() / 2)::geometry AS at) l,
LATERAL (SELECT ST_Project(sample.at, {BANK_M}, heading + pi() / 2)::geometry AS at) r
WHERE heading IS NOT NULL
"""  # noqa: S608  # the pieces are constants of this module
_BANKS = text(f"""
WITH place AS (SELECT ST_SetSRID(ST_MakePoint(:lon, :lat), 4326) AS at)
SELECT ST_X(left_at) AS left_lon, ST_Y(left_at) AS left_lat, ST_X(right_at) AS right_lon, ST_Y(right_at) AS right_lat
FROM ({BANKS.format(feature=":id", unless="false")}) bank ORDER BY nth
""")  # noqa: S608
_BY_PUBLIC_ID = text("""
SELECT b.id AS water_body_id, b.public_id, b.kind, b.basin, b.basin_area_km2, b.mean_discharge_cms, b.length_km,
       parent.public_id AS parent_public_id, b.parent_id,
       (SELECT n.water_body_id FROM water_name n JOIN water_body w ON w.id = n.water_body_id
        WHERE n.lang = 'zh-Hans' AND n.is_primary AND n.name = b.basin ORDER BY w.rank, w.id LIMIT 1) AS basin_id
FROM water_body b LEFT JOIN water_body parent ON parent.id = b.parent_id WHERE b.public_id = :public_id
""")
_TRIBUTARIES = text("""
SELECT b.id, b.public_id FROM water_body b WHERE b.parent_id = :id AND b.retired_at IS NULL
  AND EXISTS (SELECT FROM water_name n WHERE n.water_body_id = b.id) ORDER BY b.rank, b.public_id LIMIT :limit
""")
_IDS = ARRAY(UUID(as_uuid=True))
_NAMES = text("""
SELECT water_body_id, lang, name FROM water_name WHERE is_primary AND water_body_id = ANY(:ids)
""").bindparams(bindparam("ids", type_=_IDS))
_PUBLIC_IDS = text("SELECT id, public_id FROM water_body WHERE id = ANY(:ids)").bindparams(bindparam("ids", type_=_IDS))
_FEATURE_IDS = text("""
SELECT f.feature_id FROM water_feature f JOIN water_body b ON b.id = f.water_body_id
WHERE b.id = :id AND (f.retired_at IS NULL OR b.retired_at IS NOT NULL) ORDER BY f.feature_id
""")
_FEATURE_OF_KEY = text("""
SELECT f.feature_id FROM water_feature f JOIN source o ON o.id = f.source_id
WHERE o.code = :source AND f.source_key = :key AND f.retired_at IS NULL
""")
_BODIES_OF = text("""
SELECT feature_id, water_body_id FROM water_feature WHERE feature_id = ANY(:feature_ids)
""").bindparams(bindparam("feature_ids", type_=ARRAY(BigInteger)))
# Drawn no finer than a map of the whole way shows.
_SHAPES = text("""
SELECT feature_id, ST_AsGeoJSON(ST_Simplify(geom, :tolerance_deg, true), 4) AS shape
FROM water_feature WHERE feature_id = ANY(:feature_ids)
""").bindparams(bindparam("feature_ids", type_=ARRAY(BigInteger)))
_TO_LOWER_END = text("""
SELECT coalesce(f.length_km, 0) * CASE WHEN GeometryType(f.geom) = 'LINESTRING'
           THEN 1 - ST_LineLocatePoint(f.geom, ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)) ELSE 0 END AS km
FROM water_feature f WHERE f.id = :id
""")


def nearest_waters(
    session: Session,
    lon: float,
    lat: float,
    accuracy_m: float,
    limit: int = 3,
    *,
    search_limit_m: float = SEARCH_LIMIT_M,
) -> list[Candidate]:
    """Candidates for the water of a place, nearest first: all within max(50 m, 2 × accuracy), else the nearest ones.

    Each water is named once, by its nearest reach: people are asked "is it 长江?", not which sixty kilometres of it.

    ``lon``, ``lat`` WGS-84 degrees; nothing farther than ``search_limit_m`` is ever returned. Ties at a shared vertex
    are broken by feature id. One query, two where nothing is so near.
    """
    x, y = to_mercator(lon, lat)
    stretch = MERCATOR_SLACK / max(0.05, math.cos(math.radians(lat)))
    place = {"lon": lon, "lat": lat, "x": x, "y": y, "lake_grid_deg": LAKE_GRID_DEG}
    nearest_of: dict[uuid.UUID, Candidate] = {}
    within_m = min(max(CANDIDATE_FLOOR_M, 2 * accuracy_m), search_limit_m)
    for statement, radius_m in ((_WITHIN, within_m), (_NEAREST, search_limit_m)):
        radii = {"radius_m": radius_m, "radius_mercator": radius_m * stretch}
        for row in session.execute(statement, place | radii).all():
            if row[2] not in nearest_of:
                nearest_of[row[2]] = Candidate(*row)
        if nearest_of:
            break
    return list(nearest_of.values())[:limit]


def nearest_of_many(
    session: Session, places: Sequence[tuple[float, float]], *, within_m: float = SEARCH_LIMIT_M
) -> list[tuple[int, int, float]]:
    """For many places (lon, lat in WGS-84) at once: (which place, feature id, metres) of the nearest water of each.

    For reports that are looked at again after an import. Places without a water in reach are left out. One query.
    """
    lons, lats = zip(*places, strict=True) if places else ((), ())
    rows = session.execute(_NEAREST_OF_MANY, {"lons": list(lons), "lats": list(lats), "within_m": within_m})
    return [(row.nth - 1, row.feature_id, row.distance_m) for row in rows]


def snap(session: Session, water_feature_id: uuid.UUID, lon: float, lat: float) -> tuple[float, float, float]:
    """(lon, lat, distance in m): the public point on a reach or lake, and how far the water is from the place.

    The public point is the nearest one on the water. Inside a lake's outline, coarse enough to cover its banks,
    that would be the place itself and betray who stood there; there it is the nearest node of a kilometre grid instead.
    Raises ``NoResultFound`` for an unknown id.
    """
    place = {"id": water_feature_id, "lon": lon, "lat": lat, "lake_grid_deg": LAKE_GRID_DEG}
    row = session.execute(_SNAP, place).one()
    return row.lon, row.lat, row.distance_m


def banks_along(session: Session, water_feature_id: uuid.UUID, lon: float, lat: float) -> list[Banks]:
    """Places on both banks of a reach, from :data:`BANK_REACH_M` above a place to as far below, in that order.

    Each lies :data:`BANK_M` beside the drawn line, so on land. Empty for a lake, whose shores are its outline.
    """
    rows = session.execute(_BANKS, {"id": water_feature_id, "lon": lon, "lat": lat})
    return [Banks((row.left_lon, row.left_lat), (row.right_lon, row.right_lat)) for row in rows]


def water_by_public_id(session: Session, public_id: str) -> WaterView | None:
    """A water body by its page address."""
    row = session.execute(_BY_PUBLIC_ID, {"public_id": public_id}).first()
    return WaterView(**row._mapping) if row else None


def tributaries_of(session: Session, water_body_id: uuid.UUID, *, limit: int) -> dict[uuid.UUID, str]:
    """The named waters that flow into one, the largest first, with their page addresses. One query."""
    rows = session.execute(_TRIBUTARIES, {"id": water_body_id, "limit": limit})
    return {row.id: row.public_id for row in rows}


def names_of(session: Session, water_body_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, dict[str, str]]:
    """Primary names per language of several waters. One query."""
    names: dict[uuid.UUID, dict[str, str]] = {}
    for row in session.execute(_NAMES, {"ids": list(water_body_ids)}):
        names.setdefault(row.water_body_id, {})[row.lang] = row.name
    return names


def public_ids_of(session: Session, water_body_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Page addresses of several waters. One query."""
    return {row.id: row.public_id for row in session.execute(_PUBLIC_IDS, {"ids": list(water_body_ids)})}


def feature_of_key(session: Session, source: str, key: str) -> int | None:
    """The feature id of a living reach or lake by its source's code and key there."""
    found: int | None = session.execute(_FEATURE_OF_KEY, {"source": source, "key": key}).scalar_one_or_none()
    return found


def bodies_of_features(session: Session, feature_ids: Collection[int]) -> dict[int, uuid.UUID]:
    """Which water each reach or lake belongs to, by feature id. One query."""
    rows = session.execute(_BODIES_OF, {"feature_ids": list(feature_ids)})
    return {row.feature_id: row.water_body_id for row in rows}


def shapes_of(session: Session, feature_ids: Collection[int], *, tolerance_deg: float) -> dict[int, Any]:
    """By feature id, the geometry of reaches and lakes as GeoJSON (WGS-84), simplified. One query."""
    rows = session.execute(_SHAPES, {"feature_ids": list(feature_ids), "tolerance_deg": tolerance_deg})
    return {row.feature_id: json.loads(row.shape) for row in rows}


def km_to_lower_end(session: Session, water_feature_id: uuid.UUID, lon: float, lat: float) -> float:
    """The way in km from a place (WGS-84) down to the lower end of its reach; 0 on a lake or a reach in pieces.

    By the share of the reach's drawn length, times its stated length. Raises ``NoResultFound`` for an unknown id.
    """
    values = {"id": water_feature_id, "lon": lon, "lat": lat}
    return float(session.execute(_TO_LOWER_END, values).scalar_one())


def feature_ids_of(session: Session, water_body_id: uuid.UUID) -> list[int]:
    """The stable integers of a water's reaches or lakes, as the published map knows them."""
    return list(session.execute(_FEATURE_IDS, {"id": water_body_id}).scalars())
