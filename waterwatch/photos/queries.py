"""Answers about photos."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session

from waterwatch.photos.rules import (
    PHASH_BANDS,
    PHASH_NEAR_BITS,
    PHASH_TELLS_APART,
    Rectangle,
    does_hash_tell,
    near_bands,
)
from waterwatch.photos.tables import Photo


@dataclass(frozen=True)
class StoredPicture:
    """Where a rebuilt picture lies. ``is_pending``: it is being made anew, and may show what it must not."""

    key: str
    bytes: int
    is_pending: bool


_DERIVATIVE = text("""
SELECT d.key, d.bytes, p.redaction_wanted_at IS NOT NULL AS is_pending
FROM photo_derivative d JOIN photo p ON p.id = d.photo_id WHERE d.photo_id = :photo_id AND d.size_px = :size_px
""")


def derivative(session: Session, photo_id: uuid.UUID, size_px: int) -> StoredPicture | None:
    """The rebuilt picture of one size, once the photo is ready."""
    row = session.execute(_DERIVATIVE, {"photo_id": photo_id, "size_px": size_px}).first()
    return StoredPicture(**row._mapping) if row else None


_IS_KNOWN = text("SELECT EXISTS (SELECT FROM photo WHERE id = :photo_id)")


def is_known(session: Session, photo_id: uuid.UUID) -> bool:
    """Whether a photo has arrived whole."""
    return bool(session.execute(_IS_KNOWN, {"photo_id": photo_id}).scalar_one())


def lock_photo(session: Session, photo_id: uuid.UUID) -> Photo | None:
    """A photo's row, locked until the transaction ends; None when there is none (any more)."""
    session.flush()
    statement = select(Photo).where(Photo.id == photo_id).with_for_update().execution_options(populate_existing=True)
    return session.scalars(statement).one_or_none()


@dataclass(frozen=True)
class Claimable:
    """A photo that arrived before its report. ``report_id``: the report that names it already."""

    photo_id: uuid.UUID
    sha256: bytes
    state: str
    report_id: uuid.UUID | None


_LOCK = text("""
SELECT p.id AS photo_id, p.sha256, p.state, rp.report_id
FROM photo p LEFT JOIN report_photo rp ON rp.photo_id = p.id
WHERE p.id = ANY(:ids) ORDER BY p.id FOR UPDATE OF p
""").bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))


def lock_claimable(session: Session, photo_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Claimable]:
    """Photos a report wants to name, locked until the transaction ends: none settles or is deleted meanwhile."""
    rows = session.execute(_LOCK, {"ids": list(photo_ids)})
    return {row.photo_id: Claimable(*row) for row in rows}


@dataclass(frozen=True)
class RedactionOrder:
    """Pictures that do not show yet what their redactions say, and what to make them from.

    ``rectangles`` None: nothing was ever covered or uncovered in it, so the detectors are to look first.
    """

    wanted_at: datetime
    source_key: str
    rectangles: tuple[Rectangle, ...] | None


@dataclass(frozen=True)
class Redaction:
    """One part of a photo that is covered."""

    redaction_id: uuid.UUID
    photo_id: uuid.UUID
    kind: str
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Redactable:
    """What a moderator may do to a photo. ``is_pending``: its pictures are being made anew.

    ``version`` changes with the pictures, ``width`` and ``height`` are those of the 1024 px one, ``original_until`` is
    when the sealed original is deleted; None: it is.
    """

    version: str
    width: int
    height: int
    original_until: datetime | None
    is_pending: bool
    redactions: tuple[Redaction, ...]

    @property
    def has_original(self) -> bool:
        """Whether parts may be uncovered again, and the original demanded."""
        return self.original_until is not None


_ORDER = text("""
SELECT redaction_wanted_at AS wanted_at,
       coalesce(original_key, (SELECT key FROM photo_derivative WHERE photo_id = :id ORDER BY size_px DESC LIMIT 1)),
       EXISTS (SELECT FROM photo_redaction WHERE photo_id = :id) AS has_redactions
FROM photo WHERE id = :id AND redaction_wanted_at IS NOT NULL
""")
_STANDING = text("""
SELECT id AS redaction_id, photo_id, kind, "left", top, width, height FROM photo_redaction
WHERE photo_id = ANY(:ids) AND removed_at IS NULL ORDER BY created_at, id
""").bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))
_REDACTABLE = text("""
SELECT p.id, right(d.id::text, 12) AS version, d.width, d.height,
       CASE WHEN p.original_key IS NOT NULL THEN p.original_delete_after END AS original_until,
       p.redaction_wanted_at IS NOT NULL AS is_pending
FROM photo p JOIN photo_derivative d ON d.photo_id = p.id AND d.size_px = 1024
WHERE p.id = ANY(:ids) AND p.state = 'ready'
""").bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))


def redaction_order(session: Session, photo_id: uuid.UUID) -> RedactionOrder | None:
    """What is to be made anew of a photo; None when its pictures are as they should be."""
    row = session.execute(_ORDER, {"id": photo_id}).first()
    if row is None:
        return None
    boxes = (Redaction(*one) for one in session.execute(_STANDING, {"ids": [photo_id]}))
    rectangles = tuple(Rectangle(box.kind, box.left, box.top, box.width, box.height) for box in boxes)
    return RedactionOrder(row[0], row[1], rectangles if row.has_redactions else None)


def redactable(session: Session, photo_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Redactable]:
    """What is covered in each of some photos that are ready. Two statements, however many photos."""
    boxes: dict[uuid.UUID, list[Redaction]] = {}
    for one in session.execute(_STANDING, {"ids": list(photo_ids)}):
        boxes.setdefault(one.photo_id, []).append(Redaction(*one))
    rows = session.execute(_REDACTABLE, {"ids": list(photo_ids)})
    return {
        row.id: Redactable(
            row.version, row.width, row.height, row.original_until, row.is_pending, tuple(boxes.get(row.id, ()))
        )
        for row in rows
    }


def standing_redactions(session: Session, photo_id: uuid.UUID) -> int:
    """How many parts of a photo are covered."""
    return len(session.execute(_STANDING, {"ids": [photo_id]}).all())


@dataclass(frozen=True)
class AlikePhoto:
    """Another photo that shows the same. ``bits``: in how many of 64 the perceptual hashes differ, 0 to 7."""

    photo_id: uuid.UUID
    bits: int
    is_same_file: bool


# A branch a band, so that each is answered from its own index alone; Python and SQL share the bands and the condition.
_NEAR = " UNION ".join(
    f"""SELECT id, bit_count((phash # :phash)::bit(64))::int AS bits, false AS is_same_file FROM photo
        WHERE (phash & '{mask}'::bigint) = ANY(:band_{number}) AND {PHASH_TELLS_APART}
          AND bit_count((phash # :phash)::bit(64)) <= {PHASH_NEAR_BITS}"""  # noqa: S608  # names of our own
    for number, mask in enumerate(PHASH_BANDS)
)
_ALIKE = text(f"""
SELECT id AS photo_id, min(bits) AS bits, bool_or(is_same_file) AS is_same_file FROM (
    {_NEAR}
    UNION SELECT id, 0, true FROM photo WHERE sha256 = :sha256 AND state = 'ready') alike
WHERE id <> :id GROUP BY id ORDER BY bits, is_same_file DESC, id LIMIT :limit
""").bindparams(  # noqa: S608  # names of our own
    *(bindparam(f"band_{number}", type_=ARRAY(BigInteger)) for number in range(len(PHASH_BANDS))),
    bindparam("phash", type_=BigInteger),
)
_FINGERPRINTS = text("SELECT phash, sha256 FROM photo WHERE id = :id AND phash IS NOT NULL")


def photos_alike(session: Session, photo_id: uuid.UUID, *, limit: int) -> list[AlikePhoto]:
    """The photos of all history that show the same as one photo, nearest first, at most ``limit``.

    The same bytes, or perceptual hashes within :data:`PHASH_NEAR_BITS`: every such one is found, by index scans whose
    cost hardly grows with history (``bench/duplicates.py``). A plain picture has only its bytes to be known by.
    """
    row = session.execute(_FINGERPRINTS, {"id": photo_id}).first()
    if row is None:
        return []
    bands = near_bands(row.phash) if does_hash_tell(row.phash) else [[] for _band in PHASH_BANDS]
    values = {"id": photo_id, "phash": row.phash, "sha256": row.sha256, "limit": limit}
    values |= {f"band_{number}": band for number, band in enumerate(bands)}
    return [AlikePhoto(*found) for found in session.execute(_ALIKE, values)]
