"""Use cases of an incoming mail: take it in, sort it, open what it says, forget it.

``take_in`` and ``sort`` alone open transactions: the object is stored before the row that names it, and read while no
transaction is open.
"""

import hashlib
import json
import os
import tempfile
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from waterwatch.inbox import queries, reading
from waterwatch.inbox.reading import Contents
from waterwatch.inbox.rules import MAIL, fingerprint, read_address
from waterwatch.inbox.tables import PURPOSES, IncomingMail
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.outbox import Message
from waterwatch.kernel.sealing import SealBroken, open_value, seal_value
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import open_delivery_token
from waterwatch.photos.confinement import ChildDiedError, run_confined
from waterwatch.photos.rules import Limits

TOPIC_SORT = "inbox.sort"
TOPIC_RECEIVED = "inbox.received"
SEAL_RAW, SEAL_CONTENTS = "incoming-mail", "incoming-mail-contents"
FOLDER: Final = "quarantine/mail"
INBOX = Actor.system("inbox")
# Reading 20 MB of parts takes 2 s and 150 MB here; what needs ten times that is made to.
_LIMITS = Limits(max_pixels=1, memory_bytes=512 * 1024 * 1024, cpu_s=20, wall_s=40.0)

log = get_logger(__name__)


@dataclass(frozen=True)
class Destination:
    """Whose address a mail came to."""

    purpose: str
    delivery_id: uuid.UUID


@dataclass(frozen=True)
class Taken:
    """A mail that is safely kept. ``is_new``: it had not come before."""

    mail_id: uuid.UUID
    is_new: bool


def destination(address: str, *, settings: Settings) -> Destination:
    """Whose address this is. Raises :class:`NotFound` for every address we did not give out."""
    addressed = read_address(address, settings.inbox_domain)
    if addressed is None or addressed.purpose not in PURPOSES:
        raise NotFound("address_unknown")
    return Destination(addressed.purpose, open_delivery_token(settings, addressed.token))


def take_in(context: JobContext, to: Destination, raw: bytes, *, has_null_sender: bool) -> Taken:
    """Keep a mail: sealed in the object store, then its row with the order to sort it. Durable once this returns.

    Killed between the two, an object is left that nobody names; the reconciler removes it. The same mail again, by
    whatever way, changes nothing.

    Raises:
        Unavailable, OSError, SQLAlchemyError: it is not kept; the other side is to send it again.
    """
    mail_id, now = new_id(), context.now()
    key = f"{FOLDER}/{mail_id}"
    _store(context, key, seal_value(context.settings, SEAL_RAW, mail_id, raw))
    with transaction(context.sessions) as session:
        is_new = _record_arrival(session, mail_id, to, raw, key, has_null_sender, settings=context.settings, now=now)
    if not is_new:
        context.objects.delete(key)
    log.info("mail.taken_in", mail_id=str(mail_id), bytes=len(raw), is_new=is_new)
    return Taken(mail_id, is_new)


def _store(context: JobContext, key: str, content: bytes) -> None:
    spool = context.settings.spool_dir
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(prefix="mail-", suffix=".part", dir=spool)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        context.objects.adopt_file(key, path)
    finally:
        path.unlink(missing_ok=True)


def _record_arrival(
    session: Session,
    mail_id: uuid.UUID,
    to: Destination,
    raw: bytes,
    key: str,
    has_null_sender: bool,
    *,
    settings: Settings,
    now: datetime,
) -> bool:
    values = {
        "id": mail_id,
        "purpose": to.purpose,
        "delivery_id": to.delivery_id,
        "state": MAIL.initial,
        "state_since": now,
        "state_deadline_at": MAIL.deadline(MAIL.initial, now=now),
        "received_at": now,
        "has_null_sender": has_null_sender,
        "fingerprint": fingerprint(raw),
        "sha256": hashlib.sha256(raw).digest(),
        "raw_bytes": len(raw),
        "object_key": key,
        "keep_until": now + timedelta(days=settings.inbox_retention_days),
    }
    statement = insert(IncomingMail).values(**values).on_conflict_do_nothing().returning(IncomingMail.id)
    if session.execute(statement).first() is None:
        return False
    _record(session, "mail.received", mail_id, now, delivery_id=to.delivery_id, bytes=len(raw))
    outbox.emit(session, TOPIC_SORT, {"incoming_mail_id": str(mail_id)}, now=now)
    return True


def sort(context: JobContext, message: Message) -> None:
    """The job of :data:`TOPIC_SORT`: read a mail in a confined child, say what it is, and tell whoever acts on it.

    Idempotent: a mail that is sorted is left alone. One that cannot be read is of no kind anybody acts on; it is told
    all the same, so that a person looks.
    """
    mail_id = uuid.UUID(message.payload["incoming_mail_id"])
    with transaction(context.sessions) as session:
        found = queries.waiting(session, mail_id)
        if found is None:
            outbox.finish(session, message.id)
            return
    read = _read(context, mail_id, found)
    with transaction(context.sessions) as session:
        record_sorted(session, mail_id, read, settings=context.settings, now=context.now())
        outbox.finish(session, message.id)


def give_up(context: JobContext, message: Message) -> None:
    """A fault of ours kept a mail from being read: a person is to look. Idempotent, as :func:`sort` is."""
    mail_id = uuid.UUID(message.payload["incoming_mail_id"])
    with transaction(context.sessions) as session:
        record_sorted(session, mail_id, "worker_failed", settings=context.settings, now=context.now())


def _read(context: JobContext, mail_id: uuid.UUID, found: queries.Waiting) -> Contents | str:
    """The mail's contents, or the code of why there are none."""
    try:
        raw = open_raw(context, mail_id, found.object_key)
        answer = run_confined(lambda: reading.answer(raw, has_null_sender=found.has_null_sender), _LIMITS)
    except (NotFound, SealBroken):
        return "raw_gone"
    except ChildDiedError as error:
        return error.code
    fault = json.loads(answer).get("fault")
    return str(fault) if fault is not None else reading.from_json(answer)


def open_raw(context: JobContext, mail_id: uuid.UUID, key: str | None) -> bytes:
    """The whole mail as it came. Raises :class:`NotFound` when it is forgotten, :class:`SealBroken`."""
    if key is None:
        raise NotFound("mail_forgotten")
    return open_value(context.settings, SEAL_RAW, mail_id, b"".join(context.objects.open(key)))


def record_sorted(
    session: Session, mail_id: uuid.UUID, read: Contents | str, *, settings: Settings, now: datetime
) -> None:
    """What a mail is, or the code of why nobody knows; tells :data:`TOPIC_RECEIVED`. Idempotent."""
    mail = queries.locked_mail(session, mail_id)
    if mail.state != "received":
        return
    if isinstance(read, str):
        MAIL.move(mail, "unreadable", now=now)
        mail.kind, mail.fault = "unknown", read
    else:
        MAIL.move(mail, "sorted", now=now)
        mail.kind, mail.status = read.kind, read.status
        if mail.object_key is not None:  # else it was forgotten meanwhile, and so is what it says
            mail.sealed = seal_value(settings, SEAL_CONTENTS, mail.id, read.as_json())
    _record(session, "mail.sorted", mail.id, now, kind=mail.kind, status=mail.status, fault=mail.fault)
    payload = {"incoming_mail_id": str(mail.id), "kind": mail.kind, "delivery_id": str(mail.delivery_id)}
    outbox.emit(session, TOPIC_RECEIVED, payload, now=now)


def answer_text(session: Session, mail_id: uuid.UUID, settings: Settings) -> str:
    """What a person wrote, without the letter it quotes; at most 10,000 letters, plain, hostile.

    Raises :class:`NotFound`: there is no such mail, nothing could be read of it, or it is forgotten.
    """
    return contents(session, mail_id, settings).text


def contents(session: Session, mail_id: uuid.UUID, settings: Settings) -> Contents:
    """All that was read of a mail: also its subject, who sent it and its attachments. Raises :class:`NotFound`."""
    sealed = queries.sealed_contents(session, mail_id)
    if sealed is None:
        raise NotFound("mail_forgotten")
    try:
        return reading.from_json(open_value(settings, SEAL_CONTENTS, mail_id, sealed))
    except SealBroken:
        raise NotFound("mail_forgotten") from None


def forget(session: Session, mail_id: uuid.UUID, *, now: datetime) -> str | None:
    """Its time is over: what it says goes, and the key of its object is given back to be deleted afterwards."""
    mail = queries.locked_mail(session, mail_id)
    if mail.object_key is None or mail.keep_until > now:
        return None
    key, mail.object_key, mail.sealed = mail.object_key, None, None
    _record(session, "mail.forgotten", mail.id, now, kind=mail.kind)
    return key


def _record(session: Session, action: str, mail_id: uuid.UUID, now: datetime, **after: audit.Fact) -> None:
    audit.record(session, action=action, subject_kind="mail", subject_id=mail_id, actor=INBOX, now=now, after=after)
