"""What a moderator may do with a report but judge it: correct, ask, hand to the lead; and undo what was just done."""

import uuid

from flask import Blueprint, flash, redirect, request, url_for
from flask_babel import gettext
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.moderation import actions, decisions, forms, reversal
from waterwatch.moderation.showing import go_on, person_id, render_review
from waterwatch.reports.questions import parse_question
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor

bp = Blueprint("actions", __name__, url_prefix="/desk", template_folder="templates")


@bp.post("/<uuid:report_id>/correct")
@requires("review")
def correct(report_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Put right its kind, its place or its water; the report stays on the screen."""
    settings, actor, seen = house().settings, current_actor(), forms.parse_version(request.form)
    try:
        command = forms.parse_amendment(report_id, request.form)
        with transaction(house().sessions) as session:
            done = actions.correct(session, command, seen_version=seen, settings=settings, actor=actor, now=utc_now())
    except Invalid as fault:
        return render_review(report_id, request.form, fault.errors), 400
    except Conflict as conflict:
        if conflict.error_code != "report_changed":
            raise
        return render_review(report_id, {}, {"version": ["report_changed"]}), 409
    flash(gettext("已更正。") if done else gettext("内容没有变化。"), "success")
    return redirect(url_for("moderation.review", report_id=report_id), code=303)


@bp.post("/<uuid:report_id>/ask")
@requires("review")
def ask(report_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Ask its author, who reads it on the follow page; the report waits aside meanwhile."""
    try:
        code, words = parse_question(request.form)
        with transaction(house().sessions) as session:
            actions.ask(
                session, report_id, code, words, settings=house().settings, actor=current_actor(), now=utc_now()
            )
            undo = undo_url(session)
    except Invalid as fault:
        errors = {f"question_{name}": codes for name, codes in fault.errors.items()}
        return render_review(report_id, request.form, errors), 400
    return go_on(gettext("已问上报人。等到回答，或者等不到的时候，这一条会回到队列。"), undo=undo)


@bp.post("/<uuid:report_id>/hand")
@requires("review")
def hand_to_lead(report_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Let a lead decide."""
    reason = request.form.get("reason", "")
    try:
        with transaction(house().sessions) as session:
            actions.hand_to_lead(
                session, report_id, reason, settings=house().settings, actor=current_actor(), now=utc_now()
            )
            undo = undo_url(session)
    except Invalid as fault:
        errors = {f"hand_{name}": codes for name, codes in fault.errors.items()}
        return render_review(report_id, request.form, errors), 400
    return go_on(gettext("已交给组长。"), undo=undo)


@bp.post("/<uuid:report_id>/take")
@requires("reverse")
def take_from_lead(report_id: uuid.UUID) -> WerkzeugResponse:
    """A lead returns it to everybody's queue."""
    with transaction(house().sessions) as session:
        actions.take_from_lead(session, report_id, actor=current_actor(), now=utc_now())
    flash(gettext("已放回大家的队列。"), "success")
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/decision/<uuid:decision_id>/undo")
@requires("review")
def undo(decision_id: uuid.UUID) -> WerkzeugResponse:
    """Take back what one has just done, a whole batch at once."""
    with transaction(house().sessions) as session:
        undone = reversal.undo(session, decision_id, settings=house().settings, actor=current_actor(), now=utc_now())
    if len(undone) > 1:
        flash(gettext("已撤销，%(count)s 条上报回到原来的样子。", count=len(undone)), "success")
        return redirect(url_for("moderation.desk"), code=303)
    flash(gettext("已撤销。"), "success")
    if (report_id := undone[0].report_id) is not None:
        return redirect(url_for("moderation.review", report_id=report_id), code=303)
    return redirect(url_for("moderation.desk"), code=303)


def undo_url(session: Session) -> str | None:
    """The address that undoes what whoever is signed in has just done."""
    found = decisions.undoable_by(session, person_id(), settings=house().settings, now=utc_now())
    return None if found is None else url_for("actions.undo", decision_id=found.decision_id)
