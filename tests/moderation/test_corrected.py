"""A judgement is passed on what was seen, and the author's contact is the lead's alone to ask for."""

import uuid
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.moderation.rows import add_river, add_waiting, state_of
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.contacts import service as contacts
from waterwatch.contacts.rules import Contact
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

People = dict[str, DemoPerson]
WANG = Contact("wang@example.org", "138 0013 8000", by_mail=True, may_ask=False)


@pytest.fixture
def report_id(sessions: sessionmaker[Session], settings: Settings) -> uuid.UUID:
    """A report that waits, whose author left a contact."""
    with transaction(sessions) as session:
        waiting = add_waiting(session, add_river(session, "长江"), now=utc_now(), note="原来的话")
        contacts.keep(session, waiting, WANG, settings=settings, now=utc_now())
        return waiting


def judge(desk: Visitor, report_id: uuid.UUID, path: str, version: str) -> Any:
    fields = {"kind": "sewage_outfall", "severity": "1", "code": "unclear", "version": version}
    return desk.post(f"/desk/{report_id}/{path}", fields, page=f"/desk/{report_id}")


@pytest.mark.parametrize("path", ["grade", "refuse"])
def test_what_was_corrected_meanwhile_is_shown_before_it_is_judged(
    visitor: Visitor, people: People, report_id: uuid.UUID, sessions: sessionmaker[Session], path: str
) -> None:
    visitor.sign_in(people["moderator"])
    assert 'name="version" value="1"' in visitor.get(f"/desk/{report_id}").text
    with transaction(sessions) as session:
        session.execute(text("UPDATE report SET version = 2, note = '改过的话', corrected_at = now()"))
    answer = judge(visitor, report_id, path, "1")
    assert answer.status_code == 409
    assert "上报人修改了它" in answer.text
    assert "改过的话" in answer.text
    assert 'name="version" value="2"' in answer.text
    with transaction(sessions) as session:
        assert state_of(session, "report", report_id) == "in_review"
    assert judge(visitor, report_id, path, "2").status_code == 303


def test_a_patrol_that_was_corrected_is_looked_at_again(
    visitor: Visitor, people: People, report_id: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    visitor.sign_in(people["moderator"])
    with transaction(sessions) as session:
        session.execute(text("UPDATE report SET version = 2, kind = 'all_clear'"))
    assert judge(visitor, report_id, "patrol", "1").status_code == 409
    assert judge(visitor, report_id, "patrol", "2").status_code == 303


def test_only_the_lead_learns_that_there_is_a_contact(app: Flask, people: People, report_id: uuid.UUID) -> None:
    for who, status in (("moderator", 403), ("admin", 403), ("officer", 403), (None, 302)):
        visitor = Visitor(app.test_client())
        if who:
            visitor.sign_in(people[who])
        page = visitor.get(f"/desk/{report_id}")
        assert "联系方式" not in page.text
        answer = visitor.post(f"/desk/{report_id}/contact", {"reason": "legal_demand"}, page="/report")
        assert answer.status_code == status


def test_the_lead_sees_it_once_for_a_reason(
    visitor: Visitor, people: People, report_id: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    visitor.sign_in(people["lead"])
    page = visitor.get(f"/desk/{report_id}").text
    assert "上报人留了联系方式" in page
    assert "wang" not in page
    path = f"/desk/{report_id}/contact"
    assert [visitor.post(path, {"reason": reason}, page="/report").status_code for reason in ("", "ask_author")] == [
        400,
        403,
    ]
    shown = visitor.post(path, {"reason": "people_in_danger"}, page="/report")
    assert "wang@example.org" in shown.text
    assert "138 0013 8000" in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    assert visitor.get(path).status_code == 405
    with transaction(sessions) as session:
        statement = text("SELECT after FROM audit_entry WHERE action = 'contact.shown'")
        assert session.execute(statement).scalars().all() == [{"reason": "people_in_danger"}]
