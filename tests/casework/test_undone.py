"""A withdrawal that is undone before anybody heard of it leaves a case as it was, and its agency is told on."""

import uuid
from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from tests.casework.rows import SYSTEM, case_of, escalate, hand_over, letters
from tests.casework.test_unheard import HOUR, Tree, reopen, supervise
from tests.escalation.rows import insert
from waterwatch.casework import service
from waterwatch.casework.service import Answer
from waterwatch.escalation import deliveries
from waterwatch.escalation import service as escalation
from waterwatch.escalation.channels import Awaiting
from waterwatch.escalation.tables import Case
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings

MINUTE = timedelta(minutes=1)


def arrive(session: Session, case: Case, settings: Settings, at: datetime) -> None:
    """The mail arrives; the feed is not fetched yet."""
    session.flush()
    for letter in letters(session, case):
        claim = deliveries.claim_delivery(session, letter.id, settings=settings, now=at)
        assert claim is not None
        if letter.channel == "email":
            deliveries.record_sent(session, claim, now=at)
        else:
            deliveries.record(session, [(claim, Awaiting("fetch"))], settings=settings, now=at)
    session.flush()
    session.expire_all()


def told(session: Session, case: Case) -> list[tuple[str, str, str]]:
    session.flush()
    return sorted((one.channel, one.says, one.state) for one in letters(session, case))


def undo_withdrawal(session: Session, incident_id: uuid.UUID, settings: Settings, at: datetime) -> None:
    later = at + MINUTE
    escalation.withdraw_cases(session, incident_id, settings=settings, actor=SYSTEM, now=at, tell_at=later)
    escalate(session, incident_id, settings, at + MINUTE / 2)
    session.flush()


@pytest.mark.parametrize("is_above", [False, True], ids=["competent", "supervising"])
def test_what_an_agency_said_stands_when_a_withdrawal_is_undone_although_nobody_had_fetched_its_feed(
    session: Session, incident_id: uuid.UUID, tree: Tree, settings: Settings, now: datetime, is_above: bool
) -> None:
    agency_id, at, kind = (tree[1], now + 25 * HOUR, "overdue") if is_above else (tree[0], now, "case")
    insert(session, "agency_contact", agency_id=agency_id, channel="cap_feed", address="feed", position=1)
    escalate(session, incident_id, settings, now)
    case = case_of(session, incident_id, tree[0])
    if is_above:
        hand_over(session, case, settings, now)
        case = supervise(session, case, settings, at)
    arrive(session, case, settings, at)
    officer = Actor.agency_link(agency_id)
    escalation.acknowledge(session, case.id, actor=officer, now=at + HOUR)
    service.answer(session, case.id, Answer("已派人", via="link"), settings=settings, actor=officer, now=at + 2 * HOUR)
    undo_withdrawal(session, incident_id, settings, at + 3 * HOUR)
    assert told(session, case) == [
        ("cap_feed", kind, "cancelled"),
        ("cap_feed", kind, "pending"),
        ("email", kind, "sent"),
        ("email", "withdrawn", "cancelled"),
    ]
    assert (case.state, case.delivered_at, case.acknowledged_at) == ("answered", at, at + HOUR)
    assert (case.answered_at, case.state_deadline_at) == (at + 2 * HOUR, case.finish_by)


def test_who_heard_of_a_withdrawal_is_told_anew_and_has_the_whole_time_again(
    session: Session, incident_id: uuid.UUID, tree: Tree, settings: Settings, now: datetime
) -> None:
    insert(session, "agency_contact", agency_id=tree[0], channel="email", address="two@gov.example", position=1)
    escalate(session, incident_id, settings, now)
    case = case_of(session, incident_id, tree[0])
    arrive(session, case, settings, now)
    escalation.acknowledge(session, case.id, actor=Actor.agency_link(tree[0]), now=now + HOUR)
    escalation.withdraw_cases(session, incident_id, settings=settings, actor=SYSTEM, now=now + 2 * HOUR)
    session.flush()
    heard = next(one for one in letters(session, case) if one.says == "withdrawn")
    claim = deliveries.claim_delivery(session, heard.id, settings=settings, now=now + 2 * HOUR)
    assert claim is not None
    deliveries.record_sent(session, claim, now=now + 2 * HOUR)
    escalate(session, incident_id, settings, now + 3 * HOUR)
    assert (case.state, case.delivered_at, case.acknowledged_at) == ("queued", None, None)


def test_an_agency_is_told_that_its_case_is_open_again_after_a_withdrawal_it_never_heard_of(
    session: Session, case: Case, officer: Actor, settings: Settings, now: datetime
) -> None:
    undo_withdrawal(session, case.incident_id, settings, now + HOUR)
    reopen(session, case, officer, settings, done_at=now + 2 * HOUR, seen_at=now + 3 * HOUR)
    session.flush()
    assert [(one.says, one.state, one.number) for one in letters(session, case)] == [
        ("case", "sent", 1),
        ("withdrawn", "cancelled", 2),
        ("reopened", "pending", 3),
    ]
