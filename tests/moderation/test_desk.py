"""The desk beside its reports: the one got ready, what is left behind, views of the queue, surroundings, one's pace."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import IN_WUHAN, add_agency, add_incident, insert
from tests.moderation.rows import add_river, add_waiting, count, state_of
from tests.web.site import Visitor
from waterwatch.accounts.service import DemoPerson
from waterwatch.escalation import service
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import queries
from waterwatch.moderation.pace import Act, pace, stretch

People = dict[str, DemoPerson]
NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture
def river(sessions: sessionmaker[Session]) -> uuid.UUID:
    with transaction(sessions) as session:
        return add_river(session, "长江")


@pytest.fixture
def wait(sessions: sessionmaker[Session], river: uuid.UUID) -> Callable[..., uuid.UUID]:
    """Makes reports that wait."""

    def make(**facts: object) -> uuid.UUID:
        with transaction(sessions) as session:
            return add_waiting(session, river, now=utc_now(), **facts)

    return make


@pytest.fixture
def desk(visitor: Visitor, people: People) -> Visitor:
    visitor.sign_in(people["moderator"])
    return visitor


def held(sessions: sessionmaker[Session]) -> set[uuid.UUID]:
    with transaction(sessions) as session:
        return set(session.execute(text("SELECT report_id FROM review_item WHERE leased_by IS NOT NULL")).scalars())


def code_of(sessions: sessionmaker[Session], report_id: uuid.UUID) -> str:
    with transaction(sessions) as session:
        return str(session.execute(text("SELECT code FROM report WHERE id = :id"), {"id": report_id}).scalar_one())


def test_the_next_report_is_held_while_another_is_on_the_screen(
    desk: Visitor, wait: Callable[..., uuid.UUID], sessions: sessionmaker[Session]
) -> None:
    first, second = wait(minutes_old=2), wait(minutes_old=1)
    desk.post("/desk/next", page="/desk/")
    assert held(sessions) == {first}
    ready = desk.post("/desk/next/prepare", {"held": str(first)}, page="/desk/")
    assert (ready.status_code, ready.location) == (303, f"/desk/{second}")
    assert held(sessions) == {first, second}
    sent = {"csrf_token": desk.token("/desk/"), "held": [str(first), str(second)]}
    assert desk.client.post("/desk/next/prepare", data=sent).status_code == 204


def test_what_a_page_held_that_closed_without_a_word_comes_first(desk: Visitor, wait: Callable[..., uuid.UUID]) -> None:
    wait(minutes_old=9, kind="foam")
    left = wait(minutes_old=1)
    desk.get(f"/desk/{left}")
    assert desk.post("/desk/next", page="/desk/").location == f"/desk/{left}"
    assert desk.post("/desk/next", {"held": str(left)}, page="/desk/").location != f"/desk/{left}"


def test_what_a_closed_page_held_is_given_back_and_nobody_elses(
    app: Flask, desk: Visitor, people: People, wait: Callable[..., uuid.UUID], sessions: sessionmaker[Session]
) -> None:
    mine, other = wait(minutes_old=2), wait(minutes_old=1)
    desk.get(f"/desk/{mine}")
    second = Visitor(app.test_client())
    second.sign_in(people["second"])
    second.get(f"/desk/{other}")
    token = desk.token("/desk/")
    sent = {"csrf_token": token, "report": [str(mine), str(other), "no id"]}
    assert desk.client.post("/desk/leave", data=sent).status_code == 204
    assert held(sessions) == {other}


def test_a_decision_leads_to_the_next_report_or_answers_a_page_that_has_it(
    desk: Visitor, wait: Callable[..., uuid.UUID], sessions: sessionmaker[Session]
) -> None:
    first, second, third = wait(minutes_old=3), wait(minutes_old=2), wait(minutes_old=1)
    plain = desk.post(f"/desk/{first}/refuse", {"code": "unclear"}, page=f"/desk/{first}")
    assert plain.location == f"/desk/{second}"
    told = desk.post(f"/desk/{second}/refuse", {"code": "unclear", "answer": "json"}, page=f"/desk/{second}")
    assert told.json is not None
    assert told.json["said"] == "已退回，上报人会看到你写的理由。"
    assert re.fullmatch(r"/desk/decision/[0-9a-f-]{36}/undo", told.json["undo"])
    assert held(sessions) == set(), "the page that has the next report holds it already"
    with transaction(sessions) as session:
        assert state_of(session, "report", third) == "in_review"


def test_the_queue_is_narrowed_to_a_kind_and_hands_out_only_that(
    desk: Visitor, wait: Callable[..., uuid.UUID], sessions: sessionmaker[Session]
) -> None:
    sewage, foam = wait(minutes_old=5), wait(kind="foam")
    desk.post("/desk/view", {"kind": "foam"}, page="/desk/")
    page = desk.get("/desk/").text
    assert code_of(sessions, foam) in page
    assert code_of(sessions, sewage) not in page
    assert desk.post("/desk/next", page="/desk/").location == f"/desk/{foam}"
    assert desk.post("/desk/next/prepare", {"held": str(foam)}, page="/desk/").status_code == 204
    desk.post(f"/desk/{foam}/release", page="/desk/")
    desk.post("/desk/view", {}, page="/desk/")
    assert desk.post("/desk/next", page="/desk/").location == f"/desk/{sewage}"


def test_a_view_is_kept_opened_and_forgotten(
    desk: Visitor, wait: Callable[..., uuid.UUID], sessions: sessionmaker[Session]
) -> None:
    foam = wait(kind="foam")
    wait(minutes_old=5)
    desk.post("/desk/view", {"kind": "foam", "keep": "1", "name": "只看泡沫"}, page="/desk/")
    assert "只看泡沫" in desk.get("/desk/").text
    desk.post("/desk/view", {}, page="/desk/")
    with transaction(sessions) as session:
        view_id = session.execute(text("SELECT id FROM desk_view")).scalar_one()
    desk.post(f"/desk/views/{view_id}", page="/desk/")
    assert desk.post("/desk/next", page="/desk/").location == f"/desk/{foam}"
    for name, words in (("", "请给视图起个名字"), ("只看泡沫", "已经有同名的视图"), ("很" * 41, "最多 40 个字")):
        desk.post("/desk/view", {"keep": "1", "name": name}, page="/desk/")
        assert words in desk.get("/desk/").text
    desk.post(f"/desk/views/{view_id}", {"drop": "1"}, page="/desk/")
    with transaction(sessions) as session:
        assert count(session, "desk_view") == 0


@pytest.mark.parametrize(
    "fields", [{"area": "42"}, {"water": "1 OR 1=1"}, {"kind": "dragon"}, {"area": "４２０１０６"}]
)
def test_what_a_view_cannot_mean_is_everything(
    desk: Visitor, wait: Callable[..., uuid.UUID], fields: dict[str, str]
) -> None:
    report_id = wait()
    desk.post("/desk/view", fields, page="/desk/")
    assert desk.post("/desk/next", page="/desk/").location == f"/desk/{report_id}"


def test_whoever_works_for_an_area_says_so_by_its_name(desk: Visitor, sessions: sessionmaker[Session]) -> None:
    assert desk.post("/desk/areas", {"add": "没有这个地方"}, page="/desk/").status_code == 303
    assert "没有找到叫“没有这个地方”的区域" in desk.get("/desk/").text
    with transaction(sessions) as session:
        assert count(session, "moderator_area") == 0


def test_neighbours_are_those_of_three_hundred_metres_and_thirty_days(
    sessions: sessionmaker[Session], wait: Callable[..., uuid.UUID], river: uuid.UUID
) -> None:
    here, day = wait(), 24 * 60
    lon, lat = IN_WUHAN
    near = [wait(at=(lon + 0.001, lat)), wait(at=(lon, lat + 0.002), minutes_old=29 * day)]
    wait(at=(lon, lat + 0.004))  # 440 m
    wait(minutes_old=31 * day)
    wait(state="withdrawn")
    with transaction(sessions) as session:
        found = queries.reports_near(session, here, now=utc_now())
    assert [one.report_id for one in found] == near
    assert [round(one.distance_m) for one in found] == [96, 222]


def test_a_track_record_counts_what_the_same_account_or_phone_sent_before(
    sessions: sessionmaker[Session], wait: Callable[..., uuid.UUID], people: People
) -> None:
    phone, other_phone = b"1" * 32, b"2" * 32
    wait(minutes_old=50, device_digest=other_phone)
    wait(minutes_old=40, device_digest=phone, state="refused", refusal_code="unclear")
    wait(minutes_old=30, device_digest=phone, state="accepted")
    of_account = wait(minutes_old=20, state="merged")
    report_id = wait(minutes_old=10, device_digest=phone)
    wait(minutes_old=5, device_digest=phone)  # later than the one that is looked at
    with transaction(sessions) as session:
        person = session.execute(text("SELECT id FROM person WHERE email LIKE 'officer@%'")).scalar_one()
        for owned in (of_account, report_id):
            session.execute(
                text("INSERT INTO report_owner (person_id, report_id, added_at) VALUES (:person, :report, now())"),
                {"person": person, "report": owned},
            )
        found = queries.track_record(session, report_id)
    assert (found.reports, found.accepted, found.refused) == (3, 2, 1)


def test_a_track_record_shows_counts_and_nobody(
    desk: Visitor, wait: Callable[..., uuid.UUID], sessions: sessionmaker[Session]
) -> None:
    wait(minutes_old=40, device_digest=b"1" * 32, state="refused", refusal_code="unclear")
    page = desk.get(f"/desk/{wait(device_digest=b'1' * 32)}").text
    assert "1 条：受理 0，退回 1" in page
    assert "11111111" not in page
    assert "MTEx" not in page


@pytest.mark.parametrize(
    ("facts", "choice", "is_blurred"),
    [
        ({"kind": "fish_kill"}, None, True),
        ({"has_dead_animals": True}, None, True),
        ({}, None, False),
        ({}, "always", True),
        ({"kind": "fish_kill"}, "never", False),
    ],
)
def test_pictures_of_dead_animals_are_blurred_until_asked_for(
    desk: Visitor, wait: Callable[..., uuid.UUID], facts: dict[str, object], choice: str | None, is_blurred: bool
) -> None:
    if choice is not None:
        desk.post("/desk/pictures", {"pictures": choice}, page="/desk/pace")
    assert ("data-reveal" in desk.get(f"/desk/{wait(**facts)}").text) is is_blurred


def test_every_key_of_the_desk_is_in_its_help(desk: Visitor, wait: Callable[..., uuid.UUID]) -> None:
    pages = [desk.get("/desk/").text, desk.get(f"/desk/{wait(kind='all_clear')}").text]
    incident_near = wait(minutes_old=1)
    desk.post(f"/desk/{incident_near}/grade", {"kind": "foam", "severity": "1"}, page=f"/desk/{incident_near}")
    pages.append(desk.get(f"/desk/{wait()}").text)
    for page in pages:
        dialog = page[page.index("<dialog") : page.index("</dialog>")]
        told = {key.lower() for key in re.findall(r"<kbd>([^<]+)</kbd>", dialog)}
        used = set(re.findall(r'data-key(?:-next|-previous)?="([^"]+)"', page))
        assert used - told == set()
        assert {"[", "]", "z", "s", "?", "1", "4"} <= told


def test_ones_own_pace_counts_ones_own_decisions_only(
    app: Flask, desk: Visitor, people: People, wait: Callable[..., uuid.UUID]
) -> None:
    second = Visitor(app.test_client())
    second.sign_in(people["second"])
    for who, code in ((desk, "unclear"), (desk, "indoors"), (second, "abuse")):
        report_id = wait()
        who.post(f"/desk/{report_id}/refuse", {"code": code}, page=f"/desk/{report_id}")
    page = desk.get("/desk/pace").text
    assert re.findall(r'class="stat-number">(\d+)<', page) == ["2", "2"]
    assert "受理 0 条，退回 2 条" in page
    assert "你已经连续看了" not in page


def test_pace_counts_days_and_weeks_of_the_viewer() -> None:
    """It is Wednesday, 20 h, in Shanghai."""
    at = [NOW - timedelta(days=3), NOW - timedelta(hours=21), NOW - timedelta(hours=19), NOW - timedelta(minutes=1)]
    acts = [Act(moment, "refused") for moment in at]
    found = pace(acts, now=NOW, zone=SHANGHAI)
    assert (found.today, found.week, found.refused, found.accepted) == (2, 3, 3, 0)


def test_a_report_taken_while_another_was_on_the_screen_is_timed_from_when_that_one_was_done() -> None:
    acts = [Act(NOW, "accepted", 30.0), Act(NOW + timedelta(seconds=20), "refused", 50.0), Act(NOW, "asked", None)]
    assert pace(acts[:2], now=NOW + timedelta(minutes=1), zone=SHANGHAI).median_s == 25.0
    assert pace(acts[2:], now=NOW, zone=SHANGHAI).median_s is None


@pytest.mark.parametrize(
    ("minutes_ago", "worked_min"),
    [([], 0), ([16], 0), ([5], 5), ([100, 86, 72, 58, 44, 30, 15], 0), ([100, 86, 72, 58, 44, 30, 16, 2], 100)],
)
def test_a_stretch_ends_with_a_quarter_of_an_hour_of_rest(minutes_ago: list[int], worked_min: int) -> None:
    moments = [NOW - timedelta(minutes=minutes) for minutes in minutes_ago]
    assert stretch(moments, now=NOW) == timedelta(minutes=worked_min)
    assert pace([Act(at, "refused") for at in moments], now=NOW, zone=SHANGHAI).needs_rest is (worked_min >= 90)


@given(st.lists(st.integers(0, 600), max_size=40))
def test_a_stretch_is_never_longer_than_since_the_first_decision(minutes_ago: list[int]) -> None:
    moments = sorted(NOW - timedelta(minutes=minutes) for minutes in minutes_ago)
    assert timedelta(0) <= stretch(moments, now=NOW) <= timedelta(minutes=max(minutes_ago, default=0))


def test_a_lead_has_a_case_that_reached_nobody_forwarded_again(
    visitor: Visitor, people: People, sessions: sessionmaker[Session], settings: Settings
) -> None:
    now = utc_now()
    with transaction(sessions) as session:
        add_agency(session, "没有邮箱的局", [])
        incident_id = add_incident(session, now=now)
        (case,) = service.escalate(session, incident_id, settings=settings, actor=Actor.system("tests"), now=now)
        case_id, agency_id = case.id, case.agency_id
    again = f"/desk/unheard/{case_id}/again"
    visitor.sign_in(people["lead"])
    assert visitor.get("/desk/").text.count(again) == 1
    assert visitor.post(again, {}, page="/desk/").status_code == 303
    assert "没有可以转交的地址" in visitor.get("/desk/").text
    with transaction(sessions) as session:
        insert(session, "agency_contact", agency_id=agency_id, channel="email", address="a@x.example", position=0)
    assert visitor.post(again, {}, page="/desk/").status_code == 303
    assert "已再次转交" in visitor.get("/desk/").text
    with transaction(sessions) as session:
        assert session.execute(text("SELECT address, state FROM delivery")).all() == [("a@x.example", "pending")]
