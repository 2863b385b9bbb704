"""The walk down from an incident on any network: that of a walk which tries everything, and sane."""

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.advisories.networks import INF, LAKE, NAN, Water, network
from waterwatch.advisories.walking import Flow, Way, walk
from waterwatch.flow import travel


@dataclass(frozen=True)
class Slow:
    """What a walk that tries everything, again and again until nothing changes, finds: by feature id."""

    km: dict[int, float]
    earliest: dict[int, float]
    probable: dict[int, float]
    untimed: set[int]


@dataclass(frozen=True)
class Given:
    """A network as numbers, and a walk on it."""

    waters: dict[int, Water]
    arms: list[tuple[int, int]]
    start: int
    start_km: float
    limit_km: float
    limit_h: float
    diluted_by: float
    flow: Flow

    def below(self, feature: int) -> list[int]:
        one = self.waters[feature]
        found = [one.below] if one.below in self.waters else []
        found += [lower for upper, lower in self.arms if upper == feature and lower in self.waters]
        return found if found or one.lake not in self.waters else [one.lake]

    def length(self, feature: int) -> float:
        length = self.start_km if feature == self.start else float(np.float32(self.waters[feature].km))
        return length if length > 0 else 0.0

    def hours(self, feature: int, ratio: float) -> tuple[float, float]:
        one = self.waters[feature]
        length = self.start_km if feature == self.start else float(np.float32(one.km))
        if one.is_lake or one.lake in self.waters or math.isnan(length):
            return 0.0, INF
        if length == 0:
            return 0.0, 0.0
        reach = float(np.float32(travel.term(np.float32(one.area) * 1e6, np.float32(one.mean), np.float32(one.slope))))
        if not reach > 0:
            return INF, INF
        peak, fastest = travel.velocities(reach, ratio, has_slope=one.slope > 0)
        return 0.89 * length / (3.6 * fastest), length / (3.6 * peak)

    def most(self) -> float:
        one = self.waters[self.start]
        if one.is_lake and one.below in self.waters:
            one = self.waters[one.below]
        return one.mean * self.diluted_by if one.mean > 0 else INF

    def walk(self) -> Way:
        return walk(
            network(self.waters, self.arms), self.start, start_km=self.start_km, flow=self.flow,
            limit_km=self.limit_km, limit_h=self.limit_h, diluted_by=self.diluted_by,
        )  # fmt: skip

    def shortest(self) -> dict[int, float]:
        """The start and all within reach by distance and dilution."""
        most = self.most()
        km = {self.start: 0.0}
        while True:
            before = dict(km)
            for upper in list(km):
                end = km[upper] + self.length(upper)
                for lower in self.below(upper):
                    if lower != self.start and end <= self.limit_km and not self.waters[lower].mean > most:
                        km[lower] = min(end, km.get(lower, INF))
            if km == before:
                return km

    def slowly(self, ratios: Mapping[int, float]) -> Slow:
        km = self.shortest()
        links = [(upper, lower) for upper in km for lower in self.below(upper) if lower in km and lower != self.start]
        takes = {feature: self.hours(feature, ratios[feature]) for feature in km}
        earliest, probable = dict.fromkeys(km, INF), dict.fromkeys(km, INF)
        earliest[self.start] = probable[self.start] = 0.0
        for _round in range(len(km) + 1):
            for upper, lower in links:
                if earliest[upper] + takes[upper][0] <= self.limit_h:
                    earliest[lower] = min(earliest[lower], earliest[upper] + takes[upper][0])
        walked = [(upper, lower) for upper, lower in links if earliest[upper] + takes[upper][0] <= self.limit_h]
        untimed: set[int] = set()
        for _round in range(len(km) + 1):
            for upper, lower in walked:
                probable[lower] = min(probable[lower], probable[upper] + takes[upper][1])
            for upper, lower in links:
                if upper in untimed or (earliest[upper] < INF and takes[upper][0] == INF):
                    untimed.add(lower)
        return Slow(km, earliest, probable, untimed)


NUMBER = st.integers(1, 14)
WATERS = st.builds(
    Water,
    below=st.integers(0, 14),
    km=st.sampled_from([0.0, NAN, 1.0, 2.5, 8.0, 20.0, 60.0]),
    area=st.sampled_from([NAN, 0.0, 50.0, 2000.0, 90_000.0]),
    mean=st.sampled_from([NAN, 0.0, 0.5, 30.0, 900.0]),
    lake=st.sampled_from([0, 0, 0, 13, 14]),
    slope=st.sampled_from([NAN, 0.0, 0.0005, 0.02]),
)
LAKES = st.builds(lambda below, is_dammed: replace(LAKE, below=below, is_dammed=is_dammed), NUMBER, st.booleans())


@st.composite
def anything(draw: st.DrawFn) -> Given:
    """Reaches 1 to 12 and lakes 13 and 14, flowing anywhere, also in circles; arms; gauges; every limit."""
    waters: dict[int, Water] = {nth: draw(WATERS) for nth in range(1, 13)} | {nth: draw(LAKES) for nth in (13, 14)}
    arms = draw(st.lists(st.tuples(NUMBER, st.integers(1, 15)), max_size=10, unique=True))
    gauges = draw(st.dictionaries(st.integers(1, 15), st.sampled_from([0.05, 0.5, 3.0, 40.0]), max_size=3))
    return Given(
        waters,
        [(upper, lower) for upper, lower in arms if upper != lower],
        draw(NUMBER),
        draw(st.sampled_from([0.0, 0.5, 10.0])),
        draw(st.sampled_from([5.0, 40.0, 200.0])),
        draw(st.sampled_from([1.0, 10.0, 72.0])),
        draw(st.sampled_from([1.0, 20.0, 1000.0])),
        Flow(draw(st.sampled_from([0.05, 1.0, 8.0])), gauges),
    )


def labels(way: Way) -> dict[int, tuple[float, float, float, float]]:
    """Feature → km, earliest, probable, ratio."""
    columns = (way.distance_km, way.earliest_h, way.probable_h, way.flow_ratio)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return dict(zip(way.feature_ids.tolist(), rows, strict=True))


def all_ratios(given_: Given) -> dict[int, float]:
    """Of each within reach, warned or not: a walk without an end in time finds them, where it has times at all."""
    km, ratios = given_.shortest(), {}
    queue = [(0.0, given_.start, -given_.flow.ratio)]
    while queue:
        way, feature, ratio = heapq.heappop(queue)
        if feature in ratios or feature not in km or way > km[feature]:
            continue
        ratios[feature] = given_.flow.gauges.get(feature, -ratio)
        for lower in given_.below(feature):
            heapq.heappush(queue, (way + given_.length(feature), lower, -ratios[feature]))
    return ratios


@given(anything())
def test_any_walk_is_that_of_walking_slowly(given_: Given) -> None:
    """The same reaches, km and hours; lakes that reaches lie in come with the soonest of these."""
    ratios = all_ratios(given_)
    slow = given_.slowly(ratios)
    expected = {
        feature: (km, slow.earliest[feature], slow.probable[feature])
        for feature, km in slow.km.items()
        if feature != given_.start and (slow.earliest[feature] < INF or feature in slow.untimed)
    }
    for feature, label in [(given_.start, (0.0, 0.0, 0.0)), *list(expected.items())]:
        lake = given_.waters[feature].lake
        if lake in given_.waters and lake != given_.start:
            other = expected.get(lake, label)
            expected[lake] = (min(other[0], label[0]), min(other[1], label[1]), min(other[2], label[2]))
    found = labels(given_.walk())
    assert found.keys() == expected.keys()
    for feature, (km, earliest, probable, _ratio) in found.items():
        assert (km, earliest, probable) == pytest.approx(expected[feature], rel=1e-9)


@given(anything())
def test_every_walk_is_sane(given_: Given) -> None:
    way = given_.walk()
    found = labels(way)
    assert len(found) == len(way)  # none twice
    assert given_.start not in found
    assert way.distance_km.tolist() == sorted(way.distance_km.tolist())
    assert all(0 <= earliest <= probable for _km, earliest, probable, _ratio in found.values())
    assert all(km <= given_.limit_km for km, *_rest in found.values())
    assert all(earliest <= given_.limit_h or earliest == INF for _km, earliest, *_rest in found.values())
    reachable, todo = {given_.start}, [given_.start]
    while todo:
        feature = todo.pop()
        lake = given_.waters[feature].lake
        for lower in [*given_.below(feature), *([lake] if lake in given_.waters else [])]:
            if lower not in reachable:
                reachable.add(lower)
                todo.append(lower)
    assert set(found) <= reachable


@given(anything())
def test_arrival_never_comes_sooner_than_where_it_came_from(given_: Given) -> None:
    """Each has one before it on some way that is nearer and earlier; where there are no arms, the only one above."""
    found = labels(given_.walk())
    found[given_.start] = (0.0, 0.0, 0.0, given_.flow.ratio)
    above: dict[int, list[int]] = {}
    for upper in found:
        lake = given_.waters[upper].lake
        for lower in [*given_.below(upper), *([lake] if lake in given_.waters else [])]:
            above.setdefault(lower, []).append(upper)
    for feature, label in found.items():
        if feature != given_.start:
            for part in (1, 2):
                assert any(found[upper][part] <= label[part] for upper in above[feature])


@given(anything(), st.tuples(NUMBER, NUMBER))
def test_a_further_arm_takes_no_warning_away_and_delays_none(given_: Given, arm: tuple[int, int]) -> None:
    """Without gauges, which would change what the river carries."""
    bare = replace(given_, flow=Flow(given_.flow.ratio))
    before = labels(bare.walk())
    assume(arm[0] != arm[1])
    assume(bare.below(arm[0]) != [bare.waters[arm[0]].lake])  # what ended in its lake does so no longer
    after = labels(replace(bare, arms=[*bare.arms, arm]).walk())
    assert set(before) <= set(after)
    for feature, (km, earliest, probable, _ratio) in before.items():
        assert after[feature][0] <= km
        assert after[feature][1] <= earliest
        assert after[feature][2] <= probable
