"""The page that says what early warning is and how good it was; and its data, which lead to nobody."""

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.advisories.rows import add_chain
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator, add_waiting
from tests.reports.rows import LAT, LON
from tests.web.site import counting, running
from waterwatch.advisories.arrival_queries import keep_check
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
Check = Callable[..., None]


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    return make_settings(database_url=database_url, redis_url=redis_url)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    with running(settings) as found:
        yield found


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def check(sessions: sessionmaker[Session]) -> Check:
    """Keeps one more check: how far, by how many hours the window was missed (None: it had not come), and when seen."""
    with transaction(sessions) as session:
        river = add_chain(session, 2)
        moderator = add_moderator(session, "甲", now=NOW)
        incident, _report = open_on(
            session, river.ids[0], moderator, now=NOW, at=(LON + 0.02, LAT), severity=Severity.MAJOR
        )
        incident_id = incident.id

    def keep(km: float, missed_h: float | None, observed_at: datetime = NOW, *, ends: float = 1.0) -> None:
        with transaction(sessions) as session:
            report_id = add_waiting(session, river.ids[1], now=NOW)
            values = {
                "incident_id": incident_id,
                "report_id": report_id,
                "feature_id": river.feature_ids[1],
                "outcome": "not_arrived" if missed_h is None else "arrived",
                "observed_at": observed_at,
                "distance_km": km,
                "earliest_at": observed_at - timedelta(hours=1),
                "probable_at": observed_at + timedelta(hours=ends),
                "missed_by_s": None if missed_h is None else missed_h * 3600,
                "checked_by": moderator.id,
                "now": NOW,
            }
            keep_check(session, values)

    return keep


def test_before_anything_was_found_the_page_explains_and_says_that_there_is_nothing_yet(client: FlaskClient) -> None:
    page = client.get("/early-warning")
    assert page.status_code == 200
    assert "不是政府预警" in page.text
    assert "Jobson" in page.text
    assert "还没有足够的核对" in page.text
    assert "early-warning.csv" not in page.text


def test_two_checks_are_told_to_nobody(client: FlaskClient, check: Check) -> None:
    check(12, 0)
    check(12, 2)
    assert "还没有足够的核对" in client.get("/early-warning").text
    assert client.get("/early-warning.json").json["checks"] == []  # type: ignore[index]
    assert client.get("/early-warning.csv").text.splitlines()[1:] == []


def test_what_was_found_is_counted_by_distance(client: FlaskClient, check: Check) -> None:
    for missed in (0, 0, -3.2, 5):
        check(12, missed)
    check(19.9, None, ends=-0.5)
    check(20, 0)
    page = client.get("/early-warning").text
    row = page[page.index("0–20 公里") : page.index("20–50 公里")]
    numbers = [cell.split("<")[0] for cell in row.split('<span class="number">')[1:]]
    assert numbers == ["5", "2", "1", "1", "1", "0", "0", "3 小时"]
    assert "不足 3 次" in page[page.index("20–50 公里") :]
    assert '<p class="stat-number">6</p>' in page
    assert '<p class="stat-number">50%</p>' in page


def test_the_data_are_rounded_and_name_no_day_no_place_and_nobody(
    client: FlaskClient, check: Check, sessions: sessionmaker[Session]
) -> None:
    for day in range(3):
        check(34.9, 2.4, NOW + timedelta(days=day))
    check(37, None, NOW + timedelta(days=40))
    answer = client.get("/early-warning.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert rows[1:] == [{"found": "after", "missed_h": "3", "distance_km": "30", "month": "2026-06"}] * 3
    assert rows[0] == {"found": "too_soon", "missed_h": "", "distance_km": "40", "month": ""}
    assert answer.headers["Content-Disposition"].endswith('"early-warning.csv"')
    told = answer.text + client.get("/early-warning.json").text + client.get("/early-warning").text
    with transaction(sessions) as session:
        codes = session.execute(text("SELECT code FROM report UNION SELECT code FROM incident")).scalars().all()
    assert [code for code in codes if code in told] == []


def test_an_incident_that_turned_out_to_be_none_says_nothing_of_the_reckoning(
    client: FlaskClient, check: Check, sessions: sessionmaker[Session]
) -> None:
    for _nth in range(3):
        check(10, 0)
    with transaction(sessions) as session:
        session.execute(text("UPDATE incident SET state = 'retracted', closed_at = now()"))
    assert "还没有足够的核对" in client.get("/early-warning").text


@pytest.mark.parametrize("language", ["zh-Hans", "zh-Hant", "en"])
def test_the_page_speaks_three_languages(client: FlaskClient, language: str) -> None:
    page = client.get("/early-warning", headers={"Accept-Language": language})
    assert f'lang="{language}"' in page.text


def test_the_page_asks_once_however_much_was_found(app: Flask, client: FlaskClient, check: Check) -> None:
    client.get("/early-warning")
    with counting(app) as few:
        client.get("/early-warning")
    for _nth in range(5):
        check(10, 0)
    with counting(app) as many:
        client.get("/early-warning")
    assert len(many) == len(few)
    assert len([one for one in many if "arrival_check" in one]) == 1


def test_the_front_page_leads_there(client: FlaskClient) -> None:
    assert 'href="/early-warning"' in client.get("/").text
