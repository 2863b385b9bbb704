"""What programs send, as models: the same ones check a request and describe it in the OpenAPI document.

A model says what may be said at all; what it means is decided where the citizen's own form is read
(``reports.forms``), so that a program and a person are told the same.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from waterwatch.casework.tables import MAX_WORDS
from waterwatch.contacts.forms import EMAIL_MAX_CHARACTERS
from waterwatch.kernel.errors import Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.reports.forms import NOTE_MAX_CHARACTERS, PLACE_WORDS_MAX_CHARACTERS
from waterwatch.reports.intake import ClaimedPhoto
from waterwatch.uploads import rules as uploads

PHOTO_ID = r"^[A-Za-z0-9_-]{40,120}$"
RANDOM_UUID = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[47][0-9A-Fa-f]{3}-[89ABab][0-9A-Fa-f]{3}-[0-9A-Fa-f]{12}$"
DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
LOCAL_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?$"
CODE = r"^[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}$"
PHOTOS_DESCRIBED = 20  # the most any installation may allow; fewer by its setting

Longitude = Annotated[float, Field(ge=-180, le=180, description="Degrees, in the stated datum.")]
Latitude = Annotated[float, Field(ge=-90, le=90, description="Degrees, in the stated datum.")]
# Spelt out, because a type has to be; a test holds them against the domain's own lists.
Kind = Literal[
    "black_odorous", "sewage_outfall", "industrial_discharge", "algal_bloom", "oil_slick", "fish_kill",
    "floating_garbage", "foam", "farm_runoff", "sand_mining", "encroachment", "waste_dumping", "other", "all_clear",
]  # fmt: skip
Extent = Literal["spot", "under_100_m", "under_1_km", "over_1_km"]
Colour = Literal["clear", "white", "grey", "black", "brown", "yellow", "green", "red", "oily", "other"]
Since = Literal["today", "this_week", "this_month", "longer"]
Datum = Annotated[
    Literal["wgs84", "gcj02", "bd09"],
    Field(description="`gcj02`: maps of AMap and Tencent; `bd09`: maps of Baidu. Converted to WGS-84 on arrival."),
]


class Strict(BaseModel):
    """Nothing that is not named, and no number without end."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ClaimedPhotoIn(Strict):
    """A photo that was sent before, and what its file said before the sender made it smaller."""

    id: Annotated[str, Field(pattern=PHOTO_ID, description="As answered when the photo was sent.")]
    lon: Annotated[float | None, Field(ge=-180, le=180, description="EXIF position, WGS-84.")] = None
    lat: Annotated[float | None, Field(ge=-90, le=90)] = None
    taken_at: Annotated[str | None, Field(pattern=LOCAL_TIME, description="EXIF time, with its offset if known.")] = (
        None
    )


class ContactIn(Strict):
    """How the author may be reached, if they want to be: kept apart, sealed, erased after the report has ended.

    An address is asked once whether it wants notices before it gets any. At least one use has to be allowed.
    """

    email: Annotated[str | None, Field(max_length=EMAIL_MAX_CHARACTERS)] = None
    phone: Annotated[str | None, Field(max_length=30, description="Digits; `+`, spaces and dashes are allowed.")] = None
    by_mail: Annotated[bool, Field(description="Each step is told by mail.")] = True
    may_ask: Annotated[bool, Field(description="Moderators may ask.")] = False


class NewPlaceIn(Strict):
    """A place, said whole."""

    lon: Longitude
    lat: Latitude
    datum: Datum = "wgs84"
    place_source: Annotated[Literal["pin", "device", "typed"], Field(description="How the place was found.")] = "pin"
    place_confirmed: Annotated[
        Literal[True], Field(description="The person has looked at the place on a map and said that it is right.")
    ]


class _AnswersIn(Strict):
    """What a report may say besides, all of it optional."""

    water_feature_id: Annotated[uuid.UUID | None, Field(description="The water the person chose.")] = None
    place_words: Annotated[
        str | None,
        Field(
            max_length=PLACE_WORDS_MAX_CHARACTERS,
            description="How one gets there, in the person's words; for moderators alone. It is no place.",
        ),
    ] = None
    note: Annotated[str | None, Field(max_length=NOTE_MAX_CHARACTERS)] = None
    extent: Extent | None = None
    smell: Annotated[int | None, Field(ge=0, le=3, description="0 none to 3 pungent.")] = None
    ongoing: bool | None = None
    dead_animals: bool | None = None
    people_affected: bool | None = None
    colour: Colour | None = None
    since: Since | None = None
    transparency_cm: Annotated[float | None, Field(ge=0, le=3000, description="Secchi depth.")] = None
    water_depth_cm: Annotated[float | None, Field(ge=0, le=20000)] = None
    ph: Annotated[float | None, Field(ge=0, le=14)] = None
    do_mg_l: Annotated[float | None, Field(ge=0, le=30, description="Dissolved oxygen.")] = None
    nh3n_mg_l: Annotated[float | None, Field(ge=0, le=500, description="Ammonia nitrogen.")] = None
    orp_mv: Annotated[float | None, Field(ge=-1000, le=1000, description="Redox potential.")] = None
    temperature_c: Annotated[float | None, Field(ge=-5, le=60)] = None


class ReportIn(NewPlaceIn, _AnswersIn):
    """One observation at one place and time."""

    idempotency_key: Annotated[
        str,
        Field(
            pattern=RANDOM_UUID,
            description="A random UUID (version 4 or 7) made by the sender. The same report sent again with the same "
            "key is one report, and gives the same answer.",
        ),
    ]
    kind: Annotated[Kind, Field(description="`all_clear`: a patrol that found the water in order.")]
    photos: Annotated[list[ClaimedPhotoIn], Field(min_length=1, max_length=PHOTOS_DESCRIBED)]
    accuracy_m: Annotated[float | None, Field(ge=0, le=1e6, description="Radius the device claims, in metres.")] = None
    device_lon: Annotated[float | None, Field(ge=-180, le=180, description="The device's own fix, WGS-84.")] = None
    device_lat: Annotated[float | None, Field(ge=-90, le=90)] = None
    same_as: Annotated[str | None, Field(pattern=CODE, description="A public incident the person saw too.")] = None
    contact: ContactIn | None = None
    observed_at: Annotated[datetime | None, Field(description="When the phone kept it, with offset.")] = None
    device: Annotated[
        str | None,
        Field(
            description="32 hexadecimal digits the device drew at random and keeps. Limits and likenesses are told by "
            "it; only a keyed digest is stored, for two days. Anything else is ignored."
        ),
    ] = None
    language: Annotated[Literal["zh-Hans", "zh-Hant", "en"], Field(description="Of the author.")] = "zh-Hans"


def _no_default(schema: dict[str, Any]) -> None:
    """What stays as it is when left out has no default to be told of."""
    del schema["default"]


class CorrectionIn(_AnswersIn):
    """What of a report is to be said differently. Left out: it stays. Null: it is taken back.

    The water chosen for the old place goes with it.
    """

    kind: Annotated[Kind, Field(default="other", description="As for a new report.", json_schema_extra=_no_default)]
    place: Annotated[NewPlaceIn | None, Field(description="Null says nothing: there always is a place.")] = None


class CaseAnswerIn(Strict):
    """What an agency says of a case it was told of. Words are plain text; all but ``acknowledged`` need some."""

    kind: Annotated[
        Literal["acknowledged", "answer", "comment", "done", "not_ours"],
        Field(description="`done` is the agency's claim and closes its case; `not_ours` hands it on."),
    ]
    words: Annotated[
        str, Field(max_length=MAX_WORDS, description="Read by the public, mostly once we have read it.")
    ] = ""
    planned_on: Annotated[
        str | None, Field(pattern=DAY, description="The day by which it shall be done; today or later.")
    ] = None
    suggested_agency: Annotated[
        str | None, Field(max_length=80, description="Of `not_ours`: the code of the agency whose case it is.")
    ] = None
    key: Annotated[str | None, Field(pattern=RANDOM_UUID, description="Sent twice with one key it is said once.")] = (
        None
    )


class PlaceIn(Strict):
    """A question about a place."""

    lon: Longitude
    lat: Latitude
    datum: Datum = "wgs84"
    accuracy_m: Annotated[float | None, Field(ge=0, le=1e6, description="Radius the device claims, in metres.")] = None


class SearchIn(Strict):
    """A question by name. With ``lon``, ``lat`` the nearest of those with the same name come first."""

    q: Annotated[str, Field(pattern=r"^[^\u0000]{1,80}$", description="Characters, pinyin, initials, or a part.")]
    lon: Annotated[float | None, Field(ge=-180, le=180, description="Degrees, WGS-84; with `lat`.")] = None
    lat: Annotated[float | None, Field(ge=-90, le=90)] = None


# What pydantic calls a fault → the ending of the code that the citizen's form uses for the same.
_CODES = {
    "missing": "missing",
    "extra_forbidden": "not_expected",
    "literal_error": "unknown",
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "finite_number": "out_of_range",
    "float_type": "not_a_number",
    "float_parsing": "not_a_number",
    "int_type": "not_a_number",
    "int_parsing": "not_a_number",
    "string_too_long": "too_long",
}
M = TypeVar("M", bound=BaseModel)


def read(model: type[M], given: Any) -> M:
    """Parse ``given`` (a JSON value, or fields of a query). Raises :class:`Invalid` with every field's codes."""
    if not isinstance(given, Mapping):
        raise Invalid({"body": ["body_not_an_object"]})
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        faults: dict[str, list[str]] = {}
        for fault in error.errors():
            field = ".".join(str(part) for part in fault["loc"]) or "body"
            kind = _CODES.get(fault["type"], "malformed")
            codes = faults.setdefault(field, [])
            if (code := f"{str(fault['loc'][0]) if fault['loc'] else 'body'}_{kind}") not in codes:
                codes.append(code)
        raise Invalid(faults) from None


def as_fields(report: ReportIn) -> dict[str, str]:
    """The report as the citizen's own form would send it."""
    fields = report.model_dump(exclude={"photos", "contact"}, exclude_none=True)
    return {name: _as_field(value) for name, value in fields.items()}


def contact_fields(contact: ContactIn | None) -> dict[str, str]:
    """A contact as the citizen's own form would send it."""
    told = contact.model_dump(exclude_none=True) if contact else {}
    return {f"contact_{name}": _as_field(value) for name, value in told.items()}


def overlay(answers: Mapping[str, str], told: CorrectionIn) -> dict[str, str]:
    """What a report says so far, with what is told now put over it, as the citizen's own form would send it."""
    said = told.model_dump(exclude_unset=True)
    fields = dict(answers)
    if place := said.pop("place", None):
        fields.pop("water_feature_id", None)
        fields |= {name: _as_field(value) for name, value in place.items()}
    return fields | {name: "" if value is None else _as_field(value) for name, value in said.items()}


def claimed_photos(photos: list[ClaimedPhotoIn], settings: Settings) -> tuple[ClaimedPhoto, ...]:
    """The photos a report names. Raises :class:`NotFound` ``photo_unknown`` for an id that was never given out."""
    return tuple(_claimed(photo, settings) for photo in {photo.id: photo for photo in photos}.values())


def _claimed(photo: ClaimedPhotoIn, settings: Settings) -> ClaimedPhoto:
    is_placed = photo.lon is not None and photo.lat is not None
    return ClaimedPhoto(
        _photo_id(photo.id, settings),
        stated_lon=photo.lon if is_placed else None,
        stated_lat=photo.lat if is_placed else None,
        stated_taken_at_local=photo.taken_at,
    )


def _photo_id(text: str, settings: Settings) -> uuid.UUID:
    try:
        return uploads.read_token(text, settings).photo_id
    except NotFound:
        raise NotFound("photo_unknown") from None


def _as_field(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return format(value, ".9f").rstrip("0").rstrip(".")
    return value.isoformat() if isinstance(value, datetime) else str(value)
