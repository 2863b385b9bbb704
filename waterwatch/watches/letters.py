"""The mails of a watch: one that asks, one for each change, each with a way to stop them."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from flask_babel import lazy_gettext as _l

from waterwatch.advisories.forecast_queries import Expected
from waterwatch.advisories.rules import CAUTION_KINDS
from waterwatch.advisories.telling import beijing_words
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import sign_link
from waterwatch.kernel.writing import environment, in_language
from waterwatch.postbox.service import Mail
from waterwatch.watches.rules import CLEARED, FALLEN, RISEN
from waterwatch.web.windows import MAYBE_THERE
from waterwatch.web.words import KIND_WORDS, SEVERITY_WORDS

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
PUSH_WARNING = _l("你关注的水体，下游预警有变化")


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


def approaching(recipient: Recipient, water: WatchedWater, coming: Expected, *, settings: Settings) -> Mail:
    """What was seen upstream may come to this water: whence, when by calculation, and what anybody can do.

    By dates, since a mail is read on another day, and on China's clock, which the words say.
    """
    window, language = coming.window, recipient.language
    is_past = window.probable is not None and window.probable <= recipient.at
    when = in_language(language, MAYBE_THERE) if is_past else beijing_words(window, language)
    words = {
        "when": when,
        "km": f"{max(1, round(coming.distance_km))}",
        "kind": in_language(language, KIND_WORDS[coming.kind]),
        "level": level_words(coming.level, language),
        "is_unknown": window.earliest is None,
        "is_behind_lake": window.earliest is not None and window.probable is None,
        "is_caution": coming.kind in CAUTION_KINDS,
        "incident_url": f"{settings.public_url}/i/{coming.incident_code}",
        "report_url": f"{settings.public_url}/report",
    }
    return _write("approaching", recipient, water, words, settings)


def over(
    recipient: Recipient, water: WatchedWater, incident_code: str, *, is_still_warned: bool, settings: Settings
) -> Mail:
    """The warning from one incident is over for this water; ``is_still_warned``: others are not."""
    words = {"incident_url": f"{settings.public_url}/i/{incident_code}", "is_still_warned": is_still_warned}
    return _write("over", recipient, water, words, settings)


def push_payload(language: str, water: WatchedWater, sentence: Any = PUSH_SENTENCE) -> str:
    """What a browser gets: one neutral sentence, and the page that opens at a touch."""
    return json.dumps({"title": in_language(language, sentence), "url": f"/w/{water.public_id}"})


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
