"""The desk's tiles: for whoever holds the token, what waits and what is open, one question to the database."""

import gzip
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import IN_WUHAN, add_incident
from tests.mapping.ground import Decoded, add_water, decode, mercator, winding
from tests.moderation.rows import add_river, add_waiting
from tests.web.conftest import database_url, people, peopled_database, settings, visitor
from tests.web.site import Visitor, counting
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, transaction
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import tiles_drawing, tiles_rules
from waterwatch.mapping.tiles_access import tiles_token

__all__ = ["database_url", "people", "peopled_database", "settings", "visitor"]
People = dict[str, DemoPerson]
WUHAN = {4: (13, 6), 8: (209, 105), 11: (1674, 841), 14: (13394, 6728)}  # tiles around IN_WUHAN
CANARY = "CANARY-4d2f"


@pytest.fixture
def fetch(app: Flask, settings: Settings) -> Callable[..., dict[str, list[Decoded]]]:
    """A tile around Wuhan as GDAL reads it; asserts that one question was asked for it."""

    def get(zoom: int, part: str = "all") -> dict[str, list[Decoded]]:
        x, y = WUHAN[zoom]
        token, _expires_at = tiles_token(settings, now=utc_now())
        client = app.test_client()
        client.get(f"/desk/tiles/{token}/{part}/{zoom}/0/0")  # a new connection asks what server it has
        with counting(app) as statements:
            answer = client.get(f"/desk/tiles/{token}/{part}/{zoom}/{x}/{y}")
        assert len(statements) == 1
        assert answer.status_code == 200
        return decode(answer.data, zoom, x, y)

    return get


@pytest.fixture
def river(sessions: sessionmaker[Session]) -> uuid.UUID:
    with transaction(sessions) as session:
        return add_river(session, "长江")


def tell(found: list[Decoded]) -> list[dict[str, Any]]:
    return [one.attributes for one in found]


@pytest.mark.parametrize(("who", "status"), [(None, 302), ("officer", 403), ("moderator", 200), ("lead", 200)])
def test_only_moderators_are_told_where_the_tiles_are(
    visitor: Visitor, people: People, who: str | None, status: int
) -> None:
    if who:
        visitor.sign_in(people[who])
    answer = visitor.get("/desk/tiles/address")
    assert answer.status_code == status
    if status == 200:
        told = answer.get_json()
        assert (told["minzoom"], told["maxzoom"], sorted(told["tiles"])) == (4, 14, ["all", "reports", "waters"])
        assert answer.headers["Cache-Control"] == "no-store"
        path = told["tiles"]["all"].format(z=4, x=13, y=6)
        assert visitor.get(path).status_code == 200


def test_without_a_token_of_ours_there_is_no_tile_and_no_cache_keeps_the_refusal(
    app: Flask, settings: Settings
) -> None:
    client = app.test_client()
    gone, _expires_at = tiles_token(settings, now=utc_now() - timedelta(minutes=25))
    for token in (gone, "x", gone[:-2]):
        answer = client.get(f"/desk/tiles/{token}/all/4/13/6")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (403, "no-store")
    good, _expires_at = tiles_token(settings, now=utc_now())
    for path in ("all/3/0/0", "all/15/0/0", "all/4/16/0", "all/4/0/16", "nothing/4/0/0", "all/4/0/-1", "all/4/0/x"):
        assert client.get(f"/desk/tiles/{good}/{path}").status_code == 404


def test_a_proxy_may_keep_waters_for_minutes_and_what_waits_for_seconds(app: Flask, settings: Settings) -> None:
    token, _expires_at = tiles_token(settings, now=utc_now())
    client = app.test_client()
    found = {}
    for part in ("waters", "reports", "all"):
        answer = client.get(f"/desk/tiles/{token}/{part}/4/13/6")
        found[part] = answer.headers["Cache-Control"]
        assert "Set-Cookie" not in answer.headers
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert answer.mimetype == "application/vnd.mapbox-vector-tile"
    assert found == {
        "waters": "public, max-age=300",
        "reports": "public, max-age=10",
        "all": "public, max-age=10",
    }


def test_who_takes_gzip_gets_the_same_tile_smaller(app: Flask, settings: Settings, river: uuid.UUID) -> None:
    token, _expires_at = tiles_token(settings, now=utc_now())
    path = f"/desk/tiles/{token}/all/11/{WUHAN[11][0]}/{WUHAN[11][1]}"
    plain = app.test_client().get(path)
    packed = app.test_client().get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data


def test_what_waits_is_shown_with_what_a_moderator_chooses_by_and_nothing_of_its_author(
    sessions: sessionmaker[Session], river: uuid.UUID, fetch: Callable[..., dict[str, list[Decoded]]]
) -> None:
    with transaction(sessions) as session:
        add_waiting(session, river, now=utc_now(), minutes_old=130, note=CANARY, place_words=CANARY)
        add_incident(session, now=utc_now() - timedelta(hours=5), severity=4)
    tile = fetch(14)
    (report,) = tell(tile["reports"])
    assert (report.pop("code")[4], report.pop("urgency") in (0, 1, 2)) == ("-", True)
    assert report == {"kind": "sewage_outfall", "state": "in_review", "count": 1, "hours": 2}
    (incident,) = tell(tile["incidents"])
    assert incident.pop("code")[4] == "-"
    assert incident == {"kind": "sewage_outfall", "state": "open", "severity": 4, "count": 1, "hours": 5}
    assert CANARY not in str(tile)


def test_a_report_stands_on_its_water_and_without_one_on_a_coarse_grid(
    sessions: sessionmaker[Session], river: uuid.UUID, fetch: Callable[..., dict[str, list[Decoded]]]
) -> None:
    exact = (IN_WUHAN[0] + 0.0021, IN_WUHAN[1] + 0.0043)
    with transaction(sessions) as session:
        add_waiting(session, river, now=utc_now(), at=exact, kind="oil_slick")
        add_waiting(session, None, now=utc_now(), at=exact, kind="fish_kill")
        x, y = session.execute(
            text("SELECT ST_X(snapped_point), ST_Y(snapped_point) FROM report WHERE kind = 'oil_slick'")
        ).one()
    shown = {one.attributes["kind"]: one.shape for one in fetch(11)["reports"]}
    unit_m = 40075016 / 2**11 / 4096
    assert shown["oil_slick"].distance(mercator(f"POINT({x} {y})")) <= unit_m
    assert shown["fish_kill"].distance(mercator("POINT(114.31 30.595)")) <= unit_m
    assert shown["fish_kill"].distance(mercator(f"POINT({exact[0]} {exact[1]})")) > 100


def test_what_was_judged_withdrawn_or_closed_is_not_there(
    sessions: sessionmaker[Session], river: uuid.UUID, fetch: Callable[..., dict[str, list[Decoded]]]
) -> None:
    with transaction(sessions) as session:
        for state in ("accepted", "merged", "withdrawn"):
            add_waiting(session, river, now=utc_now(), state=state)
        incident_id = add_incident(session, now=utc_now())
        session.execute(
            text("UPDATE incident SET state = 'verified_clean', closed_at = opened_at WHERE id = :id"),
            {"id": incident_id},
        )
    assert {"reports", "incidents"} & set(fetch(14)) == set()


def test_below_zoom_11_reports_are_counted_by_cells(
    sessions: sessionmaker[Session], river: uuid.UUID, fetch: Callable[..., dict[str, list[Decoded]]]
) -> None:
    with transaction(sessions) as session:
        for number in range(7):
            add_waiting(session, river, now=utc_now(), minutes_old=60 * number + 1)
        for severity in (1, 3):
            add_incident(session, now=utc_now(), severity=severity)
    assert [one["count"] for one in tell(fetch(11)["reports"])] == [1] * 7
    (cell,) = tell(fetch(8)["reports"])
    assert cell == {"urgency": cell["urgency"], "count": 7, "hours": 6}
    assert [one["count"] for one in tell(fetch(8)["incidents"])] == [1, 1]
    assert tell(fetch(4)["incidents"]) == [{"severity": 3, "count": 2, "hours": 0}]


def test_one_by_one_the_most_urgent_come_first_until_the_tile_is_full(
    sessions: sessionmaker[Session],
    river: uuid.UUID,
    fetch: Callable[..., dict[str, list[Decoded]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from waterwatch.mapping import tile_queries

    monkeypatch.setattr(tile_queries, "POINTS_A_TILE", 3)
    tile_queries._cut_one.cache_clear()
    with transaction(sessions) as session:
        for number in range(5):
            add_waiting(session, river, now=utc_now(), minutes_old=60 * number + 1)
    try:
        assert sorted(one["hours"] for one in tell(fetch(14)["reports"])) == [2, 3, 4]
    finally:
        tile_queries._cut_one.cache_clear()


def test_waters_are_the_archives_and_the_largest_come_first_until_the_tile_is_full(
    sessions: sessionmaker[Session],
    fetch: Callable[..., dict[str, list[Decoded]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from waterwatch.mapping import tile_queries

    lon, lat = IN_WUHAN
    with transaction(sessions) as session:
        ids = [
            add_water(session, [winding(lon - 0.02, lat + 0.005 * n, 0.04)], names={"zh-Hans": "江"}, upland_skm=size)[
                0
            ]
            for n, size in enumerate((2.0, 2e3, 2e5))
        ]
    tiles_drawing.draw(sessions)
    tile = fetch(11, "waters")
    assert [one.feature_id for one in tile["rivers"]] == ids  # the largest last: it is drawn over the others
    assert [one["o"] for one in tell(tile["rivers"])] == [5, 3, 1]
    assert {one["n"] for one in tell(tile["rivers"])} == {"江"}
    assert set(tile) == {"rivers"}
    monkeypatch.setitem(tiles_rules.DESK_VERTICES, "rivers", 10)
    tile_queries._cut_one.cache_clear()
    try:
        assert [one.feature_id for one in fetch(11, "waters")["rivers"]] == [ids[2]]
    finally:
        tile_queries._cut_one.cache_clear()


def test_after_a_restart_of_the_database_the_next_tile_is_there(
    app: Flask, settings: Settings, database_url: str
) -> None:
    token, _expires_at = tiles_token(settings, now=utc_now())
    client = app.test_client()
    path = f"/desk/tiles/{token}/all/4/13/6"
    assert client.get(path).status_code == 200
    with make_engine(database_url, role=None).connect() as owner:
        killed = owner.execute(
            text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
                 " AND pid <> pg_backend_pid()")
        ).all()  # fmt: skip
        owner.invalidate()
    assert len(killed) >= 1
    assert client.get(path).status_code == 200


def test_a_tile_cannot_write(app: Flask) -> None:
    with app.extensions["waterwatch"].reader.connect() as connection, pytest.raises(DBAPIError, match="read-only"):
        connection.exec_driver_sql("DELETE FROM tile_rule")
