"""A database that already holds built-in rows, made once for all tests of a folder."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from waterwatch.kernel.db import make_engine, make_sessions, transaction

LOADED_AT = datetime(2026, 5, 1, tzinfo=UTC)


def loaded_engine(admin_url: str, template: str, load: Callable[..., Any]) -> Iterator[Engine]:
    """The application's engine on a clone of ``template`` in which ``load`` was committed."""
    name = f"ww_builtin_{uuid.uuid4().hex[:10]}"
    plain_url = make_url(admin_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        engine = make_engine(make_url(admin_url).set(database=name).render_as_string(hide_password=False))
        try:
            with transaction(make_sessions(engine)) as session:
                load(session, now=LOADED_AT)
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("RESET ROLE")
                connection.exec_driver_sql("ANALYZE")
                connection.invalidate()
            yield engine
        finally:
            engine.dispose()
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def rollback_session(engine: Engine) -> Iterator[Session]:
    """A session whose every change, commits included, is rolled back."""
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as made:
            yield made
        outer.rollback()


class Statements(list[tuple[str, Any]]):
    """The statements a session sends while this is entered, with their parameters; savepoints do not count."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._connection = session.connection()

    def __enter__(self) -> "Statements":
        event.listen(self._connection, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_reason: object) -> None:
        event.remove(self._connection, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if "SAVEPOINT" not in statement:
            self.append((statement, parameters))


def plan_of(session: Session, statements: Statements) -> str:
    """PostgreSQL's plan of the last noted statement, with the parameters it ran with."""
    statement, parameters = statements[-1]
    rows = session.connection().exec_driver_sql(f"EXPLAIN {statement}", parameters)
    return "\n".join(row[0] for row in rows)
