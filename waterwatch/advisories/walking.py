"""The walk down from an incident: which reaches and lakes lie below it, how far, and when it will be there. Pure.

In memory, on the network's arrays: some microseconds a reach.
"""

import heapq
import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import chain
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from waterwatch.advisories.rules import DILUTED_BY, LIMIT_H, LIMIT_KM
from waterwatch.flow import travel
from waterwatch.flow.rules import NOWHERE, PLAIN_PARTS, STEP_PARTS, Network, Step

KM_PER_H = 3.6  # in one m/s
MIXED_H = 1.0  # ours
GAUGE_WITHIN_KM = 100.0  # ours: farther down, other rivers make most of the water
NO_GAUGES: Mapping[int, float] = MappingProxyType({})


def _km_per_h(velocity: tuple[float, float], share: float = 1.0) -> tuple[float, float]:
    return KM_PER_H * velocity[0] / share, KM_PER_H * velocity[1] / share


# travel.velocities in km/h as constants: of the leading edge at the fastest, and of the peak as expected.
SLOPE_EDGE_0, SLOPE_EDGE_1 = _km_per_h(travel.WITH_SLOPE.fastest, travel.LEADING_EDGE)
SLOPE_PEAK_0, SLOPE_PEAK_1 = _km_per_h(travel.WITH_SLOPE.probable)
EDGE_0, EDGE_1 = _km_per_h(travel.WITHOUT_SLOPE.fastest, travel.LEADING_EDGE)
PEAK_0, PEAK_1 = _km_per_h(travel.WITHOUT_SLOPE.probable)


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


AS_EVER = Flow()


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

    @classmethod
    def nowhere(cls) -> "Way":
        """One without any reach."""
        numbers, flags = np.empty(0, np.float64), np.empty(0, np.bool_)
        return cls(np.empty(0, np.int64), numbers, numbers, numbers, numbers, flags, flags)

    def nearest(self, count: int) -> "Way":
        """The first so many of them."""
        return Way(**{each.name: getattr(self, each.name)[:count] for each in fields(self)})

    @property
    def unit_peak(self) -> NDArray[np.float64]:
        """Unit-peak concentration in 10⁻⁶/s: an order of magnitude; NaN where no time is known, or within an hour.

        What has flowed for less than :data:`MIXED_H` is not mixed across the river yet, as the equation supposes, which
        tends to no bound there.
        """
        return np.where(self.probable_h >= MIXED_H, self._unit_peak, np.nan)  # infinite: NaN already

    @property
    def passage_s(self) -> NDArray[np.float64]:
        """Seconds that most of it takes to pass; NaN where no time is known, or none has passed."""
        return np.asarray(travel.passage_s(self._unit_peak))

    @property
    def _unit_peak(self) -> NDArray[np.float64]:
        known = np.isfinite(self.probable_h) & (self.probable_h > 0)
        hours = np.where(known, self.probable_h, 1.0)
        return np.where(known, travel.unit_peak_concentration(hours, self.flow_ratio), np.nan)


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
    start, start_km = network.row_of(feature_id), max(0.0, start_km)
    steps = _Steps(network, flow or AS_EVER, limit_h)
    settled = steps.walk(start, start_km, limit_km, steps.discharge(start) * diluted_by)
    return _way(network, steps.with_lakes(settled, start))


def ratio_from(network: Network, feature_id: int, flow: Flow, *, within_km: float = GAUGE_WITHIN_KM) -> float:
    """The flow ratio at a feature: of the first gauge down the main river within so many km, else as everywhere.

    Raises :class:`UnknownFeature`.
    """
    if not flow.gauges:
        return flow.ratio
    row, km, seen = network.row_of(feature_id), 0.0, set[int]()
    while row != NOWHERE and row not in seen and km <= within_km:
        ratio = flow.gauges.get(network.plain.feature_id[row])
        if ratio is not None:
            return ratio
        seen.add(row)
        row, length, *_rest = network.plain.step_of(row)
        km += length if length > 0 else 0.0
    return flow.ratio


# How a row is reached: km, earliest h, probable h, flow ratio, and whether some way here leads through a reach of which
# no velocity is known. A list, since it is made for every row that is walked and changed for few.
Label = list[float]
KM, EARLIEST, PROBABLE, RATIO, UNTIMED = range(5)
# Of waterwatch.flow.rules.STEP.
NEXT: Final = 0
LENGTH: Final = 1
DISCHARGE: Final = 2
IS_PARTING: Final = 8


class _Steps:
    """One walk. What it reads of a row it reads as plain numbers, in a tenth of the time numpy takes for one."""

    def __init__(self, network: Network, flow: Flow, limit_h: float) -> None:
        self.flow = flow
        self.limit_km, self.limit_h, self.most_cms = math.inf, limit_h, math.inf
        self.plain = network.plain
        self.scaled_for, self.scales = 1.0, (1.0, 1.0)  # a flow ratio, and its powers
        self.waiting: dict[int, Label] = {}
        self.queue: list[tuple[float, int, float]] = []
        self.again: set[int] = set()
        self.is_whole = True  # everything settled is reached, and nothing of it lies in a lake

    def discharge(self, row: int) -> float:
        """Mean discharge in m³/s, a lake's by its outlet; infinite where it is not known: nothing is more."""
        next_row, _length, known, _slope, _term, _is_plain, is_lake, *_rest = self.plain.step_of(row)
        if is_lake and next_row != NOWHERE:
            known = self.plain.step_of(next_row)[DISCHARGE]
        return known if known > 0 else math.inf

    def below(self, row: int, step: Step) -> list[int]:
        """As :meth:`Network.below`; what ends in a lake comes to the lake."""
        main, lake = step[NEXT], self.plain.lake_row[row]
        rows = [main] if main != NOWHERE else []
        if step[IS_PARTING]:
            upper, lower = self.plain.arm_upper, self.plain.arm_lower
            nth = bisect_left(upper, row)
            while nth < len(upper) and upper[nth] == row:
                rows.append(lower[nth])
                nth += 1
        return rows if rows or lake == NOWHERE else [lake]

    def walk(self, start: int, start_km: float, limit_km: float, most_cms: float) -> dict[int, Label]:
        """All within the limits of distance and dilution, the start first, then the nearest (Dijkstra).

        Their hours are the soonest by any way between them.
        """
        self.limit_km, self.most_cms = limit_km, most_cms
        gauges, waiting = self.flow.gauges, self.waiting
        settled: dict[int, Label] = {}
        row, label = self._stretch(start, [0.0, 0.0, 0.0, self.flow.ratio, False], settled, start_km)
        while row != NOWHERE:
            if gauges:
                label[RATIO] = gauges.get(self.plain.feature_id[row], label[RATIO])
            settled[row] = label
            step = self.plain.step_of(row)
            onward = self._onward(row, step, label, step[LENGTH] if row != start else start_km)
            for lower in self.below(row, step):
                if lower != start and not self.plain.step_of(lower)[DISCHARGE] > most_cms:  # NaN: it is not known
                    self._offer(lower, onward, settled)
            row = self._nearest(settled)
            if row != NOWHERE:
                label = waiting.pop(row)
                if not waiting:
                    row, label = self._stretch(row, label, settled)
        if self.again:
            self._correct(settled, start)
        return settled

    def _stretch(
        self, row: int, label: Label, settled: dict[int, Label], first_km: float | None = None
    ) -> tuple[int, Label]:
        """Down a river that does not part, while nothing else waits; gives where it ceases to be so.

        The same as step by step, only faster: most of any walk is such a stretch. ``first_km``: so much of the first.
        """
        read, memory, size, gauges = PLAIN_PARTS.unpack_from, self.plain.step, STEP_PARTS.size, self.flow.gauges
        limit_km, limit_h, most_cms = self.limit_km, self.limit_h, self.most_cms
        km, earliest, probable, ratio, untimed = label
        with_slope, without_slope = self._scales(ratio)
        next_row, length, cms, slope, term, is_plain = read(memory, row * size)
        if first_km is not None:
            length = first_km
        while is_plain:
            if gauges:
                ratio = gauges.get(self.plain.feature_id[row], ratio)
                with_slope, without_slope = self._scales(ratio)
            settled[row] = [km, earliest, probable, ratio, untimed]
            if slope > 0:
                scaled = term * with_slope
                earliest += length / (SLOPE_EDGE_0 + SLOPE_EDGE_1 * scaled)
                probable += length / (SLOPE_PEAK_0 + SLOPE_PEAK_1 * scaled)
            else:
                scaled = term * without_slope
                earliest += length / (EDGE_0 + EDGE_1 * scaled)
                probable += length / (PEAK_0 + PEAK_1 * scaled)
            km += length
            row = next_row
            next_row, length, cms, slope, term, is_plain = read(memory, row * size)
            if km > limit_km or earliest > limit_h or cms > most_cms or row in settled:
                break
        else:
            return row, [km, earliest, probable, ratio, untimed]
        return self._step_off(row, [km, earliest, probable, ratio, untimed], settled)

    def _step_off(self, row: int, label: Label, settled: dict[int, Label]) -> tuple[int, Label]:
        """Where a stretch came to a limit, or to what is settled: whether and how it goes on from there."""
        if label[EARLIEST] > self.limit_h:
            label[EARLIEST] = label[PROBABLE] = math.inf
            self.is_whole = False
        is_diluted = self.plain.step_of(row)[DISCHARGE] > self.most_cms
        if row in settled:
            if row != next(iter(settled)) and not is_diluted:
                self._offer(row, label, settled)
            return NOWHERE, label
        is_over = label[EARLIEST] == math.inf and not label[UNTIMED] and not self.again
        if is_over or label[KM] > self.limit_km or is_diluted:
            return NOWHERE, label
        return row, label

    def _onward(self, row: int, step: Step, label: Label, length_km: float) -> Label:
        """How the water of a row comes to what is below it."""
        km, earliest, probable, ratio, untimed = label
        _next, _length, _cms, slope, term, _is_plain, is_lake, *_marks = step
        if is_lake or self.plain.lake_row[row] != NOWHERE or math.isnan(length_km):
            self.is_whole = False
            return [km + length_km if length_km > 0 else km, earliest, math.inf, ratio, untimed]
        if length_km <= 0:
            return label.copy()
        if not term > 0:  # NaN
            return [km + length_km, math.inf, math.inf, ratio, untimed or earliest < math.inf]
        with_slope, without_slope = self._scales(ratio)
        if slope > 0:
            scaled = term * with_slope
            earliest += length_km / (SLOPE_EDGE_0 + SLOPE_EDGE_1 * scaled)
            probable += length_km / (SLOPE_PEAK_0 + SLOPE_PEAK_1 * scaled)
        else:
            scaled = term * without_slope
            earliest += length_km / (EDGE_0 + EDGE_1 * scaled)
            probable += length_km / (PEAK_0 + PEAK_1 * scaled)
        if earliest > self.limit_h:
            earliest = probable = math.inf
            self.is_whole = False
        return [km + length_km, earliest, probable, ratio, untimed]

    def _scales(self, ratio: float) -> tuple[float, float]:
        """What a term is multiplied by, with and without a slope; kept for as long as the ratio stays the same."""
        if ratio != self.scaled_for:
            self.scaled_for = ratio
            self.scales = ratio**travel.WITH_SLOPE.flow_exponent, ratio**travel.WITHOUT_SLOPE.flow_exponent
        return self.scales

    def _offer(self, row: int, onward: Label, settled: Mapping[int, Label]) -> None:
        """A way to a row: its hours count if it is within reach by any way, its distance if by this one."""
        if row in settled:
            if _improve(settled[row], onward):
                self.again.add(row)
            return
        if row in self.waiting:
            _improve(self.waiting[row], onward)
        else:
            self.waiting[row] = onward.copy()
        if onward[KM] <= self.limit_km:
            heapq.heappush(self.queue, (onward[KM], row, -onward[RATIO]))  # of ways as long, the fuller one

    def _nearest(self, settled: Mapping[int, Label]) -> int:
        """The nearest row that waits, its distance and ratio by the way that makes it so."""
        while self.queue:
            km, row, ratio = heapq.heappop(self.queue)
            if row not in settled:
                self.waiting[row][KM], self.waiting[row][RATIO] = km, -ratio
                return row
        return NOWHERE

    def _correct(self, settled: dict[int, Label], start: int) -> None:
        """Where a longer way was sooner, what lies below is sooner too (label correcting, the nearest first).

        What is found does not depend on the order: hours only become fewer, and with fewer a way leads on wherever it
        did before.
        """
        number = {row: nth for nth, row in enumerate(settled)}
        pending = [(number[row], row) for row in self.again]
        heapq.heapify(pending)
        while pending:
            _nth, row = heapq.heappop(pending)
            if row not in self.again:
                continue
            self.again.discard(row)
            step = self.plain.step_of(row)
            onward = self._onward(row, step, settled[row], step[LENGTH])
            for lower in self.below(row, step):
                if lower != start and lower in settled and _improve(settled[lower], onward):
                    self.again.add(lower)
                    heapq.heappush(pending, (number[lower], lower))

    def with_lakes(self, settled: dict[int, Label], start: int) -> dict[int, Label]:
        """What is reached and the lakes it lies in, the nearest first, a lake before its reaches; without the start."""
        if self.is_whole:
            del settled[start]
            return settled
        lake_row = self.plain.lake_row
        found = {row: each for row, each in settled.items() if each[EARLIEST] < math.inf or each[UNTIMED]}
        inside = [(lake_row[row], each) for row, each in found.items() if lake_row[row] != NOWHERE]
        lakes = {lake for lake, _label in inside}
        del found[start]
        if not inside:
            return found
        for lake, label in inside:
            if lake not in found:
                found[lake] = label.copy()
            elif label[KM] < found[lake][KM]:
                found[lake][KM], found[lake][RATIO] = label[KM], label[RATIO]
            _improve(found[lake], label)
        found.pop(start, None)
        return dict(sorted(found.items(), key=lambda each: (*each[1][:2], each[0] not in lakes)))


def _improve(label: Label, other: Label) -> bool:
    """Let a label have what hours another has fewer; whether it has."""
    is_better = False
    for part in (EARLIEST, PROBABLE):
        if other[part] < label[part]:
            label[part], is_better = other[part], True
    if other[UNTIMED] and not label[UNTIMED]:
        label[UNTIMED] = is_better = True
    return is_better


def _way(network: Network, found: Mapping[int, Label]) -> Way:
    rows = np.fromiter(found, np.intp, len(found))
    numbers = chain.from_iterable(found.values())
    labels = np.fromiter(numbers, np.float64, 5 * len(found)).reshape(len(found), 5)
    steps = np.asarray(network.step)[rows]
    return Way(
        feature_ids=np.asarray(network.feature_id)[rows],
        distance_km=labels[:, KM],
        earliest_h=labels[:, EARLIEST],
        probable_h=labels[:, PROBABLE],
        flow_ratio=labels[:, RATIO],
        is_lake=steps["is_lake"],
        is_dammed=steps["is_dammed"],
    )
