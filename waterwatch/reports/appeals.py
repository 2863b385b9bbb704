"""An author may ask, once, that somebody else look at a report that was refused."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.reports import queries, service
from waterwatch.reports.forms import clean_text
from waterwatch.reports.tables import Appeal

MAX_WORDS = 500
_REFUSED_BY = text("""
SELECT actor_id FROM audit_entry
WHERE subject_kind = 'report' AND subject_id = :id AND action = 'report.refused' AND actor_kind = 'person'
ORDER BY id DESC LIMIT 1
""")


@dataclass(frozen=True)
class AppealView:
    """An appeal as moderators see it: what its author says, and what they had been told. Never who refused."""

    at: datetime
    words: str
    refusal_code: str
    refusal_words: str | None


def parse_appeal(fields: Mapping[str, str]) -> str:
    """Read the form. Raises :class:`Invalid` (``words``: ``missing``, ``too_long``)."""
    words = clean_text(fields.get("words", "")).strip()
    if not words or len(words) > MAX_WORDS:
        raise Invalid({"words": ["too_long" if words else "missing"]})
    return words


def appeal(session: Session, report_id: uuid.UUID, words: str, *, settings: Settings, now: datetime) -> uuid.UUID:
    """The report goes back into review; returns who refused it, from whom it is to be kept.

    Raises :class:`NotFound`, :class:`Conflict` ``not_refused`` (also where its photos could not be read, and no person
    had decided), ``erased``, ``appealed_before``.
    """
    report = queries.lock_report(session, report_id)
    if report is None:
        raise NotFound("report_not_found")
    if report.erased_at is not None:
        raise Conflict("erased")
    if session.get(Appeal, report_id) is not None:
        raise Conflict("appealed_before")
    refused_by = refuser_of(session, report_id)
    if report.state != "refused" or report.refusal_code is None or refused_by is None:
        raise Conflict("not_refused", state=report.state)
    session.add(
        Appeal(
            report_id=report_id,
            at=now,
            words=words,
            refused_at=report.state_since,
            refused_by=refused_by,
            refusal_code=report.refusal_code,
            refusal_words=report.refusal_words,
        )
    )
    service.return_to_review(
        session,
        report_id,
        settings=settings,
        actor=Actor.anonymous(),
        now=now,
        is_told=False,
        action="report.appealed",
    )
    return refused_by


def refuser_of(session: Session, report_id: uuid.UUID) -> uuid.UUID | None:
    """Which person last refused a report; None where none did."""
    found: uuid.UUID | None = session.execute(_REFUSED_BY, {"id": report_id}).scalar_one_or_none()
    return found


def kept_from(session: Session, report_id: uuid.UUID) -> uuid.UUID | None:
    """Who may not judge a report again: whoever was appealed against. None where nobody was."""
    return session.scalars(select(Appeal.refused_by).where(Appeal.report_id == report_id)).one_or_none()


def is_against(session: Session, report_id: uuid.UUID, person_id: uuid.UUID | None, *, since: datetime) -> bool:
    """Whether what was decided on a report at a time was decided on an appeal against this person."""
    wanted = select(Appeal.at).where(Appeal.report_id == report_id, Appeal.refused_by == person_id)
    at = session.scalars(wanted).one_or_none()
    return at is not None and since >= at


def appeal_of(session: Session, report_id: uuid.UUID) -> AppealView | None:
    """The appeal of a report's author, or None."""
    found = session.scalars(select(Appeal).where(Appeal.report_id == report_id)).one_or_none()
    return None if found is None else AppealView(found.at, found.words, found.refusal_code, found.refusal_words)


def may_appeal(session: Session, report_id: uuid.UUID, state: str, erased_at: datetime | None) -> bool:
    """Whether the follow page offers an appeal."""
    if state != "refused" or erased_at is not None:
        return False
    return appeal_of(session, report_id) is None and refuser_of(session, report_id) is not None
