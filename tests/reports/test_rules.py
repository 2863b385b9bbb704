"""The life of a report and the place that counts."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterwatch.kernel.settings import Settings
from waterwatch.reports import rules, tables
from waterwatch.reports.rules import Fix


def test_the_machine_and_the_table_know_the_same_states() -> None:
    assert rules.REPORT.states == set(tables.STATES)


def test_an_accepted_report_can_no_longer_be_withdrawn() -> None:
    assert {"received", "sanitising", "in_review"} == rules.WITHDRAWABLE


@pytest.mark.parametrize("state", ["accepted", "merged", "refused"])
def test_what_was_judged_goes_back_into_review_and_nowhere_else(state: str) -> None:
    assert [target for source, target in rules.REPORT.moves if source == state] == ["in_review"]


def test_what_was_taken_back_stays_so() -> None:
    assert not any(source == "withdrawn" for source, _target in rules.REPORT.moves)


def test_every_state_that_is_left_in_time_has_a_deadline(settings: Settings) -> None:
    machine = rules.timed(settings)
    assert set(machine.deadlines) == {source for source, _target in machine.moves} - rules.JUDGED
    assert machine.deadlines["received"] == timedelta(seconds=settings.sanitise_deadline_s)
    assert machine.deadlines["in_review"] == timedelta(seconds=settings.in_review_deadline_s)


PIN, NEAR, FAR = Fix(114.3, 30.5), Fix(114.31, 30.51, 30.0), Fix(114.31, 30.51, 100.1)


def test_a_confirmed_pin_wins_over_the_device() -> None:
    assert rules.choose_place(PIN, NEAR, is_confirmed=True) == rules.Place(PIN, "pin")


def test_a_typed_place_is_called_typed() -> None:
    assert rules.choose_place(PIN, NEAR, is_confirmed=True, is_typed=True) == rules.Place(PIN, "typed")


def test_a_good_device_fix_stands_in_for_a_missing_pin() -> None:
    assert rules.choose_place(None, NEAR, is_confirmed=True) == rules.Place(NEAR, "device")


@pytest.mark.parametrize("device", [None, FAR, Fix(114.3, 30.5, None)])
def test_a_poor_or_unknown_device_fix_does_not(device: Fix | None) -> None:
    assert rules.choose_place(None, device, is_confirmed=True) is None


@pytest.mark.parametrize("stated", [None, PIN])
@pytest.mark.parametrize("device", [None, NEAR, FAR])
def test_nothing_counts_unconfirmed(stated: Fix | None, device: Fix | None) -> None:
    assert rules.choose_place(stated, device, is_confirmed=False) is None


@pytest.mark.parametrize(("distance_m", "is_doubtful"), [(None, False), (500.0, False), (500.1, True)])
def test_a_device_more_than_500_m_away_is_pointed_out(distance_m: float | None, is_doubtful: bool) -> None:
    assert rules.is_place_doubtful(distance_m) is is_doubtful


@given(st.lists(st.sampled_from(["received", "sanitising", "ready", "refused"]), max_size=6))
def test_a_report_settles_exactly_when_all_its_photos_have_and_one_usable_photo_is_enough(states: list[str]) -> None:
    outcome = rules.settled_state(states)
    if not states or {"received", "sanitising"} & set(states):
        assert outcome is None
    else:
        assert outcome == ("in_review" if "ready" in states else "refused")


@pytest.mark.parametrize(
    ("taken_at", "is_doubtful"),
    [
        (None, False),
        ("not a time", False),
        ("2026-05-20T10:30:00+08:00", False),
        ("2026-05-13T10:31:00+08:00", False),
        ("2026-05-13T10:29:00+08:00", True),
        ("2026-05-20T16:30:00", False),  # the camera's own time, from China: eight hours ahead of UTC
        ("2026-05-22T10:30:00+08:00", True),
        ("2019-01-01T00:00:00", True),
    ],
)
def test_a_photo_of_last_week_or_of_tomorrow_is_pointed_out(taken_at: str | None, is_doubtful: bool) -> None:
    received_at = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
    assert rules.is_photo_time_doubtful(rules.photo_age(taken_at, received_at)) is is_doubtful
