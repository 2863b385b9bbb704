"""The lead's review of bulletins: look, correct the foreword, let go, keep back, correct what is out."""

import uuid
from collections.abc import Callable, Mapping

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.accountability.rules import Period
from waterwatch.accountability.showing import named
from waterwatch.bulletins import queries, service
from waterwatch.bulletins.forms import parse_foreword
from waterwatch.bulletins.tables import STATES
from waterwatch.bulletins.views import number_words, serve
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, DomainError, Invalid, NotFound
from waterwatch.web.errors import WORDS
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.people import current_actor

bp = Blueprint("bulletins_desk", __name__, url_prefix="/desk/bulletins", template_folder="templates")


@bp.get("")
@requires("reverse")
def index() -> str:
    """Every bulletin, drafts first, and the order for a month."""
    return _list({}, {})


def _list(typed: Mapping[str, str], errors: Mapping[str, list[str]]) -> str:
    """The page, with what was typed into the order and what was wrong with it."""
    state = request.args.get("state", "")
    page = max(1, min(request.args.get("page", 1, type=int), 1000))
    with transaction(house().sessions) as session:
        rows = queries.desk_list(session, state=state if state in STATES else None, page=page)
        known = queries.known_agencies(session)
    return render_template(
        "bulletins/desk.html",
        rows=rows[: queries.PAGE],
        has_more=len(rows) > queries.PAGE,
        page=page,
        state=state,
        states=STATES,
        named=named,
        known=known,
        typed=typed,
        errors={name: [str(WORDS[code]) for code in codes] for name, codes in errors.items()},
    )


@bp.post("")
@requires("reverse")
def order() -> WerkzeugResponse | tuple[str, int]:
    """Order one department's bulletin of a quarter or a month."""
    try:
        period = Period.parse(request.form.get("period", "").strip().upper())
        with transaction(house().sessions) as session:
            agency_id = queries.agency_called(session, request.form.get("agency", "").strip()[:200])
            row = service.propose(session, agency_id, period, actor=current_actor(), now=utc_now())
            found = row.id
    except Invalid as fault:
        return _list(request.form, fault.errors), 400
    except NotFound as fault:
        return _list(request.form, {"agency": [fault.error_code]}), 400
    return redirect(url_for("bulletins_desk.show", bulletin_id=found), code=303)


@bp.get("/<uuid:bulletin_id>")
@requires("reverse")
def show(bulletin_id: uuid.UUID) -> str:
    """One bulletin with its files, and what may be done with it."""
    with transaction(house().sessions) as session:
        found = queries.bulletin(session, bulletin_id)
        return render_template(
            "bulletins/review.html",
            bulletin=found,
            agency=queries.addressee(session, agency_id=found.agency_id),
            files=queries.files_of(session, found.id),
            letters=queries.letters_of(session, found.id),
            addresses=queries.addresses_of(session, found.agency_id),
            numbers=number_words(),
            foreword_most=service.MOST_FOREWORD,
        )


@bp.get("/<uuid:bulletin_id>/pdf/<int:volume>", defaults={"form": "pdf"})
@bp.get("/<uuid:bulletin_id>/csv/<int:volume>", defaults={"form": "csv"})
@requires("reverse")
def file(bulletin_id: uuid.UUID, volume: int, form: str) -> Response:
    """A draft's file."""
    with transaction(house().sessions) as session:
        found = queries.bulletin(session, bulletin_id)
        agency = queries.addressee(session, agency_id=found.agency_id)
        response = serve(session, found, agency.code, form, volume)
    response.headers["Cache-Control"] = "no-store"
    return response


@bp.post("/<uuid:bulletin_id>/foreword")
@requires("reverse")
def change_foreword(bulletin_id: uuid.UUID) -> WerkzeugResponse:
    """Another foreword; the files are made anew."""
    return _do(_foreword, bulletin_id)


@bp.post("/<uuid:bulletin_id>/approve")
@requires("reverse")
def approve(bulletin_id: uuid.UUID) -> WerkzeugResponse:
    """Let it go."""
    return _do(_approve, bulletin_id)


@bp.post("/<uuid:bulletin_id>/withhold")
@requires("reverse")
def withhold(bulletin_id: uuid.UUID) -> WerkzeugResponse:
    """Keep it back."""
    return _do(_withhold, bulletin_id)


@bp.post("/<uuid:bulletin_id>/correct")
@requires("reverse")
def correct(bulletin_id: uuid.UUID) -> WerkzeugResponse:
    """Order a further edition."""
    return _do(_correct, bulletin_id)


def _do(act: Callable[[Session, uuid.UUID], uuid.UUID], bulletin_id: uuid.UUID) -> WerkzeugResponse:
    try:
        with transaction(house().sessions) as session:
            queries.bulletin(session, bulletin_id)
            shown = act(session, bulletin_id)
    except (Invalid, Conflict) as fault:
        _say(fault)
        shown = bulletin_id
    return redirect(url_for("bulletins_desk.show", bulletin_id=shown), code=303)


def _foreword(session: Session, bulletin_id: uuid.UUID) -> uuid.UUID:
    words = parse_foreword(request.form)
    service.change_foreword(session, bulletin_id, words, actor=current_actor(), now=utc_now())
    flash(gettext("正在重新生成，请稍后刷新。"), "success")
    return bulletin_id


def _approve(session: Session, bulletin_id: uuid.UUID) -> uuid.UUID:
    sent = service.approve(session, bulletin_id, settings=house().settings, actor=current_actor(), now=utc_now())
    if sent:
        flash(gettext("已公开，将发往 %(count)s 个地址。", count=sent), "success")
    else:
        flash(gettext("已公开。这个部门没有可用的邮箱，没有发出。"), "warning")
    return bulletin_id


def _withhold(session: Session, bulletin_id: uuid.UUID) -> uuid.UUID:
    service.withhold(session, bulletin_id, request.form.get("reason", ""), actor=current_actor(), now=utc_now())
    flash(gettext("没有公开，也没有发出。"), "success")
    return bulletin_id


def _correct(session: Session, bulletin_id: uuid.UUID) -> uuid.UUID:
    row = service.correct(session, bulletin_id, actor=current_actor(), now=utc_now())
    flash(gettext("正在生成第 %(edition)s 版。", edition=row.edition), "success")
    return row.id


def _say(fault: DomainError) -> None:
    codes = [code for found in fault.errors.values() for code in found] if isinstance(fault, Invalid) else []
    for code in codes or [fault.error_code]:
        flash(str(WORDS[code]), "error")
