"""Datum conversion: exact on the mainland, nothing anywhere else."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from waterwatch.waters.rules import from_wgs84, is_mainland, to_wgs84

WUHAN = (114.3055, 30.5928)
OFF_THE_MAINLAND = {
    "Hong Kong": (114.17, 22.30),
    "Macau": (113.545, 22.19),
    "Taipei": (121.56, 25.04),
    "Seoul": (126.98, 37.57),
    "Hanoi": (105.85, 21.03),
    "Tokyo": (139.69, 35.68),
    "Ulaanbaatar": (106.92, 47.92),
    "London": (-0.12, 51.5),
}
MAINLAND = {
    "Wuhan": WUHAN,
    "Beijing": (116.39, 39.91),
    "Shenzhen": (114.06, 22.55),
    "Zhuhai": (113.55, 22.27),
    "Xiamen": (118.09, 24.45),
    "Shanghai": (121.49, 31.24),
    "Lhasa": (91.11, 29.65),
    "Harbin": (126.63, 45.75),
    "Kashgar": (75.99, 39.47),
    "Haikou": (110.33, 20.03),
}
mainland_lon = st.floats(98.0, 117.0)
mainland_lat = st.floats(24.5, 38.0)


def _metres(a: tuple[float, float], b: tuple[float, float]) -> float:
    return 111_320 * math.hypot((a[0] - b[0]) * math.cos(math.radians(a[1])), a[1] - b[1])


@pytest.mark.parametrize("place", MAINLAND.values(), ids=MAINLAND.keys())
def test_the_mainland_is_shifted_by_some_hundred_metres(place: tuple[float, float]) -> None:
    assert 50 < _metres(place, from_wgs84(*place, "gcj02")) < 900


@pytest.mark.parametrize("datum", ["gcj02", "bd09"])
@pytest.mark.parametrize("place", OFF_THE_MAINLAND.values(), ids=OFF_THE_MAINLAND.keys())
def test_elsewhere_nothing_moves(place: tuple[float, float], datum: str) -> None:
    assert not is_mainland(*place)
    assert to_wgs84(*place, datum) == place
    assert from_wgs84(*place, datum) == place


@given(mainland_lon, mainland_lat, st.sampled_from(["gcj02", "bd09"]))
def test_there_and_back_errs_less_than_a_millimetre(lon: float, lat: float, datum: str) -> None:
    assume(is_mainland(lon, lat))
    assert _metres((lon, lat), to_wgs84(*from_wgs84(lon, lat, datum), datum)) < 0.001


@given(st.floats(-180, 180), st.floats(-85, 85))
def test_wgs84_is_left_alone(lon: float, lat: float) -> None:
    assert to_wgs84(lon, lat, "wgs84") == (lon, lat)


@given(mainland_lon, mainland_lat)
def test_a_shift_is_never_larger_than_the_margin_allows_for(lon: float, lat: float) -> None:
    assert _metres((lon, lat), from_wgs84(lon, lat, "gcj02")) < 1000


def test_the_shift_is_the_published_one() -> None:
    # The worked example of github.com/wandergis/coordtransform (test/app.js), which many implementations repeat.
    gcj02 = from_wgs84(116.404, 39.915, "gcj02")
    assert gcj02 == pytest.approx((116.41024449916938, 39.91640428150164), abs=1e-12)
    # Its BD-09 example starts at the GCJ-02 position 116.404, 39.915.
    bd09 = from_wgs84(*to_wgs84(116.404, 39.915, "gcj02"), "bd09")
    assert bd09 == pytest.approx((116.41036949371029, 39.92133699351021), abs=1e-8)


def test_an_unknown_datum_is_refused() -> None:
    with pytest.raises(ValueError, match="nad27"):
        to_wgs84(*WUHAN, "nad27")
    with pytest.raises(ValueError, match="nad27"):
        from_wgs84(*WUHAN, "nad27")
