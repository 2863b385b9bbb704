"""Where the desk's map finds its tiles; the tiles themselves are answered by ``tiles_serving``."""

from flask import Blueprint

from waterwatch.kernel.clock import utc_now
from waterwatch.mapping.tile_queries import DESK_PARTS
from waterwatch.mapping.tiles_access import tiles_token
from waterwatch.mapping.tiles_rules import DESK_ZOOMS
from waterwatch.web.guards import requires
from waterwatch.web.house import house

bp = Blueprint("tiles", __name__, url_prefix="/desk/tiles")


@bp.get("/address")
@requires("review")
def address() -> dict[str, object]:
    """The tiles' addresses for the next minutes, by what they hold."""
    token, expires_at = tiles_token(house().settings, now=utc_now())
    return {
        "tiles": {part: f"/desk/tiles/{token}/{part}/{{z}}/{{x}}/{{y}}" for part in DESK_PARTS},
        "minzoom": DESK_ZOOMS[0],
        "maxzoom": DESK_ZOOMS[-1],
        "expires_at": expires_at.isoformat(),
    }
