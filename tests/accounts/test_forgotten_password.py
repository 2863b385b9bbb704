"""A forgotten password: changed by whoever reads the mailbox, and nobody learns who has an account."""

import re
import time
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.mine.test_views import EMAIL, NEW, letters, rows, sign_up
from tests.web.site import Visitor, acts
from waterwatch.accounts.registration import ANSWER_AFTER_S
from waterwatch.accounts.rules import DEMO_PASSWORD
from waterwatch.accounts.service import CreatePerson, DemoPerson, create_person
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

SAID = "如果这个邮箱有账号，换密码的邮件已经寄出"
CHANGED = DemoPerson(EMAIL, "另一条清清的小河也流过村口", "citizen", "")


def ask(visitor: Visitor, email: str) -> str:
    return visitor.client.post(
        "/reset", data={"csrf_token": visitor.token("/reset"), "email": email}, follow_redirects=True
    ).text


@pytest.fixture
def link(app: Flask, visitor: Visitor, sessions: sessionmaker[Session], settings: Settings) -> str:
    """The way in the letter somebody got who has an account and is signed in on one device."""
    sign_up(visitor, sessions, settings)
    ask(Visitor(app.test_client()), EMAIL)
    letter = letters(sessions, settings)[-1]
    assert set(re.findall(r"https?://([^/\s\"<]+)", letter["text"] + letter["html"])) == {"localhost"}
    found = re.search(r"http://localhost(/reset/\S+)", letter["text"])
    assert found is not None
    return found[1]


def test_the_link_changes_the_password_once_and_ends_every_session(
    app: Flask, visitor: Visitor, link: str, sessions: sessionmaker[Session], settings: Settings
) -> None:
    other = Visitor(app.test_client())
    assert other.get(link).headers["Cache-Control"] == "no-store"
    assert other.post(link, {"password": CHANGED.password}).location == "/login"
    assert visitor.get("/my").location == "/login?next=/my"
    assert other.get("/my").location == "/login?next=/my"
    assert other.give_password(NEW).status_code == 200
    assert other.give_password(CHANGED).status_code == 302
    assert "刚刚更换" in letters(sessions, settings)[-1]["text"]
    assert acts(sessions).count("person.password_reset") == 1
    assert Visitor(app.test_client()).get(link).location == "/reset"


def test_a_password_that_is_too_short_or_too_long_is_not_taken_and_the_link_still_holds(
    app: Flask, link: str, sessions: sessionmaker[Session]
) -> None:
    visitor = Visitor(app.test_client())
    for password in ("short", "长" * 129):
        assert "密码要有 12 到 128 个字符" in visitor.post(link, {"password": password}).text
    assert visitor.post(link, {"password": CHANGED.password}).location == "/login"


def test_nobody_learns_who_has_an_account(app: Flask, link: str, sessions: sessionmaker[Session]) -> None:
    pages = []
    for email in (EMAIL, "nobody@example.org"):
        page = ask(Visitor(app.test_client()), email)
        assert SAID in page
        pages.append(re.sub(r'value="[^"]*"', "", page[page.index("<main") :]))
    assert pages[0] == pages[1]
    assert rows(sessions, "SELECT count(*) FROM posting WHERE kind = 'account.reset'") == [(2,)]


@pytest.mark.parametrize(("typed", "words"), [("", "请填写邮箱。"), ("wang@", "请填写正确的邮箱地址。")])
def test_an_address_that_is_none_is_pointed_out(visitor: Visitor, typed: str, words: str) -> None:
    page = ask(visitor, typed)
    assert words in page
    assert SAID not in page


@pytest.mark.parametrize("path", ["/reset", "/confirm", "/register"])
def test_the_time_of_the_answer_tells_nobody_who_has_an_account(app: Flask, visitor: Visitor, path: str) -> None:
    took_s = []
    for email in (EMAIL, "nobody@example.org"):
        data = {"csrf_token": visitor.token(path), "email": email, "password": CHANGED.password}
        begun = time.perf_counter()
        assert visitor.client.post(path, data=data).status_code in (200, 302)
        took_s.append(time.perf_counter() - begun)
    assert min(took_s) >= ANSWER_AFTER_S


def test_whoever_is_signed_in_may_ask_as_well(visitor: Visitor, link: str, sessions: sessionmaker[Session]) -> None:
    assert SAID in ask(visitor, EMAIL)
    assert visitor.get("/my").status_code == 200
    assert rows(sessions, "SELECT count(*) FROM posting WHERE kind = 'account.reset'") == [(2,)]


def test_a_stranger_cannot_flood_a_mailbox(app: Flask, link: str, sessions: sessionmaker[Session]) -> None:
    for _again in range(5):
        ask(Visitor(app.test_client()), EMAIL)
    assert rows(sessions, "SELECT count(*) FROM posting WHERE kind = 'account.reset'") == [(3,)]


def test_staff_without_a_second_factor_get_no_letter_and_those_with_one_still_need_it(
    app: Flask, people: dict[str, DemoPerson], sessions: sessionmaker[Session], settings: Settings
) -> None:
    with transaction(sessions) as session:
        command = CreatePerson("new@demo.example", DEMO_PASSWORD, "moderator")
        create_person(session, command, actor=Actor.system("operator"), now=utc_now())
    assert SAID in ask(Visitor(app.test_client()), "new@demo.example")
    assert rows(sessions, "SELECT id FROM posting") == []
    moderator = people["moderator"]
    ask(Visitor(app.test_client()), moderator.email)
    found = re.search(r"http://localhost(/reset/\S+)", letters(sessions, settings)[-1]["text"])
    assert found is not None
    visitor = Visitor(app.test_client())
    visitor.post(found[1], {"password": CHANGED.password})
    changed = DemoPerson(moderator.email, CHANGED.password, "moderator", moderator.totp_secret)
    assert str(visitor.give_password(changed).location).startswith("/tf-validate")
    assert visitor.get("/desk/").status_code == 302


def test_a_link_whose_time_is_over_changes_nothing(
    app: Flask, link: str, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "SECURITY_RESET_PASSWORD_WITHIN", timedelta(seconds=-1))
    visitor = Visitor(app.test_client())
    assert visitor.get(link).location == "/reset"
    with transaction(sessions) as session:
        assert session.execute(text("SELECT count(*) FROM audit_entry WHERE action LIKE '%reset'")).scalar_one() == 0
