"""The screening list: in a flood, reports nobody vouches for are looked at in a grid before they enter the order."""

import uuid
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid
from waterwatch.photos.queries import redactable
from waterwatch.screening import forms, queries, service
from waterwatch.screening.queries import Screened
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor
from waterwatch.web.pictures import conceals
from waterwatch.web.words import REFUSAL_WORDS, REPORT_KIND_WORDS

bp = Blueprint("screening", __name__, url_prefix="/desk/screening", template_folder="templates")

ERROR_WORDS = {
    "missing": _l("请选择放行还是退回。"),
    "choice_unknown": _l("请从列表里选择。"),
    "reason_missing": _l("退回时请选择理由。"),
    "nothing_chosen": _l("请先勾选要处理的上报。"),
    "too_many_chosen": _l("一次最多处理 24 条。"),
}


@bp.get("")
@requires("review")
def grid() -> str:
    """What waits to be screened, 24 at a time."""
    return _render_grid({})


@bp.post("/check")
@requires("review")
def check() -> str | tuple[str, int]:
    """Say what will happen to each chosen report. Changes nothing."""
    try:
        command = forms.parse_screening(request.form, request.form.getlist("report"))
    except Invalid as fault:
        return _render_grid(fault.errors), 400
    with transaction(house().sessions) as session:
        reports = queries.chosen(session, _person_id(), command.report_ids, now=utc_now())
        versions = _versions(session, reports)
    return render_template(
        "screening/check.html",
        command=command,
        reports=[report for report in reports if not report.held_by_other],
        left=len(command.report_ids) - sum(not report.held_by_other for report in reports),
        reason=REFUSAL_WORDS.get(command.refusal_code or ""),
        versions=versions,
        kinds=REPORT_KIND_WORDS,
        conceals=conceals,
    )


@bp.post("/decide")
@requires("review")
def decide() -> WerkzeugResponse | tuple[str, int]:
    """Let the chosen reports pass, or refuse them with the chosen reason."""
    try:
        command = forms.parse_screening(request.form, request.form.getlist("report"))
    except Invalid as fault:
        return _render_grid(fault.errors), 400
    with transaction(house().sessions) as session:
        outcome = service.screen(session, command, settings=house().settings, actor=current_actor(), now=utc_now())
    words = gettext("已放行 %(count)s 条，它们进入了审核队列。", count=outcome.decided)
    if command.refusal_code is not None:
        words = gettext("已退回 %(count)s 条，上报人会看到理由。", count=outcome.decided)
    flash(words, "success")
    if outcome.left:
        flash(gettext("另有 %(count)s 条已由别人处理，没有改动。", count=outcome.left), "info")
    return redirect(url_for("screening.grid"), code=303)


def _render_grid(errors: dict[str, list[str]]) -> str:
    with transaction(house().sessions) as session:
        waiting = queries.waiting(session, _person_id(), now=utc_now(), limit=forms.SHOWN)
        versions = _versions(session, waiting)
        total = queries.count(session)
    words: dict[str, list[Any]] = {name: [ERROR_WORDS[code] for code in codes] for name, codes in errors.items()}
    return render_template(
        "screening/grid.html",
        waiting=waiting,
        total=total,
        errors=words,
        fields=request.form,
        chosen=set(request.form.getlist("report")),
        versions=versions,
        kinds=REPORT_KIND_WORDS,
        conceals=conceals,
        refusals=REFUSAL_WORDS,
    )


def _versions(session: Session, reports: Sequence[Screened]) -> dict[uuid.UUID, str]:
    """What the pictures' addresses hold: one made anew, because something was covered, is not shown from a cache."""
    covers = [one.cover_photo_id for one in reports if one.cover_photo_id is not None]
    return {photo_id: one.version for photo_id, one in redactable(session, covers).items()}


def _person_id() -> uuid.UUID:
    person_id = current_actor().id
    assert person_id is not None, "guards let only signed-in people in"
    return person_id
