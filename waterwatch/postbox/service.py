"""Use cases of the postbox: take a message for one person, send it, record what became of it.

As with every delivery: claimed in one transaction, sent without any, its outcome recorded in another. What is sent,
refused or dropped leaves no address and no word behind.
"""

import hashlib
import hmac
import json
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.sealing import open_value, seal_value
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure, send_mail
from waterwatch.messaging.email import Mailbox, compose
from waterwatch.messaging.http import FetchError
from waterwatch.messaging.webpush import GONE, Pusher, Subscription
from waterwatch.postbox import queries, rules
from waterwatch.postbox.tables import Posting

TOPIC_SEND = "postbox.send"
TOPIC_UNDELIVERABLE = "postbox.undeliverable"
PURPOSE = "posting"
# What no further try can change: the service is not listed any more, or not where it may be, or our key is another.
HOPELESS = frozenset({"not_https", "host_not_listed", "address_not_public", "key_gone"})
TOO_MANY = 429
REHEARSAL = "【演练】"
SENDER_NAME = "江湖網·预警图"
_FORGET_DIGESTS = text("""
WITH gone AS (
    UPDATE posting SET recipient_digest = NULL WHERE recipient_digest IS NOT NULL AND created_at < :before RETURNING 1)
SELECT count(*) FROM gone
""")
log = get_logger(__name__)


@dataclass(frozen=True)
class Mail:
    """A mail in words. ``unsubscribe_url`` takes a POST that needs nothing else (RFC 8058)."""

    address: str
    subject: str
    text: str
    html: str
    language: str
    unsubscribe_url: str | None = None


@dataclass(frozen=True)
class About:
    """What a posting is: its kind, what it is about, whose address it uses, and what keeps it from being sent twice."""

    kind: str
    subject_id: uuid.UUID
    recipient_id: uuid.UUID
    once_key: str | None = None


def address_digest(settings: Settings, address: str) -> bytes:
    """What tells one address from another without naming it: under a key, for addresses can be guessed."""
    key = settings.derive_key("posting-address")
    assert key is not None
    return hmac.new(key, address.strip().lower().encode(), hashlib.sha256).digest()


def is_pestered(session: Session, address: str, kind: str, *, settings: Settings, now: datetime) -> bool:
    """Whether an address has got so many letters of this kind within a day that it gets no further one."""
    since = now - rules.UNASKED_WITHIN
    found = queries.sent_to(session, address_digest(settings, address), kind, since=since)
    return found >= rules.UNASKED_PER_DAY


def post_mail(session: Session, about: About, mail: Mail, *, settings: Settings, now: datetime) -> bool:
    """Take one mail in the caller's transaction. False when the same thing was taken before."""
    digest = address_digest(settings, mail.address)
    return _post(session, about, "email", asdict(mail), digest, settings=settings, now=now)


def post_push(
    session: Session, about: About, subscription: Subscription, payload: str, *, settings: Settings, now: datetime
) -> bool:
    """Take one push message in the caller's transaction. False when the same thing was taken before."""
    content = {"subscription": asdict(subscription), "payload": payload}
    return _post(session, about, "push", content, None, settings=settings, now=now)


def make_pusher(settings: Settings) -> Pusher:
    """The client for this installation's push services."""
    return Pusher(frozenset(settings.push_hosts.split()), timeout_s=settings.push_timeout_s)


def _post(
    session: Session,
    about: About,
    channel: str,
    content: dict[str, Any],
    digest: bytes | None,
    *,
    settings: Settings,
    now: datetime,
) -> bool:
    posting_id = new_id()
    deadline = rules.posting_life(settings).deadline("pending", now=now)
    values = {
        "id": posting_id,
        "kind": about.kind,
        "channel": channel,
        "subject_id": about.subject_id,
        "recipient_id": about.recipient_id,
        "once_key": about.once_key,
        "recipient_digest": digest,
        "sealed": seal_value(settings, PURPOSE, posting_id, json.dumps(content).encode()),
        "state": rules.POSTING.initial,
        "state_since": now,
        "state_deadline_at": deadline,
        "created_at": now,
    }
    statement = insert(Posting).values(**values).on_conflict_do_nothing(index_elements=["once_key"])
    if session.execute(statement.returning(Posting.id)).first() is None:
        return False
    outbox.emit(session, TOPIC_SEND, {"posting_id": str(posting_id)}, now=now)
    return True


def drop(
    session: Session,
    *,
    subject_id: uuid.UUID | None = None,
    recipient_id: uuid.UUID | None = None,
    kind: str | None = None,
    now: datetime,
) -> int:
    """Nobody wants these any more: what has not gone out does not go, and its words are erased. Returns how many.

    ``kind``: of that kind alone.
    """
    assert subject_id is not None or recipient_id is not None
    found = queries.lock_open(session, subject_id=subject_id, recipient_id=recipient_id, kind=kind)
    for posting in found:
        _end(posting, "dropped", now=now)
    session.flush()
    return len(found)


def forget_digests(session: Session, *, now: datetime) -> int:
    """Which addresses were written to is known for a day, to keep them from being pestered, and not longer."""
    return int(session.execute(_FORGET_DIGESTS, {"before": now - rules.UNASKED_WITHIN}).scalar_one())


@dataclass(frozen=True)
class Claim:
    """One worker's hold on one posting. ``attempt`` tells it from every other hold."""

    posting_id: uuid.UUID
    channel: str
    attempt: int
    claimed_at: datetime
    content: dict[str, Any]


def recipient_of(session: Session, posting_id: uuid.UUID) -> uuid.UUID:
    """The row a posting's address came from. Raises :class:`NotFound`."""
    return queries.locked_posting(session, posting_id).recipient_id


def claim(session: Session, posting_id: uuid.UUID, *, settings: Settings, now: datetime) -> Claim | None:
    """Take hold of a posting in order to send it; None when nothing is left to send.

    Raises :class:`Unavailable` while another worker holds it, :class:`NotFound`.
    """
    posting = queries.locked_posting(session, posting_id)
    if posting.state in rules.FINAL_STATES or posting.sealed is None:
        return None
    until = posting.state_deadline_at
    if posting.state == "sending" and until is not None and until > now:
        raise Unavailable("posting_claimed", retry_after_s=max(1.0, (until - now).total_seconds()))
    rules.posting_life(settings).move(posting, "sending", now=now)
    posting.attempts += 1
    session.flush()
    content = json.loads(open_value(settings, PURPOSE, posting.id, posting.sealed))
    return Claim(posting.id, posting.channel, posting.attempts, now, content)


def record_sent(session: Session, held: Claim, *, now: datetime) -> None:
    """It was taken over. Idempotent; one that was dropped while it was being sent stays dropped."""
    posting = queries.locked_posting(session, held.posting_id)
    if posting.state == "sending":
        _end(posting, "sent", now=now)
        posting.sent_at, posting.last_error = now, None


def record_failure(
    session: Session, held: Claim, failure: Failure, *, settings: Settings, now: datetime
) -> float | None:
    """The attempt failed: gives the seconds until the next one, or None when there is to be none.

    One that is refused for good is said so to whoever owns the address (:data:`TOPIC_UNDELIVERABLE`).
    """
    posting = queries.locked_posting(session, held.posting_id)
    if posting.state != "sending" or posting.attempts != held.attempt:
        return None  # dropped meanwhile, or another worker's claim by now: theirs is the outcome that counts
    posting.last_error = failure.code
    posting.deferrals += failure.is_deferred
    if failure.is_permanent:
        _end(posting, "refused", now=now)
        outbox.emit(session, TOPIC_UNDELIVERABLE, {"posting_id": str(posting.id)}, now=now)
        return None
    if (now - posting.created_at).total_seconds() >= settings.delivery_give_up_s:
        _end(posting, "dead", now=now)
        return None
    rules.POSTING.move(posting, "pending", now=now)
    posting.state_deadline_at = posting.created_at + timedelta(seconds=settings.delivery_deadline_s)
    return rules.pause_s(posting.attempts, posting.deferrals, is_deferred=failure.is_deferred)


def send(context: JobContext, message: outbox.Message, *, pusher: Pusher | None = None) -> None:
    """The job of :data:`TOPIC_SEND`: hand one posting over, or say when to try again.

    Idempotent: what is sent, refused or dropped is only marked done; two workers at once cannot both claim; a worker
    killed at any point leaves a claim that runs out. Sent at least once, a mail always under one Message-ID.

    ``pusher`` is the client for push services, unless it is the settings' own.

    Raises :class:`Unavailable`: to be rung again after ``retry_after_s``.
    """
    with transaction(context.sessions) as session:
        held = claim(session, uuid.UUID(message.payload["posting_id"]), settings=context.settings, now=context.now())
        if held is None:
            outbox.finish(session, message.id)
            return
    if held.channel == "email":
        failure = _send_mail(context.settings, held)
    else:
        failure = _send_push(context.settings, held, pusher or make_pusher(context.settings))
    pause_s = None
    with transaction(context.sessions) as session:
        if failure is None:
            record_sent(session, held, now=context.now())
        else:
            pause_s = record_failure(session, held, failure, settings=context.settings, now=context.now())
        if pause_s is None:
            outbox.finish(session, message.id)
    if failure is not None:
        log.warning("posting.failed", posting_id=str(held.posting_id), error=failure.code, retry_after_s=pause_s)
        if pause_s is not None:
            raise Unavailable(failure.code, retry_after_s=pause_s)


def abandon(context: JobContext, message: outbox.Message) -> None:
    """A fault of ours kept failing: the posting is given up, and its words are erased.

    Idempotent: one that has ended is left alone.
    """
    with transaction(context.sessions) as session:
        posting = queries.locked_posting(session, uuid.UUID(message.payload["posting_id"]))
        if posting.state == "pending":
            rules.POSTING.move(posting, "sending", now=context.now())
        if posting.state == "sending":
            _end(posting, "dead", now=context.now())
            posting.last_error = "worker_failed"


def _send_mail(settings: Settings, held: Claim) -> Failure | None:
    mail = Mail(**held.content)
    headers = {}
    if mail.unsubscribe_url is not None:
        headers = {
            "List-Unsubscribe": f"<{mail.unsubscribe_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
    recipient = settings.staging_mail or mail.address  # a rehearsal reaches nobody but ourselves
    letter = compose(
        sender=Mailbox(SENDER_NAME, settings.mail_from),
        recipient=recipient,
        subject=f"{REHEARSAL}{mail.subject}" if settings.staging_mail else mail.subject,
        text=mail.text,
        html=mail.html,
        message_id=f"<posting.{held.posting_id}@{settings.public_host}>",
        sent_at=held.claimed_at,
        language=mail.language,
        headers=headers,
    )
    return send_mail(letter, recipient, settings=settings)


def _send_push(settings: Settings, held: Claim, pusher: Pusher) -> Failure | None:
    if settings.staging_mail:
        log.info("posting.rehearsed", posting_id=str(held.posting_id))
        return None
    subscription = Subscription(**held.content["subscription"])
    try:
        status = pusher.push(subscription, held.content["payload"].encode(), settings=settings)
    except FetchError as error:
        return Failure(error.code, is_permanent=error.code in HOPELESS)
    if 200 <= status < 300:
        return None
    is_later = status == TOO_MANY or status >= 500
    code = "subscription_gone" if status in GONE else f"push_refused_{status}"
    return Failure(code, is_deferred=is_later, is_permanent=not is_later)


def _end(posting: Posting, state: str, *, now: datetime) -> None:
    rules.POSTING.move(posting, state, now=now)
    posting.sealed = None
    if posting.kind in rules.SUBJECT_FORGOTTEN:
        posting.subject_id = posting.recipient_id
