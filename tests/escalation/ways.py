"""Agencies that are reached by one channel, and cases that were handed over by it."""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_agency, add_incident, insert
from waterwatch.agencies.tables import SEALED_FOR
from waterwatch.escalation import deliveries, service
from waterwatch.escalation.channels import Outcome
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.sealing import seal_value
from waterwatch.kernel.settings import Settings

TESTS = Actor.system("tests")


@dataclass(frozen=True)
class Told:
    """A case that one agency was told of through one channel."""

    incident_id: uuid.UUID
    case_id: uuid.UUID
    delivery_id: uuid.UUID
    contact_id: uuid.UUID
    code: str


def add_way(
    session: Session,
    channel: str,
    address: str,
    contact_settings: dict[str, Any] | None = None,
    *,
    secret: bytes | None = None,
    settings: Settings,
    name: str = "武汉市生态环境局",
) -> uuid.UUID:
    """An agency with one contact; gives the contact's id."""
    agency_id = add_agency(session, name, [])
    contact_id = new_id()
    sealed = seal_value(settings, SEALED_FOR, contact_id, secret) if secret else None
    insert(session, "agency_contact", id=contact_id, agency_id=agency_id, channel=channel, address=address,
           position=0, settings=json.dumps(contact_settings or {}), sealed_secret=sealed)  # fmt: skip
    return contact_id


def tell(
    sessions: sessionmaker[Session],
    contact_id: uuid.UUID,
    outcome: Outcome,
    *,
    settings: Settings,
    now: datetime,
    severity: int = 3,
) -> Told:
    """An incident in Wuhan, its case, and the hand-over with this outcome."""
    with transaction(sessions) as session:
        incident_id = add_incident(session, now=now, severity=severity)
        session.execute(
            text(
                "UPDATE incident SET public_point = ST_SetSRID(ST_MakePoint(114.31234, 30.58765), 4326) WHERE id = :id"
            ),
            {"id": incident_id},
        )
        service.escalate(session, incident_id, settings=settings, actor=TESTS, now=now)
    with transaction(sessions) as session:
        row = session.execute(
            text("""SELECT d.id, d.case_id, i.code FROM delivery d JOIN escalation_case c ON c.id = d.case_id
                    JOIN incident i ON i.id = c.incident_id
                    WHERE d.contact_id = :contact AND c.incident_id = :incident"""),
            {"contact": contact_id, "incident": incident_id},
        ).one()
        claim = deliveries.claim_delivery(session, row.id, settings=settings, now=now)
        assert claim is not None
    with transaction(sessions) as session:
        deliveries.record(session, [(claim, outcome)], settings=settings, now=now)
    return Told(incident_id, row.case_id, row.id, contact_id, row.code)


def delivery_of(sessions: sessionmaker[Session], told: Told) -> Any:
    """The row of a delivery, with the state of its case."""
    with transaction(sessions) as session:
        return session.execute(
            text("SELECT d.*, c.state AS case_state FROM delivery d JOIN escalation_case c ON c.id = d.case_id"
                 " WHERE d.id = :id"),
            {"id": told.delivery_id},
        ).one()  # fmt: skip
