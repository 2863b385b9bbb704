"""Who wants to be told when a water's level changes: an address or a browser, sealed, and what it was told last."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.incidents.tables import Incident
from waterwatch.kernel.db import Base
from waterwatch.waters.tables import WaterBody


class Watch(Base):
    """One address or browser that watches one water. ``sealed`` holds where to write, and nothing else of anybody.

    ``recipient_digest`` keeps one address from watching a water twice, and bounds how many it watches; it is made under
    a key. ``told_level`` is the level it knows of (None: no warning), ``told_at`` when it was last told of a change.
    """

    __tablename__ = "watch"
    __table_args__ = (
        UniqueConstraint("water_body_id", "recipient_digest"),
        CheckConstraint("channel IN ('email', 'push')", name="channel"),
        CheckConstraint("language IN ('zh-Hans', 'zh-Hant', 'en')", name="language"),
        CheckConstraint("octet_length(recipient_digest) = 32", name="recipient_digest"),
        CheckConstraint("told_level BETWEEN 1 AND 4", name="told_level"),
        CheckConstraint("channel = 'email' OR confirmed_at IS NOT NULL", name="push_is_asked_for"),
        Index("ix_watch_recipient_digest", "recipient_digest"),
        Index("ix_watch_unconfirmed", "asked_at", postgresql_where=text("confirmed_at IS NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    water_body_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(WaterBody.id, ondelete="CASCADE"))
    channel: Mapped[str] = mapped_column(Text)
    recipient_digest: Mapped[bytes] = mapped_column(LargeBinary)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    language: Mapped[str] = mapped_column(Text)
    asked_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    told_level: Mapped[int | None] = mapped_column(SmallInteger)
    told_at: Mapped[datetime | None]


class WatchTold(Base):
    """Who was told that an incident upstream may reach the water they watch, and of which level (1 to 3).

    A row is there for as long as they have not been told that it is over; it goes with the watch.
    """

    __tablename__ = "watch_told"
    __table_args__ = (
        CheckConstraint("level BETWEEN 1 AND 3", name="level"),
        Index("ix_watch_told_incident_id", "incident_id"),
    )

    watch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Watch.id, ondelete="CASCADE"), primary_key=True)
    incident_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Incident.id), primary_key=True)
    level: Mapped[int] = mapped_column(SmallInteger)
    told_at: Mapped[datetime]
