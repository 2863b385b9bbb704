"""The officers' desk: what waits, until when; several acknowledged at once; map, tables to take away."""

import json
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_login import current_user
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.accountability import previews
from waterwatch.kernel import sheets
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid
from waterwatch.officers import forms, queries, service
from waterwatch.officers.queries import Row
from waterwatch.officers.rules import Wanted, can_acknowledge, write_cursor
from waterwatch.officers.showing import BUCKET_WORDS, CASE_STATE_WORDS, ERROR_WORDS, own_office
from waterwatch.web.guards import requires
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.people import current_actor
from waterwatch.web.words import KIND_WORDS

bp = Blueprint("officers", __name__, url_prefix="/office", template_folder="templates")
NOTICE = "公众观察等级，非政府预警；坐标为准确位置，仅供承办单位使用 · exact places, for the agency alone"
COLUMNS = (
    *("code", "kind", "severity", "state", "role", "agency", "water", "deadline_at", "is_late", "assigned"),
    *("created_at", "delivered_at", "acknowledged_at", "answered_at", "closed_at", "lon", "lat", "url"),
)


@bp.get("/")
@requires("agency_desk")
def inbox() -> str:
    """What waits, the nearest deadline first."""
    wanted, now = forms.read_wanted(request.args), utc_now()
    with transaction(house().sessions) as session:
        office = own_office(session)
        rows, has_more = queries.cases(session, office, current_user.id, wanted, language=viewer_language(), now=now)
        shown = {
            "counts": queries.counts(session, office, wanted.reach, now=now),
            "assignees": queries.assigned_to(session, office),
            "previews": previews.shown_to(session, office.agency_id),
        }
    return render_template(
        "officers/inbox.html",
        **shown,
        office=office,
        wanted=wanted,
        rows=rows,
        next_page=_address(wanted, after=write_cursor(rows[-1].deadline_at, rows[-1].case_id)) if has_more else None,
        first_page=_address(wanted.from_start()) if wanted.after else None,
        address=lambda **changes: _address(wanted.from_start(), **changes),
        can_acknowledge=can_acknowledge,
        buckets=BUCKET_WORDS,
        case_state_words=CASE_STATE_WORDS,
        now=now,
    )


@bp.post("/acknowledge")
@requires("agency_desk")
def acknowledge_several() -> WerkzeugResponse:
    """The cases ticked have been received: one act for all of them."""
    try:
        chosen = forms.parse_chosen(request.form.getlist("case"))
        with transaction(house().sessions) as session:
            done = service.acknowledge_several(
                session, own_office(session), chosen, actor=current_actor(), now=utc_now()
            )
    except Invalid as fault:
        flash(str(ERROR_WORDS[fault.errors["case"][0]]), "warning")
        return redirect(_address(forms.read_wanted(request.form)), 303)
    if done.new or done.before:
        flash(gettext("已确认收到 %(count)s 件。", count=done.new + done.before), "success")
    if done.refused:
        flash(gettext("有 %(count)s 件没有确认：状态已经变化，或不是贵单位的案件。", count=done.refused), "warning")
    return redirect(_address(forms.read_wanted(request.form)), 303)


@bp.get("/map")
@requires("agency_desk")
def show_map() -> str:
    """Where the cases lie. Without script the list is the map's content."""
    wanted, now = forms.read_wanted(request.args), utc_now()
    with transaction(house().sessions) as session:
        office = own_office(session)
        rows, has_more = queries.cases(
            session, office, current_user.id, wanted.from_start(), language=viewer_language(), now=now
        )
    return render_template(
        "officers/map.html",
        office=office,
        wanted=wanted,
        rows=rows,
        has_more=has_more,
        source=_address(wanted.from_start(), endpoint="officers.geojson"),
        address=lambda **changes: _address(wanted.from_start(), endpoint="officers.show_map", **changes),
        list_address=_address(wanted.from_start()),
        buckets=BUCKET_WORDS,
        case_state_words=CASE_STATE_WORDS,
        now=now,
    )


@bp.get("/cases.geojson")
@requires("agency_desk")
def geojson() -> Response:
    """The cases of a list as GeoJSON (RFC 7946), with their exact places; one that was taken back has none."""
    features = [
        {
            "type": "Feature",
            "id": str(row.case_id),
            "geometry": {"type": "Point", "coordinates": [row.lon, row.lat]} if row.lon is not None else None,
            "properties": _told(row)
            | {"kind_words": str(KIND_WORDS[row.kind]), "state_words": str(CASE_STATE_WORDS[row.state])},
        }
        for row in _all_rows()
    ]
    body = json.dumps({"type": "FeatureCollection", "notice": NOTICE, "features": features}, ensure_ascii=False)
    return _file(body, "application/geo+json", "geojson")


@bp.get("/cases.csv")
@requires("agency_desk")
def table() -> Response:
    """The cases of a list as a table no spreadsheet computes."""
    told = (_told(row) | {"lon": row.lon, "lat": row.lat} for row in _all_rows())
    return _file(sheets.as_csv(COLUMNS, ([one[name] for name in COLUMNS] for one in told)), "text/csv", "csv")


def _all_rows() -> list[Row]:
    with transaction(house().sessions) as session:
        return queries.all_cases(
            session,
            own_office(session),
            current_user.id,
            forms.read_wanted(request.args),
            language=viewer_language(),
            now=utc_now(),
        )


def _told(row: Row) -> dict[str, Any]:
    """A case as machines read it, but for its place."""
    times = {
        name: moment.isoformat(timespec="seconds") if (moment := getattr(row, name)) else None
        for name in ("deadline_at", "created_at", "delivered_at", "acknowledged_at", "answered_at", "closed_at")
    }
    late = row.due(now=utc_now())
    return times | {
        "code": row.code,
        "kind": row.kind,
        "severity": row.severity,
        "state": row.state,
        "role": row.role,
        "agency": row.agency_name or "",
        "water": row.water_name or "",
        "is_late": bool(late and late.standing == "late"),
        "assigned": "; ".join(row.assigned),
        "url": f"{house().settings.public_url}{url_for('office_case.show', case_id=row.case_id)}",
    }


def _file(body: str, media_type: str, ending: str) -> Response:
    response = Response(body, content_type=f"{media_type}; charset=utf-8")
    if ending == "csv" or request.args.get("save"):
        response.headers["Content-Disposition"] = f'attachment; filename="waterwatch-cases.{ending}"'
    return response


def _address(wanted: Wanted, *, endpoint: str = "officers.inbox", after: str | None = None, **changes: Any) -> str:
    """The address of a list; ``changes`` are what is asked for otherwise."""
    chosen: dict[str, Any] = {
        "show": wanted.bucket if wanted.bucket != "open" else None,
        "severity": wanted.severity,
        "whose": wanted.whose,
        "reach": wanted.reach if wanted.reach != "own" else None,
    }
    return url_for(endpoint, **(chosen | changes), after=after)
