"""The archive: what the database holds and nothing else, the same bytes for the same ground, whole or not there."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pmtiles.reader import MmapSource, Reader, all_tiles
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.agencies.service import load_builtin as load_agencies
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import archive
from waterwatch.waters.service import load_builtin


@pytest.fixture
def context(make_settings: Callable[..., Settings], database_url: str, sessions: sessionmaker[Session]) -> JobContext:
    settings = make_settings(database_url=database_url)
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


@pytest.fixture
def loaded(context: JobContext) -> JobContext:
    with transaction(context.sessions) as session:
        load_builtin(session, now=datetime.now(UTC))
        load_agencies(session, now=datetime.now(UTC))
    return context


def test_the_built_in_waters_make_an_archive(loaded: JobContext, tmp_path: Path) -> None:
    info = archive.build(loaded, folder=tmp_path)

    with info.path.open("rb") as file:
        reader = Reader(MmapSource(file))

        found = {zxy: len(tile) for zxy, tile in all_tiles(reader.get_bytes)}
    assert len(found) == info.tiles
    assert archive.ensure(loaded, folder=tmp_path) == info.path
