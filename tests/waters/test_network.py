"""The flow network, on rivers small enough to see: direction, confluences, gaps, lakes, equal reaches."""

import pytest
import shapely
from shapely import LineString, MultiLineString, Point, box

from waterwatch.waters.builtin.network import MAX_REACH_KM, River, build, length_km

SEA = box(10.0, -10.0, 20.0, 10.0)
MAIN = LineString([(0.0, 0.0), (0.4, 0.0)])  # 44.5 km, along the equator


def _river(key: str, line: shapely.Geometry, into: str | None = None) -> River:
    return River(key, line, into)


def _ways(
    rivers: list[River], lakes: dict[str, tuple[shapely.Geometry, str | None]] | None = None
) -> dict[str, str | None]:
    network = build({river.key: river for river in rivers}, lakes or {}, SEA)
    return {reach.key: reach.next_key for reach in network.reaches.values()} | {
        f"lake {key}": below for key, below in network.outflows.items()
    }


@pytest.mark.parametrize("drawn", [MAIN, MAIN.reverse()], ids=["downstream", "upstream"])
def test_a_river_runs_to_the_sea_whichever_way_it_was_drawn(drawn: LineString) -> None:
    (reach,) = build({"a": _river("a", drawn)}, {}, SEA).reaches.values()
    assert (reach.line.coords[0], reach.line.coords[-1]) == ((0.0, 0.0), (0.4, 0.0))
    assert (reach.next_key, reach.dist_dn_km) == (None, 0.0)


def test_a_tributary_cuts_its_river_and_flows_into_the_part_below() -> None:
    side = LineString([(0.1, 0.0), (0.1, 0.3)])  # drawn upstream
    assert _ways([_river("a", MAIN), _river("b", side, "a")]) == {"a/1": "a/2", "a/2": None, "b/1": "a/2"}


def test_distance_to_the_sea_adds_up_along_the_way() -> None:
    side = LineString([(0.1, 0.0), (0.1, 0.3)])
    network = build({"a": _river("a", MAIN), "b": _river("b", side, "a")}, {}, SEA)
    below_km = network.reaches["a/2"].length_km
    assert below_km == pytest.approx(33.4, abs=0.1)  # 0.3° of the equator
    assert {key: reach.dist_dn_km for key, reach in network.reaches.items()} == {
        "a/1": below_km,
        "a/2": 0.0,
        "b/1": below_km,
    }


def test_a_gap_in_the_drawing_does_not_break_the_river() -> None:
    broken = MultiLineString([[(0.4, 0.0), (0.25, 0.0)], [(0.0, 0.0), (0.2, 0.0)]])
    assert _ways([_river("a", broken)]) == {"a/1": "a/2", "a/2": None}


def test_both_arms_round_an_island_lead_to_the_mouth() -> None:
    braided = MultiLineString(
        [
            [(0.0, 0.0), (0.1, 0.0)],
            [(0.1, 0.0), (0.2, 0.1), (0.3, 0.0)],
            [(0.1, 0.0), (0.2, -0.05), (0.3, 0.0)],
            [(0.3, 0.0), (0.4, 0.0)],
        ]
    )
    network = build({"a": _river("a", braided)}, {}, SEA)
    last = next(reach for reach in network.reaches.values() if reach.next_key is None)
    assert last.line.coords[-1] == (0.4, 0.0)
    assert sum(reach.next_key == last.key for reach in network.reaches.values()) == 2


def test_a_lake_takes_its_river_in_and_gives_it_to_the_next() -> None:
    lake = box(0.4, -0.05, 0.5, 0.05)
    outlet = LineString([(0.5, 0.0), (0.9, 0.0)])
    ways = _ways([_river("a", MAIN, "l"), _river("b", outlet)], {"l": (lake, "b")})
    assert ways == {"a/1": "l/1", "b/1": None, "lake l": "b/1"}


def test_a_mouth_far_from_what_it_flows_into_stays_open() -> None:
    far = LineString([(0.2, 1.0), (0.2, 2.0)])
    network = build({"a": _river("a", MAIN), "b": _river("b", far, "a")}, {}, SEA)
    assert [reach.next_key for reach in network.of("b")][-1] is None


def test_a_stated_mouth_overrules_the_search() -> None:
    inland = River("a", MAIN, None, Point(0.0, 0.0))
    (reach,) = build({"a": inland}, {}, SEA).reaches.values()
    assert reach.line.coords[-1] == (0.0, 0.0)


def test_a_long_river_is_cut_into_reaches_of_equal_kilometres() -> None:
    north = shapely.segmentize(LineString([(5.0, 0.0), (5.0, 30.0), (9.0, 60.0), (9.9, 0.5)]), 0.2)  # degrees differ
    reaches = build({"a": _river("a", north)}, {}, SEA).of("a")
    assert max(reach.length_km for reach in reaches) <= MAX_REACH_KM
    assert max(reach.length_km for reach in reaches) - min(reach.length_km for reach in reaches) < 1.0
    assert sum(length_km(reach.line) for reach in reaches) == pytest.approx(length_km(north), rel=0.01)


def test_water_that_would_flow_in_a_circle_is_refused() -> None:
    first, second = LineString([(0.0, 0.0), (0.1, 0.1)]), LineString([(0.0, 0.0), (0.1, 0.1)])
    with pytest.raises(ValueError, match="circle"):
        build({"a": _river("a", first, "b"), "b": _river("b", second, "a")}, {}, SEA)
