"""Many reports at once: choose them, read what will happen to each, do it."""

import uuid
from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.moderation import batch, forms
from waterwatch.moderation.downstream import below_joined
from waterwatch.moderation.downstream_views import NOTHING_WORDS
from waterwatch.moderation.showing import ERROR_WORDS, person_id, wanted
from waterwatch.triage import queries as triage_queries
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.people import current_actor
from waterwatch.web.words import REFUSAL_WORDS, REPORT_KIND_WORDS, SEVERITY_WORDS

bp = Blueprint("batch", __name__, url_prefix="/desk/batch", template_folder="templates")

OBSTACLE_WORDS = {
    "not_in_review": _l("已经不在审核中"),
    "held_by_other": _l("另一位审核员正在处理"),
    "appealed_against_you": _l("上报人对你的退回提出了申诉，要由别人决定"),
    "set_aside_screening": _l("还在等待筛查"),
    "set_aside_lead": _l("在等组长决定"),
    "set_aside_question": _l("在等上报人回答"),
    "is_patrol": _l("这是巡护，不能并入事件"),
    "water_unknown": _l("还不知道是哪片水体，请单独打开"),
    "graver": _l("按评分表比事件现有的等级更严重，请单独打开"),
}


@bp.get("")
@requires("review")
def choose() -> str:
    """What waits, as the desk's filters have it, to be ticked; or codes to be typed."""
    return _choose({}, {})


@bp.post("/preview")
@requires("review")
def preview() -> str | tuple[str, int]:
    """List what will happen to each report, and to which nothing can. Changes nothing."""
    try:
        command = _command()
        with transaction(house().sessions) as session:
            return _preview(session, batch.plan(session, command, actor=current_actor(), now=utc_now()))
    except Invalid as fault:
        return _choose(request.form, fault.errors), 400


@bp.post("/do")
@requires("review")
def do() -> WerkzeugResponse | str | tuple[str, int]:
    """Do exactly what was listed, or list anew what has changed meanwhile."""
    settings, actor = house().settings, current_actor()
    try:
        command = _command()
        with transaction(house().sessions) as session:
            _id, count = batch.carry_out(session, command, _versions(), settings=settings, actor=actor, now=utc_now())
    except Invalid as fault:
        return _choose(request.form, fault.errors), 400
    except Conflict as conflict:
        if conflict.error_code != "batch_changed":
            raise
        flash(gettext("有几条刚刚变了，什么都没有做。请看过新的清单再决定。"), "warning")
        with transaction(house().sessions) as session:
            return _preview(session, batch.plan(session, command, actor=actor, now=utc_now())), 409
    words = gettext("已退回 %(count)s 条。", count=count)
    flash(words if command.what == "refuse" else gettext("已并入 %(count)s 条。", count=count), "success")
    return redirect(url_for("moderation.desk"), code=303)


def _command() -> batch.Batch:
    return forms.parse_batch(request.form, request.form.getlist("report"), request.form.get("codes", ""))


def _versions() -> dict[uuid.UUID, int]:
    """Which version of each report was listed, as ``version_<id>``."""
    return {
        report_id: version
        for report_id in forms.parse_ids(request.form.getlist("report"), most=batch.MAX_BATCH)
        if (version := forms.parse_version({"version": request.form.get(f"version_{report_id}", "")})) is not None
    }


def _preview(session: Session, found: batch.Plan) -> str:
    joining = [line.report_id for line in found.doable] if found.incident is not None else []
    below = None
    if found.incident is not None and joining:
        below = below_joined(
            session,
            found.incident.incident_id,
            joining,
            settings=house().settings,
            language=viewer_language(),
            now=utc_now(),
        )
    return render_template(
        "moderation/batch_preview.html",
        plan=found,
        below=below,
        nothing_words=NOTHING_WORDS,
        obstacles=OBSTACLE_WORDS,
        refusals=REFUSAL_WORDS,
        kinds=REPORT_KIND_WORDS,
        severities=SEVERITY_WORDS,
    )


def _choose(fields: Mapping[str, str], errors: dict[str, list[str]]) -> str:
    with transaction(house().sessions) as session:
        waiting = triage_queries.waiting(session, person_id(), wanted(session), now=utc_now(), limit=batch.MAX_BATCH)
    return render_template(
        "moderation/batch.html",
        waiting=[one for one in waiting if not one.held_by_other],
        fields=fields,
        chosen=set(request.form.getlist("report")),
        error_words={name: [ERROR_WORDS[code] for code in codes] for name, codes in errors.items()},
        refusals=REFUSAL_WORDS,
        kinds=REPORT_KIND_WORDS,
    )
