"""Made-up photographs of water with faces and number plates in them, and where these lie. Everything is drawn by seed.

Faces: the three photographs in ``bench/faces`` (their origin is told there), or a folder of one's own. Plates: drawn by
the measures of GA 36-2018 and in some foreign formats, with letters of the fonts that every test machine has.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels

WIDTH, HEIGHT = 2000, 1500
FACES = Path(__file__).parent / "faces"
# Brow to chin, as fractions of each photograph; measured by eye.
FACE_BOXES: dict[str, Box] = {
    "collins": (0.303, 0.193, 0.600, 0.593),
    "hopper": (0.258, 0.245, 0.720, 0.760),
    "varshney": (0.360, 0.295, 0.640, 0.685),
}
_FONT = "/usr/share/fonts/opentype/noto/NotoSansCJK-Bold.ttc"
_PROVINCES = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"
_SIGNS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"  # GA 36-2018: neither I nor O
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
Drawn = Callable[[np.random.Generator], Pixels]


@dataclass(frozen=True)
class Portrait:
    """A photograph of one face; ``face`` is its box as fractions."""

    name: str
    pixels: Pixels
    face: Box


@dataclass(frozen=True)
class Scene:
    """A picture, and what of it must be covered."""

    pixels: Pixels
    secrets: tuple[Box, ...]


def portraits(folder: Path | None = None) -> list[Portrait]:
    """The photographs that come with us; of another folder each file is one face that fills its middle."""
    if folder is None:
        return [Portrait(name, _read(FACES / f"{name}.jpg"), box) for name, box in FACE_BOXES.items()]
    return [Portrait(path.stem, _read(path), (0.25, 0.2, 0.75, 0.8)) for path in sorted(folder.iterdir())]


def with_faces(rng: np.random.Generator, people: Sequence[Portrait], height_px: float, count: int) -> Scene:
    """Water with ``count`` faces of ``height_px`` (brow to chin): turned, mirrored, dark, blurred, half hidden."""
    canvas = water(rng)
    secrets = [_add_face(rng, canvas, people[rng.integers(len(people))], height_px, place) for place in _places(count)]
    return Scene(_photographed(rng, canvas, night=False), tuple(secrets))


def with_plates(
    rng: np.random.Generator, height_px: float, count: int, *, night: bool = False, two_lines: bool = False
) -> Scene:
    """Water with ``count`` number plates of about ``height_px``, each on a bumper seen from the side."""
    canvas = water(rng)
    draws = (_two_line_plate,) if two_lines else _PLATES
    secrets = [_add_plate(rng, canvas, draws, height_px, place) for place in _places(count)]
    return Scene(_photographed(rng, canvas, night=night), tuple(secrets))


def without_anybody(rng: np.random.Generator) -> Scene:
    """Water, a works with its name, and signs with numbers; ``secrets`` are the names, which must stay readable."""
    canvas = water(rng)
    words = (
        ("江城第二印染厂", 90), ("排口编号 WH-03", 34), ("水深危险 禁止游泳", 48), ("监督电话 12369", 40),
        ("2026年5月", 36), ("汉江 K12+300", 36),
    )  # fmt: skip
    named: list[Box] = []
    for (text, size), (x, y) in zip(words, _places(len(words)), strict=True):
        sign = _sign(text, size)
        top, left = int(y - sign.shape[0] / 2), int(x - sign.shape[1] / 2)
        left = min(max(0, left), WIDTH - sign.shape[1])
        canvas[top : top + sign.shape[0], left : left + sign.shape[1]] = sign
        named.append((left, top, left + sign.shape[1], top + sign.shape[0]))
    return Scene(_photographed(rng, canvas, night=False), (named[0],))


def water(rng: np.random.Generator) -> Pixels:
    """Sky, a far bank, rippled water and stones of many sizes at the near one."""
    depth = np.linspace(0, 1, HEIGHT)[:, None, None]
    picture = np.array([150, 168, 178.0]) * (1 - depth) + np.array([70, 84, 70.0]) * depth
    ripples = 9 * np.sin(np.linspace(0, rng.uniform(50, 90), HEIGHT) ** 1.15)[:, None, None]
    canvas = np.broadcast_to(picture + ripples, (HEIGHT, WIDTH, 3)).copy()
    cloud = cv2.resize(rng.normal(0, 1, (24, 32)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    canvas += 9 * cloud[:, :, None]
    for _ in range(140):
        centre = int(rng.integers(WIDTH)), int(rng.integers(int(HEIGHT * 0.55), HEIGHT))
        axes = int(rng.integers(4, 60)), int(rng.integers(3, 40))
        shade = rng.uniform(40, 150)
        colour = (shade * 1.05, shade, shade * rng.uniform(0.8, 1.0))
        cv2.ellipse(canvas, centre, axes, float(rng.uniform(-20, 20)), 0, 360, colour, -1, cv2.LINE_AA)
    canvas += rng.normal(0, 5, canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _places(count: int) -> list[tuple[int, int]]:
    """Middles of the cells of a grid, so that nothing lies on anything else."""
    columns = math.ceil(math.sqrt(count * WIDTH / HEIGHT))
    rows = math.ceil(count / columns)
    return [
        (int((column + 0.5) * WIDTH / columns), int((row + 0.5) * HEIGHT / rows))
        for row in range(rows)
        for column in range(columns)
    ][:count]


def _photographed(rng: np.random.Generator, canvas: Pixels, *, night: bool) -> Pixels:
    """What a telephone makes of it: noise, and the losses of JPEG."""
    seen = canvas.astype(np.float32)
    if night:
        seen = seen * rng.uniform(0.25, 0.45) + rng.normal(0, 9, seen.shape)
    seen = np.clip(seen + rng.normal(0, 3, seen.shape), 0, 255)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70, 92))]
    _done, encoded = cv2.imencode(".jpg", seen.astype(np.uint8), quality)
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


def _add_face(
    rng: np.random.Generator, canvas: Pixels, person: Portrait, height_px: float, place: tuple[int, int]
) -> Box:
    pixels, (left, top, right, bottom) = person.pixels, person.face
    if rng.random() < 0.5:
        pixels, left, right = np.ascontiguousarray(pixels[:, ::-1]), 1 - right, 1 - left
    height, width = pixels.shape[:2]
    middle = (left + right) / 2 * width, (top + bottom) / 2 * height
    scale = height_px / ((bottom - top) * height)
    face = cv2.GaussianBlur(pixels, (0, 0), max(0.3, 0.45 / scale))  # what is made smaller must not glitter
    half_w, half_h = (right - left) * width / 2, (bottom - top) * height / 2
    if rng.random() < 0.25:  # a mask over mouth and nose
        chin = int(middle[1] + 0.1 * half_h), int(middle[1] + half_h)
        face[chin[0] : chin[1], int(middle[0] - half_w) : int(middle[0] + half_w)] = (205, 214, 222)
    turn = cv2.getRotationMatrix2D(middle, float(rng.uniform(-25, 25)), scale)
    turn[:, 2] += np.array(place) - np.array(middle)
    feather = np.zeros((height, width), np.float32)
    reach = int(min(middle[0], width - middle[0])), int(min(middle[1], height - middle[1]))
    cv2.ellipse(feather, (int(middle[0]), int(middle[1])), reach, 0, 0, 360, 1.0, -1)
    feather = cv2.GaussianBlur(feather, (0, 0), width / 30)
    lit = np.clip(face.astype(np.float32) * rng.uniform(0.4, 1.25), 0, 255)
    if rng.random() < 0.4:  # out of focus or moved
        lit = cv2.GaussianBlur(lit, (0, 0), height_px / 28 / scale)
    _lay(canvas, lit, feather, turn)
    return place[0] - half_w * scale, place[1] - height_px / 2, place[0] + half_w * scale, place[1] + height_px / 2


def _lay(canvas: Pixels, picture: NDArray[np.float32], feather: NDArray[np.float32], turn: NDArray[np.float64]) -> None:
    size = canvas.shape[1], canvas.shape[0]
    warped = cv2.warpAffine(picture, turn, size, flags=cv2.INTER_AREA)
    share = cv2.warpAffine(feather, turn, size)[:, :, None]
    canvas[:] = (canvas * (1 - share) + warped * share).astype(np.uint8)


def _add_plate(
    rng: np.random.Generator, canvas: Pixels, draws: Sequence[Drawn], height_px: float, place: tuple[int, int]
) -> Box:
    plate = draws[int(rng.integers(len(draws)))](rng)
    tall, wide = plate.shape[:2]
    bumper = cv2.copyMakeBorder(plate, tall, tall, wide // 2, wide // 2, cv2.BORDER_CONSTANT, value=(46, 44, 42))
    scale = height_px / tall
    yaw, roll = rng.uniform(-0.6, 0.6), rng.uniform(-0.12, 0.12)  # rad
    corners = np.array([[-wide, -1.5 * tall], [wide, -1.5 * tall], [wide, 1.5 * tall], [-wide, 1.5 * tall]]) * scale
    seen = [_project(x, y, yaw, roll, 6 * wide * scale) for x, y in corners]
    middle = np.array(place)
    source = np.float32([[0, 0], [2 * wide, 0], [2 * wide, 3 * tall], [0, 3 * tall]])
    turn = cv2.getPerspectiveTransform(source, np.float32([middle + point for point in seen]))
    smooth = cv2.GaussianBlur(bumper, (0, 0), max(0.3, rng.uniform(0.4, 0.9) / scale))
    size = canvas.shape[1], canvas.shape[0]
    warped = cv2.warpPerspective(smooth, turn, size, flags=cv2.INTER_AREA)
    share = cv2.warpPerspective(np.ones(bumper.shape[:2], np.float32), turn, size)[:, :, None]
    canvas[:] = (canvas * (1 - share) + warped * share).astype(np.uint8)
    edges = np.float32([[[wide / 2, tall]], [[1.5 * wide, tall]], [[1.5 * wide, 2 * tall]], [[wide / 2, 2 * tall]]])
    outline = cv2.perspectiveTransform(edges, turn)[:, 0]
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _project(x: float, y: float, yaw: float, roll: float, distance: float) -> NDArray[np.float64]:
    x, y = x * math.cos(roll) - y * math.sin(roll), x * math.sin(roll) + y * math.cos(roll)
    nearer = distance / (distance + x * math.sin(yaw))
    return np.array([x * math.cos(yaw) * nearer, y * nearer])


def _plate(text: str, ground: tuple[int, int, int], ink: tuple[int, int, int], wide_mm: int = 440) -> Pixels:
    """440 × 140 mm as in GA 36-2018 (480 × 140 with eight signs), two pixels a millimetre."""
    width, height = 2 * wide_mm, 280
    picture = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((8, 8, width - 9, height - 9), 20, outline=ink, width=5)
    step = (width - 60) / len(text)
    for number, sign in enumerate(text):
        drawn = _glyph(sign, ground, ink).resize((min(90, int(step) - 8), 180))
        picture.paste(drawn, (int(30 + (number + 0.5) * step - drawn.width / 2), (height - 180) // 2))
    return np.asarray(picture, dtype=np.uint8)


def _two_line_plate(rng: np.random.Generator) -> Pixels:
    """A lorry's rear plate, 440 × 220 mm: province and letter above, five signs below (GA 36-2018)."""
    ground, ink, signs = (240, 190, 30), (15, 15, 15), _chinese(rng, 5)
    picture = Image.new("RGB", (880, 440), ground)
    ImageDraw.Draw(picture).rounded_rectangle((8, 8, 871, 431), 20, outline=ink, width=5)
    for sign, left in ((signs[0], 220), (signs[1], 500)):
        picture.paste(_glyph(sign, ground, ink).resize((160, 120)), (left, 30))
    ImageDraw.Draw(picture).ellipse((430, 80, 450, 100), fill=ink)
    for number, sign in enumerate(signs[2:]):
        picture.paste(_glyph(sign, ground, ink).resize((130, 220)), (45 + number * 163, 185))
    return np.asarray(picture, dtype=np.uint8)


def _glyph(sign: str, ground: tuple[int, int, int], ink: tuple[int, int, int]) -> Image.Image:
    """One sign that fills its picture."""
    font = ImageFont.truetype(_FONT, 200)
    left, top, right, bottom = font.getbbox(sign)
    tall = 150 if sign in "- " else max(60, int(bottom - top))  # a hyphen is not drawn out to a block
    drawn = Image.new("RGB", (max(60, int(right - left)), tall), ground)
    ImageDraw.Draw(drawn).text((drawn.width / 2, drawn.height / 2), sign, ink, font, anchor="mm")
    return drawn


def _signs(rng: np.random.Generator, alphabet: str, count: int) -> str:
    return "".join(alphabet[int(rng.integers(len(alphabet)))] for _ in range(count))


def _chinese(rng: np.random.Generator, count: int) -> str:
    """A number with at least two digits, as all but a few have."""
    tail = _signs(rng, _SIGNS, count - 3) + _signs(rng, "0123456789", 3)
    return _signs(rng, _PROVINCES, 1) + _signs(rng, _LETTERS, 1) + "".join(rng.permutation(list(tail)))


_PLATES: tuple[Drawn, ...] = (
    lambda rng: _plate(_chinese(rng, 5), (10, 60, 160), (245, 245, 245)),
    lambda rng: _plate(_chinese(rng, 5), (10, 60, 160), (245, 245, 245)),
    lambda rng: _plate(_chinese(rng, 6), (150, 215, 175), (15, 15, 15), 480),
    lambda rng: _plate(_chinese(rng, 5), (240, 190, 30), (15, 15, 15)),
    lambda rng: _plate(
        f"{_signs(rng, _LETTERS, 2)}-{_signs(rng, '123456789', 3)}-{_signs(rng, _LETTERS, 2)}",
        (245, 245, 245),
        (20, 20, 20),
        520,
    ),
    lambda rng: _plate(
        f"{_signs(rng, _LETTERS, 3)} {_signs(rng, '0123456789', 4)}", (240, 240, 235), (20, 30, 90), 440
    ),
)


def _sign(text: str, size: int) -> Pixels:
    font = ImageFont.truetype(_FONT, size)
    left, top, right, bottom = font.getbbox(text)
    picture = Image.new("RGB", (int(right - left) + size, int(bottom - top) + size), (235, 236, 230))
    ImageDraw.Draw(picture).text((size / 2 - left, size / 2 - top), text, (150, 30, 30), font)
    return np.asarray(picture, dtype=np.uint8)


def _read(path: Path) -> Pixels:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)
