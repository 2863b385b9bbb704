"""The moderators' desk: queue, review, grade, refuse, second a red."""

import uuid

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask import session as browser_session
from flask_babel import gettext
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.contacts import service as contacts_service
from waterwatch.escalation import again
from waterwatch.escalation.unheard_queries import open_no_contact
from waterwatch.incidents.queries import incidents_awaiting_second, secondable_by
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.moderation import decisions, desk_views, forms, queries, service
from waterwatch.moderation.action_views import undo_url
from waterwatch.moderation.showing import (
    CONTACT_REASONS,
    VIEW,
    go_on,
    next_report,
    person_id,
    render_review,
    wanted,
)
from waterwatch.reports import queries as report_queries
from waterwatch.triage import queries as triage_queries
from waterwatch.triage import service as triage
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.people import current_actor
from waterwatch.web.words import REASON_WORDS, REPORT_KIND_WORDS

bp = Blueprint("moderation", __name__, url_prefix="/desk", template_folder="templates")


@bp.get("/")
@requires("review")
def desk() -> str:
    """What waits, since when; red grades that need a second; cases nobody could be reached for."""
    now, language = utc_now(), viewer_language()
    aside = request.args.get("aside") if request.args.get("aside") in ("lead", "question") else None
    with transaction(house().sessions) as session:
        reds = incidents_awaiting_second(session)
        own_areas = triage_queries.areas_of(session, person_id())
        shown = {
            "bar": triage_queries.queue_summary(session, now=now),
            "waiting": triage_queries.waiting(session, person_id(), wanted(session), aside=aside, now=now),
            "reds": reds,
            "secondable": secondable_by(session, [red.incident_id for red in reds], person_id()),
            "unreachable": open_no_contact(session, language=language),
            "for_lead": queries.lead_waiting(session),
            "areas": queries.areas_waiting(session, lang=language),
            "waters": queries.waters_waiting(session, lang=language),
            "views": triage_queries.views_of(session, person_id()),
            "own_areas": queries.area_names(session, own_areas, lang=language),
            "pace": desk_views.own_pace(session),
            "undoable": decisions.undoable_by(session, person_id(), settings=house().settings, now=now),
            "reds_since": queries.reds_waiting(session, now=now) if reds else {},
        }
    return render_template(
        "moderation/desk.html",
        **shown,
        aside=aside,
        view=browser_session.get(VIEW) or {},
        options_of=_options,
        kinds=REPORT_KIND_WORDS,
        reasons=REASON_WORDS,
    )


@bp.post("/unheard/<uuid:case_id>/again")
@requires("reverse")
def forward_again(case_id: uuid.UUID) -> WerkzeugResponse:
    """A lead has a case that reached nobody forwarded once more."""
    with transaction(house().sessions) as session:
        is_going = again.forward(session, case_id, settings=house().settings, actor=current_actor(), now=utc_now())
    if is_going:
        flash(gettext("已再次转交。"), "success")
    else:
        flash(gettext("没有可以转交的地址：请先补上规则或联系方式。"), "warning")
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/next")
@requires("review")
def claim_next() -> WerkzeugResponse:
    """Take the most urgent report that nobody looks at."""
    return next_report()


@bp.get("/<uuid:report_id>")
@requires("review")
def review(report_id: uuid.UUID) -> str:
    """One report with everything a judgement needs."""
    return render_review(report_id, {}, {})


@bp.post("/<uuid:report_id>/grade")
@requires("review")
def grade(report_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Accept with a grade: opens or joins an incident and sets map, departments and citizen moving."""
    try:
        command = forms.parse_grade(report_id, request.form)
        with transaction(house().sessions) as session:
            incident = service.grade_report(
                session, command, settings=house().settings, actor=current_actor(), now=utc_now()
            )
            undo = undo_url(session)
    except Invalid as error:
        return render_review(report_id, request.form, error.errors), 400
    except Conflict as conflict:
        return _show_what_changed(report_id, conflict)
    return go_on(gettext("已受理并评级，事件编号 %(code)s；正在转交主管部门。", code=incident.code), undo=undo)


@bp.post("/<uuid:report_id>/refuse")
@requires("review")
def refuse(report_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Refuse with a reason from the list and words the author will read."""
    try:
        code, words = forms.parse_refusal(request.form)
        with transaction(house().sessions) as session:
            service.refuse_report(
                session,
                report_id,
                code,
                words,
                seen_version=forms.parse_version(request.form),
                settings=house().settings,
                actor=current_actor(),
                now=utc_now(),
            )
            undo = undo_url(session)
    except Invalid as error:
        return render_review(report_id, request.form, error.errors), 400
    except Conflict as conflict:
        return _show_what_changed(report_id, conflict)
    return go_on(gettext("已退回，上报人会看到你写的理由。"), undo=undo)


@bp.post("/<uuid:report_id>/patrol")
@requires("review")
def accept_patrol(report_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """The picture shows what the patrol says: water in order, and perhaps that an incident there is over."""
    seen = forms.parse_version(request.form)
    settings, actor = house().settings, current_actor()
    try:
        over = forms.parse_verified(request.form)
        with transaction(house().sessions) as session:
            service.accept_patrol(
                session,
                report_id,
                verifies_incident_id=over,
                seen_version=seen,
                settings=settings,
                actor=actor,
                now=utc_now(),
            )
            undo = undo_url(session)
    except Invalid as error:
        return render_review(report_id, request.form, error.errors), 400
    except Conflict as conflict:
        return _show_what_changed(report_id, conflict)
    return go_on(gettext("已确认这次巡护。"), undo=undo)


@bp.post("/<uuid:report_id>/release")
@requires("review")
def release(report_id: uuid.UUID) -> WerkzeugResponse:
    """Give the report back to the queue."""
    with transaction(house().sessions) as session:
        triage.release(session, report_id, person_id())
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/incident/<uuid:incident_id>/second")
@requires("review")
def second(incident_id: uuid.UUID) -> WerkzeugResponse:
    """Confirm another moderator's red grade."""
    with transaction(house().sessions) as session:
        service.second_red(session, incident_id, settings=house().settings, actor=current_actor(), now=utc_now())
    flash(gettext("已复核为红色，地图与部门同时更新。"), "success")
    return redirect(url_for("moderation.desk"), code=303)


@bp.post("/<uuid:report_id>/contact")
@requires("reverse")
def show_contact(report_id: uuid.UUID) -> str:
    """Show it on this answer only: no address holds it, so that going back or opening it again shows nothing."""
    reason = request.form.get("reason", "").strip()
    with transaction(house().sessions) as session:
        facts = report_queries.telling(session, report_id)
        shown = contacts_service.show(
            session, report_id, reason, actor=current_actor(), settings=house().settings, now=utc_now()
        )
    return render_template(
        "moderation/contact.html", report_id=report_id, code=facts.code, contact=shown, reason=CONTACT_REASONS[reason]
    )


def _options(facets: list[queries.Facet], chosen: str | None) -> list[tuple[str, str]]:
    """What the queue can be narrowed to; what it is narrowed to stays among it, though nothing waits there now."""
    found = [(one.key, f"{one.name} ({one.count})") for one in facets]
    is_listed = chosen in {"mine", *(one.key for one in facets)}
    return found if not chosen or is_listed else [*found, (chosen, f"{chosen} (0)")]


def _show_what_changed(report_id: uuid.UUID, conflict: Conflict) -> tuple[str, int]:
    """The report as its author has it now, for a second look. Any other conflict is raised again."""
    if conflict.error_code != "report_changed":
        raise conflict
    return render_review(report_id, {}, {"version": ["report_changed"]}), 409
