"""Rows the officers' desk stands on: a tree of agencies, and cases of theirs in every state."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import IN_WUHAN, WUHAN, add_incident, insert

OWN = "wuchang-water"  # the agency of the demonstration's officer


def add_office(
    session: Session,
    code: str,
    name: str,
    *,
    parent_id: uuid.UUID | None = None,
    level: str = "county",
    kind: str = "water",
    area: str = WUHAN,
) -> uuid.UUID:
    """An agency with an area of its own."""
    number = session.execute(text("SELECT 420100 + count(*) FROM jurisdiction")).scalar_one()
    area_id = insert(session, "jurisdiction", code=str(number), level=level, geom=area)
    agency_id = insert(
        session, "agency", code=code, kind=kind, level=level, jurisdiction_id=area_id, parent_id=parent_id
    )
    insert(session, "agency_name", agency_id=agency_id, lang="zh-Hans", name=name)
    insert(
        session, "agency_contact", agency_id=agency_id, channel="email", address=f"{code}@agency.example", position=1
    )
    return agency_id


def add_case(
    session: Session,
    agency_id: uuid.UUID,
    *,
    now: datetime,
    state: str = "delivered",
    severity: int = 3,
    due_in_h: float | None = 24,
    at: tuple[float, float] = IN_WUHAN,
    water: str = "长江",
    incident_id: uuid.UUID | None = None,
    **facts: Any,
) -> uuid.UUID:
    """A case of an agency; its deadline is so many hours away, past where that is negative."""
    incident_id = incident_id or add_incident(session, now=now, severity=severity, at=at, water=water)
    told = now - timedelta(hours=48)
    is_told = state not in ("queued", "no_contact", "dead")
    is_acknowledged = state in ("acknowledged", "answered", "closed")
    deadline = None if due_in_h is None or state in ("closed", "withdrawn", "refused_not_ours") else due_in_h
    values: dict[str, Any] = {
        "incident_id": incident_id,
        "agency_id": agency_id,
        "state": state,
        "state_since": told,
        "severity": severity,
        "created_at": told,
        "delivered_at": told if is_told else None,
        "acknowledged_at": told + timedelta(hours=1) if is_acknowledged else None,
        "state_deadline_at": None if deadline is None else now + timedelta(hours=deadline),
    }
    return insert(session, "escalation_case", **(values | facts))


def state_of(session: Session, case_id: uuid.UUID) -> str:
    """Where a case stands."""
    return str(session.execute(text("SELECT state FROM escalation_case WHERE id = :id"), {"id": case_id}).scalar_one())
