"""Who may see the desk's tiles: whoever holds the token of these minutes. It names nobody and asks no database."""

import struct
from datetime import UTC, datetime, timedelta

from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import seal, unseal

PURPOSE = "desk-tiles"
# A token holds from one to two of these: whoever was given one just before the turn keeps it for a whole one.
TURN = timedelta(minutes=10)
_BODY = struct.Struct(">Q")


def tiles_token(settings: Settings, *, now: datetime) -> tuple[str, datetime]:
    """The token of this turn, the same for everybody who is given one in it, and until when it holds."""
    turn_s = int(TURN.total_seconds())
    expires_s = (int(now.timestamp()) // turn_s + 2) * turn_s
    return seal(settings, PURPOSE, _BODY.pack(expires_s)), datetime.fromtimestamp(expires_s, UTC)


def may_open(settings: Settings, token: str, *, now: datetime) -> bool:
    """Whether a token is ours and has not run out."""
    try:
        body = unseal(settings, PURPOSE, token)
    except NotFound:
        return False
    return len(body) == _BODY.size and now.timestamp() < _BODY.unpack(body)[0]
