"""A period from its count to its publication, with what departments say in between."""

import csv
import io
import json
import re
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.accountability.rows import add_case
from tests.bulletins.rows import context_of
from tests.casework.test_unheard import wait_until_somebody_waits
from tests.escalation.rows import add_agency
from tests.web.site import Visitor
from waterwatch.accountability import queries, service
from waterwatch.accountability.forms import WriteComment
from waterwatch.accountability.letters import PURPOSE
from waterwatch.accountability.rules import Period
from waterwatch.accounts.service import DemoPerson
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Gone, Invalid, NotFound
from waterwatch.kernel.sealing import open_value
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import sign_link
from workers import papers

DAY = datetime(2026, 2, 2, 8, tzinfo=UTC)
NOW = datetime(2026, 4, 22, 4, tzinfo=UTC)  # a Wednesday; 1 to 5 May are holidays, 9 May is worked
SYSTEM = Actor.system("tests")
PERIOD = Period.parse("2026Q1")
HOUR = timedelta(hours=1)
People = dict[str, DemoPerson]


@pytest.fixture
def agency(sessions: sessionmaker[Session]) -> uuid.UUID:
    """A department with four cases, three of them acknowledged in time, and a name that is markup and a formula."""
    with transaction(sessions) as session:
        found = add_agency(session, "=武汉<b>市</b>生态环境局", ["huanbao@example.org"])
        clocks = {"delivered_at": DAY, "acknowledge_by": DAY + 24 * HOUR, "answer_by": DAY + 7 * 24 * HOUR}
        for hours in (1, 2, 3):
            add_case(session, found, DAY, **clocks, state="acknowledged", acknowledged_at=DAY + hours * HOUR)
        add_case(session, found, DAY, **clocks)
        return found


def show(sessions: sessionmaker[Session], settings: Settings, now: datetime = NOW) -> service.Counted:
    with transaction(sessions) as session:
        return service.show_period(session, PERIOD, settings=settings, actor=SYSTEM, now=now)


def figures_id(sessions: sessionmaker[Session], agency: uuid.UUID) -> uuid.UUID:
    with transaction(sessions) as session:
        found = session.execute(
            text("SELECT id FROM period_figures WHERE agency_id = :id"), {"id": agency}
        ).scalar_one()
    return uuid.UUID(str(found))


def publish(sessions: sessionmaker[Session], now: datetime) -> int:
    with transaction(sessions) as session:
        return service.publish_due(session, actor=SYSTEM, now=now)


def code_of(sessions: sessionmaker[Session], agency: uuid.UUID) -> str:
    with transaction(sessions) as session:
        return queries.code_of(session, agency)


def test_a_department_is_shown_its_figures_ten_working_days_before_anybody(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID
) -> None:
    with transaction(sessions) as session:
        days = [(day, False) for day in range(1, 6)] + [(9, True)]
        for day, is_working in days:
            session.execute(
                text("INSERT INTO workday (day, is_working) VALUES (make_date(2026, 5, :day), :is_working)"),
                {"day": day, "is_working": is_working},
            )
    counted = show(sessions, settings)
    assert (counted.rows, counted.letters) == (3, 1)
    # 23, 24, 27, 28, 29, 30 April; 6, 7, 8, 9 May.
    assert counted.shown_until == datetime(2026, 5, 9, 4, tzinfo=UTC)
    assert publish(sessions, counted.shown_until - timedelta(seconds=1)) == 0
    assert publish(sessions, counted.shown_until) == 1
    assert publish(sessions, counted.shown_until) == 0


def test_the_mail_says_what_was_counted_and_leads_to_the_page(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor
) -> None:
    show(sessions, settings)
    with transaction(sessions) as session:
        row = session.execute(text("SELECT id, sealed FROM posting")).one()
    mail = json.loads(open_value(settings, "posting", row.id, row.sealed))
    assert mail["address"] == "huanbao@example.org"
    assert "按时确认收到：3 / 4" in mail["text"]
    assert "&lt;b&gt;" in mail["html"]
    assert "<b>" not in mail["html"]
    path = re.search(r"http://localhost(/accountability/figures/\S+)", mail["text"])
    assert path is not None


def test_counted_twice_a_department_gets_one_mail(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID
) -> None:
    assert show(sessions, settings).letters == 1
    again = show(sessions, settings, NOW + HOUR)
    assert (again.rows, again.letters) == (3, 0)


def test_counted_again_the_link_that_was_sent_shows_what_is_counted_now(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor
) -> None:
    now = datetime.now(UTC)  # the link is good from then
    show(sessions, settings, now)
    with transaction(sessions) as session:
        row = session.execute(text("SELECT id, sealed FROM posting")).one()
        add_case(session, agency, DAY, delivered_at=DAY)
        before = set(session.execute(text("SELECT id FROM period_figures")).scalars())
    mail = json.loads(open_value(settings, "posting", row.id, row.sealed))
    path = re.search(r"http://localhost(/accountability/figures/\S+)", mail["text"])
    assert path is not None
    assert '<span class="number">5</span>' not in visitor.get(path[1]).text
    assert show(sessions, settings, now + HOUR).letters == 0
    assert '<span class="number">5</span>' in visitor.get(path[1]).text
    with transaction(sessions) as session:
        assert set(session.execute(text("SELECT id FROM period_figures")).scalars()) == before
        counts = session.execute(text("SELECT cases FROM period_figures")).scalars().all()
    assert counts == [5, 5, 5]


def test_counted_again_what_is_not_counted_any_more_is_gone_and_what_comes_back_is_where_it_was(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID
) -> None:
    show(sessions, settings)
    sent = figures_id(sessions, agency)
    moved = text("UPDATE escalation_case SET delivered_at = delivered_at + :by, created_at = created_at + :by")
    with transaction(sessions) as session:
        session.execute(moved, {"by": timedelta(days=90)})
    again = show(sessions, settings, NOW + HOUR)
    assert (again.rows, again.letters) == (1, 0)  # the country, where there was nothing
    with transaction(sessions) as session:
        session.execute(moved, {"by": timedelta(days=-90)})
    again = show(sessions, settings, NOW + 2 * HOUR)
    assert (again.rows, again.letters) == (3, 0)
    assert figures_id(sessions, agency) == sent  # the link that was sent is good again


def test_one_that_comments_while_its_figures_are_taken_away_is_told_that_there_are_none(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID
) -> None:
    show(sessions, settings)
    commented = figures_id(sessions, agency)
    came_to: list[str] = []

    def say() -> None:
        try:
            with transaction(sessions) as session:
                service.comment(session, commented, WriteComment("有一起不在本区"), actor=SYSTEM, now=NOW + HOUR)
        except NotFound as missing:
            came_to.append(missing.error_code)

    department = threading.Thread(target=say)
    with transaction(sessions) as session:
        session.execute(text("UPDATE escalation_case SET delivered_at = NULL, created_at = :at"), {"at": NOW})
        service.show_period(session, PERIOD, settings=settings, actor=SYSTEM, now=NOW + HOUR)
        department.start()
        wait_until_somebody_waits(sessions)
    department.join()
    assert came_to == ["figures_not_found"]


def test_a_period_that_is_not_over_is_not_counted(sessions: sessionmaker[Session], settings: Settings) -> None:
    with transaction(sessions) as session, pytest.raises(Invalid) as refused:
        service.show_period(session, Period.parse("2026Q2"), settings=settings, actor=SYSTEM, now=NOW)
    assert refused.value.errors == {"period": ["period_not_over"]}


def test_what_is_published_or_commented_on_is_not_counted_again(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID
) -> None:
    counted = show(sessions, settings)
    with transaction(sessions) as session:
        service.comment(
            session, figures_id(sessions, agency), WriteComment("有一起不在本区"), actor=SYSTEM, now=NOW + HOUR
        )
    with pytest.raises(Conflict) as refused:
        show(sessions, settings)
    assert refused.value.error_code == "figures_are_commented"
    publish(sessions, counted.shown_until)
    with pytest.raises(Conflict) as refused:
        show(sessions, settings)
    assert refused.value.error_code == "figures_are_published"
    with transaction(sessions) as session, pytest.raises(Gone):
        service.comment(session, figures_id(sessions, agency), WriteComment("晚了"), actor=SYSTEM, now=NOW)


def test_before_they_are_published_only_the_link_shows_them(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor
) -> None:
    show(sessions, settings)
    code = code_of(sessions, agency)
    for path in ("2026Q1", "2026Q1.csv", "2026Q1.json"):
        assert visitor.get(f"/accountability/{path}").status_code == 404
    for path in ("/accountability", f"/accountability/agencies/{code}"):
        page = visitor.get(path)
        assert page.status_code == 200
        assert "75%" not in page.text
    token = sign_link(settings, PURPOSE, figures_id(sessions, agency), expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    page = visitor.get(f"/accountability/figures/{token}")
    assert "75%" in page.text
    assert page.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert visitor.get(f"/accountability/figures/{token[:-2]}aa").status_code == 404


def test_a_comment_is_public_beside_the_figures_once_the_lead_let_it_stand(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor, people: People
) -> None:
    counted = show(sessions, settings)
    token = sign_link(settings, PURPOSE, figures_id(sessions, agency), expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    path = f"/accountability/figures/{token}"
    assert visitor.post(path, {"words": "  "}, page=path).status_code == 400
    assert visitor.post(path, {"words": "=cmd|' /C calc'!A0\n<script>alert(1)</script>"}, page=path).status_code == 303
    publish(sessions, counted.shown_until)
    code = code_of(sessions, agency)
    assert "alert" not in visitor.get(f"/accountability/agencies/{code}").text
    visitor.sign_in(people["lead"])
    assert '部门意见 <span class="tag tag-care">1</span>' in visitor.get("/desk/").text
    desk = visitor.get("/desk/accountability").text
    found = re.search(r"/desk/accountability/comments/([0-9a-f-]+)/publish", desk)
    assert found is not None
    withheld = visitor.post(f"/desk/accountability/comments/{found[1]}/withhold", {}, page="/desk/accountability")
    assert withheld.status_code == 303
    assert "请选择理由" in visitor.get("/desk/accountability").text
    visitor.post(f"/desk/accountability/comments/{found[1]}/publish", {}, page="/desk/accountability")
    page = visitor.get(f"/accountability/agencies/{code}").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    told = csv.DictReader(io.StringIO(visitor.get("/accountability/2026Q1.csv").text.removeprefix("\ufeff")))
    (row,) = list(told)
    assert row["comment"].startswith("'=cmd")
    assert row["name_zh_hans"].startswith("'=武汉")


def test_a_comment_that_comes_too_late_is_given_back_with_the_reason(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor
) -> None:
    counted = show(sessions, settings)
    found = figures_id(sessions, agency)
    page = f"/accountability/figures/{sign_link(settings, PURPOSE, found, expires_at=datetime.now(UTC) + 24 * HOUR)}"
    token = visitor.token(page)
    publish(sessions, counted.shown_until)
    late = visitor.client.post(page, data={"csrf_token": token, "words": "写了半天的意见"})
    assert (late.status_code, "已经公布，不再收意见" in late.text) == (409, True)
    assert re.search(r"<textarea[^>]* readonly>写了半天的意见</textarea>", late.text)


def test_a_period_that_cannot_be_counted_stays_in_its_field(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor, people: People
) -> None:
    counted = show(sessions, settings)
    publish(sessions, counted.shown_until)
    visitor.sign_in(people["lead"])
    desk = "/desk/accountability"
    for typed, status, words in (("gestern", 400, "没有看懂时间"), ("2026q1", 409, "已经公布")):
        answer = visitor.post(f"{desk}/periods", {"period": typed}, page=desk)
        assert (answer.status_code, words in answer.text, f'value="{typed}"' in answer.text) == (status, True, True)


def test_the_table_in_three_forms_tells_the_same(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor
) -> None:
    publish(sessions, show(sessions, settings).shown_until)
    table = visitor.get("/accountability/2026Q1.csv")
    assert table.text.startswith("\ufeff")
    (row,) = csv.DictReader(io.StringIO(table.text.removeprefix("\ufeff")))
    assert (row["cases"], row["acknowledged_on_time_percent"], row["acknowledge_median_s"]) == ("4", "75", "7200")
    told = visitor.get("/accountability/2026Q1.json").get_json()
    (one,) = told["agencies"]
    assert one["figures"]["acknowledged_on_time"] == 3
    assert one["figures"]["answer_median_s"] is None
    assert one["figures"]["answer_more_than_half_not_done"] is True
    page = visitor.get("/accountability/2026Q1").text
    assert "75%" in page
    assert "=武汉&lt;b&gt;市&lt;/b&gt;生态环境局" in page
    assert "过半没有做到" in page


@pytest.mark.parametrize("column", ["name", "cases", "acknowledged", "acknowledge_time", "answer_time", "overdue"])
def test_the_table_is_sorted_without_script_and_back(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor, column: str
) -> None:
    publish(sessions, show(sessions, settings).shown_until)
    for sort, standing in ((column, None), (f"-{column}", None)):
        page = visitor.get(f"/accountability/2026Q1?sort={sort}").text
        assert len(re.findall(r'aria-sort="(?:de|a)scending"', page)) == 1, standing
    assert visitor.get("/accountability/2026Q1?sort=nonsense&page=x&area=zz").status_code == 200


def test_pages_of_areas_and_departments_lead_to_each_other(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor
) -> None:
    publish(sessions, show(sessions, settings).shown_until)
    code = code_of(sessions, agency)
    moved = visitor.get(f"/accountability/agencies/by-id/{agency}")
    assert (moved.status_code, moved.location) == (301, f"/accountability/agencies/{code}")
    area = visitor.get("/accountability/areas/420000").text
    assert f"/accountability/agencies/{code}" in area
    assert "75%" in area
    for path in ("/accountability/areas/999999", "/accountability/agencies/none", "/accountability/2020Q1"):
        assert visitor.get(path).status_code == 404
    assert visitor.get("/accountability/rules").status_code == 200


def test_the_page_of_a_basins_authority_leads_to_no_page_of_an_area(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor
) -> None:
    with transaction(sessions) as session:
        session.execute(text("UPDATE jurisdiction SET code = 'basin-yangtze', level = 'basin'"))
        session.execute(text("UPDATE agency SET level = 'basin', kind = 'basin_authority'"))
    publish(sessions, show(sessions, settings).shown_until)
    page = visitor.get(f"/accountability/agencies/{code_of(sessions, agency)}")
    assert page.status_code == 200
    assert "basin-yangtze" in page.text
    for path in (f"/accountability/agencies/{code_of(sessions, agency)}", "/accountability/2026Q1?area=basin-yangtze"):
        assert "/accountability/areas/" not in visitor.get(path).text


def test_the_headline_counts_what_was_handed_over_and_says_that_it_is_too_early_for_what_is_clean(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID, visitor: Visitor
) -> None:
    publish(sessions, show(sessions, settings).shown_until)
    headline = visitor.get("/accountability/2026Q1").text.split('<div class="stats">')[1].split("<form")[0]
    told = re.findall(r'<p class="stat-number">(.*?)</p><p class="stat-label">(.*?)</p>', headline)
    assert told == [
        ("4", "次转交，已送达部门"),
        ("75%", "按时确认收到"),
        ("0%", "按时答复"),
        ("还太早", "公众核实已清洁"),
    ]


def test_the_rules_give_no_department_the_credit_for_clean_water(visitor: Visitor) -> None:
    assert "水变清了，不等于是部门治好的" in visitor.get("/accountability/rules").text


@pytest.mark.parametrize(("who", "status"), [(None, 302), ("officer", 403), ("moderator", 403), ("lead", 200)])
def test_checking_comments_is_for_the_lead(visitor: Visitor, people: People, who: str | None, status: int) -> None:
    if who:
        visitor.sign_in(people[who])
    assert visitor.get("/desk/accountability").status_code == status


def test_the_sweep_counts_a_quarter_once_when_its_cases_have_come_due(
    sessions: sessionmaker[Session], settings: Settings, agency: uuid.UUID
) -> None:
    context = context_of(settings, sessions)
    context.at = PERIOD.until + timedelta(days=21) - timedelta(seconds=1)
    assert papers.show_figures(context) == 0
    context.at += timedelta(seconds=1)
    assert papers.show_figures(context) == 1
    assert papers.show_figures(context) == 0
    assert papers.publish_figures(context) == 0
    context.at += timedelta(days=20)
    assert papers.publish_figures(context) == 1


def test_a_quarter_in_which_nothing_was_is_not_counted(sessions: sessionmaker[Session], settings: Settings) -> None:
    context = context_of(settings, sessions)
    context.at = PERIOD.until + timedelta(days=30)
    assert papers.show_figures(context) == 0
