"""The client for servers that agencies named: where it goes, how long it stays, what an answer means."""

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.messaging.https import answer, https_server
from tests.messaging.peers import HOST, Script, drops, hangs, http_peer, says, sends, trickles
from tests.messaging.servers import closed_port, rude_server
from waterwatch.messaging.http import (
    Answer,
    Client,
    FetchError,
    failure_of,
    is_public,
    judge,
    may_be_listed,
    read_retry_after,
)

NOW = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)


def refused(client: Client, url: str, **options: int) -> str:
    with pytest.raises(FetchError) as fault:
        client.send("POST", url, body=b"{}", **options)  # type: ignore[arg-type]
    return fault.value.code


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "http://127.0.0.1/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https:///x",
        "https://exa mple.org/",
        "https://example.org/\r\nX: y",
        "https://user:secret@example.org/",
        "https://" + "a" * 2000,
        "",
    ],
)
def test_what_is_no_plain_https_address_is_never_asked(url: str) -> None:
    assert refused(Client(), url) in ("not_https", "host_not_listed")


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "0.0.0.0", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200"),
        *("[::1]", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]", "168.63.129.16"),
        *("2130706433", "0x7f000001", "0177.0.0.1", "127.1"),  # other ways to write 127.0.0.1
    ],
)
def test_nothing_of_ours_and_no_clouds_own_service_is_asked(host: str) -> None:
    assert refused(Client(), f"https://{host}/latest/meta-data") == "address_not_public"


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "100.100.100.200", "fd00:ec2::254", "168.63.129.16", "fe80::1%lo", "::", "ff02::1"]
)
def test_not_even_a_listed_host_leads_to_a_machines_credentials(address: str) -> None:
    assert not may_be_listed(address)
    assert not is_public(address)


def test_a_listed_host_may_be_an_inner_one_and_another_port_of_it_is_not() -> None:
    with http_peer(says("taken")) as peer:
        assert peer.client().send("POST", f"{peer.url}/hook?a=1", body=b"{}").body == b"taken"
        (request,) = peer.heard
        assert (request.method, request.path, request.body) == ("POST", "/hook?a=1", b"{}")
        assert request.headers["host"] == f"{HOST}:{peer.port}"
        other = Client(frozenset({f"{HOST}:{closed_port()}"}))
        assert refused(other, f"{peer.url}/") == "not_https"
        assert refused(other, f"https://{HOST}:{peer.port}/") == "address_not_public"
    assert len(peer.heard) == 1


@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x", "307 x", "308 x", "300 x", "304 x"])
def test_a_redirect_is_a_refusal_and_is_not_followed(status: str) -> None:
    with (
        http_peer(says("loot")) as inner,
        http_peer(says(status=status, headers=f"Location: {inner.url}/\r\n")) as peer,
        http_peer(says(status=status, headers="Location: http://169.254.169.254/latest/\r\n")) as worse,
    ):
        assert refused(peer.client(), peer.url) == "redirected"
        assert refused(worse.client(), worse.url) == "redirected"
    assert inner.heard == []
    assert failure_of(FetchError("redirected")).is_permanent


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (hangs, "timeout"),
        (trickles(), "timeout"),
        (trickles(b"HTTP/1.1 200 OK\r\n"), "timeout"),
        (trickles(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"), "timeout"),
        (drops, "broken_off"),
        (sends(b"\x00\xff garbage\r\n\r\n"), "broken_off"),
        (sends(b"HTTP/1.1 abc\r\n\r\n"), "broken_off"),
        (sends(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"), "broken_off"),
        (sends(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n"), "broken_off"),
        (sends(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"), "broken_off"),
        (sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "broken_off"),
        (says(b"x" * 65_537), "too_large"),
        (sends(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000), "too_large"),
    ],
)
def test_bad_manners_end_in_time_and_have_a_name(script: Script, code: str) -> None:
    with http_peer(script) as peer:
        started = time.monotonic()
        assert refused(peer.client(timeout_s=0.7 if code == "timeout" else 10), peer.url) == code
        assert time.monotonic() - started < 30  # they would go on for ever
    assert not failure_of(FetchError(code)).is_permanent


def test_nobody_listening_is_said_to_be_so() -> None:
    port = closed_port()
    assert refused(Client(frozenset({HOST})), f"http://{HOST}:{port}/") == "unreachable"


def test_bad_tls_is_refused_before_a_word_is_said(tmp_path: Path) -> None:
    with https_server(tmp_path, answer(b"taken")) as server:
        assert refused(Client(frozenset({server.host})), f"https://{server.host}/") == "tls_failed"
        named = Client(frozenset({"127.0.0.2"}), tls=server.trust)  # the certificate is for another name
        assert refused(named, f"https://127.0.0.2:{server.port}/") in ("tls_failed", "unreachable")
        good = Client(frozenset({server.host}), tls=server.trust)
        assert good.send("POST", f"https://{server.host}/", body=b"x").body == b"taken"
    assert len(server.heard) == 1
    with rude_server(lambda peer: peer.say("plain words where TLS is spoken")) as port:
        assert refused(Client(frozenset({HOST})), f"https://{HOST}:{port}/") == "tls_failed"


def test_a_body_nobody_asked_for_is_not_waited_for() -> None:
    with http_peer(trickles(b"HTTP/1.1 202 Accepted\r\nContent-Length: 60000\r\n\r\n")) as peer:
        assert peer.client(timeout_s=10).send("POST", peer.url, body=b"x", max_bytes=0).status == 202


def test_several_requests_take_no_longer_than_one_may() -> None:
    def slowly(_request: object, line: socket.socket, is_over: threading.Event) -> None:
        is_over.wait(0.3)
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with http_peer(slowly) as peer:
        client = peer.client(timeout_s=0.8).limited()
        codes = [refused(client, peer.url) for _ in range(5) if not _passes(client, peer.url)]
        assert codes
        assert set(codes) == {"timeout"}  # none of them alone takes as long


def _passes(client: Client, url: str) -> bool:
    try:
        return client.send("GET", url).status == 200
    except FetchError:
        return False


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, "taken") for status in (200, 201, 202, 204, 299)),
        *((status, "never") for status in (400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 451)),
        *((status, "later") for status in (408, 425, 429, 500, 502, 503, 504, 599)),
    ],
)
def test_what_a_status_means(status: int, kind: str) -> None:
    failure = judge(Answer(status, {}, b""), now=NOW)
    assert (failure is None) == (kind == "taken")
    if failure is not None:
        assert (failure.code, failure.is_permanent, failure.is_deferred) == (
            *(f"http_{status}", kind == "never", kind == "later"),
        )


@pytest.mark.parametrize(
    ("words", "wanted_s"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("3600", 3600.0),
        ("3601", 3600.0),
        ("9" * 5000, 3600.0),
        ("Wed, 20 May 2026 02:35:00 GMT", 300.0),
        ("Wed, 20 May 2026 02:00:00 GMT", 0.0),
        ("Thu, 21 May 2026 02:30:00 GMT", 3600.0),
        ("Wednesday, 20-May-26 02:35:00 GMT", 300.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("１２", None),
        ("1e3", None),
    ],
)
def test_retry_after_is_read_in_seconds_and_dates_and_is_never_more_than_an_hour(
    words: str, wanted_s: float | None
) -> None:
    assert read_retry_after(words, now=NOW) == wanted_s


def test_only_who_says_later_is_asked_when() -> None:
    later = judge(Answer(429, {"retry-after": "90"}, b""), now=NOW)
    never = judge(Answer(404, {"retry-after": "90"}, b""), now=NOW)
    assert later is not None
    assert never is not None
    assert (later.retry_after_s, never.retry_after_s) == (90.0, None)


@given(st.text(max_size=80))
def test_whatever_stands_in_retry_after_is_between_nothing_and_an_hour(words: str) -> None:
    wanted_s = read_retry_after(words, now=NOW)
    assert wanted_s is None or 0 <= wanted_s <= timedelta(hours=1).total_seconds()
