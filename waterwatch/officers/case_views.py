"""The desk of one case: everything about it, and what an agency can say. An agency above it only looks."""

import uuid

from flask import Blueprint, Response, flash, g, redirect, render_template, request, url_for
from flask_babel import gettext
from sqlalchemy.orm import Session
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.accounts.queries import officers_of
from waterwatch.casework import service as casework
from waterwatch.escalation import service as escalation
from waterwatch.escalation.queries import CaseFacts, case_facts
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Forbidden, Gone, Invalid, NotFound
from waterwatch.mapping.snapshot import incident_png
from waterwatch.officers import case_queries, forms, queries, saying, service
from waterwatch.officers.showing import Asked, desk_page, own_office, picture, said_words, serve_picture
from waterwatch.web.errors import render_error
from waterwatch.web.guards import refuse_unless, requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor

bp = Blueprint("office_case", __name__, url_prefix="/office/case", template_folder="templates")
bp.teardown_request(saying.discard_spool)


@bp.url_value_preprocessor
def _spool_photos(endpoint: str | None, _values: object) -> None:
    if endpoint in ("office_case.answer", "office_case.report_done"):
        saying.begin_spool()


@bp.errorhandler(RequestEntityTooLarge)
def _too_large(_error: RequestEntityTooLarge) -> WerkzeugResponse | tuple[str, int]:
    """The page again with what was typed: the photos alone have to be chosen anew."""
    if "spool" not in g:
        return render_error(413, code="request_entity_too_large")
    if (refusal := refuse_unless("agency_desk")) is not None:  # the form is read before anybody asks who sent it
        return refusal
    typed = saying.typed_before_photos()
    asked = Asked(saying.kind_of(request.endpoint, typed), typed, {"photo": ["photos_too_large"]})
    return _page((request.view_args or {})["case_id"], asked), 413


@bp.get("/<uuid:case_id>")
@requires("agency_desk")
def show(case_id: uuid.UUID) -> str:
    """The case with all one needs to act on it."""
    return _page(case_id)


@bp.post("/<uuid:case_id>/acknowledge")
@requires("agency_desk")
def acknowledge(case_id: uuid.UUID) -> WerkzeugResponse:
    """The agency has it."""
    with transaction(house().sessions) as session:
        _require_own(session, case_id)
        escalation.acknowledge(session, case_id, actor=current_actor(), now=utc_now())
    flash(gettext("已确认收到，公开页面会显示确认时间。"), "success")
    return _back(case_id)


@bp.post("/<uuid:case_id>/answer")
@requires("agency_desk")
def answer(case_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """What the agency does about it, and until when."""
    return _say(case_id, "comment" if request.form.get("comment") else "answer")


@bp.post("/<uuid:case_id>/done")
@requires("agency_desk")
def report_done(case_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """The agency says it is done, and shows it."""
    return _say(case_id, "done")


@bp.post("/<uuid:case_id>/not-ours")
@requires("agency_desk")
def refuse(case_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """The case is another agency's."""
    try:
        saying.refuse(case_id, via="desk", actor=current_actor(), check=lambda session: _require_own(session, case_id))
    except (Invalid, Conflict) as fault:
        return _again(case_id, "not_ours", fault)
    flash(said_words("not_ours"), "success")
    return _back(case_id)


@bp.post("/<uuid:case_id>/assign")
@requires("agency_desk")
def assign(case_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """Who in the agency works on it; a colleague, an office, or both. Nobody outside is told."""
    try:
        wish = forms.parse_assignment(request.form)
        with transaction(house().sessions) as session:
            _require_own(session, case_id)
            _require_colleague(session, wish.person_id)
            casework.assign(session, case_id, wish.person_id, wish.office, actor=current_actor(), now=utc_now())
    except Invalid as fault:
        return _again(case_id, "assign", fault)
    flash(gettext("已分派。"), "success")
    return _back(case_id)


@bp.post("/<uuid:case_id>/assign/<uuid:assignment_id>/end")
@requires("agency_desk")
def end_assignment(case_id: uuid.UUID, assignment_id: uuid.UUID) -> WerkzeugResponse:
    """Somebody works on it no more."""
    with transaction(house().sessions) as session:
        _require_own(session, case_id)
        casework.unassign(session, _assignment(session, case_id, assignment_id), actor=current_actor(), now=utc_now())
    return _back(case_id)


@bp.post("/<uuid:case_id>/note")
@requires("agency_desk")
def note(case_id: uuid.UUID) -> WerkzeugResponse | tuple[str, int]:
    """A note for colleagues."""
    try:
        words = forms.parse_note(request.form)
        with transaction(house().sessions) as session:
            _require_own(session, case_id)
            service.note(session, case_id, words, actor=current_actor(), now=utc_now())
    except Invalid as fault:
        return _again(case_id, "note", fault)
    return _back(case_id)


@bp.get("/<uuid:case_id>/map.png")
@requires("agency_desk")
def show_map(case_id: uuid.UUID) -> Response:
    """The map around the exact place."""
    with transaction(house().sessions) as session:
        facts = _standing(session, case_id)
        if facts.warned is not None:  # the map shows the exact place
            raise NotFound("photo_not_found")
        drawn = incident_png(session, facts.incident_id)
    return Response(drawn, mimetype="image/png")


@bp.get("/<uuid:case_id>/photo/<uuid:photo_id>/<int:size_px>")
@requires("agency_desk")
def show_photo(case_id: uuid.UUID, photo_id: uuid.UUID, size_px: int) -> Response:
    """A photo of the case or of one of its answers."""
    with transaction(house().sessions) as session:
        _standing(session, case_id)
        picture(session, case_id, photo_id)
    return serve_picture(photo_id, size_px)


def _say(case_id: uuid.UUID, kind: str) -> WerkzeugResponse | tuple[str, int]:
    try:
        saying.say(
            case_id, kind, via="desk", actor=current_actor(), check=lambda session: _require_own(session, case_id)
        )
    except (Invalid, Conflict) as fault:
        return _again(case_id, kind, fault)
    flash(said_words(kind), "success")
    return _back(case_id)


def _again(case_id: uuid.UUID, form: str, fault: Invalid | Conflict) -> tuple[str, int]:
    """The page as it is now, with every word that was typed."""
    errors, status = saying.faults_of(fault)
    return _page(case_id, Asked(form, request.form, errors)), status


def _page(case_id: uuid.UUID, asked: Asked | None = None) -> str:
    with transaction(house().sessions) as session:
        office = own_office(session)
        is_own = queries.reach_of(session, office, case_id)
        shown = desk_page(session, office, case_id, now=utc_now(), is_own=is_own, asked=asked)
    return render_template("officers/case.html", **shown)


def _standing(session: Session, case_id: uuid.UUID) -> CaseFacts:
    """What a picture is made of. Raises :class:`Gone` for a case that was taken back, as behind the letter's link."""
    queries.reach_of(session, own_office(session), case_id)
    facts = case_facts(session, case_id)
    if facts.state == "withdrawn":
        raise Gone("case_withdrawn")
    return facts


def _require_own(session: Session, case_id: uuid.UUID) -> None:
    """Raises :class:`NotFound` for a case out of reach, :class:`Forbidden` for one of an agency below."""
    if not queries.reach_of(session, own_office(session), case_id):
        raise Forbidden("case_of_another_agency")


def _require_colleague(session: Session, person_id: uuid.UUID | None) -> None:
    if person_id is None:
        return
    if person_id not in {one.person_id for one in officers_of(session, own_office(session).code)}:
        raise NotFound("person_unknown")


def _assignment(session: Session, case_id: uuid.UUID, assignment_id: uuid.UUID) -> uuid.UUID:
    """Raises :class:`NotFound` unless it stands and is of this case."""
    if assignment_id not in {one.assignment_id for one in case_queries.working_on(session, case_id)}:
        raise NotFound("assignment_not_found")
    return assignment_id


def _back(case_id: uuid.UUID) -> WerkzeugResponse:
    return redirect(url_for("office_case.show", case_id=case_id), 303)
