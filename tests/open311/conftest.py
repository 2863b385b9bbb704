"""The interface of a running application, as 311 applications meet it."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, sessionmaker

from tests.web.site import running
from waterwatch.accounts.service import add_client
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    """A system that takes as many reports as anybody sends."""
    many = "1000000/hour"
    return make_settings(
        database_url=database_url,
        redis_url=redis_url,
        report_rate_limit=many,
        page_rate_limit=many,
        photos_per_report=2,
    )


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    with running(settings) as made:
        yield made


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def api_key(sessions: sessionmaker[Session]) -> str:
    """The token of an application."""
    with transaction(sessions) as session:
        return add_client(session, "市民热线", "1000/hour", actor=Actor.system("operator"), now=utc_now())
