"""What a superior watches that was told of a lapse below it: which case, until when, and when it is its own."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.casework.rows import DISTRICT, SYSTEM, case_of, hand_over, letters, says
from tests.escalation.rows import add_agency
from waterwatch.casework import pressing, queries, service
from waterwatch.casework.service import Answer
from waterwatch.escalation import deliveries, public_queries
from waterwatch.escalation import service as escalation
from waterwatch.escalation.tables import Case
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure

Tree = tuple[uuid.UUID, uuid.UUID, uuid.UUID]
HOUR = timedelta(hours=1)
ANSWER_BY = datetime(2026, 5, 29, 2, 30, tzinfo=UTC)


@pytest.fixture
def sweep(settings: Settings) -> dict[str, Any]:
    return {"settings": settings, "actor": SYSTEM}


def public_late(session: Session, case: Case, now: datetime) -> bool:
    """Whether anybody can read that the agency of a case is late."""
    session.flush()
    (shown,) = (one for one in public_queries.cases_of(session, case.incident_id) if one.case_id == case.id)
    return shown.is_late(now=now)


@pytest.mark.parametrize(
    ("severity", "came", "asked", "is_late"),
    [(3, -1, 1, False), (3, -1, 24, True), (3, 1, 2, True), (4, -1, 1, True)],
    ids=["a mail in time", "nobody has read it for a day", "too late", "red"],
)
def test_whoever_supervises_is_not_late_while_a_lead_has_to_read_what_the_agency_below_wrote_in_time(
    session: Session,
    incident_id: uuid.UUID,
    tree: Tree,
    case: Case,
    sweep: dict[str, Any],
    officer: Actor,
    now: datetime,
    severity: int,
    came: int,
    asked: int,
    is_late: bool,
) -> None:
    pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep)
    above = case_of(session, incident_id, tree[1])
    hand_over(session, above, sweep["settings"], now + 25 * HOUR)
    escalation.acknowledge(session, case.id, actor=officer, now=now + 26 * HOUR)
    assert not pressing.remind(session, above.id, now=now + 43 * HOUR, **sweep)
    assert above.state_deadline_at == ANSWER_BY
    case.severity = above.severity = severity
    said = Answer("收到，正在办理。", via="email", source_key="mail:1")
    service.answer(session, case.id, said, settings=sweep["settings"], actor=officer, now=ANSWER_BY + came * HOUR)
    at = ANSWER_BY + asked * HOUR
    assert public_late(session, above, at) is is_late
    told = pressing.escalate_overdue(session, above.id, now=at, **sweep)
    assert (told is not None, above.escalated_at is not None) == (is_late, is_late)


@pytest.mark.parametrize("is_lowest_first", [True, False], ids=["from below", "from above"])
def test_supervisors_of_supervisors_wait_for_what_is_owed_below_next_although_they_were_late_themselves(
    session: Session,
    incident_id: uuid.UUID,
    tree: Tree,
    case: Case,
    sweep: dict[str, Any],
    officer: Actor,
    now: datetime,
    is_lowest_first: bool,
) -> None:
    pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep)
    above = case_of(session, incident_id, tree[1])
    hand_over(session, above, sweep["settings"], now + 25 * HOUR)
    pressing.escalate_overdue(session, above.id, now=now + 50 * HOUR, **sweep)
    top = case_of(session, incident_id, tree[2])
    hand_over(session, top, sweep["settings"], now + 50 * HOUR)
    escalation.acknowledge(session, case.id, actor=officer, now=now + 51 * HOUR)
    session.flush()
    assert queries.overdue_cases(session, now=now + 52 * HOUR, limit=9) == [above.id]
    late = now + 75 * HOUR
    assert queries.overdue_cases(session, now=late, limit=9) == [above.id, top.id]
    assert public_late(session, above, late)
    for each in (above, top) if is_lowest_first else (top, above):
        assert pressing.escalate_overdue(session, each.id, now=late, **sweep) is None
    assert (above.state_deadline_at, above.escalated_at) == (ANSWER_BY, now + 50 * HOUR)
    assert (top.state_deadline_at, top.escalated_at) == (ANSWER_BY, None)
    assert not public_late(session, above, late)
    assert queries.overdue_cases(session, now=late, limit=9) == []
    said = Answer("收到，正在办理。", via="email", source_key="mail:1")
    service.answer(session, case.id, said, settings=sweep["settings"], actor=officer, now=ANSWER_BY - HOUR)
    assert not public_late(session, top, ANSWER_BY + HOUR)
    assert pressing.escalate_overdue(session, top.id, now=ANSWER_BY + HOUR, **sweep) is None
    assert top.escalated_at is None


@pytest.mark.parametrize("is_made_up_for", [True, False], ids=["the first has time again", "the first is late still"])
def test_a_superior_has_a_clock_of_another_agencys_lapse_unless_the_first_is_late_still(
    session: Session,
    incident_id: uuid.UUID,
    tree: Tree,
    case: Case,
    sweep: dict[str, Any],
    officer: Actor,
    now: datetime,
    is_made_up_for: bool,
) -> None:
    other = add_agency(session, "水务局", ["w@gov.example"], area=DISTRICT, level="county", kind="water")
    session.execute(text("UPDATE agency SET parent_id = :above WHERE id = :id"), {"id": other, "above": tree[1]})
    escalation.escalate(session, incident_id, now=now, **sweep)
    second = case_of(session, incident_id, other)
    hand_over(session, second, sweep["settings"], now + 20 * HOUR)
    pressing.escalate_overdue(session, case.id, now=now + 25 * HOUR, **sweep)
    above = case_of(session, incident_id, tree[1])
    hand_over(session, above, sweep["settings"], now + 25 * HOUR)
    if is_made_up_for:
        escalation.acknowledge(session, case.id, actor=officer, now=now + 26 * HOUR)
        assert not pressing.remind(session, above.id, now=now + 43 * HOUR, **sweep)
        assert above.state_deadline_at == ANSWER_BY
    assert pressing.escalate_overdue(session, second.id, now=now + 45 * HOUR, **sweep) == above.id
    session.flush()
    assert says(session, above) == ["overdue", "overdue"]
    since, watched = (now + 45 * HOUR, second) if is_made_up_for else (now + 25 * HOUR, case)
    assert (above.supervises_id, above.state_deadline_at) == (watched.id, since + 24 * HOUR)
    top_id = pressing.escalate_overdue(session, above.id, now=now + 70 * HOUR, **sweep)
    assert case_of(session, incident_id, tree[2]).id == top_id


def test_a_superior_that_could_not_be_reached_is_told_of_a_case_of_its_own_once_it_can_be_and_the_agency_refused(
    session: Session, incident_id: uuid.UUID, tree: Tree, case: Case, officer: Actor, settings: Settings, now: datetime
) -> None:
    session.execute(text("UPDATE agency_contact SET active = false WHERE agency_id <> :id"), {"id": tree[0]})
    pressing.escalate_overdue(session, case.id, settings=settings, actor=SYSTEM, now=now + 25 * HOUR)
    above = case_of(session, incident_id, tree[1])
    assert (above.state, above.role) == ("no_contact", "supervising")
    said, at = Answer("不归我们", via="link"), now + 26 * HOUR
    service.refuse_not_ours(session, case.id, said, settings=settings, actor=officer, now=at)
    session.execute(text("UPDATE agency_contact SET active = true WHERE agency_id = :id"), {"id": tree[1]})
    told = frozenset({tree[1]})
    escalation.escalate(session, incident_id, settings=settings, actor=SYSTEM, now=at + HOUR, again_for=told)
    above = case_of(session, incident_id, tree[1])
    assert (above.state, above.role, above.supervises_id) == ("queued", "competent", None)
    assert says(session, above) == ["case"]


def test_a_superior_whose_letter_is_put_off_is_told_by_another_that_the_case_is_its_own(
    session: Session, case: Case, officer: Actor, settings: Settings, now: datetime
) -> None:
    above_id = pressing.escalate_overdue(session, case.id, settings=settings, actor=SYSTEM, now=now + 25 * HOUR)
    above, at = session.get_one(Case, above_id), now + 26 * HOUR
    (letter,) = letters(session, above)
    claim = deliveries.claim_delivery(session, letter.id, settings=settings, now=now + 25 * HOUR)
    assert claim is not None
    put_off = Failure("450", is_deferred=True)
    deliveries.record_failure(session, claim, put_off, settings=settings, now=now + 25 * HOUR)
    said = Answer("不归我们", via="link")
    onward = service.refuse_not_ours(session, case.id, said, settings=settings, actor=officer, now=at)
    session.flush()
    assert (onward, above.role, above.state) == (above.id, "competent", "queued")
    assert [(one.says, one.state) for one in letters(session, above)] == [("overdue", "pending"), ("case", "pending")]
