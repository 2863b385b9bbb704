"""Security headers of every response. No third-party host is ever allowed; links that carry secrets never leak as referrer."""

from flask import Flask, Response, request
from flask_login import current_user

from waterwatch.web.guards import BY_LINK, declared_permission

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",  # the map draws into blobs; previews of chosen photos are blobs too
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), geolocation=(self), microphone=(), payment=(), usb=(), interest-cohort=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HSTS = "max-age=31536000; includeSubDomains"
_OVERRIDE = "X-WaterWatch-Policy"


def install_headers(app: Flask, *, is_https: bool) -> None:
    """Add the headers to every response, errors included."""

    @app.after_request
    def _add(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", CSP)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if is_https:
            response.headers["Strict-Transport-Security"] = HSTS
        if response.headers.pop(_OVERRIDE, None) == "embeddable":
            del response.headers["X-Frame-Options"]
        if "Cache-Control" not in response.headers and _is_private(app):
            response.headers["Cache-Control"] = "no-store"
        return response


def override_csp(response: Response, policy: str) -> None:
    """Give one response another policy; one that lets anybody frame it also loses ``X-Frame-Options``."""
    response.headers["Content-Security-Policy"] = policy
    if "frame-ancestors *" in policy:
        response.headers[_OVERRIDE] = "embeddable"


def _is_private(app: Flask) -> bool:
    """Whether the page must not be kept: reached by a secret link, or by somebody signed in."""
    if request.endpoint in app.view_functions and declared_permission(app.view_functions[request.endpoint]) == BY_LINK:
        return True
    return bool(current_user and current_user.is_authenticated)
