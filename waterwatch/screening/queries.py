"""What waits to be screened, in the order it is shown."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Screened:
    """One report that waits to be let pass. ``held_by_other``: another moderator has it open."""

    report_id: uuid.UUID
    code: str
    kind: str
    received_at: datetime
    is_red_flag: bool
    has_dead_animals: bool | None
    held_by_other: bool
    photo_count: int
    cover_photo_id: uuid.UUID | None


_COLUMNS = """
SELECT r.id AS report_id, r.code, r.kind, r.received_at,
       q.urgency = 2 AS is_red_flag, r.has_dead_animals,
       coalesce(q.leased_until > :now AND q.leased_by <> :person_id, false) AS held_by_other,
       photos.count AS photo_count, photos.cover AS cover_photo_id
FROM review_item q JOIN report r ON r.id = q.report_id
CROSS JOIN LATERAL (
    SELECT count(*)::int AS count, (array_agg(p.id ORDER BY rp.position))[1] AS cover
    FROM report_photo rp JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready' WHERE rp.report_id = r.id) photos
WHERE q.set_aside = 'screening'
"""
_ORDER = " ORDER BY is_red_flag DESC, r.received_at, r.id"
_WAITING = text(_COLUMNS + _ORDER + " LIMIT :limit")
_CHOSEN = text(_COLUMNS + " AND r.id = ANY(:ids)" + _ORDER).bindparams(
    bindparam("ids", type_=ARRAY(UUID(as_uuid=True)))
)
_COUNT = text("SELECT count(*)::int FROM review_item WHERE set_aside = 'screening'")
# Locked until the decision is made: a second moderator who decides meanwhile finds them decided.
_LOCKED = text("""
SELECT r.id FROM report r
WHERE r.id = ANY(:ids) AND r.needs_screening AND r.state = 'in_review' AND NOT EXISTS (
    SELECT FROM review_item q WHERE q.report_id = r.id AND q.leased_until > :now AND q.leased_by <> :person_id)
ORDER BY r.id FOR UPDATE OF r
""").bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))


def waiting(session: Session, person_id: uuid.UUID, *, now: datetime, limit: int) -> list[Screened]:
    """The reports to be screened next: those of harm to people or animals first, then the oldest."""
    rows = session.execute(_WAITING, {"person_id": person_id, "now": now, "limit": limit})
    return [Screened(**row._mapping) for row in rows]


def chosen(session: Session, person_id: uuid.UUID, report_ids: Sequence[uuid.UUID], *, now: datetime) -> list[Screened]:
    """Those of some reports that still wait to be screened, in the same order."""
    rows = session.execute(_CHOSEN, {"person_id": person_id, "now": now, "ids": list(report_ids)})
    return [Screened(**row._mapping) for row in rows]


def count(session: Session) -> int:
    """How many wait to be screened."""
    return int(session.execute(_COUNT).scalar_one())


def lock_decidable(
    session: Session, person_id: uuid.UUID, report_ids: Sequence[uuid.UUID], *, now: datetime
) -> Sequence[uuid.UUID]:
    """Those of some reports this moderator may decide on now, locked: none that is decided, or open at another's."""
    values = {"person_id": person_id, "now": now, "ids": list(report_ids)}
    return session.execute(_LOCKED, values).scalars().all()
