"""What a moderator sees of a report's likes, and that none of it is chosen beforehand."""

import re
import uuid
from datetime import datetime

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.duplicates.rows import PHASH, add_photo, add_report
from tests.moderation.rows import add_moderator, add_river, count, grading, state_of
from tests.web.site import Visitor, counting
from waterwatch.accounts.service import DemoPerson
from waterwatch.duplicates import service as duplicates
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import service
from waterwatch.triage import service as triage

Sessions = sessionmaker[Session]
HERE = (114.3055, 30.5928)
A_KILOMETRE_ON = (114.3160, 30.5928)
THREE_HUNDRED_METRES_ON = (114.30863, 30.5928)


@pytest.fixture
def desk(visitor: Visitor, people: dict[str, DemoPerson]) -> Visitor:
    visitor.sign_in(people["moderator"])
    return visitor


def add_pair(
    sessions: Sessions, settings: Settings, *, at: tuple[float, float], is_accepted: bool, minutes_old: float = 0
) -> tuple[uuid.UUID, uuid.UUID]:
    """Two reports with the same picture; the first may have opened an incident. Gives the first, the second."""
    now: datetime = utc_now()
    with transaction(sessions) as session:
        river = add_river(session, "长江")
        photo = add_photo(session, now=now, phash=PHASH ^ 0b11)
        first_photo = add_photo(session, now=now)
        first = add_report(session, river, now=now, photos=[first_photo], at=at, minutes_old=minutes_old, kind="foam")
        if is_accepted:
            actor = add_moderator(session, "earlier", now=now)
            triage.hold(session, first, actor.id or first, settings=settings, now=now)
            service.grade_report(session, grading(first), settings=settings, actor=actor, now=now)
        second = add_report(session, river, now=now, photos=[photo], at=HERE)
        duplicates.propose(session, photo, now=now)
        return first, second


def joins(page: str) -> list[tuple[str, bool]]:
    """The incidents offered to join, by id, and which is chosen."""
    found = re.findall(r'name="join_incident_id" value="([^"]*)"( checked)?', page)
    return [(value, bool(checked)) for value, checked in found]


def test_a_report_and_its_like_stand_side_by_side_with_reasons_in_words(
    desk: Visitor, sessions: Sessions, settings: Settings
) -> None:
    first, second = add_pair(sessions, settings, at=THREE_HUNDRED_METRES_ON, is_accepted=False)
    page = desk.get(f"/desk/{second}").text
    part = page[page.index('id="alike"') : page.index("</ol>", page.index('id="alike"'))]
    assert part.count("/320") == 2
    with transaction(sessions) as session:  # a picture made anew has another address, so no cache shows the old one
        versions = session.execute(text("SELECT photo_id, right(id::text, 12) FROM photo_derivative")).all()
    assert len(versions) == 2
    for photo_id, version in versions:
        for size_px in (320, 2000):
            assert f'"/desk/photo/{photo_id}/{size_px}?v={version}"' in part
    assert f'href="/desk/{first}"' in part
    for words in ("可能重复", "相似 85%", "照片几乎相同（64 位特征中差 2 位）", "相距 300 米", "等待审核"):
        assert words in part
    assert "可能重复" in desk.get(f"/desk/{first}").text


def test_the_incident_of_a_like_may_be_joined_however_far_and_is_not_chosen(
    desk: Visitor, sessions: Sessions, settings: Settings
) -> None:
    first, second = add_pair(sessions, settings, at=THREE_HUNDRED_METRES_ON, is_accepted=True)
    with transaction(sessions) as session:
        # the incident was found to lie further off than what is offered as near
        session.execute(text("UPDATE incident SET exact_point = ST_SetSRID(ST_MakePoint(114.32, 30.5928), 4326)"))
        incident_id = str(session.execute(text("SELECT id FROM incident")).scalar_one())
    page = desk.get(f"/desk/{second}").text
    assert joins(page) == [("", True), (incident_id, False)]
    assert "可能重复的上报属于它" in page
    sent = {"kind": "sewage_outfall", "severity": "1", "join_incident_id": incident_id}
    assert desk.post(f"/desk/{second}/grade", sent, page=f"/desk/{second}").status_code == 303
    with transaction(sessions) as session:
        assert (state_of(session, "report", second), count(session, "incident")) == ("merged", 1)
        assert count(session, "incident_report") == 2
    assert first != second


def test_an_old_picture_is_a_warning_that_offers_no_incident(
    desk: Visitor, sessions: Sessions, settings: Settings
) -> None:
    first, second = add_pair(sessions, settings, at=A_KILOMETRE_ON, is_accepted=True, minutes_old=60 * 24 * 30)
    page = desk.get(f"/desk/{second}").text
    assert "旧照片" in page
    assert "这张照片先用在上报" in page
    assert "离这里 1.0 公里" in page
    assert joins(page) == []
    assert "后来又用在上报" in desk.get(f"/desk/{first}").text


def test_a_report_without_likes_says_nothing_of_them_and_asks_one_question_more(
    desk: Visitor, app: Flask, sessions: Sessions, settings: Settings
) -> None:
    with transaction(sessions) as session:
        alone = add_report(session, add_river(session, "汉江"), now=utc_now())
    with counting(app) as sent:
        page = desk.get(f"/desk/{alone}").text
    assert "可能重复" not in page
    assert len([one for one in sent if "duplicate_candidate" in one]) == 1
    _first, second = add_pair(sessions, settings, at=THREE_HUNDRED_METRES_ON, is_accepted=True)
    with counting(app) as with_likes:
        desk.get(f"/desk/{second}")
    assert len(with_likes) == len(sent) + 1
