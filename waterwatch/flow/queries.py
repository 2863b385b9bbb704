"""The network as it stands in the database, read as rows of numbers of one width."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.flow.rules import ARM, ROW

_VERSION = text("SELECT version FROM water_network")
# Thousands of features in one row of arrays: a row of the answer each costs more to pass on than to find.
_ROWS = """
COPY (
    SELECT array_agg(f.feature_id), array_agg(coalesce(below.feature_id, 0)), array_agg(coalesce(lake.feature_id, 0)),
           array_agg(coalesce(f.length_km, 'NaN')::float4), array_agg(coalesce(f.upland_skm, 'NaN')::float4),
           array_agg(coalesce(f.dis_av_cms, 'NaN')::float4), array_agg(f.kind = 'lake'),
           array_agg(coalesce(f.slope, 'NaN')::float4), array_agg(b.kind = 'reservoir')
    FROM water_feature f
    JOIN water_body b ON b.id = f.water_body_id
    LEFT JOIN water_feature below ON below.id = f.next_down_id AND below.retired_at IS NULL
    LEFT JOIN water_feature lake ON lake.id = f.lake_id AND lake.retired_at IS NULL
    WHERE f.retired_at IS NULL GROUP BY f.feature_id >> 14
) TO STDOUT (FORMAT BINARY)
"""
_ARMS = """
COPY (
    SELECT array_agg(upper.feature_id), array_agg(lower.feature_id)
    FROM water_link l
    JOIN water_feature upper ON upper.id = l.upper_id JOIN water_feature lower ON lower.id = l.lower_id
    WHERE upper.retired_at IS NULL AND lower.retired_at IS NULL GROUP BY upper.feature_id >> 14
) TO STDOUT (FORMAT BINARY)
"""
_PLANNING = text("SET LOCAL work_mem = '256MB'; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 2")
# COPY's binary format (https://www.postgresql.org/docs/15/sql-copy.html) and that of arrays (array_send in
# src/backend/utils/adt/arrayfuncs.c), big-endian: lengths before values, and nothing here is ever null.
_HEADER_BYTES = 19
_END = -1  # where the next row would tell how many fields it has
_ARRAY_HEADER_BYTES = 20  # dimensions, whether there are nulls, type of elements, length, lower bound


def version(session: Session) -> int:
    """Which network the database has; every change of it counts on."""
    found: int = session.execute(_VERSION).scalar_one()
    return found


def read_rows(session: Session) -> NDArray[np.void]:
    """Every living reach and lake (:data:`ROW`), in no order."""
    session.execute(_PLANNING)
    return _copied(session, _ROWS, ROW, [">i8", ">i8", ">i8", ">f4", ">f4", ">f4", ">i1", ">f4", ">i1"])


def read_arms(session: Session) -> NDArray[np.void]:
    """Every way down beside the main one (:data:`ARM`)."""
    return _copied(session, _ARMS, ARM, [">i8", ">i8"])


def _copied(session: Session, statement: str, row: np.dtype[np.void], types: list[str]) -> NDArray[np.void]:
    """What a statement answers in rows of arrays, as one array of ``row``; ``types``: its fields as they are sent."""
    driver: Any = session.connection().connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as pieces:
        raw = memoryview(b"".join(pieces))
    found: list[NDArray[np.void]] = []
    at = _HEADER_BYTES
    while int.from_bytes(raw[at : at + 2], signed=True) != _END:
        at += 2
        columns = []
        for kind in types:
            end = at + 4 + int.from_bytes(raw[at : at + 4])
            sent = np.dtype([("width", ">i4"), ("value", kind)])
            columns.append(np.frombuffer(raw[at + 4 + _ARRAY_HEADER_BYTES : end], dtype=sent)["value"])
            at = end
        rows = np.empty(len(columns[0]), dtype=row)
        for name, column in zip(row.names or (), columns, strict=True):
            rows[name] = column
        found.append(rows)
    return np.concatenate(found) if found else np.empty(0, dtype=row)
