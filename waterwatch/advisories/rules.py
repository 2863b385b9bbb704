"""Which incidents warn the waters below them, of what, how far and for how long: pure decisions.

The words and numbers are domain's: one colour below the incident and at most orange; as far as 200 km, 72 hours, or
until the river carries twenty times the water.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from waterwatch.incidents.rules import Severity
from waterwatch.kernel.states import Machine

CONFIRMED, APPROACHING = "confirmed", "approaching"
BASES = (CONFIRMED, APPROACHING)

# What the river takes along: dissolved, or carried in it. Oil floats, and is carried otherwise than what is dissolved:
# the warning stands as a caution. Garbage, encroachment and sand mining stay, or go their own way; black water stands.
CARRIED_KINDS = frozenset({"sewage_outfall", "industrial_discharge", "oil_slick", "fish_kill", "farm_runoff"})
CAUTION_KINDS = frozenset({"oil_slick"})
WARNS_FROM = Severity.LARGER

LIMIT_KM = 200.0
LIMIT_H = 72.0
# Ours: what is warned stays so a tenth farther. Rivers carry a little more or less each hour, and whoever lies just at
# the edge would be warned, told that it is over and warned again.
STAYS_H = 1.1 * LIMIT_H
DILUTED_BY = 20.0  # from this many times the discharge of the incident's reach on, nothing is warned of
REASON_MIN, REASON_MAX = 3, 500
ARRIVED, NOT_ARRIVED = "arrived", "not_arrived"
OUTCOMES = (ARRIVED, NOT_ARRIVED)
# How long before the window's beginning a report may show the arrival: a quarter of the way there, at least 6 hours.
EARLY_SHARE, EARLY_AT_LEAST = 0.25, timedelta(hours=6)

FORECAST = Machine(
    "downstream_forecast",
    initial="standing",
    moves=frozenset(
        {
            ("standing", "withheld"),
            ("standing", "ended"),
            ("withheld", "standing"),
            ("withheld", "ended"),
            ("ended", "standing"),
            ("ended", "withheld"),
        }
    ),
)


def level_below(severity: int) -> int:
    """The level of a warning below an incident of this severity rank (2 to 4): one colour lower, at most orange."""
    return max(Severity.GENERAL, min(Severity.MAJOR, severity - 1))


def warns(kind: str, severity: int, *, is_open: bool) -> bool:
    """Whether an incident warns what lies below it."""
    return is_open and kind in CARRIED_KINDS and severity >= WARNS_FROM


@dataclass(frozen=True)
class Ruling:
    """What a moderator decided of an incident's warning: none at all, or no farther than ``limit_km``; and why."""

    is_withheld: bool = False
    limit_km: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Window:
    """When it is expected somewhere; None: that time is not known.

    ``earliest`` alone: a lake lies on the way, which holds it back for as long as nobody knows; not before then.
    """

    earliest: datetime | None
    probable: datetime | None

    @property
    def is_timed(self) -> bool:
        """Whether both ends are known."""
        return self.earliest is not None and self.probable is not None


def lapses_at(until: datetime, probable_h: float | None, passage_s: float | None, *, is_lake: bool) -> datetime:
    """When a place is no longer warned: what was still flowing at ``until`` has come there and passed.

    Where no time is known, as long as any warning goes: 72 hours; and a lake for so long after it was reached, because
    nobody knows how long it holds what flows into it.
    """
    if is_lake:
        return until + timedelta(hours=(probable_h or 0.0) + LIMIT_H)
    if probable_h is None:
        return until + timedelta(hours=LIMIT_H)
    return until + timedelta(hours=probable_h, seconds=passage_s or 0.0)


def unit_peak_magnitude(unit_peak: float | None) -> int | None:
    """The power of ten nearest to a peak's concentration in mg/L, for each kilogram dissolved and each m³/s of flow.

    ``unit_peak``: as ``flow.travel`` gives it, 10⁻⁶/s: a thousand of them are one mg/L for 1 kg in 1 m³/s. The exponent
    alone, since no more is known; None where nothing is.
    """
    return None if unit_peak is None else round(math.log10(unit_peak / 1000))


def unit_peak_mg_per_l(unit_peak: float | None) -> float | None:
    """That power of ten itself, for data: mg/L for each kilogram dissolved and each m³/s of flow."""
    power = unit_peak_magnitude(unit_peak)
    return None if power is None else float(f"1e{power}")


def passage_h(passage_s: float | None) -> float | None:
    """The hours that a passage takes, for data: the nearest power of ten."""
    power = passage_magnitude(passage_s)
    return None if power is None else float(f"1e{power}")


def passage_magnitude(passage_s: float | None) -> int | None:
    """The power of ten nearest to the hours that a passage takes, as its exponent; None where it is not known."""
    return None if passage_s is None else round(math.log10(passage_s / 3600))


def missed_by(window: Window, observed: datetime) -> timedelta | None:
    """How far outside of its window an arrival was seen: before it below zero, after it above, zero within.

    A report shows at the latest when it came, so an arrival seen late may have come in time. None without a window.
    """
    if window.earliest is None or window.probable is None:
        return None
    if observed < window.earliest:
        return observed - window.earliest
    return max(timedelta(0), observed - window.probable)


def may_show_arrival(window: Window, lapse: datetime, observed: datetime, *, since: datetime) -> bool:
    """Whether what somebody saw at ``observed`` may be the arrival; ``since`` is when the pollution was first seen."""
    if observed < since or observed > lapse:
        return False
    if window.earliest is None:
        return True
    early = max(EARLY_AT_LEAST, (window.earliest - since) * EARLY_SHARE)
    return observed >= window.earliest - early
