"""What officers do at their desk beside answering, which is casework's: several acknowledged at once, notes, wishes."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from waterwatch.agencies.tables import Agency
from waterwatch.escalation import service as escalation
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.ids import new_id
from waterwatch.officers import queries
from waterwatch.officers.forms import DigestForm
from waterwatch.officers.queries import Office
from waterwatch.officers.tables import CaseNote

NOTES_KEPT_FOR = timedelta(days=365)  # after a case has ended: as long as an audit of the agency may ask (ours)
_FORGET_NOTES = text("""
WITH gone AS (
    DELETE FROM case_note n USING escalation_case c
    WHERE c.id = n.case_id AND (c.state = 'withdrawn'
        OR c.state IN ('closed', 'refused_not_ours') AND c.state_since < :before AND n.said_at < :before)
    RETURNING 1)
SELECT count(*) FROM gone
""")


@dataclass(frozen=True)
class Acknowledged:
    """How many of several were acknowledged now, had been before, or could not be: taken back, or not the agency's."""

    new: int
    before: int
    refused: int


def acknowledge_several(
    session: Session, office: Office, case_ids: Sequence[uuid.UUID], *, actor: Actor, now: datetime
) -> Acknowledged:
    """Acknowledge the agency's own cases among these, one audit row each. What cannot be is passed over and counted.

    Locked in the order of their ids, so that two officers who tick the same ones never wait for each other in a circle.
    """
    new = before = refused = 0
    for case_id in sorted(case_ids):
        if not queries.reach_of(session, office, case_id):
            refused += 1
            continue
        try:
            done = escalation.acknowledge(session, case_id, actor=actor, now=now)
        except Conflict:
            refused += 1
            continue
        new, before = new + done.is_new, before + (not done.is_new)
    return Acknowledged(new, before, refused)


def note(session: Session, case_id: uuid.UUID, words: str, *, actor: Actor, now: datetime) -> uuid.UUID:
    """Keep a note on a case for the agency's own people. The audit says that there is one, and none of its words."""
    row = CaseNote(id=new_id(), case_id=case_id, words=words, said_at=now, said_by=actor.id)
    session.add(row)
    session.flush()
    facts: dict[str, audit.Fact] = {"note_id": row.id}
    audit.record(
        session, action="case.noted", subject_kind="case", subject_id=case_id, actor=actor, now=now, after=facts
    )
    return row.id


def forget_notes(session: Session, *, now: datetime) -> int:
    """Notes on what was taken back go at once, those on what ended a year ago with it. Returns how many went."""
    return int(session.execute(_FORGET_NOTES, {"before": now - NOTES_KEPT_FOR}).scalar_one())


def choose_digest(session: Session, office: Office, wish: DigestForm, *, actor: Actor, now: datetime) -> bool:
    """How letters come: each at once, or those of little severity together. False where it was so before."""
    agency = session.scalars(select(Agency).where(Agency.id == office.agency_id).with_for_update()).one()
    before: dict[str, audit.Fact] = {"digest_upto": agency.digest_upto, "digest_at": f"{agency.digest_at:%H:%M}"}
    after: dict[str, audit.Fact] = {"digest_upto": wish.upto, "digest_at": f"{wish.at:%H:%M}"}
    if before == after:
        return False
    agency.digest_upto, agency.digest_at = wish.upto, wish.at
    session.flush()
    audit.record(
        session,
        action="agency.digest_chosen",
        subject_kind="agency",
        subject_id=office.agency_id,
        actor=actor,
        now=now,
        before=before,
        after=after,
    )
    return True
