"""Bulletins for everybody: the list, a department's, one edition at an address that stays, and its files."""

from flask import Blueprint, Response, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.accountability.rules import Period
from waterwatch.accountability.showing import named
from waterwatch.bulletins import queries
from waterwatch.bulletins.letters import filename_of
from waterwatch.bulletins.tables import Bulletin
from waterwatch.bulletins.words import NUMBER_WORDS
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Gone, Invalid, NotFound
from waterwatch.web.guards import public
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language

bp = Blueprint("bulletins", __name__, url_prefix="/bulletins", template_folder="templates")

CODE, PERIOD = "<string(maxlength=80):code>", "<string(maxlength=7):period>"
EDITION = "<int(max=9999):edition>"
MEDIA_TYPES = {"pdf": "application/pdf", "csv": "text/csv; charset=utf-8"}


@bp.get("")
@public
def index() -> str:
    """Every public bulletin in its latest edition, the latest period first."""
    period = _asked_period()
    with transaction(house().sessions) as session:
        return _list(session, period=period, agency=None)


@bp.get(f"/{CODE}")
@public
def of_agency(code: str) -> str:
    """One department's bulletins."""
    with transaction(house().sessions) as session:
        queries.addressee(session, code=code)
        return _list(session, period=None, agency=code)


def _asked_period() -> str | None:
    try:
        return Period.parse(request.args.get("period", "")).code
    except Invalid:
        return None


def _list(session: Session, *, period: str | None, agency: str | None) -> str:
    page = max(1, min(request.args.get("page", 1, type=int), 1000))
    rows = queries.public_list(session, period=period, agency=agency, page=page)
    return render_template(
        "bulletins/index.html",
        rows=rows[: queries.PAGE],
        has_more=len(rows) > queries.PAGE,
        page=page,
        period=period,
        periods=queries.public_periods(session),
        agency=queries.addressee(session, code=agency, lang=viewer_language()) if agency else None,
        named=named,
    )


@bp.get(f"/{CODE}/{PERIOD}")
@public
def latest(code: str, period: str) -> WerkzeugResponse:
    """The latest edition, at its own address."""
    with transaction(house().sessions) as session:
        found = queries.public_bulletin(session, code, period)
        edition = found.edition
    return redirect(url_for("bulletins.show", code=code, period=period, edition=edition), code=302)


@bp.get(f"/{CODE}/{PERIOD}/{EDITION}")
@public
def show(code: str, period: str, edition: int) -> str:
    """One edition: its numbers, its files with what they hash to, what corrects it."""
    with transaction(house().sessions) as session:
        found = queries.public_bulletin(session, code, period, edition)
        return render_template(
            "bulletins/show.html",
            bulletin=found,
            agency=queries.addressee(session, agency_id=found.agency_id, lang=viewer_language()),
            files=queries.files_of(session, found.id),
            editions=queries.editions_of(session, found),
            is_spoilt=found.state == "recalled" or queries.is_spoilt(session, found.id),
            numbers=number_words(),
            is_quarter=Period.parse(period).months == 3,
        )


@bp.get(f"/{CODE}/{PERIOD}/{EDITION}/<int(max=999):volume>.<any(pdf,csv):form>")
@public
def file(code: str, period: str, edition: int, volume: int, form: str) -> Response:
    """A file; one of a bulletin that was recalled is gone."""
    with transaction(house().sessions) as session:
        found = queries.public_bulletin(session, code, period, edition)
        response = serve(session, found, code, form, volume)
    response.headers["Cache-Control"] = "public, max-age=60"  # what is recalled is gone within a minute
    return response


def serve(session: Session, found: Bulletin, code: str, form: str, volume: int) -> Response:
    """A bulletin's file, unless it shows what may not be shown any more. Raises :class:`NotFound`, :class:`Gone`."""
    if found.state == "recalled" or queries.is_spoilt(session, found.id):
        raise Gone("bulletin_recalled")
    files = queries.files_of(session, found.id)
    wanted = next((one for one in files if (one.form, one.volume) == (form, volume)), None)
    if wanted is None:
        raise NotFound("bulletin_not_found")
    name = filename_of(code, found.period, found.edition, form, volume, sum(one.form == "pdf" for one in files))
    response = Response(house().objects.open(wanted.key), content_type=MEDIA_TYPES[form])
    response.content_length = wanted.bytes
    response.headers["Content-Disposition"] = f'{"inline" if form == "pdf" else "attachment"}; filename="{name}"'
    response.set_etag(wanted.sha256.hex())
    return response


def number_words() -> dict[str, str]:
    """The numbers' names in the viewer's language."""
    return {name: str(words) for name, words in NUMBER_WORDS.items()}
