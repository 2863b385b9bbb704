"""The object store, the same tests against a local folder and against an S3-compatible server."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.kernel.silence import silent_server
from waterwatch.kernel.errors import NotFound, Unavailable
from waterwatch.kernel.objects import CHUNK_BYTES, ObjectStore
from workers.services import PrivateS3

CONTENT = os.urandom(3 * CHUNK_BYTES + 17)


@pytest.fixture(scope="module")
def bucket(services_folder: Path) -> Iterator[str]:
    """The address of a bucket on a real server; its credentials are in the environment, as in production."""
    with PrivateS3(services_folder / "s3") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
        yield f"s3://photos/tests?endpoint={server.endpoint}&region={server.region}"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, objects_url: str) -> Iterator[ObjectStore]:
    """An empty store of either kind."""
    made = ObjectStore(objects_url if request.param == "folder" else request.getfixturevalue("bucket"))
    yield made
    for zone in ("quarantine/", "public/"):
        for item in list(made.list(zone)):
            made.delete(item.key)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


def content_of(store: ObjectStore, key: str) -> bytes:
    return b"".join(store.open(key))


def test_what_was_put_comes_back_in_chunks(store: ObjectStore, file: Path) -> None:
    store.put_file("public/ab/c-1/320.jpg", file)
    chunks = list(store.open("public/ab/c-1/320.jpg"))
    assert b"".join(chunks) == CONTENT
    assert file.exists()


def test_putting_again_replaces(store: ObjectStore, file: Path) -> None:
    store.put_file("public/a.jpg", file)
    file.write_bytes(b"new")
    store.put_file("public/a.jpg", file)
    assert content_of(store, "public/a.jpg") == b"new"


def test_an_adopted_file_is_moved(store: ObjectStore, file: Path) -> None:
    store.adopt_file("quarantine/2026/05/a", file)
    assert content_of(store, "quarantine/2026/05/a") == CONTENT
    assert not file.exists()


def test_an_object_is_fetched_into_a_file(store: ObjectStore, file: Path, tmp_path: Path) -> None:
    store.put_file("quarantine/a", file)
    store.fetch("quarantine/a", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT


def test_what_is_not_there_is_not_found(store: ObjectStore, tmp_path: Path) -> None:
    assert not store.has("public/none")
    with pytest.raises(NotFound):
        store.open("public/none")
    with pytest.raises(NotFound):
        store.fetch("public/none", tmp_path / "copy")


def test_deleting_twice_is_deleting_once(store: ObjectStore, file: Path) -> None:
    store.put_file("public/a.jpg", file)
    store.delete("public/a.jpg")
    store.delete("public/a.jpg")
    assert not store.has("public/a.jpg")


def test_a_listing_has_every_object_below_its_prefix(store: ObjectStore, file: Path) -> None:
    for key in ("public/a/1.jpg", "public/a/2.jpg", "quarantine/x"):
        store.put_file(key, file)
    found = {item.key: item for item in store.list("public/")}
    assert set(found) == {"public/a/1.jpg", "public/a/2.jpg"}
    assert found["public/a/1.jpg"].size_bytes == len(CONTENT)
    assert abs(found["public/a/1.jpg"].modified_at - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize(
    "key",
    ["/etc/passwd", "public/../secret", "public//a", "elsewhere/a", "public/", "public/.hidden", "public/a\nb", ""],
)
def test_only_keys_of_ours_are_accepted(store: ObjectStore, file: Path, key: str) -> None:
    for act in (store.has, store.open, store.delete, lambda key: store.put_file(key, file)):
        with pytest.raises(ValueError, match="key"):
            act(key)


def test_a_local_folder_is_readable_by_its_owner_alone(objects_url: str, file: Path) -> None:
    store = ObjectStore(objects_url)
    store.put_file("quarantine/2026/a", file)
    folder = Path(objects_url.removeprefix("file://"))
    assert folder.stat().st_mode & 0o077 == 0


def test_a_server_that_is_away_is_unavailable_for_now(services_folder: Path, file: Path) -> None:
    store = ObjectStore("s3://photos/tests?endpoint=http://127.0.0.1:9&region=us-east-1")
    with pytest.raises(Unavailable) as caught:
        store.put_file("public/a.jpg", file)
    assert caught.value.facts["retry_after_s"] > 0


@pytest.mark.timeout(60)
def test_a_server_that_says_nothing_is_unavailable_soon(file: Path) -> None:
    with silent_server() as silent:
        store = ObjectStore(f"s3://photos/tests?endpoint={silent.url}&region=us-east-1")
        for act in (lambda: store.has("public/a.jpg"), lambda: store.put_file("public/a.jpg", file)):
            with pytest.raises(Unavailable):
                act()
        with pytest.raises(Unavailable):
            b"".join(store.open("public/a.jpg"))


def test_wrong_credentials_are_unavailable_and_tell_nothing(bucket: str, file: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        store = ObjectStore(bucket)
    with pytest.raises(Unavailable) as caught:
        store.put_file("public/a.jpg", file)
    assert str(caught.value) == "objects_unavailable"


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="file:/// or s3://"):
        ObjectStore("ftp://example.org/photos")
