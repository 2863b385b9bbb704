"""The published map: whole at every instant, the same bytes for the same truth, nothing about who reported."""

import re
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from tests.mapping.publishing import (
    CANARY,
    EXACT,
    PUBLIC,
    assert_whole,
    end,
    every_byte,
    incidents,
    later,
    levels,
    open_one,
    order,
    pointer,
    read,
    run,
    waiting,
)
from waterwatch.atlas.incidents import of_country
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.mapping import publishing_run, publishing_site, service

HASHED = re.compile(r"[a-z]+(/[0-9-]+)?\.[0-9a-f]{16}\.json")


def stamps(context: JobContext) -> dict[str, int]:
    folder = context.settings.publish_dir
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def written_since(context: JobContext, before: dict[str, int]) -> set[str]:
    """Which files a run wrote, without their packed twins."""
    return {name for name, stamp in stamps(context).items() if before.get(name) != stamp and not name.endswith(".gz")}


def test_what_is_published_is_whole_and_says_what_is_so(context: JobContext) -> None:
    code = open_one(context, severity=4)
    named = run(context)
    keys = {"version", "generated_at", "stale_after_s", "levels", "expected", "incidents", "history", "snapshot"}
    assert set(named) == keys
    assert named["version"] == 2
    hashed = [named[key] for key in ("levels", "expected", "incidents")]
    assert all(HASHED.fullmatch(name) for name in (*hashed, *named["history"].values()))
    ((feature_id, rank),) = levels(context).items()
    (incident,) = incidents(context)
    assert rank == 4
    assert incident["geometry"] == {"type": "Point", "coordinates": list(PUBLIC)}
    today = f"{datetime.now(UTC) + timedelta(hours=8):%Y-%m-%d}"
    assert incident["properties"] == {
        "code": code, "kind": "sewage_outfall", "severity": 4, "answer": "none", "feature_id": feature_id,
        "water": incident["properties"]["water"], "names": {"zh-Hans": "长江"}, "opened_on": today,
        "confirmed_on": today,
    }  # fmt: skip
    index = read(context, named["incidents"])
    assert index["tiles"].keys() == {"52/26"}
    assert index["sums"] == [[114.31, 30.6, 0, 4, 0, 1]]
    assert index["kinds"] == ["sewage_outfall"]
    assert waiting(context) == 0
    assert_whole(context)


def test_a_tile_holds_what_lies_in_it(context: JobContext) -> None:
    for lon in (114.0, 118.0, 120.0):  # tiles of 5.6 degrees: 112.5 to 118.125 to 123.75
        open_one(context, public=(lon, 30.0))
    run(context)
    index = read(context, pointer(context)["incidents"])
    counts = {tile: len(read(context, name)["features"]) for tile, name in index["tiles"].items()}
    assert counts == {"52/26": 2, "53/26": 1}
    assert [row[-1] for row in index["sums"]] == [1, 1, 1]


@pytest.mark.parametrize(
    ("case", "answer"),
    [(None, "none"), ("queued", "none"), ("delivered", "forwarded"), ("acknowledged", "acknowledged"),
     ("answered", "answered"), ("closed", "answered"), ("withdrawn", "none"), ("no_contact", "none")],
)  # fmt: skip
def test_how_far_the_answer_has_come_is_told(context: JobContext, case: str | None, answer: str) -> None:
    open_one(context)
    if case is not None:
        with transaction(context.sessions) as session:
            session.execute(text("INSERT INTO jurisdiction (id, code, level, geom) VALUES (gen_random_uuid(), '420100',"
                                 " 'county', ST_Multi(ST_MakeEnvelope(1, 1, 2, 2, 4326)))"))  # fmt: skip
            session.execute(
                text("INSERT INTO agency (id, code, kind, level, jurisdiction_id)"
                     " SELECT gen_random_uuid(), 'a', 'water', 'county', id FROM jurisdiction")
            )  # fmt: skip
            session.execute(
                text("INSERT INTO escalation_case"
                     " (id, incident_id, agency_id, state, state_since, severity, created_at)"
                     " SELECT gen_random_uuid(), i.id, a.id, :state, now(), 3, now() FROM incident i, agency a"),
                {"state": case},
            )  # fmt: skip
    run(context)
    assert incidents(context)[0]["properties"]["answer"] == answer
    with transaction(context.sessions) as session:
        assert [told.answer for told in of_country(session)] == [answer]
    assert read(context, pointer(context)["incidents"])["sums"][0][4] == ["none", "forwarded", "acknowledged",
                                                                          "answered"].index(answer)  # fmt: skip


def test_what_is_closed_is_not_on_the_map(context: JobContext) -> None:
    code = open_one(context)
    run(context)
    end(context, code)
    named = run(context)
    assert levels(context) == {}
    assert incidents(context) == []
    month = max(named["history"])
    assert [len(spans) for spans in read(context, named["history"][month])["spans"].values()] == [0, 0, 1, 0]


def test_nothing_published_tells_who_reported_or_where_they_stood(context: JobContext) -> None:
    open_one(context)
    run(context)
    with transaction(context.sessions) as session:
        ids = [*session.execute(text("SELECT id::text, replace(id::text, '-', '') FROM report")).one()]
        ids += session.execute(text("SELECT code FROM report")).scalars()
        instant = session.execute(text("SELECT received_at FROM report")).scalar_one()
    exact = [f"{value:.{digits}f}"[:-1] for value in EXACT for digits in (5, 6, 7)]
    secrets = [CANARY, *ids, *exact, instant.strftime("%H:%M:%S")]
    for name, content in every_byte(context).items():
        if "map.json" not in name:
            assert [secret for secret in secrets if secret.encode() in content] == [], name


def test_what_is_withdrawn_is_in_no_file_after_the_next_run(context: JobContext) -> None:
    code = open_one(context, severity=2, water="某湖")
    run(context)
    open_one(context)  # an older publication that named it is superseded, and would stay for an hour
    run(context)
    assert any(code.encode() in content for content in every_byte(context).values())
    end(context, code, "retracted")
    run(context)
    files = every_byte(context)
    assert [name for name, content in files.items() if code.encode() in content] == []
    assert [name for name in files if "levels." in name and not name.endswith(".gz")] != []
    assert len(incidents(context)) == 1
    assert_whole(context)


def test_a_place_that_became_another_is_in_no_file_after_the_next_run(context: JobContext) -> None:
    code = open_one(context)
    run(context)
    with transaction(context.sessions) as session:
        session.execute(
            text("UPDATE incident SET public_point = ST_SetSRID(ST_MakePoint(114.2, 30.5), 4326) WHERE code = :code"),
            {"code": code},
        )
    run(context)
    former = f"{PUBLIC[0]}".encode()
    assert [name for name, content in every_byte(context).items() if former in content] == []


def test_the_same_truth_gives_the_same_files(context: JobContext) -> None:
    open_one(context)
    first = run(context)
    before = stamps(context)
    second = run(context)
    assert {**first, "generated_at": None} == {**second, "generated_at": None}
    assert written_since(context, before) == {"map.json"}


def test_one_change_writes_what_it_touches_and_no_more(context: JobContext) -> None:
    for lon in (104.0, 114.0, 120.0):
        open_one(context, public=(lon, 30.0))
    first = run(context)
    before = stamps(context)
    open_one(context, public=(120.1, 30.0), water="太湖")
    second = run(context)
    month = max(second["history"])
    index = read(context, second["incidents"])
    with transaction(context.sessions) as session:
        public_id = session.execute(
            text("SELECT b.public_id FROM water_body b JOIN water_name n ON n.water_body_id = b.id"
                 " WHERE n.name = '太湖'")
        ).scalar_one()  # fmt: skip
    assert written_since(context, before) == {
        "map.json",
        second["levels"],
        second["incidents"],
        second["history"][month],
        index["tiles"]["53/26"],
        "maps/national.html",
        "maps/national.png",
        f"maps/water-{public_id}.html",
        f"maps/water-{public_id}.png",
    }
    assert {key: name for key, name in first["history"].items() if key != month} == {
        key: name for key, name in second["history"].items() if key != month
    }


def test_one_run_serves_every_request_that_waits(context: JobContext) -> None:
    message = order(context)
    now = datetime.now(UTC)
    with transaction(context.sessions) as session:
        for _ in range(5):
            service.request_publication(session, now=now)
    service.publish(context, message)
    assert waiting(context) == 0
    with transaction(context.sessions) as session:
        assert session.execute(text("SELECT count(*) FROM publication")).scalar_one() == 1


def test_publishers_at_once_leave_a_whole_map(context: JobContext) -> None:
    open_one(context)
    messages = [order(context), order(context)]
    threads = [threading.Thread(target=service.publish, args=(context, message)) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_whole(context)
    assert len(incidents(context)) == 1
    assert not list(context.settings.publish_dir.rglob("*.part"))


def test_a_publisher_that_lost_its_lock_does_not_point(context: JobContext, monkeypatch: pytest.MonkeyPatch) -> None:
    old = run(context)
    open_one(context)
    write = publishing_site.write

    def restarted(run_: publishing_run.Run) -> None:  # as after a restart of the database, half way through
        write(run_)
        with transaction(context.sessions) as session:
            session.execute(text("RESET ROLE"))
            session.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                     " AND pid <> pg_backend_pid()")
            )  # fmt: skip

    monkeypatch.setattr(publishing_site, "write", restarted)
    with pytest.raises(Unavailable, match="lock_was_lost"):
        service.publish(context, order(context))
    assert pointer(context) == old


def test_superseded_files_stay_for_a_while_and_then_go(context: JobContext) -> None:
    open_one(context)
    first = run(context)
    open_one(context)
    run(context)
    old = context.settings.publish_dir / first["levels"]
    assert old.is_file()  # a phone may just have read the pointer that names it
    draft = old.with_name(f".{old.name}.1234.part")  # of a publisher that was killed
    draft.touch()
    stray = old.with_name("levels.0123456789abcdef.json")
    stray.touch()
    run(later(context, seconds=publishing_run.KEEP_SUPERSEDED_S - 60))
    assert old.is_file()
    run(later(context, seconds=publishing_run.KEEP_SUPERSEDED_S + 3600))
    assert [path for path in (old, draft, stray, old.with_name(old.name + ".gz")) if path.exists()] == []
    assert_whole(context)


def test_the_days_pass_in_the_present_month_alone(context: JobContext) -> None:
    open_one(context)
    first = run(context)
    second = run(later(context, days=1))
    changed = {month for month, name in second["history"].items() if first["history"].get(month) != name}
    assert len(changed) in (1, 2)  # two on the last day of a month
    assert max(changed) == max(second["history"])


def test_a_folder_that_was_emptied_is_filled_again(context: JobContext) -> None:
    open_one(context)
    run(context)
    for path in sorted(context.settings.publish_dir.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    run(context)
    assert_whole(context)
    assert len(incidents(context)) == 1


def test_a_folder_that_cannot_be_written_leaves_the_request_waiting(
    context: JobContext, caplog: pytest.LogCaptureFixture
) -> None:
    old = run(context)
    open_one(context)
    in_the_way = context.settings.publish_dir / "incidents"
    in_the_way.touch()  # not even root makes a folder of a file
    with pytest.raises(Unavailable, match="published_not_written"):
        service.publish(context, order(context))
    assert pointer(context) == old
    assert waiting(context) == 1
    assert "publication.not_written" in caplog.text
    in_the_way.unlink()
    run(context)
    assert len(incidents(context)) == 1


def test_an_empty_country_is_a_map_too(context: JobContext) -> None:
    run(context)
    assert levels(context) == {}
    assert incidents(context) == []
    assert_whole(context)


def test_the_archive_is_named_once_it_is_built(context: JobContext) -> None:
    open_one(context)
    assert "tiles" not in run(context)
    assert waiting(context, service.TOPIC_ARCHIVE) == 1
    service.build_archive(context, order(context, service.TOPIC_ARCHIVE))
    named = run(context)
    assert re.fullmatch(r"waters\.[0-9a-f]{16}\.pmtiles", named["tiles"])
    assert waiting(context, service.TOPIC_ARCHIVE) == 0
    assert_whole(context)
    open_one(context)  # a new water: the old archive serves until there is another
    assert run(context)["tiles"] == named["tiles"]
    assert waiting(context, service.TOPIC_ARCHIVE) == 1
