"""Every SELECT that tiles are cut by. What a layer holds is said here once, for the archive and for the desk alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from sqlalchemy import Connection, Integer, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from waterwatch.mapping.tiles_rules import (
    BUFFER,
    CELLS_A_TILE,
    DESK_VERTICES,
    EXTENT,
    HALF_WORLD_M,
    INCIDENTS_ONE_BY_ONE,
    MAX_ZOOM,
    NAMES_FROM,
    PLACES_FROM,
    POINTS_A_TILE,
    REPORTS_ONE_BY_ONE,
    ZONES_FROM,
    Band,
    band_of,
)

_NAMES = "name AS n, name_hant AS nt, name_en AS ne"
# The names of a zone, as the columns of the other tables have them.
_ZONE_NAMES = """
LEFT JOIN (SELECT zone_id, max(name) FILTER (WHERE lang = 'zh-Hans') AS zh, max(name) FILTER (WHERE lang = 'zh-Hant')
               AS hant, max(name) FILTER (WHERE lang = 'en') AS en FROM protected_zone_name GROUP BY zone_id) n
    ON n.zone_id = z.id
"""
# What people drink is found by nobody on our map: the intakes themselves are left out.
_ZONE_IS_SHOWN = "z.retired_at IS NULL AND z.kind <> 'intake'"


@dataclass(frozen=True)
class Layer:
    """One layer of a tile, in SQL: the columns it shows, the rows it takes, their order, and where they are drawn."""

    name: str
    columns: str
    rows: str
    order: str
    geometry: str
    id_column: str | None = None


def water_layers(band: Band, zoom: int) -> tuple[Layer, Layer]:
    """Rivers and lakes. The largest come last, so that they are drawn over the small ones."""
    names = f", {_NAMES}" if zoom >= NAMES_FROM else ""

    def layer(name: str, which: str) -> Layer:
        return Layer(
            name,
            f"feature_id AS id, size_class AS o, public_id AS w{names}",
            f"water_tile WHERE band = {band.number} AND {which} AND geom && tile.wide AND step >= {_rule(name, zoom)}",
            "size_class DESC, feature_id",
            "geom",
            "id",
        )

    return layer("lakes", "is_lake"), layer("rivers", "NOT is_lake")


def layers_of(zoom: int) -> tuple[Layer, ...]:
    """All layers of the archive's tiles of a zoom, from the ground up."""
    found: list[Layer] = []
    if zoom >= ZONES_FROM:
        tolerance_m = band_of(zoom).tolerance_m
        found.append(
            Layer(
                "zones",
                "z.kind AS k, z.grade AS g, n.zh AS n, nullif(n.hant, n.zh) AS nt, nullif(n.en, n.zh) AS ne",
                f"protected_zone z {_ZONE_NAMES} WHERE {_ZONE_IS_SHOWN} AND z.geom_3857 && tile.wide",
                "z.source_id, z.source_key",
                f"ST_SimplifyPreserveTopology(z.geom_3857, {tolerance_m})",
            )
        )
    found += water_layers(band_of(zoom), zoom)
    found.append(
        Layer(
            "labels",
            f"size_class AS o, public_id AS w, CASE WHEN is_lake THEN 'lake' ELSE 'river' END AS k, {_NAMES}",
            f"water_label WHERE geom && tile.box AND step >= {_rule('labels', zoom)}",
            "step DESC, public_id",
            "geom",
        )
    )
    levels = [level for level, least in PLACES_FROM.items() if zoom >= least]
    if levels:
        found.append(
            Layer(
                "places",
                f"level AS l, code AS c, {_NAMES}",
                f"area_label WHERE geom && tile.box AND level <= {max(levels)}",
                "level, code",
                "geom",
            )
        )
    return tuple(found)


def _rule(layer: str, zoom: int) -> str:
    """From which rung on a layer is drawn; above the archive's last zoom all of it is."""
    if zoom >= MAX_ZOOM:
        return "0"
    return f"(SELECT least_step FROM tile_rule WHERE layer = '{layer}' AND zoom = {zoom})"  # noqa: S608


def cut(layer: Layer) -> str:
    """SQL of one layer's bytes in ``tile`` (``box``, and ``wide`` with the buffer); empty bytes where it has nothing.

    A feature smaller than half a unit of the tile, or whose box alone reaches into it, has no geometry there, and
    ``ST_AsMVT`` leaves it out.
    """
    id_column = f", '{layer.id_column}'" if layer.id_column else ""
    is_point = layer.name in ("labels", "places", "incidents", "reports")
    buffer = 0 if is_point else BUFFER
    return (
        f"(SELECT ST_AsMVT(row, '{layer.name}', {EXTENT}, 'shape'{id_column}) FROM ("  # noqa: S608
        f"SELECT {layer.columns}, ST_AsMVTGeom({layer.geometry}, tile.box, {EXTENT}, {buffer}, true) AS shape"
        f" FROM {layer.rows} ORDER BY {layer.order}) row)"
    )


_TILE = f"""
LATERAL (SELECT ST_TileEnvelope({{zoom}}, x, y) AS box,
                ST_TileEnvelope({{zoom}}, x, y, margin => {BUFFER / EXTENT}) AS wide) tile
"""


# ---- the desk --------------------------------------------------------------------------------------------------------

# A report waits until somebody has judged it. Its place is that on the water, and where no water is near, a corner of a
# grid of some 500 m: a tile lies in caches, so the exact place is in none.
_WAITING = "r.state IN ('received', 'sanitising', 'in_review') AND r.erased_at IS NULL"
_PLACE = "coalesce(r.snapped_point, ST_SnapToGrid(r.point, 0.005))"
# The index is that of exact places: a report is on the water at most so far from it (2 km at 50°, where snapping ends).
_SNAP_DEG = 0.03
_NEAR = f"r.point && ST_Expand(tile.lonlat, {_SNAP_DEG}) AND {_PLACE} && tile.lonlat"
_HOURS = "floor(extract(epoch FROM now() - {}) / 3600)::int"


def _desk_waters(zoom: int) -> str:
    """SQL of the bytes of rivers and lakes as the archive has them, the largest first until the tile is full.

    Both layers from one look at the index. The largest is drawn however many vertices it has.
    """
    names = f", {_NAMES}" if zoom >= NAMES_FROM else ""
    vertices = "sum(ST_NPoints(geom)) OVER (PARTITION BY is_lake ORDER BY step DESC, feature_id) - ST_NPoints(geom)"
    layers = " || ".join(
        f"coalesce(ST_AsMVT(drawn, '{layer}', {EXTENT}, 'shape', 'id') FILTER (WHERE {which}), '')"
        for layer, which in (("lakes", "is_lake"), ("rivers", "NOT is_lake"))
    )
    return f"""(
        SELECT {layers} FROM (
            SELECT *, {vertices} AS before FROM water_tile
            WHERE band = {band_of(zoom).number} AND geom && tile.wide
              AND step >= CASE WHEN is_lake THEN {_rule("lakes", zoom)} ELSE {_rule("rivers", zoom)} END
            ORDER BY size_class DESC, feature_id) water,
        LATERAL (SELECT feature_id AS id, size_class AS o, public_id AS w{names},
                        ST_AsMVTGeom(geom, tile.box, {EXTENT}, {BUFFER}, true) AS shape OFFSET 0) drawn
        WHERE before < CASE WHEN is_lake THEN {DESK_VERTICES["lakes"]} ELSE {DESK_VERTICES["rivers"]} END)"""  # noqa: S608


def desk_report_layers(zoom: int) -> tuple[Layer, ...]:
    """What waits and what is open: one by one from a zoom on, the most urgent first; counted by cells below it."""
    # Thousands of places are put into cells as they are kept, and only what is drawn is projected.
    cell_deg = 360 / 2**zoom / CELLS_A_TILE
    if zoom >= INCIDENTS_ONE_BY_ONE:
        incidents = Layer(
            "incidents",
            f"code, kind, state, severity, 1 AS count, {_HOURS.format('opened_at')} AS hours",
            f"(SELECT i.* FROM incident i WHERE i.closed_at IS NULL"  # noqa: S608
            f" AND i.public_point && tile.lonlat ORDER BY severity DESC, opened_at, id"
            f" LIMIT {POINTS_A_TILE}) open",
            "severity, code",
            "ST_Transform(public_point, 3857)",
        )
    else:
        incidents = Layer(
            "incidents",
            "severity, count, hours",
            f"(SELECT max(i.severity) AS severity, count(*) AS count, max({_HOURS.format('i.opened_at')}) AS hours,"  # noqa: S608
            f" ST_Centroid(ST_Collect(i.public_point)) AS place FROM incident i"
            f" WHERE i.closed_at IS NULL AND i.public_point && tile.lonlat"
            f" GROUP BY ST_SnapToGrid(i.public_point, {cell_deg})) cells",
            "severity, count, ST_X(place), ST_Y(place)",
            "ST_Transform(place, 3857)",
        )
    waiting = f"FROM report r LEFT JOIN review_item q ON q.report_id = r.id WHERE {_WAITING} AND {_NEAR}"
    if zoom >= REPORTS_ONE_BY_ONE:
        reports = Layer(
            "reports",
            "code, kind, state, urgency, 1 AS count, hours",
            f"(SELECT r.code, r.kind, r.state, coalesce(q.urgency, 0) AS urgency, {_PLACE} AS place,"
            f" {_HOURS.format('r.received_at')} AS hours {waiting}"
            f" ORDER BY q.urgency DESC NULLS LAST, r.received_at, r.id LIMIT {POINTS_A_TILE}) waiting",
            "urgency, code",
            "ST_Transform(place, 3857)",
        )
    else:
        reports = Layer(
            "reports",
            "urgency, count, hours",
            f"(SELECT max(coalesce(q.urgency, 0)) AS urgency, count(*) AS count, max({_HOURS.format('r.received_at')})"
            f" AS hours, ST_Centroid(ST_Collect({_PLACE})) AS place {waiting}"
            f" GROUP BY ST_SnapToGrid({_PLACE}, {cell_deg})) cells",
            "urgency, count, ST_X(place), ST_Y(place)",
            "ST_Transform(place, 3857)",
        )
    return incidents, reports


def _desk_reports(zoom: int) -> str:
    """SQL of the bytes of incidents and reports."""
    layers = " || ".join(map(cut, desk_report_layers(zoom)))
    around = "(SELECT asked.box, ST_Transform(asked.box, 4326) AS lonlat FROM (SELECT tile.box) asked OFFSET 0) tile"
    return f"(SELECT {layers} FROM {around})"  # noqa: S608


_PARTS: dict[str, tuple[Callable[[int], str], ...]] = {
    "waters": (_desk_waters,),
    "reports": (_desk_reports,),
    "all": (_desk_waters, _desk_reports),
}
DESK_PARTS = tuple(_PARTS)


@cache
def _cut_one(part: str, zoom: int) -> str:
    """The statement of one tile, in the driver's own words: its text is not looked through again for each tile."""
    layers = " || ".join(layers(zoom) for layers in _PARTS[part])
    tile = _TILE.format(zoom=zoom)
    return f"SELECT {layers} FROM (SELECT %s::int AS x, %s::int AS y) asked, {tile}"  # noqa: S608


def cut_desk_tile(connection: Connection, part: str, zoom: int, x: int, y: int) -> bytes:
    """One tile of the desk as bytes, not compressed: ``waters``, ``reports`` (and incidents), or ``all``. One query."""
    return bytes(connection.exec_driver_sql(_cut_one(part, zoom), (x, y)).scalar_one())


# ---- the archive -----------------------------------------------------------------------------------------------------


@cache
def _cut_many(zoom: int) -> TextClause:
    bytes_of_all = " || ".join(cut(layer) for layer in layers_of(zoom))
    tile = _TILE.format(zoom=zoom)
    return text(
        f"SELECT x, y, {bytes_of_all} AS tile FROM unnest(:xs, :ys) AS asked (x, y), {tile}"  # noqa: S608
    ).bindparams(bindparam("xs", type_=ARRAY(Integer)), bindparam("ys", type_=ARRAY(Integer)))


def cut_tiles(session: Session, zoom: int, tiles: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """The vector tiles (x, y) of a zoom as bytes, not compressed; those that hold nothing are left out. One query."""
    xs, ys = [x for x, _y in tiles], [y for _x, y in tiles]
    rows = session.execute(_cut_many(zoom), {"xs": xs, "ys": ys})
    return {(row.x, row.y): bytes(row.tile) for row in rows if row.tile}


def occupied_tiles(session: Session, zoom: int) -> list[tuple[int, int]]:
    """The tiles (x, y) of a zoom that the box around something reaches into: no other holds anything. One query."""
    size_m = 2 * HALF_WORLD_M / 2**zoom
    margin = BUFFER / EXTENT
    band = band_of(zoom).number
    sources = [
        f"SELECT geom FROM water_tile WHERE band = {band} AND step >= CASE WHEN is_lake THEN {_rule('lakes', zoom)}"  # noqa: S608
        f" ELSE {_rule('rivers', zoom)} END",
        f"SELECT geom FROM water_label WHERE step >= {_rule('labels', zoom)}",  # noqa: S608
    ]
    levels = [level for level, least in PLACES_FROM.items() if zoom >= least]
    if levels:
        sources.append(f"SELECT geom FROM area_label WHERE level <= {max(levels)}")  # noqa: S608
    if zoom >= ZONES_FROM:
        sources.append(f"SELECT geom_3857 FROM protected_zone z WHERE {_ZONE_IS_SHOWN}")  # noqa: S608
    statement = f"""
        SELECT DISTINCT x, y FROM ({" UNION ALL ".join(sources)}) shapes,
            LATERAL generate_series(floor((ST_XMin(geom) + {HALF_WORLD_M}) / {size_m} - {margin})::int,
                                    floor((ST_XMax(geom) + {HALF_WORLD_M}) / {size_m} + {margin})::int) x,
            LATERAL generate_series(floor(({HALF_WORLD_M} - ST_YMax(geom)) / {size_m} - {margin})::int,
                                    floor(({HALF_WORLD_M} - ST_YMin(geom)) / {size_m} + {margin})::int) y
        WHERE x BETWEEN 0 AND {2**zoom - 1} AND y BETWEEN 0 AND {2**zoom - 1}"""  # noqa: S608
    return [(row.x, row.y) for row in session.execute(text(statement))]


_GROUND = text("SELECT part, version, drawn_version FROM map_ground ORDER BY part")
_RULES = text("SELECT layer, zoom, least_step FROM tile_rule ORDER BY layer, zoom")
_SOURCES = text("""
SELECT title, licence, citation FROM source s
WHERE EXISTS (SELECT FROM water_feature f WHERE f.source_id = s.id AND f.retired_at IS NULL)
   OR EXISTS (SELECT FROM protected_zone z WHERE z.source_id = s.id AND z.retired_at IS NULL AND z.kind <> 'intake')
ORDER BY code
""")


def ground_versions(session: Session) -> list[tuple[str, str, bool]]:
    """(part, version, whether tiles are drawn from it) of everything the archive's geometry is made from. One query."""
    rows = session.execute(_GROUND)
    return [(row.part, str(row.version), row.version == row.drawn_version) for row in rows]


def tile_rules(session: Session) -> dict[tuple[str, int], int]:
    """From which rung on each (layer, zoom) is drawn."""
    return {(row.layer, row.zoom): row.least_step for row in session.execute(_RULES)}


def sources_shown(session: Session) -> list[tuple[str, str, str | None]]:
    """(title, licence, citation) of every source that something drawn comes from."""
    return [(row.title, row.licence, row.citation) for row in session.execute(_SOURCES)]
