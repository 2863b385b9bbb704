"""Cases that reach nobody, again, or in a later round; clocks of those whose agency was faster than our records."""

import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, sessionmaker

from tests.casework.rows import (
    DISTRICT,
    SYSTEM,
    add_tree,
    alarms,
    case_of,
    escalate,
    hand_over,
    leads_are_told,
    letters,
    ordered,
    refuse_all,
    says,
)
from tests.escalation.rows import add_agency, add_incident, add_report
from waterwatch.casework import pressing, service
from waterwatch.casework.service import Answer
from waterwatch.escalation import deliveries
from waterwatch.escalation import service as escalation
from waterwatch.escalation.tables import Case
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure

Tree = tuple[uuid.UUID, uuid.UUID, uuid.UUID]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def reopen(
    session: Session, case: Case, officer: Actor, settings: Settings, *, done_at: datetime, seen_at: datetime
) -> None:
    """The agency says that it is done; a citizen sees that it is not."""
    service.report_done(session, case.id, Answer("已清理", via="link"), settings=settings, actor=officer, now=done_at)
    report_id = add_report(session, case.incident_id, now=seen_at)
    pressing.reopen(session, case.incident_id, report_id, settings=settings, actor=SYSTEM, now=seen_at)


# Clocks.


def test_a_case_acknowledged_before_its_letter_is_known_to_have_arrived_has_all_its_deadlines(
    session: Session, incident_id: uuid.UUID, tree: Tree, settings: Settings, now: datetime
) -> None:
    escalate(session, incident_id, settings, now)
    case = case_of(session, incident_id, tree[0])
    escalation.acknowledge(session, case.id, actor=Actor.agency_link(tree[0]), now=now)
    hand_over(session, case, settings, now + HOUR)
    assert (case.state, case.delivered_at) == ("acknowledged", now)
    assert case.acknowledge_by == now + 24 * HOUR
    assert case.answer_by == case.state_deadline_at == datetime(2026, 5, 29, 2, 30, tzinfo=UTC)
    assert case.finish_by == now + timedelta(days=60)
    assert case.remind_at is not None


def test_a_reopened_case_acknowledged_by_its_old_link_has_all_its_deadlines(
    session: Session, case: Case, officer: Actor, settings: Settings, now: datetime
) -> None:
    at = now + 2 * DAY
    reopen(session, case, officer, settings, done_at=now + DAY, seen_at=at)
    escalation.acknowledge(session, case.id, actor=officer, now=at)
    assert case.delivered_at == at
    assert case.acknowledge_by == at + 24 * HOUR
    assert case.state_deadline_at == case.answer_by
    assert case.answer_by is not None


# Alarms.


def test_the_second_death_of_a_case_is_told_as_the_first_was(
    session: Session, incident_id: uuid.UUID, tree: Tree, settings: Settings, now: datetime
) -> None:
    escalate(session, incident_id, settings, now)
    case = case_of(session, incident_id, tree[0])
    refuse_all(session, case, settings, now)
    assert (case.state, alarms(session, case)) == ("dead", {"every_letter_failed": False})
    leads_are_told(session, now)
    session.execute(
        text("UPDATE agency_contact SET address = 'new@gov.example' WHERE agency_id = :id"), {"id": tree[0]}
    )
    escalate(session, incident_id, settings, now + HOUR)
    assert alarms(session, case) == {"every_letter_failed": True}
    refuse_all(session, case, settings, now + 2 * HOUR)
    session.expire_all()
    assert (case.state, alarms(session, case)) == ("dead", {"every_letter_failed": False})
    assert len(ordered(session, "escalation.alarm")) == 2


def test_a_case_nobody_above_can_be_told_of_is_loud_in_every_round(
    session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    agency_id = add_agency(session, "区局", ["only@gov.example"])
    escalate(session, incident_id, settings, now)
    case = case_of(session, incident_id, agency_id)
    hand_over(session, case, settings, now)
    pressing.escalate_overdue(session, case.id, settings=settings, actor=SYSTEM, now=now + 25 * HOUR)
    leads_are_told(session, now + 25 * HOUR)
    reopen(session, case, Actor.agency_link(agency_id), settings, done_at=now + 30 * HOUR, seen_at=now + 40 * HOUR)
    hand_over(session, case, settings, now + 40 * HOUR)
    assert alarms(session, case) == {"overdue": True}
    pressing.escalate_overdue(session, case.id, settings=settings, actor=SYSTEM, now=now + 65 * HOUR)
    assert alarms(session, case) == {"overdue": False}


def test_a_reopened_case_whose_letter_is_refused_is_dead_although_earlier_ones_arrived(
    session: Session, case: Case, officer: Actor, settings: Settings, now: datetime
) -> None:
    reopen(session, case, officer, settings, done_at=now + DAY, seen_at=now + 2 * DAY)
    refuse_all(session, case, settings, now + 2 * DAY)
    session.expire_all()
    assert [(letter.says, letter.state) for letter in letters(session, case)] == [
        ("case", "sent"),
        ("reopened", "refused"),
    ]
    assert (case.state, alarms(session, case)) == ("dead", {"every_letter_failed": False})


def test_a_case_that_came_back_is_dead_when_its_new_letter_is_refused(
    session: Session, incident_id: uuid.UUID, case: Case, settings: Settings, now: datetime
) -> None:
    escalation.withdraw_cases(session, incident_id, settings=settings, actor=SYSTEM, now=now + HOUR)
    hand_over(session, case, settings, now + HOUR)
    escalate(session, incident_id, settings, now + DAY)
    refuse_all(session, case, settings, now + DAY)
    session.expire_all()
    assert (says(session, case), case.state) == (["case", "withdrawn", "case"], "dead")


def test_a_reminder_to_a_mailbox_that_died_meanwhile_is_told_to_the_leads(
    session: Session, case: Case, settings: Settings, now: datetime
) -> None:
    pressing.remind(session, case.id, settings=settings, actor=SYSTEM, now=now + 18 * HOUR)
    refuse_all(session, case, settings, now + 18 * HOUR)
    session.expire_all()
    assert (case.state, alarms(session, case)) == ("delivered", {"letter_failed": False})


def test_a_letter_that_failed_beside_one_that_arrived_is_told_to_the_leads(
    session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    agency_id = add_agency(session, "区局", ["first@gov.example", "second@gov.example"])
    escalate(session, incident_id, settings, now)
    case = case_of(session, incident_id, agency_id)
    session.execute(text("UPDATE delivery SET state = 'sent', sent_at = now() WHERE address LIKE 'first%'"))
    refuse_all(session, case, settings, now)
    assert alarms(session, case) == {"letter_failed": False}


def test_a_red_is_told_to_the_next_contact_after_five_minutes_of_later_while_the_first_letter_goes_on(
    session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime
) -> None:
    addresses = [f"{name}@gov.example" for name in ("first", "second", "third")]
    agency_id = add_agency(session, "区局", addresses)
    session.execute(text("UPDATE agency SET channels_in = 'order'"))
    session.execute(text("UPDATE incident SET severity = 4, graded_severity = 4"))
    escalate(session, incident_id, settings, now)
    case = case_of(session, incident_id, agency_id)
    told = []
    for minutes in (4, 5, 9, 10):
        at = now + timedelta(minutes=minutes)
        for letter in letters(session, case):
            claim = deliveries.claim_delivery(session, letter.id, settings=settings, now=at)
            assert claim is not None
            deliveries.record_failure(session, claim, Failure("450", is_deferred=True), settings=settings, now=at)
        session.flush()
        told.append([(letter.address.split("@")[0], letter.state) for letter in letters(session, case)])
    waits = [(name, "pending") for name in ("first", "second", "third")]
    assert told == [waits[:1], waits[:2], waits[:2], waits]
    hand_over(session, case, settings, now + HOUR)
    session.expire_all()
    assert case.state == "delivered"


# On to another agency.


def test_a_case_that_is_not_ones_own_does_not_go_to_an_agency_whose_letters_all_failed(
    session: Session, incident_id: uuid.UUID, tree: Tree, settings: Settings, now: datetime
) -> None:
    other = add_agency(session, "水务局", ["w@gov.example"], area=DISTRICT, level="county", kind="water")
    escalate(session, incident_id, settings, now)
    mine, dead = case_of(session, incident_id, tree[0]), case_of(session, incident_id, other)
    refuse_all(session, dead, settings, now)
    hand_over(session, mine, settings, now)
    said, by = Answer("不归我们", via="link"), Actor.agency_link(tree[0])
    onward = service.refuse_not_ours(session, mine.id, said, other, settings=settings, actor=by, now=now + HOUR)
    assert onward == case_of(session, incident_id, tree[1]).id
    assert case_of(session, incident_id, other).state == "dead"


def test_a_case_that_is_not_ones_own_revives_that_of_an_agency_with_an_address_not_tried(
    session: Session, incident_id: uuid.UUID, tree: Tree, settings: Settings, now: datetime
) -> None:
    other = add_agency(session, "水务局", ["w@gov.example"], area=DISTRICT, level="county", kind="water")
    escalate(session, incident_id, settings, now)
    mine, dead = case_of(session, incident_id, tree[0]), case_of(session, incident_id, other)
    refuse_all(session, dead, settings, now)
    hand_over(session, mine, settings, now)
    session.execute(text("UPDATE agency_contact SET address = 'new@gov.example' WHERE agency_id = :id"), {"id": other})
    said, by = Answer("不归我们", via="link"), Actor.agency_link(tree[0])
    onward = service.refuse_not_ours(session, mine.id, said, other, settings=settings, actor=by, now=now + HOUR)
    revived = case_of(session, incident_id, other)
    assert (onward, revived.state) == (revived.id, "queued")
    assert [(one.address, one.state) for one in letters(session, revived)] == [
        ("w@gov.example", "refused"),
        ("new@gov.example", "pending"),
    ]


def supervise(session: Session, case: Case, settings: Settings, at: datetime) -> Case:
    """The county is late, and the prefecture is told: its case."""
    above_id = pressing.escalate_overdue(session, case.id, settings=settings, actor=SYSTEM, now=at)
    assert above_id is not None
    return session.get_one(Case, above_id)


@pytest.mark.parametrize("is_told", [True, False], ids=["told already", "its letter still waits"])
def test_a_case_that_goes_on_to_the_agency_that_supervised_it_is_told_to_it_and_has_a_clock(
    session: Session, case: Case, officer: Actor, settings: Settings, now: datetime, is_told: bool
) -> None:
    above, at = supervise(session, case, settings, now + 25 * HOUR), now + 26 * HOUR
    if is_told:
        hand_over(session, above, settings, now + 25 * HOUR)
    said = Answer("不归我们", via="link")
    onward = service.refuse_not_ours(session, case.id, said, settings=settings, actor=officer, now=at)
    assert (onward, above.role, above.supervises_id) == (above.id, "competent", None)
    assert says(session, above) == (["overdue", "case"] if is_told else ["case"])
    if not is_told:
        hand_over(session, above, settings, at)
    assert (above.state, above.state_deadline_at, above.remind_at) == ("delivered", at + 24 * HOUR, at + 18 * HOUR)


def test_a_case_that_goes_on_to_an_agency_it_was_withdrawn_from_is_not_acknowledged_before_it_is(
    session: Session, incident_id: uuid.UUID, case: Case, tree: Tree, officer: Actor, settings: Settings, now: datetime
) -> None:
    above = supervise(session, case, settings, now + 25 * HOUR)
    hand_over(session, above, settings, now + 25 * HOUR)
    escalation.acknowledge(session, above.id, actor=Actor.agency_link(tree[1]), now=now + 26 * HOUR)
    escalation.withdraw_cases(session, incident_id, settings=settings, actor=SYSTEM, now=now + 27 * HOUR)
    hand_over(session, above, settings, now + 27 * HOUR)
    hand_over(session, case, settings, now + 27 * HOUR)
    at = now + 28 * HOUR
    escalate(session, incident_id, settings, at)
    hand_over(session, case, settings, at)
    said = Answer("不归我们", via="link")
    onward = service.refuse_not_ours(session, case.id, said, settings=settings, actor=officer, now=at)
    assert onward == above.id
    assert (above.role, above.supervises_id) == ("competent", None)
    hand_over(session, above, settings, at)
    assert (above.state, above.acknowledged_at, above.state_deadline_at) == ("delivered", None, at + 24 * HOUR)
    assert escalation.acknowledge(session, above.id, actor=Actor.agency_link(tree[1]), now=at + HOUR).is_new


# Late anew.


def test_an_agency_that_was_told_at_a_corrected_address_is_late_anew_and_its_superior_is_asked_again(
    session: Session, incident_id: uuid.UUID, tree: Tree, case: Case, settings: Settings, now: datetime
) -> None:
    above = supervise(session, case, settings, now + 25 * HOUR)
    hand_over(session, above, settings, now + 25 * HOUR)
    (letter,) = letters(session, case)
    deliveries.record_bounce(session, letter.id, "bounced_5.1.1", settings=settings, now=now + 26 * HOUR)
    session.execute(
        text("UPDATE agency_contact SET address = 'new@gov.example' WHERE agency_id = :id"), {"id": tree[0]}
    )
    assert pressing.escalate_overdue(session, above.id, settings=settings, actor=SYSTEM, now=now + 50 * HOUR) is None
    assert above.state_deadline_at is None  # what was late had never arrived
    escalate(session, incident_id, settings, now + 60 * HOUR)
    assert (case.state, case.escalated_at, case.delivered_at) == ("queued", None, None)
    hand_over(session, case, settings, now + 61 * HOUR)
    assert supervise(session, case, settings, now + 86 * HOUR).id == above.id
    assert (says(session, above), above.state_deadline_at) == (["overdue", "overdue"], now + 110 * HOUR)


# Thought lost.


def test_a_case_whose_letter_is_under_way_has_a_contact_although_the_agency_has_none_now(
    session: Session, incident_id: uuid.UUID, tree: Tree, settings: Settings, now: datetime
) -> None:
    escalate(session, incident_id, settings, now)
    session.execute(text("UPDATE agency_contact SET active = false"))
    escalate(session, incident_id, settings, now + HOUR)
    case = case_of(session, incident_id, tree[0])
    assert (case.state, alarms(session, case)) == ("queued", {})


@pytest.mark.parametrize("state", ["no_contact", "dead"])
def test_a_letter_that_arrives_after_all_is_of_a_delivered_case_and_can_be_acknowledged(
    session: Session, incident_id: uuid.UUID, tree: Tree, settings: Settings, now: datetime, state: str
) -> None:
    escalate(session, incident_id, settings, now)
    case = case_of(session, incident_id, tree[0])
    case.state, case.state_deadline_at = state, None
    hand_over(session, case, settings, now + HOUR)
    assert (case.state, case.state_deadline_at) == ("delivered", now + 25 * HOUR)


@pytest.mark.parametrize("state", ["no_contact", "dead"])
def test_an_agency_thought_to_have_no_contact_acknowledges_what_it_got(
    session: Session, incident_id: uuid.UUID, tree: Tree, settings: Settings, now: datetime, state: str
) -> None:
    escalate(session, incident_id, settings, now)
    case = case_of(session, incident_id, tree[0])
    case.state, case.state_deadline_at, case.escalated_at = state, None, now
    assert escalation.acknowledge(session, case.id, actor=Actor.agency_link(tree[0]), now=now + HOUR).is_new
    assert (case.state, case.delivered_at, case.escalated_at) == ("acknowledged", now + HOUR, None)


# Locks.


@pytest.fixture
def supervised(
    sessions: sessionmaker[Session], make_settings: Callable[..., Settings], database_url: str
) -> tuple[uuid.UUID, uuid.UUID, Settings]:
    """A late case, and the later one of the agency above: their ids."""
    settings, at = make_settings(database_url=database_url), datetime.now(UTC)
    with transaction(sessions) as session:
        tree, incident_id = add_tree(session), add_incident(session, now=at)
        escalate(session, incident_id, settings, at)
        below = case_of(session, incident_id, tree[0])
        hand_over(session, below, settings, at)
        above_id = pressing.escalate_overdue(session, below.id, settings=settings, actor=SYSTEM, now=at + 25 * HOUR)
        assert above_id is not None
        above = session.get_one(Case, above_id)
        hand_over(session, above, settings, at + 25 * HOUR)
        return below.id, above_id, settings


@pytest.mark.parametrize("act", [pressing.remind, pressing.escalate_overdue])
def test_who_presses_a_supervisor_holds_its_case_only_after_the_one_below(
    sessions: sessionmaker[Session], supervised: tuple[uuid.UUID, uuid.UUID, Settings], act: Callable[..., object]
) -> None:
    below_id, above_id, settings = supervised

    def press() -> None:
        with transaction(sessions) as session:
            act(session, above_id, settings=settings, actor=SYSTEM, now=datetime.now(UTC) + 60 * HOUR)

    with transaction(sessions) as session:
        session.execute(select(Case.id).where(Case.id == below_id).with_for_update())
        other = threading.Thread(target=press)
        other.start()
        wait_until_somebody_waits(sessions)
        held = session.execute(select(Case.id).where(Case.id == above_id).with_for_update(nowait=True))
        assert held.scalar_one() == above_id
    other.join()


_WAITING = text("""
SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE NOT l.granted AND a.datname = current_database()
""")


def wait_until_somebody_waits(sessions: sessionmaker[Session]) -> None:
    deadline, waiting = time.monotonic() + 30, 0
    while not waiting:
        assert time.monotonic() < deadline, "nobody waits for a lock"
        with transaction(sessions) as session:
            waiting = session.execute(_WAITING).scalar_one()
