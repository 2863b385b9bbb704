"""The mails of a watch: one that asks, one for each change, each with a way to stop them."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask_babel import lazy_gettext as _l

from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import sign_link
from waterwatch.kernel.writing import environment, in_language
from waterwatch.postbox.service import Mail
from waterwatch.watches.rules import CLEARED, FALLEN, RISEN
from waterwatch.web.words import SEVERITY_WORDS

CONFIRM, STOP = "watches-confirm", "watches-stop"  # purposes of the links' keys
CONFIRM_FOR = timedelta(days=7)
STOP_FOR = timedelta(days=2 * 365)  # longer than any mail of ours is looked at
CHANGE_SENTENCES = {
    RISEN: _l("等级升高了。"),
    FALLEN: _l("等级降低了。"),
    CLEARED: _l("警示已经解除。"),
}
NO_LEVEL = _l("没有警示")
# The whole of what a locked screen may show: which water somebody cares for is their own matter.
PUSH_SENTENCE = _l("你关注的水体，等级有变化")


@dataclass(frozen=True)
class Recipient:
    """Whom a letter is for: the watch it belongs to, its address and language, and when it is written."""

    watch_id: UUID
    address: str
    language: str
    at: datetime


@dataclass(frozen=True)
class WatchedWater:
    """The water a letter tells of, its name in the reader's language."""

    public_id: str
    name: str


def confirmation(recipient: Recipient, water: WatchedWater, *, settings: Settings) -> Mail:
    """The first mail, which whoever owns the address may not have asked for."""
    token = sign_link(settings, CONFIRM, recipient.watch_id, expires_at=recipient.at + CONFIRM_FOR)
    return _write(
        "confirm", recipient, water, {"confirm_url": f"{settings.public_url}/watch/confirm/{token}"}, settings
    )


def changed(
    recipient: Recipient,
    water: WatchedWater,
    change: str,
    levels: tuple[int | None, int | None],
    *,
    settings: Settings,
) -> Mail:
    """The level changed from the one this recipient knows of to the one that holds now."""
    before, after = (level_words(level, recipient.language) for level in levels)
    sentence = in_language(recipient.language, CHANGE_SENTENCES[change])
    return _write("changed", recipient, water, {"sentence": sentence, "before": before, "after": after}, settings)


def push_payload(language: str, water: WatchedWater) -> str:
    """What a browser gets: one neutral sentence, and the page that opens at a touch."""
    return json.dumps({"title": in_language(language, PUSH_SENTENCE), "url": f"/w/{water.public_id}"})


def level_words(level: int | None, language: str) -> str:
    """A level in words."""
    return in_language(language, NO_LEVEL if level is None else SEVERITY_WORDS[level])


def _write(name: str, recipient: Recipient, water: WatchedWater, words: dict[str, Any], settings: Settings) -> Mail:
    stop = sign_link(settings, STOP, recipient.watch_id, expires_at=recipient.at + STOP_FOR)
    facts = words | {
        "water": water.name,
        "water_url": f"{settings.public_url}/w/{water.public_id}",
        "stop_url": f"{settings.public_url}/watch/stop/{stop}",
        "language": recipient.language,
    }
    render = environment(recipient.language, "waterwatch.watches").get_template
    return Mail(
        address=recipient.address,
        subject=" ".join(render(f"watches/mail/{name}_subject.txt").render(facts).split()),
        text=render(f"watches/mail/{name}.txt").render(facts),
        html=render(f"watches/mail/{name}.html").render(facts),
        language=recipient.language,
        unsubscribe_url=f"{settings.public_url}/api/v1/watch/unsubscribe/{stop}",
    )
