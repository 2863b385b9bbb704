"""Every act can be undone at once by whoever acted, and reversed by a lead: all that followed it follows back."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import IN_WUHAN
from tests.moderation.rows import add_river, add_waiting, count, grading, judgement, state_of
from tests.reports.rows import acts_on
from waterwatch.casework import service as casework
from waterwatch.contacts import service as contacts
from waterwatch.contacts.rules import Contact
from waterwatch.escalation import deliveries
from waterwatch.incidents.rules import Severity
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import actions, decisions, reversal, service
from waterwatch.reports import questions
from waterwatch.reports import service as reports
from waterwatch.reports.amending import AmendReport

SOON = timedelta(seconds=9)
LATER = timedelta(hours=3)
WANG = Contact("wang@example.org", None, by_mail=True, may_ask=False)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


def last(session: Session) -> uuid.UUID:
    """The decision written last that stands."""
    statement = text(
        "SELECT id FROM decision WHERE reversed_at IS NULL AND action <> 'reversed' ORDER BY at DESC, id DESC"
    )
    return uuid.UUID(str(session.execute(statement).scalars().first()))


def facts_of(session: Session, decision_id: uuid.UUID) -> dict[str, Any]:
    return dict(session.execute(text("SELECT * FROM decision WHERE id = :id"), {"id": decision_id}).mappings().one())


def level(session: Session) -> int | None:
    session.flush()
    found: int | None = session.execute(text("SELECT max(level) FROM advisory")).scalar_one()
    return found


def letters(session: Session) -> list[tuple[str, str]]:
    """What each letter says, and how far it has come."""
    session.flush()
    rows = session.execute(text("SELECT says, state FROM delivery ORDER BY address, number"))
    return [(row.says, row.state) for row in rows]


def let_letters_go(session: Session, settings: Settings, now: datetime) -> None:
    """As a worker does when the mail server takes them."""
    session.flush()
    for delivery_id in session.execute(text("SELECT id FROM delivery WHERE state = 'pending' ORDER BY id")).scalars():
        claim = deliveries.claim_delivery(session, delivery_id, settings=settings, now=now)
        if claim is not None:
            deliveries.record_sent(session, claim, now=now)
    session.flush()


def accept(
    session: Session, river: uuid.UUID, who: Actor, settings: Settings, now: datetime, **changes: Any
) -> tuple[uuid.UUID, Incident]:
    report_id = add_waiting(session, river, now=now)
    incident = service.grade_report(session, grading(report_id, **changes), settings=settings, actor=who, now=now)
    session.flush()
    return report_id, incident


def test_an_acceptance_undone_in_time_leaves_no_trace_outside(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id, incident = accept(session, river, first, settings, now)
    due = session.execute(text("SELECT available_at FROM outbox WHERE topic = 'escalation.deliver'")).scalar_one()
    assert due == now + timedelta(seconds=10)
    assert level(session) == 1
    undone = reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)
    assert [one.action for one in undone] == ["accepted"]
    assert state_of(session, "report", report_id) == "in_review"
    assert state_of(session, "incident", incident.id) == "retracted"
    assert (level(session), letters(session)) == (None, [("case", "cancelled")])
    assert session.execute(text("SELECT state FROM escalation_case")).scalar_one() == "withdrawn"
    assert acts_on(session, report_id) == ["report.accepted", "report.returned"]
    assert count(session, "review_item", "leased_by IS NULL") == 1
    again = service.grade_report(session, grading(report_id), settings=settings, actor=first, now=now + SOON)
    assert again.id != incident.id
    assert level(session) == 1


def test_a_letter_that_went_is_followed_by_one_that_takes_it_back(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    accept(session, river, first, settings, now)
    let_letters_go(session, settings, now + SOON)
    reversal.reverse(session, last(session), "not_pollution", settings=settings, actor=other, now=now + LATER)
    assert letters(session) == [("case", "sent"), ("withdrawn", "pending")]
    let_letters_go(session, settings, now + LATER)
    assert letters(session) == [("case", "sent"), ("withdrawn", "sent")]
    assert session.execute(text("SELECT state FROM escalation_case")).scalar_one() == "withdrawn"


def test_a_red_is_told_at_once_and_its_undoing_corrects_it(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    red = judgement(severity=Severity.ESPECIALLY_MAJOR)
    accept(session, river, first, settings, now, judgement=red)
    assert (
        session.execute(text("SELECT available_at FROM outbox WHERE topic = 'escalation.deliver'")).scalar_one() == now
    )
    let_letters_go(session, settings, now)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)
    assert letters(session) == [("case", "sent"), ("withdrawn", "pending")]


def test_undoing_ends_after_its_time_and_is_for_who_acted(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    accept(session, river, first, settings, now)
    decision_id = last(session)
    with pytest.raises(Forbidden, match="not_yours"):
        reversal.undo(session, decision_id, settings=settings, actor=other, now=now + SOON)
    with pytest.raises(Conflict, match="undo_over"):
        reversal.undo(session, decision_id, settings=settings, actor=first, now=now + timedelta(seconds=10))
    with pytest.raises(Invalid):
        reversal.reverse(session, decision_id, "whim", settings=settings, actor=other, now=now + LATER)
    reversal.reverse(session, decision_id, "wrong_level", settings=settings, actor=other, now=now + LATER)
    with pytest.raises(Conflict, match="already_reversed"):
        reversal.reverse(session, decision_id, "wrong_level", settings=settings, actor=other, now=now + LATER)
    written = session.execute(text("SELECT id FROM decision WHERE action = 'reversed'")).scalar_one()
    facts = facts_of(session, written)
    assert (facts["reverses_id"], facts["reason_code"], facts["person_id"]) == (decision_id, "wrong_level", other.id)
    with pytest.raises(Conflict, match="not_reversible"):
        reversal.reverse(session, written, "wrong_level", settings=settings, actor=other, now=now + LATER)


def test_the_first_report_leaves_an_incident_others_joined(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    graver = judgement(severity=Severity.MAJOR)
    _report, incident = accept(session, river, first, settings, now, judgement=graver)
    opened = last(session)
    second, _ = accept(session, river, other, settings, now + SOON, join_incident_id=incident.id)
    reversal.reverse(session, opened, "wrong_incident", settings=settings, actor=other, now=now + LATER)
    assert state_of(session, "incident", incident.id) == "open"
    assert (state_of(session, "report", second), level(session)) == ("merged", 1)
    reversal.reverse(session, last(session), "wrong_incident", settings=settings, actor=other, now=now + LATER)
    assert (state_of(session, "incident", incident.id), level(session)) == ("retracted", None)
    assert count(session, "incident_report") == 0


def test_a_refusal_is_taken_back_unless_nothing_is_left(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    kept, gone = (add_waiting(session, river, now=now) for _ in range(2))
    for report_id in (kept, gone):
        service.refuse_report(session, report_id, "unclear", "再拍一张", settings=settings, actor=first, now=now)
    by_report = {row.report_id: row.id for row in session.execute(text("SELECT report_id, id FROM decision")).all()}
    reports.erase_ended(session, gone, before=now + LATER, actor=Actor.system("sweep"), now=now + LATER)
    reversal.reverse(session, by_report[kept], "wrong_refusal", settings=settings, actor=other, now=now + LATER)
    assert state_of(session, "report", kept) == "in_review"
    row = session.execute(text("SELECT refusal_code, refusal_words FROM report WHERE id = :id"), {"id": kept}).one()
    assert tuple(row) == (None, None)
    with pytest.raises(Conflict, match="erased"):
        reversal.reverse(session, by_report[gone], "wrong_refusal", settings=settings, actor=other, now=now + LATER)


def test_what_stands_on_an_act_is_reversed_first(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    red = judgement(severity=Severity.ESPECIALLY_MAJOR)
    _report, incident = accept(session, river, first, settings, now, judgement=red)
    opened = last(session)
    service.second_red(session, incident.id, settings=settings, actor=other, now=now + SOON)
    session.flush()
    seconded = last(session)
    with pytest.raises(Conflict) as caught:
        reversal.reverse(session, opened, "wrong_level", settings=settings, actor=other, now=now + LATER)
    assert caught.value.facts == {"decision_id": seconded, "action": "seconded"}
    reversal.reverse(session, seconded, "wrong_level", settings=settings, actor=other, now=now + LATER)
    assert level(session) == 3
    reversal.reverse(session, opened, "wrong_level", settings=settings, actor=other, now=now + LATER)
    assert level(session) is None


def test_departments_told_of_a_red_that_was_none_are_told_so(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    red = judgement(severity=Severity.ESPECIALLY_MAJOR)
    _report, incident = accept(session, river, first, settings, now, judgement=red)
    let_letters_go(session, settings, now)
    service.second_red(session, incident.id, settings=settings, actor=other, now=now)
    let_letters_go(session, settings, now)
    reversal.undo(session, last(session), settings=settings, actor=other, now=now + SOON)
    assert letters(session) == [("case", "sent"), ("case", "sent"), ("lowered", "pending")]


def test_a_second_given_by_joining_is_taken_back_with_the_report(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    red = judgement(severity=Severity.ESPECIALLY_MAJOR)
    _report, incident = accept(session, river, first, settings, now, judgement=red)
    accept(session, river, other, settings, now + SOON, judgement=red, join_incident_id=incident.id)
    assert level(session) == 4
    reversal.undo(session, last(session), settings=settings, actor=other, now=now + SOON)
    assert (level(session), incident.severity, incident.graded_severity) == (3, 3, 4)


def test_a_patrol_confirmed_by_mistake_waits_again(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now, kind="all_clear")
    service.accept_patrol(session, report_id, settings=settings, actor=first, now=now)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)
    assert state_of(session, "report", report_id) == "in_review"


def statement_of(session: Session, report_id: uuid.UUID) -> tuple[Any, ...]:
    session.flush()
    statement = text("""SELECT kind, ST_AsText(point), place_source, accuracy_m, water_feature_id,
                        ST_AsText(snapped_point), snap_distance_m FROM report WHERE id = :id""")
    return tuple(session.execute(statement, {"id": report_id}).one())


def test_a_correction_is_taken_back_to_what_was_said_before(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now, accuracy_m=12.5)
    before = statement_of(session, report_id)
    change = AmendReport(report_id, kind="foam", place=(IN_WUHAN[0] + 0.01, IN_WUHAN[1]), is_typed=True)
    done = actions.correct(session, change, settings=settings, actor=first, now=now)
    assert done is not None
    assert done.after == {"kind": "foam", "point": "moved_959_m"}
    kind, point, source, accuracy_m, *_ = statement_of(session, report_id)
    assert (kind, source, accuracy_m) == ("foam", "typed", None)
    assert point != before[1]
    recorded = str(session.execute(text("SELECT array_agg(before::text || after::text) FROM decision")).scalar_one())
    assert str(IN_WUHAN[0]) not in recorded
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)
    assert statement_of(session, report_id) == before
    assert count(session, "report_former") == 0


def test_a_water_corrected_while_grading_is_restored_with_it(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    elsewhere = add_river(session, "汉江", lat=IN_WUHAN[1] + 0.05)
    before = statement_of(session, report_id)
    command = grading(report_id, water_feature_id=elsewhere)
    service.grade_report(session, command, settings=settings, actor=first, now=now)
    assert statement_of(session, report_id)[4] == elsewhere
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)
    assert statement_of(session, report_id) == before


def test_nothing_of_a_correction_survives_erasure(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    change = AmendReport(report_id, place=(IN_WUHAN[0] + 0.01, IN_WUHAN[1]))
    actions.correct(session, change, settings=settings, actor=first, now=now)
    actions.ask(session, report_id, "other", "门牌是几号？", settings=settings, actor=first, now=now)
    reports.withdraw(session, report_id, now=now + SOON)
    assert [count(session, table) for table in ("report_former", "question", "appeal", "review_item")] == [0, 0, 0, 0]


def test_a_question_not_answered_is_withdrawn(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    actions.ask(session, report_id, "still_there", None, settings=settings, actor=first, now=now)
    assert count(session, "review_item", "set_aside = 'question'") == 1
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)
    assert count(session, "review_item", "set_aside IS NULL") == 1
    assert questions.questions_of(session, report_id) == []


def test_a_question_that_was_answered_cannot_be_taken_back(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    actions.ask(session, report_id, "still_there", None, settings=settings, actor=first, now=now)
    questions.answer(session, report_id, "还在", now=now + SOON)
    with pytest.raises(Conflict, match="question_answered"):
        reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)


def test_what_was_handed_to_the_lead_comes_back(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    actions.hand_to_lead(session, report_id, "threat", settings=settings, actor=first, now=now)
    with pytest.raises(Conflict, match="lease_lost"):  # neither of them is a lead
        service.grade_report(session, grading(report_id), settings=settings, actor=other, now=now)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)
    service.grade_report(session, grading(report_id), settings=settings, actor=other, now=now + SOON)


def test_a_regrade_is_taken_back_to_the_former_level(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    _report, incident = accept(session, river, first, settings, now)
    graver = judgement("oil_slick", Severity.MAJOR)
    actions.regrade(session, incident.id, graver, settings=settings, actor=other, now=now + SOON)
    assert (level(session), incident.kind) == (3, "oil_slick")
    assert facts_of(session, last(session))["before"] == {
        "state": "open", "severity": 1, "graded_severity": 1, "kind": "sewage_outfall",
    }  # fmt: skip
    reversal.undo(session, last(session), settings=settings, actor=other, now=now + SOON)
    assert (level(session), incident.kind) == (1, "sewage_outfall")
    assert letters(session) == [("case", "pending")]


def test_what_was_split_is_one_again(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id, incident = accept(session, river, first, settings, now, judgement=judgement(severity=Severity.MAJOR))
    joined, _ = accept(session, river, first, settings, now + SOON, join_incident_id=incident.id)
    made = actions.split(session, incident.id, [report_id], judgement(), settings=settings, actor=first, now=now + SOON)
    assert (incident.severity, made.severity) == (1, 1)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + 2 * SOON - timedelta(seconds=9))
    assert (state_of(session, "incident", made.id), incident.severity) == ("retracted", 3)
    held = session.execute(text("SELECT report_id FROM incident_report WHERE incident_id = :id"), {"id": incident.id})
    assert set(held.scalars()) == {report_id, joined}
    assert sorted(session.execute(text("SELECT state FROM escalation_case")).scalars()) == ["queued", "withdrawn"]


def test_what_was_joined_is_two_again_and_nobody_hears_of_it(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    _one, into = accept(session, river, first, settings, now)
    _two, gone = accept(session, river, first, settings, now, judgement=judgement(severity=Severity.MAJOR))
    let_letters_go(session, settings, now + SOON)
    actions.absorb(session, into.id, gone.id, settings=settings, actor=first, now=now + LATER)
    assert (into.severity, gone.state) == (3, "merged")
    due = session.execute(text("SELECT max(available_at) FROM outbox WHERE topic = 'escalation.deliver'")).scalar_one()
    assert due == now + LATER + timedelta(seconds=10)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + LATER + SOON)
    assert (into.severity, gone.severity, gone.state, gone.merged_into_id) == (1, 3, "open", None)
    states = session.execute(text("SELECT state FROM escalation_case")).scalars().all()
    assert states == ["delivered", "delivered"]
    says = letters(session)
    assert says.count(("withdrawn", "cancelled")) == 1
    assert ("withdrawn", "pending") not in says


def test_an_author_hears_of_a_judgement_when_it_can_no_longer_be_undone(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    contacts.keep(session, report_id, WANG, settings=settings, now=now)
    service.refuse_report(session, report_id, "unclear", None, settings=settings, actor=first, now=now)
    told = "SELECT topic, available_at FROM outbox WHERE topic LIKE 'reports.%' ORDER BY id"
    assert [tuple(row) for row in session.execute(text(told))] == [("reports.judged", now + timedelta(seconds=10))]
    reversal.reverse(session, last(session), "wrong_refusal", settings=settings, actor=other, now=now + LATER)
    assert [row.topic for row in session.execute(text(told))] == ["reports.judged", "reports.returned"]


def test_every_action_that_can_be_decided_has_an_inverse() -> None:
    from waterwatch.moderation.tables import ACTIONS

    assert set(reversal._INVERSES) == set(ACTIONS) - {"reversed"}


def test_somebody_may_undo_the_last_thing_they_did(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    assert first.id is not None
    report_id, _incident = accept(session, river, first, settings, now)
    found = decisions.undoable_by(session, first.id, settings=settings, now=now + SOON)
    assert found is not None
    assert (found.action, found.report_id, found.reports) == ("accepted", report_id, 1)
    assert decisions.undoable_by(session, first.id, settings=settings, now=now + timedelta(seconds=10)) is None


def test_nobody_is_compared_with_a_slip(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, make_settings: Any, now: datetime
) -> None:
    settings = make_settings(blind_share=1.0)
    accept(session, river, first, settings, now)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now)
    assert count(session, "blind_review") == 0
    accept(session, river, first, settings, now)
    reversal.reverse(session, last(session), "wrong_level", settings=settings, actor=other, now=now)
    assert count(session, "blind_review") == 1


def close_case(session: Session, settings: Settings, now: datetime) -> uuid.UUID:
    """The one case's agency says that it is done, and the public reads it."""
    case_id = uuid.UUID(str(session.execute(text("SELECT id FROM escalation_case")).scalar_one()))
    said = casework.Answer("已清理完毕。")
    officer = Actor.system("tests")
    casework.report_done(
        session,
        case_id,
        said,
        settings=settings.model_copy(update={"answers_are_checked": False}),
        actor=officer,
        now=now,
    )
    session.flush()
    return case_id


def test_a_report_that_joins_what_was_said_to_be_done_reopens_it_and_undoing_closes_it_again(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    _report_id, incident = accept(session, river, first, settings, now)
    let_letters_go(session, settings, now + timedelta(minutes=1))
    case_id = close_case(session, settings, now + timedelta(hours=1))
    assert incident.state == "resolved_claimed"
    at = now + LATER
    further = add_waiting(session, river, now=at)
    command = grading(further, join_incident_id=incident.id)
    service.grade_report(session, command, settings=settings, actor=first, now=at)
    assert (incident.state, state_of(session, "escalation_case", case_id)) == ("reopened", "queued")
    assert letters(session)[-1] == ("reopened", "pending")
    reversal.undo(session, last(session), settings=settings, actor=first, now=at + SOON)
    assert (incident.state, state_of(session, "escalation_case", case_id)) == ("resolved_claimed", "closed")
    assert letters(session)[-1] == ("reopened", "cancelled")


def test_of_an_incident_taken_back_with_its_last_report_nothing_an_agency_wrote_is_left(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id, incident = accept(session, river, first, settings, now)
    let_letters_go(session, settings, now + timedelta(minutes=1))
    close_case(session, settings, now + timedelta(hours=1))
    decision_id = last(session)
    reversal.reverse(session, decision_id, "not_pollution", settings=settings, actor=first, now=now + LATER)
    session.flush()
    assert incident.state == "retracted"
    assert session.execute(text("SELECT words FROM case_answer")).scalar_one() == "已清理完毕。"
    reports.withdraw(session, report_id, now=now + LATER)
    kept = session.execute(text("SELECT words, planned_on, said_by, erased_at FROM case_answer")).one()
    assert tuple(kept) == (None, None, None, now + LATER)
