"""Reports that somebody else collected: a folder of photos, or a table of another system → the ordinary intake.

Two passes. The first reads every row and every photo's first bytes and writes nothing; the second stores each row as a
citizen's report is stored: bytes durably into quarantine, then one transaction. A row is a report or it is nothing.
"""

import codecs
import csv
import hashlib
import os
import re
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.photos import pixels
from waterwatch.photos.evidence import Evidence
from waterwatch.photos.rules import Limits, refuse_type, sniff
from waterwatch.reports import intake, queries
from waterwatch.reports.forms import CLOCKS_DIFFER, Sender, parse_submission
from waterwatch.reports.intake import SubmitReport
from waterwatch.waters.rules import to_wgs84

ROLES = ("id", "lon", "lat", "datum", "kind", "place_words", "note", "observed_at", "photos")
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".avif"})
SNIFF_BYTES = 64
NAMESPACE = uuid.UUID("6f1c2b1e-8d0f-5c39-9f0a-5a1d3b6e7c84")  # of our derived keys; never to be changed
IMPORT = Sender("import")
# A cell that begins like this is a formula to the program that opens the table (half-width or full-width), unless it is
# a number. An apostrophe before it makes it text; it is put before such cells and taken off again.
_FORMULA = frozenset("=+-@＝＋－＠")
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)


class SheetFault(Exception):
    """The table as a whole cannot be read. ``code`` is stable."""

    def __init__(self, code: str, **facts: str) -> None:
        self.code = code
        self.facts = facts
        super().__init__(code)


@dataclass(frozen=True)
class Row:
    """One report to be: its number in the source, its fields by role, its photos' paths as written."""

    number: int
    fields: Mapping[str, str]
    photos: tuple[str, ...]
    is_closed_folder: bool = False

    @property
    def key(self) -> str:
        """What the operator knows the row by."""
        return self.fields.get("id", "") or ";".join(self.photos)


@dataclass(frozen=True)
class Refusal:
    """Why a row is no report: stable codes by field."""

    row: Row
    faults: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Photo:
    """A photo as it lies in the archive; satisfies what the citizen's form asks of an upload."""

    path: Path
    size_bytes: int
    is_too_large: bool

    @cached_property
    def sha256(self) -> bytes:
        """Digest of its bytes."""
        with self.path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").digest()


@dataclass(frozen=True)
class Plan:
    """How rows become reports. ``kind`` and ``datum`` are for rows that do not say; ``zone`` for times without one."""

    source: str
    folder: Path
    kind: str
    datum: str
    zone: tzinfo
    kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ready:
    """A row that can be stored."""

    row: Row
    command: SubmitReport
    photos: tuple[Photo, ...]


def rows_of_folder(folder: Path) -> list[Row]:
    """One row a photo, in the order of their names, folders below included. Links that lead elsewhere are left out.

    A folder that cannot be read is a row too, for :func:`check` to refuse: what lies in it is not passed over in
    silence.
    """
    closed: set[Path] = set()
    found: list[Path] = []
    for at, _folders, names in os.walk(folder, onerror=lambda fault: closed.add(Path(fault.filename))):
        found += [path for name in names if _is_photo_of(folder, path := Path(at, name))]
    return [
        Row(number, {}, (str(path.relative_to(folder)),), is_closed_folder=path in closed)
        for number, path in enumerate(sorted([*found, *closed]), start=1)
    ]


def _is_photo_of(folder: Path, path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES and path.is_file() and path.resolve().is_relative_to(folder.resolve())


def rows_of_table(file: Path, columns: Mapping[str, str], encoding: str) -> list[Row]:
    """The rows of a CSV file; ``columns`` names the column of a role where it differs. Raises :class:`SheetFault`."""
    try:
        is_utf8 = codecs.lookup(encoding).name == "utf-8"
        with file.open(encoding="utf-8-sig" if is_utf8 else encoding, newline="") as text:
            reader = csv.DictReader(text, strict=True)
            named = {role: columns.get(role, role) for role in ROLES}
            for role in (*columns, "id", "photos"):
                if named[role] not in (reader.fieldnames or ()):
                    raise SheetFault("column_missing", column=named[role])
            return [_row(number, line, named) for number, line in enumerate(reader, start=1)]
    except (UnicodeError, LookupError):
        raise SheetFault("encoding_unknown", encoding=encoding) from None
    except (csv.Error, OSError) as error:
        raise SheetFault("file_unreadable", file=str(file), error=type(error).__name__) from None


def _row(number: int, line: Mapping[str, str | None], named: Mapping[str, str]) -> Row:
    fields = {role: _unguarded((line.get(column) or "").strip()) for role, column in named.items()}
    photos = tuple(part.strip() for part in fields.pop("photos").split(";") if part.strip())
    return Row(number, fields, photos)


def check(rows: Sequence[Row], plan: Plan, settings: Settings, *, now: datetime) -> Iterator[Ready | Refusal]:
    """Each row as a report, or why not. Reads the photos and writes nothing.

    Raises ``Unavailable`` where the machine, not the photo, is at fault.
    """
    seen: set[str] = set()
    for row in rows:
        try:
            if row.is_closed_folder:
                raise Invalid({"photos": ["folder_unreadable"]})
            if "id" in row.fields and (not row.fields["id"] or row.fields["id"] in seen):
                raise Invalid({"id": ["id_missing" if not row.fields["id"] else "id_doubled"]})
            seen.add(row.fields.get("id", ""))
            yield _ready(row, plan, settings, now)
        except Invalid as fault:
            yield Refusal(row, fault.errors)


def _ready(row: Row, plan: Plan, settings: Settings, now: datetime) -> Ready:
    photos = tuple(_photo(plan.folder, name, settings) for name in row.photos)
    fields = dict(row.fields)
    is_placed = bool(fields.get("lon") or fields.get("lat"))
    claims = None if is_placed and fields.get("observed_at") else _claims(photos, settings)
    is_claimed = not is_placed and claims is not None and claims.lon is not None
    if is_claimed and claims is not None:
        fields |= {"lon": f"{claims.lon:.7f}", "lat": f"{claims.lat:.7f}", "datum": "wgs84"}
    kind = fields.get("kind", "")
    fields["kind"] = plan.kinds.get(kind, kind) or plan.kind
    fields["datum"] = fields.get("datum") or plan.datum
    stated = fields.pop("observed_at", "") or (claims.taken_at or claims.taken_at_local or "" if claims else "")
    fields |= {"idempotency_key": str(new_id()), "place_confirmed": "yes", "place_source": "typed"}
    command = parse_submission(
        fields,
        photos,
        sender=IMPORT,
        photos_per_report=settings.photos_per_report,
        language="zh-Hans",
        to_wgs84=to_wgs84,
        now=now,
    )
    key = _key(plan.source, row, photos)
    command = replace(
        command,
        idempotency_key=key,
        observed_at=_observed_at(stated, plan, now),
        place_source="device" if is_claimed else "typed",
    )
    return Ready(row, command, photos)


def _key(source: str, row: Row, photos: Sequence[Photo]) -> uuid.UUID:
    """The same row of the same source with the same photos has the same key, in whatever folder it lies."""
    parts = (source, row.fields.get("id", ""), *(photo.sha256.hex() for photo in photos))
    return uuid.uuid5(NAMESPACE, "\n".join(parts))


def _photo(folder: Path, name: str, settings: Settings) -> Photo:
    """A photo by its path in the archive. Its first bytes are looked at, it is not decoded."""
    path = folder / name
    try:
        if "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
            raise Invalid({"photos": ["photo_elsewhere"]})
        # A pipe is opened without waiting for somebody at its other end.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as content:
            found = os.fstat(content.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise Invalid({"photos": ["photo_unreadable"]})
            head, size_bytes = content.read(SNIFF_BYTES), found.st_size
    except (OSError, RuntimeError):  # RuntimeError: links that lead in a circle
        raise Invalid({"photos": ["photo_unreadable"]}) from None
    if sniff(head) is None:
        raise Invalid({"photos": [refuse_type(head)]})
    return Photo(path, size_bytes, size_bytes > settings.photo_max_bytes)


def _claims(photos: Sequence[Photo], settings: Settings) -> Evidence | None:
    """What the first photo that names a place says; else the first photo's time. Read in confined children."""
    found = None
    for photo in photos:
        if photo.is_too_large:
            continue
        outcome = pixels.read_in_child(photo.path, Limits.from_settings(settings))
        if not isinstance(outcome, Evidence):
            raise Invalid({"photos": [outcome.code]})
        if outcome.lon is not None:
            return outcome
        found = found or outcome
    return found


def _observed_at(stated: str, plan: Plan, now: datetime) -> datetime | None:
    """When it was seen, however long ago: an archive is old. A time without its zone is the plan's."""
    if not stated:
        return None
    try:
        at = datetime.fromisoformat(stated)
        at = (at if at.tzinfo else at.replace(tzinfo=plan.zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid({"observed_at": ["observed_at_unreadable"]}) from None
    if at > now + CLOCKS_DIFFER:
        raise Invalid({"observed_at": ["observed_at_in_future"]})
    return at


def is_known(session: Session, ready: Ready, settings: Settings) -> bool:
    """Whether this very report was stored before, also under the secret that is being rotated out."""
    sums = [photo.sha256 for photo in ready.command.photos]
    digests = [intake.submission_digest(ready.command, sums, settings)]
    if settings.secret_key_previous is not None:
        digests.append(intake.submission_digest(ready.command, sums, settings, previous=True))
    return any(queries.receipt_facts(session, digest) is not None for digest in digests)


def store(
    ready: Ready,
    *,
    sessions: sessionmaker[Session],
    objects: ObjectStore,
    settings: Settings,
    now: Callable[[], datetime],
) -> bool:
    """Store a report as a citizen's is stored; False when it was there already and nothing was stored. Raises
    :class:`Invalid` ``photo_changed`` where a photo is not what was checked any more.

    Durable bytes first, then one transaction; what did not become a report is removed again. When the commit itself
    fails its outcome is unknown: the photos stay for the reconciliation, and the same import again says which it was.
    """
    with transaction(sessions) as session:
        if is_known(session, ready, settings):
            return False
    is_committing = False
    try:
        for received, photo in zip(ready.command.photos, ready.photos, strict=True):
            _copy(photo, received.object_key, objects)
        with transaction(sessions) as session:
            receipt = intake.submit(session, ready.command, settings=settings, now=now())
            is_committing = True
    except BaseException:
        if not is_committing:
            _remove(ready, objects)
        raise
    if receipt.is_repeat:
        _remove(ready, objects)
    return not receipt.is_repeat


def _copy(photo: Photo, key: str, objects: ObjectStore) -> None:
    """What lies in the store is what was checked, to the bit: the report is known by its photos' digests."""
    try:
        objects.put_file(key, photo.path)
    except OSError as error:
        if error.filename != str(photo.path):  # not the photo, but the store
            raise
        raise Invalid({"photos": ["photo_changed"]}) from None
    stored = hashlib.sha256()
    for chunk in objects.open(key):
        stored.update(chunk)
    if stored.digest() != photo.sha256:
        raise Invalid({"photos": ["photo_changed"]})


def _remove(ready: Ready, objects: ObjectStore) -> None:
    for photo in ready.command.photos:
        objects.delete(photo.object_key)


def write_refusals(file: Path, refusals: Sequence[Refusal], words: Mapping[str, str]) -> None:
    """The refused rows as a table that can be filled in and imported itself: the roles, the codes, the reasons.

    It is there whole or not at all. A file name that is no text is written with escapes.
    """
    draft = file.with_name(file.name + ".part")
    with draft.open("w", encoding="utf-8-sig", errors="backslashreplace", newline="") as text:
        table = csv.writer(text)
        table.writerow((*ROLES, "code", "reason"))
        for refusal in refusals:
            row, codes = refusal.row, [code for found in refusal.faults.values() for code in found]
            fields = dict(row.fields) | {"photos": ";".join(row.photos)}
            fields["id"] = fields.get("id") or row.key
            reason = "; ".join(words[code] for code in codes)
            table.writerow((*(_guarded(fields.get(role, "")) for role in ROLES), " ".join(codes), reason))
    draft.replace(file)


def _guarded(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: the operator opens what strangers wrote."""
    is_formula = cell[:1] in _FORMULA and _NUMBER.fullmatch(cell) is None
    return f"'{cell}" if is_formula else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _FORMULA else cell
