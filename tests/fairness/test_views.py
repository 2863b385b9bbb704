"""Blind judgements, training and the lead's page over HTTP: who may, what is shown, and what never is."""

import re
import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.moderation.rows import add_moderator, add_river, add_waiting, count, grading, judgement
from tests.web.site import Visitor, counting
from waterwatch.accounts.service import DemoPerson
from waterwatch.fairness import service
from waterwatch.fairness.service import Answer
from waterwatch.incidents.rules import RubricInputs, Severity
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import service as moderation

People = dict[str, DemoPerson]
SEWAGE = RubricInputs("sewage_outfall")


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    return make_settings(
        database_url=database_url, redis_url=redis_url, login_rate_limit="1000/minute", blind_share=1.0
    )


@pytest.fixture
def graded(sessions: sessionmaker[Session], settings: Settings) -> tuple[uuid.UUID, Incident]:
    """A report that somebody else has graded orange, against the rubric, and its incident."""
    now = utc_now() - timedelta(minutes=5)
    with transaction(sessions) as session:
        first = add_moderator(session, "anna", now=now)
        report_id = add_waiting(session, add_river(session, "长江"), now=now, note="味道很大")
        command = grading(report_id, judgement=judgement(severity=Severity.MAJOR))
        return report_id, moderation.grade_report(session, command, settings=settings, actor=first, now=now)


def blind_page(visitor: Visitor) -> str:
    taken = visitor.post("/desk/blind/next", page="/desk/blind/")
    assert taken.status_code == 303
    return str(taken.location)


@pytest.mark.parametrize(
    ("who", "desk", "lead"), [(None, 302, 302), ("officer", 403, 403), ("moderator", 200, 403), ("lead", 200, 200)]
)
def test_judging_is_for_moderators_and_comparing_for_their_lead(
    visitor: Visitor, people: People, who: str | None, desk: int, lead: int
) -> None:
    if who:
        visitor.sign_in(people[who])
    assert [visitor.get(path).status_code for path in ("/desk/blind/", "/desk/training/")] == [desk, desk]
    assert visitor.get("/desk/fairness/").status_code == lead
    if lead != 200:
        for path in ("cases", f"cases/{uuid.uuid4()}/retire"):
            assert visitor.post(f"/desk/fairness/{path}", page="/report").status_code == lead


def test_a_blind_page_shows_the_report_and_nothing_of_what_became_of_it(
    visitor: Visitor, people: People, graded: tuple[uuid.UUID, Incident], sessions: sessionmaker[Session]
) -> None:
    report_id, incident = graded
    visitor.sign_in(people["moderator"])
    assert "1</span> 条等你盲评" in visitor.get("/desk/blind/").text
    page = visitor.get(blind_page(visitor)).text
    assert "味道很大" in page
    with transaction(sessions) as session:
        code = session.execute(text("SELECT code FROM report")).scalar_one()
    for secret in (str(report_id), code, incident.code, str(incident.id), "anna", "看到的比表上更严重", "已受理"):
        assert secret not in page
    assert re.search(r'name="outcome"[^>]* checked', page) is None  # nothing is chosen beforehand


def test_from_the_queue_of_the_blind_to_a_pair(
    visitor: Visitor, people: People, graded: tuple[uuid.UUID, Incident], sessions: sessionmaker[Session]
) -> None:
    visitor.sign_in(people["moderator"])
    path = blind_page(visitor)
    for fields, words in (
        ({}, "请选择一项"),
        ({"outcome": "9", "kind": "foam"}, "请从列表里选择"),
        ({"outcome": "4", "kind": "dragon"}, "请从列表里选择"),
        ({"outcome": "4", "kind": "foam"}, "请写明理由"),
        ({"outcome": "4", "kind": "foam", "departure_reason": "x" * 501}, "请写短一些"),
    ):
        answer = visitor.post(path, fields)
        assert (answer.status_code, words in answer.text) == (400, True)
    sent = visitor.post(path, {"outcome": "1", "kind": "sewage_outfall"})
    assert (sent.status_code, sent.location) == (303, "/desk/blind/")
    assert "已记下你的盲评" in visitor.get("/desk/blind/").text
    assert visitor.get(path).status_code == 409
    with transaction(sessions) as session:
        row = session.execute(text("SELECT first_outcome, second_outcome FROM blind_review")).one()
        assert tuple(row) == (3, 1)
        assert count(session, "grade") == 1
    taken = visitor.post("/desk/blind/next", page="/desk/blind/")
    assert taken.location == "/desk/blind/"


def test_nobody_opens_what_another_holds(
    app: Flask, visitor: Visitor, people: People, graded: tuple[uuid.UUID, Incident]
) -> None:
    visitor.sign_in(people["moderator"])
    path = blind_page(visitor)
    other = Visitor(app.test_client())
    other.sign_in(people["lead"])
    assert other.get(path).status_code == 409
    assert other.post(path, {"outcome": "0"}, page="/desk/blind/").status_code == 409


def judged_twice(session: Session, settings: Settings, outcomes: list[tuple[int, int]]) -> None:
    now = utc_now() - timedelta(hours=1)
    river = add_river(session, "长江")
    first, second = (add_moderator(session, name, now=now) for name in ("wang", "li"))
    for one, other in outcomes:
        report_id = add_waiting(session, river, now=now)
        if one == 0:
            moderation.refuse_report(session, report_id, "unclear", None, settings=settings, actor=first, now=now)
        else:
            command = grading(report_id, judgement=judgement(severity=Severity(one)))
            moderation.grade_report(session, command, settings=settings, actor=first, now=now)
        assert second.id is not None
        held = service.claim(session, second.id, settings=settings, now=now)
        assert held is not None
        answer = Answer(other, SEWAGE if other else None, "另有看法" if other > 1 else None)
        service.record_second(session, held, answer, actor=second, now=now)


OUTCOMES = [(1, 1), (2, 2), (3, 3), (4, 4), (0, 0), (1, 2), (2, 1), (3, 4), (4, 0), (2, 2), (1, 1), (3, 2)]


def test_the_lead_sees_how_alike_they_judge_and_what_to_talk_about(
    app: Flask, visitor: Visitor, people: People, sessions: sessionmaker[Session], settings: Settings
) -> None:
    visitor.sign_in(people["lead"])
    assert "还没有评过两次的上报" in visitor.get("/desk/fairness/").text
    with transaction(sessions) as session:
        judged_twice(session, settings, OUTCOMES)
    with counting(app) as sent:
        page = visitor.get("/desk/fairness/").text
    # scikit-learn's cohen_kappa_score of these twelve pairs.
    for words in ("li@example.org · wang@example.org", "0.48", "0.53", "12 对", "污水直排", 'role="img"'):
        assert words in page
    moderators = page[page.index('id="moderators"') :]
    assert moderators.index("li@example.org</th>") < moderators.index("wang@example.org</th>")
    examples = page[page.index('id="examples"') : page.index('id="training"')]
    assert examples.count("/desk/0") == 5  # those that differ, most first
    assert re.search(r"红色·特别重大.*?退回", examples, re.DOTALL)
    assert len(sent) <= 14


def test_of_few_the_page_says_that_they_are_too_few(
    visitor: Visitor, people: People, sessions: sessionmaker[Session], settings: Settings
) -> None:
    with transaction(sessions) as session:
        judged_twice(session, settings, OUTCOMES[:3])
    visitor.sign_in(people["lead"])
    assert visitor.get("/desk/fairness/").text.count("太少，说不准") >= 9


def test_a_case_is_added_trained_by_and_retired(
    app: Flask,
    visitor: Visitor,
    people: People,
    graded: tuple[uuid.UUID, Incident],
    sessions: sessionmaker[Session],
) -> None:
    visitor.sign_in(people["lead"])
    with transaction(sessions) as session:
        code = session.execute(text("SELECT code FROM report")).scalar_one()
    form = {"code": code.lower(), "outcome": "2", "explanation": "排口在出水，水面发黑"}
    for changes, words in (
        ({"code": ""}, "请选择一项"),
        ({"code": "AAAA-AAAA"}, "没有这个编号的上报"),
        ({"outcome": ""}, "请选择一项"),
        ({"explanation": "是"}, "请写明为什么"),
    ):
        answer = visitor.post("/desk/fairness/cases", form | changes, page="/desk/fairness/")
        assert (answer.status_code, words in answer.text) == (400, True)
    added = visitor.post("/desk/fairness/cases", form, page="/desk/fairness/")
    assert (added.status_code, added.location) == (303, "/desk/fairness/#training")

    learner = Visitor(app.test_client())
    learner.sign_in(people["moderator"])
    opened = learner.get("/desk/training/")
    assert opened.status_code == 302
    page = learner.get(opened.location).text
    assert ("水面发黑" in page, "参考答案</h2>" in page) == (False, False)
    assert learner.post(opened.location, {"outcome": "3", "kind": "sewage_outfall"}).status_code == 303
    page = learner.get(opened.location).text
    for words in ("排口在出水，水面发黑", "黄色·较大", "橙色·重大", "评分表 3 分", "看结果"):
        assert words in page
    learner.post(opened.location, {"outcome": "2", "kind": "sewage_outfall"}, page="/desk/blind/")
    with transaction(sessions) as session:
        assert session.execute(text("SELECT outcome FROM calibration_answer")).scalars().all() == [3]
    summary = learner.get("/desk/training/").text
    assert "太少，说不准" in summary

    lead = visitor.get("/desk/fairness/").text
    assert ("moderator@" in lead, "1 人答过" in lead) == (True, True)
    retire = re.search(r"/desk/fairness/cases/[0-9a-f-]+/retire", lead)
    assert retire is not None
    assert visitor.post(retire[0], page="/desk/fairness/").status_code == 303
    assert "已停用" in visitor.get("/desk/fairness/").text


def test_a_report_that_was_not_decided_is_nothing_to_train_by(
    visitor: Visitor, people: People, sessions: sessionmaker[Session]
) -> None:
    with transaction(sessions) as session:
        add_waiting(session, add_river(session, "长江"), now=utc_now())
        code = session.execute(text("SELECT code FROM report")).scalar_one()
    visitor.sign_in(people["lead"])
    form = {"code": code, "outcome": "2", "explanation": "因为水面发黑"}
    answer = visitor.post("/desk/fairness/cases", form, page="/desk/fairness/")
    assert (answer.status_code, "只有已经受理或退回" in answer.text) == (400, True)


def test_the_desk_leads_to_all_three(visitor: Visitor, people: People) -> None:
    visitor.sign_in(people["lead"])
    page = visitor.get("/desk/").text
    for path in ("/desk/blind/", "/desk/training/", "/desk/fairness/"):
        assert f'href="{path}"' in page


def test_pictures_of_dead_animals_are_blurred_for_who_judges_blind(
    visitor: Visitor, people: People, graded: tuple[uuid.UUID, Incident], sessions: sessionmaker[Session]
) -> None:
    visitor.sign_in(people["moderator"])
    page = blind_page(visitor)
    assert "data-reveal" not in visitor.get(page).text
    with transaction(sessions) as session:
        session.execute(text("UPDATE report SET has_dead_animals = true"))
    assert "data-reveal" in visitor.get(page).text
