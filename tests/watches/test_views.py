"""Watching over HTTP: one answer for everybody, buttons behind links, one click from a mail program."""

import re
from collections.abc import Callable
from datetime import datetime

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_incident
from tests.moderation.rows import count
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.postbox import service as postbox
from waterwatch.postbox.service import Mail


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    return make_settings(database_url=database_url, redis_url=redis_url, report_rate_limit="100/minute")


@pytest.fixture
def page(sessions: sessionmaker[Session], now: datetime) -> str:
    """The address of a river's page."""
    with transaction(sessions) as session:
        add_incident(session, now=now)
        return f"/w/{session.execute(text('SELECT public_id FROM water_body')).scalar_one()}"


def post(client: FlaskClient, page: str, **fields: str) -> str:
    """Send the form of the page; what is said on the page that follows."""
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(page).text)
    assert token is not None
    answer = client.post(f"{page}/watch", data={"csrf_token": token[1], **fields}, follow_redirects=True)
    assert answer.status_code == 200
    found = re.search(r'<div class="notice[^>]*>\s*<p>(.*?)</p>', answer.text, re.DOTALL)
    assert found is not None
    return found[1]


def letter(sessions: sessionmaker[Session], settings: Settings, now: datetime) -> Mail:
    with transaction(sessions) as session:
        posting_id = session.execute(text("SELECT id FROM posting ORDER BY id DESC LIMIT 1")).scalar_one()
        held = postbox.claim(session, posting_id, settings=settings, now=now)
        assert held is not None
        return Mail(**held.content)


def test_the_answer_is_the_same_whether_an_address_watches_already(
    client: FlaskClient, page: str, sessions: sessionmaker[Session]
) -> None:
    first = post(client, page, email="li@example.org")
    with transaction(sessions) as session:
        session.execute(text("UPDATE watch SET confirmed_at = asked_at"))
    assert post(client, page, email="Li@Example.org") == first
    with transaction(sessions) as session:
        assert (count(session, "watch"), count(session, "posting")) == (1, 1)
    assert "正确的邮箱地址" in post(client, page, email="li@")


def test_the_links_ask_and_the_buttons_do(
    client: FlaskClient, page: str, sessions: sessionmaker[Session], settings: Settings, now: datetime
) -> None:
    post(client, page, email="li@example.org")
    mail = letter(sessions, settings, now)
    confirm, stop = (re.search(rf"http://localhost(/watch/{what}/\S+)", mail.text) for what in ("confirm", "stop"))
    assert confirm is not None
    assert stop is not None
    asked = client.get(confirm[1])
    assert (asked.status_code, asked.headers["Cache-Control"]) == (200, "no-store")
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', asked.text)
    assert token is not None
    with transaction(sessions) as session:
        assert count(session, "watch", "confirmed_at IS NOT NULL") == 0
    assert "已确认" in client.post(confirm[1], data={"csrf_token": token[1]}).text
    client.get(stop[1])
    with transaction(sessions) as session:
        assert count(session, "watch", "confirmed_at IS NOT NULL") == 1
    assert "已经从我们这里删除" in client.post(stop[1], data={"csrf_token": token[1]}).text
    with transaction(sessions) as session:
        assert count(session, "watch") == 0
    assert client.post(confirm[1], data={"csrf_token": token[1]}).status_code == 410


def test_a_mail_program_stops_it_by_one_request_without_cookie_or_token(
    client: FlaskClient, page: str, sessions: sessionmaker[Session], settings: Settings, now: datetime
) -> None:
    post(client, page, email="li@example.org")
    address = str(letter(sessions, settings, now).unsubscribe_url).removeprefix("http://localhost")
    assert client.get(address).headers["Location"].startswith("/watch/stop/")
    for _twice in range(2):
        answer = client.post(address, data={"List-Unsubscribe": "One-Click"})
        assert (answer.status_code, answer.data) == (204, b"")
    with transaction(sessions) as session:
        assert count(session, "watch") == 0


def test_a_water_that_is_not_there_cannot_be_watched(client: FlaskClient, page: str) -> None:
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(page).text)
    assert token is not None
    answer = client.post("/w/w-nowhere/watch", data={"csrf_token": token[1], "email": "li@example.org"})
    assert answer.status_code == 404


def test_a_browser_names_itself_by_a_listed_push_service_or_not_at_all(
    client: FlaskClient, page: str, sessions: sessionmaker[Session]
) -> None:
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get(page).text)
    assert token is not None
    fields = {"csrf_token": token[1], "endpoint": "https://evil.example/x", "p256dh": "x", "auth": "y"}
    answer = client.post(f"{page}/watch/push", data=fields)
    assert answer.status_code in (303, 409)
    with transaction(sessions) as session:
        assert count(session, "watch") == 0
    assert client.post(f"{page}/watch/push/stop", data=fields).status_code == 303
