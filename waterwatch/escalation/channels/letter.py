"""The mail an agency gets: what was seen, where, how grave, until when to acknowledge. Nothing of the citizen."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from functools import cache

from jinja2 import Environment
from sqlalchemy.exc import DBAPIError

from waterwatch.escalation import rules
from waterwatch.escalation.queries import CaseFacts, case_facts
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import sign_link
from waterwatch.kernel.writing import environment
from waterwatch.mapping.rules import LEVEL_COLOURS
from waterwatch.mapping.snapshot import incident_png
from waterwatch.messaging.email import InlineImage, Mailbox, compose
from waterwatch.photos.rules import MADE_ANEW_WITHIN_S
from waterwatch.web.words import EXTENT_WORDS, KIND_WORDS, SEVERITY_WORDS

LINK_PURPOSE = "acknowledge"
LANGUAGE = "zh-Hans"  # of every agency so far; the words of codes outside of a request are their msgids
SIZE_BUDGET_BYTES = 5 * 1024 * 1024  # departments' servers turn larger mails away; 10 MB is the usual limit
_TEXT_ALLOWANCE_BYTES = 64 * 1024

log = get_logger(__name__)


@dataclass(frozen=True)
class Pictures:
    """The photo (JPEG) and the map (PNG); None where one cannot be had.

    ``are_held_back``: one of them is there, but whatever holds it does not answer just now.
    """

    photo: bytes | None
    map: bytes | None
    are_held_back: bool = False


def gather(context: JobContext, case_id: uuid.UUID, *, with_pictures: bool = True) -> tuple[CaseFacts, Pictures]:
    """Read the case, draw its map, then fetch its photo with no transaction open. Raises :class:`NotFound`."""

    def draw() -> bytes:
        with transaction(context.sessions) as session:
            return incident_png(session, facts.incident_id)

    def fetch() -> bytes:
        if facts.is_photo_pending:
            raise Unavailable("photo_is_made_anew", retry_after_s=MADE_ANEW_WITHIN_S)
        return b"".join(context.objects.open(facts.photo_key)) if facts.photo_key is not None else b""

    with transaction(context.sessions) as session:
        facts = case_facts(session, case_id, language=LANGUAGE)
    if not with_pictures:
        return facts, Pictures(None, None)
    photo, is_photo_held = _obtain(fetch, "photo", case_id)
    drawn, is_map_held = _obtain(draw, "map", case_id)
    return facts, Pictures(photo, drawn, is_photo_held or is_map_held)


def _obtain(source: Callable[[], bytes], what: str, case_id: uuid.UUID) -> tuple[bytes | None, bool]:
    """The picture if it can be had, and whether asking again later may help."""
    try:
        return source(), False
    except Exception as error:  # a mail without a picture beats none; its link shows the pictures
        log.error("letter.picture_missing", case_id=str(case_id), picture=what, error=type(error).__name__)
        return None, isinstance(error, (Unavailable, DBAPIError, OSError))


def acknowledge_url(settings: Settings, case_id: uuid.UUID, created_at: datetime) -> str:
    """The signed link that acknowledges a case; the same each time, so every attempt sends the same mail."""
    expires_at = created_at + timedelta(days=settings.acknowledge_link_days)
    return f"{settings.public_url}/a/{sign_link(settings, LINK_PURPOSE, case_id, expires_at=expires_at)}"


def write(
    facts: CaseFacts,
    pictures: Pictures,
    *,
    settings: Settings,
    recipient: str,
    message_id: str,
    claimed_at: datetime,
    raised_from: int | None = None,
    answers: str | None = None,
    says: str = "case",
) -> EmailMessage:
    """Compose the mail for one address. ``claimed_at`` is the attempt's beginning, from which the deadline counts
    unless another of the agency's addresses got the case before. Pictures that would burst the budget stay out.

    ``raised_from``: the letter says that the severity is higher now than that, and follows the letter ``answers``.
    ``says``: ``lowered``, that it is lower than was said by mistake, or ``withdrawn``, that there is nothing to do.
    """
    images = _fitting(pictures)
    reply_by = facts.state_deadline_at if facts.state == "delivered" else None
    if reply_by is not None and raised_from is not None:
        reply_by = rules.raised_deadline(reply_by, facts.severity, told_at=claimed_at)
    is_raise = raised_from is not None and raised_from < facts.severity
    words = {
        "raised_from": str(SEVERITY_WORDS[raised_from]) if is_raise and raised_from is not None else None,
        "facts": facts,
        "says": says,
        "kind": str(KIND_WORDS[facts.kind]),
        "severity": str(SEVERITY_WORDS[facts.severity]),
        "extent": str(EXTENT_WORDS[facts.extent]) if facts.extent else None,
        "colour": LEVEL_COLOURS[facts.severity],
        "ink": "#1c2733" if facts.severity in (2, 3) else "#ffffff",  # white on yellow or orange is hard to read
        "reply_by": reply_by or rules.acknowledge_by(facts.severity, claimed_at),
        "acknowledge_url": acknowledge_url(settings, facts.case_id, facts.created_at),
        "incident_url": f"{settings.public_url}/i/{facts.code}",
        "images": {image.content_id for image in images},
    }
    render, page = _environment().get_template, "withdrawn" if says == "withdrawn" else "mail"
    return compose(
        sender=Mailbox(render("escalation/mail_sender.txt").render(), settings.mail_from),
        recipient=recipient,
        subject=render("escalation/mail_subject.txt").render(words),
        text=render(f"escalation/{page}.txt").render(words),
        html=render(f"escalation/{page}.html").render(words),
        message_id=message_id,
        sent_at=claimed_at,
        language=LANGUAGE,
        images=images,
        headers={"In-Reply-To": answers, "References": answers} if answers is not None else None,
    )


def _fitting(pictures: Pictures) -> list[InlineImage]:
    """The pictures that keep the mail within its budget; base64 makes four bytes of three, plus line ends."""
    wanted = [
        InlineImage("photo", "image/jpeg", pictures.photo or b"", "photo.jpg"),
        InlineImage("map", "image/png", pictures.map or b"", "map.png"),
    ]
    left, fitting = SIZE_BUDGET_BYTES - _TEXT_ALLOWANCE_BYTES, []
    for image in wanted:
        encoded_bytes = len(image.content) * 4 * 78 // (3 * 76)
        if 0 < encoded_bytes <= left:
            fitting.append(image)
            left -= encoded_bytes
    return fitting


@cache
def _environment() -> Environment:
    made = environment(LANGUAGE, "waterwatch.escalation")
    made.filters["china_time"] = _china_time
    return made


def _china_time(moment: datetime) -> str:
    return f"{moment.astimezone(rules.CHINA_TIME):%Y-%m-%d %H:%M}"
