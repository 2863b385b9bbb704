"""Somebody looks at a river on a phone: why it is orange, how it was last year, who answers for it; and watches it."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from tests.escalation.rows import insert
from tests.journeys import people
from tests.journeys.conftest import Site
from tests.journeys.people import DESKTOP, PHONE, Watch
from tests.journeys.test_telling import await_letters, link_in
from tests.opendata.places import HOSTILE
from waterwatch.advisories.service import refresh
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.ids import new_code

pytestmark = pytest.mark.journey
RIVER = "w-yangtze"
WUHAN = 420100
PLACE = "POINT(114.288 30.549)"
ADDRESS = "zhao@example.org"


def shoot(page: Page, name: str) -> None:
    """Keep a picture for somebody to look at, where a folder for them is named."""
    if folder := os.environ.get("WATERWATCH_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def add_incident(session: Session, severity: int, *, days_ago: float, lasted_days: float | None, kind: str) -> None:
    """An incident on the river at Wuhan that was opened so long ago, and perhaps ended."""
    now = utc_now()
    opened_at = now - timedelta(days=days_ago)
    feature_id = session.execute(
        text("SELECT f.id FROM water_feature f JOIN water_body b ON b.id = f.water_body_id WHERE b.public_id = :river"
             " ORDER BY f.geom_3857 <-> ST_Transform(ST_GeomFromText(:place, 4326), 3857) LIMIT 1"),
        {"river": RIVER, "place": PLACE},
    ).scalar_one()  # fmt: skip
    organisation_id = session.execute(text("SELECT id FROM organisation LIMIT 1")).scalar_one()
    incident_id = insert(
        session, "incident", code=new_code(), organisation_id=organisation_id, state="open", state_since=opened_at,
        kind=kind, severity=severity, graded_severity=severity, water_feature_id=feature_id, exact_point=PLACE,
        public_point=PLACE, opened_at=opened_at, last_confirmed_at=opened_at,
    )  # fmt: skip
    if lasted_days is not None:
        ended_at = opened_at + timedelta(days=lasted_days)
        session.execute(
            text("UPDATE incident SET state = 'expired', closed_at = :at, state_since = :at WHERE id = :id"),
            {"at": ended_at, "id": incident_id},
        )
    refresh(session, feature_id, actor=Actor.system("test"), now=now)


@pytest.fixture
def engine(site: Site) -> Iterator[Engine]:
    """The demonstration's database."""
    lines = (site.folder / "environment").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines)
    made = make_engine(environment["DATABASE_URL"].strip("'"))
    yield made
    made.dispose()


def test_a_river_is_looked_at_and_watched(site: Site, browser: Browser, watch: Watch, engine: Engine) -> None:
    sessions = make_sessions(engine)
    with transaction(sessions) as session:
        for severity, days_ago, lasted_days in ((2, 300, 20), (4, 200, 12), (3, 120, 40), (1, 60, 14)):
            add_incident(session, severity, days_ago=days_ago, lasted_days=lasted_days, kind="foam")
        add_incident(session, 2, days_ago=3, lasted_days=None, kind="sewage_outfall")
        session.execute(
            text("UPDATE agency_name SET name = :words WHERE lang = 'zh-Hans' AND agency_id IN"
                 " (SELECT id FROM agency ORDER BY code LIMIT 3)"),
            {"words": f"水务局{HOSTILE}"},
        )  # fmt: skip
    with people.person(browser, watch, PHONE) as citizen:
        for path, name in (
            (f"/w/{RIVER}", "water"),
            (f"/a/{WUHAN}", "area"),
            ("/a/420000", "province"),
            ("/", "front"),
        ):
            citizen.goto(path)
            if name in ("water", "area"):
                citizen.wait_for_selector("[data-history][data-ready]", state="attached")
                assert citizen.locator("[data-history] canvas").count() == 1
            assert people.overflow_px(citizen) == 0, path
            assert people.find_violations(citizen) == [], path
            shoot(citizen, name)
        citizen.goto(f"/w/{RIVER}")
        citizen.get_by_text("看数字").click()
        expect(citizen.locator("#history ~ details tbody tr").first).to_be_visible()

        # Asked by mail, and told when the level rises.
        citizen.fill("#watch-email", ADDRESS)
        citizen.get_by_role("button", name="关注", exact=True).click()
        expect(citizen.locator(".notice-success")).to_contain_text("请打开我们刚寄出的邮件")
        (first,) = await_letters(site, ADDRESS, 1, page=citizen)
        citizen.goto(link_in(first, "/watch/confirm/"))
        shoot(citizen, "watch-confirm")
        citizen.get_by_role("button", name="是的，请寄给我").click()
        expect(citizen.locator(".notice-success")).to_contain_text("已确认")
        with transaction(sessions) as session:
            add_incident(session, 4, days_ago=0.01, lasted_days=None, kind="fish_kill")
        told = await_letters(site, ADDRESS, 2, page=citizen)[1]
        assert "红色·特别重大" in str(told["Subject"])
        assert "One-Click" in str(told["List-Unsubscribe-Post"])
        citizen.goto(link_in(told, "/watch/stop/"))
        citizen.get_by_role("button", name="不要再寄").click()
        expect(citizen.locator(".notice-success")).to_contain_text("已经从我们这里删除")
    with people.person(browser, watch, DESKTOP) as reader:
        reader.emulate_media(color_scheme="dark")
        for path, name in ((f"/w/{RIVER}", "water-dark"), (f"/a/{WUHAN}", "area-dark")):
            reader.goto(path)
            reader.wait_for_selector("[data-history][data-ready]", state="attached")
            assert people.find_violations(reader) == []
            shoot(reader, name)
    with transaction(sessions) as session:  # the next journey's river is clean
        session.execute(text("UPDATE incident SET state = 'expired', closed_at = now() WHERE closed_at IS NULL"))
        for feature_id in session.execute(text("SELECT water_feature_id FROM advisory")).scalars().all():
            refresh(session, feature_id, actor=Actor.system("test"), now=utc_now())
