"""The desk's forms: untrusted fields in, a frozen command or every error at once out."""

import math
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from waterwatch.advisories.rules import LIMIT_KM, REASON_MIN, Ruling
from waterwatch.incidents.rules import EXTENT_POINTS, HAZARD_POINTS, RECEPTOR_POINTS, RubricInputs, Severity, score
from waterwatch.incidents.service import Judgement
from waterwatch.kernel.errors import Invalid
from waterwatch.moderation.batch import MAX_BATCH, Batch
from waterwatch.moderation.service import GradeReport
from waterwatch.photos.rules import MAX_REDACTIONS, Rectangle
from waterwatch.photos.service import ChangeRedactions
from waterwatch.reports.amending import AmendReport
from waterwatch.reports.coordinates import CoordinateError, parse_coordinate
from waterwatch.reports.forms import clean_text
from waterwatch.reports.rules import REFUSAL_CODES
from waterwatch.reports.tables import REPORT_KINDS

MAX_WORDS = 500
MOST_HELD = 40  # what one page ever holds
_CODE = re.compile(r"[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}", re.ASCII)
_KM = re.compile(r"[0-9]{1,3}(\.[0-9]{1,2})?", re.ASCII)
_AREA = re.compile(r"[0-9]{6}", re.ASCII)
SMALLEST_PART = 0.002  # of the picture: four pixels of 2000
ROUNDING = 0.001  # by which a rectangle drawn to the edge may seem to pass it


@dataclass
class _Reading:
    """Collects faults while fields are read."""

    fields: Mapping[str, str]
    errors: dict[str, list[str]] = field(default_factory=dict)

    def choice(self, name: str, allowed: Mapping[str, int] | tuple[str, ...]) -> str:
        value = self.fields.get(name, "").strip()
        if value not in allowed:
            self.errors.setdefault(name, []).append("choice_unknown" if value else "missing")
        return value

    def optional_choice(self, name: str, allowed: Mapping[str | None, int]) -> str | None:
        value = self.fields.get(name, "").strip() or None
        if value not in allowed:
            self.errors.setdefault(name, []).append("choice_unknown")
            return None
        return value

    def flag(self, name: str) -> bool:
        return self.fields.get(name, "") in ("1", "on", "true")

    def optional_id(self, name: str) -> uuid.UUID | None:
        value = self.fields.get(name, "").strip()
        if not value:
            return None
        try:
            return uuid.UUID(value)
        except ValueError:
            self.errors.setdefault(name, []).append("choice_unknown")
            return None

    def ruling(self) -> Ruling | None:
        """What is decided of the warning below; None: as it is reckoned."""
        what = self.fields.get("downstream", "").strip()
        if what not in ("", "withhold", "shorten"):
            self.errors.setdefault("downstream", []).append("choice_unknown")
        if what not in ("withhold", "shorten"):
            return None
        reason = self.words("downstream_reason")
        if len(reason or "") < REASON_MIN:
            self.errors.setdefault("downstream_reason", []).append("downstream_reason")
        limit_km = None if what == "withhold" else self._limit_km()
        return Ruling(what == "withhold", limit_km, reason)

    def _limit_km(self) -> float | None:
        typed = self.fields.get("downstream_limit_km", "").strip()
        limit_km = float(typed) if _KM.fullmatch(typed) else 0.0
        if not 0 < limit_km <= LIMIT_KM:
            self.errors.setdefault("downstream_limit_km", []).append("downstream_limit")
        return limit_km

    def words(self, name: str) -> str | None:
        value = " ".join(clean_text(self.fields.get(name, "")).split())
        if len(value) > MAX_WORDS:
            self.errors.setdefault(name, []).append("too_long")
        return value or None


def parse_grade(report_id: uuid.UUID, fields: Mapping[str, str]) -> GradeReport:
    """Read the grading form. Raises :class:`Invalid` with every faulty field at once."""
    reading = _Reading(fields)
    kind = reading.choice("kind", HAZARD_POINTS)
    severity = reading.choice("severity", ("1", "2", "3", "4"))
    inputs = RubricInputs(
        kind=kind,
        extent=reading.optional_choice("extent", EXTENT_POINTS),
        is_ongoing=reading.flag("is_ongoing"),
        is_persisting=reading.flag("is_persisting"),
        receptor=reading.optional_choice("receptor", RECEPTOR_POINTS),
        has_dead_animals=reading.flag("has_dead_animals"),
        has_ill_people=reading.flag("has_ill_people"),
        has_independent_reports=reading.flag("has_independent_reports"),
        is_being_filled=reading.flag("is_being_filled"),
        is_heavy_by_instrument=reading.flag("is_heavy_by_instrument"),
    )
    water_feature_id = reading.optional_id("water_feature_id")
    join_incident_id = reading.optional_id("join_incident_id")
    reason = reading.words("departure_reason")
    ruling = reading.ruling()
    if not reading.errors and severity != str(int(score(inputs).proposed)) and len(reason or "") < 3:
        reading.errors["departure_reason"] = ["departure_needs_reason"]
    if reading.errors:
        raise Invalid(reading.errors)
    judgement = Judgement(inputs, Severity(int(severity)), reason)
    return GradeReport(report_id, judgement, water_feature_id, join_incident_id, parse_version(fields), ruling)


def parse_amendment(report_id: uuid.UUID, fields: Mapping[str, str]) -> AmendReport:
    """Read what a moderator puts right of a report; what is left empty stays. Raises :class:`Invalid`.

    A place is WGS-84: pinned on the map, or typed as people write it.
    """
    reading = _Reading(fields)
    kind = reading.optional_choice("kind", dict.fromkeys((None, *REPORT_KINDS), 0))
    water = reading.optional_id("water_feature_id")
    place: list[float] = []
    typed = [fields.get(name, "").strip() for name in ("lon", "lat")]
    for name, words in zip(("lon", "lat"), typed, strict=True):
        try:
            if any(typed):
                place.append(parse_coordinate(words, name)[0])
        except CoordinateError:
            reading.errors.setdefault(name, []).append("place_invalid")
    if reading.errors:
        raise Invalid(reading.errors)
    is_typed = fields.get("place_source") != "pin"
    return AmendReport(report_id, kind, water, (place[0], place[1]) if place else None, is_typed)


def parse_judgement(fields: Mapping[str, str]) -> Judgement:
    """Read the grade of a whole incident. Raises :class:`Invalid` as :func:`parse_grade`."""
    of_it = {**fields, "water_feature_id": "", "join_incident_id": "", "downstream": ""}
    return parse_grade(uuid.UUID(int=0), of_it).judgement


@dataclass(frozen=True)
class AskedBelow:
    """Of which grade a moderator wants to know what it would warn below."""

    kind: str
    severity: int
    water_feature_id: uuid.UUID | None
    join_incident_id: uuid.UUID | None
    limit_km: float | None


def parse_below(fields: Mapping[str, str]) -> AskedBelow:
    """Read what is asked while a grade is being made up: what cannot be read yet is not said. Raises nothing."""
    kind, severity = fields.get("kind", "").strip(), fields.get("severity", "").strip()
    typed = fields.get("downstream_limit_km", "").strip() if fields.get("downstream") == "shorten" else ""
    limit_km = float(typed) if _KM.fullmatch(typed) else None
    return AskedBelow(
        kind if kind in HAZARD_POINTS else "",
        int(severity) if severity in ("1", "2", "3", "4") else int(Severity.LARGER),
        _id(fields.get("water_feature_id", "").strip()),
        _id(fields.get("join_incident_id", "").strip()),
        limit_km if limit_km is not None and 0 < limit_km <= LIMIT_KM else None,
    )


def parse_incident(fields: Mapping[str, str]) -> uuid.UUID:
    """Which incident is meant. Raises :class:`Invalid` (``incident_id``)."""
    found = _id(fields.get("incident_id", "").strip())
    if found is None:
        raise Invalid({"incident_id": ["choice_unknown"]})
    return found


def parse_ruling(fields: Mapping[str, str]) -> Ruling | None:
    """Read what a moderator decides of the warning below an incident; None: as it is reckoned. Raises :class:`Invalid`.

    ``downstream`` (``choice_unknown``), ``downstream_reason``, ``downstream_limit_km`` (``downstream_limit``).
    """
    reading = _Reading(fields)
    ruling = reading.ruling()
    if reading.errors:
        raise Invalid(reading.errors)
    return ruling


def parse_batch(fields: Mapping[str, str], chosen: Sequence[str], typed: str) -> Batch:
    """Read what is to be done with many reports: their ids, or the codes typed, one after the other.

    Raises :class:`Invalid`: ``report`` (``nothing_chosen``, ``too_many_chosen``), ``what``, ``code``, ``incident``,
    ``words``.
    """
    reading = _Reading(fields)
    what = reading.choice("what", ("join", "refuse"))
    ids = tuple(dict.fromkeys(found for value in chosen if (found := _id(value)) is not None))
    codes = tuple(dict.fromkeys(_CODE.findall(typed.upper())))
    if not 0 < len(ids) + len(codes) <= MAX_BATCH:
        reading.errors["report"] = ["too_many_chosen" if ids or codes else "nothing_chosen"]
    code = reading.choice("code", tuple(REFUSAL_CODES)) if what == "refuse" else None
    incident = fields.get("incident", "").strip().upper()
    if what == "join" and not _CODE.fullmatch(incident):
        reading.errors["incident"] = ["choice_unknown" if incident else "missing"]
    words = reading.words("words")
    if reading.errors:
        raise Invalid(reading.errors)
    return Batch(what, ids, codes, code, words, incident or None)


def parse_ids(values: Sequence[str], *, most: int = MOST_HELD) -> list[uuid.UUID]:
    """The ids among what was sent, at most ``most``; what is none is passed over."""
    return [found for value in values[:most] if (found := _id(value)) is not None]


def parse_view(fields: Mapping[str, str]) -> dict[str, str]:
    """What of the queue to work on: an area's code or ``mine``, a water, a kind. What cannot be read is not said."""
    area, water, kind = (fields.get(name, "").strip() for name in ("area", "water", "kind"))
    found = {
        "area": area if area == "mine" or _AREA.fullmatch(area) else "",
        "water": str(_id(water) or ""),
        "kind": kind if kind in REPORT_KINDS else "",
    }
    return {name: value for name, value in found.items() if value}


def parse_version(fields: Mapping[str, str]) -> int | None:
    """Which version of the report the form was made of; None where it does not say."""
    value = fields.get("version", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def parse_verified(fields: Mapping[str, str]) -> uuid.UUID | None:
    """Which incident a patrol shows to be over; None for none. Raises :class:`Invalid`."""
    reading = _Reading(fields)
    incident_id = reading.optional_id("verifies_incident_id")
    if reading.errors:
        raise Invalid(reading.errors)
    return incident_id


def parse_refusal(fields: Mapping[str, str]) -> tuple[str, str | None]:
    """Read the refusal form: (reason code, words for the author). Raises :class:`Invalid`."""
    reading = _Reading(fields)
    code = reading.choice("code", tuple(REFUSAL_CODES))
    words = reading.words("words")
    if reading.errors:
        raise Invalid(reading.errors)
    return code, words


def parse_redactions(
    photo_id: uuid.UUID, drawn: Sequence[str], typed: Mapping[str, str], removed: Sequence[str]
) -> ChangeRedactions:
    """Read what a moderator covers and uncovers.

    ``drawn``: rectangles ``left,top,width,height`` as fractions of the picture; ``typed``: one more, in percent, in
    fields of these names; ``removed``: ids of redactions. Raises :class:`Invalid`.
    """
    rectangles = [_rectangle(words.split(","), 1.0) for words in drawn]
    numbers = [typed.get(name, "").strip() for name in ("left", "top", "width", "height")]
    errors: dict[str, list[str]] = {}
    if any(numbers):
        rectangles.append(_rectangle(numbers, 100.0))
    if None in rectangles:
        errors["left" if any(numbers) and rectangles[-1] is None else "drawn"] = ["rectangle_invalid"]
    if len(rectangles) + len(removed) > 2 * MAX_REDACTIONS:
        errors["drawn"] = ["too_many_redactions"]
    gone = [_id(words) for words in removed]
    if None in gone:
        errors["removed"] = ["choice_unknown"]
    if not rectangles and not gone:
        errors["drawn"] = ["nothing_to_save"]
    if errors:
        raise Invalid(errors)
    return ChangeRedactions(photo_id, tuple(filter(None, rectangles)), tuple(filter(None, gone)))


def _rectangle(numbers: Sequence[str], whole: float) -> Rectangle | None:
    """A drawn rectangle within the picture; None for anything else."""
    try:
        left, top, width, height = (float(number) / whole for number in numbers)
    except ValueError:
        return None
    if not all(math.isfinite(value) for value in (left, top, width, height)):
        return None
    right, bottom = left + width, top + height
    if min(left, top) < -ROUNDING or max(right, bottom) > 1 + ROUNDING or min(width, height) < SMALLEST_PART:
        return None
    left, top = max(0.0, left), max(0.0, top)
    return Rectangle("drawn", left, top, min(1.0, right) - left, min(1.0, bottom) - top)


def _id(words: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(words)
    except ValueError:
        return None
