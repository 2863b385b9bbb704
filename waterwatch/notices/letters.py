"""The mails an author gets: neutral on the outside, one sentence inside, and a way to stop them in each."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

from babel.support import Translations
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from jinja2.ext import i18n

from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import sign_link
from waterwatch.notices.words import PUSH_SENTENCE, REFUSAL_SENTENCES, STEP_SENTENCES
from waterwatch.postbox.service import Mail

CONFIRM, STOP = "notices-confirm", "notices-stop"  # purposes of the links' keys
CONFIRM_FOR = timedelta(days=7)
STOP_FOR = timedelta(days=2 * 365)  # longer than any mail of ours is looked at
_CATALOGS = Path(__file__).resolve().parents[1] / "translations"


@dataclass(frozen=True)
class Recipient:
    """Whom a letter is for: the contact it goes to, its address, and the language of the report."""

    contact_id: UUID
    address: str
    language: str
    since: datetime


def confirmation(recipient: Recipient, *, settings: Settings) -> Mail:
    """The first mail, which whoever owns the address may not have asked for: it tells nothing and asks."""
    confirm_url = _link(settings, "confirm", CONFIRM, recipient, CONFIRM_FOR)
    return _write("confirm", recipient, {"confirm_url": confirm_url}, settings)


def step(recipient: Recipient, what: str, *, follow_url: str | None, refusal: str | None, settings: Settings) -> Mail:
    """A step was taken: ``what`` names the sentence, ``refusal`` the reason where it was refused."""
    words = {
        "sentence": _in(recipient.language, STEP_SENTENCES[what]),
        "reason": _in(recipient.language, REFUSAL_SENTENCES[refusal]) if refusal in REFUSAL_SENTENCES else None,
        "follow_url": follow_url,
    }
    return _write("step", recipient, words, settings)


def push_sentence(language: str) -> str:
    """What the lock screen shows."""
    return _in(language, PUSH_SENTENCE)


def stop_link(settings: Settings, contact_id: UUID, since: datetime) -> str:
    """The token that stops the mails to a contact; the same each time."""
    return sign_link(settings, STOP, contact_id, expires_at=since + STOP_FOR)


def _link(settings: Settings, path: str, purpose: str, recipient: Recipient, lasts: timedelta) -> str:
    token = sign_link(settings, purpose, recipient.contact_id, expires_at=recipient.since + lasts)
    return f"{settings.public_url}/n/{path}/{token}"


def _write(name: str, recipient: Recipient, words: dict[str, Any], settings: Settings) -> Mail:
    stop = stop_link(settings, recipient.contact_id, recipient.since)
    facts = words | {"stop_url": f"{settings.public_url}/n/stop/{stop}", "language": recipient.language}
    render = _environment(recipient.language).get_template
    return Mail(
        address=recipient.address,
        subject=render(f"notices/mail/{name}_subject.txt").render(facts),
        text=render(f"notices/mail/{name}.txt").render(facts),
        html=render(f"notices/mail/{name}.html").render(facts),
        language=recipient.language,
        unsubscribe_url=f"{settings.public_url}/api/v1/unsubscribe/{stop}",
    )


def _in(language: str, sentence: Any) -> str:
    """A lazy sentence in a language of ours; outside of a request it is its own msgid."""
    return str(_translations(language).ugettext(str(sentence)))


@cache
def _translations(language: str) -> Translations:
    return Translations.load(str(_CATALOGS), [language.replace("-", "_")])  # type: ignore[return-value]


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("waterwatch.notices"),
        extensions=[i18n],
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    translating: Any = environment
    translating.install_gettext_translations(_translations(language), newstyle=True)
    return environment
