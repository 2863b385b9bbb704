"""The follow page: whoever holds the link sees the steps of the report, its photos, and may take it back."""

import uuid
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.contacts import queries as contacts
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, NotFound
from waterwatch.messaging.webpush import public_key
from waterwatch.notices import queries, rules
from waterwatch.notices.letters import REFUSAL_SENTENCES
from waterwatch.photos.views import REFUSAL_WORDS as PHOTO_WORDS
from waterwatch.photos.views import serve_derivative
from waterwatch.reports import appeals, questions, service
from waterwatch.reports import queries as reports
from waterwatch.reports.rules import CORRECTABLE, WITHDRAWABLE
from waterwatch.web.guards import by_link
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.words import QUESTION_WORDS, REPORT_KIND_WORDS, SEVERITY_WORDS

bp = Blueprint("notices", __name__, url_prefix="/f", template_folder="templates")

STEP_WORDS = {
    "received": _l("已收到"),
    "photos_ready": _l("照片已处理"),
    "in_review": _l("审核中"),
    "graded": _l("已核实并评级"),
    "patrol_confirmed": _l("已核实：水面正常，谢谢你的巡护"),
    "handed_over": _l("已转交部门"),
    "acknowledged": _l("部门已确认收到"),
    "refused": _l("没有受理"),
    "withdrawn": _l("你已撤回"),
    "no_contact": _l("还没有可联系的主管部门，我们的工作人员会继续查找"),
    "dead": _l("没能送达，我们的工作人员会联系这个部门"),
    "refused_not_ours": _l("这个部门说不属于其职责，已改送别的部门"),
    "answered": _l("部门已答复"),
    "claimed_done": _l("部门说已经处理完"),
    "superior_told": _l("下级部门逾期，已告知上级部门"),
}
# What a step is called while it has not happened yet.
PENDING_WORDS = {
    "photos_ready": _l("处理照片"),
    "in_review": _l("审核"),
    "graded": _l("核实并评级"),
    "patrol_confirmed": _l("核实巡护"),
    "handed_over": _l("转交部门"),
    "acknowledged": _l("部门确认收到"),
    "acknowledged_late": _l("部门逾期没有确认收到"),
    "late": _l("部门逾期没有答复或办结"),
}
PHOTO_CACHE = "private, max-age=60"  # what is covered later is gone from the browser within a minute


@bp.get("/<token>")
@by_link
def follow(token: str) -> str:
    """Where the report stands. Never kept by a cache, never indexed; looks again by itself while machines work."""
    with transaction(house().sessions) as session:
        found = queries.following(session, token, language=viewer_language(), now=utc_now())
        told = _how_told(session, found.report.report_id)
        talk = _talk(session, found.report)
    return render_template(
        "notices/follow.html",
        token=token,
        found=found,
        report=found.report,
        steps=rules.steps(found.progress),
        refresh_s=rules.refresh_after_s(found.progress),
        **told,
        **talk,
        can_withdraw=found.report.state in WITHDRAWABLE,
        can_correct=found.report.state in CORRECTABLE,
        step_words=STEP_WORDS,
        pending_words=PENDING_WORDS,
        refusal_sentences=REFUSAL_SENTENCES,
        photo_words=PHOTO_WORDS,
        kinds=REPORT_KIND_WORDS,
        severities=SEVERITY_WORDS,
        water_name=found.water_names.get(viewer_language()) or found.water_names.get("zh-Hans"),
    )


def _talk(session: Session, report: reports.Followed) -> dict[str, Any]:
    """What a moderator would like to know, what was answered, and whether the author may appeal, or has."""
    return {
        "questions": questions.questions_of(session, report.report_id) if report.erased_at is None else [],
        "appeal": appeals.appeal_of(session, report.report_id),
        "may_appeal": appeals.may_appeal(session, report.report_id, report.state, report.erased_at),
        "question_words": QUESTION_WORDS,
    }


def _how_told(session: Session, report_id: uuid.UUID) -> dict[str, Any]:
    """By what the author is told so far, and our key for browsers that want to be told as well."""
    settings = house().settings
    return {
        "contact": contacts.state_of(session, report_id),
        "browsers": contacts.count_subscriptions(session, report_id),
        "push_key": public_key(settings) if settings.push_hosts else None,
    }


@bp.post("/<token>/withdraw")
@by_link
def withdraw(token: str) -> WerkzeugResponse:
    """Take the report back; too late is said kindly on the same page."""
    try:
        with transaction(house().sessions) as session:
            report = reports.report_by_follow_token(session, token)
            service.withdraw(session, report.report_id, now=utc_now())
        flash(gettext("已撤回，内容已删除。谢谢你的留意；需要时欢迎再次上报。"), "success")
    except Conflict:
        flash(gettext("这条上报已经审核完毕，不能再撤回。"), "warning")
    return redirect(url_for("notices.follow", token=token), code=303)


@bp.get("/<token>/photo/<uuid:photo_id>/<int:size_px>")
@by_link
def photo(token: str, photo_id: uuid.UUID, size_px: int) -> Response:
    """A rebuilt picture of this very report; any other photo's id is not found."""
    with transaction(house().sessions) as session:
        report = reports.report_by_follow_token(session, token)
        if not reports.has_photo(session, report.report_id, photo_id):
            raise NotFound("photo_not_found")
    return serve_derivative(photo_id, size_px, cache_control=PHOTO_CACHE)
