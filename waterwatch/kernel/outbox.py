"""The outbox: what must still happen, written in the transaction that made it necessary.

PostgreSQL is the truth, Redis a doorbell. The relay leases rows (SKIP LOCKED) and rings a worker with the row's id and
lease number; the job marks the row done in its own last transaction. Whatever is lost in between (a flushed Redis, a
killed process) comes back when the lease runs out. Times of leases are the database's clock: machines may disagree.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, SmallInteger, Text, insert, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from waterwatch.kernel import gathering
from waterwatch.kernel.db import Base
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.log import current_request_id

CHANNEL = "outbox"  # the NOTIFY channel a trigger of migration 0001 rings after every insert
URGENT, NORMAL, BACKGROUND = 1, 5, 9


class OutboxRow(Base):
    """One thing to do. Lower ``priority`` goes first."""

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint("priority BETWEEN 0 AND 9", name="priority"),
        CheckConstraint("done_at IS NULL OR dead_at IS NULL", name="done_or_dead"),
        CheckConstraint("attempts >= 0 AND lease_no >= attempts", name="attempts"),
        Index(
            "ix_outbox_open",
            "priority",
            "available_at",
            postgresql_where=text("done_at IS NULL AND dead_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]]
    priority: Mapped[int] = mapped_column(SmallInteger)
    created_at: Mapped[datetime]
    available_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    is_rung: Mapped[bool] = mapped_column(server_default=text("false"))  # leased for a worker that has not begun it
    lease_no: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    done_at: Mapped[datetime | None]
    dead_at: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)


@dataclass(frozen=True)
class Ring:
    """A leased row to ring a worker for."""

    id: uuid.UUID
    lease_no: int
    topic: str


@dataclass(frozen=True)
class Message:
    """A row a worker has begun. ``attempt`` counts from 1; ``age`` is the time since the row was written."""

    id: uuid.UUID
    lease_no: int
    topic: str
    payload: dict[str, Any]
    attempt: int
    age: timedelta
    request_id: str | None
    last_error: str | None


def emit(
    session: Session,
    topic: str,
    payload: dict[str, Any],
    *,
    now: datetime,
    priority: int = NORMAL,
    available_at: datetime | None = None,
) -> None:
    """Write one row in the caller's transaction. ``payload`` holds identifiers only: the job reads the truth itself."""
    values = row(topic, payload, now=now, priority=priority, available_at=available_at)
    if (gathered := gathering.waiting(session)) is not None:
        gathered.orders.append(values)
    else:
        session.execute(insert(OutboxRow).values(**values))


_POSTPONE = text("""
UPDATE outbox SET available_at = :until
WHERE done_at IS NULL AND dead_at IS NULL AND available_at < :until AND topic = :topic AND payload ->> :name = :value
""")


def postpone(session: Session, topic: str, name: str, value: uuid.UUID, *, until: datetime) -> None:
    """Let what is ordered for one thing be done no sooner. ``name`` is what the payload calls it.

    Assumes that little is open: of that, all is looked through.
    """
    session.execute(_POSTPONE, {"topic": topic, "name": name, "value": str(value), "until": until})


def row(
    topic: str,
    payload: dict[str, Any],
    *,
    now: datetime,
    priority: int = NORMAL,
    available_at: datetime | None = None,
) -> dict[str, Any]:
    """The row :func:`emit` writes, for a statement that writes several tables at once."""
    return {
        "id": new_id(),
        "topic": topic,
        "payload": payload,
        "priority": priority,
        "created_at": now,
        "available_at": available_at or now,
        "is_rung": False,
        "lease_no": 0,
        "attempts": 0,
        "request_id": current_request_id(),
    }


_HASTEN = text("""
UPDATE outbox SET available_at = coalesce(:at, available_at), priority = least(priority, :priority)
WHERE done_at IS NULL AND dead_at IS NULL AND topic = :topic AND payload ->> :name = :value
""")


def hasten(session: Session, topic: str, name: str, value: uuid.UUID, *, at: datetime | None, priority: int) -> None:
    """Let what is ordered for one thing be done from ``at`` on (None: no sooner than before), and ahead of others.

    ``name`` is what the payload calls it. Assumes that little is open, as :func:`postpone` does."""
    session.execute(_HASTEN, {"at": at, "priority": priority, "topic": topic, "name": name, "value": str(value)})


_LEASE = text("""
UPDATE outbox SET leased_until = clock_timestamp() + make_interval(secs => :lease_s), lease_no = lease_no + 1,
                  is_rung = true
WHERE id IN (
    SELECT id FROM outbox
    WHERE done_at IS NULL AND dead_at IS NULL AND available_at <= clock_timestamp()
      AND (leased_until IS NULL OR leased_until < clock_timestamp())
      AND (CAST(:topics AS text[]) IS NULL OR topic = ANY(CAST(:topics AS text[])))
    ORDER BY priority, available_at
    LIMIT GREATEST(0, :window - (
        SELECT count(*) FROM outbox
        WHERE done_at IS NULL AND dead_at IS NULL AND leased_until >= clock_timestamp() AND (is_rung OR NOT :only_rung)
          AND (CAST(:topics AS text[]) IS NULL OR topic = ANY(CAST(:topics AS text[])))))
    FOR UPDATE SKIP LOCKED)
RETURNING id, lease_no, topic, priority, available_at
""")


def lease(
    session: Session,
    *,
    window: int,
    lease_s: float,
    topics: Sequence[str] | None = None,
    counts_begun: bool = True,
) -> list[Ring]:
    """Lease open rows of ``topics`` (None: all), most urgent first, so that at most ``window`` of them are out.

    The window keeps the order in the database: a red case overtakes a thousand waiting mails, and rows do not sit in
    Redis until their lease runs out. Counted per queue, so that hanging mails never use up the window of the photos;
    see ``docs/decisions/0004``. Two callers at the same moment may together exceed it, once. Without ``counts_begun``
    only those count that nobody has begun: a job that goes on with its kind (:func:`take`) holds as many as it likes.
    """
    values = {
        "only_rung": not counts_begun,
        "window": window,
        "lease_s": lease_s,
        "topics": None if topics is None else list(topics),
    }
    rows = session.execute(_LEASE, values).all()
    return [Ring(row.id, row.lease_no, row.topic) for row in sorted(rows, key=lambda r: (r.priority, r.available_at))]


_BEGIN = text("""
UPDATE outbox SET attempts = attempts + 1, leased_until = clock_timestamp() + make_interval(secs => :lease_s),
                  is_rung = false
WHERE id = :id AND lease_no = :lease_no AND attempts < lease_no AND leased_until IS NOT NULL
  AND done_at IS NULL AND dead_at IS NULL
RETURNING topic, payload, attempts, clock_timestamp() - created_at AS age, request_id, last_error
""")


def begin(session: Session, row_id: uuid.UUID, lease_no: int, *, lease_s: float) -> Message | None:
    """Begin a rung row: counts the attempt and renews the lease.

    None when it is done, was given back, or was leased anew since: the ring is then out of date. A ring that reaches
    two workers is begun by one of them, unless an attempt before it was not counted (see :func:`retry`); handlers are
    idempotent for that, and for every lease that runs out while its worker still lives.
    """
    row = session.execute(_BEGIN, {"id": row_id, "lease_no": lease_no, "lease_s": lease_s}).first()
    if row is None:
        return None
    return Message(row_id, lease_no, row.topic, row.payload, row.attempts, row.age, row.request_id, row.last_error)


_TAKE = text("""
UPDATE outbox SET leased_until = clock_timestamp() + make_interval(secs => :lease_s), lease_no = lease_no + 1,
                  attempts = attempts + 1, is_rung = false
WHERE id IN (
    SELECT id FROM outbox
    WHERE done_at IS NULL AND dead_at IS NULL AND available_at <= clock_timestamp()
      AND (leased_until IS NULL OR leased_until < clock_timestamp() OR is_rung) AND topic = :topic
    ORDER BY priority, available_at, id LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING id, lease_no, topic, payload, attempts, clock_timestamp() - created_at AS age, request_id, last_error,
          priority, available_at
""")


def take(session: Session, topic: str, *, limit: int, lease_s: float) -> list[Message]:
    """Lease and begin at most ``limit`` further rows of a topic, most urgent first: for a job that goes on with its
    kind while it has a worker. What was rung for but nobody has begun is taken, too: its ring is out of date then, and
    would have waited behind this very job."""
    rows = session.execute(_TAKE, {"topic": topic, "limit": limit, "lease_s": lease_s}).all()
    return [
        Message(row.id, row.lease_no, row.topic, row.payload, row.attempts, row.age, row.request_id, row.last_error)
        for row in sorted(rows, key=lambda row: (row.priority, row.available_at, row.id))
    ]


def finish_all(session: Session, row_ids: Sequence[uuid.UUID]) -> None:
    """Mark rows done, as :func:`finish` does."""
    session.execute(
        text("""UPDATE outbox SET done_at = clock_timestamp(), leased_until = NULL
                WHERE id = ANY(:ids) AND done_at IS NULL AND dead_at IS NULL"""),
        {"ids": list(row_ids)},
    )


def renew(session: Session, row_id: uuid.UUID, lease_no: int, *, lease_s: float) -> bool:
    """Prolong the lease of a row that is being worked on. False when it is no longer this lease's."""
    result = session.execute(
        text("""UPDATE outbox SET leased_until = clock_timestamp() + make_interval(secs => :lease_s)
                WHERE id = :id AND lease_no = :lease_no AND leased_until IS NOT NULL
                  AND done_at IS NULL AND dead_at IS NULL RETURNING id"""),
        {"id": row_id, "lease_no": lease_no, "lease_s": lease_s},
    )
    return result.first() is not None


def finish(session: Session, row_id: uuid.UUID) -> None:
    """Mark a row done, in the job's last transaction. Idempotent."""
    session.execute(
        text("""UPDATE outbox SET done_at = clock_timestamp(), leased_until = NULL
                WHERE id = :id AND done_at IS NULL AND dead_at IS NULL"""),
        {"id": row_id},
    )


def absorb(session: Session, message: Message) -> int:
    """Mark done every other open row of the topic that nobody has begun; returns how many.

    For topics where one run serves all requests (publishing the map): call it in a transaction of its own before
    reading what the run will publish. What it absorbs was committed, so the reading that follows sees it; should the
    run fail, its own row remains and is retried.
    """
    result = session.execute(
        text("""WITH gone AS (
                UPDATE outbox SET done_at = clock_timestamp(), leased_until = NULL
                WHERE topic = :topic AND id <> :id AND attempts = 0 AND done_at IS NULL AND dead_at IS NULL
                  AND available_at <= clock_timestamp()
                RETURNING 1) SELECT count(*) FROM gone"""),
        {"topic": message.topic, "id": message.id},
    )
    return int(result.scalar_one())


def retry(
    session: Session, row_id: uuid.UUID, lease_no: int, *, after_s: float, error: str, is_counted: bool = True
) -> None:
    """Give a row back, to be leased again ``after_s`` seconds from now. ``error`` is a code or a class name.

    ``is_counted=False``: the attempt says nothing about the work itself (a server was away), so it is not counted.
    Does nothing for a lease that is over.
    """
    session.execute(
        text("""UPDATE outbox SET leased_until = NULL, is_rung = false, last_error = :error,
                attempts = CASE WHEN :is_counted THEN attempts ELSE greatest(0, attempts - 1) END,
                available_at = clock_timestamp() + make_interval(secs => :after_s)
                WHERE id = :id AND lease_no = :lease_no AND leased_until IS NOT NULL
                  AND done_at IS NULL AND dead_at IS NULL"""),
        {
            "id": row_id,
            "lease_no": lease_no,
            "after_s": after_s,
            "error": error[:200],
            "is_counted": is_counted,
        },
    )


def bury(session: Session, row_id: uuid.UUID, lease_no: int, *, error: str) -> bool:
    """Give a row up: a dead letter, kept until a person has looked. Returns whether this call buried it."""
    result = session.execute(
        text("""UPDATE outbox SET dead_at = clock_timestamp(), leased_until = NULL, last_error = :error
                WHERE id = :id AND lease_no = :lease_no AND done_at IS NULL AND dead_at IS NULL RETURNING id"""),
        {"id": row_id, "lease_no": lease_no, "error": error[:200]},
    )
    return result.first() is not None


@dataclass(frozen=True)
class Depth:
    """How full the outbox is: rows waiting (leased ones included), dead letters, age of the oldest open row in s."""

    waiting: int
    dead: int
    oldest_s: float


def depth(session: Session) -> Depth:
    """Counts for readiness, metrics and the sweep."""
    row = session.execute(
        text("""SELECT count(*) FILTER (WHERE dead_at IS NULL) AS waiting,
                count(*) FILTER (WHERE dead_at IS NOT NULL) AS dead,
                coalesce(extract(epoch FROM clock_timestamp()
                    - min(available_at) FILTER (WHERE dead_at IS NULL)), 0)::float8 AS oldest_s
                FROM outbox WHERE done_at IS NULL""")
    ).one()
    return Depth(row.waiting, row.dead, max(0.0, row.oldest_s))


def prune(session: Session, *, older_than: timedelta) -> int:
    """Delete rows done longer ago than ``older_than``; dead letters stay. Returns how many went."""
    result = session.execute(
        text("""WITH gone AS (DELETE FROM outbox WHERE done_at < clock_timestamp() - :age RETURNING 1)
                SELECT count(*) FROM gone"""),
        {"age": older_than},
    )
    return int(result.scalar_one())
