"""Rows the tests of the queue stand on."""

import uuid

from sqlalchemy.orm import Session

from tests.escalation.rows import insert


def add_zone(session: Session, kind: str, at: tuple[float, float]) -> uuid.UUID:
    """A zone of protection that is a point, such as an intake."""
    source_id = insert(session, "source", code=f"zones-{uuid.uuid4().hex[:8]}", title="tests", licence="CC0")
    return insert(
        session, "protected_zone", kind=kind, geom=f"POINT({at[0]} {at[1]})", source_id=source_id, source_key="1"
    )
