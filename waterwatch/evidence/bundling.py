"""Makes a bundle: the facts as files, the sealed originals beside them, a manifest of all, its signature.

No transaction is open while files are fetched and written. What is needed on the way lies in a private folder that goes
with the run; the sweep removes those of runs that were killed.
"""

import base64
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from waterwatch.evidence import archive, keys, rules, service
from waterwatch.evidence.forms import OpenBundle
from waterwatch.evidence.rules import FileFacts, Manifest
from waterwatch.evidence.service import Gathered, Opening
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, NotFound
from waterwatch.kernel.objects import ObjectStore, sync_folder
from waterwatch.kernel.settings import Settings
from waterwatch.photos import tags
from waterwatch.photos.rules import Limits

SUFFIXES: Final = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/heif": "heic",
    "image/avif": "avif",
}
FOLDER_PREFIX: Final = "evidence-"


@dataclass(frozen=True)
class Made:
    """A bundle on the disk. ``withheld``, ``forgotten``, ``later``: originals that are not in it, and why."""

    bundle_id: uuid.UUID
    sha256: str
    size_bytes: int
    files: int
    originals: int
    withheld: int
    forgotten: int
    later: int


@dataclass(frozen=True)
class _File:
    name: str
    path: Path


def make_bundle(context: JobContext, command: OpenBundle, out: Path, *, roles: frozenset[str], actor: Actor) -> Made:
    """Everything about one incident as one signed file at ``out``, readable by its owner alone; what was there stays
    until the new one is whole.

    Raises :class:`Forbidden`, :class:`Invalid`, :class:`NotFound`, :class:`Unavailable`, :class:`Conflict`
    ``evidence_too_large``; :class:`keys.KeyUnusable`.
    """
    key = keys.signing_key(context.settings)
    with transaction(context.sessions) as session:
        opening = service.open_bundle(session, command, roles=roles, actor=actor, now=context.now())
    _seal_all(context)
    with context.sessions() as reading:
        reading.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        gathered = service.gather(reading, opening.incident_id)
        reading.rollback()
    with _private_folder(context.settings) as folder:
        filed, counts = _file_all(context, opening, gathered, folder)
        written = _sign(opening, gathered, filed, folder, key)
        sha256, size_bytes = _write(out, written)
    with transaction(context.sessions) as session:
        service.record_bundled(session, opening, sha256, size_bytes, actor=actor, now=context.now())
    return Made(opening.bundle_id, sha256, size_bytes, len(written), **counts)


def _seal_all(context: JobContext) -> None:
    """The acts of a moment ago get their seals too; where the sweep is at it, some may be left without."""
    while True:
        with transaction(context.sessions) as session:
            if not audit.seal(session, now=context.now()):
                return


@contextmanager
def _private_folder(settings: Settings) -> Iterator[Path]:
    settings.spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=settings.spool_dir))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _file_all(
    context: JobContext, opening: Opening, gathered: Gathered, folder: Path
) -> tuple[list[_File], dict[str, int]]:
    """The files of a bundle but for manifest and signature, by name; how many originals are in it, or why not."""
    facts, counts = gathered.facts, {"originals": 0, "withheld": 0, "forgotten": 0, "later": 0}
    documents: dict[str, Any] = {
        "incident.json": facts.incident,
        "grades.json": {"grades": facts.grades},
        "cases.json": {
            "cases": facts.cases,
            "rounds": facts.rounds,
            "deliveries": facts.deliveries,
            "mails": facts.mails,
            "answers": facts.answers,
        },
        rules.CUSTODY: _custody(gathered),
    }
    filed: list[_File] = []
    reports = [("reports", "report", row["report_id"], _told(row), facts.photos) for row in facts.reports]
    answers = [("answers", "answer", row["answer_id"], row, facts.answer_photos) for row in facts.answers]
    for group in (reports, answers):
        for number, (place, what, its_id, said, photos) in enumerate(group, start=1):
            told = []
            for row in (one for one in photos if one[f"{what}_id"] == its_id):
                at = f"{place}/{number:02d}/photo-{row['position'] + 1}"
                photo, pieces = _file_photo(context, opening, row, at, folder)
                counts[{"included": "originals"}.get(photo["original"], photo["original"])] += 1
                filed += pieces
                told.append(photo)
            documents[f"{place}/{number:02d}/{what}.json"] = {**said, "photos": told}
    for name, values in documents.items():
        filed.append(_put(folder, name, rules.canonical(_plain(values))))
    filed.append(_put(folder, rules.README, files("waterwatch.evidence").joinpath("builtin/README.txt").read_bytes()))
    return sorted(filed, key=lambda one: one.name), counts


def _told(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report with what it says of its place kept together: each claim, and how far from the confirmed place it is."""
    rest = dict(report)
    place = {
        "confirmed": {"lon": rest.pop("lon"), "lat": rest.pop("lat"), "source": rest.pop("place_source")},
        "entered_in": rest.pop("input_datum"),
        "device": {
            "lon": rest.pop("device_lon"),
            "lat": rest.pop("device_lat"),
            "accuracy_m": rest.pop("accuracy_m"),
            "distance_m": rest.pop("device_distance_m"),
        },
        "on_the_water": {
            "lon": rest.pop("water_lon"),
            "lat": rest.pop("water_lat"),
            "distance_m": rest.pop("water_distance_m"),
        },
    }
    return {**rest, "place": place}


def _file_photo(
    context: JobContext, opening: Opening, row: Mapping[str, Any], place: str, folder: Path
) -> tuple[dict[str, Any], list[_File]]:
    """What is told of a photo, and its files: the original where it is there and names nobody, its EXIF, a picture.

    An original that came after the demand is not read: nobody is on record for it.
    """
    filed: list[_File] = []
    is_demanded = row["photo_id"] in opening.originals
    original, original_name = "forgotten" if is_demanded or row["original_key"] is None else "later", None
    found = _fetch(context.objects, row["original_key"] if is_demanded else None, folder)
    if found is not None:
        read = tags.read_tags(found, Limits.from_settings(context.settings))
        filed.append(_put(folder, f"{place}/exif.json", rules.canonical(read)))
        if read["may_name_somebody"] and not opening.command.with_named:
            original = "withheld"
        else:
            original = "included"
            original_name = f"{place}/original.{SUFFIXES.get(row['media_type'], 'bin')}"
            filed.append(_File(original_name, found))
    picture = _fetch(context.objects, row["picture_key"] if row["is_picture_settled"] else None, folder)
    if picture is not None:
        filed.append(_File(f"{place}/picture.jpg", picture))
    told = {name: row[name] for name in ("photo_id", "position", "media_type", "width", "height", "received_at")}
    told |= {
        "sha256": row["sha256"].hex(),
        "bytes": row["original_bytes"],
        "original": original,
        "original_file": original_name,
        "covered_parts": row["covered_parts"],
        "taken_at": row["exif_taken_at"],
        "taken_at_local": row["exif_taken_at_local"] or row["stated_taken_at_local"],
        "exif_place": {"lon": row["exif_lon"], "lat": row["exif_lat"], "distance_m": row["exif_distance_m"]},
        "stated_place": {"lon": row["stated_lon"], "lat": row["stated_lat"], "distance_m": row["stated_distance_m"]},
    }
    return told, filed


def _fetch(objects: ObjectStore, key: str | None, folder: Path) -> Path | None:
    if key is None:
        return None
    path = folder / f"object-{uuid.uuid4().hex}"
    try:
        objects.fetch(key, path)
    except NotFound:  # its time was over a moment ago
        path.unlink(missing_ok=True)
        return None
    return path


def _custody(gathered: Gathered) -> dict[str, Any]:
    acts = [
        {
            "act": one.act,
            "seal": None
            if one.number is None or one.before is None or one.hash is None
            else {"number": one.number, "before": one.before.hex(), "hash": one.hash.hex(), "at": one.sealed_at},
        }
        for one in gathered.acts
    ]
    head = None if gathered.head is None else {"number": gathered.head[0], "hash": gathered.head[1].hex()}
    return {"acts": acts, "last_seal": head}


def _sign(
    opening: Opening, gathered: Gathered, filed: Sequence[_File], folder: Path, key: Ed25519PrivateKey
) -> list[tuple[str, Path]]:
    """All files of the bundle in their order, manifest and signature first."""
    manifest = rules.write_manifest(
        Manifest(
            bundle_id=str(opening.bundle_id),
            incident=str(gathered.facts.incident["code"]),
            made_at=opening.opened_at.astimezone(UTC).isoformat(),
            reason=opening.command.reason,
            public_key=keys.to_pem([key.public_key()]),
            files=tuple(_measure(one) for one in filed),
        )
    )
    signature = base64.b64encode(key.sign(rules.signed_bytes(manifest))) + b"\n"
    first = [_put(folder, rules.MANIFEST, manifest), _put(folder, rules.SIGNATURE, signature)]
    return [(one.name, one.path) for one in (*first, *filed)]


def _measure(one: _File) -> FileFacts:
    digest, size = hashlib.sha256(), 0
    for chunk in archive.chunks(one.path):
        digest.update(chunk)
        size += len(chunk)
    return FileFacts(one.name, digest.hexdigest(), size)


def _put(folder: Path, name: str, content: bytes) -> _File:
    path = folder / f"written-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
    path.write_bytes(content)
    return _File(name, path)


def _write(out: Path, filed: Sequence[tuple[str, Path]]) -> tuple[str, int]:
    """The archive at ``out``, durable and for its owner alone; its SHA-256 and size."""
    draft = out.with_name(f".{out.name}.part")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            try:
                archive.write(file, filed)
            except archive.TooLarge:
                raise Conflict("evidence_too_large") from None
            file.flush()
            os.fsync(file.fileno())
        found = _measure(_File(out.name, draft))
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(out.parent)
    return found.sha256, found.size_bytes


def _plain(value: Any) -> Any:
    """As JSON has it: times in UTC, ids as text, lengths in metres to the centimetre."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, uuid.UUID | date):
        return str(value)
    return value
