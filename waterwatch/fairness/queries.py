"""What is asked of fairness, each named for its answer."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session

from waterwatch.accounts.tables import Person
from waterwatch.fairness.rules import Pair
from waterwatch.fairness.tables import CalibrationCase

_IDS = ARRAY(UUID(as_uuid=True))

# Who has judged a report, or confirmed or taken back a judgement of it, knows of the first one.
NOT_KNOWN = """
  AND NOT EXISTS (SELECT FROM grade g WHERE g.report_id = b.report_id AND g.seconded_by = :person_id)
  AND NOT EXISTS (SELECT FROM audit_entry e WHERE e.subject_kind = 'report' AND e.subject_id = b.report_id
      AND e.actor_id = :person_id
      AND e.action IN ('report.accepted', 'report.merged', 'report.refused', 'report.returned'))
"""
_IS_PATROL = text("SELECT kind = 'all_clear' FROM report WHERE id = :id")
_LOCK_DECIDED = text("""
SELECT id FROM report WHERE id = :id AND state IN ('accepted', 'merged', 'refused') AND erased_at IS NULL
  AND kind <> 'all_clear' FOR SHARE
""")
_WAITING = text(
    """
SELECT count(*)::int FROM blind_review b JOIN report r ON r.id = b.report_id
WHERE b.second_at IS NULL AND b.first_person <> :person_id AND r.erased_at IS NULL
  AND (b.leased_until IS NULL OR b.leased_until <= :now OR b.leased_by = :person_id)
"""
    + NOT_KNOWN
)
_LENT = text("""
SELECT b.report_id FROM blind_review b JOIN report r ON r.id = b.report_id
WHERE b.id = :id AND b.leased_by = :person_id AND b.second_at IS NULL AND r.erased_at IS NULL
""")
_PAIRS = text("""
SELECT b.report_id, r.kind, to_char(b.second_at AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM') AS month,
       b.first_person, b.second_person, b.first_outcome, b.second_outcome
FROM blind_review b JOIN report r ON r.id = b.report_id
WHERE b.second_at >= :since AND b.second_at < :until AND r.erased_at IS NULL
ORDER BY b.second_at, b.id LIMIT :limit
""")
# What somebody took back themselves was a slip of the hand, no judgement.
_DEPARTURES = text("""
SELECT graded_by AS person_id, (severity - proposed_severity)::int AS levels, count(*)::int AS grades
FROM grade WHERE graded_at >= :since AND graded_at < :until AND reversed_by IS DISTINCT FROM graded_by GROUP BY 1, 2
""")
_CASES = text("""
SELECT c.id AS case_id, c.report_id, r.code, r.kind, c.reference_outcome, c.explanation, c.active,
       (SELECT count(*)::int FROM calibration_answer a WHERE a.case_id = c.id) AS answers
FROM calibration_case c JOIN report r ON r.id = c.report_id
ORDER BY c.active DESC, c.added_at, c.id
""")
# Nobody trains by a case they explained themselves.
_NEXT_CASE = text("""
SELECT c.id FROM calibration_case c WHERE c.active AND c.added_by <> :person_id AND NOT EXISTS (
    SELECT FROM calibration_answer a WHERE a.case_id = c.id AND a.person_id = :person_id)
ORDER BY c.added_at, c.id LIMIT 1
""")
_LEFT = text("""
SELECT count(*)::int FROM calibration_case c WHERE c.active AND c.added_by <> :person_id AND NOT EXISTS (
    SELECT FROM calibration_answer a WHERE a.case_id = c.id AND a.person_id = :person_id)
""")
_ANSWERED = text("""
SELECT c.id AS case_id, c.report_id, r.kind, a.outcome, a.points, a.inputs, c.reference_outcome, c.explanation
FROM calibration_answer a JOIN calibration_case c ON c.id = a.case_id JOIN report r ON r.id = c.report_id
WHERE a.person_id = :person_id AND (CAST(:case_id AS uuid) IS NULL OR c.id = :case_id)
ORDER BY a.answered_at, c.id
""")
_ALL_ANSWERS = text("""
SELECT a.person_id, a.outcome, c.reference_outcome FROM calibration_answer a
JOIN calibration_case c ON c.id = a.case_id ORDER BY a.answered_at, c.id
""")


@dataclass(frozen=True)
class Departures:
    """How often a moderator's level differed from the rubric's, by levels: negative is lower."""

    person_id: uuid.UUID
    by_levels: dict[int, int]

    @property
    def graded(self) -> int:
        """How many grades there are."""
        return sum(self.by_levels.values())

    @property
    def higher(self) -> int:
        """How many were above the rubric's."""
        return sum(count for levels, count in self.by_levels.items() if levels > 0)

    @property
    def lower(self) -> int:
        """How many were below the rubric's."""
        return sum(count for levels, count in self.by_levels.items() if levels < 0)

    @property
    def differences(self) -> list[int]:
        """Each grade's difference, in levels."""
        return [levels for levels, count in sorted(self.by_levels.items()) for _ in range(count)]


@dataclass(frozen=True)
class CaseToTrainBy:
    """A case as the lead sees it."""

    case_id: uuid.UUID
    report_id: uuid.UUID
    code: str
    kind: str
    reference_outcome: int
    explanation: str
    active: bool
    answers: int


@dataclass(frozen=True)
class Answered:
    """One's own answer to a case, and what it should have been."""

    case_id: uuid.UUID
    report_id: uuid.UUID
    kind: str
    outcome: int
    points: int | None
    inputs: dict[str, object] | None
    reference_outcome: int
    explanation: str


def is_patrol(session: Session, report_id: uuid.UUID) -> bool:
    """Whether a report says that its water is in order."""
    return bool(session.execute(_IS_PATROL, {"id": report_id}).scalar_one_or_none())


def lock_decided(session: Session, report_id: uuid.UUID) -> bool:
    """Whether a report of pollution was decided and is still there; it stays so until the transaction ends."""
    return session.execute(_LOCK_DECIDED, {"id": report_id}).first() is not None


def waiting_for(session: Session, person_id: uuid.UUID, *, now: datetime) -> int:
    """How many reports wait for a second, blind judgement that this person may give."""
    return int(session.execute(_WAITING, {"person_id": person_id, "now": now}).scalar_one())


def lent_report(session: Session, blind_review_id: uuid.UUID, person_id: uuid.UUID) -> uuid.UUID | None:
    """The report of a blind review this person holds; None when they do not, or it is over."""
    found = session.execute(_LENT, {"id": blind_review_id, "person_id": person_id}).scalar_one_or_none()
    return None if found is None else uuid.UUID(str(found))


def pairs(session: Session, *, since: datetime, until: datetime, limit: int = 50_000) -> list[Pair]:
    """Reports that were judged twice within a time, oldest first."""
    rows = session.execute(_PAIRS, {"since": since, "until": until, "limit": limit})
    return [Pair(**row._mapping) for row in rows]


def departures(session: Session, *, since: datetime, until: datetime) -> dict[uuid.UUID, Departures]:
    """By moderator, how their grades of a time differ from what the rubric proposed."""
    found: dict[uuid.UUID, Departures] = {}
    for row in session.execute(_DEPARTURES, {"since": since, "until": until}):
        found.setdefault(row.person_id, Departures(row.person_id, {})).by_levels[row.levels] = row.grades
    return found


def addresses_of(session: Session, person_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The mail addresses of moderators, which is all the name they have, in alphabetical order."""
    rows = session.execute(select(Person.id, Person.email).where(Person.id.in_(person_ids)).order_by(Person.email))
    return {row.id: row.email for row in rows}


def codes_of(session: Session, report_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The codes of reports."""
    statement = text("SELECT id, code FROM report WHERE id = ANY(:ids)").bindparams(bindparam("ids", type_=_IDS))
    return {row.id: row.code for row in session.execute(statement, {"ids": list(report_ids)})}


def cases(session: Session) -> list[CaseToTrainBy]:
    """Every case, those in use first."""
    return [CaseToTrainBy(**row._mapping) for row in session.execute(_CASES)]


def next_case(session: Session, person_id: uuid.UUID) -> uuid.UUID | None:
    """The oldest case in use this person has not answered; None when there is none."""
    found = session.execute(_NEXT_CASE, {"person_id": person_id}).scalar_one_or_none()
    return None if found is None else uuid.UUID(str(found))


def cases_left(session: Session, person_id: uuid.UUID) -> int:
    """How many cases in use this person has not answered."""
    return int(session.execute(_LEFT, {"person_id": person_id}).scalar_one())


def case_report(session: Session, case_id: uuid.UUID) -> uuid.UUID | None:
    """The report of a case in use."""
    statement = select(CalibrationCase.report_id).where(CalibrationCase.id == case_id, CalibrationCase.active)
    return session.execute(statement).scalar_one_or_none()


def answered(session: Session, person_id: uuid.UUID, case_id: uuid.UUID | None = None) -> list[Answered]:
    """One's own answers, or the one to a case, in the order they were given."""
    rows = session.execute(_ANSWERED, {"person_id": person_id, "case_id": case_id})
    return [Answered(**row._mapping) for row in rows]


def answers_by_person(session: Session) -> dict[uuid.UUID, list[tuple[int, int]]]:
    """By moderator, the pairs of own and reference outcome."""
    found: dict[uuid.UUID, list[tuple[int, int]]] = {}
    for row in session.execute(_ALL_ANSWERS):
        found.setdefault(row.person_id, []).append((row.outcome, row.reference_outcome))
    return found
