"""Publishing the public map: immutable, content-hashed files and one small manifest that points at them.

Any static host can serve the folder; with the application stopped the map still stands. The manifest is replaced last
and by rename, so a reader sees the old map or the new one, never half of each.
"""

import contextlib
import gzip
import json
import os
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from waterwatch.advisories.queries import confirmed_levels
from waterwatch.incidents.queries import IncidentView, open_incidents
from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.outbox import Message
from waterwatch.mapping import pages
from waterwatch.mapping.queries import background_waters, levelled_waters
from waterwatch.mapping.rules import hashed_name
from waterwatch.mapping.tables import Publication
from waterwatch.waters import queries as waters

TOPIC_PUBLISH = "mapping.publish"
KEEP_SUPERSEDED_S = 3600.0  # a phone that has just read the old manifest still finds what it names
VENDOR = ("leaflet.js", "leaflet.css")


def request_publication(session: Session, *, now: datetime) -> None:
    """Ask, in the caller's transaction, that the map be published anew."""
    outbox.emit(session, TOPIC_PUBLISH, {}, now=now, priority=outbox.NORMAL)


def publish(context: JobContext, message: Message) -> None:
    """Publish the present truth; one run serves every request that waits.

    Idempotent: files are named by their content, so a repeated run writes the same names; the manifest is replaced
    whole. Requests are absorbed before anything is read, so what they ask for is in what is read.
    """
    with transaction(context.sessions) as session:
        outbox.absorb(session, message)
    published_at = context.now()
    with transaction(context.sessions) as session:
        contents = _read(session)
        snapshot = pages.national_page(levelled_waters(session), background_waters(session), published_at=published_at)
    folder = context.settings.publish_dir
    folder.mkdir(parents=True, exist_ok=True)
    names = {stem: hashed_name(stem, content) for stem, content in contents.items()}
    for stem, content in contents.items():
        if not (folder / names[stem]).exists():
            _write(folder / names[stem], content, compress=True)
    _copy_vendor(context.settings.front_end_dir / "vendor", folder / "vendor")
    _write(folder / "national.html", snapshot.encode(), compress=True)
    manifest = _manifest(names, published_at, context.settings.published_stale_after_s)
    _write(folder / "manifest.json", _encode(manifest))
    with transaction(context.sessions) as session:
        session.add(
            Publication(
                id=new_id(),
                published_at=published_at,
                geometry_file=names["waters"],
                levels_file=names["levels"],
                incidents_file=names["incidents"],
            )
        )
        outbox.finish(session, message.id)
    _remove_superseded(folder, set(names.values()))


def _read(session: Session) -> dict[str, bytes]:
    coloured = [[level.feature_id, level.level] for level in confirmed_levels(session)]
    levels = {"levels": coloured}
    incidents = {"type": "FeatureCollection", "features": _incident_features(session)}
    return {
        "waters": _encode(waters.features_geojson(session, always=[feature_id for feature_id, _level in coloured])),
        "levels": _encode(levels),
        "incidents": _encode(incidents),
    }


def _incident_features(session: Session) -> list[dict[str, Any]]:
    found = open_incidents(session)
    public_ids = waters.public_ids_of(session, {incident.water_body_id for incident in found})
    return [_incident_feature(incident, public_ids[incident.water_body_id]) for incident in found]


def _incident_feature(incident: IncidentView, public_id: str) -> dict[str, Any]:
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


def _manifest(names: dict[str, str], published_at: datetime, stale_after_s: int) -> dict[str, Any]:
    return {
        "generated_at": published_at.isoformat(),
        "geometry": names["waters"],
        "levels": names["levels"],
        "incidents": names["incidents"],
        "snapshot": "national.html",
        "stale_after_s": stale_after_s,
    }


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def _write(path: Path, content: bytes, *, compress: bool = False) -> None:
    """Write a file whole: draft, fsync, rename. With ``compress`` a gzip twin beside it, for hosts that serve those."""
    variants = [(path, content)]
    if compress:
        variants.insert(0, (path.with_name(path.name + ".gz"), gzip.compress(content, 6, mtime=0)))
    for target, data in variants:
        draft = _draft_of(target)
        with draft.open("wb") as sink:
            sink.write(data)
            sink.flush()
            os.fsync(sink.fileno())
        draft.replace(target)


def _draft_of(target: Path) -> Path:
    """A name of this run alone: publishers on several machines may share the folder."""
    return target.with_name(f".{target.name}.{new_id()}.part")


def _copy_vendor(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name in VENDOR:
        if not (target / name).exists():
            draft = _draft_of(target / name)
            shutil.copyfile(source / name, draft)
            draft.replace(target / name)


def _remove_superseded(folder: Path, current: set[str]) -> None:
    horizon = time.time() - KEEP_SUPERSEDED_S
    for path in (*folder.glob("*.json*"), *folder.rglob(".*.part")):
        if path.name == "manifest.json" or path.name.removesuffix(".gz") in current:
            continue
        with contextlib.suppress(FileNotFoundError):  # another publisher was faster
            if path.stat().st_mtime < horizon:
                path.unlink()
