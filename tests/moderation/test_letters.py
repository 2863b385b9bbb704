"""The lead's letters on paper: listed, printed, posted."""

import io
import uuid
from datetime import timedelta

import pytest
from pypdf import PdfReader
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.ways import TESTS, Told, add_way, delivery_of, tell
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.escalation import service
from waterwatch.escalation.channels import Awaiting
from waterwatch.escalation.rules import CHINA_TIME
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

HERE = "/desk/letters"
ADDRESS = "武汉市江岸区发展大道 422 号"


@pytest.fixture
def told(sessions: sessionmaker[Session], settings: Settings) -> Told:
    with transaction(sessions) as session:
        contact_id = add_way(session, "post", ADDRESS, {"addressee": "武汉市生态环境局值班室"}, settings=settings)
    return tell(sessions, contact_id, Awaiting("posting"), settings=settings, now=utc_now())


@pytest.fixture
def lead(visitor: Visitor, people: dict[str, DemoPerson]) -> Visitor:
    visitor.sign_in(people["lead"])
    return visitor


def post(lead: Visitor, told: Told, day: str) -> str:
    answer = lead.post(f"{HERE}/{told.delivery_id}/posted", {"on": day}, page=HERE)
    assert answer.status_code == 303
    return lead.get(HERE).text


def test_a_letter_is_listed_printed_and_sent_when_it_was_posted(
    lead: Visitor, told: Told, sessions: sessionmaker[Session], people: dict[str, DemoPerson]
) -> None:
    assert '纸质信函 <span class="tag tag-care">1</span>' in lead.get("/desk/").text
    page = lead.get(HERE).text
    assert ADDRESS in page
    assert told.code in page
    answer = lead.get(f"{HERE}/{told.delivery_id}/letter.pdf")
    assert answer.content_type == "application/pdf"
    assert answer.headers["Content-Disposition"].startswith(f'attachment; filename="letter-{told.code}-')
    words = PdfReader(io.BytesIO(answer.data)).pages[0].extract_text()
    assert "武汉市生态环境局值班室：" in words
    assert ADDRESS in words
    assert "http://localhost/a/" in words.replace("\n", "")
    assert delivery_of(sessions, told).state == "awaiting"
    today = utc_now().astimezone(CHINA_TIME).date()
    page = post(lead, told, today.isoformat())
    assert "没有等待寄出的信" in page
    assert "最近寄出" in page
    row = delivery_of(sessions, told)
    assert (row.state, row.case_state) == ("sent", "delivered")
    with transaction(sessions) as session:
        found = session.execute(
            text("SELECT actor_id, after FROM audit_entry WHERE action = 'delivery.posted'"), {}
        ).one()
        assert found.after == {"delivery_id": str(told.delivery_id), "posted_on": today.isoformat()}
        assert (
            found.actor_id
            == session.execute(
                text("SELECT id FROM person WHERE email = :email"), {"email": people["lead"].email}
            ).scalar_one()
        )


@pytest.mark.parametrize("days", [1, -1, None])
def test_a_day_that_cannot_be_is_not_believed(
    lead: Visitor, told: Told, sessions: sessionmaker[Session], days: int | None
) -> None:
    today = utc_now().astimezone(CHINA_TIME).date()
    page = post(lead, told, (today + timedelta(days=days)).isoformat() if days else "gestern")
    assert "请填写寄出的日期" in page
    assert delivery_of(sessions, told).state == "awaiting"


def test_one_is_posted_once(lead: Visitor, told: Told, sessions: sessionmaker[Session]) -> None:
    today = utc_now().astimezone(CHINA_TIME).date().isoformat()
    post(lead, told, today)
    assert "已经不在等待寄出" in post(lead, told, today)
    with transaction(sessions) as session:
        count = text("SELECT count(*) FROM audit_entry WHERE action = 'delivery.posted'")
        assert session.execute(count).scalar_one() == 1


def test_what_was_taken_back_before_it_was_posted_need_not_be(
    lead: Visitor, told: Told, sessions: sessionmaker[Session], settings: Settings
) -> None:
    with transaction(sessions) as session:
        service.withdraw_cases(session, told.incident_id, settings=settings, actor=TESTS, now=utc_now())
        session.execute(text("UPDATE delivery SET state = 'awaiting', awaits = 'posting' WHERE says = 'withdrawn'"))
    assert "没有等待寄出的信" in lead.get(HERE).text
    assert lead.get(f"{HERE}/{told.delivery_id}/letter.pdf").status_code == 410


def test_what_was_posted_is_followed_by_a_letter_that_takes_it_back(
    lead: Visitor, told: Told, sessions: sessionmaker[Session], settings: Settings
) -> None:
    post(lead, told, utc_now().astimezone(CHINA_TIME).date().isoformat())
    with transaction(sessions) as session:
        service.withdraw_cases(session, told.incident_id, settings=settings, actor=TESTS, now=utc_now())
        taken_back: uuid.UUID = session.execute(
            text("UPDATE delivery SET state = 'awaiting', awaits = 'posting' WHERE says = 'withdrawn' RETURNING id")
        ).scalar_one()
    assert f"{HERE}/{taken_back}/letter.pdf" in lead.get(HERE).text
    words = PdfReader(io.BytesIO(lead.get(f"{HERE}/{taken_back}/letter.pdf").data)).pages[0].extract_text()
    assert "已撤回，请不必再处理" in words


def test_only_letters_on_paper_are_printed(lead: Visitor, sessions: sessionmaker[Session], settings: Settings) -> None:
    with transaction(sessions) as session:
        contact_id = add_way(session, "cap_feed", "值班室", settings=settings)
    other = tell(sessions, contact_id, Awaiting("fetch"), settings=settings, now=utc_now())
    assert lead.get(f"{HERE}/{other.delivery_id}/letter.pdf").status_code == 404
