"""What was published, when, from which state of the truth; and what level each water carried when."""

import uuid
from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, CheckConstraint, ForeignKey, Identity, Index, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.incidents.tables import Incident
from waterwatch.kernel.db import Base
from waterwatch.waters.tables import WaterFeature


class Publication(Base):
    """One atomic publication of the public map; the newest row is what the manifest points at."""

    __tablename__ = "publication"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    published_at: Mapped[datetime]
    geometry_file: Mapped[str] = mapped_column(Text)
    levels_file: Mapped[str] = mapped_column(Text)
    incidents_file: Mapped[str] = mapped_column(Text)


class IncidentSpan(Base):
    """From when to when an incident acted at one severity. A trigger of ``incident`` keeps it.

    An incident that was withdrawn has none: for every day that is asked about it never was.
    """

    __tablename__ = "incident_span"
    __table_args__ = (
        CheckConstraint("severity BETWEEN 1 AND 4", name="severity"),
        CheckConstraint("ended_at >= started_at", name="ended_after_started"),
        Index("ix_incident_span_water_feature_id", "water_feature_id", "started_at"),
        Index("uq_incident_span_open", "incident_id", unique=True, postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    incident_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Incident.id, ondelete="CASCADE"), index=True)
    water_feature_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(WaterFeature.id))
    severity: Mapped[int] = mapped_column(SmallInteger)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None] = mapped_column(index=True)


class MapChange(Base):
    """That the past of a water is another from an instant on, until the publisher has written it. Kept by triggers.

    ``is_withdrawal``: something that was published must be found nowhere any more. A table to append to, because a
    counter would make everybody who grades wait for one row.
    """

    __tablename__ = "map_change"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    water_feature_id: Mapped[uuid.UUID]
    since: Mapped[datetime]
    is_withdrawal: Mapped[bool]


class PublishedFile(Base):
    """What is published under a key (``levels``, ``incidents/51/26``, ``maps/national``), and of which state."""

    __tablename__ = "published_file"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(Text)
    published_at: Mapped[datetime]


class SupersededFile(Base):
    """A published file that no key names any more, and since when: phones that read the old pointer may still ask."""

    __tablename__ = "superseded_file"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    superseded_at: Mapped[datetime]


class MappedWater(Base):
    """Which provinces (GB/T 2260 codes) a reach or lake touches, and a digest of how it is drawn.

    Looked up once, until the water or the areas are drawn anew.
    """

    __tablename__ = "mapped_water"

    water_feature_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey(WaterFeature.id, ondelete="CASCADE"), primary_key=True
    )
    area_codes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    drawn: Mapped[str] = mapped_column(Text)
