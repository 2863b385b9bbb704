"""Jobson's regressions: what others published, what the report's examples give by our hand, and sane properties.

Of the report (WRIR 96-4013) the inputs of Examples 1 and 3 were at hand, with the flows it scales from gauge to place;
what it prints as results was not. Velocities and times of these examples are therefore *ours*, reckoned once more by
hand from the equations as they are cited in ``flow.travel``, and say nothing of what the report prints.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterwatch.flow import travel

SQUARE_KM = 1e6


def speeds(area_skm: float, mean_cms: float, ratio: float = 1.0, slope: float = math.nan) -> tuple[float, float]:
    reach = float(travel.term(area_skm * SQUARE_KM, mean_cms, slope))
    return travel.velocities(reach, ratio, has_slope=slope > 0)


def hours(km: float, speed: float) -> float:
    return km / (3.6 * speed)


# ---- published by others -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("area_skm", "printed"), [(10, "0.13"), (100, "0.19"), (1000, "0.29")])
def test_the_velocities_another_project_states_come_out_to_their_printed_digits(area_skm: int, printed: str) -> None:
    """Equation 14 at 0.0138 m³/s per km² on average and 0.0082 at the time, as a study of British sewage states it."""
    probable, _fastest = speeds(area_skm, 0.0138 * area_skm, 0.0082 / 0.0138)
    assert f"{probable:.2f}" == printed


# ---- the report's examples: printed flows, our times ---------------------------------------------------------------


def at_place(at_gauge_cms: float, gauge_skm: float, place_skm: float) -> float:
    """A flow scaled by drainage area, as the report does it."""
    return at_gauge_cms * place_skm / gauge_skm


def test_example_1_takes_the_gauges_flows_to_the_reach_as_printed() -> None:
    """A gauge with 452 km², 3.88 m³/s then and 5.22 on average; the reach has 350 km² above and 430 below."""
    area_skm = (350 + 430) / 2
    assert f"{at_place(3.88, 452, area_skm):.2f}" == "3.35"
    assert f"{at_place(5.22, 452, area_skm):.2f}" == "4.50"


def test_example_1_in_our_figures() -> None:
    """15 km to the intake, no slope given: ours are 0.265 m/s and 15.7 h, at the fastest 0.646 m/s and 6.45 h."""
    probable, fastest = speeds(390, 4.50, 3.35 / 4.50)
    assert (round(probable, 3), round(fastest, 3)) == (0.265, 0.646)
    assert (round(hours(15, probable), 1), round(hours(15, fastest), 2)) == (15.7, 6.45)
    assert round(travel.LEADING_EDGE * hours(15, fastest), 2) == 5.74
    peak = travel.unit_peak_concentration([hours(15, probable), hours(15, fastest)], 3.35 / 4.50)
    assert np.round(peak).tolist() == [100, 201]
    assert np.round(travel.passage_s(peak) / 3600, 1).tolist() == [5.5, 2.8]


def test_the_rhine_takes_the_mean_flow_of_its_catchment_to_each_place_as_printed() -> None:
    """0.0152 m³/s per km²; 16,000 km² at the injection, 48,000 at Birsfelden: 240 and 730, to two digits as printed."""
    assert [f"{0.0152 * area:.2g}" for area in (16_000, 48_000)] == ["2.4e+02", "7.3e+02"]


def test_the_rhine_to_eglisau_in_our_figures() -> None:
    """19.7 km at 490 of 240 m³/s on average: ours are 0.963 and 1.92 m/s, 5.7 h, at the fastest 2.85 h."""
    probable, fastest = speeds(16_000, 240, 490 / 240)
    assert (round(probable, 3), round(fastest, 2)) == (0.963, 1.92)
    assert (round(hours(19.7, probable), 1), round(hours(19.7, fastest), 2)) == (5.7, 2.85)
    # The flow ratio stands within the exponent of equation 7; written as a factor it would be 216.
    assert round(float(travel.unit_peak_concentration(hours(19.7, probable), 490 / 240))) == 246


def test_the_rhine_to_birsfelden_in_our_figures() -> None:
    """104.8 km by the means of both ends: ours is 29.8 h. Which ends the report takes is not known to us."""
    probable, fastest = speeds(32_000, 485, 779 / 485)
    assert (round(hours(104.8, probable), 1), round(hours(104.8, fastest), 1)) == (29.8, 15.0)


# ---- both forms, and what is not known -----------------------------------------------------------------------------


def by_the_letter(area_m2: float, mean_cms: float, flow_cms: float, slope: float | None) -> tuple[float, float]:
    """(12) to (15), term by term as they are written."""
    relative, ratio = area_m2**1.25 * math.sqrt(9.81) / mean_cms, flow_cms / mean_cms
    if slope is None:
        product = relative**0.821 * ratio**-0.465 * flow_cms / area_m2
        return 0.020 + 0.051 * product, 0.20 + 0.093 * product
    product = relative**0.919 * ratio**-0.469 * slope**0.159 * flow_cms / area_m2
    return 0.094 + 0.0143 * product, 0.25 + 0.020 * product


AREA, MEAN = st.floats(1.0, 2e6), st.floats(0.01, 50_000)
RATIO, SLOPE = st.floats(0.01, 100), st.floats(1e-6, 0.5)


@given(AREA, MEAN, RATIO, st.none() | SLOPE)
def test_a_reachs_term_and_the_flow_ratio_make_the_equations_as_they_are_written(
    area_skm: float, mean_cms: float, ratio: float, slope: float | None
) -> None:
    expected = by_the_letter(area_skm * SQUARE_KM, mean_cms, ratio * mean_cms, slope)
    assert speeds(area_skm, mean_cms, ratio, math.nan if slope is None else slope) == pytest.approx(expected, rel=1e-9)


def test_with_a_slope_the_other_form_is_used_in_our_figures() -> None:
    """390 km², 4.5 m³/s, one in a thousand: 0.386 m/s, at the fastest 0.658."""
    probable, fastest = speeds(390, 4.5, 1.0, 0.001)
    assert (round(probable, 3), round(fastest, 3)) == (0.386, 0.658)


@pytest.mark.parametrize("slope", [math.nan, 0.0, -0.001])
def test_a_slope_that_is_none_leaves_the_form_without(slope: float) -> None:
    assert float(travel.term(390e6, 4.5, slope)) == float(travel.term(390e6, 4.5, math.nan))


@pytest.mark.parametrize(("area_skm", "mean"), [(math.nan, 4.5), (390, math.nan), (0, 4.5), (390, 0), (-1, 4.5)])
def test_without_area_or_discharge_nothing_is_known(area_skm: float, mean: float) -> None:
    assert math.isnan(float(travel.term(area_skm * SQUARE_KM, mean, 0.001)))


def test_terms_of_many_reaches_are_those_of_each() -> None:
    areas, means, slopes = np.array([390e6, 16e9, 1e6]), np.array([4.5, 240, np.nan]), np.array([np.nan, 1e-3, 0])
    each = [float(travel.term(*one)) for one in zip(areas, means, slopes, strict=True)]
    assert np.array_equal(travel.term(areas, means, slopes), each, equal_nan=True)


@given(AREA, MEAN, RATIO, st.just(math.nan) | SLOPE)
def test_the_leading_edge_at_the_fastest_is_before_the_peak_as_expected(
    area_skm: float, mean_cms: float, ratio: float, slope: float
) -> None:
    probable, fastest = speeds(area_skm, mean_cms, ratio, slope)
    assert 0 < probable < fastest
    assert travel.LEADING_EDGE / fastest < 1 / probable


@given(AREA, MEAN, st.just(math.nan) | SLOPE, RATIO, RATIO)
def test_more_water_is_never_slower(area_skm: float, mean_cms: float, slope: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert speeds(area_skm, mean_cms, low, slope) <= speeds(area_skm, mean_cms, high, slope)


@given(st.floats(0.01, 500), st.floats(0.01, 500), RATIO)
def test_on_a_longer_way_the_peak_is_lower_and_takes_longer_to_pass(one: float, other: float, ratio: float) -> None:
    soon, late = sorted((one, other))
    first, second = travel.unit_peak_concentration([soon, late], ratio)
    assert first >= second > 0
    assert travel.passage_s(first) <= travel.passage_s(second)


def test_after_an_hour_the_unit_peak_is_857_whatever_the_flow() -> None:
    assert travel.unit_peak_concentration(1.0, np.array([0.1, 1.0, 10.0])).tolist() == [857.0, 857.0, 857.0]
    assert float(travel.passage_s(857.0)) == pytest.approx(2333.7, abs=0.05)
