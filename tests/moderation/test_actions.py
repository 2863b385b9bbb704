"""Asking, appealing, handing on, many at once: what each does, and what it must not."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import insert
from tests.moderation.rows import (
    ORGANISATION,
    add_moderator,
    add_waiting,
    count,
    grading,
    judgement,
    state_of,
)
from tests.reports.rows import acts_on
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import actions, batch, reversal, service
from waterwatch.moderation.batch import Batch
from waterwatch.reports import appeals, questions
from waterwatch.reports import service as reports
from waterwatch.triage import service as triage

HOUR = timedelta(hours=1)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(blind_share=0)


@pytest.fixture
def lead(session: Session, now: datetime) -> Actor:
    made = add_moderator(session, "lead", now=now)
    role_id = session.execute(text("SELECT id FROM role WHERE name = 'lead_moderator'")).scalar_one()
    insert(session, "membership", person_id=made.id, organisation_id=ORGANISATION, role_id=role_id, created_at=now)
    return made


def claim(session: Session, who: Actor, settings: Settings, now: datetime) -> uuid.UUID | None:
    assert who.id is not None
    return triage.claim_next(session, who.id, settings=settings, now=now)


def test_a_report_waits_aside_while_its_author_is_asked_and_comes_back_with_the_answer(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    actions.ask(session, report_id, "where_exactly", "在桥的哪一侧？", settings=settings, actor=first, now=now)
    assert claim(session, other, settings, now) is None
    with pytest.raises(Conflict, match="question_open"):
        actions.ask(session, report_id, "still_there", None, settings=settings, actor=first, now=now)
    questions.answer(session, report_id, "东侧", now=now + HOUR)
    assert triage.put_back_if(session, report_id, "question")
    assert claim(session, other, settings, now + HOUR) == report_id
    (asked,) = questions.questions_of(session, report_id)
    assert (asked.state, asked.words, asked.answer) == ("answered", "在桥的哪一侧？", "东侧")
    assert acts_on(session, report_id) == ["report.asked", "report.answered"]
    kept = str(session.execute(text("SELECT array_agg(after::text) FROM audit_entry")).scalar_one())
    assert "桥" not in kept
    assert "东侧" not in kept


def test_a_question_nobody_answers_ends_after_its_time(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    question_id = actions.ask(session, report_id, "still_there", None, settings=settings, actor=first, now=now)
    assert not actions.lapse_question(session, question_id, now=now + 47 * HOUR)
    assert actions.lapse_question(session, question_id, now=now + 49 * HOUR)
    assert not actions.lapse_question(session, question_id, now=now + 49 * HOUR)
    assert claim(session, other, settings, now + 49 * HOUR) == report_id
    with pytest.raises(Conflict, match="no_question"):
        questions.answer(session, report_id, "在", now=now + 50 * HOUR)


def test_a_question_is_none_any_more_once_the_report_is_judged(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    actions.ask(session, report_id, "still_there", None, settings=settings, actor=first, now=now)
    service.grade_report(session, grading(report_id), settings=settings, actor=first, now=now)
    assert count(session, "question", "state = 'open'") == 0
    with pytest.raises(Conflict, match="not_in_review"):
        questions.answer(session, report_id, "在", now=now)


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({}, {"code": ["missing"]}),
        ({"code": "who_are_you"}, {"code": ["choice_unknown"]}),
        ({"code": "other"}, {"words": ["missing"]}),
        ({"code": "still_there", "words": "很" * 301}, {"words": ["too_long"]}),
        ({"code": "other", "words": "\u200b\x00 "}, {"words": ["missing"]}),
    ],
)
def test_a_faulty_question_is_told_with_every_fault(fields: dict[str, str], errors: dict[str, list[str]]) -> None:
    with pytest.raises(Invalid) as caught:
        questions.parse_question(fields)
    assert caught.value.errors == errors


def refused(session: Session, river: uuid.UUID, who: Actor, settings: Settings, now: datetime) -> uuid.UUID:
    report_id = add_waiting(session, river, now=now)
    service.refuse_report(session, report_id, "unclear", "再拍一张", settings=settings, actor=who, now=now)
    session.flush()
    return report_id


def appeal(session: Session, report_id: uuid.UUID, settings: Settings, now: datetime) -> None:
    against = appeals.appeal(session, report_id, "水是黑的", settings=settings, now=now)
    triage.keep_from(session, report_id, against)


def test_an_appeal_goes_to_somebody_else_even_after_their_decision_is_reversed(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = refused(session, river, first, settings, now)
    appeal(session, report_id, settings, now + HOUR)
    assert state_of(session, "report", report_id) == "in_review"
    seen = appeals.appeal_of(session, report_id)
    assert seen is not None
    assert (seen.words, seen.refusal_code, seen.refusal_words) == ("水是黑的", "unclear", "再拍一张")
    assert claim(session, first, settings, now + HOUR) is None
    with pytest.raises(Conflict, match="lease_lost"):
        service.grade_report(session, grading(report_id), settings=settings, actor=first, now=now + HOUR)
    service.grade_report(session, grading(report_id), settings=settings, actor=other, now=now + HOUR)
    decision_id = session.execute(text("SELECT id FROM decision WHERE action = 'accepted'")).scalar_one()
    reversal.undo(session, decision_id, settings=settings, actor=other, now=now + HOUR)
    assert claim(session, first, settings, now + HOUR) is None
    assert claim(session, other, settings, now + HOUR) == report_id


def test_an_appeal_is_made_once_and_only_against_a_person(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = refused(session, river, first, settings, now)
    appeal(session, report_id, settings, now)
    service.refuse_report(session, report_id, "unclear", None, settings=settings, actor=other, now=now)
    with pytest.raises(Conflict, match="appealed_before"):
        appeals.appeal(session, report_id, "还是黑的", settings=settings, now=now)
    by_machine = add_waiting(session, river, now=now, state="refused", refusal_code="photo_unusable")
    with pytest.raises(Conflict, match="not_refused"):
        appeals.appeal(session, by_machine, "能看", settings=settings, now=now)
    accepted = add_waiting(session, river, now=now)
    service.grade_report(session, grading(accepted), settings=settings, actor=first, now=now)
    with pytest.raises(Conflict, match="not_refused"):
        appeals.appeal(session, accepted, "更严重", settings=settings, now=now)


def test_an_appeal_ends_with_what_the_report_said(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = refused(session, river, first, settings, now)
    appeal(session, report_id, settings, now)
    service.refuse_report(session, report_id, "unclear", None, settings=settings, actor=other, now=now)
    later = now + timedelta(days=100)
    reports.erase_ended(session, report_id, before=later, actor=Actor.system("sweep"), now=later)
    assert count(session, "appeal") == 0
    with pytest.raises(Conflict, match="erased"):
        appeals.appeal(session, report_id, "还在", settings=settings, now=later)


def test_only_a_lead_decides_on_what_was_handed_to_them(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, lead: Actor, settings: Settings, now: datetime
) -> None:
    one, two = (add_waiting(session, river, now=now) for _ in range(2))
    for report_id in (one, two):
        actions.hand_to_lead(session, report_id, "threat", settings=settings, actor=first, now=now)
    assert claim(session, other, settings, now) is None
    with pytest.raises(Conflict, match="lease_lost"):
        service.refuse_report(session, one, "unclear", None, settings=settings, actor=other, now=now)
    service.refuse_report(session, one, "unclear", None, settings=settings, actor=lead, now=now)
    actions.take_from_lead(session, two, actor=lead, now=now)
    assert claim(session, other, settings, now) == two
    with pytest.raises(Invalid):
        actions.hand_to_lead(session, two, "boredom", settings=settings, actor=other, now=now)


def test_a_batch_lists_what_happens_to_each_and_what_keeps_the_others(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    opened = add_waiting(session, river, now=now)
    incident = service.grade_report(session, grading(opened), settings=settings, actor=first, now=now)
    session.flush()
    plain = add_waiting(session, river, now=now, kind="foam")
    graver = add_waiting(session, river, now=now, kind="fish_kill", has_dead_animals=True)
    patrol = add_waiting(session, river, now=now, kind="all_clear")
    nowhere = add_waiting(session, None, now=now)
    held = add_waiting(session, river, now=now)
    assert other.id is not None
    triage.hold(session, held, other.id, settings=settings, now=now)
    wanted = Batch("join", (opened, plain, graver, patrol, nowhere, held), ("2222-2222",), None, None, incident.code)
    plan = batch.plan(session, wanted, actor=first, now=now)
    assert {line.report_id: line.obstacle for line in plan.lines} == {
        opened: "not_in_review",
        plain: None,
        graver: "graver",
        patrol: "is_patrol",
        nowhere: "water_unknown",
        held: "held_by_other",
    }
    assert plan.unknown == ("2222-2222",)
    _id, done = batch.carry_out(session, wanted, {plain: 1}, settings=settings, actor=first, now=now)
    assert done == 1
    assert state_of(session, "report", plain) == "merged"
    assert state_of(session, "report", graver) == "in_review"


def test_a_batch_is_undone_as_one(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    ids = [add_waiting(session, river, now=now) for _ in range(20)]
    wanted = Batch("refuse", tuple(ids), (), "advertisement", "这里不收广告")
    listed = dict.fromkeys(ids, 1)
    batch_id, done = batch.carry_out(session, wanted, listed, settings=settings, actor=first, now=now)
    assert (done, count(session, "report", "state = 'refused'")) == (20, 20)
    assert count(session, "audit_entry", "action = 'report.refused'") == 20
    assert count(session, "decision", f"batch_id = '{batch_id}'") == 20
    any_of_it = session.execute(text("SELECT id FROM decision LIMIT 1")).scalar_one()
    undone = reversal.undo(session, any_of_it, settings=settings, actor=first, now=now + timedelta(seconds=9))
    assert (len(undone), count(session, "report", "state = 'in_review'")) == (20, 20)


def test_a_batch_whose_list_is_out_of_date_does_nothing(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    ids = [add_waiting(session, river, now=now) for _ in range(3)]
    wanted = Batch("refuse", tuple(ids), (), "advertisement")
    service.refuse_report(session, ids[0], "unclear", None, settings=settings, actor=other, now=now)
    with pytest.raises(Conflict, match="batch_changed"):
        batch.carry_out(session, wanted, dict.fromkeys(ids, 1), settings=settings, actor=first, now=now)
    changed = {ids[1]: 2, ids[2]: 1}  # its author has corrected it since it was listed
    with pytest.raises(Conflict, match="batch_changed"):
        batch.carry_out(session, wanted, changed, settings=settings, actor=first, now=now)
    assert count(session, "report", "state = 'in_review'") == 2


def test_a_batch_joins_no_incident_that_is_over(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    with pytest.raises(Invalid) as caught:
        batch.plan(session, Batch("join", (report_id,), (), None, None, "2222-2222"), actor=first, now=now)
    assert caught.value.errors == {"incident": ["incident_unknown"]}


def test_a_red_that_waits_for_too_long_is_known(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    from waterwatch.moderation import queries
    from workers import deadlines

    report_id = add_waiting(session, river, now=now)
    red = grading(report_id, judgement=judgement(severity=Severity.ESPECIALLY_MAJOR))
    incident = service.grade_report(session, red, settings=settings, actor=first, now=now)
    session.flush()
    early, late = (queries.reds_waiting(session, now=now + timedelta(minutes=minutes)) for minutes in (29, 31))
    assert (early[incident.id].is_overdue, late[incident.id].is_overdue) == (False, True)
    key = ("incident", "awaiting_second")
    assert key not in deadlines.overdue(session, now=now + timedelta(minutes=29))
    assert deadlines.overdue(session, now=now + timedelta(minutes=31))[key] == 1
