"""A body that should be JSON: whatever else it is, every address that takes one says so, and none of them breaks."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.opendata.test_views import photo, report
from tests.web.site import counting

ADDRESSES = ("POST /api/v1/reports", "PATCH /api/v1/reports/{token}", "PUT /api/v1/reports/{token}/contact")
NOT_JSON = {
    "deep": b"[" * 200_000,
    "deep within": b'{"kind": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "gb18030": '{"note": "水很臭"}'.encode("gb18030"),
    "utf-16": '{"note": "水很臭"}'.encode("utf-16"),
    "nan": b'{"ph": NaN}',
    "infinity": b'{"ph": -Infinity}',
    "long number": b'{"ph": ' + b"9" * 5000 + b"}",
    "cut off": b'{"note": "',
    "empty": b"",
}


@pytest.fixture
def token(client: FlaskClient) -> str:
    """The token of a report just sent."""
    return str(client.post("/api/v1/reports", json=report(photo(client))).json["token"])


def send(client: FlaskClient, address: str, token: str, body: bytes) -> TestResponse:
    method, path = address.format(token=token).split()
    return client.open(path, method=method, data=body, content_type="application/json")


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_no_json_is_said_to_be_none(client: FlaskClient, token: str, address: str) -> None:
    for name, body in NOT_JSON.items():
        refusal = send(client, address, token, body)
        assert (refusal.status_code, refusal.mimetype) == (400, "application/problem+json"), name
        assert refusal.json["errors"] == {"body": ["body_not_json"]}, name


@pytest.mark.parametrize("address", ADDRESSES)
def test_json_of_another_form_is_refused_with_its_fault(client: FlaskClient, token: str, address: str) -> None:
    for body in (b"[]", b"null", b'"foam"', b"7"):
        refusal = send(client, address, token, body)
        assert (refusal.status_code, refusal.json["errors"]) == (400, {"body": ["body_not_an_object"]})
    for body in (
        b'{"note": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"email": "\\u0000", "phone": "\\ud800"}',
        b'{"smell": 1e400}',
    ):
        assert send(client, address, token, body).status_code == 400


@pytest.mark.parametrize("address", ADDRESSES)
def test_json_too_long_is_said_to_be(client: FlaskClient, token: str, address: str) -> None:
    refusal = send(client, address, token, b'{"note": "' + b"x" * (256 * 1024) + b'"}')
    assert (refusal.status_code, refusal.mimetype) == (413, "application/problem+json")
    assert (refusal.json["code"], "errors" in refusal.json) == ("request_entity_too_large", False)
    assert refusal.json["detail"] == "内容太大：除了照片，一次最多 256 KB。"


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_body_that_does_not_claim_to_be_json_is_not_read_as_json(
    client: FlaskClient, token: str, address: str
) -> None:
    method, path = address.format(token=token).split()
    refusal = client.open(path, method=method, data=b"{}", content_type="text/plain")
    assert (refusal.status_code, refusal.json["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("path", ["/report", "/login", "/language", "/f/x/push", "/open311/v2/requests.json"])
def test_a_page_that_takes_a_form_is_not_broken_by_json(client: FlaskClient, path: str) -> None:
    """Whoever looks into every body for a person's token reads it before the page does."""
    for body in NOT_JSON.values():
        for accept in ("application/json", "text/html"):
            refusal = client.post(path, data=body, content_type="application/json", headers={"Accept": accept})
            assert 400 <= refusal.status_code < 500, (path, body[:20])


def test_a_byte_order_mark_is_passed_over(client: FlaskClient, token: str) -> None:
    assert send(client, ADDRESSES[1], token, b'\xef\xbb\xbf{"ph": 7.5}').status_code == 200


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/reports", "/api/v1/reports/a/b/c"])
def test_what_is_not_there_below_api_is_told_to_programs(client: FlaskClient, path: str) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        refusal = client.open(path, method=method, headers={"Accept": "text/html"})
        assert (refusal.status_code, refusal.mimetype) == (404, "application/problem+json"), (method, path)
        assert refusal.json["code"] == "not_found"


def test_nobody_is_signed_in_where_a_report_is_followed_by_programs(app: Flask, token: str) -> None:
    """A cookie that names a person is not looked at: no statement asks who it is."""
    client = app.test_client()
    with client.session_transaction() as kept:
        kept["_user_id"] = "someone"
    with counting(app) as statements:
        answer = client.patch(f"/api/v1/reports/{token}", json={"note": "水很臭"})
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert not [one for one in statements if "FROM person" in one]
