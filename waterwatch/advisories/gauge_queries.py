"""Which reach a gauge stands on, what gauges told last, and the statement that keeps it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Double, Text, bindparam, text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Reach:
    """A reach that a gauge stands on. ``mean_cms``: its discharge over the years, None where it is not known.

    ``distance_m``: from the gauge's place, None where only the reach was named. ``water``: its name, perhaps empty.
    """

    feature_id: int
    mean_cms: float | None
    distance_m: float | None
    water: str


@dataclass(frozen=True)
class Gauge:
    """What a gauge told last. ``ratio``: of the mean discharge, None where that is not known (any more)."""

    feature_id: int
    water: str
    source: str
    discharge_cms: float
    ratio: float | None
    measured_at: datetime


_NAME = """
coalesce((SELECT n.name FROM water_name n WHERE n.water_body_id = f.water_body_id AND n.is_primary
          ORDER BY array_position(ARRAY['zh-Hans', 'en', 'zh-Hant'], n.lang) LIMIT 1), '') AS water
"""
# Of all reaches in reach, not of the few nearest in Mercator's metres: within 2 km there are never many.
_NEAREST = text(f"""
SELECT p.nth, f.feature_id, f.dis_av_cms AS mean_cms, f.distance_m, {_NAME}
FROM (SELECT nth, ST_SetSRID(ST_MakePoint(lon, lat), 4326) AS at,
             :within_m * 1.01 / greatest(0.05, cos(radians(lat))) AS within_mercator
      FROM unnest(:lons, :lats) WITH ORDINALITY p (lon, lat, nth) OFFSET 0) p,
LATERAL (
    SELECT f.*, ST_Distance(f.geom::geography, p.at::geography) AS distance_m FROM water_feature f
    WHERE f.kind = 'reach' AND f.retired_at IS NULL AND f.dis_av_cms > 0
      AND f.geom_3857 && ST_Expand(ST_Transform(p.at, 3857), p.within_mercator)
    ORDER BY distance_m, f.feature_id LIMIT 1) f
WHERE f.distance_m <= :within_m
""").bindparams(bindparam("lons", type_=ARRAY(Double)), bindparam("lats", type_=ARRAY(Double)))  # noqa: S608
_NAMED = text(f"""
SELECT p.nth, f.feature_id, f.dis_av_cms AS mean_cms,
       ST_Distance(f.geom::geography, ST_SetSRID(ST_MakePoint(p.lon, p.lat), 4326)::geography) AS distance_m, {_NAME}
FROM unnest(:ids, :lons, :lats) WITH ORDINALITY p (feature_id, lon, lat, nth)
JOIN water_feature f ON f.feature_id = p.feature_id AND f.kind = 'reach' AND f.retired_at IS NULL
""").bindparams(  # noqa: S608
    bindparam("ids", type_=ARRAY(BigInteger)),
    bindparam("lons", type_=ARRAY(Double)),
    bindparam("lats", type_=ARRAY(Double)),
)
_TOLD = text("SELECT feature_id, measured_at FROM gauge_reading WHERE feature_id = ANY(:ids)").bindparams(
    bindparam("ids", type_=ARRAY(BigInteger))
)
_KEEP = text("""
INSERT INTO gauge_reading AS g (feature_id, discharge_cms, measured_at, source)
SELECT * FROM unnest(:ids, :discharges, CAST(:moments AS timestamptz[]), :sources) AS r (id, cms, at, source)
ORDER BY id
ON CONFLICT (feature_id) DO UPDATE
    SET discharge_cms = excluded.discharge_cms, measured_at = excluded.measured_at, source = excluded.source
    WHERE excluded.measured_at >= g.measured_at AND (g.discharge_cms, g.measured_at, g.source)
          IS DISTINCT FROM (excluded.discharge_cms, excluded.measured_at, excluded.source)
RETURNING feature_id, xmax = 0 AS is_new
""").bindparams(
    bindparam("ids", type_=ARRAY(BigInteger)),
    bindparam("discharges", type_=ARRAY(Double)),
    bindparam("sources", type_=ARRAY(Text)),
)
_GAUGES = text(f"""
SELECT g.feature_id, {_NAME}, g.source, g.discharge_cms,
       CASE WHEN f.retired_at IS NULL THEN g.discharge_cms / nullif(f.dis_av_cms, 0) END AS ratio, g.measured_at
FROM gauge_reading g JOIN water_feature f ON f.feature_id = g.feature_id
ORDER BY g.measured_at DESC, g.feature_id
""")  # noqa: S608


def nearest_reaches(session: Session, places: Sequence[tuple[float, float]], within_m: float) -> dict[int, Reach]:
    """By number of the place (lon, lat in WGS-84): the nearest reach within so many metres whose discharge is known."""
    lons, lats = zip(*places, strict=True) if places else ((), ())
    rows = session.execute(_NEAREST, {"lons": list(lons), "lats": list(lats), "within_m": within_m})
    return {row.nth - 1: _reach(row) for row in rows}


def named_reaches(session: Session, wanted: Sequence[tuple[int, tuple[float, float] | None]]) -> dict[int, Reach]:
    """By number of the wanted (feature id, place if given): that reach; those there are not are left out."""
    places = [place or (None, None) for _feature_id, place in wanted]
    values = {"lons": [place[0] for place in places], "lats": [place[1] for place in places]}
    rows = session.execute(_NAMED, values | {"ids": [feature_id for feature_id, _place in wanted]})
    return {row.nth - 1: _reach(row) for row in rows}


def told_at(session: Session, feature_ids: Collection[int]) -> dict[int, datetime]:
    """When the gauges of these reaches told of themselves last."""
    return {row.feature_id: row.measured_at for row in session.execute(_TOLD, {"ids": list(feature_ids)})}


def keep_readings(session: Session, values: Mapping[str, Any]) -> dict[int, bool]:
    """Keep what is newer than what there is; by feature id of those written, whether it is the reach's first."""
    return {row.feature_id: row.is_new for row in session.execute(_KEEP, values)}


def gauges(session: Session) -> list[Gauge]:
    """What every gauge told last, the latest first."""
    return [Gauge(**row._mapping) for row in session.execute(_GAUGES)]


def _reach(row: Any) -> Reach:
    return Reach(row.feature_id, row.mean_cms, row.distance_m, row.water)
