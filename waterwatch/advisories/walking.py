"""The walk down from an incident: which reaches and lakes lie below it, how far, and when it will be there. Pure.

In memory, on the network's arrays: some microseconds a reach.
"""

import heapq
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterwatch.advisories.rules import DILUTED_BY, LIMIT_H, LIMIT_KM
from waterwatch.flow import travel
from waterwatch.flow.rules import NOWHERE, Network

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
    and the soonest times count, each by itself; the flow ratio is that of the shortest way. A lake stops the clock: it
    is reached at its time, below it only "not before" is known; one that the place itself lies in is reached already.
    What begins beyond ``limit_km``, what the leading edge does not reach within ``limit_h``, and reaches that carry
    more than ``diluted_by`` times the first one's mean discharge are not warned, nor is what lies beyond them alone.
    Where a way comes through a reach of which no velocity is known, what lies beyond has no times by that way, and
    ``limit_h`` does not end it. Raises :class:`UnknownFeature`.
    """
    start = network.row_of(feature_id)
    ground = _Ground(network)
    places = _distances(ground, start, start_km, flow or Flow(), limit_km, ground.discharge(start) * diluted_by)
    _set_clocks(places, limit_h)
    return _way(network, _with_lakes(ground, places))


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


class _Ground:
    """The network's arrays, read number by number: by a view that costs a tenth of what numpy takes for one."""

    def __init__(self, network: Network) -> None:
        self.feature_id: Sequence[int] = _plain(network.feature_id)
        self.next_row: Sequence[int] = _plain(network.next_row)
        self.lake_row: Sequence[int] = _plain(network.lake_row)
        self.arm_upper: Sequence[int] = _plain(network.arm_upper)
        self.arm_lower: Sequence[int] = _plain(network.arm_lower)
        self.is_lake: Sequence[bool] = _plain(network.is_lake)
        self.is_parting: Sequence[bool] = _plain(network.is_parting)
        self.length_km: Sequence[float] = _plain(network.length_km)
        self.dis_av_cms: Sequence[float] = _plain(network.dis_av_cms)
        self.term: Sequence[float] = _plain(network.term)
        self.slope: Sequence[float] = _plain(network.slope)

    def discharge(self, row: int) -> float:
        """Mean discharge in m³/s, a lake's by its outlet; infinite where it is not known: nothing is more."""
        if self.is_lake[row] and self.next_row[row] != NOWHERE:
            row = self.next_row[row]
        known = self.dis_av_cms[row]
        return known if known > 0 else math.inf

    def below(self, row: int) -> list[int]:
        """As :meth:`Network.below`; what ends in a lake comes to the lake."""
        main, lake = self.next_row[row], self.lake_row[row]
        rows = [main] if main != NOWHERE else []
        if self.is_parting[row]:
            nth = bisect_left(self.arm_upper, row)
            while nth < len(self.arm_upper) and self.arm_upper[nth] == row:
                rows.append(self.arm_lower[nth])
                nth += 1
        return rows if rows or lake == NOWHERE else [lake]

    def place(self, row: int, km: float, ratio: float, length_km: float | None = None) -> "_Place":
        """A row as it is reached; ``length_km``: where only a part of it is walked."""
        length = self.length_km[row] if length_km is None else length_km
        fastest_h, probable_h = self._hours(row, length, ratio)
        return _Place(row, km, ratio, self.below(row), length if length > 0 else 0.0, fastest_h, probable_h)

    def _hours(self, row: int, length_km: float, ratio: float) -> tuple[float, float]:
        """How long water takes through it: the leading edge at least, the peak probably; infinite: not known."""
        if self.is_lake[row] or self.lake_row[row] != NOWHERE or math.isnan(length_km):
            return 0.0, math.inf
        if length_km <= 0:
            return 0.0, 0.0
        term = self.term[row]
        if not term > 0:  # NaN
            return math.inf, math.inf
        peak, fastest = travel.velocities(term, ratio, has_slope=self.slope[row] > 0)
        return length_km * travel.LEADING_EDGE / (KM_PER_H * fastest), length_km / (KM_PER_H * peak)


def _plain(array: Any) -> Any:
    return memoryview(array)


@dataclass(slots=True, eq=False)
class _Place:
    """A row on the way: how it is reached, how long water takes through it, and when it comes there.

    ``is_untimed``: some way here leads through a reach of which no velocity is known.
    """

    row: int
    km: float
    ratio: float
    below: list[int]
    length_km: float
    fastest_h: float
    peak_h: float
    earliest: float = math.inf
    probable: float = math.inf
    is_untimed: bool = False
    is_pending: bool = False

    @property
    def is_reached(self) -> bool:
        return self.is_untimed or self.earliest < math.inf


def _distances(
    ground: _Ground, start: int, start_km: float, flow: Flow, limit_km: float, most_cms: float
) -> dict[int, _Place]:
    """All that lies within the limits of distance and dilution, the start itself first, then the nearest (Dijkstra)."""
    ids, gauges, discharge = ground.feature_id, flow.gauges, ground.dis_av_cms
    places: dict[int, _Place] = {}
    queue: list[tuple[float, int, float]] = [
        (0.0, start, -flow.ratio)
    ]  # of ways of one length, the one with more water
    length: float | None = start_km
    while queue:
        km, row, ratio = heapq.heappop(queue)
        if row in places:
            continue
        ratio = gauges.get(ids[row], -ratio) if gauges else -ratio
        places[row] = place = ground.place(row, km, ratio, length)
        length = None
        end_km = km + place.length_km
        if end_km <= limit_km:
            for lower in place.below:
                if lower not in places and not discharge[lower] > most_cms:  # NaN: it is not known
                    heapq.heappush(queue, (end_km, lower, -ratio))
    return places


def _set_clocks(places: dict[int, _Place], limit_h: float) -> None:
    """When water comes to each: the soonest by any way (label correcting, the nearest first).

    Where no way comes back nearer to the start than it was, every place is seen once. What is found does not depend
    on the order: hours only become fewer, and with fewer a way leads on wherever it did before.
    """
    order = list(places.values())
    number = {place.row: nth for nth, place in enumerate(order)}
    first = order[0]
    first.earliest = first.probable = 0.0
    pending = [0]
    while pending:
        place = order[heapq.heappop(pending)]
        place.is_pending = False
        earliest, probable = place.earliest + place.fastest_h, place.probable + place.peak_h
        is_untimed = place.is_untimed or (place.earliest < math.inf and place.fastest_h == math.inf)
        if earliest > limit_h:
            earliest = probable = math.inf
        if earliest == math.inf and not is_untimed:
            continue
        for lower in place.below:
            other = places.get(lower)
            if other is None or other is first:
                continue
            if earliest < other.earliest or probable < other.probable or is_untimed > other.is_untimed:
                other.earliest, other.probable = min(earliest, other.earliest), min(probable, other.probable)
                other.is_untimed |= is_untimed
                if not other.is_pending:
                    other.is_pending = True
                    heapq.heappush(pending, number[lower])


Label = tuple[float, float, float, float]  # km, earliest h, probable h, flow ratio


def _with_lakes(ground: _Ground, places: dict[int, _Place]) -> dict[int, Label]:
    """What is reached, and the lakes that it lies in; without the start itself."""
    start, *others = places.values()
    found = {each.row: (each.km, each.earliest, each.probable, each.ratio) for each in others if each.is_reached}
    lakes: dict[int, Label] = {}
    for place in (start, *(each for each in others if each.is_reached)):
        lake = ground.lake_row[place.row]
        if lake not in (NOWHERE, start.row):
            label = (place.km, place.earliest, place.probable, place.ratio)
            lakes[lake] = _sooner(lakes.get(lake, label), label)
    for lake, label in lakes.items():
        found[lake] = _sooner(found.get(lake, label), label)
    return found


def _sooner(one: Label, other: Label) -> Label:
    ratio = one[3] if one[0] <= other[0] else other[3]
    return min(one[0], other[0]), min(one[1], other[1]), min(one[2], other[2]), ratio


def _way(network: Network, found: Mapping[int, Label]) -> Way:
    order = sorted((*label[:2], row) for row, label in found.items())
    rows = np.array([row for _km, _earliest, row in order], dtype=np.int64)
    labels = np.array([found[row] for _km, _earliest, row in order], dtype=np.float64).reshape(len(order), 4)
    return Way(
        feature_ids=np.asarray(network.feature_id)[rows],
        distance_km=labels[:, 0],
        earliest_h=labels[:, 1],
        probable_h=labels[:, 2],
        flow_ratio=labels[:, 3],
        is_lake=np.asarray(network.is_lake)[rows],
        is_dammed=np.asarray(network.is_dammed)[rows],
    )
