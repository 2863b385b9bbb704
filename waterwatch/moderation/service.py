"""The slice that sets the others moving: one transaction from a moderator's judgement to map, cases and citizen.

Each act writes its decision beside its audit rows. What tells departments and authors leaves when it can no longer be
undone, but for a red: its departments are told at once. What else a moderator may do is in ``actions``.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from waterwatch.advisories import forecast_queries, forecasts
from waterwatch.advisories import service as advisories
from waterwatch.advisories.rules import Ruling
from waterwatch.casework import pressing
from waterwatch.escalation import ending
from waterwatch.escalation import service as escalation
from waterwatch.escalation.queries import Place
from waterwatch.fairness import service as fairness
from waterwatch.fairness.rules import REFUSED
from waterwatch.incidents import service as incidents
from waterwatch.incidents import undoing
from waterwatch.incidents.queries import incidents_for_patrol
from waterwatch.incidents.rules import Severity
from waterwatch.incidents.service import Judgement
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from waterwatch.kernel.gathering import gathered
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service as mapping
from waterwatch.moderation import decisions
from waterwatch.moderation.decisions import About
from waterwatch.reports import amending, questions
from waterwatch.reports import queries as report_queries
from waterwatch.reports import service as reports
from waterwatch.reports.amending import Amended, AmendReport
from waterwatch.reports.tables import ALL_CLEAR, Report
from waterwatch.triage import service as triage
from waterwatch.waters import queries as waters


@dataclass(frozen=True)
class GradeReport:
    """A moderator's decision to accept a report: its grade, its water, and the incident to join if not a new one.

    ``seen_version`` is what of the report they had before them; None where nobody looked, as in an import.
    ``ruling``: what they decide of the warning below it; None: as it is reckoned, or as it was ruled before.
    """

    report_id: uuid.UUID
    judgement: Judgement
    water_feature_id: uuid.UUID | None
    join_incident_id: uuid.UUID | None = None
    seen_version: int | None = None
    ruling: Ruling | None = None


def grade_report(
    session: Session,
    command: GradeReport,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    batch_id: uuid.UUID | None = None,
) -> Incident:
    """Accept a report: in one transaction the incident, the level of its water, the cases and the map's doorbell.

    Raises :class:`Invalid` (``water_unknown``, ``departure_needs_reason``, ``downstream_ruled``: the incident that is
    joined has a ruling), :class:`Conflict` (``lease_lost``, ``not_in_review``, ``report_changed``),
    :class:`NotFound`.
    """
    with gathered(session):
        return _grade(session, command, settings=settings, actor=actor, now=now, batch_id=batch_id)


def _grade(
    session: Session,
    command: GradeReport,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    batch_id: uuid.UUID | None,
) -> Incident:
    under = under_review(session, command.report_id, actor, command.seen_version, settings=settings, now=now)
    questions.drop(session, command.report_id, actor=actor, now=now)
    tell_at = decisions.undo_until(settings, now)
    water_feature_id = command.water_feature_id or under.row.water_feature_id
    if water_feature_id is None:
        raise Invalid({"water_feature_id": ["water_unknown"]})
    before: dict[str, Any] = {"state": "in_review"}
    if water_feature_id != under.row.water_feature_id:
        change = AmendReport(command.report_id, water_feature_id=water_feature_id)
        before |= _amended(amending.amend(session, change, settings=settings, actor=actor, now=now))
    if command.join_incident_id is not None:
        incident = incidents.join_incident(
            session, command.join_incident_id, command.report_id, command.judgement, actor=actor, now=now
        )
        reports.merge(session, under.row, actor=actor, now=now, tell_at=tell_at)
        session.flush()
        before["seconded_grade_id"] = undoing.seconded_grade(session, incident.id, person_of(actor), now)
        # What was said to be done is not.
        again = pressing.reopen(
            session,
            incident.id,
            command.report_id,
            settings=settings,
            actor=actor,
            now=now,
            tell_at=None if command.judgement.severity is Severity.ESPECIALLY_MAJOR else tell_at,
        )
        before |= {"reopened": [str(case_id) for case_id in again]} if again else {}
        opened = None
    else:
        incident, opened = _open(session, command, under.judged, water_feature_id, actor=actor, now=now)
        reports.accept(session, under.row, actor=actor, now=now, tell_at=tell_at)
    follows_at = None if command.judgement.severity is Severity.ESPECIALLY_MAJOR else tell_at
    if command.ruling is not None:
        _rule(session, incident, command.ruling, actor=actor, now=now, follows_at=follows_at)
    set_moving(session, incident, settings=settings, actor=actor, now=now, tell_at=follows_at, opened=opened)
    decisions.decide(
        session,
        "accepted" if command.join_incident_id is None else "joined",
        About(command.report_id, incident.id, batch_id=batch_id, took_s=under.took_s),
        settings=settings,
        actor=actor,
        now=now,
        before=before,
        after=level_of(incident)
        | {"given": int(command.judgement.severity)}
        | ({"is_ruled": True} if command.ruling is not None else {}),
    )
    fairness.maybe_ask_again(
        session,
        command.report_id,
        person_of(actor),
        int(command.judgement.severity),
        command.judgement.inputs,
        settings=settings,
        now=now,
    )
    return incident


def accept_patrol(
    session: Session,
    report_id: uuid.UUID,
    *,
    verifies_incident_id: uuid.UUID | None = None,
    seen_version: int | None = None,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> None:
    """A patrol found its water in order and the picture shows it: accepted, without any incident.

    ``verifies_incident_id`` is the open incident there that it shows to be over: that ends, verified clean, and its
    water's level falls. Raises as :func:`grade_report`; :class:`Conflict` ``no_patrol`` for a report of pollution;
    :class:`Invalid` for an incident elsewhere.
    """
    under = under_review(session, report_id, actor, seen_version, settings=settings, now=now)
    if under.row.kind != ALL_CLEAR:
        raise Conflict("no_patrol")
    if verifies_incident_id is not None:
        here = {incident.incident_id for incident in incidents_for_patrol(session, report_id)}
        if verifies_incident_id not in here:
            raise Invalid({"verifies_incident_id": ["choice_unknown"]})
    questions.drop(session, report_id, actor=actor, now=now)
    tell_at = decisions.undo_until(settings, now)
    reports.accept(session, report_id, actor=actor, now=now, tell_at=tell_at)
    if verifies_incident_id is not None:
        session.flush()
        incident = incidents.verify_clean(session, verifies_incident_id, report_id, actor=actor, now=now)
        set_moving(session, incident, settings=settings, actor=actor, now=now, tell_at=tell_at)
    about = About(report_id, verifies_incident_id, took_s=under.took_s)
    decisions.decide(
        session, "patrol_accepted", about, settings=settings, actor=actor, now=now, before={"state": "in_review"}
    )


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
    batch_id: uuid.UUID | None = None,
) -> None:
    """Refuse a report with a reason its author will read. Raises as :func:`grade_report`."""
    under = under_review(session, report_id, actor, seen_version, settings=settings, now=now)
    questions.drop(session, report_id, actor=actor, now=now)
    tell_at = decisions.undo_until(settings, now)
    reports.refuse(session, report_id, code, words, actor=actor, now=now, tell_at=tell_at)
    decisions.decide(
        session,
        "refused",
        About(report_id, batch_id=batch_id, took_s=under.took_s),
        settings=settings,
        actor=actor,
        now=now,
        before={"state": "in_review"},
        after={"state": "refused", "code": code},
    )
    if code != "duplicate":  # says that another report was judged, not what this one shows
        fairness.maybe_ask_again(session, report_id, person_of(actor), REFUSED, None, settings=settings, now=now)


def second_red(
    session: Session, incident_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime
) -> Incident:
    """Confirm another moderator's red grade; the map and the departments learn of it at once."""
    incident = incidents.second_red(session, incident_id, actor=actor, now=now)
    session.flush()
    grade_id = undoing.seconded_grade(session, incident_id, person_of(actor), now)
    set_moving(session, incident, settings=settings, actor=actor, now=now)
    decisions.decide(
        session,
        "seconded",
        About(incident_id=incident_id),
        settings=settings,
        actor=actor,
        now=now,
        before={"seconded_grade_id": grade_id},
        after=level_of(incident),
    )
    return incident


def step_down(session: Session, incident_id: uuid.UUID, *, now: datetime) -> Incident | None:
    """Let an overdue incident lose a colour and its water follow. Idempotent; see ``incidents.service.step_down``."""
    incident = incidents.step_down(session, incident_id, now=now)
    if incident is not None:
        session.flush()
        if incident.closed_at is not None:
            ending.end_cases(session, incident.id, actor=Actor.system("sweep"), now=now)
        advisories.refresh(session, incident.water_feature_id, actor=Actor.system("sweep"), now=now)
        forecasts.order(session, incident.id, incident.kind, now=now)
        mapping.request_publication(session, now=now)
    return incident


def _open(
    session: Session,
    command: GradeReport,
    judged: report_queries.Judged,
    water_feature_id: uuid.UUID,
    *,
    actor: Actor,
    now: datetime,
) -> tuple[Incident, Place]:
    lon, lat, _distance_m = waters.snap(session, water_feature_id, judged.lon, judged.lat)
    opening = incidents.OpenIncident(
        report_id=command.report_id,
        organisation_id=_organisation(actor),
        water_feature_id=water_feature_id,
        exact=(judged.lon, judged.lat),
        public=(lon, lat),
        judgement=command.judgement,
    )
    incident = incidents.open_incident(session, opening, actor=actor, now=now)
    here = Place(judged.lon, judged.lat, incident.kind, incident.severity, water_feature_id, lon, lat)
    return incident, here


def _rule(
    session: Session, incident: Incident, ruling: Ruling, *, actor: Actor, now: datetime, follows_at: datetime | None
) -> None:
    """With the grade, so that both are undone together: it never replaces what was ruled before."""
    session.flush()
    if forecast_queries.has_ruling(session, incident.id):
        raise Invalid({"downstream": ["downstream_ruled"]})
    forecasts.rule(session, incident.id, incident.kind, ruling, actor=actor, now=now, available_at=follows_at)


def set_moving(
    session: Session,
    incident: Incident,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    tell_at: datetime | None = None,
    is_correction: bool = False,
    opened: Place | None = None,
) -> None:
    """Let water, the waters below it, departments and map follow an incident that changed: its cases are withdrawn once
    it should not be, and end with it once it is over.

    ``tell_at``: departments hear of it no sooner. ``is_correction``, ``opened``: see :func:`escalation.escalate`.
    """
    session.flush()
    advisories.refresh(session, incident.water_feature_id, actor=actor, now=now)
    forecasts.order(session, incident.id, incident.kind, now=now, available_at=tell_at, is_new=opened is not None)
    if incident.state in ("retracted", "merged"):
        escalation.withdraw_cases(session, incident.id, settings=settings, actor=actor, now=now, tell_at=tell_at)
    elif incident.closed_at is not None:
        ending.end_cases(session, incident.id, actor=actor, now=now)
    else:
        if incident.state == "reopened":
            ending.resume_cases(session, incident.id, settings=settings, actor=actor, now=now, tell_at=tell_at)
        escalation.escalate(
            session,
            incident.id,
            settings=settings,
            actor=actor,
            now=now,
            tell_at=tell_at,
            is_correction=is_correction,
            opened=opened,
        )
    mapping.request_publication(session, now=now)


def level_of(incident: Incident) -> dict[str, Any]:
    """What a decision keeps of an incident."""
    return {
        "state": incident.state,
        "severity": incident.severity,
        "graded_severity": incident.graded_severity,
        "kind": incident.kind,
    }


def _amended(amended: Amended | None) -> dict[str, Any]:
    return {} if amended is None else {"former_id": amended.former_id} | amended.before


@dataclass(frozen=True)
class UnderReview:
    """A report whose lock and lease are the moderator's; ``took_s``: how long they have had it."""

    judged: report_queries.Judged
    took_s: float

    @property
    def row(self) -> Report:
        """The report itself, locked."""
        return self.judged.row


def under_review(
    session: Session,
    report_id: uuid.UUID,
    actor: Actor,
    seen_version: int | None,
    *,
    settings: Settings,
    now: datetime,
) -> UnderReview:
    """The report, if this moderator is the one to decide on it, and decides on what they saw."""
    judged = report_queries.lock_to_judge(session, report_id)  # its author may be correcting it, or taking it back
    if judged is None:
        raise NotFound("report_not_found")
    if judged.row.state != "in_review":  # first: of one that was taken back there is nothing to read
        raise Conflict("not_in_review")
    since = triage.held_since(session, report_id, person_of(actor), settings=settings, now=now)
    if since is None:
        raise Conflict("lease_lost")
    if seen_version is not None and seen_version != judged.row.version:
        raise Conflict("report_changed", version=judged.row.version)
    return UnderReview(judged, max(0.0, (now - since).total_seconds()))


def person_of(actor: Actor) -> uuid.UUID:
    """Who decides. Raises :class:`Conflict` ``lease_lost`` for whoever is no person: they hold nothing."""
    if actor.id is None:
        raise Conflict("lease_lost")
    return actor.id


def _organisation(actor: Actor) -> uuid.UUID:
    if actor.organisation_id is None:
        raise Forbidden("acts_for_nobody")
    return actor.organisation_id
