"""Datum conversion.

Chinese maps shift positions by some hundred metres, on the mainland only.

Formulas: the GCJ-02 offsets as published independently by several open implementations (Krasovsky 1940 ellipsoid); the
inverse is found by fixed-point iteration and errs by less than a millimetre against the forward formula. The shift
applies within the mainland polygon: bounding boxes would wrongly move Hong Kong, Macau, Taiwan and the neighbours.
"""

import json
import math
from functools import lru_cache
from pathlib import Path

import shapely
from shapely.geometry import shape

DATUMS = ("wgs84", "gcj02", "bd09")
MAINLAND = Path(__file__).parent / "builtin" / "mainland.json"
# A shifted position near the coast may fall just outside; no place is shifted by more than this.
SHIFT_MARGIN_DEG = 0.01

_A = 6378245.0  # semi-major axis of the Krasovsky 1940 ellipsoid, m
_EE = 0.00669342162296594323  # its eccentricity squared
_BD_TURN = math.pi * 3000.0 / 180.0
ITERATIONS = 10
_WGS84_A = 6378137.0  # semi-major axis of WGS 84, m
MAX_MERCATOR_LAT = 85.06


def to_wgs84(lon: float, lat: float, datum: str) -> tuple[float, float]:
    """(lon, lat) in WGS-84 of a position in ``wgs84``, ``gcj02`` or ``bd09``; ``ValueError`` for another datum."""
    if datum == "wgs84":
        return lon, lat
    if datum not in DATUMS:
        raise ValueError(f"unknown datum {datum!r}")
    if not is_mainland(lon, lat, margin=True):
        return lon, lat
    if datum == "bd09":
        lon, lat = _bd09_to_gcj02(lon, lat)
    return _inverse(lon, lat)


def from_wgs84(lon: float, lat: float, datum: str) -> tuple[float, float]:
    """(lon, lat) in ``datum`` of a WGS-84 position; unchanged off the mainland."""
    if datum == "wgs84" or not is_mainland(lon, lat):
        return lon, lat
    shifted = _shift(lon, lat)
    if datum == "gcj02":
        return shifted
    if datum == "bd09":
        return _gcj02_to_bd09(*shifted)
    raise ValueError(f"unknown datum {datum!r}")


def to_mercator(lon: float, lat: float) -> tuple[float, float]:
    """(x, y) in metres of a WGS-84 position in Web Mercator (EPSG:3857, EPSG method 1024), poles cut off."""
    cut = max(-MAX_MERCATOR_LAT, min(MAX_MERCATOR_LAT, lat))
    return _WGS84_A * math.radians(lon), _WGS84_A * math.log(math.tan(math.pi / 4 + math.radians(cut) / 2))


def is_mainland(lon: float, lat: float, *, margin: bool = False) -> bool:
    """Whether GCJ-02 applies at a place. ``margin`` widens the outline by what a shift may move."""
    return bool(shapely.intersects_xy(_outline(margin), lon, lat))


@lru_cache(maxsize=2)
def _outline(margin: bool) -> shapely.Geometry:
    outline = shape(json.loads(MAINLAND.read_text()))
    widened = shapely.buffer(outline, SHIFT_MARGIN_DEG) if margin else outline
    shapely.prepare(widened)
    return widened


def _inverse(lon: float, lat: float) -> tuple[float, float]:
    guess_lon, guess_lat = lon, lat
    for _ in range(ITERATIONS):
        there_lon, there_lat = _shift(guess_lon, guess_lat)
        guess_lon += lon - there_lon
        guess_lat += lat - there_lat
    return guess_lon, guess_lat


def _shift(lon: float, lat: float) -> tuple[float, float]:
    x, y = lon - 105.0, lat - 35.0
    wave = 20.0 * math.sin(6.0 * x * math.pi) + 20.0 * math.sin(2.0 * x * math.pi)
    north = -100.0 + 2.0 * x + 3.0 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * math.sqrt(abs(x))
    north += (wave + 20.0 * math.sin(y * math.pi) + 40.0 * math.sin(y / 3.0 * math.pi)) * 2.0 / 3.0
    north += (160.0 * math.sin(y / 12.0 * math.pi) + 320.0 * math.sin(y * math.pi / 30.0)) * 2.0 / 3.0
    east = 300.0 + x + 2.0 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * math.sqrt(abs(x))
    east += (wave + 20.0 * math.sin(x * math.pi) + 40.0 * math.sin(x / 3.0 * math.pi)) * 2.0 / 3.0
    east += (150.0 * math.sin(x / 12.0 * math.pi) + 300.0 * math.sin(x / 30.0 * math.pi)) * 2.0 / 3.0
    phi = math.radians(lat)
    magic = 1.0 - _EE * math.sin(phi) ** 2
    root = math.sqrt(magic)
    d_lat = north * 180.0 / ((_A * (1.0 - _EE)) / (magic * root) * math.pi)
    d_lon = east * 180.0 / (_A / root * math.cos(phi) * math.pi)
    return lon + d_lon, lat + d_lat


def _gcj02_to_bd09(lon: float, lat: float) -> tuple[float, float]:
    radius = math.hypot(lon, lat) + 0.00002 * math.sin(lat * _BD_TURN)
    angle = math.atan2(lat, lon) + 0.000003 * math.cos(lon * _BD_TURN)
    return radius * math.cos(angle) + 0.0065, radius * math.sin(angle) + 0.006


def _bd09_to_gcj02(lon: float, lat: float) -> tuple[float, float]:
    guess_lon, guess_lat = lon - 0.0065, lat - 0.006
    for _ in range(ITERATIONS):
        there_lon, there_lat = _gcj02_to_bd09(guess_lon, guess_lat)
        guess_lon += lon - there_lon
        guess_lat += lat - there_lat
    return guess_lon, guess_lat
