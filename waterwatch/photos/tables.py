"""Photos: the sealed original, what it was found to be, and the pictures rebuilt from its pixels."""

import uuid
from datetime import datetime

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
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base
from waterwatch.photos.rules import PHASH_BANDS, PHASH_TELLS_APART

STATES = ("received", "sanitising", "ready", "refused")
SIZES_PX = (2000, 1024, 320)
Digest = bytes  # a name of its own: PhotoDerivative has a column called bytes


class Photo(Base):
    """One photo. ``exif_*`` is evidence for moderators only and never leaves the desk.

    ``unclaimed_until`` is set while no report names the photo; once it has passed the photo is deleted.
    ``redaction_wanted_at`` is set while the pictures do not show what their redactions say.
    """

    __tablename__ = "photo"
    __table_args__ = (
        CheckConstraint("state IN ('received', 'sanitising', 'ready', 'refused')", name="state"),
        CheckConstraint("(state = 'refused') = (refusal_code IS NOT NULL)", name="refused_has_reason"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256"),
        CheckConstraint("original_bytes >= 0", name="original_bytes"),
        CheckConstraint("width > 0 AND height > 0", name="size"),
        CheckConstraint("exif_lon BETWEEN -180 AND 180 AND exif_lat BETWEEN -90 AND 90", name="exif_place"),
        CheckConstraint("(exif_lon IS NULL) = (exif_lat IS NULL)", name="exif_place_whole"),
        Index("ix_photo_deadline", "state_deadline_at", postgresql_where=text("state_deadline_at IS NOT NULL")),
        Index(
            "ix_photo_original_delete_after",
            "original_delete_after",
            postgresql_where=text("original_key IS NOT NULL"),
        ),
        Index(
            "ix_photo_redaction_wanted_at",
            "redaction_wanted_at",
            postgresql_where=text("redaction_wanted_at IS NOT NULL"),
        ),
        Index("ix_photo_sha256", "sha256"),
        Index("ix_photo_unclaimed_until", "unclaimed_until", postgresql_where=text("unclaimed_until IS NOT NULL")),
        *(
            Index(
                f"ix_photo_phash_band_{number}",
                text(f"(phash & '{mask}'::bigint)"),
                postgresql_include=["phash", "id"],
                postgresql_where=text(PHASH_TELLS_APART),
            )
            for number, mask in enumerate(PHASH_BANDS)
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    refusal_code: Mapped[str | None] = mapped_column(Text)
    sha256: Mapped[Digest] = mapped_column(LargeBinary)
    original_key: Mapped[str | None] = mapped_column(Text, unique=True)
    original_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str | None] = mapped_column(Text)
    width: Mapped[int | None] = mapped_column(Integer)
    height: Mapped[int | None] = mapped_column(Integer)
    phash: Mapped[int | None] = mapped_column(BigInteger)
    exif_taken_at: Mapped[datetime | None]
    exif_taken_at_local: Mapped[str | None] = mapped_column(Text)
    exif_lon: Mapped[float | None]
    exif_lat: Mapped[float | None]
    received_at: Mapped[datetime]
    original_delete_after: Mapped[datetime]
    unclaimed_until: Mapped[datetime | None]
    redaction_wanted_at: Mapped[datetime | None]


class PhotoDerivative(Base):
    """One rebuilt picture: JPEG, no metadata, longest edge at most ``size_px``."""

    __tablename__ = "photo_derivative"
    __table_args__ = (
        UniqueConstraint("photo_id", "size_px"),
        CheckConstraint("size_px IN (2000, 1024, 320)", name="size_px"),
        CheckConstraint("width > 0 AND height > 0 AND bytes > 0", name="positive"),
        CheckConstraint("octet_length(sha256) = 32", name="sha256"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    photo_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("photo.id", ondelete="CASCADE"))
    size_px: Mapped[int] = mapped_column(SmallInteger)
    key: Mapped[str] = mapped_column(Text, unique=True)
    bytes: Mapped[int] = mapped_column(Integer)
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    sha256: Mapped[Digest] = mapped_column(LargeBinary)


class PhotoRedaction(Base):
    """A part of a photo nobody may recognise, as fractions of the upright picture; ``made_by`` None: by a detector."""

    __tablename__ = "photo_redaction"
    __table_args__ = (
        CheckConstraint("kind IN ('face', 'plate', 'drawn')", name="kind"),
        CheckConstraint('"left" >= 0 AND top >= 0 AND width > 0 AND height > 0', name="positive"),
        CheckConstraint('"left" + width <= 1.001 AND top + height <= 1.001', name="within"),
        CheckConstraint("(removed_at IS NULL) = (removed_by IS NULL)", name="removed_by_somebody"),
        CheckConstraint("(kind = 'drawn') = (made_by IS NOT NULL)", name="drawn_by_somebody"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    photo_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("photo.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(Text)
    left: Mapped[float]
    top: Mapped[float]
    width: Mapped[float]
    height: Mapped[float]
    score: Mapped[float | None]
    made_by: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime]
    removed_by: Mapped[uuid.UUID | None]
    removed_at: Mapped[datetime | None]
