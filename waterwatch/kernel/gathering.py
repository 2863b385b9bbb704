"""What one act puts on record and orders to be done: many small rows, written by one statement at its end.

A moderator's grade writes five audit entries and three outbox rows from five slices, none of which knows the others.
Each row by itself was a journey to the database; together they were a third of the whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel.db import INSERT_RECORDS, to_records

_KEY = "waterwatch_gathered"
_WRITE = text(
    f"WITH entries AS ({INSERT_RECORDS.format(table='audit_entry', rows=':entries')}) "
    + INSERT_RECORDS.format(table="outbox", rows=":orders")
)


@dataclass
class Gathered:
    """Rows that wait for the end of the act."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)


def waiting(session: Session) -> Gathered | None:
    """Where the running act gathers its rows; None when none does, and each row is written at once."""
    found: Gathered | None = session.info.get(_KEY)
    return found


@contextmanager
def gathered(session: Session) -> Iterator[None]:
    """Write the audit entries and outbox rows of the block when it ends, in their order; an act within one joins it.

    Assumes that nothing within the block reads them back. A block that raises writes none of them.
    """
    if waiting(session) is not None:
        yield
        return
    rows = session.info[_KEY] = Gathered()
    try:
        yield
        session.flush()
    finally:
        del session.info[_KEY]
    if rows.entries or rows.orders:
        session.execute(_WRITE, {"entries": to_records(rows.entries), "orders": to_records(rows.orders)})
