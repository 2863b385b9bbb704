"""Who may call a view. Every view says so; a view that says nothing answers nobody."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import Flask, abort, current_app, redirect, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from waterwatch.kernel.log import get_logger

PUBLIC, BY_LINK = "public", "by_link"
_MARK = "waterwatch_permission"
P = ParamSpec("P")
R = TypeVar("R")
# Flask-Security's and Flask's own views, which carry their own checks and cannot carry our decorator.
FOREIGN_BLUEPRINTS = frozenset({"security"})
FOREIGN_ENDPOINTS = frozenset({"static"})

log = get_logger(__name__)


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Anybody may call it."""
    return _declare(view, PUBLIC)


def by_link(view: Callable[P, R]) -> Callable[P, R]:
    """Whoever holds the secret link may call it; the view itself checks the token."""
    return _declare(view, BY_LINK)


def requires(permission: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Only signed-in people with this permission, their second factor passed, may call it."""

    def declare(view: Callable[P, R]) -> Callable[P, R]:
        return _declare(view, permission)

    return declare


def declared_permission(view: Callable[..., Any]) -> str | None:
    """What a view declared, or None."""
    return getattr(view, _MARK, None)


def install_guards(app: Flask) -> None:
    """Check every request before its view runs."""

    @app.before_request
    def _guard() -> Response | None:
        if request.endpoint is None or _is_foreign(request.endpoint):
            return None
        permission = declared_permission(current_app.view_functions[request.endpoint])
        if permission is None:
            log.error("guard.undeclared", endpoint=request.endpoint)
            abort(404)
        if permission in (PUBLIC, BY_LINK):
            return None
        return _refuse_unless(permission)


def _refuse_unless(permission: str) -> Response | None:
    if not current_user.is_authenticated:
        return redirect(url_for("security.login", next=request.full_path if request.method == "GET" else None))
    settings = current_app.extensions["waterwatch"].settings
    if settings.two_factor_required and not _has_second_factor():
        return redirect(url_for("security.two_factor_setup"))
    if not current_user.has_permission(permission):
        abort(403)
    return None


def _has_second_factor() -> bool:
    """Whether the person has one. Flask-Security completes no sign-in of such a person before it was shown."""
    return bool(current_user.tf_primary_method and current_user.tf_totp_secret)


def _is_foreign(endpoint: str) -> bool:
    return endpoint in FOREIGN_ENDPOINTS or endpoint.partition(".")[0] in FOREIGN_BLUEPRINTS


def _declare(view: Callable[P, R], permission: str) -> Callable[P, R]:
    if hasattr(view, _MARK):
        raise ValueError(f"{view.__name__} declares two permissions")
    setattr(view, _MARK, permission)
    return view
