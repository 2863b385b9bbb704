"""A citizen's account over HTTP: registering without telling anybody anything, my reports, and leaving no trace."""

import json
import re
import uuid
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.reports.site import Visitor as Reporter
from tests.web.site import Visitor
from waterwatch.accounts.service import CreatePerson, DemoPerson, create_person
from waterwatch.contacts import service as contacts
from waterwatch.contacts.rules import Contact
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.sealing import open_value
from waterwatch.kernel.settings import Settings
from waterwatch.mine import service
from waterwatch.postbox.service import PURPOSE

EMAIL, PASSWORD = "wang@example.org", "一条清清的小河流过村口边上"
NEW = DemoPerson(EMAIL, PASSWORD, "citizen", "")


def rows(sessions: sessionmaker[Session], statement: str, **values: Any) -> list[tuple[Any, ...]]:
    with transaction(sessions) as session:
        return [tuple(row) for row in session.execute(text(statement), values)]


def letters(sessions: sessionmaker[Session], settings: Settings) -> list[dict[str, str]]:
    """The mails that wait, opened, oldest first."""
    found = rows(sessions, "SELECT id, sealed FROM posting WHERE sealed IS NOT NULL ORDER BY id")
    return [json.loads(open_value(settings, PURPOSE, posting_id, sealed)) for posting_id, sealed in found]


def register(visitor: Visitor, email: str = EMAIL, password: str = PASSWORD) -> Any:
    return visitor.post("/register", {"email": email, "password": password})


def sign_up(visitor: Visitor, sessions: sessionmaker[Session], settings: Settings) -> None:
    """All the way: register, open the link in the mail, sign in."""
    register(visitor)
    link = re.search(r"http://localhost(/confirm/\S+)", letters(sessions, settings)[-1]["text"])
    assert link is not None
    assert visitor.get(link[1]).location == "/login?next=/my"
    assert visitor.give_password(NEW).status_code == 302
    assert visitor.get("/my").status_code == 200


def send_report(app: Flask) -> str:
    """Somebody's report; returns its follow page."""
    return str(Reporter(app.test_client()).send().headers["Location"])


def test_registering_needs_the_mailbox_to_say_yes(
    visitor: Visitor, sessions: sessionmaker[Session], settings: Settings
) -> None:
    assert register(visitor).location == "/login"
    assert visitor.give_password(NEW).status_code == 200
    assert visitor.get("/my").location == "/login?next=/my"
    sign_up(visitor, sessions, settings)
    statement = """SELECT r.name, p.confirmed_at IS NOT NULL, p.password LIKE '$argon2id%' FROM person p
                   JOIN membership m ON m.person_id = p.id JOIN role r ON r.id = m.role_id WHERE p.email = :email"""
    assert rows(sessions, statement, email=EMAIL) == [("citizen", True, True)]
    assert visitor.get("/desk/").status_code == 403


def test_what_the_form_says_besides_makes_nobody_more_than_a_citizen(
    visitor: Visitor, sessions: sessionmaker[Session]
) -> None:
    extra = {"roles": "admin", "active": "1", "confirmed_at": "2020-01-01", "memberships": "admin"}
    visitor.post("/register", {"email": EMAIL, "password": PASSWORD} | extra)
    statement = """SELECT r.name, p.confirmed_at FROM person p JOIN membership m ON m.person_id = p.id
                   JOIN role r ON r.id = m.role_id WHERE p.email = :email"""
    assert rows(sessions, statement, email=EMAIL) == [("citizen", None)]


def test_an_address_that_is_taken_is_answered_like_any_other(
    app: Flask, people: dict[str, DemoPerson], sessions: sessionmaker[Session], settings: Settings
) -> None:
    answers = []
    for email in (EMAIL, people["moderator"].email):
        visitor = Visitor(app.test_client())
        answer = register(visitor, email)
        page = visitor.get(answer.location).text
        answers.append((answer.status_code, answer.location, "请打开我们刚寄出的邮件" in page))
    assert answers == [(302, "/login", True)] * 2
    fresh, known = letters(sessions, settings)
    assert "/confirm/" in fresh["text"]
    assert "已经注册过" in known["text"]
    assert "/confirm/" not in known["text"]


def test_asking_for_another_letter_tells_nothing_either(app: Flask, sessions: sessionmaker[Session]) -> None:
    register(Visitor(app.test_client()))
    pages = []
    for email in (EMAIL, "nobody@example.org"):
        page = Visitor(app.test_client()).post("/confirm", {"email": email}).text
        pages.append(re.sub(r'value="[^"]*"', "", page[page.index("<main") :]))
    assert pages[0] == pages[1]
    assert len(rows(sessions, "SELECT id FROM posting")) == 2


def test_a_stranger_cannot_flood_a_mailbox(app: Flask, sessions: sessionmaker[Session]) -> None:
    register(Visitor(app.test_client()))
    for _again in range(6):
        Visitor(app.test_client()).post("/confirm", {"email": EMAIL})
        register(Visitor(app.test_client()))
    found = rows(sessions, "SELECT kind, count(*) FROM posting GROUP BY kind ORDER BY kind")
    assert found == [("account.confirm", 3), ("account.existing", 3), ("account.welcome", 1)]


def test_the_links_in_mails_lead_to_our_own_address(
    visitor: Visitor, sessions: sessionmaker[Session], settings: Settings
) -> None:
    data = {"csrf_token": visitor.token("/register"), "email": EMAIL, "password": PASSWORD}
    visitor.client.post("/register", data=data, headers={"X-Forwarded-Host": "evil.example"})
    (letter,) = letters(sessions, settings)
    assert set(re.findall(r"https?://([^/\s\"<]+)", letter["text"] + letter["html"])) == {"localhost"}


@pytest.mark.parametrize(
    ("email", "password", "words"),
    [("wang", PASSWORD, "请填写正确的邮箱地址"), (EMAIL, "short", "密码要有 12 到 128 个字符"), ("", "", "请填写邮箱")],
)
def test_faults_are_said_in_our_words(visitor: Visitor, email: str, password: str, words: str) -> None:
    page = register(visitor, email, password)
    assert page.status_code == 200
    assert words in page.text


def test_a_report_is_taken_in_by_its_link_and_by_nothing_else(
    app: Flask, visitor: Visitor, sessions: sessionmaker[Session], settings: Settings
) -> None:
    follow = send_report(app)
    sign_up(visitor, sessions, settings)
    assert "存到我的账号" in visitor.get(follow).text
    for given in (f"http://localhost{follow}", follow, follow.removeprefix("/f/")):
        assert visitor.post("/my/reports", {"token": given}, page="/my").location == "/my"
    (code,) = rows(sessions, "SELECT code FROM report")[0]
    page = visitor.get("/my").text
    assert (page.count(f">{code}<"), f'href="{follow}"' in page) == (1, True)
    for wrong in (code, follow[:-1], "", str(uuid.uuid4())):
        visitor.post("/my/reports", {"token": wrong}, page="/my")
        assert "不完整或不正确" in visitor.get("/my").text
    assert len(rows(sessions, "SELECT report_id FROM report_owner")) == 1


def test_nobody_else_sees_whose_it_is(
    app: Flask,
    visitor: Visitor,
    people: dict[str, DemoPerson],
    sessions: sessionmaker[Session],
    settings: Settings,
) -> None:
    follow = send_report(app)
    sign_up(visitor, sessions, settings)
    visitor.post("/my/reports", {"token": follow}, page="/my")
    ((report_id, code),) = rows(sessions, "SELECT id, code FROM report")
    moderator = Visitor(app.test_client())
    moderator.sign_in(people["moderator"])
    assert code not in moderator.get("/my").text
    assert "wang" not in moderator.get(f"/desk/{report_id}").text
    told = rows(sessions, "SELECT a::text FROM audit_entry a WHERE subject_kind = 'person'")
    assert [line for line in told if str(report_id) in str(line) or "report_kept" in str(line)] == []


def test_when_it_was_taken_in_is_known_to_the_day_alone(
    app: Flask, visitor: Visitor, sessions: sessionmaker[Session], settings: Settings
) -> None:
    """A report that came a minute before would be theirs."""
    follow = send_report(app)
    sign_up(visitor, sessions, settings)
    visitor.post("/my/reports", {"token": follow}, page="/my")
    assert rows(sessions, "SELECT added_at = date_trunc('day', added_at, 'UTC') FROM report_owner") == [(True,)]


def test_it_is_let_go_by_its_owner_alone(
    app: Flask,
    visitor: Visitor,
    people: dict[str, DemoPerson],
    sessions: sessionmaker[Session],
    settings: Settings,
) -> None:
    follow = send_report(app)
    sign_up(visitor, sessions, settings)
    visitor.post("/my/reports", {"token": follow}, page="/my")
    ((report_id,),) = rows(sessions, "SELECT id FROM report")
    other = Visitor(app.test_client())
    other.sign_in(people["lead"])
    other.post(f"/my/reports/{report_id}/remove", page="/my")
    assert len(rows(sessions, "SELECT report_id FROM report_owner")) == 1
    for _twice in range(2):
        assert visitor.post(f"/my/reports/{report_id}/remove", page="/my").location == "/my"
    assert rows(sessions, "SELECT report_id FROM report_owner") == []
    assert visitor.get(follow).status_code == 200


def test_deleting_the_account_erases_person_list_and_contacts(
    app: Flask, visitor: Visitor, sessions: sessionmaker[Session], settings: Settings
) -> None:
    follow = send_report(app)
    sign_up(visitor, sessions, settings)
    visitor.post("/my/reports", {"token": follow}, page="/my")
    with transaction(sessions) as session:
        (report_id,) = session.execute(text("SELECT id FROM report")).scalars()
        contact = Contact(EMAIL, None, by_mail=True, may_ask=False)
        contacts.keep(session, report_id, contact, settings=settings, now=utc_now())
    assert visitor.post("/my/delete", {"password": "wrong"}).status_code == 400
    assert visitor.post("/my/delete", {"password": PASSWORD}).location == "/"
    for table in ("report_owner", "report_contact"):
        assert rows(sessions, f"SELECT * FROM {table}") == []
    assert rows(sessions, "SELECT id FROM person WHERE email = :email", email=EMAIL) == []
    assert visitor.get("/my").location == "/login?next=/my"
    assert visitor.get(follow).status_code == 200
    written = str(rows(sessions, "SELECT string_agg(a::text, ' ') FROM audit_entry a"))
    assert "wang" not in written


def test_a_contact_whose_report_another_account_keeps_stays_until_that_one_goes(
    app: Flask, visitor: Visitor, sessions: sessionmaker[Session], settings: Settings, now: datetime
) -> None:
    follow = send_report(app)
    sign_up(visitor, sessions, settings)
    with transaction(sessions) as session:
        (report_id,) = session.execute(text("SELECT id FROM report")).scalars()
        contacts.keep(session, report_id, Contact(EMAIL, None, True, False), settings=settings, now=now)
        first = session.execute(text("SELECT id FROM person WHERE email = :email"), {"email": EMAIL}).scalar_one()
        command = CreatePerson("li@example.org", PASSWORD, "citizen")
        second = create_person(session, command, actor=Actor.anonymous(), now=now).id
        for person_id in (first, second):
            service.keep(session, person_id, follow.rpartition("/")[2], now=now)
    for person_id, left in ((first, 1), (second, 0)):
        with transaction(sessions) as session:
            service.delete_account(session, person_id, now=now)
        assert rows(sessions, "SELECT count(*) FROM report_contact") == [(left,)]


def test_staff_are_not_deleted_by_themselves(visitor: Visitor, people: dict[str, DemoPerson]) -> None:
    visitor.sign_in(people["moderator"])
    assert visitor.post("/my/delete", {"password": people["moderator"].password}).status_code == 403
