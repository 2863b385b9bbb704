"""What came by mail to the addresses our letters carry: bounces, automatic replies, answers."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Index, LargeBinary, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base

KINDS = ("bounce", "delayed", "auto_reply", "answer", "unknown")
STATES = ("received", "sorted", "unreadable")
PURPOSES = ("case",)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class IncomingMail(Base):
    """One mail. ``delivery_id`` is whose address it came to, by the token in it; ``purpose`` what that address is for.

    ``object_key`` names the whole mail, sealed, until ``keep_until``; ``sealed`` holds what was read of it (its text
    without what it quotes, its sender, its attachments' names) as long. ``fingerprint`` is the same for one mail on
    whatever way it came, so it is kept once. ``status`` is a bounce's enhanced status code (RFC 3463), ``fault`` why a
    mail could not be read.
    """

    __tablename__ = "incoming_mail"
    __table_args__ = (
        UniqueConstraint("delivery_id", "fingerprint"),
        CheckConstraint(_one_of("purpose", PURPOSES), name="purpose"),
        CheckConstraint(_one_of("state", STATES), name="state"),
        CheckConstraint(_one_of("kind", KINDS), name="kind"),
        CheckConstraint("(state = 'received') = (kind IS NULL)", name="kind_once_sorted"),
        CheckConstraint("(state = 'unreadable') = (fault IS NOT NULL)", name="unreadable_has_fault"),
        CheckConstraint("status ~ '^[245][.][0-9]{1,3}[.][0-9]{1,3}$'", name="status"),
        CheckConstraint("octet_length(fingerprint) = 32 AND octet_length(sha256) = 32", name="digests"),
        CheckConstraint("raw_bytes >= 0", name="raw_bytes"),
        CheckConstraint("sealed IS NULL OR object_key IS NOT NULL", name="forgotten_whole"),
        Index("ix_incoming_mail_deadline", "state_deadline_at", postgresql_where=text("state_deadline_at IS NOT NULL")),
        Index("ix_incoming_mail_keep_until", "keep_until", postgresql_where=text("object_key IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    purpose: Mapped[str] = mapped_column(Text)
    delivery_id: Mapped[uuid.UUID]
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    received_at: Mapped[datetime]
    has_null_sender: Mapped[bool]
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    raw_bytes: Mapped[int] = mapped_column(BigInteger)
    object_key: Mapped[str | None] = mapped_column(Text, unique=True)
    keep_until: Mapped[datetime]
    kind: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str | None] = mapped_column(Text)
    fault: Mapped[str | None] = mapped_column(Text)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
