"""A real nginx, configured by the operations manual word for word, before a real gunicorn."""

import hashlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.faults.system import await_true
from tests.web.proxy import make_bodies_folder, nginx
from tests.workers.programs import ROOT, environment
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import MEBIBYTE, Settings
from workers.processes import is_port_free, pick_free_port

PHOTO = b"\xff\xd8\xff\xe0" + os.urandom(3 * MEBIBYTE) + b"\xff\xd9"
SECRET = "what the proxy and the application share, 0123456789"
TUS = {"Tus-Resumable": "1.0.0"}


@dataclass(frozen=True)
class Site:
    """The proxy's port, the application's own, and the folder between them."""

    front: int
    backend: int
    bodies: Path
    folder: Path

    def ask(self, method: str, path: str, body: object = None, *, port: int = 0, **headers: str) -> tuple[int, bytes]:
        """One request; (status, body)."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.front, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=named)  # type: ignore[arg-type]
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found


@pytest.fixture
def site(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Iterator[Site]:
    """Both servers. Not in ``tmp_path``, which another user's proxy could not enter."""
    with tempfile.TemporaryDirectory(prefix="waterwatch-proxy-") as name:
        folder, backend, front = Path(name), pick_free_port(), pick_free_port()
        folder.chmod(0o755)
        bodies = make_bodies_folder(folder / "bodies")
        settings = make_settings(
            database_url=database_url, redis_url=redis_url, spool_dir=folder / "spool", trusted_proxies=1,
            objects_url=f"file://{folder}/objects", proxy_bodies_dir=bodies, proxy_bodies_secret=SECRET,
        )  # fmt: skip
        settings.spool_dir.mkdir()
        said = environment(settings) | {"WATERWATCH_PROXY_BODIES_SECRET": SECRET}
        command = [sys.executable, "-m", "gunicorn", "wsgi:application", "--bind", f"127.0.0.1:{backend}"]
        with (folder / "web.log").open("wb") as log:
            server = subprocess.Popen(
                [*command, "--threads", "4", "--no-control-socket"],
                cwd=ROOT, env=os.environ | said, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            await_true(lambda: not is_port_free(backend), limit_s=60, what="the application listens")
            with nginx(folder / "nginx", port=front, backend=backend, bodies=bodies, secret=SECRET):
                yield Site(front, backend, bodies, folder)
        finally:
            server.terminate()
            server.wait(30)


def digests(sessions: sessionmaker[Session]) -> list[bytes]:
    with transaction(sessions) as session:
        return list(session.scalars(text("SELECT sha256 FROM photo ORDER BY received_at")))


def stored(site: Site) -> set[bytes]:
    return {path.read_bytes() for path in (site.folder / "objects").rglob("*") if path.is_file()}


def test_photos_go_from_the_proxys_files_into_quarantine(site: Site, sessions: sessionmaker[Session]) -> None:
    status, said = site.ask("POST", "/api/v1/photos", PHOTO, Content_Type="image/jpeg")
    assert status == 201, said
    pieces = (PHOTO[at : at + 100_000] for at in range(0, len(PHOTO), 100_000))  # of unknown length: chunked
    assert site.ask("POST", "/api/v1/photos", pieces, Content_Type="image/jpeg")[0] == 201
    form = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n' + PHOTO + b"\r\n--b--\r\n"
    assert site.ask("POST", "/api/v1/photos", form, Content_Type="multipart/form-data; boundary=b")[0] == 201
    assert digests(sessions) == [hashlib.sha256(PHOTO).digest()] * 3
    assert stored(site) == {PHOTO}
    assert list(site.bodies.iterdir()) + list((site.folder / "spool").glob("*.part")) == []
    logs = [site.folder / "nginx" / name for name in ("error.log", "log/waterwatch.log")]
    assert "".join(log.read_text() for log in logs if log.exists()) == ""


def test_what_the_application_refuses_the_proxy_removes(site: Site, sessions: sessionmaker[Session]) -> None:
    assert site.ask("POST", "/api/v1/photos", b"<html>", Content_Type="text/html")[0] == 415
    assert site.ask("POST", "/api/v1/photos", Content_Type="image/jpeg")[0] == 400
    assert site.ask("GET", "/api/v1/photos")[0] == 405
    assert digests(sessions) == []
    await_true(lambda: list(site.bodies.iterdir()) == [], limit_s=10, what="nothing is left")


def test_a_visitor_gains_nothing_by_the_headers(site: Site, sessions: sessionmaker[Session]) -> None:
    theirs = site.bodies / "0000009999"
    theirs.write_bytes(PHOTO)
    lie = {"X_WaterWatch_Body_File": str(theirs), "Content_Type": "image/jpeg"}
    guesses = [lie | {"X_WaterWatch_Body_Secret": "0" * 32}, lie]
    for headers in guesses:
        for port in (site.front, site.backend):
            assert site.ask("POST", "/api/v1/photos", port=port, **headers)[0] == 400
            assert site.ask("POST", "/api/v1/photos", b"mine", port=port, **headers)[0] == 201
    # Whoever knew the secret even: by every other spelling of the address the proxy drops what they send.
    known = lie | {"X_WaterWatch_Body_Secret": SECRET}
    for path in ("/api/v1/photos", "/api/v1/photos/", "/api/v1/./photos", "//api/v1/photos", "/api/v1/%70hotos"):
        site.ask("POST", path, **known)
    assert theirs.read_bytes() == PHOTO
    assert set(digests(sessions)) == {hashlib.sha256(b"mine").digest()}


def test_what_came_before_a_line_broke_is_kept_behind_the_proxy(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.front, timeout=30)
    connection.request("POST", "/api/v1/uploads", headers=TUS | {"Upload-Length": str(len(PHOTO))})
    answer = connection.getresponse()
    assert answer.status == 201
    path = "/api/v1/uploads/" + str(answer.headers["Location"]).rsplit("/", 1)[1]
    connection.close()
    head = f"PATCH {path} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
    head += f"Content-Type: application/offset+octet-stream\r\nContent-Length: {len(PHOTO)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.front), timeout=30) as line:
        line.sendall(head.encode() + PHOTO[:MEBIBYTE])
        await_true(lambda: _offset(site, path) > MEBIBYTE // 2, limit_s=20, what="half of it has been kept")
    assert _offset(site, path) <= MEBIBYTE


def _offset(site: Site, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", site.front, timeout=30)
    connection.request("HEAD", path, headers=TUS)
    answer = connection.getresponse()
    connection.close()
    return int(answer.headers["Upload-Offset"])
