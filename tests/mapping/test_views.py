"""The published folder as the application serves it: types, parts, twins, caches, policies; a bucket is led to."""

import gzip
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session, sessionmaker

from tests.web.site import Visitor, counting, load_people, running
from waterwatch.kernel.settings import Settings
from waterwatch.mapping.shelf import HASHED_FOREVER, REVALIDATE, FolderShelf

ARCHIVE = "waters.0123456789abcdef.pmtiles"


@pytest.fixture
def shelf(settings: Settings) -> FolderShelf:
    shelf = FolderShelf(settings.publish_dir)
    shelf.put("map.json", b'{"version":2}')
    shelf.put("levels.0123456789abcdef.json", b"{}")
    shelf.put(ARCHIVE, bytes(range(256)) * 8)
    shelf.put("maps/national.html", b"<!doctype html>")
    shelf.put("maps/national.png", b"\x89PNG")
    return shelf


@pytest.mark.usefixtures("shelf")
def test_a_part_of_the_archive_is_served(client: FlaskClient) -> None:
    answer = client.get(
        f"/published/{ARCHIVE}", buffered=True, headers={"Range": "bytes=256-259", "Accept-Encoding": "gzip"}
    )
    assert answer.status_code == 206
    assert answer.data == bytes([0, 1, 2, 3])
    assert answer.headers["Content-Range"] == "bytes 256-259/2048"
    assert answer.headers["Content-Type"] == "application/vnd.pmtiles"
    assert answer.headers["Cache-Control"] == HASHED_FOREVER
    assert answer.headers["ETag"]


@pytest.mark.usefixtures("shelf")
def test_text_is_sent_packed_to_those_who_take_it(client: FlaskClient) -> None:
    answer = client.get("/published/map.json", buffered=True, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.data) == b'{"version":2}'
    assert client.get("/published/map.json", buffered=True).data == b'{"version":2}'
    assert answer.headers["Cache-Control"] == REVALIDATE
    known = client.get("/published/map.json", buffered=True).headers["ETag"]
    again = client.get("/published/map.json", buffered=True, headers={"If-None-Match": known})
    assert again.status_code == 304


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(
    ("name", "kind"),
    [("maps/national.html", "text/html; charset=utf-8"), ("map.json", "application/json"),
     ("maps/national.png", "image/png")],
)  # fmt: skip
def test_what_a_file_is_is_said_once(client: FlaskClient, name: str, kind: str) -> None:
    assert client.get(f"/published/{name}", buffered=True).headers["Content-Type"] == kind


@pytest.mark.usefixtures("shelf")
def test_a_file_hangs_on_nobodys_cookie(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    visitor = Visitor(client)
    visitor.sign_in(load_people(sessions, settings)["moderator"])
    for name in ("map.json", ARCHIVE, "maps/national.html", "levels.0123456789abcdef.json"):
        with counting(client.application) as asked:
            answer = visitor.get(f"/published/{name}", buffered=True)
        assert asked == []
        assert answer.status_code == 200
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert "Set-Cookie" not in answer.headers
    assert "Cookie" in visitor.get("/desk/").headers["Vary"]


@pytest.mark.usefixtures("shelf")
def test_pages_may_be_embedded_and_ask_nobody_else(client: FlaskClient) -> None:
    answer = client.get("/published/maps/national.html", buffered=True)
    assert "frame-ancestors *" in answer.headers["Content-Security-Policy"]
    assert "X-Frame-Options" not in answer.headers
    assert (
        client.get("/published/maps/national.png", buffered=True).headers["Cross-Origin-Resource-Policy"]
        == "cross-origin"
    )


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize("name", ["../secret", "..%2fsecret", ".hidden", "none.json", "maps/"])
def test_nothing_else_is_served(client: FlaskClient, settings: Settings, name: str) -> None:
    (settings.publish_dir.parent / "secret").write_text("x")
    assert client.get(f"/published/{name}").status_code == 404


def test_a_bucket_is_led_to(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> None:
    settings = make_settings(
        database_url=database_url,
        redis_url=redis_url,
        publish_url="s3://published/map",
        published_url="https://map.example.org/map/",
    )
    with running(settings) as app:
        answer = app.test_client().get("/published/maps/national.html")
        assert answer.status_code == 302
        assert "Vary" not in answer.headers
        assert answer.headers["Location"] == "https://map.example.org/map/maps/national.html"
        policy = app.test_client().get("/login").headers["Content-Security-Policy"]
        assert "connect-src 'self' https://map.example.org;" in policy
