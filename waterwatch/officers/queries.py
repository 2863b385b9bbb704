"""Every SELECT of the officers' desk, named for its answer. An agency's reach is itself and the agencies below it."""

import uuid
from dataclasses import dataclass
from datetime import datetime, time

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel.errors import NotFound
from waterwatch.officers.rules import EXPORT_ROWS, NEVER, OPEN, PAGE_ROWS, Due, Wanted, due

NAME_ORDER = (
    "ORDER BY n.lang = :language DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1"
)
AGENCY_NAME = f"(SELECT n.name FROM agency_name n WHERE n.agency_id = {{of}} {NAME_ORDER})"  # noqa: S608
_WATER_NAME = f"""(SELECT n.name FROM water_name n
    WHERE n.water_body_id = f.water_body_id AND n.is_primary {NAME_ORDER})"""  # noqa: S608
# UNION, not UNION ALL: a tree that was entered as a circle ends, too.
_BELOW = """
below AS (
    SELECT a.id FROM agency a WHERE a.parent_id = :agency_id AND a.id <> :agency_id
    UNION SELECT a.id FROM agency a JOIN below b ON a.parent_id = b.id WHERE a.id <> :agency_id)
"""
# While a letter is under way, the deadline that runs is ours, not the agency's.
DEADLINE = "CASE WHEN c.state IN ('delivered', 'acknowledged', 'answered') THEN c.state_deadline_at END"
# Once the incident has ended, nothing is owed.
_RUNNING = f"CASE WHEN i.closed_at IS NULL THEN {DEADLINE} END"


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
SELECT a.id AS agency_id, a.code, coalesce({AGENCY_NAME.format(of="a.id")}, a.code) AS name, a.kind, a.level,
       EXISTS (SELECT FROM agency b WHERE b.parent_id = a.id) AS has_below,
       {AGENCY_NAME.format(of="a.parent_id")} AS parent_name, a.digest_upto, a.digest_at
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
    """One case in a list. ``deadline_at`` is the one that runs now. ``assigned``: persons' addresses and offices.
    ``is_over``: its incident has ended.

    Of an agency below, offices alone: who works there is its own. No place of a case that was taken back.
    """

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
    lon: float | None
    lat: float | None
    water_name: str | None
    agency_name: str | None
    assigned: tuple[str, ...]
    is_own: bool
    is_over: bool

    def due(self, *, now: datetime) -> Due | None:
        """How its deadline stands."""
        return due(self.deadline_at, self.delivered_at or self.created_at, now=now)


_ROWS = f"""
WITH RECURSIVE {_BELOW}, wanted AS (
    SELECT c.*, i.closed_at IS NOT NULL AS is_over,
           coalesce({_RUNNING}, CAST(:never AS timestamptz)) AS sorted_by, {_RUNNING} AS deadline_at
    FROM escalation_case c JOIN incident i ON i.id = c.incident_id
    WHERE CASE WHEN :reach = 'own' THEN c.agency_id = :agency_id
               ELSE c.agency_id IN (SELECT id FROM below) END
      AND c.state = ANY(:states) AND (CAST(:is_over AS boolean) IS NULL OR (i.closed_at IS NOT NULL) = :is_over)
      AND (CAST(:severity AS int) IS NULL OR c.severity = :severity)
      AND (NOT :is_to_answer OR c.role <> 'downstream')
      AND (NOT :is_late OR {_RUNNING} < :now)
      AND (CAST(:whose AS text) IS NULL OR CASE :whose
           WHEN 'nobody' THEN NOT EXISTS (
               SELECT FROM case_assignment s WHERE s.case_id = c.id AND s.ended_at IS NULL)
           WHEN 'mine' THEN EXISTS (SELECT FROM case_assignment s
               WHERE s.case_id = c.id AND s.ended_at IS NULL AND s.person_id = :person_id)
           ELSE EXISTS (SELECT FROM case_assignment s LEFT JOIN person p ON p.id = s.person_id
               WHERE s.case_id = c.id AND s.ended_at IS NULL AND (s.office = :whose
                   OR p.email = :whose AND c.agency_id = :agency_id)) END)
      AND (CAST(:after_id AS uuid) IS NULL
           OR (coalesce({_RUNNING}, CAST(:never AS timestamptz)), c.id) > (CAST(:after_at AS timestamptz), :after_id))
    ORDER BY sorted_by, c.id LIMIT :limit)
SELECT c.id AS case_id, i.code, i.kind, c.severity, c.state, c.role, c.created_at, c.delivered_at, c.acknowledged_at,
       c.answered_at, c.closed_at, c.deadline_at,
       CASE WHEN c.state <> 'withdrawn' THEN ST_X(place.at) END AS lon,
       CASE WHEN c.state <> 'withdrawn' THEN ST_Y(place.at) END AS lat,
       {_WATER_NAME} AS water_name, {AGENCY_NAME.format(of="c.agency_id")} AS agency_name,
       coalesce((SELECT array_agg(concat_ws(' · ', s.office, p.email) ORDER BY s.assigned_at, s.id)
                 FROM case_assignment s LEFT JOIN person p ON p.id = s.person_id AND c.agency_id = :agency_id
                 WHERE s.case_id = c.id AND s.ended_at IS NULL AND coalesce(s.office, p.email) IS NOT NULL),
                '{{}}') AS assigned,
       c.agency_id = :agency_id AS is_own, c.is_over
FROM wanted c JOIN incident i ON i.id = c.incident_id JOIN water_feature f ON f.id = i.water_feature_id
CROSS JOIN LATERAL (SELECT CASE WHEN c.role = 'downstream' THEN i.public_point ELSE i.exact_point END AS at) place
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
        "is_over": wanted.is_over,
        "severity": wanted.severity,
        "whose": wanted.whose,
        "reach": wanted.reach,
        "is_late": wanted.bucket == "overdue",
        "is_to_answer": wanted.bucket == "answer",
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
SELECT count(*) FILTER (WHERE i.closed_at IS NULL AND c.state IN ('queued', 'delivered', 'dead')) AS acknowledge,
       count(*) FILTER (WHERE i.closed_at IS NULL AND c.state = 'acknowledged' AND c.role <> 'downstream') AS answer,
       count(*) FILTER (WHERE i.closed_at IS NULL AND c.state = 'answered') AS finish,
       count(*) FILTER (WHERE {_RUNNING} < :now) AS overdue,
       count(*) FILTER (WHERE c.state = 'closed') AS done,
       count(*) FILTER (WHERE c.state = 'refused_not_ours') AS refused,
       count(*) FILTER (WHERE c.state = 'withdrawn') AS withdrawn,
       count(*) FILTER (WHERE i.closed_at IS NULL AND c.state = ANY(:open)) AS open,
       count(*) FILTER (WHERE i.closed_at IS NOT NULL AND c.state = ANY(:open)) AS ended
FROM escalation_case c JOIN incident i ON i.id = c.incident_id
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


_AGENCY_BY_CODE = text(f"""
SELECT coalesce({AGENCY_NAME.format(of="a.id")}, a.code) AS name FROM agency a WHERE a.code = :code
""")  # noqa: S608  # the pieces are constants of this module


def agency_name(session: Session, code: str, *, language: str) -> str:
    """What an agency is called. Raises :class:`NotFound`."""
    row = session.execute(_AGENCY_BY_CODE, {"code": code, "language": language}).first()
    if row is None:
        raise NotFound("office_unknown")
    return str(row.name)
