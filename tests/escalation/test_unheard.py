"""An incident that reaches nobody is loud: each lead is told once, many in one mail; the public page says so."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import IN_NOWHERE, add_agency, add_incident
from tests.web.conftest import database_url, people, peopled_database, settings, visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.escalation import alarms, service
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.postbox import service as postbox

__all__ = ["database_url", "people", "peopled_database", "settings", "visitor"]
BY = Actor.system("tests")


@pytest.fixture
def escalate(
    sessions: sessionmaker[Session], settings: Settings, people: dict[str, DemoPerson]
) -> Callable[..., list[str]]:
    """Escalates so many incidents, by default where nobody may be competent; gives their codes."""

    def make(count: int, **where: object) -> list[str]:
        codes = []
        with transaction(sessions) as session:
            for _ in range(count):
                incident_id = add_incident(session, now=utc_now(), **where)  # type: ignore[arg-type]
                service.escalate(session, incident_id, settings=settings, actor=BY, now=utc_now())
                codes.append(
                    session.execute(text("SELECT code FROM incident WHERE id = :id"), {"id": incident_id}).scalar_one()
                )
        return codes

    return make


def tell(sessions: sessionmaker[Session], settings: Settings) -> list[postbox.Claim]:
    """Run the job; gives the mails that were taken and not looked at before."""
    context = JobContext(settings, sessions, ObjectStore(settings.objects_url))
    alarms.tell(context, outbox.Message(new_id(), 1, alarms.TOPIC_ALARM, {}, 1, timedelta(), None, None))
    found = []
    with transaction(sessions) as session:
        for posting_id in session.execute(text("SELECT id FROM posting WHERE state = 'pending'")).scalars().all():
            held = postbox.claim(session, posting_id, settings=settings, now=utc_now())
            assert held is not None
            found.append(held)
    return found


def test_a_hundred_incidents_nobody_is_competent_for_are_one_mail_to_each_lead(
    sessions: sessionmaker[Session], settings: Settings, escalate: Callable[..., list[str]]
) -> None:
    codes = escalate(100, at=IN_NOWHERE)
    (mail,) = tell(sessions, settings)
    assert mail.content["address"] == "lead@demo.example"
    assert "100" in mail.content["subject"]
    assert sum(code in mail.content["text"] for code in codes) == 40  # the rest is counted, and on the desk
    assert "没有部门负责这个地点的这类问题" in mail.content["text"]
    assert tell(sessions, settings) == []  # once for each


def test_what_was_taken_back_before_the_mail_is_not_told_and_can_be_later(
    sessions: sessionmaker[Session], settings: Settings, escalate: Callable[..., list[str]]
) -> None:
    (code,) = escalate(1, at=IN_NOWHERE)
    with transaction(sessions) as session:
        incident_id = session.execute(text("SELECT id FROM incident")).scalar_one()
        service.withdraw_cases(session, incident_id, settings=settings, actor=BY, now=utc_now())
    assert tell(sessions, settings) == []
    with transaction(sessions) as session:
        service.escalate(session, incident_id, settings=settings, actor=BY, now=utc_now())
    (mail,) = tell(sessions, settings)
    assert code in mail.content["html"]


def test_the_public_page_says_that_nobody_has_it_and_why(
    client: FlaskClient, sessions: sessionmaker[Session], escalate: Callable[..., list[str]]
) -> None:
    (nowhere,) = escalate(1, at=IN_NOWHERE)
    page = client.get(f"/i/{nowhere}").text
    assert "还没有任何部门收到这个事件" in page
    assert "没有登记的部门负责这个地点的这类问题" in page
    with transaction(sessions) as session:
        add_agency(session, "没有邮箱的局", [])
    (mute,) = escalate(1)
    page = client.get(f"/i/{mute}").text
    assert "负责的部门没有可用的联系方式" in page
    assert "没有邮箱的局" in page


def test_every_reason_an_alarm_may_have_is_said_in_words(
    sessions: sessionmaker[Session], settings: Settings, escalate: Callable[..., list[str]]
) -> None:
    escalate(1, at=IN_NOWHERE)
    with transaction(sessions) as session:
        case_id = session.execute(text("SELECT id FROM escalation_case")).scalar_one()
        alarms.raise_alarm(session, case_id, "all_refused", since=utc_now(), now=utc_now())
    (mail,) = tell(sessions, settings)
    assert "收到的部门都说不归自己管" in mail.content["text"]
    assert "all_refused" not in mail.content["text"] + mail.content["html"]
    raised = {"nobody_competent", "no_address", "all_refused", "every_letter_failed", "overdue", "letter_failed"}
    raised |= {"warning_no_address", "warning_failed"}
    assert set(alarms.REASON_WORDS) == raised
