"""GeoReport v2: what an application sends becomes a report like any other, or is refused with its faults."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, sessionmaker

from tests.messaging.https import answer, https_server
from tests.open311.client import PERSON, element, faults, post, rows_of
from tests.reports.rows import LAT, LON
from tests.reports.site import JPEG
from tests.web.site import counting, running
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.open311.views import FETCHER, FIELD_WORDS


def test_a_request_is_a_report_like_any_other(
    client: FlaskClient, sessions: sessionmaker[Session], api_key: str, settings: Settings
) -> None:
    asked = {f"attribute[{name}]": value for name, value in {"extent": "spot", "smell": "2", "ongoing": "yes"}.items()}
    (told,) = post(client, api_key, description="水很臭", address_string="三号桥下", **asked).json
    assert re.fullmatch(r"[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}", told["service_request_id"])
    statement = """SELECT r.code, kind, place_words, note, extent, smell, is_ongoing, source, place_source, c.name,
                          ST_X(point), state
                   FROM report r JOIN api_client c ON c.id = r.api_client_id"""
    expected = ("sewage_outfall", "三号桥下", "水很臭", "spot", 2, True, "open311", "pin", "市民热线", LON, "received")
    assert rows_of(sessions, statement) == [(told["service_request_id"], *expected)]
    assert rows_of(sessions, "SELECT topic FROM outbox ORDER BY id")[0] == ("photos.sanitise",)
    link = re.search(r"http://localhost(/f/\S+)", told["service_notice"])
    assert link is not None
    assert told["service_request_id"] in client.get(link[1]).text
    assert list(settings.spool_dir.glob("*.part")) == []


def test_the_same_request_sent_twice_is_one_report(
    client: FlaskClient, sessions: sessionmaker[Session], api_key: str
) -> None:
    first = post(client, api_key).json
    assert post(client, api_key).json == first
    assert rows_of(sessions, "SELECT count(*) FROM report") == [(1,)]
    assert post(client, api_key, description="还在流").json != first
    assert rows_of(sessions, "SELECT count(*) FROM photo") == [(2,)]


def test_who_the_reporter_is_is_stored_nowhere(
    client: FlaskClient, sessions: sessionmaker[Session], api_key: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert post(client, api_key, **PERSON).status_code == 200
    tables = rows_of(sessions, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    stored = caplog.text
    for (table,) in tables:
        if table not in ("spatial_ref_sys", "geometry_columns", "geography_columns"):
            stored += str(rows_of(sessions, f'SELECT t::text FROM "{table}" t'))
    assert "sewage_outfall" in stored
    assert [value for value in PERSON.values() if value in stored] == []


def test_both_formats_and_every_place_for_the_token(client: FlaskClient, api_key: str) -> None:
    found = element(post(client, api_key, "xml"))
    assert (found.tag, found[0].tag) == ("service_requests", "request")
    assert found.findtext("request/service_request_id")
    files = {"media": [(io.BytesIO(JPEG), "a.jpg"), (io.BytesIO(JPEG[:-1]), "b.jpg")]}
    data = {"service_code": "foam", "lat": LAT, "long": LON} | files
    shown = client.post("/open311/v2/requests.json", data=data, headers={"Authorization": f"Bearer {api_key}"})
    assert shown.status_code == 200
    data = {"service_code": "foam", "lat": LAT, "long": LON, "media[]": (io.BytesIO(JPEG), "a.jpg")}
    assert client.post(f"/open311/v2/requests.json?api_key={api_key}", data=data).status_code == 200


@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.parametrize(
    ("changes", "status", "told"),
    [
        ({"api_key": None}, 403, ["api_key"]),
        ({"api_key": "made up"}, 403, ["api_key"]),
        ({"jurisdiction_id": "other.example"}, 404, ["jurisdiction_id"]),
        ({"service_code": None}, 400, ["service_code: "]),
        ({"service_code": "rain"}, 400, ["service_code: "]),
        ({"lat": None, "long": None}, 400, ["lat: 请给出经纬度 lat 和 long"]),
        ({"lat": None, "long": None, "address_string": "武汉市沿江大道1号"}, 400, ["lat: 请给出经纬度 lat 和 long"]),
        ({"long": None}, 400, ["long: "]),
        ({"lat": "north"}, 400, ["lat: "]),
        ({"lat": "91", "long": "181", "service_code": ""}, 400, ["service_code: ", "long: ", "lat: "]),
        ({"media": None}, 400, ["media: 请至少附一张照片"]),
        ({"media": [b""]}, 400, ["media: 有照片是空文件"]),
        ({"media_url": "https://evil.example/a.jpg"}, 400, ["media_url: 这里不从这个地址取照片"]),
        ({"media_url": "http://169.254.169.254/"}, 400, ["media_url: 这里不从这个地址取照片"]),
        ({"description": "长" * 501}, 400, ["description: "]),
        ({"attribute[smell]": "4"}, 400, ["attribute[smell]: "]),
        ({"attribute[ongoing]": "perhaps"}, 400, ["attribute[ongoing]: "]),
        ({"attribute[colour]": "black"}, 400, ["attribute: "]),
        ({"attribute[extent": "spot"}, 400, ["attribute: "]),
        ({"lat": [f"{LAT}", "40"]}, 400, ["lat: 写了不止一次"]),
        ({"attribute[smell]": ["1", "2"]}, 400, ["attribute[smell]: 写了不止一次"]),
        ({"media_url": ["https://a.example/1.jpg", "https://a.example/2.jpg"]}, 400, ["media_url: 写了不止一次"]),
    ],
)  # fmt: skip
def test_every_fault_is_told_as_the_standard_tells_it(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings,
    api_key: str, form: str, changes: dict[str, Any], status: int, told: list[str],
) -> None:  # fmt: skip
    refusal = post(
        client, changes.get("api_key", api_key), form, **{k: v for k, v in changes.items() if k != "api_key"}
    )
    assert refusal.status_code == status
    found = faults(refusal)
    assert [code for code, _ in found] == [status] * len(told)
    assert all(any(words in sentence for _, sentence in found) for words in told), found
    assert rows_of(sessions, "SELECT (SELECT count(*) FROM report) + (SELECT count(*) FROM photo)") == [(0,)]
    assert list(settings.spool_dir.glob("*.part")) == []


def test_too_many_and_too_large_photos(
    client: FlaskClient, api_key: str, settings: Settings, sessions: sessionmaker[Session]
) -> None:
    many = [JPEG + bytes([n]) for n in range(3)]
    assert faults(post(client, api_key, media=many))[0][1].startswith("media: 照片太多，最多 2 张")
    large = [bytes(settings.photo_max_bytes + 1)]
    refusal = post(client, api_key, "xml", media=large)
    assert (refusal.status_code, faults(refusal)[0][0]) == (413, 413)
    assert rows_of(sessions, "SELECT count(*) FROM report") == [(0,)]


def test_a_jurisdiction_that_is_ours_may_be_named(client: FlaskClient, api_key: str) -> None:
    assert client.get("/open311/v2/services.json?jurisdiction_id=localhost").status_code == 200
    assert post(client, api_key, jurisdiction_id="localhost").status_code == 200


def test_a_request_takes_two_statements(app: Flask, client: FlaskClient, api_key: str) -> None:
    with counting(app) as statements:
        assert post(client, api_key).status_code == 200
    assert len(statements) == 2  # whose token, and the report


def test_a_photo_is_fetched_from_a_trusted_host(
    app: Flask, client: FlaskClient, sessions: sessionmaker[Session], settings: Settings, api_key: str, tmp_path: Path
) -> None:
    with https_server(tmp_path, answer(JPEG)) as server:
        app.extensions[FETCHER] = server.fetcher()
        url = f"https://{server.host}/a.jpg"
        data = {"service_code": "foam", "lat": LAT, "long": LON, "api_key": api_key, "media_url": url}
        assert client.post("/open311/v2/requests.json", data=data).status_code == 200
        assert post(client, api_key, media_url=url).status_code == 200
        two = [JPEG, JPEG[:-1]]
        assert faults(post(client, api_key, media_url=url, media=two))[0][1].startswith("media: 照片太多")
    assert len(server.heard) == 2
    assert rows_of(sessions, "SELECT original_bytes, state FROM photo") == [(len(JPEG), "received")] * 3
    (key,) = rows_of(sessions, "SELECT original_key FROM photo ORDER BY id LIMIT 1")[0]
    assert b"".join(ObjectStore(settings.objects_url).open(key)) == JPEG
    assert list(settings.spool_dir.glob("*.part")) == []


@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        (answer(b"", status="404 Not Found"), 400, "media_url: 没有取到"),
        (answer(bytes(100), length=10**9), 413, "media: 有照片超过"),
        (answer(b""), 400, "media: 有照片是空文件"),
    ],
)
def test_a_photo_that_cannot_be_fetched_is_no_report(
    app: Flask, client: FlaskClient, sessions: sessionmaker[Session], settings: Settings, api_key: str, tmp_path: Path,
    script: Any, status: int, words: str,
) -> None:  # fmt: skip
    with https_server(tmp_path, script) as server:
        app.extensions[FETCHER] = server.fetcher()
        refusal = post(client, api_key, media=None, media_url=f"https://{server.host}/a.jpg")
    assert (refusal.status_code, faults(refusal)[0][1].startswith(words)) == (status, True)
    assert rows_of(sessions, "SELECT count(*) FROM report") == [(0,)]
    assert list(settings.spool_dir.glob("*.part")) == []


def test_nobody_without_a_token_makes_us_fetch_anything(app: Flask, client: FlaskClient, tmp_path: Path) -> None:
    with https_server(tmp_path, answer(JPEG)) as server:
        app.extensions[FETCHER] = server.fetcher()
        assert post(client, "made up", media_url=f"https://{server.host}/a.jpg").status_code == 403
    assert server.heard == []


def test_a_listed_host_that_leads_inside_is_refused(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, api_key: str
) -> None:
    """The settings alone never lead to loopback."""
    settings = make_settings(database_url=database_url, redis_url=redis_url, media_url_hosts="localhost localhost:8443")
    with running(settings) as app:
        for url in ("https://localhost/a.jpg", "https://localhost:8443/a.jpg"):
            refusal = post(app.test_client(), api_key, media=None, media_url=url)
            assert faults(refusal) == [(400, f"media_url: {FIELD_WORDS['media_url_refused']}")]
