"""Decoding hostile pictures and rebuilding clean ones. Nothing outside this room imports Pillow.

What is published is made of pixels alone: a new image is filled with the decoded pixels, so nothing that came with
the original (EXIF, XMP, ICC, comments, thumbnails, bytes behind the end) can survive into it. Pillow itself would carry
JPEG comments over on a plain re-save. Decoding happens in a forked child under limits; whatever happens there, the
answer is a finished set of pictures or an exact refusal: it fails closed.
"""

import contextlib
import errno
import hashlib
import io
import itertools
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pillow_heif
from PIL import (
    AvifImagePlugin,
    ExifTags,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from waterwatch.kernel.errors import Unavailable
from waterwatch.photos.colour import to_srgb
from waterwatch.photos.confinement import ChildDiedError, run_confined
from waterwatch.photos.evidence import Evidence, read_evidence
from waterwatch.photos.rules import (
    ACCEPTED,
    JPEG_QUALITY,
    NEAR,
    REFUSALS,
    SIZES_PX,
    Limits,
    Rectangle,
    bare_jpeg_size,
    is_cut_short,
    refuse_type,
    sniff,
    target_edge,
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
R = TypeVar("R")


@dataclass(frozen=True)
class Derived:
    """One rebuilt picture on disk: its longest edge is that of :func:`waterwatch.photos.rules.target_edge`."""

    size_px: int
    path: str
    width: int
    height: int
    bytes: int
    sha256: str


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
    if size is None or not 0 < max(size) <= size_px * NEAR[1]:
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
            picture.draft(None, _within(width, height, target_edge(max(width, height), SIZES_PX[0])))
        # Before any metadata is asked for: Pillow decodes a PNG to find its EXIF, and once a decoding has failed it
        # passes off the black canvas as the picture.
        picture.load()
        evidence = read_evidence(picture)
        orientation = _orientation(picture, form)
        clean = to_srgb(picture, _TURNS.get(orientation))
    if orientation >= 5:
        width, height = height, width
    pictures = _cascade(clean)
    # Of the picture as it came: one sent again is found whatever of it is covered by then.
    phash = perceptual_hash(pictures[-1])
    covered = _find(pictures[0]) if redactions is None else redactions
    if covered:
        for box in covered:
            _cover(pictures[0], box)
        pictures = _cascade(pictures[0])  # anew: no pixel of what is covered may have a part in a smaller one
    for size_px, made in zip(SIZES_PX, pictures, strict=True):
        _save(made, target / f"{size_px}.jpg", JPEG_QUALITY[size_px])
    return Rebuilt(ACCEPTED[form], width, height, phash, _inspect_all(target), evidence, covered)


def _cascade(picture: Image.Image) -> tuple[Image.Image, ...]:
    """The picture in every size, largest first, each made from the one before. Sizes it does not reach are itself."""
    return tuple(itertools.accumulate(SIZES_PX, _shrunk, initial=picture))[1:]


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


def _within(width: int, height: int, longest_px: int) -> tuple[int, int]:
    """The size with this longest edge. Pillow's draft halves while both edges stay at or above it."""
    longest = max(width, height)
    return max(1, width * longest_px // longest), max(1, height * longest_px // longest)


def _shrunk(picture: Image.Image, size_px: int) -> Image.Image:
    """The picture at :func:`target_edge`: averages of 2 × 2 pixels where that is what a halving needs, else resampled.

    HAMMING looks like BICUBIC at half its cost (Pillow's handbook, filters comparison); LANCZOS costs three times it.
    """
    edge = max(picture.size)
    longest_px = target_edge(edge, size_px)
    factor = round(edge / longest_px)
    if longest_px >= edge:
        return picture
    if -(-edge // factor) == longest_px:
        return picture.reduce(factor)
    size = _within(*picture.size, longest_px)
    return picture.resize(size, Image.Resampling.HAMMING, reducing_gap=1.5)


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise _RefusedError("too_many_pixels")
    if max(width, height) > limits.max_edge_ratio * min(width, height):
        raise _RefusedError("too_narrow")


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
