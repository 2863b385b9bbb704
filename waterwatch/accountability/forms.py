"""What a department writes about its figures, made a command."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from waterwatch.accountability.rules import MOST_WORDS
from waterwatch.kernel.errors import Invalid


@dataclass(frozen=True)
class WriteComment:
    """A comment: plain text, lines kept."""

    words: str


def parse_comment(given: Mapping[str, str]) -> WriteComment:
    """Raises :class:`Invalid`. Control characters go, line ends stay; nothing is taken for markup anywhere."""
    written = given.get("words", "").replace("\r\n", "\n").replace("\r", "\n")
    words = "".join(c for c in written if c == "\n" or unicodedata.category(c)[0] != "C").strip()
    if not words:
        raise Invalid({"words": ["comment_missing"]})
    if len(words) > MOST_WORDS:
        raise Invalid({"words": ["comment_too_long"]})
    return WriteComment(words)
