"""Answers about photos."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text
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
