"""A body that the proxy left in a file is taken over on the proxy's word alone, and nothing else ever is."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.datastructures import FileStorage
from werkzeug.test import TestResponse, encode_multipart

from tests.web.site import running
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import MEBIBYTE, Settings, SettingsError

PHOTO = b"\xff\xd8\xff\xe0" + os.urandom(300_000) + b"\xff\xd9"
SECRET = "what the proxy and the application share, 0123456789"
PHOTOS = "/api/v1/photos"


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    folder = tmp_path / "bodies"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str, bodies: Path) -> Settings:
    return make_settings(
        database_url=database_url,
        redis_url=redis_url,
        photo_max_bytes=MEBIBYTE,
        proxy_bodies_dir=bodies,
        proxy_bodies_secret=SECRET,
    )


def left(bodies: Path, content: bytes = PHOTO, name: str = "0000000001") -> Path:
    """A file as nginx leaves it."""
    path = bodies / name
    path.write_bytes(content)
    return path


def told(client: FlaskClient, path: Path | str, *, secret: str = SECRET, kind: str = "image/jpeg") -> TestResponse:
    """The request as nginx sends it on: no body, only where it is."""
    headers = {"X-WaterWatch-Body-File": str(path), "X-WaterWatch-Body-Secret": secret}
    # A stream, if an empty one: without it the test client would encode an empty form, with a boundary of its own.
    return client.post(PHOTOS, headers=headers, content_type=kind, input_stream=io.BytesIO())


def arrived(sessions: sessionmaker[Session], tmp_path: Path) -> list[bytes]:
    """The originals in quarantine, found by the rows that know them."""
    with transaction(sessions) as session:
        keys = session.scalars(text("SELECT original_key FROM photo ORDER BY original_key")).all()
    return [(tmp_path / "objects" / key).read_bytes() for key in keys]


def test_a_photo_is_taken_over_by_its_path(
    client: FlaskClient, sessions: sessionmaker[Session], tmp_path: Path, settings: Settings, bodies: Path
) -> None:
    path = left(bodies)
    inode = path.stat().st_ino
    answer = told(client, path)
    assert (answer.status_code, answer.json["bytes"]) == (201, len(PHOTO))
    assert arrived(sessions, tmp_path) == [PHOTO]
    assert inode in {one.stat().st_ino for one in (tmp_path / "objects").rglob("*")}  # renamed, not copied
    assert list(bodies.iterdir()) + list(settings.spool_dir.iterdir()) == []


def test_a_file_is_given_once(client: FlaskClient, sessions: sessionmaker[Session], bodies: Path) -> None:
    path = left(bodies)
    assert [told(client, path).status_code for _ in range(2)] == [201, 400]
    with transaction(sessions) as session:
        assert session.scalar(text("SELECT count(*) FROM photo")) == 1


@pytest.mark.parametrize("secret", ["", "x", SECRET[:-1], SECRET + "0", "密" * 16])
def test_without_the_secret_the_header_says_nothing(client: FlaskClient, bodies: Path, secret: str) -> None:
    path = left(bodies)
    sent = secret.encode().decode("latin-1")
    headers = {"X-WaterWatch-Body-File": str(path), "X-WaterWatch-Body-Secret": sent}
    assert client.post(PHOTOS, headers=headers, content_type="image/jpeg").status_code == 400  # nothing came
    answer = client.post(PHOTOS, headers=headers, content_type="image/jpeg", data=PHOTO[:1000])
    assert (answer.status_code, answer.json["bytes"]) == (201, 1000)
    assert path.read_bytes() == PHOTO


def test_where_it_is_not_set_up_no_secret_helps(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, bodies: Path
) -> None:
    path = left(bodies)
    with running(make_settings(database_url=database_url, redis_url=redis_url)) as app:
        assert [told(app.test_client(), path, secret=secret).status_code for secret in (SECRET, "")] == [400, 400]
    assert path.exists()


ODD: dict[str, Callable[[Path, Path], None]] = {
    "a link": lambda path, secret: path.symlink_to(secret),
    "a second name": lambda path, secret: path.hardlink_to(secret),
    "a folder": lambda path, _secret: path.mkdir(),
    "a pipe": lambda path, _secret: os.mkfifo(path),
    "nothing": lambda _path, _secret: None,
}


@pytest.mark.parametrize("kind", ODD)
def test_only_a_plain_file_is_taken(
    client: FlaskClient, settings: Settings, bodies: Path, tmp_path: Path, kind: str
) -> None:
    secret = tmp_path / "of-somebody-else"
    secret.write_bytes(PHOTO)
    ODD[kind](bodies / "0000000001", secret)
    assert told(client, bodies / "0000000001").status_code == 400
    assert secret.read_bytes() == PHOTO
    assert list(settings.spool_dir.glob("*.part")) == []


@pytest.mark.parametrize(
    "stated",
    [
        "/etc/passwd", "0000000001", "{bodies}/../of-somebody-else", "{bodies}/deeper/0000000001", "{bodies}/a.part",
        "{bodies}//0000000002/../x", "{bodies}/0000000001, {bodies}/0000000002", "", "{bodies}", "{bodies}/000000001",
    ],
)  # fmt: skip
def test_only_a_file_of_the_proxys_naming_in_its_folder_is_taken(
    client: FlaskClient, bodies: Path, tmp_path: Path, stated: str
) -> None:
    kept = [left(bodies), left(bodies, name="0000000002"), left(bodies, name="a.part"), left(bodies, name="000000001")]
    (tmp_path / "of-somebody-else").write_bytes(PHOTO)
    assert told(client, stated.format(bodies=bodies)).status_code == 400
    assert all(path.exists() for path in (*kept, tmp_path / "of-somebody-else"))


def form(files: int, *, size: int = len(PHOTO)) -> tuple[bytes, str]:
    """A mini program's form with its fields and so many files; (body, content type)."""
    names = {
        f"photo{n}": FileStorage(io.BytesIO(PHOTO[:size].ljust(size, b"\0")), f"tmp_{n}.jpg") for n in range(files)
    }
    boundary, body = encode_multipart({"openid": "nobody"} | names)
    return body, f"multipart/form-data; boundary={boundary}"


def test_the_one_file_of_a_form_is_taken_out_of_it(
    client: FlaskClient, sessions: sessionmaker[Session], tmp_path: Path, settings: Settings, bodies: Path
) -> None:
    body, kind = form(1)
    answer = told(client, left(bodies, body), kind=kind)
    assert (answer.status_code, answer.json["bytes"]) == (201, len(PHOTO))
    assert arrived(sessions, tmp_path) == [PHOTO]
    assert list(bodies.iterdir()) + list(settings.spool_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("files", "size", "status", "code"),
    [
        (0, 1, 400, "photo_missing"),
        (2, 10, 400, "photo_too_many"),
        (1, MEBIBYTE + 1, 413, "photo_too_large"),
        (1, 20 * MEBIBYTE, 413, "photo_too_large"),
        (1, 0, 400, "photo_empty"),
    ],
)
def test_a_form_is_refused_as_it_is_without_a_proxy(
    client: FlaskClient, settings: Settings, bodies: Path, files: int, size: int, status: int, code: str
) -> None:
    body, kind = form(files, size=size)
    behind, direct = told(client, left(bodies, body), kind=kind), client.post(PHOTOS, data=body, content_type=kind)
    for answer in (behind, direct):
        assert (answer.status_code, answer.json["errors"]["photo"]) == (status, [code])
    assert list(bodies.iterdir()) + list(settings.spool_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "status", "code"), [(b"", 400, "photo_empty"), (bytes(MEBIBYTE + 1), 413, "photo_too_large")]
)
def test_what_is_no_photo_by_its_size_is_refused_and_removed(
    client: FlaskClient, settings: Settings, bodies: Path, content: bytes, status: int, code: str
) -> None:
    answer = told(client, left(bodies, content))
    assert (answer.status_code, answer.json["errors"]["photo"]) == (status, [code])
    assert list(bodies.iterdir()) + list(settings.spool_dir.iterdir()) == []


def test_another_kind_of_body_is_refused_and_removed(client: FlaskClient, settings: Settings, bodies: Path) -> None:
    assert told(client, left(bodies), kind="text/html").status_code == 415
    assert list(settings.spool_dir.iterdir()) == []


def test_no_other_address_reads_the_header(client: FlaskClient, bodies: Path) -> None:
    path = left(bodies)
    headers = {"X-WaterWatch-Body-File": str(path), "X-WaterWatch-Body-Secret": SECRET}
    assert client.post("/api/v1/reports", headers=headers, content_type="image/jpeg").status_code == 415
    assert client.post("/report", headers=headers, content_type="image/jpeg").status_code in (400, 422)
    assert path.exists()


@pytest.mark.parametrize(
    "changes",
    [{"proxy_bodies_dir": Path("/srv/bodies")}, {"proxy_bodies_secret": SECRET}],
    ids=["without a secret", "without a folder"],
)
def test_folder_and_secret_are_set_together(
    monkeypatch: pytest.MonkeyPatch, make_settings: Callable[..., Settings], changes: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match="set together"):
        make_settings(**changes)
    for name, value in make_settings().model_dump(exclude_none=True).items():
        monkeypatch.setenv(f"WATERWATCH_{name.upper()}", str(value))
    monkeypatch.setenv("WATERWATCH_SECRET_KEY", SECRET)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1/none")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1/0")
    monkeypatch.setenv("SMTP_URL", "smtp://127.0.0.1")
    monkeypatch.setenv("WATERWATCH_PROXY_BODIES_SECRET", SECRET)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ()
    assert len(caught.value.faults) == 1
    assert "set together" in caught.value.faults[0]
    assert SECRET not in str(caught.value)
