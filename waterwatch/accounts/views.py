"""Signing in. Flask-Security-Too is wired in here and nowhere else."""

import base64
import uuid
from datetime import timedelta
from typing import Any

from flask import Blueprint, Flask, current_app, g, redirect, render_template, request, session
from flask_babel import lazy_gettext as _l
from flask_login import current_user, user_logged_in, user_logged_out
from flask_security import (
    LoginForm,
    MfRecoveryCodesUtil,
    RoleMixin,
    Security,
    SQLAlchemySessionUserDatastore,
    Totp,
    UserMixin,
    tf_code_confirmed,
    tf_profile_changed,
    user_authenticated,
    user_confirmed,
    user_failed_authn,
)
from flask_wtf.csrf import generate_csrf
from passlib.exc import UsedTokenError
from passlib.totp import TotpMatch
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import text
from sqlalchemy.orm import Session, scoped_session
from werkzeug.wrappers import Response

from waterwatch.accounts import registration
from waterwatch.accounts.registration import PEOPLE, Letters
from waterwatch.accounts.rules import MIN_PASSWORD_LENGTH, TOTP_ISSUER, needs_second_factor
from waterwatch.accounts.service import totp_keys
from waterwatch.accounts.tables import Person, Role
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.web.guards import SECOND_FACTOR, SIGNED_IN, requires
from waterwatch.web.house import House, house

CODE_VALIDITY_S = 30  # one step before and after the present one, RFC 6238 section 5.2
RECOVERY_CODES = 8
_USE_STEP = text("""
UPDATE person SET tf_last_counter = :counter
WHERE id = :id AND (:is_new OR tf_last_counter IS NULL OR tf_last_counter < :counter) RETURNING id
""")
FRESH_FOR = timedelta(hours=1)

bp = Blueprint("accounts", __name__, template_folder="templates")
log = get_logger(__name__)

ROLE_WORDS = {
    "citizen": _l("市民"),
    "moderator": _l("审核员"),
    "lead_moderator": _l("审核组长"),
    "agency_officer": _l("部门经办人"),
    "admin": _l("管理员"),
}


@bp.get("/account")
@requires(SIGNED_IN)
def account() -> str:
    """What somebody may do with their account."""
    return render_template("accounts/account.html", role_words=ROLE_WORDS)


@bp.get("/account/start")
@requires(SIGNED_IN)
def start() -> Response:
    """Where somebody begins who signed in without having come for a page."""
    if current_user.has_permission("review"):
        return redirect("/desk/")
    if current_user.has_permission("agency_desk"):
        return redirect("/office/")
    return redirect("/account" if current_user.is_staff else "/my")


class HeldRole(RoleMixin):
    """A role as Flask-Security reads it."""

    def __init__(self, role: Role) -> None:
        self.name, self.permissions = role.name, [str(permission) for permission in role.permissions]


class Account(Person, UserMixin):  # type: ignore[misc]
    """A person as Flask-Security reads it: the same row, with the library's methods."""

    @property  # type: ignore[override]  # the library declares a list it may change
    def roles(self) -> list[HeldRole]:
        """The roles held in any organisation."""
        return [HeldRole(membership.role) for membership in self.memberships]

    @roles.setter
    def roles(self, _roles: Any) -> None:
        """Roles are given by memberships, never by the library."""

    @property
    def is_staff(self) -> bool:
        """Whether any role held may act for the organisation or an agency."""
        return needs_second_factor({membership.role.name for membership in self.memberships})

    def has_permission(self, permission: str) -> bool:
        """Whether any role held carries the permission."""
        return any(permission in membership.role.permissions for membership in self.memberships)

    def check_tf_required(self, tf_setup_methods: Any, tf_fresh: bool) -> tuple[bool, Any]:
        """Staff need a second factor whether or not they have set one up; others when they have."""
        _ = tf_fresh
        return self.check_tf_required_setup() or bool(tf_setup_methods), tf_setup_methods

    def check_tf_required_setup(self) -> bool:
        """Whether this person may not be without a second factor: the library would let them give it up otherwise."""
        return self.is_staff and house().settings.two_factor_required

    def verify_auth_token(self, data: Any) -> bool:
        """Tokens admit nobody: they would outlive the session and carry neither second factor nor CSRF protection."""
        _ = data
        return False


class People(SQLAlchemySessionUserDatastore):
    """Accounts on our own sessions."""

    def find_user(self, case_insensitive: bool = False, **kwargs: Any) -> Any:
        """One account. Outside the library's own views it is read and let go: no view waits with a transaction open."""
        found = super().find_user(case_insensitive=case_insensitive, **kwargs)
        if request and request.blueprint != "security":
            self.db.session.remove()
        return found

    def create_user(self, **kwargs: Any) -> Any:
        """Somebody registers: a citizen, whatever else the form may have said."""
        person = Account(
            email=str(kwargs["email"]).lower(), password=kwargs["password"], fs_uniquifier=uuid.uuid4().hex, active=True
        )
        registration.add_citizen(self.db.session(), person)
        return person


class SignInForm(LoginForm):
    """Without "remember me": its cookie would sign somebody in for a year, without their second factor."""

    remember = None


class SecondFactor(Totp):
    """Codes of an authenticator, each of which works once (RFC 6238 section 5.2)."""

    def verify_totp(self, token: str, totp_secret: str, user: Any, window: int = 0) -> bool:
        """Whether the code is right and new. While a new authenticator is set up its codes are all new."""
        g.is_new_authenticator = totp_secret != user.tf_totp_secret
        return bool(super().verify_totp(token, totp_secret, user, window))

    def get_last_counter(self, user: Any) -> int | None:
        """The time step of the last code that worked."""
        return None if g.is_new_authenticator else user.tf_last_counter

    def set_last_counter(self, user: Any, tmatch: TotpMatch) -> None:
        """Remember the step. Of two requests that show one code at once, the second is refused like a replay."""
        people: scoped_session[Session] = current_app.extensions[PEOPLE]
        values = {"id": user.id, "counter": tmatch.counter, "is_new": g.is_new_authenticator}
        if people.execute(_USE_STEP, values).first() is None:
            raise UsedTokenError
        people.refresh(user, ["tf_last_counter"])


class RecoveryCodes(MfRecoveryCodesUtil):
    """Recovery codes as people type them, each making and use of which is audited."""

    def create_recovery_codes(self, user: Any) -> Any:
        """Make new codes; the old ones end."""
        _note("person.recovery_codes_made", user)
        return super().create_recovery_codes(user)

    def check_recovery_code(self, user: Any, code: str) -> bool:
        """Whether the code is one of theirs that was not used yet."""
        is_theirs = bool(super().check_recovery_code(user, _as_printed(code)))
        if is_theirs:
            g.second_factor_shown_by = user.id
        else:
            user.track_failed_authn("recovery_code", True)
        return is_theirs

    def delete_recovery_code(self, user: Any, code: str) -> bool:
        """A code works once."""
        _note("person.recovery_code_used", user)
        return bool(super().delete_recovery_code(user, _as_printed(code)))


def register_accounts(app: Flask, found: House, registry: CollectorRegistry) -> None:
    """Give the application signing in, the second factor and recovery codes."""
    app.config.update(_options(found.settings))
    sessions = scoped_session(found.sessions)
    app.register_blueprint(bp)
    app.extensions[PEOPLE] = sessions
    people = People(sessions, Account, HeldRole)
    Security(
        app,
        people,
        login_form=SignInForm,
        forgot_password_form=registration.ForgottenForm,
        reset_password_form=registration.NewPasswordForm,
        mf_recovery_codes_util_cls=RecoveryCodes,
        totp_cls=SecondFactor,
        mail_util_cls=Letters,
    )
    registration.install_even_answers(app)
    failures = Counter("waterwatch_sign_in_failures_total", "Refused credentials", ["step"], registry=registry)

    @app.teardown_appcontext
    def _release(_error: BaseException | None) -> None:
        sessions.remove()

    def refused(_app: Flask, user: Any, auth_type: str, tfa: bool, **_rest: Any) -> None:
        failures.labels(auth_type).inc()
        log.warning("person.refused", step=auth_type)
        if tfa:  # somebody knows the password: that is the person's business. A wrong password alone tells of nobody.
            _note("person.second_factor_refused", user)
            sessions.commit()

    def left(_app: Flask, user: Any, **_rest: Any) -> None:
        if not user.is_authenticated:
            return  # a confirmation link signs out whoever may be there; nobody was
        user.fs_uniquifier = uuid.uuid4().hex  # ends every session of theirs, copied cookies included
        _note("person.signed_out", user)
        sessions.commit()

    user_failed_authn.connect(refused, app, weak=False)
    user_logged_out.connect(left, app, weak=False)
    user_confirmed.connect(lambda _app, user, **_rest: _note("person.confirmed", user), app, weak=False)
    user_logged_in.connect(lambda _app, user, **_rest: _note("person.signed_in", user), app, weak=False)
    tf_profile_changed.connect(lambda _app, user, **_rest: _note("person.second_factor_changed", user), app, weak=False)
    tf_code_confirmed.connect(_remember_second_factor, app, weak=False)
    user_authenticated.connect(_begin_session, app, weak=False)


def _remember_second_factor(_app: Flask, user: Any, **_rest: Any) -> None:
    g.second_factor_shown_by = user.id
    if session.get("tf_state") == "validating_profile":
        _note("person.second_factor_set_up", user)


def _begin_session(_app: Flask, user: Any, **_rest: Any) -> None:
    """Somebody signed in: what the browser held before, its form token first, is worth nothing now.

    The new token is made at once: made by the first page, two that are asked for together would each make one.
    """
    for holder in (session, g):
        holder.pop("csrf_token", None)
    generate_csrf()
    session.permanent = True  # twelve hours by the cookie's own clock too, not until somebody closes the browser
    session.pop(SECOND_FACTOR, None)
    if g.get("second_factor_shown_by") == user.id:
        session[SECOND_FACTOR] = True


def _note(action: str, account: Any) -> None:
    """Audit an act in the transaction of the change itself; the library commits it when the request succeeds."""
    people: scoped_session[Session] = current_app.extensions[PEOPLE]
    memberships = account.memberships
    audit.record(
        people(),
        action=action,
        subject_kind="person",
        subject_id=account.id,
        actor=Actor.person(account.id, memberships[0].organisation_id if memberships else None),
        now=utc_now(),
    )


def _as_printed(code: str) -> str:
    return code.strip().lower()


def _options(settings: Settings) -> dict[str, Any]:
    salt = settings.derive_key("security-salt")
    assert salt is not None
    return {
        "SECURITY_PASSWORD_SALT": salt.hex(),
        "SECURITY_PASSWORD_HASH": "argon2",
        "SECURITY_PASSWORD_SINGLE_HASH": ["argon2"],
        "SECURITY_PASSWORD_LENGTH_MIN": MIN_PASSWORD_LENGTH,
        "SECURITY_JOIN_USER_ROLES": False,  # roles come by memberships, which load with the person
        "SECURITY_CHANGEABLE": False,
        "SECURITY_TRACKABLE": False,  # it would keep addresses of networks
        "SECURITY_RETURN_GENERIC_RESPONSES": True,
        "SECURITY_DEFAULT_REMEMBER_ME": False,
        "SECURITY_TWO_FACTOR": True,
        "SECURITY_TWO_FACTOR_REQUIRED": False,  # by role: Account.check_tf_required
        "SECURITY_TWO_FACTOR_AUTHENTICATOR_VALIDITY": CODE_VALIDITY_S,
        "SECURITY_TWO_FACTOR_POST_SETUP_VIEW": "/account",
        "SECURITY_TWO_FACTOR_ENABLED_METHODS": ["authenticator"],
        "SECURITY_TWO_FACTOR_ALWAYS_VALIDATE": True,
        "SECURITY_TWO_FACTOR_RESCUE_EMAIL": False,
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES": True,
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES_N": RECOVERY_CODES,
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES_KEYS": _recovery_keys(settings),
        "SECURITY_FRESHNESS": FRESH_FOR,
        "SECURITY_TOTP_SECRETS": totp_keys(settings),
        "SECURITY_TOTP_ISSUER": TOTP_ISSUER,
        "SECURITY_POST_LOGIN_VIEW": "/account/start",
        "SECURITY_POST_LOGOUT_VIEW": "/",
        "SECURITY_REDIRECT_VALIDATE_MODE": "absolute",
        "SECURITY_CSRF_IGNORE_UNAUTH_ENDPOINTS": False,
        "SECURITY_SEND_PASSWORD_CHANGE_EMAIL": False,
        "SECURITY_EMAIL_VALIDATOR_ARGS": {
            "check_deliverability": False,
            "test_environment": settings.mode != "production",
        },
        **{f"SECURITY_MSG_{name}": words for name, words in MESSAGES.items()},
        **registration.options(),
    }


def _recovery_keys(settings: Settings) -> list[bytes]:
    """Keys under which recovery codes are encrypted at rest; the first encrypts, all decrypt."""
    keys = [settings.derive_key("recovery-codes", previous=is_previous) for is_previous in (False, True)]
    return [base64.urlsafe_b64encode(key) for key in keys if key is not None]


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
    "TWO_FACTOR_DISABLED": (_l("两步验证已关闭。"), "success"),
    "INVALID_CODE": (_l("验证码不正确或已过期。请看验证器上最新的六位数字。"), "error"),
    "INVALID_INPUT": (_l("请填写这一项。"), "error"),
    "API_ERROR": (_l("没有看懂这次请求，请重新开始。"), "error"),
    "ANONYMOUS_USER_REQUIRED": (_l("你已经登录。"), "info"),
    "INVALID_REDIRECT": (_l("不能跳转到别的网站。"), "error"),
    "NO_RECOVERY_CODES_SETUP": (_l("你还没有生成恢复码。"), "info"),
    "INVALID_RECOVERY_CODE": (_l("恢复码不正确或已经用过。"), "error"),
}
