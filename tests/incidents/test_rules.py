import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.incidents import rubric_cases
from waterwatch.incidents.rules import (
    EXTENT_POINTS,
    HAZARD_POINTS,
    INCIDENT,
    RECEPTOR_POINTS,
    Act,
    RubricInputs,
    Severity,
    acting_severity,
    score,
    told,
)
from waterwatch.incidents.tables import STATES

inputs = st.builds(
    RubricInputs,
    kind=st.sampled_from(sorted(HAZARD_POINTS)),
    extent=st.sampled_from(list(EXTENT_POINTS)),
    is_ongoing=st.booleans(),
    is_persisting=st.booleans(),
    receptor=st.sampled_from(list(RECEPTOR_POINTS)),
    has_dead_animals=st.booleans(),
    has_ill_people=st.booleans(),
    has_independent_reports=st.booleans(),
    is_being_filled=st.booleans(),
    is_heavy_by_instrument=st.booleans(),
)


@pytest.mark.parametrize(
    ("given_inputs", "points", "level"),
    [
        (RubricInputs("floating_garbage"), 1, Severity.GENERAL),
        (RubricInputs("sewage_outfall"), 3, Severity.GENERAL),
        (RubricInputs("sewage_outfall", extent="under_100_m"), 4, Severity.LARGER),
        (RubricInputs("sewage_outfall", extent="under_1_km", is_ongoing=True), 6, Severity.LARGER),
        (RubricInputs("industrial_discharge", extent="under_1_km", is_ongoing=True), 7, Severity.MAJOR),
        (RubricInputs("fish_kill", extent="over_1_km", is_ongoing=True, is_persisting=True), 9, Severity.MAJOR),
        (RubricInputs("fish_kill", extent="over_1_km", receptor="drinking_water"), 11, Severity.ESPECIALLY_MAJOR),
        (RubricInputs("encroachment"), 3, Severity.GENERAL),
        (RubricInputs("encroachment", is_being_filled=True), 3, Severity.MAJOR),
        (RubricInputs("foam", is_heavy_by_instrument=True), 1, Severity.LARGER),
        (RubricInputs("foam", is_being_filled=True), 1, Severity.GENERAL),
    ],
)
def test_the_rubric_gives_these_levels(given_inputs: RubricInputs, points: int, level: Severity) -> None:
    answer = score(given_inputs)
    assert (answer.points, answer.proposed) == (points, level)


@given(inputs)
def test_the_reasons_add_up_to_the_points(given_inputs: RubricInputs) -> None:
    answer = score(given_inputs)
    assert sum(points for _, points in answer.reasons) == answer.points
    assert all(points > 0 for _, points in answer.reasons)


HARM = ["is_ongoing", "is_persisting", "has_dead_animals", "has_ill_people", "has_independent_reports"]


@given(inputs, st.sampled_from(HARM))
def test_more_harm_never_lowers_the_level(given_inputs: RubricInputs, name: str) -> None:
    lesser = RubricInputs(**{**given_inputs.__dict__, name: False})
    greater = RubricInputs(**{**given_inputs.__dict__, name: True})
    assert score(lesser).proposed <= score(greater).proposed


def test_red_stands_as_orange_until_seconded() -> None:
    assert acting_severity(Severity.ESPECIALLY_MAJOR, is_seconded=False) is Severity.MAJOR
    assert acting_severity(Severity.ESPECIALLY_MAJOR, is_seconded=True) is Severity.ESPECIALLY_MAJOR
    for severity, seconded in itertools.product((Severity.GENERAL, Severity.LARGER, Severity.MAJOR), (True, False)):
        assert acting_severity(severity, is_seconded=seconded) is severity


def test_levels_carry_the_legal_names_and_colours() -> None:
    wanted = [("IV", "blue"), ("III", "yellow"), ("II", "orange"), ("I", "red")]
    assert [(severity.roman, severity.colour) for severity in Severity] == wanted


def test_the_machine_knows_exactly_the_states_of_the_table() -> None:
    assert INCIDENT.states == set(STATES)


def test_what_the_browser_is_tested_with_is_what_the_rubric_answers() -> None:
    """`map_static/tests/rubric.test.ts` compares the browser's own arithmetic with it."""
    assert rubric_cases.FILE.read_text() == rubric_cases.written(), "python -m tests.incidents.rubric_cases"


AT = datetime(2026, 5, 20, 15, 30, tzinfo=UTC)  # half past eleven in the evening in Beijing


def act(action: str, severity: int, *, minutes: int = 0, before: int | None = None) -> Act:
    earlier = None if before is None else {"severity": before}
    return AT + timedelta(minutes=minutes), f"incident.{action}", earlier, {"severity": severity, "report_id": "x"}


def test_what_the_public_is_told_has_the_level_before_and_after() -> None:
    events = told([act("opened", 2), act("joined", 3), act("stepped_down", 2), act("regraded", 1, before=2)])
    assert [(event.code, event.severity_before, event.severity_after) for event in events] == [
        ("opened", None, 2),
        ("confirmed", 2, 3),
        ("stepped_down", 3, 2),
        ("regraded", 2, 1),
    ]


def test_reports_of_one_day_in_beijing_that_change_nothing_are_one_event() -> None:
    acts = [act("opened", 2), *(act("joined", 2, minutes=minute) for minute in (1, 2, 29, 31, 32))]
    assert [(event.code, event.times) for event in told(acts)] == [("opened", 1), ("confirmed", 3), ("confirmed", 2)]


def test_a_report_taken_away_is_told_only_where_the_level_changed() -> None:
    assert [event.code for event in told([act("opened", 2), act("detached", 2)])] == ["opened"]
    assert [event.code for event in told([act("opened", 2), act("detached", 1)])] == ["opened", "detached"]


def test_what_is_not_for_the_public_is_left_out() -> None:
    assert [event.code for event in told([act("opened", 2), act("secretly_changed", 3), act("joined", 3)])] == [
        "opened",
        "confirmed",
    ]
