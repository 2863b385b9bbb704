"""The flow network in memory: who flows into whom, and walks down and up with distances.

Rows of numbers, one a reach or lake, in the order of their feature ids; who flows into a feature is read off an index
(``up_start``, ``up_rows``: compressed sparse rows). Some fifty bytes a feature, so that a country fits into one file
that all processes of a machine map into memory together.
"""

import heapq
import math
import struct
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from waterwatch.flow import travel

NOWHERE = -1
SQUARE_KM = 1e6  # m²
# One row as it is read from the database: 0 stands for "none" in ids, NaN in numbers.
ROW = np.dtype(
    [
        ("feature_id", np.int64),
        ("next_id", np.int64),
        ("lake_id", np.int64),
        ("length_km", np.float32),
        ("upland_skm", np.float32),
        ("dis_av_cms", np.float32),
        ("is_lake", np.bool_),
        ("slope", np.float32),
        ("is_dammed", np.bool_),
    ]
)
ARM = np.dtype([("upper_id", np.int64), ("lower_id", np.int64)])
# All that one step down needs, side by side: whoever walks meets each reach for the first time, and so waits for memory
# once and not for every number. STEP_PARTS reads one out of the bytes, as a tuple in this order; PLAIN_PARTS the first
# six, which are all that a plain one needs.
STEP = np.dtype(
    [
        ("next_row", np.int32),
        ("length_km", np.float32),
        ("dis_av_cms", np.float32),
        ("slope", np.float32),
        ("term", np.float32),
        ("is_plain", np.bool_),
        ("is_lake", np.bool_),
        ("is_dammed", np.bool_),
        ("is_parting", np.bool_),
    ],
    align=True,
)
STEP_PARTS = struct.Struct("@iffff????")
PLAIN_PARTS = struct.Struct("@iffff?")
Step = tuple[int, float, float, float, float, bool, bool, bool, bool]


@dataclass(frozen=True)
class Walk:
    """Where a walk came, the nearest first: feature ids (n,), and the way in km (n,) to the near end of each."""

    feature_ids: NDArray[np.int64]
    distance_km: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.feature_ids)

    def as_dict(self) -> Mapping[int, float]:
        """Feature id → km."""
        return dict(zip(self.feature_ids.tolist(), self.distance_km.tolist(), strict=True))


class UnknownFeature(LookupError):
    """A feature id that the network does not have."""


@dataclass(frozen=True)
class Plain:
    """Arrays of the network as sequences of Python's numbers: views that take a tenth of what numpy does for one.

    ``step``: the bytes that :data:`STEP_PARTS` reads.
    """

    step: memoryview
    feature_id: Sequence[int]
    lake_row: Sequence[int]
    arm_upper: Sequence[int]
    arm_lower: Sequence[int]

    def step_of(self, row: int) -> Step:
        """What :data:`STEP` has of a row."""
        return STEP_PARTS.unpack_from(self.step, row * STEP_PARTS.size)

    @classmethod
    def of(cls, network: "Network") -> "Plain":
        """The views of this one."""
        arrays: dict[str, Any] = dict(network.arrays()) | {"step": network.step.view(np.uint8)}
        views: dict[str, Any] = {field.name: memoryview(arrays[field.name]) for field in fields(cls)}
        return cls(**views)


@dataclass(frozen=True)
class Network:
    """The arrays. ``n`` features; rows of ``next_row``, ``lake_row`` are :data:`NOWHERE` where there is none.

    ``step``: of the type :data:`STEP`; its columns have properties of their own.

    ``arm_upper``, ``arm_lower``: ways down beside the main one (a river parts, a canal leaves it), by upper row;
    ``is_parting`` says which rows have any. ``is_dammed``: a lake that a dam holds (a reservoir). ``term`` is what a
    reach's own numbers say of its velocity (:func:`waterwatch.flow.travel.term`), NaN where it is not known.
    ``is_plain``: a reach of known length and velocity in no lake, that flows into one other and no more.
    """

    feature_id: NDArray[np.int64]
    step: NDArray[np.void]
    lake_row: NDArray[np.int32]
    up_start: NDArray[np.int32]
    up_rows: NDArray[np.int32]
    arm_upper: NDArray[np.int32]
    arm_lower: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.feature_id)

    @cached_property
    def plain(self) -> Plain:
        """The same for who goes from row to row."""
        return Plain.of(self)

    @property
    def next_row(self) -> NDArray[np.int32]:
        """Row of the main way down."""
        return self.step["next_row"]

    @property
    def length_km(self) -> NDArray[np.float32]:
        """In km; NaN: unknown, or a lake."""
        return self.step["length_km"]

    @property
    def dis_av_cms(self) -> NDArray[np.float32]:
        """Mean discharge in m³/s; NaN: unknown."""
        return self.step["dis_av_cms"]

    @property
    def slope(self) -> NDArray[np.float32]:
        """In m/m; NaN: unknown."""
        return self.step["slope"]

    @property
    def term(self) -> NDArray[np.float32]:
        """As :func:`waterwatch.flow.travel.term` has it."""
        return self.step["term"]

    @property
    def is_plain(self) -> NDArray[np.bool_]:
        """Whether there is one way on, and all of it known."""
        return self.step["is_plain"]

    @property
    def is_lake(self) -> NDArray[np.bool_]:
        """Whether it is a lake, else a reach."""
        return self.step["is_lake"]

    @property
    def is_dammed(self) -> NDArray[np.bool_]:
        """Whether it is a lake that a dam holds."""
        return self.step["is_dammed"]

    @property
    def is_parting(self) -> NDArray[np.bool_]:
        """Whether it has arms."""
        return self.step["is_parting"]

    @property
    def bytes(self) -> int:
        """What the arrays take."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Name → array."""
        return MappingProxyType({field.name: getattr(self, field.name) for field in fields(self)})

    def row_of(self, feature_id: int) -> int:
        """The row of a feature; raises :class:`UnknownFeature`."""
        ids = self.plain.feature_id
        row = bisect_left(ids, feature_id)
        if row == len(ids) or ids[row] != feature_id:
            raise UnknownFeature(feature_id)
        return row

    def downstream(self, feature_id: int, *, start_km: float = 0.0, limit_km: float = np.inf) -> Walk:
        """Every feature the water of this one comes to, with the way from here to its upper end.

        ``start_km``: the way from the place to the lower end of its own reach. Where the river parts, all arms are
        walked and the shortest way counts. Lakes have no length: the way through them is that of the reaches in them.
        The feature itself is not among them. Raises :class:`UnknownFeature`.
        """
        start = self.row_of(feature_id)
        best: dict[int, float] = {start: start_km}
        queue = [(start_km, row) for row in self.below(start)]
        found: list[tuple[int, float]] = []
        while queue:
            km, row = heapq.heappop(queue)
            if km > limit_km or km >= best.get(row, np.inf):
                continue
            best[row] = km
            found.append((row, km))
            end_km = km + self._length(row)
            for below in self.below(row):
                if end_km < best.get(below, np.inf):
                    heapq.heappush(queue, (end_km, below))
        return self._walk(found)

    def upstream(self, feature_id: int, *, start_km: float = 0.0, limit_km: float = np.inf) -> Walk:
        """Every feature whose water comes here, with the way from its lower end to the upper end of this one.

        ``start_km``: the way from the upper end of the place's own reach to the place. Otherwise as ``downstream``.
        """
        start = self.row_of(feature_id)
        best = np.full(len(self), np.inf)
        rows, km = np.array([start]), np.array([start_km])
        arms = np.argsort(self.arm_lower, kind="stable")
        arm_lower, arm_upper = self.arm_lower[arms], self.arm_upper[arms]
        while len(rows):
            above, of = _gather(self.up_start[rows], self.up_start[rows + 1], self.up_rows)
            if len(arms):
                first = np.searchsorted(arm_lower, rows, "left")
                more, of_more = _gather(first, np.searchsorted(arm_lower, rows, "right"), arm_upper)
                above, of = np.concatenate([above, more]), np.concatenate([of, of_more])
            way = km[of]
            nearer = (way < best[above]) & (way <= limit_km) & (above != start)
            above, way = above[nearer], way[nearer]
            np.minimum.at(best, above, way)
            rows, firsts = np.unique(above[way == best[above]], return_index=True)
            km = way[way == best[above]][firsts] + np.nan_to_num(self.length_km[rows])
        found = np.flatnonzero(np.isfinite(best))
        order = np.argsort(best[found], kind="stable")
        return Walk(self.feature_id[found][order], best[found][order])

    def below(self, row: int) -> list[int]:
        """The rows that the water of a row comes to next: the main way down first, then the arms."""
        next_row, *_rest, is_parting = self.plain.step_of(row)
        rows = [] if next_row == NOWHERE else [next_row]
        if is_parting:
            first, last = np.searchsorted(self.arm_upper, [row, row + 1])
            rows += self.arm_lower[first:last].tolist()
        return rows

    def _length(self, row: int) -> float:
        _next_row, length, *_rest = self.plain.step_of(row)
        return 0.0 if math.isnan(length) else length

    def _walk(self, found: list[tuple[int, float]]) -> Walk:
        rows = np.array([row for row, _km in found], dtype=np.int64)
        return Walk(np.asarray(self.feature_id)[rows], np.array([km for _row, km in found], dtype=np.float64))


def build(rows: NDArray[np.void], arms: NDArray[np.void]) -> Network:
    """The network of rows (:data:`ROW`, any order) and arms (:data:`ARM`). An unknown id below is nowhere."""
    rows = rows[np.argsort(rows["feature_id"], kind="stable")]
    ids = np.ascontiguousarray(rows["feature_id"])
    next_row = _rows_of(ids, rows["next_id"])
    heading = np.argsort(next_row, kind="stable").astype(np.int32)
    heading = heading[np.searchsorted(next_row[heading], 0) :]
    up_start = np.searchsorted(next_row[heading], np.arange(len(ids) + 1)).astype(np.int32)
    upper, lower = _rows_of(ids, arms["upper_id"]), _rows_of(ids, arms["lower_id"])
    known = (upper != NOWHERE) & (lower != NOWHERE)
    order = np.argsort(upper[known], kind="stable")
    is_parting = np.zeros(len(ids), dtype=np.bool_)
    is_parting[upper[known]] = True
    lake_row = _rows_of(ids, rows["lake_id"])
    step = np.zeros(len(ids), dtype=STEP)
    step["next_row"] = next_row
    step["is_parting"] = is_parting
    for name in ("length_km", "dis_av_cms", "slope", "is_lake", "is_dammed"):
        step[name] = rows[name]
    step["term"] = travel.term(rows["upland_skm"] * SQUARE_KM, rows["dis_av_cms"], rows["slope"])
    step["is_plain"] = ~rows["is_lake"] & (lake_row == NOWHERE) & ~is_parting & (next_row != NOWHERE)
    step["is_plain"] &= (step["length_km"] > 0) & (step["term"] > 0)
    return Network(
        feature_id=ids,
        step=step,
        lake_row=lake_row,
        up_start=up_start,
        up_rows=heading,
        arm_upper=upper[known][order],
        arm_lower=lower[known][order],
    )


def _rows_of(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int32]:
    if not len(ids):
        return np.full(len(wanted), NOWHERE, dtype=np.int32)
    place = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[place] == wanted, place, NOWHERE).astype(np.int32)


def _gather(
    first: NDArray[np.integer], last: NDArray[np.integer], values: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """``values[first[i]:last[i]]`` for all i in a row, and for each value which i it is of."""
    counts = last - first
    of = np.repeat(np.arange(len(first)), counts)
    within = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    return values[first[of] + within], of
