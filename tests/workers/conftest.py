"""Rows and contexts the workers' tests share."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import insert
from waterwatch.kernel import outbox
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from workers.services import PrivateRedis

AddPhoto = Callable[..., uuid.UUID]
Row = Callable[[], Any]


@pytest.fixture
def context(settings: Settings, sessions: sessionmaker[Session]) -> JobContext:
    settings.spool_dir.mkdir(parents=True)
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


@pytest.fixture
def own_redis(services_folder: Path) -> Iterator[PrivateRedis]:
    """A Redis that the test may flush, stop and start."""
    with PrivateRedis(services_folder / f"redis-{uuid.uuid4().hex[:8]}") as server:
        yield server


@pytest.fixture
def add_photo(sessions: sessionmaker[Session]) -> AddPhoto:
    """Writes a photo's row as it may have been left; gives its id."""

    def add(state: str = "ready", **facts: Any) -> uuid.UUID:
        now = utc_now()
        values = {"state_since": now, "sha256": bytes(32), "original_bytes": 1, "received_at": now}
        with transaction(sessions) as session:
            return insert(session, "photo", state=state, **({"original_delete_after": now} | values | facts))

    return add


@pytest.fixture
def emit(sessions: sessionmaker[Session]) -> Callable[..., None]:
    def emit(topic: str, **payload: Any) -> None:
        with transaction(sessions) as session:
            values = {name: str(value) for name, value in payload.items()}
            outbox.emit(session, topic, values, now=utc_now())

    return emit


@pytest.fixture
def row(sessions: sessionmaker[Session]) -> Row:
    """Reads the one outbox row."""

    def read() -> Any:
        with transaction(sessions) as session:
            return session.execute(text("SELECT * FROM outbox")).one()

    return read
