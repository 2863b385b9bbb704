"""The published map: whole at every instant, the same bytes for the same truth, nothing about who reported."""

import gzip
import json
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_incident, add_report
from waterwatch.advisories.service import refresh
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service
from waterwatch.mapping.service import publish, request_publication

EXACT = (114.3055129, 30.5928347)  # where somebody stood
PUBLIC = (114.31234, 30.60123)
CANARY = "CANARY-9b1c"
NAMES = ("waters", "levels", "incidents")


@pytest.fixture
def context(make_settings: Callable[..., Settings], database_url: str, sessions: sessionmaker[Session]) -> JobContext:
    settings = make_settings(database_url=database_url)
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


def run(context: JobContext) -> dict[str, Any]:
    """Ask for a publication and make it; gives the manifest."""
    publish(context, order(context))
    return manifest(context)


def order(context: JobContext) -> outbox.Message:
    """One request, begun as the relay and a worker would begin it."""
    with transaction(context.sessions) as session:
        request_publication(session, now=datetime.now(UTC))
    with transaction(context.sessions) as session:
        (ring,) = outbox.lease(session, window=100, lease_s=60)
        message = outbox.begin(session, ring.id, ring.lease_no, lease_s=60)
    assert message is not None
    return message


def manifest(context: JobContext) -> dict[str, Any]:
    return json.loads((context.settings.publish_dir / "manifest.json").read_text())  # type: ignore[no-any-return]


def part(context: JobContext, name: str) -> Any:
    key = "geometry" if name == "waters" else name
    return json.loads((context.settings.publish_dir / manifest(context)[key]).read_text())


def open_one(context: JobContext, *, severity: int = 3, now: datetime | None = None) -> None:
    """An incident whose exact and public places differ, its level set."""
    now = now or datetime.now(UTC)
    with transaction(context.sessions) as session:
        incident_id = add_incident(session, now=now, severity=severity, at=EXACT)
        session.execute(
            text("UPDATE incident SET public_point = ST_SetSRID(ST_MakePoint(:lon, :lat), 4326) WHERE id = :id"),
            {"lon": PUBLIC[0], "lat": PUBLIC[1], "id": incident_id},
        )
        add_report(session, incident_id, now=now, note=CANARY, place_words=CANARY)
        feature_id = session.execute(
            text("SELECT water_feature_id FROM incident WHERE id = :id"), {"id": incident_id}
        ).scalar_one()
        refresh(session, feature_id, actor=Actor.system("test"), now=now)


def test_what_is_published_is_whole_and_says_what_is_so(context: JobContext) -> None:
    open_one(context, severity=4)
    named = run(context)
    assert set(named) == {"generated_at", "geometry", "levels", "incidents", "snapshot", "stale_after_s"}
    waters, levels, incidents = (part(context, name) for name in NAMES)
    assert waters["type"] == incidents["type"] == "FeatureCollection"
    (water,) = waters["features"]
    ((feature_id, rank),) = levels["levels"]
    (incident,) = incidents["features"]
    assert (water["id"], rank) == (feature_id, 4)
    assert incident["geometry"] == {"type": "Point", "coordinates": list(PUBLIC)}
    assert set(incident["properties"]) == {"code", "kind", "severity", "water", "feature_id", "opened_on"}
    with transaction(context.sessions) as session:
        assert outbox.depth(session).waiting == 0


def test_what_is_closed_is_not_on_the_map(context: JobContext) -> None:
    open_one(context)
    run(context)
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE incident SET state = 'expired', closed_at = now()"))
        feature_id = session.execute(text("SELECT water_feature_id FROM incident")).scalar_one()
        refresh(session, feature_id, actor=Actor.system("test"), now=datetime.now(UTC))
    run(context)
    assert part(context, "levels")["levels"] == part(context, "incidents")["features"] == []


def test_nothing_published_tells_who_reported_or_where_they_stood(context: JobContext) -> None:
    open_one(context)
    run(context)
    with transaction(context.sessions) as session:
        ids = [*session.execute(text("SELECT id::text, replace(id::text, '-', '') FROM report")).one()]
        ids += session.execute(text("SELECT code FROM report")).scalars()
        instant = session.execute(text("SELECT received_at FROM report")).scalar_one()
    exact = [f"{value:.{digits}f}"[:-1] for value in EXACT for digits in (5, 6, 7)]
    secrets = [CANARY, *ids, *exact, instant.isoformat()[:16], instant.strftime("%H:%M:%S")]
    for path in context.settings.publish_dir.rglob("*"):
        if path.is_file() and "vendor" not in path.parts and path.name != "manifest.json":
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            found = [secret for secret in secrets if secret.encode() in content]
            assert found == [], path.name


def test_the_snapshot_asks_no_other_host(context: JobContext) -> None:
    open_one(context)
    run(context)
    page = (context.settings.publish_dir / "national.html").read_text()
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w{2,}", page.replace("http://www.w3.org/", "")) == []
    for name in re.findall(r'(?:src|href)="([^"#]+)"', page):
        local = name.startswith(("data:", "/w/")) or (context.settings.publish_dir / name).is_file()
        assert local, name
    assert "非政府预警" in page


def test_the_same_truth_gives_the_same_files(context: JobContext) -> None:
    open_one(context)
    first = run(context)
    stamps = {name: (context.settings.publish_dir / first[name]).stat().st_mtime_ns for name in ("geometry", "levels")}
    second = run(context)
    assert {name: first[name] for name in ("geometry", "levels", "incidents")} == {
        name: second[name] for name in ("geometry", "levels", "incidents")
    }
    for name, stamp in stamps.items():
        assert (context.settings.publish_dir / second[name]).stat().st_mtime_ns == stamp


def test_one_run_serves_every_request_that_waits(context: JobContext) -> None:
    message = order(context)
    now = datetime.now(UTC)
    with transaction(context.sessions) as session:
        for _ in range(5):
            request_publication(session, now=now)
    publish(context, message)
    with transaction(context.sessions) as session:
        assert outbox.depth(session).waiting == 0
        assert session.execute(text("SELECT count(*) FROM publication")).scalar_one() == 1


def _publish_and_die(settings: Settings, message: outbox.Message, survive: int) -> None:
    """In a child: killed for good at the rename after ``survive`` renames."""
    sessions = make_sessions(make_engine(settings.database_url))
    real, count = Path.replace, iter(range(1000))

    def replace(path: Path, target: Path) -> Path:
        if next(count) == survive:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path, target)

    Path.replace = replace  # type: ignore[method-assign, assignment]
    publish(JobContext(settings, sessions, ObjectStore(settings.objects_url)), message)


@pytest.mark.parametrize("survive", [0, 1, 3, 5, 7])
def test_a_publisher_killed_at_any_file_leaves_the_old_map_whole(context: JobContext, survive: int) -> None:
    open_one(context, severity=2)
    old = run(context)
    open_one(context, severity=4)
    message = order(context)
    child = multiprocessing.get_context("spawn").Process(
        target=_publish_and_die, args=(context.settings, message, survive)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert manifest(context) == old
    assert [rank for _, rank in part(context, "levels")["levels"]] == [2]
    new = run(context)
    assert new["levels"] != old["levels"]
    assert sorted(rank for _, rank in part(context, "levels")["levels"]) == [2, 4]


def test_publishers_at_once_leave_a_whole_map(context: JobContext) -> None:
    open_one(context)
    messages = [order(context), order(context)]
    threads = [threading.Thread(target=publish, args=(context, message)) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(part(context, name).get("features", [])) for name in ("waters", "incidents")] == [1, 1]
    assert not list(context.settings.publish_dir.rglob("*.part"))


def test_superseded_files_stay_for_a_while_and_then_go(context: JobContext) -> None:
    open_one(context)
    first = run(context)
    open_one(context)
    run(context)
    old = context.settings.publish_dir / first["levels"]
    assert old.is_file()  # a phone may just have read the manifest that names it
    long_ago = old.stat().st_mtime - service.KEEP_SUPERSEDED_S - 60
    draft = old.with_name(f".{old.name}.1234.part")  # of a publisher that was killed
    draft.touch()
    for path in (old, old.with_name(old.name + ".gz"), draft):
        os.utime(path, (long_ago, long_ago))
    run(context)
    assert not old.exists()
    assert not draft.exists()
    assert not old.with_name(old.name + ".gz").exists()
    assert (context.settings.publish_dir / manifest(context)["levels"]).is_file()


def test_a_folder_that_cannot_be_written_leaves_the_request_waiting(context: JobContext) -> None:
    old = run(context)
    message = order(context)
    open_one(context)
    national = context.settings.publish_dir / "national.html"
    national.unlink()
    national.mkdir()  # not even root writes a file over a folder
    (national / "in the way").touch()
    with pytest.raises(OSError):
        publish(context, message)
    assert manifest(context) == old
    with transaction(context.sessions) as session:
        assert outbox.depth(session).waiting == 1


def test_an_empty_country_is_a_map_too(context: JobContext) -> None:
    run(context)
    assert part(context, "waters")["features"] == part(context, "levels")["levels"] == []
