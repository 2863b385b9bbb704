"""The public pages: the map, an incident, the search, pictures. Nothing here knows who reported what.

A water's and an area's pages are in ``place_views``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask_babel import gettext
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as WerkzeugResponse

from waterwatch.agencies.search import search_areas
from waterwatch.atlas import areas, expected, incidents
from waterwatch.atlas.addresses import snapshot_of
from waterwatch.casework.queries import AnswerPhoto, AnswerView, public_answers
from waterwatch.escalation.public_queries import CaseView, Round, cases_of_each
from waterwatch.incidents.queries import (
    IncidentView,
    code_merged_into,
    incident_by_code,
    life_of,
    timeline,
)
from waterwatch.incidents.rules import Event
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound
from waterwatch.mapping.queries import levelled_waters
from waterwatch.photos.views import serve_derivative
from waterwatch.portal import linked, queries
from waterwatch.portal.showing import (
    arrival_words,
    km_words,
    magnitudes_words,
    name_in_language,
    passage_words,
    public_url,
    published_url,
    unit_peak_words,
)
from waterwatch.waters.search import search_names
from waterwatch.web.guards import public
from waterwatch.web.house import house
from waterwatch.web.language import STATED, state_language, viewer_language
from waterwatch.web.words import KIND_WORDS

bp = Blueprint("portal", __name__, template_folder="templates")
for shown in (published_url, arrival_words, km_words, passage_words, unit_peak_words, magnitudes_words):
    bp.app_template_global(shown.__name__)(shown)

LISTED_WATERS = 200
FOUND_AREAS = 6
PUBLIC_SIZES_PX = (320, 1024)
PICTURE_CACHE = "public, max-age=60"  # what a moderator withdraws is gone from every cache within a minute


@dataclass(frozen=True)
class IncidentCard:
    """An incident on a page: its departments, what they said, the positions of its pictures and of those that show it
    clean."""

    incident: IncidentView
    cases: list[CaseView]
    photos: list[queries.PublicPhoto]
    after: list[queries.PublicPhoto]
    answers: list[AnswerView]
    now: datetime

    @property
    def has_unread(self) -> bool:
        """Whether a department has answered, and nobody may read it yet."""
        is_answered = any(case.answered_at is not None and case.state != "withdrawn" for case in self.cases)
        return is_answered and not self.answers


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
    """The map of the country, three numbers, how to report; below it the coloured waters and the provinces.

    A link's ``?lang=`` holds for this visit and is not remembered.
    """
    state_language(request.args.get(STATED, ""))
    with transaction(house().sessions) as session:
        numbers = queries.front_numbers(session)
        listed = levelled_waters(session, limit=LISTED_WATERS)
        provinces = areas.provinces(session)
        snapshot = snapshot_of(session, ["national"])
    data = [("application/geo+json", "/api/v1/incidents.geojson"), ("text/csv", "/api/v1/incidents.csv")]
    return render_template(
        "portal/national.html",
        numbers=numbers,
        waters=listed,
        provinces=provinces,
        snapshot=snapshot,
        name_of=name_in_language,
        linked=linked.of_data(gettext("全国的水污染事件"), data, public_url()),
    )


@bp.get("/i/<code>")
@public
def incident(code: str) -> str | WerkzeugResponse | tuple[str, int]:
    """One incident: what, where on the water, how serious, how it went, who was told and what they did.

    One that was merged leads to the other for good; one that was withdrawn says so and nothing else.
    """
    with transaction(house().sessions) as session:
        found = known_incident(session, code)
        if found.state == "merged":
            return redirect(url_for("portal.incident", code=code_merged_into(session, found.incident_id)), code=301)
        if found.state == "retracted":
            return render_template("portal/retracted.html", code=found.code), 410
        told = incidents.by_code(session, found.code)
        assert told is not None, "it was found in this transaction"
        (card,) = cards_of(session, [found])
        life, events = life_of(session, found.incident_id), timeline(session, found.incident_id)
        below = expected.of_incident(session, found.incident_id, now=card.now)
        snapshot = snapshot_of(session, [f"water-{told.water}", "national"])
    name = name_in_language(told.names, told.water)
    headline = gettext("%(water)s：%(kind)s", water=name, kind=KIND_WORDS[found.kind])
    return render_template(
        "portal/incident.html",
        card=card,
        public_id=told.water,
        name=name,
        headline=headline,
        life=life,
        steps=_steps(events, card.cases),
        below=below,
        name_of=name_in_language,
        snapshot=snapshot,
        linked=linked.of_incident(told, name, headline, public_url()),
    )


@bp.get("/i/<code>/photo/<int:position>/<int:size_px>")
@public
def incident_photo(code: str, position: int, size_px: int) -> Response:
    """A picture of an incident by its place in the gallery: no identifier of a report or photo is ever public."""
    with transaction(house().sessions) as session:
        found = known_incident(session, code)
        photos = queries.public_photos(session, [found.incident_id])[found.incident_id]
    return _picture(found, photos, position, size_px)


@bp.get("/i/<code>/after/<int:position>/<int:size_px>")
@public
def photo_after(code: str, position: int, size_px: int) -> Response:
    """A picture that shows the water clean again, likewise by its place."""
    with transaction(house().sessions) as session:
        found = known_incident(session, code)
        is_clean = found.state == "verified_clean"
        photos = queries.photos_after(session, [found.incident_id])[found.incident_id] if is_clean else []
    return _picture(found, photos, position, size_px)


@bp.get("/i/<code>/answer/<int:number>/<int:position>/<int:size_px>")
@public
def answer_photo(code: str, number: int, position: int, size_px: int) -> Response:
    """A picture of a department's answer, by the place of both: of what is public alone."""
    with transaction(house().sessions) as session:
        found = known_incident(session, code)
        answers = public_answers(session, [found.incident_id])[found.incident_id]
    photos = answers[number - 1].photos if 0 < number <= len(answers) else ()
    return _picture(found, photos, position, size_px)


def _picture(
    found: IncidentView, photos: Sequence[queries.PublicPhoto | AnswerPhoto], position: int, size_px: int
) -> Response:
    if size_px not in PUBLIC_SIZES_PX or found.state in ("merged", "retracted"):
        raise NotFound("photo_not_found")
    photo = next((photo for photo in photos if photo.position == position), None)
    if photo is None:
        raise NotFound("photo_not_found")
    return serve_derivative(photo.photo_id, size_px, cache_control=PICTURE_CACHE)


@bp.get("/search")
@public
def search() -> str:
    """Areas and waters by name in any language."""
    words = request.args.get("q", "").strip()[:60]
    with transaction(house().sessions) as session:
        found = search_names(session, words, limit=30) if words else []
        places = search_areas(session, words, limit=FOUND_AREAS) if words else []
    return render_template(
        "portal/search.html", words_sought=words, found=found, places=places, name_of=name_in_language
    )


def known_incident(session: Session, code: str) -> IncidentView:
    """An incident by its code, whatever became of it. Raises :class:`NotFound`."""
    found = incident_by_code(session, code)
    if found is None:
        raise NotFound("incident_not_found")
    return found


def cards_of(session: Session, found: Sequence[IncidentView]) -> list[IncidentCard]:
    """With five queries, however many incidents."""
    keys = [one.incident_id for one in found]
    clean = [one.incident_id for one in found if one.state == "verified_clean"]
    cases, photos = cases_of_each(session, keys, language=viewer_language()), queries.public_photos(session, keys)
    after, now = queries.photos_after(session, clean), utc_now()
    answers = public_answers(session, keys, language=viewer_language())
    return [
        IncidentCard(
            one,
            cases[one.incident_id],
            photos[one.incident_id],
            after.get(one.incident_id, []),
            answers[one.incident_id],
            now,
        )
        for one in found
    ]


def _steps(events: Sequence[Event], cases: Sequence[CaseView]) -> list[Step]:
    """What became of an incident and what the departments said, newest first."""
    steps = [Step(event.at, event.code, event=event) for event in events]
    for case in cases:
        if case.agency_name:
            code = "superior_told" if case.role == "supervising" else "forwarded"
            steps.append(Step(case.created_at, code, agency=case.agency_name))
        said = _said(case)
        if case.state == "refused_not_ours":  # whoever refuses has received it as well: not told beside the refusal
            said[case.state_since] = "refused"
        for each in case.rounds:
            said |= _said(each) | {each.reopened_at: "told_again"}
        steps += [Step(at, code, agency=case.agency_name) for at, code in said.items() if at is not None]
    return sorted(steps, key=lambda step: step.at)[::-1]


def _said(case: CaseView | Round) -> dict[datetime | None, str]:
    """Who says at once that it is done has also received and answered it: told once, by what says most."""
    return {
        case.acknowledged_at: "acknowledged",
        case.answered_at: "answered",
        case.closed_at: "claimed_done",
        case.escalated_at: "overdue",
    }
