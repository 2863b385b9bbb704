"""What one citizen saw at one place and time. No name, no address of a device, no contact: only what was seen."""

import uuid
from datetime import datetime

from geoalchemy2 import Geometry, WKBElement
from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import ApiClient, Organisation, Person
from waterwatch.kernel.db import Base
from waterwatch.photos.tables import Photo
from waterwatch.waters.tables import WaterFeature

KINDS = (
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
ALL_CLEAR = "all_clear"  # a patrol report: the water is fine
REPORT_KINDS = (*KINDS, ALL_CLEAR)
COLOURS = ("clear", "white", "grey", "black", "brown", "yellow", "green", "red", "oily", "other")
SINCE = ("today", "this_week", "this_month", "longer")
SOURCES = ("web", "api", "open311", "import")
EXTENTS = ("spot", "under_100_m", "under_1_km", "over_1_km")
# What simple instruments can show, with the limits of what they can show in any water: a slip is told from a reading.
MEASURED = {
    "transparency_cm": (0, 3000),
    "water_depth_cm": (0, 20000),
    "ph": (0, 14),
    "do_mg_l": (0, 30),
    "nh3n_mg_l": (0, 500),
    "orp_mv": (-1000, 1000),
    "temperature_c": (-5, 60),
}
STATES = ("received", "sanitising", "in_review", "accepted", "merged", "refused", "withdrawn")

# What could tell who stood where, and what they wrote: gone once a report is erased. ``point`` must be a place and is
# the empty one then.
PRIVATE = (
    *("note", "place_words", "refusal_words", "observed_at", "corrected_at", "same_as_code", "device_digest"),
    *("accuracy_m", "device_point", "chosen_water_feature_id", "water_feature_id", "snapped_point", "snap_distance_m"),
    *("extent", "smell", "is_ongoing", "has_dead_animals", "affects_people", "colour", "since", *MEASURED),
)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Report(Base):
    """A report. ``point`` is the exact, confirmed place: for moderators and the agency, never for the public.

    ``observed_at`` is the moment the phone kept the report, by its own clock: hours before ``received_at`` where there
    was no signal. ``same_as_code`` is the public incident its author says they saw too. Neither is trusted by itself.

    ``device_digest`` is a keyed digest of the random number the phone made for itself, and is forgotten after two days
    (a setting) together with ``is_newcomer``: whether nobody and no application vouched for its sender. One that
    ``needs_screening`` stays out of the order of the desk until a moderator has let it pass.
    ``version`` counts what its author has stated: 1 as it came, one more with each correction. A judgement is passed
    on the version that was seen.
    ``place_words`` is how one gets there, in its author's words: it may lead to where they live, so it is for
    moderators alone, as ``note`` is, and lives as long as it.
    ``erased_at``: nothing is left but that there was a report, of which kind, when it came and how it ended.
    """

    __tablename__ = "report"
    __table_args__ = (
        CheckConstraint(_one_of("state", STATES), name="state"),
        CheckConstraint(_one_of("kind", REPORT_KINDS), name="kind"),
        CheckConstraint("extent IS NULL OR " + _one_of("extent", EXTENTS), name="extent"),
        CheckConstraint("smell IS NULL OR smell BETWEEN 0 AND 3", name="smell"),
        CheckConstraint("colour IS NULL OR " + _one_of("colour", COLOURS), name="colour"),
        CheckConstraint("since IS NULL OR " + _one_of("since", SINCE), name="since"),
        CheckConstraint(_one_of("source", SOURCES), name="source"),
        CheckConstraint("(api_client_id IS NULL) OR source <> 'web'", name="api_client"),
        CheckConstraint("same_as_code ~ '^[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}$'", name="same_as_code"),
        *(CheckConstraint(f"{name} BETWEEN {low} AND {high}", name=name) for name, (low, high) in MEASURED.items()),
        CheckConstraint("language IN ('zh-Hans', 'zh-Hant', 'en')", name="language"),
        CheckConstraint("place_source IN ('pin', 'device', 'typed')", name="place_source"),
        CheckConstraint("input_datum IN ('wgs84', 'gcj02', 'bd09')", name="input_datum"),
        CheckConstraint("length(note) <= 500", name="note_length"),
        CheckConstraint("length(place_words) <= 200", name="place_words_length"),
        CheckConstraint("(state = 'refused') = (refusal_code IS NOT NULL)", name="refused_has_reason"),
        CheckConstraint("octet_length(follow_digest) = 32", name="follow_digest"),
        CheckConstraint("octet_length(submission_digest) = 32", name="submission_digest"),
        CheckConstraint("accuracy_m IS NULL OR accuracy_m >= 0", name="accuracy"),
        CheckConstraint("octet_length(device_digest) = 32", name="device_digest"),
        CheckConstraint("version >= 1", name="version"),
        CheckConstraint(f"erased_at IS NULL OR num_nonnulls({', '.join(PRIVATE)}) = 0", name="erased_is_gone"),
        CheckConstraint("erased_at IS NULL OR ST_IsEmpty(point)", name="erased_has_no_place"),
        CheckConstraint("erased_at IS NULL OR state IN ('refused', 'withdrawn')", name="erased_has_ended"),
        Index("ix_report_state_received_at", "state", "received_at"),
        Index(
            "ix_report_deadline",
            "state_deadline_at",
            postgresql_where=text("state_deadline_at IS NOT NULL"),
        ),
        Index("ix_report_point", "point", postgresql_using="gist"),
        Index("ix_report_device", "device_digest", "received_at", postgresql_where=text("device_digest IS NOT NULL")),
        Index("ix_report_device_memory", "received_at", postgresql_where=text("device_digest IS NOT NULL")),
        Index("ix_report_is_newcomer", "received_at", postgresql_where=text("is_newcomer")),
        Index(
            "ix_report_to_erase",
            "state_since",
            postgresql_where=text("erased_at IS NULL AND state IN ('refused', 'withdrawn')"),
        ),
        Index("ix_report_needs_screening", "received_at", postgresql_where=text("needs_screening")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(Text, unique=True)
    follow_digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    submission_digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Organisation.id))
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    refusal_code: Mapped[str | None] = mapped_column(Text)
    refusal_words: Mapped[str | None] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    note: Mapped[str | None] = mapped_column(Text)
    extent: Mapped[str | None] = mapped_column(Text)
    smell: Mapped[int | None] = mapped_column(SmallInteger)
    is_ongoing: Mapped[bool | None]
    has_dead_animals: Mapped[bool | None]
    affects_people: Mapped[bool | None]
    colour: Mapped[str | None] = mapped_column(Text)
    since: Mapped[str | None] = mapped_column(Text)
    transparency_cm: Mapped[float | None]
    water_depth_cm: Mapped[float | None]
    ph: Mapped[float | None]
    do_mg_l: Mapped[float | None]
    nh3n_mg_l: Mapped[float | None]
    orp_mv: Mapped[float | None]
    temperature_c: Mapped[float | None]
    observed_at: Mapped[datetime | None]
    same_as_code: Mapped[str | None] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text, server_default=text("'web'"))
    api_client_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(ApiClient.id))
    language: Mapped[str] = mapped_column(Text)
    received_at: Mapped[datetime]
    point: Mapped[WKBElement] = mapped_column(Geometry("POINT", srid=4326, spatial_index=False))
    place_source: Mapped[str] = mapped_column(Text)
    input_datum: Mapped[str] = mapped_column(Text)
    accuracy_m: Mapped[float | None]
    device_point: Mapped[WKBElement | None] = mapped_column(Geometry("POINT", srid=4326, spatial_index=False))
    chosen_water_feature_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(WaterFeature.id))
    water_feature_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(WaterFeature.id), index=True)
    snapped_point: Mapped[WKBElement | None] = mapped_column(Geometry("POINT", srid=4326, spatial_index=False))
    snap_distance_m: Mapped[float | None]
    device_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    is_newcomer: Mapped[bool] = mapped_column(server_default=text("false"))
    needs_screening: Mapped[bool] = mapped_column(server_default=text("false"))
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"))
    corrected_at: Mapped[datetime | None]
    place_words: Mapped[str | None] = mapped_column(Text)
    erased_at: Mapped[datetime | None]


class ReportPhoto(Base):
    """Which photos evidence a report, in which order.

    ``stated_*`` is what the phone read from the file before it made it smaller: a claim, as EXIF is, for moderators.
    """

    __tablename__ = "report_photo"
    __table_args__ = (
        UniqueConstraint("report_id", "position"),
        CheckConstraint("position BETWEEN 0 AND 19", name="position"),
        CheckConstraint("stated_lon BETWEEN -180 AND 180 AND stated_lat BETWEEN -90 AND 90", name="stated_place"),
        CheckConstraint("(stated_lon IS NULL) = (stated_lat IS NULL)", name="stated_place_whole"),
        CheckConstraint("length(stated_taken_at_local) <= 32", name="stated_taken_at_local"),
    )

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("report.id", ondelete="CASCADE"), primary_key=True)
    photo_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Photo.id), primary_key=True, unique=True)
    position: Mapped[int] = mapped_column(SmallInteger)
    stated_lon: Mapped[float | None]
    stated_lat: Mapped[float | None]
    stated_taken_at_local: Mapped[str | None] = mapped_column(Text)


QUESTION_CODES = ("where_exactly", "which_water", "what_is_seen", "still_there", "since_when", "other")
QUESTION_STATES = ("open", "answered", "withdrawn", "lapsed")


class Question(Base):
    """What a moderator asked a report's author, and the answer. Erased with the report."""

    __tablename__ = "question"
    __table_args__ = (
        CheckConstraint(_one_of("code", QUESTION_CODES), name="code"),
        CheckConstraint(_one_of("state", QUESTION_STATES), name="state"),
        CheckConstraint("length(words) <= 300", name="words_length"),
        CheckConstraint("code <> 'other' OR words IS NOT NULL", name="other_has_words"),
        CheckConstraint("length(answer) BETWEEN 1 AND 500", name="answer_length"),
        CheckConstraint("(state = 'answered') = (answer IS NOT NULL)", name="answered"),
        Index("uq_question_open", "report_id", unique=True, postgresql_where=text("state = 'open'")),
        Index("ix_question_deadline", "state_deadline_at", postgresql_where=text("state_deadline_at IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("report.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    asked_at: Mapped[datetime]
    code: Mapped[str] = mapped_column(Text)
    words: Mapped[str | None] = mapped_column(Text)
    answer: Mapped[str | None] = mapped_column(Text)


class Appeal(Base):
    """Its author asked, once, that a refusal be looked at by somebody else. Erased with the report.

    ``refusal_code`` and ``refusal_words`` are what they were told then; ``refused_by`` never judges it again.
    """

    __tablename__ = "appeal"
    __table_args__ = (CheckConstraint("length(words) BETWEEN 1 AND 500", name="words_length"),)

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("report.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[datetime]
    words: Mapped[str] = mapped_column(Text)
    refused_at: Mapped[datetime]
    refused_by: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id))
    refusal_code: Mapped[str] = mapped_column(Text)
    refusal_words: Mapped[str | None] = mapped_column(Text)


class FormerStatement(Base):
    """What a report said before a moderator corrected it, so that the correction can be reversed. Erased with it.

    ``version`` is the report's at that time: what its author has stated anew since is not overwritten.
    """

    __tablename__ = "report_former"
    __table_args__ = (CheckConstraint(_one_of("kind", REPORT_KINDS), name="kind"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("report.id", ondelete="CASCADE"), index=True)
    at: Mapped[datetime]
    version: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(Text)
    point: Mapped[WKBElement] = mapped_column(Geometry("POINT", srid=4326, spatial_index=False))
    place_source: Mapped[str] = mapped_column(Text)
    input_datum: Mapped[str] = mapped_column(Text)
    accuracy_m: Mapped[float | None]
    water_feature_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(WaterFeature.id))
    snapped_point: Mapped[WKBElement | None] = mapped_column(Geometry("POINT", srid=4326, spatial_index=False))
    snap_distance_m: Mapped[float | None]
