"""What the publisher asks: what is coloured and open, what is published, and what the page of a place shows."""

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.mapping.queries import LevelledWater
from waterwatch.mapping.rules import CASE_ANSWER, incident_answer
from waterwatch.mapping.tiles_rules import band_of


@dataclass(frozen=True)
class ColouredGroup:
    """The feature ids that carry one level, confirmed or approaching."""

    basis: str
    level: int
    feature_ids: list[int]


@dataclass(frozen=True)
class IncidentGroup:
    """Open incidents of one cell of zoom 8 that are alike in kind, severity and answer.

    ``lon``, ``lat``: the middle of their public points. ``features``: GeoJSON of each, as text, made by the database.
    """

    x: int
    y: int
    kind: str
    severity: int
    answer: int
    lon: float
    lat: float
    features: list[str]


_COLOURED = text("""
SELECT a.basis, a.level, array_agg(f.feature_id ORDER BY f.feature_id) AS feature_ids
FROM advisory a JOIN water_feature f ON f.id = a.water_feature_id
GROUP BY a.basis, a.level ORDER BY a.basis, a.level
""")
_ANSWER = incident_answer(f"(SELECT max({CASE_ANSWER}) FROM escalation_case c WHERE c.incident_id = i.id)")  # noqa: S608
# Everything that is open, in one statement: by cell of zoom 8 and likeness, with each incident's GeoJSON as text.
_INCIDENTS = text(f"""
WITH found AS (
    SELECT i.code, i.kind, i.severity, {_ANSWER} AS answer, ST_X(i.public_point) AS lon,
           greatest(-85.05, least(85.05, ST_Y(i.public_point))) AS lat, f.feature_id, b.public_id, b.id AS body_id,
           (i.opened_at AT TIME ZONE 'Asia/Shanghai')::date AS opened_on,
           (i.last_confirmed_at AT TIME ZONE 'Asia/Shanghai')::date AS confirmed_on
    FROM incident i JOIN water_feature f ON f.id = i.water_feature_id JOIN water_body b ON b.id = f.water_body_id
    WHERE i.closed_at IS NULL),
named AS (
    SELECT n.water_body_id, jsonb_object_agg(n.lang, n.name) AS names FROM water_name n
    WHERE n.is_primary AND n.water_body_id IN (SELECT body_id FROM found) GROUP BY n.water_body_id)
SELECT least(255, greatest(0, floor((lon + 180) / 360 * 256)))::int AS x,
       floor((1 - ln(tan(radians(lat)) + 1 / cos(radians(lat))) / pi()) / 2 * 256)::int AS y,
       kind, severity, answer, avg(lon) AS lon, avg(lat) AS lat,
       array_agg(json_build_object(
           'type', 'Feature',
           'geometry', json_build_object('type', 'Point', 'coordinates',
                                         json_build_array(round(lon::numeric, 5), round(lat::numeric, 5))),
           'properties', json_build_object(
               'code', code, 'kind', kind, 'severity', severity,
               'answer', (ARRAY['none', 'forwarded', 'acknowledged', 'answered', 'resolved_claimed'])[answer + 1],
               'water', public_id, 'names', coalesce(names, '{{}}'), 'feature_id', feature_id,
               'opened_on', opened_on, 'confirmed_on', confirmed_on))::text ORDER BY code) AS features
FROM found LEFT JOIN named ON named.water_body_id = found.body_id
GROUP BY 1, 2, kind, severity, answer
""")  # noqa: S608  # the piece is a constant of this module


def coloured(session: Session) -> list[ColouredGroup]:
    """Every coloured reach and lake, grouped by basis and level. One query."""
    return [ColouredGroup(**row._mapping) for row in session.execute(_COLOURED)]


def incident_groups(session: Session) -> list[IncidentGroup]:
    """Every open incident by its public point, as the published files need them. One query."""
    return [IncidentGroup(**row._mapping) for row in session.execute(_INCIDENTS)]


_LAST_AT = text("SELECT max(published_at) FROM publication")
_REMEMBER = text("""
INSERT INTO published_file (key, name, digest, published_at)
SELECT key, name, digest, :now FROM unnest(CAST(:keys AS text[]), CAST(:names AS text[]), CAST(:digests AS text[]))
       AS file (key, name, digest)
ON CONFLICT (key) DO UPDATE SET name = excluded.name, digest = excluded.digest, published_at = excluded.published_at
""")
_SUPERSEDE = text("""
INSERT INTO superseded_file (name, superseded_at) SELECT name, :now FROM unnest(CAST(:names AS text[])) AS gone (name)
ON CONFLICT (name) DO UPDATE SET superseded_at = excluded.superseded_at
""")


def published_files(session: Session) -> dict[str, tuple[str, str]]:
    """By key, the name and the digest of everything that is published."""
    rows = session.execute(text("SELECT key, name, digest FROM published_file"))
    return {row.key: (row.name, row.digest) for row in rows}


def last_published_at(session: Session) -> datetime | None:
    """When the map was published last."""
    last: datetime | None = session.execute(_LAST_AT).scalar_one()
    return last


def remember_published(
    session: Session,
    files: Mapping[str, tuple[str, str]],
    *,
    gone: Collection[str] = (),
    superseded: Collection[str] = (),
    now: datetime,
) -> None:
    """By key, a file's name and digest; keys that are ``gone``; names that are ``superseded`` from now on."""
    names = [name for name, _digest in files.values()]
    digests = [digest for _name, digest in files.values()]
    session.execute(_REMEMBER, {"keys": list(files), "names": names, "digests": digests, "now": now})
    session.execute(text("DELETE FROM published_file WHERE key = ANY(:keys)"), {"keys": list(gone)})
    session.execute(_SUPERSEDE, {"names": list(superseded), "now": now})
    session.execute(text("DELETE FROM superseded_file WHERE name = ANY(:names)"), {"names": names})


def forget_published(session: Session) -> None:
    """The shelf is another, or was emptied: nothing is known to be published."""
    session.execute(text("DELETE FROM published_file"))
    session.execute(text("DELETE FROM superseded_file"))


def superseded_files(session: Session) -> dict[str, datetime]:
    """By name, since when a published file has been superseded."""
    rows = session.execute(text("SELECT name, superseded_at FROM superseded_file"))
    return {row.name: row.superseded_at for row in rows}


def forget_superseded(session: Session, names: Collection[str]) -> None:
    """They are removed."""
    session.execute(text("DELETE FROM superseded_file WHERE name = ANY(:names)"), {"names": list(names)})


DRAWN_AT_MOST = 300  # coloured reaches and lakes on one page: thousands of lines freeze a phone
MARKERS_AT_MOST = 200  # incidents on one page: 10,000 markers freeze a phone, 200 cost it nothing
BACKGROUND_AT_MOST = 400


@dataclass(frozen=True)
class Marker:
    """An open incident on a page, by its public point."""

    code: str
    kind: str
    severity: int
    opened_on: date
    lon: float
    lat: float


@dataclass(frozen=True)
class PlaceView:
    """What the page of a place shows. ``bounds``: west, south, east, north in degrees.

    ``waters``, ``near`` (to which something comes) and ``markers`` come worst first, at most so many; ``coloured``,
    ``reached``, ``drawn`` and ``incidents`` count.
    """

    key: str
    names: dict[str, str]
    bounds: tuple[float, float, float, float]
    background: list[dict[str, Any]]
    waters: list[LevelledWater]
    markers: list[Marker]
    coloured: int
    incidents: int
    near: list[LevelledWater] = field(default_factory=list)
    reached: int = 0

    @property
    def drawn(self) -> int:
        """How many coloured reaches and lakes are drawn."""
        return sum(1 for water in self.waters if water.level)


@dataclass(frozen=True)
class LitWater:
    """A reach or lake that is coloured, or was in the last twelve months (``level`` 0), and where it belongs.

    ``near``: the level that comes down to it, or 0; where that is all, ``is_own`` is false, and its water has no page
    for that. ``state`` differs when anything a page shows of it does.
    """

    id: uuid.UUID
    feature_id: int
    body_id: uuid.UUID
    public_id: str
    basin: str | None
    level: int
    near: int
    is_own: bool
    area_codes: list[str]
    incidents: int
    state: str


_PLACE_NEW = text("""
INSERT INTO mapped_water (water_feature_id, area_codes, drawn)
SELECT f.id, ARRAY(SELECT DISTINCT j.code FROM jurisdiction_part p JOIN jurisdiction j ON j.id = p.jurisdiction_id
                   WHERE j.level = 'province' AND ST_Intersects(p.geom, f.geom) ORDER BY j.code),
       md5(ST_AsBinary(f.geom))
FROM water_feature f
WHERE (f.id IN (SELECT water_feature_id FROM advisory)
       OR f.id IN (SELECT water_feature_id FROM incident_span WHERE coalesce(ended_at, 'infinity') > :since)
       OR f.id = ANY(:also))
  AND NOT EXISTS (SELECT FROM mapped_water m WHERE m.water_feature_id = f.id)
ON CONFLICT DO NOTHING
""")
_LIT = text("""
WITH lit AS (
    SELECT water_feature_id AS id, max(level) AS level, max(near) AS near, bool_or(is_own) AS is_own FROM (
        SELECT water_feature_id, level, 0 AS near, true AS is_own FROM advisory WHERE basis = 'confirmed'
        UNION ALL
        SELECT water_feature_id, 0, level, false FROM advisory WHERE basis = 'approaching'
        UNION ALL
        SELECT DISTINCT water_feature_id, 0, 0, true FROM incident_span
        WHERE coalesce(ended_at, 'infinity') > :since) found
    GROUP BY 1),
standing AS (
    SELECT water_feature_id AS id, count(*)::int AS incidents,
           string_agg(concat_ws(' ', code, kind, severity, opened_at, ST_AsText(public_point, 5)), ';' ORDER BY code)
               AS said
    FROM incident WHERE closed_at IS NULL GROUP BY 1),
named AS (
    SELECT water_body_id, string_agg(lang || ' ' || name, ';' ORDER BY lang) AS said FROM water_name
    WHERE is_primary AND water_body_id IN (SELECT f.water_body_id FROM lit JOIN water_feature f USING (id)) GROUP BY 1)
SELECT f.id, f.feature_id, b.id AS body_id, b.public_id, b.basin, lit.level, lit.near, lit.is_own,
       coalesce(m.area_codes, '{}') AS area_codes, coalesce(s.incidents, 0) AS incidents,
       md5(concat_ws('|', f.feature_id, lit.level, lit.near, m.drawn, s.said, n.said)) AS state
FROM lit JOIN water_feature f USING (id) JOIN water_body b ON b.id = f.water_body_id
LEFT JOIN mapped_water m ON m.water_feature_id = f.id LEFT JOIN standing s ON s.id = f.id
LEFT JOIN named n ON n.water_body_id = b.id
ORDER BY f.feature_id
""")
_LYING = text("""
SELECT b.public_id, b.basin, coalesce(m.area_codes, '{}') AS area_codes
FROM water_feature f JOIN water_body b ON b.id = f.water_body_id LEFT JOIN mapped_water m ON m.water_feature_id = f.id
WHERE f.id = ANY(:ids)
""")
_BASINS = text("""
SELECT wanted.basin, (
    SELECT b.public_id FROM water_name n JOIN water_body b ON b.id = n.water_body_id
    WHERE n.lang = 'zh-Hans' AND n.is_primary AND n.name = wanted.basin AND b.retired_at IS NULL
    ORDER BY b.rank, b.id LIMIT 1) AS public_id
FROM unnest(CAST(:basins AS text[])) AS wanted (basin)
""")
_PROVINCES = text("""
SELECT j.code, ST_XMin(box) AS west, ST_YMin(box) AS south, ST_XMax(box) AS east, ST_YMax(box) AS north,
       coalesce((SELECT jsonb_object_agg(lang, name) FROM jurisdiction_name n WHERE n.jurisdiction_id = j.id), '{}')
           AS names
FROM jurisdiction j, LATERAL (SELECT ST_Envelope(j.geom) AS box) e
WHERE j.level = 'province' AND j.retired_at IS NULL ORDER BY j.code
""")
_DRAWN = text("""
SELECT f.feature_id, b.public_id, wanted.level, f.kind,
       coalesce((SELECT jsonb_object_agg(n.lang, n.name) FROM water_name n
                 WHERE n.water_body_id = b.id AND n.is_primary), '{}'::jsonb) AS names,
       ST_AsGeoJSON(ST_SimplifyPreserveTopology(f.geom, :tolerance_deg), 5) AS geometry
FROM unnest(CAST(:ids AS uuid[]), CAST(:levels AS int[])) AS wanted (id, level)
JOIN water_feature f ON f.id = wanted.id JOIN water_body b ON b.id = f.water_body_id
ORDER BY wanted.level DESC, f.feature_id
""")
_FEATURES = text("""
SELECT id FROM water_feature WHERE water_body_id = :body_id AND retired_at IS NULL
ORDER BY coalesce(upland_skm, area_km2) DESC NULLS LAST, feature_id LIMIT :limit
""")
_MARKED = text("""
SELECT code, kind, severity, (opened_at AT TIME ZONE 'Asia/Shanghai')::date AS opened_on,
       ST_X(public_point) AS lon, ST_Y(public_point) AS lat
FROM incident WHERE closed_at IS NULL AND water_feature_id = ANY(:ids)
ORDER BY severity DESC, opened_at DESC, code LIMIT :limit
""")
# The larger waters of a box, each one geometry: as a tile of that zoom would draw them.
_GROUND = text("""
SELECT ST_AsGeoJSON(ST_Transform(CASE WHEN t.is_lake THEN ST_Collect(t.geom) ELSE ST_LineMerge(ST_Collect(t.geom)) END,
                                 4326), 3) AS geometry
FROM water_tile t
WHERE t.band = :band AND t.geom && ST_Transform(ST_MakeEnvelope(:west, :south, :east, :north, 4326), 3857)
  AND t.step >= coalesce((SELECT r.least_step FROM tile_rule r WHERE r.zoom = :zoom
                            AND r.layer = CASE WHEN t.is_lake THEN 'lakes' ELSE 'rivers' END), 0)
GROUP BY t.public_id, t.is_lake ORDER BY max(t.step) DESC, t.public_id LIMIT :limit
""")
_BODY = text("""
SELECT b.public_id, coalesce((SELECT jsonb_object_agg(n.lang, n.name) FROM water_name n
                              WHERE n.water_body_id = b.id AND n.is_primary), '{}'::jsonb) AS names,
       ST_XMin(box) AS west, ST_YMin(box) AS south, ST_XMax(box) AS east, ST_YMax(box) AS north
FROM water_body b, LATERAL (
    SELECT coalesce(b.extent, (SELECT ST_Envelope(ST_Collect(f.geom)) FROM water_feature f
                               WHERE f.water_body_id = b.id)) AS box) e
WHERE b.public_id = ANY(:public_ids)
""")
_BASIN_EXTENT = text("""
SELECT ST_XMin(box) AS west, ST_YMin(box) AS south, ST_XMax(box) AS east, ST_YMax(box) AS north
FROM (SELECT ST_Extent(extent) AS box FROM water_body WHERE basin = :basin AND retired_at IS NULL) e
""")


@dataclass(frozen=True)
class Named:
    """A province or a water with its names and its box (west, south, east, north in degrees)."""

    key: str
    names: dict[str, str]
    bounds: tuple[float, float, float, float]


def lit_waters(session: Session, *, since: datetime, also: Collection[uuid.UUID] = ()) -> list[LitWater]:
    """What is coloured, what comes, what was since an instant. Looks up where they lie, others too, where unknown."""
    session.execute(_PLACE_NEW, {"since": since, "also": list(also)})
    return [LitWater(**row._mapping) for row in session.execute(_LIT, {"since": since})]


def places_of(session: Session, feature_ids: Collection[uuid.UUID]) -> set[str]:
    """The keys of the places on which some reaches and lakes lie, whether anything of them is lit or not."""
    rows = session.execute(_LYING, {"ids": list(feature_ids)}).all()
    basins = basins_named(session, {row.basin for row in rows if row.basin})
    found = {f"area-{code}" for row in rows for code in row.area_codes}
    found |= {f"basin-{public_id}" for public_id in basins.values()} | {f"water-{row.public_id}" for row in rows}
    return found | ({"national"} if rows else set())


def basins_named(session: Session, basins: Collection[str]) -> dict[str, str]:
    """By a basin's name, the public id of the water it is named after; basins named after none are left out."""
    rows = session.execute(_BASINS, {"basins": sorted(basins)})
    return {row.basin: row.public_id for row in rows if row.public_id is not None}


def provinces(session: Session) -> list[Named]:
    """Every province with its names, by its code."""
    return [Named(row.code, row.names, _box(row)) for row in session.execute(_PROVINCES)]


def waters_named(session: Session, public_ids: Collection[str]) -> dict[str, Named]:
    """By public id, waters with their names and extents."""
    rows = session.execute(_BODY, {"public_ids": list(public_ids)})
    return {row.public_id: Named(row.public_id, row.names, _box(row)) for row in rows if row.west is not None}


def basin_box(session: Session, basin: str) -> tuple[float, float, float, float] | None:
    """The box around all waters of a basin."""
    row = session.execute(_BASIN_EXTENT, {"basin": basin}).one()
    return None if row.west is None else _box(row)


def features_of(session: Session, body_id: uuid.UUID, *, limit: int) -> list[uuid.UUID]:
    """The living reaches and lakes of a water, the largest first."""
    rows = session.execute(_FEATURES, {"body_id": body_id, "limit": limit})
    return list(rows.scalars())


def drawn_waters(session: Session, wanted: Mapping[uuid.UUID, int], *, tolerance_deg: float) -> list[LevelledWater]:
    """Reaches and lakes, by id with their level, with their geometry, worst first."""
    values = {"ids": list(wanted), "levels": list(wanted.values()), "tolerance_deg": tolerance_deg}
    rows = session.execute(_DRAWN, values)
    return [
        LevelledWater(row.feature_id, row.public_id, row.level, row.kind, row.names, json.loads(row.geometry))
        for row in rows
    ]


def markers_on(session: Session, ids: Sequence[uuid.UUID], *, limit: int = MARKERS_AT_MOST) -> list[Marker]:
    """Open incidents on some reaches and lakes, worst first, newest first."""
    rows = session.execute(_MARKED, {"ids": list(ids), "limit": limit})
    return [Marker(**row._mapping) for row in rows]


def ground_of(
    session: Session, bounds: tuple[float, float, float, float], *, zoom: int, limit: int = BACKGROUND_AT_MOST
) -> list[dict[str, Any]]:
    """GeoJSON of the larger waters within a box, as tiles of a zoom draw them, the largest first."""
    west, south, east, north = bounds
    values: dict[str, float] = {"west": west, "south": south, "east": east, "north": north, "limit": limit}
    values |= {"band": band_of(zoom).number, "zoom": zoom}
    return [json.loads(row.geometry) for row in session.execute(_GROUND, values)]


def _box(row: Any) -> tuple[float, float, float, float]:
    return row.west, row.south, row.east, row.north
