"""Protected zones: drinking-water protection zones, reserves, bathing waters, and the intakes themselves."""

import uuid
from datetime import datetime

from geoalchemy2 import Geometry, WKBElement
from sqlalchemy import CheckConstraint, Computed, ForeignKey, Index, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base

KINDS = ("drinking_water", "nature_reserve", "bathing", "intake")


class ProtectedZone(Base):
    """One zone. ``grade`` 1 is the strictest: 一级, 二级, 准保护区; national, provincial, county reserves.

    ``operator_id``: the agency (of ``agencies``, beside this slice) that runs it, such as the waterworks of an intake.
    """

    __tablename__ = "protected_zone"
    __table_args__ = (
        CheckConstraint("kind IN ('drinking_water', 'nature_reserve', 'bathing', 'intake')", name="kind"),
        CheckConstraint(
            "grade IS NULL OR kind IN ('drinking_water', 'nature_reserve') AND grade BETWEEN 1 AND 3", name="grade"
        ),
        CheckConstraint(
            "CASE kind WHEN 'intake' THEN GeometryType(geom) = 'POINT'"
            " ELSE GeometryType(geom) IN ('POLYGON', 'MULTIPOLYGON') END",
            name="geometry_type",
        ),
        UniqueConstraint("source_id", "source_key"),
        Index("ix_protected_zone_geom_3857", "geom_3857", postgresql_using="gist"),
        Index("ix_protected_zone_operator_id", "operator_id", postgresql_where=text("operator_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    grade: Mapped[int | None] = mapped_column(SmallInteger)
    geom: Mapped[WKBElement] = mapped_column(Geometry("GEOMETRY", srid=4326, spatial_index=False))
    geom_3857: Mapped[WKBElement] = mapped_column(
        Geometry("GEOMETRY", srid=3857, spatial_index=False),
        Computed("ST_Transform(geom, 3857)", persisted=True),
    )
    source_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("source.id"))
    source_key: Mapped[str] = mapped_column(Text)
    operator_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agency.id"))
    retired_at: Mapped[datetime | None]


class ProtectedZoneName(Base):
    """A zone's name in one language."""

    __tablename__ = "protected_zone_name"
    __table_args__ = (CheckConstraint("lang IN ('zh-Hans', 'zh-Hant', 'en')", name="lang"),)

    zone_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("protected_zone.id", ondelete="CASCADE"), primary_key=True)
    lang: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
