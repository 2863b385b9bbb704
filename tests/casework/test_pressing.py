import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.casework.rows import acts, case_of, hand_over, letters, says, state_of
from tests.casework.test_service import received
from tests.escalation.rows import add_report
from waterwatch.casework import pressing, queries, service
from waterwatch.casework.service import Answer
from waterwatch.casework.tables import CaseAnswer
from waterwatch.escalation import clocks, ending
from waterwatch.escalation import service as escalation
from waterwatch.escalation.tables import Case, CaseRound
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings

Tree = tuple[uuid.UUID, uuid.UUID, uuid.UUID]
HOUR = timedelta(hours=1)


@pytest.fixture
def sweep(settings: Settings) -> dict[str, Any]:
    return {"settings": settings, "actor": Actor.system("sweep")}


def test_an_orange_case_owes_its_stages_from_the_moment_it_was_handed_over(case: Case, now: datetime) -> None:
    assert case.acknowledge_by == case.state_deadline_at == now + 24 * HOUR
    assert case.answer_by == datetime(2026, 5, 29, 2, 30, tzinfo=UTC)
    assert case.finish_by == now + timedelta(days=60)
    assert case.remind_at == now + 18 * HOUR


def test_one_reminder_goes_when_a_quarter_of_the_time_is_left(
    session: Session, case: Case, sweep: dict[str, Any], now: datetime
) -> None:
    assert queries.reminders_due(session, now=now + 17 * HOUR, limit=9) == []
    assert not pressing.remind(session, case.id, now=now + 17 * HOUR, **sweep)
    assert queries.reminders_due(session, now=now + 18 * HOUR, limit=9) == [case.id]
    assert pressing.remind(session, case.id, now=now + 18 * HOUR, **sweep)
    assert not pressing.remind(session, case.id, now=now + 19 * HOUR, **sweep)
    assert says(session, case) == ["case", "reminder"]
    assert acts(session, case.id)[-1] == "case.reminded"


def test_each_deadline_has_a_reminder_of_its_own(
    session: Session, case: Case, sweep: dict[str, Any], officer: Actor, now: datetime
) -> None:
    pressing.remind(session, case.id, now=now + 18 * HOUR, **sweep)
    escalation.acknowledge(session, case.id, actor=officer, now=now + 20 * HOUR)
    # Nine days from the delivery to the answer: a quarter of them before it.
    assert case.remind_at == datetime(2026, 5, 26, 20, 30, tzinfo=UTC)
    session.flush()
    assert pressing.remind(session, case.id, now=case.remind_at, **sweep)
    assert says(session, case) == ["case", "reminder", "reminder"]


def test_a_reminder_that_comes_too_late_does_not_go(
    session: Session, case: Case, sweep: dict[str, Any], now: datetime
) -> None:
    assert not pressing.remind(session, case.id, now=now + 25 * HOUR, **sweep)
    assert says(session, case) == ["case"]


def test_past_the_deadline_the_agency_above_gets_a_case_of_its_own_once(
    session: Session, incident_id: uuid.UUID, tree: Tree, case: Case, sweep: dict[str, Any], now: datetime
) -> None:
    assert pressing.escalate_overdue(session, case.id, now=now + 24 * HOUR, **sweep) is None
    above_id = pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep)
    assert pressing.escalate_overdue(session, case.id, now=now + 26 * HOUR, **sweep) is None
    above = case_of(session, incident_id, tree[1])
    assert (above.id, above.role, above.supervises_id) == (above_id, "supervising", case.id)
    assert says(session, above) == ["overdue"]
    assert (case.escalated_at, case.state) == (now + 25 * HOUR, "delivered")
    assert acts(session, case.id)[-1] == "case.overdue"


@pytest.mark.parametrize(
    ("severity", "came", "asked", "is_told"),
    [(3, 23, 25, False), (3, 23, 48, True), (3, 25, 26, True), (4, 23, 25, True)],
    ids=["a mail in time", "nobody has read it for a day", "too late", "red"],
)
def test_who_wrote_in_time_is_not_said_to_be_late_while_a_lead_still_has_to_read_it(
    session: Session,
    case: Case,
    sweep: dict[str, Any],
    officer: Actor,
    now: datetime,
    severity: int,
    came: int,
    asked: int,
    is_told: bool,
) -> None:
    case.severity = severity
    said = Answer("收到，正在办理。", via="email", source_key="mail:1")
    service.answer(session, case.id, said, settings=sweep["settings"], actor=officer, now=now + came * HOUR)
    above = pressing.escalate_overdue(session, case.id, now=now + asked * HOUR, **sweep)
    assert (above is not None) is is_told


def test_every_level_is_told_in_its_turn_and_at_the_top_it_is_loud(
    session: Session,
    incident_id: uuid.UUID,
    tree: Tree,
    case: Case,
    sweep: dict[str, Any],
    now: datetime,
    caplog: pytest.LogCaptureFixture,
) -> None:
    at, told = now + 25 * HOUR, []
    for agency_id in tree:
        below = case_of(session, incident_id, agency_id)
        told.append(pressing.escalate_overdue(session, below.id, now=at, **sweep))
        if told[-1] is not None:
            hand_over(session, session.get_one(Case, told[-1]), sweep["settings"], at)
        at += 25 * HOUR
    assert told[:2] == [case_of(session, incident_id, agency_id).id for agency_id in tree[1:]]
    assert told[2] is None
    assert "case.overdue_unsupervised" in caplog.text
    top = case_of(session, incident_id, tree[2])
    alarms = session.execute(text("SELECT case_id, reason FROM case_alarm")).all()
    assert [tuple(alarm) for alarm in alarms] == [(top.id, "overdue")]
    (late,) = queries.late_cases(session, now=at)
    assert (late.case_id, late.agency_name, late.state) == (top.id, "省厅ecology_environment", "delivered")


def test_an_agency_above_that_cannot_be_reached_is_passed_over_loudly(
    session: Session, incident_id: uuid.UUID, tree: Tree, case: Case, sweep: dict[str, Any], now: datetime
) -> None:
    session.execute(text("DELETE FROM agency_contact WHERE agency_id = :id"), {"id": tree[1]})
    pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep)
    assert case_of(session, incident_id, tree[1]).state == "no_contact"
    assert says(session, case_of(session, incident_id, tree[2])) == ["overdue"]


def test_an_agency_above_that_has_the_case_itself_gets_a_letter_and_keeps_its_part(
    session: Session, incident_id: uuid.UUID, tree: Tree, case: Case, sweep: dict[str, Any], now: datetime
) -> None:
    session.execute(text("UPDATE agency SET kind = 'water' WHERE id = :id"), {"id": tree[1]})
    escalation.escalate(session, incident_id, settings=sweep["settings"], actor=sweep["actor"], now=now)
    held = case_of(session, incident_id, tree[1])
    hand_over(session, held, sweep["settings"], now)
    pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep)
    assert (says(session, held), held.role) == (["case", "overdue"], "competent")


def test_whoever_supervises_is_not_late_once_the_lapse_is_made_up_for_and_waits_for_what_is_owed_next(
    session: Session,
    incident_id: uuid.UUID,
    tree: Tree,
    case: Case,
    sweep: dict[str, Any],
    officer: Actor,
    now: datetime,
) -> None:
    pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep)
    above = case_of(session, incident_id, tree[1])
    hand_over(session, above, sweep["settings"], now + 25 * HOUR)
    escalation.acknowledge(session, session.get_one(Case, case.id).id, actor=officer, now=now + 26 * HOUR)
    session.flush()
    late = now + 60 * HOUR
    assert not pressing.remind(session, above.id, now=late - 12 * HOUR, **sweep)
    assert pressing.escalate_overdue(session, above.id, now=late, **sweep) is None
    answer_by = datetime(2026, 5, 29, 2, 30, tzinfo=UTC)
    assert (above.state_deadline_at, above.escalated_at) == (answer_by, None)
    assert above.remind_at == datetime(2026, 5, 26, 20, 30, tzinfo=UTC)


def test_a_second_lapse_of_an_agency_is_told_above_the_one_that_was_told_of_the_first(
    session: Session,
    incident_id: uuid.UUID,
    tree: Tree,
    case: Case,
    sweep: dict[str, Any],
    officer: Actor,
    now: datetime,
) -> None:
    pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep)
    above = case_of(session, incident_id, tree[1])
    hand_over(session, above, sweep["settings"], now + 25 * HOUR)
    escalation.acknowledge(session, case.id, actor=officer, now=now + 26 * HOUR)
    session.flush()
    assert not pressing.remind(session, above.id, now=now + 43 * HOUR, **sweep)
    session.flush()
    assert queries.reminders_due(session, now=now + 50 * HOUR, limit=9) == []
    answer_by = datetime(2026, 5, 29, 2, 30, tzinfo=UTC)
    assert pressing.remind(session, above.id, now=answer_by - 24 * HOUR, **sweep)
    assert says(session, above) == ["overdue", "reminder"]
    session.flush()
    assert above.id in queries.overdue_cases(session, now=answer_by + HOUR, limit=9)
    top_id = pressing.escalate_overdue(session, above.id, now=answer_by + HOUR, **sweep)
    assert case_of(session, incident_id, tree[2]).id == top_id


def test_whoever_supervises_waits_again_when_the_incident_ended_by_mistake(
    session: Session,
    incident_id: uuid.UUID,
    tree: Tree,
    case: Case,
    sweep: dict[str, Any],
    officer: Actor,
    now: datetime,
) -> None:
    pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep)
    above = case_of(session, incident_id, tree[1])
    hand_over(session, above, sweep["settings"], now + 25 * HOUR)
    escalation.acknowledge(session, case.id, actor=officer, now=now + 26 * HOUR)
    ending.end_cases(session, incident_id, actor=officer, now=now + 27 * HOUR)
    assert (case.state_deadline_at, above.state_deadline_at) == (None, None)
    ending.resume_cases(session, incident_id, now=now + 28 * HOUR, **sweep)
    assert case.state_deadline_at == above.state_deadline_at == case.answer_by
    assert case.answer_by is not None


def test_whoever_supervises_owes_nothing_once_the_agency_below_is_done(
    session: Session,
    incident_id: uuid.UUID,
    tree: Tree,
    case: Case,
    sweep: dict[str, Any],
    officer: Actor,
    now: datetime,
) -> None:
    pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep)
    above = case_of(session, incident_id, tree[1])
    close(session, case, sweep["settings"], officer, now + 26 * HOUR)
    hand_over(session, above, sweep["settings"], now + 27 * HOUR)  # its letter was slower than that
    assert pressing.escalate_overdue(session, above.id, now=now + 60 * HOUR, **sweep) is None
    assert (above.state_deadline_at, above.escalated_at) == (None, None)


def test_when_the_incident_has_ended_nobody_is_pressed(
    session: Session, incident_id: uuid.UUID, case: Case, sweep: dict[str, Any], now: datetime
) -> None:
    session.execute(
        text("UPDATE incident SET state = 'expired', closed_at = :now, state_deadline_at = NULL WHERE id = :id"),
        {"id": incident_id, "now": now + HOUR},
    )
    assert not pressing.remind(session, case.id, now=now + 18 * HOUR, **sweep)
    assert pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep) is None
    assert (case.state_deadline_at, says(session, case)) == (None, ["case"])


def test_a_graver_grade_shortens_every_time_and_a_lighter_one_takes_none_away(
    session: Session, case: Case, now: datetime
) -> None:
    case.severity = 4
    clocks.shorten(session, case, told_at=now + HOUR)
    assert case.acknowledge_by == case.state_deadline_at == now + 3 * HOUR
    assert case.answer_by == datetime(2026, 5, 25, 3, 30, tzinfo=UTC)
    case.severity = 2
    clocks.lengthen(session, case)
    assert case.acknowledge_by == case.state_deadline_at == datetime(2026, 5, 25, 2, 30, tzinfo=UTC)
    assert case.answer_by == datetime(2026, 6, 10, 2, 30, tzinfo=UTC)


def close(session: Session, case: Case, settings: Settings, officer: Actor, now: datetime) -> None:
    service.report_done(session, case.id, Answer("已清理。"), settings=settings, actor=officer, now=now)
    session.flush()


def test_a_report_after_done_reopens_incident_and_case_and_a_letter_says_so(
    session: Session,
    incident_id: uuid.UUID,
    case: Case,
    officer: Actor,
    unchecked: Settings,
    sweep: dict[str, Any],
    now: datetime,
) -> None:
    close(session, case, unchecked, officer, now + 2 * HOUR)
    assert state_of(session, incident_id) == "resolved_claimed"
    report_id = add_report(session, incident_id, now=now + 3 * HOUR)
    at = now + 3 * HOUR
    assert pressing.reopen(session, incident_id, report_id, now=at, tell_at=at + HOUR / 6, **sweep) == [case.id]
    assert pressing.reopen(session, incident_id, report_id, now=at, **sweep) == []
    assert (state_of(session, incident_id), case.state, says(session, case)) == (
        "reopened",
        "queued",
        ["case", "reopened"],
    )
    (kept,) = session.query(CaseRound).all()
    assert (kept.number, kept.delivered_at, kept.acknowledged_at, kept.closed_at, kept.reopened_at) == (
        1,
        now,
        now + 2 * HOUR,
        now + 2 * HOUR,
        at,
    )
    available = session.execute(
        text("SELECT max(available_at) FROM outbox WHERE topic = 'escalation.deliver'")
    ).scalar_one()
    assert available == at + HOUR / 6


def test_a_reopened_case_begins_anew_and_what_was_done_before_counts_no_more(
    session: Session,
    incident_id: uuid.UUID,
    case: Case,
    officer: Actor,
    unchecked: Settings,
    sweep: dict[str, Any],
    now: datetime,
) -> None:
    close(session, case, unchecked, officer, now + 2 * HOUR)
    report_id = add_report(session, incident_id, now=now + 3 * HOUR)
    pressing.reopen(session, incident_id, report_id, now=now + 3 * HOUR, **sweep)
    hand_over(session, case, unchecked, now + 4 * HOUR)
    assert (case.state, case.acknowledged_at, case.acknowledge_by) == ("delivered", None, now + 28 * HOUR)
    assert escalation.acknowledge(session, case.id, actor=officer, now=now + 5 * HOUR).is_new
    service.answer(session, case.id, Answer("再查。"), settings=unchecked, actor=officer, now=now + 6 * HOUR)
    assert state_of(session, incident_id) == "answered"
    close(session, case, unchecked, officer, now + 7 * HOUR)
    assert state_of(session, incident_id) == "resolved_claimed"
    pressing.reopen(session, incident_id, report_id, now=now + 8 * HOUR, **sweep)
    assert [one.number for one in session.query(CaseRound).order_by(CaseRound.number)] == [1, 2]


def test_a_done_nobody_has_read_yet_is_reopened_as_well(
    session: Session,
    incident_id: uuid.UUID,
    case: Case,
    officer: Actor,
    settings: Settings,
    sweep: dict[str, Any],
    now: datetime,
) -> None:
    close(session, case, settings, officer, now + 2 * HOUR)
    assert state_of(session, incident_id) == "open"
    report_id = add_report(session, incident_id, now=now + 3 * HOUR)
    assert pressing.reopen(session, incident_id, report_id, now=now + 3 * HOUR, **sweep) == [case.id]
    assert state_of(session, incident_id) == "open"


def test_what_was_withheld_long_ago_is_erased_with_its_pictures(
    session: Session, case: Case, officer: Actor, lead: Actor, settings: Settings, now: datetime
) -> None:
    said = Answer("王先生投诉的", photos=(received(),))
    answer_id = service.answer(session, case.id, said, settings=settings, actor=officer, now=now)
    service.withhold_answer(session, answer_id, "personal_data", actor=lead, now=now)
    session.flush()
    assert queries.withheld_long_ago(session, before=now, limit=9) == []
    assert queries.withheld_long_ago(session, before=now + HOUR, limit=9) == [answer_id]
    pressing.erase_withheld(session, answer_id, actor=lead, now=now + HOUR)
    row = session.get_one(CaseAnswer, answer_id)
    assert (row.words, row.said_by, row.withheld_reason, row.erased_at) == (None, None, "personal_data", now + HOUR)
    assert session.execute(text("SELECT count(*) FROM photo")).scalar_one() == 0
    assert queries.withheld_long_ago(session, before=now + HOUR, limit=9) == []
    assert len(letters(session, case)) == 1


def test_a_case_reopened_by_mistake_is_closed_again_if_its_agency_has_not_heard(
    session: Session,
    incident_id: uuid.UUID,
    case: Case,
    officer: Actor,
    unchecked: Settings,
    sweep: dict[str, Any],
    now: datetime,
) -> None:
    close(session, case, unchecked, officer, now + 2 * HOUR)
    report_id = add_report(session, incident_id, now=now + 3 * HOUR)
    again = pressing.reopen(session, incident_id, report_id, now=now + 3 * HOUR, **sweep)
    at = {"actor": sweep["actor"], "now": now + 4 * HOUR}
    assert pressing.close_again(session, incident_id, again, **at) == 1
    assert (case.state, case.closed_at, case.delivered_at) == ("closed", now + 2 * HOUR, now)
    assert state_of(session, incident_id) == "resolved_claimed"
    assert [letter.state for letter in letters(session, case)] == ["sent", "cancelled"]
    assert session.query(CaseRound).count() == 0


def test_a_case_whose_agency_has_heard_that_it_is_open_stays_open(
    session: Session,
    incident_id: uuid.UUID,
    case: Case,
    officer: Actor,
    unchecked: Settings,
    sweep: dict[str, Any],
    now: datetime,
) -> None:
    close(session, case, unchecked, officer, now + 2 * HOUR)
    report_id = add_report(session, incident_id, now=now + 3 * HOUR)
    again = pressing.reopen(session, incident_id, report_id, now=now + 3 * HOUR, **sweep)
    hand_over(session, case, unchecked, now + 3 * HOUR)
    at = {"actor": sweep["actor"], "now": now + 4 * HOUR}
    assert pressing.close_again(session, incident_id, again, **at) == 0
    assert (case.state, state_of(session, incident_id)) == ("delivered", "reopened")
