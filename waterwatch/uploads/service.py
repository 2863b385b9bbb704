"""Use cases of an upload: begin, append, look, finish, give up. The file in the spool is the truth until it is done.

Each piece is written, and a whole file finished, under a lock on the file: of two senders of one photo, one goes on.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Unavailable
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.photos import queries as photos_known
from waterwatch.photos import service as photos
from waterwatch.photos.rules import quarantine_key
from waterwatch.uploads.rules import Upload

SUFFIX = ".upload"
RETRY_AFTER_FULL_S = 60
log = get_logger(__name__)


def begin(length: int, *, settings: Settings, now: datetime) -> Upload:
    """A new upload of ``length`` bytes. Writes nothing."""
    return Upload(new_id(), length, now + timedelta(seconds=settings.upload_keep_s))


def offset_of(session: Session, upload: Upload, *, settings: Settings) -> int:
    """How many bytes have arrived: all of them once the photo is known."""
    if photos_known.is_known(session, upload.photo_id):
        return upload.length
    with suppress(FileNotFoundError):
        return _path(upload, settings).stat().st_size
    return 0


def append(upload: Upload, offset: int, pieces: Iterable[bytes], *, settings: Settings) -> int:
    """Write what arrives behind ``offset``; returns the new offset, also when the sender was cut off half-way.

    The file is locked for each piece, not for the request: a line that went silent leaves a request waiting for it,
    and the same phone must be able to go on over a new one. Whatever then still comes by the old one does not fit.

    Raises :class:`Conflict`: ``offset_wrong`` (with the right one), ``upload_busy`` while another request writes or
    finishes, ``upload_too_long`` when more comes than was announced; :class:`Unavailable` when the disk is full.
    """
    with _held(upload, settings) as descriptor:
        _expect_end(descriptor, offset)
    at = offset
    for piece in pieces:
        if at + len(piece) > upload.length:
            raise Conflict("upload_too_long", offset=at)
        with _held(upload, settings) as descriptor:
            _expect_end(descriptor, at)
            at = _write(descriptor, piece, at)
    return at


def finish(upload: Upload, *, sessions: sessionmaker[Session], objects: ObjectStore, settings: Settings) -> None:
    """All bytes are there: make them durable, put them into quarantine, and make the photo known in one transaction.

    Idempotent. The file stays in the spool until the photo is known, so a database that is away costs the sender
    nothing: whoever asks again finishes it.
    """
    with _held(upload, settings) as descriptor:
        with transaction(sessions) as session:
            is_known = photos_known.is_known(session, upload.photo_id)
        if not is_known:
            _store(upload, descriptor, sessions=sessions, objects=objects, settings=settings)
        _path(upload, settings).unlink(missing_ok=True)


def take(
    path: Path,
    length: int,
    sha256: bytes,
    *,
    sessions: sessionmaker[Session],
    objects: ObjectStore,
    settings: Settings,
    now: datetime,
) -> Upload:
    """A photo that came in one piece and lies durably at ``path``: move it into quarantine and make it known."""
    upload = begin(length, settings=settings, now=now)
    key = quarantine_key(upload.photo_id)
    objects.adopt_file(key, path)
    arrived = photos.arrival(
        upload.photo_id, key, length, sha256, settings=settings, now=now, unclaimed_until=upload.expires_at
    )
    with transaction(sessions) as session:
        photos.register(session, arrived)
    return upload


def give_up(upload: Upload, *, settings: Settings) -> None:
    """The sender does not want it any more. A photo that is known already stays until its time is over."""
    _path(upload, settings).unlink(missing_ok=True)


def _store(
    upload: Upload, descriptor: int, *, sessions: sessionmaker[Session], objects: ObjectStore, settings: Settings
) -> None:
    path, key = _path(upload, settings), quarantine_key(upload.photo_id)
    with _disk():
        os.fsync(descriptor)
    with path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").digest()
    objects.share_file(key, path)
    arrived = photos.arrival(
        upload.photo_id,
        key,
        upload.length,
        sha256,
        settings=settings,
        now=utc_now(),
        unclaimed_until=upload.expires_at,
    )
    with transaction(sessions) as session:
        photos.register(session, arrived)
    log.info("photo.uploaded", photo_id=str(upload.photo_id))


@contextmanager
def _held(upload: Upload, settings: Settings) -> Iterator[int]:
    """The upload's file, opened for appending, under its lock. Raises :class:`Conflict` ``upload_busy``."""
    path = _path(upload, settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _disk():
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("upload_busy") from None
        if not _is_still_there(path, descriptor):  # finished and removed between our opening it and our lock
            raise Conflict("upload_busy")
        yield descriptor
    finally:
        os.close(descriptor)


def _expect_end(descriptor: int, offset: int) -> None:
    end = os.fstat(descriptor).st_size
    if end != offset:
        raise Conflict("offset_wrong", offset=end)


def _is_still_there(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _write(descriptor: int, piece: bytes, at: int) -> int:
    view = memoryview(piece)
    with _disk():
        while view:
            written = os.pwrite(descriptor, view, at)
            view, at = view[written:], at + written
    return at


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable("storage_full", retry_after_s=RETRY_AFTER_FULL_S) from error


def _path(upload: Upload, settings: Settings) -> Path:
    return settings.spool_dir / f"{upload.photo_id}{SUFFIX}"
