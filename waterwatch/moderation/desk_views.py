"""The desk beside its reports: what of the queue one works on, the report that is got ready, and one's own pace."""

import uuid
from datetime import timedelta
from zoneinfo import ZoneInfo

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask import session as browser_session
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from waterwatch.agencies.search import search_areas
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid
from waterwatch.moderation import forms, queries
from waterwatch.moderation.pace import Act, Pace, pace
from waterwatch.moderation.showing import VIEW, person_id, take_next, wanted
from waterwatch.reports.forms import clean_text
from waterwatch.triage import queries as triage_queries
from waterwatch.triage import service as triage
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language, viewer_zone
from waterwatch.web.pictures import PICTURES, PICTURES_COOKIE

bp = Blueprint("desk", __name__, url_prefix="/desk", template_folder="templates")

VIEW_FAULT_WORDS = {
    "missing": _l("请给视图起个名字。"),
    "too_long": _l("名字最多 40 个字。"),
    "taken": _l("已经有同名的视图。"),
    "too_many": _l("最多保存 20 个视图，请先删除一个。"),
}
COOKIE_AGE_S = 365 * 86400
WEEK = timedelta(days=7)


@bp.post("/next/prepare")
@requires("review")
def prepare() -> Response:
    """Lease one more report while another is on the screen, and lead to its page; 204 when nothing else waits."""
    report_id = take_next()
    if report_id is None:
        return Response(status=204)
    return redirect(url_for("moderation.review", report_id=report_id), code=303)


@bp.post("/leave")
@requires("review")
def leave() -> Response:
    """Give back what a page held that was closed: the report on the screen, and the one got ready."""
    with transaction(house().sessions) as session:
        for report_id in forms.parse_ids(request.form.getlist("report")):
            triage.release(session, report_id, person_id())
    return Response(status=204)


@bp.post("/view")
@requires("review")
def choose_view() -> Response:
    """Work on a part of the queue from now on: an area, a water, a kind; nothing chosen is everything."""
    browser_session[VIEW] = forms.parse_view(request.form)
    if "keep" in request.form:
        try:
            with transaction(house().sessions) as session:
                name = clean_text(request.form.get("name", ""))
                triage.keep_view(session, person_id(), name, wanted(session), now=utc_now())
            flash(gettext("视图已保存。"), "success")
        except Invalid as fault:
            for code in fault.errors["name"]:
                flash(VIEW_FAULT_WORDS[code], "error")
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/views/<uuid:view_id>")
@requires("review")
def open_view(view_id: uuid.UUID) -> Response:
    """Work on what a kept view says, or forget the view."""
    with transaction(house().sessions) as session:
        if "drop" in request.form:
            triage.drop_view(session, view_id, person_id())
        else:
            view = triage_queries.own_view(session, view_id, person_id())
            said = {"area": view.area_code, "water": str(view.water_body_id or ""), "kind": view.kind}
            browser_session[VIEW] = {name: value for name, value in said.items() if value}
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/areas")
@requires("review")
def choose_areas() -> Response:
    """Say which areas one works for: those that stay ticked, and one more by its name."""
    words = clean_text(request.form.get("add", ""))
    codes = [value for value in request.form.getlist("area") if forms.parse_view({"area": value}).get("area")]
    with transaction(house().sessions) as session:
        found = [area.code for area in search_areas(session, words, limit=1)] if words else []
        known = queries.area_names(session, [*codes, *found], lang=viewer_language())
        triage.choose_areas(session, person_id(), tuple(code for code in known if code != "mine"))
    if words and not found:
        flash(gettext("没有找到叫“%(words)s”的区域。", words=words), "error")
    return redirect(url_for("moderation.desk"), code=303)


@bp.get("/pace")
@requires("review")
def pace_page() -> str:
    """One's own decisions today and this week. Nobody else's, and nobody else sees it."""
    with transaction(house().sessions) as session:
        own = own_pace(session)
        summary = triage_queries.queue_summary(session, now=utc_now())
    pictures = request.cookies.get(PICTURES_COOKIE, PICTURES[0])
    return render_template("moderation/pace.html", pace=own, bar=summary, pictures=pictures)


@bp.post("/pictures")
@requires("review")
def choose_pictures() -> Response:
    """When pictures are blurred until asked for, on this device."""
    response = redirect(url_for("desk.pace_page"), code=303)
    choice = request.form.get("pictures", "")
    if choice in PICTURES:
        secure = house().settings.is_https
        response.set_cookie(
            PICTURES_COOKIE, choice, max_age=COOKIE_AGE_S, path="/desk", httponly=True, samesite="Lax", secure=secure
        )
    return response


def own_pace(session: Session) -> Pace:
    """The pace of whoever is signed in."""
    now = utc_now()
    acts = queries.own_acts(session, person_id(), since=now - WEEK)
    return pace([Act(act.at, act.action, act.took_s) for act in acts], now=now, zone=ZoneInfo(viewer_zone()))
