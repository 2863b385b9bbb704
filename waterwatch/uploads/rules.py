"""Pure: the token that is an upload's whole record, and what a tus 1.0 request says.

An upload needs no row: its address says which photo it will be, how long it is and until when it may be finished, and
is signed. How far it has come is the size of its file. So beginning one costs no write, and a process that dies takes
nothing along.
"""

import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from waterwatch.kernel import signing
from waterwatch.kernel.errors import Gone, Invalid, NotFound
from waterwatch.kernel.settings import Settings

TUS_VERSION: Final = "1.0.0"
TUS_EXTENSIONS: Final = "creation,expiration,termination"
TUS_MEDIA_TYPE: Final = "application/offset+octet-stream"
_PURPOSE: Final = "upload"
_BODY = struct.Struct(">16sQQ")  # photo id, length in bytes, end in seconds since the epoch


@dataclass(frozen=True)
class Upload:
    """One photo on its way. ``expires_at``: afterwards an unfinished upload, or a photo no report named, is deleted."""

    photo_id: uuid.UUID
    length: int
    expires_at: datetime


def token_of(upload: Upload, settings: Settings) -> str:
    """The upload's token: the last part of its address, and the name by which a report claims its photo."""
    body = _BODY.pack(upload.photo_id.bytes, upload.length, int(upload.expires_at.timestamp()))
    return signing.seal(settings, _PURPOSE, body)


def read_token(token: str, settings: Settings) -> Upload:
    """The upload a token stands for, expired or not. Raises :class:`NotFound` ``upload_unknown``."""
    try:
        body = signing.unseal(settings, _PURPOSE, token)
        photo_id, length, end = _BODY.unpack(body)
    except (NotFound, struct.error):
        raise NotFound("upload_unknown") from None
    return Upload(uuid.UUID(bytes=photo_id), length, datetime.fromtimestamp(end, UTC))


def open_token(token: str, settings: Settings, *, now: datetime) -> Upload:
    """As :func:`read_token`. Raises :class:`Gone` ``upload_expired`` once its time is over."""
    upload = read_token(token, settings)
    if upload.expires_at <= now:
        raise Gone("upload_expired")
    return upload


def parse_length(text: str, *, max_bytes: int) -> int:
    """Upload-Length of a creation. Raises :class:`Invalid`: ``length_missing``, ``photo_empty``, ``photo_too_large``.

    A length that is not known yet (Upload-Defer-Length) is not offered: a photo's size is known.
    """
    if not _is_count(text):
        raise Invalid({"Upload-Length": ["length_missing"]})
    length = int(text)
    if length == 0:
        raise Invalid({"Upload-Length": ["photo_empty"]})
    if length > max_bytes:
        raise Invalid({"Upload-Length": ["photo_too_large"]})
    return length


def parse_offset(text: str) -> int:
    """Upload-Offset of a piece. Raises :class:`Invalid` ``offset_missing``."""
    if not _is_count(text):
        raise Invalid({"Upload-Offset": ["offset_missing"]})
    return int(text)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15
