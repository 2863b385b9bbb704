"""Files of a form on their way to the disk: hashed, counted, limited; broken bodies leave nothing behind."""

import hashlib
import io
import os
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, g, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.serving import make_server

from waterwatch.web.uploads import Spool, UploadLimits, spool_uploads

LIMITS = UploadLimits(max_file_bytes=300_000, max_files=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def app(folder: Path) -> Flask:
    """A form that answers what arrived, by way of the parser under test."""
    made = Flask("uploads")

    @made.url_value_preprocessor
    def _spool(_endpoint: str | None, _values: dict[str, object] | None) -> None:
        g.spool = spool_uploads(request, folder, LIMITS)

    @made.teardown_request
    def _discard(_error: BaseException | None) -> None:
        g.spool.discard()

    @made.post("/")
    def _receive() -> ResponseReturnValue:
        fields = request.form.to_dict()
        spool: Spool = g.spool
        files = [
            {
                "size": part.size_bytes,
                "sha256": part.sha256.hex(),
                "is_too_large": part.is_too_large,
                "on_disk": part.path.read_bytes().hex() if part.path and part.size_bytes < 100 else None,
                "exists": part.path is not None and part.path.stat().st_size == part.size_bytes,
            }
            for part in spool.files
        ]
        return jsonify(fields=fields, files=files, left_out=spool.left_out)

    return made


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_file_lies_on_the_disk_whole_and_hashed_while_the_view_runs_and_is_gone_after(
    app: Flask, folder: Path
) -> None:
    content = os.urandom(299_999)
    answer = app.test_client().post("/", data={"note": "水", "photo": (io.BytesIO(content), "IMG 张三.jpg")})
    assert answer.json["fields"] == {"note": "水"}
    assert answer.json["files"] == [
        {
            "size": 299_999,
            "sha256": hashlib.sha256(content).hexdigest(),
            "is_too_large": False,
            "on_disk": None,
            "exists": True,
        }
    ]
    assert left_behind(folder) == []


def test_bytes_that_look_like_boundaries_arrive_unchanged(app: Flask) -> None:
    content = b"\r\n--\r\n--boundary\r\n\r\n\n--"
    answer = app.test_client().post("/", data={"photo": (io.BytesIO(content), "a.jpg")})
    assert answer.json["files"][0]["on_disk"] == content.hex()


def test_one_byte_too_many_drops_the_file_but_keeps_every_word(app: Flask, folder: Path) -> None:
    data = {"photo": (io.BytesIO(bytes(300_001)), "a.jpg"), "note": "还在", "kind": "foam"}
    answer = app.test_client().post("/", data=data)
    assert answer.status_code == 200
    assert answer.json["fields"] == {"note": "还在", "kind": "foam"}
    assert [(file["is_too_large"], file["exists"]) for file in answer.json["files"]] == [(True, False)]


def test_files_beyond_the_number_are_counted_and_not_written(app: Flask, folder: Path) -> None:
    photos = [(io.BytesIO(b"x"), f"{number}.jpg") for number in range(4)]
    answer = app.test_client().post("/", data={"photo": photos})
    assert (len(answer.json["files"]), answer.json["left_out"]) == (2, 2)


def test_an_empty_file_input_counts_for_nothing(app: Flask) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="photo"; filename=""\r\n\r\n\r\n--b--\r\n'
    answer = app.test_client().post("/", data=body, content_type="multipart/form-data; boundary=b")
    assert (answer.json["files"], answer.json["left_out"]) == ([], 0)


def test_a_request_over_its_whole_cap_is_refused_unread(app: Flask, folder: Path) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
    body = head + bytes(LIMITS.max_request_bytes) + b"\r\n--b--\r\n"
    answer = app.test_client().post("/", data=body, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 413
    assert left_behind(folder) == []


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=other"])
def test_a_form_that_is_none_is_a_bad_request(app: Flask, content_type: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nxx\r\n--b--\r\n'
    assert app.test_client().post("/", data=body, content_type=content_type).status_code == 400


def test_too_many_fields_and_too_long_a_field_are_refused(app: Flask) -> None:
    client = app.test_client()
    assert client.post("/", data={f"f{n}": (io.BytesIO(b""), "") for n in range(65)}).status_code == 413
    long_field = {"note": "x" * 300_000, "photo": (io.BytesIO(b"x"), "a.jpg")}
    assert client.post("/", data=long_field).status_code == 413


def test_ten_times_the_bytes_take_no_more_memory(folder: Path) -> None:
    def peak_bytes(size_bytes: int) -> int:
        spool = Spool(folder, UploadLimits(max_file_bytes=64_000_000, max_files=1))
        tracemalloc.start()
        part = spool.open_part(None, None, "a.jpg")
        chunk = bytes(64 * 1024)
        for _ in range(size_bytes // len(chunk)):
            part.write(chunk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        spool.discard()
        return peak

    peak_bytes(65_536)
    assert abs(peak_bytes(40_000_000) - peak_bytes(4_000_000)) < 65_536


@pytest.fixture
def address(app: Flask) -> Iterator[tuple[str, int]]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_address[0], server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def wait_until_nothing_is_left(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while left_behind(folder) and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert left_behind(folder) == []


def test_a_connection_that_breaks_in_the_middle_of_a_photo_leaves_nothing(
    address: tuple[str, int], folder: Path
) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n'
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 250000\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        connection.sendall(head + bytes(100_000))
        deadline = time.monotonic() + 10
        while not left_behind(folder) and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert len(left_behind(folder)) == 1  # it was being written as it came
        connection.shutdown(socket.SHUT_WR)
        assert b" 400 " in connection.recv(200).split(b"\r\n")[0]
    wait_until_nothing_is_left(folder)
