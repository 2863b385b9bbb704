"""Webhooks as https://www.standardwebhooks.com says: one signed JSON body, posted once and, after a failure, again.

The receiver knows a repetition by ``webhook-id``, us by the signature and the freshness of what it reads by the signed
time. While a secret is replaced every message is signed with both, so that the receiver may change over at leisure.
"""

import base64
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from waterwatch.messaging.attempts import Failure
from waterwatch.messaging.http import Client, FetchError, failure_of, judge

SECRET_PREFIX = "whsec_"  # noqa: S105  # what the standard marks secrets with
SECRET_BYTES = 32  # the standard: 24 to 64
MEDIA_TYPE = "application/json; charset=utf-8"


def make_secret() -> str:
    """A new secret, as receivers are given it."""
    return SECRET_PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def write_body(content: Mapping[str, Any]) -> bytes:
    """The bytes that are signed and sent."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def sign(body: bytes, message_id: uuid.UUID, secrets: Sequence[str], *, now: datetime) -> dict[str, str]:
    """The headers of one attempt: the same id each time, the present time, one signature a secret."""
    at = now.astimezone(UTC)
    signatures = [Webhook(secret).sign(str(message_id), at, body.decode()) for secret in secrets]
    return {
        "webhook-id": str(message_id),
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
        "Idempotency-Key": f'"{message_id}"',  # draft-ietf-httpapi-idempotency-key-header: a quoted string
    }


def post(
    client: Client, url: str, body: bytes, message_id: uuid.UUID, secrets: Sequence[str], *, now: datetime
) -> Failure | None:
    """Hand a body over; None when it was taken: any 2xx, whatever follows it. No transaction is open.

    A connection lost before the status leaves it open whether the body was read: it is sent again under the same id.
    """
    headers = {"Content-Type": MEDIA_TYPE, "Accept": "*/*", **sign(body, message_id, secrets, now=now)}
    try:
        answer = client.send("POST", url, headers=headers, body=body, max_bytes=0)
    except FetchError as error:
        return failure_of(error)
    return judge(answer, now=now)
