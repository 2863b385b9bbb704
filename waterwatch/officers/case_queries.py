"""Every SELECT about one case at the officers' desk, beside those of the desk as a whole."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel.errors import NotFound
from waterwatch.officers.queries import AGENCY_NAME

_KNOWN_OFFICES = text("""
SELECT s.office FROM case_assignment s JOIN escalation_case c ON c.id = s.case_id
WHERE c.agency_id = :agency_id AND s.office IS NOT NULL GROUP BY s.office ORDER BY max(s.assigned_at) DESC LIMIT 30
""")


def known_offices(session: Session, agency_id: uuid.UUID) -> list[str]:
    """The names of offices an agency has used, the latest first."""
    return list(session.execute(_KNOWN_OFFICES, {"agency_id": agency_id}).scalars())


@dataclass(frozen=True)
class Dates:
    """A case's promises and what became of them, its role, and where its incident lies.

    ``beside_id``, ``beside_role``: the agency's other case of the same incident, one of them a warning; none that is
    withdrawn.
    """

    role: str
    incident_state: str
    incident_closed_at: datetime | None
    escalated_at: datetime | None
    acknowledge_by: datetime | None
    answer_by: datetime | None
    finish_by: datetime | None
    answered_at: datetime | None
    closed_at: datetime | None
    water_body_id: uuid.UUID
    water_feature_id: uuid.UUID
    supervised_name: str | None
    beside_id: uuid.UUID | None
    beside_role: str | None


_DATES = text(f"""
SELECT c.role, i.state AS incident_state, i.closed_at AS incident_closed_at, c.escalated_at, c.acknowledge_by,
       c.answer_by, c.finish_by, c.answered_at, c.closed_at, f.water_body_id, f.id AS water_feature_id,
       (SELECT {AGENCY_NAME.format(of="s.agency_id")} FROM escalation_case s WHERE s.id = c.supervises_id)
           AS supervised_name, beside.id AS beside_id, beside.role AS beside_role
FROM escalation_case c JOIN incident i ON i.id = c.incident_id JOIN water_feature f ON f.id = i.water_feature_id
LEFT JOIN escalation_case beside ON beside.incident_id = c.incident_id AND beside.agency_id = c.agency_id
    AND beside.id <> c.id AND beside.state <> 'withdrawn'
WHERE c.id = :case_id
""")  # noqa: S608  # the pieces are constants of this module


def dates_of(session: Session, case_id: uuid.UUID, *, language: str) -> Dates:
    """Raises :class:`NotFound`."""
    row = session.execute(_DATES, {"case_id": case_id, "language": language}).first()
    if row is None:
        raise NotFound("case_not_found")
    return Dates(**row._mapping)


@dataclass(frozen=True)
class Picture:
    """A rebuilt photo. ``is_pending``: not to be shown just now. ``version`` changes with every making."""

    photo_id: uuid.UUID
    is_pending: bool


_PHOTOS = text("""
SELECT p.id AS photo_id, p.redaction_wanted_at IS NOT NULL AS is_pending
FROM escalation_case c JOIN incident_report ir ON ir.incident_id = c.incident_id
JOIN report_photo rp ON rp.report_id = ir.report_id JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready'
WHERE c.id = :case_id ORDER BY ir.joined_at, ir.report_id, rp.position LIMIT 12
""")


def photos_of(session: Session, case_id: uuid.UUID) -> list[Picture]:
    """The photos a case rests on, the first report's first."""
    return [Picture(*row) for row in session.execute(_PHOTOS, {"case_id": case_id})]


_SHOWS = text("""
SELECT EXISTS (
    SELECT FROM escalation_case c JOIN incident_report ir ON ir.incident_id = c.incident_id
    JOIN report_photo rp ON rp.report_id = ir.report_id WHERE c.id = :case_id AND rp.photo_id = :photo_id)
OR EXISTS (
    SELECT FROM case_answer a JOIN case_answer_photo ap ON ap.answer_id = a.id
    WHERE a.case_id = :case_id AND a.erased_at IS NULL AND ap.photo_id = :photo_id)
""")


def has_photo(session: Session, case_id: uuid.UUID, photo_id: uuid.UUID) -> bool:
    """Whether a photo belongs to a case: its reports' or its answers'."""
    return bool(session.execute(_SHOWS, {"case_id": case_id, "photo_id": photo_id}).scalar_one())


@dataclass(frozen=True)
class Working:
    """Who works on a case, an address or an office or both."""

    assignment_id: uuid.UUID
    email: str | None
    office: str | None
    assigned_at: datetime


_ASSIGNMENTS = text("""
SELECT s.id AS assignment_id, p.email, s.office, s.assigned_at FROM case_assignment s
LEFT JOIN person p ON p.id = s.person_id WHERE s.case_id = :case_id AND s.ended_at IS NULL ORDER BY s.assigned_at, s.id
""")


def working_on(session: Session, case_id: uuid.UUID) -> list[Working]:
    """Who works on a case now."""
    return [Working(*row) for row in session.execute(_ASSIGNMENTS, {"case_id": case_id})]


@dataclass(frozen=True)
class Event:
    """One line of a case's history. ``who``: a colleague's address, ``agency`` for the link, ``us`` for everybody else.

    To an agency above a colleague is ``agency``, too.

    ``facts`` are the audit's own: codes, ids and numbers.
    """

    at: datetime
    action: str
    who: str
    facts: dict[str, Any]


# Moderators are not named to agencies, nor officers of one agency to another; what an agency does within itself is not
# told to the one above.
_HISTORY = text("""
SELECT e.at, e.action, coalesce(e.after, '{}') AS facts,
       CASE WHEN e.actor_kind = 'agency_link' THEN 'agency'
            WHEN e.actor_kind = 'person' THEN coalesce((
                SELECT CASE WHEN :is_own THEN p.email ELSE 'agency' END
                FROM person p JOIN membership m ON m.person_id = p.id
                JOIN agency a ON a.code = m.agency_code JOIN escalation_case c ON c.agency_id = a.id
                WHERE p.id = e.actor_id AND c.id = :case_id LIMIT 1), 'us')
            ELSE 'us' END AS who
FROM audit_entry e WHERE e.subject_kind = 'case' AND e.subject_id = :case_id
  AND (:is_own OR e.action NOT IN ('case.noted', 'case.staffed', 'case.unstaffed'))
ORDER BY e.at, e.id LIMIT 500
""")


def history(session: Session, case_id: uuid.UUID, *, is_own: bool) -> list[Event]:
    """What happened to a case, oldest first, from the audit. ``is_own`` False: as an agency above may read it."""
    rows = session.execute(_HISTORY, {"case_id": case_id, "is_own": is_own})
    return [Event(row.at, row.action, row.who, row.facts) for row in rows]


@dataclass(frozen=True)
class Letter:
    """A letter that went to the agency, or is under way."""

    channel: str
    address: str
    says: str
    state: str
    created_at: datetime
    sent_at: datetime | None


_LETTERS = text("""
SELECT channel, address, says, state, created_at, sent_at FROM delivery
WHERE case_id = :case_id AND state <> 'cancelled' ORDER BY created_at, id LIMIT 100
""")


def letters_of(session: Session, case_id: uuid.UUID) -> list[Letter]:
    """How a case was handed over."""
    return [Letter(*row) for row in session.execute(_LETTERS, {"case_id": case_id})]


@dataclass(frozen=True)
class Other:
    """Another agency that may be the right one. ``is_here``: its area holds the place; else it lies near."""

    agency_id: uuid.UUID
    name: str
    kind: str
    level: str
    is_here: bool


OTHERS_WITHIN_M = 15_000.0  # the county across the water, and the one beyond its corner
_OTHERS = text(f"""
WITH place AS MATERIALIZED (
    SELECT i.exact_point AS at, c.agency_id AS own, c.incident_id FROM escalation_case c
    JOIN incident i ON i.id = c.incident_id WHERE c.id = :case_id),
near AS (
    SELECT part.jurisdiction_id AS id, bool_or(ST_Intersects(part.geom, place.at)) AS is_here
    FROM place JOIN jurisdiction_part part
      ON part.geom && ST_Expand(place.at, :box_degrees)
     AND ST_DWithin(part.geom::geography, place.at::geography, :within_m)
    GROUP BY part.jurisdiction_id)
SELECT a.id AS agency_id, coalesce({AGENCY_NAME.format(of="a.id")}, a.code) AS name, a.kind, a.level, near.is_here
FROM near JOIN agency a ON a.jurisdiction_id = near.id AND a.retired_at IS NULL AND a.kind <> 'waterworks'
CROSS JOIN place
WHERE a.id <> place.own AND NOT EXISTS (
    SELECT FROM escalation_case c WHERE c.incident_id = place.incident_id AND c.agency_id = a.id
      AND c.role <> 'downstream')
ORDER BY near.is_here DESC, array_position(ARRAY['county', 'prefecture', 'province'], a.level), a.kind, a.code LIMIT 60
""")  # noqa: S608  # the pieces are constants of this module


def others_near(session: Session, case_id: uuid.UUID, *, language: str) -> list[Other]:
    """Agencies of the same place and of its neighbours that have no case of this incident yet, local ones first."""
    values = {"case_id": case_id, "language": language, "within_m": OTHERS_WITHIN_M, "box_degrees": 0.35}
    return [Other(*row) for row in session.execute(_OTHERS, values)]


@dataclass(frozen=True)
class Note:
    """What officers tell each other; nobody outside the agency reads it. ``by`` is None once they left for good."""

    words: str
    said_at: datetime
    by: str | None


_NOTES = text("""
SELECT n.words, n.said_at, p.email AS by FROM case_note n LEFT JOIN person p ON p.id = n.said_by
WHERE n.case_id = :case_id ORDER BY n.said_at, n.id LIMIT 200
""")


def notes_of(session: Session, case_id: uuid.UUID) -> list[Note]:
    """The agency's own notes on a case, oldest first."""
    return [Note(*row) for row in session.execute(_NOTES, {"case_id": case_id})]
