"""Signing in. Flask-Security-Too is wired in here and nowhere else."""

from datetime import timedelta
from typing import Any

from flask import Blueprint, Flask
from flask_babel import lazy_gettext as _l
from flask_login import user_logged_in, user_logged_out
from flask_security import RoleMixin, Security, SQLAlchemySessionUserDatastore, UserMixin, tf_profile_changed
from sqlalchemy.orm import scoped_session

from waterwatch.accounts.rules import MIN_PASSWORD_LENGTH, TOTP_ISSUER, needs_second_factor
from waterwatch.accounts.service import totp_keys
from waterwatch.accounts.tables import Person, Role
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.web.house import House

bp = Blueprint("accounts", __name__, template_folder="templates")


class HeldRole(RoleMixin):  # type: ignore[misc]  # the library is untyped
    """A role as Flask-Security reads it."""

    def __init__(self, role: Role) -> None:
        self.name, self.permissions = role.name, [str(permission) for permission in role.permissions]


class Account(Person, UserMixin):  # type: ignore[misc]
    """A person as Flask-Security reads it: the same row, with the library's methods."""

    @property
    def roles(self) -> list[HeldRole]:
        """The roles held in any organisation."""
        return [HeldRole(membership.role) for membership in self.memberships]

    @roles.setter
    def roles(self, _roles: Any) -> None:
        """Roles are given by memberships, never by the library."""

    def has_permission(self, permission: str) -> bool:
        """Whether any role held carries the permission."""
        return any(permission in role.permissions for role in self.roles)

    def check_tf_required(self, tf_setup_methods: Any, tf_fresh: bool) -> tuple[bool, Any]:
        """Staff need a second factor whether or not they have set one up; others when they have."""
        _ = tf_fresh
        is_staff = needs_second_factor({role.name for role in self.roles})
        return is_staff or bool(tf_setup_methods), tf_setup_methods


def register_accounts(app: Flask, found: House) -> None:
    """Give the application signing in, the second factor and recovery codes."""
    settings = found.settings
    app.config.update(_options(found))
    sessions = scoped_session(found.sessions)
    datastore = SQLAlchemySessionUserDatastore(sessions, Account, Role)
    app.register_blueprint(bp)
    Security(app, datastore)

    @app.teardown_appcontext
    def _release(_error: BaseException | None) -> None:
        sessions.remove()

    def note(action: str, account: Any) -> None:
        organisation_id = account.memberships[0].organisation_id if account.memberships else None
        with transaction(found.sessions) as session:
            audit.record(
                session,
                action=action,
                subject_kind="person",
                subject_id=account.id,
                actor=Actor.person(account.id, organisation_id),
                now=utc_now(),
            )

    user_logged_in.connect(lambda _app, user, **_rest: note("person.signed_in", user), app, weak=False)
    user_logged_out.connect(lambda _app, user, **_rest: note("person.signed_out", user), app, weak=False)
    tf_profile_changed.connect(lambda _app, user, **_rest: note("person.second_factor_changed", user), app, weak=False)
    assert settings.two_factor_required or settings.mode != "production", "production needs the second factor"


def _options(found: House) -> dict[str, Any]:
    settings = found.settings
    salt = settings.derive_key("security-salt")
    assert salt is not None
    return {
        "SECURITY_PASSWORD_SALT": salt.hex(),
        "SECURITY_PASSWORD_HASH": "argon2",
        "SECURITY_PASSWORD_SINGLE_HASH": ["argon2"],
        "SECURITY_PASSWORD_LENGTH_MIN": MIN_PASSWORD_LENGTH,
        "SECURITY_JOIN_USER_ROLES": False,  # roles come by memberships, which load with the person
        "SECURITY_REGISTERABLE": False,
        "SECURITY_RECOVERABLE": False,
        "SECURITY_CHANGEABLE": False,
        "SECURITY_TRACKABLE": False,  # it would keep addresses of networks
        "SECURITY_RETURN_GENERIC_RESPONSES": True,
        "SECURITY_DEFAULT_REMEMBER_ME": False,
        "SECURITY_TWO_FACTOR": True,
        "SECURITY_TWO_FACTOR_REQUIRED": False,  # by role: Account.check_tf_required
        "SECURITY_TWO_FACTOR_ENABLED_METHODS": ["authenticator"],
        "SECURITY_TWO_FACTOR_ALWAYS_VALIDATE": True,
        "SECURITY_TWO_FACTOR_RESCUE_EMAIL": False,
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES": True,
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES_N": 8,
        "SECURITY_FRESHNESS": timedelta(hours=1),
        "SECURITY_TOTP_SECRETS": totp_keys(settings),
        "SECURITY_TOTP_ISSUER": TOTP_ISSUER,
        "SECURITY_POST_LOGIN_VIEW": "/desk/",
        "SECURITY_POST_LOGOUT_VIEW": "/",
        "SECURITY_REDIRECT_VALIDATE_MODE": "absolute",
        "SECURITY_CSRF_IGNORE_UNAUTH_ENDPOINTS": False,
        "SECURITY_SEND_PASSWORD_CHANGE_EMAIL": False,
        "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False, "test_environment": settings.mode != "production"},
        **{f"SECURITY_MSG_{name}": words for name, words in MESSAGES.items()},
    }


MESSAGES = {
    "UNAUTHORIZED": (_l("你没有权限打开这一页。"), "error"),
    "UNAUTHENTICATED": (_l("请先登录。"), "error"),
    "GENERIC_AUTHN_FAILED": (_l("邮箱或密码不正确。请检查后再试。"), "error"),
    "GENERIC_RECOVERY": (_l("邮箱或密码不正确。请检查后再试。"), "error"),
    "EMAIL_NOT_PROVIDED": (_l("请填写邮箱。"), "error"),
    "INVALID_EMAIL_ADDRESS": (_l("请填写正确的邮箱地址。"), "error"),
    "PASSWORD_NOT_PROVIDED": (_l("请填写密码。"), "error"),
    "PASSWORD_NOT_SET": (_l("邮箱或密码不正确。请检查后再试。"), "error"),
    "INVALID_PASSWORD": (_l("邮箱或密码不正确。请检查后再试。"), "error"),
    "USER_DOES_NOT_EXIST": (_l("邮箱或密码不正确。请检查后再试。"), "error"),
    "DISABLED_ACCOUNT": (_l("这个账号已停用。请联系管理员。"), "error"),
    "LOGIN": (_l("请先登录再打开这一页。"), "info"),
    "REFRESH": (_l("为了安全，请重新输入密码。"), "info"),
    "REAUTHENTICATION_REQUIRED": (_l("为了安全，请重新输入密码。"), "error"),
    "REAUTHENTICATION_SUCCESSFUL": (_l("已确认是你本人。"), "info"),
    "TWO_FACTOR_INVALID_TOKEN": (_l("验证码不正确或已过期。请看验证器上最新的六位数字。"), "error"),
    "TWO_FACTOR_LOGIN_SUCCESSFUL": (_l("登录成功。"), "success"),
    "TWO_FACTOR_CHANGE_METHOD_SUCCESSFUL": (_l("验证器已设置好。"), "success"),
    "TWO_FACTOR_PERMISSION_DENIED": (_l("登录过程已中断，请重新登录。"), "error"),
    "TWO_FACTOR_METHOD_NOT_AVAILABLE": (_l("请选择一种验证方式。"), "error"),
    "TWO_FACTOR_SETUP_EXPIRED": (_l("设置时间过长，请重新开始。"), "error"),
    "INVALID_RECOVERY_CODE": (_l("恢复码不正确或已经用过。"), "error"),
}
