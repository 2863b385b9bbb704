"""The first form of the published map, which the browser still reads. To be removed with its last reader."""

from typing import Any

from waterwatch.advisories.queries import confirmed_levels
from waterwatch.incidents.queries import IncidentView, open_incidents
from waterwatch.kernel.db import transaction
from waterwatch.mapping.publishing import encode
from waterwatch.mapping.publishing_run import OLD_POINTER, Run
from waterwatch.mapping.rules import digest_of, hashed_name
from waterwatch.waters import queries as waters


def write(run: Run) -> None:
    """Its three files and its pointer."""
    with transaction(run.context.sessions) as session:
        coloured = [[level.feature_id, level.level] for level in confirmed_levels(session)]
        found = open_incidents(session)
        public_ids = waters.public_ids_of(session, {incident.water_body_id for incident in found})
        features = [_feature(incident, public_ids[incident.water_body_id]) for incident in found]
        contents = {
            "waters": encode(waters.features_geojson(session, always=[feature_id for feature_id, _ in coloured])),
            "levels": encode({"levels": coloured}),
            "incidents": encode({"type": "FeatureCollection", "features": features}),
        }
    names = {}
    for stem, content in contents.items():
        names[stem] = hashed_name(stem, content)
        if run.known.get(f"v1/{stem}", ("", ""))[1] != digest_of(content):
            run.shelf.put(names[stem], content)
    run.keep({f"v1/{stem}": (names[stem], digest_of(content)) for stem, content in contents.items()})
    manifest = {
        "generated_at": run.at.isoformat(),
        "geometry": names["waters"],
        "levels": names["levels"],
        "incidents": names["incidents"],
        "snapshot": "maps/national.html",
        "stale_after_s": run.context.settings.published_stale_after_s,
    }
    run.shelf.put(OLD_POINTER, encode(manifest))


def _feature(incident: IncidentView, public_id: str) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [round(incident.lon, 5), round(incident.lat, 5)]},
        "properties": {
            "code": incident.code,
            "kind": incident.kind,
            "severity": incident.severity,
            "water": public_id,
            "feature_id": incident.feature_id,
            "opened_on": incident.opened_at.date().isoformat(),
        },
    }
