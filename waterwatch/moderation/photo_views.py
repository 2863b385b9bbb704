"""One photo at the desk: the picture, what of it is covered, and its sealed original on demand."""

import uuid
from collections.abc import Mapping

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid, NotFound
from waterwatch.moderation import forms, queries
from waterwatch.photos import service as photos
from waterwatch.photos.queries import redactable
from waterwatch.photos.rules import ORIGINAL_REASONS
from waterwatch.photos.views import serve_derivative, serve_original
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor
from waterwatch.web.pictures import conceals

bp = Blueprint("photo_desk", __name__, url_prefix="/desk/photo", template_folder="templates")

# Its address changes with every making, so a browser never shows an old one; and it is nobody else's.
PICTURE_CACHE = "private, max-age=60"  # a picture that was taken back is gone from browsers as soon
ERROR_WORDS = {
    "missing": _l("请选择一项。"),
    "choice_unknown": _l("请从列表里选择。"),
    "rectangle_invalid": _l("矩形须在照片之内，并且不能太小。请用百分数填写四个数字。"),
    "too_many_redactions": _l("一张照片最多遮盖 200 处。请用大一些的矩形。"),
    "nothing_to_save": _l("还没有改动：请先画一个矩形，或勾选要取消的遮盖。"),
}
REASON_WORDS = {
    "evidence_check": _l("核对证据：公开的照片看不清"),
    "authority_demand": _l("主管部门依法调取"),
    "author_asked": _l("上报人本人要求"),
}
assert tuple(REASON_WORDS) == ORIGINAL_REASONS


@bp.get("/<uuid:photo_id>/<int:size_px>")
@requires("review")
def picture(photo_id: uuid.UUID, size_px: int) -> Response:
    """A rebuilt picture of a report under review."""
    with transaction(house().sessions) as session:
        queries.reviewable_photo(session, photo_id)
    return serve_derivative(photo_id, size_px, cache_control=PICTURE_CACHE, is_for_moderator=True)


@bp.get("/<uuid:photo_id>")
@requires("review")
def show(photo_id: uuid.UUID) -> str:
    """What of a photo is covered, and the means to cover more or less of it."""
    return _render(photo_id, {})


@bp.post("/<uuid:photo_id>/redactions")
@requires("review")
def change_redactions(photo_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Cover what was drawn, uncover what was ticked; the pictures are made anew by a job."""
    fields = request.form
    try:
        command = forms.parse_redactions(photo_id, fields.getlist("drawn"), fields, fields.getlist("removed"))
        with transaction(house().sessions) as session:
            queries.reviewable_photo(session, photo_id)
            photos.change_redactions(session, command, actor=current_actor(), now=utc_now())
    except Invalid as error:
        return _render(photo_id, error.errors), 400
    flash(gettext("已保存。照片正在按新的遮盖重新生成，完成之前公众看不到它。"), "success")
    return redirect(url_for("photo_desk.show", photo_id=photo_id), code=303)


@bp.post("/<uuid:photo_id>/original")
@requires("unseal")
def unseal(photo_id: uuid.UUID) -> Response | tuple[str, int]:
    """Hand out the sealed original, to be saved; that it was demanded, by whom and why, is on record before."""
    try:
        with transaction(house().sessions) as session:
            queries.reviewable_photo(session, photo_id)
            original = photos.open_original(
                session, photo_id, request.form.get("reason", ""), actor=current_actor(), now=utc_now()
            )
    except Invalid as error:
        return _render(photo_id, error.errors), 400
    return serve_original(original)


def _render(photo_id: uuid.UUID, errors: Mapping[str, list[str]]) -> str:
    with transaction(house().sessions) as session:
        photo = queries.reviewable_photo(session, photo_id)
        covered = redactable(session, [photo_id]).get(photo_id)
    if covered is None:
        raise NotFound("photo_not_found")
    return render_template(
        "moderation/photo.html",
        photo_id=photo_id,
        photo=photo,
        covered=covered,
        fields=request.form,
        error_words={name: [ERROR_WORDS[code] for code in codes] for name, codes in errors.items()},
        reasons=REASON_WORDS,
        is_concealed=conceals(photo.kind, photo.has_dead_animals),
    )
