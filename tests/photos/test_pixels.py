"""Orientation, evidence, sizes, hash, and random damage: what rebuilding keeps and what it survives."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from bench.photos import display_p3, photograph
from tests.photos import forge
from tests.photos.corpus import heif
from tests.photos.forge import app1, ascii_tag, encode, exif, gps_tags, jpeg, orientation_tag, scene, with_segments
from waterwatch.photos.colour import to_srgb
from waterwatch.photos.evidence import Evidence
from waterwatch.photos.pixels import Rebuilt, Refused, perceptual_hash, rebuild, rebuild_in_child
from waterwatch.photos.rules import NEAR, REFUSALS, SIZES_PX, Limits, bare_jpeg_size, sniff, target_edge

LIMITS = Limits(max_pixels=60_000_000, memory_bytes=1536 << 20, cpu_s=30, wall_s=90.0)
PLACE = gps_tags([(30, 1), (35, 1), (3408, 100)], "N", [(114, 1), (18, 1), (198, 10)], "E")


def _rebuilt(folder: Path, content: bytes) -> Rebuilt:
    original = folder / "original"
    original.write_bytes(content)
    outcome = rebuild(original, folder, LIMITS)
    assert isinstance(outcome, Rebuilt), outcome
    return outcome


def _evidence(folder: Path, payload: bytes) -> Evidence:
    return _rebuilt(folder, with_segments(jpeg(), app1(payload))).evidence


# Where the red corner (top left in the file) and the green one (top right) must be after turning; TIFF 6.0, tag 274.
TURNED = {
    1: ("top left", "top right"), 2: ("top right", "top left"), 3: ("bottom right", "bottom left"),
    4: ("bottom left", "bottom right"), 5: ("top left", "bottom left"), 6: ("top right", "bottom right"),
    7: ("bottom right", "top right"), 8: ("bottom left", "top left"),
}  # fmt: skip


def _find(path: str, colour: tuple[int, int, int]) -> str:
    with Image.open(path) as picture:
        width, height = picture.size
        corners = itertools.product((("top", 8), ("bottom", height - 9)), (("left", 8), ("right", width - 9)))
        for (row, y), (column, x) in corners:
            pixel = picture.getpixel((x, y))
            assert isinstance(pixel, tuple)
            if all(abs(a - b) <= 12 for a, b in zip(pixel, colour, strict=True)):
                return f"{row} {column}"
    return "nowhere"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_upright_whatever_way_it_was_held(tmp_path: Path, orientation: int, form: str) -> None:
    payload = exif([orientation_tag(orientation)])
    options = {"lossless": True} if form == "WEBP" else {}
    outcome = _rebuilt(tmp_path, encode(scene(480, 320), form, exif=b"Exif\0\0" + payload, **options))
    assert (outcome.width, outcome.height) == ((480, 320) if orientation < 5 else (320, 480))
    path = outcome.derived[0].path
    assert (_find(path, forge.RED), _find(path, forge.GREEN)) == TURNED[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_by_its_own_boxes(tmp_path: Path, orientation: int) -> None:
    payload = exif([orientation_tag(orientation)])
    outcome = _rebuilt(tmp_path, encode(scene(480, 320), "AVIF", quality=95, exif=b"Exif\0\0" + payload))
    assert (_find(outcome.derived[0].path, forge.RED), _find(outcome.derived[0].path, forge.GREEN)) == TURNED[
        orientation
    ]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_turned_once_and_not_twice(tmp_path: Path, orientation: int) -> None:
    heif()  # registers the writer
    payload = exif([orientation_tag(orientation)])
    outcome = _rebuilt(tmp_path, encode(scene(480, 320), "HEIF", quality=95, exif=b"Exif\0\0" + payload))
    assert (_find(outcome.derived[0].path, forge.RED), _find(outcome.derived[0].path, forge.GREEN)) == TURNED[
        orientation
    ]


def test_sizes_are_halved_in_the_decoder_and_never_enlarged(tmp_path: Path) -> None:
    large = _rebuilt(tmp_path, jpeg(scene(4032, 3024)))
    assert (large.width, large.height) == (4032, 3024)
    assert [(one.width, one.height) for one in large.derived] == [(2016, 1512), (1008, 756), (320, 240)]
    other = _rebuilt(tmp_path, jpeg(scene(4624, 3468)))  # 16 megapixels: half of it is too large
    assert [(one.width, one.height) for one in other.derived] == [(2000, 1500), (1000, 750), (320, 240)]
    small = _rebuilt(tmp_path, jpeg(scene(600, 400)))
    assert [(one.width, one.height) for one in small.derived] == [(600, 400), (600, 400), (300, 200)]


@pytest.mark.parametrize(
    ("edge", "size_px", "target"),
    [
        (4000, 2000, 2000), (4032, 2000, 2016), (4160, 2000, 2080), (4161, 2000, 2000), (3600, 2000, 1800),
        (3598, 2000, 2000), (4001, 2000, 2001), (8064, 2000, 2016), (1999, 2000, 1999), (2080, 2000, 2080),
        (2016, 1024, 1008), (1800, 1024, 1024), (2080, 1024, 1040), (1008, 320, 320), (665, 320, 320), (100, 320, 100),
    ],
)  # fmt: skip
def test_an_edge_near_half_its_size_is_halved_and_any_other_is_what_was_asked(
    edge: int, size_px: int, target: int
) -> None:
    assert target_edge(edge, size_px) == target


@given(edge=st.integers(1, 100_000), size_px=st.sampled_from(SIZES_PX))
def test_a_target_is_never_larger_than_its_picture_nor_than_is_accepted(edge: int, size_px: int) -> None:
    target = target_edge(edge, size_px)
    assert 1 <= target <= edge
    assert target <= size_px * NEAR[1]
    assert target >= min(edge, size_px * NEAR[0])


def test_halving_keeps_what_resampling_keeps(tmp_path: Path) -> None:
    picture = Image.effect_mandelbrot((4032, 3024), (-1.8, -0.4, 0.6, 1.4), 60).convert("RGB")
    derived = _rebuilt(tmp_path, encode(picture, "WEBP", lossless=True, method=0)).derived
    for one in derived:
        wanted = np.asarray(picture.resize((one.width, one.height), Image.Resampling.LANCZOS), dtype=float)
        with Image.open(one.path) as found:
            error = np.asarray(found, dtype=float) - wanted
        assert 10 * np.log10(255**2 / np.mean(error**2)) >= 30  # dB, PSNR; what JPEG itself loses is in it


def test_a_profile_that_is_srgb_changes_no_colour_and_another_does(tmp_path: Path) -> None:
    picture = scene()
    plain, same, other = (
        _rebuilt(tmp_path, encode(picture, "PNG", **options)).derived[0].sha256
        for options in ({}, {"icc_profile": forge.srgb_profile()}, {"icc_profile": _linear_profile()})
    )
    assert plain == same != other


def test_colours_are_brought_to_srgb_before_the_profile_goes(tmp_path: Path) -> None:
    grey = Image.new("RGB", (64, 64), (128, 128, 128))
    linear = _linear_profile()
    outcome = _rebuilt(tmp_path, encode(grey, "PNG", icc_profile=linear))
    with Image.open(outcome.derived[0].path) as picture:
        pixel = picture.getpixel((32, 32))
    # Half of full light is 188 of 255 in sRGB's curve (IEC 61966-2-1).
    assert isinstance(pixel, tuple)
    assert all(abs(value - 188) <= 2 for value in pixel)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_wide_picture_looks_as_if_its_full_size_had_been_transformed(tmp_path: Path, orientation: int) -> None:
    picture, profile = photograph(5, 2600, 1950), display_p3()
    exif_bytes = b"Exif\0\0" + exif([orientation_tag(orientation)])
    content = encode(picture, "JPEG", quality=95, icc_profile=profile, exif=exif_bytes)
    with Image.open(io.BytesIO(content)) as sent:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        wanted = ImageCms.applyTransform(sent, ImageCms.buildTransform(source, SRGB, "RGB", "RGB"))
        unmoved = sent.convert("RGB")
    assert wanted is not None
    with Image.open(_rebuilt(tmp_path, content).derived[1].path) as made:
        found = made.transpose(Image.Transpose.ROTATE_90) if orientation == 6 else made.copy()
    middle, most = _colour_difference(found, wanted)
    assert middle < 1.5  # one is hardly seen, and the losses of two JPEGs and Lab in whole steps are in it
    assert most < 3.0
    assert min(_colour_difference(found, unmoved)) > 3.0


SRGB = ImageCms.createProfile("sRGB")


def _colour_difference(found: Image.Image, wanted: Image.Image) -> tuple[float, float]:
    """ΔE of CIE 1976, its median and 99th percentile, in areas of 1/128 of the picture's width."""
    to_lab = ImageCms.buildTransform(SRGB, ImageCms.createProfile("LAB"), "RGB", "LAB")
    labs = []
    for picture in (found, wanted):
        lab = ImageCms.applyTransform(picture.resize((128, 96), Image.Resampling.BOX), to_lab)
        assert lab is not None
        lightness, a, b = (np.asarray(band, dtype=float) for band in lab.split())
        labs.append(np.stack([lightness / 2.55, a, b]))  # Pillow keeps lightness, 0 to 100, as 0 to 255
    difference = np.linalg.norm(labs[0] - labs[1], axis=0)
    return float(np.median(difference)), float(np.percentile(difference, 99))


@pytest.mark.parametrize("turn", [None, Image.Transpose.ROTATE_90])
def test_nothing_read_beside_the_pixels_comes_along(turn: Image.Transpose | None) -> None:
    content = encode(scene(), "JPEG", icc_profile=display_p3(), comment=b"by me", exif=b"Exif\0\0" + exif([]))
    with Image.open(io.BytesIO(content)) as sent:
        assert {"icc_profile", "comment", "exif"} <= sent.info.keys()
        clean = to_srgb(sent, turn)
    assert (clean.info, clean.mode, type(clean)) == ({}, "RGB", Image.Image)


def test_one_picture_gives_the_same_bytes_each_time(tmp_path: Path) -> None:
    content = jpeg(photograph(6, 800, 600), icc_profile=display_p3())
    first, second = ([one.sha256 for one in _rebuilt(tmp_path, content).derived] for _ in range(2))
    assert first == second


def _linear_profile() -> bytes:
    """Pillow's sRGB profile with its tone curves replaced by straight lines (ICC.1:2010, 10.5: count 0)."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(content[128:132], "big")
    for entry in range(count):
        at = 132 + 12 * entry
        if content[at : at + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            start = int.from_bytes(content[at + 4 : at + 8], "big")
            content[start : start + 12] = b"curv" + bytes(8)
            content[at + 8 : at + 12] = (12).to_bytes(4, "big")
    return bytes(content)


def test_place_and_instant_are_read(tmp_path: Path) -> None:
    details = [ascii_tag(0x9003, "2026:05:20 10:30:00"), ascii_tag(0x9011, "+08:00")]
    found = _evidence(tmp_path, exif([], gps=PLACE, details=details))
    assert (found.lon, found.lat) == (pytest.approx(114.3055, abs=1e-9), pytest.approx(30.5928, abs=1e-4))
    assert (found.taken_at_local, found.taken_at) == ("2026-05-20T10:30:00", "2026-05-20T10:30:00+08:00")


def test_southern_and_western_places_are_negative(tmp_path: Path) -> None:
    found = _evidence(tmp_path, exif([], gps=gps_tags([(33, 1), (30, 1), (0, 1)], "S", [(70, 1), (0, 1), (0, 1)], "W")))
    assert (found.lon, found.lat) == (-70.0, -33.5)


GOOD = [(30, 1), (0, 1), (0, 1)]
WRONG_PLACES = {
    "zero denominators": gps_tags([(30, 0), (35, 0), (0, 0)], "N", [(114, 1), (0, 1), (0, 1)], "E"),
    "no hemisphere": [forge.rational_tag(2, *GOOD), forge.rational_tag(4, *GOOD)],
    "unknown hemisphere": gps_tags(GOOD, "X", GOOD, "Y"),
    "latitude over 90": gps_tags([(91, 1), (0, 1), (0, 1)], "N", GOOD, "E"),
    "longitude over 180": gps_tags(GOOD, "N", [(181, 1), (0, 1), (0, 1)], "E"),
    "seventy minutes": gps_tags([(30, 1), (70, 1), (0, 1)], "N", GOOD, "E"),
    "two parts only": gps_tags([(30, 1), (35, 1)], "N", GOOD, "E"),
    "latitude alone": [ascii_tag(1, "N"), forge.rational_tag(2, *GOOD)],
    "null island": gps_tags([(0, 1)] * 3, "N", [(0, 1)] * 3, "E"),
    "text for numbers": [ascii_tag(1, "N"), ascii_tag(2, "thirty"), ascii_tag(3, "E"), ascii_tag(4, "hundred")],
    "largest numbers": gps_tags([(2**32 - 1, 1)] * 3, "N", [(2**32 - 1, 1)] * 3, "E"),
}


@pytest.mark.parametrize("name", WRONG_PLACES)
def test_a_wrong_place_counts_as_none(tmp_path: Path, name: str) -> None:
    found = _evidence(tmp_path, exif([], gps=WRONG_PLACES[name]))
    assert (found.lon, found.lat) == (None, None)


@pytest.mark.parametrize(
    ("local", "offset", "expected"),
    [
        ("2026:05:20 10:30:00", "", ("2026-05-20T10:30:00", None)),
        ("2026:05:20 10:30:00", "+99:99", ("2026-05-20T10:30:00", None)),
        ("2026:05:20 10:30:00", b"+0\xb2:00", ("2026-05-20T10:30:00", None)),
        ("2026:05:20 10:30:00", "-03:30", ("2026-05-20T10:30:00", "2026-05-20T10:30:00-03:30")),
        ("0001:01:01 00:00:00", "+08:00", (None, None)),  # before the year 1 in UTC: no database row could be read back
        ("9999:12:31 23:59:59", "-08:00", (None, None)),
        ("0000:00:00 00:00:00", "+08:00", (None, None)),
        ("2026:02:30 00:00:00", "+08:00", (None, None)),
        ("yesterday", "+08:00", (None, None)),
        ("", "+08:00", (None, None)),
    ],
)
def test_times_are_exact_or_absent(
    tmp_path: Path, local: str, offset: str | bytes, expected: tuple[str | None, str | None]
) -> None:
    found = _evidence(tmp_path, exif([], details=[ascii_tag(0x9003, local), ascii_tag(0x9011, offset)]))
    assert (found.taken_at_local, found.taken_at) == expected


def _distance(first: int, second: int) -> int:
    return ((first ^ second) & (2**64 - 1)).bit_count()


def test_the_perceptual_hash_survives_size_and_compression_but_tells_pictures_apart(tmp_path: Path) -> None:
    # Off the axis: in a picture symmetric like water and its reflection half the coefficients are noise around zero.
    picture = Image.effect_mandelbrot((1200, 900), (-1.8, -0.4, 0.6, 1.4), 60).convert("RGB")
    same = _rebuilt(tmp_path, jpeg(picture.resize((640, 480)), quality=40)).phash
    assert _distance(_rebuilt(tmp_path, jpeg(picture)).phash, same) <= 6
    turned = perceptual_hash(picture.transpose(Image.Transpose.ROTATE_90))
    assert _distance(perceptual_hash(picture), turned) >= 20
    assert -(2**63) <= turned < 2**63


def _samples() -> dict[str, bytes]:
    picture = scene(96, 64)
    payload = b"Exif\0\0" + exif([orientation_tag(6)], gps=PLACE)
    return {form: encode(picture, form, exif=payload) for form in ("JPEG", "PNG", "WEBP")}


SAMPLES = _samples()
# In a child each: a reader that crashes for good must not take the tests with it.
SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("form", SAMPLES)
@SOME
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)), max_size=6),
       cut=st.floats(0.1, 1))  # fmt: skip
def test_random_damage_ends_in_a_picture_or_a_refusal(
    tmp_path: Path, form: str, changes: list[tuple[float, bytes]], cut: float
) -> None:
    content = bytearray(SAMPLES[form])
    for place, value in changes:
        at = int(place * len(content))
        content[at : at + len(value)] = value
    _survives(tmp_path, bytes(content[: int(cut * len(content))]))


@SOME
@given(head=st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBPVP8 ", b"\0\0\0\x18ftypavif"]),
       tail=st.binary(max_size=400))  # fmt: skip
def test_noise_behind_an_honest_beginning_is_refused(tmp_path: Path, head: bytes, tail: bytes) -> None:
    assert isinstance(_survives(tmp_path, head + tail), Refused)


def _survives(folder: Path, content: bytes) -> Rebuilt | Refused:
    original = folder / "original"
    original.write_bytes(content)
    outcome = rebuild_in_child(original, folder, LIMITS)
    if isinstance(outcome, Refused):
        assert outcome.code in REFUSALS
    else:
        assert all(bare_jpeg_size(Path(one.path).read_bytes()) for one in outcome.derived)
    return outcome


@given(st.binary(max_size=80))
def test_sniffing_never_raises(head: bytes) -> None:
    assert sniff(head) in (None, "JPEG", "PNG", "WEBP", "HEIF", "AVIF")


def test_a_jpeg_is_bare_only_without_anything_beside_its_picture() -> None:
    sink = io.BytesIO()
    scene().save(sink, "JPEG")
    clean = sink.getvalue()
    assert bare_jpeg_size(clean) == (480, 320)
    beside = [
        forge.segment(0xFE, b"x"),
        app1(b"x"),
        forge.segment(0xE2, b"ICC_PROFILE\0"),
        forge.segment(0xEE, b"Adobe"),
    ]
    assert [bare_jpeg_size(with_segments(clean, one)) for one in beside] == [None] * 4
    assert bare_jpeg_size(clean + b"x") is None
    assert bare_jpeg_size(clean[:-2]) is None
    assert bare_jpeg_size(b"") is None
