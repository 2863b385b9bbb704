"""Links that are keys: what each opens, and until when."""

import struct
import uuid
from datetime import datetime, timedelta

from waterwatch.escalation.channels import Letter
from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import seal, sign_link, unseal

PHOTO_PURPOSE = "case-photo"
FEED_PURPOSE = "cap-feed"
_FEED = struct.Struct(">16sQ")


def photo_url(settings: Settings, letter: Letter) -> str:
    """The photo of a case and nothing else: for servers that publish what they are told."""
    expires_at = letter.queued_at + timedelta(days=settings.acknowledge_link_days)
    token = sign_link(settings, PHOTO_PURPOSE, letter.case_id, expires_at=expires_at)
    return f"{settings.public_url}/case-photo/{token}.jpg"


def feed_token(settings: Settings, contact_id: uuid.UUID, rotated_at: datetime | None) -> str:
    """What opens an agency's feed until its secret is made anew."""
    return seal(settings, FEED_PURPOSE, _FEED.pack(contact_id.bytes, _seconds(rotated_at)))


def open_feed_token(settings: Settings, token: str) -> tuple[uuid.UUID, int]:
    """The contact a token was made for, and its secret's age to be compared by :func:`is_of`. Raises ``NotFound``."""
    body = unseal(settings, FEED_PURPOSE, token)
    if len(body) != _FEED.size:
        raise NotFound("link_unknown")
    contact, seconds = _FEED.unpack(body)
    return uuid.UUID(bytes=contact), seconds


def is_of(seconds: int, rotated_at: datetime | None) -> bool:
    """Whether a token was made since the secret was."""
    return seconds == _seconds(rotated_at)


def _seconds(rotated_at: datetime | None) -> int:
    return int(rotated_at.timestamp()) if rotated_at is not None else 0
