"""What folium never sees: texts that stand in a page it draws, put in after it has drawn.

Folium compiles what it is given as a template, scripts even twice: a name that reads ``{{7*7}}`` would be run. So it
gets marks of our making, and each is replaced by its text when nothing compiles any more. Should a text go through a
template all the same, it holds no brace that would begin anything.
"""

import json
import re
from html import escape

_MARK = re.compile(r"wwinset(\d{6})w")
_BRACES = {ord("{"): "&#123;", ord("}"): "&#125;"}
_NOT_IN_A_SCRIPT = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&'{}\u2028\u2029"}


def plain(text: str) -> str:
    """A text as HTML that shows it literally, also in an attribute; no template begins in it."""
    return escape(text).translate(_BRACES)


def in_script(text: str) -> str:
    """A text as the inside of a JSON string that may stand in a script: it ends neither, and begins no template."""
    return json.dumps(text, ensure_ascii=False)[1:-1].translate(_NOT_IN_A_SCRIPT)


class Insets:
    """The texts of one page, and the marks that stand for them."""

    def __init__(self) -> None:
        self._contents: list[str] = []

    def html(self, content: str) -> str:
        """A mark for HTML, in which every foreign text is :func:`plain` already."""
        self._contents.append(content)
        return f"wwinset{len(self._contents) - 1:06d}w"

    def string(self, content: str) -> str:
        """A mark for what stands in a string of a script."""
        return self.html(in_script(content))

    def fill(self, shell: str) -> str:
        """The page: each mark replaced by what it stands for, once; a text that reads like a mark stays a text."""
        return _MARK.sub(lambda mark: self._contents[int(mark[1])], shell)
