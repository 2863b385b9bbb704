"""Web push against a real HTTPS peer that decrypts as a browser does; and the addresses nothing is ever sent to."""

import base64
import json
import os
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02
from pydantic import SecretStr

from tests.conftest import SECRET
from tests.messaging.https import HttpsServer, https_server
from waterwatch.kernel.settings import PUSH_HOSTS, Settings
from waterwatch.messaging.http import FetchError
from waterwatch.messaging.webpush import Pusher, Subscription, public_key

PAYLOAD = json.dumps({"title": "你关注的一条上报有新进展", "url": "/f/abc"}).encode()


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Browser:
    """A browser's keys, and its push service."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    auth: bytes = field(default_factory=lambda: os.urandom(16))

    def subscription(self, endpoint: str, settings: Settings) -> Subscription:
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        vapid = public_key(settings)
        assert vapid is not None
        return Subscription(endpoint, encoded(point), encoded(self.auth), vapid)

    def service(self, status: str) -> Callable[[ssl.SSLSocket, threading.Event], None]:
        """A push service that reads the whole request and answers with ``status``."""

        def play(line: ssl.SSLSocket, _is_over: threading.Event) -> None:
            line.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

        return play

    def read(self, request: str) -> tuple[dict[str, str], bytes]:
        """The headers of a request, and its body decrypted."""
        head, _, body = request.encode("latin-1").partition(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head.decode().split("\r\n")[1:])
        return headers, http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth, version="aes128gcm")


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(mail_from="waters@example.org")


def pusher(server: HttpsServer) -> Pusher:
    return Pusher(frozenset({server.host}), timeout_s=5, is_allowed=lambda _address: True, tls=server.trust)


def test_a_message_arrives_encrypted_for_one_browser_and_signed_by_us(tmp_path: Path, settings: Settings) -> None:
    browser = Browser()
    with https_server(tmp_path, browser.service("201 Created")) as server:
        subscription = browser.subscription(f"https://{server.host}/send/abc?x=1", settings)
        assert pusher(server).push(subscription, PAYLOAD, settings=settings) == 201
        (request,) = server.heard
    headers, payload = browser.read(request)
    assert request.startswith("POST /send/abc?x=1 HTTP/1.1\r\n")
    assert payload == PAYLOAD
    assert (headers["content-encoding"], headers["ttl"]) == ("aes128gcm", "259200")
    assert Vapid02.verify(request.partition("Authorization: ")[2].partition("\r\n")[0])
    assert "上报" not in request


@pytest.mark.parametrize("status", [404, 410, 429, 500])
def test_what_the_service_answers_is_told(tmp_path: Path, settings: Settings, status: int) -> None:
    browser = Browser()
    with https_server(tmp_path, browser.service(f"{status} Whatever")) as server:
        subscription = browser.subscription(f"https://{server.host}/send", settings)
        assert pusher(server).push(subscription, PAYLOAD, settings=settings) == status


@pytest.mark.parametrize(
    ("endpoint", "is_ours"),
    [
        ("https://fcm.googleapis.com/fcm/send/abc", True),
        ("https://web.push.apple.com/abc", True),
        ("https://wns2-par02p.notify.windows.com/w/?token=abc", True),
        ("http://fcm.googleapis.com/fcm/send/abc", False),
        ("https://fcm.googleapis.com:8443/abc", False),
        ("https://fcm.googleapis.com@evil.example/abc", False),
        ("https://evilpush.apple.com/abc", False),
        ("https://push.apple.com.evil.example/abc", False),
        ("https://127.0.0.1/abc", False),
        ("https://localhost/abc", False),
        ("https://fcm.googleapis.com/a b", False),
        ("", False),
    ],
)
def test_only_listed_services_are_spoken_to(endpoint: str, is_ours: bool) -> None:
    assert Pusher(frozenset(PUSH_HOSTS.split())).is_ours_to_ask(endpoint) is is_ours


def test_a_listed_name_that_leads_into_our_own_network_is_refused(settings: Settings) -> None:
    subscription = Browser().subscription("https://localhost/abc", settings)
    with pytest.raises(FetchError, match="address_not_public"):
        Pusher(frozenset({"localhost"})).push(subscription, PAYLOAD, settings=settings)


def test_a_subscription_outlives_one_change_of_the_secret_and_not_two(
    tmp_path: Path, make_settings: Callable[..., Settings], settings: Settings
) -> None:
    browser = Browser()
    second = SecretStr("another secret that only the tests know, 0123456789")
    changed = make_settings(mail_from="waters@example.org", secret_key=second, secret_key_previous=SECRET)
    gone = make_settings(mail_from="waters@example.org", secret_key=second)
    with https_server(tmp_path, browser.service("201 Created")) as server:
        subscription = browser.subscription(f"https://{server.host}/send", settings)
        assert pusher(server).push(subscription, PAYLOAD, settings=changed) == 201
        with pytest.raises(FetchError, match="key_gone"):
            pusher(server).push(subscription, PAYLOAD, settings=gone)
        assert len(server.heard) == 1
