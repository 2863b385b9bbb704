"""What each public page tells, as data: GeoJSON and CSV of a water, an area, the country, one incident.

Kept by caches for a minute at most: what a moderator withdraws is gone from all of them by then.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.atlas import areas
from waterwatch.atlas import expected as warnings
from waterwatch.atlas import incidents as atlas
from waterwatch.atlas.expected import ExpectedPart
from waterwatch.atlas.incidents import PublicIncident
from waterwatch.incidents.queries import code_merged_into, incident_by_code
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Gone, NotFound
from waterwatch.opendata import expected, exports
from waterwatch.opendata.views import keep_nothing, refuse_bad_token
from waterwatch.waters.queries import WaterView, water_by_public_id
from waterwatch.web.errors import ask_nobody_who_is_signed_in
from waterwatch.web.guards import public
from waterwatch.web.house import house

bp = Blueprint("opendata_data", __name__, url_prefix="/api/v1")
bp.url_value_preprocessor(lambda _endpoint, _values: ask_nobody_who_is_signed_in())
bp.before_request(refuse_bad_token)
bp.after_request(keep_nothing)

MINUTE = "public, max-age=60"
GEOJSON, CSV = "application/geo+json", "text/csv"


@bp.get("/incidents.geojson", defaults={"form": "geojson"})
@bp.get("/incidents.csv", defaults={"form": "csv"})
@public
def country(form: str) -> Response:
    """Every open incident."""
    with transaction(house().sessions) as session:
        found = atlas.of_country(session)
    return _answer(found, form, {"what": "country"}, "incidents")


@bp.get("/incidents/<code>.geojson", defaults={"form": "geojson"})
@bp.get("/incidents/<code>.csv", defaults={"form": "csv"})
@public
def incident(code: str, form: str) -> Response | WerkzeugResponse:
    """One incident; one that was merged leads to the other, one that was withdrawn is gone."""
    with transaction(house().sessions) as session:
        found = atlas.by_code(session, code)
        if found is None:
            return redirect(url_for("opendata_data.incident", code=where_it_went(session, code), form=form), code=301)
    return _answer([found], form, {"what": "incident", "code": found.code}, found.code)


@bp.get("/incidents/<code>/expected.geojson", defaults={"form": "geojson"})
@bp.get("/incidents/<code>/expected.csv", defaults={"form": "csv"})
@public
def below_incident(code: str, form: str) -> Response | WerkzeugResponse:
    """What may come down the river from an incident, reach by reach; nothing once it has ended."""
    with transaction(house().sessions) as session:
        if atlas.by_code(session, code) is None:
            into = where_it_went(session, code)
            return redirect(url_for("opendata_data.below_incident", code=into, form=form), code=301)
        found = warnings.parts_of_incident(session, code, now=utc_now())
    return _expected(found, form, {"what": "expected_below_incident", "code": code.upper()}, code.upper())


@bp.get("/waters/<public_id>/expected.geojson", defaults={"form": "geojson"})
@bp.get("/waters/<public_id>/expected.csv", defaults={"form": "csv"})
@public
def coming_to_water(public_id: str, form: str) -> Response:
    """What may come to a water from upstream, reach by reach."""
    with transaction(house().sessions) as session:
        key = known_water(session, public_id).water_body_id
        found = warnings.parts_of_water(session, key, now=utc_now())
    return _expected(found, form, {"what": "expected_of_water", "water": public_id}, public_id)


@bp.get("/waters/<public_id>/incidents.geojson", defaults={"form": "geojson"})
@bp.get("/waters/<public_id>/incidents.csv", defaults={"form": "csv"})
@public
def water(public_id: str, form: str) -> Response:
    """Every incident of a water, also those that have ended."""
    with transaction(house().sessions) as session:
        found = atlas.of_water(session, known_water(session, public_id).water_body_id)
    return _answer(found, form, {"what": "water", "water": public_id}, public_id)


@bp.get("/areas/<int(fixed_digits=6):code>/incidents.geojson", defaults={"form": "geojson"})
@bp.get("/areas/<int(fixed_digits=6):code>/incidents.csv", defaults={"form": "csv"})
@public
def area(code: int, form: str) -> Response:
    """The open incidents of an administrative area (GB/T 2260 code)."""
    with transaction(house().sessions) as session:
        known = known_area(session, f"{code:06}")
        found = atlas.of_area(session, known.code)
    about = {"what": "area", "code": known.code, "names": known.names}
    return _answer(found, form, about, f"area-{known.code}")


def known_water(session: Session, public_id: str) -> WaterView:
    """A water by its page address. Raises :class:`NotFound`."""
    found = water_by_public_id(session, public_id)
    if found is None:
        raise NotFound("water_not_found")
    return found


def known_area(session: Session, code: str) -> areas.Area:
    """An area by its code. Raises :class:`NotFound`."""
    found = areas.area_by_code(session, code)
    if found is None:
        raise NotFound("area_not_found")
    return found


def public_answer(body: str, media_type: str) -> Response:
    """An answer for everybody: kept a minute, readable by any page, sent only where it has changed."""
    response = Response(body, content_type=media_type)
    response.headers["Cache-Control"] = MINUTE
    response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.add_etag()
    response.make_conditional(request)  # changes it in place
    return response


def where_it_went(session: Session, code: str) -> str:
    """The code of the incident another was merged into. Raises :class:`Gone` for one that was withdrawn."""
    gone = incident_by_code(session, code)
    if gone is None:
        raise NotFound("incident_not_found")
    into = code_merged_into(session, gone.incident_id)
    if into is None:
        raise Gone("incident_withdrawn")
    return into


def _expected(found: Sequence[ExpectedPart], form: str, about: Mapping[str, Any], name: str) -> Response:
    if form == "geojson":
        return public_answer(expected.as_geojson(found, about), GEOJSON)
    return _table(expected.as_csv(found), f"expected-{name}")


def _answer(found: Sequence[PublicIncident], form: str, about: Mapping[str, Any], name: str) -> Response:
    public_url = house().settings.public_url.rstrip("/")
    if form == "geojson":
        return public_answer(exports.as_geojson(found, public_url, about), GEOJSON)
    return _table(exports.as_csv(found, public_url), name)


def _table(content: str, name: str) -> Response:
    response = public_answer(content, f"{CSV}; charset=utf-8; header=present")
    response.headers["Content-Disposition"] = f'attachment; filename="waterwatch-{name}.csv"'
    return response
