"""The object store for photos: one door, a local folder or an S3-compatible bucket behind it (obstore).

Keys are made by us, never by a visitor. Zones: ``quarantine/`` holds sealed originals that nothing serves,
``public/`` holds rebuilt pictures, ``bulletins/`` what departments are told; who may see one is decided by the views,
not by the store.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from waterwatch.kernel.errors import NotFound, Unavailable

CHUNK_BYTES = 256 * 1024
RETRY_AFTER_S = 5.0
# A bucket may take the connection and say nothing: how long its silence is borne, and how long an attempt is repeated.
# Large objects go up in parts of a few megabytes, each under these limits; whoever only asks whether waits less.
SILENCE, REPEAT = timedelta(seconds=10), timedelta(seconds=5)
BRIEF_SILENCE, BRIEF_REPEAT = timedelta(seconds=2), timedelta(seconds=1)
_CREDENTIALS = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY"}
_KEY = re.compile(r"(?:quarantine|public|bulletins|probe)/[A-Za-z0-9][A-Za-z0-9_\-./]{0,200}")


@dataclass(frozen=True)
class Stored:
    """One object as the store lists it."""

    key: str
    size_bytes: int
    modified_at: datetime


class ObjectStore:
    """Put, fetch, list and delete whole objects. Local writes are durable (file and folder fsynced) before return.

    A bucket that does not answer, or refuses us, is :class:`Unavailable`; trouble with the local disk is ``OSError``.
    """

    def __init__(self, url: str) -> None:
        """``file:///absolute/folder`` or ``s3://bucket/prefix?endpoint=http://…&region=…``.

        S3 credentials come from the standard ``AWS_ACCESS_KEY_ID`` / ``AWS_SECRET_ACCESS_KEY`` variables.
        """
        parts = urlsplit(url)
        self._folder: Path | None = None
        self._store: LocalStore | S3Store
        self._brief: LocalStore | S3Store  # the same place, for questions that are answered at once or not at all
        if parts.scheme == "file":
            self._folder = Path(unquote(parts.path))
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._store = self._brief = LocalStore(self._folder)
        elif parts.scheme == "s3":
            bucket = parts.netloc, parts.path.strip("/"), parse_qs(parts.query)
            self._store = open_bucket(*bucket, silence=SILENCE, repeat=REPEAT)
            self._brief = open_bucket(*bucket, silence=BRIEF_SILENCE, repeat=BRIEF_REPEAT)
        else:
            raise ValueError("the object store's address must begin with file:/// or s3://")

    def put_file(self, key: str, path: Path) -> None:
        """Store a copy of a file under ``key``, replacing what was there."""
        self._check(key)
        if self._folder is None:
            with path.open("rb") as source, answering():
                obstore.put(self._store, key, source)
            return
        target = self._folder / key
        _make_folder(target.parent)
        draft = target.with_name(target.name + ".part")
        with path.open("rb") as source, draft.open("wb") as sink:
            shutil.copyfileobj(source, sink, CHUNK_BYTES)
            sink.flush()
            os.fsync(sink.fileno())
        draft.replace(target)
        sync_folder(target.parent)

    def share_file(self, key: str, path: Path) -> None:
        """Store a file that is already durable and will not change: a second name for it on one file system.

        The caller removes its own name once it needs it no more. Elsewhere the file is copied.
        """
        self._check(key)
        if self._folder is None or path.stat().st_dev != self._folder.stat().st_dev:
            self.put_file(key, path)
            return
        target = self._folder / key
        _make_folder(target.parent)
        draft = target.with_name(target.name + ".part")
        draft.unlink(missing_ok=True)
        os.link(path, draft)
        draft.replace(target)
        draft.unlink(missing_ok=True)  # renaming one name of a file onto another of its names leaves both
        sync_folder(target.parent)

    def adopt_file(self, key: str, path: Path) -> None:
        """Move a file that is already durable into the store: a rename where both are on one file system."""
        self._check(key)
        if self._folder is not None and path.stat().st_dev == self._folder.stat().st_dev:
            target = self._folder / key
            _make_folder(target.parent)
            path.replace(target)
            sync_folder(target.parent)
            return
        self.put_file(key, path)
        path.unlink()

    def fetch(self, key: str, path: Path) -> None:
        """Write an object to a file. Raises :class:`NotFound`."""
        with path.open("wb") as sink:
            for chunk in self.open(key):
                sink.write(chunk)

    def open(self, key: str) -> Iterator[bytes]:
        """The object's bytes in chunks; the object is looked up before the first chunk. Raises :class:`NotFound`."""
        self._check(key)
        try:
            with answering():
                found = obstore.get(self._store, key)
        except FileNotFoundError:
            raise NotFound("object_not_found") from None
        return _chunks(found)

    def has(self, key: str) -> bool:
        """Whether an object is there."""
        self._check(key)
        try:
            with answering():
                obstore.head(self._brief, key)
        except FileNotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove an object; removing what is not there is fine."""
        self._check(key)
        try:
            with answering():
                obstore.delete(self._store, key)
        except FileNotFoundError:
            return

    def list(self, prefix: str) -> Iterator[Stored]:
        """Every object below ``prefix`` (a zone or a folder in one), in no particular order."""
        with answering():
            for page in obstore.list(self._store, prefix=prefix):
                for item in page:
                    yield Stored(item["path"], item["size"], item["last_modified"])

    @staticmethod
    def _check(key: str) -> None:
        if not _KEY.fullmatch(key) or ".." in key or "//" in key:
            raise ValueError("not a key of ours")


@contextmanager
def answering() -> Iterator[None]:
    """Whatever the store's client raises besides "not found" means: not now. Its text names our bucket, so it goes."""
    try:
        yield
    except BaseError:
        raise Unavailable("objects_unavailable", retry_after_s=RETRY_AFTER_S) from None


def _chunks(found: "obstore.GetResult") -> Iterator[bytes]:
    with answering():
        for chunk in found.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)


def open_bucket(
    bucket: str, prefix: str, query: dict[str, list[str]], *, silence: timedelta = SILENCE, repeat: timedelta = REPEAT
) -> S3Store:
    """A bucket by the parts of its address, with the credentials of the environment. Nothing is asked of it yet."""
    endpoint = query.get("endpoint", [None])[0]
    region = query.get("region", ["us-east-1"])[0]
    credentials: Any = {name: os.environ[said] for name, said in _CREDENTIALS.items() if said in os.environ}
    is_plain = bool(endpoint and endpoint.startswith("http://"))
    return S3Store(
        bucket,
        prefix=prefix or None,
        endpoint=endpoint,
        region=region,
        virtual_hosted_style_request=False,
        **credentials,
        client_options={
            "allow_http": is_plain,
            "connect_timeout": silence / 2,
            "read_timeout": silence,
            "timeout": 3 * silence,
        },
        retry_config={"max_retries": 3, "retry_timeout": repeat},
    )


def _make_folder(folder: Path) -> None:
    """Make a folder and what is missing above it, each entered durably: a file is no safer than its way."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make what was entered into a folder as durable as the files are."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
