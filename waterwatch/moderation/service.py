"""The slice that sets the others moving: one transaction from a moderator's judgement to map, cases and citizen."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.advisories import service as advisories
from waterwatch.escalation import service as escalation
from waterwatch.incidents import service as incidents
from waterwatch.incidents.service import Judgement
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service as mapping
from waterwatch.reports import queries as report_queries
from waterwatch.reports import service as reports
from waterwatch.reports.tables import ALL_CLEAR
from waterwatch.triage import service as triage
from waterwatch.waters import queries as waters


@dataclass(frozen=True)
class GradeReport:
    """A moderator's decision to accept a report: its grade, its water, and the incident to join if not a new one.

    ``seen_version`` is what of the report they had before them; None where nobody looked, as in an import.
    """

    report_id: uuid.UUID
    judgement: Judgement
    water_feature_id: uuid.UUID | None
    join_incident_id: uuid.UUID | None = None
    seen_version: int | None = None


def grade_report(
    session: Session, command: GradeReport, *, settings: Settings, actor: Actor, now: datetime
) -> Incident:
    """Accept a report: in one transaction the incident, the level of its water, the cases and the map's doorbell.

    Raises :class:`Invalid` (``water_unknown``, ``departure_needs_reason``), :class:`Conflict` (``lease_lost``,
    ``not_in_review``, ``report_changed``), :class:`NotFound`.
    """
    facts = _under_review(session, command.report_id, actor, command.seen_version, settings=settings, now=now)
    water_feature_id = command.water_feature_id or facts.water_feature_id
    if water_feature_id is None:
        raise Invalid({"water_feature_id": ["water_unknown"]})
    if water_feature_id != facts.water_feature_id:
        reports.correct_water(session, command.report_id, water_feature_id, actor=actor, now=now)
    if command.join_incident_id is not None:
        incident = incidents.join_incident(
            session, command.join_incident_id, command.report_id, command.judgement, actor=actor, now=now
        )
        reports.merge(session, command.report_id, actor=actor, now=now)
    else:
        incident = _open(session, command, facts, water_feature_id, actor=actor, now=now)
        reports.accept(session, command.report_id, actor=actor, now=now)
    session.flush()
    _set_moving(session, incident, settings=settings, actor=actor, now=now)
    return incident


def accept_patrol(
    session: Session,
    report_id: uuid.UUID,
    *,
    seen_version: int | None = None,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> None:
    """A patrol found its water in order and the picture shows it: accepted, without any incident.

    Raises as :func:`grade_report`; :class:`Conflict` ``no_patrol`` for a report of pollution.
    """
    facts = _under_review(session, report_id, actor, seen_version, settings=settings, now=now)
    if facts.kind != ALL_CLEAR:
        raise Conflict("no_patrol")
    reports.accept(session, report_id, actor=actor, now=now)


def refuse_report(
    session: Session,
    report_id: uuid.UUID,
    code: str,
    words: str | None,
    *,
    seen_version: int | None = None,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> None:
    """Refuse a report with a reason its author will read. Raises as :func:`grade_report`."""
    _under_review(session, report_id, actor, seen_version, settings=settings, now=now)
    reports.refuse(session, report_id, code, words, actor=actor, now=now)


def second_red(
    session: Session, incident_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime
) -> Incident:
    """Confirm another moderator's red grade; the map and the departments learn of it at once."""
    incident = incidents.second_red(session, incident_id, actor=actor, now=now)
    session.flush()
    _set_moving(session, incident, settings=settings, actor=actor, now=now)
    return incident


def step_down(session: Session, incident_id: uuid.UUID, *, now: datetime) -> Incident | None:
    """Let an overdue incident lose a colour and its water follow. Idempotent; see ``incidents.service.step_down``."""
    incident = incidents.step_down(session, incident_id, now=now)
    if incident is not None:
        session.flush()
        advisories.refresh(session, incident.water_feature_id, actor=Actor.system("sweep"), now=now)
        mapping.request_publication(session, now=now)
    return incident


def _open(
    session: Session,
    command: GradeReport,
    facts: report_queries.ReviewFacts,
    water_feature_id: uuid.UUID,
    *,
    actor: Actor,
    now: datetime,
) -> Incident:
    lon, lat, _distance_m = waters.snap(session, water_feature_id, facts.lon, facts.lat)
    opening = incidents.OpenIncident(
        report_id=command.report_id,
        organisation_id=_organisation(actor),
        water_feature_id=water_feature_id,
        exact=(facts.lon, facts.lat),
        public=(lon, lat),
        judgement=command.judgement,
    )
    return incidents.open_incident(session, opening, actor=actor, now=now)


def _set_moving(session: Session, incident: Incident, *, settings: Settings, actor: Actor, now: datetime) -> None:
    advisories.refresh(session, incident.water_feature_id, actor=actor, now=now)
    escalation.escalate(session, incident.id, settings=settings, actor=actor, now=now)
    mapping.request_publication(session, now=now)


def _under_review(
    session: Session,
    report_id: uuid.UUID,
    actor: Actor,
    seen_version: int | None,
    *,
    settings: Settings,
    now: datetime,
) -> report_queries.ReviewFacts:
    """The report's facts, if this moderator is the one to decide on it, and decides on what they saw."""
    held = report_queries.lock_report(session, report_id)  # its author may be correcting it, or taking it back
    if held is None:
        raise NotFound("report_not_found")
    if held.state != "in_review":  # first: of one that was taken back there is nothing to read
        raise Conflict("not_in_review")
    facts = report_queries.review_facts(session, report_id)
    if not triage.hold(session, report_id, _person(actor), settings=settings, now=now):
        raise Conflict("lease_lost")
    if seen_version is not None and seen_version != facts.version:
        raise Conflict("report_changed", version=facts.version)
    return facts


def _person(actor: Actor) -> uuid.UUID:
    if actor.id is None:
        raise Conflict("lease_lost")
    return actor.id


def _organisation(actor: Actor) -> uuid.UUID:
    if actor.organisation_id is None:
        raise Forbidden("acts_for_nobody")
    return actor.organisation_id
