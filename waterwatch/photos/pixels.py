"""Decoding hostile pictures and rebuilding clean ones. The only importer of Pillow.

What is published is made of pixels alone: a new image is built from the decoded pixel bytes, so nothing that came with
the original (EXIF, XMP, ICC, comments, thumbnails, bytes behind the end) can survive into it. Pillow itself would carry
JPEG comments over on a plain re-save. Decoding happens in a forked child under limits; whatever happens there, the
answer is a finished set of pictures or an exact refusal: it fails closed.
"""

import contextlib
import errno
import hashlib
import io
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pillow_heif
from PIL import (
    AvifImagePlugin,
    ExifTags,
    Image,
    ImageCms,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from waterwatch.kernel.errors import Unavailable
from waterwatch.photos.confinement import ChildDiedError, run_confined
from waterwatch.photos.rules import (
    ACCEPTED,
    JPEG_QUALITY,
    REFUSALS,
    SIZES_PX,
    Limits,
    Rectangle,
    bare_jpeg_size,
    is_cut_short,
    refuse_type,
    sniff,
)

# The readers of what we accept, loaded now: Pillow would otherwise import all it has, after the fork.
_READERS = (AvifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the CPU limit counts every thread, and each reserves address space
ImageFile.LOAD_TRUNCATED_IMAGES = False
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 20
PngImagePlugin.MAX_TEXT_MEMORY = 4 << 20

SNIFF_BYTES: Final = 64
RETRY_AFTER_S: Final = 30.0
# Trouble of the machine, not of the picture: the photo is tried again instead of being refused.
_OUR_TROUBLE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOENT})
_YEARS = range(1990, 2100)  # of digital photographs
_SRGB = ImageCms.createProfile("sRGB")
R = TypeVar("R")


@dataclass(frozen=True)
class Derived:
    """One rebuilt picture on disk: longest edge at most ``size_px``, never larger than the original."""

    size_px: int
    path: str
    width: int
    height: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Evidence:
    """What the file says of place (WGS-84) and time. A claim, never trusted by itself; for moderators only."""

    lon: float | None = None
    lat: float | None = None
    taken_at: str | None = None
    taken_at_local: str | None = None


@dataclass(frozen=True)
class Rebuilt:
    """A photo made safe. ``phash`` is a signed 64-bit perceptual hash, ``redactions`` what was made unrecognisable."""

    media_type: str
    width: int
    height: int
    phash: int
    derived: tuple[Derived, ...]
    evidence: Evidence
    redactions: tuple[Rectangle, ...] = ()


@dataclass(frozen=True)
class Refused:
    """Why a file is not accepted: one of :data:`waterwatch.photos.rules.REFUSALS`."""

    code: str


class _RefusedError(Exception):
    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


Redactions = tuple[Rectangle, ...] | None


def rebuild_in_child(original: Path, target: Path, limits: Limits, redactions: Redactions = None) -> Rebuilt | Refused:
    """Decode ``original`` in a confined child process and leave the pictures in the folder ``target``.

    What ``redactions`` cover is made unrecognisable in all of them; with None, what the detectors find. Death by
    signal, running out of memory or time, and any exception become a :class:`Refused`. What the child made is held
    against :func:`bare_jpeg_size` by this process, which decodes nothing.

    Raises:
        Unavailable: the disk is full, a detector failed or the like; the photo itself may be fine.
    """
    try:
        raw = run_confined(lambda: _answer(lambda: rebuild(original, target, limits, redactions)), limits)
        return _accept(raw, target)
    except (ChildDiedError, _RefusedError) as refusal:
        return Refused(refusal.code)


def rebuild(original: Path, target: Path, limits: Limits, redactions: Redactions = None) -> Rebuilt | Refused:
    """Decode and rebuild in this process. Use :func:`rebuild_in_child` for anything from outside."""
    return _guarded(lambda: _rebuild(original, target, limits, redactions), original)


def read_in_child(original: Path, limits: Limits) -> Evidence | Refused:
    """What a file claims of place and time, read in a confined child process; nothing is made of its pixels.

    Raises:
        Unavailable: the disk is full or the like; the photo itself may be fine.
    """
    try:
        raw = run_confined(lambda: _answer(lambda: _guarded(lambda: _read_claims(original, limits), original)), limits)
    except ChildDiedError as refusal:
        return Refused(refusal.code)
    answer = json.loads(raw)
    return _refusal_in(answer) or Evidence(**answer)


def _guarded(work: Callable[[], R], original: Path) -> R | Refused:
    """Whatever Pillow does on a broken file becomes a refusal; trouble of the machine is raised."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what matters is refused by our own checks
            return work()
    except _RefusedError as refusal:
        return Refused(refusal.code)
    except MemoryError:
        return Refused("too_heavy")
    except Image.DecompressionBombError:
        return Refused("too_many_pixels")
    except Exception as error:  # Pillow's plugins raise nearly everything on broken files
        if isinstance(error, OSError) and error.errno in _OUR_TROUBLE:
            raise
        return Refused(_explain(error, original))


def _explain(error: Exception, original: Path) -> str:
    """Which refusal fits a file that could not be decoded."""
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return "too_heavy"
    if "MAX_TEXT" in str(error):  # PngImagePlugin: a chunk of text that unpacks to more than a photo's text ever is
        return "too_heavy"
    content = original.read_bytes()
    return "truncated" if is_cut_short(content, sniff(content[:SNIFF_BYTES]) or "") else "undecodable"


def _answer(work: Callable[[], Rebuilt | Evidence | Refused]) -> bytes:
    """What the child writes into the pipe."""
    try:
        outcome = work()
    except OSError as error:
        return json.dumps({"failed": errno.errorcode.get(error.errno or 0, "EIO")}).encode()
    return json.dumps({"refused": outcome.code} if isinstance(outcome, Refused) else asdict(outcome)).encode()


def _read_claims(original: Path, limits: Limits) -> Evidence:
    with _opened(original, limits)[0] as picture:
        return read_evidence(picture)


def _refusal_in(answer: dict[str, Any]) -> Refused | None:
    """The child's refusal, if it is one. Raises :class:`Unavailable` where the machine failed it."""
    if "failed" in answer:
        raise Unavailable("photo_not_processed", retry_after_s=RETRY_AFTER_S, reason=answer["failed"])
    if "refused" in answer:
        return Refused(answer["refused"] if answer["refused"] in REFUSALS else "undecodable")
    return None


def _accept(raw: bytes, target: Path) -> Rebuilt | Refused:
    answer = json.loads(raw)
    if (refused := _refusal_in(answer)) is not None:
        return refused
    redactions = tuple(Rectangle(**box) for box in answer["redactions"])
    made = {"derived": _inspect_all(target), "evidence": Evidence(**answer["evidence"]), "redactions": redactions}
    return Rebuilt(**(answer | made))


def _inspect_all(target: Path) -> tuple[Derived, ...]:
    return tuple(_inspect(target / f"{size_px}.jpg", size_px) for size_px in SIZES_PX)


def _inspect(path: Path, size_px: int) -> Derived:
    """A rebuilt picture as it lies on disk. One that is not the bare JPEG it has to be is refused."""
    content = b"" if path.is_symlink() else path.read_bytes()
    size = bare_jpeg_size(content)
    if size is None or not 0 < max(size) <= size_px:
        raise _RefusedError("undecodable")
    return Derived(size_px, str(path), size[0], size[1], len(content), hashlib.sha256(content).hexdigest())


def _opened(original: Path, limits: Limits) -> tuple[Image.Image, str]:
    """The picture, its pixels not yet decoded, and its format. One of no format or size of ours is refused."""
    with original.open("rb") as source:
        head = source.read(SNIFF_BYTES)
    form = sniff(head)
    if form is None:
        raise _RefusedError(refuse_type(head))
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    picture = Image.open(original, formats=[form])
    try:
        _check_size(*picture.size, limits)
    except _RefusedError:
        picture.close()
        raise
    return picture, form


def _rebuild(original: Path, target: Path, limits: Limits, redactions: Redactions) -> Rebuilt:
    opened, form = _opened(original, limits)
    with opened as picture:
        width, height = picture.size
        if form == "JPEG":
            picture.draft(None, _fit(width, height, SIZES_PX[0]))
        # Before any metadata is asked for: Pillow decodes a PNG to find its EXIF, and once a decoding has failed it
        # passes off the black canvas as the picture.
        picture.load()
        evidence = read_evidence(picture)
        orientation = _orientation(picture, form)
        clean = _to_srgb(picture)
    clean = _turned(clean, orientation)
    if orientation >= 5:
        width, height = height, width
    clean.thumbnail((SIZES_PX[0], SIZES_PX[0]), Image.Resampling.LANCZOS, reducing_gap=2.0)
    # Of the picture as it came: one sent again is found whatever of it is covered by then.
    phash = perceptual_hash(clean.reduce(max(1, max(clean.size) // SIZES_PX[-1])))
    covered = _find(clean) if redactions is None else redactions
    for box in covered:
        _cover(clean, box)
    for size_px in SIZES_PX:  # a cascade: each smaller picture is made from the one before
        clean.thumbnail((size_px, size_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
        _save(clean, target / f"{size_px}.jpg", JPEG_QUALITY[size_px])
    return Rebuilt(ACCEPTED[form], width, height, phash, _inspect_all(target), evidence, covered)


def _find(picture: Image.Image) -> tuple[Rectangle, ...]:
    """What the detectors find. That one fails is our trouble: without an answer nothing is published."""
    # Imported here: of the processes that import this module most only register photos, and need no detectors.
    from waterwatch.photos import redaction

    try:
        return redaction.find(np.asarray(picture))
    except Exception as error:
        raise OSError(errno.EIO, f"the detectors failed: {type(error).__name__}") from error


_COARSE: Final = 32  # steps of a covered part's colour: nine bits are all that is left of what was there


def _cover(picture: Image.Image, box: Rectangle) -> None:
    """Replace a part of the picture by its one mean colour, coarsely. What was there cannot be had back.

    Not by a mosaic: of a plate, whose letters are known, and of a face among few, averages of cells still tell.
    """
    left, top = int(box.left * picture.width), int(box.top * picture.height)
    right = min(picture.width, max(left + 1, math.ceil((box.left + box.width) * picture.width)))
    bottom = min(picture.height, max(top + 1, math.ceil((box.top + box.height) * picture.height)))
    if right <= left or bottom <= top:
        return
    part = np.asarray(picture.crop((left, top, right, bottom)))
    red, green, blue = (int(value) // _COARSE * _COARSE + _COARSE // 2 for value in part.mean(axis=(0, 1)))
    picture.paste((red, green, blue), (left, top, right, bottom))


def _fit(width: int, height: int, longest_px: int) -> tuple[int, int]:
    """The size within ``longest_px``. Pillow's draft halves while both edges stay above it."""
    longest = max(width, height, longest_px)
    return max(1, width * longest_px // longest), max(1, height * longest_px // longest)


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise _RefusedError("too_many_pixels")
    if max(width, height) > limits.max_edge_ratio * min(width, height):
        raise _RefusedError("too_narrow")


def _to_srgb(picture: Image.Image) -> Image.Image:
    """A new RGB image made of pixel bytes only: colours brought to sRGB, transparency laid on white."""
    profile = picture.info.get("icc_profile")
    flat = _flatten(picture)
    if profile and flat.mode in ("RGB", "CMYK", "L"):
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            flat = ImageCms.profileToProfile(flat, source, _SRGB, outputMode="RGB") or flat
    if flat.mode != "RGB":
        flat = flat.convert("RGB")
    return Image.frombytes("RGB", flat.size, flat.tobytes())


def _flatten(picture: Image.Image) -> Image.Image:
    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        return _eight_bit(picture)
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        ground = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        ground.alpha_composite(layered)
        return ground.convert("RGB")
    if mode in ("RGB", "CMYK", "L"):
        return picture
    return picture.convert("RGB")


def _eight_bit(picture: Image.Image) -> Image.Image:
    """16-bit greys scaled to 8 bits; Pillow's own conversion would clip everything above 255 to white."""
    values = np.asarray(picture)
    if values.dtype == np.float32 or values.max(initial=0) > 0xFFFF or values.min(initial=0) < 0:
        return picture.convert("L")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def _orientation(picture: Image.Image, form: str) -> int:
    """EXIF orientation 1 to 8. libheif has turned its pixels already; Pillow reports AVIF's turn as if it were EXIF."""
    if form == "HEIF":
        return 1
    with contextlib.suppress(Exception):
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
        if isinstance(value, int) and 1 <= value <= 8:
            return value
    return 1


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(_TURNS[orientation]) if orientation in _TURNS else picture


def _save(picture: Image.Image, path: Path, quality: int) -> None:
    encoded = io.BytesIO()  # and only then to disk: the encoder would hide why a file could not be written
    picture.save(
        encoded, "JPEG", quality=quality, subsampling="4:2:0"
    )  # progressive: 5 × the time for a tenth of the bytes
    path.write_bytes(encoded.getbuffer())


PHASH_STEP = 32.0  # an eighth of a grey level in the picture; chosen by measurement, docs/decisions/0020


def perceptual_hash(picture: Image.Image) -> int:
    """64-bit pHash: the signs of the 8×8 lowest DCT-II coefficients of a 32×32 grey picture against their median.

    Source: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010), section 3.2. Signed,
    as PostgreSQL's bigint is. Coefficients are rounded to steps of :data:`PHASH_STEP` first, so that what compression
    and a sensor's noise add does not decide a bit: in a plain picture they then are equal, and few bits are set.
    """
    grey = np.asarray(ImageOps.grayscale(picture).resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float64)
    n = np.arange(32)
    basis = np.cos(np.pi * (2 * n[None, :] + 1) * n[:8, None] / 64)
    low = np.round((basis @ grey @ basis.T).ravel() / PHASH_STEP)
    bits = low > np.median(low[1:])
    value = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return value - (1 << 64) if value >= 1 << 63 else value


def read_evidence(picture: Image.Image) -> Evidence:
    """Place and time from EXIF; anything broken or contradictory counts as absent."""
    with contextlib.suppress(Exception):
        exif = picture.getexif()
        evidence = _place(dict(exif.get_ifd(ExifTags.IFD.GPSInfo)))
        details = dict(exif.get_ifd(ExifTags.IFD.Exif))
        local = _clean_time(details.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime))
        offset = details.get(ExifTags.Base.OffsetTimeOriginal)
        return replace(evidence, taken_at_local=local, taken_at=_with_offset(local, offset))
    return Evidence()


def _place(gps: dict[int, Any]) -> Evidence:
    with contextlib.suppress(Exception):
        lat = _degrees(gps[ExifTags.GPS.GPSLatitude], gps[ExifTags.GPS.GPSLatitudeRef], "N", "S", 90.0)
        lon = _degrees(gps[ExifTags.GPS.GPSLongitude], gps[ExifTags.GPS.GPSLongitudeRef], "E", "W", 180.0)
        if (lon, lat) != (0.0, 0.0):  # what cameras write when they do not know
            return Evidence(lon=lon, lat=lat)
    return Evidence()


def _degrees(parts: Any, reference: Any, positive: str, negative: str, limit: float) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    value = degrees + minutes / 60 + seconds / 3600
    sign = {positive: 1.0, negative: -1.0}[str(reference).strip("\x00 ").upper()]
    if not 0 <= value <= limit or not (0 <= minutes < 60 and 0 <= seconds < 60):
        raise ValueError("out of range")
    return sign * value


def _clean_time(value: Any) -> str | None:
    with contextlib.suppress(ValueError, TypeError):
        parsed = datetime.strptime(str(value).strip("\x00 "), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007  # it has no zone
        return parsed.isoformat() if parsed.year in _YEARS else None
    return None


def _with_offset(local: str | None, offset: Any) -> str | None:
    """The instant, where a zone is given that exists."""
    text = str(offset or "").strip("\x00 ")
    if local is None or text[:1] not in ("+", "-", "Z"):
        return None
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(local + text).isoformat()
    return None
