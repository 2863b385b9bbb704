"""Fixtures every test may use: real PostGIS, real Redis, a migrated template database, rollback or clone per test.

The servers are private ones in a temporary folder, unless ``WATERWATCH_TEST_PG`` (an administrator's URL) and
``WATERWATCH_TEST_REDIS`` name running ones.
"""

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker

from tests.places import server_folder
from tests.spreading import pytest_collection_modifyitems, pytest_sessionstart, pytest_xdist_make_scheduler
from waterwatch.kernel import log, migrate
from waterwatch.kernel.db import make_engine, make_sessions
from waterwatch.kernel.settings import Settings

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

# No test judges by the clock: a busy machine takes a second for what takes a millisecond.
hypothesis.settings.register_profile("no_clock", deadline=None)
hypothesis.settings.load_profile("no_clock")

__all__ = ["pytest_collection_modifyitems", "pytest_sessionstart", "pytest_xdist_make_scheduler"]

SECRET = "a secret that only the tests know, 0123456789abcdef"


@pytest.fixture(scope="session", autouse=True)
def _logs_are_the_systems() -> None:
    """What is logged passes through the system's own processors into ``caplog``, in whatever order tests run."""
    log.configure("INFO", "json")
    logging.getLogger().handlers.clear()


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    """A folder for the session's private servers."""
    with server_folder("tests") as folder:
        yield folder


@pytest.fixture(scope="session")
def admin_url(services_folder: Path) -> Iterator[str]:
    """An administrator's URL of the PostgreSQL server under test."""
    if given := os.environ.get("WATERWATCH_TEST_PG"):
        yield given
        return
    from workers.services import PrivatePostgres

    # Each test clones a database: without fsync that takes half the time, and no test cuts the power.
    server = PrivatePostgres(services_folder / "postgres", is_durable=False)
    server.start()
    try:
        yield server.url("postgres")
    finally:
        server.stop(mode="immediate")


@pytest.fixture(scope="session")
def redis_server_url(services_folder: Path) -> Iterator[str]:
    """The Redis server under test."""
    if given := os.environ.get("WATERWATCH_TEST_REDIS"):
        yield given
        return
    from workers.services import PrivateRedis

    server = PrivateRedis(services_folder / "redis")
    server.start()
    try:
        yield server.url()
    finally:
        server.stop()


@pytest.fixture
def redis_url(redis_server_url: str) -> Iterator[str]:
    """An empty Redis database, emptied again afterwards."""
    from redis import Redis

    with Redis.from_url(redis_server_url) as client:
        client.flushdb()
        yield redis_server_url
        client.flushdb()


def _with_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _administer(url: str, statement: str, name: str, template: str | None = None) -> None:
    identifiers = {"name": sql.Identifier(name), "template": sql.Identifier(template or "template0")}
    with psycopg.connect(
        make_url(url).set(drivername="postgresql").render_as_string(hide_password=False), autocommit=True
    ) as connection:
        connection.execute(sql.SQL(statement).format(**identifiers))


@pytest.fixture(scope="session")
def template_database(admin_url: str) -> Iterator[str]:
    """Name of a migrated database that is never connected to again, only cloned."""
    name = f"ww_template_{uuid.uuid4().hex[:10]}"
    _administer(admin_url, "CREATE DATABASE {name}", name)
    migrate.upgrade(_with_database(admin_url, name))
    yield name
    _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)


@pytest.fixture
def clone_database(admin_url: str, template_database: str) -> Iterator[Callable[[], str]]:
    """Makes fresh clones of the migrated template; what is committed there is visible to other processes."""
    made: list[str] = []

    def clone() -> str:
        name = f"ww_clone_{uuid.uuid4().hex[:10]}"
        _administer(admin_url, "CREATE DATABASE {name} TEMPLATE {template}", name, template_database)
        made.append(name)
        return _with_database(admin_url, name)

    yield clone
    for name in made:
        _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)


@pytest.fixture
def database_url(clone_database: Callable[[], str]) -> str:
    """One fresh clone."""
    return clone_database()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine of the application (restricted role) on the clone."""
    made = make_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    """Sessions of the application on the clone."""
    return make_sessions(engine)


@pytest.fixture(scope="session")
def shared_engine(admin_url: str, template_database: str) -> Iterator[Engine]:
    """One clone for all tests that roll back."""
    name = f"ww_shared_{uuid.uuid4().hex[:10]}"
    _administer(admin_url, "CREATE DATABASE {name} TEMPLATE {template}", name, template_database)
    made = make_engine(_with_database(admin_url, name))
    yield made
    made.dispose()
    _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)


@pytest.fixture
def session(shared_engine: Engine) -> Iterator[Session]:
    """A session whose every change, commits included, is rolled back when the test ends."""
    with shared_engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as made:
            yield made
        outer.rollback()


@pytest.fixture
def now() -> datetime:
    """The instant at which the tests happen."""
    return datetime(2026, 5, 20, 2, 30, tzinfo=UTC)


@pytest.fixture
def objects_url(tmp_path: Path) -> str:
    """A local object store."""
    return f"file://{tmp_path / 'objects'}"


@pytest.fixture
def make_settings(tmp_path: Path, objects_url: str) -> Callable[..., Settings]:
    """Settings of a test system; name what differs: ``make_settings(database_url=…, redis_url=…)``."""

    def make(**changes: Any) -> Settings:
        values: dict[str, Any] = {
            "mode": "test",
            "secret_key": SECRET,
            "public_url": "http://localhost",
            "database_url": "postgresql://nobody@127.0.0.1:9/none",
            "redis_url": "redis://127.0.0.1:9/0",
            "smtp_url": "smtp://127.0.0.1:9",
            "objects_url": objects_url,
            "spool_dir": tmp_path / "spool",
            "publish_dir": tmp_path / "published",
        }
        return Settings(**(values | changes))

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    """Settings of a test system on the clone and the empty Redis."""
    return make_settings(database_url=database_url, redis_url=redis_url)


@pytest.fixture(scope="session")
def detectors() -> None:
    """The detectors' weights loaded once, as a worker has them before it forks; else each child loads its own."""
    from waterwatch.photos import redaction

    redaction.load()


@pytest.fixture
def app(settings: Settings) -> "Iterator[Flask]":
    """The whole application on the test's settings."""
    from tests.web.site import running  # half a second that most tests do not need

    with running(settings) as made:
        yield made


@pytest.fixture
def client(app: "Flask") -> "FlaskClient":
    """A program that talks to it, or a browser that keeps cookies."""
    return app.test_client()
