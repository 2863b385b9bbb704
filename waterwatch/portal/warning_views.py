"""Early warning for everybody: what it is, how it is reckoned, how far it errs, and how good it has been."""

import json

from flask import Blueprint, Response, render_template
from flask_babel import lazy_gettext as _l

from waterwatch.advisories import arrival_queries, goodness
from waterwatch.advisories.rules import DILUTED_BY, LIMIT_H, LIMIT_KM
from waterwatch.kernel import sheets
from waterwatch.kernel.db import transaction
from waterwatch.portal.showing import public_url
from waterwatch.web.guards import public
from waterwatch.web.house import house

bp = Blueprint("early_warning", __name__, template_folder="templates")

FOUND_WORDS = {
    goodness.WITHIN: _l("在时间段里到了"),
    goodness.BEFORE: _l("比时间段早"),
    goodness.AFTER: _l("看到时已过时间段"),
    goodness.NOT_COME: _l("过了时间段也没有到"),
    goodness.TOO_SOON: _l("看的时候还早，没有到"),
    goodness.UNTIMED: _l("没有推算出时间段"),
}
NOTICE = "公众观察的推算，非政府预警 · reckoned from what the public observed, no warning of an authority"
COLUMNS = ("found", "missed_h", "distance_km", "month")
FRESH = "public, max-age=300"


@bp.get("/early-warning")
@public
def page() -> str:
    """What it is, in plain words, and how good the windows were."""
    with transaction(house().sessions) as session:
        found = arrival_queries.checks(session)
    return render_template(
        "portal/early_warning.html",
        tally=goodness.tally(found),
        by_distance=goodness.by_distance(found),
        words_found=FOUND_WORDS,
        least=goodness.LEAST,
        limits={"km": int(LIMIT_KM), "hours": int(LIMIT_H), "diluted": int(DILUTED_BY)},
    )


@bp.get("/early-warning.csv")
@public
def as_csv() -> Response:
    """What was found, row by row, without anything that leads to a report; for spreadsheets."""
    rows = [[getattr(row, name) for name in COLUMNS] for row in _rows()]
    return _data(sheets.as_csv(COLUMNS, rows), "text/csv; charset=utf-8", "early-warning.csv")


@bp.get("/early-warning.json")
@public
def as_json() -> Response:
    """The same for programs."""
    facts = {
        "notice": NOTICE,
        "explained": f"{public_url()}/early-warning",
        "least": goodness.LEAST,
        "checks": [{name: getattr(row, name) for name in COLUMNS} for row in _rows()],
    }
    return _data(json.dumps(facts, ensure_ascii=False), "application/json", None)


def _rows() -> list[goodness.Row]:
    with transaction(house().sessions) as session:
        return goodness.anonymous(arrival_queries.checks(session))


def _data(content: str, media_type: str, filename: str | None) -> Response:
    response = Response(content, content_type=media_type)
    response.headers["Cache-Control"] = FRESH
    response.headers["Access-Control-Allow-Origin"] = "*"
    if filename:
        response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return response
