"""GeoReport v2: what an application sends becomes a report like any other; what it reads is what the map shows."""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import TestResponse, encode_multipart

from tests.conftest import _administer
from tests.escalation.rows import add_agency, add_incident, add_photo, add_report, insert
from tests.messaging.https import answer, https_server
from tests.reports.rows import LAT, LON
from tests.reports.site import JPEG
from tests.web.site import counting, running
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.open311.queries import _LISTED, _NAMED
from waterwatch.open311.views import FETCHER, FIELD_WORDS, QUESTION_WORDS

NOW = datetime.now(UTC).replace(microsecond=0)
SECRET_NOTE = "王小明家门口"
PERSON = {
    "email": "ming@example.org",
    "first_name": "小明",
    "last_name": "王",
    "phone": "13800138000",
    "device_id": "device-4711",
    "account_id": "account-4712",
}


def post(client: FlaskClient, api_key: str | None, form: str = "json", **changes: Any) -> TestResponse:
    """Send one request as an application does; None leaves a field out."""
    fields = {"service_code": "sewage_outfall", "lat": f"{LAT}", "long": f"{LON}", "api_key": api_key}
    fields |= {"media": [JPEG]}
    data = {name: value for name, value in (fields | changes).items() if value is not None}
    if "media" in data:
        data["media"] = [FileStorage(io.BytesIO(content), f"IMG_{n}.jpg") for n, content in enumerate(data["media"])]
    boundary, body = encode_multipart(MultiDict(data))  # in memory: the client's own way leaves temporary files behind
    content_type = f"multipart/form-data; boundary={boundary}"
    return client.post(f"/open311/v2/requests.{form}", data=body, content_type=content_type)


def rows_of(sessions: sessionmaker[Session], statement: str) -> list[tuple[Any, ...]]:
    with transaction(sessions) as session:
        return [tuple(row) for row in session.execute(text(statement))]


def element(response: TestResponse) -> ElementTree.Element:
    """The XML document of an answer."""
    assert response.content_type == "text/xml; charset=utf-8"
    return ElementTree.fromstring(response.data)  # our own


def faults(response: TestResponse) -> list[tuple[int, str]]:
    """(code, description) of a refusal, the same in both formats."""
    if response.content_type.startswith("application/json"):
        return [(one["code"], one["description"]) for one in response.json]
    found = element(response)
    assert found.tag == "errors"
    return [(int(one.findtext("code", "")), one.findtext("description", "")) for one in found.findall("error")]


@pytest.fixture
def incident(sessions: sessionmaker[Session], settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """A public incident whose exact place is a kilometre off its public point, with a photo, a note and a case."""
    with transaction(sessions) as session:
        incident_id = add_incident(session, now=NOW - timedelta(days=3), water="府河")
        report_id = add_report(
            session, incident_id, now=NOW - timedelta(days=4), note=SECRET_NOTE, place_words=SECRET_NOTE
        )
        add_photo(session, report_id, ObjectStore(settings.objects_url), tmp_path, now=NOW)
        agency_id = add_agency(session, "武汉市水务局", ["secret@wh.example"])
        refused_id = add_agency(session, "某某局", ["other@wh.example"])
        for agency, state in ((agency_id, "acknowledged"), (refused_id, "refused_not_ours")):
            insert(session, "escalation_case", incident_id=incident_id, agency_id=agency, state=state, state_since=NOW,
                   severity=3, created_at=NOW - timedelta(days=2), acknowledged_at=NOW - timedelta(days=1))  # fmt: skip
        session.execute(
            text("""UPDATE incident SET exact_point = ST_SetSRID(ST_MakePoint(114.987654, 30.123456), 4326);
                    UPDATE report SET point = ST_SetSRID(ST_MakePoint(114.987654, 30.123456), 4326)""")
        )
        code = session.execute(text("SELECT code FROM incident")).scalar_one()
        report_code = session.execute(text("SELECT code FROM report")).scalar_one()
    return {"id": incident_id, "code": code, "report_code": report_code}


def test_discovery_names_the_endpoint_in_both_formats(client: FlaskClient) -> None:
    told = client.get("/open311/discovery.json").json
    assert told["endpoints"] == [
        {
            "specification": "http://wiki.open311.org/GeoReport_v2",
            "url": "http://localhost/open311/v2",
            "changeset": told["changeset"],
            "type": "test",
            "formats": ["text/xml", "application/json"],
        }
    ]
    found = element(client.get("/open311/discovery.xml"))
    assert found.tag == "discovery"
    assert found.findtext("endpoints/endpoint/url") == "http://localhost/open311/v2"
    assert [one.text for one in found.findall("endpoints/endpoint/formats/format")] == ["text/xml", "application/json"]


def test_services_are_named_in_the_language_asked_for(client: FlaskClient) -> None:
    path = "/open311/v2/services.json"
    plain = client.get(path).json
    assert [one["service_code"] for one in plain][:2] == ["black_odorous", "sewage_outfall"]
    assert (plain[0]["service_name"], plain[0]["metadata"], plain[0]["type"]) == ("黑臭水体", True, "realtime")
    english = client.get(path, headers={"Accept-Language": "en"}).json
    assert english[0]["service_name"] != "黑臭水体"
    assert client.get(path + "?locale=en_US").json == english
    assert client.get(path + "?locale=zh_CN", headers={"Accept-Language": "en"}).json == plain
    assert client.get(path + "?locale=tlh", headers={"Accept-Language": "en"}).json == english
    found = element(client.get("/open311/v2/services.xml"))
    assert [found.tag, found[0].tag, found[0].findtext("metadata")] == ["services", "service", "true"]
    assert len(found) == len(plain)


def test_a_definition_asks_the_optional_questions(client: FlaskClient) -> None:
    told = client.get("/open311/v2/services/foam.json").json
    assert told["service_code"] == "foam"
    assert [one["code"] for one in told["attributes"]] == list(QUESTION_WORDS)
    assert {one["required"] for one in told["attributes"]} == {False}
    assert told["attributes"][2]["values"] == [{"key": "yes", "name": "是"}, {"key": "no", "name": "否"}]
    found = element(client.get("/open311/v2/services/foam.xml"))
    assert found.tag == "service_definition"
    assert [one.findtext("code") for one in found.findall("attributes/attribute")] == list(QUESTION_WORDS)
    assert [one.findtext("key") for one in found.findall("attributes/attribute[2]/values/value")] == list("0123")


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


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/open311/v2/services/rain.xml", 404),
        ("/open311/v2/services/rain.json", 404),
        ("/open311/v2/requests/ABCD-2345.xml", 404),
        ("/open311/v2/requests/ABCD-2345.json", 404),
        ("/open311/v2/tokens/ABCD-2345.xml", 404),
        ("/open311/v2/services.xml?jurisdiction_id=other.example", 404),
        ("/open311/v2/services.txt", 404),
        ("/open311/v2/nothing.json", 404),
        ("/open311/v2/requests.xml?status=waiting", 400),
        ("/open311/v2/requests.json?service_code=rain", 400),
        ("/open311/v2/requests.json?start_date=yesterday", 400),
        ("/open311/v2/requests.json?start_date=2026-05-20T10:30:00", 400),
        ("/open311/v2/requests.json?start_date=0001-01-01T00:00:00%2B14:00", 400),
        ("/open311/v2/requests.xml?start_date=2026-01-01T00:00:00Z&end_date=2026-05-01T00:00:00Z", 400),
        ("/open311/v2/requests.json?service_request_id=" + "A" * 30, 400),
        ("/open311/v2/requests.json?service_request_id=" + ",".join(f"{n}" for n in range(101)), 400),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_so(client: FlaskClient, path: str, status: int) -> None:
    refusal = client.get(path)
    assert refusal.status_code == status
    assert [code for code, _ in faults(refusal)] == [status]


@pytest.mark.parametrize("path", ["services.xml", "requests/x.json", "tokens/x.xml"])
def test_nothing_is_written_where_nothing_is_taken(client: FlaskClient, path: str) -> None:
    refusal = client.post(f"/open311/v2/{path}", data={"a": "b"})
    assert [code for code, _ in faults(refusal)] == [404]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_method_nobody_offers_is_told_in_the_same_way(client: FlaskClient, method: str) -> None:
    for form in ("xml", "json"):
        refusal = client.open(f"/open311/v2/requests.{form}", method=method, data="{", content_type="application/json")
        assert [code for code, _ in faults(refusal)] == [404]


@pytest.mark.parametrize("path", ["/open311", "/open311/", "/open311/v2", "/open311/v2/", "/open311/v3/requests"])
def test_an_address_that_names_no_format_is_refused_in_one_of_ours(client: FlaskClient, path: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        for accept in ("text/html", "application/json"):
            refusal = client.open(path, method=method, headers={"Accept": accept})
            assert refusal.status_code == 404
            assert refusal.is_json is (accept == "application/json")
            assert faults(refusal) == [(404, "没有找到这一页")]


def test_edges_of_time_answer_an_empty_list(client: FlaskClient) -> None:
    for query in ("start_date=9999-12-31T00:00:00Z", "end_date=0001-01-02T00:00:00Z", ""):
        assert client.get(f"/open311/v2/requests.json?{query}").json == []


def test_a_jurisdiction_that_is_ours_may_be_named(client: FlaskClient, api_key: str) -> None:
    assert client.get("/open311/v2/services.json?jurisdiction_id=localhost").status_code == 200
    assert post(client, api_key, jurisdiction_id="localhost").status_code == 200


def test_the_list_tells_what_the_public_map_shows(client: FlaskClient, incident: dict[str, Any]) -> None:
    (told,) = client.get("/open311/v2/requests.json").json
    page = f"http://localhost/i/{incident['code']}"
    assert told == {
        "service_request_id": incident["code"],
        "status": "open",
        "status_notes": "待处理",
        "service_name": "污水直排",
        "service_code": "sewage_outfall",
        "description": None,
        "agency_responsible": "武汉市水务局",
        "service_notice": f"橙色·重大 {page}",
        "requested_datetime": (NOW - timedelta(days=3)).isoformat(),
        "updated_datetime": (NOW - timedelta(days=1)).isoformat(),
        "expected_datetime": None,
        "address": "府河",
        "address_id": None,
        "zipcode": None,
        "lat": LAT,
        "long": LON,
        "media_url": f"{page}/photo/1/1024",
    }
    assert client.get(told["media_url"].removeprefix("http://localhost")).status_code == 200
    found = element(client.get("/open311/v2/requests.xml"))
    assert (found.tag, found[0].tag) == ("service_requests", "request")
    assert {part.tag: part.text for part in found[0]} == {
        name: None if value is None else str(value) for name, value in told.items()
    }


def test_nothing_that_is_not_public_is_ever_told(
    client: FlaskClient, incident: dict[str, Any], sessions: sessionmaker[Session]
) -> None:
    code, report_code = incident["code"], incident["report_code"]
    paths = ("requests", f"requests/{code}", f"requests/{report_code}", f"tokens/{code}")
    paths += (f"requests?service_request_id={code},{report_code}",)
    for path in paths:
        for form in ("xml", "json"):
            name, _, query = path.partition("?")
            page = client.get(f"/open311/v2/{name}.{form}?{query}")
            assert page.status_code == 200
            for secret in ("114.98", "30.12", SECRET_NOTE, "wh.example", str(incident["id"])):
                assert secret not in page.text, (path, secret)
    assert report_code not in client.get("/open311/v2/requests.json").text


def test_a_report_tells_its_state_only_until_it_is_public(
    client: FlaskClient, sessions: sessionmaker[Session], api_key: str
) -> None:
    (receipt,) = post(client, api_key, description=SECRET_NOTE, address_string=SECRET_NOTE).json
    code = receipt["service_request_id"]
    assert client.get("/open311/v2/requests.json").json == []
    for path in (f"requests/{code}.json", f"requests/{code.lower()}.json", f"requests.json?service_request_id={code}"):
        (told,) = client.get(f"/open311/v2/{path}").json
        assert set(told) == {"service_request_id", "status", "requested_datetime", "updated_datetime"}
        assert (told["service_request_id"], told["status"]) == (code, "open")
    for state in ("refused", "withdrawn"):
        reason = "'abuse'" if state == "refused" else "NULL"
        with transaction(sessions) as session:
            session.execute(text(f"UPDATE report SET state = '{state}', refusal_code = {reason}"))
        (told,) = client.get(f"/open311/v2/requests/{code}.json").json
        assert (told["status"], len(told)) == ("closed", 4)
    assert client.get(f"/open311/v2/tokens/{code}.json").json == [{"service_request_id": code, "token": code}]


def test_an_accepted_report_is_its_incident(client: FlaskClient, incident: dict[str, Any]) -> None:
    (told,) = client.get(f"/open311/v2/requests/{incident['report_code']}.json").json
    (public,) = client.get(f"/open311/v2/requests/{incident['code']}.json").json
    assert told == public | {"service_request_id": incident["report_code"]}


def test_the_list_is_filtered(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        for days, kind in ((1, "foam"), (2, "oil_slick"), (40, "foam"), (91, "foam")):
            add_incident(session, now=NOW - timedelta(days=days), kind=kind)
        session.execute(
            text("""UPDATE incident SET state = 'verified_clean', closed_at = opened_at + interval '1 hour'
                    WHERE kind = 'oil_slick'""")
        )

    def kinds(query: str) -> list[str]:
        return [one["service_code"] for one in client.get(f"/open311/v2/requests.json?{query}").json]

    def day(days: int) -> str:
        return (NOW - timedelta(days=days)).isoformat().replace("+", "%2B")

    assert kinds("") == ["foam", "oil_slick", "foam"]
    assert kinds("status=open") == ["foam", "foam"]
    assert kinds("status=closed") == ["oil_slick"]
    assert kinds("status=open,closed&service_code=foam,oil_slick") == ["foam", "oil_slick", "foam"]
    assert kinds("status=open&status=closed&service_code=foam&service_code=oil_slick") == ["foam", "oil_slick", "foam"]
    assert kinds("service_code=oil_slick") == ["oil_slick"]
    assert kinds(f"start_date={day(3)}") == ["foam", "oil_slick"]
    assert kinds(f"end_date={day(30)}") == ["foam", "foam"]
    assert kinds(f"start_date={day(50)}&end_date={day(30)}") == ["foam"]
    assert kinds(f"start_date={(NOW - timedelta(days=3)).isoformat()}") == ["foam", "oil_slick"]  # a bare plus sign


def test_how_many_there_are_costs_no_more_statements(
    app: Flask, client: FlaskClient, sessions: sessionmaker[Session]
) -> None:
    sent = []
    codes = ""
    for _ in range(2):
        with transaction(sessions) as session:
            for _ in range(3):
                incident_id = add_incident(session, now=NOW - timedelta(days=1))
                add_report(session, incident_id, now=NOW)
            codes = ",".join(session.execute(text("SELECT code FROM report")).scalars())
        with counting(app) as listing:
            assert len(client.get("/open311/v2/requests.json").json) in (3, 6)
        with counting(app) as naming:
            assert len(client.get(f"/open311/v2/requests.json?service_request_id={codes}").json) in (3, 6)
        sent.append((len(listing), len(naming)))
    assert sent == [(3, 4), (3, 4)]


def test_naming_codes_reads_no_table_whole(sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(session.execute(text(f"EXPLAIN {_NAMED.text}"), {"codes": ["A"], "ids": []}).scalars())
    assert "Seq Scan on incident" not in plan, plan


def test_listing_reads_the_incidents_it_shows(sessions: sessionmaker[Session]) -> None:
    values = {"start": NOW - timedelta(days=90), "end": NOW, "kinds": None, "status": None, "limit": 1000}
    with transaction(sessions) as session:
        session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = "\n".join(session.execute(text(f"EXPLAIN {_LISTED.text}"), values).scalars())
    assert "ix_incident_opened_at" in plan, plan


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


def test_limits_count_the_application_and_are_told_as_the_standard_tells_faults(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, api_key: str
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, report_rate_limit="1/hour")
    with running(settings) as app:
        client = app.test_client()
        data = {"service_code": "foam", "lat": LAT, "long": LON, "api_key": api_key}
        for _ in range(3):  # no photo: 400, but counted by the application's own limit
            assert client.post("/open311/v2/requests.xml", data=data).status_code == 400
        assert post(client, None).status_code == 403
        refusal = post(client, None)
        assert (refusal.status_code, faults(refusal)[0][0]) == (429, 429)
        assert int(refusal.headers["Retry-After"]) > 0


def test_no_cookie_is_read_or_set(client: FlaskClient, api_key: str) -> None:
    client.set_cookie("waterwatch", "stolen")
    told = post(client, api_key)
    assert (told.status_code, told.headers.get("Set-Cookie")) == (200, None)
    assert told.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("form", ["xml", "json"])
def test_a_database_that_is_gone_is_told_in_the_same_way(
    client: FlaskClient, database_url: str, admin_url: str, form: str
) -> None:
    name = str(make_url(database_url).database)
    _administer(admin_url, "DROP DATABASE {name} WITH (FORCE)", name)
    refusal = client.get(f"/open311/v2/requests.{form}")
    assert (refusal.status_code, faults(refusal)[0][0], refusal.headers["Retry-After"]) == (503, 503, "5")
    assert name not in refusal.text


def test_listed_pages_of_other_sites_may_read(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, cors_origins="https://city.example.org")
    with running(settings) as app:
        for origin, allowed in (
            ("https://city.example.org", "https://city.example.org"),
            ("https://evil.example", None),
        ):
            told = app.test_client().get("/open311/v2/services.json", headers={"Origin": origin})
            assert told.headers.get("Access-Control-Allow-Origin") == allowed
