"""Walks on the network: exact distances, all arms, and the same as walking by hand."""

import heapq
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterwatch.flow.rules import ARM, PLAIN_PARTS, ROW, STEP, STEP_PARTS, Network, UnknownFeature, build

NAN = float("nan")


def network(next_of: dict[int, int], arms: list[tuple[int, int]] | None = None, km: float = 1.0) -> Network:
    """Reaches of ``km`` each; 0 flows out of the map."""
    rows = np.zeros(len(next_of), dtype=ROW)
    for place, (feature, below) in enumerate(next_of.items()):
        rows[place] = (feature, below, 0, km, NAN, NAN, False, NAN, False)
    return build(rows, np.array(arms or [], dtype=ARM))


# 10 and 11 meet in 20, which takes 12 in 30 and ends in the sea below 40.
TREE = {10: 20, 11: 20, 12: 30, 20: 30, 30: 40, 40: 0}


def test_downstream_is_every_reach_below_with_the_way_to_its_upper_end() -> None:
    assert network(TREE, km=2.5).downstream(10).as_dict() == {20: 0.0, 30: 2.5, 40: 5.0}


def test_the_way_begins_where_the_place_lies_on_its_reach() -> None:
    assert network(TREE).downstream(20, start_km=0.25).as_dict() == {30: 0.25, 40: 1.25}
    assert network(TREE).upstream(30, start_km=0.5).as_dict() == {12: 0.5, 20: 0.5, 10: 1.5, 11: 1.5}


def test_what_a_step_reads_out_of_the_bytes_is_what_the_columns_have() -> None:
    assert STEP_PARTS.size == STEP.itemsize
    rows = np.array(
        [(7, 9, 0, 2.5, 300.0, 4.0, False, 0.001, False), (9, 0, 0, 1.0, 400.0, 5.0, False, 0.0, True)], dtype=ROW
    )
    built = build(rows, np.array([], dtype=ARM))
    columns = [getattr(built, name) for name in STEP.names or ()]
    for row in range(len(built)):
        at = row * STEP_PARTS.size
        assert built.plain.step_of(row) == tuple(column[row] for column in columns)
        assert PLAIN_PARTS.unpack_from(built.plain.step, at) == built.plain.step_of(row)[:6]
    assert built.is_plain.tolist() == [True, False]


def test_upstream_is_every_reach_above_the_nearest_first() -> None:
    walk = network(TREE).upstream(40)
    assert walk.as_dict() == {30: 0.0, 20: 1.0, 12: 1.0, 10: 2.0, 11: 2.0}
    assert walk.distance_km.tolist() == sorted(walk.distance_km.tolist())


def test_a_source_has_nothing_above_and_a_mouth_nothing_below() -> None:
    assert len(network(TREE).upstream(10)) == 0
    assert len(network(TREE).downstream(40)) == 0


def test_a_limit_ends_the_walk_at_the_last_reach_that_begins_within_it() -> None:
    assert network(TREE).downstream(10, limit_km=1.0).as_dict() == {20: 0.0, 30: 1.0}
    assert network(TREE).upstream(40, limit_km=1.0).as_dict() == {30: 0.0, 20: 1.0, 12: 1.0}


def test_where_a_river_parts_both_arms_are_walked_and_the_shorter_way_counts() -> None:
    # 1 parts into 2→3→4 and straight into 4.
    parted = network({1: 2, 2: 3, 3: 4, 4: 0}, arms=[(1, 4)])
    assert parted.downstream(1).as_dict() == {2: 0.0, 4: 0.0, 3: 1.0}
    assert parted.upstream(4).as_dict() == {1: 0.0, 3: 0.0, 2: 1.0}


def test_water_that_flows_in_a_circle_is_walked_once() -> None:
    circle = network({1: 2, 2: 3, 3: 1})
    assert circle.downstream(1).as_dict() == {2: 0.0, 3: 1.0}
    assert circle.upstream(1).as_dict() == {3: 0.0, 2: 1.0}


def test_a_lake_and_a_reach_of_unknown_length_take_no_way() -> None:
    rows = np.array([(1, 2, 0, 3.0, NAN, NAN, False, NAN, False), (2, 3, 0, NAN, NAN, NAN, True, NAN, False),
                     (3, 0, 0, 1.0, NAN, NAN, False, NAN, False)], dtype=ROW)  # fmt: skip
    through = build(rows, np.array([], dtype=ARM))
    assert through.downstream(1).as_dict() == {2: 0.0, 3: 0.0}
    assert through.upstream(3).as_dict() == {2: 0.0, 1: 0.0}


def test_an_unknown_reach_is_an_error_and_unknown_neighbours_are_none() -> None:
    loose = network({5: 99}, arms=[(5, 77), (66, 5)])
    assert len(loose.downstream(5)) == len(loose.upstream(5)) == 0
    for strange in (4, 6, 99):
        with pytest.raises(UnknownFeature):
            loose.downstream(strange)
    with pytest.raises(UnknownFeature):
        build(np.array([], dtype=ROW), np.array([], dtype=ARM)).upstream(1)


def test_a_feature_takes_at_most_sixty_bytes() -> None:
    rows = np.zeros(10_000, dtype=ROW)
    rows["feature_id"] = np.arange(1, 10_001)
    rows["next_id"] = np.arange(2, 10_002)
    assert build(rows, np.array([], dtype=ARM)).bytes <= 60 * 10_000


def by_hand(edges: dict[int, list[int]], length: dict[int, float], start: int) -> dict[int, float]:
    """Dijkstra over whatever edges are given: the way to the near end of each."""
    best: dict[int, float] = {}
    queue = [(0.0, row) for row in edges.get(start, [])]
    while queue:
        km, row = heapq.heappop(queue)
        if row in best or row == start:
            continue
        best[row] = km
        for other in edges.get(row, []):
            heapq.heappush(queue, (km + length[row], other))
    return best


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 80)), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=12),
)
def test_walks_are_those_of_walking_by_hand(reaches: list[tuple[int, int]], arms: list[tuple[int, int]]) -> None:
    """Any graph at all, circles and arms into nowhere among them; lengths in eighths are exact in any sum."""
    next_of = {place + 1: below for place, (below, _length) in enumerate(reaches)}
    length = {place + 1: eighths / 8 for place, (_below, eighths) in enumerate(reaches)}
    rows = np.zeros(len(reaches), dtype=ROW)
    for place, feature in enumerate(next_of):
        rows[place] = (feature, next_of[feature], 0, length[feature], NAN, NAN, False, NAN, False)
    made = build(rows[::-1].copy(), np.array(arms, dtype=ARM))
    down: dict[int, list[int]] = {}
    up: dict[int, list[int]] = {}
    for above, below in [*next_of.items(), *arms]:
        if above in next_of and below in next_of and above != below:
            down.setdefault(above, []).append(below)
            up.setdefault(below, []).append(above)
    for feature in next_of:
        assert made.downstream(feature).as_dict() == by_hand(down, length, feature)
        assert made.upstream(feature).as_dict() == by_hand(up, length, feature)
        assert not math.isnan(sum(made.upstream(feature).distance_km))
