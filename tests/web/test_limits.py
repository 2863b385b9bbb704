"""Rate limits: what is counted, for whom, and what happens while Redis is away."""

import io
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from redis import Redis

from tests.web.site import Visitor, running
from waterwatch.kernel.settings import Settings
from workers.services import PrivateRedis

HERE = "203.0.113.7"
FEW = 5


@pytest.fixture
def limited(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Iterator[Flask]:
    """A system that is soon tired of anybody."""
    settings = make_settings(database_url=database_url, redis_url=redis_url, page_rate_limit=f"{FEW}/hour")
    with running(settings) as app:
        yield app


def ask(app: Flask, address: str = HERE, times: int = 1, **headers: str) -> list[int]:
    """The answers to ``times`` questions from ``address``."""
    client = app.test_client()
    return [
        client.get("/search", headers=headers, environ_base={"REMOTE_ADDR": address}).status_code for _ in range(times)
    ]


def test_who_asks_too_often_is_told_when_to_come_again(limited: Flask) -> None:
    assert ask(limited, times=FEW) == [200] * FEW
    refused = limited.test_client().get("/search", environ_base={"REMOTE_ADDR": HERE})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 3601
    assert "操作太频繁" in refused.text
    assert ask(limited, "203.0.113.8") == [200]


def test_an_answer_within_the_limit_says_nothing_of_limits(limited: Flask) -> None:
    response = limited.test_client().get("/search", environ_base={"REMOTE_ADDR": HERE})
    assert "Retry-After" not in response.headers
    assert not [name for name in response.headers.keys() if name.startswith("X-RateLimit")]  # noqa: SIM118


def test_probes_are_answered_as_often_as_they_ask(limited: Flask) -> None:
    client = limited.test_client()
    assert {client.get("/healthz").status_code for _ in range(3 * FEW)} == {200}


def test_one_subscriber_is_one_source_however_many_addresses_it_has(limited: Flask) -> None:
    answers = [ask(limited, f"2001:db8:1:2::{number:x}")[0] for number in range(FEW + 1)]
    assert answers == [200] * FEW + [429]
    assert ask(limited, "2001:db8:1:3::1") == [200]


def test_nobody_takes_another_name_by_a_header(limited: Flask) -> None:
    answers = [ask(limited, **{"X-Forwarded-For": f"198.51.100.{number}"})[0] for number in range(FEW + 1)]
    assert answers == [200] * FEW + [429]


def test_behind_a_trusted_proxy_the_visitor_counts_and_not_the_proxy(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> None:
    settings = make_settings(
        database_url=database_url, redis_url=redis_url, page_rate_limit=f"{FEW}/hour", trusted_proxies=1
    )
    with running(settings) as app:
        assert [ask(app, **{"X-Forwarded-For": f"198.51.100.{n}"})[0] for n in range(FEW + 1)] == [200] * (FEW + 1)
        forged = [ask(app, **{"X-Forwarded-For": f"192.0.2.{n}, 198.51.100.99"})[0] for n in range(FEW + 1)]
        assert forged == [200] * FEW + [429]


def test_no_address_is_in_redis_nor_in_the_logs(
    limited: Flask, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        ask(limited, times=FEW + 1)
    with Redis.from_url(redis_url) as client:
        kept = b" ".join(key for key in client.scan_iter("*"))
    assert kept
    assert HERE.encode() not in kept
    assert HERE not in " ".join(str(record.msg) + str(record.args) for record in caplog.records)
    (pseudonym,) = set(re.findall(rb"[0-9a-f]{32}", kept))
    assert pseudonym.decode() not in caplog.text  # it would join the lines of one visitor


@pytest.mark.parametrize("path", ["/api/v1/places/search", "/api/v1/waters/search", "/search"])
def test_searches_have_a_limit_of_their_own(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, path: str
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, search_rate_limit=f"{FEW}/hour")
    with running(settings) as app:
        client = app.test_client()
        assert [client.get(f"{path}?q=a").status_code for _ in range(FEW + 1)] == [200] * FEW + [429]
        assert 0 < int(client.get(f"{path}?q=a").headers["Retry-After"]) <= 3601
        assert client.get("/login").status_code == 200  # nothing else is counted with them


def test_a_person_who_types_without_pause_is_not_stopped(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> None:
    """A whole minute of it: the page asks after 300 ms of rest."""
    with running(make_settings(database_url=database_url, redis_url=redis_url)) as app:
        client = app.test_client()
        assert {client.get("/api/v1/places/search?q=a").status_code for _ in range(60_000 // 300)} == {200}


@pytest.mark.parametrize(
    "address",
    [
        "DELETE /api/v1/reports/{token}/contact",
        "PUT /api/v1/reports/{token}/contact",
        "POST /f/{token}/contact/erase",
        "POST /f/{token}/push/stop",
        "POST /n/confirm/{token}",
        "POST /n/stop/{token}",
        "POST /my/reports",
    ],
)
def test_what_changes_how_somebody_is_told_is_counted_more_strictly(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, address: str
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, report_rate_limit=f"{FEW}/hour")
    method, path = address.format(token="A" * 43).split()
    with running(settings) as app:
        client = app.test_client()
        answers = [client.open(path, method=method).status_code for _ in range(FEW + 1)]
    assert 429 not in answers[:FEW]
    assert answers[FEW] == 429


def test_one_server_of_a_mail_provider_may_unsubscribe_many(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, report_rate_limit=f"{FEW}/hour")
    with running(settings) as app:
        client = app.test_client()
        assert 429 not in [client.post(f"/api/v1/unsubscribe/{'A' * 43}").status_code for _ in range(3 * FEW)]


def test_who_is_over_the_limit_uploads_nothing(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, report_rate_limit="1/hour")

    with running(settings) as app:
        client = app.test_client()
        kind = "multipart/form-data; boundary=x"
        head = b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
        answers = []
        for _ in range(2):
            body = io.BytesIO(head + bytes(1 << 20) + b"\r\n--x--\r\n")
            response = client.post("/report", input_stream=body, content_type=kind, content_length=len(body.getvalue()))
            answers.append((response.status_code, body.tell() > 0))
    assert answers == [(400, True), (429, False)]
    assert not list((tmp_path / "spool").rglob("*.part"))


def test_while_redis_is_away_each_process_counts_and_nobody_is_turned_away(
    make_settings: Callable[..., Settings], database_url: str, services_folder: Path
) -> None:
    place = services_folder / "limits"
    place.mkdir(mode=0o755)
    server = PrivateRedis(place / "redis").start()
    try:
        settings = make_settings(database_url=database_url, redis_url=server.url(), page_rate_limit=f"{FEW}/hour")
        with running(settings) as app:
            assert ask(app, times=FEW - 1) == [200] * (FEW - 1)
            server.stop()
            during = ask(app, times=FEW + 1)
            assert during == [200] * FEW + [429]
            server.start()
            assert ask(app, "203.0.113.9") == [200]
    finally:
        server.stop()


def test_passwords_cannot_be_guessed_at_speed(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> None:
    settings = make_settings(database_url=database_url, redis_url=redis_url, login_rate_limit="3/minute")
    with running(settings) as app:
        visitor = Visitor(app.test_client())
        token = visitor.token()
        fields = {"csrf_token": token, "email": "moderator@demo.example", "password": "guessed"}
        answers = [visitor.client.post("/login", data=fields).status_code for _ in range(4)]
    assert answers[-1] == 429
    assert 429 not in answers[:-1]
