"""The publisher killed at every boundary, two of them at once, a bucket that goes away: the old map stands whole."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import obstore
import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.mapping.publishing import assert_whole, end, incidents, levels, open_one, order, pointer, run
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.outbox import Message
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service
from waterwatch.mapping.shelf import open_shelf
from workers.services import PrivateS3

pytestmark = pytest.mark.faults


@pytest.fixture
def context(make_settings: Callable[..., Settings], database_url: str, sessions: sessionmaker[Session]) -> JobContext:
    settings = make_settings(database_url=database_url)
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


@pytest.fixture(scope="module")
def bucket(services_folder: Path) -> Iterator[PrivateS3]:
    with PrivateS3(services_folder / "s3-published") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
        yield server


@pytest.fixture
def in_bucket(
    make_settings: Callable[..., Settings],
    database_url: str,
    sessions: sessionmaker[Session],
    bucket: PrivateS3,
    request: pytest.FixtureRequest,
) -> JobContext:
    """The same, published into a bucket."""
    prefix = request.node.name.replace("_", "-")[:60]
    settings = make_settings(
        database_url=database_url,
        publish_url=f"s3://published/{prefix}?endpoint={bucket.endpoint}&region={bucket.region}",
        published_url=f"{bucket.endpoint}/published/{prefix}",
    )
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


def _publish_and_die(settings: Settings, message: Message, survive: int, topic: str) -> None:
    """In a child: killed for good before the boundary after ``survive`` of them. Exits with 0 if there are fewer."""
    seen = iter(range(10_000))

    def before(real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*values: Any, **named: Any) -> Any:
            if next(seen) == survive:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*values, **named)

        return step

    changed: Any = Path
    for name in ("replace", "unlink", "mkdir"):
        setattr(changed, name, before(getattr(Path, name)))
    os.fsync, os.link = before(os.fsync), before(os.link)
    obstore.put, obstore.delete = before(obstore.put), before(obstore.delete)
    context = JobContext(settings, make_sessions(make_engine(settings.database_url)), ObjectStore(settings.objects_url))
    {service.TOPIC_PUBLISH: service.publish, service.TOPIC_ARCHIVE: service.build_archive}[topic](context, message)


def killed_everywhere(
    context: JobContext, started: BaseContext, *, topic: str = service.TOPIC_PUBLISH, stride: int = 1
) -> int:
    """Run and kill, each time one boundary (or ``stride`` of them) later, until a run lives.

    The map is whole each time. Gives how often it was killed.
    """
    killed = 0
    while True:
        child = started.Process(  # type: ignore[attr-defined]
            target=_publish_and_die, args=(context.settings, order(context, topic), killed * stride, topic)
        )
        child.start()
        child.join()
        assert_whole(context)
        if child.exitcode == 0:
            return killed
        assert child.exitcode == -signal.SIGKILL
        killed += 1


def test_a_publisher_killed_at_any_boundary_leaves_a_whole_map(context: JobContext) -> None:
    gone = open_one(context, severity=2, water="某湖")
    old = run(context)
    end(context, gone, "retracted")
    open_one(context, severity=4)
    killed = killed_everywhere(context, multiprocessing.get_context("fork"))
    assert killed >= 20
    assert pointer(context)["levels"] != old["levels"]
    assert list(levels(context).values()) == [4]
    assert not [path for path in context.settings.publish_dir.rglob("*") if gone.encode() in path.name.encode()]
    for path in context.settings.publish_dir.rglob("*.json"):
        assert gone.encode() not in path.read_bytes(), path.name


def test_a_builder_of_the_archive_killed_at_any_boundary_leaves_a_whole_map(context: JobContext) -> None:
    open_one(context)
    run(context)
    killed = killed_everywhere(context, multiprocessing.get_context("fork"), topic=service.TOPIC_ARCHIVE)
    assert killed >= 3
    assert "tiles" in run(context)
    assert_whole(context)


def test_a_publisher_into_a_bucket_killed_at_any_upload_leaves_a_whole_map(in_bucket: JobContext) -> None:
    open_one(in_bucket, severity=2)
    old = run(in_bucket)
    open_one(in_bucket, severity=4, public=(120.0, 30.0))
    killed = killed_everywhere(in_bucket, multiprocessing.get_context("spawn"), stride=2)
    assert killed >= 3
    assert pointer(in_bucket)["levels"] != old["levels"]
    assert sorted(levels(in_bucket).values()) == [2, 4]
    assert len(incidents(in_bucket)) == 2


def test_a_bucket_that_is_away_leaves_the_request_waiting_and_says_so(
    in_bucket: JobContext, bucket: PrivateS3, caplog: pytest.LogCaptureFixture
) -> None:
    open_one(in_bucket)
    old = run(in_bucket)
    open_one(in_bucket, severity=4)
    message = order(in_bucket)
    bucket.stop()
    try:
        with pytest.raises(Unavailable, match="objects_unavailable"):
            service.publish(in_bucket, message)
    finally:
        bucket.start()
    assert "publication.not_written" in caplog.text
    assert "published" not in caplog.text.replace("publication", "")  # the bucket's name is nobody's business
    assert pointer(in_bucket) == old
    run(in_bucket)
    assert sorted(levels(in_bucket).values()) == [3, 4]


def test_what_is_withdrawn_is_in_no_object_of_the_bucket(in_bucket: JobContext) -> None:
    code = open_one(in_bucket, water="某湖")
    run(in_bucket)
    open_one(in_bucket)
    run(in_bucket)
    end(in_bucket, code, "retracted")
    run(in_bucket)
    shelf = open_shelf(in_bucket.settings)
    contents = {found.name: shelf.read(found.name) or b"" for found in shelf.lying()}
    assert [name for name, content in contents.items() if code.encode() in content] == []
    assert len([name for name in contents if name.startswith("levels.")]) >= 1
    assert_whole(in_bucket)
