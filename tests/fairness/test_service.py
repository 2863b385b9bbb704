"""Judged twice, without knowing of each other, changing nothing; and cases to train by."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.moderation.rows import add_moderator, add_river, add_waiting, count, grading, judgement
from waterwatch.fairness import queries, service
from waterwatch.fairness.service import Answer
from waterwatch.incidents.rules import RubricInputs, Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import service as moderation
from waterwatch.reports import service as reports

SEWAGE = RubricInputs("sewage_outfall")
FOREVER = {"since": datetime.fromisoformat("2000-01-01T00:00Z"), "until": datetime.fromisoformat("2100-01-01T00:00Z")}


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(blind_share=1.0)


@pytest.fixture
def river(session: Session) -> uuid.UUID:
    return add_river(session, "长江")


@pytest.fixture
def first(session: Session, now: datetime) -> Actor:
    return add_moderator(session, "first", now=now)


@pytest.fixture
def second(session: Session, now: datetime) -> Actor:
    return add_moderator(session, "second", now=now)


def of(actor: Actor) -> uuid.UUID:
    assert actor.id is not None
    return actor.id


def graded(session: Session, river: uuid.UUID, actor: Actor, settings: Settings, now: datetime) -> uuid.UUID:
    report_id = add_waiting(session, river, now=now)
    moderation.grade_report(session, grading(report_id), settings=settings, actor=actor, now=now)
    return report_id


def test_a_first_grade_is_asked_about_again_with_what_it_was_given_for(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    report_id = graded(session, river, first, settings, now)
    row = session.execute(text("SELECT * FROM blind_review")).one()
    assert (row.report_id, row.first_person, row.first_outcome, row.first_points) == (report_id, first.id, 1, 3)
    assert row.first_inputs == asdict(SEWAGE)
    assert row.rubric_version == "2026-1"


def test_a_refusal_is_asked_about_again_but_not_that_of_a_duplicate(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    for code in ("unclear", "duplicate"):
        report_id = add_waiting(session, river, now=now)
        moderation.refuse_report(session, report_id, code, None, settings=settings, actor=first, now=now)
    row = session.execute(text("SELECT first_outcome, first_inputs, first_points FROM blind_review")).one()
    assert tuple(row) == (0, None, None)


def test_patrols_are_not_and_nothing_is_with_a_share_of_none(
    session: Session,
    river: uuid.UUID,
    first: Actor,
    settings: Settings,
    now: datetime,
    make_settings: Callable[..., Settings],
) -> None:
    patrol = add_waiting(session, river, now=now, kind="all_clear")
    assert not service.maybe_ask_again(session, patrol, of(first), 0, None, settings=settings, now=now)
    graded(session, river, first, make_settings(blind_share=0.0), now)
    assert count(session, "blind_review") == 0


def test_a_report_is_asked_about_once_and_its_first_judgement_stays(
    session: Session, river: uuid.UUID, first: Actor, second: Actor, settings: Settings, now: datetime
) -> None:
    report_id = graded(session, river, first, settings, now)
    assert not service.maybe_ask_again(session, report_id, of(second), 0, None, settings=settings, now=now)
    assert session.execute(text("SELECT first_outcome FROM blind_review")).scalar_one() == 1


def test_the_second_is_never_the_first_and_keeps_it_ten_minutes(
    session: Session, river: uuid.UUID, first: Actor, second: Actor, settings: Settings, now: datetime
) -> None:
    third = add_moderator(session, "third", now=now)
    report_id = graded(session, river, first, settings, now)
    assert service.claim(session, of(first), settings=settings, now=now) is None
    assert queries.waiting_for(session, of(first), now=now) == 0
    assert queries.waiting_for(session, of(second), now=now) == 1
    held = service.claim(session, of(second), settings=settings, now=now)
    assert held is not None
    assert queries.lent_report(session, held, of(second)) == report_id
    assert queries.lent_report(session, held, of(third)) is None
    assert service.claim(session, of(third), settings=settings, now=now + timedelta(minutes=9)) is None
    assert service.claim(session, of(second), settings=settings, now=now + timedelta(minutes=9)) == held
    assert service.claim(session, of(third), settings=settings, now=now + timedelta(minutes=19)) == held


def test_nor_is_it_who_confirmed_the_grade_as_red(
    session: Session, river: uuid.UUID, first: Actor, second: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    red = grading(report_id, judgement=judgement(severity=Severity.ESPECIALLY_MAJOR))
    incident = moderation.grade_report(session, red, settings=settings, actor=first, now=now)
    moderation.second_red(session, incident.id, settings=settings, actor=second, now=now)
    assert service.claim(session, of(second), settings=settings, now=now) is None


def everything(session: Session) -> dict[str, list[tuple[object, ...]]]:
    tables = ("report", "incident", "grade", "advisory", "escalation_case", "review_item", "outbox")
    return {name: [tuple(row) for row in session.execute(text(f"SELECT * FROM {name} ORDER BY 1"))] for name in tables}


def test_a_second_judgement_changes_nothing_else(
    session: Session, river: uuid.UUID, first: Actor, second: Actor, settings: Settings, now: datetime
) -> None:
    graded(session, river, first, settings, now)
    held = service.claim(session, of(second), settings=settings, now=now)
    assert held is not None
    before = everything(session)
    answer = Answer(4, SEWAGE, "排口正对取水口")
    row = service.record_second(session, held, answer, actor=second, now=now + timedelta(minutes=1))
    assert everything(session) == before
    assert (row.second_outcome, row.second_points, row.leased_by) == (4, 3, None)
    (pair,) = queries.pairs(session, **FOREVER)
    assert (pair.first_outcome, pair.second_outcome, pair.kind, pair.month) == (1, 4, "sewage_outfall", "2026-05")
    (act,) = session.execute(text("SELECT * FROM audit_entry WHERE action = 'blind_review.judged'"))
    assert (act.subject_kind, act.after["outcome"]) == ("blind_review", 4)
    with pytest.raises(Conflict) as caught:
        service.record_second(session, held, answer, actor=second, now=now)
    assert caught.value.error_code == "already_judged"


def test_a_second_judgement_is_as_strict_as_a_first_and_only_of_who_holds_it(
    session: Session, river: uuid.UUID, first: Actor, second: Actor, settings: Settings, now: datetime
) -> None:
    graded(session, river, first, settings, now)
    held = service.claim(session, of(second), settings=settings, now=now)
    assert held is not None
    for answer in (Answer(4, SEWAGE), Answer(4, SEWAGE, " "), Answer(2, None), Answer(7, SEWAGE)):
        with pytest.raises(Invalid):
            service.record_second(session, held, answer, actor=second, now=now)
    for who in (first, add_moderator(session, "third", now=now), Actor.system("sweep")):
        with pytest.raises(Conflict):
            service.record_second(session, held, Answer(0, None), actor=who, now=now)
    with pytest.raises(NotFound):
        service.record_second(session, uuid.uuid4(), Answer(0, None), actor=second, now=now)


def test_people_at_once_never_hold_the_same_report(sessions: sessionmaker[Session], settings: Settings) -> None:
    now = datetime.fromisoformat("2026-05-20T02:30:00+00:00")
    with transaction(sessions) as session:
        river, first = add_river(session, "长江"), add_moderator(session, "first", now=now)
        for _ in range(12):
            graded(session, river, first, settings, now)
        people = [add_moderator(session, f"m{number}", now=now) for number in range(6)]
    held: list[uuid.UUID | None] = []
    begin = threading.Barrier(len(people))

    def work(who: Actor) -> None:
        begin.wait()
        for _ in range(2):
            with transaction(sessions) as own:
                found = service.claim(own, of(who), settings=settings, now=now)
            held.append(found)
            if found is not None:
                with transaction(sessions) as own:
                    service.record_second(own, found, Answer(0, None), actor=who, now=now)

    threads = [threading.Thread(target=work, args=(who,)) for who in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in held
    assert len(set(held)) == 12


def refused(session: Session, river: uuid.UUID, actor: Actor, settings: Settings, now: datetime) -> uuid.UUID:
    report_id = add_waiting(session, river, now=now)
    moderation.refuse_report(session, report_id, "unclear", None, settings=settings, actor=actor, now=now)
    return report_id


def test_of_a_report_that_is_erased_nothing_stays(
    session: Session, river: uuid.UUID, first: Actor, second: Actor, settings: Settings, now: datetime
) -> None:
    report_id = refused(session, river, first, settings, now)
    held = service.claim(session, of(second), settings=settings, now=now)
    assert held is not None
    case_id = service.add_case(session, report_id, 2, "看得出是污水", actor=first, now=now)
    service.answer_case(session, case_id, Answer(0, None), actor=second, now=now)
    later = now + timedelta(days=91)
    reports.erase_ended(session, report_id, before=later, actor=Actor.system("sweep"), now=later)
    assert [count(session, name) for name in ("blind_review", "calibration_case", "calibration_answer")] == [0, 0, 0]
    with pytest.raises(NotFound):
        service.record_second(session, held, Answer(0, None), actor=second, now=now)


def test_only_decided_reports_of_pollution_are_to_train_by(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    waiting = add_waiting(session, river, now=now)
    for report_id in (waiting, uuid.uuid4()):
        with pytest.raises(Conflict) as caught:
            service.add_case(session, report_id, 1, "因为", actor=first, now=now)
        assert caught.value.error_code == "not_decided"
    decided = graded(session, river, first, settings, now)
    with pytest.raises(Invalid):
        service.add_case(session, decided, 5, "因为", actor=first, now=now)
    with pytest.raises(Forbidden):
        service.add_case(session, decided, 1, "因为", actor=Actor.system("test"), now=now)


def test_the_first_answer_to_a_case_counts_and_nobody_answers_their_own(
    session: Session, river: uuid.UUID, first: Actor, second: Actor, settings: Settings, now: datetime
) -> None:
    cases = [
        service.add_case(
            session,
            graded(session, river, first, settings, now),
            2,
            "水面发黑",
            actor=first,
            now=now + timedelta(hours=n),
        )
        for n in range(2)
    ]
    assert queries.next_case(session, of(first)) is None
    assert (queries.next_case(session, of(second)), queries.cases_left(session, of(second))) == (cases[0], 2)
    assert service.answer_case(session, cases[0], Answer(1, SEWAGE), actor=second, now=now)
    assert not service.answer_case(session, cases[0], Answer(2, SEWAGE), actor=second, now=now)
    assert (queries.next_case(session, of(second)), queries.cases_left(session, of(second))) == (cases[1], 1)
    assert queries.answers_by_person(session) == {second.id: [(1, 2)]}
    (own,) = queries.answered(session, of(second), cases[0])
    assert (own.outcome, own.reference_outcome, own.points, own.explanation) == (1, 2, 3, "水面发黑")


def test_a_retired_case_is_shown_to_nobody_and_its_answers_stay(
    session: Session, river: uuid.UUID, first: Actor, second: Actor, settings: Settings, now: datetime
) -> None:
    report_id = graded(session, river, first, settings, now)
    case_id = service.add_case(session, report_id, 1, "只有少量", actor=first, now=now)
    service.answer_case(session, case_id, Answer(1, SEWAGE), actor=second, now=now)
    service.retire_case(session, case_id, actor=first, now=now)
    service.retire_case(session, case_id, actor=first, now=now)
    assert queries.case_report(session, case_id) is None
    assert queries.answers_by_person(session) == {second.id: [(1, 1)]}
    third = add_moderator(session, "third", now=now)
    with pytest.raises(NotFound):
        service.answer_case(session, case_id, Answer(1, SEWAGE), actor=third, now=now)
    assert service.add_case(session, report_id, 2, "其实不少", actor=first, now=now) == case_id
    assert queries.next_case(session, of(third)) == case_id
    acts = session.execute(text("SELECT action FROM audit_entry WHERE subject_id = :id ORDER BY id"), {"id": case_id})
    assert acts.scalars().all() == [f"calibration.{act}" for act in ("added", "answered", "retired", "added")]


def test_departures_are_counted_by_who_gave_them_and_which_way(
    session: Session, river: uuid.UUID, first: Actor, second: Actor, settings: Settings, now: datetime
) -> None:
    for actor, severity in ((first, Severity.LARGER), (first, None), (second, Severity.ESPECIALLY_MAJOR)):
        report_id = add_waiting(session, river, now=now)
        command = grading(report_id, judgement=judgement(severity=severity))
        moderation.grade_report(session, command, settings=settings, actor=actor, now=now)
    found = queries.departures(session, **FOREVER)
    mine = found[of(first)]
    assert (mine.graded, mine.higher, mine.lower, mine.differences) == (2, 1, 0, [0, 1])
    assert found[of(second)].differences == [3]
