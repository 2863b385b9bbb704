"""A small GeoReport v2 server written from the standard's text and nothing of ours; strict where it says "must"."""

import json
import re
import socket
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.messaging.peers import Request

API_KEY = "city-key-7"
TYPES = {"xml": "text/xml; charset=utf-8", "json": "application/json; charset=utf-8"}


@dataclass
class City:
    """What a city's server keeps. ``gives_tokens``: ids come later, ``number`` gives them. ``lists``: descriptions."""

    gives_tokens: bool = False
    lists: bool = True
    drops_answers: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    tokens: dict[str, str | None] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def number(self, token: str) -> str:
        """A desk gives a token its id."""
        request_id = f"C-{len(self.requests)}"
        self.tokens[token] = request_id
        next(one for one in self.requests if one["token"] == token)["service_request_id"] = request_id
        return request_id

    def __call__(self, request: Request, line: socket.socket, _is_over: threading.Event) -> None:
        parts = urlsplit(request.path)
        path, _, form = parts.path.rpartition(".")
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if form not in TYPES:
            return self._say(line, "xml", 404, self._error("xml", 404, "unknown format"))
        if asked.get("jurisdiction_id") not in (None, "city.example"):
            return self._say(line, form, 404, self._error(form, 404, "jurisdiction_id provided was not found"))
        status, root, child, items = self._answer(request, path, form, asked)
        if status >= 400:
            return self._say(line, form, status, self._error(form, status, items[0]["description"]))
        if request.method == "POST" and self.drops_answers > 0:
            self.drops_answers -= 1
            return None
        body = json.dumps(items if child else items[0]) if form == "json" else _xml(root, child, items)
        return self._say(line, form, status, body)

    def _answer(
        self, request: Request, path: str, form: str, asked: dict[str, str]
    ) -> tuple[int, str, str, list[dict[str, Any]]]:
        if path == "/v2/services":
            services = [
                {"service_code": code, "service_name": code, "description": code, "type": "realtime",
                 "metadata": str(code == "water").lower(), "keywords": "", "group": "water"}
                for code in ("water", "other")
            ]  # fmt: skip
            return 200, "services", "service", services
        if found := re.fullmatch("/v2/services/(.+)", path):
            if found[1] != "water":
                return 404, "", "", [{"description": "service_code was not found"}]
            attributes = [
                _attribute("WHERE", "string", True), _attribute("SIZE", "singlevaluelist", True, ["big", "small"]),
                _attribute("NOTE", "text", False), _attribute("HELP", "string", False, variable=False),
            ]  # fmt: skip
            return 200, "service_definition", "", [{"service_code": "water", "attributes": attributes}]
        if path == "/v2/requests" and request.method == "POST":
            return self._post(request)
        if path == "/v2/requests":
            listed = [one for one in self.requests if one["service_request_id"] and self.lists]
            return 200, "service_requests", "request", [_public(one) for one in listed]
        if found := re.fullmatch("/v2/requests/(.+)", path):
            named = [one for one in self.requests if one["service_request_id"] == unquote(found[1])]
            if not named:
                return 404, "", "", [{"description": "service_request_id was not found"}]
            return 200, "service_requests", "request", [_public(one) for one in named]
        if found := re.fullmatch("/v2/tokens/(.+)", path):
            if found[1] not in self.tokens:
                return 404, "", "", [{"description": "token was not found"}]
            item = {"token": found[1], "service_request_id": self.tokens[found[1]]}
            return 200, "service_requests", "request", [item]
        return 404, "", "", [{"description": "not found"}]

    def _post(self, request: Request) -> tuple[int, str, str, list[dict[str, Any]]]:
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return 400, "", "", [{"description": "not a form"}]
        sent = parse_qs(request.body.decode(), strict_parsing=True)
        if any(len(values) > 1 for values in sent.values()):
            return 400, "", "", [{"description": "given twice"}]
        fields = {name: values[0] for name, values in sent.items()}
        if fields.get("api_key") != API_KEY:
            return 403, "", "", [{"description": "api_key was invalid"}]
        if fields.get("service_code") not in ("water", "other"):
            return 404, "", "", [{"description": "service_code was not found"}]
        if not -90 <= float(fields["lat"]) <= 90 or not -180 <= float(fields["long"]) <= 180:
            return 400, "", "", [{"description": "lat/long out of range"}]
        if len(fields["description"]) > 4000:
            return 400, "", "", [{"description": "description is limited to 4,000 characters"}]
        missing = [f"attribute[{code}]" for code in ("WHERE", "SIZE") if fields.get(f"attribute[{code}]") is None]
        if fields["service_code"] == "water" and (missing or fields["attribute[SIZE]"] not in ("big", "small")):
            return 400, "", "", [{"description": "a required attribute is missing or not of its list"}]
        token = f"t-{len(self.requests)}"
        request_id = None if self.gives_tokens else f"C-{len(self.requests)}"
        self.requests.append(fields | {"token": token, "service_request_id": request_id, "status": "open", "notes": ""})
        self.tokens[token] = request_id
        told = {"token": token} if self.gives_tokens else {"service_request_id": request_id}
        return 200, "service_requests", "request", [told | {"service_notice": "", "account_id": None}]

    def _error(self, form: str, status: int, words: str) -> str:
        self.faults.append(words)
        if form == "json":
            return json.dumps([{"code": status, "description": words}])
        return _xml("errors", "error", [{"code": status, "description": words}])

    @staticmethod
    def _say(line: socket.socket, form: str, status: int, body: str) -> None:
        content = body.encode()
        head = f"HTTP/1.1 {status} x\r\nContent-Type: {TYPES[form]}\r\nContent-Length: {len(content)}\r\n\r\n"
        line.sendall(head.encode() + content)


def _attribute(
    code: str, datatype: str, required: bool, keys: list[str] | None = None, *, variable: bool = True
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "variable": str(variable).lower(), "code": code, "datatype": datatype, "required": str(required).lower(),
        "datatype_description": "", "order": 1, "description": code,
    }  # fmt: skip
    return made | ({"values": [{"key": key, "name": key} for key in keys]} if keys else {})


def _public(one: dict[str, Any]) -> dict[str, Any]:
    """What anybody may ask for: no key, no account."""
    names = ("service_request_id", "status", "service_code", "description", "lat", "long", "media_url")
    return {name: one.get(name) for name in names} | {"status_notes": one["notes"]}


def _xml(root: str, child: str, items: list[dict[str, Any]]) -> str:
    """Lists as elements of their own; of one definition, its parts."""
    if not child:
        return f'<?xml version="1.0" encoding="utf-8"?><{root}>{_fields(items[0])}</{root}>'
    inside = "".join(f"<{child}>{_fields(item)}</{child}>" for item in items)
    return f'<?xml version="1.0" encoding="utf-8"?><{root}>{inside}</{root}>'


def _fields(item: dict[str, Any]) -> str:
    written = ""
    for name, value in item.items():
        if isinstance(value, list):
            inner = "".join(f"<{name.removesuffix('s')}>{_fields(one)}</{name.removesuffix('s')}>" for one in value)
            written += f"<{name}>{inner}</{name}>"
        else:
            written += f"<{name}>{escape(str(value))}</{name}>" if value is not None else f"<{name}/>"
    return written
