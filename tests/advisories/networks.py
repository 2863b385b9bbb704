"""Networks made by hand, and what a walk on one tells."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from waterwatch.advisories.walking import Way
from waterwatch.flow.rules import ARM, ROW, Network, build

NAN, INF = math.nan, math.inf


@dataclass(frozen=True)
class Water:
    """A reach or lake as it is given: ``below`` 0 flows out of the map."""

    below: int
    km: float = 10.0
    area: float = 2000.0
    mean: float = 30.0
    lake: int = 0
    slope: float = NAN
    is_lake: bool = False
    is_dammed: bool = False


LAKE = Water(0, NAN, NAN, NAN, is_lake=True)
RESERVOIR = replace(LAKE, is_dammed=True)
NO_DATA = Water(0, area=NAN, mean=NAN)


def network(waters: Mapping[int, Water | int], arms: Iterable[tuple[int, int]] = ()) -> Network:
    """A number alone is an ordinary reach that flows there."""
    rows = np.zeros(len(waters), dtype=ROW)
    for place, (feature, given_) in enumerate(waters.items()):
        one = given_ if isinstance(given_, Water) else Water(given_)
        rows[place] = (
            feature, one.below, one.lake, one.km, one.area, one.mean, one.is_lake, one.slope, one.is_dammed
        )  # fmt: skip
    return build(rows, np.array(list(arms), dtype=ARM))


def told(way: Way) -> dict[int, tuple[float, float, float]]:
    """Feature → km, earliest and probable hours, to the digits that are stated here."""
    rows = zip(way.feature_ids, way.distance_km, way.earliest_h, way.probable_h, strict=True)
    return {int(row[0]): (round(float(row[1]), 3), round(float(row[2]), 2), round(float(row[3]), 2)) for row in rows}
