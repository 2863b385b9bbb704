"""Alerts as CAP 1.2 says them (OASIS, Common Alerting Protocol Version 1.2, 1 July 2010; ITU-T X.1303 bis): pure.

What our levels mean in CAP's words is our own mapping, and every document says so: nobody but the government issues
statutory warnings, and these are none.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Final, Literal
from xml.etree.ElementTree import Element, SubElement, tostring

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
MEDIA_TYPE: Final = "application/cap+xml; charset=utf-8"
LANGUAGE: Final = "zh-CN"
CATEGORY: Final = "Env"
CHINA_TIME = timezone(timedelta(hours=8))
# By severity rank, 1 (blue) to 4 (red).
SEVERITIES: Final = {4: "Extreme", 3: "Severe", 2: "Moderate", 1: "Minor"}
COLOURS: Final = {4: "red", 3: "orange", 2: "yellow", 1: "blue"}
BASIS: Final = (
    "公众观察等级：由公众上报、审核员按公开的评分表评定，不是政府发布的预警；与 CAP severity 的对应关系为本平台自定"
)
# Names of our parameters: CAP asks for ones nobody else uses.
LEVEL_PARAMETER, BASIS_PARAMETER = "waterwatch:level", "waterwatch:levelBasis"
DECIMALS = 6

_TOKEN = re.compile(r"[^\s,<>&]{1,200}")  # identifier, sender: no spaces, commas, "<" and "&" (3.2.1)
# What XML 1.0 cannot hold.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Status = Literal["Actual", "Exercise", "System", "Test", "Draft"]
MessageType = Literal["Alert", "Update", "Cancel", "Ack", "Error"]
Scope = Literal["Public", "Restricted", "Private"]
Urgency = Literal["Immediate", "Expected", "Future", "Past", "Unknown"]
Certainty = Literal["Observed", "Likely", "Possible", "Unlikely", "Unknown"]
Response = Literal[
    "Shelter", "Evacuate", "Prepare", "Execute", "Avoid", "Monitor", "Assess", "AllClear", "None"
]  # fmt: skip


@dataclass(frozen=True)
class Circle:
    """A place and a radius: WGS-84 degrees, kilometres; radius 0 is the point itself."""

    lon: float
    lat: float
    radius_km: float = 0.0


@dataclass(frozen=True)
class Area:
    """Where. ``polygons`` are closed rings of (lon, lat), WGS-84; ``geocodes`` pairs of a system and a code."""

    words: str
    circles: tuple[Circle, ...] = ()
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    geocodes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Resource:
    """A file beside the alert, by its address."""

    words: str
    media_type: str
    url: str


@dataclass(frozen=True)
class Info:
    """What is to be said of one expectation; several of one alert differ in onset, level or area.

    ``level`` is our severity rank, 1 (blue) to 4 (red). Times are aware.
    """

    event: str
    level: int
    headline: str
    description: str
    areas: tuple[Area, ...]
    urgency: Urgency = "Expected"
    certainty: Certainty = "Observed"
    responses: tuple[Response, ...] = ()
    instruction: str | None = None
    sender_name: str | None = None
    effective: datetime | None = None
    onset: datetime | None = None
    expires: datetime | None = None
    web: str | None = None
    event_codes: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    resources: tuple[Resource, ...] = ()
    language: str = LANGUAGE


@dataclass(frozen=True)
class Reference:
    """An earlier alert, as later ones name it."""

    sender: str
    identifier: str
    sent: datetime

    def __str__(self) -> str:
        return f"{self.sender},{self.identifier},{moment(self.sent)}"


@dataclass(frozen=True)
class Alert:
    """One CAP message. ``is_reviewed``: a moderator has judged what it rests on.

    Raises:
        ValueError: at once, for a message the standard or our own rule forbids: an update of nothing, a restriction
            nobody named, and anything not reviewed that would be said to the public, or as more than possible.
    """

    identifier: str
    sender: str
    sent: datetime
    infos: tuple[Info, ...] = ()
    kind: MessageType = "Alert"
    status: Status = "Actual"
    scope: Scope = "Public"
    restriction: str | None = None
    addresses: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()
    note: str | None = None
    source: str | None = None
    incidents: tuple[str, ...] = field(default=())
    is_reviewed: bool = True

    def __post_init__(self) -> None:
        faults = list(_faults(self))
        if faults:
            raise ValueError("; ".join(faults))

    @property
    def reference(self) -> Reference:
        """How a later message names this one."""
        return Reference(self.sender, self.identifier, self.sent)


def _faults(alert: Alert) -> Iterator[str]:
    for named in (alert.identifier, alert.sender, *(one.identifier for one in alert.references)):
        if not _TOKEN.fullmatch(named):
            yield "an identifier or sender holds a space, a comma, < or &"
    for at in (alert.sent, *(one.sent for one in alert.references), *_times(alert.infos)):
        if at.utcoffset() is None:
            yield "a time without its offset"
    if (alert.kind in ("Update", "Cancel", "Ack", "Error")) != bool(alert.references):
        yield "an update or cancellation names what it is of, and nothing else does"
    if (alert.scope == "Restricted") != (alert.restriction is not None):
        yield "a restricted alert says to whom"
    if alert.scope == "Private" and not alert.addresses:
        yield "a private alert says to whom"
    if alert.kind in ("Alert", "Update") and not alert.infos:
        yield "an alert says something"
    yield from _faults_of_haste(alert)
    yield from (fault for info in alert.infos for fault in _faults_of_info(info))


def _faults_of_haste(alert: Alert) -> Iterator[str]:
    if alert.is_reviewed:
        return
    if alert.scope != "Restricted" and alert.status != "Test":
        yield "what nobody has reviewed is restricted, or a test"
    if any(info.certainty != "Possible" for info in alert.infos):
        yield "what nobody has reviewed is possible"


def _faults_of_info(info: Info) -> Iterator[str]:
    if info.level not in SEVERITIES:
        yield "an unknown level"
    if not info.areas:
        yield "no area"
    for area in info.areas:
        for ring in area.polygons:
            if len(ring) < 4 or ring[0] != ring[-1]:
                yield "a polygon of fewer than four points, or not closed"
        places = [*((one.lon, one.lat) for one in area.circles), *(at for ring in area.polygons for at in ring)]
        if any(not (-180 <= lon <= 180 and -90 <= lat <= 90) for lon, lat in places):
            yield "a place that is nowhere"
        if any(one.radius_km < 0 for one in area.circles):
            yield "a radius below nothing"


def _times(infos: Sequence[Info]) -> list[datetime]:
    return [at for info in infos for at in (info.effective, info.onset, info.expires) if at is not None]


def moment(at: datetime) -> str:
    """An instant as CAP 1.2 wants it: whole seconds, China's offset in numbers; ``Z`` is forbidden (3.3.2)."""
    return at.astimezone(CHINA_TIME).replace(microsecond=0).isoformat()


def cap_xml(alert: Alert) -> bytes:
    """The alert as a CAP 1.2 document, UTF-8; the same alert gives the same bytes."""
    root = Element(_tag("alert"))
    said = (
        ("identifier", alert.identifier),
        ("sender", alert.sender),
        ("sent", moment(alert.sent)),
        ("status", alert.status),
        ("msgType", alert.kind),
        ("source", alert.source),
        ("scope", alert.scope),
        ("restriction", alert.restriction),
        ("addresses", _joined(alert.addresses)),
        ("note", alert.note),
        ("references", " ".join(map(str, alert.references)) or None),
        ("incidents", _joined(alert.incidents)),
    )
    _say(root, said)
    for info in alert.infos:
        _say_info(SubElement(root, _tag("info")), info)
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True, default_namespace=NAMESPACE)) + b"\n"


def _say_info(element: Element, info: Info) -> None:
    _say(element, (("language", info.language), ("category", CATEGORY), ("event", info.event)))
    _say(element, tuple(("responseType", one) for one in info.responses))
    said = (("urgency", info.urgency), ("severity", SEVERITIES[info.level]), ("certainty", info.certainty))
    _say(element, said)
    _pairs(element, "eventCode", info.event_codes)
    for name, at in (("effective", info.effective), ("onset", info.onset), ("expires", info.expires)):
        _say(element, ((name, moment(at) if at is not None else None),))
    _say(
        element,
        (
            ("senderName", info.sender_name),
            ("headline", info.headline),
            ("description", info.description),
            ("instruction", info.instruction),
            ("web", info.web),
        ),
    )
    ours = ((LEVEL_PARAMETER, COLOURS[info.level]), (BASIS_PARAMETER, BASIS))
    _pairs(element, "parameter", (*ours, *info.parameters))
    for resource in info.resources:
        inside = SubElement(element, _tag("resource"))
        _say(inside, (("resourceDesc", resource.words), ("mimeType", resource.media_type), ("uri", resource.url)))
    for area in info.areas:
        _say_area(SubElement(element, _tag("area")), area)


def _say_area(element: Element, area: Area) -> None:
    _say(element, (("areaDesc", area.words),))
    for ring in area.polygons:
        _say(element, (("polygon", " ".join(f"{_degrees(lat)},{_degrees(lon)}" for lon, lat in ring)),))
    for one in area.circles:
        _say(element, (("circle", f"{_degrees(one.lat)},{_degrees(one.lon)} {_degrees(one.radius_km)}"),))
    _pairs(element, "geocode", area.geocodes)


def _say(element: Element, said: Sequence[tuple[str, str | None]]) -> None:
    """One element for each value there is, in the order of the standard's schema."""
    for name, value in said:
        if value is not None:
            SubElement(element, _tag(name)).text = _UNWRITABLE.sub("", value)


def _pairs(element: Element, name: str, pairs: Sequence[tuple[str, str]]) -> None:
    for value_name, value in pairs:
        _say(SubElement(element, _tag(name)), (("valueName", value_name), ("value", value)))


def _joined(words: Sequence[str]) -> str | None:
    """Several values in one element: those that hold a space in quotes (3.2.1)."""
    return " ".join(f'"{one}"' if " " in one else one for one in words) or None


def _degrees(value: float) -> str:
    """Never in the notation of powers, and without a tail of noughts."""
    words = f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if words == "-0" else words


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"
