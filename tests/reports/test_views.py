"""Sending a report over HTTP: durable before it is acknowledged, once however often sent, nothing left of a failure."""

import hashlib
import io
import logging
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.serving import make_server

from tests.reports.rows import LAT, LON, add_river
from tests.reports.site import JPEG, Visitor
from waterwatch.app import create_app
from waterwatch.kernel.db import transaction
from waterwatch.kernel.migrate import owner_engine
from waterwatch.kernel.settings import MEBIBYTE, Settings
from waterwatch.reports import views
from waterwatch.reports.tables import MEASURED

API = Path(__file__).resolve().parents[2] / "docs" / "api.md"


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    """A system whose photos may be at most 1 MiB, to keep the tests' bodies small."""
    return make_settings(
        database_url=database_url, redis_url=redis_url, photo_max_bytes=MEBIBYTE, report_rate_limit="1000/hour"
    )


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor(app.test_client())


def rows(sessions: sessionmaker[Session]) -> list[int]:
    """How many reports, photos, links between them and jobs there are."""
    with transaction(sessions) as session:
        tables = ("report", "photo", "report_photo", "outbox")
        return [session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() for table in tables]


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_report_is_durable_before_it_is_acknowledged(
    visitor: Visitor, sessions: sessionmaker[Session], settings: Settings, tmp_path: Path
) -> None:
    answer = visitor.send(photos=[JPEG, JPEG[:-1]])
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/f/")
    assert rows(sessions) == [1, 2, 2, 2]
    with transaction(sessions) as session:
        found = session.execute(text("SELECT original_key, sha256, original_bytes FROM photo ORDER BY id")).all()
    assert [(row.sha256, row.original_bytes) for row in found] == [
        (hashlib.sha256(JPEG).digest(), len(JPEG)),
        (hashlib.sha256(JPEG[:-1]).digest(), len(JPEG) - 1),
    ]
    assert [(tmp_path / "objects" / row.original_key).read_bytes() for row in found] == [JPEG, JPEG[:-1]]
    assert files_in(settings.spool_dir) == []


def test_the_form_s_script_gets_json(visitor: Visitor, sessions: sessionmaker[Session]) -> None:
    answer = visitor.send(json=True)
    assert answer.status_code == 201
    with transaction(sessions) as session:
        assert answer.json["code"] == session.execute(text("SELECT code FROM report")).scalar_one()
    assert visitor.client.get(answer.json["follow_url"]).status_code == 200


def test_a_faulty_form_comes_back_with_every_word_and_leaves_nothing(
    visitor: Visitor, sessions: sessionmaker[Session], settings: Settings, tmp_path: Path
) -> None:
    key = str(uuid.uuid4())
    answer = visitor.send(kind=None, lat="abc", note="还在吗", idempotency_key=key)
    assert answer.status_code == 400
    for kept in ("还在吗", "114.305512", "abc", key):
        assert kept in answer.text
    for said in ("请选择看到的是什么问题", "没有看懂纬度", "请重新选择照片"):
        assert said in answer.text
    assert rows(sessions) == [0, 0, 0, 0]
    assert files_in(settings.spool_dir) + files_in(tmp_path / "objects") == []


def test_the_script_gets_the_codes_of_a_faulty_form(visitor: Visitor) -> None:
    answer = visitor.send(json=True, kind="ufo", place_confirmed=None)
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    assert answer.json["errors"] == {"kind": ["kind_unknown"], "place_confirmed": ["place_not_confirmed"]}


def test_a_photo_over_the_limit_is_refused_kindly_and_exactly(
    visitor: Visitor, sessions: sessionmaker[Session], settings: Settings, tmp_path: Path
) -> None:
    answer = visitor.send(photos=[JPEG, bytes(MEBIBYTE + 1)])
    assert answer.status_code == 413
    assert "超过 1 MB" in answer.text
    assert "王小明家门口" in answer.text
    assert rows(sessions) == [0, 0, 0, 0]
    assert files_in(settings.spool_dir) + files_in(tmp_path / "objects") == []


def test_a_request_beyond_every_limit_is_refused(visitor: Visitor, sessions: sessionmaker[Session]) -> None:
    answer = visitor.send(photos=[bytes(MEBIBYTE)] * 9)
    assert answer.status_code == 413
    assert rows(sessions) == [0, 0, 0, 0]


def test_without_a_csrf_token_nothing_is_taken(
    visitor: Visitor, sessions: sessionmaker[Session], settings: Settings
) -> None:
    assert visitor.send(csrf_token="forged").status_code == 400
    assert rows(sessions) == [0, 0, 0, 0]
    assert files_in(settings.spool_dir) == []


def test_sending_again_gives_the_same_receipt_and_stores_nothing(
    visitor: Visitor, sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    key = str(uuid.uuid4())
    first, second = visitor.send(idempotency_key=key), visitor.send(idempotency_key=key)
    assert (first.status_code, second.status_code) == (303, 303)
    assert first.headers["Location"] == second.headers["Location"]
    assert rows(sessions) == [1, 1, 1, 1]
    assert len(files_in(tmp_path / "objects")) == 1


def test_sending_many_times_at_once_stores_one(app: Flask, sessions: sessionmaker[Session], tmp_path: Path) -> None:
    key, barrier, addresses = str(uuid.uuid4()), threading.Barrier(6), []

    def send() -> None:
        visitor = Visitor(app.test_client())
        visitor.token()
        barrier.wait()
        addresses.append(visitor.send(idempotency_key=key).headers["Location"])

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(addresses) == 6
    assert len(set(addresses)) == 1
    assert rows(sessions) == [1, 1, 1, 1]
    assert len(files_in(tmp_path / "objects")) == 1


def test_when_the_database_refuses_nothing_stays_behind(
    visitor: Visitor, sessions: sessionmaker[Session], database_url: str, settings: Settings, tmp_path: Path
) -> None:
    token = visitor.token()
    owner = owner_engine(database_url)
    with owner.begin() as connection:
        connection.execute(text("REVOKE INSERT ON report_photo FROM waterwatch_app"))
    owner.dispose()
    answer = visitor.send(csrf_token=token)
    assert answer.status_code == 500
    assert "report_photo" not in answer.text
    assert rows(sessions) == [0, 0, 0, 0]
    assert files_in(settings.spool_dir) + files_in(tmp_path / "objects") == []


SECRETS = ("114.3", "30.59", "王小明", "203.0.113.7", "127.0.0.1", "IMG_0")


@pytest.fixture
def logged(app: Flask) -> io.StringIO:
    """What the application logs from now on."""
    stream = io.StringIO()
    (handler,) = logging.getLogger().handlers[:1]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    return stream


def test_neither_place_nor_words_nor_token_nor_sender_reach_the_logs(
    visitor: Visitor, logged: io.StringIO, sessions: sessionmaker[Session]
) -> None:
    sent = visitor.send(device_lon="114.3066", device_lat="30.5966", accuracy_m="12")
    visitor.client.get(sent.headers["Location"], environ_base={"REMOTE_ADDR": "203.0.113.7"})
    visitor.client.get("/api/v1/waters/nearest?lon=114.305512&lat=30.592834")
    lines = logged.getvalue()
    assert "report.submitted" in lines
    follow_token = sent.headers["Location"].removeprefix("/f/")
    with transaction(sessions) as session:
        digest = session.execute(text("SELECT encode(submission_digest, 'hex') FROM report")).scalar_one()
    for secret in (*SECRETS, follow_token, digest):
        assert secret not in lines


def test_a_row_the_database_refuses_is_not_quoted_in_the_logs(
    visitor: Visitor, logged: io.StringIO, database_url: str
) -> None:
    owner = owner_engine(database_url)
    with owner.begin() as connection:
        connection.execute(text("ALTER TABLE report ADD CONSTRAINT no_more CHECK (false) NOT VALID"))
    owner.dispose()
    assert visitor.send().status_code == 500
    lines = logged.getvalue()
    assert '"sqlstate": "23514"' in lines
    assert "intake.py" in lines  # where it happened is still said
    for secret in SECRETS:
        assert secret not in lines


def test_nothing_stored_tells_who_sent_it(visitor: Visitor, sessions: sessionmaker[Session]) -> None:
    visitor.client.environ_base["REMOTE_ADDR"] = "203.0.113.7"
    visitor.client.environ_base["HTTP_USER_AGENT"] = "Telltale/1.0"
    assert visitor.send().status_code == 303
    with transaction(sessions) as session:
        tables = ("report", "photo", "report_photo", "outbox", "audit_entry")
        stored = "".join(str(session.execute(text(f"SELECT * FROM {table}")).all()) for table in tables)
    for trace in ("203.0.113.7", "Telltale", "IMG_0"):
        assert trace not in stored


def test_the_nearest_waters_are_named_in_the_viewer_s_language(
    visitor: Visitor, sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        feature_id = add_river(session, "府河")
    answer = visitor.client.get(f"/api/v1/waters/nearest?lon={LON}&lat={LAT + 0.0005}&accuracy_m=20&datum=wgs84")
    assert answer.headers["Cache-Control"] == "no-store"
    (found,) = answer.json
    assert (found["name"], found["water_feature_id"], found["distance_m"]) == ("府河", str(feature_id), 55)
    documented = re.search(r"`GET /api/v1/waters/nearest.*?`\[\{(.*?)\}\]`", API.read_text(encoding="utf-8"))
    assert documented is not None
    assert set(documented[1].split(", ")) == set(found)


def test_a_question_without_a_place_gets_every_code(visitor: Visitor) -> None:
    answer = visitor.client.get("/api/v1/waters/nearest?lon=x&datum=mars")
    assert answer.status_code == 400
    assert answer.json["errors"] == {
        "lon": ["lon_not_a_number"],
        "lat": ["lat_missing"],
        "datum": ["datum_unknown"],
    }


def test_too_many_reports_from_one_place_have_to_wait(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str
) -> None:
    made = create_app(make_settings(database_url=database_url, redis_url=redis_url, report_rate_limit="2/hour"))
    visitor = Visitor(made.test_client())
    assert [visitor.send().status_code for _ in range(3)] == [303, 303, 429]
    made.extensions["waterwatch"].engine.dispose()


def test_a_connection_cut_in_the_middle_of_a_photo_leaves_nothing(
    app: Flask, visitor: Visitor, sessions: sessionmaker[Session], settings: Settings, tmp_path: Path
) -> None:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
            connection.sendall(
                b"POST /report HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
                b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n' + bytes(200_000)
            )
            await_that(lambda: len(files_in(settings.spool_dir)) == 1)
        await_that(lambda: files_in(settings.spool_dir) == [])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert rows(sessions) == [0, 0, 0, 0]
    assert files_in(tmp_path / "objects") == []


def await_that(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            if condition():
                return
        threading.Event().wait(0.01)
    raise AssertionError("the condition did not come true within 10 s")


def test_the_faults_are_listed_in_the_order_of_the_form(visitor: Visitor) -> None:
    page = visitor.send(photos=[], kind=None, lon=None, lat=None, note="水" * 501).text
    summary = page.partition("error-summary")[2].partition("</ul>")[0]
    assert re.findall(r'href="#(\w+)"', summary) == ["photo", "place", "kind", "note"]


READINGS_IN_WORDS = dict.fromkeys(MEASURED, "很多")
READINGS_TOO_HIGH = dict.fromkeys(MEASURED, "99999")
EVERY_FAULT: list[dict[str, str | None]] = [
    {"idempotency_key": None},
    {"idempotency_key": "7"},
    {"kind": "ufo", "datum": "mars", "extent": "huge", "smell": "4", "ongoing": "?", "dead_animals": "?"},
    {"kind": None, "people_affected": "?", "water_feature_id": "7", "note": "水" * 501, "place_confirmed": "?"},
    {"lon": "abc", "lat": "abc", "place_confirmed": None, "place_words": "路" * 201},
    {"lon": "181", "lat": "30°N 3"},
    {"lon": "30.5", "lat": "114.3"},
    {"lon": "", "lat": "30°E"},
    {"lon": "30°N", "lat": ""},
    {"lon": None, "lat": None},
    {"place_confirmed": None},
    {"colour": "blau", "since": "ever", "same_as": "it", **READINGS_IN_WORDS},
    {"contact_email": "wang", "contact_phone": "wang"},
    READINGS_TOO_HIGH,
]


def test_every_code_the_form_answers_has_words_and_a_place_on_the_page(visitor: Visitor) -> None:
    said: set[str] = set()
    for changes in EVERY_FAULT:
        answer = visitor.send(json=True, photos=[b""], **changes)
        assert set(answer.json["errors"]) <= set(views.FIELD_ORDER)
        said |= {code for codes in answer.json["errors"].values() for code in codes}
    for photos in ([], [JPEG] * 7, [bytes(MEBIBYTE + 1)]):
        said |= set(visitor.send(json=True, photos=photos).json["errors"]["photo"])
    # The last three come from a report that names photos sent before, and from the form for a contact alone.
    others = {"photo_choose_again", "photo_unknown", "photo_taken", "contact_missing"}
    assert said == set(views.ERROR_WORDS) - others
