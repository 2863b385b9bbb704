"""The desk's tiles: what waits and what is open, over the waters, from the database as it stands.

Their address carries a token that the application gives to signed-in staff, the same to all of them for some minutes,
so that a proxy in front may keep a tile for all who hold it. What is refused is kept by nobody.
"""

import gzip

from flask import Blueprint, Response, abort, request

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import read
from waterwatch.mapping.tile_queries import DESK_PARTS, cut_desk_tile
from waterwatch.mapping.tiles_access import may_open, tiles_token
from waterwatch.mapping.tiles_rules import DESK_ZOOMS, is_desk_tile
from waterwatch.web.guards import by_link, requires
from waterwatch.web.house import house

bp = Blueprint("tiles", __name__, url_prefix="/desk/tiles")

MEDIA_TYPE = "application/vnd.mapbox-vector-tile"
GZIP_LEVEL = 4  # a tile is asked for again in seconds: a twentieth larger than at 6, in half the time
# Waters change with an import. What waits changes by the minute, and the desk looks again.
KEPT_S = {"waters": 300, "reports": 10, "all": 10}


@bp.get("/address")
@requires("review")
def address() -> dict[str, object]:
    """Where the desk's map finds its tiles for the next minutes."""
    token, expires_at = tiles_token(house().settings, now=utc_now())
    tiles = {part: f"/desk/tiles/{token}/{part}/{{z}}/{{x}}/{{y}}" for part in DESK_PARTS}
    return {
        "tiles": tiles,
        "minzoom": DESK_ZOOMS[0],
        "maxzoom": DESK_ZOOMS[-1],
        "expires_at": expires_at.isoformat(),
    }


@bp.get("/<token>/<part>/<int:zoom>/<int:x>/<int:y>")
@by_link
def cut(token: str, part: str, zoom: int, x: int, y: int) -> Response:
    """One tile. 403 for a token that is not ours or has run out, 404 for a tile there is not."""
    if not may_open(house().settings, token, now=utc_now()):
        abort(403)
    if part not in DESK_PARTS or not is_desk_tile(zoom, x, y):
        abort(404)
    content = read(house().reader, lambda connection: cut_desk_tile(connection, part, zoom, x, y))
    response = Response(content, mimetype=MEDIA_TYPE)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        response.set_data(gzip.compress(content, GZIP_LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = f"public, max-age={KEPT_S[part]}"
    return response
