"""The application with the built-in waters, areas and agencies; its visitors and its people."""

import uuid
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.conftest import _administer, _with_database
from tests.web.conftest import people, peopled_database, settings, visitor
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.agencies import service as agencies
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.waters import service as waters

__all__ = ["people", "peopled_database", "settings", "visitor"]


@pytest.fixture(scope="session")
def country_database(admin_url: str, peopled_database: str) -> Iterator[str]:
    """People and the built-in country."""
    name = f"ww_directory_{uuid.uuid4().hex[:10]}"
    _administer(admin_url, "CREATE DATABASE {name} TEMPLATE {template}", name, peopled_database)
    engine = make_engine(_with_database(admin_url, name))
    with transaction(make_sessions(engine)) as session:
        waters.load_builtin(session, now=utc_now())
        agencies.load_builtin(session, now=utc_now())
    engine.dispose()
    yield name
    _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)


@pytest.fixture
def database_url(admin_url: str, country_database: str) -> Iterator[str]:
    """A fresh clone."""
    name = f"ww_clone_{uuid.uuid4().hex[:10]}"
    _administer(admin_url, "CREATE DATABASE {name} TEMPLATE {template}", name, country_database)
    yield _with_database(admin_url, name)
    _administer(admin_url, "DROP DATABASE IF EXISTS {name} WITH (FORCE)", name)


@pytest.fixture
def admin(visitor: Visitor, people: dict[str, DemoPerson]) -> Visitor:
    """The administrator, signed in."""
    visitor.sign_in(people["admin"])
    return visitor


@pytest.fixture
def wuchang_water(sessions: sessionmaker[Session]) -> uuid.UUID:
    """The id of 武汉市武昌区水务和湖泊局."""
    with transaction(sessions) as session:
        found: uuid.UUID = session.execute(text("SELECT id FROM agency WHERE code = 'wuchang-water'")).scalar_one()
        return found
