"""One-time codes of the second factor, for the demo's people: a stand-in for the app on their telephone."""

import base64
import hmac
from datetime import datetime

STEP_S = 30  # RFC 6238, section 5.2: the recommended time step
DIGITS = 6


def current_code(secret: str, now: datetime) -> str:
    """The code of a base32 ``secret`` at ``now`` (RFC 6238 over HMAC-SHA-1, truncated as in RFC 4226, section 5.3)."""
    bare = secret.replace(" ", "").upper()
    key = base64.b32decode(bare + "=" * (-len(bare) % 8))
    counter = int(now.timestamp()) // STEP_S
    digest = hmac.digest(key, counter.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**DIGITS).zfill(DIGITS)
