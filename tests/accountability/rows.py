"""Cases by hand, each one edge of what counts."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation import rows

CASE_DEFAULTS = {"severity": 3, "state": "delivered", "role": "competent"}


def add_round(session: Session, case_id: uuid.UUID, at: datetime, reopened_at: datetime, **facts: Any) -> None:
    """A former round of a case: delivered and reported done at ``at``, until a photo showed that it was not."""
    values = {"number": 1, "severity": 3, "delivered_at": at, "closed_at": at, **facts}
    values |= {"case_id": case_id, "reopened_at": reopened_at}
    places = ", ".join(f":{name}" for name in values)
    session.execute(text(f"INSERT INTO case_round ({', '.join(values)}) VALUES ({places})"), values)


def add_mail(session: Session, case_id: uuid.UUID, said_at: datetime, **facts: Any) -> uuid.UUID:
    """What a department wrote by mail, and a lead has not read yet."""
    values = {"kind": "answer", "via": "email", "state": "held", "words": "已派人", **facts}
    return rows.insert(session, "case_answer", case_id=case_id, said_at=said_at, state_since=said_at, **values)


def add_case(session: Session, agency_id: uuid.UUID, created_at: datetime, **facts: Any) -> uuid.UUID:
    """A case of an incident of its own. ``incident``: columns of it that differ. Times as given, the rest is empty."""
    incident_id = rows.add_incident(session, now=created_at)
    if changes := facts.pop("incident", None):
        assignments = ", ".join(f"{name} = :{name}" for name in changes)
        session.execute(text(f"UPDATE incident SET {assignments} WHERE id = :id"), {**changes, "id": incident_id})
    return rows.insert(
        session,
        "escalation_case",
        **{
            **CASE_DEFAULTS,
            "incident_id": incident_id,
            "agency_id": agency_id,
            "created_at": created_at,
            "state_since": created_at,
            **facts,
        },
    )
