"""The viewer's language and hours: simplified Chinese by default, traditional Chinese and English complete."""

import re
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.dates import format_timedelta
from flask import Blueprint, Flask, g, redirect, request
from flask_babel import Babel, format_date, format_datetime, get_locale
from flask_login import current_user
from markupsafe import Markup
from werkzeug.wrappers import Response

from waterwatch.kernel.clock import utc_now
from waterwatch.web.guards import public
from waterwatch.web.house import house

LANGUAGES = {"zh-Hans": "简体中文", "zh-Hant": "繁體中文", "en": "English"}
DEFAULT_LANGUAGE = "zh-Hans"
DEFAULT_ZONE = "Asia/Shanghai"
COOKIE = "language"
STATED = "lang"  # in an address: the language of this one visit
ZONE_COOKIE = "tz"
COOKIE_AGE_S = 365 * 86400
_LOCAL_PATH = re.compile(r"/(?!/)[^\x00-\x20\\\x7f]*")
_TRADITIONAL = ("zh-hant", "zh-tw", "zh-hk", "zh-mo")

bp = Blueprint("web", __name__, template_folder="templates")


def install_language(app: Flask) -> None:
    """Choose language and time zone per request; give templates ``localtime``, ``localdate``, ``localday``,
    ``elapsed``, ``duration``."""
    Babel(
        app,
        locale_selector=lambda: viewer_language().replace("-", "_"),
        timezone_selector=viewer_zone,
        default_locale="zh_Hans",
        default_translation_directories="translations",
    )
    app.jinja_env.filters["localtime"] = local_time
    app.jinja_env.filters["localdate"] = local_date
    app.jinja_env.filters["localday"] = local_day
    app.jinja_env.filters["elapsed"] = elapsed
    app.jinja_env.filters["duration"] = duration
    app.jinja_env.globals.update(languages=LANGUAGES, viewer_language=viewer_language, get_locale=get_locale)
    app.register_blueprint(bp)

    @app.after_request
    def _name_language(response: Response) -> Response:
        if response.mimetype == "text/html" and "Content-Language" not in response.headers:
            response.headers["Content-Language"] = str(get_locale()).replace("_", "-")
            response.vary.update(("Accept-Language", "Cookie"))
        return response


@bp.post("/language")
@public
def set_language() -> Response:
    """Remember the chosen language for a year and go back to the page, which then states none of its own."""
    chosen = request.form.get("language", "")
    response = redirect(_without_language(_local_target(request.form.get("next", "/"))), code=303)
    if chosen in LANGUAGES:
        is_https = house().settings.is_https
        response.set_cookie(COOKIE, chosen, max_age=COOKIE_AGE_S, httponly=True, samesite="Lax", secure=is_https)
    return response


def state_language(tag: str) -> None:
    """The language of this request, whatever cookie and browser say; a tag that is none of ours states nothing.

    Call before anything of the request is translated.
    """
    g.stated_language = _language_of(tag)


def viewer_language() -> str:
    """The language of this request: what it states, else what was chosen, else what the browser prefers, else the
    account's."""
    if stated := g.get("stated_language"):
        return str(stated)
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return str(chosen)
    for tag, _quality in request.accept_languages:
        if found := _language_of(tag):
            return found
    if current_user and current_user.is_authenticated:
        return str(current_user.language)
    return DEFAULT_LANGUAGE


def viewer_zone() -> str:
    """The viewer's time zone: what their browser said, else the account's, else China's."""
    for name in (request.cookies.get(ZONE_COOKIE), _account_zone()):
        if name and _is_zone(name):
            return name
    return DEFAULT_ZONE


def local_time(moment: datetime | None) -> Markup:
    """An instant as the viewer's clock shows it, machine-readable beside it."""
    if moment is None:
        return Markup("")
    words = format_datetime(moment, "yyyy-MM-dd HH:mm")
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), words)


def local_date(moment: datetime | None) -> Markup:
    """The viewer's calendar day of an instant."""
    if moment is None:
        return Markup("")
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), format_date(moment, "yyyy-MM-dd"))


def local_day(day: date | None) -> Markup:
    """A calendar day, of which nothing more is known."""
    if day is None:
        return Markup("")
    return Markup('<time datetime="{}">{}</time>').format(day.isoformat(), format_date(day, "yyyy-MM-dd"))


def elapsed(moment: datetime | None) -> Markup:
    """How long ago an instant was, in the viewer's words ("3 min"), machine-readable beside it."""
    if moment is None:
        return Markup("")
    words = format_timedelta(utc_now() - moment, granularity="minute", format="short", locale=get_locale())
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), words)


def duration(seconds: float) -> str:
    """A length of time in the viewer's words ("3 hours")."""
    return str(format_timedelta(timedelta(seconds=seconds), granularity="minute", locale=get_locale()))


def _without_language(path: str) -> str:
    """A local path without the question that states one visit's language."""
    before, _mark, query = path.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith(f"{STATED}=")]
    return f"{before}?{'&'.join(kept)}" if kept else before


def _language_of(tag: str) -> str | None:
    """Which of our languages a BCP 47 tag means."""
    lowered = tag.lower().replace("_", "-")
    if lowered.startswith(_TRADITIONAL):
        return "zh-Hant"
    if lowered.startswith("zh"):
        return "zh-Hans"
    return "en" if lowered.startswith("en") else None


def _account_zone() -> str | None:
    return current_user.timezone if current_user and current_user.is_authenticated else None


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return False
    return True


def _local_target(target: str) -> str:
    """Only a path on this site: never an address somebody else chose, however browsers tidy it up before they go."""
    return target if _LOCAL_PATH.fullmatch(target) else "/"
