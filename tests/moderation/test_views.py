"""The desk over HTTP: who may, what is shown, what bad input is answered, how many questions it asks the database."""

import re
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import IN_WUHAN
from tests.moderation.rows import add_river, add_waiting, count, state_of
from tests.web.site import Visitor, counting, running
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

People = dict[str, DemoPerson]


@pytest.fixture
def report_id(sessions: sessionmaker[Session]) -> uuid.UUID:
    """A report that waits, by a river."""
    with transaction(sessions) as session:
        return add_waiting(
            session,
            add_river(session, "长江"),
            now=utc_now(),
            note="<script>alert(1)</script> 味道很大",
            place_words="过了<b>铁路桥</b>",
        )


@pytest.fixture
def desk(visitor: Visitor, people: People) -> Visitor:
    """A moderator at the desk."""
    visitor.sign_in(people["moderator"])
    return visitor


def form(**changes: str) -> dict[str, str]:
    return {"kind": "sewage_outfall", "severity": "1"} | changes


@pytest.mark.parametrize(
    ("who", "status"), [(None, 302), ("officer", 403), ("admin", 403), ("moderator", 200), ("lead", 200)]
)
def test_the_desk_is_for_moderators(
    visitor: Visitor, people: People, report_id: uuid.UUID, who: str | None, status: int
) -> None:
    if who:
        visitor.sign_in(people[who])
    assert visitor.get("/desk/").status_code == status
    assert visitor.get(f"/desk/{report_id}").status_code == status
    if status != 200:
        answers = [
            visitor.post(f"/desk/{path}", form(), page="/report").status_code
            for path in ("next", f"{report_id}/grade", f"{report_id}/refuse", f"{report_id}/release")
        ]
        assert set(answers) == {status}


def test_a_password_alone_opens_no_desk(visitor: Visitor, people: People, report_id: uuid.UUID) -> None:
    visitor.give_password(people["moderator"])
    assert visitor.get(f"/desk/{report_id}").status_code == 302


def test_from_queue_to_grade(desk: Visitor, report_id: uuid.UUID, sessions: sessionmaker[Session]) -> None:
    taken = desk.post("/desk/next", page="/desk/")
    assert taken.location == f"/desk/{report_id}"
    page = desk.get(taken.location).text
    assert "长江" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; 味道很大" in page
    assert "过了&lt;b&gt;铁路桥&lt;/b&gt;" in page
    graded = desk.post(f"/desk/{report_id}/grade", form(), page=taken.location)
    assert (graded.status_code, graded.location) == (303, "/desk/")
    with transaction(sessions) as session:
        assert state_of(session, "report", report_id) == "accepted"
        assert count(session, "incident") == 1
    assert "已受理并评级" in desk.get("/desk/").text


def test_the_desk_tells_nothing_of_who_reported(desk: Visitor, report_id: uuid.UUID) -> None:
    """The exact place is for the desk; links, keys and addresses are for nobody."""
    page = desk.get(f"/desk/{report_id}").text + desk.get("/desk/").text
    for secret in ("idempotency", "follow", "/f/", "127.0.0.1"):
        assert secret not in page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"severity": ""}, "请选择一项"),
        ({"severity": "5"}, "请从列表里选择"),
        ({"severity": "-1"}, "请从列表里选择"),
        ({"severity": "４"}, "请从列表里选择"),
        ({"kind": "dragon"}, "请从列表里选择"),
        ({"extent": "\x00"}, "请从列表里选择"),
        ({"receptor": "x" * 9000}, "请从列表里选择"),
        ({"water_feature_id": "1 OR 1=1"}, "请从列表里选择"),
        ({"join_incident_id": "../.."}, "请从列表里选择"),
        ({"departure_reason": "很" * 501}, "最多 500 个字"),
        ({"severity": "4"}, "请写明理由"),
        ({"severity": "4", "departure_reason": "\u202e\u200b\x00 "}, "请写明理由"),
    ],
)
def test_a_faulty_grade_comes_back_with_words_and_changes_nothing(
    desk: Visitor, report_id: uuid.UUID, sessions: sessionmaker[Session], fields: dict[str, str], words: str
) -> None:
    typed = form(**{"departure_reason": "写了很久的理由", **fields})
    if fields == {"severity": "4"}:
        typed["departure_reason"] = ""
    response = desk.post(f"/desk/{report_id}/grade", typed, page=f"/desk/{report_id}")
    assert response.status_code == 400
    assert words in response.text
    if typed["departure_reason"] == "写了很久的理由":
        assert "写了很久的理由" in response.text
    with transaction(sessions) as session:
        assert (state_of(session, "report", report_id), count(session, "incident")) == ("in_review", 0)


def test_a_refusal_without_a_reason_comes_back(desk: Visitor, report_id: uuid.UUID) -> None:
    page = f"/desk/{report_id}"
    for fields in ({}, {"code": "whatever"}, {"code": "unclear", "words": "很" * 501}):
        assert desk.post(f"{page}/refuse", fields, page=page).status_code == 400
    assert desk.post(f"{page}/refuse", {"code": "unclear", "words": "请再拍一张"}, page=page).status_code == 303


def test_a_report_nobody_knows_and_a_picture_nobody_may_see_are_not_found(desk: Visitor) -> None:
    nobody = uuid.uuid4()
    assert desk.get(f"/desk/{nobody}").status_code == 404
    assert desk.post(f"/desk/{nobody}/grade", form(), page="/desk/").status_code == 404
    assert desk.post(f"/desk/{nobody}/refuse", {"code": "unclear"}, page="/desk/").status_code == 404
    assert desk.post(f"/desk/incident/{nobody}/second", page="/desk/").status_code == 404
    assert desk.get(f"/desk/photo/{nobody}/1024").status_code == 404


def test_the_second_to_open_a_report_reads_that_it_is_taken(
    app: Flask, desk: Visitor, people: People, report_id: uuid.UUID
) -> None:
    assert desk.get(f"/desk/{report_id}").status_code == 200
    second = Visitor(app.test_client())
    second.sign_in(people["second"])
    page = second.get(f"/desk/{report_id}").text
    assert "另一位审核员正在处理这一条" in page
    assert re.search(r'data-key="g"[^>]* disabled', page)
    refused = second.post(f"/desk/{report_id}/grade", form(), page=f"/desk/{report_id}")
    assert (refused.status_code, "另一位审核员正在处理这一条" in refused.text) == (409, True)


def test_looking_at_what_is_decided_takes_it_from_nobody(
    desk: Visitor, report_id: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    desk.post(f"/desk/{report_id}/grade", form(), page=f"/desk/{report_id}")
    assert "已经处理过" in desk.get(f"/desk/{report_id}").text
    with transaction(sessions) as session:
        assert count(session, "review_item", "leased_by IS NOT NULL") == 0


def test_the_number_of_questions_does_not_grow_with_the_queue(
    app: Flask, desk: Visitor, report_id: uuid.UUID, sessions: sessionmaker[Session]
) -> None:
    def cost(path: str) -> int:
        with counting(app) as sent:
            assert desk.get(path).status_code == 200
        return len(sent)

    paths = ("/desk/", f"/desk/{report_id}")
    before = [cost(path) for path in paths]
    with transaction(sessions) as session:
        river = add_river(session, "汉江", lat=IN_WUHAN[1] + 0.05)
        for number in range(30):
            add_waiting(session, river, now=utc_now() - timedelta(minutes=number))
    assert [cost(path) for path in paths] == before
    assert max(before) <= 21, before  # five of them say who is asking: session, person, roles


def test_a_wait_is_counted_from_the_oldest(desk: Visitor, sessions: sessionmaker[Session]) -> None:
    now: datetime = utc_now()
    with transaction(sessions) as session:
        river = add_river(session, "长江")
        for minutes in (3, 185, 20):
            add_waiting(session, river, now=now, minutes_old=minutes)
    assert "3小时" in desk.get("/desk/").text


def test_the_desk_works_while_redis_is_away(
    make_settings: Callable[..., Settings], database_url: str, people: People, report_id: uuid.UUID
) -> None:
    with running(make_settings(database_url=database_url)) as app:
        visitor = Visitor(app.test_client())
        visitor.sign_in(people["moderator"])
        assert visitor.post(f"/desk/{report_id}/grade", form(), page=f"/desk/{report_id}").status_code == 303
