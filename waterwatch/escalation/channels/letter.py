"""What a letter says, whatever channel takes it: the facts of its case, the photo and the map, the links."""

import contextlib
import hashlib
import tempfile
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from waterwatch.escalation.channels import Contact, Letter, Pictures
from waterwatch.escalation.claims import Claim
from waterwatch.escalation.queries import CaseFacts
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import sign_link
from waterwatch.mapping.snapshot import incident_png
from waterwatch.photos.rules import MADE_ANEW_WITHIN_S

LINK_PURPOSE = "acknowledge"
KEPT_PICTURES = 100  # of a hundred kilobytes each

log = get_logger(__name__)


class PictureShelf:
    """Photos and maps this worker has just fetched or drawn: the agencies of one incident get the same ones.

    A photo that was covered anew has another key, a map of another level or place another name. Kept for one job.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._turn = threading.Lock()

    def get(self, key: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        """What is kept under ``key``, or made now; two threads may make the same."""
        with self._turn:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._turn:
            self._kept[key] = made
            while len(self._kept) > KEPT_PICTURES:
                self._kept.popitem(last=False)
        return made


def gather_pictures(context: JobContext, facts: CaseFacts, shelf: PictureShelf) -> Pictures:
    """Draw the map, then fetch the photo with no transaction open, unless this worker has them."""

    def draw() -> bytes:
        path = kept_map(context.settings, facts)
        with contextlib.suppress(OSError):
            return path.read_bytes()
        with transaction(context.sessions) as session:
            drawn = incident_png(session, facts.incident_id)
        _keep(path, drawn)
        return drawn

    def fetch() -> bytes:
        if facts.is_photo_pending:
            raise Unavailable("photo_is_made_anew", retry_after_s=MADE_ANEW_WITHIN_S)
        if facts.photo_key is None:
            return b""
        key = facts.photo_key
        return shelf.get((key,), lambda: b"".join(context.objects.open(key)))

    def draw_once() -> bytes:
        return shelf.get((facts.incident_id, facts.severity, facts.lon, facts.lat, facts.code), draw)

    photo, is_photo_held = _obtain(fetch, "photo", facts.case_id)
    drawn, is_map_held = _obtain(draw_once, "map", facts.case_id)
    return Pictures(photo or None, drawn, is_photo_held or is_map_held)


def kept_map(settings: Settings, facts: CaseFacts) -> Path:
    """Where a map that was drawn lies for the further letters of its incident; the sweep clears it after an hour."""
    shown = f"{facts.incident_id} {facts.severity} {facts.lon} {facts.lat}"
    return settings.spool_dir / f"map-{hashlib.sha256(shown.encode()).hexdigest()[:32]}.png"


def _keep(path: Path, drawn: bytes) -> None:
    """Keep a map; where that fails, it is drawn again."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix="map-", suffix=".part", delete=False) as file:
            file.write(drawn)
        Path(file.name).replace(path)
    except OSError as error:
        log.warning("letter.map_not_kept", error=type(error).__name__)


def _obtain(source: Callable[[], bytes], what: str, case_id: uuid.UUID) -> tuple[bytes | None, bool]:
    """The picture if it can be had, and whether asking again later may help."""
    try:
        return source(), False
    except Exception as error:  # a mail without a picture beats none; its link shows the pictures
        log.error("letter.picture_missing", case_id=str(case_id), picture=what, error=type(error).__name__)
        return None, isinstance(error, (Unavailable, DBAPIError, OSError))


def acknowledge_url(settings: Settings, case_id: uuid.UUID, queued_at: datetime) -> str:
    """The signed link that acknowledges a case; the same each time, so every attempt sends the same mail.

    It lasts from when its letter was queued: that of a reminder, months after the first letter, opens as well.
    """
    expires_at = queued_at + timedelta(days=settings.acknowledge_link_days)
    return f"{settings.public_url}/a/{sign_link(settings, LINK_PURPOSE, case_id, expires_at=expires_at)}"


def make_letter(
    claim: Claim,
    facts: CaseFacts,
    pictures: Pictures,
    *,
    settings: Settings,
    others: tuple[Letter, ...] = (),
) -> Letter:
    """The letter of a claim."""
    url = acknowledge_url(settings, facts.case_id, claim.queued_at)
    return Letter(
        delivery_id=claim.delivery_id,
        case_id=claim.case_id,
        says=claim.says,
        facts=facts,
        pictures=pictures,
        contact=claim.contact or Contact(claim.contact_id, claim.channel, claim.address),
        message_id=claim.message_id,
        attempt=claim.attempt,
        claimed_at=claim.claimed_at,
        queued_at=claim.queued_at,
        reply_by=reply_by(facts, claim.claimed_at, claim.raised_from),
        answer_url=url,
        photo_url=f"{url}/photo.jpg" if facts.photo_key else None,
        map_url=f"{url}/map.png",
        incident_url=f"{settings.public_url}/i/{facts.code}",
        raised_from=claim.raised_from,
        answers=claim.answers,
        earlier=claim.earlier,
        remote_id=claim.remote_id,
        others=others,
    )


def reply_by(facts: CaseFacts, claimed_at: datetime, raised_from: int | None) -> datetime:
    """When the case is to be acknowledged: from this attempt's beginning, unless the time runs already."""
    running = facts.state_deadline_at if facts.state == "delivered" else None
    if running is None:
        return facts.terms.due("acknowledge", facts.severity, claimed_at)
    if raised_from is not None:
        return min(running, facts.terms.due("acknowledge", facts.severity, claimed_at))
    return running
