"""Early warning at the desk: what a grade would warn, what is ruled of it, what a report from below shows."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.advisories.rows import STEP_DEG, add_chain
from tests.escalation.rows import add_agency
from tests.escalation.test_warnings import LOWER
from tests.moderation.below import Place, asked, grade, incident_id, reckon
from tests.moderation.rows import add_waiting, count
from tests.reports.rows import LAT, LON
from tests.web.site import Visitor, counting
from waterwatch.accounts.service import DemoPerson
from waterwatch.escalation import warnings
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.reports import service as reports

People = dict[str, DemoPerson]
SYSTEM = Actor.system("tests")


@pytest.fixture
def desk(visitor: Visitor, people: People) -> Visitor:
    """A moderator at the desk."""
    visitor.sign_in(people["moderator"])
    return visitor


def ruling(sessions: sessionmaker[Session]) -> tuple[bool, float | None, str] | None:
    with transaction(sessions) as session:
        row = session.execute(text("SELECT is_withheld, limit_km, reason FROM downstream_ruling")).first()
        return None if row is None else (row.is_withheld, row.limit_km, row.reason)


def test_the_preview_tells_waters_distances_windows_and_the_reservoir(desk: Visitor, place: Place) -> None:
    found = asked(desk, place)
    assert found["warns"] is True
    assert str(found["line"]).startswith("预警 3 个河段、1 片湖泊水库 · 最远 26 公里 · 最近处 ")
    html = str(found["html"])
    assert "试河" in html
    assert "试湖" in html
    assert "水库" in html
    assert "6–36" in html
    assert html.count("约 0.1 毫克/升") == 2
    assert html.count('scope="col"') == 3  # no more fit a phone: the orders of magnitude have a line of their own
    assert html.count("它和经过的时间都只是数量级，实际可能是几倍") == 1
    assert "不早于" not in html.split("试湖", maxsplit=1)[0]
    drawn = found["drawn"]
    assert isinstance(drawn, dict)
    assert [one["properties"] for one in drawn["features"]] == [{"level": 2}] * 4


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"kind": "floating_garbage"}, "不随水流走"),
        ({"kind": ""}, "不随水流走"),
        ({"severity": "1"}, "黄色及以上才预警下游"),
        ({"water_feature_id": "01900000-0000-7000-8000-00000000dead"}, "先选是哪片水体"),
    ],
)
def test_the_preview_says_why_nothing_is_warned(desk: Visitor, place: Place, query: dict[str, str], words: str) -> None:
    found = asked(desk, place, **query)
    assert found["warns"] is False
    assert words in str(found["line"])
    assert words in str(found["html"])


def test_at_the_mouth_nothing_lies_below_and_in_a_lake_the_lake(
    desk: Visitor, sessions: sessionmaker[Session], place: Place
) -> None:
    with transaction(sessions) as session:
        short = add_chain(session, 2, name="短河", lat=LAT + 0.2)
    assert "没有已知的水体" in str(asked(desk, place, water_feature_id=str(short.ids[1]))["line"])
    in_lake = str(asked(desk, place, water_feature_id=str(place.river.ids[3]))["line"])
    assert in_lake.startswith("预警 1 片湖泊水库 · 最远 0 公里")


def test_a_red_is_previewed_as_it_stands_until_it_is_seconded(desk: Visitor, place: Place) -> None:
    html = str(asked(desk, place, severity="4")["html"])
    assert "level-2" in html
    assert "红色复核以后，下游升为橙色" in html


def test_a_shorter_way_is_previewed_as_typed(desk: Visitor, place: Place) -> None:
    found = asked(desk, place, downstream="shorten", downstream_limit_km="10")
    assert str(found["line"]).startswith("预警 1 个河段 · 最远 6 公里")


def test_without_discharge_only_the_distance_is_told(
    desk: Visitor, sessions: sessionmaker[Session], place: Place
) -> None:
    with transaction(sessions) as session:
        dry = add_chain(session, 3, dis_av_cms=None, name="旱河", lat=LAT + 0.2)
        place = Place(dry, add_waiting(session, dry.ids[0], now=utc_now(), at=(LON + 0.02, LAT + 0.2)))
    found = asked(desk, place)
    assert "没有流量数据" in str(found["html"])
    assert "最近处" not in str(found["line"])
    assert "时间不详" in str(found["html"])


def test_without_script_the_preview_is_a_page(desk: Visitor, place: Place) -> None:
    page = desk.get(f"/desk/{place.report_id}/downstream?kind=sewage_outfall&severity=3")
    assert page.status_code == 200
    assert "试河" in page.text
    assert f"/desk/{place.report_id}/downstream" in desk.get(f"/desk/{place.report_id}").text


def test_the_preview_asks_as_often_for_a_long_river_as_for_a_short_one(
    app: Flask, desk: Visitor, sessions: sessionmaker[Session], place: Place
) -> None:
    with transaction(sessions) as session:
        long = add_chain(session, 60, km=3.0, name="长河", lat=LAT + 0.2)
        other = Place(long, add_waiting(session, long.ids[0], now=utc_now(), at=(LON + 0.02, LAT + 0.2)))
    asked(desk, place)
    with counting(app) as short_sent:
        asked(desk, place)
    with counting(app) as long_sent:
        assert "预警 59 个河段" in str(asked(desk, other)["line"])
    assert len(long_sent) == len(short_sent)


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({}, None),
        ({"downstream": ""}, None),
        ({"downstream": "withhold", "downstream_reason": "只是一小段"}, (True, None, "只是一小段")),
        (
            {"downstream": "shorten", "downstream_limit_km": "12.5", "downstream_reason": "闸门已关"},
            (False, 12.5, "闸门已关"),
        ),
    ],
)
def test_what_is_ruled_with_the_grade_is_kept_with_it(
    desk: Visitor,
    place: Place,
    sessions: sessionmaker[Session],
    fields: dict[str, str],
    kept: tuple[bool, float | None, str] | None,
) -> None:
    assert grade(desk, place, **fields) == 303
    assert ruling(sessions) == kept


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"downstream": "withhold"}, "请写明为什么"),
        ({"downstream": "withhold", "downstream_reason": "短"}, "请写明为什么"),
        ({"downstream": "withhold", "downstream_reason": "长" * 501}, "最多 500 个字"),
        ({"downstream": "shorten", "downstream_reason": "闸门已关"}, "200 以内的公里数"),
        ({"downstream": "shorten", "downstream_reason": "闸门已关", "downstream_limit_km": "201"}, "200 以内的公里数"),
        ({"downstream": "shorten", "downstream_reason": "闸门已关", "downstream_limit_km": "nan"}, "200 以内的公里数"),
        ({"downstream": "shorten", "downstream_reason": "闸门已关", "downstream_limit_km": "0"}, "200 以内的公里数"),
        ({"downstream": "maybe"}, "请从列表里选择"),
    ],
)
def test_a_faulty_ruling_comes_back_with_words_and_nothing_is_half_written(
    desk: Visitor, place: Place, sessions: sessionmaker[Session], fields: dict[str, str], words: str
) -> None:
    page = f"/desk/{place.report_id}"
    response = desk.post(f"{page}/grade", place.form(**fields), page=page)
    assert response.status_code == 400
    assert words in response.text
    with transaction(sessions) as session:
        assert count(session, "incident") == 0
        assert count(session, "downstream_ruling") == 0


def test_what_was_ruled_with_a_grade_goes_when_the_grade_is_undone(
    desk: Visitor, place: Place, sessions: sessionmaker[Session]
) -> None:
    grade(desk, place, downstream="withhold", downstream_reason="只是一小段")
    with transaction(sessions) as session:
        decision_id = session.execute(text("SELECT id FROM decision")).scalar_one()
    assert desk.post(f"/desk/decision/{decision_id}/undo", page="/desk/").status_code == 303
    assert ruling(sessions) is None
    with transaction(sessions) as session:
        assert count(session, "audit_entry", "action = 'downstream.ruled'") == 2


def test_the_warning_waits_until_the_grade_can_no_longer_be_undone(
    desk: Visitor, place: Place, sessions: sessionmaker[Session], settings: Settings
) -> None:
    grade(desk, place, downstream="shorten", downstream_limit_km="10", downstream_reason="闸门已关")
    with transaction(sessions) as session:
        rows = session.execute(
            text("""SELECT o.available_at - d.at AS later FROM outbox o, decision d
                    WHERE o.topic = 'advisories.forecast'""")
        )
        assert {row.later for row in rows} == {timedelta(seconds=settings.undo_s)}


def test_a_further_report_does_not_replace_what_was_ruled(
    desk: Visitor, place: Place, sessions: sessionmaker[Session]
) -> None:
    grade(desk, place, downstream="withhold", downstream_reason="只是一小段")
    known = incident_id(sessions)
    with transaction(sessions) as session:
        further = Place(place.river, add_waiting(session, place.river.ids[0], now=utc_now(), at=(LON + 0.02, LAT)))
    again = {"join_incident_id": str(known), "downstream_reason": "另一个理由"}
    assert "审核员决定不发布" in str(asked(desk, further, join_incident_id=str(known))["line"])
    page = f"/desk/{further.report_id}"
    response = desk.post(f"{page}/grade", further.form(downstream="withhold", **again), page=page)
    assert (response.status_code, "已经有下游预警的决定" in response.text) == (400, True)
    assert grade(desk, further, **again) == 303
    assert ruling(sessions) == (True, None, "只是一小段")


def test_an_incidents_warning_is_ruled_on_changed_and_let_go_again(
    desk: Visitor, people: People, place: Place, sessions: sessionmaker[Session], settings: Settings
) -> None:
    grade(desk, place)
    reckon(sessions, settings)
    page = f"/desk/incident/{incident_id(sessions)}"
    assert "正在预警 4 处河段和湖泊，最远 26 公里" in desk.get(page).text
    withheld = desk.post(f"{page}/downstream", {"downstream": "withhold", "downstream_reason": "只是一小段"}, page=page)
    assert (withheld.status_code, withheld.location) == (303, f"{page}#below")
    reckon(sessions, settings)
    shown = desk.get(page).text
    assert "按审核员的决定，不发布" in shown
    assert "只是一小段" in shown
    preview = desk.get(f"{page}/downstream?kind=sewage_outfall&severity=3&answer=json").get_json()
    assert "已决定不发布。下面是发布了会怎样。" in preview["html"]
    assert preview["line"].startswith("已决定不发布，发布了会是：预警")
    assert people["moderator"].email in shown
    faulty = desk.post(f"{page}/downstream", {"downstream": "shorten", "downstream_reason": "闸"}, page=page)
    assert faulty.status_code == 400
    assert "请写明为什么" in faulty.text
    assert ruling(sessions) == (True, None, "只是一小段")
    desk.post(f"{page}/downstream", {"downstream": ""}, page=page)
    reckon(sessions, settings)
    assert ruling(sessions) is None
    assert "正在预警 4 处" in desk.get(page).text


def test_the_incident_desk_says_how_many_were_told_and_that_nobody_could_be(
    desk: Visitor, place: Place, sessions: sessionmaker[Session], settings: Settings
) -> None:
    grade(desk, place)
    reckon(sessions, settings)
    found = incident_id(sessions)

    def said() -> str:
        with transaction(sessions) as session:
            warnings.follow(session, found, settings=settings, actor=SYSTEM, now=utc_now())
        return desk.get(f"/desk/incident/{found}").text

    page = said()
    assert "没有单位可先告诉。" in page
    assert "已告诉" not in page
    with transaction(sessions) as session:
        add_agency(session, "甲局", ["a@example.org"], area=LOWER)
        add_agency(session, "乙局", [], area=LOWER, kind="water")
    assert "已告诉 0／2 家单位。" in said()
    with transaction(sessions) as session:
        session.execute(
            text("UPDATE escalation_case SET state = 'delivered', delivered_at = now() WHERE state = 'queued'")
        )
    page = said()
    assert "已告诉 1／2 家单位。" in page
    assert "没有单位可先告诉" not in page


def test_the_incident_desk_previews_another_level(desk: Visitor, place: Place, sessions: sessionmaker[Session]) -> None:
    grade(desk, place)
    path = f"/desk/incident/{incident_id(sessions)}/downstream"
    assert "黄色及以上" in desk.get(f"{path}?kind=sewage_outfall&severity=1").text
    assert "试河" in desk.get(f"{path}?kind=oil_slick&severity=2").text


def test_a_report_from_below_is_asked_whether_it_came_and_the_answer_is_kept_and_corrected(
    desk: Visitor, place: Place, sessions: sessionmaker[Session], settings: Settings
) -> None:
    grade(desk, place)
    reckon(sessions, settings)
    with transaction(sessions) as session:
        session.execute(text("UPDATE downstream_reach SET earliest_at = now(), probable_at = now() + interval '1 h'"))
        report_id = add_waiting(
            session, place.river.ids[1], now=utc_now(), at=(LON + 1.5 * STEP_DEG, LAT), kind="all_clear"
        )
    page = f"/desk/{report_id}"
    assert "上游的污染到这里了吗" in desk.get(page).text
    fields = {"incident_id": str(incident_id(sessions))}
    answer = desk.post(f"{page}/arrival", fields | {"outcome": "not_arrived"}, page=page)
    assert (answer.status_code, answer.location) == (303, f"{page}#arrival")
    assert "已记下，可以改" in desk.get(page).text
    said = desk.post(f"{page}/arrival", fields | {"outcome": "arrived", "answer": "json"}, page=page)
    assert "已记下" in said.get_json()["said"]
    with transaction(sessions) as session:
        assert session.execute(text("SELECT outcome FROM arrival_check")).scalars().all() == ["arrived"]
    assert desk.post(f"{page}/arrival", fields | {"outcome": "unclear"}, page=page).status_code == 303
    assert desk.post(f"{page}/arrival", fields | {"outcome": "perhaps"}, page=page).status_code == 400
    with transaction(sessions) as session:
        assert count(session, "arrival_check") == 0


def test_a_report_from_elsewhere_is_asked_nothing(desk: Visitor, place: Place, sessions: sessionmaker[Session]) -> None:
    assert "上游的污染到这里了吗" not in desk.get(f"/desk/{place.report_id}").text
    grade(desk, place)
    known = str(incident_id(sessions))
    page = f"/desk/{place.report_id}"
    said = desk.post(f"{page}/arrival", {"incident_id": known, "outcome": "arrived"}, page="/desk/pace")
    assert said.status_code == 409


def test_what_was_ruled_goes_with_the_last_report_of_an_incident(
    desk: Visitor, place: Place, sessions: sessionmaker[Session], settings: Settings
) -> None:
    """Another ruling was made since: undoing the grade leaves it to the report's erasure."""
    grade(desk, place, downstream="withhold", downstream_reason="只是一小段")
    page = f"/desk/incident/{incident_id(sessions)}"
    again = {"downstream": "withhold", "downstream_reason": "后来写的理由"}
    assert desk.post(f"{page}/downstream", again, page=page).status_code == 303
    with transaction(sessions) as session:
        decision_id = session.execute(text("SELECT id FROM decision")).scalar_one()
    assert desk.post(f"/desk/decision/{decision_id}/undo", page="/desk/").status_code == 303
    assert ruling(sessions) == (True, None, "后来写的理由")
    with transaction(sessions) as session:
        reports.withdraw(session, place.report_id, now=utc_now())
    assert ruling(sessions) is None
