"""The public pages: the map, a water, an incident, the search. Nothing here knows who reported what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask_babel import get_locale
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.advisories.queries import level_of_water
from waterwatch.escalation.queries import CaseView, cases_of_each
from waterwatch.incidents.queries import (
    IncidentView,
    code_merged_into,
    incident_by_code,
    incidents_of_water,
    life_of,
    timeline,
)
from waterwatch.incidents.rules import Event
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound
from waterwatch.mapping.queries import levelled_waters
from waterwatch.photos.views import serve_derivative
from waterwatch.portal import queries
from waterwatch.waters import queries as waters
from waterwatch.waters.search import search_names
from waterwatch.web.guards import public
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language

bp = Blueprint("portal", __name__, template_folder="templates")

LISTED_WATERS = 200
LISTED_TRIBUTARIES = 12
PUBLIC_SIZES_PX = (320, 1024)
PICTURE_CACHE = "public, max-age=60"  # what a moderator withdraws is gone from every cache within a minute


@dataclass(frozen=True)
class IncidentCard:
    """An incident on a water's page, with its departments and the positions of its pictures."""

    incident: IncidentView
    cases: list[CaseView]
    photos: list[queries.PublicPhoto]


@dataclass(frozen=True)
class Step:
    """One line of an incident's public life: an event of its own, or what a department did."""

    at: datetime
    code: str
    event: Event | None = None
    agency: str | None = None


@bp.get("/")
@public
def national() -> str:
    """The map of the country, three numbers, how to report; below it the coloured waters as a list."""
    with transaction(house().sessions) as session:
        numbers = queries.front_numbers(session)
        listed = levelled_waters(session, limit=LISTED_WATERS)
    return render_template("portal/national.html", numbers=numbers, waters=listed, name_of=name_in_language)


@bp.get("/w/<public_id>")
@public
def water(public_id: str) -> str:
    """A water: its level and why, its incidents with pictures, who is responsible and how they answered."""
    with transaction(house().sessions) as session:
        found = waters.water_by_public_id(session, public_id)
        if found is None:
            raise NotFound("water_not_found")
        above = waters.tributaries_of(session, found.water_body_id, limit=LISTED_TRIBUTARIES)
        related = [key for key in (found.water_body_id, found.parent_id, found.basin_id) if key]
        known = waters.names_of(session, [*related, *above])
        level = level_of_water(session, found.water_body_id)
        cards = _cards(session, incidents_of_water(session, found.water_body_id, limit=20))
        features = waters.feature_ids_of(session, found.water_body_id)
    return render_template(
        "portal/water.html",
        water=found,
        names=known.get(found.water_body_id, {}),
        name=name_in_language(known.get(found.water_body_id, {}), public_id),
        parent_name=name_in_language(known.get(found.parent_id, {}), "") if found.parent_id else "",
        basin_name=name_in_language(known.get(found.basin_id, {}), "") if found.basin_id else "",
        tributaries=[(address, name_in_language(known[key], address)) for key, address in above.items()],
        level=level,
        cards=cards,
        feature_ids=features,
    )


@bp.get("/i/<code>")
@public
def incident(code: str) -> str | WerkzeugResponse | tuple[str, int]:
    """One incident: what, where on the water, how serious, how it went, who was told and what they did.

    One that was merged leads to the other for good; one that was withdrawn says so and nothing else.
    """
    with transaction(house().sessions) as session:
        found = _incident(session, code)
        if found.state == "merged":
            return redirect(url_for("portal.incident", code=code_merged_into(session, found.incident_id)), code=301)
        if found.state == "retracted":
            return render_template("portal/retracted.html", code=found.code), 410
        names = waters.names_of(session, [found.water_body_id]).get(found.water_body_id, {})
        public_id = waters.public_ids_of(session, {found.water_body_id})[found.water_body_id]
        (card,) = _cards(session, [found])
        life, events = life_of(session, found.incident_id), timeline(session, found.incident_id)
        after = queries.photos_after(session, found.incident_id) if found.state == "verified_clean" else []
    return render_template(
        "portal/incident.html",
        card=card,
        public_id=public_id,
        name=name_in_language(names, public_id),
        life=life,
        steps=_steps(events, card.cases),
        after=after,
    )


@bp.get("/i/<code>/photo/<int:position>/<int:size_px>")
@public
def incident_photo(code: str, position: int, size_px: int) -> Response:
    """A picture of an incident by its place in the gallery: no identifier of a report or photo is ever public."""
    with transaction(house().sessions) as session:
        found = _incident(session, code)
        photos = queries.public_photos(session, [found.incident_id])[found.incident_id]
    return _picture(found, photos, position, size_px)


@bp.get("/i/<code>/after/<int:position>/<int:size_px>")
@public
def photo_after(code: str, position: int, size_px: int) -> Response:
    """A picture that shows the water clean again, likewise by its place."""
    with transaction(house().sessions) as session:
        found = _incident(session, code)
        photos = queries.photos_after(session, found.incident_id) if found.state == "verified_clean" else []
    return _picture(found, photos, position, size_px)


def _picture(found: IncidentView, photos: Sequence[queries.PublicPhoto], position: int, size_px: int) -> Response:
    if size_px not in PUBLIC_SIZES_PX or found.state in ("merged", "retracted"):
        raise NotFound("photo_not_found")
    photo = next((photo for photo in photos if photo.position == position), None)
    if photo is None:
        raise NotFound("photo_not_found")
    return serve_derivative(photo.photo_id, size_px, cache_control=PICTURE_CACHE)


@bp.get("/search")
@public
def search() -> str:
    """Waters by name in any language."""
    words = request.args.get("q", "").strip()[:60]
    with transaction(house().sessions) as session:
        found = search_names(session, words, limit=30) if words else []
    return render_template("portal/search.html", words_sought=words, found=found, name_of=name_in_language)


def name_in_language(names: dict[str, str], fallback: str) -> str:
    """A water's name in the viewer's language, else in Chinese, else in English, else its public id."""
    locale = str(get_locale() or "zh_Hans").replace("_", "-")
    return names.get(locale) or names.get("zh-Hans") or names.get("en") or fallback


def _steps(events: Sequence[Event], cases: Sequence[CaseView]) -> list[Step]:
    """What became of an incident and what the departments said, newest first."""
    steps = [Step(event.at, event.code, event=event) for event in events]
    steps += [Step(case.created_at, "forwarded", agency=case.agency_name) for case in cases if case.agency_name]
    steps += [
        Step(case.acknowledged_at, "acknowledged", agency=case.agency_name)
        for case in cases
        if case.acknowledged_at is not None
    ]
    return sorted(steps, key=lambda step: step.at)[::-1]


def _incident(session: Session, code: str) -> IncidentView:
    found = incident_by_code(session, code)
    if found is None:
        raise NotFound("incident_not_found")
    return found


def _cards(session: Session, found: Sequence[IncidentView]) -> list[IncidentCard]:
    """With two queries, however many incidents."""
    keys = [incident.incident_id for incident in found]
    cases, photos = cases_of_each(session, keys, language=viewer_language()), queries.public_photos(session, keys)
    return [IncidentCard(incident, cases[incident.incident_id], photos[incident.incident_id]) for incident in found]
