"""A zip that is the same, byte for byte, for the same files: nothing packed, no times, no owners, in a given order.

So not only the files but the archive itself can be checked: whatever stands between, before or behind them is known.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from waterwatch.evidence.rules import MAX_BUNDLE_BYTES, MAX_FILES

CHUNK_BYTES: Final = 256 * 1024
_DATE: Final = 0x21  # 1 January 1980, the earliest a zip knows
_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")
_LOCATOR_BYTES: Final = 20  # before the end of a zip of the larger format, which names another directory
MAX_DIRECTORY_BYTES: Final = 1024 * 1024


class TooLarge(Exception):
    """More files, or more bytes, than one archive holds."""


@dataclass(frozen=True)
class Entry:
    """One file of an archive: its name, the CRC-32 of its bytes, how many they are."""

    name: str
    crc: int
    size_bytes: int


def head(entry: Entry) -> bytes:
    """What stands before a file."""
    name = entry.name.encode("ascii")
    fields = (10, 0, 0, 0, _DATE, entry.crc, entry.size_bytes, entry.size_bytes, len(name), 0)
    return _LOCAL.pack(b"PK\x03\x04", *fields) + name


def tail(entries: Sequence[Entry]) -> bytes:
    """What stands behind the last file: the directory, and where it begins."""
    directory, at = b"", 0
    for entry in entries:
        name = entry.name.encode("ascii")
        fields = (10, 10, 0, 0, 0, _DATE, entry.crc, entry.size_bytes, entry.size_bytes, len(name), 0, 0, 0, 0)
        directory += _CENTRAL.pack(b"PK\x01\x02", *fields, 0, at) + name
        at += len(head(entry)) + entry.size_bytes
    return directory + _END.pack(b"PK\x05\x06", 0, 0, len(entries), len(entries), len(directory), at, 0)


def size_of(entries: Sequence[Entry]) -> int:
    """How long the archive of these files is, in bytes."""
    return sum(len(head(entry)) + entry.size_bytes for entry in entries) + len(tail(entries))


def write(sink: BinaryIO, files: Sequence[tuple[str, Path]]) -> None:
    """Write the archive of files, in their order. Names are ASCII. Raises :class:`TooLarge` beyond the limits."""
    entries = [Entry(name, *_measure(path)) for name, path in files]
    if len(entries) > MAX_FILES or size_of(entries) > MAX_BUNDLE_BYTES:
        raise TooLarge
    for entry, (_, path) in zip(entries, files, strict=True):
        sink.write(head(entry))
        for chunk in chunks(path):
            sink.write(chunk)
    sink.write(tail(entries))


def is_ours(path: Path, entries: Sequence[Entry]) -> bool:
    """Whether an archive is, outside of its files' own bytes, what :func:`write` would have written of them."""
    try:
        if path.stat().st_size != size_of(entries):
            return False
        with path.open("rb") as file:
            for entry in entries:
                wanted = head(entry)
                if file.read(len(wanted)) != wanted:
                    return False
                file.seek(entry.size_bytes, os.SEEK_CUR)
            wanted = tail(entries)
            return file.read(len(wanted) + 1) == wanted
    except (UnicodeEncodeError, struct.error):  # names and sizes that no archive of ours has
        return False


def refusal(path: Path) -> str | None:
    """Why an archive is not to be read (``not_a_bundle``, ``too_large``), if so: asked before any library reads it.

    Its directory is told where ours is, in its very last bytes: a library that is shown one there looks for no other,
    but for that of the larger format, whose mark stands before it.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END.size - _LOCATOR_BYTES))
        end = file.read()
    if size > MAX_BUNDLE_BYTES:
        return "too_large"
    if len(end) < _END.size:
        return "not_a_bundle"
    mark, _, _, here, files, directory_bytes, _, comment_bytes = _END.unpack(end[-_END.size :])
    if mark != b"PK\x05\x06" or comment_bytes:
        return "not_a_bundle"
    is_larger_format = end[: -_END.size].startswith(b"PK\x06\x07")
    is_small = max(here, files) <= MAX_FILES + 2 and directory_bytes <= MAX_DIRECTORY_BYTES
    return None if is_small and not is_larger_format else "too_large"


def chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _measure(path: Path) -> tuple[int, int]:
    crc = size = 0
    for chunk in chunks(path):
        crc, size = zlib.crc32(chunk, crc), size + len(chunk)
    return crc, size
