"""Sealing: what must be read again by us, and by nobody who only has the database.

AES-256-GCM under a key derived for one purpose. The row's id is authenticated along: a sealed value moved to another
row does not open. A secret that is being rotated out still opens what was sealed under it.
"""

import os
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from waterwatch.kernel.settings import Settings

NONCE_BYTES = 12  # NIST SP 800-38D; random ones may be used 2^32 times under one key
TAG_BYTES = 16


class SealBroken(Exception):
    """The value was changed, belongs to another row, or was sealed under a secret that is gone."""


def seal_value(settings: Settings, purpose: str, row_id: uuid.UUID, value: bytes) -> bytes:
    """``value`` unreadable, bound to the row. Twice the same value gives two results that do not look alike."""
    key = settings.derive_key("seal/" + purpose)
    assert key is not None
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, value, row_id.bytes)


def open_value(settings: Settings, purpose: str, row_id: uuid.UUID, sealed: bytes) -> bytes:
    """What :func:`seal_value` was given. Raises :class:`SealBroken`."""
    nonce, content = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    for is_previous in (False, True):
        key = settings.derive_key("seal/" + purpose, previous=is_previous)
        if key is None or len(content) < TAG_BYTES:
            continue
        try:
            return AESGCM(key).decrypt(nonce, content, row_id.bytes)
        except InvalidTag:
            continue
    raise SealBroken
