"""What of an observer's answers makes a report urgent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterwatch.incidents.rules import HAZARD_POINTS, score
from waterwatch.reports.tables import EXTENTS, REPORT_KINDS, SINCE
from waterwatch.triage.rules import Observed, area_prefix, is_heavy, rubric_inputs, urgency

SEWAGE = "hazard.sewage_outfall"


@pytest.mark.parametrize(
    ("observed", "rank", "points", "first_hint"),
    [
        (Observed("foam"), 0, 1, "hazard.foam"),
        (Observed("sewage_outfall", extent="under_1_km", is_ongoing=True), 0, 6, SEWAGE),
        (
            Observed("sewage_outfall", extent="under_1_km", is_ongoing=True, since="longer"),
            1,
            7,
            "hazard.sewage_outfall",
        ),
        (Observed("fish_kill", has_dead_animals=True), 2, 6, "hazard.fish_kill"),
        (Observed("foam", affects_people=True), 2, 5, "ill_people"),
        (Observed("oil_slick", extent="over_1_km", zone_kinds=("bathing", "intake")), 2, 11, "hazard.oil_slick"),
        (Observed("foam", zone_kinds=("nature_reserve", "bathing")), 0, 3, "receptor.nature_reserve"),
        (Observed("all_clear"), 0, 1, "hazard.other"),
        (Observed("foam", has_independent_reports=True), 0, 2, "hazard.foam"),
    ],
)
def test_points_and_red_flags_decide(observed: Observed, rank: int, points: int, first_hint: str) -> None:
    found = urgency(observed)
    assert (found.rank, found.points, found.hints[0]) == (rank, points, first_hint)


@pytest.mark.parametrize(
    ("measured", "heavy"),
    [
        ({}, False),
        ({"transparency_cm": 10}, False),
        ({"transparency_cm": 9.9}, True),
        # In 20 cm of water 8 cm is the limit, and in 25 cm it is 10 again.
        ({"transparency_cm": 8, "water_depth_cm": 20}, False),
        ({"transparency_cm": 7.9, "water_depth_cm": 20}, True),
        ({"transparency_cm": 9.9, "water_depth_cm": 25}, True),
        ({"do_mg_l": 0.2}, False),
        ({"do_mg_l": 0.19}, True),
        ({"orp_mv": -200}, False),
        ({"orp_mv": -201}, True),
        ({"nh3n_mg_l": 15}, False),
        ({"nh3n_mg_l": 15.1}, True),
    ],
)
def test_heavy_by_instrument_is_what_the_guideline_calls_heavy(measured: dict[str, float], heavy: bool) -> None:
    assert is_heavy(measured) is heavy
    assert rubric_inputs(Observed("black_odorous", measured=measured)).is_heavy_by_instrument is heavy


@given(
    st.builds(
        Observed,
        kind=st.sampled_from(REPORT_KINDS),
        extent=st.sampled_from((None, *EXTENTS)),
        since=st.sampled_from((None, *SINCE)),
        is_ongoing=st.none() | st.booleans(),
        has_dead_animals=st.none() | st.booleans(),
        affects_people=st.none() | st.booleans(),
        zone_kinds=st.lists(st.sampled_from(("drinking_water", "nature_reserve", "bathing", "intake"))),
        has_independent_reports=st.booleans(),
    )
)
def test_every_answer_is_weighed_as_the_rubric_does_and_harm_is_always_first(observed: Observed) -> None:
    found, answer = urgency(observed), score(rubric_inputs(observed))
    assert found.points == answer.points == sum(points for _reason, points in answer.reasons)
    assert set(found.hints) == {reason for reason, _points in answer.reasons}
    assert found.rank == 2 or not (observed.has_dead_animals or observed.affects_people or answer.points >= 10)
    assert (found.rank >= 1) >= (answer.points >= 7)


def test_every_kind_has_its_hazard() -> None:
    assert {rubric_inputs(Observed(kind)).kind for kind in REPORT_KINDS} == set(HAZARD_POINTS)


@pytest.mark.parametrize(
    ("code", "prefix"), [("420000", "42"), ("420100", "4201"), ("420106", "420106"), ("429004", "429004")]
)
def test_an_area_holds_what_its_code_begins(code: str, prefix: str) -> None:
    assert area_prefix(code) == prefix
