"""Cases by hand, each one edge of what counts."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation import rows

CASE_DEFAULTS = {"severity": 3, "state": "delivered", "role": "competent"}


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
