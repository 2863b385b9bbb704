"""What a grade would warn, as it is shown before: it counts from the grade, and says whom it would tell."""

import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.advisories.rows import STEP_DEG, add_chain
from tests.escalation.rows import add_agency
from tests.escalation.test_warnings import LOWER, UPPER, add_zone, box
from tests.moderation.below import SYSTEM, Place, asked, grade, incident_id, reckon
from tests.moderation.rows import add_waiting
from tests.reports.rows import LAT, LON
from tests.web.site import Visitor, counting
from waterwatch.accounts.service import DemoPerson
from waterwatch.escalation import warnings
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

People = dict[str, DemoPerson]
DAY = timedelta(days=1)
RULED = {"downstream": "withhold", "downstream_reason": "只是一小段"}
TAG = re.compile(r"<[^>]+>")


@pytest.fixture
def desk(visitor: Visitor, people: People) -> Visitor:
    """A moderator at the desk."""
    visitor.sign_in(people["moderator"])
    return visitor


def further(sessions: sessionmaker[Session], place: Place, *, seen: timedelta = timedelta(0)) -> Place:
    """Another report of the same place, seen so long ago and received now."""
    now = utc_now()
    with transaction(sessions) as session:
        report_id = add_waiting(session, place.river.ids[0], now=now, at=(LON + 0.02, LAT), observed_at=now - seen)
    return Place(place.river, report_id)


def warned(sessions: sessionmaker[Session]) -> dict[int, tuple[object, object]]:
    """By feature, the window that is warned."""
    with transaction(sessions) as session:
        rows = session.execute(text("SELECT feature_id, earliest_at, probable_at FROM downstream_reach ORDER BY nth"))
        return {row.feature_id: (row.earliest_at, row.probable_at) for row in rows}


def test_what_was_seen_four_days_ago_still_previews_what_the_grade_will_warn(
    desk: Visitor, sessions: sessionmaker[Session], place: Place, settings: Settings
) -> None:
    old = further(sessions, place, seen=4 * DAY)
    found = asked(desk, old)
    assert (found["warns"], str(found["line"]).split(" · 最近处")[0]) == (
        True,
        "预警 3 个河段、1 片湖泊水库 · 最远 26 公里",
    )
    grade(desk, old)
    reckon(sessions, settings)
    assert len(warned(sessions)) == 4


def test_joining_previews_from_now_what_had_passed_and_begins_with_whoever_saw_it_first(
    desk: Visitor, sessions: sessionmaker[Session], place: Place, settings: Settings
) -> None:
    """An incident of which nothing is on its way any more: joining it confirms it, and everything below is warned."""
    grade(desk, place)
    with transaction(sessions) as session:
        session.execute(text("UPDATE incident SET last_confirmed_at = now() - interval '9 days'"))
        session.execute(text("UPDATE incident_report SET joined_at = now() - interval '9 days'"))
        session.execute(text("UPDATE report SET received_at = now() - interval '9 days', observed_at = NULL"))
    known = str(incident_id(sessions))
    assert "都已经过去" in str(desk.get(f"/desk/incident/{known}/downstream?kind=sewage_outfall&severity=3").text)
    earlier = further(sessions, place, seen=10 * DAY)
    found = asked(desk, earlier, join_incident_id=known)
    assert str(found["line"]).startswith("预警 3 个河段、1 片湖泊水库 · 最远 26 公里")
    line = str(found["line"])
    assert grade(desk, earlier, join_incident_id=known) == 303
    reckon(sessions, settings)
    assert len(warned(sessions)) == 4
    after = desk.get(f"/desk/incident/{known}/downstream?kind=sewage_outfall&severity=3&answer=json").get_json()
    assert after["line"] == line, "the same reaches and the same windows as were shown before"


def test_joining_an_incident_that_was_shortened_previews_that_limit_whatever_is_typed(
    desk: Visitor, sessions: sessionmaker[Session], place: Place
) -> None:
    grade(desk, place, downstream="shorten", downstream_limit_km="10", downstream_reason="闸门已关")
    known = str(incident_id(sessions))
    other = further(sessions, place)
    assert str(asked(desk, other, join_incident_id=known)["line"]).startswith("预警 1 个河段 · 最远 6 公里")
    typed = asked(desk, other, join_incident_id=known, downstream="shorten", downstream_limit_km="150")
    assert str(typed["line"]).startswith("预警 1 个河段 · 最远 6 公里")


def test_joining_an_incident_nobody_ruled_on_previews_the_limit_that_is_typed(
    desk: Visitor, sessions: sessionmaker[Session], place: Place
) -> None:
    grade(desk, place)
    other = further(sessions, place)
    typed = asked(
        desk, other, join_incident_id=str(incident_id(sessions)), downstream="shorten", downstream_limit_km="10"
    )
    assert str(typed["line"]).startswith("预警 1 个河段 · 最远 6 公里")


def test_a_river_that_begins_near_the_incident_has_its_orders_of_magnitude_with_their_error(
    desk: Visitor, sessions: sessionmaker[Session]
) -> None:
    """Within an hour nothing is mixed, and no peak is told; the passage is, and the peak at the far end."""
    with transaction(sessions) as session:
        near = add_chain(session, 40, km=1.0, name="近河")
        place = Place(near, add_waiting(session, near.ids[0], now=utc_now(), at=(LON + 0.02, LAT)))
    words = " ".join(TAG.sub(" ", str(asked(desk, place)["html"])).split())
    assert re.search(r"经过要多久 不到一小时 → \S+ 每公斤的峰浓度 — → 约 0\.1 毫克/升", words), words
    assert "实际可能是几倍，也可能是几分之一" in words


def told(html: object) -> str:
    """What the preview says of whom it would tell, as a reader has it."""
    part = str(html).split("先告诉：", maxsplit=1)[1].split("</p>", maxsplit=1)[0]
    return " ".join(TAG.sub(" ", part).split())


def cases(sessions: sessionmaker[Session], settings: Settings, *, role: str = "downstream") -> set[str]:
    """The names of those who are told once the warning is reckoned."""
    reckon(sessions, settings)
    with transaction(sessions) as session:
        warnings.follow(session, incident_id(sessions), settings=settings, actor=SYSTEM, now=utc_now())
    with transaction(sessions) as session:
        rows = session.execute(
            text("""SELECT n.name FROM escalation_case c JOIN agency_name n USING (agency_id)
                    WHERE c.role = :role AND c.state <> 'withdrawn' AND n.lang = 'zh-Hans'"""),
            {"role": role},
        )
        return {row.name for row in rows}


def test_the_preview_names_the_departments_below_and_who_runs_an_intake_and_they_are_told(
    desk: Visitor, sessions: sessionmaker[Session], place: Place, settings: Settings
) -> None:
    with transaction(sessions) as session:
        add_agency(session, "上游局", ["up@example.org"], area=UPPER)
        add_agency(session, "下游局", ["a@example.org"], area=LOWER)
        add_agency(session, "别类局", ["b@example.org"], area=LOWER, observation_kind="oil_slick", kind="maritime")
        add_agency(session, "只管橙色的局", ["c@example.org"], area=LOWER, min_severity=3, kind="agriculture")
        plant = add_agency(session, "第二水厂", ["d@example.org"], area=box(LON + 9, LON + 10), kind="waterworks")
        reserve = add_agency(session, "保护区", ["e@example.org"], area=box(LON + 9, LON + 10), kind="urban_management")
        add_zone(session, place.river, 2, plant)
        add_zone(session, place.river, 1, reserve, "nature_reserve")
    assert told(asked(desk, place)["html"]) == "下游的部门 1 下游局 取水口、水源地的管理单位 1 第二水厂"
    grade(desk, place)
    assert cases(sessions, settings, role="competent") == {"上游局"}
    assert cases(sessions, settings) == {"下游局", "第二水厂"}


def test_of_many_a_few_are_named_the_nearest_first(desk: Visitor, sessions: sessionmaker[Session]) -> None:
    with transaction(sessions) as session:
        long = add_chain(session, 8, name="长河")
        place = Place(long, add_waiting(session, long.ids[0], now=utc_now(), at=(LON + 0.02, LAT)))
        for nth in reversed(range(1, 7)):
            west = LON + STEP_DEG * (nth + 0.3)
            add_agency(session, f"{nth}局", [], area=box(west, west + STEP_DEG / 2), level="county")
    assert told(asked(desk, place)["html"]) == "下游的部门 6 1局、2局、3局、4局…"


def test_whoever_is_told_of_the_incident_itself_is_warned_of_its_waters_below_as_well(
    desk: Visitor, sessions: sessionmaker[Session], place: Place, settings: Settings
) -> None:
    with transaction(sessions) as session:
        add_agency(session, "全程局", ["all@example.org"], area=box(LON - 1, LON + 2))
    assert told(asked(desk, place)["html"]) == "下游的部门 1 全程局"
    grade(desk, place)
    known = incident_id(sessions)
    joining = asked(desk, further(sessions, place), join_incident_id=str(known))["html"]
    regrading = desk.get(f"/desk/incident/{known}/downstream?kind=sewage_outfall&severity=3").text
    assert told(joining) == told(regrading) == "下游的部门 1 全程局"
    assert cases(sessions, settings, role="competent") == cases(sessions, settings) == {"全程局"}


def test_the_preview_of_a_grave_incident_names_whom_only_its_level_concerns(
    desk: Visitor, sessions: sessionmaker[Session], place: Place
) -> None:
    """One colour below: whoever is competent from yellow on is told below an orange, and not below a yellow."""
    with transaction(sessions) as session:
        add_agency(session, "黄色局", ["a@example.org"], area=LOWER, min_severity=2)
    assert told(asked(desk, place, severity="3")["html"]) == "下游的部门 1 黄色局"
    assert "没有单位可先告诉" in str(asked(desk, place, severity="2")["html"])


def test_the_preview_asks_a_fixed_number_of_times_whoever_lies_below(
    app: Flask, desk: Visitor, sessions: sessionmaker[Session], place: Place
) -> None:
    asked(desk, place)
    with counting(app) as before:
        asked(desk, place)
    with transaction(sessions) as session:
        plant = add_agency(session, "水厂", [], area=box(LON + 9, LON + 10), kind="waterworks")
        for nth in range(1, 4):
            add_zone(session, place.river, nth, plant)
            west = LON + STEP_DEG * (nth + 0.1)
            add_agency(session, f"{nth}局", [], area=box(west, west + STEP_DEG / 2), level="county")
    with counting(app) as after:
        assert told(asked(desk, place)["html"]).startswith("下游的部门 3 ")
    assert len(after) == len(before)
    assert sum("jurisdiction_part" in one for one in after) == 1


def test_joining_many_at_once_shows_first_what_will_be_warned_below_and_whom_it_tells(
    app: Flask, desk: Visitor, sessions: sessionmaker[Session], place: Place, settings: Settings
) -> None:
    with transaction(sessions) as session:
        add_agency(session, "下游局", ["a@example.org"], area=LOWER)
    grade(desk, place)
    known = incident_id(sessions)
    with transaction(sessions) as session:
        session.execute(text("UPDATE incident SET last_confirmed_at = now() - interval '9 days'"))
        code = session.execute(text("SELECT code FROM incident")).scalar_one()
    chosen = {"what": "join", "incident": code, "codes": codes_of(sessions, [further(sessions, place, seen=DAY)])}
    listed = desk.post("/desk/batch/preview", chosen, page="/desk/batch").text
    assert "预警 3 个河段、1 片湖泊水库 · 最远 26 公里 · 最近处 " in " ".join(listed.split())
    assert told(listed) == "下游的部门 1 下游局"
    with counting(app) as one_sent:
        desk.post("/desk/batch/preview", chosen, page="/desk/batch")
    many = chosen | {"codes": codes_of(sessions, [further(sessions, place) for _each in range(3)])}
    with counting(app) as three_sent:
        desk.post("/desk/batch/preview", many, page="/desk/batch")
    below = [sum("unnest" in one or "downstream" in one for one in sent) for sent in (one_sent, three_sent)]
    assert below[0] == below[1], "reckoned once for all of them"
    desk.post(f"/desk/incident/{known}/downstream", RULED, page=f"/desk/incident/{known}")
    assert "审核员决定不发布下游预警" in desk.post("/desk/batch/preview", chosen, page="/desk/batch").text


def test_refusing_many_at_once_speaks_of_no_warning(
    desk: Visitor, sessions: sessionmaker[Session], place: Place
) -> None:
    chosen = {"what": "refuse", "code": "advertisement", "codes": codes_of(sessions, [place])}
    listed = desk.post("/desk/batch/preview", chosen, page="/desk/batch").text
    assert "将退回 1 条" in listed
    assert "下游" not in listed.split("<main", maxsplit=1)[1].split("</main>", maxsplit=1)[0]


def codes_of(sessions: sessionmaker[Session], places: list[Place]) -> str:
    """The codes of their reports, as they are typed."""
    with transaction(sessions) as session:
        rows = session.execute(
            text("SELECT code FROM report WHERE id = ANY(:ids)"), {"ids": [one.report_id for one in places]}
        )
        return " ".join(row.code for row in rows)
