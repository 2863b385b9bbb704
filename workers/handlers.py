"""Jobs that take more than one service call, and what is done when a job is given up. Thin: the work is the slices'."""

import contextlib
import uuid

from sqlalchemy.orm import Session

from waterwatch.advisories import forecasts
from waterwatch.casework import incoming
from waterwatch.duplicates import service as duplicates
from waterwatch.duplicates.queries import report_in_review
from waterwatch.escalation import deliveries, returns, warnings
from waterwatch.flow.service import open_network
from waterwatch.inbox.queries import status_of as mail_status
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.outbox import Message
from waterwatch.mapping import service as mapping
from waterwatch.messaging.attempts import Failure
from waterwatch.notices import service as notices
from waterwatch.photos import service as photos
from waterwatch.postbox import service as postbox
from waterwatch.reports import service as reports
from waterwatch.triage import service as triage
from waterwatch.watches import service as watches

FORECASTER = Actor.system("forecast")


def sanitise(context: JobContext, message: Message) -> None:
    """Sanitise a photo, and move its report on in the job's last transaction: a job of its own would be one more fork.

    Idempotent: a settled photo is left alone (see ``photos.service.sanitise``), and so is a report that has moved.
    """
    photos.sanitise(context, _id(message, "photo_id"))
    settle(context, message)


def redact(context: JobContext, message: Message) -> None:
    """Idempotent: pictures that are as they should be are left alone (see ``photos.service.redact``)."""
    photos.redact(context, _id(message, "photo_id"))
    with transaction(context.sessions) as session:
        outbox.finish(session, message.id)


def refuse_photo(context: JobContext, message: Message) -> None:
    """The photo killed its worker or failed it too often: it is refused, and its author is told to take another.

    Idempotent: a photo that was settled after all is left alone, and so is one whose author took it back.
    """
    with contextlib.suppress(NotFound), transaction(context.sessions) as session:
        photo_id = _id(message, "photo_id")
        photos.record_refused(session, photo_id, "undecodable", settings=context.settings, now=context.now())
        _move_report_on(context, session, photo_id)


def give_up_address(context: JobContext, message: Message) -> None:
    """An address or browser that does not exist gets nothing further: of a report, and of a water it watched.

    Idempotent: one that was given up has nothing left to stop.
    """
    with transaction(context.sessions) as session:
        recipient_id = postbox.recipient_of(session, _id(message, "posting_id"))
        notices.give_up_address(session, recipient_id, now=context.now())
        watches.end(session, recipient_id, now=context.now())
        outbox.finish(session, message.id)


def settle(context: JobContext, message: Message) -> None:
    """A report claimed a photo that was settled before it. Idempotent: see :func:`_move_report_on`."""
    with transaction(context.sessions) as session:
        _move_report_on(context, session, _id(message, "photo_id"))
        outbox.finish(session, message.id)


def resnap(context: JobContext, message: Message) -> None:
    """Its author corrected a report under review: its water and its likes are found anew, in one transaction.

    Idempotent: the same place gives the same water (see ``reports.service.resnap``), the same report the same likes
    and the same urgency.
    """
    with transaction(context.sessions) as session:
        report_id, now = _id(message, "report_id"), context.now()
        reports.resnap(session, report_id, settings=context.settings, now=now)
        duplicates.propose_anew(session, report_id, now=now)
        triage.weigh(session, report_id)
        outbox.finish(session, message.id)


def abandon_delivery(context: JobContext, message: Message) -> None:
    """A fault of ours, not of any mail server, kept failing: the delivery is recorded as failed, which moderators see.

    Idempotent: a delivery that was settled meanwhile cannot be claimed. One still young enough goes back to ``pending``
    and the sweep orders it again.
    """
    with transaction(context.sessions) as session:
        claim = deliveries.claim_delivery(
            session, _id(message, "delivery_id"), settings=context.settings, now=context.now()
        )
        if claim is not None:
            failure = Failure("worker_failed")
            deliveries.record_failure(session, claim, failure, settings=context.settings, now=context.now())


def take_mail(context: JobContext, message: Message) -> None:
    """Something came back by mail: a bounce ends its delivery, an answer is one of its case; all is noted there.

    Idempotent: a delivery ends once, and what is noted names the mail. Raises :class:`Unavailable` while the letter
    is still on its way: its outcome is recorded first.
    """
    kind, mail_id = message.payload["kind"], _id(message, "incoming_mail_id")
    delivery_id = _id(message, "delivery_id")
    with transaction(context.sessions) as session:
        now = context.now()
        if kind == "bounce":
            returns.take_bounce(session, delivery_id, mail_status(session, mail_id), settings=context.settings, now=now)
        elif kind == "answer":  # it locks the incident, which everybody does before any case of it
            incoming.answered_by_mail(session, delivery_id, mail_id, settings=context.settings, now=now)
        if kind != "bounce":
            returns.note_mail(session, delivery_id, mail_id, kind, now=now)
        outbox.finish(session, message.id)


def take_remote_status(context: JobContext, message: Message) -> None:
    """An agency's own system says how far a request of ours has come. Idempotent: the same word counts once."""
    payload = message.payload
    with transaction(context.sessions) as session:
        incoming.told_by_remote(
            session,
            _id(message, "delivery_id"),
            str(payload.get("status", "")),
            str(payload.get("note") or ""),
            settings=context.settings,
            now=context.now(),
        )
        outbox.finish(session, message.id)


def _move_report_on(context: JobContext, session: Session, photo_id: uuid.UUID) -> None:
    """A photo is settled: only a report that still waits for its photos moves (see ``reports.service.settle_photo``).

    What a report under review may repeat, and how urgent it is, is found in the same transaction: no moderator sees it
    without.
    """
    now = context.now()
    reports.settle_photo(session, photo_id, settings=context.settings, now=now)
    duplicates.propose(session, photo_id, now=now)
    if (report_id := report_in_review(session, photo_id)) is not None:
        triage.weigh(session, report_id)


def forecast(context: JobContext, message: Message) -> None:
    """What an incident means for the waters below it is reckoned anew, and who is on the way is told.

    Idempotent: what has not changed is not written, and who knows is not told again.
    """
    with transaction(context.sessions) as session:
        forecasts.begin(session)  # else the clock and the network would be those of before the wait for another
        now = context.now()
        network = open_network(session, context.settings.network_dir)
        ids = [_id(message, "incident_id")]
        found = forecasts.reckon(session, ids, network, settings=context.settings, actor=FORECASTER, now=now)
        for one in found:
            if one.is_changed or one.state == "standing":  # who runs an intake, or is competent, may be another by now
                warnings.follow(session, one.incident_id, settings=context.settings, actor=FORECASTER, now=now)
        if any(one.is_changed or one.is_made_public for one in found):
            mapping.request_publication(session, now=now)
        outbox.finish(session, message.id)


def _id(message: Message, name: str) -> uuid.UUID:
    return uuid.UUID(message.payload[name])
