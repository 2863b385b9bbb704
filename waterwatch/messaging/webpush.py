"""Web push (RFC 8030, 8291, 8292): one encrypted message to a push service, by the same guarded client as every file.

The address is named by a stranger's browser. So it has to belong to a listed service, and everything else that
:mod:`http` refuses is refused here, too. What is sent can be read by that browser alone.
"""

import base64
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02
from pywebpush import WebPusher

from waterwatch.kernel.settings import Settings
from waterwatch.messaging.fetching import Fetcher
from waterwatch.messaging.http import FetchError

KEEP_S = 3 * 24 * 3600  # how long the service keeps a message for a phone that is off
TOKEN_LASTS_S = 12 * 3600  # RFC 8292: at most a day
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
GONE = frozenset({404, 410})


@dataclass(frozen=True)
class Subscription:
    """A browser's address with a push service and its two keys, base64url; ``vapid`` is our key it was made for."""

    endpoint: str
    p256dh: str
    auth: str
    vapid: str


def public_key(settings: Settings, *, previous: bool = False) -> str | None:
    """Our key as browsers want it (``applicationServerKey``); None where there is no previous secret."""
    secret = _private_key(settings, previous=previous)
    if secret is None:
        return None
    return _base64(secret.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


class Pusher(Fetcher):
    """Hands messages to listed push services. ``*.example.org`` lists every host below ``example.org``."""

    def _is_listed(self, host: str) -> bool:
        if host in self._hosts:
            return True
        parents = (host[at:] for at, letter in enumerate(host) if letter == ".")
        return any(f"*{parent}" in self._hosts for parent in parents)

    def is_ours_to_ask(self, endpoint: str) -> bool:
        """Whether an address belongs to a listed service. Nothing is asked of anybody."""
        try:
            self._examine(endpoint)
        except FetchError:
            return False
        return True

    def push(self, subscription: Subscription, payload: bytes, *, settings: Settings) -> int:
        """Send one message; returns the service's status. Raises :class:`FetchError`; assumes no transaction is open.

        ``key_gone``: the subscription was made for a key of ours that is gone; it can never be used again.
        """
        headers = _authorise(subscription, settings)
        body = WebPusher({"endpoint": subscription.endpoint, "keys": _keys(subscription)}).encode(payload)["body"]
        with self._conversation(self._examine(subscription.endpoint), "POST", headers, body) as response:
            return int(response.status)


def _keys(subscription: Subscription) -> dict[str, str]:
    return {"p256dh": subscription.p256dh, "auth": subscription.auth}


def _authorise(subscription: Subscription, settings: Settings) -> dict[str, str]:
    """The headers of a message, signed with the key its subscription was made for."""
    for is_previous in (False, True):
        if public_key(settings, previous=is_previous) == subscription.vapid:
            secret = _private_key(settings, previous=is_previous)
            break
    else:
        raise FetchError("key_gone")
    service = urlsplit(subscription.endpoint)
    claims = {
        "aud": f"https://{service.netloc}",
        "exp": int(time.time()) + TOKEN_LASTS_S,
        "sub": f"mailto:{settings.mail_from}",
    }
    return {
        **Vapid02(private_key=secret).sign(claims),
        "TTL": str(KEEP_S),
        "Urgency": "normal",
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
    }


def _private_key(settings: Settings, *, previous: bool = False) -> ec.EllipticCurvePrivateKey | None:
    """Derived, like every key of ours: the same on every machine of an installation, and stored nowhere."""
    secret = settings.derive_key("vapid", previous=previous)
    if secret is None:
        return None
    return ec.derive_private_key(int.from_bytes(secret) % (P256_ORDER - 1) + 1, ec.SECP256R1())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
