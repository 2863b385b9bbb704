"""What the tests of casework stand on: agencies one above the other, cases that were handed over."""

import uuid
from datetime import datetime
from itertools import pairwise
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import HUBEI, add_agency, insert
from waterwatch.escalation import deliveries, service
from waterwatch.escalation.tables import Case, Delivery
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure

DISTRICT = "MULTIPOLYGON(((114.2 30.5, 114.4 30.5, 114.4 30.7, 114.2 30.7, 114.2 30.5)))"
SYSTEM = Actor.system("tests")


def add_tree(session: Session, kind: str = "ecology_environment") -> tuple[uuid.UUID, uuid.UUID, uuid.UUID]:
    """A county's, a prefecture's and a province's agency of one kind, each with an address and above the one before."""
    names = {"county": ("区局", DISTRICT), "prefecture": ("市局", None), "province": ("省厅", HUBEI)}
    made: list[uuid.UUID] = []
    for level, (name, area) in names.items():
        where = {} if area is None else {"area": area}
        address = f"{level}.{kind.replace('_', '-')}@gov.example"
        made.append(add_agency(session, f"{name}{kind}", [address], level=level, kind=kind, **where))
    for child, parent in pairwise(made):
        session.execute(text("UPDATE agency SET parent_id = :parent WHERE id = :id"), {"id": child, "parent": parent})
    return made[0], made[1], made[2]


def escalate(session: Session, incident_id: uuid.UUID, settings: Settings, now: datetime) -> list[Case]:
    """One case for each competent agency."""
    return service.escalate(session, incident_id, settings=settings, actor=SYSTEM, now=now)


def hand_over(session: Session, case: Case, settings: Settings, now: datetime) -> None:
    """Every letter of a case that waits arrives."""
    session.flush()
    for delivery in letters(session, case):
        if delivery.state == "pending":
            claim = deliveries.claim_delivery(session, delivery.id, settings=settings, now=now)
            assert claim is not None
            deliveries.record_sent(session, claim, now=now)
    session.flush()


def letters(session: Session, case: Case) -> list[Delivery]:
    """A case's letters, oldest first."""
    return list(session.query(Delivery).filter_by(case_id=case.id).order_by(Delivery.number, Delivery.id))


def says(session: Session, case: Case) -> list[str]:
    """What a case's letters say, oldest first."""
    return [letter.says for letter in letters(session, case)]


def case_of(session: Session, incident_id: uuid.UUID, agency_id: uuid.UUID | None) -> Case:
    """An agency's case of an incident."""
    session.expire_all()
    return session.query(Case).filter_by(incident_id=incident_id, agency_id=agency_id).one()


def state_of(session: Session, incident_id: uuid.UUID) -> str:
    """An incident's state."""
    return str(session.execute(text("SELECT state FROM incident WHERE id = :id"), {"id": incident_id}).scalar_one())


def acts(session: Session, subject_id: uuid.UUID) -> list[str]:
    """What the audit says was done to something, in order."""
    rows = session.execute(
        text("SELECT action FROM audit_entry WHERE subject_id = :id ORDER BY id"), {"id": subject_id}
    )
    return list(rows.scalars())


def ordered(session: Session, topic: str) -> list[dict[str, Any]]:
    """What is ordered of a topic."""
    rows = session.execute(text("SELECT payload FROM outbox WHERE topic = :topic ORDER BY id"), {"topic": topic})
    return list(rows.scalars())


def add_contact(session: Session, report_id: uuid.UUID, now: datetime) -> None:
    """The author of a report wants to be told."""
    insert(
        session,
        "push_subscription",
        report_id=report_id,
        endpoint_digest=bytes(32),
        sealed=b"sealed",
        created_at=now,
    )


def refuse_all(session: Session, case: Case, settings: Settings, now: datetime) -> None:
    """Every letter of a case that waits is refused for good."""
    session.flush()
    for delivery in letters(session, case):
        if delivery.state == "pending":
            claim = deliveries.claim_delivery(session, delivery.id, settings=settings, now=now)
            assert claim is not None
            failure = Failure("550", is_permanent=True)
            deliveries.record_failure(session, claim, failure, settings=settings, now=now)
    session.flush()


def alarms(session: Session, case: Case) -> dict[str, bool]:
    """By reason, what the leads are to be told of a case, and whether they were."""
    rows = session.execute(
        text("SELECT reason, told_at IS NOT NULL AS is_told FROM case_alarm WHERE case_id = :id"), {"id": case.id}
    )
    return {row.reason: row.is_told for row in rows}


def leads_are_told(session: Session, now: datetime) -> None:
    """Of everything that waits to be told."""
    session.execute(text("UPDATE case_alarm SET told_at = :now WHERE told_at IS NULL"), {"now": now})
