"""The application and its visitors, for the desk's pages; a river and two moderators, for what they do."""

import uuid
from datetime import datetime

import pytest
from sqlalchemy.orm import Session

from tests.escalation.rows import add_agency
from tests.moderation.rows import add_moderator, add_river
from tests.web.conftest import database_url, people, peopled_database, settings, visitor
from waterwatch.kernel.audit import Actor

__all__ = ["database_url", "people", "peopled_database", "settings", "visitor"]


@pytest.fixture(scope="session", autouse=True)
def _detectors_are_loaded(detectors: None) -> None:
    """Most tests here make photos safe."""


@pytest.fixture
def river(session: Session) -> uuid.UUID:
    """The reach of a river, in the area of one department."""
    add_agency(session, "武汉局", ["duty@wuhan.example"])
    return add_river(session, "长江")


@pytest.fixture
def first(session: Session, now: datetime) -> Actor:
    """A moderator."""
    return add_moderator(session, "first", now=now)


@pytest.fixture
def other(session: Session, now: datetime) -> Actor:
    """Another."""
    return add_moderator(session, "other", now=now)
