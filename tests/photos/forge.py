"""Making pictures by hand, byte by byte, as no honest program would write them. Everything is deterministic."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

CANARY = "CANARY7Q"  # planted, with a suffix, in every carrier of metadata; no rebuilt picture may contain it
RED, GREEN, BLUE, WHITE = (220, 30, 30), (30, 160, 40), (30, 60, 200), (250, 250, 250)


def canary(carrier: str) -> bytes:
    """What is planted in one carrier."""
    return f"{CANARY}-{carrier}-".encode() * 3


def scene(width: int = 480, height: int = 320, mode: str = "RGB") -> Image.Image:
    """Four flat corners of different colours: red and green above, blue and white below."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    middle_x, middle_y = width // 2, height // 2
    pixels[:middle_y, :middle_x], pixels[:middle_y, middle_x:] = RED, GREEN
    pixels[middle_y:, :middle_x], pixels[middle_y:, middle_x:] = BLUE, WHITE
    return Image.fromarray(pixels).convert(mode)


def encode(picture: Image.Image, form: str, **options: Any) -> bytes:
    """A picture as Pillow writes it."""
    sink = io.BytesIO()
    picture.save(sink, form, **options)
    return sink.getvalue()


def jpeg(picture: Image.Image | None = None, **options: Any) -> bytes:
    """A clean JPEG."""
    return encode(picture or scene(), "JPEG", **({"quality": 90} | options))


def segment(marker: int, payload: bytes) -> bytes:
    """One JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def with_segments(content: bytes, *segments: bytes) -> bytes:
    """A JPEG with more segments right behind its start."""
    return content[:2] + b"".join(segments) + content[2:]


def chunk(name: bytes, payload: bytes) -> bytes:
    """One PNG chunk with its checksum."""
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png_of(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG from raw filtered rows; ``extra`` chunks stand before the data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + chunk(b"IEND", b"")


def png(*extra: bytes, picture: Image.Image | None = None) -> bytes:
    """The scene as PNG with more chunks behind the header."""
    content = encode(picture or scene(), "PNG")
    return content[:33] + b"".join(extra) + content[33:]


def webp_chunk(name: bytes, payload: bytes) -> bytes:
    """One RIFF chunk, padded to an even length."""
    return name + struct.pack("<I", len(payload)) + payload + b"\0" * (len(payload) % 2)


def riff(*chunks: bytes) -> bytes:
    """A WebP file of these chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


Entry = tuple[int, int, int, bytes]  # tag, type, count, value (4 bytes or fewer) or bytes to be placed behind the IFD


def exif(main: list[Entry], *, gps: list[Entry] | None = None, details: list[Entry] | None = None) -> bytes:
    """An Exif payload (little-endian TIFF) with up to two sub-directories."""
    tags = list(main)
    parts: dict[int, list[Entry]] = {}
    for tag, entries in ((0x8769, details), (0x8825, gps)):
        if entries is not None:
            tags.append((tag, 4, 1, b"\0\0\0\0"))
            parts[tag] = entries
    tags.sort()
    at = 8 + _ifd_bytes(tags)
    places: dict[int, int] = {}
    tail = b""
    for tag, entries in parts.items():
        places[tag] = at + len(tail)
        tail += _ifd(sorted(entries), places[tag])
    filled = [(t, k, n, struct.pack("<I", places[t]) if t in places else v) for t, k, n, v in tags]
    return b"II*\0" + struct.pack("<I", 8) + _ifd(filled, 8) + tail


def _ifd_bytes(entries: list[Entry]) -> int:
    return 2 + 12 * len(entries) + 4 + sum(len(value) + len(value) % 2 for *_, value in entries if len(value) > 4)


def _ifd(entries: list[Entry], at: int, following: int = 0) -> bytes:
    table, heap = struct.pack("<H", len(entries)), b""
    heap_at = at + 2 + 12 * len(entries) + 4
    for tag, kind, count, value in entries:
        if len(value) > 4:
            place = struct.pack("<I", heap_at + len(heap))
            heap += value + b"\0" * (len(value) % 2)
        else:
            place = value.ljust(4, b"\0")
        table += struct.pack("<HHI", tag, kind, count) + place
    return table + struct.pack("<I", following) + heap


def ascii_tag(tag: int, value: str | bytes) -> Entry:
    """A text tag."""
    content = (value.encode() if isinstance(value, str) else value) + b"\0"
    return tag, 2, len(content), content


def rational_tag(tag: int, *pairs: tuple[int, int]) -> Entry:
    """A tag of unsigned fractions."""
    return tag, 5, len(pairs), b"".join(struct.pack("<II", *pair) for pair in pairs)


def orientation_tag(value: int) -> Entry:
    """Tag 0x0112."""
    return 0x0112, 3, 1, struct.pack("<H", value)


def gps_tags(lat: list[tuple[int, int]], lat_ref: str, lon: list[tuple[int, int]], lon_ref: str) -> list[Entry]:
    """Latitude and longitude as degrees, minutes, seconds."""
    return [
        ascii_tag(1, lat_ref), rational_tag(2, *lat), ascii_tag(3, lon_ref), rational_tag(4, *lon),
    ]  # fmt: skip


def app1(payload: bytes) -> bytes:
    """Exif as a JPEG segment."""
    return segment(0xE1, b"Exif\0\0" + payload)


def swapped_profile() -> bytes:
    """A small display profile of our own, not sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def srgb_profile() -> bytes:
    """Pillow's sRGB profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
