"""The desk's decisions: who holds what, and one transaction from a judgement to map, cases and citizen."""

import threading
import uuid
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_agency
from tests.moderation.rows import (
    add_moderator,
    add_river,
    add_waiting,
    count,
    grading,
    judgement,
    state_of,
)
from waterwatch.contacts import service as contacts
from waterwatch.contacts.rules import Contact
from waterwatch.incidents.rules import Severity
from waterwatch.incidents.service import Judgement
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, DomainError, Forbidden, Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import service
from waterwatch.reports import service as reports
from waterwatch.triage import queries
from waterwatch.triage import service as triage

WANG = Contact("wang@example.org", "138 0013 8000", by_mail=True, may_ask=False)
NOBODY = uuid.UUID(int=7)


@pytest.fixture
def settings(make_settings) -> Settings:  # type: ignore[no-untyped-def]
    return make_settings()  # type: ignore[no-any-return]


@pytest.fixture
def river(session: Session) -> uuid.UUID:
    return add_river(session, "长江")


@pytest.fixture
def moderator(session: Session, now: datetime) -> Actor:
    return add_moderator(session, "first", now=now)


@pytest.fixture
def other(session: Session, now: datetime) -> Actor:
    return add_moderator(session, "other", now=now)


def claim(session: Session, who: Actor, settings: Settings, now: datetime) -> uuid.UUID | None:
    assert who.id is not None
    return triage.claim_next(session, who.id, settings=settings, now=now)


def trace(session: Session) -> dict[str, int]:
    """Everything a decision could write."""
    names = ("incident", "incident_report", "grade", "advisory", "escalation_case", "delivery", "outbox", "audit_entry")
    return {name: count(session, name) for name in names}


def test_the_most_urgent_is_handed_out_first_then_the_oldest(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    young = add_waiting(session, river, now=now, minutes_old=1)
    old = add_waiting(session, river, now=now, minutes_old=60)
    urgent = add_waiting(session, river, now=now, has_dead_animals=True)
    people = [add_moderator(session, f"m{n}", now=now) for n in range(3)]
    assert [claim(session, who, settings, now) for who in people] == [urgent, old, young]
    assert claim(session, moderator, settings, now) is None
    shown = queries.waiting(session, NOBODY, now=now)
    assert [row.report_id for row in shown] == [urgent, old, young]
    summary = queries.queue_summary(session, now=now)
    assert (summary.waiting, summary.held) == (3, 3)
    assert summary.oldest_received_at == now - timedelta(minutes=60)


def test_a_report_is_held_by_one_until_its_time_is_over_or_it_is_put_back(
    session: Session, river: uuid.UUID, moderator: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    assert claim(session, moderator, settings, now) == report_id
    assert claim(session, other, settings, now) is None
    with pytest.raises(Conflict) as caught:
        service.grade_report(session, grading(report_id), settings=settings, actor=other, now=now)
    assert caught.value.error_code == "lease_lost"
    later = now + timedelta(seconds=settings.review_lease_s)
    assert claim(session, other, settings, later) == report_id
    assert other.id is not None
    triage.release(session, report_id, other.id)
    assert claim(session, moderator, settings, later) == report_id


def test_nobody_puts_back_what_another_holds(
    session: Session, river: uuid.UUID, moderator: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    assert claim(session, moderator, settings, now) == report_id
    assert other.id is not None
    triage.release(session, report_id, other.id)
    assert claim(session, other, settings, now) is None


def test_moderators_at_once_never_get_the_same_report(sessions: sessionmaker[Session], settings: Settings) -> None:
    now = datetime.fromisoformat("2026-05-20T02:30:00+00:00")
    with transaction(sessions) as session:
        river = add_river(session, "长江")
        reports = {add_waiting(session, river, now=now) for _ in range(12)}
        people = [add_moderator(session, f"m{n}", now=now) for n in range(6)]
    got: list[uuid.UUID | None] = []
    begin = threading.Barrier(len(people))

    def work(who: Actor) -> None:
        begin.wait()
        for _ in range(2):
            with transaction(sessions) as own:
                found = claim(own, who, settings, now)
            with transaction(sessions) as own:
                if found is not None:
                    service.grade_report(own, grading(found), settings=settings, actor=who, now=now)
            got.append(found)

    threads = [threading.Thread(target=work, args=(who,)) for who in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(got) == reports
    assert len(got) == len(reports)


def test_accepting_is_one_step_of_everything(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    add_agency(session, "武汉市水务局", ["shuiwu@wuhan.example"])
    report_id = add_waiting(session, river, now=now, note="我住在三号楼")
    contacts.keep(session, report_id, WANG, settings=settings, now=now)
    incident = service.grade_report(
        session,
        grading(report_id, judgement=judgement("sewage_outfall", Severity.MAJOR)),
        settings=settings,
        actor=moderator,
        now=now,
    )
    session.flush()
    assert state_of(session, "report", report_id) == "accepted"
    assert (incident.severity, incident.water_feature_id) == (3, river)
    assert session.execute(text("SELECT level FROM advisory WHERE water_feature_id = :id"), {"id": river}).scalar() == 3
    assert count(session, "escalation_case") == 1
    topics = session.execute(text("SELECT topic FROM outbox ORDER BY topic")).scalars().all()
    assert topics == [
        "advisories.changed", "advisories.forecast", "contacts.given", "escalation.deliver", "mapping.publish",
        "reports.judged",
    ]  # fmt: skip
    assert count(session, "review_item", "leased_by IS NOT NULL") == 0
    acts = session.execute(text("SELECT action FROM audit_entry ORDER BY id")).scalars().all()
    assert sorted(acts) == ["advisory.changed", "case.opened", "contact.kept", "incident.opened", "report.accepted"]
    written = session.execute(text("SELECT string_agg(a::text, ' ') FROM audit_entry a")).scalar_one()
    for secret in ("三号楼", "wang@example.org", "first@example.org", "shuiwu", "114.3", "30.59"):
        assert secret not in written


@pytest.mark.parametrize("broken", ["escalation_case", "advisory", "outbox", "grade"])
def test_what_fails_half_way_leaves_nothing(sessions: sessionmaker[Session], settings: Settings, broken: str) -> None:
    """Whatever table refuses the row, the report still waits and nothing was opened."""
    now = datetime.fromisoformat("2026-05-20T02:30:00+00:00")
    with transaction(sessions) as session:
        river = add_river(session, "长江")
        add_agency(session, "武汉市水务局", ["shuiwu@wuhan.example"])
        report_id = add_waiting(session, river, now=now)
        moderator = add_moderator(session, "first", now=now)
    with transaction(sessions) as session:
        before = trace(session)

    def grade_into_a_table_that_refuses() -> None:
        with transaction(sessions) as session:
            session.execute(text("SET LOCAL ROLE NONE"))
            session.execute(
                text(f"""CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS
                         $$ BEGIN RAISE EXCEPTION 'the disk is full'; END $$;
                         CREATE TRIGGER refuse BEFORE INSERT ON {broken} EXECUTE FUNCTION pg_temp.refuse()""")
            )
            service.grade_report(session, grading(report_id), settings=settings, actor=moderator, now=now)

    with pytest.raises(SQLAlchemyError, match="full"):
        grade_into_a_table_that_refuses()
    with transaction(sessions) as session:
        assert trace(session) == before
        assert state_of(session, "report", report_id) == "in_review"


def test_a_decision_sent_twice_counts_once_and_says_so(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    service.grade_report(session, grading(report_id), settings=settings, actor=moderator, now=now)
    session.flush()
    before = trace(session)
    for again in (
        lambda: service.grade_report(session, grading(report_id), settings=settings, actor=moderator, now=now),
        lambda: service.refuse_report(
            session, report_id, "advertisement", None, settings=settings, actor=moderator, now=now
        ),
    ):
        with pytest.raises(Conflict) as caught:
            again()
        assert caught.value.error_code == "not_in_review"
    assert trace(session) == before


@pytest.mark.parametrize("state", ["received", "sanitising", "accepted", "merged", "withdrawn"])
def test_only_what_is_in_review_is_decided(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime, state: str
) -> None:
    report_id = add_waiting(session, river, now=now, state=state)
    before = trace(session)
    with pytest.raises(Conflict):
        service.grade_report(session, grading(report_id), settings=settings, actor=moderator, now=now)
    assert claim(session, moderator, settings, now) is None
    assert trace(session) == before


def test_whoever_decides_on_what_was_just_taken_back_is_told_that_it_is_over(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    reports.withdraw(session, report_id, now=now)
    with pytest.raises(Conflict) as caught:
        service.grade_report(session, grading(report_id), settings=settings, actor=moderator, now=now)
    assert caught.value.error_code == "not_in_review"


def test_a_report_that_does_not_exist_is_not_found(
    session: Session, moderator: Actor, settings: Settings, now: datetime
) -> None:
    with pytest.raises(NotFound):
        service.grade_report(session, grading(NOBODY), settings=settings, actor=moderator, now=now)
    with pytest.raises(NotFound):
        service.refuse_report(session, NOBODY, "advertisement", None, settings=settings, actor=moderator, now=now)


def test_without_a_water_nothing_is_accepted(
    session: Session, moderator: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, None, now=now)
    with pytest.raises(Invalid) as caught:
        service.grade_report(session, grading(report_id), settings=settings, actor=moderator, now=now)
    assert caught.value.errors == {"water_feature_id": ["water_unknown"]}
    command = grading(report_id, water_feature_id=NOBODY)
    with pytest.raises(DomainError):
        service.grade_report(session, command, settings=settings, actor=moderator, now=now)


def test_the_moderator_corrects_the_water(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    right = add_river(session, "汉江", lat=30.60)
    report_id = add_waiting(session, river, now=now)
    command = grading(report_id, water_feature_id=right)
    assert service.grade_report(session, command, settings=settings, actor=moderator, now=now).water_feature_id == right
    assert count(session, "advisory", f"water_feature_id = '{river}'") == 0


def test_a_second_report_joins_an_incident_and_confirms_it(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    first, second = (add_waiting(session, river, now=now) for _ in range(2))
    incident = service.grade_report(session, grading(first), settings=settings, actor=moderator, now=now)
    later = now + timedelta(days=2)
    joined = service.grade_report(
        session, grading(second, join_incident_id=incident.id), settings=settings, actor=moderator, now=later
    )
    session.flush()
    assert joined.id == incident.id
    assert (state_of(session, "report", second), joined.last_confirmed_at) == ("merged", later)
    assert (count(session, "incident"), count(session, "grade"), count(session, "escalation_case")) == (1, 2, 1)


def light(severity: Severity) -> Judgement:
    """A grade of floating garbage, which the rubric calls blue, with a reason where it is called more."""
    return replace(judgement("floating_garbage", severity), departure_reason="现场看过")


def test_a_graver_report_raises_the_incident_that_it_joins(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    first, second, third = (add_waiting(session, river, now=now) for _ in range(3))
    blue, yellow = grading(first, judgement=light(Severity.GENERAL)), grading(second, judgement=light(Severity.LARGER))
    incident = service.grade_report(session, blue, settings=settings, actor=moderator, now=now)
    assert incident.severity == Severity.GENERAL
    joining = replace(yellow, join_incident_id=incident.id)
    raised = service.grade_report(session, joining, settings=settings, actor=moderator, now=now)
    assert (raised.severity, raised.graded_severity) == (Severity.LARGER, Severity.LARGER)
    assert session.execute(text("SELECT level FROM advisory")).scalar_one() == Severity.LARGER
    assert session.execute(text("SELECT severity FROM escalation_case")).scalars().all() == [Severity.LARGER]
    lighter = grading(third, judgement=light(Severity.GENERAL), join_incident_id=incident.id)
    assert service.grade_report(session, lighter, settings=settings, actor=moderator, now=now).severity == 2
    reasons = session.execute(text("SELECT departure_reason FROM grade ORDER BY graded_at, id")).scalars().all()
    assert reasons == [None, "现场看过", None]


def test_a_red_grade_of_a_joining_report_takes_a_second_moderator_too(
    session: Session, river: uuid.UUID, moderator: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    first, second, third = (add_waiting(session, river, now=now) for _ in range(3))
    opening = grading(first, judgement=light(Severity.GENERAL))
    incident = service.grade_report(session, opening, settings=settings, actor=moderator, now=now)
    red = grading(second, judgement=light(Severity.ESPECIALLY_MAJOR), join_incident_id=incident.id)
    service.grade_report(session, red, settings=settings, actor=moderator, now=now)
    assert (incident.severity, incident.graded_severity) == (3, 4)
    also_red = grading(third, judgement=light(Severity.ESPECIALLY_MAJOR), join_incident_id=incident.id)
    service.grade_report(session, also_red, settings=settings, actor=other, now=now)
    assert (incident.severity, incident.graded_severity) == (4, 4)


def test_refusing_needs_a_reason_of_the_list_and_keeps_the_words_for_the_author(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    contacts.keep(session, report_id, WANG, settings=settings, now=now)
    with pytest.raises(Invalid):
        service.refuse_report(session, report_id, "because", None, settings=settings, actor=moderator, now=now)
    words = "照片太暗，请白天再拍一张"
    service.refuse_report(session, report_id, "advertisement", words, settings=settings, actor=moderator, now=now)
    row = session.execute(
        text("SELECT state, refusal_code, refusal_words FROM report WHERE id = :id"), {"id": report_id}
    )
    assert row.one() == ("refused", "advertisement", words)
    assert words not in session.execute(text("SELECT string_agg(a::text, ' ') FROM audit_entry a")).scalar_one()
    topics = session.execute(text("SELECT topic FROM outbox ORDER BY topic")).scalars().all()
    assert topics == ["contacts.given", "reports.judged"]


def test_nobody_is_told_who_left_no_way_to_tell_them(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    service.refuse_report(session, report_id, "advertisement", None, settings=settings, actor=moderator, now=now)
    assert session.execute(text("SELECT topic FROM outbox")).scalars().all() == []


def test_red_stands_as_orange_until_another_moderator_agrees(
    session: Session, river: uuid.UUID, moderator: Actor, other: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    command = grading(report_id, judgement=judgement("oil_slick", Severity.ESPECIALLY_MAJOR))
    incident = service.grade_report(session, command, settings=settings, actor=moderator, now=now)
    session.flush()
    assert (incident.severity, incident.graded_severity) == (3, 4)
    with pytest.raises(Forbidden) as caught:
        service.second_red(session, incident.id, settings=settings, actor=moderator, now=now)
    assert caught.value.error_code == "second_must_be_another"
    assert service.second_red(session, incident.id, settings=settings, actor=other, now=now).severity == 4
    session.flush()
    assert session.execute(text("SELECT level FROM advisory")).scalar_one() == 4
    with pytest.raises(Conflict):
        service.second_red(session, incident.id, settings=settings, actor=other, now=now)


def test_an_incident_nobody_confirms_loses_a_colour_at_a_time_and_then_ends(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    """Orange 7 days, yellow 14, blue 30."""
    report_id = add_waiting(session, river, now=now)
    command = grading(report_id, judgement=judgement("sewage_outfall", Severity.MAJOR))
    incident = service.grade_report(session, command, settings=settings, actor=moderator, now=now)
    session.flush()
    levels: list[int | None] = []
    clock = now
    for days in (7, 14, 30):
        assert service.step_down(session, incident.id, now=clock + timedelta(days=days, seconds=-1)) is None
        clock += timedelta(days=days)
        assert service.step_down(session, incident.id, now=clock) is not None
        session.flush()
        levels.append(session.execute(text("SELECT max(level) FROM advisory")).scalar_one())
    assert levels == [2, 1, None]
    assert state_of(session, "incident", incident.id) == "expired"
    with pytest.raises(Conflict):
        service.step_down(session, incident.id, now=clock)


def test_a_grade_away_from_the_rubric_needs_its_reason(
    session: Session, river: uuid.UUID, moderator: Actor, settings: Settings, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    unexplained = judgement("foam", Severity.MAJOR)
    command = grading(report_id, judgement=type(unexplained)(unexplained.inputs, unexplained.severity, "  "))
    with pytest.raises(Invalid) as caught:
        service.grade_report(session, command, settings=settings, actor=moderator, now=now)
    assert caught.value.errors == {"departure_reason": ["departure_needs_reason"]}


def test_only_a_person_of_an_organisation_decides(
    session: Session, river: uuid.UUID, settings: Settings, now: datetime, moderator: Actor
) -> None:
    report_id = add_waiting(session, river, now=now)
    assert moderator.id is not None
    for actor in (Actor.system("sweep"), Actor.anonymous(), Actor.person(moderator.id, None)):
        with pytest.raises(DomainError):
            service.grade_report(session, grading(report_id), settings=settings, actor=actor, now=now)


def test_a_patrol_is_confirmed_without_any_incident(
    session: Session, settings: Settings, river: uuid.UUID, moderator: Actor, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now, kind="all_clear")
    claim(session, moderator, settings, now)
    service.accept_patrol(session, report_id, settings=settings, actor=moderator, now=now)
    assert state_of(session, "report", report_id) == "accepted"
    assert count(session, "incident") == 0


def test_pollution_is_not_confirmed_as_a_patrol(
    session: Session, settings: Settings, river: uuid.UUID, moderator: Actor, now: datetime
) -> None:
    report_id = add_waiting(session, river, now=now)
    claim(session, moderator, settings, now)
    with pytest.raises(Conflict, match="no_patrol"):
        service.accept_patrol(session, report_id, settings=settings, actor=moderator, now=now)
    assert state_of(session, "report", report_id) == "in_review"
