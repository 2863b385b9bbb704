"""The pages of the acts beside judging, and the author's side of them on the follow page."""

import re
import uuid

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.moderation.rows import add_river, add_waiting, count, state_of
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_token, token_digest

People = dict[str, DemoPerson]
FORM = {"kind": "sewage_outfall", "severity": "1"}


@pytest.fixture
def token() -> str:
    return new_token()


@pytest.fixture
def report_id(sessions: sessionmaker[Session], token: str) -> uuid.UUID:
    with transaction(sessions) as session:
        river = add_river(session, "长江")
        return add_waiting(session, river, now=utc_now(), follow_digest=token_digest(token))


@pytest.fixture
def desk(visitor: Visitor, people: People) -> Visitor:
    visitor.sign_in(people["moderator"])
    return visitor


@pytest.fixture
def lead(app: Flask, people: People) -> Visitor:
    made = Visitor(app.test_client())
    made.sign_in(people["lead"])
    return made


def state(sessions: sessionmaker[Session], table: str, row_id: uuid.UUID) -> str:
    with transaction(sessions) as session:
        return state_of(session, table, row_id)


def test_what_was_just_decided_is_undone_by_its_button(
    desk: Visitor, report_id: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    page = f"/desk/{report_id}"
    said = desk.client.post(f"{page}/grade", data=FORM | {"csrf_token": desk.token(page), "answer": "json"}).json
    assert state(sessions, "report", report_id) == "accepted"
    assert "已受理并评级" in said["said"]
    assert said["undo"] in desk.get("/desk/").text
    undone = desk.post(said["undo"], page="/desk/")
    assert (undone.status_code, undone.location) == (303, page)
    assert state(sessions, "report", report_id) == "in_review"
    assert desk.post(said["undo"], page="/desk/").status_code == 409


def test_a_question_is_answered_on_the_follow_page(
    app: Flask, desk: Visitor, report_id: uuid.UUID, token: str, sessions: sessionmaker[Session]
) -> None:
    page, author = f"/desk/{report_id}", Visitor(app.test_client())
    asked = desk.post(f"{page}/ask", {"code": "where_exactly", "words": "桥的<b>哪一侧</b>？"}, page=page)
    assert asked.status_code == 303
    shown = author.get(f"/f/{token}").text
    assert "桥的&lt;b&gt;哪一侧&lt;/b&gt;？" in shown
    assert "moderator" not in shown
    too_long = author.post(f"/f/{token}/answer", {"answer": "长" * 501}, page=f"/f/{token}")
    assert too_long.status_code == 303
    assert author.post(f"/f/{token}/answer", {"answer": "东侧第三个桥墩"}, page=f"/f/{token}").status_code == 303
    after = author.get(f"/f/{token}").text
    assert "你已经回答" in after
    assert "东侧第三个桥墩" not in after  # a follow link may be passed on
    assert "东侧第三个桥墩" in desk.get(page).text
    with transaction(sessions) as session:
        assert count(session, "review_item", "set_aside IS NULL") == 1


def test_an_appeal_is_read_by_somebody_else(
    app: Flask, desk: Visitor, people: People, report_id: uuid.UUID, token: str, sessions: sessionmaker[Session]
) -> None:
    page, author, second = f"/desk/{report_id}", Visitor(app.test_client()), Visitor(app.test_client())
    desk.post(f"{page}/refuse", {"code": "unclear", "words": "太远了"}, page=page)
    assert "请另一位审核员再看一次" in author.get(f"/f/{token}").text
    author.post(f"/f/{token}/appeal", {"words": "近看水是<i>黑</i>的"}, page=f"/f/{token}")
    assert state(sessions, "report", report_id) == "in_review"
    assert "另一位审核员会重新看" in author.get(f"/f/{token}").text
    second.sign_in(people["second"])
    shown = second.get(page).text
    for words in ("上报人对退回提出了申诉", "近看水是&lt;i&gt;黑&lt;/i&gt;的", "太远了"):
        assert words in shown
    assert people["moderator"].email not in shown
    assert desk.post(f"{page}/grade", FORM, page="/desk/").status_code == 409
    assert second.post(f"{page}/grade", FORM, page=page).status_code == 303


def test_ready_words_are_in_the_language_of_the_report(desk: Visitor, sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        report_id = add_waiting(session, add_river(session, "长江"), now=utc_now(), language="en")
    ready = re.findall(r'data-ready="([^"]+)"', desk.get(f"/desk/{report_id}").text)
    assert len(ready) == 8
    assert all(words.isascii() or "’" in words for words in ready)


def test_a_correction_is_typed_as_people_write_it(
    desk: Visitor, report_id: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    page = f"/desk/{report_id}"
    assert desk.post(f"{page}/correct", {"lon": "东经", "lat": "x"}, page=page).status_code == 400
    fields = {"kind": "foam", "lon": "114°18'30\"E", "lat": "北纬30.5930"}
    assert desk.post(f"{page}/correct", fields, page=page).status_code == 303
    with transaction(sessions) as session:
        row = session.execute(text("SELECT kind, ST_X(point) AS lon, ST_Y(point) AS lat FROM report")).one()
    assert (row.kind, round(row.lon, 6), round(row.lat, 6)) == ("foam", 114.308333, 30.593)


def test_a_batch_is_listed_before_it_is_done(
    desk: Visitor, report_id: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    chosen = {"report": str(report_id), "what": "refuse", "code": "advertisement", "words": "不收广告"}
    assert desk.post("/desk/batch/preview", {"what": "join"}, page="/desk/batch").status_code == 400
    listed = desk.post("/desk/batch/preview", chosen, page="/desk/batch")
    assert "将退回 1 条" in listed.text
    assert state(sessions, "report", report_id) == "in_review"
    stale = desk.post("/desk/batch/do", chosen | {f"version_{report_id}": "7"}, page="/desk/batch")
    assert (stale.status_code, state(sessions, "report", report_id)) == (409, "in_review")
    done = desk.post("/desk/batch/do", chosen | {f"version_{report_id}": "1"}, page="/desk/batch")
    assert (done.status_code, state(sessions, "report", report_id)) == (303, "refused")


def test_an_incident_is_regraded_split_and_joined_on_its_page(
    desk: Visitor, report_id: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    desk.post(f"/desk/{report_id}/grade", FORM, page=f"/desk/{report_id}")
    with transaction(sessions) as session:
        incident_id = session.execute(text("SELECT id FROM incident")).scalar_one()
        water = session.execute(text("SELECT water_feature_id FROM incident")).scalar_one()
        further = add_waiting(session, water, now=utc_now())
    page = f"/desk/incident/{incident_id}"
    desk.post(f"/desk/{further}/grade", FORM | {"join_incident_id": str(incident_id)}, page=f"/desk/{further}")
    assert desk.post(f"{page}/regrade", FORM | {"severity": "3"}, page=page).status_code == 400
    graver = FORM | {"severity": "3", "departure_reason": "整条河都黑了"}
    assert desk.post(f"{page}/regrade", graver, page=page).status_code == 303
    assert "整条河都黑了" in desk.get(page).text
    assert desk.post(f"{page}/split", FORM, page=page).status_code == 409
    made = desk.post(f"{page}/split", FORM | {"report": str(further)}, page=page)
    assert made.status_code == 303
    with transaction(sessions) as session:
        code = session.execute(text("SELECT code FROM incident WHERE id <> :id"), {"id": incident_id}).scalar_one()
    assert desk.post(f"{page}/absorb", {"code": "2222-2222"}, page=page).status_code == 400
    assert desk.post(f"{page}/absorb", {"code": code}, page=page).status_code == 303
    with transaction(sessions) as session:
        assert count(session, "incident", "state = 'merged'") == 1
        assert count(session, "incident_report", f"incident_id = '{incident_id}'") == 2


def test_the_lead_finds_a_decision_and_reverses_it(
    desk: Visitor, lead: Visitor, people: People, report_id: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    desk.post(f"/desk/{report_id}/refuse", {"code": "unclear"}, page=f"/desk/{report_id}")
    with transaction(sessions) as session:
        code = session.execute(text("SELECT code FROM report")).scalar_one()
        decision_id = session.execute(text("SELECT id FROM decision")).scalar_one()
    found = lead.get(f"/desk/record?code={code.lower()}").text
    assert str(decision_id) in found
    assert people["moderator"].email in found
    assert "照片看不清问题" in found
    assert str(decision_id) not in lead.get("/desk/record?action=accepted").text
    assert str(decision_id) not in lead.get("/desk/record?day=2020-01-01").text
    assert lead.get("/desk/record?person=x&day=x&page=x&action=x").status_code == 200
    lead.post(f"/desk/record/{decision_id}/reverse", {"reason": ""}, page="/desk/record")
    assert state(sessions, "report", report_id) == "refused"
    lead.post(f"/desk/record/{decision_id}/reverse", {"reason": "wrong_refusal"}, page="/desk/record")
    assert state(sessions, "report", report_id) == "in_review"
    assert "不该退回" in lead.get("/desk/record").text


def test_what_is_handed_to_the_lead_is_taken_by_nobody_else(
    app: Flask, desk: Visitor, lead: Visitor, report_id: uuid.UUID
) -> None:
    page = f"/desk/{report_id}"
    assert desk.post(f"{page}/hand", {"reason": ""}, page=page).status_code == 400
    assert desk.post(f"{page}/hand", {"reason": "threat"}, page=page).status_code == 303
    assert desk.post(f"{page}/grade", FORM, page="/desk/").status_code == 409
    assert str(report_id) in lead.get("/desk/?aside=lead").text
    assert lead.post(f"{page}/grade", FORM, page=page).status_code == 303
