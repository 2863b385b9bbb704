"""What the map's tests share."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.kernel.context import JobContext
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings


@pytest.fixture
def context(make_settings: Callable[..., Settings], database_url: str, sessions: sessionmaker[Session]) -> JobContext:
    """A publisher's surroundings: a clone, and an empty folder to publish into."""
    settings = make_settings(database_url=database_url)
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))
