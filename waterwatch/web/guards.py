"""Who may call a view. Every view says so; a view that says nothing answers nobody."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import Flask, abort, current_app, redirect, request, session, url_for
from flask_login import current_user, logout_user
from werkzeug.wrappers import Response

from waterwatch.kernel.log import get_logger
from waterwatch.web.errors import wants_json
from waterwatch.web.house import house

PUBLIC, BY_LINK, SIGNED_IN = "public", "by_link", "signed_in"
SECOND_FACTOR = "second_factor"  # key of the session: its sign-in was completed with a second factor
_MARK = "waterwatch_permission"
P = ParamSpec("P")
R = TypeVar("R")
# Views of libraries, which carry their own checks and cannot carry our decorator. What Flask-Security registers
# beyond these (its own static files, rescue by mail, a choice of methods) is not part of this system.
FOREIGN_ENDPOINTS = frozenset(
    {
        "static",
        "security.login",
        "security.register",
        "security.send_confirmation",
        "security.confirm_email",
        "security.forgot_password",
        "security.reset_password",
        "security.logout",
        "security.verify",
        "security.two_factor_setup",
        "security.two_factor_setup_validate",
        "security.two_factor_token_validation",
        "security.mf_recovery",
        "security.mf_recovery_codes",
    }
)

log = get_logger(__name__)


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Anybody may call it."""
    return _declare(view, PUBLIC)


def by_link(view: Callable[P, R]) -> Callable[P, R]:
    """Whoever holds the secret link may call it; the view itself checks the token."""
    return _declare(view, BY_LINK)


def requires(permission: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Only signed-in people with this permission, in a session that showed a second factor, may call it.

    :data:`SIGNED_IN` is the permission everybody with an account holds.
    """

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
        if request.endpoint is None or request.endpoint in FOREIGN_ENDPOINTS:
            return None
        permission = declared_permission(current_app.view_functions[request.endpoint])
        if permission is None:
            log.error("guard.undeclared", endpoint=request.endpoint)
            abort(500 if current_app.testing and request.blueprint != "security" else 404)
        if permission in (PUBLIC, BY_LINK):
            return None
        return refuse_unless(permission)


def refuse_unless(permission: str) -> Response | None:
    """Where to send whoever may not, None for whoever may. Raises 403 and 401 as a view's guard does."""
    if not current_user.is_authenticated:
        return _send_to_sign_in()
    if permission != SIGNED_IN and not current_user.has_permission(permission):
        abort(403)
    is_staff_matter = permission != SIGNED_IN or current_user.is_staff
    if is_staff_matter and house().settings.two_factor_required and SECOND_FACTOR not in session:
        logout_user()  # however this session came about, it has shown one factor only
        return _send_to_sign_in()
    return None


def _send_to_sign_in() -> Response:
    if wants_json():
        abort(401)
    came_for = request.full_path.rstrip("?") if request.method in ("GET", "HEAD") else None
    return redirect(url_for("security.login", next=came_for))


def _declare(view: Callable[P, R], permission: str) -> Callable[P, R]:
    if hasattr(view, _MARK):
        raise ValueError(f"{view.__name__} declares two permissions")
    setattr(view, _MARK, permission)
    return view
