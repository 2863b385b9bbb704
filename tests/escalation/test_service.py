import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from tests.escalation.rows import HUBEI, IN_NOWHERE, add_agency, add_incident
from waterwatch.escalation import deliveries, public_queries, rules, service, unheard_queries
from waterwatch.escalation.tables import Case, Delivery
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import NotFound, Unavailable
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.states import IllegalMove
from waterwatch.messaging.attempts import Failure

MODERATOR = Actor.system("tests")


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@contextmanager
def counted(session: Session) -> Iterator[list[str]]:
    """The statements sent to the database within the block."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)


def escalate(session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime) -> list[Case]:
    return service.escalate(session, incident_id, settings=settings, actor=MODERATOR, now=now)


def deliveries_of(session: Session, case: Case) -> list[Delivery]:
    return list(session.query(Delivery).filter_by(case_id=case.id).order_by(Delivery.id))


def actions(session: Session, case: Case) -> list[str]:
    rows = session.execute(text("SELECT action FROM audit_entry WHERE subject_id = :id ORDER BY id"), {"id": case.id})
    return list(rows.scalars())


def outbox_rows(session: Session) -> list[tuple[str, int]]:
    rows = session.execute(
        text(
            "SELECT payload->>'delivery_id' AS id, priority FROM outbox WHERE topic = 'escalation.deliver' ORDER BY id"
        )
    )
    return [(row.id, row.priority) for row in rows]


def claim(session: Session, delivery: Delivery, settings: Settings, now: datetime) -> deliveries.Claim:
    made = deliveries.claim_delivery(session, delivery.id, settings=settings, now=now)
    assert made is not None
    return made


@pytest.fixture
def incident_id(session: Session, now: datetime) -> uuid.UUID:
    return add_incident(session, now=now)


@pytest.fixture
def case(session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime) -> Case:
    """A queued case with one delivery."""
    add_agency(session, "武汉市生态环境局", ["huanbao@wuhan.example"])
    (made,) = escalate(session, incident_id, settings, now)
    return made


def test_each_competent_agency_gets_one_case_and_each_address_one_delivery(
    session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    wuhan = add_agency(session, "武汉市生态环境局", ["a@wuhan.example", "b@wuhan.example"])
    hubei = add_agency(session, "湖北省水利厅", ["c@hubei.example"], area=HUBEI, level="province", kind="water")
    cases = escalate(session, incident_id, settings, now)
    assert {case.agency_id for case in cases} == {wuhan, hubei}
    assert {case.state for case in cases} == {"queued"}
    assert [case.state_deadline_at for case in cases] == [now + timedelta(minutes=15)] * 2
    made = [delivery for case in cases for delivery in deliveries_of(session, case)]
    assert sorted(delivery.address for delivery in made) == ["a@wuhan.example", "b@wuhan.example", "c@hubei.example"]
    assert all(delivery.message_id == f"<{delivery.id}@localhost>" for delivery in made)
    assert sorted(outbox_rows(session)) == sorted((str(delivery.id), rules.priority(3)) for delivery in made)


def test_escalating_again_adds_nothing(session: Session, case: Case, settings: Settings, now: datetime) -> None:
    escalate(session, case.incident_id, settings, now + timedelta(minutes=1))
    assert session.query(Case).filter_by(incident_id=case.incident_id).count() == 1
    assert len(deliveries_of(session, case)) == len(outbox_rows(session)) == 1
    assert actions(session, case) == ["case.opened"]


def test_a_new_grade_changes_the_severity_and_adds_who_is_competent_now(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    province = add_agency(
        session, "湖北省水利厅", ["d@hubei.example"], area=HUBEI, level="province", kind="water", min_severity=4
    )
    escalate(session, case.incident_id, settings, now)
    assert session.query(Case).filter_by(incident_id=case.incident_id).count() == 1
    session.execute(
        text("UPDATE incident SET severity = 4, graded_severity = 4 WHERE id = :id"), {"id": case.incident_id}
    )
    cases = escalate(session, case.incident_id, settings, now + timedelta(minutes=5))
    assert {found.agency_id for found in cases} == {case.agency_id, province}
    assert {found.severity for found in cases} == {4}
    assert actions(session, case) == ["case.opened", "case.regraded"]


def test_where_nobody_is_competent_one_case_says_so_loudly(
    session: Session, settings: Settings, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    add_agency(session, "武汉市生态环境局", ["huanbao@wuhan.example"])
    incident_id = add_incident(session, now=now, at=IN_NOWHERE)
    for _ in range(2):
        (case,) = escalate(session, incident_id, settings, now)
    assert (case.state, case.agency_id) == ("no_contact", None)
    assert actions(session, case) == ["case.opened", "case.no_contact"]
    assert [found.case_id for found in unheard_queries.open_no_contact(session)] == [case.id]
    assert outbox_rows(session) == []


@pytest.mark.parametrize("addresses", [[], ["not an address"], ["a@b.example\r\nBcc: x@y.z"]])
def test_an_agency_without_a_usable_address_gets_a_case_that_says_so(
    session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime, addresses: list[str]
) -> None:
    agency_id = add_agency(session, "武汉市水务局", addresses)
    (case,) = escalate(session, incident_id, settings, now)
    assert (case.state, case.agency_id) == ("no_contact", agency_id)
    assert actions(session, case) == ["case.opened", "case.no_contact"]
    escalate(session, incident_id, settings, now)
    assert actions(session, case) == ["case.opened", "case.no_contact"]


def test_an_agency_entered_later_takes_over_the_case_nobody_had(
    session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    (lost,) = escalate(session, incident_id, settings, now)
    agency_id = add_agency(session, "武汉市生态环境局", ["huanbao@wuhan.example"])
    (case,) = escalate(session, incident_id, settings, now + timedelta(days=1))
    assert (case.id, case.state, case.agency_id) == (lost.id, "queued", agency_id)
    assert actions(session, case) == ["case.opened", "case.no_contact", "case.assigned", "case.queued"]
    assert len(deliveries_of(session, case)) == 1


def test_there_is_nothing_to_escalate_without_an_incident(session: Session, settings: Settings, now: datetime) -> None:
    with pytest.raises(NotFound):
        escalate(session, uuid.uuid4(), settings, now)


def test_escalating_asks_a_bounded_number_of_questions(
    session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    for n in range(3):
        add_agency(session, f"第{n}局", [f"a{n}@wuhan.example"])
    with counted(session) as statements:
        escalate(session, incident_id, settings, now)
    # 6 for the incident (place, cases before, its banks, whose they are, who is competent, cases after), 5 for each
    # agency: case, its audit, addresses, delivery, doorbell.
    assert len(statements) <= 6 + 3 * 5
    with counted(session) as statements:
        public_queries.cases_of(session, incident_id)
    assert len(statements) == 1


def test_only_one_worker_at_a_time_holds_a_delivery(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    (delivery,) = deliveries_of(session, case)
    first = claim(session, delivery, settings, now)
    assert (first.attempt, first.address) == (1, "huanbao@wuhan.example")
    with pytest.raises(Unavailable) as caught:
        deliveries.claim_delivery(session, delivery.id, settings=settings, now=now + timedelta(seconds=2))
    assert caught.value.facts["retry_after_s"] == rules.claim_lasts_s(settings) - 2


def test_a_claim_that_ran_out_may_be_taken_over_under_the_same_message_id(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    (delivery,) = deliveries_of(session, case)
    first = claim(session, delivery, settings, now)
    later = now + timedelta(seconds=rules.claim_lasts_s(settings))
    second = claim(session, delivery, settings, later)
    assert (second.attempt, second.message_id) == (2, first.message_id)
    with pytest.raises(Unavailable):
        deliveries.record_failure(session, first, Failure("late"), settings=settings, now=later)
    assert delivery.state == "sending"


def test_a_sent_delivery_makes_its_case_delivered_with_the_deadline_its_mail_names(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    (delivery,) = deliveries_of(session, case)
    held = claim(session, delivery, settings, now + timedelta(minutes=1))
    deliveries.record_sent(session, held, now=now + timedelta(minutes=1, seconds=3))
    assert (delivery.state, delivery.sent_at) == ("sent", now + timedelta(minutes=1, seconds=3))
    assert (case.state, case.delivered_at) == ("delivered", delivery.sent_at)
    assert case.state_deadline_at == now + timedelta(hours=24, minutes=1)
    assert deliveries.claim_delivery(session, delivery.id, settings=settings, now=now) is None
    deliveries.record_sent(session, held, now=now + timedelta(hours=1))
    assert actions(session, case) == ["case.opened", "delivery.sent"]


def test_failures_of_the_transport_and_of_the_recipient_wait_differently(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    (delivery,) = deliveries_of(session, case)
    lost, greylisted = Failure("disconnected"), Failure("recipient_refused_450", is_deferred=True)
    pauses = []
    for failure in (lost, lost, greylisted, lost, greylisted):
        held = claim(session, delivery, settings, now)
        pauses.append(deliveries.record_failure(session, held, failure, settings=settings, now=now))
    assert all(pause is not None for pause in pauses)
    assert [int(pause / 60) * 60 if pause > 60 else pause for pause in pauses] == [1, 2, 60, 4, 300]  # jitter apart
    assert (delivery.state, delivery.attempts, delivery.deferrals) == ("pending", 5, 2)
    assert delivery.last_error == "recipient_refused_450"
    assert delivery.state_deadline_at == now + timedelta(seconds=settings.delivery_deadline_s)
    assert actions(session, case) == ["case.opened"]


def test_a_case_is_dead_only_when_no_address_is_left(
    session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    add_agency(session, "武汉市生态环境局", ["a@wuhan.example", "b@wuhan.example"])
    (case,) = escalate(session, incident_id, settings, now)
    refusal = Failure("recipient_refused_550", is_permanent=True)
    states = []
    for delivery in deliveries_of(session, case):
        held = claim(session, delivery, settings, now)
        assert deliveries.record_failure(session, held, refusal, settings=settings, now=now) is None
        states.append((delivery.state, case.state))
    assert states == [("refused", "queued"), ("refused", "dead")]
    assert actions(session, case) == ["case.opened", "delivery.failed", "delivery.failed", "case.dead"]


def test_a_delivery_is_given_up_after_the_time_set_for_it(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    (delivery,) = deliveries_of(session, case)
    late = now + timedelta(seconds=settings.delivery_give_up_s)
    failure = Failure("nobody_listens")
    held = claim(session, delivery, settings, late - timedelta(seconds=1))
    assert (
        deliveries.record_failure(session, held, failure, settings=settings, now=late - timedelta(seconds=1))
        is not None
    )
    held = claim(session, delivery, settings, late)
    assert deliveries.record_failure(session, held, failure, settings=settings, now=late) is None
    assert (delivery.state, case.state) == ("dead", "dead")


def test_an_address_entered_after_the_case_died_is_tried(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    (delivery,) = deliveries_of(session, case)
    refusal = Failure("recipient_refused_550", is_permanent=True)
    deliveries.record_failure(session, claim(session, delivery, settings, now), refusal, settings=settings, now=now)
    session.execute(
        text("UPDATE agency_contact SET address = 'new@wuhan.example' WHERE agency_id = :id"), {"id": case.agency_id}
    )
    escalate(session, case.incident_id, settings, now)
    assert case.state == "queued"
    assert [made.address for made in deliveries_of(session, case)] == ["huanbao@wuhan.example", "new@wuhan.example"]


def test_a_red_grade_shortens_the_time_only_from_the_letter_that_says_so(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    (delivery,) = deliveries_of(session, case)
    deliveries.record_sent(session, claim(session, delivery, settings, now), now=now)
    session.execute(
        text("UPDATE incident SET severity = 4, graded_severity = 4 WHERE id = :id"), {"id": case.incident_id}
    )
    promised = case.state_deadline_at
    escalate(session, case.incident_id, settings, now + timedelta(minutes=20))
    assert (case.severity, case.state_deadline_at) == (4, promised)
    first, raised = sorted(deliveries_of(session, case), key=lambda one: one.severity)
    assert (first.state, raised.state, raised.raised_from) == ("sent", "pending", 3)
    told = now + timedelta(minutes=25)
    deliveries.record_sent(session, claim(session, raised, settings, told), now=told)
    assert case.state_deadline_at == told + timedelta(hours=2)


def test_a_severity_that_fell_and_rises_again_is_not_told_twice(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    (delivery,) = deliveries_of(session, case)
    deliveries.record_sent(session, claim(session, delivery, settings, now), now=now)
    for severity in (2, 3):
        session.execute(
            text("UPDATE incident SET severity = :s, graded_severity = :s WHERE id = :id"),
            {"id": case.incident_id, "s": severity},
        )
        escalate(session, case.incident_id, settings, now + timedelta(minutes=20))
    assert len(deliveries_of(session, case)) == 1


def test_acknowledging_twice_counts_once(session: Session, case: Case, settings: Settings, now: datetime) -> None:
    assert case.agency_id is not None
    (delivery,) = deliveries_of(session, case)
    deliveries.record_sent(session, claim(session, delivery, settings, now), now=now)
    officer = Actor.agency_link(case.agency_id)
    first = service.acknowledge(session, case.id, actor=officer, now=now + timedelta(minutes=5))
    again = service.acknowledge(session, case.id, actor=officer, now=now + timedelta(minutes=9))
    assert first == service.Acknowledgement(now + timedelta(minutes=5), is_new=True)
    assert again == replace(first, is_new=False)
    # From now on it owes an answer: an orange one within seven working days of the delivery.
    assert (case.state, case.state_deadline_at) == ("acknowledged", datetime(2026, 5, 29, 2, 30, tzinfo=UTC))
    assert actions(session, case) == ["case.opened", "delivery.sent", "case.acknowledged"]


def test_a_mail_that_arrived_although_we_do_not_know_it_can_be_acknowledged(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    (delivery,) = deliveries_of(session, case)
    held = claim(session, delivery, settings, now)
    deliveries.record_failure(session, held, Failure("lost_after_data"), settings=settings, now=now)
    service.acknowledge(session, case.id, actor=MODERATOR, now=now)
    held = claim(session, delivery, settings, now)
    deliveries.record_sent(session, held, now=now)
    assert (delivery.state, case.state) == ("sent", "acknowledged")


def test_a_case_nobody_was_told_of_cannot_be_acknowledged(
    session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    (case,) = escalate(session, incident_id, settings, now)
    with pytest.raises(IllegalMove):
        service.acknowledge(session, case.id, actor=MODERATOR, now=now)


def test_the_cases_of_an_incident_carry_the_agencies_names_in_the_readers_language(
    session: Session, case: Case, now: datetime
) -> None:
    names = {
        language: [view.agency_name for view in public_queries.cases_of(session, case.incident_id, language=language)]
        for language in ("zh-Hans", "en", "zh-Hant")
    }
    assert names == {"zh-Hans": ["武汉市生态环境局"], "en": ["武汉市生态环境局 (en)"], "zh-Hant": ["武汉市生态环境局"]}
    (view,) = public_queries.cases_of(session, case.incident_id)
    assert not view.is_late(now=now + timedelta(days=30))  # not delivered yet: that delay is ours, not theirs
