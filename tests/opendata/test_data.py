"""What is given out of a water, an area, the country, an incident: the same facts in every form, and nothing else."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import feedparser
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.opendata.places import (
    EXACT,
    HUBEI_CODE,
    TOLD,
    WUHAN_CODE,
    add_areas,
    add_case,
    add_problem,
)
from waterwatch.atlas import addresses
from waterwatch.kernel.db import transaction
from waterwatch.opendata import exports, feeds
from waterwatch.opendata.answers import IncidentsOut
from waterwatch.opendata.badges import draw_badge

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


@pytest.fixture
def places(sessions: sessionmaker[Session]) -> dict[str, str]:
    """A city with a river of two incidents, an orange one that was acknowledged and a yellow one; their addresses."""
    with transaction(sessions) as session:
        add_areas(session)
        orange, water = add_problem(session, now=NOW)
        yellow, _water = add_problem(session, now=NOW - timedelta(days=2), severity=2, on=water)
        add_case(session, orange, now=NOW, state="acknowledged", hours=2)
    return {"orange": orange, "yellow": yellow, "water": water}


def paths(places: dict[str, str]) -> list[str]:
    """Every address where incidents are given out, without its ending."""
    return [
        "/api/v1/incidents",
        f"/api/v1/incidents/{places['orange']}",
        f"/api/v1/waters/{places['water']}/incidents",
        f"/api/v1/areas/{WUHAN_CODE}/incidents",
        f"/api/v1/areas/{HUBEI_CODE}/incidents",
    ]


def test_every_form_tells_the_same_with_the_same_digits(client: FlaskClient, places: dict[str, str]) -> None:
    for path in paths(places):
        told = client.get(f"{path}.geojson")
        assert (told.status_code, told.mimetype) == (200, "application/geo+json")
        features = json.loads(told.text)["features"]
        IncidentsOut.model_validate_json(told.text)  # as the OpenAPI document describes it
        table = client.get(f"{path}.csv")
        assert table.text.startswith("\ufeff")
        rows = list(csv.DictReader(io.StringIO(table.text.removeprefix("\ufeff"))))
        assert len(rows) == len(features) == (1 if path.endswith(places["orange"]) else 2)
        assert tuple(rows[0]) == exports.COLUMNS
        for row, feature in zip(rows, features, strict=True):
            assert feature["geometry"]["coordinates"] == list(TOLD)
            assert (row["lon"], row["lat"]) == tuple(map(str, TOLD))
            assert {key: row[key] for key in feature["properties"]} == {
                key: "" if value is None else str(value) for key, value in feature["properties"].items()
            }
        first = features[0]["properties"]
        assert (first["code"], first["severity"], first["level"], first["answer"]) == (
            places["orange"], 3, "orange", "acknowledged",
        )  # fmt: skip
        assert first["url"] == f"http://localhost/i/{places['orange']}"


def test_it_lives_a_minute_in_caches_and_any_page_may_read_it(client: FlaskClient, places: dict[str, str]) -> None:
    given_out = [f"{path}.{form}" for path in paths(places) for form in ("geojson", "csv")]
    given_out += ["/feeds/national.atom", f"/feeds/water/{places['water']}.atom", f"/feeds/area/{WUHAN_CODE}.atom"]
    given_out += [f"/w/{places['water']}/badge.svg", "/sitemap.xml", "/sitemaps/incidents-1.xml"]
    for path in given_out:
        answer = client.get(path)
        assert answer.headers["Cache-Control"] == "public, max-age=60", path
        assert answer.headers["Access-Control-Allow-Origin"] == "*", path
        assert "Set-Cookie" not in answer.headers, path
        assert "Cookie" not in answer.headers.get("Vary", ""), path
        again = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b""), path


def test_nothing_given_out_tells_of_reports_or_of_the_exact_place(
    client: FlaskClient, places: dict[str, str], sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        secrets = ["王小明", *session.execute(text("SELECT code FROM report")).scalars()]
        for table in ("report", "incident", "escalation_case", "water_feature"):
            secrets += [str(key) for key in session.execute(text(f"SELECT id FROM {table}")).scalars()]
    secrets += [f"{value:.5f}"[:-1] for value in EXACT]
    everything = [f"{path}.{form}" for path in paths(places) for form in ("geojson", "csv")]
    everything += ["/feeds/national.atom", f"/feeds/water/{places['water']}.atom", f"/i/{places['orange']}"]
    for path in everything:
        told = client.get(path).text
        assert [secret for secret in secrets if secret in told] == [], path
        digits = re.findall(r"(?:114|30)\.(\d+)", told)
        assert digits
        assert {len(found) for found in digits} == {5}, path


def test_a_feed_is_read_back_by_another_program_with_its_places(client: FlaskClient, places: dict[str, str]) -> None:
    for path in ("/feeds/national.atom", f"/feeds/water/{places['water']}.atom", f"/feeds/area/{WUHAN_CODE}.atom"):
        answer = client.get(path)
        read = feedparser.parse(answer.data)
        assert (answer.mimetype, read.bozo, read.version) == ("application/atom+xml", 0, "atom10")
        assert [entry.id for entry in read.entries] == [
            f"http://localhost/i/{places[one]}" for one in ("orange", "yellow")
        ]
        first = read.entries[0]
        assert first.title == "长江：污水直排（橙色·重大）"
        assert first.where == {"type": "Point", "coordinates": TOLD}
        assert "部门已确认收到" in first.summary
        assert datetime(*first.updated_parsed[:6], tzinfo=UTC) == NOW
    assert "Sewage outfall" in feedparser.parse(client.get("/feeds/national.atom?lang=en").data).entries[0].title


def test_one_that_ended_is_told_in_the_feed_for_a_month_and_no_more_among_the_open(
    client: FlaskClient, places: dict[str, str], sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        session.execute(
            text("UPDATE incident SET state = 'expired', closed_at = :now, state_since = :now WHERE code = :code"),
            {"now": NOW, "code": places["yellow"]},
        )
    for path in ("/feeds/national.atom", f"/feeds/area/{WUHAN_CODE}.atom"):
        titles = [entry.title for entry in feedparser.parse(client.get(path).data).entries]
        assert [("已结束" in title) for title in titles].count(True) == 1
    assert len(json.loads(client.get("/api/v1/incidents.geojson").text)["features"]) == 1
    ended = json.loads(client.get(f"/api/v1/incidents/{places['yellow']}.geojson").text)["features"][0]["properties"]
    assert (ended["state"], ended["level"]) == ("expired", None)
    assert len(json.loads(client.get(f"/api/v1/waters/{places['water']}/incidents.geojson").text)["features"]) == 2


def test_one_that_was_withdrawn_is_gone_everywhere_and_one_that_was_merged_leads_to_the_other(
    client: FlaskClient, places: dict[str, str], sessions: sessionmaker[Session]
) -> None:
    gone, stays = places["orange"], places["yellow"]
    with transaction(sessions) as session:
        session.execute(
            text("UPDATE incident SET state = 'retracted', closed_at = :now WHERE code = :code"),
            {"now": NOW, "code": gone},
        )
    for path in (*paths(places)[0:1], *paths(places)[2:]):
        for form in ("geojson", "csv"):
            assert gone not in client.get(f"{path}.{form}").text
    for path in ("/feeds/national.atom", f"/feeds/water/{places['water']}.atom", "/sitemaps/incidents-1.xml"):
        assert gone not in client.get(path).text
    assert client.get(f"/api/v1/incidents/{gone}.geojson").status_code == 410
    assert client.get(f"/api/v1/incidents/{gone}.csv").headers["Cache-Control"] == "no-store"
    with transaction(sessions) as session:
        session.execute(
            text("UPDATE incident SET state = 'merged', merged_into_id = (SELECT id FROM incident WHERE code = :stays)"
                 " WHERE code = :gone"),
            {"gone": gone, "stays": stays},
        )  # fmt: skip
    answer = client.get(f"/api/v1/incidents/{gone}.csv")
    assert (answer.status_code, answer.location) == (301, f"/api/v1/incidents/{stays}.csv")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/incidents/AAAA-AAAA.geojson", "/api/v1/waters/w-nowhere/incidents.csv",
        "/api/v1/areas/999999/incidents.geojson", "/feeds/water/w-nowhere.atom", "/feeds/area/999999.atom",
        "/w/w-nowhere/badge.svg", "/sitemaps/waters-2.xml", "/sitemaps/waters-0.xml", "/sitemaps/people-1.xml",
        "/sitemaps/waters-99999999999999999999.xml",
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found(client: FlaskClient, places: dict[str, str], path: str) -> None:
    del places
    assert client.get(path).status_code == 404


@given(st.text(max_size=40))
def test_no_cell_begins_as_a_formula_does(words: str) -> None:
    written = exports.cell(words)
    assert written.endswith(words)
    assert written == words or written == "'" + words
    assert not written.lstrip(" \u3000").startswith(exports.FORMULA_STARTS)


@given(st.text(max_size=60))
def test_whatever_a_water_is_called_its_badge_and_its_feed_are_xml(words: str) -> None:
    drawn = ElementTree.fromstring(draw_badge(words, 3, "橙色·重大", "zh-Hans"))
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}text"))) == 2
    entry = feeds.Entry("http://localhost/i/A", words, words, NOW, NOW, TOLD, "foam")
    feed = feeds.Feed(words, "http://localhost/", "http://localhost/feeds/national.atom", words, "zh-Hans")
    root = ElementTree.fromstring(feeds.write_feed(feed, [entry]).encode())
    assert root.tag == "{http://www.w3.org/2005/Atom}feed"


def test_a_badge_tells_the_level_in_the_language_asked_for_and_runs_nothing(
    client: FlaskClient, places: dict[str, str]
) -> None:
    path = f"/w/{places['water']}/badge.svg"
    words = {lang: client.get(f"{path}?lang={lang}").text for lang in ("zh-Hans", "zh-Hant", "en", "xx")}
    assert ("橙色·重大" in words["zh-Hans"], "Orange" in words["en"]) == (True, True)
    assert words["xx"] == words["zh-Hans"]
    answer = client.get(path, headers={"Accept-Language": "en"})
    assert answer.text == words["zh-Hans"]  # what a cache keeps does not hang on who asked first
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


def test_the_list_of_pages_names_pages_that_exist_in_parts(
    client: FlaskClient, places: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = re.findall(r"<loc>http://localhost(.*?)</loc>", client.get("/sitemap.xml").text)
    assert listed == ["/sitemaps/waters-1.xml", "/sitemaps/areas-1.xml", "/sitemaps/incidents-1.xml"]
    pages = [page for part in listed for page in re.findall(r"<loc>http://localhost(.*?)</loc>", client.get(part).text)]
    assert {f"/w/{places['water']}", f"/a/{WUHAN_CODE}", f"/i/{places['orange']}"} <= set(pages)
    assert {client.get(page).status_code for page in pages} == {200}
    assert addresses.PART == 50_000
    monkeypatch.setattr(addresses, "PART", 1)
    assert "/sitemaps/incidents-2.xml" in client.get("/sitemap.xml").text


def test_robots_are_kept_from_pages_of_single_people(client: FlaskClient) -> None:
    told = client.get("/robots.txt").text
    assert "Disallow: /f/" in told
    assert told.endswith("Sitemap: http://localhost/sitemap.xml\n")
