"""Incidents written as GeoJSON and as CSV. Only public fields, each documented in docs/api.md; no I/O."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from waterwatch.atlas.incidents import PublicIncident
from waterwatch.kernel import sheets

LEVELS = {1: "blue", 2: "yellow", 3: "orange", 4: "red"}
NOTICE = "公众观察等级，非政府预警 · public observation level, no warning of an authority"
Facts = dict[str, Any]
_COLUMNS: tuple[tuple[str, Callable[[PublicIncident], Any]], ...] = (
    ("code", lambda one: one.code),
    ("kind", lambda one: one.kind),
    ("severity", lambda one: one.severity),
    ("level", lambda one: LEVELS[one.severity] if one.is_open else None),
    ("state", lambda one: one.state),
    ("answer", lambda one: one.answer),
    ("water", lambda one: one.water),
    ("name_zh_hans", lambda one: one.names.get("zh-Hans")),
    ("name_zh_hant", lambda one: one.names.get("zh-Hant")),
    ("name_en", lambda one: one.names.get("en")),
    ("opened_at", lambda one: one.opened_at.isoformat(timespec="seconds")),
    ("last_confirmed_at", lambda one: one.last_confirmed_at.isoformat(timespec="seconds")),
    ("closed_at", lambda one: one.closed_at.isoformat(timespec="seconds") if one.closed_at else None),
)
COLUMNS = (*(name for name, _value in _COLUMNS), "url", "lon", "lat")


def facts_of(incident: PublicIncident, public_url: str) -> Facts:
    """What is told of an incident, but for its place: the columns in their order."""
    return {name: value(incident) for name, value in _COLUMNS} | {"url": f"{public_url}/i/{incident.code}"}


def feature_of(incident: PublicIncident, public_url: str) -> dict[str, Any]:
    """One GeoJSON feature (RFC 7946): a point on the water."""
    return {
        "type": "Feature",
        "id": incident.code,
        "geometry": {"type": "Point", "coordinates": [incident.lon, incident.lat]},
        "properties": facts_of(incident, public_url),
    }


def as_geojson(incidents: Sequence[PublicIncident], public_url: str, about: Mapping[str, Any]) -> str:
    """A FeatureCollection; ``about`` says of what it is."""
    collection = {
        "type": "FeatureCollection",
        "notice": NOTICE,
        "about": about,
        "features": [feature_of(one, public_url) for one in incidents],
    }
    return json.dumps(collection, ensure_ascii=False, separators=(",", ":"))


def as_csv(incidents: Sequence[PublicIncident], public_url: str) -> str:
    """A table with a line of column names, as spreadsheets read it."""
    rows = ([*facts_of(one, public_url).values(), one.lon, one.lat] for one in incidents)
    return sheets.as_csv(COLUMNS, rows)
