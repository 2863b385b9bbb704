"""An incident upstream warns the waters below it, on the map and on their pages; when it ends, so does the warning."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, text

from tests.journeys import people
from tests.journeys.conftest import Site
from tests.journeys.people import PHONE, Watch
from tests.journeys.published_map import open_map
from tests.journeys.test_the_officers_desk import report_clean
from waterwatch.kernel.db import make_engine, make_sessions, transaction

pytestmark = pytest.mark.journey
RIVER = "w-yangtze"
MODERATOR = "moderator@demo.example"
WINDOW = re.compile(r"预计到达：(昨天|今天|明天|后天) \d\d:00")
READ = """async () => {
  const pointer = await (await fetch("/published/map.json", {cache: "no-cache"})).json();
  return (await (await fetch("/published/" + pointer.expected)).json()).incidents;
}"""


@pytest.fixture
def engine(site: Site) -> Iterator[Engine]:
    """The demonstration's database."""
    made = make_engine(site.setting("DATABASE_URL"))
    yield made
    made.dispose()


def give_discharge(engine: Engine) -> None:
    """The built-in waters know no discharge: without it there are distances and no times."""
    with transaction(make_sessions(engine)) as session:
        session.execute(
            text("UPDATE water_feature SET upland_skm = 1488000, dis_av_cms = 23000 WHERE kind = 'reach'"
                 " AND water_body_id = (SELECT id FROM water_body WHERE public_id = :river)"),
            {"river": RIVER},
        )  # fmt: skip
        session.execute(text("UPDATE water_network SET version = version + 1"))


def place_below(engine: Engine, code: str) -> tuple[float, float]:
    """The middle of a reach some way below an incident."""
    with transaction(make_sessions(engine)) as session:
        row = session.execute(
            text("SELECT ST_X(p) AS lon, ST_Y(p) AS lat FROM (SELECT ST_LineInterpolatePoint(f.geom, 0.5) AS p"
                 " FROM downstream_reach r JOIN incident i ON i.id = r.incident_id"
                 " JOIN water_feature f ON f.feature_id = r.feature_id"
                 " WHERE i.code = :code AND NOT r.is_lake AND r.distance_km > 25 ORDER BY r.nth LIMIT 1) found"),
            {"code": code},
        ).one()  # fmt: skip
    return row.lon, row.lat


def await_published(page: Page, code: str, *, is_there: bool = True) -> None:
    """Until the published file tells of the incident, or no longer does."""
    for _ in range(240):
        if any(one["code"] == code for one in page.evaluate(READ)) == is_there:
            return
        page.wait_for_timeout(500)
    raise AssertionError(f"{code} is {'not ' if is_there else 'still '}published as expected downstream")


def shoot(page: Page, name: str, *, is_whole: bool = False) -> None:
    """Keep a picture for somebody to look at, by day and by night, where a folder for them is named."""
    if folder := os.environ.get("WATERWATCH_SHOTS"):
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.wait_for_timeout(600)
            page.screenshot(path=Path(folder) / f"downstream-{name}-{scheme}.png", full_page=is_whole)


def open_incident(moderator: Page, origin: str, secret: str) -> str:
    """The next report becomes an orange incident; gives its code."""
    people.sign_in(moderator, origin, MODERATOR, secret)
    moderator.get_by_role("button", name="领取下一条").click()
    expect(moderator.get_by_role("heading", name="污水直排")).to_be_visible()
    moderator.select_option("#extent", "under_1_km")
    moderator.locator("input[name=severity][value='3']").check(force=True)
    moderator.fill("#departure_reason", "排口正对取水口")
    moderator.get_by_role("button", name="受理并转交部门").click()
    notice = people.expect_said(moderator, "已受理并评级")
    return (notice.inner_text().split("事件编号")[1].split("；")[0]).strip()


def point_at(page: Page, origin: str, place: tuple[float, float]) -> None:
    """Open the map with a place in its middle, and touch it there."""
    page.goto("about:blank")
    open_map(page, f"{origin}/#map=9/{place[1]:.4f}/{place[0]:.4f}")
    page.wait_for_timeout(1500)  # the tiles under it are drawn after the first ones
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_what_is_graded_upstream_is_expected_below_until_it_ends(
    site: Site, browser: Browser, watch: Watch, engine: Engine, tmp_path: Path
) -> None:
    give_discharge(engine)
    with (
        people.person(browser, watch, PHONE) as citizen,
        people.person(browser, watch, people.DESKTOP) as moderator,
        people.person(browser, watch, PHONE) as anybody,
    ):
        people.report_pollution(citizen, site.origin, people.take_photo(tmp_path / "sewage.jpg", seed=91))
        people.await_step(citizen, "照片已处理")
        code = open_incident(moderator, site.origin, site.totp_secret(MODERATOR))
        anybody.goto(site.origin)
        await_published(anybody, code)
        place = place_below(engine, code)

        # The map: hatching, and what it says
        point_at(anybody, site.origin, place)
        popup = anybody.locator(".map-popup")
        expect(popup.locator(".near")).to_contain_text("将受影响")
        expect(popup).to_contain_text(WINDOW)
        expect(popup).to_contain_text("公里的污水直排")
        expect(popup).to_contain_text("不是政府预警")
        expect(popup.locator(f'a[href="/i/{code}"]')).to_be_visible()
        expect(anybody.locator("#map-in-view .near").first).to_be_visible()
        expect(anybody.locator("#map-in-view")).to_contain_text(WINDOW)
        expect(anybody.locator("#map-in-view-count")).to_contain_text("预计将受影响")
        assert people.find_violations(anybody) == []
        assert people.overflow_px(anybody) == 0
        shoot(anybody, "map")
        shoot(anybody, "list", is_whole=True)

        # Whoever does not want to see it
        anybody.get_by_role("button", name="筛选").click()
        anybody.get_by_text("显示下游将受影响的水").click()
        assert "near=0" in anybody.url
        anybody.keyboard.press("Escape")
        expect(anybody.locator("#map-in-view .near")).to_have_count(0)

        # The pages
        for path, part in ((f"/w/{RIVER}", "expected"), (f"/i/{code}", "below")):
            anybody.goto(site.origin + path)
            told = anybody.locator(f"section[aria-labelledby={part}]")
            expect(told).to_contain_text(re.compile(r"(今天|明天|后天) \d\d:00"))
            assert people.find_violations(anybody) == []
            assert people.overflow_px(anybody) == 0
            shoot(anybody, part, is_whole=True)

        # The page of a phone without WebGL, once it is made
        for _ in range(60):
            anybody.goto(f"{site.origin}/published/maps/water-{RIVER}.html")
            if "预计将受影响的水体" in anybody.content():
                break
            anybody.wait_for_timeout(500)
        expect(anybody.locator("header.ww-head")).to_contain_text("预计将受影响的水体")
        expect(anybody.locator("path[stroke-dasharray]").first).to_be_attached()
        shoot(anybody, "snapshot")
        picture = anybody.request.get(f"{site.origin}/published/maps/water-{RIVER}.png")
        assert (picture.status, picture.headers["content-type"]) == (200, "image/png")
        if folder := os.environ.get("WATERWATCH_SHOTS"):
            (Path(folder) / "downstream-picture.png").write_bytes(picture.body())

        # It ends
        anybody.goto(site.origin)
        citizen.goto(f"{site.origin}/report?kind=all_clear&same_as={code}")
        report_clean(citizen, people.take_photo(tmp_path / "clean.jpg", seed=92))
        people.await_step(citizen, "照片已处理")
        moderator.goto(f"{site.origin}/desk/")
        moderator.get_by_role("button", name="领取下一条").click()
        moderator.locator("#verifies_incident_id label").filter(has_text=code).locator("input").check(force=True)
        moderator.get_by_role("button", name="确认巡护").first.click()
        people.expect_said(moderator, "已确认这次巡护")
        await_published(anybody, code, is_there=False)
        anybody.goto(f"{site.origin}/i/{code}")
        expect(anybody.locator("section[aria-labelledby=below]")).to_have_count(0)
        anybody.goto(f"{site.origin}/w/{RIVER}")
        expect(anybody.locator(f'section[aria-labelledby=expected] a[href="/i/{code}"]')).to_have_count(0)
        point_at(anybody, site.origin, place)
        expect(popup.locator(f'a[href="/i/{code}"]')).to_have_count(0)
