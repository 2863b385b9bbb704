"""The built-in agencies, loaded once; every test works in a transaction that is rolled back."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from tests.waters.database import loaded_engine, rollback_session
from waterwatch.agencies.service import load_builtin


@pytest.fixture(scope="session")
def agencies_engine(admin_url: str, template_database: str) -> Iterator[Engine]:
    """A clone of the template that holds the built-in agencies."""
    yield from loaded_engine(admin_url, template_database, load_builtin)


@pytest.fixture
def session(agencies_engine: Engine) -> Iterator[Session]:
    """A session on the loaded clone."""
    yield from rollback_session(agencies_engine)
