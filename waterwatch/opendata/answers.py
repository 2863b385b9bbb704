"""What programs are told, as models: the same ones write an answer and describe it in the OpenAPI document."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from waterwatch.agencies.search import FoundArea
from waterwatch.opendata.forms import CODE, PHOTO_ID, Strict
from waterwatch.opendata.queries import PlacedWater


class PhotoOut(Strict):
    """A photo that lies safe. A report names it by ``id`` before ``expires_at``, else it is deleted."""

    id: Annotated[str, Field(pattern=PHOTO_ID)]
    bytes: Annotated[int, Field(ge=1)]
    expires_at: datetime


class ReceiptOut(Strict):
    """A report that was received. Whoever holds ``follow_url`` sees its photos and may withdraw it."""

    code: Annotated[str, Field(pattern=CODE, description="To be read over the telephone; it opens nothing.")]
    follow_url: str
    token: str


class StepOut(Strict):
    """One line of the report's way."""

    step: str
    standing: Literal["done", "current", "waiting", "stopped"]
    at: datetime | None
    agency: str | None


class FollowedOut(Strict):
    """Where a report stands."""

    code: str
    state: str
    kind: str
    received_at: datetime
    can_withdraw: bool
    can_correct: bool
    version: Annotated[int, Field(ge=1, description="One more with each correction.")]
    refusal_code: str | None
    refusal_words: str | None
    incident_code: str | None
    severity: Annotated[int | None, Field(ge=1, le=4, description="1 blue to 4 red.")]
    steps: list[StepOut]


class CaseAnswerOut(Strict):
    """What became of what an agency said, and how its case stands now."""

    answer_id: Annotated[uuid.UUID | None, Field(description="Null where it was only acknowledged.")]
    answer_state: Annotated[str | None, Field(description="`held` until we have read it, `published`, `withheld`.")]
    case_state: str
    acknowledged_at: datetime | None
    due_at: Annotated[datetime | None, Field(description="Until when the agency is to do what it owes next.")]


class WaterOut(Strict):
    """A water near a place; ``lon``, ``lat`` is its nearest point, WGS-84."""

    water_feature_id: uuid.UUID
    water: str
    name: str
    kind: str
    distance_m: Annotated[int, Field(ge=0)]
    lon: float
    lat: float


BoxOut = Annotated[
    list[float], Field(min_length=4, max_length=4, description="West, south, east, north, degrees WGS-84.")
]
AreasOut = Annotated[
    list[str],
    Field(description="County, prefecture, province that hold it; of a river through several provinces up to three."),
]


class FoundWaterOut(Strict):
    """A water found by name. ``lon``, ``lat`` is a point on it, for finding it on a map: a river is no place."""

    water: str
    name: str
    kind: str
    flows_into: str | None
    lon: float | None
    lat: float | None
    bbox: BoxOut | None
    areas: AreasOut


class FoundPlaceOut(Strict):
    """A water or an administrative area that may be meant; ``water`` is there for waters alone."""

    what: Literal["water", "area"]
    name: str
    kind: Annotated[str, Field(description="Of a water its kind; of an area `province`, `prefecture` or `county`.")]
    water: str | None
    areas: AreasOut
    lon: float
    lat: float
    bbox: BoxOut


class IncidentOut(Strict):
    """An open incident; ``lon``, ``lat`` is its public point, on the water, WGS-84."""

    code: str
    kind: str
    severity: Annotated[int, Field(ge=1, le=4)]
    water: str
    water_feature_id: uuid.UUID
    opened_at: datetime
    distance_m: Annotated[int, Field(ge=0)]
    lon: float
    lat: float


class PointOut(Strict):
    """A place on the water: longitude, latitude, degrees WGS-84, five digits."""

    type: Literal["Point"]
    coordinates: Annotated[list[float], Field(min_length=2, max_length=2)]


class IncidentFactsOut(Strict):
    """What is given out of an incident; the columns of the CSV are these, then ``lon`` and ``lat``."""

    code: str
    kind: str
    severity: Annotated[int, Field(ge=1, le=4, description="1 blue to 4 red; of one that has ended its last.")]
    level: Annotated[
        Literal["blue", "yellow", "orange", "red"] | None, Field(description="Null once the incident has ended.")
    ]
    state: str
    answer: Literal["none", "forwarded", "acknowledged", "answered", "resolved_claimed"]
    water: Annotated[str, Field(description="Its page is `/w/<water>`.")]
    name_zh_hans: str | None
    name_zh_hant: str | None
    name_en: str | None
    opened_at: datetime
    last_confirmed_at: datetime
    closed_at: datetime | None
    url: str


class IncidentFeatureOut(Strict):
    """One incident as GeoJSON."""

    type: Literal["Feature"]
    id: str
    geometry: PointOut
    properties: IncidentFactsOut


class IncidentsOut(Strict):
    """A GeoJSON FeatureCollection (RFC 7946), worst first; of one answer at most 20,000."""

    type: Literal["FeatureCollection"]
    notice: str
    about: dict[str, Any]
    features: list[IncidentFeatureOut]


class ExpectedFactsOut(Strict):
    """What an early warning says of one reach or lake; the columns of the CSV are these. Reckoned, with its error.

    `earliest_at` without `probable_at`: not before then. Neither: only the distance is known.
    """

    incident: str
    kind: str
    level: Annotated[
        Literal["blue", "yellow", "orange"], Field(description="One colour below the incident, at most orange.")
    ]
    feature_id: int
    water: Annotated[str, Field(description="Its page is `/w/<water>`.")]
    name_zh_hans: str | None
    name_zh_hant: str | None
    name_en: str | None
    distance_km: Annotated[float, Field(ge=0, description="Along the river, to the near end.")]
    earliest_at: datetime | None
    probable_at: datetime | None
    lapses_at: Annotated[datetime, Field(description="From then on nothing is expected there any more.")]
    unit_peak_mg_per_l: Annotated[
        float | None,
        Field(
            gt=0,
            description="Peak concentration for each kilogram dissolved and each m³/s of flow: times the kilograms, "
            "divided by the m³/s. The nearest power of ten; it may be several times more or less. Nobody knows how "
            "much was spilled: no concentration to expect, no forecast of harm. Null: not known.",
        ),
    ]
    passage_h: Annotated[
        float | None,
        Field(
            gt=0,
            description="Hours that most of it takes to pass one place. The nearest power of ten; it may be several "
            "times more or less. Null: not known.",
        ),
    ]
    is_lake: bool
    is_dammed: bool


class ExpectedFeatureOut(Strict):
    """One reach or lake as GeoJSON, a line or a shape."""

    type: Literal["Feature"]
    id: str
    geometry: dict[str, Any]
    properties: ExpectedFactsOut


class ExpectedOut(Strict):
    """A GeoJSON FeatureCollection (RFC 7946); of one answer at most 20,000."""

    type: Literal["FeatureCollection"]
    notice: str
    about: dict[str, Any]
    features: list[ExpectedFeatureOut]


class ProblemOut(BaseModel):
    """RFC 9457. ``code`` is stable; ``errors`` names every field at fault with its codes."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None
    errors: dict[str, list[str]] | None = None
    challenge: Annotated[dict[str, Any] | None, Field(description="With 428: the work to do, as ALTCHA v2.")] = None


def water_out(one: PlacedWater, lang: str) -> FoundWaterOut:
    """A water as the interface answers it."""
    found = one.found
    return FoundWaterOut(
        water=found.public_id,
        name=name_in(found.names, lang, found.public_id),
        kind=found.kind,
        flows_into=name_in(found.parent_names, lang, found.parent_public_id) if found.parent_public_id else None,
        lon=one.lon,
        lat=one.lat,
        bbox=list(one.bbox) if one.bbox else None,
        areas=list(one.areas),
    )


def place_out(one: PlacedWater | FoundArea, lang: str) -> FoundPlaceOut:
    """A place as the interface answers it. An area's point is the middle of its box."""
    if isinstance(one, FoundArea):
        west, south, east, north = one.bbox
        return FoundPlaceOut(
            what="area",
            name=name_in(one.names, lang, one.code),
            kind=one.level,
            water=None,
            areas=[name_in(names, lang, "") for names in one.above],
            lon=(west + east) / 2,
            lat=(south + north) / 2,
            bbox=list(one.bbox),
        )
    told = water_out(one, lang)
    assert told.lon is not None, "what has no place is not found as one"
    assert told.lat is not None
    assert told.bbox is not None
    return FoundPlaceOut(
        what="water",
        name=told.name,
        kind=told.kind,
        water=told.water,
        areas=told.areas,
        lon=told.lon,
        lat=told.lat,
        bbox=told.bbox,
    )


def name_in(names: Mapping[str, str], lang: str, fallback: str) -> str:
    """A name in a language, else in Chinese, else in English, else what it is filed under."""
    return names.get(lang) or names.get("zh-Hans") or names.get("en") or fallback
