"""Pure decisions about photos: what a file is by its first bytes, the life of a photo, the limits it is read under."""

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from waterwatch.kernel.settings import Settings
from waterwatch.kernel.states import Machine

# Longest edges of what is published, as they are called; see target_edge for what they are.
SIZES_PX = (2000, 1024, 320)
JPEG_QUALITY = {2000: 85, 1024: 82, 320: 80}
# What a halved photo's edge may be of the size asked for, to be left so. Cameras of 12 and 13 megapixels give 4000,
# 4032, 4080, 4096, 4160 pixels: the JPEG decoder halves them nearly for nothing, and to resample the halves by four per
# cent or less would cost more than everything else, and sharpness.
NEAR: Final = (0.9, 1.04)

PHOTO = Machine(
    name="photo",
    initial="received",
    moves=frozenset({("received", "sanitising"), ("sanitising", "ready"), ("sanitising", "refused")}),
)
REFUSALS = (
    "empty_file",
    "not_an_image",
    "type_not_accepted",
    "truncated",
    "undecodable",
    "too_many_pixels",
    "too_narrow",
    "too_heavy",
    "timed_out",
)


MADE_ANEW_WITHIN_S: Final = 5  # how soon to ask again for a picture whose redactions were changed
# Why somebody may demand a sealed original; what is on record is one of these words, never a sentence.
ORIGINAL_REASONS = ("evidence_check", "authority_demand", "author_asked")


@dataclass(frozen=True)
class Limits:
    """What decoding one photo may cost: pixels, bytes of address space, seconds of CPU and of wall clock."""

    max_pixels: int
    memory_bytes: int
    cpu_s: int
    wall_s: float
    max_edge_ratio: float = 40.0
    file_bytes: int = 64 * 1024 * 1024

    @classmethod
    def from_settings(cls, settings: Settings) -> "Limits":
        """This installation's limits; the wall clock allows a busy machine half as much again as the CPU limit."""
        return cls(
            max_pixels=settings.photo_max_pixels,
            memory_bytes=settings.photo_memory_bytes,
            cpu_s=settings.photo_cpu_s,
            wall_s=settings.photo_cpu_s * 1.5,
        )


@dataclass(frozen=True)
class Rectangle:
    """What must not be seen, as fractions of the upright picture's width and height.

    ``kind``: ``face``, ``plate`` or ``drawn`` (by a moderator); ``score`` is the detector's, 0 to 1.
    """

    kind: str
    left: float
    top: float
    width: float
    height: float
    score: float | None = None


MAX_REDACTIONS: Final = 200  # of one photo; what a child answers with is bounded as well
MARGIN: Final = {"face": 0.20, "plate": 0.15}  # of each edge: hair and ears, and the frame of a plate


def grown(box: Rectangle) -> Rectangle:
    """The rectangle with its margin, within the picture."""
    margin = MARGIN.get(box.kind, 0.0)
    left, top = max(0.0, box.left - margin * box.width), max(0.0, box.top - margin * box.height)
    right = min(1.0, box.left + (1 + margin) * box.width)
    bottom = min(1.0, box.top + (1 + margin) * box.height)
    return Rectangle(box.kind, left, top, max(0.0, right - left), max(0.0, bottom - top), box.score)


SAME_FROM: Final = 0.4  # overlap over union; two faces side by side stay far below
MAX_LOOKED_AT: Final = 1000  # comparing each with each must stay cheap, whatever a picture makes the detectors see


def bounded(found: Iterable[Rectangle]) -> tuple[Rectangle, ...]:
    """At most :data:`MAX_REDACTIONS`, the surest first; the rest under one that encloses it: none is left open.

    What was found twice becomes one. A small one within a large one stays: the large one may be mistaken, and removed.
    """
    ordered = sorted(found, key=lambda one: -(one.score or 0.0))
    kept: list[Rectangle] = []
    for one in ordered[:MAX_LOOKED_AT]:
        twin = next((at for at, other in enumerate(kept) if _are_the_same(one, other)), None)
        if twin is None:
            kept.append(one)
        else:
            kept[twin] = _enclosing([kept[twin], one])
    kept += ordered[MAX_LOOKED_AT:]
    if len(kept) <= MAX_REDACTIONS:
        return tuple(kept)
    return (*kept[: MAX_REDACTIONS - 1], _enclosing(kept[MAX_REDACTIONS - 1 :]))


def _are_the_same(one: Rectangle, other: Rectangle) -> bool:
    across = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    down = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    if one.kind != other.kind or across <= 0 or down <= 0:
        return False
    return across * down >= SAME_FROM * (one.width * one.height + other.width * other.height - across * down)


def _enclosing(boxes: Sequence[Rectangle]) -> Rectangle:
    """The smallest that holds them all; kind and score are the first one's."""
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right, bottom = max(box.left + box.width for box in boxes), max(box.top + box.height for box in boxes)
    return Rectangle(boxes[0].kind, left, top, right - left, bottom - top, boxes[0].score)


_PLATE_BREAKS = re.compile(r"[\s·•.。:：=\-_|'’,、*~]+")
_PROVINCES = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新使领民航"
_HAN = r"\u4e00-\u9fff"
# A reader often takes the province's character for another; the words behind it are of the trailer, the learner, …
_PLATE = re.compile(rf"[{_HAN}]?[A-Z0-9]{{4,8}}[{_HAN}]?")


def is_plate(words: str) -> bool:
    """Whether a line of text has the shape of a vehicle's number plate (GA 36-2018, and most countries' like it).

    A province's character or at least one letter, at least two digits, five to nine signs in all; a reader's slip in
    one of them, the province's included, still passes. Telephone numbers and years do not.
    """
    signs = _PLATE_BREAKS.sub("", words).upper()
    digits, letters = sum(sign.isdigit() for sign in signs), sum("A" <= sign <= "Z" for sign in signs)
    has_province = signs[:1] in _PROVINCES and signs != ""
    return bool(5 <= len(signs) <= 9 and _PLATE.fullmatch(signs) and digits >= 2 and (has_province or letters >= 1))


_UPPER_LINE = re.compile(rf"[{_HAN}]?[{_HAN}A-Z0-9]?[A-Z0-9]")
_LOWER_LINE = re.compile(rf"[A-Z0-9]{{4,6}}[{_HAN}]?")


def is_two_line_plate(upper: str, lower: str) -> bool:
    """Whether two lines of text, one right below the other, are the two lines of a lorry's or a motorcycle's plate.

    GA 36-2018: province and letter above, five signs below, which by themselves may be any number. At least three of
    those are digits; a reader's slip in the upper line still passes.
    """
    above, below = (_PLATE_BREAKS.sub("", words).upper() for words in (upper, lower))
    digits = sum(sign.isdigit() for sign in below)
    return bool(_UPPER_LINE.fullmatch(above) and _LOWER_LINE.fullmatch(below) and digits >= 3)


def target_edge(edge: int, size_px: int) -> int:
    """The longest edge, in pixels, that a picture of longest edge ``edge`` gets for the size called ``size_px``.

    The edge itself or its half, quarter, eighth where that is near the size (:data:`NEAR`); else exactly the size.
    Never more than the edge.
    """
    for factor in (1, 2, 4, 8):  # what the JPEG decoder can do, too
        part = -(-edge // factor)
        if NEAR[0] * size_px <= part <= NEAR[1] * size_px:
            return part
    return min(edge, size_px)


def timed(settings: Settings) -> Machine:
    """The machine with this installation's deadlines."""
    limit = timedelta(seconds=settings.sanitise_deadline_s)
    return Machine(PHOTO.name, PHOTO.initial, PHOTO.moves, {"received": limit, "sanitising": limit})


def quarantine_key(photo_id: uuid.UUID) -> str:
    """Where an original is kept: ``quarantine/<yyyy>/<mm>/<photo id>``; nothing of the sender's naming is in it.

    Year and month are those of the id itself (a UUIDv7 begins with milliseconds since the epoch, RFC 9562), so that
    whoever tries again finds the same place.
    """
    made_at = datetime.fromtimestamp((photo_id.int >> 80) / 1000, UTC)
    return f"quarantine/{made_at:%Y}/{made_at:%m}/{photo_id}"


ACCEPTED = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "HEIF": "image/heif", "AVIF": "image/avif"}
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_OTHER_IMAGES = (
    b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*", b"8BPS", b"\x00\x00\x01\x00", b"<svg", b"<?xml",
    b"\xff\x0a", b"\x00\x00\x00\x0cJXL ", b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51",
)  # fmt: skip


def sniff(head: bytes) -> str | None:
    """The format of a file by its first 64 bytes, never by its name: a key of :data:`ACCEPTED`, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":  # ISO/IEC 14496-12: size, "ftyp", major brand, version, compatible brands
        end = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[start : start + 4] for start in range(16, end, 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    return None


def refuse_type(head: bytes) -> str:
    """Which refusal fits a file whose format is not accepted."""
    if not head:
        return "empty_file"
    return (
        "type_not_accepted" if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(_OTHER_IMAGES) else "not_an_image"
    )


_SOF0, _SOF2, _DHT, _EOI, _SOS, _DQT, _DRI, _APP0 = 0xC0, 0xC2, 0xC4, 0xD9, 0xDA, 0xDB, 0xDD, 0xE0
_STRUCTURE: Final = frozenset({_SOF0, _SOF2, _DHT, _SOS, _DQT, _DRI, _APP0})
# In entropy-coded data FF is followed by a stuffed zero or a restart marker; anything else ends it (T.81, B.1.1.5).
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def bare_jpeg_size(content: bytes) -> tuple[int, int] | None:
    """(width, height) of a JPEG that is nothing but its picture, or None for any other content.

    Nothing but: tables, frame, scans and a JFIF header without thumbnail. No other APPn segment, no comment, no byte
    behind the end. Every rebuilt picture is held against this before it is stored, by a process that did not decode it.
    """
    size = None
    try:
        for marker, start, end in _segments(content):
            if marker == _EOI:
                return size if end == len(content) else None
            payload = content[start:end]
            if marker not in _STRUCTURE or (marker == _APP0 and not _is_plain_jfif(payload)):
                return None
            if marker in (_SOF0, _SOF2):
                size = int.from_bytes(payload[3:5], "big"), int.from_bytes(payload[1:3], "big")
    except (EOFError, ValueError):
        return None
    return None


def _is_plain_jfif(payload: bytes) -> bool:
    return len(payload) == 14 and payload.startswith(b"JFIF\x00") and payload[12:] == b"\x00\x00"


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end of payload) of each segment of a JPEG, up to EOI (ITU-T T.81, annex B).

    Raises:
        EOFError: the file stops in the middle.
        ValueError: what follows is not a marker.
    """
    at = 2
    while True:
        if at + 2 > len(content):
            raise EOFError
        marker = content[at + 1]
        if content[at] != 0xFF or marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:
            raise ValueError("not a marker")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _EOI:
            yield marker, at + 2, at + 2
            return
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if at + 4 > len(content) or end > len(content):
            raise EOFError
        if end < at + 4:
            raise ValueError("no room for its own length")
        yield marker, at + 4, end
        at = end
        if marker == _SOS:
            found = _END_OF_SCAN.search(content, end)
            if found is None:
                raise EOFError
            at = found.start()


def is_cut_short(content: bytes, form: str) -> bool:
    """Whether a file that could not be decoded just stops too early: sending it again may help then."""
    if form == "JPEG":
        try:
            for _segment in _segments(content):
                pass
        except EOFError:
            return True
        except ValueError:
            return False
        return False
    if form == "PNG":
        return b"IEND" not in content
    if form == "WEBP":
        return int.from_bytes(content[4:8], "little") + 8 > len(content)
    return _has_short_box(content)


def _has_short_box(content: bytes) -> bool:
    """Whether a top-level box of an ISO base media file (HEIF, AVIF) claims more bytes than there are."""
    at = 0
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(content[at + 8 : at + 16], "big")
        if size == 0:
            return False
        at += max(size, 8)
    return at != len(content)


# Hashes of one picture sent again (recompressed to quality 30, scaled to 320 px, as WebP, twice through a messenger)
# differ in 4 bits or fewer in 95 of 100 cases and 8 at most; those of different photographs in 17 or more (81
# photographs and their quarters, 3,240 pairs: docs/decisions/0020). A cut of 2 % a side: 9 or fewer in 95 of 100.
PHASH_NEAR_BITS: Final = 7
# Two hashes that differ in at most 7 of 64 bits differ in at most one bit of one of four bands (pigeonhole). A band has
# bits of every frequency, (row + column) mod 4, because the low ones alone are alike in all pictures of water.
PHASH_BANDS: Final = (-8642088532211326396, 4938215830288077090, 2469248102876612625, 1234624599046636680)
# The hash splits 63 coefficients at their median: 32 bits are set where a picture has something to show. Fewer than 24
# means that many of them were nothing (black, sky, plain water): such hashes are alike without their pictures being so.
PHASH_MIN_BITS_SET: Final = 24
PHASH_TELLS_APART: Final = f"bit_count((phash)::bit(64)) >= {PHASH_MIN_BITS_SET}"
_BITS_64: Final = (1 << 64) - 1


def does_hash_tell(phash: int) -> bool:
    """Whether a perceptual hash says anything of its picture: that of a plain one does not."""
    return (phash & _BITS_64).bit_count() >= PHASH_MIN_BITS_SET


def hash_distance(one: int, other: int) -> int:
    """In how many of 64 bits two signed perceptual hashes differ."""
    return ((one ^ other) & _BITS_64).bit_count()


def near_bands(phash: int) -> list[list[int]]:
    """For each band of :data:`PHASH_BANDS` its value in ``phash`` and the sixteen that differ from it in one bit.

    Every hash within :data:`PHASH_NEAR_BITS` has one of these values in that band.
    """
    return [[_signed(value) for value in _within_one_bit(phash & _BITS_64, mask & _BITS_64)] for mask in PHASH_BANDS]


def _within_one_bit(phash: int, mask: int) -> list[int]:
    value = phash & mask
    return [value, *(value ^ (1 << bit) for bit in range(64) if mask >> bit & 1)]


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
