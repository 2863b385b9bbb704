"""What is found, and that what is covered cannot be had back: real detectors, real faces, drawn plates."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from bench import privacy_scenes as scenes
from tests.photos.forge import encode, jpeg, scene
from waterwatch.kernel.errors import Unavailable
from waterwatch.photos import pixels, redaction
from waterwatch.photos.pixels import Rebuilt, rebuild, rebuild_in_child
from waterwatch.photos.rules import MAX_REDACTIONS, Limits, Rectangle, bounded, grown, is_plate, is_two_line_plate

LIMITS = Limits(max_pixels=60_000_000, memory_bytes=1536 << 20, cpu_s=30, wall_s=90.0)
QUARTER = Rectangle("drawn", 0.25, 0.25, 0.5, 0.5)


@pytest.mark.parametrize(
    "words",
    ["鄂A·12345", "鄂A12345", "鄂AD12345", "京A1234警", "粤Z1234港", "陪A88888", "AB-123-CD", "b mw 1234", "鄂A.D1234"],
)
def test_the_words_of_a_plate_are_known_also_when_misread(words: str) -> None:
    assert is_plate(words)


@pytest.mark.parametrize(
    "words",
    ["", "江城第二印染厂", "12369", "13800138000", "2026-05-20", "水深危险", "汉江 K12+300", "WH-03", "NO FISHING",
     "监督电话 12345", "第2排口", "GB3838-2002标准"],
)  # fmt: skip
def test_names_dates_and_telephone_numbers_are_not_plates(words: str) -> None:
    assert not is_plate(words)


@pytest.mark.parametrize(
    ("upper", "lower", "is_one"),
    [
        ("鄂A", "12345", True), ("鄂·A", "1B345挂", True), ("那A", "12345", True), ("鄂A", "BRIDGE", False),
        ("监督电话", "12345", False), ("", "12345", False), ("K12", "300M", False), ("鄂A", "123456789", False),
    ],
)  # fmt: skip
def test_two_lines_are_a_plate_when_both_look_like_it(upper: str, lower: str, is_one: bool) -> None:
    assert is_two_line_plate(upper, lower) is is_one


def test_what_is_found_is_covered_with_a_margin_and_within_the_picture() -> None:
    assert grown(Rectangle("face", 0.4, 0.4, 0.1, 0.2)) == Rectangle(
        "face", pytest.approx(0.38), pytest.approx(0.36), pytest.approx(0.14), pytest.approx(0.28)
    )
    assert grown(Rectangle("face", 0.0, 0.9, 0.5, 0.1)) == Rectangle(
        "face", 0.0, pytest.approx(0.88), pytest.approx(0.6), pytest.approx(0.12)
    )
    assert grown(QUARTER) == QUARTER


def test_a_crowd_is_covered_whole_though_not_one_by_one() -> None:
    crowd = [Rectangle("face", n / 500, n / 500, 0.001, 0.001, score=1 - n / 500) for n in range(MAX_REDACTIONS + 50)]
    found = bounded(reversed(crowd))
    assert found[:-1] == tuple(crowd[: MAX_REDACTIONS - 1])
    assert (found[-1].left, found[-1].left + found[-1].width) == (pytest.approx(0.398), pytest.approx(0.499))


def test_what_two_looks_found_is_covered_once_and_wide_enough_for_both() -> None:
    first, second = Rectangle("face", 0.2, 0.2, 0.2, 0.2, 0.9), Rectangle("face", 0.21, 0.19, 0.2, 0.2, 0.8)
    (found,) = bounded([second, first])
    assert (found.left, found.top, found.score) == (0.2, 0.19, 0.9)
    assert (found.width, found.height) == (pytest.approx(0.21), pytest.approx(0.21))


def test_neighbours_a_plate_under_a_face_and_a_face_within_a_mistake_stay_each_their_own() -> None:
    apart = [
        Rectangle("face", 0.2, 0.2, 0.2, 0.2, 0.9), Rectangle("face", 0.35, 0.2, 0.2, 0.2, 0.8),
        Rectangle("plate", 0.2, 0.2, 0.2, 0.2, 0.7), Rectangle("face", 0.0, 0.0, 1.0, 1.0, 0.6),
    ]  # fmt: skip
    assert bounded(apart) == tuple(apart)


starts, extents = st.floats(0, 0.9), st.floats(0.02, 1.2)


@given(starts, starts, extents, extents, st.integers(1, 90), st.integers(1, 90))
def test_a_covered_part_has_one_colour_of_512_and_nothing_beside_it_changes(
    left: float, top: float, width: float, height: float, wide: int, tall: int
) -> None:
    before = np.random.default_rng(wide * 100 + tall).integers(0, 256, (tall, wide, 3), dtype=np.uint8)
    picture = Image.fromarray(before)
    pixels._cover(picture, Rectangle("drawn", left, top, width, height))
    after = np.asarray(picture)
    is_inside = np.zeros((tall, wide), dtype=bool)
    is_inside[
        int(top * tall) : int(np.ceil((top + height) * tall)), int(left * wide) : int(np.ceil((left + width) * wide))
    ] = True
    assert len(np.unique(after[is_inside], axis=0)) == 1
    assert (after[is_inside] % 32 == 16).all()
    assert (after[~is_inside] == before[~is_inside]).all()


def test_two_secrets_of_one_mean_colour_leave_the_same_picture() -> None:
    """Nothing of the letters of a plate is left to compare with other letters."""
    secrets = (np.tile([[40, 200]], (60, 30)), np.tile([[200, 40]], (60, 30)))
    covered = []
    for secret in secrets:
        picture = Image.fromarray(np.repeat(secret[:, :, None], 3, axis=2).astype(np.uint8))
        pixels._cover(picture, Rectangle("plate", 0.0, 0.0, 1.0, 1.0))
        covered.append(picture.tobytes())
    assert covered[0] == covered[1]


def _rebuilt(folder: Path, content: bytes, boxes: tuple[Rectangle, ...] | None) -> Rebuilt:
    (folder / "original").write_bytes(content)
    outcome = rebuild(folder / "original", folder, LIMITS, boxes)
    assert isinstance(outcome, Rebuilt), outcome
    return outcome


def _noise(seed: int, width: int = 2400, height: int = 1800) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def test_every_size_is_covered(tmp_path: Path) -> None:
    outcome = _rebuilt(tmp_path, jpeg(_noise(1)), (QUARTER,))
    assert [derived.size_px for derived in outcome.derived] == [2000, 1024, 320]
    for derived in outcome.derived:
        with Image.open(derived.path) as picture:
            width, height = picture.size
            middle = np.asarray(picture)[height * 3 // 10 : height * 7 // 10, width * 3 // 10 : width * 7 // 10]
            beside = np.asarray(picture)[: height // 5]
        assert middle.reshape(-1, 3).std(axis=0).max() < 1.0, derived.size_px
        assert beside.reshape(-1, 3).std(axis=0).min() > 30.0, derived.size_px


def test_a_rectangle_lies_where_it_was_drawn_on_the_upright_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    outcome = _rebuilt(tmp_path, encode(scene(480, 320), "JPEG", quality=95, exif=exif), (
        Rectangle("drawn", 0.0, 0.0, 1.0, 0.5),
    ))  # fmt: skip
    with Image.open(outcome.derived[0].path) as picture:
        assert picture.size == (320, 480)
        upper, lower = np.asarray(picture)[:230], np.asarray(picture)[250:]
    assert upper.reshape(-1, 3).std(axis=0).max() < 2.0
    assert lower.reshape(-1, 3).std(axis=0).max() > 50.0


def test_a_picture_sent_again_is_found_whatever_of_it_is_covered(tmp_path: Path) -> None:
    content = jpeg(_noise(2))
    bare, covered = (_rebuilt(tmp_path, content, boxes).phash for boxes in ((), (QUARTER,)))
    assert bare == covered
    assert _rebuilt(tmp_path, jpeg(_noise(3)), ()).phash != bare


def _shares(found: tuple[Rectangle, ...], kind: str, picture: scenes.Scene) -> list[float]:
    height, width = picture.pixels.shape[:2]
    mask: NDArray[np.bool_] = np.zeros((height, width), dtype=bool)
    for box in found:
        if box.kind == kind:
            rows = slice(int(box.top * height), int((box.top + box.height) * height) + 1)
            mask[rows, int(box.left * width) : int((box.left + box.width) * width) + 1] = True
    return [
        float(mask[int(top) : int(bottom), int(left) : int(right)].mean())
        for left, top, right, bottom in picture.secrets
    ]


def test_faces_are_found_and_covered() -> None:
    picture = scenes.with_faces(np.random.default_rng(1), scenes.portraits(), 100, 6)
    assert min(_shares(redaction.find(picture.pixels), "face", picture)) > 0.8


def test_plates_are_found_and_covered_by_day_and_a_works_keeps_its_name() -> None:
    picture = scenes.with_plates(np.random.default_rng(2), 60, 6)
    shares = _shares(redaction.find(picture.pixels), "plate", picture)
    assert sum(share > 0.7 for share in shares) >= 5, shares
    named = scenes.without_anybody(np.random.default_rng(3))
    assert _shares(redaction.find(named.pixels), "plate", named) == [0.0]


def test_plates_of_two_lines_are_covered_whole() -> None:
    picture = scenes.with_plates(np.random.default_rng(5), 100, 6, two_lines=True)
    shares = _shares(redaction.find(picture.pixels), "plate", picture)
    assert sum(share > 0.7 for share in shares) >= 5, shares


def test_a_photo_with_a_face_comes_back_covered_from_the_confined_child(tmp_path: Path) -> None:
    redaction.load()  # as a worker does before it forks
    picture = scenes.with_faces(np.random.default_rng(4), scenes.portraits()[:1], 160, 1)
    original = tmp_path / "original"
    original.write_bytes(jpeg(Image.fromarray(picture.pixels)))
    outcome = rebuild_in_child(original, tmp_path, Limits(60_000_000, 1536 << 20, 15, 60.0))
    assert isinstance(outcome, Rebuilt)
    assert {box.kind for box in outcome.redactions} == {"face"}
    (left, top, right, bottom) = (int(edge) for edge in picture.secrets[0])
    with Image.open(outcome.derived[0].path) as made:
        face = np.asarray(made)[top:bottom, left:right].reshape(-1, 3)
    assert face.std(axis=0).max() < 3.0


def test_a_detector_that_fails_publishes_nothing_and_asks_for_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation that lost its weights."""
    monkeypatch.setitem(redaction._OCR_OPTIONS, "Det.model_path", str(tmp_path / "lost.onnx"))
    redaction._reader.cache_clear()
    original = tmp_path / "original"
    original.write_bytes(jpeg())
    try:
        with pytest.raises(Unavailable):
            rebuild_in_child(original, tmp_path, LIMITS)
    finally:
        redaction._reader.cache_clear()
    assert list(tmp_path.glob("*.jpg")) == []


@pytest.mark.parametrize("size", [(2000, 50), (50, 2000), (33, 31), (2000, 2000)])
def test_odd_shapes_are_looked_at_too_within_a_childs_memory(tmp_path: Path, size: tuple[int, int]) -> None:
    original = tmp_path / "original"
    original.write_bytes(jpeg(_noise(5, *size)))
    assert isinstance(rebuild_in_child(original, tmp_path, LIMITS), Rebuilt)
