"""What a letter says, in the words every channel but mail writes it with. Nothing of the citizen, no note."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment

from waterwatch.advisories import telling
from waterwatch.escalation import rules
from waterwatch.escalation.channels import Letter
from waterwatch.kernel import writing
from waterwatch.kernel.writing import in_language
from waterwatch.web.words import EXTENT_WORDS, KIND_WORDS, SEVERITY_WORDS, ZONE_WORDS

LANGUAGE = "zh-Hans"  # of every agency so far; the words of codes outside of a request are their msgids


def kind_words(letter: Letter) -> str:
    """The kind of pollution."""
    return str(KIND_WORDS[letter.facts.kind])


def severity_words(letter: Letter) -> str:
    """The colour and the level."""
    return str(SEVERITY_WORDS[letter.facts.severity])


def render(letter: Letter, template: str, **further: Any) -> str:
    """One of the templates of this room, filled with what a letter holds."""
    facts, before = letter.facts, letter.raised_from
    is_raise = before is not None and before < facts.severity
    words: Mapping[str, Any] = {
        "facts": facts,
        "says": letter.says,
        "kind": kind_words(letter),
        "severity": severity_words(letter),
        "extent": str(EXTENT_WORDS[facts.extent]) if facts.extent else None,
        "raised_from": str(SEVERITY_WORDS[before]) if is_raise and before is not None else None,
        "reply_by": letter.reply_by,
        "answer_url": letter.answer_url,
        "incident_url": letter.incident_url,
        "delivery_id": letter.delivery_id,
        "warning": warning_words(letter),
    }
    return environment().get_template(f"escalation/{template}").render({**words, **further})


def warning_words(letter: Letter) -> dict[str, Any] | None:
    """What a warning says, ready to be set: when first, which waters and intakes, how sure; None for other letters.

    Windows are told by their dates: a letter may be read tomorrow.
    """
    warned = letter.warned
    if warned is None:
        return None
    return {
        "first": telling.dated_words(warned.first) if warned.first is not None else None,
        "is_update": letter.answers is not None,
        "stretches": [
            {
                "water": telling.name_of(one),
                "from_km": f"{one.from_km:.0f}",
                "until_km": f"{one.until_km:.0f}",
                "window": telling.dated_words(one.window),
                "passage": telling.passage_words(one.passage_s),
                "peak": telling.peak_line(one.unit_peak),
                "marks": telling.marks_of(one),
            }
            for one in warned.segments
        ],
        "intakes": [
            {
                "name": one.name or str(ZONE_WORDS[one.kind]),
                "kind": str(ZONE_WORDS[one.kind]),
                "km": f"{one.distance_km:.0f}",
                "window": telling.dated_words(one.window),
            }
            for one in warned.intakes
        ],
        "sure": telling.how_sure(
            letter.facts.kind, is_timed=warned.is_timed, has_magnitudes=telling.has_magnitudes(warned.segments)
        ),
        "asked": in_language(LANGUAGE, telling.ASKED),
    }


def china_time(moment: datetime) -> str:
    """To the minute, as clocks in China show it."""
    return f"{moment.astimezone(rules.CHINA_TIME):%Y-%m-%d %H:%M}"


@cache
def environment() -> Environment:
    """The templates of this room."""
    made = writing.environment(LANGUAGE, "waterwatch.escalation").overlay()
    made.filters = {**made.filters, "china_time": china_time}
    return made
