"""The key bundles are signed with: Ed25519, from a file of the operator's or derived from the secret."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from waterwatch.kernel.settings import Settings

PURPOSE = "evidence/ed25519"


class KeyUnusable(Exception):
    """What WATERWATCH_EVIDENCE_KEY or WATERWATCH_EVIDENCE_KEYS_RETIRED names, or a key given, is no Ed25519 in PEM."""


def signing_key(settings: Settings) -> Ed25519PrivateKey:
    """The key of this installation. Raises :class:`KeyUnusable`."""
    if settings.evidence_key is None:
        return _derived(settings, is_previous=False)
    try:
        found = load_pem_private_key(settings.evidence_key.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusable from None
    if not isinstance(found, Ed25519PrivateKey):
        raise KeyUnusable
    return found


def public_keys(settings: Settings) -> tuple[Ed25519PublicKey, ...]:
    """The keys bundles of this installation may be signed with: today's first, then that of the secret before, then
    those the operator keeps of former years. A bundle is to be proved long after its key was changed.

    Raises :class:`KeyUnusable`, also for the file of former keys.
    """
    keys = [signing_key(settings).public_key()]
    if settings.evidence_key is None and settings.secret_key_previous is not None:
        keys.append(_derived(settings, is_previous=True).public_key())
    if settings.evidence_keys_retired is not None:
        try:
            keys += read_public_key_file(settings.evidence_keys_retired)
        except OSError:
            raise KeyUnusable from None
    return tuple({key.public_bytes_raw(): key for key in keys}.values())


def read_public_keys(written: bytes) -> tuple[Ed25519PublicKey, ...]:
    """The keys of a PEM file, one or several. Raises :class:`KeyUnusable`."""
    end = b"-----END PUBLIC KEY-----"
    found = []
    for piece in written.split(end)[:-1]:
        try:
            key = load_pem_public_key(piece.strip() + b"\n" + end + b"\n")
        except (ValueError, UnsupportedAlgorithm):
            raise KeyUnusable from None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyUnusable
        found.append(key)
    if not found:
        raise KeyUnusable
    return tuple(found)


def read_public_key_file(path: Path) -> tuple[Ed25519PublicKey, ...]:
    """The keys in a file. Raises :class:`KeyUnusable`."""
    return read_public_keys(path.read_bytes()[: 64 * 1024])


def to_pem(keys: Sequence[Ed25519PublicKey]) -> str:
    """As they are published and read again."""
    pem = Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    return "".join(key.public_bytes(*pem).decode("ascii") for key in keys)


def print_of(key: Ed25519PublicKey) -> str:
    """What people compare: SHA-256 of the raw key, in groups of four."""
    digest = sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:40]
    return " ".join(digest[at : at + 4] for at in range(0, 40, 4))


def is_signed_by(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    """Whether the signature is of these bytes and by this key."""
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def _derived(settings: Settings, *, is_previous: bool) -> Ed25519PrivateKey:
    seed = settings.derive_key(PURPOSE, previous=is_previous)
    assert seed is not None
    return Ed25519PrivateKey.from_private_bytes(seed)
