"""What is asked of watches. Nothing here is ever shown: neither who watches a water, nor how many do."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session

from waterwatch.watches.rules import PAUSE, RED
from waterwatch.watches.tables import Watch


def lock_watch(session: Session, watch_id: uuid.UUID) -> Watch | None:
    """One watch, locked until the transaction ends, or None: it was ended."""
    return _locked(session, Watch.id == watch_id)


def lock_watch_of(session: Session, water_body_id: uuid.UUID, recipient_digest: bytes) -> Watch | None:
    """The watch of one recipient over one water, locked, or None."""
    return _locked(session, Watch.water_body_id == water_body_id, Watch.recipient_digest == recipient_digest)


def _locked(session: Session, *where: ColumnElement[bool]) -> Watch | None:
    statement = select(Watch).where(*where).with_for_update().execution_options(populate_existing=True)
    return session.scalars(statement).one_or_none()


def count_of(session: Session, recipient_digest: bytes) -> int:
    """How many waters one recipient watches."""
    statement = select(func.count()).where(Watch.recipient_digest == recipient_digest)
    return int(session.execute(statement).scalar_one())


def lock_due(
    session: Session, water_body_id: uuid.UUID, level: int | None, *, now: datetime, limit: int
) -> list[Watch]:
    """Watches of a water that know of another level and may be told of this one now; locked, oldest first."""
    statement = (
        select(Watch).where(*_behind(water_body_id, level)).order_by(Watch.id).limit(limit).with_for_update()
    )  # fmt: skip
    if level != RED:
        statement = statement.where((Watch.told_at.is_(None)) | (Watch.told_at <= now - PAUSE))
    return list(session.scalars(statement.execution_options(populate_existing=True)))


def next_due_at(session: Session, water_body_id: uuid.UUID, level: int | None) -> datetime | None:
    """When the first of those that were told too lately may be told; None where nobody is behind."""
    oldest = select(func.min(Watch.told_at)).where(*_behind(water_body_id, level))
    found: datetime | None = session.execute(oldest).scalar_one()
    return None if found is None else found + PAUSE


def _behind(water_body_id: uuid.UUID, level: int | None) -> tuple[ColumnElement[bool], ...]:
    return (
        Watch.water_body_id == water_body_id,
        Watch.confirmed_at.is_not(None),
        Watch.told_level.is_distinct_from(level),
    )


_WATER_OF = text("SELECT water_body_id FROM water_feature WHERE id = :id")
_ADDRESS_OF = text("SELECT public_id FROM water_body WHERE id = :id")
_IS_ORDERED = text("""
SELECT EXISTS (SELECT FROM outbox WHERE topic = :topic AND done_at IS NULL AND dead_at IS NULL AND id <> :besides
               AND available_at > :now AND payload ->> 'water_feature_id' = :water_feature_id)
""")


def water_of(session: Session, water_feature_id: uuid.UUID) -> uuid.UUID | None:
    """The water a reach or lake belongs to."""
    found: uuid.UUID | None = session.execute(_WATER_OF, {"id": water_feature_id}).scalar_one_or_none()
    return found


def address_of(session: Session, water_body_id: uuid.UUID) -> str:
    """A water's page address. Raises ``NoResultFound``."""
    return str(session.execute(_ADDRESS_OF, {"id": water_body_id}).scalar_one())


def is_ordered_for_later(
    session: Session, topic: str, payload: dict[str, Any], *, besides: uuid.UUID, now: datetime
) -> bool:
    """Whether the same job waits already for a later hour."""
    values = {"topic": topic, "besides": besides, "now": now, "water_feature_id": payload["water_feature_id"]}
    return bool(session.execute(_IS_ORDERED, values).scalar_one())


def unconfirmed(session: Session, *, asked_before: datetime, limit: int) -> list[uuid.UUID]:
    """Watches whose address never said that it wants them."""
    statement = select(Watch.id).where(Watch.confirmed_at.is_(None), Watch.asked_at < asked_before)
    return list(session.scalars(statement.order_by(Watch.asked_at).limit(limit)))
