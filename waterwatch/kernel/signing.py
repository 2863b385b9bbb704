"""Signed, expiring links: the link itself proves what it may do, so nothing secret is stored.

A token is ``base64url(subject ‖ expiry ‖ HMAC-SHA256)``. The key is derived for one purpose, so a follow link can
never acknowledge a case. A secret that is being rotated out is still accepted.
"""

import base64
import binascii
import hashlib
import hmac
import struct
import uuid
from datetime import UTC, datetime

from waterwatch.kernel.errors import Gone, NotFound
from waterwatch.kernel.settings import Settings

_BODY = struct.Struct(">16sQ")
_DELIVERY = "delivery-address"
_ADDRESS_SIGNATURE_BYTES = 12  # 96 bits: whoever guesses must send a mail for every guess
_SIGNATURE_BYTES = 20  # 160 bits of the MAC: far beyond guessing, and a link that still fits a line of mail


def sign_link(settings: Settings, purpose: str, subject_id: uuid.UUID, *, expires_at: datetime) -> str:
    """A token for ``purpose`` on ``subject_id`` until ``expires_at``. The same arguments give the same token."""
    return seal(settings, "link/" + purpose, _BODY.pack(subject_id.bytes, int(expires_at.timestamp())))


def open_link(settings: Settings, purpose: str, token: str, *, now: datetime) -> uuid.UUID:
    """The subject a token was signed for. Raises :class:`NotFound` (forged, mangled) or :class:`Gone` (expired)."""
    body = unseal(settings, "link/" + purpose, token)
    if len(body) != _BODY.size:
        raise NotFound("link_unknown")
    subject, expiry = _BODY.unpack(body)
    if datetime.fromtimestamp(expiry, UTC) <= now:
        raise Gone("link_expired")
    return uuid.UUID(bytes=subject)


def seal(settings: Settings, purpose: str, body: bytes) -> str:
    """A token that carries ``body``, readable by anybody and made by nobody but us."""
    key = settings.derive_key(purpose)
    assert key is not None
    return base64.urlsafe_b64encode(body + _mac(key, body)).rstrip(b"=").decode()


def unseal(settings: Settings, purpose: str, token: str) -> bytes:
    """What :func:`seal` was given. Raises :class:`NotFound` for anything forged or mangled."""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raise NotFound("link_unknown") from None
    body, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    keys = [settings.derive_key(purpose), settings.derive_key(purpose, previous=True)]
    if not any(key and hmac.compare_digest(_mac(key, body), signature) for key in keys):
        raise NotFound("link_unknown")
    return body


def derive_token(settings: Settings, purpose: str, subject_id: uuid.UUID, *, previous: bool = False) -> str:
    """An unguessable token that can be made again from the row's id, e.g. when a lost answer is asked for again.

    ``previous`` makes it from the secret that is being rotated out, which must be set.
    """
    key = settings.derive_key("token/" + purpose, previous=previous)
    assert key is not None
    return base64.urlsafe_b64encode(hmac.new(key, subject_id.bytes, hashlib.sha256).digest()[:24]).decode()


def delivery_token(settings: Settings, delivery_id: uuid.UUID) -> str:
    """What names a delivery in a mail address: 45 characters a to z and 2 to 7, the same each time.

    Short enough for a local part of 64 (RFC 5321), and whole where a server writes addresses in other letters.
    """
    key = settings.derive_key(_DELIVERY)
    assert key is not None
    body = delivery_id.bytes
    return base64.b32encode(body + _mac(key, body)[:_ADDRESS_SIGNATURE_BYTES]).decode().rstrip("=").lower()


def open_delivery_token(settings: Settings, token: str) -> uuid.UUID:
    """The delivery a token names, in whatever letters it came. Raises :class:`NotFound` for anything forged."""
    try:
        raw = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
    except (binascii.Error, ValueError):
        raise NotFound("link_unknown") from None
    body, signature = raw[:-_ADDRESS_SIGNATURE_BYTES], raw[-_ADDRESS_SIGNATURE_BYTES:]
    keys = [settings.derive_key(_DELIVERY), settings.derive_key(_DELIVERY, previous=True)]
    is_ours = any(key and hmac.compare_digest(_mac(key, body)[:_ADDRESS_SIGNATURE_BYTES], signature) for key in keys)
    if len(body) != 16 or not is_ours:
        raise NotFound("link_unknown")
    return uuid.UUID(bytes=body)


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, body, hashlib.sha256).digest()[:_SIGNATURE_BYTES]
