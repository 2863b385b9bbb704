"""The screening list over HTTP: who may, what it shows, that nothing happens before it was said, and to whom."""

import uuid
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.duplicates.rows import add_photo, add_report
from tests.moderation.rows import add_waiting, count, state_of
from tests.web.site import Visitor, counting
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.screening import queries
from waterwatch.triage.service import weigh

People = dict[str, DemoPerson]
Sessions = sessionmaker[Session]
PAGE = "/desk/screening"


@pytest.fixture
def desk(visitor: Visitor, people: People) -> Visitor:
    """A moderator at the desk."""
    visitor.sign_in(people["moderator"])
    return visitor


def add_screened(sessions: Sessions, number: int = 1, **facts: bool) -> list[uuid.UUID]:
    """Reports that wait to be screened, the oldest first, each with a picture."""
    with transaction(sessions) as session:
        ids = [
            add_report(
                session,
                None,
                now=utc_now(),
                photos=[add_photo(session, now=utc_now())],
                minutes_old=number - n,
                needs_screening=True,
                **facts,
            )
            for n in range(number)
        ]
        for report_id in ids:
            weigh(session, report_id)
        return ids


def post(desk: Visitor, path: str, ids: list[uuid.UUID], **fields: str) -> str:
    """Send the form with these reports chosen; the answer's status and text in one line."""
    data = {"csrf_token": desk.token("/report"), "report": [str(one) for one in ids]} | fields
    answer = desk.client.post(f"{PAGE}/{path}", data=data)
    return f"{answer.status_code} {answer.text}"


def needs_screening(sessions: Sessions, report_id: uuid.UUID) -> bool:
    with transaction(sessions) as session:
        statement = text("SELECT needs_screening FROM report WHERE id = :id")
        return bool(session.execute(statement, {"id": report_id}).scalar_one())


@pytest.mark.parametrize(
    ("who", "status"), [(None, 302), ("officer", 403), ("admin", 403), ("moderator", 200), ("lead", 200)]
)
def test_screening_is_for_moderators(
    visitor: Visitor, people: People, sessions: Sessions, who: str | None, status: int
) -> None:
    (report_id,) = add_screened(sessions)
    if who:
        visitor.sign_in(people[who])
    assert visitor.get(PAGE).status_code == status
    if status != 200:
        answers = [post(visitor, path, [report_id], decision="pass")[:3] for path in ("check", "decide")]
        assert answers == [str(status)] * 2
        assert needs_screening(sessions, report_id)


def test_a_picture_made_anew_has_another_address(desk: Visitor, sessions: Sessions) -> None:
    """A face that was covered since is not shown again from the browser's cache."""
    ids = add_screened(sessions)
    with transaction(sessions) as session:
        statement = text("SELECT photo_id, right(id::text, 12) FROM photo_derivative")
        ((photo_id, version),) = session.execute(statement).all()
    for page in (desk.get(PAGE).text, post(desk, "check", ids, decision="pass")):
        assert f'src="/desk/photo/{photo_id}/320?v={version}"' in page


def test_what_waits_to_be_screened_stays_out_of_the_order_of_the_desk(desk: Visitor, sessions: Sessions) -> None:
    (screened,) = add_screened(sessions)
    page = desk.get("/desk/").text
    assert "有 1 条在队列之外等待筛查" in page
    assert str(screened) not in page
    assert desk.post("/desk/next", page="/desk/").location == "/desk/"
    assert str(screened) in desk.get(PAGE).text


def test_without_a_flood_the_desk_says_nothing_of_screening(desk: Visitor, sessions: Sessions) -> None:
    with transaction(sessions) as session:
        add_waiting(session, None, now=utc_now())
    assert "筛查" not in desk.get("/desk/").text
    assert "没有需要筛查的上报" in desk.get(PAGE).text


def test_the_grid_has_24_at_most_the_red_flags_first_and_three_questions(
    desk: Visitor, app: Flask, sessions: Sessions
) -> None:
    add_screened(sessions, 29)
    (urgent,) = add_screened(sessions, affects_people=True)
    desk.get(PAGE)
    with counting(app) as sent:
        page = desk.get(PAGE).text
    assert len([one for one in sent if "FROM re" in one]) == 2
    assert len(sent) <= 6
    assert (page.count('name="report"'), page.count("/320")) == (24, 24)
    assert page.index(str(urgent)) < page.index('name="report"', page.index('name="report"') + 1)
    assert "最先要看的 24 条，共 30 条" in page
    assert "紧急" in page


def test_letting_pass_says_first_what_will_happen_and_then_does_it(desk: Visitor, sessions: Sessions) -> None:
    ids = add_screened(sessions, 3)
    said = post(desk, "check", ids[:2], decision="pass")
    assert said.startswith("200")
    assert "放行 2 条？" in said
    assert "将进入审核队列" in said
    assert all(needs_screening(sessions, one) for one in ids)
    assert post(desk, "decide", ids[:2], decision="pass").startswith("303")
    assert [needs_screening(sessions, one) for one in ids] == [False, False, True]
    assert "已放行 2 条" in desk.get(PAGE).text
    assert str(ids[0]) in desk.get("/desk/").text


def test_refusing_lists_the_reports_and_the_reason_before_and_tells_their_authors(
    desk: Visitor, sessions: Sessions
) -> None:
    ids = add_screened(sessions, 2)
    said = post(desk, "check", ids, decision="refuse", code="not_water")
    assert "退回 2 条？" in said
    assert "照片里看不到水体" in said
    assert all(f'name="report" value="{one}"' in said for one in ids)
    with transaction(sessions) as session:
        assert {state_of(session, "report", one) for one in ids} == {"in_review"}
    post(desk, "decide", ids, decision="refuse", code="not_water")
    with transaction(sessions) as session:
        rows = session.execute(text("SELECT state, refusal_code FROM report")).all()
        assert [tuple(row) for row in rows] == [("refused", "not_water")] * 2
        assert count(session, "audit_entry", "action = 'report.refused' AND actor_kind = 'person'") == 2


@pytest.mark.parametrize(
    ("chosen", "fields", "words"),
    [
        (0, {"decision": "pass"}, "请先勾选"),
        (1, {}, "请选择放行还是退回"),
        (1, {"decision": "burn"}, "请从列表里选择"),
        (1, {"decision": "refuse"}, "退回时请选择理由"),
        (1, {"decision": "refuse", "code": "dragon"}, "请从列表里选择"),
        (25, {"decision": "pass"}, "一次最多处理 24 条"),
    ],
)
@pytest.mark.parametrize("path", ["check", "decide"])
def test_a_faulty_form_comes_back_with_words_and_changes_nothing(
    desk: Visitor, sessions: Sessions, path: str, chosen: int, fields: dict[str, str], words: str
) -> None:
    ids = add_screened(sessions, max(1, chosen))
    answer = post(desk, path, ids[:chosen], **fields)
    assert answer.startswith("400")
    assert words in answer
    assert all(needs_screening(sessions, one) for one in ids)


@pytest.mark.parametrize("name", ["1 OR 1=1", "../..", "\x00", "é" * 500])
def test_an_id_that_is_none_is_refused(desk: Visitor, sessions: Sessions, name: str) -> None:
    add_screened(sessions)
    data = {"csrf_token": desk.token("/report"), "report": [name], "decision": "pass"}
    assert desk.client.post(f"{PAGE}/decide", data=data).status_code == 400


def test_what_another_moderator_has_decided_or_open_is_left_and_said(
    desk: Visitor, people: People, sessions: Sessions
) -> None:
    ids = add_screened(sessions, 3)
    with transaction(sessions) as session:
        lead = session.execute(text("SELECT id FROM person WHERE email LIKE 'lead%'")).scalar_one()
        session.execute(text("UPDATE report SET needs_screening = false WHERE id = :id"), {"id": ids[0]})
        session.execute(
            text("UPDATE review_item SET leased_by = :person, leased_until = :until WHERE report_id = :report"),
            {"report": ids[1], "person": lead, "until": utc_now() + timedelta(minutes=5)},
        )
    said = post(desk, "check", ids, decision="refuse", code="unclear")
    assert "退回 1 条？" in said
    assert "另外 2 条已由别人处理" in said
    post(desk, "decide", ids, decision="refuse", code="unclear")
    assert "另有 2 条已由别人处理" in desk.get(PAGE).text
    with transaction(sessions) as session:
        assert [state_of(session, "report", one) for one in ids] == ["in_review", "in_review", "refused"]


def test_a_withdrawn_report_is_not_screened(desk: Visitor, sessions: Sessions) -> None:
    (report_id,) = add_screened(sessions)
    with transaction(sessions) as session:
        session.execute(text("UPDATE report SET state = 'withdrawn'"))
        assert queries.count(session) == 0
    assert str(report_id) not in desk.get(PAGE).text


def test_the_grid_tells_nothing_of_who_reported(desk: Visitor, sessions: Sessions) -> None:
    add_screened(sessions)
    page = desk.get(PAGE).text
    for secret in ("device_digest", "newcomer", "follow", "/f/", "127.0.0.1"):
        assert secret not in page
