"""Every SELECT of the inbox, named for its answer."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from waterwatch.inbox.tables import IncomingMail
from waterwatch.kernel.errors import NotFound


def locked_mail(session: Session, mail_id: uuid.UUID) -> IncomingMail:
    """One mail, locked. Raises :class:`NotFound`."""
    found = session.scalars(
        select(IncomingMail)
        .where(IncomingMail.id == mail_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise NotFound("mail_not_found")
    return found


@dataclass(frozen=True)
class Waiting:
    """A mail that is to be sorted: where it lies, and whether it came from nobody."""

    object_key: str | None
    has_null_sender: bool


def waiting(session: Session, mail_id: uuid.UUID) -> Waiting | None:
    """What is needed to sort a mail; None when it is sorted, or there is none."""
    row = session.execute(
        select(IncomingMail.object_key, IncomingMail.has_null_sender).where(
            IncomingMail.id == mail_id, IncomingMail.state == "received"
        )
    ).one_or_none()
    return None if row is None else Waiting(*row)


@dataclass(frozen=True)
class MailView:
    """What staff may know of a mail without opening it."""

    mail_id: uuid.UUID
    delivery_id: uuid.UUID
    received_at: datetime
    state: str
    kind: str | None
    status: str | None
    fault: str | None
    is_kept: bool


def mails_to(session: Session, delivery_ids: Sequence[uuid.UUID]) -> list[MailView]:
    """What came to some deliveries' addresses, oldest first."""
    rows = session.execute(
        select(
            IncomingMail.id,
            IncomingMail.delivery_id,
            IncomingMail.received_at,
            IncomingMail.state,
            IncomingMail.kind,
            IncomingMail.status,
            IncomingMail.fault,
            IncomingMail.object_key.is_not(None),
        )
        .where(IncomingMail.delivery_id.in_(delivery_ids))
        .order_by(IncomingMail.received_at, IncomingMail.id)
    )
    return [MailView(*row) for row in rows]


def sealed_contents(session: Session, mail_id: uuid.UUID) -> bytes | None:
    """What was read of a mail, sealed; None when nothing was, or it is forgotten. Raises :class:`NotFound`."""
    row = session.execute(select(IncomingMail.sealed).where(IncomingMail.id == mail_id)).one_or_none()
    if row is None:
        raise NotFound("mail_not_found")
    sealed: bytes | None = row.sealed
    return sealed


def status_of(session: Session, mail_id: uuid.UUID) -> str | None:
    """The enhanced status code a bounce names, if it names one."""
    return session.scalars(select(IncomingMail.status).where(IncomingMail.id == mail_id)).one_or_none()


def to_forget(session: Session, *, now: datetime, limit: int) -> list[uuid.UUID]:
    """Mails that were kept for long enough."""
    statement = select(IncomingMail.id).where(IncomingMail.object_key.is_not(None), IncomingMail.keep_until < now)
    return list(session.scalars(statement.order_by(IncomingMail.keep_until).limit(limit)))
