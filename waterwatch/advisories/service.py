"""Keeps the level of a reach or lake equal to the highest severity among its open incidents."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from waterwatch.advisories import queries
from waterwatch.advisories.tables import Advisory
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor

CONFIRMED = "confirmed"
TOPIC_CHANGED = "advisories.changed"


@dataclass(frozen=True)
class Change:
    """A level that changed; None stands for "no warning"."""

    before: int | None
    after: int | None


def refresh(session: Session, water_feature_id: uuid.UUID, *, actor: Actor, now: datetime) -> Change | None:
    """Recompute the confirmed level of one reach or lake; returns the change, or None when nothing changed.

    The row of the water is locked first, so two incidents on one water that change at once cannot each overlook the
    other: the second waits and then reads what the first committed.
    """
    session.execute(text("SELECT 1 FROM water_feature WHERE id = :id FOR NO KEY UPDATE"), {"id": water_feature_id})
    session.flush()
    before, after = queries.levels_of(session, water_feature_id)
    if before == after:
        return None
    if after is None:
        session.execute(
            delete(Advisory).where(Advisory.water_feature_id == water_feature_id, Advisory.basis == CONFIRMED)
        )
    else:
        statement = insert(Advisory).values(
            water_feature_id=water_feature_id, basis=CONFIRMED, level=after, since=now, changed_at=now
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["water_feature_id", "basis"], set_={"level": after, "changed_at": now}
            )
        )
    audit.record(
        session,
        action="advisory.changed",
        subject_kind="water_feature",
        subject_id=water_feature_id,
        actor=actor,
        now=now,
        before={"level": before},
        after={"level": after},
    )
    outbox.emit(session, TOPIC_CHANGED, {"water_feature_id": str(water_feature_id)}, now=now)
    return Change(before, after)
