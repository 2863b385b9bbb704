"""The words of an HTML mail, in one pass: a parser that takes the square of a page's length is fed no hostile one."""

import html
import re
from typing import Final

# What begins a line of its own; what is not shown.
_BREAKS: Final = frozenset(
    ("br", "p", "div", "tr", "li", "table", "ul", "ol", "hr", "pre", "blockquote", "section", "h1", "h2", "h3", "h4")
)
_HIDDEN: Final = ("script", "style", "head", "title", "template", "noscript")
_NAME = re.compile(r"/?([a-zA-Z][a-zA-Z0-9]{0,20})")
_MANY_BREAKS = re.compile(r"\n{3,}")
_SPACES = re.compile(r"[ \t\r\f\v\n]+")


def to_text(page: str) -> str:
    """What a reader sees of a page, line by line."""
    found: list[str] = []
    lower, at, end = page.lower(), 0, len(page)
    while at < end:
        opened = page.find("<", at)
        found.append(_words(page[at : opened if opened >= 0 else end]))
        if opened < 0:
            break
        if page.startswith("<!--", opened):
            closed = page.find("-->", opened + 4)
            at = end if closed < 0 else closed + 3
            continue
        name = _NAME.match(page, opened + 1)
        if name is None and not page.startswith(("<!", "<?"), opened):
            found.append("<")
            at = opened + 1
            continue
        closed = page.find(">", opened)
        if closed < 0:
            break
        tag = name[1].lower() if name else ""
        at = closed + 1
        if tag in _HIDDEN and page[opened + 1] != "/":
            ending = lower.find(f"</{tag}", at)
            at = end if ending < 0 else ending
        elif tag in _BREAKS:
            found.append("\n")
        elif tag in ("td", "th"):
            found.append(" ")
    return _tidy("".join(found))


def _words(piece: str) -> str:
    """Text between tags: its own line breaks are only spaces."""
    return _SPACES.sub(" ", html.unescape(piece)).replace("\N{NO-BREAK SPACE}", " ")


def _tidy(words: str) -> str:
    lines = [line.strip() for line in words.split("\n")]
    return _MANY_BREAKS.sub("\n\n", "\n".join(lines)).strip()
