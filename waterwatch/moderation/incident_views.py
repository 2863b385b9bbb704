"""The desk of one incident: its reports and grades; grade it anew, split it, join another to it."""

import uuid
from collections.abc import Mapping

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.advisories.rules import CARRIED_KINDS
from waterwatch.incidents.queries import incident_by_code, incident_by_id, incidents_near, secondable_by
from waterwatch.incidents.rules import score
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.moderation import actions, forms, queries
from waterwatch.moderation.showing import ERROR_WORDS, person_id
from waterwatch.reports.forms import clean_text
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor
from waterwatch.web.words import EXTENT_WORDS, KIND_WORDS, RECEPTOR_WORDS, REPORT_KIND_WORDS, SEVERITY_WORDS

bp = Blueprint("incident_desk", __name__, url_prefix="/desk/incident", template_folder="templates")


@bp.get("/<uuid:incident_id>")
@requires("review")
def show(incident_id: uuid.UUID) -> str:
    """What it rests on, and what can be done with it."""
    return render_incident(incident_id, {}, {})


@bp.post("/<uuid:incident_id>/regrade")
@requires("review")
def regrade(incident_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Grade it as a whole, anew."""
    try:
        judgement = forms.parse_judgement(request.form)
        with transaction(house().sessions) as session:
            actions.regrade(
                session, incident_id, judgement, settings=house().settings, actor=current_actor(), now=utc_now()
            )
    except Invalid as fault:
        return render_incident(incident_id, request.form, fault.errors), 400
    flash(gettext("已重新评级。"), "success")
    return _back(incident_id)


@bp.post("/<uuid:incident_id>/split")
@requires("review")
def split(incident_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Make an incident of their own of some of its reports."""
    settings, actor = house().settings, current_actor()
    try:
        judgement = forms.parse_judgement(request.form)
        chosen = forms.parse_ids(request.form.getlist("report"))
        with transaction(house().sessions) as session:
            made = actions.split(session, incident_id, chosen, judgement, settings=settings, actor=actor, now=utc_now())
    except Invalid as fault:
        return render_incident(incident_id, request.form, fault.errors), 400
    except Conflict as conflict:
        if conflict.error_code not in ("nothing_would_stay", "report_not_here"):
            raise
        return render_incident(incident_id, request.form, {"report": [conflict.error_code]}), 409
    flash(gettext("已拆分，新的事件编号 %(code)s。", code=made.code), "success")
    return _back(made.id)


@bp.post("/<uuid:incident_id>/absorb")
@requires("review")
def absorb(incident_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Join another open incident, named by its code, to this one."""
    code = clean_text(request.form.get("code", ""))
    with transaction(house().sessions) as session:
        other = incident_by_code(session, code) if code else None
        if other is not None:
            actions.absorb(
                session,
                incident_id,
                other.incident_id,
                settings=house().settings,
                actor=current_actor(),
                now=utc_now(),
            )
    if other is None:
        return render_incident(incident_id, request.form, {"code": ["incident_unknown"]}), 400
    flash(gettext("已并入，%(code)s 的页面会转到这里。", code=other.code), "success")
    return _back(incident_id)


def _back(incident_id: uuid.UUID) -> WerkzeugResponse:
    return redirect(url_for("incident_desk.show", incident_id=incident_id), code=303)


def render_incident(incident_id: uuid.UUID, fields: Mapping[str, str], errors: dict[str, list[str]]) -> str:
    """The page of one incident, with what was typed and what is wrong with it. Raises :class:`NotFound`."""
    with transaction(house().sessions) as session:
        incident = incident_by_id(session, incident_id)
        if incident is None:
            raise NotFound("incident_not_found")
        grades = queries.grades_of(session, incident_id)
        shown = {
            "reports": queries.reports_of_incident(session, incident_id),
            "grades": grades,
            "secondable": bool(secondable_by(session, [incident_id], person_id())),
            "below_now": queries.below_now(session, incident_id, now=utc_now()),
            "nearby": [one for one in incidents_near(session, incident.lon, incident.lat) if one != incident],
        }
    return render_template(
        "moderation/incident.html",
        **shown,
        incident=incident,
        inputs=queries.inputs_to_begin_with(incident.kind, grades),
        proposal=score(queries.inputs_to_begin_with(incident.kind, grades)),
        fields=fields,
        errors=errors,
        error_words={name: [ERROR_WORDS[code] for code in codes] for name, codes in errors.items()},
        kinds=KIND_WORDS,
        report_kinds=REPORT_KIND_WORDS,
        severities=SEVERITY_WORDS,
        extents=EXTENT_WORDS,
        receptors=RECEPTOR_WORDS,
        carried=CARRIED_KINDS,
    )
