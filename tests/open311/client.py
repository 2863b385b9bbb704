"""An application that speaks GeoReport v2: what it sends, and how it reads answers in both formats."""

import io
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.test import TestResponse, encode_multipart

from tests.reports.rows import LAT, LON
from tests.reports.site import JPEG
from waterwatch.kernel.db import transaction

NOW = datetime.now(UTC).replace(microsecond=0)
SECRET_NOTE = "王小明家门口"
PERSON = {
    "email": "ming@example.org",
    "first_name": "小明",
    "last_name": "王",
    "phone": "13800138000",
    "device_id": "device-4711",
    "account_id": "account-4712",
}


def post(client: FlaskClient, api_key: str | None, form: str = "json", **changes: Any) -> TestResponse:
    """Send one request as an application does; None leaves a field out."""
    fields = {"service_code": "sewage_outfall", "lat": f"{LAT}", "long": f"{LON}", "api_key": api_key}
    fields |= {"media": [JPEG]}
    data = {name: value for name, value in (fields | changes).items() if value is not None}
    if "media" in data:
        data["media"] = [FileStorage(io.BytesIO(content), f"IMG_{n}.jpg") for n, content in enumerate(data["media"])]
    boundary, body = encode_multipart(MultiDict(data))  # in memory: the client's own way leaves temporary files behind
    content_type = f"multipart/form-data; boundary={boundary}"
    return client.post(f"/open311/v2/requests.{form}", data=body, content_type=content_type)


def rows_of(sessions: sessionmaker[Session], statement: str) -> list[tuple[Any, ...]]:
    with transaction(sessions) as session:
        return [tuple(row) for row in session.execute(text(statement))]


def element(response: TestResponse) -> ElementTree.Element:
    """The XML document of an answer."""
    assert response.content_type == "text/xml; charset=utf-8"
    return ElementTree.fromstring(response.data)  # our own


def faults(response: TestResponse) -> list[tuple[int, str]]:
    """(code, description) of a refusal, the same in both formats."""
    if response.content_type.startswith("application/json"):
        return [(one["code"], one["description"]) for one in response.json]
    found = element(response)
    assert found.tag == "errors"
    return [(int(one.findtext("code", "")), one.findtext("description", "")) for one in found.findall("error")]
