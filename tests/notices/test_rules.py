"""The timeline of a report: always what has happened, what comes next, or where it ended."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from waterwatch.notices import rules
from waterwatch.notices.rules import CURRENT, DONE, STOPPED, WAITING, Handover, Progress
from waterwatch.reports.rules import REPORT

SENT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
LATER = SENT + timedelta(minutes=5)


def progress(state: str, *handovers: Handover) -> Progress:
    return Progress(state, SENT, LATER, LATER, handovers)


def standings(state: str, *handovers: Handover) -> list[tuple[str, str]]:
    return [(step.code, step.standing) for step in rules.steps(progress(state, *handovers))]


def handover(state: str, agency: str | None = "武汉市水务局", **times: datetime) -> Handover:
    return Handover(agency, state, LATER, times.get("delivered_at"), times.get("acknowledged_at"))


def test_a_report_just_sent_waits_for_its_photos() -> None:
    assert standings("received") == [
        ("received", DONE),
        ("photos_ready", CURRENT),
        ("in_review", WAITING),
        ("graded", WAITING),
        ("handed_over", WAITING),
        ("acknowledged", WAITING),
    ]


def test_in_review_the_photos_are_done_and_say_when() -> None:
    steps = rules.steps(progress("in_review"))
    assert [(step.code, step.standing) for step in steps[:3]] == [
        ("received", DONE),
        ("photos_ready", DONE),
        ("in_review", CURRENT),
    ]
    assert steps[1].at == LATER


@pytest.mark.parametrize("state", ["accepted", "merged"])
def test_accepted_without_a_case_yet_says_handing_over_is_next(state: str) -> None:
    assert standings(state)[3:] == [("graded", DONE), ("handed_over", CURRENT), ("acknowledged", WAITING)]


def test_each_department_has_its_own_two_lines() -> None:
    steps = rules.steps(
        progress(
            "accepted",
            handover("acknowledged", "甲局", delivered_at=LATER, acknowledged_at=LATER + timedelta(hours=1)),
            handover("queued", "乙局"),
        )
    )[4:]
    assert [(step.code, step.standing, step.agency) for step in steps] == [
        ("handed_over", DONE, "甲局"),
        ("acknowledged", DONE, "甲局"),
        ("handed_over", CURRENT, "乙局"),
        ("acknowledged", WAITING, "乙局"),
    ]
    assert steps[1].at == LATER + timedelta(hours=1)


@pytest.mark.parametrize("state", ["dead", "no_contact", "refused_not_ours"])
def test_what_failed_tells_when_it_failed_and_not_when_it_began(state: str) -> None:
    failed = LATER + timedelta(days=3)
    case = replace(handover(state), state_since=failed)
    assert [step.at for step in rules.steps(progress("accepted", case))[4:]] == [failed]


@pytest.mark.parametrize(("state", "code"), [("dead", "dead"), ("refused_not_ours", "refused_not_ours")])
def test_a_handover_that_failed_is_said_openly(state: str, code: str) -> None:
    assert standings("accepted", handover(state))[4:] == [(code, STOPPED)]


def test_nobody_competent_is_an_outcome_of_its_own() -> None:
    assert standings("accepted", handover("no_contact", None))[4:] == [("no_contact", STOPPED)]


@pytest.mark.parametrize("state", ["refused", "withdrawn"])
def test_an_ended_report_shows_only_that_it_came_and_how_it_ended(state: str) -> None:
    assert standings(state) == [("received", DONE), (state, STOPPED)]


def test_every_state_of_a_report_has_a_timeline() -> None:
    for state in REPORT.states:
        assert rules.steps(progress(state))[0].code == "received"


def test_the_page_looks_again_by_itself_only_while_machines_work() -> None:
    assert rules.refresh_after_s(progress("received")) == rules.REFRESH_S
    assert rules.refresh_after_s(progress("sanitising")) == rules.REFRESH_S
    assert rules.refresh_after_s(progress("in_review")) is None
    assert rules.refresh_after_s(progress("accepted", handover("queued"))) == rules.REFRESH_S
    assert rules.refresh_after_s(progress("accepted", handover("delivered"))) is None
    assert rules.refresh_after_s(progress("refused")) is None


@pytest.mark.parametrize(("state", "standing"), [("in_review", WAITING), ("accepted", DONE)])
def test_a_patrol_ends_with_its_confirmation_and_no_department(state: str, standing: str) -> None:
    told = rules.steps(Progress(state, SENT, LATER, None, (), is_patrol=True))
    assert [(step.code, step.standing) for step in told][-1] == ("patrol_confirmed", standing)
    assert "handed_over" not in {step.code for step in told}
