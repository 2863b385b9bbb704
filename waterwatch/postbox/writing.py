"""How mails are written: templates of a room in the reader's language, outside of any request."""

from functools import cache
from pathlib import Path
from typing import Any

from babel.support import Translations
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from jinja2.ext import i18n

_CATALOGS = Path(__file__).resolve().parents[1] / "translations"


def in_language(language: str, sentence: Any) -> str:
    """A lazy sentence in a language of ours; outside of a request it is its own msgid."""
    return str(_translations(language).ugettext(str(sentence)))


@cache
def environment(package: str, language: str) -> Environment:
    """The templates of a room, e.g. ``waterwatch.notices``. What is put into ``.html`` is escaped; gaps are errors."""
    made = Environment(
        loader=PackageLoader(package),
        extensions=[i18n],
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    translating: Any = made
    translating.install_gettext_translations(_translations(language), newstyle=True)
    return made


@cache
def _translations(language: str) -> Translations:
    return Translations.load(str(_CATALOGS), [language.replace("-", "_")])  # type: ignore[return-value]
