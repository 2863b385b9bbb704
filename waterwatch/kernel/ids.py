"""Identity: time-ordered keys for rows, short codes for people, secret tokens for links.

Keys are UUIDv7 (RFC 9562): they sort by creation time, so B-tree inserts stay at the right edge.
"""

import hashlib
import secrets
import uuid

import uuid_utils

# Crockford's alphabet without the letters that are misheard or misread over a telephone.
CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_LENGTH = 8
TOKEN_BYTES = 24


def new_id() -> uuid.UUID:
    """A new UUIDv7 as a standard-library UUID."""
    return uuid.UUID(int=uuid_utils.uuid7().int)


def new_code() -> str:
    """A short code a person can read aloud, like ``7KMQ-2T9X`` (39 bits; uniqueness is the column's UNIQUE).

    It names a report or an incident; it grants nothing. What grants access is a token (:func:`new_token`).
    """
    letters = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    return f"{letters[:4]}-{letters[4:]}"


def new_token() -> str:
    """A secret for a link: 192 random bits, URL-safe. Only its digest is ever stored."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_digest(token: str) -> bytes:
    """SHA-256 of a token, 32 bytes. Tokens carry full entropy, so a plain hash is enough: nothing to brute-force."""
    return hashlib.sha256(token.encode()).digest()
