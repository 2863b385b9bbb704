"""What real cameras wrote, of two dozen makers: each photo is rebuilt, told right, and stripped of every tag.

The Debian package golang-github-rwcarlsen-goexif-dev ships the metadata of photos (61 files, BSD-2-clause), most of
them without their pictures: each is put before a picture of ours. exiftool, which shares no code with what is tested,
says what a file claims and what is left of it.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.photos.forge import jpeg, scene
from tests.photos.test_corpus import LIMITS, STRUCTURAL
from waterwatch.photos.pixels import Rebuilt, Refused, rebuild_in_child

SAMPLES = Path("/usr/share/gocode/src/github.com/rwcarlsen/goexif/exif")
FOLDERS = ("samples", "corrupt")
SIZE = (480, 320)
# An HTC One that wrote "52,00000,50.00000,34.01180" for 52° 50′ 34″; exiftool takes it for 52° 0′ 50″, we for nothing.
DEGREES_AS_TEXT = "geodegrees_as_string.jpg"
BROKEN = frozenset({"huge_tag_exif.jpg", "max_uint32_exif.jpg"})  # on purpose; exiftool reads round the damage


@dataclass(frozen=True)
class Photo:
    """One camera's photo: what came of it, and what exiftool read in it and in its pictures."""

    outcome: Rebuilt | Refused
    claims: dict[str, Any]
    pictures: list[dict[str, Any]]


def _head(content: bytes) -> bytes:
    """The segments of a JPEG before its picture data, as far as they are whole; without frame and tables."""
    at, head = 2, b""
    while content[at : at + 1] == b"\xff" and content[at + 1] >= 0xE0:
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if end > len(content):
            break
        head, at = head + content[at:end], end
    return head


def _ask(*options: str, paths: list[Path]) -> list[dict[str, Any]]:
    exiftool = shutil.which("exiftool")
    if exiftool is None:
        pytest.fail("exiftool is missing: install the Debian package libimage-exiftool-perl (bin/test does)")
    answer = subprocess.run([exiftool, "-json", *options, *paths], capture_output=True, check=False, text=True).stdout
    read: list[dict[str, Any]] = json.loads(answer)
    assert len(read) == len(paths)
    return read


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Photo]:
    """Every sample that has metadata, rebuilt once."""
    files = [path for folder in FOLDERS for path in sorted((SAMPLES / folder).glob("*.jpg"))]
    if not files:
        pytest.fail("the samples are missing: install golang-github-rwcarlsen-goexif-dev (bin/test does)")
    plain, outcomes = jpeg(scene(*SIZE)), {}
    for path in files:
        if head := _head(path.read_bytes()):
            original = tmp_path_factory.mktemp("camera") / "original.jpg"
            original.write_bytes(plain[:2] + head + plain[2:])
            outcomes[original] = path.name, rebuild_in_child(original, original.parent, LIMITS)
    claims = dict(zip(outcomes, _ask("-n", "-Make", "-Orientation", "-IFD0:ModifyDate", "-DateTimeOriginal",
                                     "-OffsetTimeOriginal", "-GPSLatitude", "-GPSLongitude",
                                     paths=list(outcomes)), strict=True))  # fmt: skip
    made = [
        Path(one.path) for _, outcome in outcomes.values() if isinstance(outcome, Rebuilt) for one in outcome.derived
    ]
    left = {record["SourceFile"]: record for record in _ask("-G", "-a", "-u", "-ee", paths=made)}
    return {
        name: Photo(outcome, claims[original], [
            left[one.path] for one in (outcome.derived if isinstance(outcome, Rebuilt) else ())
        ])
        for original, (name, outcome) in outcomes.items()
    }  # fmt: skip


def test_many_makers_are_among_them(photos: dict[str, Photo]) -> None:
    makers = {str(photo.claims.get("Make", "")).partition(" ")[0].upper() for photo in photos.values()} - {""}
    assert len(photos) >= 55
    assert len(makers) >= 20
    assert makers >= {"APPLE", "CANON", "NIKON", "SONY", "FUJIFILM", "OLYMPUS", "PENTAX", "PANASONIC", "SAMSUNG", "HTC"}


def test_each_is_rebuilt(photos: dict[str, Photo]) -> None:
    refused = {name: photo.outcome for name, photo in photos.items() if isinstance(photo.outcome, Refused)}
    assert refused == {}


def test_each_stands_as_its_camera_was_held(photos: dict[str, Photo]) -> None:
    turned = set()
    for photo in photos.values():
        assert isinstance(photo.outcome, Rebuilt)
        orientation = photo.claims.get("Orientation", 1)
        turned.add(orientation)
        expected = SIZE if orientation not in range(5, 9) else (SIZE[1], SIZE[0])
        assert (photo.outcome.width, photo.outcome.height) == expected
    assert turned > {1, 6, 8}


def test_place_and_time_are_what_exiftool_reads(photos: dict[str, Photo]) -> None:
    told, places = {}, 0
    for name, photo in photos.items():
        assert isinstance(photo.outcome, Rebuilt)
        evidence, claims = photo.outcome.evidence, photo.claims
        local = _time(claims.get("DateTimeOriginal") or claims.get("ModifyDate"))
        if evidence.taken_at_local != (None if name in BROKEN else local):
            told[name] = evidence.taken_at_local, local
        place = claims.get("GPSLongitude"), claims.get("GPSLatitude")
        if None in place or name == DEGREES_AS_TEXT:
            assert (evidence.lon, evidence.lat) == (None, None)
        elif place != (0, 0):
            places += 1
            assert (evidence.lon, evidence.lat) == (
                pytest.approx(place[0], abs=1e-6),
                pytest.approx(place[1], abs=1e-6),
            )
    assert told == {}
    assert places >= 1


def _time(value: object) -> str | None:
    try:
        found = datetime.strptime(str(value), "%Y:%m:%d %H:%M:%S")  # noqa: DTZ007  # it has no zone
    except ValueError:
        return None
    return found.isoformat() if 1990 <= found.year < 2100 else None


def test_no_tag_is_left_in_any_picture(photos: dict[str, Photo]) -> None:
    tags = [sorted(set(picture) - STRUCTURAL) for photo in photos.values() for picture in photo.pictures]
    assert len(tags) == 3 * len(photos)
    assert [odd for odd in tags if odd] == []
