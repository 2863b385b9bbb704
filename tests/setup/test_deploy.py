"""What the operations manual says about deploying, backing up and restoring is done here, line by line as written."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url
from sqlalchemy.orm import Session

from waterwatch.kernel import audit, migrate
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.ids import new_id
from workers.services import PrivatePostgres

CHECKOUT = Path(__file__).resolve().parents[2]
OPERATIONS = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    """The one fenced block of the manual that begins with the comment ``name``."""
    (found,) = re.findall(rf"```\w+\n(?:--|#) {re.escape(name)}\n(.*?)```", OPERATIONS, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def server(services_folder: Path) -> Iterator[PrivatePostgres]:
    """A server of its own: the manual's roles belong to a whole cluster."""
    place = services_folder / "deploy"
    place.mkdir(mode=0o755)
    with PrivatePostgres(place / "postgres", is_durable=False) as running:
        yield running


@pytest.fixture(scope="module")
def owner(server: PrivatePostgres) -> URL:
    """The database the manual makes, migrated by the login the manual makes for that."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for statement in block("roles and database").split(";"):
            if statement.strip():
                connection.execute(statement.encode())
    with psycopg.connect(server.url("waterwatch"), autocommit=True) as connection:
        connection.execute(block("in the new database").encode())
    found = make_url(server.url("waterwatch")).set(username="waterwatch_schema", password="…")
    migrate.upgrade(found.render_as_string(hide_password=False))
    return found


@contextmanager
def working(url: URL) -> Iterator[Session]:
    """A transaction of the application under this login; nothing stays connected after it."""
    engine = make_engine(url.render_as_string(hide_password=False))
    try:
        with transaction(make_sessions(engine)) as session:
            yield session
    finally:
        engine.dispose()


def run(command: str, url: URL, **more: str) -> None:
    environment = {**os.environ, "DATABASE_URL": url.render_as_string(hide_password=False), **more}
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], env=environment, check=True, timeout=120)


def test_the_web_login_may_work_and_not_rewrite_history(owner: URL) -> None:
    with working(owner.set(username="waterwatch_web")) as session:
        audit.record(
            session,
            action="report.submitted",
            subject_kind="report",
            subject_id=new_id(),
            actor=Actor.system("test"),
            now=utc_now(),
            after={},
        )
    with psycopg.connect(owner.set(username="waterwatch_web").render_as_string(hide_password=False)) as connection:
        for forbidden in ("DELETE FROM audit_entry", "UPDATE audit_entry SET action = ''", "DROP TABLE report"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())
            connection.rollback()


def test_a_backup_restored_elsewhere_is_whole(server: PrivatePostgres, owner: URL, tmp_path: Path) -> None:
    photos = tmp_path / "objects"
    (photos / "public").mkdir(parents=True)
    (photos / "public" / "1.jpg").write_bytes(b"a picture")
    backup = tmp_path / "backup"
    with working(owner) as session:
        while audit.seal(session, now=utc_now()):
            pass
    run(block("back up"), owner, BACKUP=str(backup), OBJECTS=str(photos))
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER DATABASE waterwatch RENAME TO lost")
        connection.execute("CREATE DATABASE waterwatch OWNER waterwatch_schema")
    with psycopg.connect(server.url("waterwatch"), autocommit=True) as connection:
        connection.execute(block("in the new database").encode())
    restored = tmp_path / "restored"
    run(block("restore"), owner, BACKUP=str(backup), OBJECTS=str(restored))

    assert (restored / "public" / "1.jpg").read_bytes() == b"a picture"
    with working(owner) as session:
        verdict = audit.verify(session)
    assert verdict.is_whole
    migrate.upgrade(owner.render_as_string(hide_password=False))  # at the head already
    with psycopg.connect(owner.render_as_string(hide_password=False)) as connection:
        assert connection.execute("SELECT count(*) FROM audit_entry").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM role").fetchone() == (5,)
        with pytest.raises(psycopg.errors.RestrictViolation):
            connection.execute("DELETE FROM audit_entry")
    with psycopg.connect(owner.set(username="waterwatch_web").render_as_string(hide_password=False)) as connection:
        connection.execute("SELECT count(*) FROM report")
