"""Waters: named bodies, and the reaches and lakes of the flow network that carry geometry and warnings."""

import uuid
from datetime import date, datetime

from geoalchemy2 import Geometry, WKBElement
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    Date,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base

WATER_KINDS = ("river", "canal", "lake", "reservoir", "pond")
LANGUAGES = ("zh-Hans", "zh-Hant", "en", "pinyin")


class Source(Base):
    """Where geometry or facts came from."""

    __tablename__ = "source"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(Text, unique=True)
    title: Mapped[str] = mapped_column(Text)
    licence: Mapped[str] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(Text)
    retrieved_on: Mapped[date | None] = mapped_column(Date)
    citation: Mapped[str | None] = mapped_column(Text)


class WaterBody(Base):
    """A river, canal, lake, reservoir or pond with a name. ``public_id`` is its page address and never changes."""

    __tablename__ = "water_body"
    __table_args__ = (
        CheckConstraint("kind IN ('river', 'canal', 'lake', 'reservoir', 'pond')", name="kind"),
        CheckConstraint("public_id ~ '^[a-z0-9][a-z0-9-]{1,60}$'", name="public_id"),
        CheckConstraint("parent_id <> id", name="not_own_parent"),
        CheckConstraint("basin_area_km2 > 0", name="basin_area"),
        CheckConstraint("mean_discharge_cms >= 0", name="mean_discharge"),
        CheckConstraint("length_km > 0", name="length"),
        UniqueConstraint("source_id", "source_key"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(Text, unique=True)
    kind: Mapped[str] = mapped_column(Text)
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("water_body.id"), index=True)
    basin: Mapped[str | None] = mapped_column(Text)
    basin_area_km2: Mapped[float | None]
    mean_discharge_cms: Mapped[float | None]
    length_km: Mapped[float | None]
    rank: Mapped[int] = mapped_column(SmallInteger)
    # The box around all its reaches and lakes: how near a water is among its namesakes.
    extent: Mapped[WKBElement | None] = mapped_column(Geometry("POLYGON", srid=4326, spatial_index=False))
    source_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("source.id"))
    source_key: Mapped[str] = mapped_column(Text)
    retired_at: Mapped[datetime | None]


class WaterName(Base):
    """A name of a water in one language; one primary name per language."""

    __tablename__ = "water_name"
    __table_args__ = (
        CheckConstraint("lang IN ('zh-Hans', 'zh-Hant', 'en', 'pinyin')", name="lang"),
        CheckConstraint("name <> ''", name="name"),
        UniqueConstraint("water_body_id", "lang", "name"),
        Index(
            "uq_water_name_primary",
            "water_body_id",
            "lang",
            unique=True,
            postgresql_where=text("is_primary"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    water_body_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("water_body.id", ondelete="CASCADE"))
    lang: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    is_primary: Mapped[bool]


class WaterKey(Base):
    """What finds a water: a name, its sound, its initials or a part of it. Made from the names, see ``rules``.

    ``weight`` is the grade plus the water's rank: what is shown first among keys that fit alike.
    """

    __tablename__ = "water_key"
    __table_args__ = (
        CheckConstraint("key <> ''", name="key"),
        CheckConstraint("grade BETWEEN 0 AND 6", name="grade"),
        Index("ix_water_key_key", "key", "weight"),
    )

    water_body_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("water_body.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    grade: Mapped[int] = mapped_column(SmallInteger)
    weight: Mapped[int] = mapped_column(SmallInteger)


class WaterWord(Base):
    """Each key once, with the best weight it has: hundreds of waters share a name, and a search reads words first.

    ``is_name``: a whole name or its sound, which a misspelt one may mean; initials and parts are not guessed at.
    """

    __tablename__ = "water_word"
    __table_args__ = (
        Index("ix_water_word_word", "word", postgresql_ops={"word": "text_pattern_ops"}),
        # The first letters typed fit many words: the largest waters' are read off in order.
        *(Index(f"ix_water_word_first_{n}", text(f'"left"(word, {n})'), "weight") for n in range(1, 5)),
        Index(
            "ix_water_word_trigrams",
            "word",
            postgresql_using="gin",
            postgresql_ops={"word": "gin_trgm_ops"},
            postgresql_where=text("is_name"),
            postgresql_with={"fastupdate": "off"},
        ),
    )

    word: Mapped[str] = mapped_column(Text, primary_key=True)
    weight: Mapped[int] = mapped_column(SmallInteger)
    is_name: Mapped[bool]


class WaterFeature(Base):
    """A reach or a lake: what is snapped to, coloured and walked.

    One table for both, so that snapping is one index search and a level has one foreign key. ``feature_id`` is the
    stable integer (below 2^53) by which published levels join geometry. Reach attributes carry HydroRIVERS' names.
    """

    __tablename__ = "water_feature"
    __table_args__ = (
        CheckConstraint("kind IN ('reach', 'lake')", name="kind"),
        CheckConstraint("feature_id BETWEEN 1 AND 9007199254740991", name="feature_id"),
        CheckConstraint(
            "CASE kind WHEN 'reach' THEN GeometryType(geom) IN ('LINESTRING', 'MULTILINESTRING')"
            " ELSE GeometryType(geom) IN ('POLYGON', 'MULTIPOLYGON') END",
            name="geometry_type",
        ),
        CheckConstraint(
            "kind = 'reach' OR num_nonnulls(length_km, dist_dn_km, dist_up_km, upland_skm, catch_skm, ord_stra,"
            " ord_clas, ord_flow, hybas_l12, endorheic, lake_id, slope) = 0",
            name="reach_only",
        ),
        CheckConstraint("kind = 'lake' OR area_km2 IS NULL", name="lake_only"),
        CheckConstraint("next_down_id <> id", name="not_own_next"),
        CheckConstraint(
            "length_km >= 0 AND dist_dn_km >= 0 AND dist_up_km >= 0 AND upland_skm >= 0 AND catch_skm >= 0"
            " AND ord_stra > 0 AND dis_av_cms >= 0 AND slope BETWEEN 0 AND 10",
            name="reach_numbers",
        ),
        CheckConstraint("area_km2 >= 0", name="area"),
        UniqueConstraint("source_id", "source_key"),
        Index("ix_water_feature_geom_3857", "geom_3857", postgresql_using="gist"),
        Index("ix_water_feature_lakes", "id", postgresql_where=text("kind = 'lake'")),
        Index("ix_water_feature_lake_id", "lake_id", postgresql_where=text("lake_id IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    feature_id: Mapped[int] = mapped_column(BigInteger, Identity(always=False), unique=True)
    kind: Mapped[str] = mapped_column(Text)
    water_body_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("water_body.id"), index=True)
    geom: Mapped[WKBElement] = mapped_column(Geometry("GEOMETRY", srid=4326, spatial_index=False))
    geom_3857: Mapped[WKBElement] = mapped_column(
        Geometry("GEOMETRY", srid=3857, spatial_index=False),
        Computed("ST_Transform(geom, 3857)", persisted=True),
    )
    next_down_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("water_feature.id"), index=True)
    length_km: Mapped[float | None]
    dist_dn_km: Mapped[float | None]
    dist_up_km: Mapped[float | None]
    upland_skm: Mapped[float | None]
    catch_skm: Mapped[float | None]
    ord_stra: Mapped[int | None] = mapped_column(SmallInteger)
    ord_clas: Mapped[int | None] = mapped_column(SmallInteger)
    ord_flow: Mapped[int | None] = mapped_column(SmallInteger)
    hybas_l12: Mapped[int | None] = mapped_column(BigInteger)
    endorheic: Mapped[bool | None]
    lake_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("water_feature.id"))
    dis_av_cms: Mapped[float | None]
    slope: Mapped[float | None]  # m/m; beside HydroRIVERS' own, e.g. RiverATLAS' stream gradient
    area_km2: Mapped[float | None]
    source_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("source.id"))
    source_key: Mapped[str] = mapped_column(Text)
    retired_at: Mapped[datetime | None]


class WaterLink(Base):
    """A way down beside the main one (``next_down_id``): where a river parts, or a canal leaves it."""

    __tablename__ = "water_link"
    __table_args__ = (CheckConstraint("upper_id <> lower_id", name="not_itself"),)

    upper_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("water_feature.id"), primary_key=True)
    lower_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("water_feature.id"), primary_key=True, index=True)


class WaterNetwork(Base):
    """One row: how often the flow network has changed, by which copies of it in memory know that they are old."""

    __tablename__ = "water_network"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(BigInteger)
