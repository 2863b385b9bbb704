"""Finding a place by what it is called: waters, areas, and a water in an area ("洪山区 南湖").

Where a name is shared by hundreds of waters, the areas it lies in tell them apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from waterwatch.agencies.queries import JurisdictionAt
from waterwatch.agencies.search import FoundArea, areas_at_each, search_areas, split_at_area
from waterwatch.kernel.spelling import PART, fold, search_keys
from waterwatch.waters.search import WORLD, Box, FoundWater, WaterPlaces, places_of, search_names

FOUND = 10
WORDS_SPLIT = 6  # words looked at for "area water"; a name of more is no such pair
AREAS_TRIED = 3  # areas of that name; 朝阳区 there are several
NAMESAKES = 50  # waters of that name, the nearest to the area, among which those in it are sought
RIVERS_AREAS = 3  # of a river through many provinces so many are named


@dataclass(frozen=True)
class PlacedWater:
    """A water found by name, with a place on it (degrees WGS-84), the box around it and the areas it lies in.

    ``areas``: the smallest that hold all of it, and those above them; of a river through several provinces these. A
    water that was retired has no place.
    """

    found: FoundWater
    lon: float | None = None
    lat: float | None = None
    bbox: Box | None = None
    areas: tuple[str, ...] = ()


def find_waters(
    session: Session,
    words: str,
    *,
    lang: str,
    near: tuple[float, float] | None = None,
    within: FoundArea | None = None,
    limit: int = FOUND,
) -> list[PlacedWater]:
    """Waters by name with their places; ``within`` an area only those that touch it, placed there. Three queries.

    Whether a water touches the area is seen at up to nine places of it inside the area's box.
    """
    if within is not None:
        west, south, east, north = within.bbox
        near = ((west + east) / 2, (south + north) / 2)
    found = search_names(session, words, limit=NAMESAKES if within else limit, near=near)
    box = within.bbox if within else WORLD
    places = places_of(session, [one.water_body_id for one in found], within=box)
    flat = [place for one in places.values() for place in one.samples]
    areas = iter(areas_at_each(session, flat, lang=lang))
    lying = {body_id: [next(areas) for _place in one.samples] for body_id, one in places.items()}
    placed = (
        _placed(one, places.get(one.water_body_id), lying.get(one.water_body_id, []), within.code if within else None)
        for one in found
    )
    return [one for one in placed if one is not None][:limit]


def find_places(
    session: Session, words: str, *, lang: str, near: tuple[float, float] | None = None
) -> list[PlacedWater | FoundArea]:
    """Waters and areas that may be meant, best first, at most ten.

    What is called exactly so comes first, waters before areas; then waters in an area, where the words can be read so;
    then what merely begins so or sounds alike.
    """
    waters = [one for one in find_waters(session, words, lang=lang, near=near) if one.bbox is not None]
    areas = search_areas(session, words)
    best: list[PlacedWater | FoundArea] = [one for one in waters if _is_called(one.found.names, words)]
    best += [one for one in areas if one.is_exact]
    if not best and (read := _waters_in_areas(session, words, lang)):
        return read[:FOUND]
    unique: dict[str, PlacedWater | FoundArea] = {}
    for one in (*best, *areas, *waters):
        unique.setdefault(_key(one), one)
    return list(unique.values())[:FOUND]


def common_areas(samples: Sequence[Sequence[JurisdictionAt]]) -> tuple[str, ...]:
    """The names of the smallest areas that hold all of the sampled places, then those above; each level once.

    Where not even one province holds them, up to three provinces in the order of the samples.
    """
    names: list[str] = []
    placed = [at for at in samples if at]  # the sea is nobody's
    for level in ("county", "prefecture", "province"):
        here = dict.fromkeys(one.name for at in placed for one in at if one.level == level and one.name)
        if len(here) == 1 and all(any(one.level == level for one in at) for at in placed):
            names += here
        elif level == "province":
            names += list(here)[:RIVERS_AREAS]
    return tuple(dict.fromkeys(names))


def _placed(
    found: FoundWater, places: WaterPlaces | None, lying: list[list[JurisdictionAt]], area: str | None
) -> PlacedWater | None:
    """None where an area was asked for and the water does not touch it."""
    samples = list(zip(places.samples, lying, strict=True)) if places else []
    if area is not None:
        samples = [one for one in samples if any(at.code == area for at in one[1])]
    if not samples or places is None:
        return None if area is not None else PlacedWater(found)
    (lon, lat), _areas = samples[len(samples) // 2]
    return PlacedWater(found, lon, lat, places.bbox, common_areas([at for _place, at in samples]))


def _waters_in_areas(session: Session, words: str, lang: str) -> list[PlacedWater | FoundArea]:
    known: list[PlacedWater | FoundArea] = []
    for area_words, water_words in _pairs(session, words):
        exact = [one for one in search_areas(session, area_words, limit=AREAS_TRIED) if one.is_exact]
        found = [one for area in exact for one in find_waters(session, water_words, lang=lang, within=area)]
        if found:
            return [*found]
        known = known or [*exact]
    return known  # the area at least


def _pairs(session: Session, words: str) -> Iterator[tuple[str, str]]:
    """Ways to read the words as an area and a water, the likeliest first: "武汉 东湖", "武汉东湖", "东湖 武汉"."""
    parts = words.replace("，", " ").replace(",", " ").replace("、", " ").split()
    if len(parts) == 1 and (pair := split_at_area(session, parts[0])) is not None:
        yield pair
    if 1 < len(parts) <= WORDS_SPLIT:
        splits = [(" ".join(parts[:at]), " ".join(parts[at:])) for at in range(len(parts) - 1, 0, -1)]
        yield from splits
        yield from ((after, before) for before, after in splits)


def _is_called(names: Mapping[str, str], words: str) -> bool:
    return search_keys(names.values()).get(fold(words), PART) < PART


def _key(one: PlacedWater | FoundArea) -> str:
    return one.code if isinstance(one, FoundArea) else one.found.public_id
