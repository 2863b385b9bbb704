"""What goes on at the same moment, or in an odd order, or is meant badly: nothing false, lost or told too early."""

import threading
import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.duplicates.rows import add_photo, add_report
from tests.moderation.rows import add_moderator, add_river, add_waiting, count, grading, judgement, state_of
from waterwatch.contacts import service as contacts
from waterwatch.contacts.rules import Contact
from waterwatch.fairness import queries as fairness_queries
from waterwatch.fairness import service as fairness
from waterwatch.incidents import queries as incident_queries
from waterwatch.incidents.rules import Severity
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import actions, batch, decisions, reversal, service
from waterwatch.reports import appeals, corrections, questions
from waterwatch.reports import service as reports
from waterwatch.triage import service as triage
from waterwatch.waters.rules import to_wgs84

SOON = timedelta(seconds=5)
LATER = timedelta(hours=3)
RED = judgement(severity=Severity.ESPECIALLY_MAJOR)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(blind_share=1.0)


def of(actor: Actor) -> uuid.UUID:
    assert actor.id is not None
    return actor.id


def add_lead(session: Session, name: str, now: datetime) -> Actor:
    lead = add_moderator(session, name, now=now)
    session.execute(
        text("""INSERT INTO membership (id, created_at, person_id, role_id, organisation_id)
                SELECT gen_random_uuid(), now(), :person, id, :organisation FROM role
                WHERE permissions ? 'reverse' LIMIT 1"""),
        {"person": lead.id, "organisation": lead.organisation_id},
    )
    return lead


def last(session: Session) -> uuid.UUID:
    statement = text(
        "SELECT id FROM decision WHERE reversed_at IS NULL AND action <> 'reversed' ORDER BY at DESC, id DESC"
    )
    return uuid.UUID(str(session.execute(statement).scalars().first()))


def accept(
    session: Session, river: uuid.UUID, who: Actor, settings: Settings, now: datetime, **changes: Any
) -> tuple[uuid.UUID, Incident]:
    report_id = add_waiting(session, river, now=now, **changes.pop("facts", {}))
    incident = service.grade_report(session, grading(report_id, **changes), settings=settings, actor=who, now=now)
    session.flush()
    return report_id, incident


def test_of_a_report_taken_back_after_its_incident_was_nothing_of_its_place_or_its_grades_stays(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id, incident = accept(session, river, first, settings, now, facts={"at": (114.31, 30.593)})
    opened = last(session)
    words = judgement(severity=Severity.MAJOR)
    actions.regrade(session, incident.id, words, settings=settings, actor=first, now=now + SOON)
    for decision_id in (last(session), opened):
        reversal.reverse(session, decision_id, "not_pollution", settings=settings, actor=other, now=now + LATER)
    before = session.execute(text("SELECT ST_AsText(exact_point) FROM incident")).scalar_one()
    reports.withdraw(session, report_id, now=now + LATER)
    row = session.execute(
        text("""SELECT ST_AsText(exact_point) AS exact, ST_AsText(public_point) AS shown, public_extent, extent_m,
                       ST_Distance(exact_point::geography, f.geom::geography) AS off_m
                FROM incident i JOIN water_feature f ON f.id = i.water_feature_id""")
    ).one()
    assert row.exact != before
    assert (row.exact == row.shown, row.public_extent, row.extent_m) == (True, None, None)
    assert row.off_m < 1
    assert session.execute(text("SELECT count(*) FROM grade")).scalar_one() == 2
    assert session.execute(text("SELECT DISTINCT inputs::text, departure_reason, report_id FROM grade")).all() == [
        ("{}", None, None)
    ]


def test_an_incident_a_report_had_been_split_into_keeps_nothing_of_its_place(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    _kept, incident = accept(session, river, first, settings, now)
    taken, _same = accept(
        session, river, first, settings, now + SOON, join_incident_id=incident.id, facts={"at": (114.31, 30.593)}
    )
    joined = last(session)
    made = actions.split(session, incident.id, [taken], judgement(), settings=settings, actor=first, now=now + 2 * SOON)
    session.flush()
    where = "SELECT ST_AsText(exact_point) FROM incident WHERE id = :id"
    before = session.execute(text(where), {"id": made.id}).scalar_one()
    for decision_id in (last(session), joined):
        reversal.reverse(session, decision_id, "wrong_incident", settings=settings, actor=other, now=now + LATER)
    stays = session.execute(text(where), {"id": incident.id}).scalar_one()
    reports.withdraw(session, taken, now=now + LATER)
    assert session.execute(text(where), {"id": made.id}).scalar_one() != before
    assert session.execute(text(where), {"id": incident.id}).scalar_one() == stays


def test_a_judgement_that_was_undone_does_not_tell_of_the_next_before_that_may_be_undone_no_more(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    contacts.keep(
        session, report_id, Contact("wang@example.org", None, by_mail=True, may_ask=False), settings=settings, now=now
    )
    service.grade_report(session, grading(report_id), settings=settings, actor=first, now=now)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)
    service.refuse_report(session, report_id, "unclear", None, settings=settings, actor=first, now=now + SOON)
    session.flush()
    told = session.execute(
        text("SELECT payload->>'since', available_at FROM outbox WHERE topic = 'reports.judged' ORDER BY available_at")
    ).all()
    since = session.execute(text("SELECT state_since FROM report")).scalar_one()
    assert [(datetime.fromisoformat(one) == since, at) for one, at in told] == [
        (False, now + timedelta(seconds=10)),
        (True, now + SOON + timedelta(seconds=10)),
    ]


def test_what_was_handed_to_the_lead_stays_theirs_when_they_ask_and_when_they_undo(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    lead = add_lead(session, "lead", now)
    report_id = add_waiting(session, river, now=now)
    aside = text("SELECT set_aside FROM review_item WHERE report_id = :id")
    actions.hand_to_lead(session, report_id, "threat", settings=settings, actor=first, now=now)

    def is_leads() -> bool:
        session.flush()
        assert session.execute(aside, {"id": report_id}).scalar_one() == "lead"
        return triage.claim_next(session, of(first), settings=settings, now=now) is None

    actions.ask(session, report_id, "still_there", None, settings=settings, actor=lead, now=now + SOON)
    assert is_leads()
    assert not triage.hold(session, report_id, of(first), settings=settings, now=now + SOON)
    reversal.undo(session, last(session), settings=settings, actor=lead, now=now + SOON)
    assert is_leads()
    actions.ask(session, report_id, "still_there", None, settings=settings, actor=lead, now=now + SOON)
    questions.answer(session, report_id, "在的", now=now + SOON)
    triage.put_back_if(session, report_id, "question")
    assert is_leads()
    service.refuse_report(session, report_id, "unclear", None, settings=settings, actor=lead, now=now + 2 * SOON)
    reversal.undo(session, last(session), settings=settings, actor=lead, now=now + 2 * SOON)
    assert is_leads()
    actions.take_from_lead(session, report_id, actor=lead, now=now + 3 * SOON)
    assert triage.claim_next(session, of(first), settings=settings, now=now + 3 * SOON) == report_id


def test_whoever_judged_a_report_after_its_first_judge_is_not_asked_to_judge_it_blind(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    third = add_moderator(session, "third", now=now)
    report_id = add_waiting(session, river, now=now)
    service.refuse_report(session, report_id, "unclear", None, settings=settings, actor=first, now=now)
    appeals.appeal(session, report_id, "看得很清楚", settings=settings, now=now + SOON)
    service.grade_report(session, grading(report_id), settings=settings, actor=other, now=now + SOON)
    for who, waits in ((first, 0), (other, 0), (third, 1)):
        assert fairness_queries.waiting_for(session, of(who), now=now) == waits
        assert (fairness.claim(session, of(who), settings=settings, now=now) is not None) == bool(waits)


def test_a_slip_that_was_undone_is_no_judgement_to_compare_nor_a_departure(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id, _incident = accept(session, river, first, settings, now, judgement=RED)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)
    assert count(session, "blind_review") == 0
    service.grade_report(session, grading(report_id), settings=settings, actor=first, now=now + SOON)
    assert session.execute(text("SELECT first_outcome FROM blind_review")).scalar_one() == 1
    found = fairness_queries.departures(session, since=now, until=now + LATER)
    assert found[of(first)].by_levels == {0: 1}


def test_a_regrade_undone_gives_the_incident_the_kind_it_had(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    _report, incident = accept(session, river, first, settings, now)
    accept(session, river, first, settings, now + SOON, judgement=judgement("foam"), join_incident_id=incident.id)
    actions.regrade(session, incident.id, judgement("oil_slick"), settings=settings, actor=first, now=now + SOON)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + SOON)
    assert incident.kind == "sewage_outfall"


def test_a_batch_weighs_place_and_readings_before_it_calls_a_report_no_graver(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    _report, incident = accept(session, river, first, settings, now)
    heavy = add_waiting(session, river, now=now, do_mg_l=0.1)
    plain = add_waiting(session, river, now=now)
    command = batch.Batch("join", (heavy, plain), incident_code=incident.code)
    found = batch.plan(session, command, actor=first, now=now)
    assert {line.report_id: line.obstacle for line in found.lines} == {heavy: "graver", plain: None}


def test_any_day_can_be_looked_up(session: Session, first: Actor) -> None:
    for day in (date.min, date.max):
        assert decisions.decisions_on_record(session, decisions.Wanted(day=day)) == []


def test_the_public_is_not_told_of_a_confirmation_that_was_undone(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    _report, incident = accept(session, river, first, settings, now)
    for number in range(3):
        accept(session, river, first, settings, now + number * SOON, join_incident_id=incident.id)
        if number != 1:
            reversal.undo(session, last(session), settings=settings, actor=first, now=now + number * SOON)
    session.flush()
    told = incident_queries.timeline(session, incident.id)
    assert [(event.code, event.times) for event in told] == [("opened", 1), ("confirmed", 1)]


def test_what_an_author_corrects_makes_the_report_urgent_at_once(
    session: Session, river: uuid.UUID, settings: Settings, now: datetime
) -> None:
    report_id = add_report(session, river, now=now, photos=[add_photo(session, now=now)])
    said = corrections.answers_of(session, report_id) | {"dead_animals": "yes"}
    corrections.restate(
        session, report_id, said, settings=settings, language="zh-Hans", to_wgs84=to_wgs84, now=now + SOON
    )
    ordered = text("SELECT count(*) FROM outbox WHERE topic = :topic")
    assert session.execute(ordered, {"topic": reports.TOPIC_RESNAP}).scalar_one() == 1  # its job weighs it anew


def test_a_letter_that_waits_does_not_tell_a_higher_level_before_that_can_be_undone_no_more(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    _report, incident = accept(session, river, first, settings, now)
    due = text("SELECT available_at FROM outbox WHERE topic = 'escalation.deliver'")
    assert session.execute(due).scalar_one() == now + timedelta(seconds=10)
    graver = judgement(severity=Severity.MAJOR)
    accept(session, river, other, settings, now + SOON, judgement=graver, join_incident_id=incident.id)
    assert session.execute(due).scalar_one() == now + SOON + timedelta(seconds=10)


def test_a_lead_does_not_reverse_what_was_decided_on_an_appeal_against_them(
    session: Session, river: uuid.UUID, first: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    service.refuse_report(session, report_id, "unclear", None, settings=settings, actor=first, now=now)
    appeals.appeal(session, report_id, "看得很清楚", settings=settings, now=now + LATER)
    service.grade_report(session, grading(report_id), settings=settings, actor=other, now=now + LATER)
    decision_id = last(session)
    for who in (first, other):
        if who is first:
            with pytest.raises(Conflict, match="appealed_against_you"):
                reversal.reverse(
                    session, decision_id, "not_pollution", settings=settings, actor=who, now=now + 2 * LATER
                )
        else:
            reversal.reverse(session, decision_id, "not_pollution", settings=settings, actor=who, now=now + 2 * LATER)
    assert state_of(session, "report", report_id) == "in_review"


def at_once(*works: Callable[[], object]) -> list[BaseException]:
    faults: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return faults


def test_a_question_that_lapses_while_its_report_is_judged_waits_for_no_one_who_waits_for_it(
    sessions: sessionmaker[Session], settings: Settings
) -> None:
    now = utc_now()
    with transaction(sessions) as session:
        first = add_moderator(session, "first", now=now)
        report_id = add_waiting(session, add_river(session, "长江"), now=now)
        question_id = actions.ask(session, report_id, "still_there", None, settings=settings, actor=first, now=now)
    later = now + timedelta(days=30)
    has_report, lapsing = threading.Event(), threading.Event()

    def judge() -> None:
        with transaction(sessions) as session:
            triage.hold(session, report_id, of(first), settings=settings, now=later)
            session.execute(text("SELECT FROM report WHERE id = :id FOR UPDATE"), {"id": report_id})
            has_report.set()
            lapsing.wait(1)
            service.refuse_report(session, report_id, "unclear", None, settings=settings, actor=first, now=later)

    def lapse() -> None:
        has_report.wait(5)
        threading.Timer(0.5, lapsing.set).start()
        with transaction(sessions) as session:
            actions.lapse_question(session, question_id, now=later)

    assert at_once(judge, lapse) == []
    with transaction(sessions) as session:
        assert state_of(session, "report", report_id) == "refused"
        assert state_of(session, "question", question_id) == "lapsed"


def test_a_batch_waits_for_no_one_who_waits_for_it(sessions: sessionmaker[Session], settings: Settings) -> None:
    now = utc_now()
    with transaction(sessions) as session:
        river = add_river(session, "长江")
        first, other = (add_moderator(session, name, now=now) for name in ("first", "other"))
        _report, incident = accept(session, river, first, settings, now)
        code, incident_id = incident.code, incident.id
        chosen = sorted(add_waiting(session, river, now=now) for _ in range(2))
    has_report, batch_waits = threading.Event(), threading.Event()

    def judge() -> None:
        with transaction(sessions) as session:
            session.execute(text("SELECT FROM report WHERE id = :id FOR UPDATE"), {"id": chosen[1]})
            has_report.set()
            batch_waits.wait(1)
            command = grading(chosen[1], join_incident_id=incident_id)
            service.grade_report(session, command, settings=settings, actor=other, now=now)

    def join() -> None:
        has_report.wait(5)
        threading.Timer(0.5, batch_waits.set).start()
        command = batch.Batch("join", tuple(chosen), incident_code=code)
        with transaction(sessions) as session, pytest.raises(Conflict, match="batch_changed"):
            batch.carry_out(session, command, dict.fromkeys(chosen, 1), settings=settings, actor=first, now=now)

    assert at_once(judge, join) == []
    with transaction(sessions) as session:
        assert [state_of(session, "report", one) for one in chosen] == ["in_review", "merged"]
