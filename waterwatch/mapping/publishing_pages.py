"""Which places have pages, which of them show something else than yesterday, and their making.

A page is made again exactly when the digest of what it shows is another. A run makes pages for so long and leaves the
rest for the next one, so that a change of level never waits behind ten thousand pages. First go pages of places that
are no more; then come, however long it takes, those of the places where something was withdrawn; then the large ones.
One that cannot be made stops no other; where something was withdrawn it goes, for what it holds must not stay.
"""

import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from psycopg.errors import QueryCanceled
from shapely import line_merge, union_all
from shapely.geometry import mapping, shape
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.log import get_logger
from waterwatch.mapping import history, pages, snapshot
from waterwatch.mapping import publishing_queries as queries
from waterwatch.mapping.publishing_queries import LitWater, Named, PlaceView
from waterwatch.mapping.publishing_run import Run, State
from waterwatch.mapping.queries import LevelledWater
from waterwatch.mapping.rules import digest_of

PAGES_VERSION = 3  # another number for another look: every page is made anew
PAGES_FOR_S = 15.0
PAST = timedelta(days=365)
CHINA_BOX = (73.5, 18.0, 135.1, 53.6)
WHOLE_WATER = 500  # so many of one water's reaches are drawn at most
SLACK_DEG = 0.02
PREFIX = "maps/"
log = get_logger(__name__)


@dataclass
class Place:
    """A page to be: what lies on it, and what it is named after."""

    key: str
    named: Named | None = None
    waters: list[LitWater] = field(default_factory=list)
    basin: str | None = None

    def digest(self, ground: str) -> str:
        """Of everything the page shows."""
        states = sorted(water.state for water in self.waters)
        names = sorted(self.named.names.items()) if self.named is not None else []
        shown = (PAGES_VERSION, self.key, names, ground, states)
        return digest_of(repr(shown).encode())

    @property
    def rank(self) -> int:
        """Which pages come first: the country's, the provinces', the basins', the waters'."""
        return ("national", "area", "basin", "water").index(self.key.partition("-")[0])


def write(run: Run, state: State) -> bool:
    """Make the pages that changed and remove those of waters long clean; whether none was left for later.

    What was withdrawn is on no page any more when this ends, and is forgotten then: a run that stops before leaves it
    to the next. Raises :class:`Unavailable` and the database's errors where it is not the page that is at fault.
    """
    withdrawn = state.changes.withdrawn_from
    with transaction(run.context.sessions) as session:
        places = _places(session, run, withdrawn)
        urgent = {f"{PREFIX}{key}" for key in queries.places_of(session, withdrawn)}
    ground = run.tiles_ground or ""
    wanted = {f"{PREFIX}{key}": place for key, place in places.items()}
    digests = {key: place.digest(ground if place.rank < 3 else str(bool(ground))) for key, place in wanted.items()}
    began = time.monotonic()
    _remove(run, set(wanted), urgent)
    # Whatever their digests say: a publisher that was killed may have written a page and not remembered it.
    for key in sorted(urgent & wanted.keys()):
        if not _made(run, wanted[key], digests[key]):
            _take_away(run, [key])
    run.forget(state)
    changed = [key for key in wanted.keys() - urgent if run.known.get(key, ("", ""))[1] != digests[key]]
    for number, key in enumerate(sorted(changed, key=lambda key: (wanted[key].rank, key))):
        if number and time.monotonic() - began > PAGES_FOR_S:
            return False
        _made(run, wanted[key], digests[key])
    return True


def _made(run: Run, place: Place, digest: str) -> bool:
    """Make a page and remember it; whether it could be made. One that could not is tried again by the next run."""
    key = f"{PREFIX}{place.key}"
    try:
        _make(run, place)
    except (Unavailable, InterfaceError):
        raise
    except Exception as trouble:
        if isinstance(trouble, OperationalError) and not isinstance(trouble.orig, QueryCanceled):
            raise  # the database does not answer: no other page can be made either
        log.error("page.not_made", place=place.key, error=type(trouble).__name__)
        return False
    run.keep({key: (f"{key}.html", digest)})
    return True


def _places(session: Session, run: Run, withdrawn: Collection[uuid.UUID]) -> dict[str, Place]:
    """Every place that has a page, by its key. Where what was ``withdrawn`` lies is looked up too."""
    lit = queries.lit_waters(session, since=run.at - PAST, also=withdrawn)
    places = {"national": Place("national", waters=lit)}
    for province in queries.provinces(session):
        places[f"area-{province.key}"] = Place(f"area-{province.key}", province)
    by_basin: dict[str, list[LitWater]] = defaultdict(list)
    by_water: dict[str, list[LitWater]] = defaultdict(list)
    for water in lit:
        by_water[water.public_id].append(water)
        if water.basin:
            by_basin[water.basin].append(water)
        for code in water.area_codes:
            if f"area-{code}" in places:
                places[f"area-{code}"].waters.append(water)
    basins = queries.basins_named(session, by_basin)
    named = queries.waters_named(session, {*basins.values(), *by_water})
    for basin, public_id in basins.items():
        if public_id in named:
            key = f"basin-{public_id}"
            places[key] = Place(key, named[public_id], by_basin[basin], basin)
    for public_id, waters in by_water.items():
        if public_id in named and any(water.is_own for water in waters):
            key = f"water-{public_id}"
            places[key] = Place(key, named[public_id], waters)
    return places


def _make(run: Run, place: Place) -> None:
    with transaction(run.context.sessions) as session:
        view = view_of(session, place)
    settings = run.context.settings
    links = settings.public_url if settings.publish_url is not None else ""
    at = f"{run.at.astimezone(history.CHINA):%Y-%m-%d %H:%M}"
    run.shelf.put(f"{PREFIX}{place.key}.png", snapshot.place_png(view, time=at))
    page = pages.place_page(view, vendor="../vendor", links=links, time=at)
    run.shelf.put(f"{PREFIX}{place.key}.html", page.encode())


def view_of(session: Session, place: Place) -> PlaceView:
    """What the page shows, worst first and bounded."""
    bounds = _bounds(session, place)
    worst = sorted(place.waters, key=lambda water: (-water.level, water.feature_id))
    coloured = [water for water in worst if water.level]
    drawn = {water.id: water.level for water in coloured[: queries.DRAWN_AT_MOST]}
    reached = sorted((one for one in place.waters if one.near and not one.level), key=lambda one: -one.near)
    near = {water.id: water.near for water in reached[: queries.DRAWN_AT_MOST]}
    if place.rank == 3:  # the whole water, so that one sees which part of it is coloured
        for feature_id in queries.features_of(session, place.waters[0].body_id, limit=WHOLE_WATER):
            drawn.setdefault(feature_id, 0)
    zoom, tolerance_deg = {0: (4, 0.01), 1: (6, 0.002), 2: (6, 0.004), 3: (9, 0.0005)}[place.rank]
    return PlaceView(
        key=place.key,
        names=place.named.names if place.named is not None else {},
        bounds=bounds,
        background=queries.ground_of(session, bounds, zoom=zoom),
        waters=queries.drawn_waters(session, drawn, tolerance_deg=tolerance_deg),
        markers=queries.markers_on(session, [water.id for water in place.waters if water.incidents]),
        near=joined(queries.drawn_waters(session, near, tolerance_deg=tolerance_deg)),
        coloured=len(coloured),
        reached=len(reached),
        incidents=sum(water.incidents for water in place.waters),
    )


def joined(waters: Sequence[LevelledWater]) -> list[LevelledWater]:
    """The reaches of one water and level as one: dashes that begin anew with every short reach leave no gap."""
    rivers: dict[tuple[str, int], list[LevelledWater]] = defaultdict(list)
    for water in waters:
        if "LineString" in water.geometry["type"]:
            rivers[water.public_id, water.level].append(water)
    lines = {
        key: replace(parts[0], geometry=mapping(line_merge(union_all([shape(part.geometry) for part in parts]))))
        for key, parts in rivers.items()
    }
    whole = [water for water in waters if "LineString" not in water.geometry["type"]]
    return sorted([*lines.values(), *whole], key=lambda water: -water.level)


def _bounds(session: Session, place: Place) -> tuple[float, float, float, float]:
    box = CHINA_BOX if place.named is None else place.named.bounds
    if place.basin is not None:
        box = queries.basin_box(session, place.basin) or box
    west, south, east, north = box
    return west - SLACK_DEG, south - SLACK_DEG, east + SLACK_DEG, north + SLACK_DEG


def _remove(run: Run, wanted: set[str], urgent: set[str]) -> None:
    """Pages of places that are no more, or of waters whose last colour is a year old; urgent ones, known or not."""
    known = {key for key in run.known if key.startswith(PREFIX)}
    if gone := sorted((known | urgent) - wanted):
        _take_away(run, gone)


def _take_away(run: Run, keys: list[str]) -> None:
    run.shelf.remove(list(_files(keys)))
    run.keep({}, gone=[key for key in keys if key in run.known])


def _files(keys: list[str]) -> Iterator[str]:
    for key in keys:
        yield f"{key}.html"
        yield f"{key}.png"
