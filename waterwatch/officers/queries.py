"""Every SELECT of the officers' desk, named for its answer. An agency's reach is itself and the agencies below it."""

import uuid
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel.errors import NotFound
from waterwatch.officers.rules import EXPORT_ROWS, NEVER, OPEN, PAGE_ROWS, Due, Wanted, due

_NAME_ORDER = (
    "ORDER BY n.lang = :language DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1"
)
_AGENCY_NAME = f"(SELECT n.name FROM agency_name n WHERE n.agency_id = {{of}} {_NAME_ORDER})"  # noqa: S608
_WATER_NAME = f"""(SELECT n.name FROM water_name n
    WHERE n.water_body_id = f.water_body_id AND n.is_primary {_NAME_ORDER})"""  # noqa: S608
# UNION, not UNION ALL: a tree that was entered as a circle ends, too.
_BELOW = """
below AS (
    SELECT a.id FROM agency a WHERE a.parent_id = :agency_id AND a.id <> :agency_id
    UNION SELECT a.id FROM agency a JOIN below b ON a.parent_id = b.id WHERE a.id <> :agency_id)
"""
# While a letter is under way, the deadline that runs is ours, not the agency's.
_DEADLINE = "CASE WHEN c.state IN ('delivered', 'acknowledged', 'answered') THEN c.state_deadline_at END"


@dataclass(frozen=True)
class Office:
    """The agency somebody acts for. ``digest_upto``: letters of at most this severity wait and go as one mail."""

    agency_id: uuid.UUID
    code: str
    name: str
    kind: str
    level: str
    has_below: bool
    parent_name: str | None
    digest_upto: int
    digest_at: time


_OFFICE = text(f"""
SELECT a.id AS agency_id, a.code, coalesce({_AGENCY_NAME.format(of="a.id")}, a.code) AS name, a.kind, a.level,
       EXISTS (SELECT FROM agency b WHERE b.parent_id = a.id) AS has_below,
       {_AGENCY_NAME.format(of="a.parent_id")} AS parent_name, a.digest_upto, a.digest_at
FROM membership m JOIN role r ON r.id = m.role_id AND r.name = 'agency_officer' JOIN agency a ON a.code = m.agency_code
WHERE m.person_id = :person_id ORDER BY m.created_at, m.id LIMIT 1
""")  # noqa: S608  # the pieces are constants of this module


def office_of(session: Session, person_id: uuid.UUID, *, language: str) -> Office:
    """The agency somebody acts for, also one that was retired. Raises :class:`NotFound` ``office_unknown``."""
    row = session.execute(_OFFICE, {"person_id": person_id, "language": language}).first()
    if row is None:
        raise NotFound("office_unknown")
    return Office(**row._mapping)


@dataclass(frozen=True)
class Row:
    """One case in a list. ``deadline_at`` is the one that runs now. ``assigned``: persons' addresses and offices."""

    case_id: uuid.UUID
    code: str
    kind: str
    severity: int
    state: str
    role: str
    created_at: datetime
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    answered_at: datetime | None
    closed_at: datetime | None
    deadline_at: datetime | None
    lon: float
    lat: float
    water_name: str | None
    agency_name: str | None
    assigned: tuple[str, ...]
    is_own: bool

    def due(self, *, now: datetime) -> Due | None:
        """How its deadline stands."""
        return due(self.deadline_at, self.delivered_at or self.created_at, now=now)


_ROWS = f"""
WITH RECURSIVE {_BELOW}, wanted AS (
    SELECT c.*, coalesce({_DEADLINE}, CAST(:never AS timestamptz)) AS sorted_by, {_DEADLINE} AS deadline_at
    FROM escalation_case c
    WHERE CASE WHEN :reach = 'own' THEN c.agency_id = :agency_id
               ELSE c.agency_id IN (SELECT id FROM below) END
      AND c.state = ANY(:states)
      AND (CAST(:severity AS int) IS NULL OR c.severity = :severity)
      AND (NOT :is_late OR {_DEADLINE} < :now)
      AND (CAST(:whose AS text) IS NULL OR CASE :whose
           WHEN 'nobody' THEN NOT EXISTS (
               SELECT FROM case_assignment s WHERE s.case_id = c.id AND s.ended_at IS NULL)
           WHEN 'mine' THEN EXISTS (SELECT FROM case_assignment s
               WHERE s.case_id = c.id AND s.ended_at IS NULL AND s.person_id = :person_id)
           ELSE EXISTS (SELECT FROM case_assignment s LEFT JOIN person p ON p.id = s.person_id
               WHERE s.case_id = c.id AND s.ended_at IS NULL AND (s.office = :whose OR p.email = :whose)) END)
      AND (CAST(:after_id AS uuid) IS NULL
           OR (coalesce({_DEADLINE}, CAST(:never AS timestamptz)), c.id) > (CAST(:after_at AS timestamptz), :after_id))
    ORDER BY sorted_by, c.id LIMIT :limit)
SELECT c.id AS case_id, i.code, i.kind, c.severity, c.state, c.role, c.created_at, c.delivered_at, c.acknowledged_at,
       c.answered_at, c.closed_at, c.deadline_at, ST_X(i.exact_point) AS lon, ST_Y(i.exact_point) AS lat,
       {_WATER_NAME} AS water_name, {_AGENCY_NAME.format(of="c.agency_id")} AS agency_name,
       coalesce((SELECT array_agg(concat_ws(' · ', s.office, p.email) ORDER BY s.assigned_at, s.id)
                 FROM case_assignment s LEFT JOIN person p ON p.id = s.person_id
                 WHERE s.case_id = c.id AND s.ended_at IS NULL), '{{}}') AS assigned,
       c.agency_id = :agency_id AS is_own
FROM wanted c JOIN incident i ON i.id = c.incident_id JOIN water_feature f ON f.id = i.water_feature_id
ORDER BY c.sorted_by, c.id
"""  # noqa: S608  # the pieces are constants of this module
_PAGE = text(_ROWS)


def cases(
    session: Session,
    office: Office,
    person_id: uuid.UUID,
    wanted: Wanted,
    *,
    language: str,
    now: datetime,
    limit: int = PAGE_ROWS,
) -> tuple[list[Row], bool]:
    """One page of an agency's cases, the nearest deadline first, and whether there are more. One query."""
    after_at, after_id = wanted.after or (None, None)
    values = {
        "agency_id": office.agency_id,
        "person_id": person_id,
        "language": language,
        "states": list(wanted.states),
        "severity": wanted.severity,
        "whose": wanted.whose,
        "reach": wanted.reach,
        "is_late": wanted.bucket == "overdue",
        "after_at": after_at,
        "after_id": after_id,
        "never": NEVER,
        "now": now,
        "limit": limit + 1,
    }
    found = [Row(**(dict(row._mapping) | {"assigned": tuple(row.assigned)})) for row in session.execute(_PAGE, values)]
    return found[:limit], len(found) > limit


def all_cases(
    session: Session, office: Office, person_id: uuid.UUID, wanted: Wanted, *, language: str, now: datetime
) -> list[Row]:
    """As :func:`cases`, as many as a table or a map holds."""
    return cases(session, office, person_id, wanted.from_start(), language=language, now=now, limit=EXPORT_ROWS)[0]


_COUNTS = text(f"""
WITH RECURSIVE {_BELOW}
SELECT count(*) FILTER (WHERE c.state IN ('queued', 'delivered', 'dead')) AS acknowledge,
       count(*) FILTER (WHERE c.state = 'acknowledged') AS answer,
       count(*) FILTER (WHERE c.state = 'answered') AS finish,
       count(*) FILTER (WHERE {_DEADLINE} < :now) AS overdue,
       count(*) FILTER (WHERE c.state = 'closed') AS done,
       count(*) FILTER (WHERE c.state = 'refused_not_ours') AS refused,
       count(*) FILTER (WHERE c.state = 'withdrawn') AS withdrawn,
       count(*) FILTER (WHERE c.state = ANY(:open)) AS open
FROM escalation_case c
WHERE CASE WHEN :reach = 'own' THEN c.agency_id = :agency_id ELSE c.agency_id IN (SELECT id FROM below) END
""")  # noqa: S608  # the pieces are constants of this module


def counts(session: Session, office: Office, reach: str, *, now: datetime) -> dict[str, int]:
    """How many cases each bucket has."""
    values = {"agency_id": office.agency_id, "reach": reach, "now": now, "open": list(OPEN)}
    return dict(session.execute(_COUNTS, values).one()._mapping)


_ASSIGNED = text("""
SELECT DISTINCT s.office, p.email FROM case_assignment s JOIN escalation_case c ON c.id = s.case_id
LEFT JOIN person p ON p.id = s.person_id
WHERE c.agency_id = :agency_id AND s.ended_at IS NULL AND c.state = ANY(:open) ORDER BY s.office, p.email
""")


def assigned_to(session: Session, office: Office) -> list[str]:
    """The offices and people of an agency that work on open cases, by name."""
    rows = session.execute(_ASSIGNED, {"agency_id": office.agency_id, "open": list(OPEN)}).all()
    return sorted({row.office for row in rows if row.office} | {row.email for row in rows if row.email})


_KNOWN_OFFICES = text("""
SELECT s.office FROM case_assignment s JOIN escalation_case c ON c.id = s.case_id
WHERE c.agency_id = :agency_id AND s.office IS NOT NULL GROUP BY s.office ORDER BY max(s.assigned_at) DESC LIMIT 30
""")


def known_offices(session: Session, agency_id: uuid.UUID) -> list[str]:
    """The names of offices an agency has used, the latest first."""
    return list(session.execute(_KNOWN_OFFICES, {"agency_id": agency_id}).scalars())


_REACH_OF = text(f"""
WITH RECURSIVE {_BELOW}
SELECT c.agency_id = :agency_id AS is_own FROM escalation_case c
WHERE c.id = :case_id AND (c.agency_id = :agency_id OR c.agency_id IN (SELECT id FROM below))
""")  # noqa: S608  # the pieces are constants of this module


def reach_of(session: Session, office: Office, case_id: uuid.UUID) -> bool:
    """Whether a case is the agency's own (True) or one of an agency below it, which it may read alone (False).

    Raises :class:`NotFound` for any other: whoever may not see a case is not told that there is one.
    """
    row = session.execute(_REACH_OF, {"agency_id": office.agency_id, "case_id": case_id}).first()
    if row is None:
        raise NotFound("case_not_found")
    return bool(row.is_own)


@dataclass(frozen=True)
class Dates:
    """A case's promises and what became of them, its role, and where its incident lies."""

    role: str
    incident_state: str
    escalated_at: datetime | None
    acknowledge_by: datetime | None
    answer_by: datetime | None
    finish_by: datetime | None
    answered_at: datetime | None
    closed_at: datetime | None
    water_body_id: uuid.UUID
    water_feature_id: uuid.UUID
    supervised_name: str | None


_DATES = text(f"""
SELECT c.role, i.state AS incident_state, c.escalated_at, c.acknowledge_by, c.answer_by, c.finish_by, c.answered_at,
       c.closed_at, f.water_body_id, f.id AS water_feature_id,
       (SELECT {_AGENCY_NAME.format(of="s.agency_id")} FROM escalation_case s WHERE s.id = c.supervises_id)
           AS supervised_name
FROM escalation_case c JOIN incident i ON i.id = c.incident_id JOIN water_feature f ON f.id = i.water_feature_id
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

    ``facts`` are the audit's own: codes, ids and numbers.
    """

    at: datetime
    action: str
    who: str
    facts: dict[str, Any]


# Moderators are not named to agencies, nor officers of one agency to another.
_HISTORY = text("""
SELECT e.at, e.action, coalesce(e.after, '{}') AS facts,
       CASE WHEN e.actor_kind = 'agency_link' THEN 'agency'
            WHEN e.actor_kind = 'person' THEN coalesce((
                SELECT p.email FROM person p JOIN membership m ON m.person_id = p.id
                JOIN agency a ON a.code = m.agency_code JOIN escalation_case c ON c.agency_id = a.id
                WHERE p.id = e.actor_id AND c.id = :case_id LIMIT 1), 'us')
            ELSE 'us' END AS who
FROM audit_entry e WHERE e.subject_kind = 'case' AND e.subject_id = :case_id ORDER BY e.at, e.id LIMIT 500
""")


def history(session: Session, case_id: uuid.UUID) -> list[Event]:
    """What happened to a case, oldest first, from the audit."""
    rows = session.execute(_HISTORY, {"case_id": case_id})
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
SELECT a.id AS agency_id, coalesce({_AGENCY_NAME.format(of="a.id")}, a.code) AS name, a.kind, a.level, near.is_here
FROM near JOIN agency a ON a.jurisdiction_id = near.id AND a.retired_at IS NULL CROSS JOIN place
WHERE a.id <> place.own AND NOT EXISTS (
    SELECT FROM escalation_case c WHERE c.incident_id = place.incident_id AND c.agency_id = a.id)
ORDER BY near.is_here DESC, array_position(ARRAY['county', 'prefecture', 'province'], a.level), a.kind, a.code LIMIT 60
""")  # noqa: S608  # the pieces are constants of this module


def others_near(session: Session, case_id: uuid.UUID, *, language: str) -> list[Other]:
    """Agencies of the same place and of its neighbours that have no case of this incident yet, local ones first."""
    values = {"case_id": case_id, "language": language, "within_m": OTHERS_WITHIN_M, "box_degrees": 0.35}
    return [Other(*row) for row in session.execute(_OTHERS, values)]


@dataclass(frozen=True)
class Contact:
    """How the agency is reached, as the administrator entered it. No secret is among it."""

    channel: str
    address: str
    position: int
    active: bool


_CONTACTS = text("""
SELECT channel, address, position, active FROM agency_contact WHERE agency_id = :agency_id
ORDER BY active DESC, position, channel, address
""")


def contacts_of(session: Session, agency_id: uuid.UUID) -> list[Contact]:
    """The agency's contacts in their order."""
    return [Contact(*row) for row in session.execute(_CONTACTS, {"agency_id": agency_id})]


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


@dataclass(frozen=True)
class Figures:
    """An agency's own account of the cases handed over within a time: counts, and medians in hours.

    A median of nothing is None. ``*_due``: those of whose deadline it is known whether it was kept: the agency did it,
    or the time is over. Cases that were withdrawn or are not the agency's are not among them, nor those it supervises.
    """

    cases: int
    acknowledged: int
    acknowledge_due: int
    acknowledged_on_time: int
    acknowledge_median_h: float | None
    answered: int
    answer_due: int
    answered_on_time: int
    answer_median_h: float | None
    closed: int
    verified_clean: int
    overdue: int


_FIGURES = text(f"""
WITH given AS (
    SELECT c.*, i.state AS incident_state, coalesce(c.delivered_at, c.acknowledged_at) AS told_at
    FROM escalation_case c JOIN incident i ON i.id = c.incident_id
    WHERE c.agency_id = :agency_id AND c.role = 'competent' AND c.state NOT IN ('withdrawn', 'refused_not_ours')
      AND coalesce(c.delivered_at, c.acknowledged_at) >= :since)
SELECT count(*) AS cases, count(acknowledged_at) AS acknowledged,
       count(*) FILTER (WHERE acknowledge_by IS NOT NULL AND (acknowledged_at IS NOT NULL OR acknowledge_by < :now))
           AS acknowledge_due,
       count(*) FILTER (WHERE acknowledged_at <= acknowledge_by) AS acknowledged_on_time,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - told_at) / 3600)
           FILTER (WHERE acknowledged_at IS NOT NULL) AS acknowledge_median_h,
       count(answered_at) AS answered,
       count(*) FILTER (WHERE answer_by IS NOT NULL AND (answered_at IS NOT NULL OR answer_by < :now)) AS answer_due,
       count(*) FILTER (WHERE answered_at <= answer_by) AS answered_on_time,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - told_at) / 3600)
           FILTER (WHERE answered_at IS NOT NULL) AS answer_median_h,
       count(*) FILTER (WHERE state = 'closed') AS closed,
       count(*) FILTER (WHERE incident_state = 'verified_clean') AS verified_clean,
       count(*) FILTER (WHERE {_DEADLINE.replace("c.", "")} < :now) AS overdue
FROM given
""")  # noqa: S608  # the pieces are constants of this module


def figures(session: Session, agency_id: uuid.UUID, *, since: datetime, now: datetime) -> Figures:
    """How an agency did with what it was told of since a time."""
    row = session.execute(_FIGURES, {"agency_id": agency_id, "since": since, "now": now}).one()
    return Figures(**row._mapping)


_BY_KIND = text("""
SELECT i.kind, count(*)::int AS cases FROM escalation_case c JOIN incident i ON i.id = c.incident_id
WHERE c.agency_id = :agency_id AND c.role = 'competent' AND c.state NOT IN ('withdrawn', 'refused_not_ours')
  AND coalesce(c.delivered_at, c.acknowledged_at) >= :since
GROUP BY i.kind ORDER BY cases DESC, i.kind
""")


def cases_by_kind(session: Session, agency_id: uuid.UUID, *, since: datetime) -> list[tuple[str, int]]:
    """What the cases were about, the commonest first."""
    rows = session.execute(_BY_KIND, {"agency_id": agency_id, "since": since})
    return [(row.kind, row.cases) for row in rows]


_AGENCY_BY_CODE = text(f"""
SELECT coalesce({_AGENCY_NAME.format(of="a.id")}, a.code) AS name FROM agency a WHERE a.code = :code
""")  # noqa: S608  # the pieces are constants of this module


def agency_name(session: Session, code: str, *, language: str) -> str:
    """What an agency is called. Raises :class:`NotFound`."""
    row = session.execute(_AGENCY_BY_CODE, {"code": code, "language": language}).first()
    if row is None:
        raise NotFound("office_unknown")
    return str(row.name)
