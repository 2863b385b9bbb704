"""A rebuilt picture on its way to a browser: nothing but a picture, whatever a browser would like to make of it."""

import uuid
from pathlib import Path

import pytest
from flask import Flask, Response
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from tests.photos.forge import jpeg
from tests.photos.test_service import _receive
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.photos import service
from waterwatch.photos.rules import bare_jpeg_size
from waterwatch.photos.views import serve_derivative
from waterwatch.web.house import EXTENSION, House


@pytest.fixture
def app(settings: Settings, engine: Engine, sessions: sessionmaker[Session]) -> Flask:
    """An application with nothing but a house."""
    made = Flask(__name__)
    made.extensions[EXTENSION] = House(settings, engine, sessions, ObjectStore(settings.objects_url), engine)
    return made


@pytest.fixture
def photo_id(settings: Settings, sessions: sessionmaker[Session], tmp_path: Path) -> uuid.UUID:
    """A photo that is ready."""
    context = JobContext(settings, sessions, ObjectStore(settings.objects_url))
    settings.spool_dir.mkdir(exist_ok=True)
    made = _receive(context, jpeg(), tmp_path)
    assert service.sanitise(context, made) == "ready"
    return made


def _serve(app: Flask, photo_id: uuid.UUID, size_px: int) -> Response:
    with app.test_request_context("/"):
        return serve_derivative(photo_id, size_px, cache_control="private, max-age=600")


def test_a_picture_is_served_as_data_and_nothing_else(app: Flask, photo_id: uuid.UUID) -> None:
    response = _serve(app, photo_id, 320)
    content = response.get_data()
    assert bare_jpeg_size(content) == (320, 213)
    assert dict(response.headers) == {
        "Content-Type": "image/jpeg",
        "Content-Length": str(len(content)),
        "Content-Disposition": 'inline; filename="320.jpg"',
        "Cache-Control": "private, max-age=600",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }


def test_no_other_size_and_no_other_photo_is_found(app: Flask, photo_id: uuid.UUID) -> None:
    for asked in ((photo_id, 640), (new_id(), 320)):
        with pytest.raises(NotFound):
            _serve(app, *asked)
