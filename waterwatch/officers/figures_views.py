"""How the agency answered, counted as what is published is, and its figures before they are: it may comment first."""

import uuid
from datetime import timedelta

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from flask_babel import gettext
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from waterwatch.accountability import previews, service, showing
from waterwatch.accountability import queries as accountability
from waterwatch.accountability.forms import parse_comment
from waterwatch.accountability.views import shown_page
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Gone, Invalid, NotFound
from waterwatch.officers.queries import Office
from waterwatch.officers.showing import own_office
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor

bp = Blueprint("office_figures", __name__, url_prefix="/office/figures", template_folder="templates")
DAYS = {"90": 90, "365": 365}


@bp.get("")
@requires("agency_desk")
def figures() -> str:
    """The agency's figures that are not public yet, and how it did lately."""
    now = utc_now()
    chosen = request.args.get("days") if request.args.get("days") in DAYS else "90"
    since = now - timedelta(days=DAYS[str(chosen)])
    with transaction(house().sessions) as session:
        office = own_office(session)
        shown = previews.shown_to(session, office.agency_id)
        found = accountability.figures_of_window(session, office.agency_id, since, now, as_of=now)
    return render_template(
        "officers/figures.html",
        office=office,
        shown=shown,
        figures=found,
        show=showing,
        days=chosen,
        choices=DAYS,
    )


@bp.get("/<uuid:figures_id>")
@requires("agency_desk")
def own(figures_id: uuid.UUID) -> Response:
    """The agency's figures of a period, and the form for what it says of them."""
    return _own(figures_id, "", {})


@bp.post("/<uuid:figures_id>")
@requires("agency_desk")
def comment(figures_id: uuid.UUID) -> Response:
    """The agency says something."""
    words = request.form.get("words", "")
    try:
        command = parse_comment(request.form)
        with transaction(house().sessions) as session:
            _of_office(session, figures_id)
            service.comment(session, figures_id, command, actor=current_actor(), now=utc_now())
    except Invalid as fault:
        return _own(figures_id, words, fault.errors, status=400)
    except (Gone, Conflict) as late:
        return _own(figures_id, words, {"words": [late.error_code]}, status=409)
    flash(gettext("意见已收到。"), "success")
    return redirect(url_for("office_figures.own", figures_id=figures_id), 303)


def _own(figures_id: uuid.UUID, words: str, errors: dict[str, list[str]], *, status: int = 200) -> Response:
    with transaction(house().sessions) as session:
        office = _of_office(session, figures_id)
        shown = shown_page(session, figures_id, words, errors, is_late=status == 409)
        address = url_for("office_figures.comment", figures_id=figures_id)
        page = render_template("accountability/shown.html", office=office, address=address, **shown)
    return make_response(page, status)


def _of_office(session: Session, figures_id: uuid.UUID) -> Office:
    """The office of whoever is signed in. Raises :class:`NotFound` unless the figures are its own."""
    office = own_office(session)
    if accountability.agency_of(session, figures_id) != office.agency_id:
        raise NotFound("figures_not_found")
    return office
