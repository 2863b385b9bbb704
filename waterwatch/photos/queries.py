"""Answers about photos."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class StoredPicture:
    """Where a rebuilt picture lies."""

    key: str
    bytes: int


_DERIVATIVE = text("SELECT key, bytes FROM photo_derivative WHERE photo_id = :photo_id AND size_px = :size_px")


def derivative(session: Session, photo_id: uuid.UUID, size_px: int) -> StoredPicture | None:
    """The rebuilt picture of one size, once the photo is ready."""
    row = session.execute(_DERIVATIVE, {"photo_id": photo_id, "size_px": size_px}).first()
    return StoredPicture(**row._mapping) if row else None


_IS_KNOWN = text("SELECT EXISTS (SELECT FROM photo WHERE id = :photo_id)")


def is_known(session: Session, photo_id: uuid.UUID) -> bool:
    """Whether a photo has arrived whole."""
    return bool(session.execute(_IS_KNOWN, {"photo_id": photo_id}).scalar_one())


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
