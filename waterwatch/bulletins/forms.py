"""What the lead writes into a bulletin, made plain text."""

import unicodedata
from collections.abc import Mapping


def parse_foreword(given: Mapping[str, str]) -> str:
    """Plain text, lines kept; control characters go. How long it may be is for the service to say."""
    written = given.get("foreword", "").replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in written if c == "\n" or unicodedata.category(c)[0] != "C").strip()
