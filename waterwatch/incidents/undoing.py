"""What was done to incidents, taken back: a second's word, a split, a joining of two. None commits.

A regrade is taken back by :func:`service.undo_regrade`, a report by :func:`service.detach`.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from waterwatch.incidents.rules import INCIDENT
from waterwatch.incidents.service import audit_incident, facts_of, lock_incident
from waterwatch.incidents.standing import first_report, place_by_first, settle
from waterwatch.incidents.tables import Grade, Incident, IncidentReport
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict

_SECONDED = text("""
SELECT id FROM grade WHERE incident_id = :id AND seconded_by = :person_id AND seconded_at = :at
ORDER BY graded_at DESC, id DESC LIMIT 1
""")
_SUPERSEDED = text("""
SELECT id, superseded_by_id FROM grade WHERE report_id = ANY(:ids) AND superseded_by_id IS NOT NULL
""")
_HELD = text("""
SELECT i.state, ARRAY(SELECT report_id FROM incident_report WHERE incident_id = i.id ORDER BY report_id) AS reports,
       ARRAY(SELECT id FROM grade WHERE incident_id = i.id ORDER BY id) AS grades,
       ARRAY(SELECT id FROM incident m WHERE m.merged_into_id = i.id ORDER BY id) AS merged
FROM incident i WHERE i.id = :id
""")


@dataclass(frozen=True)
class Holding:
    """What an incident had before it was absorbed: its state, reports, grades, and those it had absorbed itself."""

    state: str
    reports: tuple[uuid.UUID, ...]
    grades: tuple[uuid.UUID, ...]
    merged: tuple[uuid.UUID, ...]


def seconded_grade(session: Session, incident_id: uuid.UUID, person_id: uuid.UUID, at: datetime) -> uuid.UUID | None:
    """The grade a person seconded at a time, or None."""
    values = {"id": incident_id, "person_id": person_id, "at": at}
    found: uuid.UUID | None = session.execute(_SECONDED, values).scalar_one_or_none()
    return found


def superseded_of(session: Session, report_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    """Those grades of some reports that a regrade has taken the place of, and which."""
    return {row.id: row.superseded_by_id for row in session.execute(_SUPERSEDED, {"ids": list(report_ids)})}


def holding_of(session: Session, incident_id: uuid.UUID) -> Holding:
    """What an incident has now; its lock is the caller's."""
    lock_incident(session, incident_id)
    session.flush()
    row = session.execute(_HELD, {"id": incident_id}).one()
    return Holding(row.state, tuple(row.reports), tuple(row.grades), tuple(row.merged))


def unsecond(session: Session, incident_id: uuid.UUID, grade_id: uuid.UUID, *, actor: Actor, now: datetime) -> Incident:
    """A second's word is taken back: without another one, a red that still stands is orange again, and waits."""
    incident = lock_incident(session, incident_id, may_be_closed=True)
    before = facts_of(incident)
    grade = session.get(Grade, grade_id, with_for_update=True)
    if grade is None or grade.seconded_by is None:
        raise Conflict("not_seconded")
    grade.seconded_by = grade.seconded_at = None
    settle(session, incident)
    audit_incident(session, incident, "incident.unseconded", actor, now, before=before)
    return incident


def unsplit(
    session: Session,
    incident_id: uuid.UUID,
    made_id: uuid.UUID,
    superseded: Mapping[uuid.UUID, uuid.UUID],
    *,
    actor: Actor,
    now: datetime,
) -> Incident:
    """Let all reports of an incident go back to the one it was split off; it is withdrawn itself.

    ``superseded``: which of their grades a regrade had taken the place of, and which, before the split.
    """
    for one in sorted((incident_id, made_id)):
        lock_incident(session, one, may_be_closed=True)
    incident = lock_incident(session, incident_id, may_be_closed=True)
    made = lock_incident(session, made_id, may_be_closed=True)
    if made.state in ("merged", "retracted") or incident.state in ("merged", "retracted"):
        raise Conflict("incident_is_closed")
    before, before_made = facts_of(incident), facts_of(made)
    for grade in session.scalars(select(Grade).where(Grade.incident_id == made_id)):
        if grade.basis == "regrade":
            grade.reversed_at, grade.reversed_by = now, actor.id
        else:
            grade.incident_id, grade.superseded_by_id = incident_id, superseded.get(grade.id)
    links = update(IncidentReport).where(IncidentReport.incident_id == made_id)
    count = len(session.scalars(links.values(incident_id=incident_id).returning(IncidentReport.report_id)).all())
    INCIDENT.move(made, "retracted", now=now)
    made.closed_at = made.closed_at or now
    place_by_first(session, incident)
    settle(session, incident)
    audit_incident(session, made, "incident.retracted", actor, now, before=before_made, other=incident, reports=count)
    audit_incident(session, incident, "incident.unsplit", actor, now, before=before, other=made, reports=count)
    return incident


def unabsorb(
    session: Session, into_id: uuid.UUID, gone_id: uuid.UUID, had: Holding, *, actor: Actor, now: datetime
) -> Incident:
    """Two incidents were two after all: the absorbed one has again what it had, and is open. Returns it."""
    for one in sorted((into_id, gone_id)):
        lock_incident(session, one, may_be_closed=True)
    into = lock_incident(session, into_id, may_be_closed=True)
    gone = lock_incident(session, gone_id, may_be_closed=True)
    if gone.state != "merged" or gone.merged_into_id != into_id:
        raise Conflict("not_absorbed")
    before, before_gone = facts_of(into), facts_of(gone)
    is_first_leaving = first_report(session, into_id) in had.reports
    INCIDENT.move(gone, had.state, now=now)
    gone.closed_at = gone.merged_into_id = None
    session.flush()
    for rows in (
        update(IncidentReport)
        .where(IncidentReport.incident_id == into_id, IncidentReport.report_id.in_(had.reports))
        .values(incident_id=gone_id),
        update(Grade).where(Grade.incident_id == into_id, Grade.id.in_(had.grades)).values(incident_id=gone_id),
        update(Incident)
        .where(Incident.merged_into_id == into_id, Incident.id.in_(had.merged))
        .values(merged_into_id=gone_id),
    ):
        session.execute(rows)
    if is_first_leaving:
        place_by_first(session, into)
    for incident in (gone, into):
        settle(session, incident)
    count = len(had.reports)
    audit_incident(session, gone, "incident.unmerged", actor, now, before=before_gone, other=into, reports=count)
    audit_incident(session, into, "incident.unabsorbed", actor, now, before=before, other=gone, reports=count)
    return gone
