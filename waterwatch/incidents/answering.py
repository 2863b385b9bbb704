"""What an incident makes of what agencies say and of what citizens see afterwards. None commits.

The clock by which an unconfirmed incident loses its colour runs on: what an agency says confirms nothing.
"""

import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.incidents.rules import INCIDENT
from waterwatch.incidents.service import audit_incident, facts_of, lock_incident
from waterwatch.kernel.audit import Actor


def note_answered(session: Session, incident_id: uuid.UUID, *, actor: Actor, now: datetime) -> bool:
    """An agency has answered in public. Idempotent; False where the incident has come further, or has ended."""
    return _move(session, incident_id, ("open", "reopened"), "answered", actor=actor, now=now)


def claim_resolved(session: Session, incident_id: uuid.UUID, *, actor: Actor, now: datetime) -> bool:
    """Every competent agency says that it is done. Idempotent; False where that is known, or the incident has ended."""
    return _move(session, incident_id, ("open", "reopened", "answered"), "resolved_claimed", actor=actor, now=now)


def unclaim(session: Session, incident_id: uuid.UUID, *, actor: Actor, now: datetime) -> bool:
    """It is not said any more that it is done: somebody else is competent too, or what was said is withheld."""
    return _move(session, incident_id, ("resolved_claimed",), "answered", actor=actor, now=now)


def reopen(session: Session, incident_id: uuid.UUID, *, actor: Actor, now: datetime) -> bool:
    """A citizen's photo shows that it is not over. Idempotent; False where nobody had said that it was."""
    return _move(session, incident_id, ("resolved_claimed",), "reopened", actor=actor, now=now)


def _move(
    session: Session, incident_id: uuid.UUID, sources: tuple[str, ...], target: str, *, actor: Actor, now: datetime
) -> bool:
    incident = lock_incident(session, incident_id, may_be_closed=True)
    if incident.state not in sources:
        return False
    before, clock = facts_of(incident), incident.state_deadline_at
    INCIDENT.move(incident, target, now=now)
    incident.state_deadline_at = clock
    session.flush()
    audit_incident(session, incident, f"incident.{target}", actor, now, before=before)
    return True
