"""How good the windows were: what was found downstream, counted. Pure; nothing in it leads to a report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from zoneinfo import ZoneInfo

from waterwatch.advisories.rules import ARRIVED

LEAST = 3  # of fewer, nothing but that there are fewer is told
DISTANCES = ((0, 20), (20, 50), (50, 100), (100, 200))  # km
ROUNDED_KM, HOUR_S = 10, 3600
ROUNDED_H = 3  # windows are public: with a finer difference they would tell when somebody was there
WITHIN, BEFORE, AFTER, NOT_COME, TOO_SOON, UNTIMED = "within", "before", "after", "not_arrived", "too_soon", "untimed"
FOUND = (WITHIN, BEFORE, AFTER, NOT_COME, TOO_SOON, UNTIMED)
CHINA = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True)
class Check:
    """One report from a warned reach, as it was judged. ``probable_at``: when the window ended; None: it had no end."""

    outcome: str
    missed_by_s: float | None
    distance_km: float
    probable_at: datetime | None
    observed_at: datetime

    @property
    def found(self) -> str:
        """One of :data:`FOUND`. Not there before the window has ended says nothing against it: too soon."""
        if self.probable_at is None or (self.outcome == ARRIVED and self.missed_by_s is None):
            return UNTIMED
        if self.outcome != ARRIVED:
            return NOT_COME if self.observed_at > self.probable_at else TOO_SOON
        missed = self.missed_by_s or 0.0
        return WITHIN if missed == 0 else BEFORE if missed < 0 else AFTER


@dataclass(frozen=True)
class Tally:
    """How many were found how. ``missed_h``: the median of how far outside the arrivals were, to three hours;
    None: fewer than :data:`LEAST` were timed."""

    count: int
    found: dict[str, int]
    missed_h: int | None

    @property
    def is_told(self) -> bool:
        """Whether there are so many that they point at nobody."""
        return self.count >= LEAST

    @property
    def within_percent(self) -> int | None:
        """How many came within the window, in whole per cent of those that say anything of it; None: none does."""
        telling = sum(self.found[name] for name in (WITHIN, BEFORE, AFTER, NOT_COME))
        return round(100 * self.found[WITHIN] / telling) if telling else None


@dataclass(frozen=True)
class Row:
    """A check as anybody may have it: differences to 3 hours, distances to 10 km, no day. ``month``: ``2026-06``."""

    found: str
    missed_h: int | None
    distance_km: int
    month: str | None


def tally(found: Sequence[Check]) -> Tally:
    """Count them."""
    counts = Counter(one.found for one in found)
    missed = [abs(one.missed_by_s) / HOUR_S for one in found if one.missed_by_s is not None]
    missed_h = ROUNDED_H * round(median(missed) / ROUNDED_H) if len(missed) >= LEAST else None
    return Tally(len(found), {name: counts[name] for name in FOUND}, missed_h)


def by_distance(found: Sequence[Check]) -> list[tuple[tuple[int, int], Tally]]:
    """The same by how far below: from the first number on, and below the second; the last holds the limit as well."""
    last = DISTANCES[-1][1]
    return [
        ((near, far), tally([one for one in found if near <= one.distance_km < far or one.distance_km == far == last]))
        for near, far in DISTANCES
    ]


def anonymous(found: Sequence[Check]) -> list[Row]:
    """Every check as anybody may have it, in an order that tells nothing; none where there are too few.

    A month with too few of them is not named.
    """
    if len(found) < LEAST:
        return []
    months = Counter(_month(one.observed_at) for one in found)
    rows = [
        Row(
            one.found,
            None if one.missed_by_s is None else ROUNDED_H * round(one.missed_by_s / HOUR_S / ROUNDED_H),
            ROUNDED_KM * round(one.distance_km / ROUNDED_KM),
            month if months[month] >= LEAST else None,
        )
        for one in found
        for month in (_month(one.observed_at),)
    ]
    return sorted(rows, key=lambda row: (row.month or "", row.distance_km, row.found, row.missed_h or 0))


def _month(moment: datetime) -> str:
    return f"{moment.astimezone(CHINA):%Y-%m}"
