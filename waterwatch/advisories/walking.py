"""The walk down from an incident: which reaches and lakes lie below it, how far, and when it will be there. Pure.

In memory, on the network's arrays: some microseconds a reach.
"""

import contextlib
import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from waterwatch.advisories.rules import DILUTED_BY, LIMIT_H, LIMIT_KM
from waterwatch.flow import travel
from waterwatch.flow.rules import NOWHERE, Network, UnknownFeature

KM_PER_H = 3.6  # in one m/s
GAUGE_WITHIN_KM = 100.0  # ours: farther down, other rivers make most of the water
NO_GAUGES: Mapping[int, float] = MappingProxyType({})


@dataclass(frozen=True)
class Flow:
    """How much water there is, against the mean of the years: everywhere alike, but from a gauge on as it says.

    ``ratio``: Q/Qa, above 0 and at most 100. ``gauges``: feature id of a reach → its ratio.
    """

    ratio: float = 1.0
    gauges: Mapping[int, float] = field(default_factory=lambda: NO_GAUGES)

    def __post_init__(self) -> None:
        """Refuse what no river has. Raises :class:`ValueError`."""
        for ratio in (self.ratio, *self.gauges.values()):
            if not 0 < ratio <= travel.MAX_FLOW_RATIO:
                raise ValueError(f"a flow ratio lies above 0 and at most at {travel.MAX_FLOW_RATIO:g}, not {ratio}")


@dataclass(frozen=True)
class Way:
    """What lies below, the nearest first; arrays of one length n.

    ``distance_km``: to the near end of each. ``earliest_h``, ``probable_h``: hours after it was seen at its place, of
    the leading edge at the fastest probable velocity and of the peak at the expected one; infinite: not known. A
    finite ``earliest_h`` with an infinite ``probable_h``: below a lake, not before then. ``flow_ratio``: by which each
    was reckoned. ``is_lake``: it flows into this lake; ``is_dammed``: one that a dam holds.
    """

    feature_ids: NDArray[np.int64]
    distance_km: NDArray[np.float64]
    earliest_h: NDArray[np.float64]
    probable_h: NDArray[np.float64]
    flow_ratio: NDArray[np.float64]
    is_lake: NDArray[np.bool_]
    is_dammed: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.feature_ids)

    def nearest(self, count: int) -> "Way":
        """The first so many of them."""
        return Way(**{each.name: getattr(self, each.name)[:count] for each in fields(self)})

    @property
    def unit_peak(self) -> NDArray[np.float64]:
        """Unit-peak concentration in 10⁻⁶/s: an order of magnitude; NaN where no time is known, or none has passed."""
        known = np.isfinite(self.probable_h) & (self.probable_h > 0)
        hours = np.where(known, self.probable_h, 1.0)
        return np.where(known, travel.unit_peak_concentration(hours, self.flow_ratio), np.nan)

    @property
    def passage_s(self) -> NDArray[np.float64]:
        """Seconds that most of it takes to pass; NaN as in :attr:`unit_peak`."""
        return np.asarray(travel.passage_s(self.unit_peak))


def walk(
    network: Network,
    feature_id: int,
    *,
    start_km: float = 0.0,
    flow: Flow | None = None,
    limit_km: float = LIMIT_KM,
    limit_h: float = LIMIT_H,
    diluted_by: float = DILUTED_BY,
) -> Way:
    """Every reach and lake below a feature, each once, but not the feature itself.

    ``start_km``: from the place to the lower end of its own reach. Of several ways to one place the shortest distance
    and the soonest times count. A lake stops the clock: it is reached at its time, below it only "not before" is known.
    What begins beyond ``limit_km``, what the leading edge does not reach within ``limit_h``, and reaches that carry
    more than ``diluted_by`` times the first one's mean discharge are not warned, nor is what lies beyond them alone.
    Raises :class:`UnknownFeature`.
    """
    flow = flow or Flow()
    start = network.row_of(feature_id)
    gauges = _known_gauges(network, flow)
    first = float(network.dis_av_cms[start])
    most = first * diluted_by if first > 0 else math.inf  # NaN: it is not known
    found: dict[int, Label] = {}
    lakes: dict[int, Label] = {}
    here = (0.0, 0.0, 0.0, gauges.get(start, flow.ratio))
    queue = _onward(network, start, here, start_km)
    heapq.heapify(queue)
    while queue:
        km, earliest, probable, row, ratio = heapq.heappop(queue)
        if row == start or km > limit_km or limit_h < earliest < math.inf or network.dis_av_cms[row] > most:
            continue
        known = found.get(row)
        if known is not None:
            if km >= known[0] and earliest >= known[1] and probable >= known[2]:
                continue
            km, earliest, probable = min(km, known[0]), min(earliest, known[1]), min(probable, known[2])
        label = (km, earliest, probable, gauges.get(row, ratio) if gauges else ratio)
        found[row] = label
        lake = int(network.lake_row[row])
        if lake not in (NOWHERE, start):
            lakes[lake] = _sooner(label, lakes.get(lake, label))
        for step in _onward(network, row, label):
            heapq.heappush(queue, step)
    for lake, label in lakes.items():
        found[lake] = _sooner(label, found.get(lake, label))
    return _way(network, found)


def ratio_from(network: Network, feature_id: int, flow: Flow, *, within_km: float = GAUGE_WITHIN_KM) -> float:
    """The flow ratio at a feature: of the first gauge down the main river within so many km, else as everywhere.

    Raises :class:`UnknownFeature`.
    """
    if not flow.gauges:
        return flow.ratio
    row, km, seen = network.row_of(feature_id), 0.0, set[int]()
    while row != NOWHERE and row not in seen and km <= within_km:
        ratio = flow.gauges.get(int(network.feature_id[row]))
        if ratio is not None:
            return ratio
        seen.add(row)
        length = float(network.length_km[row])
        km += length if length > 0 else 0.0
        row = int(network.next_row[row])
    return flow.ratio


def _known_gauges(network: Network, flow: Flow) -> dict[int, float]:
    """Flow ratios by row, without gauges on reaches that this network does not have: it may be older or younger."""
    known = {}
    for gauge, ratio in flow.gauges.items():
        with contextlib.suppress(UnknownFeature):
            known[network.row_of(gauge)] = ratio
    return known


Label = tuple[float, float, float, float]  # km, earliest h, probable h, flow ratio
Step = tuple[float, float, float, int, float]  # km, earliest h, probable h, row, flow ratio


def _onward(network: Network, row: int, label: Label, length_km: float | None = None) -> list[Step]:
    """Where the water of a row comes to next, and when; ``length_km``: by a part of its length only."""
    km, earliest, probable, ratio = label
    below = network.below(row)
    if not below:
        return []
    if network.is_lake[row] or network.lake_row[row] != NOWHERE:
        length = float(network.length_km[row]) if length_km is None else length_km
        km, probable = km + (length if length > 0 else 0.0), math.inf
    else:
        length = float(network.length_km[row]) if length_km is None else length_km
        if length > 0:  # not where it is unknown, NaN
            reach_term = float(network.term[row])
            km += length
            if reach_term > 0:
                peak, fastest = travel.velocities(reach_term, ratio, has_slope=network.slope[row] > 0)
                earliest += length * travel.LEADING_EDGE / (KM_PER_H * fastest)
                probable += length / (KM_PER_H * peak)
            else:
                earliest = probable = math.inf
    return [(km, earliest, probable, lower, ratio) for lower in below]


def _sooner(one: Label, other: Label) -> Label:
    return min(one[0], other[0]), min(one[1], other[1]), min(one[2], other[2]), one[3]


def _way(network: Network, found: Mapping[int, Label]) -> Way:
    order = sorted(found.items(), key=lambda each: (each[1][0], each[1][1], each[0]))
    rows = np.array([row for row, _label in order], dtype=np.int64)
    labels = np.array([label for _row, label in order], dtype=np.float64).reshape(len(order), 4)
    return Way(
        feature_ids=np.asarray(network.feature_id)[rows],
        distance_km=labels[:, 0],
        earliest_h=labels[:, 1],
        probable_h=labels[:, 2],
        flow_ratio=labels[:, 3],
        is_lake=np.asarray(network.is_lake)[rows],
        is_dammed=np.asarray(network.is_dammed)[rows],
    )
