"""Use cases of incidents, from opening to their end. None commits.

Which level, clock, place and extent follow from what a use case did is :mod:`waterwatch.incidents.standing`'s.
"""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from waterwatch.incidents import queries
from waterwatch.incidents.rules import INCIDENT, OPEN_STATES, Severity, acting_severity, step_down_at
from waterwatch.incidents.standing import (
    NEWEST,
    Judgement,
    counting,
    first_report,
    grade_as,
    lower,
    make_grade,
    move_reports,
    place_by_first,
    second,
    settle,
    take_over,
    water_of_first,
)
from waterwatch.incidents.tables import Grade, Incident, IncidentReport, IncidentVerification
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, NotFound
from waterwatch.kernel.gathering import put, write
from waterwatch.kernel.ids import new_code, new_id

__all__ = ["Judgement"]  # a grade is passed to the use cases of this module: callers find it here


@dataclass(frozen=True)
class OpenIncident:
    """A new incident from one report. Positions are WGS-84 (lon, lat); the public one lies on the water."""

    report_id: uuid.UUID
    organisation_id: uuid.UUID
    water_feature_id: uuid.UUID
    exact: tuple[float, float]
    public: tuple[float, float]
    judgement: Judgement


def open_incident(session: Session, command: OpenIncident, *, actor: Actor, now: datetime) -> Incident:
    """Open an incident evidenced by one report and graded by ``actor``.

    Raises :class:`Invalid` when the grade departs from the rubric without a reason, and :class:`Conflict` when the
    report already evidences an incident.
    """
    if session.get(IncidentReport, command.report_id) is not None:
        raise Conflict("report_already_accepted")
    graded = command.judgement.severity
    incident = Incident(
        id=new_id(),
        code=new_code(),
        organisation_id=command.organisation_id,
        kind=command.judgement.inputs.kind,
        graded_severity=int(graded),
        severity=int(acting_severity(graded, is_seconded=False)),
        water_feature_id=command.water_feature_id,
        exact_point=func.ST_SetSRID(func.ST_MakePoint(*command.exact), 4326),
        public_point=func.ST_SetSRID(func.ST_MakePoint(*command.public), 4326),
        public_extent=func.ST_SetSRID(func.ST_MakePoint(*command.public), 4326),
        extent_m=0.0,
        opened_at=now,
        last_confirmed_at=now,
    )
    INCIDENT.enter(incident, now=now)
    incident.state_deadline_at = step_down_at(Severity(incident.severity), confirmed_at=now)
    session.add(incident)
    session.flush()
    put(session, IncidentReport(report_id=command.report_id, incident_id=incident.id, joined_at=now))
    put(session, make_grade(incident, command.judgement, report_id=command.report_id, actor=actor, now=now))
    audit_incident(session, incident, "incident.opened", actor, now, report_id=command.report_id)
    return incident


def join_incident(
    session: Session,
    incident_id: uuid.UUID,
    report_id: uuid.UUID,
    judgement: Judgement,
    *,
    actor: Actor,
    now: datetime,
) -> Incident:
    """Let a further report evidence an open incident; that confirms it and restarts its step-down clock.

    What the report shows is graded like any other, and the incident takes the higher of its level and this one: a red
    grade waits for a second moderator as ever, unless it is itself the second one. A lower grade lowers nothing, since
    the earlier reports still stand. Errors as :func:`open_incident`.
    """
    incident = lock_incident(session, incident_id)
    if session.get(IncidentReport, report_id) is not None:
        raise Conflict("report_already_accepted")
    session.add(IncidentReport(report_id=report_id, incident_id=incident.id, joined_at=now))
    if judgement.severity is Severity.ESPECIALLY_MAJOR:
        second(session, incident, actor, now=now)
    grade_as(session, incident, judgement, report_id=report_id, actor=actor, now=now)
    settle(session, incident)
    audit_incident(session, incident, "incident.joined", actor, now, report_id=report_id)
    return incident


def second_red(session: Session, incident_id: uuid.UUID, *, actor: Actor, now: datetime) -> Incident:
    """A second moderator confirms a red grade: from now on the incident acts as red.

    Raises :class:`Conflict` when no red grade waits, :class:`Forbidden` when the grader seconds their own grade.
    """
    incident = lock_incident(session, incident_id)
    if incident.graded_severity == incident.severity:
        raise Conflict("no_red_waiting")
    if not second(session, incident, actor, now=now):
        raise Forbidden("second_must_be_another")
    settle(session, incident)
    audit_incident(session, incident, "incident.seconded", actor, now)
    return incident


def step_down(session: Session, incident_id: uuid.UUID, *, now: datetime) -> Incident | None:
    """Let an incident nobody confirmed lose a colour, or end it when it was blue. None when it is not overdue.

    Idempotent: the deadline moves with every step, so a second sweep finds nothing to do.
    """
    incident = lock_incident(session, incident_id)
    if incident.state_deadline_at is None or incident.state_deadline_at > now:
        return None
    actor = Actor.system("sweep")
    if incident.severity == Severity.GENERAL:
        INCIDENT.move(incident, "expired", now=now)
        incident.closed_at = now
        audit_incident(session, incident, "incident.expired", actor, now)
        return incident
    lower(session, incident, Severity(incident.severity - 1), now=now)
    audit_incident(session, incident, "incident.stepped_down", actor, now)
    return incident


def regrade(session: Session, incident_id: uuid.UUID, judgement: Judgement, *, actor: Actor, now: datetime) -> Incident:
    """Grade an open incident as a whole, anew: from now on this counts instead of every grade before, and may be lower.

    The kind becomes the judgement's. Red waits for a second moderator again, whatever stood before. The grades it
    takes the place of are kept. Raises :class:`Invalid`, :class:`Conflict` ``incident_is_closed``, :class:`NotFound`.
    """
    incident = lock_incident(session, incident_id)
    before = facts_of(incident)
    take_over(session, incident, judgement, actor=actor, now=now)
    settle(session, incident)
    audit_incident(session, incident, "incident.regraded", actor, now, before=before)
    return incident


def undo_regrade(
    session: Session, incident_id: uuid.UUID, *, former_kind: str, actor: Actor, now: datetime
) -> Incident:
    """Take an incident's last regrade back: what it took the place of counts again, less what time has lowered since.
    ``former_kind``: what the incident was of before; its reports may each be of another.

    Raises :class:`Conflict` ``no_regrade``. The clock goes on as if it had never been given.
    """
    incident = lock_incident(session, incident_id)
    before = facts_of(incident)
    grade = session.scalars(counting(incident).where(Grade.basis == "regrade").order_by(*NEWEST).limit(1)).first()
    if grade is None:
        raise Conflict("no_regrade")
    grade.reversed_at, grade.reversed_by = now, actor.id
    taken = session.scalars(select(Grade).where(Grade.superseded_by_id == grade.id)).all()
    for earlier in taken:
        earlier.superseded_by_id = None
    incident.kind = former_kind
    settle(session, incident)
    audit_incident(session, incident, "incident.regrade_undone", actor, now, before=before)
    return incident


def split(
    session: Session,
    incident_id: uuid.UUID,
    report_ids: Collection[uuid.UUID],
    judgement: Judgement,
    *,
    actor: Actor,
    now: datetime,
) -> Incident:
    """Let some reports of an open incident evidence a new one, which ``judgement`` grades; returns the new one.

    Their grades go with them and are kept below it. The earlier incident is what its other reports say. Raises
    :class:`Conflict` ``report_not_here`` for a report of another incident, ``nothing_would_stay`` (or go).
    """
    incident = lock_incident(session, incident_id)
    before, staying = facts_of(incident), set(_reports(session, incident_id))
    leaving = [report_id for report_id in sorted(staying) if report_id in set(report_ids)]
    if len(leaving) != len(set(report_ids)):
        raise Conflict("report_not_here")
    if not leaving or len(leaving) == len(staying):
        raise Conflict("nothing_would_stay")
    is_first_leaving = first_report(session, incident_id) in leaving
    made = Incident(
        id=new_id(),
        code=new_code(),
        organisation_id=incident.organisation_id,
        kind=judgement.inputs.kind,
        graded_severity=int(judgement.severity),
        severity=int(acting_severity(judgement.severity, is_seconded=False)),
        water_feature_id=water_of_first(session, leaving, incident.water_feature_id),
        exact_point=incident.exact_point,
        public_point=incident.public_point,
        opened_at=now,
        last_confirmed_at=now,
    )
    INCIDENT.enter(made, now=now)
    session.add(made)
    session.flush()
    move_reports(session, incident, made, leaving)
    place_by_first(session, made)
    take_over(session, made, judgement, actor=actor, now=now)
    settle(session, made)
    if is_first_leaving:
        place_by_first(session, incident)
    settle(session, incident)
    audit_incident(session, made, "incident.split_off", actor, now, other=incident, reports=len(leaving))
    audit_incident(session, incident, "incident.split", actor, now, before=before, other=made, reports=len(leaving))
    return made


def absorb(session: Session, into_id: uuid.UUID, from_id: uuid.UUID, *, actor: Actor, now: datetime) -> Incident:
    """Two open incidents were one: the reports and grades of ``from_id`` go to ``into_id``, which is returned.

    The first is closed as ``merged`` and its address leads to the second, whose level is the higher of both. Raises
    :class:`Conflict` ``same_incident``, ``incident_is_closed``.
    """
    if into_id == from_id:
        raise Conflict("same_incident")
    for incident_id in sorted((into_id, from_id)):
        lock_incident(session, incident_id)
    into, gone = lock_incident(session, into_id), lock_incident(session, from_id)
    before, before_gone = facts_of(into), facts_of(gone)
    reports = _reports(session, from_id)
    session.execute(update(IncidentReport).where(IncidentReport.incident_id == from_id).values(incident_id=into_id))
    session.execute(update(Grade).where(Grade.incident_id == from_id).values(incident_id=into_id))
    session.execute(update(Incident).where(Incident.merged_into_id == from_id).values(merged_into_id=into_id))
    gone.merged_into_id = into_id
    _close(gone, "merged", now=now)
    settle(session, into)
    audit_incident(session, gone, "incident.merged", actor, now, before=before_gone, other=into, reports=len(reports))
    audit_incident(session, into, "incident.absorbed", actor, now, before=before, other=gone, reports=len(reports))
    return into


def retract(session: Session, incident_id: uuid.UUID, *, actor: Actor, now: datetime) -> Incident:
    """Withdraw an incident that should not have been one. It keeps its reports and grades, for those who look back.

    Raises :class:`Conflict` ``incident_is_closed`` for one that was merged or withdrawn before.
    """
    incident = lock_incident(session, incident_id, may_be_closed=True)
    if incident.state in ("merged", "retracted"):
        raise Conflict("incident_is_closed")
    before = facts_of(incident)
    _close(incident, "retracted", now=now)
    session.flush()
    audit_incident(session, incident, "incident.retracted", actor, now, before=before)
    return incident


def detach(session: Session, report_id: uuid.UUID, *, actor: Actor, now: datetime) -> Incident:
    """Take one report away from the incident it evidences, or shows to be clean; returns that incident.

    Its grade is reversed and kept. With the last report the incident is withdrawn; without the last patrol that showed
    it clean it is open again. Raises :class:`NotFound` ``report_not_in_incident``.
    """
    link = session.get(IncidentReport, report_id)
    if link is None:
        return _unverify(session, report_id, actor=actor, now=now)
    incident = lock_incident(session, link.incident_id, may_be_closed=True)
    session.refresh(link)  # it may have been moved while this waited for the lock
    if link.incident_id != incident.id:
        raise Conflict("report_moved")
    before = facts_of(incident)
    is_first = first_report(session, incident.id) == report_id
    session.delete(link)
    for grade in session.scalars(select(Grade).where(Grade.report_id == report_id, Grade.reversed_at.is_(None))):
        grade.reversed_at, grade.reversed_by = now, actor.id
    session.flush()
    if not _reports(session, incident.id):
        if incident.state not in ("merged", "retracted"):
            _close(incident, "retracted", now=now)
    else:
        if is_first:
            place_by_first(session, incident)
        settle(session, incident)
    session.flush()
    audit_incident(session, incident, "incident.detached", actor, now, before=before, report_id=report_id)
    return incident


def verify_clean(
    session: Session, incident_id: uuid.UUID, report_id: uuid.UUID, *, actor: Actor, now: datetime
) -> Incident:
    """An accepted patrol shows an open incident's water in order: it ends, verified clean.

    Raises :class:`Conflict` ``no_patrol`` when the report is none, or was not accepted, ``report_already_accepted``
    when it has verified another.
    """
    incident = lock_incident(session, incident_id)
    if not queries.is_accepted_patrol(session, report_id):
        raise Conflict("no_patrol")
    if session.get(IncidentVerification, report_id) is not None:
        raise Conflict("report_already_accepted")
    before = facts_of(incident)
    session.add(IncidentVerification(report_id=report_id, incident_id=incident.id, verified_at=now))
    _close(incident, "verified_clean", now=now)
    session.flush()
    audit_incident(session, incident, "incident.verified_clean", actor, now, before=before, report_id=report_id)
    return incident


def _unverify(session: Session, report_id: uuid.UUID, *, actor: Actor, now: datetime) -> Incident:
    verification = session.get(IncidentVerification, report_id)
    if verification is None:
        raise NotFound("report_not_in_incident")
    incident = lock_incident(session, verification.incident_id, may_be_closed=True)
    before = facts_of(incident)
    session.delete(verification)
    session.flush()
    others = select(IncidentVerification.report_id).where(IncidentVerification.incident_id == incident.id).limit(1)
    if incident.state == "verified_clean" and session.scalars(others).first() is None:
        INCIDENT.move(incident, "reopened", now=now)
        incident.closed_at = None
        settle(session, incident)
    audit_incident(session, incident, "incident.unverified", actor, now, before=before, report_id=report_id)
    return incident


def lock_incident(session: Session, incident_id: uuid.UUID, *, may_be_closed: bool = False) -> Incident:
    """An incident's row, locked. Raises :class:`NotFound`, :class:`Conflict` ``incident_is_closed``."""
    write(session)  # its grades and reports are read next
    incident = session.get(Incident, incident_id, with_for_update=True, populate_existing=True)
    if incident is None:
        raise NotFound("incident_not_found")
    if incident.state not in OPEN_STATES and not may_be_closed:
        raise Conflict("incident_is_closed")
    return incident


def _close(incident: Incident, state: str, *, now: datetime) -> None:
    INCIDENT.move(incident, state, now=now)
    if incident.closed_at is None:
        incident.closed_at = now


def _reports(session: Session, incident_id: uuid.UUID) -> list[uuid.UUID]:
    return list(queries.reports_of(session, incident_id))


def facts_of(incident: Incident) -> dict[str, audit.Fact]:
    """What the audit holds of an incident."""
    return {
        "state": incident.state,
        "severity": incident.severity,
        "graded_severity": incident.graded_severity,
        "water_feature_id": incident.water_feature_id,
        "kind": incident.kind,
    }


def audit_incident(
    session: Session,
    incident: Incident,
    action: str,
    actor: Actor,
    now: datetime,
    *,
    before: dict[str, audit.Fact] | None = None,
    report_id: uuid.UUID | None = None,
    other: Incident | None = None,
    reports: int | None = None,
) -> None:
    """Put on record what was done to an incident."""
    after = facts_of(incident)
    if report_id is not None:
        after["report_id"] = report_id
    if other is not None:
        after |= {"incident_id": other.id, "reports": reports}
    audit.record(
        session,
        action=action,
        subject_kind="incident",
        subject_id=incident.id,
        actor=actor,
        now=now,
        before=before,
        after=after,
    )
