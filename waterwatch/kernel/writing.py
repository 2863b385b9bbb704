"""How mails and published pages are written: templates in the reader's language, outside of any request."""

from functools import cache
from pathlib import Path
from typing import Any

from babel.support import NullTranslations, Translations
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from jinja2.ext import i18n

_CATALOGS = Path(__file__).resolve().parents[1] / "translations"


def in_language(language: str, sentence: Any) -> str:
    """A lazy sentence in a language of ours; outside of a request it is its own msgid."""
    return str(translations(language).ugettext(str(sentence)))


@cache
def environment(language: str, *packages: str) -> Environment:
    """The templates of rooms, e.g. ``waterwatch.notices``. What is put into ``.html`` is escaped; gaps are errors."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in packages]),
        extensions=[i18n],
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        auto_reload=False,  # else every rendering asks for the times of all files it is made of
        trim_blocks=True,
        lstrip_blocks=True,
    )
    translating: Any = made
    translating.install_gettext_translations(translations(language), newstyle=True)
    return made


@cache
def translations(language: str) -> NullTranslations:
    """The catalog of a language of ours; the words in the sources are simplified Chinese and have none."""
    return Translations.load(str(_CATALOGS), [language.replace("-", "_")])
