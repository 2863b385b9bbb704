"""A visitor of the real application: opens pages, keeps cookies, sends reports."""

import re
import uuid
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from flask.testing import FlaskClient
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import TestResponse, encode_multipart

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256)) * 40 + b"\xff\xd9"
FIELDS = {
    "kind": "sewage_outfall",
    "lon": "114.305512",
    "lat": "30.592834",
    "place_confirmed": "1",
    "note": "水很臭，王小明家门口",
}


@dataclass
class Visitor:
    """One browser."""

    client: FlaskClient

    def token(self, page: str = "/report") -> str:
        """The CSRF token of a page's form."""
        found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.client.get(page).text)
        assert found is not None
        return found[1]

    def send(self, *, photos: list[bytes] | None = None, json: bool = False, **changes: str | None) -> TestResponse:
        """Submit the form as the browser does; None leaves a field out."""
        fields: dict[str, Any] = FIELDS | {"idempotency_key": str(uuid.uuid4()), "csrf_token": self.token()} | changes
        data = {name: value for name, value in fields.items() if value is not None}
        data["photo"] = [
            FileStorage(BytesIO(photo), f"IMG_{n}.jpg") for n, photo in enumerate([JPEG] if photos is None else photos)
        ]
        headers = {"Accept": "application/json"} if json else {}
        boundary, body = encode_multipart(MultiDict(data))
        return self.client.post(
            "/report", data=body, headers=headers, content_type=f"multipart/form-data; boundary={boundary}"
        )
