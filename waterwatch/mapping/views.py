"""Serves the published folder where no web server stands in front to do it; leads to the bucket where there is one."""

from pathlib import Path

from flask import Blueprint, redirect, request, send_from_directory
from werkzeug.wrappers import Response

from waterwatch.mapping.shelf import REVALIDATE, cache_control, media_type
from waterwatch.web.errors import ask_nobody_who_is_signed_in
from waterwatch.web.guards import public
from waterwatch.web.headers import override_csp
from waterwatch.web.house import house
from waterwatch.web.language import DEFAULT_LANGUAGE, LANGUAGES

bp = Blueprint("mapping", __name__)
bp.url_value_preprocessor(lambda _endpoint, _values: ask_nobody_who_is_signed_in())  # it is the same for everybody

STANDING = ("zh-Hant/", "en/")  # folders with an index: the standing map in other languages

# Folium writes its drawing as an inline script; the page holds no cookie-bearing form and may be embedded anywhere.
SNAPSHOT_CSP = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors *"
)


@bp.get("/published/", defaults={"name": ""})
@bp.get("/published/<path:name>")
@public
def published(name: str) -> Response:
    """One published file, or a part of it; the gzip twin where the client takes it."""
    name = f"{name}index.html" if not name or name in STANDING else name
    if (elsewhere := house().settings.published_url) is not None:
        answer = redirect(f"{elsewhere}/{name}", code=302)
        answer.headers["Cache-Control"] = REVALIDATE
        answer.headers["Content-Language"] = _languages_of(name)
        return answer
    folder = house().settings.publish_dir
    is_packed = "gzip" in request.headers.get("Accept-Encoding", "") and _has_twin(folder, name)
    response = send_from_directory(
        folder, f"{name}.gz" if is_packed else name, mimetype=media_type(name).partition(";")[0]
    )
    if is_packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = cache_control(name)
    if response.mimetype == "text/html":
        response.headers["Content-Language"] = _languages_of(name)
    if name.startswith("maps/"):  # anybody may embed them, pictures too
        response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
        if name.endswith(".html"):
            override_csp(response, SNAPSHOT_CSP)
    return response


def _languages_of(name: str) -> str:
    """What a page is written in, whoever asks: the address says it, no preference of the browser's does."""
    if name.startswith("maps/"):
        return ", ".join(LANGUAGES)
    return next((folder.rstrip("/") for folder in STANDING if name.startswith(folder)), DEFAULT_LANGUAGE)


def _has_twin(folder: Path, name: str) -> bool:
    return ".." not in name and (folder / f"{name}.gz").is_file()
