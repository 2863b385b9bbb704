"""Agencies: competent departments, the areas they answer for, what they are competent for and how they are reached."""

import uuid
from datetime import datetime, time
from typing import Any

from geoalchemy2 import Geometry, WKBElement
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    Time,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base

LEVELS = ("province", "prefecture", "county")
BASIN = "basin"  # an area beside the administrative ones: whoever answers for it is told besides the local offices
BASIN_AUTHORITY = "basin_authority"
AGENCY_LEVELS = (*LEVELS, BASIN)
# Runs intakes and is told of what comes down the river; competent for nothing, so no rule names it.
WATERWORKS = "waterworks"
OFFICE_KINDS = (
    "ecology_environment",
    "water",
    "urban_management",
    "agriculture",
    "maritime",
    "river_chief_office",
    BASIN_AUTHORITY,
)
AGENCY_KINDS = (*OFFICE_KINDS, WATERWORKS)
# The kinds of ``reports``, which lies above; a test holds the two together.
OBSERVATION_KINDS = (
    "black_odorous",
    "sewage_outfall",
    "industrial_discharge",
    "algal_bloom",
    "oil_slick",
    "fish_kill",
    "floating_garbage",
    "foam",
    "farm_runoff",
    "sand_mining",
    "encroachment",
    "waste_dumping",
    "other",
)
_LEVEL_CHECK = "level IN ('province', 'prefecture', 'county', 'basin')"
_AGENCY_KIND_CHECK = (
    "{column} IN ('ecology_environment', 'water', 'urban_management', 'agriculture', 'maritime',"
    " 'river_chief_office', 'basin_authority'{more})"
)
_OBSERVATION_CHECK = (
    "observation_kind IN ('black_odorous', 'sewage_outfall', 'industrial_discharge', 'algal_bloom', 'oil_slick',"
    " 'fish_kill', 'floating_garbage', 'foam', 'farm_runoff', 'sand_mining', 'encroachment', 'waste_dumping', 'other')"
)
CHANNELS = ("email", "webhook", "open311", "cap_feed", "post")
CHANNELS_IN = ("parallel", "order")
SEALED_FOR = "agency_contact"  # what a contact's secrets are sealed for, see kernel.sealing
_LANG_CHECK = "lang IN ('zh-Hans', 'zh-Hant', 'en', 'pinyin')"


class Jurisdiction(Base):
    """An administrative area with its GB/T 2260 code. Used for routing only: never drawn, never published.

    Or a basin (level ``basin``, code ``basin-…``), which lies across them and has no parent.
    """

    __tablename__ = "jurisdiction"
    __table_args__ = (
        CheckConstraint(_LEVEL_CHECK, name="level"),
        CheckConstraint(
            "code ~ CASE WHEN level = 'basin' THEN '^basin-[a-z0-9-]{1,40}$' ELSE '^[0-9]{6}$' END", name="code"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(Text, unique=True)
    level: Mapped[str] = mapped_column(Text)
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jurisdiction.id"), index=True)
    geom: Mapped[WKBElement] = mapped_column(Geometry("MULTIPOLYGON", srid=4326, spatial_index=False))
    retired_at: Mapped[datetime | None]


class JurisdictionPart(Base):
    """A piece of a jurisdiction's area of at most 128 vertices: what places are looked up in.

    A trigger keeps them; an area that was retired has none.
    """

    __tablename__ = "jurisdiction_part"
    __table_args__ = (Index("ix_jurisdiction_part_geom", "geom", postgresql_using="gist"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    jurisdiction_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jurisdiction.id", ondelete="CASCADE"), index=True)
    geom: Mapped[WKBElement] = mapped_column(Geometry("POLYGON", srid=4326, spatial_index=False))


class JurisdictionName(Base):
    """A jurisdiction's name in one language."""

    __tablename__ = "jurisdiction_name"
    __table_args__ = (CheckConstraint(_LANG_CHECK, name="lang"),)

    jurisdiction_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("jurisdiction.id", ondelete="CASCADE"), primary_key=True
    )
    lang: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)


class JurisdictionKey(Base):
    """What finds an area: its names folded, their sound and initials, with and without 市 or 县; lower grades first."""

    __tablename__ = "jurisdiction_key"
    __table_args__ = (
        CheckConstraint("key <> ''", name="key"),
        CheckConstraint("grade BETWEEN 0 AND 9", name="grade"),
        Index("ix_jurisdiction_key_key", "key", postgresql_ops={"key": "text_pattern_ops"}),
    )

    jurisdiction_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("jurisdiction.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    grade: Mapped[int] = mapped_column(SmallInteger)


class Agency(Base):
    """A department. ``parent_id`` is the agency one level up, to whom a missed acknowledgement escalates.

    ``channels_in``: whether its contacts get a letter all at once or one after the other, when the one before failed.
    Letters of at most severity ``digest_upto`` (0: none) wait for ``digest_at``, a time of day in China on working
    days, and go as one mail.
    """

    __tablename__ = "agency"
    __table_args__ = (
        CheckConstraint(_AGENCY_KIND_CHECK.format(column="kind", more=", 'waterworks'"), name="kind"),
        CheckConstraint(_LEVEL_CHECK, name="level"),
        CheckConstraint("(level = 'basin') = (kind = 'basin_authority')", name="basin"),
        CheckConstraint("parent_id <> id", name="not_own_parent"),
        CheckConstraint("channels_in IN ('parallel', 'order')", name="channels_in"),
        CheckConstraint("digest_upto BETWEEN 0 AND 3", name="digest_upto"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(Text, unique=True)
    kind: Mapped[str] = mapped_column(Text)
    level: Mapped[str] = mapped_column(Text)
    jurisdiction_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jurisdiction.id"), index=True)
    parent_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("agency.id"), index=True)
    retired_at: Mapped[datetime | None]
    channels_in: Mapped[str] = mapped_column(Text, server_default=text("'parallel'"))
    digest_upto: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    digest_at: Mapped[time] = mapped_column(Time, server_default=text("'09:00'"))


class AgencyName(Base):
    """An agency's name in one language."""

    __tablename__ = "agency_name"
    __table_args__ = (CheckConstraint(_LANG_CHECK, name="lang"),)

    agency_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agency.id", ondelete="CASCADE"), primary_key=True)
    lang: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)


class CompetenceRule(Base):
    """Whether agencies of a kind are told of an observation, and from which severity on; made by an administrator.

    ``jurisdiction_id`` null: everywhere; ``level`` null: of any level; ``observation_kind`` null: every kind. A rule is
    never changed: another takes its place, and it is kept, retired, for what was made under it.
    """

    __tablename__ = "competence_rule"
    __table_args__ = (
        CheckConstraint(_AGENCY_KIND_CHECK.format(column="agency_kind", more=""), name="agency_kind"),
        CheckConstraint(_LEVEL_CHECK, name="level"),
        CheckConstraint(_OBSERVATION_CHECK, name="observation_kind"),
        CheckConstraint("min_severity BETWEEN 1 AND 4", name="min_severity"),
        Index(
            "uq_competence_rule_key",
            *("jurisdiction_id", "agency_kind", "level", "observation_kind"),
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("retired_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    jurisdiction_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jurisdiction.id"))
    agency_kind: Mapped[str] = mapped_column(Text)
    level: Mapped[str | None] = mapped_column(Text)
    observation_kind: Mapped[str | None] = mapped_column(Text)
    min_severity: Mapped[int] = mapped_column(SmallInteger)
    is_competent: Mapped[bool]
    made_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class Competence(Base):
    """What an agency is competent for inside its jurisdiction; ``observation_kind`` null means every kind.

    With a ``rule_id`` it was made from a rule, by ``competence.compile_rules``; without, it is the agency's own.
    """

    __tablename__ = "competence"
    __table_args__ = (
        CheckConstraint("min_severity BETWEEN 1 AND 4", name="min_severity"),
        CheckConstraint("rule_id IS NULL OR observation_kind IS NOT NULL", name="rule_names_kind"),
        Index(
            "uq_competence_agency_kind",
            "agency_id",
            "observation_kind",
            text("(rule_id IS NULL)"),
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    agency_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agency.id", ondelete="CASCADE"))
    observation_kind: Mapped[str | None] = mapped_column(Text)
    min_severity: Mapped[int] = mapped_column(SmallInteger, server_default=text("1"))
    rule_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("competence_rule.id"), index=True)


class AgencyContact(Base):
    """How an agency is reached; lower ``position`` first.

    ``address``: of ``email`` a mail address, of ``webhook`` and ``open311`` a URL, of ``cap_feed`` a name for the
    subscriber, of ``post`` where a letter goes to. ``settings`` are the channel's own, see ``rules.read_settings``.
    The secrets (a webhook's key, an Open311 server's api_key) are sealed for the row under :data:`SEALED_FOR`; the
    one before stays in use beside the new one for a while after ``secret_rotated_at``.
    """

    __tablename__ = "agency_contact"
    __table_args__ = (
        CheckConstraint("channel IN ('email', 'webhook', 'open311', 'cap_feed', 'post')", name="channel"),
        CheckConstraint("address <> ''", name="address"),
        CheckConstraint("jsonb_typeof(settings) = 'object'", name="settings"),
        CheckConstraint("sealed_secret IS NOT NULL OR sealed_secret_previous IS NULL", name="secrets"),
        UniqueConstraint("agency_id", "channel", "address"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    agency_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("agency.id", ondelete="CASCADE"))
    channel: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    position: Mapped[int] = mapped_column(SmallInteger)
    active: Mapped[bool] = mapped_column(server_default=text("true"))
    settings: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    sealed_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    sealed_secret_previous: Mapped[bytes | None] = mapped_column(LargeBinary)
    secret_rotated_at: Mapped[datetime | None]


class RiverChief(Base):
    """Who answers for a water or a reach of it within an area (河长). Shown to staff alone.

    ``water_feature_id`` null means the whole water.
    """

    __tablename__ = "river_chief"
    __table_args__ = (
        CheckConstraint("title <> ''", name="title"),
        UniqueConstraint(
            "water_body_id", "water_feature_id", "jurisdiction_id", "title", postgresql_nulls_not_distinct=True
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    water_body_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("water_body.id"), index=True)
    water_feature_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("water_feature.id"), index=True)
    jurisdiction_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jurisdiction.id"), index=True)
    title: Mapped[str] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    email: Mapped[str | None] = mapped_column(Text)
    phone: Mapped[str | None] = mapped_column(Text)
    retired_at: Mapped[datetime | None]
