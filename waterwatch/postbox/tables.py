"""What is to be sent to single people: mails and push messages, sealed until they are sent and gone afterwards."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Integer, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base


class Posting(Base):
    """One message to one person. ``sealed`` holds address and words; it is there exactly while it may still be sent.

    ``subject_id`` is what it is about (a report, a person), ``recipient_id`` the row its address came from; some
    kinds forget the former when they have ended (``rules.SUBJECT_FORGOTTEN``).
    ``once_key`` keeps a thing from being told twice. ``recipient_digest`` tells how much goes to one address; it is
    forgotten after a day.
    """

    __tablename__ = "posting"
    __table_args__ = (
        CheckConstraint("channel IN ('email', 'push')", name="channel"),
        CheckConstraint("kind ~ '^[a-z_]{1,20}[.][a-z_]{1,30}$'", name="kind"),
        CheckConstraint("state IN ('pending', 'sending', 'sent', 'refused', 'dead', 'dropped')", name="state"),
        CheckConstraint("(state IN ('pending', 'sending')) = (sealed IS NOT NULL)", name="sealed_while_open"),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_at"),
        CheckConstraint("octet_length(recipient_digest) = 32", name="recipient_digest"),
        CheckConstraint("attempts >= 0 AND deferrals BETWEEN 0 AND attempts", name="attempts"),
        Index("ix_posting_deadline", "state_deadline_at", postgresql_where=text("state_deadline_at IS NOT NULL")),
        Index("ix_posting_recipient_digest", "recipient_digest", postgresql_where=text("recipient_digest IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[uuid.UUID] = mapped_column(index=True)
    recipient_id: Mapped[uuid.UUID]
    once_key: Mapped[str | None] = mapped_column(Text, unique=True)
    recipient_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    deferrals: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)
