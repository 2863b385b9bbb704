"""The citizen's form: untrusted fields and spooled files → one frozen ``SubmitReport``, or every field error at once.

Errors are stable codes by field name; the words for them live beside the template. What the person cannot correct
because a script filled it in (the device's fix) is evidence only: when malformed it is left out, never complained of.
"""

import math
import re
import unicodedata
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeAlias

from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.ids import new_id
from waterwatch.photos.rules import quarantine_key
from waterwatch.reports import rules
from waterwatch.reports.coordinates import LIMITS_DEG, NUMBER_MAX_CHARACTERS, CoordinateError, parse_coordinate
from waterwatch.reports.intake import ClaimedPhoto, ReceivedPhoto, SubmitReport
from waterwatch.reports.tables import COLOURS, EXTENTS, MEASURED, REPORT_KINDS, SINCE

NOTE_MAX_CHARACTERS = 500
PLACE_WORDS_MAX_CHARACTERS = 200
ACCURACY_MAX_M = 1_000_000.0
YES_OR_NO = {
    "": None,
    "unknown": None,
    "yes": True,
    "on": True,
    "1": True,
    "true": True,
    "no": False,
    "0": False,
    "false": False,
}

OBSERVED_WITHIN = timedelta(days=60)  # how long a report may have waited on a phone
CLOCKS_DIFFER = timedelta(minutes=10)

ToWgs84: TypeAlias = Callable[[float, float, str], tuple[float, float]]

_READING = re.compile(r"[+-]?\d{1,6}(?:\.\d{1,6})?", re.ASCII)
_DEVICE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_CODE = re.compile(r"[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}", re.ASCII)
# Characters that reorder or hide text on the moderator's screen: bidi controls, zero-width, byte order mark.
_INVISIBLE = frozenset(
    "\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u061c"
)


class Upload(Protocol):
    """A file part lying in the spool, as ``waterwatch.web.uploads`` leaves it, or a file of an archive."""

    @property
    def size_bytes(self) -> int:
        """How long it is."""

    @property
    def is_too_large(self) -> bool:
        """Whether it is over this installation's limit."""

    @property
    def sha256(self) -> bytes:
        """Digest of its bytes."""


@dataclass(frozen=True)
class Sender:
    """By which way a report comes, and which application sends it for the person."""

    source: str
    api_client_id: uuid.UUID | None = None


WEB_PAGE = Sender("web")


def parse_submission(
    fields: Mapping[str, str],
    uploads: Sequence[Upload],
    *,
    left_out: int = 0,
    claimed: tuple[ClaimedPhoto, ...] = (),
    sender: Sender = WEB_PAGE,
    photos_per_report: int,
    language: str,
    to_wgs84: ToWgs84,
    now: datetime,
) -> SubmitReport:
    """Parse one submitted form. ``left_out`` counts files beyond those spooled. Raises :class:`Invalid`.

    ``claimed`` are the photos that came before; whether they are there is for the submission to find out.

    The photos of the result have ids and keys but are not in the store yet: the caller adopts ``uploads[i]`` under
    ``photos[i].object_key`` before submitting.
    """
    faults = _Faults()
    key = _key(fields, faults)
    kind = _choice(fields, "kind", REPORT_KINDS, faults, is_required=True)
    place, datum = _place(fields, faults)
    photos = _photos(uploads, len(claimed), left_out, photos_per_report, faults)
    note = clean_text(fields.get("note", ""))
    if len(note) > NOTE_MAX_CHARACTERS:
        faults.add("note", "note_too_long")
    place_words = clean_text(fields.get("place_words", ""))
    if len(place_words) > PLACE_WORDS_MAX_CHARACTERS:
        faults.add("place_words", "place_words_too_long")
    extent = _choice(fields, "extent", EXTENTS, faults)
    smell = _choice(fields, "smell", ("0", "1", "2", "3"), faults)
    answers = {name: _answer(fields, name, faults) for name in ("ongoing", "dead_animals", "people_affected")}
    colour = _choice(fields, "colour", COLOURS, faults)
    since = _choice(fields, "since", SINCE, faults)
    measured = _measured(fields, faults)
    same_as = _same_as(fields, faults)
    chosen = _water(fields, faults)
    if faults.found or key is None or kind is None or place is None:
        raise Invalid(faults.found)
    device = _device(fields)
    lon, lat = (
        to_wgs84(place.fix.lon, place.fix.lat, datum) if place.source != "device" else (place.fix.lon, place.fix.lat)
    )
    return SubmitReport(
        idempotency_key=key,
        kind=kind,
        lon=lon,
        lat=lat,
        place_source=place.source,
        input_datum=datum if place.source != "device" else "wgs84",
        language=language,
        photos=photos,
        accuracy_m=device.accuracy_m if device else None,
        device_lon=device.lon if device else None,
        device_lat=device.lat if device else None,
        chosen_water_feature_id=chosen,
        place_words=place_words or None,
        note=note or None,
        extent=extent,
        smell=int(smell) if smell else None,
        is_ongoing=answers["ongoing"],
        has_dead_animals=answers["dead_animals"],
        affects_people=answers["people_affected"],
        claimed=claimed,
        colour=colour,
        since=since,
        measured=measured or None,
        observed_at=_observed_at(fields, now),
        same_as_code=same_as,
        source=sender.source,
        api_client_id=sender.api_client_id,
        device_id=_device_id(fields),
    )


def clean_text(text: str) -> str:
    """A person's words, safe to store and show.

    NFC, ``\\n`` line ends, at most one empty line in a row; control, private-use, surrogate and direction-changing
    characters are removed. Joiners within emoji stay.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    kept = "".join(
        character
        for character in text
        if character == "\n"
        or (character not in _INVISIBLE and unicodedata.category(character) not in ("Cc", "Cs", "Co", "Cn"))
    )
    return unicodedata.normalize("NFC", re.sub(r"\n{3,}", "\n\n", kept).strip())


class _Faults:
    """Field errors as they are found; the same code once a field."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def add(self, field: str, code: str) -> None:
        codes = self.found.setdefault(field, [])
        if code not in codes:
            codes.append(code)


def _key(fields: Mapping[str, str], faults: _Faults) -> uuid.UUID | None:
    """The key is as good as the follow link, so only the random kinds of UUID are taken."""
    text = fields.get("idempotency_key", "").strip()
    if not text:
        faults.add("idempotency_key", "idempotency_key_missing")
        return None
    try:
        key = uuid.UUID(text)
    except ValueError:
        key = None
    if key is None or len(text) != 36 or key.version not in (4, 7):
        faults.add("idempotency_key", "idempotency_key_malformed")
        return None
    return key


def _choice(
    fields: Mapping[str, str], name: str, allowed: Sequence[str], faults: _Faults, *, is_required: bool = False
) -> str | None:
    value = fields.get(name, "").strip()
    if not value:
        if is_required:
            faults.add(name, f"{name}_missing")
        return None
    if value not in allowed:
        faults.add(name, f"{name}_unknown")
        return None
    return value


def _answer(fields: Mapping[str, str], name: str, faults: _Faults) -> bool | None:
    value = fields.get(name, "").strip().lower()
    if value not in YES_OR_NO:
        faults.add(name, f"{name}_unknown")
    return YES_OR_NO.get(value)


def _water(fields: Mapping[str, str], faults: _Faults) -> uuid.UUID | None:
    text = fields.get("water_feature_id", "").strip()
    if not text:
        return None
    try:
        return uuid.UUID(text)
    except ValueError:
        faults.add("water_feature_id", "water_feature_id_malformed")
        return None


def _measured(fields: Mapping[str, str], faults: _Faults) -> dict[str, float]:
    """Readings of instruments, by their columns' names. A decimal comma is understood."""
    found = {}
    for name, (low, high) in MEASURED.items():
        text = unicodedata.normalize("NFKC", fields.get(name, "")).strip().replace("−", "-").replace(",", ".")
        if not text:
            continue
        if _READING.fullmatch(text) is None:
            faults.add(name, f"{name}_not_a_number")
        elif not low <= float(text) <= high:
            faults.add(name, f"{name}_out_of_range")
        else:
            found[name] = float(text)
    return found


def is_code(text: str) -> bool:
    """Whether a text is written as the code of an incident is."""
    return _CODE.fullmatch(text) is not None


def _same_as(fields: Mapping[str, str], faults: _Faults) -> str | None:
    """The public incident the author saw too, by its code."""
    text = fields.get("same_as", "").strip().upper()
    if not text:
        return None
    if _CODE.fullmatch(text) is None:
        faults.add("same_as", "same_as_malformed")
        return None
    return text


def _observed_at(fields: Mapping[str, str], now: datetime) -> datetime | None:
    """When the phone kept the report. A clock that is far off tells nothing, and nobody is blamed for it."""
    try:
        stated = datetime.fromisoformat(fields.get("observed_at", "").strip())
    except ValueError:
        return None
    if stated.tzinfo is None or not now - OBSERVED_WITHIN <= stated <= now + CLOCKS_DIFFER:
        return None
    return stated.astimezone(UTC)


def _photos(
    uploads: Sequence[Upload], claimed: int, left_out: int, photos_per_report: int, faults: _Faults
) -> tuple[ReceivedPhoto, ...]:
    if not uploads and not claimed:
        faults.add("photo", "photo_missing")
    if len(uploads) + claimed + left_out > photos_per_report:
        faults.add("photo", "photo_too_many")
    if any(upload.is_too_large for upload in uploads):
        faults.add("photo", "photo_too_large")
    if any(upload.size_bytes == 0 for upload in uploads):
        faults.add("photo", "photo_empty")
    if "photo" in faults.found:
        return ()
    ids = [new_id() for _upload in uploads]
    return tuple(
        ReceivedPhoto(photo_id, quarantine_key(photo_id), upload.size_bytes, upload.sha256)
        for photo_id, upload in zip(ids, uploads, strict=True)
    )


def _place(fields: Mapping[str, str], faults: _Faults) -> tuple[rules.Place | None, str]:
    """The place that counts and the datum it was stated in."""
    datum = _choice(fields, "datum", rules.DATUMS, faults) or "wgs84"
    stated, is_dms = _stated(fields, faults)
    device = _device(fields)
    is_confirmed = _answer(fields, "place_confirmed", faults) is True
    if {"lon", "lat", "place"} & faults.found.keys():
        return None, datum
    is_typed = is_dms or fields.get("place_source", "").strip() == "typed"
    place = rules.choose_place(stated, device, is_confirmed=is_confirmed, is_typed=is_typed)
    if place is None:
        has_some = stated is not None or device is not None
        if has_some and not is_confirmed:
            faults.add("place_confirmed", "place_not_confirmed")
        else:
            faults.add("place", "place_missing")
    return place, datum


def _stated(fields: Mapping[str, str], faults: _Faults) -> tuple[rules.Fix | None, bool]:
    texts = {axis: fields.get(axis, "").strip() for axis in LIMITS_DEG}
    if not any(texts.values()):
        return None, False
    degrees: dict[str, float] = {}
    is_dms = False
    for axis, text in texts.items():
        if not text:
            faults.add(axis, f"{axis}_missing")
            continue
        try:
            degrees[axis], was_dms = parse_coordinate(text, axis)
            is_dms = is_dms or was_dms
        except CoordinateError as error:
            faults.add(axis, f"{axis}_{error}")
    if "lon" in degrees and faults.found.get("lat") == ["lat_out_of_range"] and _would_fit_swapped(texts):
        faults.add("place", "place_swapped")
    if len(degrees) < 2:
        return None, is_dms
    return rules.Fix(degrees["lon"], degrees["lat"]), is_dms


def _would_fit_swapped(texts: Mapping[str, str]) -> bool:
    try:
        parse_coordinate(texts["lat"], "lon")
        parse_coordinate(texts["lon"], "lat")
    except CoordinateError:
        return False
    return True


def _device(fields: Mapping[str, str]) -> rules.Fix | None:
    """The device's own fix, always WGS-84 in browsers; None when absent or malformed."""
    try:
        lon, _ = parse_coordinate(fields.get("device_lon", ""), "lon")
        lat, _ = parse_coordinate(fields.get("device_lat", ""), "lat")
    except CoordinateError:
        return None
    return rules.Fix(lon, lat, _accuracy(fields.get("accuracy_m", "")))


def _device_id(fields: Mapping[str, str]) -> bytes | None:
    """The 128 random bits a phone made for itself, in hexadecimal; None when absent or malformed."""
    text = fields.get("device", "")
    return bytes.fromhex(text) if _DEVICE.fullmatch(text) else None


def _accuracy(text: str) -> float | None:
    try:
        accuracy_m = float(text) if len(text) <= NUMBER_MAX_CHARACTERS else math.nan
    except ValueError:
        return None
    return accuracy_m if 0 <= accuracy_m <= ACCURACY_MAX_M else None
