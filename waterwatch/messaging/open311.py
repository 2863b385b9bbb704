"""A client of Open311 GeoReport v2 (https://wiki.open311.org/GeoReport_v2/): what a city's server takes, and says.

Everything a server says is hostile: bounded, read without entities or depth, cut to the lengths we keep, and never
shown unescaped. What cannot be read is a failure with a code, never an exception.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from waterwatch.messaging.attempts import Failure
from waterwatch.messaging.http import Answer, Client, FetchError, failure_of, judge

MEDIA_TYPES = {"xml": "text/xml", "json": "application/json"}
FORM_TYPE = "application/x-www-form-urlencoded; charset=utf-8"
ID_MAX_CHARACTERS = 200
WORDS_MAX_CHARACTERS = 2000
ITEMS_MAX = 1000  # the standard's own bound of a list
LIST_MAX_BYTES = 1024 * 1024  # a list of a thousand requests; single answers are held to the client's own bound
STATUSES = ("open", "closed")
URL_CHARACTERS = 500


class Refused(Exception):
    """The server could not be asked, or its answer is of no use: ``failure`` says which."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(failure.code)


@dataclass(frozen=True)
class Server:
    """One city's server. ``url`` is the endpoint's base, as its discovery document names it, without a last slash."""

    url: str
    api_key: str | None = None
    jurisdiction_id: str | None = None
    form: Literal["xml", "json"] = "xml"


@dataclass(frozen=True)
class Service:
    """One kind of request a server takes. ``has_definition``: it asks further questions."""

    code: str
    name: str
    has_definition: bool


@dataclass(frozen=True)
class Attribute:
    """A question of a service. ``keys`` are the answers of a list."""

    code: str
    datatype: str
    is_required: bool
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class NewRequest:
    """What is posted. ``lon``, ``lat`` WGS-84 degrees; ``account_id`` is our own id of the hand-over."""

    service_code: str
    lon: float
    lat: float
    description: str
    account_id: str
    address: str | None = None
    media_url: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Created:
    """Taken: under an id, or with a token that will be exchanged for one."""

    request_id: str | None
    token: str | None


@dataclass(frozen=True)
class RemoteState:
    """What a server says of a request. ``notes`` are its own words, cut and without control characters."""

    request_id: str
    status: Literal["open", "closed"]
    notes: str | None
    description: str | None = None
    account_id: str | None = None


def discover(client: Client, url: str, *, now: datetime, form: Literal["xml", "json"] = "xml") -> str:
    """The base address of a server's GeoReport v2 endpoint, from its discovery document. Production before test.

    Raises :class:`Refused`.
    """
    root = _ask(client, "GET", url, form, now=now)
    found = []
    for endpoint in _children(root, "endpoints", "endpoint"):
        words = _word(endpoint, "specification") or ""
        address = _word(endpoint, "url", URL_CHARACTERS)
        if address and "georeport_v2" in words.lower().replace(" ", "_"):
            found.append((_word(endpoint, "type") != "production", address.rstrip("/")))
    if not found:
        raise Refused(Failure("no_endpoint", is_permanent=True))
    return min(found)[1]


def services(client: Client, server: Server, *, now: datetime) -> list[Service]:
    """What a server takes. Raises :class:`Refused`."""
    root = _ask(client, "GET", _address(server, "services"), server.form, now=now, max_bytes=LIST_MAX_BYTES)
    found = []
    for item in _items(root, "service"):
        if code := _word(item, "service_code", ID_MAX_CHARACTERS):
            name = _word(item, "service_name") or code
            found.append(Service(code, name, (_word(item, "metadata") or "").lower() == "true"))
    return found


def definition(client: Client, server: Server, code: str, *, now: datetime) -> list[Attribute]:
    """The questions of one service that are to be answered (``variable``). Raises :class:`Refused`."""
    root = _ask(client, "GET", _address(server, f"services/{quote(code, safe='')}"), server.form, now=now)
    found = []
    for item in _children(root, "attributes", "attribute"):
        name = _word(item, "code", ID_MAX_CHARACTERS)
        if not name or (_word(item, "variable") or "true").lower() == "false":
            continue
        keys = tuple(key for value in _children(item, "values", "value") if (key := _word(value, "key")))
        is_required = (_word(item, "required") or "").lower() == "true"
        found.append(Attribute(name, (_word(item, "datatype") or "string").lower(), is_required, keys))
    return found


def create(client: Client, server: Server, new: NewRequest, *, now: datetime) -> Created:
    """Post one request. Raises :class:`Refused`; after ``timeout``, ``broken_off``, ``too_large`` or
    ``answer_garbled`` the server may have taken it all the same."""
    fields = {
        "api_key": server.api_key,
        "service_code": new.service_code,
        "lat": f"{new.lat:.6f}",
        "long": f"{new.lon:.6f}",
        "address_string": new.address,
        "description": new.description,
        "media_url": new.media_url,
        "account_id": new.account_id,
        **{f"attribute[{code}]": value for code, value in new.attributes.items()},
    }
    body = urlencode({name: value for name, value in fields.items() if value is not None}).encode()
    root = _ask(client, "POST", _address(server, "requests"), server.form, now=now, body=body)
    for item in _items(root, "request"):
        request_id = _word(item, "service_request_id", ID_MAX_CHARACTERS)
        token = _word(item, "token", ID_MAX_CHARACTERS)
        if request_id or token:
            return Created(request_id, token)
    raise Refused(Failure("answer_garbled", is_deferred=True))


def exchange(client: Client, server: Server, token: str, *, now: datetime) -> str | None:
    """The id a token became; None while it has none. Raises :class:`Refused`."""
    root = _ask(client, "GET", _address(server, f"tokens/{quote(token, safe='')}"), server.form, now=now)
    for item in _items(root, "request"):
        return _word(item, "service_request_id", ID_MAX_CHARACTERS)
    return None


def state_of(client: Client, server: Server, request_id: str, *, now: datetime) -> RemoteState:
    """What became of a request. Raises :class:`Refused`."""
    root = _ask(client, "GET", _address(server, f"requests/{quote(request_id, safe='')}"), server.form, now=now)
    for item in _items(root, "request"):
        if (state := _state(item)) is not None and state.request_id == request_id:
            return state
    raise Refused(Failure("answer_garbled", is_deferred=True))


def find(
    client: Client, server: Server, service_code: str, account_id: str, *, since: datetime, now: datetime
) -> RemoteState | None:
    """The request of ours that a server took although we never read its answer: by our id, wherever it repeats it.

    Raises :class:`Refused`; a server that lists no descriptions finds nothing.
    """
    asked = {
        "service_code": service_code,
        "start_date": (since - timedelta(hours=1)).isoformat(timespec="seconds"),
        "end_date": (now + timedelta(hours=1)).isoformat(timespec="seconds"),
    }
    address = _address(server, "requests", asked)
    root = _ask(client, "GET", address, server.form, now=now, max_bytes=LIST_MAX_BYTES)
    for item in _items(root, "request"):
        state = _state(item)
        if state and account_id in (state.account_id, *re.findall(r"[0-9a-f-]{36}", state.description or "")):
            return state
    return None


def _state(item: Any) -> RemoteState | None:
    request_id = _word(item, "service_request_id", ID_MAX_CHARACTERS)
    status = (_word(item, "status") or "").lower()
    if not request_id or status not in STATUSES:
        return None
    notes, description = _word(item, "status_notes"), _word(item, "description")
    return RemoteState(
        request_id, "open" if status == "open" else "closed", notes, description, _word(item, "account_id")
    )


def _address(server: Server, path: str, asked: Mapping[str, str] | None = None) -> str:
    named = dict(asked or {}) | ({"jurisdiction_id": server.jurisdiction_id} if server.jurisdiction_id else {})
    return f"{server.url}/{path}.{server.form}" + (f"?{urlencode(named)}" if named else "")


def _ask(
    client: Client,
    method: str,
    url: str,
    form: str,
    *,
    now: datetime,
    body: bytes | None = None,
    max_bytes: int | None = None,
) -> Any:
    """The root of what a server answers: an XML element, or what JSON holds."""
    headers = {"Accept": MEDIA_TYPES[form]} | ({"Content-Type": FORM_TYPE} if body is not None else {})
    bound = {"max_bytes": max_bytes} if max_bytes is not None else {}
    try:
        answer = client.send(method, url, headers=headers, body=body, **bound)
    except FetchError as error:
        raise Refused(failure_of(error)) from None
    if (failure := judge(answer, now=now)) is not None:
        raise Refused(failure)
    return _parse(answer)


class _NoDoctype(ElementTree.TreeBuilder):
    """Builds a tree of a document that declares nothing: entities are declared in a DOCTYPE, and could be anything."""

    def doctype(self, *_: object) -> None:
        """Refuse it."""
        raise ValueError("declares a document type")


def _parse(answer: Answer) -> Any:
    """By what it is, not by what it is said to be: servers mislabel either."""
    try:
        if answer.body.lstrip()[:1] in (b"{", b"["):
            return json.loads(answer.body)
        parser = ElementTree.XMLParser(target=_NoDoctype())  # noqa: S314  # no DOCTYPE, so no entities; bounded in bytes
        parser.feed(answer.body)
        return parser.close()
    except (ValueError, LookupError, ElementTree.ParseError, RecursionError):
        raise Refused(Failure("answer_garbled", is_deferred=True)) from None


def _items(root: Any, name: str) -> Iterator[Any]:
    """The items of a list: elements of an XML document, or of a JSON array; of one thing alone, itself."""
    if isinstance(root, ElementTree.Element):
        yield from root.findall(name)[:ITEMS_MAX]
    elif isinstance(root, list):
        yield from (one for one in root[:ITEMS_MAX] if isinstance(one, dict))
    elif isinstance(root, dict):
        yield root


def _children(parent: Any, group: str, name: str) -> Sequence[Any]:
    """What stands in a named group of a thing: ``<values><value/></values>``, or ``"values": [{}]``."""
    if isinstance(parent, ElementTree.Element):
        found = parent.find(group)
        return found.findall(name)[:ITEMS_MAX] if found is not None else ()
    if isinstance(parent, list):  # some wrap the one thing that was asked for
        parent = parent[0] if parent else None
    inside = parent.get(group) if isinstance(parent, dict) else None
    return [one for one in inside[:ITEMS_MAX] if isinstance(one, dict)] if isinstance(inside, list) else ()


def _word(item: Any, name: str, most: int = WORDS_MAX_CHARACTERS) -> str | None:
    """One value as text, cut, its control characters turned into spaces but for line ends; None where it is empty.

    An id may never be cut: one that is too long is none.
    """
    if isinstance(item, ElementTree.Element):
        value: object = item.findtext(name)
    else:
        value = item.get(name) if isinstance(item, dict) else None
    if isinstance(value, bool):
        value = "true" if value else "false"
    if not isinstance(value, (str, int, float)):
        return None
    kept = str(value).encode(errors="replace").decode()[: 2 * WORDS_MAX_CHARACTERS]
    words = "".join(_shown(letter) for letter in kept).strip()
    if most < WORDS_MAX_CHARACTERS and len(words) > most:
        return None
    return words[:most] or None


def _shown(letter: str) -> str:
    """A letter as it may be kept: nothing invisible that turns the direction of a line or ends it for a program."""
    return letter if letter == "\n" or unicodedata.category(letter)[0] != "C" else " "
