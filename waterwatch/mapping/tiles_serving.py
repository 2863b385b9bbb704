"""Serves the desk's tiles before Flask: a map that moves asks for twenty at once, each a third of a millisecond's work.

Sessions, forms, languages and pages have no part in a tile: the address carries a token that the application gives to
signed-in staff (``tiles_views``), the same to all of them for some minutes, so that a proxy in front may keep a tile
for all who hold it. What is refused is kept by nobody.
"""

import gzip
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import Engine

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.mapping.tile_queries import DESK_PARTS, cut_desk_tile
from waterwatch.mapping.tiles_access import may_open
from waterwatch.mapping.tiles_rules import is_desk_tile

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/desk/tiles/"
MEDIA_TYPE = "application/vnd.mapbox-vector-tile"
GZIP_LEVEL = 4  # a tile is asked for again in seconds: a twentieth larger than at 6, in half the time
# Waters change with an import. What waits changes by the minute, and the desk looks again.
KEPT_S = {"waters": 300, "reports": 10, "all": 10}
_TILE = re.compile(rf"([A-Za-z0-9_-]+)/({'|'.join(DESK_PARTS)})/(\d{{1,2}})/(\d{{1,5}})/(\d{{1,5}})", re.ASCII)
# Of the pages' headers those that mean something for bytes that no browser shows by themselves.
_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Vary", "Accept-Encoding"),
]

log = get_logger(__name__)


class TileServer:
    """WSGI middleware: answers ``GET /desk/tiles/<token>/<part>/<z>/<x>/<y>``; everything else goes on to Flask."""

    def __init__(
        self, application: "WSGIApplication", settings: Settings, reader: Engine, registry: CollectorRegistry
    ) -> None:
        self._application = application
        self._settings = settings
        self._reader = reader
        self._served = Counter("waterwatch_desk_tiles_total", "Tiles answered", ["part", "status"], registry=registry)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """One tile: 403 for a token that is not ours or has run out, 404 for a tile there is not."""
        path = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIX) or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self._application(environ, start_response)
        found = _TILE.fullmatch(path, len(PREFIX))
        if found is None:
            return self._application(environ, start_response)
        token, part, *numbers = found.groups()
        zoom, x, y = map(int, numbers)
        if not may_open(self._settings, token, now=utc_now()):
            return self._refuse(start_response, part, "403 Forbidden")
        if not is_desk_tile(zoom, x, y):
            return self._refuse(start_response, part, "404 Not Found")
        try:
            with self._reader.connect() as connection:
                content = cut_desk_tile(connection, part, zoom, x, y)
        except Exception:  # whatever it is, the map asks again
            log.exception("tiles.failed", part=part, zoom=zoom)
            return self._refuse(start_response, part, "503 Service Unavailable")
        headers = [*_HEADERS, ("Content-Type", MEDIA_TYPE), ("Cache-Control", f"public, max-age={KEPT_S[part]}")]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            content = gzip.compress(content, GZIP_LEVEL, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        headers.append(("Content-Length", str(len(content))))
        self._served.labels(part, "200").inc()
        start_response("200 OK", headers)
        return [content] if environ["REQUEST_METHOD"] == "GET" else []

    def _refuse(self, start_response: "StartResponse", part: str, status: str) -> Iterable[bytes]:
        self._served.labels(part, status[:3]).inc()
        start_response(status, [*_HEADERS, ("Cache-Control", "no-store"), ("Content-Length", "0")])
        return []
