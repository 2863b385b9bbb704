"""The application and its visitors."""

import uuid
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from pydantic import SecretStr
from sqlalchemy.orm import Session, sessionmaker

from tests.conftest import SECRET, _administer, _with_database
from tests.web.site import Visitor, load_people
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.db import make_engine, make_sessions
from waterwatch.kernel.settings import Settings


@pytest.fixture(scope="session")
def peopled_database(admin_url: str, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The migrated template with the demonstration's people in it: hashing five passwords takes a second."""
    name = f"ww_people_{uuid.uuid4().hex[:10]}"
    _administer(admin_url, "CREATE DATABASE {name} TEMPLATE {template}", name, template_database)
    url = _with_database(admin_url, name)
    engine = make_engine(url)
    folder = tmp_path_factory.mktemp("people")
    system = Settings(
        mode="test",
        secret_key=SecretStr(SECRET),
        public_url="http://localhost",
        database_url=url,
        redis_url="redis://127.0.0.1:9/0",
        smtp_url="smtp://127.0.0.1:9",
        objects_url=f"file://{folder}/objects",
        spool_dir=folder / "spool",
        publish_dir=folder / "published",
    )
    load_people(make_sessions(engine), system)
    engine.dispose()
    yield name
    _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)


@pytest.fixture
def database_url(admin_url: str, peopled_database: str) -> Iterator[str]:
    """A fresh clone with people."""
    name = f"ww_clone_{uuid.uuid4().hex[:10]}"
    _administer(admin_url, "CREATE DATABASE {name} TEMPLATE {template}", name, peopled_database)
    yield _with_database(admin_url, name)
    _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    """A system whose limits no test reaches unless it means to."""
    return make_settings(database_url=database_url, redis_url=redis_url, login_rate_limit="1000/minute")


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor(app.test_client())


@pytest.fixture
def people(sessions: sessionmaker[Session], settings: Settings) -> dict[str, DemoPerson]:
    return load_people(sessions, settings)
