"""What one act adds: many small rows, written by one statement at its end.

A moderator's grade writes five audit entries, three outbox rows and the rows of five slices, none of which knows the
others. Each row by itself was a journey to the database; together they were more than half of the whole.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session, object_mapper

from waterwatch.kernel.db import INSERT_RECORDS, Base, to_records

_KEY = "waterwatch_gathered"
_RECORDS = (("entries", "audit_entry"), ("orders", "outbox"))

Columns = tuple[str, ...]


@dataclass
class Gathered:
    """Rows that wait for the end of the act."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    orders: list[dict[str, Any]] = field(default_factory=list)
    rows: list[Base] = field(default_factory=list)


def waiting(session: Session) -> Gathered | None:
    """Where the running act gathers its rows; None when none does, and each row is written at once."""
    found: Gathered | None = session.info.get(_KEY)
    return found


def put(session: Session, row: Base) -> None:
    """Add a row at the end of the running act; where none gathers, as ``session.add``.

    For what nothing reads back before the act ends, unless it says :func:`write` first: until then the row is in no
    session, and may still be changed.
    """
    rows = waiting(session)
    if rows is None:
        session.add(row)
    else:
        rows.rows.append(row)


def write(session: Session) -> None:
    """Write the rows of the running act that wait, because they are about to be read; what it orders waits on."""
    rows = waiting(session)
    if rows is None or not rows.rows:
        return
    session.flush()
    _write(session, Gathered(rows=rows.rows))
    rows.rows = []


@contextmanager
def gathered(session: Session) -> Iterator[None]:
    """Write the rows of the block when it ends, each table's in their order; an act within one joins it.

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
    _write(session, rows)


def _write(session: Session, gathered: Gathered) -> None:
    values: dict[str, str] = {}
    tables: list[tuple[str, Columns]] = []
    for table, rows in _by_table(gathered.rows).items():
        columns = tuple(sorted({name for row in rows for name in row}))
        tables.append((table, columns))
        values[table] = to_records(rows)
    records = [(name, table) for name, table in _RECORDS if getattr(gathered, name)]
    values |= {name: to_records(getattr(gathered, name)) for name, _table in records}
    if values:
        session.execute(_statement(tuple(tables), tuple(records)), values)


def _by_table(rows: list[Base]) -> dict[str, list[dict[str, Any]]]:
    """Each row as its columns' values; a column that was given none keeps the table's own default."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        mapper = object_mapper(row)
        given = {
            column.name: row.__dict__[attribute.key]
            for attribute in mapper.column_attrs
            for column in attribute.columns
            if row.__dict__.get(attribute.key) is not None
        }
        found.setdefault(str(mapper.local_table), []).append(given)
    return found


@lru_cache(maxsize=256)
def _statement(tables: tuple[tuple[str, Columns], ...], records: tuple[tuple[str, str], ...]) -> TextClause:
    """One statement that writes to all of them: keys between them are checked when it ends."""
    parts = [
        f"{table}_rows AS (INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns)}"  # noqa: S608  # ours
        f" FROM jsonb_populate_recordset(NULL::{table}, CAST(:{table} AS jsonb)))"
        for table, columns in tables
    ]
    parts += [f"{name} AS ({INSERT_RECORDS.format(table=table, rows=f':{name}')})" for name, table in records]
    return text(f"WITH {', '.join(parts)} SELECT")
