"""JSON that others send, read as RFC 8259 has it: UTF-8, finite numbers, no deeper than a parser can follow.

It is the whole application's reader, because more than our own views look into a body: whoever seeks a person's token
there would fall over it first.
"""

import json
from typing import Any

from flask import Flask, Request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import UnsupportedMediaType

from waterwatch.kernel.errors import Invalid


class ExactJson(DefaultJSONProvider):
    """Raises ``ValueError`` for whatever is not JSON; Python's own reader takes more, and breaks on less."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse a document. A byte order mark, which some editors leave, is passed over."""
        document = s if isinstance(s, str) else s.decode("utf-8-sig")
        try:
            return json.loads(document, parse_constant=_refuse_constant, **kwargs)
        except RecursionError:
            raise ValueError("nested too deeply") from None


class JsonRequest(Request):
    """A request whose body, where it should be JSON and is not, is answered like any other fault of a field."""

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        """Raises ``UnsupportedMediaType`` where the body does not claim to be JSON, else :class:`Invalid`."""
        if e is None:
            raise UnsupportedMediaType
        raise Invalid({"body": ["body_not_json"]})


def install_json(app: Flask) -> None:
    """Read JSON so, everywhere. Call before Flask-Security is put in: it derives its own reader from the class."""
    app.json_provider_class = ExactJson
    app.json = ExactJson(app)
    app.request_class = JsonRequest


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
