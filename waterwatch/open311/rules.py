"""What GeoReport v2 says and how it is written: pure. Source: https://wiki.open311.org/GeoReport_v2/"""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from xml.etree import ElementTree

XML = "text/xml; charset=utf-8"
JSON = "application/json; charset=utf-8"
OPEN, CLOSED = "open", "closed"
STATUSES = (OPEN, CLOSED)
REPORT_PENDING = frozenset({"received", "sanitising", "in_review"})
CASE_CONCERNED = frozenset({"queued", "delivered", "acknowledged", "answered", "closed"})

Item: TypeAlias = Mapping[str, Any]
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


def idempotency_key(client_id: uuid.UUID) -> uuid.UUID:
    """The key that makes the same request of the same application, sent twice, one report.

    Derived, because GeoReport knows none: what tells two reports apart is what they say and show, see ``intake``.
    """
    return uuid.uuid5(client_id, "open311")


def report_status(state: str) -> str:
    """Open while somebody will still look at the report itself; what became of it then is its incident's to say."""
    return OPEN if state in REPORT_PENDING else CLOSED


def to_json(body: Item | Sequence[Item]) -> str:
    """A bare array, or one object."""
    return json.dumps(_plain(body), ensure_ascii=False)


def to_xml(root: str, body: Item | Sequence[Item], child: str = "") -> bytes:
    """A document named ``root``; of a list, each item an element named ``child``. Nested lists name theirs by an s."""
    element = ElementTree.Element(root)
    if isinstance(body, Mapping):
        _fill(element, body)
    else:
        for item in body:
            _fill(ElementTree.SubElement(element, child), item)
    return bytes(ElementTree.tostring(element, encoding="utf-8", xml_declaration=True))


def _fill(element: ElementTree.Element, value: Any) -> None:
    if isinstance(value, Mapping):
        for name, part in value.items():
            _fill(ElementTree.SubElement(element, name), part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _fill(ElementTree.SubElement(element, element.tag.removesuffix("s")), part)
    elif value is not None:
        element.text = _NO_XML.sub("", _as_text(value))


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return moment(value) if isinstance(value, datetime) else str(value)


def _plain(value: Any) -> Any:
    """JSON's own types; a translated sentence becomes text."""
    if isinstance(value, Mapping):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return _as_text(value)


def moment(at: datetime) -> str:
    """An instant as the standard writes it (W3C date and time, whole seconds, with its offset)."""
    return at.isoformat(timespec="seconds")
