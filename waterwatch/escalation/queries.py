"""Every SELECT of escalation, named for its answer."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from waterwatch.escalation.tables import Case, Delivery
from waterwatch.kernel.errors import NotFound


@dataclass(frozen=True)
class Place:
    """Where and what an incident is, for routing: exact point in WGS-84 degrees, severity rank 1 to 4."""

    lon: float
    lat: float
    kind: str
    severity: int


def lock_place(session: Session, incident_id: uuid.UUID) -> Place:
    """The incident's place, its row locked so that two escalations of one incident follow each other.

    Raises :class:`NotFound`.
    """
    row = session.execute(
        text("""SELECT ST_X(exact_point) AS lon, ST_Y(exact_point) AS lat, kind, severity
                FROM incident WHERE id = :id FOR NO KEY UPDATE"""),
        {"id": incident_id},
    ).first()
    if row is None:
        raise NotFound("incident_not_found")
    return Place(row.lon, row.lat, row.kind, row.severity)


def cases_by_agency(session: Session, incident_id: uuid.UUID) -> dict[uuid.UUID | None, Case]:
    """The incident's cases, locked, by agency; None is the case that says nobody is competent."""
    cases = session.scalars(select(Case).where(Case.incident_id == incident_id).order_by(Case.id).with_for_update())
    return {case.agency_id: case for case in cases}


def locked_case(session: Session, case_id: uuid.UUID) -> Case:
    """One case, locked. Raises :class:`NotFound`."""
    case = session.scalars(
        select(Case).where(Case.id == case_id).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if case is None:
        raise NotFound("case_not_found")
    return case


def locked_delivery(session: Session, delivery_id: uuid.UUID) -> Delivery:
    """One delivery, locked. Raises :class:`NotFound`."""
    delivery = session.scalars(
        select(Delivery).where(Delivery.id == delivery_id).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if delivery is None:
        raise NotFound("delivery_not_found")
    return delivery


def addresses_of(session: Session, case_id: uuid.UUID) -> set[str]:
    """The addresses a case has deliveries for, whatever became of them."""
    return set(session.scalars(select(Delivery.address).where(Delivery.case_id == case_id)))


def is_hopeless(session: Session, case_id: uuid.UUID) -> bool:
    """Whether no delivery of the case was sent or still can be."""
    alive = select(Delivery.id).where(Delivery.case_id == case_id, Delivery.state.in_(("pending", "sending", "sent")))
    return session.scalars(alive.limit(1)).first() is None


@dataclass(frozen=True)
class OpenNoContact:
    """A case nobody could be told of."""

    case_id: uuid.UUID
    incident_id: uuid.UUID
    agency_id: uuid.UUID | None
    severity: int
    since: datetime


def open_no_contact(session: Session, *, limit: int = 200) -> list[OpenNoContact]:
    """The cases that wait because nobody is competent or no address is known; gravest first, then oldest."""
    cases = session.scalars(
        select(Case).where(Case.state == "no_contact").order_by(Case.severity.desc(), Case.created_at).limit(limit)
    )
    return [OpenNoContact(c.id, c.incident_id, c.agency_id, c.severity, c.state_since) for c in cases]
