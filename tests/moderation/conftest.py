"""The application and its visitors, for the desk's pages; a river and two moderators, for what they do."""

import uuid
from datetime import datetime

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.advisories.rows import add_chain
from tests.escalation.rows import add_agency
from tests.moderation.below import Place
from tests.moderation.rows import add_moderator, add_river, add_waiting
from tests.reports.rows import LAT, LON
from tests.web.conftest import database_url, people, peopled_database, settings, visitor
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction

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


@pytest.fixture
def place(sessions: sessionmaker[Session]) -> Place:
    """Above three reaches, the last of them in a reservoir."""
    with transaction(sessions) as session:
        river = add_chain(session, 4, lakes=(3,), is_reservoir=True)
        return Place(river, add_waiting(session, river.ids[0], now=utc_now(), at=(LON + 0.02, LAT)))
