"""Every address that changes something wants its form's token, and hostile paths and fields get a kind refusal."""

import uuid
from typing import cast

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.routing import AnyConverter, BaseConverter

from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.db import transaction
from waterwatch.web.guards import BY_LINK, PUBLIC, declared_permission

SAFE = {"GET", "HEAD", "OPTIONS"}
EXAMPLES = {
    "UUIDConverter": str(uuid.uuid4()),
    "IntegerConverter": 320,
    "UnicodeConverter": "A" * 43,
    "PathConverter": "a",
}
API = (
    "/api/v1/",
    "/open311/",
)  # gives no rights to a cookie, so there is nothing another site could borrow; see the test below
COUNTED = ("report", "photo", "incident", "escalation_case", "outbox", "grade")


def example(converter: BaseConverter) -> object:
    return min(converter.items) if isinstance(converter, AnyConverter) else EXAMPLES[type(converter).__name__]


def changing(app: Flask) -> list[tuple[str, str]]:
    """(method, path) of everything that is not only read, with made-up values in the path."""
    found = []
    for rule in app.url_map.iter_rules():
        values = {name: example(converter) for name, converter in rule._converters.items()}
        _, path = cast(tuple[str, str], rule.build(values))
        if path.startswith(API):
            continue
        found += [(method, path) for method in cast(set[str], rule.methods) - SAFE]
    return found


def test_nothing_is_changed_without_the_forms_token(
    app: Flask, people: dict[str, DemoPerson], sessions: sessionmaker[Session]
) -> None:
    """Signed in with every right there is, from another site's form: refused before any view is asked."""
    before = counts(sessions)
    walked = 0
    for who in ("moderator", "lead", "admin"):
        visitor = Visitor(app.test_client())
        visitor.sign_in(people[who])
        for method, path in changing(app):
            for fields in ({}, {"csrf_token": "made up"}):
                response = visitor.client.open(path, method=method, data=fields)
                assert (response.status_code, "安全校验" in response.text) == (400, True), (method, path)
                walked += 1
        response = visitor.client.post("/logout", json={}, headers={"Accept": "application/json"})
        assert response.get_json()["code"] == "csrf"
    assert walked > 50
    assert counts(sessions) == before


def test_the_interface_for_programs_knows_nobody(app: Flask, people: dict[str, DemoPerson]) -> None:
    signed_in, nobody = Visitor(app.test_client()), Visitor(app.test_client())
    signed_in.sign_in(people["admin"])
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(API)]
    assert {declared_permission(app.view_functions[rule.endpoint]) for rule in rules} == {PUBLIC, BY_LINK}
    programs, applications = API
    for path in (
        *(programs + path for path in ("reports", "photos", "uploads", "reports/x/withdraw")),
        applications + "v2/requests.xml",
    ):
        answers = [one.client.post(path, json={}) for one in (signed_in, nobody)]
        assert answers[0].status_code == answers[1].status_code
        assert all(400 <= answer.status_code < 500 for answer in answers)


def test_a_token_of_somebody_else_is_worth_nothing(app: Flask, people: dict[str, DemoPerson]) -> None:
    mine, other = Visitor(app.test_client()), Visitor(app.test_client())
    mine.sign_in(people["moderator"])
    response = mine.client.post("/desk/next", data={"csrf_token": other.token("/report")})
    assert response.status_code == 400


def test_a_method_is_not_overridden_by_a_header_or_a_field(visitor: Visitor, people: dict[str, DemoPerson]) -> None:
    visitor.sign_in(people["moderator"])
    for headers in ({"X-HTTP-Method-Override": "POST"}, {"X-Method-Override": "POST"}):
        response = visitor.get("/logout?_method=POST", headers=headers)
        assert response.status_code in (404, 405)
    assert visitor.get("/desk/").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/published/../../../etc/passwd",
        "/published/%2e%2e/%2e%2e/etc/passwd",
        "/published/..%2f..%2fetc%2fpasswd",
        "/published/%00",
        "/assets/../wsgi.py",
        "/assets/%2e%2e%2fpackage.json",
        "/i/AAAA-AAAA/photo/1/99999999999999999999",
        "/i/%00/photo/1/320",
        "/w/%27%3BDROP%20TABLE%20report--",
        "/w/" + "a" * 5000,
        "/f/%00%00",
        "/a/" + "x" * 3000,
        "/search?q=%00",
        "/search?q=" + "%F0%9F%90%9F" * 2000,
        "/search?q=%25%5F%5C",
        "/search?q=%FF%FE",
        "/api/v1/waters/nearest?lon=nan&lat=inf",
        "/api/v1/waters/nearest?lon=1e999&lat=30",
        "/api/v1/waters/nearest?lon=114&lat=30&accuracy_m=-1",
        "/desk/00000000-0000-0000-0000-000000000000",
        "//evil.example/%2f..",
    ],
)
def test_a_hostile_address_is_answered_kindly_and_learns_nothing(
    visitor: Visitor, people: dict[str, DemoPerson], path: str
) -> None:
    visitor.sign_in(people["moderator"])
    response = visitor.get(path)
    assert response.status_code < 500, response.text
    assert "root:" not in response.text
    assert "evil.example" not in response.headers.get("Location", "")


@pytest.mark.parametrize(
    "value", ["\x00", "a\u202eb", "x" * 20_000, "<script>alert(1)</script>", "' OR 1=1 --", "\ud83d"]
)
@pytest.mark.parametrize("path", ["/login", "/language", "/report"])
def test_a_hostile_field_is_answered_kindly(visitor: Visitor, path: str, value: str) -> None:
    data = {
        "csrf_token": visitor.token("/login"),
        **dict.fromkeys(
            ("email", "password", "next", "language", "kind", "note", "lon", "lat"),
            value.encode(errors="surrogatepass"),
        ),
    }
    response = visitor.client.post(path, data=data)
    assert response.status_code < 500
    assert "<script>alert(1)" not in response.text


def counts(sessions: sessionmaker[Session]) -> dict[str, int]:
    with transaction(sessions) as session:
        return {name: session.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in COUNTED}
