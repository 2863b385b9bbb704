"""When an incident is over, nothing more is asked of its departments; when it turns out not to be, all is again."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.casework.rows import acts
from tests.escalation.rows import insert
from tests.moderation.rows import add_waiting, state_of
from tests.moderation.test_reversal import SOON, accept, last, let_letters_go, letters
from waterwatch.casework import pressing
from waterwatch.casework import service as casework
from waterwatch.casework.service import Answer
from waterwatch.escalation import deliveries
from waterwatch.escalation.tables import Case, Delivery
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure
from waterwatch.moderation import reversal, service

HOUR = timedelta(hours=1)


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


def the_case(session: Session) -> Case:
    session.flush()
    return session.query(Case).one()


def show_clean(session: Session, river: uuid.UUID, who: Actor, settings: Settings, now: datetime) -> None:
    incident_id = session.execute(text("SELECT id FROM incident")).scalar_one()
    report_id = add_waiting(session, river, now=now, kind="all_clear")
    service.accept_patrol(session, report_id, verifies_incident_id=incident_id, settings=settings, actor=who, now=now)
    session.flush()


def try_in_vain(session: Session, settings: Settings, now: datetime, *, is_permanent: bool = False) -> None:
    session.flush()
    for delivery_id in session.execute(text("SELECT id FROM delivery WHERE state = 'pending'")).scalars().all():
        claim = deliveries.claim_delivery(session, delivery_id, settings=settings, now=now)
        assert claim is not None
        failure = Failure("450", is_deferred=not is_permanent, is_permanent=is_permanent)
        deliveries.record_failure(session, claim, failure, settings=settings, now=now)
    session.flush()


def test_a_letter_that_waits_for_the_digest_does_not_leave_once_a_patrol_has_shown_the_water_clean(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    session.execute(text("UPDATE agency SET digest_upto = 3"))
    accept(session, river, first, settings, now)
    assert letters(session) == [("case", "pending")]
    show_clean(session, river, first, settings, now + HOUR)
    assert letters(session) == [("case", "cancelled")]
    case = the_case(session)
    assert (case.state, case.state_deadline_at, acts(session, case.id)[-1]) == ("queued", None, "case.ended")


def test_a_patrol_taken_back_lets_the_letter_go_after_all_once(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    session.execute(text("UPDATE agency SET digest_upto = 3"))
    accept(session, river, first, settings, now)
    for hour in (1, 2):
        show_clean(session, river, first, settings, now + hour * HOUR)
        reversal.undo(session, last(session), settings=settings, actor=first, now=now + hour * HOUR + SOON)
    assert letters(session) == [("case", "cancelled"), ("case", "cancelled"), ("case", "pending")]
    assert the_case(session).state_deadline_at == now + 2 * HOUR + SOON + timedelta(
        seconds=settings.delivery_deadline_s
    )


def test_the_clocks_of_a_case_end_with_its_incident_and_go_on_as_promised_if_that_was_wrong(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    accept(session, river, first, settings, now)
    let_letters_go(session, settings, now + SOON)
    case = the_case(session)
    promised, remind_at = case.state_deadline_at, case.remind_at
    assert (promised, case.acknowledge_by) == (case.acknowledge_by, promised)
    show_clean(session, river, first, settings, now + HOUR)
    assert (case.state_deadline_at, case.remind_at, case.acknowledge_by) == (None, None, promised)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + HOUR + SOON)
    assert (case.state_deadline_at, case.remind_at, case.state) == (promised, remind_at, "delivered")
    assert letters(session) == [("case", "sent")]
    assert acts(session, case.id)[-2:] == ["case.ended", "case.resumed"]


def test_who_was_reminded_before_the_incident_ended_by_mistake_is_not_reminded_again(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    accept(session, river, first, settings, now)
    let_letters_go(session, settings, now + SOON)
    case, sweep = the_case(session), Actor.system("sweep")
    assert case.remind_at is not None
    at = case.remind_at
    assert pressing.remind(session, case.id, settings=settings, actor=sweep, now=at)
    let_letters_go(session, settings, at)
    show_clean(session, river, first, settings, at)
    reversal.undo(session, last(session), settings=settings, actor=first, now=at + SOON)
    assert (case.state_deadline_at, case.remind_at) == (case.acknowledge_by, None)


def test_a_case_that_was_late_is_late_no_more_once_its_incident_has_expired(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    _report, incident = accept(session, river, first, settings, now)
    let_letters_go(session, settings, now + SOON)
    case = the_case(session)
    assert case.state_deadline_at is not None
    late = case.state_deadline_at + HOUR
    pressing.escalate_overdue(session, case.id, settings=settings, actor=Actor.system("sweep"), now=late)
    assert case.escalated_at == late
    while incident.closed_at is None:
        assert incident.state_deadline_at is not None
        assert service.step_down(session, incident.id, now=incident.state_deadline_at) is incident
    assert state_of(session, "incident", incident.id) == "expired"
    assert (case.state, case.state_deadline_at, case.escalated_at) == ("delivered", None, late)


def test_a_letter_somebody_has_tried_goes_on_when_the_incident_ends(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    accept(session, river, first, settings, now)
    try_in_vain(session, settings, now + SOON)
    show_clean(session, river, first, settings, now + HOUR)
    assert letters(session) == [("case", "pending")]


@pytest.mark.parametrize(
    ("channel", "address", "becomes"),
    [
        ("post", "某路 1 号", "cancelled"),
        ("cap_feed", "feed", "cancelled"),
        ("open311", "https://city.example/v2", "awaiting"),
    ],
)
def test_what_is_still_to_be_posted_or_fetched_when_the_incident_ends_need_not_be(
    session: Session,
    river: uuid.UUID,
    first: Actor,
    settings: Settings,
    now: datetime,
    channel: str,
    address: str,
    becomes: str,
) -> None:
    accept(session, river, first, settings, now)
    session.execute(
        text(
            "UPDATE delivery SET channel = :channel, address = :address, attempts = 1, state = 'awaiting', awaits = 'x'"
        ),
        {"channel": channel, "address": address},
    )
    session.expire_all()
    show_clean(session, river, first, settings, now + HOUR)
    assert letters(session) == [("case", becomes)]


def test_once_the_incident_has_ended_no_further_contact_is_told_where_the_one_before_failed(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    agency_id = session.execute(text("UPDATE agency SET channels_in = 'order' RETURNING id")).scalar_one()
    insert(session, "agency_contact", agency_id=agency_id, channel="email", address="zwei@wuhan.example", position=9)
    accept(session, river, first, settings, now)
    try_in_vain(session, settings, now + SOON)
    show_clean(session, river, first, settings, now + HOUR)
    try_in_vain(session, settings, now + 2 * HOUR, is_permanent=True)
    assert letters(session) == [("case", "refused")]
    reversal.reverse(session, last(session), "other_mistake", settings=settings, actor=first, now=now + 3 * HOUR)
    assert {row.address: row.state for row in session.query(Delivery)} == {
        "duty@wuhan.example": "refused",
        "zwei@wuhan.example": "pending",
    }


def test_a_case_refused_after_its_incident_has_ended_goes_to_nobody_else_unless_that_was_wrong(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    accept(session, river, first, settings, now)
    let_letters_go(session, settings, now + SOON)
    case = the_case(session)
    assert case.agency_id is not None
    show_clean(session, river, first, settings, now + HOUR)
    officer = Actor.agency_link(case.agency_id)
    onward = casework.refuse_not_ours(
        session, case.id, Answer("不属我局。"), settings=settings, actor=officer, now=now + 2 * HOUR
    )
    assert (onward, the_case(session).state) == (None, "refused_not_ours")
    reversal.reverse(session, last(session), "other_mistake", settings=settings, actor=first, now=now + 3 * HOUR)
    assert acts(session, case.id)[-1] == "case.resumed"
    nobody = session.query(Case).filter_by(agency_id=None).one()
    assert (nobody.state, acts(session, nobody.id)) == ("no_contact", ["case.opened", "case.no_contact"])


def refuse(session: Session, settings: Settings, now: datetime) -> Case:
    """The department says that the case is not its business."""
    case = session.query(Case).filter(Case.agency_id.is_not(None)).one()
    assert case.agency_id is not None
    officer = Actor.agency_link(case.agency_id)
    casework.refuse_not_ours(session, case.id, Answer("不属我局。"), settings=settings, actor=officer, now=now)
    session.flush()
    return case


def test_a_case_refused_while_its_incident_was_open_again_goes_on_once_only(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    _report, incident = accept(session, river, first, settings, now)
    let_letters_go(session, settings, now + SOON)
    show_clean(session, river, first, settings, now + HOUR)
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + HOUR + SOON)
    case = refuse(session, settings, now + 2 * HOUR)
    before = acts(session, case.id)
    assert before.count("case.resumed") == 1
    service.set_moving(session, incident, settings=settings, actor=first, now=now + 3 * HOUR)
    session.flush()
    assert acts(session, case.id) == before
    nobody = session.query(Case).filter_by(agency_id=None).one()
    assert acts(session, nobody.id) == ["case.opened", "case.no_contact"]


def test_a_case_that_reached_nobody_and_is_refused_after_its_incident_has_ended_goes_on_if_that_was_wrong(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    accept(session, river, first, settings, now)
    try_in_vain(session, settings, now + SOON, is_permanent=True)
    assert the_case(session).state == "dead"
    show_clean(session, river, first, settings, now + HOUR)
    case = refuse(session, settings, now + 2 * HOUR)
    assert "case.ended" not in acts(session, case.id)
    reversal.reverse(session, last(session), "other_mistake", settings=settings, actor=first, now=now + 3 * HOUR)
    assert acts(session, case.id)[-1] == "case.resumed"
    assert session.query(Case).filter_by(agency_id=None).one().state == "no_contact"


def test_a_letter_that_said_the_water_is_not_clean_goes_after_all_when_the_patrol_is_taken_back(
    session: Session, river: uuid.UUID, first: Actor, settings: Settings, now: datetime
) -> None:
    _report, incident = accept(session, river, first, settings, now)
    let_letters_go(session, settings, now + SOON)
    case = the_case(session)
    assert case.agency_id is not None
    officer = Actor.agency_link(case.agency_id)
    casework.report_done(session, case.id, Answer("已清理。"), settings=settings, actor=officer, now=now + HOUR)
    accept(session, river, first, settings, now + 2 * HOUR, join_incident_id=incident.id)
    show_clean(session, river, first, settings, now + 2 * HOUR + SOON / 9)
    assert letters(session) == [("case", "sent"), ("reopened", "cancelled")]
    reversal.undo(session, last(session), settings=settings, actor=first, now=now + 2 * HOUR + SOON)
    assert letters(session) == [("case", "sent"), ("reopened", "cancelled"), ("reopened", "pending")]
