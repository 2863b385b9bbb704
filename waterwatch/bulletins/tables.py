"""Bulletins: what a department is told of its waters, quarter by quarter, as files that do not change any more.

No words of a report and no place of one are kept here. What the files show of incidents, answers and photos is
remembered by reference, so that a file goes when something it shows has to go.
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Person
from waterwatch.agencies.tables import Agency
from waterwatch.kernel.db import Base

STATES = ("making", "draft", "withheld", "approved", "archived", "recalled")
FORMS = ("pdf", "csv")
Digest = bytes  # a name of its own: BulletinFile has a column called bytes


class Bulletin(Base):
    """One edition of a department's bulletin of a period; a further one corrects ``corrects_id``.

    ``as_of``: what came later is not in it. ``revision`` counts how often its files were ordered. ``facts``: numbers of
    it, for lists. ``incident_ids``, ``answer_ids``: what it shows. Public from ``approved`` on, with ``archived`` once
    its letters are out. ``recalled``: something it showed may not be shown any more; its files are gone.
    """

    __tablename__ = "bulletin"
    __table_args__ = (
        UniqueConstraint("agency_id", "period", "edition"),
        CheckConstraint("period ~ '^20[0-9]{2}(Q[1-4]|-(0[1-9]|1[0-2]))$'", name="period"),
        CheckConstraint("state IN ('making', 'draft', 'withheld', 'approved', 'archived', 'recalled')", name="state"),
        CheckConstraint("edition >= 1 AND (edition = 1) = (corrects_id IS NULL)", name="edition"),
        CheckConstraint("corrects_id <> id", name="corrects_another"),
        CheckConstraint("length(foreword) <= 2000", name="foreword"),
        CheckConstraint("length(withheld_reason) BETWEEN 3 AND 500", name="withheld_reason_length"),
        CheckConstraint("(state = 'withheld') = (withheld_reason IS NOT NULL)", name="withheld_reason"),
        CheckConstraint("(state IN ('approved', 'archived')) <= (approved_at IS NOT NULL)", name="approved_at"),
        CheckConstraint("(approved_at IS NULL) = (approved_by IS NULL)", name="approved_by"),
        CheckConstraint("revision >= 1", name="revision"),
        Index("ix_bulletin_deadline", "state_deadline_at", postgresql_where=text("state_deadline_at IS NOT NULL")),
        Index("ix_bulletin_period", "period"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    agency_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Agency.id))
    period: Mapped[str] = mapped_column(Text)
    edition: Mapped[int] = mapped_column(SmallInteger)
    corrects_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("bulletin.id"), index=True)
    as_of: Mapped[datetime]
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    foreword: Mapped[str] = mapped_column(Text, server_default=text("''"))
    revision: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    facts: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    incident_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid()), server_default=text("'{}'::uuid[]"))
    answer_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid()), server_default=text("'{}'::uuid[]"))
    made_at: Mapped[datetime | None]
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    withheld_reason: Mapped[str | None] = mapped_column(Text)


class BulletinFile(Base):
    """One file of a bulletin. A long one comes in several ``volume`` s; the table is one whole."""

    __tablename__ = "bulletin_file"
    __table_args__ = (
        CheckConstraint("form IN ('pdf', 'csv')", name="form"),
        CheckConstraint("volume >= 1 AND (form = 'pdf' OR volume = 1)", name="volume"),
        CheckConstraint("octet_length(sha256) = 32 AND bytes > 0", name="content"),
        CheckConstraint("(form = 'pdf') = (pages IS NOT NULL) AND pages > 0", name="pages"),
    )

    bulletin_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Bulletin.id), primary_key=True)
    form: Mapped[str] = mapped_column(Text, primary_key=True)
    volume: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    key: Mapped[str] = mapped_column(Text)
    sha256: Mapped[Digest] = mapped_column(LargeBinary)
    bytes: Mapped[int] = mapped_column(BigInteger)
    pages: Mapped[int | None] = mapped_column(Integer)


class BulletinPhoto(Base):
    """A picture a bulletin shows, by the bytes it had. No foreign key: that the photo is gone is what is looked for."""

    __tablename__ = "bulletin_photo"
    __table_args__ = (CheckConstraint("octet_length(sha256) = 32", name="sha256"),)

    bulletin_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Bulletin.id), primary_key=True)
    photo_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    sha256: Mapped[Digest] = mapped_column(LargeBinary)


class BulletinLetter(Base):
    """The mail that brings a bulletin to one address of its department; the Message-ID never changes."""

    __tablename__ = "bulletin_letter"
    __table_args__ = (
        UniqueConstraint("bulletin_id", "address"),
        CheckConstraint("state IN ('pending', 'sending', 'sent', 'refused', 'dead', 'cancelled')", name="state"),
        CheckConstraint("attempts >= 0 AND deferrals BETWEEN 0 AND attempts", name="attempts"),
        CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="sent_at"),
        Index(
            "ix_bulletin_letter_deadline", "state_deadline_at", postgresql_where=text("state_deadline_at IS NOT NULL")
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    bulletin_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Bulletin.id))
    address: Mapped[str] = mapped_column(Text)
    message_id: Mapped[str] = mapped_column(Text, unique=True)
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    deferrals: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)
