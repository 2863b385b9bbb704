"""The pages of places: a water and an administrative area. How much happened there never makes them ask more."""

from flask import Blueprint, render_template
from sqlalchemy.orm import Session

from waterwatch.accountability import showing as figures_shown
from waterwatch.accountability.queries import area_history as figures_of_area
from waterwatch.advisories.queries import level_of_water
from waterwatch.atlas import areas, expected, surroundings
from waterwatch.atlas.addresses import snapshot_of
from waterwatch.incidents.queries import incidents_of_water
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound
from waterwatch.mapping.history import area_history, water_history
from waterwatch.messaging.webpush import public_key
from waterwatch.portal import linked
from waterwatch.portal.showing import DataLinks, chart_of, eventful, name_in_language, public_url
from waterwatch.portal.views import bp as portal
from waterwatch.portal.views import cards_of
from waterwatch.waters import queries as waters
from waterwatch.waters.queries import WaterView
from waterwatch.waters.search import places_of
from waterwatch.web.guards import public
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language
from waterwatch.web.words import SEVERITY_WORDS

INCIDENTS_SHOWN = 20
BEFORE_AND_AFTER_SHOWN = 2
bp: Blueprint = portal  # one room, two files: an address of these pages is portal.water, portal.area


@bp.get("/w/<public_id>")
@public
def water(public_id: str) -> str:
    """A water: its level and why, its past, who is responsible, the waters around it."""
    with transaction(house().sessions) as session:
        found = waters.water_by_public_id(session, public_id)
        if found is None:
            raise NotFound("water_not_found")
        known = waters.names_of(session, [key for key in (found.water_body_id, found.basin_id) if key])
        names = known.get(found.water_body_id, {})
        level = level_of_water(session, found.water_body_id)
        shown = _shown_of_water(session, found)
    name = name_in_language(names, public_id)
    level_words = str(SEVERITY_WORDS[level]) if level else None
    settings = house().settings
    return render_template(
        "portal/water.html",
        water=found,
        names=names,
        name=name,
        basin_name=name_in_language(known.get(found.basin_id, {}), "") if found.basin_id else "",
        level=level,
        push_key=public_key(settings) if settings.push_hosts else None,
        name_of=name_in_language,
        linked=linked.of_water(found, names, name, level_words, public_url()),
        data=_data_of(f"/api/v1/waters/{public_id}/incidents", f"/feeds/water/{public_id}.atom"),
        **shown,
    )


def _shown_of_water(session: Session, found: WaterView) -> dict[str, object]:
    """What lies on the water and around it."""
    key, lang = found.water_body_id, viewer_language()
    samples = places_of(session, [key]).get(key)
    history = water_history(session, key, now=utc_now())
    cards = cards_of(session, incidents_of_water(session, key, limit=INCIDENTS_SHOWN))
    return {
        "cards": cards,
        "cleaned": [card for card in cards if card.after and card.photos][:BEFORE_AND_AFTER_SHOWN],
        "feature_ids": waters.feature_ids_of(session, key),
        "coming": expected.of_water(session, key, now=utc_now()),
        "bbox": samples.bbox if samples else (),
        "weeks": eventful(history),
        "chart": chart_of(history),
        "around": surroundings.waters_around(session, key),
        "responsible": surroundings.responsible_for(session, key, samples.samples if samples else (), lang=lang),
        "chiefs": surroundings.chiefs_of(session, key, lang=lang),
        "own_snapshot": snapshot_of(session, [f"water-{found.public_id}"]),
        "snapshot": snapshot_of(session, [f"water-{found.public_id}", "national"]),
    }


@bp.get("/a/<int(fixed_digits=6):code>")
@public
def area(code: int) -> str:
    """An administrative area by its GB/T 2260 code: its waters by level, its parts, how its departments answered."""
    with transaction(house().sessions) as session:
        found = areas.area_by_code(session, f"{code:06}")
        if found is None:
            raise NotFound("area_not_found")
        history = area_history(session, found.code, now=utc_now())
        shown = {
            "numbers": areas.numbers_of(session, found.code),
            "waters": areas.waters_there(session, found.code),
            "parts": areas.parts_of(session, found.code),
            "coming": expected.in_area(session, found.code, now=utc_now()),
            "answers": figures_of_area(session, found.code, limit=1),
            "snapshot": snapshot_of(session, [*(f"area-{one}" for one in _codes(found)), "national"]),
        }
    name = name_in_language(found.names, found.code)
    above = [(one, name_in_language(names, one)) for one, names in found.above]
    return render_template(
        "portal/area.html",
        area=found,
        name=name,
        above=above,
        weeks=eventful(history),
        chart=chart_of(history),
        name_of=name_in_language,
        show=figures_shown,
        linked=linked.of_area(found, name, above[0][1] if above else None, public_url()),
        data=_data_of(f"/api/v1/areas/{found.code}/incidents", f"/feeds/area/{found.code}.atom"),
        **shown,
    )


def _codes(found: areas.Area) -> list[str]:
    """An area and what it belongs to: provinces alone have pictures of their own."""
    return [found.code, *(code for code, _names in found.above)]


def _data_of(path: str, feed: str) -> DataLinks:
    return DataLinks(f"{path}.geojson", f"{path}.csv", feed)
