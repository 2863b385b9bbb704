"""What a moderator asks a report's author, read and answered on the follow page: one question at a time."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select, text
from sqlalchemy.orm import Session

from waterwatch.contacts import queries as contact_queries
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.reports import queries, rules
from waterwatch.reports.forms import clean_text
from waterwatch.reports.service import TOPIC_ASKED, put_on_record
from waterwatch.reports.tables import QUESTION_CODES, Question

MAX_WORDS = 300
MAX_ANSWER = 500


# One statement for the many reports nobody asked about.
_DROP = text("""
UPDATE question SET state = 'lapsed', state_since = :now, state_deadline_at = NULL
WHERE report_id = :report_id AND state = 'open' RETURNING id
""")


@dataclass(frozen=True)
class QuestionView:
    """One question as its author and the moderators see it; never who asked."""

    question_id: uuid.UUID
    state: str
    asked_at: datetime
    code: str
    words: str | None
    answer: str | None
    answered_at: datetime | None


def parse_question(fields: Mapping[str, str]) -> tuple[str, str | None]:
    """Read the form: (code, words). Raises :class:`Invalid` with every fault."""
    code = fields.get("code", "").strip()
    words = " ".join(clean_text(fields.get("words", "")).split()) or None
    errors: dict[str, list[str]] = {}
    if code not in QUESTION_CODES:
        errors["code"] = ["choice_unknown" if code else "missing"]
    if words is not None and len(words) > MAX_WORDS:
        errors["words"] = ["too_long"]
    if code == "other" and words is None:
        errors["words"] = ["missing"]
    if errors:
        raise Invalid(errors)
    return code, words


def parse_answer(fields: Mapping[str, str]) -> str:
    """Read the answer. Raises :class:`Invalid` (``answer``: ``missing``, ``too_long``)."""
    return _words(fields, "answer", MAX_ANSWER)


def ask(
    session: Session,
    report_id: uuid.UUID,
    code: str,
    words: str | None,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    tell_at: datetime | None = None,
) -> uuid.UUID:
    """Ask; returns the question's id. The audit knows which, never the words.

    Raises :class:`NotFound`, :class:`Conflict` ``not_in_review`` or ``question_open``.
    """
    report = queries.lock_report(session, report_id)
    if report is None:
        raise NotFound("report_not_found")
    if report.state != "in_review":
        raise Conflict("not_in_review", state=report.state)
    if open_question(session, report_id) is not None:
        raise Conflict("question_open")
    question = Question(id=new_id(), report_id=report_id, asked_at=now, code=code, words=words)
    rules.asked(settings).enter(question, now=now)
    session.add(question)
    session.flush()
    facts: dict[str, audit.Fact] = {"question_id": question.id, "code": code}
    put_on_record(session, "report.asked", report_id, actor, now, None, facts)
    if contact_queries.is_anybody_told(session, report_id):
        payload = {"report_id": str(report_id), "question_id": str(question.id)}
        outbox.emit(session, TOPIC_ASKED, payload, now=now, available_at=tell_at)
    return question.id


def answer(session: Session, report_id: uuid.UUID, words: str, *, now: datetime) -> None:
    """The author answers the open question.

    Raises :class:`NotFound`, :class:`Conflict` ``not_in_review`` or ``no_question``: it was decided meanwhile, taken
    back, or is over.
    """
    report = queries.lock_report(session, report_id)
    if report is None:
        raise NotFound("report_not_found")
    if report.state != "in_review":
        raise Conflict("not_in_review", state=report.state)
    question = _locked(session, Question.report_id == report_id, Question.state == "open")
    if question is None:
        raise Conflict("no_question")
    question.answer = words
    rules.QUESTION.move(question, "answered", now=now)
    session.flush()
    put_on_record(session, "report.answered", report_id, Actor.anonymous(), now, None, {"question_id": question.id})


def withdraw(session: Session, question_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """Nobody asks this any more. Raises :class:`Conflict` ``question_answered`` once it was answered, or is over."""
    _end(session, question_id, "withdrawn", "report.question_withdrawn", actor, now)


def lapse(session: Session, question_id: uuid.UUID, *, now: datetime) -> uuid.UUID | None:
    """An answer was waited for long enough; returns the report's id, or None where it is not overdue. Idempotent."""
    report_id = session.scalars(select(Question.report_id).where(Question.id == question_id)).one_or_none()
    if report_id is not None:
        queries.lock_report(session, report_id)  # first, as everybody: it may be judged or taken back just now
    question = _locked(session, Question.id == question_id)
    if question is None or question.state_deadline_at is None or question.state_deadline_at > now:
        return None
    return _end(session, question_id, "lapsed", "report.question_lapsed", Actor.system("sweep"), now)


def drop(session: Session, report_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """The report is judged without the answer; a question that is open is none any more. Idempotent."""
    for question_id in session.execute(_DROP, {"report_id": report_id, "now": now}).scalars():
        put_on_record(session, "report.question_dropped", report_id, actor, now, None, {"question_id": question_id})


def open_question(session: Session, report_id: uuid.UUID) -> QuestionView | None:
    """The question that waits for an answer, or None."""
    return next((one for one in questions_of(session, report_id) if one.state == "open"), None)


def questions_of(session: Session, report_id: uuid.UUID) -> list[QuestionView]:
    """What was asked of a report's author and not taken back, oldest first."""
    wanted = select(Question).where(Question.report_id == report_id, Question.state != "withdrawn")
    return [
        QuestionView(
            one.id,
            one.state,
            one.asked_at,
            one.code,
            one.words,
            one.answer,
            one.state_since if one.state == "answered" else None,
        )
        for one in session.scalars(wanted.order_by(Question.asked_at, Question.id))
    ]


def _locked(session: Session, *where: ColumnElement[bool]) -> Question | None:
    statement = select(Question).where(*where).with_for_update().execution_options(populate_existing=True)
    return session.scalars(statement).one_or_none()


def _end(session: Session, question_id: uuid.UUID, state: str, action: str, actor: Actor, now: datetime) -> uuid.UUID:
    question = _locked(session, Question.id == question_id)
    if question is None:
        raise NotFound("question_not_found")
    if question.state != "open":
        raise Conflict("question_answered", state=question.state)
    rules.QUESTION.move(question, state, now=now)
    session.flush()
    put_on_record(session, action, question.report_id, actor, now, None, {"question_id": question.id})
    return question.report_id


def _words(fields: Mapping[str, str], name: str, limit: int) -> str:
    words = clean_text(fields.get(name, "")).strip()
    if not words or len(words) > limit:
        raise Invalid({name: ["too_long" if words else "missing"]})
    return words
