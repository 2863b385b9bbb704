"""The shelf, the same tests against a folder and against an S3-compatible server; what a bucket's objects say."""

import gzip
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from waterwatch.kernel.errors import Unavailable
from waterwatch.mapping.shelf import (
    A_DAY,
    HASHED_FOREVER,
    PART_BYTES,
    REVALIDATE,
    BucketShelf,
    FolderShelf,
    Shelf,
    cache_control,
)
from workers.services import PrivateS3

HASHED_NAME = "levels.0123456789abcdef.json"


@pytest.fixture(scope="module")
def bucket(services_folder: Path) -> Iterator[str]:
    """The address of a bucket on a real server."""
    with PrivateS3(services_folder / "s3-shelf") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
        yield f"s3://published/shelf?endpoint={server.endpoint}&region={server.region}"


@pytest.fixture(params=["folder", "bucket"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    """An empty shelf of either kind."""
    made: Shelf
    made = FolderShelf(tmp_path / "p") if request.param == "folder" else BucketShelf(request.getfixturevalue("bucket"))
    yield made
    made.remove([found.name for found in made.lying()])


def test_what_was_put_is_read_again(shelf: Shelf) -> None:
    for name in (HASHED_NAME, "maps/national.html", "maps/national.png", "incidents/6-52-26.0123456789abcdef.json"):
        shelf.put(name, f"水 {name}".encode())
        assert shelf.read(name) == f"水 {name}".encode()
        assert shelf.has(name)


def test_putting_again_replaces(shelf: Shelf) -> None:
    shelf.put("map.json", b"old")
    shelf.put("map.json", b"new")
    assert shelf.read("map.json") == b"new"


def test_what_is_not_there_is_nothing(shelf: Shelf) -> None:
    assert shelf.read("map.json") is None
    assert not shelf.has("map.json")
    shelf.remove(["map.json"])


def test_a_large_file_goes_whole(shelf: Shelf, tmp_path: Path) -> None:
    content = os.urandom(2 * PART_BYTES + 17)
    (tmp_path / "archive").write_bytes(content)
    shelf.put_file("waters.0123456789abcdef.pmtiles", tmp_path / "archive")
    assert shelf.read("waters.0123456789abcdef.pmtiles") == content
    assert (tmp_path / "archive").read_bytes() == content


def test_everything_that_lies_there_is_listed_and_can_be_removed(shelf: Shelf) -> None:
    names = {"map.json", HASHED_NAME, "maps/national.html"}
    for name in names:
        shelf.put(name, b"{}")
    assert {found.name for found in shelf.lying()} == names
    shelf.remove([HASHED_NAME])
    assert {found.name for found in shelf.lying()} == names - {HASHED_NAME}


@pytest.mark.parametrize("name", ["../map.json", "/etc/passwd", "a//b", "", "maps/../../x", ".hidden"])
def test_no_name_leads_out(shelf: Shelf, name: str) -> None:
    with pytest.raises(ValueError, match="name of ours"):
        shelf.put(name, b"")
    with pytest.raises(ValueError, match="name of ours"):
        shelf.read(name)


def test_text_has_a_packed_twin_and_pictures_have_none(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    shelf.put("map.json", b"{}")
    shelf.put("maps/national.png", b"png")
    assert gzip.decompress((tmp_path / "map.json.gz").read_bytes()) == b"{}"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "map.json", "map.json.gz", "national.png",
    ]  # fmt: skip
    assert (tmp_path / "map.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("name", "kind", "packed", "cached"),
    [
        ("map.json", "application/json", "gzip", REVALIDATE),
        (HASHED_NAME, "application/json", "gzip", REVALIDATE),
        ("incidents.0123456789abcdef.json", "application/json", "gzip", REVALIDATE),
        ("incidents/6-51-26.0123456789abcdef.json", "application/json", "gzip", REVALIDATE),
        ("history/2026-05.0123456789abcdef.json", "application/json", "gzip", REVALIDATE),
        ("index.html", "text/html; charset=utf-8", "gzip", REVALIDATE),
        ("maps/national.html", "text/html; charset=utf-8", "gzip", REVALIDATE),
        ("maps/national.png", "image/png", None, REVALIDATE),
        ("assets/map-zv62qs-M.js", "text/javascript", "gzip", HASHED_FOREVER),
        ("vendor/leaflet.js", "text/javascript", "gzip", A_DAY),
        ("waters.0123456789abcdef.pmtiles", "application/vnd.pmtiles", None, HASHED_FOREVER),
    ],
)
def test_an_object_says_what_it_is_and_how_long_it_may_be_kept(
    bucket: str, tmp_path: Path, name: str, kind: str, packed: str | None, cached: str
) -> None:
    shelf = BucketShelf(bucket)
    if name.endswith(".pmtiles"):
        (tmp_path / "a").write_bytes(b"PMTiles")
        shelf.put_file(name, tmp_path / "a")
    else:
        shelf.put(name, b"{}")
    said: dict[str, Any] = dict(obstore.get(shelf._store, name).attributes)
    assert said.get("Content-Type") == kind
    assert said.get("Content-Encoding") == packed
    assert said.get("Cache-Control") == cached == cache_control(name)


def test_what_may_name_an_incident_is_gone_from_caches_within_a_minute() -> None:
    """Also behind a CDN: a cache asks what another has kept."""
    kept_s = [int(age) for age in re.findall(r"=(\d+)", REVALIDATE)]
    assert 2 * sum(kept_s) <= 60


def test_a_disk_that_cannot_be_written_is_not_now(tmp_path: Path) -> None:
    (tmp_path / "maps").touch()
    with pytest.raises(Unavailable) as told:
        FolderShelf(tmp_path).put("maps/national.html", b"")
    assert told.value.facts["reason"] in ("EEXIST", "ENOTDIR")


def test_a_file_that_does_not_fit_leaves_the_old_one_and_nothing_half(tmp_path: Path) -> None:
    shelf = FolderShelf(tmp_path)
    shelf.put("map.json", b"{}")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, hard))  # as a full disk: the write fails in the middle
    try:
        with pytest.raises(Unavailable) as told:
            shelf.put("map.json", os.urandom(2 * 1024 * 1024))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told.value.facts["reason"] == "EFBIG"
    assert shelf.read("map.json") == b"{}"
    assert gzip.decompress((tmp_path / "map.json.gz").read_bytes()) == b"{}"
    assert list(tmp_path.rglob("*.part")) == []
