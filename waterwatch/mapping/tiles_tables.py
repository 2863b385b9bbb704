"""Waters, their labels and areas' names as tiles draw them: made from the truth, to be thrown away at any time."""

import uuid

from geoalchemy2 import Geometry, WKBElement
from sqlalchemy import BigInteger, CheckConstraint, Index, SmallInteger, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base

BAND_NUMBERS = (4, 6, 8, 10, 11)


class WaterTile(Base):
    """One reach or lake as one band of zooms draws it. ``step`` is its rung on the ladder of sizes, see tiles_rules.

    ``digest`` is that of everything it was made from, by which a change is seen. Names from zoom 7 on only.
    """

    __tablename__ = "water_tile"
    __table_args__ = (
        CheckConstraint("band IN (4, 6, 8, 10, 11)", name="band"),
        CheckConstraint("size_class BETWEEN 1 AND 5", name="size_class"),
        *(
            Index(f"ix_water_tile_{band}", "geom", postgresql_using="gist", postgresql_where=text(f"band = {band}"))
            for band in BAND_NUMBERS
        ),
    )

    band: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    feature_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    is_lake: Mapped[bool]
    step: Mapped[int] = mapped_column(SmallInteger)
    size_class: Mapped[int] = mapped_column(SmallInteger)
    public_id: Mapped[str] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    name_hant: Mapped[str | None] = mapped_column(Text)
    name_en: Mapped[str | None] = mapped_column(Text)
    digest: Mapped[uuid.UUID] = mapped_column(Uuid)
    geom: Mapped[WKBElement] = mapped_column(Geometry("GEOMETRY", srid=3857, spatial_index=False))


class WaterLabel(Base):
    """Where the name of a water stands: one point a named water."""

    __tablename__ = "water_label"
    __table_args__ = (
        CheckConstraint("size_class BETWEEN 1 AND 5", name="size_class"),
        Index("ix_water_label_geom", "geom", postgresql_using="gist"),
    )

    public_id: Mapped[str] = mapped_column(Text, primary_key=True)
    is_lake: Mapped[bool]
    step: Mapped[int] = mapped_column(SmallInteger)
    size_class: Mapped[int] = mapped_column(SmallInteger)
    name: Mapped[str | None] = mapped_column(Text)
    name_hant: Mapped[str | None] = mapped_column(Text)
    name_en: Mapped[str | None] = mapped_column(Text)
    geom: Mapped[WKBElement] = mapped_column(Geometry("POINT", srid=3857, spatial_index=False))


class AreaLabel(Base):
    """Where an area's name stands: a point inside it, never its border. Levels: province, prefecture, county."""

    __tablename__ = "area_label"
    __table_args__ = (
        CheckConstraint("level BETWEEN 1 AND 3", name="level"),
        Index("ix_area_label_geom", "geom", postgresql_using="gist"),
    )

    code: Mapped[str] = mapped_column(Text, primary_key=True)
    level: Mapped[int] = mapped_column(SmallInteger)
    name: Mapped[str | None] = mapped_column(Text)
    name_hant: Mapped[str | None] = mapped_column(Text)
    name_en: Mapped[str | None] = mapped_column(Text)
    geom: Mapped[WKBElement] = mapped_column(Geometry("POINT", srid=3857, spatial_index=False))


class TileRule(Base):
    """From which rung of sizes on a layer is drawn at a zoom."""

    __tablename__ = "tile_rule"
    __table_args__ = (CheckConstraint("layer IN ('rivers', 'lakes', 'labels')", name="layer"),)

    layer: Mapped[str] = mapped_column(Text, primary_key=True)
    zoom: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    least_step: Mapped[int] = mapped_column(SmallInteger)


class MapGround(Base):
    """Which state of waters, areas and zones there is, and which one the tables above were made from.

    A trigger gives ``version`` a new value with every statement that writes what the part is made from, and nothing is
    said about what changed: equal values mean nothing did.
    """

    __tablename__ = "map_ground"
    __table_args__ = (CheckConstraint("part IN ('waters', 'areas', 'zones')", name="part"),)

    part: Mapped[str] = mapped_column(Text, primary_key=True)
    version: Mapped[uuid.UUID] = mapped_column(Uuid)
    drawn_version: Mapped[uuid.UUID | None] = mapped_column(Uuid)
