"""A tus 1.0 server for photos (https://tus.io/protocols/resumable-upload): a line that breaks costs what was under way.

Nobody signs in here and no cookie is read: whoever knows an upload's address may continue it.
"""

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request, url_for
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.http import http_date

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict
from waterwatch.kernel.log import get_logger
from waterwatch.uploads import rules, service
from waterwatch.uploads.rules import Upload
from waterwatch.web.errors import render_error
from waterwatch.web.guards import by_link, public
from waterwatch.web.house import house

bp = Blueprint("uploads", __name__, url_prefix="/api/v1/uploads")
log = get_logger(__name__)

# What is being read when a line breaks is lost with it, so a piece is small.
PIECE_BYTES = 16 * 1024
# A sender that falls silent for so long has lost its line, and goes on over another: nothing waits for the old one.
SILENCE_S = 10.0
VERSION = "Tus-Resumable"
PROTOCOL_HEADERS = ("Upload-Offset", "Upload-Length", "Upload-Expires", VERSION, "Tus-Version", "Location")


@bp.before_request
def _speak_the_same_version() -> Response | None:
    if request.method == "OPTIONS" or request.headers.get(VERSION) == rules.TUS_VERSION:
        return None
    response = render_error(412, code="tus_version")
    response.headers["Tus-Version"] = rules.TUS_VERSION
    return response


@bp.after_request
def _name_version(response: Response) -> Response:
    response.headers[VERSION] = rules.TUS_VERSION
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.errorhandler(Conflict)
def _refuse(conflict: Conflict) -> Response:
    """409 for an offset that is not where the file ends, 423 while another request writes (both: look, then go on)."""
    response = render_error(423 if conflict.error_code == "upload_busy" else 409, code=conflict.error_code)
    if "offset" in conflict.facts:
        response.headers["Upload-Offset"] = str(conflict.facts["offset"])
    return response


@bp.route("", methods=["OPTIONS"], provide_automatic_options=False)
@public
def capabilities() -> Response:
    """What this server can do."""
    headers = {
        "Tus-Version": rules.TUS_VERSION,
        "Tus-Extension": rules.TUS_EXTENSIONS,
        "Tus-Max-Size": str(house().settings.photo_max_bytes),
    }
    return Response(status=204, headers=headers)


@bp.post("")
@public
def create() -> Response:
    """Begin an upload; its address is its whole record."""
    settings, now = house().settings, utc_now()
    length = rules.parse_length(request.headers.get("Upload-Length", ""), max_bytes=settings.photo_max_bytes)
    upload = service.begin(length, settings=settings, now=now)
    headers = {
        "Location": url_for("uploads.look", token=rules.token_of(upload, settings)),
        "Upload-Expires": http_date(upload.expires_at),
    }
    return Response(status=201, headers=headers)


@bp.get("/<token>")  # Flask answers HEAD by it; GET itself is answered likewise, without a body
@by_link
def look(token: str) -> Response:
    """How far it has come. One that is all there but not yet a photo, because something failed then, becomes one."""
    upload = _open(token)
    offset = _offset(upload)
    if offset == upload.length:
        _finish(upload)
    return _progress(upload, offset, status=200)


@bp.post("/<token>")
@by_link
def overridden(token: str) -> Response:
    """The way of clients that may not send PATCH or DELETE."""
    method = request.headers.get("X-HTTP-Method-Override", "").upper()
    if method == "PATCH":
        return _append(token)
    return _give_up(token) if method == "DELETE" else render_error(405, code="method_not_allowed")


@bp.patch("/<token>")
@by_link
def append(token: str) -> Response:
    """Write the next piece; what arrived before the line broke is kept."""
    return _append(token)


@bp.delete("/<token>")
@by_link
def give_up(token: str) -> Response:
    """Forget an unfinished upload."""
    return _give_up(token)


def _append(token: str) -> Response:
    if request.mimetype != rules.TUS_MEDIA_TYPE:
        raise UnsupportedMediaType
    upload = _open(token)
    offset = rules.parse_offset(request.headers.get("Upload-Offset", ""))
    if _offset(upload) == upload.length:  # whole already: only its last answer was lost
        _finish(upload)
        return _progress(upload, upload.length, status=204)
    remaining = upload.length - offset
    if (request.content_length or 0) > remaining:
        raise RequestEntityTooLarge
    request.max_content_length = max(remaining, 0) + 1
    at = service.append(upload, offset, _pieces(), settings=house().settings)
    if at == upload.length:
        _finish(upload)
    return _progress(upload, at, status=204)


def _give_up(token: str) -> Response:
    service.give_up(_open(token), settings=house().settings)
    return Response(status=204)


def _open(token: str) -> Upload:
    return rules.open_token(token, house().settings, now=utc_now())


def _offset(upload: Upload) -> int:
    with transaction(house().sessions) as session:
        return service.offset_of(session, upload, settings=house().settings)


def _finish(upload: Upload) -> None:
    found = house()
    service.finish(upload, sessions=found.sessions, objects=found.objects, settings=found.settings)


def _pieces() -> Iterator[bytes]:
    """The body as it arrives. A line that breaks ends it: what was read before is the sender's progress."""
    socket: Any = request.environ.get("gunicorn.socket")
    if socket is not None:
        socket.settimeout(SILENCE_S)
    try:
        while piece := request.stream.read(PIECE_BYTES):
            yield piece
    except (ClientDisconnected, OSError) as error:
        log.info("upload.interrupted", error=type(error).__name__)


def _progress(upload: Upload, offset: int, *, status: int) -> Response:
    headers = {
        "Upload-Offset": str(offset),
        "Upload-Length": str(upload.length),
        "Upload-Expires": http_date(upload.expires_at),
    }
    return Response(status=status, headers=headers)
