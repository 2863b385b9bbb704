"""Rows the tests of likenesses stand on: reports under review with photos whose hashes are given."""

import os
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import IN_WUHAN, insert
from tests.moderation.rows import add_waiting

PHASH = 0x3C_A5_5A_C3_F0_0F_99_66  # 32 bits set, as a photograph's


def signed(value: int) -> int:
    """As PostgreSQL's bigint holds 64 bits."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


def add_photo(
    session: Session, *, now: datetime, phash: int | None = PHASH, sha256: bytes | None = None, state: str = "ready"
) -> uuid.UUID:
    """A photo as the sanitiser leaves it, without files."""
    photo_id = insert(
        session,
        "photo",
        state=state,
        state_since=now,
        sha256=sha256 or os.urandom(32),
        original_bytes=1,
        received_at=now,
        original_delete_after=now,
        phash=None if phash is None else signed(phash),
        refusal_code="undecodable" if state == "refused" else None,
    )
    if state == "ready":
        picture = {"key": f"public/{photo_id}", "bytes": 1, "width": 1024, "height": 768, "sha256": os.urandom(32)}
        insert(session, "photo_derivative", photo_id=photo_id, size_px=1024, **picture)
    return photo_id


def add_report(
    session: Session,
    water_feature_id: uuid.UUID | None,
    *,
    now: datetime,
    photos: list[uuid.UUID] | None = None,
    at: tuple[float, float] = IN_WUHAN,
    **facts: Any,
) -> uuid.UUID:
    """A report under review with its photos."""
    report_id = add_waiting(session, water_feature_id, now=now, at=at, **facts)
    for position, photo_id in enumerate(photos or []):
        insert(session, "report_photo", report_id=report_id, photo_id=photo_id, position=position)
    return report_id


def candidates_of(session: Session, report_id: uuid.UUID) -> dict[uuid.UUID, dict[str, Any]]:
    """The stored candidates of a report, by the other report."""
    rows = session.execute(text("SELECT * FROM duplicate_candidate WHERE report_id = :id"), {"id": report_id})
    return {row["other_report_id"]: dict(row) for row in rows.mappings()}
