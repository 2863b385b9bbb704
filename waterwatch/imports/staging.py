"""Staging: rows as they were read, in tables of their own, batch by batch, each batch a transaction with its place.

Unlogged tables in the schema ``staging``: what a crash of the database empties is read again. Nothing of the live map
is touched here, so a run may be killed at any instant and goes on where it stopped.
"""

import uuid
from collections.abc import Iterable

import psycopg
from psycopg import sql

from waterwatch.imports.reading import Batch, Refusal
from waterwatch.imports.rules import STAGED
from waterwatch.kernel.ids import new_id

Connection = psycopg.Connection[tuple[object, ...]]


def table_of(run_id: uuid.UUID) -> sql.Identifier:
    """The staged rows of a run: the columns of :data:`STAGED`, the id each would get, and the water each belongs to."""
    return sql.Identifier("staging", f"row_{run_id.hex}")


def refusals_of(run_id: uuid.UUID) -> sql.Identifier:
    """What a run refused."""
    return sql.Identifier("staging", f"refusal_{run_id.hex}")


def create(connection: Connection, run_id: uuid.UUID, kind: str) -> None:
    """Make a run's tables, for what is staged of this kind."""
    columns = [("id", "uuid"), *((name, "geometry" if name == "geom" else type_) for name, type_ in STAGED[kind])]
    listed = sql.SQL(", ").join(sql.SQL("{} " + type_).format(sql.Identifier(name)) for name, type_ in columns)
    connection.execute(sql.SQL("CREATE UNLOGGED TABLE {} ({})").format(table_of(run_id), listed))
    connection.execute(
        sql.SQL("CREATE UNLOGGED TABLE {} (row_number int8, key text, code text, detail text)").format(
            refusals_of(run_id)
        )
    )


def drop(connection: Connection, run_id: uuid.UUID) -> None:
    """Remove a run's tables, if they are there."""
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}, {}").format(table_of(run_id), refusals_of(run_id)))


def add(connection: Connection, run_id: uuid.UUID, kind: str, batch: Batch) -> int:
    """Copy a batch in; the number of rows."""
    names = ["id", *(name for name, _type in STAGED[kind])]
    copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        table_of(run_id), sql.SQL(", ").join(map(sql.Identifier, names))
    )
    count = len(batch.columns[0])
    ids = (new_id() for _ in range(count))
    with connection.cursor() as cursor, cursor.copy(copy) as to_table:
        to_table.set_types(["uuid", *(type_ for _name, type_ in STAGED[kind])])
        for row in zip(ids, *batch.columns, strict=True):
            to_table.write_row(row)
    refuse(connection, run_id, batch.refusals)
    return count


def refuse(connection: Connection, run_id: uuid.UUID, refusals: Iterable[Refusal]) -> None:
    """Write down what was refused."""
    listed = list(refusals)
    if not listed:
        return
    copy = sql.SQL("COPY {} FROM STDIN").format(refusals_of(run_id))
    with connection.cursor() as cursor, cursor.copy(copy) as to_table:
        for refusal in listed:
            to_table.write_row((refusal.row, refusal.key, refusal.code, refusal.detail))


def count(connection: Connection, run_id: uuid.UUID) -> int | None:
    """How many rows are staged, or None where the table is gone."""
    table = table_of(run_id)
    found = connection.execute("SELECT to_regclass(%s)", [table.as_string(connection)]).fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table)).fetchone()
    assert row is not None
    return int(str(row[0]))
