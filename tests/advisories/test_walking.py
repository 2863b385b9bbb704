"""The walk down from an incident: hand-made networks with their km and hours.

Every reach is 10 km long, drains 2,000 km² and carries 30 m³/s on average, unless it says so. Without a slope its
velocity is 0.4400 m/s, at the fastest 0.9658 (:func:`test_a_reach_by_hand`): the peak takes 6.314 hours through it, the
leading edge 2.560.
"""

import math
from dataclasses import replace

import pytest

from tests.advisories.networks import INF, LAKE, NAN, NO_DATA, RESERVOIR, Water, network, told
from waterwatch.advisories.walking import Flow, ratio_from, walk
from waterwatch.flow import travel
from waterwatch.flow.rules import UnknownFeature

EDGE_H, PEAK_H = 2.55975, 6.31372


def at(reaches: float, *, km: float | None = None) -> tuple[float, float, float]:
    """What is told after so many ordinary reaches."""
    return (10 * reaches if km is None else km, round(reaches * EDGE_H, 2), round(reaches * PEAK_H, 2))


def test_a_reach_by_hand() -> None:
    """D'a = (2·10⁹)^1.25·√9.81/30 = 4.4157·10¹⁰; V = 0.02 + 0.051·D'a^0.821·30/(2·10⁹) and 0.2 + 0.093·(the same)."""
    relative = 2e9**1.25 * math.sqrt(9.81) / 30
    product = relative**0.821 * 30 / 2e9
    probable, fastest = 0.02 + 0.051 * product, 0.2 + 0.093 * product
    assert round(10 / 3.6 / probable, 5) == PEAK_H
    assert round(0.89 * 10 / 3.6 / fastest, 5) == EDGE_H


def test_a_river_to_the_sea_ends_at_its_mouth_the_nearest_first() -> None:
    way = walk(network({1: 2, 2: 3, 3: 4, 4: 0}), 1)
    assert way.feature_ids.tolist() == [2, 3, 4]
    assert told(way) == {2: at(0), 3: at(1), 4: at(2)}


def test_the_way_begins_where_the_incident_lies_on_its_reach() -> None:
    assert told(walk(network({1: 2, 2: 3, 3: 0}), 1, start_km=5.0)) == {2: at(0.5), 3: at(1.5)}


def test_a_mouth_has_nothing_below_and_an_unknown_feature_is_an_error() -> None:
    made = network({1: 2, 2: 0})
    assert told(walk(made, 2, start_km=3.0)) == {}
    for strange in (0, 3, 99):
        with pytest.raises(UnknownFeature):
            walk(made, strange)


def test_where_a_river_parts_both_arms_are_warned() -> None:
    """2 parts into 3 and 5, which end in the sea each for itself."""
    way = walk(network({1: 2, 2: 3, 3: 4, 4: 0, 5: 6, 6: 0}, [(2, 5)]), 1, start_km=10)
    assert told(way) == {2: at(1), 3: at(2), 5: at(2), 4: at(3), 6: at(3)}


def test_below_an_island_the_shorter_way_and_the_sooner_times_count_each_by_itself() -> None:
    """2 parts: 3, 10 km and slow, beside 4, 12 km and fast (it falls one in fifty); both meet in 5."""
    fast = Water(5, km=12, slope=0.02)
    way = walk(network({1: 2, 2: 3, 3: 5, 4: fast, 5: 6, 6: 0}, [(2, 4)]), 1, diluted_by=INF)
    reach = float(travel.term(2000e6, 30, 0.02))
    peak, fastest = travel.velocities(reach, 1.0, has_slope=True)
    arm_edge, arm_peak = 0.89 * 12 / 3.6 / fastest, 12 / 3.6 / peak
    assert arm_edge < EDGE_H
    assert arm_peak < PEAK_H
    shown = told(way)
    assert shown[3] == shown[4] == at(1)
    assert shown[5] == (20.0, round(EDGE_H + arm_edge, 2), round(PEAK_H + arm_peak, 2))
    assert shown[6] == (30.0, round(2 * EDGE_H + arm_edge, 2), round(2 * PEAK_H + arm_peak, 2))


def test_a_lake_the_river_flows_through_is_reached_and_stops_the_clock() -> None:
    """2 flows into lake 3 and leaves it as 4: not before 2 is passed, and for how much longer nobody knows."""
    way = walk(network({1: 2, 2: 3, 3: replace(LAKE, below=4), 4: 5, 5: 0}), 1)
    assert told(way) == {2: at(0), 3: at(1), 4: (10, EDGE_2, INF), 5: (20, round(2 * EDGE_H, 2), INF)}
    assert way.is_lake.tolist() == [False, True, False, False]
    assert not way.is_dammed.any()
    assert [math.isnan(one) for one in way.unit_peak] == [True, False, True, True]


EDGE_2 = round(EDGE_H, 2)


def test_a_lake_that_reaches_lie_in_is_reached_with_the_first_of_them_and_stops_the_clock() -> None:
    """3 and 4 lie in lake 9: it is told once, where the river enters it."""
    waters = {1: 2, 2: 3, 3: Water(4, lake=9), 4: Water(5, lake=9), 5: 0, 9: replace(LAKE, below=5)}
    way = walk(network(waters), 1)
    assert told(way) == {
        2: at(0), 3: at(1), 9: at(1), 4: (20, EDGE_2, INF), 5: (30, EDGE_2, INF)
    }  # fmt: skip


def test_a_reservoir_says_that_a_dam_holds_it() -> None:
    way = walk(network({1: 2, 2: Water(3, lake=9), 3: 0, 9: replace(RESERVOIR, below=3)}), 1)
    assert dict(zip(way.feature_ids.tolist(), way.is_dammed.tolist(), strict=True)) == {2: False, 9: True, 3: False}


def test_what_ends_in_a_lake_leaves_it_by_the_lakes_outlet() -> None:
    way = walk(network({1: Water(0, lake=9), 3: 0, 9: replace(LAKE, below=3)}), 1, start_km=4)
    assert told(way) == {9: (0, 0, 0), 3: (4, 0, INF)}


def test_round_a_lake_an_arm_still_keeps_its_times() -> None:
    """1 parts above lake 9 (3 lies in it) and meets again in 5, by two reaches: longer, but with a time."""
    waters = {1: 2, 2: 3, 3: Water(5, km=5, lake=9), 4: 6, 6: 5, 5: 0, 9: LAKE}
    way = walk(network(waters, [(2, 4)]), 1)
    assert told(way)[5] == (15.0, EDGE_2, round(3 * PEAK_H, 2))


def test_an_incident_on_a_lake_warns_what_lies_below_its_outlet_from_now_on() -> None:
    waters = {1: Water(2, lake=9), 2: 3, 3: 0, 9: replace(LAKE, below=2)}
    assert told(walk(network(waters), 9)) == {2: (0, 0, INF), 3: (10, EDGE_2, INF)}


def test_an_incident_on_a_lake_is_diluted_against_the_lakes_outlet() -> None:
    waters = {9: replace(LAKE, below=2), 2: 3, 3: Water(4, mean=600), 4: Water(0, mean=601)}
    assert list(told(walk(network(waters), 9))) == [2, 3]


def test_an_incident_on_a_reach_in_a_lake_has_reached_the_lake() -> None:
    waters = {1: Water(2, lake=9), 2: Water(3, lake=9), 3: 0, 9: replace(RESERVOIR, below=3)}
    assert told(walk(network(waters), 1, start_km=2)) == {9: (0, 0, 0), 2: (2, 0, INF), 3: (12, 0, INF)}


def test_a_canal_that_leads_back_is_walked_once_and_never_to_the_incident_itself() -> None:
    """3 leads back to 1 by a canal, and 4 to 2."""
    way = walk(network({1: 2, 2: 3, 3: 4, 4: 0}, [(3, 1), (4, 2)]), 1)
    assert told(way) == {2: at(0), 3: at(1), 4: at(2)}
    circle = walk(network({1: 2, 2: 3, 3: 1}), 2, start_km=10)
    assert told(circle) == {3: at(1), 1: at(2)}


def test_the_last_that_is_warned_begins_within_two_hundred_kilometres() -> None:
    river = {nth: nth + 1 if nth < 40 else 0 for nth in range(1, 41)}
    steep = {nth: Water(below, slope=0.01, mean=30) for nth, below in river.items()}
    way = walk(network(steep), 1)
    assert way.distance_km.max() == 200.0
    assert len(way) == 21
    assert walk(network(steep), 1, start_km=0.5).distance_km.max() == 190.5
    assert len(walk(network(steep), 1, limit_km=35)) == 4


def test_the_last_that_is_warned_is_reached_within_seventy_two_hours() -> None:
    """At a hundredth of the water the leading edge takes some eleven hours through a reach."""
    river = {nth: nth + 1 if nth < 40 else 0 for nth in range(1, 41)}
    way = walk(network(river), 1, flow=Flow(0.01))
    reach = float(travel.term(2000e6, 30, NAN))
    _peak, fastest = travel.velocities(reach, 0.01, has_slope=False)
    step = 0.89 * 10 / 3.6 / fastest
    assert len(way) == 1 + math.floor(72 / step)
    assert way.earliest_h.max() <= 72 < way.earliest_h.max() + step
    assert way.probable_h.max() > 72


def test_from_twenty_times_the_water_on_nothing_is_warned() -> None:
    """3 carries twenty times what the incident's reach does, 4 more; 5 less again, but lies beyond."""
    waters = {1: 2, 2: 3, 3: Water(4, mean=600), 4: Water(5, mean=600.5), 5: 0}
    assert list(told(walk(network(waters), 1))) == [2, 3]
    unknown = {1: Water(2, mean=NAN), 2: 3, 3: Water(0, mean=60_000)}
    assert list(told(walk(network(unknown), 1))) == [2, 3]


def test_without_data_in_the_middle_only_kilometres_are_told_from_there_on() -> None:
    waters = {1: 2, 2: 3, 3: replace(NO_DATA, below=4), 4: 5, 5: 0}
    assert told(walk(network(waters), 1)) == {
        2: at(0), 3: at(1), 4: (20, INF, INF), 5: (30, INF, INF)
    }  # fmt: skip
    assert told(walk(network({1: replace(NO_DATA, below=2), 2: 3, 3: 0}), 1, start_km=1)) == {
        2: (1, INF, INF), 3: (11, INF, INF)
    }  # fmt: skip


def test_a_reach_of_unknown_length_holds_back_for_as_long_as_nobody_knows() -> None:
    waters = {1: 2, 2: Water(3, km=NAN), 3: 4, 4: 0}
    assert told(walk(network(waters), 1)) == {2: at(0), 3: (0, 0, INF), 4: (10, EDGE_2, INF)}


def test_a_way_without_times_goes_on_to_the_limit_of_distance_whatever_other_ways_take() -> None:
    """1 parts into 2, of which nothing is known, and 3, so slow that 4 is beyond 72 hours: 4 is warned by way of 2."""
    waters = {1: 2, 2: replace(NO_DATA, below=4), 3: Water(4, km=190, area=20_000, mean=3), 4: 0}
    made = network(waters, [(1, 3)])
    slow = walk(made, 1, flow=Flow(0.01))
    assert told(slow)[4] == (10, INF, INF)
    assert 4 not in told(walk(network(waters | {2: 0}, [(1, 3)]), 1, flow=Flow(0.01)))


def test_from_a_gauge_on_the_river_carries_what_it_says() -> None:
    """A gauge on 3 tells of four times the mean: 2 as everywhere, 3 and all below it faster."""
    made = network({1: 2, 2: 3, 3: 4, 4: 5, 5: 0})
    way = walk(made, 1, flow=Flow(1.0, {3: 4.0}))
    peak, fastest = travel.velocities(float(travel.term(2000e6, 30, NAN)), 4.0, has_slope=False)
    edge_4, peak_4 = 0.89 * 10 / 3.6 / fastest, 10 / 3.6 / peak
    assert way.flow_ratio.tolist() == [1.0, 4.0, 4.0, 4.0]
    shown = told(way)
    assert shown[3] == at(1)
    assert shown[4] == (20, round(EDGE_H + edge_4, 2), round(PEAK_H + peak_4, 2))
    assert shown[5] == (30, round(EDGE_H + 2 * edge_4, 2), round(PEAK_H + 2 * peak_4, 2))


def test_below_an_island_the_gauge_on_the_shorter_arm_counts() -> None:
    """3 has a gauge and is as long as 4 and 6 together less one: 5 carries on with the gauge's ratio."""
    made = network({1: 2, 2: 3, 3: Water(5, km=19), 4: 6, 6: 5, 5: 7, 7: 0}, [(2, 4)])
    for ratio in (0.1, 10.0):
        way = walk(made, 1, flow=Flow(1.0, {3: ratio}))
        shown = dict(zip(way.feature_ids.tolist(), way.flow_ratio.tolist(), strict=True))
        assert shown == {2: 1.0, 3: ratio, 4: 1.0, 6: 1.0, 5: ratio, 7: ratio}


def test_the_first_gauge_down_the_main_river_says_what_a_place_carries() -> None:
    made = network({1: 2, 2: 3, 3: 4, 4: 0}, [(1, 4)])
    gauges = Flow(0.5, {3: 2.0, 4: 3.0})
    assert [ratio_from(made, one, gauges) for one in (1, 2, 3, 4)] == [2.0, 2.0, 2.0, 3.0]
    assert ratio_from(made, 1, gauges, within_km=15) == 0.5
    assert ratio_from(made, 1, Flow(0.5)) == 0.5
    circle = network({1: 2, 2: 1})
    assert ratio_from(circle, 1, Flow(0.5, {9: 2.0})) == 0.5


def test_a_gauge_on_a_water_the_network_has_not_yet_or_no_longer_is_none() -> None:
    assert told(walk(network({1: 2, 2: 3, 3: 0}), 1, flow=Flow(1.0, {77: 3.0}))) == {2: at(0), 3: at(1)}


@pytest.mark.parametrize("ratio", [0.0, -1.0, 100.1, NAN, INF])
def test_a_flow_that_no_river_has_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="flow ratio"):
        Flow(ratio)
    with pytest.raises(ValueError, match="flow ratio"):
        Flow(1.0, {1: ratio})


def test_the_nearest_are_the_first_of_them() -> None:
    way = walk(network({1: 2, 2: 3, 3: 4, 4: 0}), 1)
    assert told(way.nearest(2)) == {2: at(0), 3: at(1)}
    assert len(way.nearest(9)) == 3
