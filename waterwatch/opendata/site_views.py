"""What other sites and programs take from our pages: feeds, badges, and the list of pages for search engines."""

from collections.abc import Sequence

from flask import Blueprint, Response, render_template, request
from flask_babel import gettext
from flask_babel import lazy_gettext as _l

from waterwatch.advisories.queries import level_of_water
from waterwatch.atlas import addresses
from waterwatch.atlas import incidents as atlas
from waterwatch.atlas.incidents import PublicIncident
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound
from waterwatch.opendata.answers import name_in
from waterwatch.opendata.badges import draw_badge
from waterwatch.opendata.data_views import known_area, known_water, public_answer
from waterwatch.opendata.feeds import MEDIA_TYPE, Entry, Feed, write_feed
from waterwatch.waters.queries import names_of
from waterwatch.web.errors import ask_nobody_who_is_signed_in
from waterwatch.web.guards import public
from waterwatch.web.headers import override_csp
from waterwatch.web.house import house
from waterwatch.web.language import DEFAULT_LANGUAGE, LANGUAGES, state_language
from waterwatch.web.words import INCIDENT_STATE_WORDS, KIND_WORDS, SEVERITY_WORDS

bp = Blueprint("site", __name__, template_folder="templates")
bp.url_value_preprocessor(lambda _endpoint, _values: ask_nobody_who_is_signed_in())

XML = "application/xml; charset=utf-8"
SVG = "image/svg+xml; charset=utf-8"
SVG_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors *"
HOUR = "public, max-age=3600"
ANSWER_WORDS = {
    "none": _l("还没有送达部门"),
    "forwarded": _l("已送达部门"),
    "acknowledged": _l("部门已确认收到"),
    "answered": _l("部门已答复"),
    "resolved_claimed": _l("部门称已解决，待公众核实"),
}
# Pages for one person or for staff: nothing a search engine could use, and links that are secrets begin so.
NOT_FOR_ROBOTS = (
    "/desk/", "/f/", "/n/", "/my", "/watch/", "/account", "/login", "/logout", "/register", "/reset", "/confirm",
    "/tf-", "/case-photo/", "/feeds/agency/", "/api/v1/reports", "/api/v1/cases", "/api/v1/unsubscribe",
    "/api/v1/watch", "/search",
)  # fmt: skip


@bp.get("/feeds/national.atom")
@public
def national_feed() -> Response:
    """What changed last anywhere."""
    language = _stated_language()
    with transaction(house().sessions) as session:
        found = atlas.latest_of_country(session)
    return _feed(gettext("全国的水污染事件"), "/", found, language)


@bp.get("/feeds/water/<public_id>.atom")
@public
def water_feed(public_id: str) -> Response:
    """What changed last on a water."""
    language = _stated_language()
    with transaction(house().sessions) as session:
        known = known_water(session, public_id)
        names = names_of(session, [known.water_body_id]).get(known.water_body_id, {})
        found = atlas.latest_of_water(session, known.water_body_id)
    title = gettext("%(name)s的水污染事件", name=name_in(names, language, public_id))
    return _feed(title, f"/w/{public_id}", found, language)


@bp.get("/feeds/area/<int(fixed_digits=6):code>.atom")
@public
def area_feed(code: int) -> Response:
    """What changed last in an administrative area."""
    language = _stated_language()
    with transaction(house().sessions) as session:
        known = known_area(session, f"{code:06}")
        found = atlas.latest_of_area(session, known.code)
    title = gettext("%(name)s的水污染事件", name=name_in(known.names, language, known.code))
    return _feed(title, f"/a/{known.code}", found, language)


@bp.get("/w/<public_id>/badge.svg")
@public
def badge(public_id: str) -> Response:
    """A water's level as a picture for other sites; ``lang`` chooses the words."""
    language = _stated_language()
    with transaction(house().sessions) as session:
        known = known_water(session, public_id)
        names = names_of(session, [known.water_body_id]).get(known.water_body_id, {})
        level = level_of_water(session, known.water_body_id)
    words = str(SEVERITY_WORDS[level]) if level else gettext("没有警示")
    response = public_answer(draw_badge(name_in(names, language, public_id), level, words, language), SVG)
    override_csp(response, SVG_CSP)
    return response


@bp.get("/robots.txt")
@public
def robots() -> Response:
    """What search engines may look at, and where the list of pages is."""
    lines = [
        "User-agent: *",
        *(f"Disallow: {path}" for path in NOT_FOR_ROBOTS),
        f"Sitemap: {_public_url()}/sitemap.xml",
    ]
    response = public_answer("\n".join(lines) + "\n", "text/plain; charset=utf-8")
    response.headers["Cache-Control"] = HOUR
    return response


@bp.get("/sitemap.xml")
@public
def sitemap() -> Response:
    """The list of the lists of pages."""
    with transaction(house().sessions) as session:
        counts = addresses.counts(session)
    totals = {"waters": counts.waters, "areas": counts.areas, "incidents": counts.incidents}
    parts = [
        f"{_public_url()}/sitemaps/{kind}-{number}.xml"
        for kind in addresses.KINDS
        for number in range(1, -(-totals[kind] // addresses.PART) + 1)
    ]
    return public_answer(render_template("opendata/sitemap_index.xml", parts=parts), XML)


@bp.get("/sitemaps/<kind>-<int(max=9999):number>.xml")
@public
def sitemap_part(kind: str, number: int) -> Response:
    """At most 50,000 pages that exist."""
    with transaction(house().sessions) as session:
        found = addresses.part_of(session, kind, number) if number and kind in addresses.KINDS else ()
    if not found:
        raise NotFound("sitemap_not_found")
    path = {"waters": "/w/", "areas": "/a/", "incidents": "/i/"}[kind]
    return public_answer(render_template("opendata/sitemap.xml", found=found, prefix=_public_url() + path), XML)


def _stated_language() -> str:
    """The language an address names, else Chinese: what a cache keeps must not hang on who asked first."""
    asked = request.args.get("lang", "")
    language = asked if asked in LANGUAGES else DEFAULT_LANGUAGE
    state_language(language)
    return language


def _public_url() -> str:
    return house().settings.public_url.rstrip("/")


def _feed(title: str, page: str, found: Sequence[PublicIncident], language: str) -> Response:
    suffix = f"?lang={language}" if language != DEFAULT_LANGUAGE else ""
    feed = Feed(
        title=f"{title} · {gettext('江湖網·预警图')}",
        page_url=_public_url() + page,
        feed_url=f"{_public_url()}{request.path}{suffix}",
        subtitle=gettext("公众观察等级，非政府预警。"),
        language=language,
    )
    return public_answer(write_feed(feed, [_entry(one, language) for one in found]), MEDIA_TYPE)


def _entry(one: PublicIncident, language: str) -> Entry:
    level = str(SEVERITY_WORDS[one.severity]) if one.is_open else gettext("已结束")
    state, notice = INCIDENT_STATE_WORDS[one.state], gettext("公众观察等级，非政府预警。")
    water, kind = name_in(one.names, language, one.water), str(KIND_WORDS[one.kind])
    return Entry(
        url=f"{_public_url()}/i/{one.code}",
        title=gettext("%(water)s：%(kind)s（%(level)s）", water=water, kind=kind, level=level),
        summary=f"{state} · {ANSWER_WORDS[one.answer]} · {notice}",
        published_at=one.opened_at,
        updated_at=one.changed_at,
        place=(one.lon, one.lat),
        kind=one.kind,
    )
