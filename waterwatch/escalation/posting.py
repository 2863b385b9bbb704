"""Letters on paper: what they hold, and that one was posted."""

import uuid
from datetime import date, datetime

from sqlalchemy.orm import Session

from waterwatch.escalation import deliveries, reading, rules, service
from waterwatch.escalation import delivery_queries as found
from waterwatch.escalation.channels.letter import PictureShelf, gather_pictures
from waterwatch.escalation.channels.post import print_letter
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid, Unavailable


def print_delivery(context: JobContext, delivery_id: uuid.UUID) -> tuple[str, bytes]:
    """The code of a letter's incident, and the letter as a PDF. Opens transactions of its own.

    Raises:
        NotFound: there is no such letter. Gone: its case was withdrawn.
        Unavailable: a picture is there and cannot be had just now; paper has no second try.
    """
    with transaction(context.sessions) as session:
        kept = reading.kept_delivery(session, delivery_id, "post")
        facts = reading.facts_of(session, [kept])[kept.case_id]
    pictures = gather_pictures(context, facts, PictureShelf())
    if pictures.are_held_back:
        raise Unavailable("pictures_unavailable", retry_after_s=30.0)
    with transaction(context.sessions) as session:
        letter = reading.letter_of(session, kept, facts, pictures, settings=context.settings)
    return facts.code, print_letter(letter)


def record_posted(session: Session, delivery_id: uuid.UUID, on: date, *, actor: Actor, now: datetime) -> None:
    """A letter went to the post on a day of China's calendar: its agency has it.

    Raises:
        NotFound: there is no such letter.
        Invalid: the day is to come, or was before the letter was written.
        Conflict: it does not wait to be posted.
    """
    kept = reading.kept_delivery(session, delivery_id, "post")
    if not kept.created_at.astimezone(rules.CHINA_TIME).date() <= on <= now.astimezone(rules.CHINA_TIME).date():
        raise Invalid({"on": ["day_out_of_range"]})
    if not deliveries.settle_awaiting(session, delivery_id, now=now):
        raise Conflict("letter_not_waiting")
    case = found.locked_cases(session, [kept.case_id])[kept.case_id]
    facts: dict[str, audit.Fact] = {"delivery_id": delivery_id, "posted_on": on.isoformat()}
    service.record(session, "delivery.posted", case, actor=actor, now=now, after=facts)
