"""Use cases of escalation: tell the competent agencies, record what became of each hand-over, take their word.

A delivery is claimed in one transaction, sent without any, and its outcome recorded in another. A worker killed in
between leaves a claim that runs out; the delivery is then sent again under the same Message-ID (at least once).
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from waterwatch.agencies.queries import CompetentAgency, competent_agencies, opposite_banks
from waterwatch.escalation import queries, rules
from waterwatch.escalation.channels import letter
from waterwatch.escalation.tables import Case, Delivery
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.messaging import smtp
from waterwatch.messaging.email import is_address
from waterwatch.waters.queries import banks_along

TOPIC_DELIVER = "escalation.deliver"
TOPIC_CASE_MOVED = "escalation.case_moved"
_SENDER = Actor.system("delivery")

log = get_logger(__name__)


def escalate(
    session: Session, incident_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime
) -> list[Case]:
    """Make sure every agency competent for the incident has one case, and the case one delivery for each address.

    Idempotent: called again, e.g. after a new grade, it adds what is missing, corrects the severity, and sends
    nothing twice. An agency without a usable address, or a place for which nobody is competent, gets a case
    ``no_contact``: in the audit, in the log, shown to moderators and the public. Returns the incident's cases.

    Raises:
        NotFound: there is no such incident.
    """
    place = queries.lock_place(session, incident_id)
    known = queries.cases_by_agency(session, incident_id)
    for case in known.values():
        _regrade(session, case, place.severity, settings=settings, actor=actor, now=now)
    agencies = _competent(session, place)
    for agency in agencies:
        if agency.agency_id in known:
            case = known.pop(agency.agency_id)
        elif None in known:
            case = known.pop(None)  # nobody was competent until now
        else:
            case = _open_case(
                session, incident_id, agency.agency_id, place.severity, settings=settings, actor=actor, now=now
            )
        _address(session, case, agency, settings=settings, actor=actor, now=now)
    if not agencies and not known:
        case = _open_case(session, incident_id, None, place.severity, settings=settings, actor=actor, now=now)
        _say_no_contact(session, case, "nobody_competent", settings=settings, actor=actor, now=now)
    session.flush()
    return list(queries.cases_by_agency(session, incident_id).values())


def _competent(session: Session, place: queries.Place) -> list[CompetentAgency]:
    """Who must be told; where the river is the border, the departments of both banks."""
    banks = banks_along(session, place.water_feature_id, place.lon, place.lat)
    also = opposite_banks(session, [(pair.left, pair.right) for pair in banks])
    return competent_agencies(session, place.lon, place.lat, place.kind, place.severity, also=also)


def _open_case(
    session: Session,
    incident_id: uuid.UUID,
    agency_id: uuid.UUID | None,
    severity: int,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> Case:
    case = Case(id=new_id(), incident_id=incident_id, agency_id=agency_id, severity=severity, created_at=now)
    rules.case_life(settings).enter(case, now=now)
    if agency_id is None:
        rules.case_life(settings).move(case, "no_contact", now=now)  # the row may exist in no other state
    session.add(case)
    session.flush()
    facts: dict[str, audit.Fact] = {"incident_id": incident_id, "agency_id": agency_id, "severity": severity}
    _audit(session, "case.opened", case, actor=actor, now=now, after=facts)
    return case


def _address(
    session: Session, case: Case, agency: CompetentAgency, *, settings: Settings, actor: Actor, now: datetime
) -> None:
    """Give the case its agency and a delivery for each address that has none yet."""
    if case.state not in ("queued", "no_contact", "dead"):
        return
    if case.agency_id is None:
        case.agency_id = agency.agency_id
        _audit(session, "case.assigned", case, actor=actor, now=now, after={"agency_id": agency.agency_id})
    usable = [address for address in dict.fromkeys(agency.addresses) if is_address(address)]
    missing = [address for address in usable if address not in queries.addresses_of(session, case.id)]
    if not usable:
        _say_no_contact(session, case, "no_address", settings=settings, actor=actor, now=now)
    if not missing:
        return
    if case.state != "queued":
        before = rules.case_life(settings).move(case, "queued", now=now)
        facts: dict[str, audit.Fact] = {"state": "queued", "agency_id": agency.agency_id}
        _audit(session, "case.queued", case, actor=actor, now=now, before={"state": before}, after=facts)
    for address in missing:
        _queue_delivery(session, case, address, settings=settings, now=now)


def _queue_delivery(
    session: Session,
    case: Case,
    address: str,
    *,
    settings: Settings,
    now: datetime,
    raised_from: int | None = None,
) -> None:
    delivery_id = new_id()
    delivery = Delivery(
        id=delivery_id,
        case_id=case.id,
        channel="email",
        address=address,
        message_id=f"<{delivery_id}@{settings.public_host}>",
        severity=case.severity,
        raised_from=raised_from,
        created_at=now,
    )
    rules.delivery_life(settings).enter(delivery, now=now)
    session.add(delivery)
    payload = {"delivery_id": str(delivery_id)}
    outbox.emit(session, TOPIC_DELIVER, payload, now=now, priority=rules.priority(case.severity))


def _say_no_contact(
    session: Session, case: Case, reason: str, *, settings: Settings, actor: Actor, now: datetime
) -> None:
    if case.state == "queued":
        rules.case_life(settings).move(case, "no_contact", now=now)
    elif case.agency_id is not None:
        return  # said when it happened
    facts: dict[str, audit.Fact] = {"state": case.state, "reason": reason, "severity": case.severity}
    _audit(session, "case.no_contact", case, actor=actor, now=now, after=facts)
    log.error("case.no_contact", case_id=str(case.id), incident_id=str(case.incident_id), reason=reason)


def _regrade(session: Session, case: Case, severity: int, *, settings: Settings, actor: Actor, now: datetime) -> None:
    """The case follows its incident. Who was told a lower severity is told the higher one by a letter of its own."""
    if case.severity == severity:
        return
    before = case.severity
    case.severity = severity
    if severity > before:
        _tell_raised(session, case, settings=settings, now=now)
    elif case.state == "delivered" and case.state_deadline_at is not None and case.delivered_at is not None:
        case.state_deadline_at = rules.lowered_deadline(
            case.state_deadline_at, severity, delivered_at=case.delivered_at
        )
    facts = {"severity": severity}
    _audit(session, "case.regraded", case, actor=actor, now=now, before={"severity": before}, after=facts)


def _tell_raised(session: Session, case: Case, *, settings: Settings, now: datetime) -> None:
    """One further letter to each address whose latest one has gone out, or may be going out just now.

    A letter that still waits will name the severity of the moment it is sent. A severity that was told before, and has
    fallen meanwhile, is not told twice.
    """
    for address, letters in queries.letters_of(session, case.id).items():
        latest = letters[-1]
        if latest.state == "pending":
            if all(letter.severity != case.severity for letter in letters):
                latest.severity = case.severity
        elif latest.state in ("sending", "sent") and max(letter.severity for letter in letters) < case.severity:
            _queue_delivery(session, case, address, settings=settings, now=now, raised_from=latest.severity)


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


def claim_delivery(session: Session, delivery_id: uuid.UUID, *, settings: Settings, now: datetime) -> Claim | None:
    """Take hold of a delivery in order to send it; None when nothing is left to send.

    Raises:
        Unavailable: another worker holds it; ``retry_after_s`` is when its hold runs out.
        NotFound: there is no such delivery.
    """
    delivery = queries.locked_delivery(session, delivery_id)
    if delivery.state in ("sent", "refused", "dead"):
        return None
    until = delivery.state_deadline_at
    if delivery.state == "sending" and until is not None and until > now:
        raise Unavailable("delivery_claimed", retry_after_s=max(1.0, (until - now).total_seconds()))
    if delivery.state == "sending":
        delivery.last_error = "claim_expired"
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
        queries.first_message_id(session, delivery) if delivery.raised_from is not None else None,
    )


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
        _say_moved(session, case, now=now)
        # From the start of the attempt, because that is the deadline the mail itself names.
        case.state_deadline_at = rules.acknowledge_by(case.severity, claim.claimed_at)
    elif case.state == "delivered" and claim.raised_from is not None and case.state_deadline_at is not None:
        case.state_deadline_at = rules.raised_deadline(case.state_deadline_at, case.severity, told_at=claim.claimed_at)
    _audit(session, "delivery.sent", case, actor=_SENDER, now=now, after=facts)


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed: a stable ``code``; the transport is to blame, or the recipient, for now or for good."""

    code: str
    is_deferred: bool = False
    is_permanent: bool = False


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
    _audit(session, "delivery.failed", case, actor=_SENDER, now=now, after=facts)
    log.error("delivery.failed", case_id=str(case.id), delivery_id=str(delivery.id), error=failure.code)
    if case.state == "queued" and queries.is_hopeless(session, case.id):
        rules.CASE.move(case, "dead", now=now)
        _audit(session, "case.dead", case, actor=_SENDER, now=now, before={"state": "queued"}, after={"state": "dead"})
        log.error("case.dead", case_id=str(case.id), incident_id=str(case.incident_id))
    return None


def deliver(context: JobContext, message: outbox.Message) -> None:
    """The job of :data:`TOPIC_DELIVER`: hand one mail over, or say when to try again.

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
    facts, pictures = letter.gather(context, claim.case_id, with_pictures=claim.with_pictures)
    if pictures.are_held_back and context.now() < claim.queued_at + rules.picture_patience(facts.severity):
        return Failure("pictures_unavailable")
    mail = letter.write(
        facts,
        pictures,
        settings=settings,
        recipient=claim.address,
        message_id=claim.message_id,
        claimed_at=claim.claimed_at,
        raised_from=claim.raised_from,
        answers=claim.answers,
    )
    if context.now() >= claim.send_before:
        return Failure("preparation_slow")  # the claim may run out during the send: somebody else would send, too
    try:
        smtp.send(
            settings.smtp_url,
            mail,
            envelope_from=settings.mail_from,
            recipients=[claim.address],
            timeout_s=settings.smtp_timeout_s,
        )
    except smtp.Refused as refusal:
        return Failure(refusal.code, is_deferred=not refusal.permanent, is_permanent=refusal.permanent)
    except smtp.SendError as error:
        return Failure(error.code)
    return None


@dataclass(frozen=True)
class Acknowledgement:
    """When the agency acknowledged; ``is_new`` is False when it had before."""

    at: datetime
    is_new: bool


def acknowledge(session: Session, case_id: uuid.UUID, *, actor: Actor, now: datetime) -> Acknowledgement:
    """The agency says it has the case. Idempotent: the first time counts.

    Raises:
        NotFound: there is no such case.
        IllegalMove: the case is in no state that can be acknowledged, e.g. nobody was ever told of it.
    """
    case = queries.locked_case(session, case_id)
    if case.acknowledged_at is not None:
        return Acknowledgement(case.acknowledged_at, is_new=False)
    before = rules.CASE.move(case, "acknowledged", now=now)
    case.acknowledged_at = now
    _say_moved(session, case, now=now)
    facts = {"state": "acknowledged"}
    _audit(session, "case.acknowledged", case, actor=actor, now=now, before={"state": before}, after=facts)
    return Acknowledgement(now, is_new=True)


def _say_moved(session: Session, case: Case, *, now: datetime) -> None:
    """Those whose reports the case rests on may want to know; most have left no way to tell them."""
    if queries.is_anybody_told(session, case.incident_id):
        outbox.emit(session, TOPIC_CASE_MOVED, {"case_id": str(case.id), "state": case.state}, now=now)


def _audit(
    session: Session,
    action: str,
    case: Case,
    *,
    actor: Actor,
    now: datetime,
    before: Mapping[str, audit.Fact] | None = None,
    after: Mapping[str, audit.Fact] | None = None,
) -> None:
    audit.record(
        session,
        action=action,
        subject_kind="case",
        subject_id=case.id,
        actor=actor,
        now=now,
        before=before,
        after=after,
    )
