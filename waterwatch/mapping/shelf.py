"""Where the published map lies: a folder that any web server serves, or an S3-compatible bucket.

Each file is replaced whole or not at all. A file whose name carries a hash never changes; yet it is kept for long only
where it tells of no incident: what is withdrawn is gone from every cache within a minute. Names are made by us.
"""

import errno
import gzip
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import obstore

from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import CHUNK_BYTES, answering, open_bucket, sync_folder
from waterwatch.kernel.settings import Settings

HASHED_FOREVER = "public, max-age=31536000, immutable"
A_DAY = "public, max-age=86400"
REVALIDATE = "public, max-age=30"  # two caches in a row, each keeping it for so long, still make a minute
MEDIA_TYPES = {
    "json": "application/json",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript",
    "css": "text/css",
    "svg": "image/svg+xml",
    "png": "image/png",
    "pmtiles": "application/vnd.pmtiles",
    "webmanifest": "application/manifest+json",
}
COMPRESSED = {"json", "html", "js", "css", "svg", "webmanifest"}
# ``levels.0123456789abcdef.json`` of ours, ``assets/map-zv62qs-M.js`` of Vite's.
HASHED = re.compile(r"(?:.+\.[0-9a-f]{16}\.[a-z]+|assets/[^/]+-[A-Za-z0-9_-]{8}\.[a-z0-9]+)")
# Of those, what tells of no incident: waters, scripts and styles.
_FOREVER = re.compile(r"(?:[^/]+\.[0-9a-f]{16}\.pmtiles|assets/[^/]+-[A-Za-z0-9_-]{8}\.[a-z0-9]+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-./]{0,200}")
RETRY_FULL_S = 10.0
PART_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Lying:
    """A file on the shelf."""

    name: str
    modified_at: datetime


class Shelf(Protocol):
    """What the publisher does with files. Raises :class:`Unavailable` when it cannot be done now."""

    def put(self, name: str, content: bytes) -> None:
        """Write or replace one file, durably."""

    def put_file(self, name: str, path: Path) -> None:
        """The same with the content of a file that does not change any more."""

    def read(self, name: str) -> bytes | None:
        """A file's content, unpacked; None where there is none."""

    def has(self, name: str) -> bool:
        """Whether a file is there."""

    def remove(self, names: Collection[str]) -> None:
        """Remove files; those that are not there are none the less removed."""

    def lying(self) -> Iterator[Lying]:
        """Every file on the shelf, in no order; what a publisher that was killed left half done among them."""


def open_shelf(settings: Settings) -> Shelf:
    """The shelf the settings name: ``publish_url`` where it is set, else ``publish_dir``."""
    if settings.publish_url is not None:
        return BucketShelf(settings.publish_url)
    return FolderShelf(settings.publish_dir)


def media_type(name: str) -> str:
    """By its ending."""
    return MEDIA_TYPES.get(name.rpartition(".")[2], "application/octet-stream")


def cache_control(name: str) -> str:
    """How long a file may be kept."""
    if _FOREVER.fullmatch(name):
        return HASHED_FOREVER
    return A_DAY if name.startswith("vendor/") else REVALIDATE  # no hash: another Leaflet comes under the same name


def is_compressed(name: str) -> bool:
    """Whether it is worth packing: text is, tiles and pictures are packed themselves."""
    return name.rpartition(".")[2] in COMPRESSED


def _check(name: str) -> None:
    if not _NAME.fullmatch(name) or ".." in name or "//" in name:
        raise ValueError("not a name of ours")


class FolderShelf:
    """A folder. Text has a packed twin (``….gz``) beside it, for servers that give those out as they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, name: str, content: bytes) -> None:
        """Draft, fsync, rename, fsync of the folder; the twin first, so that it is never older than its file."""
        _check(name)
        target = self.folder / name
        variants = [(target, content)]
        if is_compressed(name):
            variants.insert(0, (_twin(target), gzip.compress(content, 6, mtime=0)))
        with _having_room():
            target.parent.mkdir(parents=True, exist_ok=True)
            for path, data in variants:
                draft = _draft_of(path)
                try:
                    with draft.open("wb") as sink:
                        sink.write(data)
                        _settle(sink.fileno())
                    draft.replace(path)
                except OSError:
                    draft.unlink(missing_ok=True)  # where there is no room, a draft takes some
                    raise
            sync_folder(target.parent)

    def put_file(self, name: str, path: Path) -> None:
        """A second name for the file where it lies on the same file system, else a copy."""
        _check(name)
        target = self.folder / name
        with _having_room():
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = _draft_of(target)
            try:
                os.link(path, draft)
            except OSError:
                with path.open("rb") as source, draft.open("wb") as sink:
                    shutil.copyfileobj(source, sink, CHUNK_BYTES)
                    _settle(sink.fileno())
            draft.replace(target)
            draft.unlink(missing_ok=True)  # renaming one name of a file onto another of its names leaves both
            sync_folder(target.parent)

    def read(self, name: str) -> bytes | None:
        """A file's content."""
        _check(name)
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        _check(name)
        return (self.folder / name).is_file()

    def remove(self, names: Collection[str]) -> None:
        """With its twin."""
        for name in names:
            path = self.folder / name
            with _having_room():
                path.unlink(missing_ok=True)
                _twin(path).unlink(missing_ok=True)

    def lying(self) -> Iterator[Lying]:
        """Every file; twins go with theirs."""
        for folder, _folders, files in os.walk(self.folder):
            for file in files:
                path = Path(folder) / file
                if path.suffix == ".gz" and path.with_suffix("").exists():
                    continue
                try:
                    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
                except FileNotFoundError:
                    continue
                yield Lying(str(path.relative_to(self.folder)), changed)


class BucketShelf:
    """A bucket. Text is stored packed and says so; large files go up in parts."""

    def __init__(self, url: str) -> None:
        """``s3://bucket/prefix?endpoint=https://…&region=…``; credentials as of the photos' store."""
        parts = urlsplit(url)
        self._store = open_bucket(parts.netloc, parts.path.strip("/"), parse_qs(parts.query))

    def put(self, name: str, content: bytes) -> None:
        """One request: a bucket shows an object whole or not at all."""
        _check(name)
        attributes = {"Content-Type": media_type(name), "Cache-Control": cache_control(name)}
        if is_compressed(name):
            content = gzip.compress(content, 6, mtime=0)
            attributes["Content-Encoding"] = "gzip"
        with answering():
            obstore.put(self._store, name, content, attributes=attributes)

    def put_file(self, name: str, path: Path) -> None:
        """In parts; until the last of them is there the object does not exist."""
        _check(name)
        attributes = {"Content-Type": media_type(name), "Cache-Control": cache_control(name)}
        with path.open("rb") as source, answering():
            obstore.put(self._store, name, source, attributes=attributes, chunk_size=PART_BYTES, max_concurrency=4)

    def read(self, name: str) -> bytes | None:
        """A file's content, unpacked."""
        _check(name)
        try:
            with answering():
                content = bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            return None
        return gzip.decompress(content) if is_compressed(name) and content[:2] == b"\x1f\x8b" else content

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        _check(name)
        try:
            with answering():
                obstore.head(self._store, name)
        except FileNotFoundError:
            return False
        return True

    def remove(self, names: Collection[str]) -> None:
        """One after the other: an S3 look-alike may not know how to delete many."""
        for name in names:
            try:
                with answering():
                    obstore.delete(self._store, name)
            except FileNotFoundError:
                continue

    def lying(self) -> Iterator[Lying]:
        """Every object below the prefix."""
        with answering():
            for page in obstore.list(self._store):
                for item in page:
                    yield Lying(item["path"], item["last_modified"])


@contextmanager
def _having_room() -> Iterator[None]:
    """A disk that is full, or cannot be written, is "not now": the old map stands and the work is tried again."""
    try:
        yield
    except OSError as error:
        reason = errno.errorcode.get(error.errno or 0, "EIO")
        raise Unavailable("published_not_written", retry_after_s=RETRY_FULL_S, reason=reason) from error


def _twin(path: Path) -> Path:
    return path.with_name(path.name + ".gz")


def _draft_of(target: Path) -> Path:
    """A name of this run alone: publishers on several machines may share the folder."""
    return target.with_name(f".{target.name}.{new_id()}.part")


def _settle(descriptor: int) -> None:
    os.fchmod(descriptor, 0o644)  # whoever serves the folder is another user
    os.fsync(descriptor)
