"""What every answer carries, whatever it is: no third host, no framing, no referrer, no copy of what is private."""

import json
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from flask import Flask

from tests.web.site import Visitor, running
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.settings import Settings

ANSWERS = (
    "/",
    "/report",
    "/login",
    "/search?q=长江",
    "/nowhere",
    "/w/none",
    "/healthz",
    "/api/v1/waters/nearest",
    "/published/none",
)


def directives(policy: str) -> dict[str, list[str]]:
    return {part.split()[0]: part.split()[1:] for part in policy.split(";") if part.strip()}


@pytest.mark.parametrize("path", ANSWERS)
def test_every_answer_allows_no_host_but_ours(visitor: Visitor, path: str) -> None:
    headers = visitor.get(path).headers
    policy = directives(headers["Content-Security-Policy"])
    assert policy["default-src"] == ["'none'"]
    assert {source for sources in policy.values() for source in sources} <= {"'none'", "'self'", "data:", "blob:"}
    assert policy["script-src"] == ["'self'"]
    assert policy["frame-ancestors"] == ["'none'"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"].lower() == "deny"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Server" not in headers


def test_a_front_end_file_carries_them_too_and_is_kept_for_ever(app: Flask, visitor: Visitor) -> None:
    page = visitor.get("/").text
    address = next(part.split('"')[0] for part in page.split('href="')[1:] if ".css" in part)
    response = visitor.get(address)
    response.close()
    assert response.status_code == 200
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "immutable" in response.headers["Cache-Control"]


def test_pages_of_people_signed_in_or_signing_in_are_kept_by_nobody(
    visitor: Visitor, people: dict[str, DemoPerson]
) -> None:
    assert visitor.get("/login").headers["Cache-Control"] == "no-store"
    visitor.sign_in(people["moderator"])
    for path in ("/desk/", "/", "/account"):
        assert visitor.get(path).headers["Cache-Control"] == "no-store", path


def test_a_public_page_is_not_shared_between_visitors_by_a_cache(visitor: Visitor) -> None:
    """Its forms carry the visitor's own token."""
    assert "private" in visitor.get("/").headers["Cache-Control"]


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(visitor: Visitor) -> None:
    (cookie,) = (
        line for line in visitor.get("/report").headers.getlist("Set-Cookie") if line.startswith("waterwatch=")
    )
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_in_production_cookies_and_pages_are_for_https_alone(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> None:
    settings = make_settings(
        mode="production",
        public_url="https://waters.example.org",
        mail_from="waters@example.org",
        database_url=database_url,
        redis_url=redis_url,
    )
    with running(settings) as app:
        response = app.test_client().get("/report", base_url="https://waters.example.org")
    (cookie,) = (line for line in response.headers.getlist("Set-Cookie") if line.startswith("waterwatch="))
    assert "Secure" in cookie
    assert int(response.headers["Strict-Transport-Security"].split("max-age=")[1].split(";")[0]) >= 180 * 86400


@pytest.mark.parametrize("host", ["evil.example", "localhost:1@evil.example", "evil.example:80"])
@pytest.mark.parametrize("path", ["/", "/report", "/desk/", "/nowhere", "/login"])
def test_no_answer_repeats_the_host_somebody_made_up(visitor: Visitor, path: str, host: str) -> None:
    response = visitor.get(path, headers={"Host": host, "X-Forwarded-Host": "evil.example"})
    assert "evil.example" not in response.text
    assert "evil.example" not in response.headers.get("Location", "")


def test_a_redirect_stays_on_the_site(visitor: Visitor) -> None:
    for target in ("https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:x"):
        response = visitor.post("/language", {"language": "en", "next": target}, page="/")
        assert response.status_code == 303
        assert not urlsplit(response.location).netloc, target
        assert not response.location.startswith(("//", "/\\", "/\t")), target


def test_an_operators_base_map_opens_its_own_host_alone(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> None:
    source = {"names": {"en": "A"}, "url": "https://tiles.example.org/{z}/{x}/{y}.png", "attribution": "A"}
    settings = make_settings(database_url=database_url, redis_url=redis_url, base_tiles=json.dumps([source]))
    with running(settings) as app:
        policy = directives(app.test_client().get("/nowhere").headers["Content-Security-Policy"])
    host = "https://tiles.example.org"
    assert {name for name, sources in policy.items() if host in sources} == {"img-src", "connect-src"}
    assert policy["script-src"] == policy["frame-src"] == ["'self'"]
