"""Who sends very much: a classroom is not held up, one device is told when to come again, a flood pays."""

import base64
import io
import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from altcha import Challenge, Payload, create_challenge, solve_challenge
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from tests.reports.rows import LAT, LON
from tests.reports.site import JPEG
from tests.reports.site import Visitor as Reporter
from tests.web.site import running
from waterwatch.accounts.service import add_client
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.web.work import SOLUTION_HEADER
from workers.services import PrivateRedis

SCHOOL = "203.0.113.7"
CHEAP = 10  # rounds a key: the tests prove that work is asked for, not how long it takes
Make = Callable[..., Settings]


@pytest.fixture
def settings(make_settings: Make, database_url: str, redis_url: str) -> Settings:
    """The limits as they come, with work a test can do."""
    return make_settings(database_url=database_url, redis_url=redis_url, work_cost=CHEAP)


def device(number: int) -> str:
    """A phone's own number."""
    return uuid.UUID(int=number).hex


def send(
    client: FlaskClient, *, address: str = SCHOOL, headers: dict[str, str] | None = None, **changes: Any
) -> TestResponse:
    """One photo, then the report that names it, as the page does."""
    environ = {"REMOTE_ADDR": address}
    photo = client.post("/api/v1/photos", data={"photo": (io.BytesIO(JPEG), "a.jpg")}, environ_base=environ)
    assert photo.status_code == 201, photo.text
    told = {
        "idempotency_key": str(uuid.uuid4()),
        "kind": "sewage_outfall",
        "lon": LON,
        "lat": LAT,
        "place_confirmed": True,
        "photos": [{"id": photo.json["id"]}],
    }
    return client.post("/api/v1/reports", json=told | changes, headers=headers or {}, environ_base=environ)


def solve(answer: TestResponse) -> dict[str, str]:
    """The header that pays for a report."""
    challenge = Challenge.from_dict(answer.json["challenge"])
    solution = solve_challenge(challenge)
    assert solution is not None
    return {SOLUTION_HEADER: Payload(challenge, solution).to_base64()}


def pay(client: FlaskClient, answer: TestResponse, **changes: Any) -> TestResponse:
    """Do the work that was asked for and send again."""
    return send(client, headers=solve(answer), **changes)


def count(sessions: sessionmaker[Session], where: str = "true") -> int:
    with transaction(sessions) as session:
        return int(session.execute(text(f"SELECT count(*) FROM report WHERE {where}")).scalar_one())


def test_forty_pupils_behind_one_address_send_three_reports_each_and_all_arrive(
    client: FlaskClient, sessions: sessionmaker[Session]
) -> None:
    asked = 0
    for _round in range(3):
        for pupil in range(40):
            answer = send(client, device=device(pupil))
            if answer.status_code == 428:
                asked += 1
                answer = pay(client, answer, device=device(pupil))
            assert answer.status_code == 201, answer.text
    assert (count(sessions), asked) == (120, 60)


def test_the_twenty_first_report_of_a_device_within_an_hour_is_told_when_to_come_again(
    client: FlaskClient, sessions: sessionmaker[Session]
) -> None:
    answers = [send(client, device=device(1)) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [201] * 20 + [429]
    assert answers[-1].json["code"] == "device_too_many"
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 3601
    assert count(sessions) == 20
    assert send(client, device=device(2)).status_code == 201


def test_the_same_report_sent_again_and_again_is_one_of_twenty(client: FlaskClient) -> None:
    photo = client.post("/api/v1/photos", data={"photo": (io.BytesIO(JPEG), "a.jpg")}).json["id"]
    told: dict[str, Any] = {"idempotency_key": str(uuid.uuid4()), "kind": "foam", "lon": LON, "lat": LAT}
    told |= {"place_confirmed": True, "photos": [{"id": photo}], "device": device(1)}
    assert {client.post("/api/v1/reports", json=told).status_code for _ in range(25)} == {201}
    assert send(client, address="203.0.113.9", device=device(1)).status_code == 201


@pytest.mark.parametrize("malformed", ["", "x" * 5000, "../..", device(1).upper() + "A", device(1)[:-1], "\u0661" * 32])
def test_a_malformed_device_is_ignored(client: FlaskClient, sessions: sessionmaker[Session], malformed: str) -> None:
    assert send(client, device=malformed).status_code == 201
    assert count(sessions, "device_digest IS NULL") == 1


def test_of_a_device_only_a_keyed_digest_is_kept_and_nothing_is_logged(
    client: FlaskClient, sessions: sessionmaker[Session], redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    number = uuid.uuid4().hex
    send(client, device=number)
    with transaction(sessions) as session:
        row = session.execute(text("SELECT device_digest, report::text AS whole FROM report")).one()
    assert len(row.device_digest) == 32
    with Redis.from_url(redis_url) as redis:
        names = b" ".join(redis.scan_iter("*")).decode()
    for place in (row.whole, names, caplog.text):
        assert number not in place
    assert row.device_digest.hex() not in names


def test_a_flood_from_one_network_pays_for_each_report(
    make_settings: Make, database_url: str, redis_url: str, sessions: sessionmaker[Session]
) -> None:
    few = make_settings(database_url=database_url, redis_url=redis_url, report_free_limit="2/hour", work_cost=CHEAP)
    with running(few) as app:
        client = app.test_client()
        assert [send(client, device=device(n)).status_code for n in range(2)] == [201, 201]
        asked = send(client)
        assert (asked.status_code, asked.mimetype) == (428, "application/problem+json")
        assert (asked.json["code"], asked.headers["Cache-Control"]) == ("work_needed", "no-store")
        assert asked.json["challenge"]["parameters"]["algorithm"] == "PBKDF2/SHA-256"
        assert count(sessions) == 2
        assert pay(client, asked).status_code == 201
        assert send(client).status_code == 428  # the next one pays again
        assert send(client, address="203.0.113.99").status_code == 201


def test_a_solution_is_good_once_and_only_as_it_was_asked_for(
    make_settings: Make, database_url: str, redis_url: str
) -> None:
    few = make_settings(database_url=database_url, redis_url=redis_url, report_free_limit="1/hour", work_cost=CHEAP)
    with running(few) as app:
        client = app.test_client()
        send(client)
        header = solve(send(client))
        assert [send(client, headers=header).status_code for _ in range(2)] == [201, 428]
        given = json.loads(base64.b64decode(solve(send(client))[SOLUTION_HEADER]))
        forged: list[Any] = [
            given | {"challenge": given["challenge"] | {"signature": "00" * 32}},
            given | {"solution": given["solution"] | {"derivedKey": "00" * 32}},
            given | {"challenge": {"parameters": given["challenge"]["parameters"] | {"cost": 1}, "signature": "x"}},
            {"challenge": {"parameters": given["challenge"]["parameters"]}, "solution": given["solution"]},
            {"challenge": []},
            [],
            None,
            {"challenge": {"parameters": {}}, "solution": {}},
        ]
        texts = [base64.b64encode(json.dumps(one).encode()).decode() for one in forged]
        for text_ in [*texts, "", "?", "e30=", "A" * 5000]:
            assert send(client, headers={SOLUTION_HEADER: text_}).status_code == 428


def test_a_solution_that_comes_too_late_is_asked_for_anew(
    make_settings: Make, database_url: str, redis_url: str
) -> None:
    few = make_settings(database_url=database_url, redis_url=redis_url, report_free_limit="1/hour", work_cost=CHEAP)
    over = create_challenge(
        "PBKDF2/SHA-256",
        CHEAP,
        counter=3,
        expires_at=utc_now() - timedelta(seconds=2),
        hmac_secret=few.derive_key("work/challenge"),
        hmac_key_secret=few.derive_key("work/key"),
    )
    solution = solve_challenge(over)
    assert solution is not None
    with running(few) as app:
        client = app.test_client()
        send(client)
        assert send(client, headers={SOLUTION_HEADER: Payload(over, solution).to_base64()}).status_code == 428


def test_who_shows_a_token_pays_nothing(
    make_settings: Make, database_url: str, redis_url: str, sessions: sessionmaker[Session]
) -> None:
    few = make_settings(database_url=database_url, redis_url=redis_url, report_free_limit="1/hour")
    with running(few) as app:
        with transaction(sessions) as session:
            token = add_client(session, "市民热线", "100/hour", actor=Actor.system("operator"), now=utc_now())
        client, shown = app.test_client(), {"Authorization": f"Bearer {token}"}
        assert {send(client, headers=shown).status_code for _ in range(4)} == {201}


def test_a_form_without_script_is_received_above_the_free_limit_and_screened(
    make_settings: Make, database_url: str, redis_url: str, sessions: sessionmaker[Session]
) -> None:
    few = make_settings(database_url=database_url, redis_url=redis_url, report_free_limit="1/hour")
    with running(few) as app:
        reporter = Reporter(app.test_client())
        assert [reporter.send().status_code for _ in range(2)] == [303, 303]
    assert (count(sessions, "needs_screening"), count(sessions, "NOT needs_screening")) == (1, 1)


def test_a_form_with_the_trap_filled_in_looks_received_and_is_screened(
    app: Flask, sessions: sessionmaker[Session]
) -> None:
    reporter = Reporter(app.test_client())
    answer = reporter.send(homepage="https://cheap.example")
    assert (answer.status_code, answer.location.startswith("/f/")) == (303, True)
    assert reporter.send(homepage="  ").status_code == 303
    assert (count(sessions, "needs_screening"), count(sessions, "NOT needs_screening")) == (1, 1)
    page = app.test_client().get("/report").text
    assert "请不要填写这一栏" in page
    assert 'name="homepage" id="homepage" value="" tabindex="-1" autocomplete="off"' in page


def test_while_redis_is_away_limits_and_work_go_on_and_nothing_is_open(
    make_settings: Make, database_url: str, services_folder: Any, sessions: sessionmaker[Session]
) -> None:
    place = services_folder / "work"
    place.mkdir(mode=0o755)
    server = PrivateRedis(place / "redis").start()
    try:
        few = make_settings(
            database_url=database_url,
            redis_url=server.url(),
            report_free_limit="2/hour",
            device_rate_limit="3/hour",
            work_cost=CHEAP,
        )
        with running(few) as app:
            client = app.test_client()
            assert send(client, device=device(1)).status_code == 201
            server.stop()
            answers = [send(client, device=device(1)) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [201, 201, 428]
            header = solve(answers[-1])
            assert [send(client, headers=header, device=device(1)).status_code for _ in range(2)] == [201, 428]
            assert pay(client, send(client), device=device(1)).status_code == 429
            server.start()
            assert send(client, address="203.0.113.8").status_code == 201
    finally:
        server.stop()
    assert count(sessions) == 5
