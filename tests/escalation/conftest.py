"""The engine, against a mail server each test chooses."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.engine import Engine
from waterwatch.kernel.settings import Settings


@pytest.fixture
def engine_of(make_settings: Callable[..., Settings], database_url: str, sessions: sessionmaker[Session]) -> Engine:
    settings = make_settings(
        database_url=database_url, public_url="https://waters.example.org", inbox_domain="in.example.org"
    )
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    return Engine(settings, sessions)
