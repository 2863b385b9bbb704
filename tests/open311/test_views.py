"""GeoReport v2: what it says of itself, and what holds for every address of it."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy.engine import make_url

from tests.conftest import _administer
from tests.open311.client import element, faults, post
from tests.reports.rows import LAT, LON
from tests.web.site import running
from waterwatch.kernel.settings import Settings
from waterwatch.open311.views import QUESTION_WORDS


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
