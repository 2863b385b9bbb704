"""The database: declarative base, engine, sessions.

The application never needs to own its tables. Every connection of the application gives up the login role's rights by
``SET ROLE`` to the restricted role (see migration 0001), so that append-only tables are append-only for it in effect.
Migrations connect without that step.
"""

import json
import select
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import DateTime, Engine, MetaData, create_engine, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

APP_ROLE = "waterwatch_app"

# Deterministic names, so that migrations can drop what they created.
NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Declarative base of every slice's ``tables.py``."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


# Rows of one table as a JSON array: several tables' rows go to the server, and are written, by one statement. Columns
# that a row does not name become NULL, not their default.
INSERT_RECORDS = "INSERT INTO {table} SELECT * FROM jsonb_populate_recordset(NULL::{table}, CAST({rows} AS jsonb))"


def to_records(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as :data:`INSERT_RECORDS` reads them: bytes in hexadecimal, times in ISO 8601, ids as text."""
    return json.dumps(rows, default=_as_text)


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def normalise_url(url: str) -> str:
    """Accept ``postgresql://`` and ``postgres://`` and name our driver (psycopg 3) explicitly."""
    parsed = make_url(url.replace("postgres://", "postgresql://", 1))
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def make_engine(
    url: str,
    *,
    role: str | None = APP_ROLE,
    statement_timeout_s: float = 15.0,
    pool_size: int = 8,
) -> Engine:
    """An engine whose connections run as ``role`` (None keeps the login role), in UTC, with a statement timeout.

    A connection that the server has closed meanwhile is noticed before it is used: after a database restart the first
    request of each pooled connection reconnects instead of failing.
    """
    # Parameters carry what a citizen wrote and where they stood: no exception text may repeat them.
    engine = create_engine(
        normalise_url(url),
        pool_size=pool_size,
        max_overflow=4,
        pool_recycle=1800,
        hide_parameters=True,
    )

    _prepare_connections(engine, role, statement_timeout_s)
    return engine


def make_reader(url: str, *, statement_timeout_s: float = 15.0, pool_size: int = 4) -> Engine:
    """An engine for one question asked over and over: no transaction around it, one plan for whatever it is asked of.

    Half of a tile's time would be spent on the questions around the question, a third of the rest on planning it anew.
    """
    engine = create_engine(
        normalise_url(url),
        pool_size=pool_size,
        max_overflow=8,
        pool_recycle=1800,
        pool_reset_on_return=None,
        hide_parameters=True,
        isolation_level="AUTOCOMMIT",
    )
    _prepare_connections(engine, APP_ROLE, statement_timeout_s)

    @event.listens_for(engine, "connect")
    def _plan_once(dbapi_connection: Any, _record: Any) -> None:
        with dbapi_connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            cursor.execute("SET plan_cache_mode = force_generic_plan")

    return engine


def _prepare_connections(engine: Engine, role: str | None, statement_timeout_s: float) -> None:
    @event.listens_for(engine, "connect")
    def _prepare(dbapi_connection: Any, _record: Any) -> None:
        with dbapi_connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(f"SET statement_timeout = {int(statement_timeout_s * 1000)}")
            cursor.execute("SET idle_in_transaction_session_timeout = 30000")
            # The functions of PostGIS are declared so dear that a statement over ten rows is compiled first: 0.7 s.
            cursor.execute("SET jit = off")
            if role is not None:
                cursor.execute(f'SET ROLE "{role}"')
        dbapi_connection.commit()

    event.listen(engine, "checkout", _refuse_closed)


def _refuse_closed(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
    """Let the pool open a new connection instead of one the server has closed.

    An idle server says nothing: what can be read is its farewell. To look costs no journey, as a ping would.
    """
    poller = select.poll()
    poller.register(dbapi_connection.pgconn.socket, select.POLLIN)
    if poller.poll(0):
        raise DisconnectionError("the server has closed this connection")


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """The factory of sessions; objects stay readable after commit, so views can render what they wrote."""
    return sessionmaker(engine, expire_on_commit=False)


@contextmanager
def transaction(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """One transaction: commits when the block ends, rolls back when it raises, always closes."""
    with sessions.begin() as session:
        yield session


def is_answering(engine: Engine) -> bool:
    """Whether the database answers ``SELECT 1``; never raises."""
    try:
        with engine.connect() as connection:
            return bool(connection.execute(text("SELECT 1")).scalar_one() == 1)
    except Exception:  # any failure means the same thing to a readiness probe
        return False
