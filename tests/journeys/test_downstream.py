"""An incident upstream warns the waters below it, on the map and on their pages; when it ends, so does the warning."""

import os
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, text

from tests.journeys import hatching, people
from tests.journeys.conftest import Site, running_site
from tests.journeys.people import PHONE, Watch
from tests.journeys.test_the_officers_desk import report_clean
from waterwatch.advisories.forecasts import expected_at
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.web.windows import CHINA, window_words

pytestmark = pytest.mark.journey
RIVER = "w-yangtze"
BELOW_WUHAN = (114.75, 30.55)
MODERATOR = "moderator@demo.example"
DAY = r"(?:昨天|今天|明天|后天)"
WINDOW = re.compile(rf"预计(到达：| ){DAY} \d\d:00")
HOUR = re.compile(rf"({DAY}|\d+月\d+日) \d\d:00")
HEAD_START_S = 15


@pytest.fixture(scope="module")
def site(services_folder: Path) -> Iterator[Site]:
    """Where departments know some seconds before everybody, and nothing is expected anywhere."""
    with running_site(services_folder / "downstream", head_start_s=HEAD_START_S) as running:
        yield running


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


def shoot(page: Page, name: str, *, is_whole: bool = False) -> None:
    """Keep a picture for somebody to look at, by day and by night, where a folder for them is named."""
    if folder := os.environ.get("WATERWATCH_SHOTS"):
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            hatching.await_what(page, f"() => !window.drawnMap || ({hatching.IS_STILL})")
            page.screenshot(path=Path(folder) / f"downstream-{name}-{scheme}.png", full_page=is_whole)


def take(moderator: Page, origin: str, secret: str) -> None:
    """The next report, on the moderator's screen."""
    people.sign_in(moderator, origin, MODERATOR, secret)
    moderator.get_by_role("button", name="领取下一条").click()
    expect(moderator.get_by_role("heading", name="污水直排")).to_be_visible()


def preview(moderator: Page) -> None:
    """What a grade would warn is there before it is given: nothing of a blue one, of an orange one where and whom."""
    line, panel = moderator.locator("[data-below-line]"), moderator.locator("#downstream-panel")
    moderator.locator("input[name=severity][value='1']").check(force=True)
    expect(line).to_contain_text("黄色及以上才预警下游")
    moderator.select_option("#extent", "under_1_km")
    moderator.locator("input[name=severity][value='3']").check(force=True)
    expect(line).to_contain_text(re.compile(r"预警 \d+ 个河段"))
    expect(line).to_contain_text(HOUR)
    panel.locator("summary").first.click()
    expect(panel.locator(".below-table")).to_contain_text("长江")
    expect(panel.locator(".below-table")).to_contain_text(HOUR)
    expect(panel).to_contain_text(re.compile(r"先告诉：\s*下游的部门 \d+"))
    expect(panel.get_by_role("button", name="在地图上看全")).to_be_visible()
    assert people.find_violations(moderator) == []
    shoot(moderator, "desk")


def grade(moderator: Page) -> str:
    """The report becomes an orange incident; gives its code."""
    moderator.fill("#departure_reason", "排口正对取水口")
    moderator.get_by_role("button", name="受理并转交部门").click()
    notice = people.expect_said(moderator, "已受理并评级")
    return (notice.inner_text().split("事件编号")[1].split("；")[0]).strip()


def rule(moderator: Page, value: str, reason: str = "") -> None:
    """Decide at the desk how far an incident's warning goes."""
    if moderator.locator("#ruling").get_attribute("open") is None:
        moderator.locator("#ruling summary").click()
    moderator.locator(f"#ruling input[name=downstream][value='{value}']").check(force=True)
    if reason:
        moderator.fill("#ruling textarea[name=downstream_reason]", reason)
    moderator.get_by_role("button", name="保存决定").click()
    people.expect_said(moderator, "已保存")


def await_warnings(site: Site, code: str, page: Page, *, words: str = "下游预警·") -> list[EmailMessage]:
    """The letters of departments below an incident, once there are any."""
    for _ in range(240):
        letters = [one for one in people.letters_in(site.folder / "mail") if code in str(one["Subject"])]
        if warned := [one for one in letters if words in str(one["Subject"])]:
            return warned
        page.wait_for_timeout(250)
    raise AssertionError(f"no department was warned of {code}")


def check_order(engine: Engine, page: Page, code: str) -> str:
    """Departments first: letters before anything is public, and nothing is until it may be. Gives the incident's id."""
    is_public = bool(hatching.expected(page, code))
    asked_at = utc_now()
    with transaction(make_sessions(engine)) as session:
        row = session.execute(
            text("""SELECT i.id, f.made_at, f.public_at, (SELECT min(d.created_at) FROM delivery d
                        JOIN escalation_case c ON c.id = d.case_id WHERE c.incident_id = i.id AND d.says = 'warning')
                        AS told_at
                    FROM incident i JOIN downstream_forecast f ON f.incident_id = i.id WHERE i.code = :code"""),
            {"code": code},
        ).one()
    assert row.public_at - row.told_at >= timedelta(seconds=HEAD_START_S)
    assert asked_at >= row.public_at or not is_public
    return str(row.id)


def end(citizen: Page, moderator: Page, origin: str, code: str, photo: Path) -> None:
    """Somebody shows that the water is clean, and the moderator agrees."""
    citizen.goto(f"{origin}/report?kind=all_clear&same_as={code}")
    report_clean(citizen, photo)
    people.await_step(citizen, "照片已处理")
    moderator.goto(f"{origin}/desk/")
    moderator.get_by_role("button", name="领取下一条").click()
    moderator.locator("#verifies_incident_id label").filter(has_text=code).locator("input").check(force=True)
    moderator.get_by_role("button", name="确认巡护").first.click()
    people.expect_said(moderator, "已确认这次巡护")


def check_map(anybody: Page, site: Site, code: str, place: tuple[float, float]) -> None:
    """What the map says in words of what it hatches, where it is touched and beside it."""
    assert hatching.drawn(anybody) <= hatching.expected(anybody, code)
    hatching.touch(anybody, place)
    popup = anybody.locator(".map-popup")
    expect(popup.locator(".near")).to_contain_text("将受影响")
    expect(popup).to_contain_text(WINDOW)
    expect(popup).to_contain_text("公里的污水直排")
    expect(popup).to_contain_text("不是政府预警")
    expect(popup.locator(f'a[href="/i/{code}"]')).to_be_visible()
    entry = anybody.locator("#map-in-view li").filter(has=anybody.locator(".near"))
    expect(entry.first).to_contain_text("长江")
    expect(entry.first).to_contain_text(WINDOW)
    expect(anybody.locator("#map-in-view-count")).to_contain_text("预计将受影响")
    assert people.find_violations(anybody) == []
    assert people.overflow_px(anybody) == 0
    anybody.locator("#map").evaluate("map => window.scrollTo(0, map.getBoundingClientRect().top + scrollY - 12)")
    people.keep_picture(anybody, "early-warning")
    shoot(anybody, "map")
    shoot(anybody, "list", is_whole=True)


def hide_and_show(anybody: Page) -> None:
    """Whoever does not want to see it need not, and may again."""
    for is_shown, state in ((False, "near=0"), (True, "")):
        anybody.get_by_role("button", name="筛选").click()
        anybody.get_by_text("显示下游将受影响的水").click()
        assert ("near=0" in anybody.url) is bool(state)
        anybody.keyboard.press("Escape")
        expect(anybody.locator("#map-in-view .near")).to_have_count(int(is_shown))
        hatching.await_drawn(anybody, is_there=is_shown)


def check_pages(anybody: Page, site: Site, code: str) -> None:
    """The water's page and the incident's tell when."""
    for path, part in ((f"/w/{RIVER}", "expected"), (f"/i/{code}", "below")):
        anybody.goto(site.origin + path)
        told = anybody.locator(f"section[aria-labelledby={part}]")
        expect(told).to_contain_text(HOUR)
        assert people.find_violations(anybody) == []
        assert people.overflow_px(anybody) == 0
        shoot(anybody, part, is_whole=True)


def check_gone(anybody: Page, site: Site, code: str) -> None:
    """Neither page tells of it any more."""
    anybody.goto(f"{site.origin}/i/{code}")
    expect(anybody.locator("section[aria-labelledby=below]")).to_have_count(0)
    anybody.goto(f"{site.origin}/w/{RIVER}")
    expect(anybody.locator(f'section[aria-labelledby=expected] a[href="/i/{code}"]')).to_have_count(0)


def check_snapshot(anybody: Page, site: Site) -> None:
    """The page of a phone without WebGL, once it is made."""
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


@pytest.mark.timeout(600)  # it has a site of its own, and waits twice until departments have known long enough
def test_what_is_graded_upstream_is_expected_below_until_it_ends(
    site: Site, browser: Browser, watch: Watch, engine: Engine, tmp_path: Path
) -> None:
    give_discharge(engine)
    with (
        people.person(browser, watch, PHONE) as citizen,
        people.person(browser, watch, people.DESKTOP) as moderator,
        people.person(browser, watch, PHONE) as anybody,
        people.person(browser, watch, PHONE) as reader,
    ):
        hatching.listen(anybody)
        people.report_pollution(citizen, site.origin, people.take_photo(tmp_path / "sewage.jpg", seed=91))
        people.await_step(citizen, "照片已处理")
        hatching.look_at(anybody, site.origin, BELOW_WUHAN, 8)
        assert hatching.drawn(anybody) == set()

        # The moderator, and whoever must know first
        take(moderator, site.origin, site.totp_secret(MODERATOR))
        preview(moderator)
        code = grade(moderator)
        [letter, *_others] = await_warnings(site, code, moderator)
        assert HOUR.search(letter.get_body(("plain",)).get_content())  # type: ignore[union-attr]
        incident_id = check_order(engine, anybody, code)

        # Everybody, on the map that was open all the while
        hatching.await_published(anybody, code)
        assert hatching.await_drawn(anybody)
        place = place_below(engine, code)
        hatching.look_at(anybody, site.origin, place, 9)
        check_map(anybody, site, code, place)
        hide_and_show(anybody)
        reader.goto(site.origin)
        check_pages(reader, site, code)
        check_snapshot(reader, site)

        # The moderator withholds it, and lets it go again
        moderator.goto(f"{site.origin}/desk/incident/{incident_id}")
        expect(moderator.locator("#below")).to_contain_text("正在预警")
        rule(moderator, "withhold", "下游的闸已经关了")
        hatching.await_published(anybody, code, is_there=False)
        hatching.await_drawn(anybody, is_there=False)
        expect(anybody.locator("#map-in-view .near")).to_have_count(0)
        check_gone(reader, site, code)
        moderator.reload()
        expect(moderator.locator("#below")).to_contain_text("按审核员的决定，不发布")
        expect(moderator.locator("#below")).to_contain_text("下游的闸已经关了")
        shoot(moderator, "withheld", is_whole=True)
        rule(moderator, "")
        hatching.await_published(anybody, code)
        hatching.await_drawn(anybody)
        expect(anybody.locator("#map-in-view .near")).to_have_count(1)

        # It ends
        end(citizen, moderator, site.origin, code, people.take_photo(tmp_path / "clean.jpg", seed=92))
        hatching.await_published(anybody, code, is_there=False)
        assert hatching.await_drawn(anybody, is_there=False) == set()
        expect(anybody.locator("#map-in-view .near")).to_have_count(0)
        check_gone(reader, site, code)
        await_warnings(site, code, moderator, words="下游预警结束")


@pytest.mark.parametrize("hour", range(24))
def test_the_windows_read_alike_at_every_hour(hour: int) -> None:
    """What the journey looks for is there whenever it is run: a window begins up to three hours before it was seen."""
    now = datetime(2026, 12, 31, hour, 59, tzinfo=CHINA)
    for hours, longer in ((0.4, 0.5), (6.0, 9.0), (30.0, 44.0)):
        window = expected_at(now - timedelta(minutes=3), hours, longer)
        words = window_words(window.earliest, window.probable, "zh-Hans", now=now)
        assert HOUR.match(words), words
