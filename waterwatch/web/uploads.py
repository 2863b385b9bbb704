"""File parts of a form, written to disk while they arrive: hashed, counted, limited, never held in memory.

Flask's own parser collects a file in a temporary one and leaves hashing and the durable copy for later: every byte is
written twice. Here the multipart parser writes each part directly into the spool folder, on the file system the
object store adopts it from by a rename. A part over its limit is dropped, but the rest of the form is still read, so
that the person gets all their words back together with the reason.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from io import RawIOBase
from pathlib import Path
from typing import IO, Any, cast

from flask import Request
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.sansio.multipart import Data, Field, MultipartDecoder, Preamble

from waterwatch.kernel.errors import Unavailable
from waterwatch.kernel.ids import new_id

FIELD_MAX_BYTES = 256 * 1024  # one text field; below werkzeug's 64 KiB read buffer it would refuse files, too
FIELDS_MAX_BYTES = 1024 * 1024  # all text fields, part headers and boundaries together
PARTS_MAX = 64
RETRY_AFTER_FULL_S = 60


class UploadBroken(BadRequest):
    """The body ended early or is no multipart form."""


@dataclass(frozen=True)
class UploadLimits:
    """How much may arrive. ``max_file_bytes`` is for one file part, ``max_files`` for parts that carry a file."""

    max_file_bytes: int
    max_files: int

    @property
    def max_request_bytes(self) -> int:
        """Cap of the whole request body; beyond it nothing is read at all."""
        return self.max_file_bytes * (self.max_files + 1) + FIELDS_MAX_BYTES


class SpooledFile(RawIOBase):
    """One file part on its way to disk. ``path`` exists unless the part was dropped or adopted."""

    def __init__(self, path: Path | None, max_bytes: int) -> None:
        super().__init__()
        self._digest = hashlib.sha256()
        self._is_received = False  # written by somebody else, so hashed afterwards
        self._max_bytes = max_bytes
        self._descriptor = None if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.path = path
        self.size_bytes = 0
        self.is_too_large = False

    @classmethod
    def received(cls, path: Path, descriptor: int) -> "SpooledFile":
        """A file that lies whole at ``path`` and is open as ``descriptor``: both are this object's from now on."""
        part = cls(None, 0)
        part.path, part._descriptor, part._is_received = path, descriptor, True
        part.size_bytes = os.fstat(descriptor).st_size
        # Linux begins to write dirty pages at this (mm/fadvise.c), so that the disk works while we hash.
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return part

    def writable(self) -> bool:
        """Yes: the parser writes into it."""
        return True

    def write(self, data: Any) -> int:
        """Append a chunk. Past the limit the file is removed and the rest only counted."""
        self.size_bytes += len(data)
        if self._descriptor is None:
            return len(data)
        if self.size_bytes > self._max_bytes:
            self.is_too_large = True
            self.discard()
            return len(data)
        self._digest.update(data)
        view = memoryview(data)
        while view:
            view = view[_write_some(self._descriptor, view) :]
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The parser rewinds a finished part; there is nothing to rewind, nobody reads it here."""
        return offset if whence == os.SEEK_SET else self.size_bytes

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the whole content, 32 bytes."""
        if self._is_received:
            assert self._descriptor is not None
            with open(self._descriptor, "rb", closefd=False) as content:
                return hashlib.file_digest(content, "sha256").digest()
        return self._digest.digest()

    def make_durable(self) -> Path:
        """Flush to the disk itself and close; returns the path. Raises :class:`Unavailable` when the disk will not."""
        assert self.path is not None
        assert self._descriptor is not None
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise Unavailable("storage_full", retry_after_s=RETRY_AFTER_FULL_S) from error
        self._close_descriptor()
        return self.path

    def discard(self) -> None:
        """Close, and remove the file if it is still in the spool. Idempotent."""
        self._close_descriptor()
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            self.path = None

    def _close_descriptor(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Spool:
    """The file parts of one request, in the order they arrived. ``left_out`` counts parts over ``max_files``."""

    def __init__(self, folder: Path, limits: UploadLimits) -> None:
        self._folder = folder
        self._limits = limits
        self.files: list[SpooledFile] = []
        self.left_out = 0

    def open_part(
        self,
        total_content_length: int | None,  # noqa: ARG002  # the parser's signature
        content_type: str | None,  # noqa: ARG002
        filename: str | None = None,
        content_length: int | None = None,  # noqa: ARG002
    ) -> IO[bytes]:
        """Where the parser writes a part. An empty file input arrives as a part without a name: it counts for nothing.

        The sender's file name and type are believed in nothing and kept nowhere.
        """
        if not filename:
            return cast(IO[bytes], SpooledFile(None, 0))
        if len(self.files) >= self._limits.max_files:
            self.left_out += 1
            return cast(IO[bytes], SpooledFile(None, 0))
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = SpooledFile(self._folder / f"{new_id()}.part", self._limits.max_file_bytes)
        self.files.append(part)
        return cast(IO[bytes], part)

    def discard(self) -> None:
        """Remove whatever was not adopted. Safe at any time, also twice."""
        for part in self.files:
            part.discard()


class _SpoolingParser(FormDataParser):
    """Werkzeug's parser, writing file parts into a spool and saying so when a body is broken instead of "no fields"."""

    def __init__(self, *, spool: Spool, **options: Any) -> None:
        super().__init__(**(options | {"stream_factory": spool.open_part, "silent": False}))

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, Any]]:
        try:
            return super().parse(stream, mimetype, content_length, options)
        except ValueError as error:
            raise UploadBroken from error


def spool_uploads(request: Request, folder: Path, limits: UploadLimits) -> Spool:
    """Make this request's form parser write its files into ``folder``. Call before anything reads the form.

    The caller discards the spool when the request ends, whatever happened.
    """
    spool = Spool(folder, limits)
    if request.mimetype == "multipart/form-data":  # any other body is read into memory at once: it stays small
        request.max_content_length = limits.max_request_bytes
    request.max_form_memory_size = FIELD_MAX_BYTES
    request.max_form_parts = PARTS_MAX
    request.form_data_parser_class = cast(type[FormDataParser], partial(_SpoolingParser, spool=spool))
    return spool


def fields_before_files(request: Request) -> MultiDict[str, str]:
    """The text fields at the beginning of a form that is too large to be read: what was typed comes back to the page.

    Reads :data:`FIELDS_MAX_BYTES` at most. Nothing where the body was read already or is no multipart form.
    """
    found: MultiDict[str, str] = MultiDict()
    boundary = request.mimetype_params.get("boundary", "").encode("latin-1", "replace")
    decoder = MultipartDecoder(boundary, max_parts=PARTS_MAX)
    begun = request.environ["wsgi.input"].read(min(request.content_length or 0, FIELDS_MAX_BYTES))
    name, value = None, b""
    try:
        decoder.receive_data(begun)
        while isinstance(event := decoder.next_event(), Preamble | Field | Data):
            if isinstance(event, Field):
                name, value = event.name, b""
            elif isinstance(event, Data) and name is not None:
                value += event.data
                if not event.more_data:
                    found.add(name, value.decode("utf-8", "replace"))
                    name = None
    except (ValueError, RequestEntityTooLarge):
        return found
    return found


def _write_some(descriptor: int, view: memoryview) -> int:
    try:
        return os.write(descriptor, view)
    except OSError as error:
        raise Unavailable("storage_full", retry_after_s=RETRY_AFTER_FULL_S) from error
