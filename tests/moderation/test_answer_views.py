"""What a department wrote: a lead reads it first, then the public does, and whoever reported it is asked to look."""

import html
import re
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.casework.rows import add_tree, case_of, escalate, hand_over
from tests.casework.test_service import received
from tests.escalation.rows import add_incident, add_photo, add_report, insert
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.casework import pressing, service
from waterwatch.casework.service import Answer
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings

WORDS = "已派员核查。\n<script>alert(1)</script> 见 https://evil.example/"


class Told:
    """An incident whose one case was handed over and answered with a picture."""

    def __init__(self, session: Session, settings: Settings, folder: Path, *, is_done: bool = False) -> None:
        self.now = utc_now() - timedelta(hours=1)
        self.incident_id = add_incident(session, now=self.now)
        county, *_above = add_tree(session)
        escalate(session, self.incident_id, settings, self.now)
        case = case_of(session, self.incident_id, county)
        hand_over(session, case, settings, self.now)
        self.case_id = case.id
        photo = received()
        said = Answer(WORDS, planned_on=(utc_now() + timedelta(days=30)).date(), photos=(photo,))
        act = service.report_done if is_done else service.answer
        officer = Actor.agency_link(county)
        self.answer_id = act(session, case.id, said, settings=settings, actor=officer, now=utc_now())
        code = session.execute(text("SELECT code FROM incident WHERE id = :id"), {"id": self.incident_id})
        self.code = str(code.scalar_one())
        self._ready(session, photo.photo_id, settings, folder)

    def _ready(self, session: Session, photo_id: uuid.UUID, settings: Settings, folder: Path) -> None:
        """As if the picture had been made safe: that of another photo is put in its place."""
        report_id = add_report(session, self.incident_id, now=self.now)
        add_photo(session, report_id, ObjectStore(settings.objects_url), folder, now=self.now)
        session.execute(
            text("UPDATE photo SET state = 'ready', media_type = 'image/jpeg' WHERE id = :id"), {"id": photo_id}
        )
        session.execute(
            text("UPDATE photo_derivative SET photo_id = :id WHERE photo_id IN (SELECT photo_id FROM report_photo)"),
            {"id": photo_id},
        )
        session.execute(text("DELETE FROM report_photo"))


@pytest.fixture
def told(sessions: sessionmaker[Session], settings: Settings, tmp_path: Path) -> Told:
    with transaction(sessions) as session:
        return Told(session, settings, tmp_path)


@pytest.fixture
def done(sessions: sessionmaker[Session], settings: Settings, tmp_path: Path) -> Told:
    with transaction(sessions) as session:
        return Told(session, settings, tmp_path, is_done=True)


def test_nobody_reads_an_answer_before_the_lead_and_then_everybody_does(
    visitor: Visitor, people: dict[str, DemoPerson], told: Told
) -> None:
    page = visitor.get(f"/i/{told.code}").text
    assert "已派员核查" not in page
    assert "部门已经答复，核对后在这里公开。" in page
    assert visitor.get(f"/i/{told.code}/answer/1/1/1024").status_code == 404
    visitor.sign_in(people["lead"])
    held = visitor.get("/desk/answers").text
    assert html.escape("<script>alert(1)</script>") in held
    assert visitor.get(f"/desk/answers/{told.answer_id}/photo/1/1024").status_code == 200
    sent = visitor.post(f"/desk/answers/{told.answer_id}/publish", page="/desk/answers")
    assert (sent.status_code, sent.location) == (303, "/desk/answers")
    page = visitor.get(f"/i/{told.code}").text
    assert "已派员核查。\n" + html.escape("<script>alert(1)</script>") in page
    assert 'href="https://evil.example' not in page
    assert "区局ecology_environment" in page
    assert "计划完成" in page
    assert visitor.get(f"/i/{told.code}/answer/1/1/1024").mimetype == "image/jpeg"
    assert visitor.get(f"/i/{told.code}/answer/2/1/1024").status_code == 404


def test_a_lead_sees_which_incidents_a_reply_to_a_digest_may_be_of(
    visitor: Visitor, people: dict[str, DemoPerson], sessions: sessionmaker[Session], told: Told
) -> None:
    digest_id = new_id()
    with transaction(sessions) as session:
        other = add_incident(session, now=told.now)
        agency_id = session.execute(
            text("SELECT agency_id FROM escalation_case WHERE id = :id"), {"id": told.case_id}
        ).scalar_one()
        insert(session, "digest", id=digest_id, agency_id=agency_id, message_id="<d@x>", created_at=told.now)
        case_id = insert(session, "escalation_case", incident_id=other, agency_id=agency_id, state="delivered",
                         state_since=told.now, severity=3, created_at=told.now)  # fmt: skip
        insert(session, "delivery", case_id=case_id, channel="email", address="a@x.example", message_id="<e@x>",
               severity=3, state="sent", sent_at=told.now, state_since=told.now, created_at=told.now)  # fmt: skip
        session.execute(text("UPDATE delivery SET digest_id = :id WHERE case_id = ANY(:cases)"),
                        {"id": digest_id, "cases": [told.case_id, case_id]})  # fmt: skip
        codes = session.execute(text("SELECT code FROM incident ORDER BY code")).scalars().all()
    visitor.sign_in(people["lead"])
    assert "合并信" not in visitor.get("/desk/answers").text
    with transaction(sessions) as session:
        session.execute(text("UPDATE case_answer SET digest_id = :id"), {"id": digest_id})
    page = visitor.get("/desk/answers").text
    assert "这封信回复的是一封列了 2 起事件的合并信，不一定说的是这一起" in page
    assert [code for code in codes if f'href="/i/{code}"' in page] == codes


def test_a_reply_to_a_warning_cannot_be_published_whatever_was_done_with_it(
    visitor: Visitor, people: dict[str, DemoPerson], sessions: sessionmaker[Session], told: Told
) -> None:
    with transaction(sessions) as session:
        session.execute(text("UPDATE escalation_case SET role = 'downstream'"))
    visitor.sign_in(people["lead"])
    reply = f"/desk/answers/{told.answer_id}"
    assert f'action="{reply}/publish"' not in visitor.get("/desk/answers").text
    assert visitor.post(f"{reply}/withhold", {"reason": "other"}, page="/desk/answers").status_code == 303
    page = visitor.get("/desk/answers").text
    assert "已派员核查" in page
    assert f'action="{reply}/publish"' not in page
    refused = visitor.post(f"{reply}/publish", page="/desk/answers")
    assert refused.status_code == 409
    assert "不能公开" in refused.text
    assert "已派员核查" not in visitor.get(f"/i/{told.code}").text


def test_what_is_withheld_for_a_reason_is_nowhere(visitor: Visitor, people: dict[str, DemoPerson], told: Told) -> None:
    visitor.sign_in(people["lead"])
    assert '部门的答复 <span class="tag tag-care">1</span>' in visitor.get("/desk/").text
    address = f"/desk/answers/{told.answer_id}/withhold"
    visitor.post(address, page="/desk/answers")
    assert "请选择不公开的理由。" in visitor.get("/desk/answers").text
    visitor.post(address, {"reason": "personal_data"}, page="/desk/answers")
    page = visitor.get("/desk/answers").text
    assert "没有等待核对的答复" in page
    assert "写了个人信息" in page
    assert "已派员核查" not in visitor.get(f"/i/{told.code}").text
    assert visitor.get(f"/i/{told.code}/answer/1/1/1024").status_code == 404


def test_once_it_is_said_to_be_done_everybody_is_asked_to_look(
    visitor: Visitor, people: dict[str, DemoPerson], done: Told
) -> None:
    visitor.sign_in(people["lead"])
    visitor.post(f"/desk/answers/{done.answer_id}/publish", page="/desk/answers")
    page = visitor.get(f"/i/{done.code}").text
    assert "部门称已解决，待公众核实" in page
    assert "水真的干净了吗" in page
    (clean,) = re.findall(r'href="(/report\?kind=all_clear[^"]*)"', page)
    form = visitor.get(html.unescape(clean)).text
    assert f'name="same_as" value="{done.code}"' in form
    assert re.search(r'name="kind" value="all_clear" checked', form)


def test_a_link_to_the_form_says_no_more_than_a_kind_and_a_code(visitor: Visitor) -> None:
    form = visitor.get('/report?kind="><script>&same_as=<b>&lon=1').text
    assert "<script>&" not in form
    assert 'name="same_as" value=""' in form


def test_who_is_late_is_said_in_public_and_listed_where_nobody_is_left_to_tell(
    visitor: Visitor,
    people: dict[str, DemoPerson],
    sessions: sessionmaker[Session],
    settings: Settings,
) -> None:
    with transaction(sessions) as session:
        begun = utc_now() - timedelta(days=3)
        incident_id = add_incident(session, now=begun)
        *_below, province = add_tree(session)
        session.execute(text("UPDATE competence SET min_severity = 4 WHERE agency_id <> :id"), {"id": province})
        escalate(session, incident_id, settings, begun)
        case = case_of(session, incident_id, province)
        hand_over(session, case, settings, begun)
        pressing.escalate_overdue(session, case.id, settings=settings, actor=Actor.system("sweep"), now=utc_now())
        code = str(session.execute(text("SELECT code FROM incident")).scalar_one())
    page = visitor.get(f"/i/{code}").text
    assert "逾期" in page
    assert "部门逾期" in page
    visitor.sign_in(people["lead"])
    listed = visitor.get("/desk/answers").text
    assert "没有上级可以再告知" in listed
    assert code in listed


def test_the_page_of_answers_is_for_leads(visitor: Visitor, people: dict[str, DemoPerson], now: datetime) -> None:
    visitor.sign_in(people["moderator"])
    assert visitor.get("/desk/answers").status_code == 403
    assert "/desk/answers" not in visitor.get("/desk/").text
