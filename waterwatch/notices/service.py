"""Use cases of notices: ask an address whether it wants them, and tell each step once to whoever wants to know."""

import json
import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.casework import queries as casework
from waterwatch.contacts import queries as contacts
from waterwatch.contacts import service as contact_service
from waterwatch.contacts.rules import Contact
from waterwatch.contacts.tables import ReportContact
from waterwatch.escalation import queries as escalation
from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import open_link
from waterwatch.messaging.webpush import Subscription
from waterwatch.notices import letters, rules
from waterwatch.notices.letters import Recipient
from waterwatch.postbox import service as postbox
from waterwatch.postbox.service import About
from waterwatch.reports import intake, questions
from waterwatch.reports import queries as reports
from waterwatch.reports.queries import Telling

CONFIRM = "notice.confirm"
log = get_logger(__name__)


def leave_contact(session: Session, token: str, contact: Contact, *, settings: Settings, now: datetime) -> uuid.UUID:
    """The author says how they may be reached; returns the report's id.

    Raises :class:`NotFound` ``link_unknown``, :class:`Conflict` ``report_has_ended``: nothing is left to tell.
    """
    report_id = _lock_tellable(session, token)
    contact_service.keep(session, report_id, contact, settings=settings, now=now)
    return report_id


def add_browser(
    session: Session, token: str, subscription: Subscription, *, settings: Settings, now: datetime
) -> uuid.UUID:
    """A browser wants to be told; returns the report's id.

    Raises as :func:`leave_contact`, and :class:`Conflict` ``too_many_browsers``.
    """
    report_id = _lock_tellable(session, token)
    contact_service.subscribe(session, report_id, subscription, settings=settings, now=now)
    return report_id


def _lock_tellable(session: Session, token: str) -> uuid.UUID:
    """The report, held: whoever takes it back at this moment erases what is left here as well, or comes first."""
    report = reports.lock_report(session, reports.report_by_follow_token(session, token).report_id)
    if report is None or not rules.can_be_told(report.state):
        raise Conflict("report_has_ended")
    return report.id


def ask(session: Session, contact_id: uuid.UUID, *, settings: Settings, now: datetime) -> bool:
    """Send the first mail, which asks whether this address wants the notices. Whether one was taken.

    Nobody is asked more often than ``postbox.rules.UNASKED_PER_DAY`` times a day, whatever strangers type into forms.
    """
    kept = contacts.lock_contact_by_id(session, contact_id)
    if kept is None or not kept.by_mail or kept.confirmed_at is not None:
        return False
    report = reports.telling(session, kept.report_id)
    recipient = _recipient(kept, report, settings)
    if postbox.is_pestered(session, recipient.address, CONFIRM, settings=settings, now=now):
        log.warning("notice.held_back", report_id=str(kept.report_id))
        return False
    about = About(CONFIRM, kept.report_id, kept.id, once_key=f"{CONFIRM}:{kept.id}")
    mail = letters.confirmation(recipient, settings=settings)
    return postbox.post_mail(session, about, mail, settings=settings, now=now)


def confirm(session: Session, token: str, *, settings: Settings, now: datetime) -> uuid.UUID:
    """The address wants the notices; returns the report's id.

    Raises :class:`NotFound` for a forged link, :class:`Gone` for one that is over or whose contact was erased.
    """
    contact_id = open_link(settings, letters.CONFIRM, token, now=now)
    return contact_service.confirm(session, contact_id, now=now)


def stop(session: Session, token: str, *, settings: Settings, now: datetime) -> None:
    """The address wants no mail. Twice, or after all was erased, is as good.

    Raises :class:`NotFound`, :class:`Gone`.
    """
    contact_id = open_link(settings, letters.STOP, token, now=now)
    contact_service.stop_mail(session, contact_id, now=now)


def tell(
    session: Session, report_id: uuid.UUID, step: str, *, settings: Settings, now: datetime, time: str = ""
) -> int:
    """Tell a step to everybody who wants to know of this report; returns how many messages were taken.

    Idempotent: each step goes once to each of them, however often it happens; four departments make one mail. ``time``
    tells one time from another where a step may be told again: a report may be judged twice.
    """
    report = reports.telling(session, report_id)
    told = _tell_browsers(session, report_id, report, step, time, settings=settings, now=now)
    kept = contacts.lock_contact(session, report_id)
    if kept is None or not kept.by_mail or kept.confirmed_at is None:
        return told
    token = intake.follow_token(settings, report_id, report.follow_digest)
    mail = letters.step(
        _recipient(kept, report, settings),
        step,
        follow_url=None if token is None else f"{settings.public_url}/f/{token}",
        refusal=report.refusal_code,
        settings=settings,
    )
    about = About(f"notice.{step}", report_id, kept.id, once_key=f"notice.{step}{time}:{report_id}:{kept.id}")
    return told + int(postbox.post_mail(session, about, mail, settings=settings, now=now))


def _tell_browsers(
    session: Session, report_id: uuid.UUID, report: Telling, step: str, time: str, *, settings: Settings, now: datetime
) -> int:
    """One neutral sentence to each browser: it may appear on a locked screen, in front of anybody."""
    token = intake.follow_token(settings, report_id, report.follow_digest)
    payload = json.dumps({"title": letters.push_sentence(report.language), "url": f"/f/{token}" if token else "/"})
    told = 0
    for found in contacts.subscriptions_of(session, report_id):
        about = About(f"push.{step}", report_id, found.id, once_key=f"push.{step}{time}:{report_id}:{found.id}")
        subscription = contact_service.read_subscription(found, settings=settings)
        told += postbox.post_push(session, about, subscription, payload, settings=settings, now=now)
    return told


def tell_given(context: JobContext, message: outbox.Message) -> None:
    """The job of ``contacts.TOPIC_GIVEN``. Idempotent: each contact is asked once."""
    with transaction(context.sessions) as session:
        contact_id = uuid.UUID(message.payload["contact_id"])
        ask(session, contact_id, settings=context.settings, now=context.now())
        outbox.finish(session, message.id)


def tell_judged(context: JobContext, message: outbox.Message) -> None:
    """The job of ``reports.TOPIC_JUDGED``. Idempotent: see :func:`tell`. Another judgement since has its own word."""
    with transaction(context.sessions) as session:
        report_id = uuid.UUID(message.payload["report_id"])
        report = reports.telling(session, report_id)
        since = message.payload.get("since")
        is_another = since is not None and datetime.fromisoformat(since) != report.state_since
        if not is_another and (step := rules.judged_step(report.state, report.kind)) is not None:
            time = rules.time_of(report.state_since)
            tell(session, report_id, step, settings=context.settings, now=context.now(), time=time)
        outbox.finish(session, message.id)


def tell_returned(context: JobContext, message: outbox.Message) -> None:
    """The job of ``reports.TOPIC_RETURNED``: what they were told does not stand. Idempotent: see :func:`tell`."""
    with transaction(context.sessions) as session:
        report_id = uuid.UUID(message.payload["report_id"])
        report = reports.telling(session, report_id)
        if report.state == "in_review":  # else the next judgement has its own word
            time = rules.time_of(report.state_since)
            tell(session, report_id, "returned", settings=context.settings, now=context.now(), time=time)
        outbox.finish(session, message.id)


def tell_asked(context: JobContext, message: outbox.Message) -> None:
    """The job of ``reports.TOPIC_ASKED``: a moderator would like to know something. Idempotent: see :func:`tell`."""
    with transaction(context.sessions) as session:
        report_id, question_id = uuid.UUID(message.payload["report_id"]), uuid.UUID(message.payload["question_id"])
        asked = questions.open_question(session, report_id)
        if asked is not None and asked.question_id == question_id:
            tell(session, report_id, "asked", settings=context.settings, now=context.now(), time=f".{question_id}")
        outbox.finish(session, message.id)


def tell_case_moved(context: JobContext, message: outbox.Message) -> None:
    """The job of ``escalation.TOPIC_CASE_MOVED``. Idempotent: see :func:`tell`."""
    with transaction(context.sessions) as session:
        step = rules.CASE_STEPS[message.payload["state"]]
        for report_id in escalation.reports_behind(session, uuid.UUID(message.payload["case_id"])):
            tell(session, report_id, step, settings=context.settings, now=context.now())
        outbox.finish(session, message.id)


def tell_answer(context: JobContext, message: outbox.Message) -> None:
    """The job of ``casework.TOPIC_ANSWER_PUBLIC``: what an agency said is public, and where it says that it is done,
    whoever reported it is asked to look. Idempotent: see :func:`tell`. What was withheld meanwhile is not told."""
    with transaction(context.sessions) as session:
        said = casework.answer_by_id(session, uuid.UUID(message.payload["answer_id"]))
        if said.state == "published":
            step = rules.ANSWER_STEPS.get(said.kind, "answered")
            for report_id in escalation.reports_behind(session, said.case_id):
                tell(session, report_id, step, settings=context.settings, now=context.now(), time=f".{said.answer_id}")
        outbox.finish(session, message.id)


def give_up_address(session: Session, recipient_id: uuid.UUID, *, now: datetime) -> None:
    """An address or browser that does not exist gets nothing further. Twice is once."""
    contact_service.stop_mail(session, recipient_id, now=now)
    contact_service.forget_browser(session, recipient_id, now=now)


def _recipient(kept: ReportContact, report: Telling, settings: Settings) -> Recipient:
    address = contact_service.read(kept, settings=settings).email
    assert address is not None, "the database keeps by_mail from being without an address"
    return Recipient(kept.id, address, report.language, kept.created_at)
