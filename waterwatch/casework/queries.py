"""Every SELECT of casework, named for its answer."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from waterwatch.casework.rules import Standing
from waterwatch.casework.tables import CaseAnswer, CaseAssignment
from waterwatch.escalation.public_queries import BEGAN, MAIL_UNTIL
from waterwatch.kernel.errors import NotFound

HELD_LISTED = 100
_NAME_ORDER = (
    "ORDER BY n.lang = :language DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1"
)


@dataclass(frozen=True)
class AnswerPhoto:
    """A picture of an answer that is ready to be seen, by its place among the answer's; px of the 1024 px size."""

    photo_id: uuid.UUID
    position: int
    width: int
    height: int


@dataclass(frozen=True)
class AnswerView:
    """What an agency said, with what the lead and the agency itself may know of it.

    ``photos_waiting``: pictures that are still worked on; ``photos_refused``: files no picture could be
    made of. ``said_by`` None: by link, mail or a machine.
    ``role`` ``downstream``: it is a word to a warning, for the lead to read, and none to the public.
    ``digest_codes``: it answers a mail that told of these incidents, and may mean any of them.
    """

    answer_id: uuid.UUID
    case_id: uuid.UUID
    incident_id: uuid.UUID
    code: str
    kind: str
    via: str
    words: str | None
    planned_on: date | None
    said_at: datetime
    said_by: uuid.UUID | None
    state: str
    published_at: datetime | None
    withheld_reason: str | None
    agency_id: uuid.UUID
    agency_name: str | None
    suggested_agency: str | None
    photos_waiting: int
    photos_refused: int
    digest_codes: Sequence[str] | None = None
    role: str = "competent"
    photos: tuple[AnswerPhoto, ...] = field(default=())


_ANSWERS = f"""
SELECT a.id AS answer_id, a.case_id, c.incident_id, i.code, a.kind, a.via, a.words, a.planned_on, a.said_at, a.said_by,
       a.state, a.published_at, a.withheld_reason, c.agency_id, c.role,
       (SELECT n.name FROM agency_name n WHERE n.agency_id = c.agency_id {_NAME_ORDER}) AS agency_name,
       (SELECT n.name FROM agency_name n WHERE n.agency_id = a.suggested_agency_id {_NAME_ORDER}) AS suggested_agency,
       (SELECT array_agg(DISTINCT di.code ORDER BY di.code) FROM delivery d JOIN escalation_case dc ON dc.id = d.case_id
        JOIN incident di ON di.id = dc.incident_id WHERE d.digest_id = a.digest_id AND d.severity < 4) AS digest_codes,
       (SELECT count(*)::int FROM case_answer_photo ap JOIN photo p ON p.id = ap.photo_id
        WHERE ap.answer_id = a.id AND p.state IN ('received', 'sanitising')) AS photos_waiting,
       (SELECT count(*)::int FROM case_answer_photo ap JOIN photo p ON p.id = ap.photo_id
        WHERE ap.answer_id = a.id AND p.state = 'refused') AS photos_refused
FROM case_answer a JOIN escalation_case c ON c.id = a.case_id JOIN incident i ON i.id = c.incident_id
"""  # noqa: S608  # names of our own
_OF_CASE = text(f"{_ANSWERS} WHERE a.case_id = :case_id ORDER BY a.said_at, a.id")
_PUBLIC = text(f"""{_ANSWERS} WHERE c.incident_id = ANY(:incident_ids) AND a.state = 'published' AND a.erased_at IS NULL
                   AND c.state <> 'withdrawn' AND c.role <> 'downstream' ORDER BY a.said_at, a.id""")
_HELD = text(f"""{_ANSWERS} WHERE a.state = 'held' AND a.erased_at IS NULL AND i.state NOT IN ('merged', 'retracted')
                 ORDER BY a.said_at, a.id LIMIT :limit""")
_CHECKED = text(f"""{_ANSWERS} WHERE a.state = :state AND a.erased_at IS NULL AND a.checked_by IS NOT NULL
                    ORDER BY a.state_since DESC, a.id DESC LIMIT :limit""")
_ONE = text(f"{_ANSWERS} WHERE a.id = :id")
_PHOTOS = text("""
SELECT ap.answer_id, ap.photo_id, ap.position, d.width, d.height
FROM case_answer_photo ap JOIN photo p ON p.id = ap.photo_id AND p.state = 'ready'
JOIN photo_derivative d ON d.photo_id = p.id AND d.size_px = 1024
WHERE ap.answer_id = ANY(:ids) ORDER BY ap.answer_id, ap.position
""")


def answers_of_case(session: Session, case_id: uuid.UUID, *, language: str = "zh-Hans") -> list[AnswerView]:
    """All an agency said in a case, oldest first, published or not: for the agency and for staff. Two queries."""
    return _views(session, session.execute(_OF_CASE, {"case_id": case_id, "language": language}).all())


def public_answers(
    session: Session, incident_ids: Sequence[uuid.UUID], *, language: str = "zh-Hans"
) -> dict[uuid.UUID, list[AnswerView]]:
    """What anybody may read of what was answered, by incident, oldest first. Two queries for all."""
    found: dict[uuid.UUID, list[AnswerView]] = {incident_id: [] for incident_id in incident_ids}
    values = {"incident_ids": list(incident_ids), "language": language}
    for answer in _views(session, session.execute(_PUBLIC, values).all()):
        found[answer.incident_id].append(answer)
    return found


def held_answers(session: Session, *, language: str = "zh-Hans", limit: int = HELD_LISTED) -> list[AnswerView]:
    """What waits for the lead, oldest first. Two queries."""
    return _views(session, session.execute(_HELD, {"language": language, "limit": limit}).all())


def checked_answers(session: Session, state: str, *, language: str = "zh-Hans", limit: int = 20) -> list[AnswerView]:
    """What a lead decided last: ``published`` or ``withheld``, newest first. Two queries."""
    return _views(session, session.execute(_CHECKED, {"state": state, "language": language, "limit": limit}).all())


def answer_by_id(session: Session, answer_id: uuid.UUID, *, language: str = "zh-Hans") -> AnswerView:
    """One answer. Raises :class:`NotFound`."""
    found = _views(session, session.execute(_ONE, {"id": answer_id, "language": language}).all())
    if not found:
        raise NotFound("answer_not_found")
    return found[0]


def _views(session: Session, rows: Sequence[object]) -> list[AnswerView]:
    facts = [dict(row._mapping) for row in rows]  # type: ignore[attr-defined]
    photos: dict[uuid.UUID, list[AnswerPhoto]] = {}
    if facts:
        for row in session.execute(_PHOTOS, {"ids": [one["answer_id"] for one in facts]}):
            photos.setdefault(row.answer_id, []).append(AnswerPhoto(row.photo_id, row.position, row.width, row.height))
    return [AnswerView(**one, photos=tuple(photos.get(one["answer_id"], ()))) for one in facts]


def locked_answer(session: Session, answer_id: uuid.UUID) -> CaseAnswer:
    """One answer, locked. Raises :class:`NotFound`."""
    statement = select(CaseAnswer).where(CaseAnswer.id == answer_id).with_for_update()
    answer = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if answer is None:
        raise NotFound("answer_not_found")
    return answer


def case_of_answer(session: Session, answer_id: uuid.UUID) -> uuid.UUID:
    """The case an answer belongs to, for good. Raises :class:`NotFound`."""
    case_id = session.scalars(select(CaseAnswer.case_id).where(CaseAnswer.id == answer_id)).one_or_none()
    if case_id is None:
        raise NotFound("answer_not_found")
    return case_id


def answer_from(session: Session, source_key: str) -> uuid.UUID | None:
    """The answer that came from a source before, or None."""
    return session.scalars(select(CaseAnswer.id).where(CaseAnswer.source_key == source_key)).one_or_none()


def photos_of_answer(session: Session, answer_id: uuid.UUID) -> list[uuid.UUID]:
    """The photos of one answer, whatever became of them."""
    statement = text("SELECT photo_id FROM case_answer_photo WHERE answer_id = :id ORDER BY position")
    return list(session.execute(statement, {"id": answer_id}).scalars())


_ROUND_BEGAN = text(f"SELECT {BEGAN} FROM escalation_case c WHERE c.id = :id")  # noqa: S608  # a constant of ours
_MAIL_WAITS = text(f"SELECT {MAIL_UNTIL} > :now FROM escalation_case c WHERE c.id = :id")  # noqa: S608  # likewise


def round_began(session: Session, case_id: uuid.UUID) -> datetime:
    """When a case was opened, or begun anew last."""
    began: datetime = session.execute(_ROUND_BEGAN, {"id": case_id}).scalar_one()
    return began


def has_mail_in_time(session: Session, case_id: uuid.UUID, *, now: datetime) -> bool:
    """Whether a mail came before what is owed was due, and a lead still has time to read it."""
    return bool(session.execute(_MAIL_WAITS, {"id": case_id, "now": now}).scalar_one())


_STANDINGS = text("""
SELECT c.role, c.state, EXISTS (
    SELECT FROM case_answer a WHERE a.case_id = c.id AND a.kind = 'done' AND a.state = 'published'
      AND a.erased_at IS NULL
      AND a.said_at >= coalesce((SELECT max(r.reopened_at) FROM case_round r WHERE r.case_id = c.id), '-infinity'))
    AS has_public_done
FROM escalation_case c WHERE c.incident_id = :incident_id
""")


def standings(session: Session, incident_id: uuid.UUID) -> list[Standing]:
    """How each of an incident's cases stands; what was said before it was reopened counts no more."""
    return [Standing(**row._mapping) for row in session.execute(_STANDINGS, {"incident_id": incident_id})]


@dataclass(frozen=True)
class Assigned:
    """Who works on a case. ``person_name`` is what the person is called on the desk, None where only an office is."""

    assignment_id: uuid.UUID
    case_id: uuid.UUID
    person_id: uuid.UUID | None
    office: str | None
    assigned_at: datetime


def assignments_of(session: Session, case_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[Assigned]]:
    """Who works on each of some cases now, in the order they were asked to. One query."""
    found: dict[uuid.UUID, list[Assigned]] = {case_id: [] for case_id in case_ids}
    standing = select(CaseAssignment).where(CaseAssignment.case_id.in_(case_ids), CaseAssignment.ended_at.is_(None))
    for one in session.scalars(standing.order_by(CaseAssignment.assigned_at, CaseAssignment.id)):
        found[one.case_id].append(Assigned(one.id, one.case_id, one.person_id, one.office, one.assigned_at))
    return found


def standing_assignment(
    session: Session, case_id: uuid.UUID, person_id: uuid.UUID | None, office: str | None
) -> CaseAssignment | None:
    """The very same assignment, if it stands."""
    return session.scalars(
        select(CaseAssignment).where(
            CaseAssignment.case_id == case_id,
            CaseAssignment.person_id.is_not_distinct_from(person_id),
            CaseAssignment.office.is_not_distinct_from(office),
            CaseAssignment.ended_at.is_(None),
        )
    ).one_or_none()


_REMINDERS_DUE = text("""
SELECT c.id FROM escalation_case c
WHERE c.remind_at <= :now AND c.state IN ('delivered', 'acknowledged', 'answered')
ORDER BY c.remind_at LIMIT :limit
""")
_OVERDUE = text("""
SELECT c.id FROM escalation_case c JOIN incident i ON i.id = c.incident_id
WHERE c.state_deadline_at < :now AND c.state IN ('delivered', 'acknowledged', 'answered')
  AND (c.escalated_at IS NULL OR i.closed_at IS NOT NULL OR EXISTS (
      SELECT FROM escalation_case b WHERE b.id = c.supervises_id
        AND (b.state NOT IN ('delivered', 'acknowledged', 'answered') OR b.state_deadline_at IS NULL
             OR b.state_deadline_at > :now)))
ORDER BY c.state_deadline_at LIMIT :limit
""")


def reminders_due(session: Session, *, now: datetime, limit: int) -> list[uuid.UUID]:
    """Cases whose agency is to be reminded, most urgent first."""
    return list(session.execute(_REMINDERS_DUE, {"now": now, "limit": limit}).scalars())


def overdue_cases(session: Session, *, now: datetime, limit: int) -> list[uuid.UUID]:
    """Cases whose agency is late and of which nobody above it has been told, the latest first; those whose clock
    something that came late started again although the incident had ended; and supervisors, told of or not, of a case
    that is late no more."""
    return list(session.execute(_OVERDUE, {"now": now, "limit": limit}).scalars())


_WITHHELD_DUE = text("""
SELECT id FROM case_answer WHERE state = 'withheld' AND erased_at IS NULL AND state_since < :before
ORDER BY state_since LIMIT :limit
""")


def withheld_long_ago(session: Session, *, before: datetime, limit: int) -> list[uuid.UUID]:
    """Answers that were withheld so long ago that nobody will ask for them back."""
    return list(session.execute(_WITHHELD_DUE, {"before": before, "limit": limit}).scalars())


@dataclass(frozen=True)
class LateCase:
    """A case whose agency is late, and above which nobody is left to tell; ``state`` says what it owes."""

    case_id: uuid.UUID
    incident_id: uuid.UUID
    code: str
    agency_name: str | None
    severity: int
    state: str
    due_at: datetime


_LATE = text(f"""
SELECT c.id AS case_id, c.incident_id, i.code, c.severity, c.state, c.state_deadline_at AS due_at,
       (SELECT n.name FROM agency_name n WHERE n.agency_id = c.agency_id {_NAME_ORDER}) AS agency_name
FROM escalation_case c JOIN incident i ON i.id = c.incident_id
WHERE c.escalated_at IS NOT NULL AND c.state IN ('delivered', 'acknowledged', 'answered')
  AND c.state_deadline_at < :now AND i.closed_at IS NULL AND NOT EXISTS (
      SELECT FROM audit_entry e WHERE e.subject_kind = 'case' AND e.subject_id = c.id AND e.action = 'case.overdue'
        AND e.at >= c.escalated_at AND e.after ->> 'case_id' IS NOT NULL)
ORDER BY c.severity DESC, c.state_deadline_at, c.id LIMIT :limit
""")  # noqa: S608  # names of our own


def late_cases(session: Session, *, now: datetime, language: str = "zh-Hans", limit: int = 100) -> list[LateCase]:
    """Late cases of open incidents that no superior could be told of, the gravest first."""
    rows = session.execute(_LATE, {"now": now, "language": language, "limit": limit})
    return [LateCase(**row._mapping) for row in rows]
