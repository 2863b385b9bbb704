"""How fast a river carries what is dissolved in it, and how much it is thinned: Jobson's regressions. Pure.

Source: H. E. Jobson (1996), *Prediction of traveltime and longitudinal dispersion in rivers and streams*, U.S.
Geological Survey Water-Resources Investigations Report 96-4013; numbers in brackets are its equations'. SI units
throughout: drainage area Da in m², discharge Q and its mean over the years Qa in m³/s, slope S in m/m, velocities in
m/s, times after the release in hours. They describe a slug that is well mixed across the river.

Accuracy: the velocity of the peak is wrong by 0.15 m/s (RMSE 0.50 ft/s over the national data set, USGS Scientific
Investigations Report 2013-5182), so nothing here is shown as one figure: the earliest is the leading edge at the
fastest probable velocity, the probable one the peak at the expected velocity. Concentrations are orders of magnitude.

Of one reach, all that depends on its own numbers is one term; the rest is a power of the flow ratio Q/Qa:

    with slope:     V = a + b · (D'a^0.919 · S^0.159 · Qa/Da) · (Q/Qa)^(1 − 0.469)
    without slope:  V = a + b · (D'a^0.821 · Qa/Da) · (Q/Qa)^(1 − 0.465)        where D'a = Da^1.25 · √g / Qa
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

GRAVITY = 9.81  # m/s²
LEADING_EDGE = 0.890  # of the time of the peak (18)
MAX_FLOW_RATIO = 100.0


@dataclass(frozen=True)
class Regression:
    """One form of the equations: exponents of D'a and S in a reach's term, of Q/Qa beside it; a and b of velocities.

    ``probable``: of the peak as it is expected; ``fastest``: the fastest that is probable.
    """

    area_exponent: float
    slope_exponent: float
    flow_exponent: float
    probable: tuple[float, float]
    fastest: tuple[float, float]


# Probable and fastest velocity: with slope (12) and (13); without (14) and (15). The exponents of Q'a there are ours,
# less one, since each reach's term has Qa where the equations have Q. Some programs have −0.465 in (12) and (13) too.
WITH_SLOPE = Regression(0.919, 0.159, 1 - 0.469, (0.094, 0.0143), (0.25, 0.020))
WITHOUT_SLOPE = Regression(0.821, 0.0, 1 - 0.465, (0.020, 0.051), (0.20, 0.093))


def dimensionless_area(drainage_m2: ArrayLike, mean_discharge_cms: ArrayLike) -> NDArray[np.float64]:
    """D'a = Da^1.25 · √g / Qa."""
    area, mean = np.asarray(drainage_m2, dtype=np.float64), np.asarray(mean_discharge_cms, dtype=np.float64)
    return np.asarray(area**1.25 * np.sqrt(GRAVITY) / mean)


def term(drainage_m2: ArrayLike, mean_discharge_cms: ArrayLike, slope: ArrayLike) -> NDArray[np.float64]:
    """The part of the velocity that a reach's own numbers make, by the form its slope asks for; arrays of one shape.

    A slope that is NaN, zero or below is unknown. Without drainage area or discharge the term is NaN: no time is known.
    """
    area = np.asarray(drainage_m2, dtype=np.float64)
    mean = np.asarray(mean_discharge_cms, dtype=np.float64)
    fall = np.asarray(slope, dtype=np.float64)
    with np.errstate(all="ignore"):
        known = (area > 0) & (mean > 0)
        relative = dimensionless_area(area, mean)
        with_slope = relative**WITH_SLOPE.area_exponent * fall**WITH_SLOPE.slope_exponent
        without = relative**WITHOUT_SLOPE.area_exponent
        found = np.where(fall > 0, with_slope, without) * mean / area
    return np.where(known, found, np.nan)


def velocities(reach_term: float, flow_ratio: float, *, has_slope: bool) -> tuple[float, float]:
    """(probable velocity of the peak, fastest probable one) in m/s at Q = ``flow_ratio`` · Qa (12 to 15)."""
    form = WITH_SLOPE if has_slope else WITHOUT_SLOPE
    scaled = reach_term * flow_ratio**form.flow_exponent
    return form.probable[0] + form.probable[1] * scaled, form.fastest[0] + form.fastest[1] * scaled


def unit_peak_concentration(peak_h: Any, flow_ratio: Any) -> Any:
    """C_up = 857 · T_p^(−0.760 · Q'a^−0.079) (7), in 10⁻⁶ per second; T_p in hours after the release, above zero.

    Times the mass of what was spilled and divided by the discharge it is a concentration: M/Q · C_up · 10⁻⁶.
    """
    return 857.0 * np.asarray(peak_h, dtype=np.float64) ** (-0.760 * np.asarray(flow_ratio, dtype=np.float64) ** -0.079)


def passage_s(unit_peak: Any) -> Any:
    """Seconds from the leading edge until a tenth of the peak's concentration is left: 2·10⁶ / C_up (19)."""
    return 2e6 / np.asarray(unit_peak, dtype=np.float64)
