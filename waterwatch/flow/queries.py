"""The network as it stands in the database, read as rows of numbers of one width."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.flow.rules import ARM, ROW

_VERSION = text("SELECT version FROM water_network")
_ROWS = """
COPY (
    SELECT f.feature_id, coalesce(below.feature_id, 0), coalesce(lake.feature_id, 0),
           coalesce(f.length_km, 'NaN')::float4, coalesce(f.upland_skm, 'NaN')::float4,
           coalesce(f.dis_av_cms, 'NaN')::float4, coalesce(f.ord_stra, 0)::int2, (f.kind = 'lake')
    FROM water_feature f
    LEFT JOIN water_feature below ON below.id = f.next_down_id AND below.retired_at IS NULL
    LEFT JOIN water_feature lake ON lake.id = f.lake_id AND lake.retired_at IS NULL
    WHERE f.retired_at IS NULL
) TO STDOUT (FORMAT BINARY)
"""
_ARMS = """
COPY (
    SELECT upper.feature_id, lower.feature_id
    FROM water_link l
    JOIN water_feature upper ON upper.id = l.upper_id JOIN water_feature lower ON lower.id = l.lower_id
    WHERE upper.retired_at IS NULL AND lower.retired_at IS NULL
) TO STDOUT (FORMAT BINARY)
"""
_PLANNING = text("SET LOCAL work_mem = '256MB'; SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 2")
# COPY's binary format: https://www.postgresql.org/docs/15/sql-copy.html. No column is ever null, so each row has the
# same width: a count of fields, and before each field its length, all big-endian.
_HEADER_BYTES, _TRAILER_BYTES = 19, 2


def version(session: Session) -> int:
    """Which network the database has; every change of it counts on."""
    found: int = session.execute(_VERSION).scalar_one()
    return found


def read_rows(session: Session) -> NDArray[np.void]:
    """Every living reach and lake (:data:`ROW`), in no order."""
    session.execute(_PLANNING)
    copied = _copied(session, _ROWS, [">i8", ">i8", ">i8", ">f4", ">f4", ">f4", ">i2", ">i1"])
    rows = np.empty(len(copied), dtype=ROW)
    for place, name in enumerate(ROW.names or ()):
        rows[name] = copied[f"value{place}"]
    return rows


def read_arms(session: Session) -> NDArray[np.void]:
    """Every way down beside the main one (:data:`ARM`)."""
    copied = _copied(session, _ARMS, [">i8", ">i8"])
    arms = np.empty(len(copied), dtype=ARM)
    arms["upper_id"], arms["lower_id"] = copied["value0"], copied["value1"]
    return arms


def _copied(session: Session, statement: str, types: list[str]) -> NDArray[np.void]:
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for place, kind in enumerate(types):
        layout += [(f"width{place}", ">i4"), (f"value{place}", kind)]
    driver: Any = session.connection().connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(statement) as pieces:
        raw = b"".join(pieces)
    return np.frombuffer(raw[_HEADER_BYTES:-_TRAILER_BYTES], dtype=np.dtype(layout))
