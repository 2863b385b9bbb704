"""Use cases of one delivery: claim it, hand the mail over, record what became of it.

A delivery is claimed in one transaction, sent without any, and its outcome recorded in another. A worker killed in
between leaves a claim that runs out; the delivery is then sent again under the same Message-ID (at least once).
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from waterwatch.escalation import clocks, queries, rules, service
from waterwatch.escalation.channels import letter
from waterwatch.escalation.tables import Delivery
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure, send_mail

_SENDER = Actor.system("delivery")

log = get_logger(__name__)


@dataclass(frozen=True)
class Claim:
    """One worker's hold on one delivery. ``attempt`` tells it from every other hold on the same delivery."""

    delivery_id: uuid.UUID
    case_id: uuid.UUID
    address: str
    message_id: str
    attempt: int
    claimed_at: datetime
    send_before: datetime
    with_pictures: bool
    queued_at: datetime
    raised_from: int | None
    answers: str | None
    says: str = "case"


def claim_delivery(session: Session, delivery_id: uuid.UUID, *, settings: Settings, now: datetime) -> Claim | None:
    """Take hold of a delivery in order to send it; None when nothing is left to send.

    Raises:
        Unavailable: another worker holds it; ``retry_after_s`` is when its hold runs out.
        NotFound: there is no such delivery.
    """
    delivery = queries.locked_delivery(session, delivery_id)
    if delivery.state in ("sent", "refused", "dead", "cancelled"):
        return None
    until = delivery.state_deadline_at
    if delivery.state == "sending" and until is not None and until > now:
        raise Unavailable("delivery_claimed", retry_after_s=max(1.0, (until - now).total_seconds()))
    if delivery.state == "sending":
        delivery.last_error = "claim_expired"
    if _is_taken_back(session, delivery):
        rules.DELIVERY.move(delivery, "cancelled", now=now)
        return None
    rules.delivery_life(settings).move(delivery, "sending", now=now)
    delivery.attempts += 1
    return Claim(
        delivery.id,
        delivery.case_id,
        delivery.address,
        delivery.message_id,
        delivery.attempts,
        now,
        now + timedelta(seconds=rules.PREPARATION_S),
        rules.carries_pictures(delivery.attempts, delivery.last_error),
        delivery.created_at,
        delivery.raised_from,
        queries.first_message_id(session, delivery) if delivery.number > 1 else None,
        delivery.says,
    )


def _is_taken_back(session: Session, delivery: Delivery) -> bool:
    """Whether its case was withdrawn meanwhile, and it is not the letter that says so."""
    return delivery.says != "withdrawn" and queries.is_withdrawn(session, delivery.case_id)


def record_sent(session: Session, claim: Claim, *, now: datetime) -> None:
    """The recipient's server took the mail over. Idempotent; true whoever holds the delivery by now."""
    delivery = queries.locked_delivery(session, claim.delivery_id)
    if delivery.state == "sent":
        return
    rules.DELIVERY.move(delivery, "sent", now=now)
    delivery.sent_at, delivery.last_error = now, None
    case = queries.locked_case(session, delivery.case_id)
    facts: dict[str, audit.Fact] = {"delivery_id": delivery.id, "attempt": claim.attempt}
    if case.state == "dead":
        rules.CASE.move(case, "queued", now=now)
    if case.state == "queued":
        rules.CASE.move(case, "delivered", now=now)
        case.delivered_at = now
        service.say_moved(session, case, now=now)
        # From the start of the attempt, because that is the deadline the mail itself names.
        clocks.start(session, case, since=claim.claimed_at)
    elif case.state in clocks.OWED and claim.raised_from is not None:
        clocks.shorten(session, case, told_at=claim.claimed_at)
    service.record(session, "delivery.sent", case, actor=_SENDER, now=now, after=facts)


def record_failure(
    session: Session, claim: Claim, failure: Failure, *, settings: Settings, now: datetime
) -> float | None:
    """The attempt failed: gives the seconds until the next one, or None when there is to be none.

    A delivery the recipient's server refuses for good becomes ``refused``, one that failed for longer than
    ``delivery_give_up_s`` becomes ``dead``; when no delivery of the case is left, the case is ``dead``.

    Raises:
        Unavailable: the claim had run out and another worker took over; theirs is the outcome that counts.
    """
    delivery = queries.locked_delivery(session, claim.delivery_id)
    if delivery.state != "sending" or delivery.attempts != claim.attempt:
        raise Unavailable("delivery_claimed", retry_after_s=rules.claim_lasts_s(settings))
    delivery.last_error = failure.code
    delivery.deferrals += failure.is_deferred
    is_too_old = (now - delivery.created_at).total_seconds() >= settings.delivery_give_up_s
    if _is_taken_back(session, delivery):
        rules.DELIVERY.move(delivery, "cancelled", now=now)
        return None
    if not failure.is_permanent and not is_too_old:
        rules.DELIVERY.move(delivery, "pending", now=now)
        # Overdue counts from the beginning, not from the latest attempt.
        delivery.state_deadline_at = delivery.created_at + timedelta(seconds=settings.delivery_deadline_s)
        if failure.is_deferred:
            return rules.deferral_pause_s(delivery.deferrals)
        return rules.transport_pause_s(delivery.attempts - delivery.deferrals, settings.delivery_retry_cap_s)
    rules.DELIVERY.move(delivery, "refused" if failure.is_permanent else "dead", now=now)
    session.flush()
    case = queries.locked_case(session, delivery.case_id)
    facts: dict[str, audit.Fact] = {
        "delivery_id": delivery.id,
        "state": delivery.state,
        "error": failure.code,
        "attempt": claim.attempt,
    }
    service.record(session, "delivery.failed", case, actor=_SENDER, now=now, after=facts)
    log.error("delivery.failed", case_id=str(case.id), delivery_id=str(delivery.id), error=failure.code)
    if case.state == "queued" and queries.is_hopeless(session, case.id):
        rules.CASE.move(case, "dead", now=now)
        service.record(
            session, "case.dead", case, actor=_SENDER, now=now, before={"state": "queued"}, after={"state": "dead"}
        )
        log.error("case.dead", case_id=str(case.id), incident_id=str(case.incident_id))
    return None


def deliver(context: JobContext, message: outbox.Message) -> None:
    """The job of :data:`service.TOPIC_DELIVER`: hand one mail over, or say when to try again.

    Idempotent: what was sent or given up is only marked done; two workers at once cannot both claim; a worker killed
    at any point leaves a claim that runs out. Sent at least once, always under the delivery's one Message-ID.

    Raises:
        Unavailable: to be rung again after ``retry_after_s``.
    """
    settings = context.settings
    with transaction(context.sessions) as session:
        delivery_id = uuid.UUID(message.payload["delivery_id"])
        claim = claim_delivery(session, delivery_id, settings=settings, now=context.now())
        if claim is None:
            outbox.finish(session, message.id)
            return
    failure = _hand_over(context, claim)
    with transaction(context.sessions) as session:
        if failure is None:
            record_sent(session, claim, now=context.now())
            outbox.finish(session, message.id)
            return
        pause_s = record_failure(session, claim, failure, settings=settings, now=context.now())
        if pause_s is None:
            outbox.finish(session, message.id)
            return
    log.warning("delivery.postponed", delivery_id=str(claim.delivery_id), error=failure.code, retry_after_s=pause_s)
    raise Unavailable(failure.code, retry_after_s=pause_s)


def _hand_over(context: JobContext, claim: Claim) -> Failure | None:
    """Write the mail and send it, with no transaction open during either; None when it was taken over."""
    settings = context.settings
    with_pictures = claim.with_pictures and claim.says == "case"
    facts, pictures = letter.gather(context, claim.case_id, with_pictures=with_pictures)
    if pictures.are_held_back and context.now() < claim.queued_at + rules.picture_patience(facts.severity):
        return Failure("pictures_unavailable")
    with transaction(context.sessions) as session:
        terms = clocks.terms(session, facts.agency_id, claim.claimed_at)
    mail = letter.write(
        facts,
        pictures,
        settings=settings,
        terms=terms,
        recipient=claim.address,
        message_id=claim.message_id,
        claimed_at=claim.claimed_at,
        raised_from=claim.raised_from,
        answers=claim.answers,
        says=claim.says,
    )
    if context.now() >= claim.send_before:
        return Failure("preparation_slow")  # the claim may run out during the send: somebody else would send, too
    return send_mail(mail, claim.address, settings=settings)
