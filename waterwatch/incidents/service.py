"""Use cases of incidents: open, join, grade anew, second a red, step down. None commits."""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from waterwatch.incidents.rules import (
    INCIDENT,
    OPEN_STATES,
    RUBRIC_VERSION,
    RubricInputs,
    Severity,
    acting_severity,
    score,
    step_down_at,
)
from waterwatch.incidents.tables import Grade, Incident, IncidentReport
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from waterwatch.kernel.ids import new_code, new_id


@dataclass(frozen=True)
class Judgement:
    """A moderator's grade: the rubric's inputs, the level given, and why it departs from the rubric if it does."""

    inputs: RubricInputs
    severity: Severity
    departure_reason: str | None = None


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
        opened_at=now,
        last_confirmed_at=now,
    )
    INCIDENT.enter(incident, now=now)
    incident.state_deadline_at = step_down_at(Severity(incident.severity), confirmed_at=now)
    session.add(incident)
    session.flush()
    session.add(IncidentReport(report_id=command.report_id, incident_id=incident.id, joined_at=now))
    _add_grade(session, incident, command.judgement, actor=actor, now=now)
    _audit(session, incident, "incident.opened", actor, now, report_id=command.report_id)
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
    incident = _locked(session, incident_id)
    if session.get(IncidentReport, report_id) is not None:
        raise Conflict("report_already_accepted")
    session.add(IncidentReport(report_id=report_id, incident_id=incident.id, joined_at=now))
    if judgement.severity is Severity.ESPECIALLY_MAJOR and _second(session, incident, actor, now=now):
        incident.severity = incident.graded_severity
    _add_grade(session, incident, judgement, actor=actor, now=now)
    acting = acting_severity(judgement.severity, is_seconded=False)
    incident.severity = max(incident.severity, int(acting))
    incident.graded_severity = max(incident.graded_severity, int(judgement.severity))
    incident.last_confirmed_at = now
    incident.state_deadline_at = step_down_at(Severity(incident.severity), confirmed_at=now)
    _audit(session, incident, "incident.joined", actor, now, report_id=report_id)
    return incident


def second_red(session: Session, incident_id: uuid.UUID, *, actor: Actor, now: datetime) -> Incident:
    """A second moderator confirms a red grade: from now on the incident acts as red.

    Raises :class:`Conflict` when no red grade waits, :class:`Forbidden` when the grader seconds their own grade.
    """
    incident = _locked(session, incident_id)
    if incident.graded_severity == incident.severity:
        raise Conflict("no_red_waiting")
    if not _second(session, incident, actor, now=now):
        raise Forbidden("second_must_be_another")
    incident.severity = incident.graded_severity
    incident.state_deadline_at = step_down_at(Severity(incident.severity), confirmed_at=now)
    _audit(session, incident, "incident.seconded", actor, now)
    return incident


def step_down(session: Session, incident_id: uuid.UUID, *, now: datetime) -> Incident | None:
    """Let an incident nobody confirmed lose a colour, or end it when it was blue. None when it is not overdue.

    Idempotent: the deadline moves with every step, so a second sweep finds nothing to do.
    """
    incident = _locked(session, incident_id)
    if incident.state_deadline_at is None or incident.state_deadline_at > now:
        return None
    actor = Actor.system("sweep")
    if incident.severity == Severity.GENERAL:
        INCIDENT.move(incident, "expired", now=now)
        incident.closed_at = now
        _audit(session, incident, "incident.expired", actor, now)
        return incident
    lowered = Severity(incident.severity - 1)
    incident.severity = incident.graded_severity = int(lowered)
    incident.state_deadline_at = step_down_at(lowered, confirmed_at=now)
    _audit(session, incident, "incident.stepped_down", actor, now)
    return incident


def _locked(session: Session, incident_id: uuid.UUID) -> Incident:
    incident = session.get(Incident, incident_id, with_for_update=True, populate_existing=True)
    if incident is None:
        raise NotFound("incident_not_found")
    if incident.state not in OPEN_STATES:
        raise Conflict("incident_is_closed")
    return incident


def _second(session: Session, incident: Incident, actor: Actor, *, now: datetime) -> bool:
    """Let ``actor`` second a red grade that waits; False when none does, or only their own."""
    if actor.id is None or incident.graded_severity == incident.severity:
        return False
    grade = session.scalars(
        select(Grade)
        .where(Grade.incident_id == incident.id, Grade.severity == int(Severity.ESPECIALLY_MAJOR))
        .where(Grade.seconded_by.is_(None), Grade.graded_by != actor.id)
        .order_by(Grade.graded_at.desc(), Grade.id.desc())
        .limit(1)
    ).first()
    if grade is None:
        return False
    grade.seconded_by, grade.seconded_at = actor.id, now
    return True


def _add_grade(session: Session, incident: Incident, judgement: Judgement, *, actor: Actor, now: datetime) -> None:
    answer = score(judgement.inputs)
    if judgement.severity != answer.proposed and len((judgement.departure_reason or "").strip()) < 3:
        raise Invalid({"departure_reason": ["departure_needs_reason"]})
    if actor.id is None:
        raise Forbidden("grader_must_be_person")
    inputs: Mapping[str, object] = asdict(judgement.inputs)
    session.add(
        Grade(
            id=new_id(),
            incident_id=incident.id,
            graded_at=now,
            graded_by=actor.id,
            rubric_version=RUBRIC_VERSION,
            inputs=dict(inputs),
            points=answer.points,
            proposed_severity=int(answer.proposed),
            severity=int(judgement.severity),
            departure_reason=judgement.departure_reason if judgement.severity != answer.proposed else None,
        )
    )


def _audit(
    session: Session,
    incident: Incident,
    action: str,
    actor: Actor,
    now: datetime,
    *,
    report_id: uuid.UUID | None = None,
) -> None:
    after: dict[str, audit.Fact] = {
        "state": incident.state,
        "severity": incident.severity,
        "graded_severity": incident.graded_severity,
        "water_feature_id": incident.water_feature_id,
    }
    if report_id is not None:
        after["report_id"] = report_id
    audit.record(
        session, action=action, subject_kind="incident", subject_id=incident.id, actor=actor, now=now, after=after
    )
