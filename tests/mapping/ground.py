"""A small country for tiles: its waters, areas and zones as rows, and an independent reader of what was cut of them."""

import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import shapely
from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel.ids import new_id

HALF_WORLD_M = 20037508.342789244
TO_MERCATOR = pyproj.Transformer.from_crs(4326, 3857, always_xy=True)
HOSTILE = {
    "tag": "<img src=x onerror=alert(1)>",
    "quotes": """'"`\\ "}],"x":[{""",
    "emoji": "🐟江👩‍👩‍👧‍👦\u202e倒",
    "long": "长" * 10_000,
}


def add_water(
    session: Session,
    shapes: list[str],
    *,
    names: dict[str, str] | None = None,
    kind: str = "reach",
    rank: int = 5,
    **facts: Any,
) -> list[int]:
    """A water of several reaches or lakes (WKT, WGS-84), each with ``facts``; their feature ids."""
    source_id, body_id = _source(session), new_id()
    session.execute(
        text("""INSERT INTO water_body (id, public_id, kind, rank, source_id, source_key)
                VALUES (:id, :public_id, :kind, :rank, :source_id, :key)"""),
        {"id": body_id, "public_id": f"w-{body_id}", "kind": "river" if kind == "reach" else "lake", "rank": rank}
        | {"source_id": source_id, "key": str(body_id)},
    )
    for lang, name in (names or {}).items():
        session.execute(
            text("INSERT INTO water_name (id, water_body_id, lang, name, is_primary) VALUES (:i, :b, :l, :n, true)"),
            {"i": new_id(), "b": body_id, "l": lang, "n": name},
        )
    columns = "".join(f", {name}" for name in facts)
    values = "".join(f", :{name}" for name in facts)
    statement = text(
        f"INSERT INTO water_feature (id, kind, water_body_id, geom, source_id, source_key{columns})"
        f" VALUES (:id, :kind, :body, ST_GeomFromText(:shape, 4326), :source_id, :key{values}) RETURNING feature_id"
    )
    return [
        session.execute(
            statement,
            {"id": new_id(), "kind": kind, "body": body_id, "shape": shape, "source_id": source_id}
            | {"key": str(new_id())}
            | facts,
        ).scalar_one()
        for shape in shapes
    ]


def add_zone(session: Session, shape: str, *, kind: str, grade: int | None = None, name: str | None = None) -> None:
    """A protected zone (WKT, WGS-84)."""
    zone_id = new_id()
    session.execute(
        text("""INSERT INTO protected_zone (id, kind, grade, geom, source_id, source_key)
                VALUES (:id, :kind, :grade, ST_GeomFromText(:shape, 4326), :source_id, :key)"""),
        {
            "id": zone_id,
            "kind": kind,
            "grade": grade,
            "shape": shape,
            "source_id": _source(session),
            "key": str(zone_id),
        },
    )
    if name:
        session.execute(
            text("INSERT INTO protected_zone_name (zone_id, lang, name) VALUES (:id, 'zh-Hans', :name)"),
            {"id": zone_id, "name": name},
        )


def add_area(session: Session, code: str, level: str, shape: str, names: dict[str, str]) -> None:
    """An administrative area (WKT of polygons, WGS-84)."""
    area_id = new_id()
    session.execute(
        text("INSERT INTO jurisdiction (id, code, level, geom) VALUES (:id, :code, :level, ST_GeomFromText(:s, 4326))"),
        {"id": area_id, "code": code, "level": level, "s": shape},
    )
    for lang, name in names.items():
        session.execute(
            text("INSERT INTO jurisdiction_name (jurisdiction_id, lang, name) VALUES (:id, :lang, :name)"),
            {"id": area_id, "lang": lang, "name": name},
        )


def _source(session: Session) -> uuid.UUID:
    """The one source of the tests."""
    found: uuid.UUID = session.execute(
        text("""INSERT INTO source (id, code, title, licence) VALUES (:id, 'tests', 'A <b>survey</b>', 'CC0')
                ON CONFLICT (code) DO UPDATE SET title = excluded.title RETURNING id"""),
        {"id": new_id()},
    ).scalar_one()
    return found


def winding(lon: float, lat: float, length_deg: float, *, points: int = 60) -> str:
    """A reach eastward from a place, winding some hundred metres about its course."""
    along = np.linspace(0, length_deg, points)
    across = 0.004 * np.sin(along * 90) + 0.0007 * np.sin(along * 700)
    return "LINESTRING(" + ", ".join(f"{lon + a} {lat + b}" for a, b in zip(along, across, strict=True)) + ")"


def mercator(shape: str | shapely.Geometry) -> shapely.Geometry:
    """A shape in WGS-84 as EPSG:3857 has it, by PROJ."""
    found = shapely.from_wkt(shape) if isinstance(shape, str) else shape
    return shapely.transform(found, lambda xy: np.column_stack(TO_MERCATOR.transform(xy[:, 0], xy[:, 1])))


# ---- the independent reader: GDAL ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decoded:
    """A feature as GDAL reads it: its id in the tile if it has one, the attributes that are set, its shape in 3857."""

    feature_id: int | None
    attributes: dict[str, Any]
    shape: shapely.Geometry


def decode(tile: bytes, zoom: int, x: int, y: int) -> dict[str, list[Decoded]]:
    """Every layer of a tile (not compressed), whatever lies beyond its edge included."""
    if not tile:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        # GDAL places a tile by its name.
        path = Path(folder) / str(zoom) / str(x) / f"{y}.mvt"
        path.parent.mkdir(parents=True)
        path.write_bytes(tile)
        return {str(name): list(_features(path, str(name))) for name in pyogrio.list_layers(path)[:, 0]}


def _features(path: Path, layer: str) -> Iterator[Decoded]:
    meta, _fids, shapes, columns = pyogrio.raw.read(path, layer=layer, CLIP="NO")
    names = list(meta["fields"])
    for number, shape in enumerate(shapes):
        told = {name: column[number] for name, column in zip(names, columns, strict=True)}
        feature_id = told.pop("mvt_id", None)
        attributes = {name: _plain(value) for name, value in told.items() if not _is_unset(value)}
        yield Decoded(None if _is_unset(feature_id) else int(feature_id), attributes, shapely.from_wkb(shape))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _is_unset(value: Any) -> bool:
    return value is None or bool(isinstance(value, float | np.floating) and np.isnan(value))


def box_of(zoom: int, x: int, y: int, *, grown_units: float = 0) -> shapely.Geometry:
    """A tile's square, grown by so many of its 4096 units on each side, EPSG:3857."""
    size = 2 * HALF_WORLD_M / 2**zoom
    more = grown_units * size / 4096
    west, north = x * size - HALF_WORLD_M, HALF_WORLD_M - y * size
    return shapely.box(west - more, north - size - more, west + size + more, north + more)
