"""How departments answered, for everybody: the country's table, a department, an area, the rules, the data."""

import json
import uuid
from typing import Any

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask_babel import lazy_gettext as _l
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.accountability import queries, service, showing
from waterwatch.accountability.forms import parse_comment
from waterwatch.accountability.letters import PURPOSE
from waterwatch.accountability.rules import LEAST_CASES
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Gone, Invalid, NotFound
from waterwatch.kernel.signing import open_link
from waterwatch.web.errors import WORDS
from waterwatch.web.guards import by_link, public
from waterwatch.web.house import house

bp = Blueprint("accountability", __name__, url_prefix="/accountability", template_folder="templates")
bp.app_template_global("period_words")(showing.period_words)

PERIOD = "<string(maxlength=7):period>"
FAULTS = {"comment_missing": _l("请写下意见。"), "comment_too_long": _l("意见最多 2000 字。")}
CODE = "<string(maxlength=80):code>"


@bp.get("")
@public
def index() -> str:
    """The latest period's table; where none is published yet, what there will be."""
    with transaction(house().sessions) as session:
        periods = queries.published_periods(session)
        return _table(session, periods[0] if periods else None, periods)


@bp.get(f"/{PERIOD}")
@public
def table(period: str) -> str:
    """A period's table, sorted by the column that is asked for, a page at a time."""
    with transaction(house().sessions) as session:
        periods = queries.published_periods(session)
        if period not in periods:
            raise NotFound("figures_not_found")
        return _table(session, period, periods)


def _table(session: Session, period: str | None, periods: list[str]) -> str:
    area = request.args.get("area", "")[:6] or None
    page = max(1, min(request.args.get("page", 1, type=int), 1000))
    order = showing.parse_order(request.args.get("sort", "")[:30])
    rows = showing.in_order(queries.published(session, period, area=area), order) if period else []
    first = showing.PAGE * (page - 1)
    return render_template(
        "accountability/table.html",
        period=period,
        periods=periods,
        rows=rows[first : first + showing.PAGE],
        count=len(rows),
        page=page,
        pages=max(1, -(-len(rows) // showing.PAGE)),
        order=order,
        columns=showing.COLUMNS,
        area=area,
        country=dict(queries.area_history(session, area)).get(period or ""),
        show=showing,
    )


@bp.get(f"/{PERIOD}.csv")
@public
def table_csv(period: str) -> Response:
    """A period's table for spreadsheets."""
    with transaction(house().sessions) as session:
        rows = _published(session, period)
    return _data(showing.as_csv(rows), "text/csv; charset=utf-8", f"accountability-{period}.csv")


@bp.get(f"/{PERIOD}.json")
@public
def table_json(period: str) -> Response:
    """A period's table for programs."""
    with transaction(house().sessions) as session:
        rows = _published(session, period)
    facts = showing.as_facts(rows, period, house().settings.public_url.rstrip("/"))
    return _data(json.dumps(facts, ensure_ascii=False), "application/json", None)


def _published(session: Session, period: str) -> list[queries.AgencyRow]:
    if period not in queries.published_periods(session):
        raise NotFound("figures_not_found")
    return queries.published(session, period)


def _data(content: str, media_type: str, filename: str | None) -> Response:
    response = Response(content, content_type=media_type)
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Access-Control-Allow-Origin"] = "*"
    if filename:
        response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response


@bp.get("/rules")
@public
def rules() -> str:
    """What counts and what does not, in words."""
    return render_template("accountability/rules.html", least=LEAST_CASES, days=house().settings.comment_working_days)


@bp.get(f"/agencies/{CODE}")
@public
def agency(code: str) -> str:
    """One department's periods, the latest first, with what it says of them."""
    with transaction(house().sessions) as session:
        found = queries.agency_by_code(session, code)
        if found is None:
            raise NotFound("agency_not_found")
        rows = queries.history_of(session, code)
    return render_template(
        "accountability/agency.html",
        agency=found,
        rows=rows,
        show=showing,
        history=[(row.period, row.figures) for row in rows],
    )


@bp.get("/agencies/by-id/<uuid:agency_id>")
@public
def agency_by_id(agency_id: uuid.UUID) -> WerkzeugResponse:
    """Where pages lead that know a department only by what it is filed under."""
    with transaction(house().sessions) as session:
        code = queries.code_of(session, agency_id)
    return redirect(url_for("accountability.agency", code=code), code=301)


@bp.get("/areas/<int(fixed_digits=6):code>")
@public
def area(code: int) -> str:
    """An area's departments together, period by period, and each of them in the latest."""
    key = f"{code:06}"
    with transaction(house().sessions) as session:
        names = queries.area_names(session, key)
        if names is None:
            raise NotFound("area_not_found")
        history = queries.area_history(session, key)
        rows = queries.published(session, history[0][0], area=key) if history else []
    return render_template(
        "accountability/area.html",
        code=key,
        name=showing.named(names, key),
        history=history,
        rows=showing.in_order(rows, showing.Order("cases"))[: showing.PAGE],
        show=showing,
    )


@bp.get("/figures/<token>")
@by_link
def shown(token: str) -> Response:
    """A department's figures before they are public, and the form for what it says of them."""
    return _shown(open_link(house().settings, PURPOSE, token, now=utc_now()), token, "", {})


@bp.post("/figures/<token>")
@by_link
def write(token: str) -> WerkzeugResponse:
    """The department says something."""
    now = utc_now()
    figures_id = open_link(house().settings, PURPOSE, token, now=now)
    try:
        command = parse_comment(request.form)
    except Invalid as invalid:
        return _shown(figures_id, token, request.form.get("words", ""), invalid.errors, status=400)
    try:
        with transaction(house().sessions) as session:
            agency_id = queries.agency_of(session, figures_id)
            service.comment(session, figures_id, command, actor=Actor.agency_link(agency_id), now=now)
    except (Gone, Conflict) as late:
        return _shown(figures_id, token, command.words, {"words": [late.error_code]}, status=409)
    return redirect(url_for("accountability.shown", token=token), code=303)


def _shown(
    figures_id: uuid.UUID, token: str, words: str, errors: dict[str, list[str]], *, status: int = 200
) -> Response:
    with transaction(house().sessions) as session:
        page = render_template(
            "accountability/shown.html",
            **shown_page(session, figures_id, words, errors, is_late=status == 409),
            address=url_for("accountability.write", token=token),
        )
    response = Response(page, status=status)
    response.headers["X-Robots-Tag"] = "noindex, nofollow"  # the address is a key
    return response


def shown_page(
    session: Session, figures_id: uuid.UUID, words: str, errors: dict[str, list[str]], *, is_late: bool
) -> dict[str, Any]:
    """What the page of a department's own figures shows, behind the link and at its desk.

    ``words``: what somebody has just written, ``errors``: what was wrong with it, in codes. ``is_late``: it came when
    nothing is taken any more, and is given back.
    """
    row = queries.shown(session, figures_id)
    said = queries.comment_on(session, figures_id)
    return {
        "row": row,
        "release": queries.release(session, row.period),
        "said": said,
        "words_written": words or (said.words if said else ""),
        "errors": {name: [str(FAULTS.get(code) or WORDS[code]) for code in codes] for name, codes in errors.items()},
        "is_late": is_late,
        "show": showing,
    }
