"""What is asked of watches. Nothing here is ever shown: neither who watches a water, nor how many do."""

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Select, Uuid, and_, bindparam, delete, func, or_, select, text
from sqlalchemy.orm import Session

from waterwatch.watches.rules import PAUSE, RED, warning_waits
from waterwatch.watches.tables import Watch, WatchTold


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
               AND available_at > :now AND payload ->> :name = :value)
""")
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('waterwatch.watches.approaching:' || :id, 0))")
_STILL_WARNED = text("""
SELECT DISTINCT w.water_body_id FROM water_feature w
JOIN downstream_reach r ON r.feature_id = w.feature_id JOIN downstream_forecast f ON f.incident_id = r.incident_id
WHERE w.water_body_id = ANY(:ids) AND f.state = 'standing' AND r.public_at <= :now AND r.lapses_at > :now
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
_WARNING = text("""
SELECT DISTINCT r.incident_id FROM water_feature w
JOIN downstream_reach r ON r.feature_id = w.feature_id JOIN downstream_forecast f ON f.incident_id = r.incident_id
WHERE w.water_body_id = :id AND f.state = 'standing' AND r.public_at <= :now AND r.lapses_at > :now
ORDER BY r.incident_id
""")
_CODE_OF = text("SELECT code FROM incident WHERE id = :id")
_FORGET_TOLD = text("""
WITH gone AS (
    DELETE FROM watch_told t USING downstream_forecast f
    WHERE f.incident_id = t.incident_id AND f.state <> 'standing' AND f.state_since < :before RETURNING 1)
SELECT count(*) FROM gone
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
    """Whether the same job waits already for a later hour. ``payload`` names one thing."""
    [(name, value)] = payload.items()
    values = {"topic": topic, "besides": besides, "now": now, "name": name, "value": value}
    return bool(session.execute(_IS_ORDERED, values).scalar_one())


def unconfirmed(session: Session, *, asked_before: datetime, limit: int) -> list[uuid.UUID]:
    """Watches whose address never said that it wants them."""
    statement = select(Watch.id).where(Watch.confirmed_at.is_(None), Watch.asked_at < asked_before)
    return list(session.scalars(statement.order_by(Watch.asked_at).limit(limit)))


def one_at_a_time(session: Session, incident_id: uuid.UUID) -> None:
    """Let one transaction at a time tell of an incident: two would each find the same people untold."""
    session.execute(_ONE_AT_A_TIME, {"id": str(incident_id)})


def lock_untold(
    session: Session,
    incident_id: uuid.UUID,
    coming: Collection[uuid.UUID],
    level: int | None,
    *,
    now: datetime,
    limit: int,
) -> list[Watch]:
    """Watches that may be told now what they do not know of this incident's warning, locked in the order of their ids.

    Of the waters ``coming``, which it warns at ``level``: those that know of no warning from it, or of a milder one. Of
    all others: those that were told of one. In one statement: whoever tells watches of anything locks them in the same
    order, and so nobody waits for another in a circle.
    """
    rested = or_(Watch.told_at.is_(None), Watch.told_at <= now - PAUSE)
    untold = and_(_warned(coming), rested)
    if level is not None:
        unwarned = _unwarned(coming, level)
        untold = or_(untold, and_(unwarned, rested) if warning_waits(level) else unwarned)
    statement = _told(incident_id).where(untold).order_by(Watch.id).limit(limit).with_for_update(of=Watch)
    return list(session.scalars(statement.execution_options(populate_existing=True)))


def next_warning_at(
    session: Session, incident_id: uuid.UUID, water_body_ids: Collection[uuid.UUID], level: int | None
) -> datetime | None:
    """When the first of those that were told of something too lately may be told; None where nobody waits."""
    waiting = _warned(water_body_ids)
    if level is not None:
        waiting = or_(waiting, _unwarned(water_body_ids, level))
    subject = _told(incident_id).where(waiting).with_only_columns(func.min(Watch.told_at))
    found: datetime | None = session.execute(subject).scalar_one()
    return None if found is None else found + PAUSE


def waters_still_warned(
    session: Session, water_body_ids: Collection[uuid.UUID], *, now: datetime
) -> frozenset[uuid.UUID]:
    """Which of these waters any public forecast warns now."""
    return frozenset(session.execute(_STILL_WARNED, {"ids": list(water_body_ids), "now": now}).scalars())


def incidents_warning(session: Session, water_body_id: uuid.UUID, *, now: datetime) -> list[uuid.UUID]:
    """The incidents whose public forecasts warn a water now. One query."""
    return list(session.execute(_WARNING, {"id": water_body_id, "now": now}).scalars())


def code_of(session: Session, incident_id: uuid.UUID) -> str:
    """The code an incident's page is found by. Raises ``NoResultFound``."""
    return str(session.execute(_CODE_OF, {"id": incident_id}).scalar_one())


def forget_told_of(session: Session, incident_id: uuid.UUID, watch_ids: Collection[uuid.UUID]) -> None:
    """These have been told that the warning from this incident is over."""
    statement = delete(WatchTold).where(WatchTold.incident_id == incident_id, WatchTold.watch_id.in_(watch_ids))
    session.execute(statement)


def forget_told(session: Session, *, before: datetime) -> int:
    """Forget who was told of what has ended before then. Returns how many rows went."""
    return int(session.execute(_FORGET_TOLD, {"before": before}).scalar_one())


def _told(incident_id: uuid.UUID) -> Select[Watch]:
    joined = and_(WatchTold.watch_id == Watch.id, WatchTold.incident_id == incident_id)
    return select(Watch).outerjoin(WatchTold, joined)


def _unwarned(water_body_ids: Collection[uuid.UUID], level: int) -> ColumnElement[bool]:
    return and_(
        Watch.water_body_id.in_(water_body_ids),
        Watch.confirmed_at.is_not(None),
        or_(WatchTold.level.is_(None), WatchTold.level < level),
    )


def _warned(besides: Collection[uuid.UUID]) -> ColumnElement[bool]:
    return and_(WatchTold.level.is_not(None), Watch.water_body_id.not_in(besides))
