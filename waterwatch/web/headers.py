"""Security headers of every response.

No third-party host is allowed but those whose map tiles the operator offers; links that carry secrets never leak as
referrer.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Flask, Response, request
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask_login import current_user
from secure import (
    ContentSecurityPolicy,
    CrossOriginOpenerPolicy,
    CrossOriginResourcePolicy,
    PermissionsPolicy,
    ReferrerPolicy,
    Secure,
    StrictTransportSecurity,
    XContentTypeOptions,
    XFrameOptions,
)

from waterwatch.web.guards import BY_LINK, declared_permission

HSTS_S = 365 * 86400
NOBODY, OURSELVES = "'none'", "'self'"


class Sessions(SecureCookieSessionInterface):
    """Flask's sessions, which stay out of what is for everybody.

    Libraries look into the session of every request, to see who is there. An answer that caches may give to anybody
    must not hang on that: neither does it vary with the cookie, nor does it carry one.
    """

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """As ever, but for public answers; a session that was changed is kept all the same."""
        if response.cache_control.public and not session.modified:
            return
        super().save_session(app, session, response)


def install_headers(
    app: Flask, *, is_https: bool, tile_hosts: Sequence[str] = (), published: Sequence[str] = ()
) -> None:
    """Add the headers to every response, errors included.

    ``tile_hosts``: origins of the operator's base maps. ``published``: that of the published map, where it is another.
    """
    app.session_interface = Sessions()
    headers = dict(_policies(content_policy(tile_hosts, published), is_https=is_https).headers)

    @app.after_request
    def _add(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        if "frame-ancestors *" in response.headers["Content-Security-Policy"]:
            del response.headers["X-Frame-Options"]
        if request.blueprint == "security":  # the library's own header says "no-store=True", which is no directive
            response.headers["Cache-Control"] = "no-store"
        if _is_by_link(app):  # robots.txt cannot name them without naming what begins as they do
            response.headers["X-Robots-Tag"] = "noindex, nofollow"
        if "Cache-Control" not in response.headers:
            if _is_private(app):
                response.headers["Cache-Control"] = "no-store"
            elif response.mimetype == "text/html":
                response.headers["Cache-Control"] = "private, no-cache"  # its forms carry the visitor's own token
        return response


def override_csp(response: Response, policy: str) -> None:
    """Give one response another policy; one that lets anybody frame it also loses ``X-Frame-Options``."""
    response.headers["Content-Security-Policy"] = policy


def origin_of(address: str | None) -> list[str]:
    """The origin of an address, as policies name it."""
    parts = urlsplit(address or "")
    return [f"{parts.scheme}://{parts.netloc}"] if parts.netloc else []


def content_policy(tile_hosts: Sequence[str] = (), published: Sequence[str] = ()) -> str:
    """What pages may load: our own files, the published map, and the tiles of exactly these hosts."""
    return (
        ContentSecurityPolicy()
        .default_src(NOBODY)
        .script_src(OURSELVES)
        .style_src(OURSELVES)
        .img_src(
            OURSELVES, "data:", "blob:", *published, *tile_hosts
        )  # the map draws into blobs; so are previews of photos
        .font_src(OURSELVES)
        .connect_src(OURSELVES, *published, *tile_hosts)
        .worker_src(OURSELVES)
        .frame_src(OURSELVES, *published)  # the drawn map in the live one's place
        .manifest_src(OURSELVES)
        .form_action(OURSELVES)
        .base_uri(NOBODY)
        .frame_ancestors(NOBODY)
        .object_src(NOBODY)
        .header_value
    )


def _policies(csp: str, *, is_https: bool) -> Secure:
    return Secure(
        csp=ContentSecurityPolicy().value(csp),
        xcto=XContentTypeOptions().nosniff(),
        xfo=XFrameOptions().deny(),
        referrer=ReferrerPolicy().no_referrer(),
        permissions=PermissionsPolicy().camera("self").geolocation("self").microphone().payment().usb(),
        coop=CrossOriginOpenerPolicy().same_origin(),
        corp=CrossOriginResourcePolicy().same_origin(),
        hsts=StrictTransportSecurity().max_age(HSTS_S).include_subdomains() if is_https else None,
    )


def _is_private(app: Flask) -> bool:
    """Whether the page must not be kept: reached by a secret link, or by somebody signed in."""
    return _is_by_link(app) or bool(current_user and current_user.is_authenticated)


def _is_by_link(app: Flask) -> bool:
    view = app.view_functions.get(request.endpoint or "")
    return view is not None and declared_permission(view) == BY_LINK
