"""Resumable uploads over HTTP: what arrived is kept, whatever happens next; a whole photo is known exactly once."""

import fcntl
import hashlib
import os
import socket
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.migrate import owner_engine
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import MEBIBYTE, Settings
from waterwatch.photos import forgetting
from waterwatch.photos import service as photos
from waterwatch.uploads import rules, service, views
from waterwatch.uploads.rules import Upload

PHOTO = b"\xff\xd8\xff\xe0" + os.urandom(300_000) + b"\xff\xd9"
TUS = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    return make_settings(database_url=database_url, redis_url=redis_url, photo_max_bytes=MEBIBYTE)


def begin(client: FlaskClient, length: int = len(PHOTO)) -> str:
    answer = client.post("/api/v1/uploads", headers=TUS | {"Upload-Length": str(length)})
    assert answer.status_code == 201
    return answer.headers["Location"]


def send(client: FlaskClient, address: str, offset: int, piece: bytes) -> TestResponse:
    headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    return client.patch(address, data=piece, headers=headers)


def offset_at(client: FlaskClient, address: str) -> int:
    answer = client.head(address, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return int(answer.headers["Upload-Offset"])


def upload_at(address: str, settings: Settings) -> Upload:
    return rules.read_token(address.rsplit("/", 1)[1], settings)


def photo_rows(sessions: sessionmaker[Session]) -> list[tuple[str, int, bytes, bool]]:
    with transaction(sessions) as session:
        statement = text("SELECT state, original_bytes, sha256, unclaimed_until IS NOT NULL FROM photo")
        return [tuple(row) for row in session.execute(statement)]


def test_a_photo_in_three_pieces_becomes_one_photo_with_one_order(
    client: FlaskClient, settings: Settings, sessions: sessionmaker[Session]
) -> None:
    address = begin(client)
    for at in (0, 100_000, 200_000):
        assert offset_at(client, address) == at
        piece = PHOTO[at : at + 100_000] if at < 200_000 else PHOTO[at:]
        answer = send(client, address, at, piece)
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(at + len(piece)))
    assert offset_at(client, address) == len(PHOTO)
    assert photo_rows(sessions) == [("received", len(PHOTO), hashlib.sha256(PHOTO).digest(), True)]
    upload = upload_at(address, settings)
    with transaction(sessions) as session:
        key = session.execute(text("SELECT original_key FROM photo")).scalar_one()
        orders = session.execute(text("SELECT topic, payload FROM outbox")).all()
    assert b"".join(ObjectStore(settings.objects_url).open(key)) == PHOTO
    assert [tuple(order) for order in orders] == [("photos.sanitise", {"photo_id": str(upload.photo_id)})]
    assert list(settings.spool_dir.glob("*.upload")) == []


def test_beginning_an_upload_writes_nothing(
    client: FlaskClient, settings: Settings, sessions: sessionmaker[Session]
) -> None:
    begin(client)
    assert photo_rows(sessions) == []
    assert list(settings.spool_dir.iterdir()) == []


def test_a_line_that_breaks_keeps_what_it_brought(app: Flask, client: FlaskClient) -> None:
    address = begin(client)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    head = (
        f"PATCH {address} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {len(PHOTO)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.server_port)) as line:
        line.sendall(head.encode() + PHOTO[:123_456])
        line.shutdown(socket.SHUT_WR)
        assert line.recv(100)  # the answer nobody will read
    server.shutdown()
    server.server_close()
    assert offset_at(client, address) == 123_456
    assert send(client, address, 123_456, PHOTO[123_456:]).headers["Upload-Offset"] == str(len(PHOTO))


def test_a_line_that_went_silent_does_not_stand_in_the_way_of_the_next(app: Flask, client: FlaskClient) -> None:
    address = begin(client)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    head = (
        f"PATCH {address} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {len(PHOTO)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.server_port)) as silent:
        silent.sendall(head.encode() + PHOTO[: 2 * views.PIECE_BYTES])
        while (at := offset_at(client, address)) < 2 * views.PIECE_BYTES:
            threading.Event().wait(0.01)  # until the server has read what came
        assert send(client, address, at, PHOTO[at:]).status_code == 204
        silent.sendall(PHOTO[at : at + views.PIECE_BYTES])  # the old line wakes up
        assert b" 409 " in silent.recv(100) or b" 423 " in silent.recv(100)
    server.shutdown()
    server.server_close()
    assert offset_at(client, address) == len(PHOTO)


@pytest.mark.parametrize("offset", [1, 50_001])
def test_a_piece_that_does_not_fit_is_told_where_to_go_on(client: FlaskClient, offset: int) -> None:
    address = begin(client)
    send(client, address, 0, PHOTO[:50_000])
    answer = send(client, address, offset, PHOTO[offset:60_000])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (409, "50000")
    assert offset_at(client, address) == 50_000


def test_the_last_piece_twice_is_one_photo(client: FlaskClient, sessions: sessionmaker[Session]) -> None:
    address = begin(client)
    for _again in range(2):
        answer = send(client, address, 0, PHOTO)
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(PHOTO)))
    assert len(photo_rows(sessions)) == 1


def test_of_two_senders_one_waits(client: FlaskClient, settings: Settings) -> None:
    address = begin(client)
    send(client, address, 0, PHOTO[:10])
    path = settings.spool_dir / f"{upload_at(address, settings).photo_id}{service.SUFFIX}"
    with path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert send(client, address, 10, PHOTO[10:]).status_code == 423
    assert send(client, address, 10, PHOTO[10:]).status_code == 204


def test_a_database_that_is_away_at_the_end_costs_the_sender_nothing(
    client: FlaskClient, sessions: sessionmaker[Session], database_url: str
) -> None:
    address, owner = begin(client), owner_engine(database_url)
    with owner.begin() as connection:
        connection.execute(text("ALTER TABLE photo ADD CONSTRAINT no_more CHECK (false) NOT VALID"))
    assert send(client, address, 0, PHOTO).status_code == 500
    assert photo_rows(sessions) == []
    with owner.begin() as connection:
        connection.execute(text("ALTER TABLE photo DROP CONSTRAINT no_more"))
    owner.dispose()
    assert offset_at(client, address) == len(PHOTO)  # nothing has to be sent again
    assert len(photo_rows(sessions)) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 412),
        ({"Tus-Resumable": "0.2.2"}, 412),
        (TUS, 400),
        (TUS | {"Upload-Length": "-1"}, 400),
        (TUS | {"Upload-Length": "0"}, 400),
        (TUS | {"Upload-Length": "１２"}, 400),
        (TUS | {"Upload-Defer-Length": "1"}, 400),
        (TUS | {"Upload-Length": str(MEBIBYTE + 1)}, 400),
    ],
)
def test_what_cannot_be_begun(client: FlaskClient, headers: dict[str, str], status: int) -> None:
    latin = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    answer = client.post("/api/v1/uploads", headers=latin)
    assert answer.status_code == status
    assert answer.headers["Tus-Resumable"] == "1.0.0"


def test_more_than_was_announced_is_refused_and_the_piece_not_kept(client: FlaskClient) -> None:
    address = begin(client, 100)
    assert send(client, address, 0, PHOTO[:101]).status_code == 413
    assert offset_at(client, address) == 0


def test_an_address_cannot_be_made_up_and_does_not_live_for_ever(
    client: FlaskClient, settings: Settings, now: datetime
) -> None:
    address = begin(client)
    end = "AA" if not address.endswith("AA") else "BB"
    assert client.head(address[:-2] + end, headers=TUS).status_code == 404
    assert client.head("/api/v1/uploads/x", headers=TUS).status_code == 404
    old = Upload(upload_at(address, settings).photo_id, len(PHOTO), now - timedelta(days=900))
    assert client.head(f"/api/v1/uploads/{rules.token_of(old, settings)}", headers=TUS).status_code == 410


def test_giving_up_removes_the_file(client: FlaskClient, settings: Settings) -> None:
    address = begin(client)
    send(client, address, 0, PHOTO[:10])
    assert client.delete(address, headers=TUS).status_code == 204
    assert list(settings.spool_dir.iterdir()) == []
    assert offset_at(client, address) == 0


def test_who_may_not_patch_may_say_so_in_a_header(client: FlaskClient) -> None:
    address = begin(client)
    headers = TUS | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    answer = client.post(address, data=PHOTO, headers=headers | {"X-HTTP-Method-Override": "PATCH"})
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(PHOTO)))


def test_the_server_says_what_it_can(client: FlaskClient) -> None:
    answer = client.options("/api/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["Tus-Extension"] == "creation,expiration,termination"
    assert answer.headers["Tus-Max-Size"] == str(MEBIBYTE)


def test_a_photo_no_report_names_is_deleted_with_its_objects_when_its_time_is_over(
    client: FlaskClient, settings: Settings, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    address = begin(client)
    send(client, address, 0, PHOTO)
    upload = upload_at(address, settings)
    context = JobContext(settings, sessions, ObjectStore(settings.objects_url))
    assert photos.sanitise(context, upload.photo_id) == "refused"  # random bytes
    with transaction(sessions) as session:
        assert forgetting.forget_unclaimed(session, upload.photo_id, now=utc_now()) == []
        later = upload.expires_at + timedelta(seconds=1)
        (key,) = forgetting.forget_unclaimed(session, upload.photo_id, now=later)
        assert forgetting.forget_unclaimed(session, upload.photo_id, now=later) == []
    context.objects.delete(key)
    assert photo_rows(sessions) == []
    with pytest.raises(NotFound):
        context.objects.fetch(key, tmp_path / "gone")
