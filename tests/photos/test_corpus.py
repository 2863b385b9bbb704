"""Every hostile file has its exact outcome, and nothing of an original but its picture is in what we would serve."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.photos.corpus import CASES, READY, Case
from tests.photos.forge import CANARY
from waterwatch.photos.evidence import Evidence
from waterwatch.photos.pixels import Rebuilt, Refused, read_in_child, rebuild_in_child
from waterwatch.photos.rules import REFUSALS, Limits, bare_jpeg_size

LIMITS = Limits(max_pixels=60_000_000, memory_bytes=1536 << 20, cpu_s=30, wall_s=90.0)
# What a JPEG needs to be one, and what exiftool itself adds about the file.
STRUCTURAL = {
    "SourceFile", "ExifTool:ExifToolVersion", "File:FileName", "File:Directory", "File:FileSize", "File:FileModifyDate",
    "File:FileAccessDate", "File:FileInodeChangeDate", "File:FilePermissions", "File:FileType",
    "File:FileTypeExtension",
    "File:MIMEType", "File:ImageWidth", "File:ImageHeight", "File:EncodingProcess", "File:BitsPerSample",
    "File:ColorComponents", "File:YCbCrSubSampling", "JFIF:JFIFVersion", "JFIF:ResolutionUnit", "JFIF:XResolution",
    "JFIF:YResolution", "Composite:ImageSize", "Composite:Megapixels",
}  # fmt: skip


@dataclass(frozen=True)
class Tried:
    """A case after its file went through the confined child."""

    case: Case
    original: bytes
    outcome: Rebuilt | Refused
    folder: Path


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tried]]:
    """Every case, run once."""
    found = {}
    for case in CASES:
        folder = tmp_path_factory.mktemp(case.name)
        original = folder / "holiday.gif.exe"  # a name decides nothing
        original.write_bytes(case.build())
        found[case.name] = Tried(case, original.read_bytes(), rebuild_in_child(original, folder, LIMITS), folder)
    yield found
    for one in found.values():
        shutil.rmtree(one.folder)


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) >= 80
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.outcome for case in CASES} <= {READY, *REFUSALS}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_file_has_its_exact_outcome(tried: dict[str, Tried], case: Case) -> None:
    outcome = tried[case.name].outcome
    if isinstance(outcome, Refused):
        assert outcome.code == case.outcome
    else:
        assert case.outcome == READY
        assert (outcome.width, outcome.height) == case.size


READY_CASES = [case for case in CASES if case.outcome == READY]


@pytest.mark.parametrize("case", READY_CASES, ids=lambda case: case.name)
def test_what_is_served_is_a_bare_jpeg_without_any_planted_byte(tried: dict[str, Tried], case: Case) -> None:
    one = tried[case.name]
    assert isinstance(one.outcome, Rebuilt)
    assert [derived.size_px for derived in one.outcome.derived] == [2000, 1024, 320]
    for derived in one.outcome.derived:
        content = Path(derived.path).read_bytes()
        assert bare_jpeg_size(content) == (derived.width, derived.height)
        assert max(derived.width, derived.height) <= min(derived.size_px, max(case.size))
        for encoding in ("ascii", "utf-16-le", "utf-16-be"):
            assert CANARY.encode(encoding) not in content


def test_the_canaries_were_there_to_be_lost(tried: dict[str, Tried]) -> None:
    names = [
        "exif-everything", "xmp-and-iptc", "every-app-segment", "png-every-chunk", "webp-every-chunk", "heic", "avif",
        "jpeg-and-zip", "jpeg-and-html", "mpo-two-pictures", "jpeg-icc-srgb", "exif-of-garbage", "jpeg-motion-google",
        "jpeg-motion-samsung", "heic-motion",
    ]  # fmt: skip
    assert [name for name in names if CANARY.encode() not in tried[name].original] == []


def test_an_independent_reader_finds_only_structure(tried: dict[str, Tried]) -> None:
    exiftool = shutil.which("exiftool")
    if exiftool is None:
        pytest.fail("exiftool is missing: install the Debian package libimage-exiftool-perl (bin/test does)")
    paths = [d.path for one in tried.values() if isinstance(one.outcome, Rebuilt) for d in one.outcome.derived]
    command = [exiftool, "-json", "-G", "-a", "-u", "-ee", *paths]
    read = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert len(read) == len(paths) == 3 * len(READY_CASES)
    odd = {record["SourceFile"]: sorted(set(record) - STRUCTURAL) for record in read if set(record) - STRUCTURAL}
    assert odd == {}


def _corners(path: str) -> list[str]:
    """The names of the colours near the four corners, row by row."""
    names = {(220, 30, 30): "red", (30, 160, 40): "green", (30, 60, 200): "blue", (250, 250, 250): "white"}
    with Image.open(path) as picture:
        width, height = picture.size
        found = []
        for x, y in ((10, 10), (width - 11, 10), (10, height - 11), (width - 11, height - 11)):
            pixel = picture.convert("RGB").getpixel((x, y))
            assert isinstance(pixel, tuple)
            distance = {
                name: max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) for colour, name in names.items()
            }
            nearest = min(distance, key=lambda name: distance[name])
            found.append(nearest if distance[nearest] <= 24 else str(pixel))
        return found


@pytest.mark.parametrize(
    "name",
    [
        "jpeg-progressive", "jpeg-icc-srgb", "jpeg-icc-malformed", "jpeg-icc-of-wrong-mode", "jpeg-cmyk",
        "png-16-bit-rgb",
        "png-alpha", "png-animated", "webp-animated", "webp-lossless-alpha", "heic", "avif", "mpo-two-pictures",
        "jpeg-and-zip", "jpeg-motion-google", "jpeg-motion-samsung", "heic-motion", "avif-sequence",
    ],
)  # fmt: skip
def test_the_picture_is_still_the_picture(tried: dict[str, Tried], name: str) -> None:
    outcome = tried[name].outcome
    assert isinstance(outcome, Rebuilt)
    assert _corners(outcome.derived[0].path) == ["red", "green", "blue", "white"]


def test_sixteen_bit_grey_keeps_its_tones(tried: dict[str, Tried]) -> None:
    def tones(name: str) -> list[int]:
        outcome = tried[name].outcome
        assert isinstance(outcome, Rebuilt)
        with Image.open(outcome.derived[0].path) as picture:
            grey = picture.convert("L")
            return [int(grey.getpixel(place) or 0) for place in ((10, 10), (470, 10), (10, 310), (470, 310))]  # type: ignore[call-overload]

    pairs = zip(tones("png-16-bit-grey"), tones("jpeg-grey"), strict=True)
    assert [(a, b) for a, b in pairs if abs(a - b) > 4] == []


def test_transparency_becomes_white(tmp_path: Path) -> None:
    original = tmp_path / "original"
    Image.new("RGBA", (60, 40), (0, 0, 0, 0)).save(original, "PNG")
    outcome = rebuild_in_child(original, tmp_path, LIMITS)
    assert isinstance(outcome, Rebuilt)
    with Image.open(outcome.derived[0].path) as picture:
        assert picture.getpixel((30, 20)) == (255, 255, 255)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reading_what_a_file_claims_agrees_with_rebuilding_it_or_refuses(
    tried: dict[str, Tried], case: Case, tmp_path: Path
) -> None:
    original = tmp_path / "original"
    original.write_bytes(tried[case.name].original)
    found, rebuilt = read_in_child(original, LIMITS), tried[case.name].outcome
    if isinstance(rebuilt, Rebuilt):
        assert found == rebuilt.evidence
    else:  # a file whose head is sound may still be told by its head; its pixels are refused later
        assert isinstance(found, Evidence) or found.code in REFUSALS
    assert list(tmp_path.iterdir()) == [original]
