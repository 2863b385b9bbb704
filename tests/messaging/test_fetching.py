"""The HTTP client goes where it was allowed to go, takes what it was allowed to take, and no longer than allowed."""

import ssl
import threading
import time
from pathlib import Path

import pytest

from tests.messaging.https import answer, https_server
from waterwatch.messaging.fetching import Fetcher
from waterwatch.messaging.http import FetchError, is_public

PICTURE = bytes(range(256)) * 1000


def fetched(fetcher: Fetcher, url: str, *, max_bytes: int = 10**6) -> bytes:
    pieces: list[bytes] = []
    size_bytes = fetcher.fetch(url, pieces.append, max_bytes=max_bytes)
    assert size_bytes == sum(map(len, pieces))
    return b"".join(pieces)


def refused(fetcher: Fetcher, url: str, *, max_bytes: int = 10**6) -> str:
    with pytest.raises(FetchError) as fault:
        fetched(fetcher, url, max_bytes=max_bytes)
    return fault.value.code


def test_a_file_comes_whole_from_a_listed_host(tmp_path: Path) -> None:
    with https_server(tmp_path, answer(PICTURE)) as server:
        assert fetched(server.fetcher(), f"https://{server.host}/a/b.jpg?size=1") == PICTURE
    (head,) = server.heard
    assert head.startswith("GET /a/b.jpg?size=1 HTTP/1.1\r\n")
    assert f"Host: {server.host}\r\n" in head
    assert "Cookie" not in head


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://media.example.org/a.jpg", "not_https"),
        ("ftp://media.example.org/a.jpg", "not_https"),
        ("file:///etc/passwd", "not_https"),
        ("https://media.example.org:x/a.jpg", "not_https"),
        ("https://[media.example.org/a.jpg", "not_https"),
        ("https://media.example.org/a b.jpg", "not_https"),
        ("https://media.example.org/\r\nHost: x", "not_https"),
        ("https://媒体.example.org/a.jpg", "not_https"),
        ("https://media.example.org/" + "a" * 2000, "not_https"),
        ("//media.example.org/a.jpg", "not_https"),
        ("", "not_https"),
        ("https://other.example.org/a.jpg", "host_not_listed"),
        ("https://media.example.org:8443/a.jpg", "host_not_listed"),
        ("https://media.example.org.evil.example/a.jpg", "host_not_listed"),
        ("https://media.example.org@evil.example/a.jpg", "host_not_listed"),
        ("https://me:secret@media.example.org/a.jpg", "host_not_listed"),
        ("https://169.254.169.254/latest/meta-data", "host_not_listed"),
    ],
)
def test_what_is_not_listed_is_never_asked(url: str, code: str) -> None:
    assert refused(Fetcher(frozenset({"media.example.org"})), url) == code


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1"])
def test_a_listed_name_that_leads_inside_is_refused(host: str) -> None:
    assert refused(Fetcher(frozenset({host.strip("[]")})), f"https://{host}/a.jpg") == "address_not_public"


@pytest.mark.parametrize(
    ("address", "is_fine"),
    [
        ("1.1.1.1", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("0.0.0.0", False),  # not to listen on
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("192.168.0.1", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("::127.0.0.1", False),  # IPv4-compatible
        ("fec0::1", False),  # site-local, as inner networks once were numbered
        ("4000::1", False),
    ],
)
def test_only_the_public_internet_is_public(address: str, is_fine: bool) -> None:
    assert is_public(address) is is_fine


def test_a_name_nobody_knows_is_said_to_be_so() -> None:
    assert refused(Fetcher(frozenset({"nobody.invalid"})), "https://nobody.invalid/a.jpg") == "name_not_found"


def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with https_server(tmp_path, answer(PICTURE)) as server:
        assert refused(server.fetcher(trusts=False), f"https://{server.host}/a.jpg") == "tls_failed"
        other = Fetcher(frozenset({f"ip6-localhost:{server.port}"}), is_allowed=lambda _address: True, tls=server.trust)
        assert refused(other, f"https://ip6-localhost:{server.port}/") in (
            "tls_failed",
            "unreachable",
            "name_not_found",
        )
    assert server.heard == []


@pytest.mark.parametrize("status", ["302 Found", "301 Moved", "404 Not Found", "500 Oops", "204 No Content"])
def test_nothing_but_the_file_itself_is_an_answer(tmp_path: Path, status: str) -> None:
    script = answer(b"", status=status, headers="Location: https://169.254.169.254/\r\n")
    with https_server(tmp_path, script) as server:
        assert refused(server.fetcher(), f"https://{server.host}/a.jpg") == "answer_refused"
    assert len(server.heard) == 1


def test_a_compressed_answer_is_refused(tmp_path: Path) -> None:
    with https_server(tmp_path, answer(b"bomb", headers="Content-Encoding: gzip\r\n")) as server:
        assert refused(server.fetcher(), f"https://{server.host}/a.jpg") == "answer_refused"


def test_a_file_that_says_it_is_too_large_is_not_read(tmp_path: Path) -> None:
    with https_server(tmp_path, answer(PICTURE)) as server:
        assert refused(server.fetcher(), f"https://{server.host}/a.jpg", max_bytes=1000) == "too_large"


def test_a_file_that_does_not_say_is_cut_at_the_limit(tmp_path: Path) -> None:
    def endless(line: ssl.SSLSocket, _is_over: threading.Event) -> None:
        line.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            line.sendall(PICTURE)

    with https_server(tmp_path, endless) as server:
        assert refused(server.fetcher(), f"https://{server.host}/a.jpg", max_bytes=10**6) == "too_large"


def test_a_file_that_ends_early_is_no_file(tmp_path: Path) -> None:
    with https_server(tmp_path, answer(PICTURE, length=len(PICTURE) + 1)) as server:
        assert refused(server.fetcher(), f"https://{server.host}/a.jpg") == "broken_off"


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_trickles_is_cut_off_in_time(tmp_path: Path, head: bytes) -> None:
    def trickle(line: ssl.SSLSocket, is_over: threading.Event) -> None:
        line.sendall(head)
        while not is_over.wait(0.05):
            line.sendall(b"X")

    with https_server(tmp_path, trickle) as server:
        started = time.monotonic()
        assert refused(server.fetcher(timeout_s=0.5), f"https://{server.host}/a.jpg") == "timeout"
        assert time.monotonic() - started < 3
