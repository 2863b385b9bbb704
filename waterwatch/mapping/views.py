"""Serves the published folder where no web server stands in front to do it."""

from pathlib import Path

from flask import Blueprint, Response, request, send_from_directory

from waterwatch.web.guards import public
from waterwatch.web.headers import override_csp
from waterwatch.web.house import house

bp = Blueprint("mapping", __name__)

HASHED_FOREVER = "public, max-age=31536000, immutable"
REVALIDATE = "public, max-age=10, stale-while-revalidate=60"
# Folium writes its drawing as an inline script; the page holds no cookie-bearing form and may be embedded anywhere.
SNAPSHOT_CSP = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors *"
)


@bp.get("/published/<path:name>")
@public
def published(name: str) -> Response:
    """One published file; the gzip twin where the client takes it."""
    folder = house().settings.publish_dir
    accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
    has_twin = ".." not in name and (Path(folder) / f"{name}.gz").is_file()
    if accepts_gzip and has_twin:
        response = send_from_directory(folder, f"{name}.gz", mimetype=_media_type(name))
        response.headers["Content-Encoding"] = "gzip"
    else:
        response = send_from_directory(folder, name, mimetype=_media_type(name))
    response.headers["Vary"] = "Accept-Encoding"
    is_hashed = name.count(".") == 2
    response.headers["Cache-Control"] = HASHED_FOREVER if is_hashed else REVALIDATE
    if name.endswith(".html"):
        override_csp(response, SNAPSHOT_CSP)
    return response


def _media_type(name: str) -> str:
    return {
        "json": "application/json",
        "html": "text/html; charset=utf-8",
        "js": "text/javascript",
        "css": "text/css",
    }.get(name.rpartition(".")[2], "application/octet-stream")
