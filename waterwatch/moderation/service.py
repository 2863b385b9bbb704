"""The slice that sets the others moving: one transaction from a moderator's judgement to map, cases and citizen."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.advisories import service as advisories
from waterwatch.escalation import service as escalation
from waterwatch.fairness import service as fairness
from waterwatch.fairness.rules import REFUSED
from waterwatch.incidents import service as incidents
from waterwatch.incidents.queries import incidents_for_patrol
from waterwatch.incidents.service import Judgement
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service as mapping
from waterwatch.reports import queries as report_queries
from waterwatch.reports import service as reports
from waterwatch.reports.tables import ALL_CLEAR
from waterwatch.waters import queries as waters

# Red-flag answers of the observer first, then age: someone may be drinking that water.
_CLAIM = text("""
WITH next AS (
    SELECT r.id FROM report r
    WHERE r.state = 'in_review' AND NOT r.needs_screening AND NOT EXISTS (
        SELECT FROM review_lease l
        WHERE l.report_id = r.id AND l.leased_until > :now AND l.person_id <> :person_id)
    ORDER BY (coalesce(r.has_dead_animals, false) OR coalesce(r.affects_people, false)) DESC, r.received_at, r.id
    LIMIT 1 FOR UPDATE OF r SKIP LOCKED),
taken AS (
    INSERT INTO review_lease (report_id, person_id, leased_until)
    SELECT id, :person_id, :until FROM next
    ON CONFLICT (report_id) DO UPDATE SET person_id = excluded.person_id, leased_until = excluded.leased_until
    WHERE review_lease.person_id = excluded.person_id OR review_lease.leased_until <= :now
    RETURNING report_id)
SELECT taken.report_id FROM next LEFT JOIN taken ON true
""")
_HOLD = text("""
INSERT INTO review_lease (report_id, person_id, leased_until) VALUES (:report_id, :person_id, :until)
ON CONFLICT (report_id) DO UPDATE SET person_id = excluded.person_id, leased_until = excluded.leased_until
WHERE review_lease.person_id = excluded.person_id OR review_lease.leased_until <= :now
RETURNING report_id
""")
_RELEASE = text("DELETE FROM review_lease WHERE report_id = :report_id AND person_id = :person_id")


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


def claim_next(session: Session, person_id: uuid.UUID, *, settings: Settings, now: datetime) -> uuid.UUID | None:
    """Lease the most urgent waiting report to a moderator; None when nothing waits.

    Two moderators never get the same report: the row is taken with SKIP LOCKED, and a lease that another transaction
    committed after this statement had looked is not overwritten; then the next statement looks again and sees it.
    """
    until = now + timedelta(seconds=settings.review_lease_s)
    values = {"now": now, "person_id": person_id, "until": until}
    while (row := session.execute(_CLAIM, values).one_or_none()) is not None:
        if row.report_id is not None:
            return uuid.UUID(str(row.report_id))
    return None


def hold(session: Session, report_id: uuid.UUID, person_id: uuid.UUID, *, settings: Settings, now: datetime) -> bool:
    """Lease one report by name, or renew one's own lease. False when another moderator holds it."""
    until = now + timedelta(seconds=settings.review_lease_s)
    values = {"report_id": report_id, "person_id": person_id, "until": until, "now": now}
    return session.execute(_HOLD, values).first() is not None


def release(session: Session, report_id: uuid.UUID, person_id: uuid.UUID) -> None:
    """Give a report back to the queue."""
    session.execute(_RELEASE, {"report_id": report_id, "person_id": person_id})


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
    release(session, command.report_id, _person(actor))
    fairness.maybe_ask_again(
        session,
        command.report_id,
        _person(actor),
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
    facts = _under_review(session, report_id, actor, seen_version, settings=settings, now=now)
    if facts.kind != ALL_CLEAR:
        raise Conflict("no_patrol")
    if verifies_incident_id is not None:
        here = {incident.incident_id for incident in incidents_for_patrol(session, report_id)}
        if verifies_incident_id not in here:
            raise Invalid({"verifies_incident_id": ["choice_unknown"]})
    reports.accept(session, report_id, actor=actor, now=now)
    if verifies_incident_id is not None:
        session.flush()
        incident = incidents.verify_clean(session, verifies_incident_id, report_id, actor=actor, now=now)
        advisories.refresh(session, incident.water_feature_id, actor=actor, now=now)
        mapping.request_publication(session, now=now)
    release(session, report_id, _person(actor))


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
    release(session, report_id, _person(actor))
    if code != "duplicate":  # says that another report was judged, not what this one shows
        fairness.maybe_ask_again(session, report_id, _person(actor), REFUSED, None, settings=settings, now=now)


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
    if not hold(session, report_id, _person(actor), settings=settings, now=now):
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
