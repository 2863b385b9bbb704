"""What the detectors of faces and plates find and miss, by the size of what is to be found, and what they cost.

Scenes are made up by seed (``bench.privacy_scenes``), 2000 × 1500 px as the largest published picture is. A face or
plate counts as found when at least four fifths of its box are covered. ``--faces FOLDER`` takes one's own photographs
of faces instead of the three that come with us: the figures say nothing of people who are not in them.

    python -m bench.privacy [--each 60] [--seed 1] [--faces FOLDER]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench import privacy_scenes as scenes
from waterwatch.photos import redaction
from waterwatch.photos.rules import Rectangle

FACE_HEIGHTS_PX = (16, 20, 24, 28, 32, 40, 56, 80, 160, 320, 600, 900)
PLATE_HEIGHTS_PX = (12, 16, 20, 26, 36, 60, 100)
COVERED = 0.8
EMPTY_SCENES = 20
Draw = Callable[[np.random.Generator, float, int], scenes.Scene]


def main() -> None:
    """Measure faces, plates by day, plates by night, and pictures without either."""
    asked = _arguments()
    people = scenes.portraits(asked.faces)
    redaction.load()
    print(f"{len(people)} photographs of faces; {asked.each} of each size; seed {asked.seed}")
    kinds: Sequence[tuple[str, str, Sequence[int], Draw]] = (
        ("faces", "face", FACE_HEIGHTS_PX, lambda rng, px, n: scenes.with_faces(rng, people, px, n)),
        ("plates by day", "plate", PLATE_HEIGHTS_PX, scenes.with_plates),
        (
            "plates, two lines",
            "plate",
            PLATE_HEIGHTS_PX,
            lambda rng, px, n: scenes.with_plates(rng, px, n, two_lines=True),
        ),
        ("plates by night", "plate", PLATE_HEIGHTS_PX, lambda rng, px, n: scenes.with_plates(rng, px, n, night=True)),
    )
    for title, kind, heights, draw in kinds:
        print(f"\n{title:17} found         of   recall   also covered a picture   CPU s a picture")
        for height_px in heights:
            _measure(np.random.default_rng([asked.seed, height_px]), kind, height_px, asked.each, draw)
    _measure_empty(np.random.default_rng(asked.seed))


def _measure(rng: np.random.Generator, kind: str, height_px: int, each: int, draw: Draw) -> None:
    at_once = _at_once(kind, height_px)
    found, asked_of, wrong, spent_s, pictures = 0, 0, 0, 0.0, 0
    while asked_of < each:
        picture = draw(rng, height_px, at_once)
        boxes, seconds = _find(picture)
        shares = [_share(secret, boxes) for secret in picture.secrets]
        found, asked_of = found + sum(share >= COVERED for share in shares), asked_of + len(shares)
        wrong += sum(not any(_overlap(box, secret) for secret in picture.secrets) for box in boxes)
        spent_s, pictures = spent_s + seconds, pictures + 1
    figures = f"{found:5} {asked_of:10}   {100 * found / asked_of:5.0f} %   {wrong / pictures:22.2f}"
    print(f"  {height_px:4} px       {figures}   {spent_s / pictures:15.2f}")


def _at_once(kind: str, height_px: int) -> int:
    """How many of a size find room in one picture."""
    if kind == "plate":
        return 9
    return 12 if height_px < 160 else 4 if height_px < 400 else 1


def _measure_empty(rng: np.random.Generator) -> None:
    """Water, a works' name and signs with numbers: what is covered here was covered for nothing."""
    wrong = {"face": 0, "plate": 0}
    names = 0
    for _ in range(EMPTY_SCENES):
        picture = scenes.without_anybody(rng)
        boxes = redaction.find(picture.pixels)
        for box in boxes:
            wrong[box.kind] += 1
        names += _share(picture.secrets[0], [_edges(box) for box in boxes]) > 0
    print(
        f"\n{EMPTY_SCENES} pictures without face or plate: covered as faces {wrong['face']}, as plates {wrong['plate']}"
    )
    print(f"names of works touched: {names} of {EMPTY_SCENES}")


def _find(picture: scenes.Scene) -> tuple[list[scenes.Box], float]:
    """What is covered, in pixels, and the CPU seconds it took."""
    before_s = time.process_time()
    boxes = redaction.find(picture.pixels)
    return [_edges(box) for box in boxes], time.process_time() - before_s


def _edges(box: Rectangle) -> scenes.Box:
    width, height = scenes.WIDTH, scenes.HEIGHT
    right, bottom = box.left + box.width, box.top + box.height
    return box.left * width, box.top * height, right * width, bottom * height


def _share(secret: scenes.Box, boxes: Sequence[scenes.Box]) -> float:
    """How much of a secret lies under the boxes, 0 to 1, counted in pixels."""
    left, top, right, bottom = (round(edge) for edge in secret)
    under = np.zeros((max(1, bottom - top), max(1, right - left)), dtype=bool)
    for box in boxes:
        rows = slice(max(0, int(box[1]) - top), max(0, int(box[3]) - top))
        under[rows, max(0, int(box[0]) - left) : max(0, int(box[2]) - left)] = True
    return float(under.mean())


def _overlap(box: scenes.Box, secret: scenes.Box) -> bool:
    return box[0] < secret[2] and secret[0] < box[2] and box[1] < secret[3] and secret[1] < box[3]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=60, help="faces or plates of each size")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faces", type=Path, help="a folder of photographs, one face in the middle of each")
    return parser.parse_args()


if __name__ == "__main__":
    main()
