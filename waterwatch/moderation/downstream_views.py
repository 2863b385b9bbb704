"""Early warning at the desk: what a grade would warn below, what is ruled of it, and whether a report shows it came."""

import uuid
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, flash, jsonify, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.advisories import arrivals, forecasts
from waterwatch.advisories.rules import Window
from waterwatch.incidents.service import lock_incident
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.moderation import forms
from waterwatch.moderation.downstream import Below, below_incident, below_report
from waterwatch.moderation.incident_views import render_incident
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language, viewer_zone
from waterwatch.web.people import current_actor
from waterwatch.web.windows import window_words
from waterwatch.web.words import KIND_WORDS, SEVERITY_WORDS, ZONE_WORDS

bp = Blueprint("downstream_desk", __name__, url_prefix="/desk", template_folder="templates")

NOTHING_WORDS = {
    "kind": _l("这一类不随水流走，不发布下游预警。"),
    "level": _l("蓝色只提示这一处，黄色及以上才预警下游。"),
    "no_water": _l("先选是哪片水体。"),
    "no_way": _l("下游没有已知的水体，没有可预警的。"),
    "withheld": _l("要并入的事件，审核员决定不发布下游预警。"),
    "over": _l("按推算，下游各处的时间都已经过去。"),
}


@bp.get("/<uuid:report_id>/downstream")
@requires("review")
def of_report(report_id: uuid.UUID) -> str | Response:
    """What would be warned if the report were graded so: a page, or its parts for the desk."""
    asked = forms.parse_below(request.args)
    with transaction(house().sessions) as session:
        below = below_report(
            session,
            report_id,
            asked.kind,
            asked.severity,
            asked.water_feature_id,
            asked.join_incident_id,
            asked.limit_km,
            settings=house().settings,
            language=viewer_language(),
            now=utc_now(),
        )
    return _answer(below, asked, url_for("moderation.review", report_id=report_id))


@bp.get("/incident/<uuid:incident_id>/downstream")
@requires("review")
def of_incident(incident_id: uuid.UUID) -> str | Response:
    """What would be warned if the incident were graded so."""
    asked = forms.parse_below(request.args)
    with transaction(house().sessions) as session:
        below = below_incident(
            session,
            incident_id,
            asked.kind,
            asked.severity,
            settings=house().settings,
            language=viewer_language(),
            now=utc_now(),
        )
    return _answer(below, asked, url_for("incident_desk.show", incident_id=incident_id))


@bp.post("/incident/<uuid:incident_id>/downstream")
@requires("review")
def rule(incident_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Withhold or shorten an incident's warning, or let it go as it is reckoned."""
    now = utc_now()
    try:
        ruling = forms.parse_ruling(request.form)
        with transaction(house().sessions) as session:
            incident = lock_incident(session, incident_id)
            if incident.closed_at is not None:
                raise Conflict("incident_is_closed")
            forecasts.rule(session, incident_id, incident.kind, ruling, actor=current_actor(), now=now)
    except Invalid as fault:
        return render_incident(incident_id, request.form, fault.errors), 400
    flash(gettext("已保存，几秒钟后生效。"), "success")
    return redirect(url_for("incident_desk.show", incident_id=incident_id, _anchor="below"), code=303)


@bp.post("/<uuid:report_id>/arrival")
@requires("review")
def judge_arrival(report_id: uuid.UUID) -> WerkzeugResponse:
    """Whether a report shows that what was expected there has come."""
    incident_id = forms.parse_incident(request.form)
    with transaction(house().sessions) as session:
        arrivals.judge(
            session,
            report_id,
            incident_id,
            request.form.get("outcome", ""),
            actor=current_actor(),
            now=utc_now(),
        )
    said = gettext("已记下。谢谢：这会用来看预警的时间准不准。")
    if request.form.get("answer") == "json":
        return jsonify(said=said)
    flash(said, "success")
    return redirect(url_for("moderation.review", report_id=report_id, _anchor="arrival"), code=303)


def _answer(below: Below, asked: forms.AskedBelow, back: str) -> str | Response:
    shown = {
        "below": below,
        "asked": asked,
        "nothing_words": NOTHING_WORDS,
        "zone_words": ZONE_WORDS,
    }
    if request.args.get("answer") == "json":
        html = render_template("moderation/_below.html", **shown)
        line = render_template("moderation/_below_line.html", **shown).strip()
        drawn = {"type": "FeatureCollection", "features": below.drawn}
        return jsonify(html=html, line=line, drawn=drawn, warns=below.nothing is None)
    return render_template(
        "moderation/downstream.html", **shown, back=back, kinds=KIND_WORDS, severities=SEVERITY_WORDS
    )


@bp.app_template_global()
def expected_words(window: Window) -> str:
    """A window in the viewer's language and time zone."""
    zone = ZoneInfo(viewer_zone())
    return window_words(window.earliest, window.probable, viewer_language(), now=utc_now(), zone=zone)
