"""Webhooks as the standard's own library verifies them."""

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.messaging.https import answer, https_server
from tests.messaging.peers import Script, drops, hangs, http_peer, says, trickles
from waterwatch.kernel.clock import utc_now
from waterwatch.messaging import webhook
from waterwatch.messaging.http import Client

ID = uuid.UUID("01900000-0000-7000-8000-000000000007")
BODY = webhook.write_body({"type": "case.forwarded", "data": {"water": "长江", "lat": 30.5928}})


def test_secrets_are_as_the_standard_wants_them() -> None:
    secrets = {webhook.make_secret() for _ in range(20)}
    assert len(secrets) == 20
    assert {len(base64.b64decode(one.removeprefix("whsec_"))) for one in secrets} == {32}


def test_the_standards_library_verifies_what_a_peer_received() -> None:
    secret = webhook.make_secret()
    with http_peer(says(status="204 No Content")) as peer:
        assert webhook.post(peer.client(), f"{peer.url}/hook", BODY, ID, [secret], now=utc_now()) is None
    (request,) = peer.heard
    assert Webhook(secret).verify(request.body, request.headers) == json.loads(BODY)
    assert request.headers["webhook-id"] == str(ID)
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    for changed in (request.body + b" ", request.body.replace("长".encode(), "黄".encode())):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(changed, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body, request.headers | {"webhook-id": str(uuid.uuid4())})
    with pytest.raises(WebhookVerificationError):
        Webhook(webhook.make_secret()).verify(request.body, request.headers)


def test_while_a_secret_is_replaced_either_one_verifies() -> None:
    new, old = webhook.make_secret(), webhook.make_secret()
    headers = webhook.sign(BODY, ID, [new, old], now=utc_now())
    for secret in (new, old):
        assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(BODY, webhook.sign(BODY, ID, [new], now=utc_now()))


def test_an_old_message_played_again_is_not_believed() -> None:
    secret = webhook.make_secret()
    headers = webhook.sign(BODY, ID, [secret], now=utc_now() - timedelta(minutes=6))
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(secret).verify(BODY, headers)


def test_the_signature_is_the_same_for_the_same_instant_whatever_its_zone() -> None:
    secret, at = webhook.make_secret(), datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
    in_china = at.astimezone(datetime.fromisoformat("2026-05-20T10:30+08:00").tzinfo)
    assert webhook.sign(BODY, ID, [secret], now=at) == webhook.sign(BODY, ID, [secret], now=in_china)


@pytest.mark.parametrize(
    ("script", "code", "is_permanent", "retry_after_s"),
    [
        (says(status="410 Gone"), "http_410", True, None),
        (says(status="404 Not Found"), "http_404", True, None),
        (says(status="400 Bad Request"), "http_400", True, None),
        (says(status="302 Found", headers="Location: http://169.254.169.254/\r\n"), "redirected", True, None),
        (says(status="429 Too Many", headers="Retry-After: 77\r\n"), "http_429", False, 77.0),
        (says(status="503 Busy", headers="Retry-After: 99999\r\n"), "http_503", False, 3600.0),
        (says(status="503 Busy", headers="Retry-After: soon\r\n"), "http_503", False, None),
        (says(status="500 Oops"), "http_500", False, None),
        (hangs, "timeout", False, None),
        (drops, "broken_off", False, None),
        (trickles(), "timeout", False, None),
    ],
)
def test_what_went_wrong_says_whether_and_when_to_try_again(
    script: Script, code: str, is_permanent: bool, retry_after_s: float | None
) -> None:
    with http_peer(script) as peer:
        client = peer.client(timeout_s=0.7 if code == "timeout" else 10)
        failure = webhook.post(client, peer.url, BODY, ID, [webhook.make_secret()], now=utc_now())
    assert failure is not None
    assert (failure.code, failure.is_permanent, failure.retry_after_s) == (code, is_permanent, retry_after_s)
    assert failure.is_deferred is not is_permanent


def test_a_receiver_that_took_it_and_then_babbles_has_taken_it() -> None:
    with http_peer(trickles(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")) as peer:
        assert webhook.post(peer.client(timeout_s=10), peer.url, BODY, ID, ["whsec_aaaa"], now=utc_now()) is None


def test_what_was_dropped_after_it_was_read_comes_again_under_one_id() -> None:
    secret = webhook.make_secret()
    with http_peer(drops, says()) as peer:
        first = webhook.post(peer.client(), peer.url, BODY, ID, [secret], now=utc_now())
        assert first is not None
        assert webhook.post(peer.client(), peer.url, BODY, ID, [secret], now=utc_now()) is None
    assert {request.headers["webhook-id"] for request in peer.heard} == {str(ID)}
    assert {request.body for request in peer.heard} == {BODY}


def test_a_certificate_nobody_vouches_for_gets_nothing(tmp_path: Path) -> None:
    with https_server(tmp_path, answer(b"")) as server:
        failure = webhook.post(
            Client(frozenset({server.host})), f"https://{server.host}/", BODY, ID, ["whsec_aaaa"], now=utc_now()
        )
    assert failure is not None
    assert failure.code == "tls_failed"
    assert server.heard == []
