"""What the pages are to search engines: schema.org as JSON-LD. No I/O; escaped where it is written into a page."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from waterwatch.atlas.areas import Area
from waterwatch.atlas.incidents import PublicIncident
from waterwatch.waters.queries import WaterView
from waterwatch.web.language import DEFAULT_ZONE

Linked = dict[str, Any]
CONTEXT = "https://schema.org"
# https://schema.org/BodyOfWater and what lies below it
_WATER_TYPES = {
    "river": "RiverBodyOfWater",
    "canal": "Canal",
    "lake": "LakeBodyOfWater",
    "reservoir": "Reservoir",
    "pond": "Pond",
}


def of_water(water: WaterView, names: Mapping[str, str], name: str, level: str | None, public_url: str) -> Linked:
    """A body of water, with the level it carries in words."""
    page = f"{public_url}/w/{water.public_id}"
    linked: Linked = {
        "@context": CONTEXT,
        "@type": _WATER_TYPES[water.kind],
        "@id": page,
        "url": page,
        "name": name,
        "alternateName": sorted({other for other in names.values() if other != name}),
    }
    if level is not None:
        linked["additionalProperty"] = {"@type": "PropertyValue", "name": "公众观察等级", "value": level}
    return linked


def of_incident(incident: PublicIncident, name: str, headline: str, public_url: str) -> Linked:
    """A report about a place: ours, not an authority's."""
    page = f"{public_url}/i/{incident.code}"
    return {
        "@context": CONTEXT,
        "@type": "Report",
        "@id": page,
        "url": page,
        "reportNumber": incident.code,
        "headline": headline,
        "datePublished": _day(incident.opened_at),
        "dateModified": _day(incident.changed_at),
        "about": {
            "@type": "Place",
            "name": name,
            "url": f"{public_url}/w/{incident.water}",
            "geo": {"@type": "GeoCoordinates", "latitude": incident.lat, "longitude": incident.lon},
        },
    }


def of_area(area: Area, name: str, above: str | None, public_url: str) -> Linked:
    """An administrative area; its border is not told."""
    page = f"{public_url}/a/{area.code}"
    linked: Linked = {
        "@context": CONTEXT,
        "@type": "AdministrativeArea",
        "@id": page,
        "url": page,
        "name": name,
        "identifier": {"@type": "PropertyValue", "propertyID": "GB/T 2260", "value": area.code},
    }
    if above:
        linked["containedInPlace"] = {"@type": "AdministrativeArea", "name": above}
    return linked


def of_data(name: str, addresses: Sequence[tuple[str, str]], public_url: str) -> Linked:
    """The data of a page: ``addresses`` are (media type, path)."""
    return {
        "@context": CONTEXT,
        "@type": "Dataset",
        "name": name,
        "description": "公众观察等级，非政府预警",
        "distribution": [
            {"@type": "DataDownload", "encodingFormat": media_type, "contentUrl": public_url + path}
            for media_type, path in addresses
        ],
    }


def _day(at: datetime) -> str:
    """The day in China, as the page says it."""
    return at.astimezone(ZoneInfo(DEFAULT_ZONE)).date().isoformat()
