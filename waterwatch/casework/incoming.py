"""Answers that came by mail, or as what an agency's Open311 server says of a request. All of it is hostile text.

A mail moves nothing by itself, not even to acknowledged: machines answer as people do. A lead reads it first; what it
moves then, it moves as of when it came.
"""

import hashlib
import uuid
from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.casework import rules, service
from waterwatch.casework.service import Answer
from waterwatch.escalation import queries as escalation_queries
from waterwatch.escalation import service as escalation
from waterwatch.escalation.delivery_queries import digest_of_delivery, sent_with
from waterwatch.inbox import service as inbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, NotFound
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings

CLOSED = "closed"  # GeoReport v2 knows two: open, closed
MAX_NOTE = 4000

log = get_logger(__name__)


def answered_by_mail(
    session: Session, delivery_id: uuid.UUID, mail_id: uuid.UUID, *, settings: Settings, now: datetime
) -> uuid.UUID | None:
    """Somebody answered a letter by mail: an answer of its case, held for the lead. Idempotent: once for each mail.

    Of a mail that told of several cases nobody knows which one is meant: it is filed with the first in which anything
    can be said, and says so to the lead. One without a word adds to what was said, and says that it has none. None
    where there is nothing to keep: a mail that was forgotten, a case in which nothing can be said any more (the inbox
    keeps the mail, and the case notes it).
    """
    case_id = escalation_queries.case_of_delivery(session, delivery_id)
    try:
        words = rules.clean_words(inbox.answer_text(session, mail_id, settings))
    except NotFound:
        return None
    said = Answer(words or rules.WITHOUT_WORDS, via="email", source_key=f"mail:{mail_id}", is_comment=not words)
    together = dict.fromkeys([case_id, *sent_with(session, delivery_id).values()])
    if len(together) > 1:
        said = replace(said, digest_id=digest_of_delivery(session, delivery_id))
        escalation_queries.lock_all_of(session, together)
    kept = (_keep(session, one, said, is_done=False, settings=settings, now=now) for one in together)
    return next((answer_id for answer_id in kept if answer_id is not None), None)


def told_by_remote(
    session: Session, delivery_id: uuid.UUID, status: str, note: str, *, settings: Settings, now: datetime
) -> uuid.UUID | None:
    """What an agency's own system says of a request of ours now. Idempotent: the same status and note once.

    ``closed`` is what "done" is elsewhere, and as little of a proof. An open request with a note is answered, one
    without is acknowledged; and so is a request that only warns, whatever became of it: nothing was to be done.
    """
    case_id = escalation_queries.case_of_delivery(session, delivery_id)
    words, is_done = rules.clean_words(note[:MAX_NOTE]), status == CLOSED
    if not words and (not is_done or escalation_queries.is_only_warned(session, case_id)):
        _acknowledge(session, case_id, now=now)
        return None
    digest = hashlib.sha256(f"{is_done}\n{words}".encode()).hexdigest()[:24]
    said = Answer(words or rules.CLOSED_ELSEWHERE, via="open311", source_key=f"open311:{delivery_id}:{digest}")
    return _keep(session, case_id, said, is_done=is_done, settings=settings, now=now)


def _keep(
    session: Session, case_id: uuid.UUID, said: Answer, *, is_done: bool, settings: Settings, now: datetime
) -> uuid.UUID | None:
    act = service.report_done if is_done else service.answer
    try:
        return act(session, case_id, said, settings=settings, actor=_agency(session, case_id), now=now)
    except Conflict as refused:
        log.warning("casework.answer_left", case_id=str(case_id), via=said.via, reason=refused.error_code)
        return None


def _acknowledge(session: Session, case_id: uuid.UUID, *, now: datetime) -> None:
    try:
        escalation.acknowledge(session, case_id, actor=_agency(session, case_id), now=now)
    except Conflict as refused:
        log.warning("casework.answer_left", case_id=str(case_id), reason=refused.error_code)


def _agency(session: Session, case_id: uuid.UUID) -> Actor:
    agency_id = escalation_queries.agency_of_case(session, case_id)
    return Actor.system("inbox") if agency_id is None else Actor.agency_link(agency_id)
