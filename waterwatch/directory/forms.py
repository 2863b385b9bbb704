"""The administrator's forms: untrusted fields in; rules, agencies, contacts, questions or every error at once out."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import time
from typing import Any

from waterwatch.agencies.competence import Rule
from waterwatch.agencies.tables import (
    AGENCY_KINDS,
    AGENCY_LEVELS,
    CHANNELS,
    CHANNELS_IN,
    OBSERVATION_KINDS,
    OFFICE_KINDS,
)
from waterwatch.agencies.upkeep import AgencyFacts, ContactFacts
from waterwatch.kernel.errors import Invalid
from waterwatch.reports.coordinates import CoordinateError, parse_coordinate
from waterwatch.reports.forms import clean_text
from waterwatch.waters.rules import to_wgs84

CODE = re.compile(r"[a-z0-9][a-z0-9-]{1,60}", re.ASCII)
AREA_CODE = re.compile(r"[0-9]{6}|basin-[a-z0-9-]{1,40}", re.ASCII)
TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
DATUMS = ("wgs84", "gcj02", "bd09")
SEVERITIES = ("1", "2", "3", "4")
DIGESTS = ("0", "1", "2", "3")
NAME_MAX, ADDRESS_MAX, SECRET_MAX, WORDS_MAX = 120, 2000, 500, 60
NAMES = {"name": "zh-Hans", "name_hant": "zh-Hant", "name_en": "en"}


@dataclass
class _Reading:
    """Collects faults while fields are read."""

    fields: Mapping[str, str]
    errors: dict[str, list[str]] = field(default_factory=dict)

    def words(self, name: str, limit: int) -> str:
        value = " ".join(clean_text(self.fields.get(name, "")).split())
        if len(value) > limit:
            self.errors[name] = ["too_long"]
        return value

    def choice(self, name: str, allowed: Collection[str], default: str = "") -> str:
        value = self.fields.get(name, "").strip() or default
        if value not in allowed:
            self.errors[name] = ["choice_unknown" if value else "missing"]
        return value

    def optional(self, name: str, allowed: Collection[str]) -> str | None:
        value = self.fields.get(name, "").strip() or None
        if value is not None and value not in allowed:
            self.errors[name] = ["choice_unknown"]
            return None
        return value

    def finish(self) -> None:
        if self.errors:
            raise Invalid(self.errors)


def parse_rule(fields: Mapping[str, str], area_code: str | None) -> Rule:
    """The form of a rule; its area is looked up before. Raises :class:`Invalid`."""
    reading = _Reading(fields)
    kind = reading.choice("agency_kind", OFFICE_KINDS)
    level = reading.optional("level", AGENCY_LEVELS)
    observation = reading.optional("observation_kind", OBSERVATION_KINDS)
    verdict = reading.choice("is_competent", ("yes", "no"))
    severity = reading.choice("min_severity", SEVERITIES, "1")
    reading.finish()
    return Rule(kind, area_code, level, observation, int(severity) if verdict == "yes" else 1, verdict == "yes")


def parse_agency(fields: Mapping[str, str], area_code: str | None, *, code: str | None = None) -> AgencyFacts:
    """The form of an agency; ``code``: that of an agency there is, which stays. Raises :class:`Invalid`."""
    reading = _Reading(fields)
    given = code if code is not None else reading.words("code", NAME_MAX)
    if code is None and not CODE.fullmatch(given):
        reading.errors["code"] = ["code_unreadable" if given else "missing"]
    if area_code is None:
        reading.errors["area"] = ["missing"]
    names = {lang: reading.words(name, NAME_MAX) for name, lang in NAMES.items()}
    if not names["zh-Hans"]:
        reading.errors.setdefault("name", ["missing"])
    digest_at = fields.get("digest_at", "").strip() or "09:00"
    if not TIME.fullmatch(digest_at[:5]):
        reading.errors["digest_at"] = ["time_unreadable"]
        digest_at = "09:00"
    upto = reading.choice("digest_upto", DIGESTS, "0")
    facts = AgencyFacts(
        code=given,
        kind=reading.choice("kind", AGENCY_KINDS),
        area_code=area_code or "",
        names=names,
        level=reading.optional("level", AGENCY_LEVELS),
        parent_code=reading.words("parent", NAME_MAX) or None,
        channels_in=reading.choice("channels_in", CHANNELS_IN, "parallel"),
        digest_upto=int(upto) if upto in DIGESTS else 0,
        digest_at=time.fromisoformat(digest_at[:5]),
    )
    reading.finish()
    return facts


def parse_contact(fields: Mapping[str, str]) -> ContactFacts:
    """The form of a contact; which fields count depends on the channel. Raises :class:`Invalid`."""
    reading = _Reading(fields)
    channel = reading.choice("channel", CHANNELS)
    is_letter = channel == "post"
    address = clean_text(fields.get("address", "")).strip() if is_letter else reading.words("address", ADDRESS_MAX)
    if len(address) > ADDRESS_MAX:
        reading.errors["address"] = ["too_long"]
    settings: dict[str, Any] = {}
    secret = None
    if channel == "webhook":
        settings["takes_pictures"] = fields.get("takes_pictures", "") == "yes"
    elif channel == "post":
        settings |= _given("addressee", reading.words("addressee", NAME_MAX))
    elif channel == "open311":
        settings |= _given("jurisdiction_id", reading.words("jurisdiction_id", NAME_MAX))
        settings["form"] = reading.choice("form", ("json", "xml"), "json")
        settings["services"] = _services(reading)
        secret = reading.words("api_key", SECRET_MAX) or None
    reading.finish()
    return ContactFacts(channel, address, settings, secret)


def _given(name: str, value: str) -> dict[str, str]:
    return {name: value} if value else {}


def _services(reading: _Reading) -> dict[str, str]:
    """``kind=service_code`` line by line; ``other`` stands for all kinds that are not named."""
    services: dict[str, str] = {}
    for line in reading.fields.get("services", "").splitlines()[:50]:
        kind, sign, code = (part.strip() for part in line.partition("="))
        if not kind and not sign:
            continue
        if kind not in OBSERVATION_KINDS or not code or kind in services:
            reading.errors["services"] = ["services_unreadable"]
            continue
        services[kind] = code
    return services


@dataclass(frozen=True)
class Question:
    """Who would get this: a kind at a severity rank; ``place`` in WGS-84 degrees, or ``words`` that name one."""

    kind: str
    severity: int
    datum: str
    place: tuple[float, float] | None
    words: str


def parse_question(fields: Mapping[str, str]) -> Question:
    """The box's form. Raises :class:`Invalid`."""
    reading = _Reading(fields)
    kind = reading.choice("kind", OBSERVATION_KINDS, "sewage_outfall")
    severity = reading.choice("severity", SEVERITIES, "2")
    datum = reading.choice("datum", DATUMS, "wgs84")
    words = reading.words("q", WORDS_MAX)
    typed = {axis: fields.get(axis, "").strip() for axis in ("lon", "lat")}
    degrees: dict[str, float] = {}
    if any(typed.values()):
        for axis, value in typed.items():
            try:
                degrees[axis] = parse_coordinate(value, axis)[0]
            except CoordinateError as error:
                reading.errors[axis] = [f"coordinate_{error}"]
    reading.finish()
    place = to_wgs84(degrees["lon"], degrees["lat"], datum) if degrees else None
    return Question(kind, int(severity), datum, place, words)
