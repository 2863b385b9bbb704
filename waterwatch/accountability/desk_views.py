"""The lead's check of what departments say of their figures, and the order to count a period."""

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.accountability import previews, queries, service, showing
from waterwatch.accountability.rules import Period
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.web.errors import WORDS
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor

bp = Blueprint("accountability_desk", __name__, url_prefix="/desk/accountability", template_folder="templates")

REASON_WORDS = {
    "personal_data": _l("含有个人信息"),
    "abuse": _l("含有辱骂"),
    "not_about_figures": _l("与数字无关"),
    "not_from_the_agency": _l("不像出自该部门"),
}


@bp.get("")
@requires("reverse")
def show() -> str:
    """What waits for a check, what was checked, where each period stands, and whom no mail told."""
    return _page("", [])


def _page(period: str, faults: list[str]) -> str:
    """The page, with the period that was typed and the codes of what was wrong with it."""
    with transaction(house().sessions) as session:
        comments = queries.comments(session)
        releases = queries.releases(session, limit=12)
        unwritten = previews.unwritten(session)
    return render_template(
        "accountability/desk.html",
        comments=comments,
        releases=releases,
        unwritten=unwritten,
        reasons=REASON_WORDS,
        show=showing,
        period_typed=period,
        errors={"period": [str(WORDS[code]) for code in faults]} if faults else {},
    )


@bp.post("/periods")
@requires("reverse")
def show_period() -> WerkzeugResponse | tuple[str, int]:
    """Count a period and show each department its figures."""
    typed = request.form.get("period", "")
    try:
        period = Period.parse(typed.strip().upper())
        with transaction(house().sessions) as session:
            counted = service.show_period(
                session, period, settings=house().settings, actor=current_actor(), now=utc_now()
            )
        flash(gettext("已统计，并发给 %(count)s 个部门先看。", count=counted.letters), "success")
    except Invalid as fault:
        return _page(typed, fault.errors["period"]), 400
    except Conflict as fault:
        return _page(typed, [fault.error_code]), 409
    return redirect(url_for("accountability_desk.show"), code=303)


@bp.post("/comments/<uuid:comment_id>/publish")
@requires("reverse")
def publish(comment_id: uuid.UUID) -> WerkzeugResponse:
    """Let a comment stand beside the figures."""
    with transaction(house().sessions) as session:
        service.publish_comment(session, comment_id, actor=current_actor(), now=utc_now())
    flash(gettext("意见会与数字一同公开。"), "success")
    return redirect(url_for("accountability_desk.show"), code=303)


@bp.post("/comments/<uuid:comment_id>/withhold")
@requires("reverse")
def withhold(comment_id: uuid.UUID) -> WerkzeugResponse:
    """Keep a comment from the public, for a reason that is named."""
    reason = request.form.get("reason", "")
    try:
        with transaction(house().sessions) as session:
            service.withhold_comment(session, comment_id, reason, actor=current_actor(), now=utc_now())
        flash(gettext("意见没有公开。"), "success")
    except Invalid:
        flash(gettext("请选择理由。"), "error")
    return redirect(url_for("accountability_desk.show"), code=303)
