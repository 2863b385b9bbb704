"""The site as an application on a phone: its manifest, and the way out that leaves nothing behind."""

from flask import Blueprint, Response, jsonify, redirect, request, session, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.web.guards import public
from waterwatch.web.house import house

bp = Blueprint("installed", __name__)

ICON_SIZES_PX = (192, 512)


@bp.get("/manifest.webmanifest")
@public
def manifest() -> Response:
    """The web app manifest (W3C), in the viewer's language. It opens at the form."""
    icons = [
        {"src": url_for("static", filename=f"icon-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png"}
        for size in ICON_SIZES_PX
    ]
    maskable = {"src": url_for("static", filename="icon-maskable-512.png"), "sizes": "512x512", "type": "image/png"}
    response = jsonify(
        id="/report",
        name=gettext("江湖網·预警图"),
        short_name=gettext("江湖網"),
        description=gettext("看到水污染，拍照上报；看身边的水有没有预警。"),
        start_url="/report",
        scope="/",
        display="standalone",
        background_color="#f6f5f1",
        theme_color="#ffffff",
        icons=[*icons, maskable | {"purpose": "maskable"}],
        shortcuts=[{"name": gettext("我要上报"), "url": "/report"}, {"name": gettext("地图"), "url": "/"}],
    )
    response.mimetype = "application/manifest+json"
    response.headers["Cache-Control"] = "no-cache"
    return response


@bp.get("/leave")
@public
def leave() -> WerkzeugResponse:
    """Away from here at once, to a page that means nothing; the browser forgets what this site has stored.

    Not where another site leads here: that is to sign nobody out, and to lose nobody's report.
    """
    response = redirect(quick_exit_url(), code=303)
    response.headers["Cache-Control"] = "no-store"
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return response
    session.clear()
    for name in request.cookies:  # for browsers that do not know the header below
        response.delete_cookie(name)
    response.headers["Clear-Site-Data"] = '"cookies", "storage"'
    return response


@bp.app_template_global()
def quick_exit_url() -> str:
    """Whither the quick exit leads."""
    return house().settings.quick_exit_url
