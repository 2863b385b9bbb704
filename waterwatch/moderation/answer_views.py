"""What departments said, before the public reads it; and the cases no department can be pressed about any further."""

import uuid

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.casework import queries, service
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid, NotFound
from waterwatch.photos.tables import SIZES_PX
from waterwatch.photos.views import serve_derivative
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.people import current_actor

bp = Blueprint("answers", __name__, url_prefix="/desk/answers", template_folder="templates")

REASON_WORDS = {
    "personal_data": _l("写了个人信息"),
    "not_an_answer": _l("不是答复"),
    "not_from_the_agency": _l("看来不是这个部门写的"),
    "abuse": _l("内容不当"),
    "other": _l("其他原因"),
}
VIA_WORDS = {
    "link": _l("邮件里的链接"),
    "desk": _l("部门工作台"),
    "email": _l("邮件"),
    "open311": _l("Open311"),
    "api": _l("接口"),
}
OWES_WORDS = {"delivered": _l("确认收到"), "acknowledged": _l("答复"), "answered": _l("办结")}
PICTURE_CACHE = "private, max-age=60"


@bp.get("")
@requires("reverse")
def show() -> str:
    """What waits, oldest first; what was decided last; who is late although everybody above was told."""
    language = viewer_language()
    with transaction(house().sessions) as session:
        held = queries.held_answers(session, language=language)
        published = queries.checked_answers(session, "published", language=language)
        withheld = queries.checked_answers(session, "withheld", language=language)
        late = queries.late_cases(session, now=utc_now(), language=language)
    return render_template(
        "moderation/answers.html",
        held=held,
        published=published,
        withheld=withheld,
        late=late,
        reasons=REASON_WORDS,
        vias=VIA_WORDS,
        owes=OWES_WORDS,
        limit=queries.HELD_LISTED,
    )


@bp.post("/<uuid:answer_id>/publish")
@requires("reverse")
def publish(answer_id: uuid.UUID) -> WerkzeugResponse:
    """The public may read it."""
    with transaction(house().sessions) as session:
        service.publish_answer(session, answer_id, actor=current_actor(), now=utc_now())
    flash(gettext("已公开。"), "success")
    return redirect(url_for("answers.show"), code=303)


@bp.post("/<uuid:answer_id>/withhold")
@requires("reverse")
def withhold(answer_id: uuid.UUID) -> WerkzeugResponse:
    """The public may not, for a reason."""
    try:
        with transaction(house().sessions) as session:
            reason = request.form.get("reason", "")
            service.withhold_answer(session, answer_id, reason, actor=current_actor(), now=utc_now())
        flash(gettext("不公开。"), "success")
    except Invalid:
        flash(gettext("请选择不公开的理由。"), "warning")
    return redirect(url_for("answers.show"), code=303)


@bp.get("/<uuid:answer_id>/photo/<int:position>/<int:size_px>")
@requires("reverse")
def photo(answer_id: uuid.UUID, position: int, size_px: int) -> Response:
    """A picture of an answer, whether it is public or not."""
    with transaction(house().sessions) as session:
        answer = queries.answer_by_id(session, answer_id)
    found = next((one for one in answer.photos if one.position == position), None)
    if found is None or size_px not in SIZES_PX:
        raise NotFound("photo_not_found")
    return serve_derivative(found.photo_id, size_px, cache_control=PICTURE_CACHE, is_for_moderator=True)
