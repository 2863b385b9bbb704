"""Decoding hostile pictures and rebuilding clean ones. The only importer of Pillow.

What is published is made of pixels alone: a new image is built from the decoded pixel bytes, so nothing that came with
the original (EXIF, XMP, ICC, comments, thumbnails, bytes behind the end) can survive into it. Pillow itself would carry
JPEG comments over on a plain re-save. Decoding happens in a forked child under limits; whatever happens there, the
answer is a finished set of pictures or an exact refusal: it fails closed.
"""

import contextlib
import hashlib
import io
import json
import os
import resource
import select
import signal
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, UnidentifiedImageError

from waterwatch.photos.rules import ACCEPTED, JPEG_QUALITY, SIZES_PX, Limits, refuse_type, sniff

pillow_heif.register_heif_opener(thumbnails=False)
ImageFile.LOAD_TRUNCATED_IMAGES = False
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 20
PngImagePlugin.MAX_TEXT_MEMORY = 4 << 20

SNIFF_BYTES: Final = 64
ANSWER_LIMIT_BYTES: Final = 65536
_SRGB = ImageCms.createProfile("sRGB")


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
    """A photo made safe. ``phash`` is a signed 64-bit perceptual hash."""

    media_type: str
    width: int
    height: int
    phash: int
    derived: tuple[Derived, ...]
    evidence: Evidence


@dataclass(frozen=True)
class Refused:
    """Why a file is not accepted: one of :data:`waterwatch.photos.rules.REFUSALS`."""

    code: str


class _Refusal(Exception):
    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def rebuild_in_child(original: Path, target: Path, limits: Limits) -> Rebuilt | Refused:
    """Decode ``original`` in a confined child process and leave the pictures in the folder ``target``.

    The child may use ``limits.memory_bytes`` of address space on top of what it inherits, ``limits.cpu_s`` of CPU and
    ``limits.wall_s`` in all; it answers through a pipe. Death by signal, running out of memory or time, and any
    exception become a :class:`Refused`. The calling process needs no other thread to be alive at the fork.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _answer_from_child(writer, original, target, limits)  # never returns
    os.close(writer)
    try:
        raw, is_late = _read_answer(reader, limits.wall_s)
    finally:
        os.close(reader)
        # The child has answered, died, or is late: in no case may it live on. A zombie takes the signal quietly.
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if is_late:
        return Refused("timed_out")
    return _parse_answer(raw)


def rebuild(original: Path, target: Path, limits: Limits) -> Rebuilt | Refused:
    """Decode and rebuild in this process. Use :func:`rebuild_in_child` for anything from outside."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what matters is refused by our own checks
            return _rebuild(original, target, limits)
    except _Refusal as refusal:
        return Refused(refusal.code)
    except MemoryError:
        return Refused("too_heavy")
    except Image.DecompressionBombError:
        return Refused("too_many_pixels")
    except UnidentifiedImageError:
        return Refused("undecodable")
    except Exception as error:  # Pillow's plugins raise nearly everything on broken files
        is_short = "truncated" in str(error).lower() or isinstance(error, EOFError)
        return Refused("truncated" if is_short else "undecodable")


def _rebuild(original: Path, target: Path, limits: Limits) -> Rebuilt:
    with original.open("rb") as source:
        head = source.read(SNIFF_BYTES)
    form = sniff(head)
    if form is None:
        raise _Refusal(refuse_type(head))
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    with Image.open(original, formats=[form]) as picture:
        width, height = picture.size
        _check_size(width, height, limits)
        evidence = read_evidence(picture)
        orientation = _orientation(picture, form)
        largest = SIZES_PX[0]
        if form == "JPEG":
            picture.draft("RGB" if picture.mode in ("RGB", "YCbCr", "L") else picture.mode, (largest, largest))
        picture.load()
        clean = _to_srgb(picture)
    clean = _turned(clean, orientation)
    if orientation >= 5:
        width, height = height, width
    derived = []
    for size_px in SIZES_PX:  # a cascade: each smaller picture is made from the one before
        clean.thumbnail((size_px, size_px), Image.Resampling.LANCZOS, reducing_gap=2.0)
        derived.append(_save(clean, size_px, target))
    return Rebuilt(ACCEPTED[form], width, height, perceptual_hash(clean), tuple(derived), evidence)


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise _Refusal("too_many_pixels")
    if max(width, height) > limits.max_edge_ratio * min(width, height):
        raise _Refusal("too_narrow")


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
    """16- and 32-bit greys scaled to 8 bits; Pillow's own conversion would clip everything above 255 to white."""
    values = np.asarray(picture, dtype=np.float32)
    ceiling = 65535.0 if values.max(initial=0.0) > 255.0 else 255.0
    return Image.fromarray(np.clip(values * (255.0 / ceiling), 0, 255).astype(np.uint8))


def _orientation(picture: Image.Image, form: str) -> int:
    """EXIF orientation 1 to 8. HEIF and AVIF decoders have turned the pixels already."""
    if form in ("HEIF", "AVIF"):
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


def _save(picture: Image.Image, size_px: int, target: Path) -> Derived:
    path = target / f"{size_px}.jpg"
    picture.save(path, "JPEG", quality=JPEG_QUALITY[size_px], subsampling="4:2:0", progressive=True)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Derived(size_px, str(path), picture.width, picture.height, len(content), digest)


def perceptual_hash(picture: Image.Image) -> int:
    """64-bit pHash: the signs of the 8×8 lowest DCT-II coefficients of a 32×32 grey picture against their median.

    Source: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010), section 3.2. Signed,
    as PostgreSQL's bigint is.
    """
    grey = np.asarray(ImageOps.grayscale(picture).resize((32, 32), Image.Resampling.BILINEAR), dtype=np.float64)
    n = np.arange(32)
    basis = np.cos(np.pi * (2 * n[None, :] + 1) * n[:8, None] / 64)
    low = (basis @ grey @ basis.T).ravel()
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
        parsed = time.strptime(str(value).strip("\x00 "), "%Y:%m:%d %H:%M:%S")
        return time.strftime("%Y-%m-%dT%H:%M:%S", parsed)
    return None


def _with_offset(local: str | None, offset: Any) -> str | None:
    text = str(offset or "").strip("\x00 ")
    is_offset = len(text) == 6 and text[0] in "+-" and text[3] == ":" and (text[1:3] + text[4:]).isdigit()
    return f"{local}{text}" if local and is_offset else None


def confine(limits: Limits) -> None:
    """Limit this process for good: address space beyond what it has now, CPU, size of files it may write, no children."""
    with Path("/proc/self/statm").open() as statm:
        present_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    ceiling = present_bytes + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer_from_child(writer: int, original: Path, target: Path, limits: Limits) -> None:
    """The child's whole life. Leaves by ``os._exit``: none of the parent's clean-up may run here."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        confine(limits)
        outcome = rebuild(original, target, limits)
        kind = "rebuilt" if isinstance(outcome, Rebuilt) else "refused"
        os.write(writer, json.dumps({"kind": kind, **asdict(outcome)}).encode())
    except BaseException:  # fails closed: no answer is a refusal
        os._exit(1)
    os._exit(0)


def _read_answer(reader: int, wall_s: float) -> tuple[bytes, bool]:
    """(answer, whether time ran out). End of file without an answer means the child died."""
    deadline, raw = time.monotonic() + wall_s, b""
    while len(raw) < ANSWER_LIMIT_BYTES:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0 or not select.select([reader], [], [], remaining_s)[0]:
            return raw, True
        chunk = os.read(reader, 4096)
        if not chunk:
            break
        raw += chunk
    return raw, False


def _parse_answer(raw: bytes) -> Rebuilt | Refused:
    if not raw:
        return Refused("too_heavy")  # killed: by the CPU limit or for memory a C library could not get
    answer = json.loads(raw)
    if answer.pop("kind") == "refused":
        return Refused(answer["code"])
    derived = tuple(Derived(**one) for one in answer.pop("derived"))
    return Rebuilt(**{**answer, "derived": derived, "evidence": Evidence(**answer["evidence"])})
