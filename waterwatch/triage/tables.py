"""What waits for a moderator, in which order, and who looks at it now."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Person
from waterwatch.kernel.db import Base
from waterwatch.reports.tables import Report

SET_ASIDE = ("screening", "lead", "question")
_AREA = "area_code ~ '^[0-9]{6}$'"


class ReviewItem(Base):
    """One report under review: a trigger of the report's row writes and deletes it, so that none is forgotten.

    Small, whatever the number of reports ever received: claiming the next one costs the same with ten million.
    ``urgency`` 2: red-flag hints, 1: likely major, 0: the rest; ``points`` and ``hints`` say why. ``set_aside``: not
    handed out in turn, until ``set_aside_until`` where that is known. ``not_for``: whoever refused it before its author
    appealed. A lease that has run out is none.
    """

    __tablename__ = "review_item"
    __table_args__ = (
        CheckConstraint("urgency BETWEEN 0 AND 2", name="urgency"),
        CheckConstraint("points >= 0", name="points"),
        CheckConstraint("set_aside IN ('screening', 'lead', 'question')", name="set_aside"),
        CheckConstraint("set_aside_until IS NULL OR set_aside IS NOT NULL", name="set_aside_until"),
        CheckConstraint("(leased_by IS NULL) = (leased_until IS NULL)", name="lease_whole"),
        CheckConstraint("leased_by <> not_for", name="leased_to_another"),
        CheckConstraint(_AREA, name="area_code"),
        Index(
            "ix_review_item_order",
            text("urgency DESC"),
            "received_at",
            "report_id",
            postgresql_where=text("set_aside IS NULL"),
        ),
        Index("ix_review_item_set_aside", "set_aside", "received_at", postgresql_where=text("set_aside IS NOT NULL")),
        {"postgresql_with": {"fillfactor": 50}},  # a lease is written in place, beside the row it replaces,
    )

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id, ondelete="CASCADE"), primary_key=True)
    received_at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(Text)
    water_body_id: Mapped[uuid.UUID | None]
    area_code: Mapped[str | None] = mapped_column(Text)
    urgency: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    points: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    hints: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    set_aside: Mapped[str | None] = mapped_column(Text)
    set_aside_until: Mapped[datetime | None]
    not_for: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id, ondelete="SET NULL"))
    leased_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    leased_until: Mapped[datetime | None]
    leased_at: Mapped[datetime | None]


class DeskView(Base):
    """A choice of what to see of the queue that a moderator named and kept for themselves."""

    __tablename__ = "desk_view"
    __table_args__ = (
        UniqueConstraint("person_id", "name"),
        CheckConstraint("name <> '' AND length(name) <= 40", name="name"),
        CheckConstraint(_AREA, name="area_code"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id, ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    area_code: Mapped[str | None] = mapped_column(Text)
    water_body_id: Mapped[uuid.UUID | None]
    kind: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]


class ModeratorArea(Base):
    """An area a moderator works for; without any, they work for the whole country."""

    __tablename__ = "moderator_area"
    __table_args__ = (CheckConstraint(_AREA, name="area_code"),)

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id, ondelete="CASCADE"), primary_key=True)
    area_code: Mapped[str] = mapped_column(Text, primary_key=True)
