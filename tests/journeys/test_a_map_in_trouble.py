"""Broken links, missing files, garbage, names without end: the map says so, and shows no less in silence."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect
from sqlalchemy import text

from tests.journeys import people
from tests.journeys.people import DESKTOP, PHONE, Watch
from tests.journeys.published_map import PublishedMap, open_map, publish_fixture, serving, view_of
from tests.web.site import running
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.settings import Settings
from waterwatch.waters.service import load_builtin

pytestmark = pytest.mark.journey
WUHAN = "#map=8/30.5/114.4"
LONG = "W" * 200


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published files, made once."""
    return publish_fixture(tmp_path_factory.mktemp("published")).folder


@pytest.fixture
def published(settings: Settings, made: Path) -> PublishedMap:
    """A copy of its own in the application's folder."""
    shutil.copytree(made, settings.publish_dir)
    return PublishedMap(settings.publish_dir)


@pytest.fixture
def origin(settings: Settings, published: PublishedMap) -> Iterator[str]:
    """The application that serves them."""
    with running(settings) as app, serving(app) as address:
        yield address


@pytest.fixture
def watch(origin: str) -> Iterator[Watch]:
    """Fails the journey when a script broke, the content policy refused something, or another host was asked."""
    watching = Watch(origin)
    yield watching
    assert watching.faults == []


def _days_ago(days: int) -> str:
    return (datetime.now(UTC) + timedelta(hours=8) - timedelta(days=days)).date().isoformat()


@pytest.mark.parametrize(
    "address",
    ["#map=4/99/114", "#map=99/-99/-999", "#day=2026-13-45", "#day=1066-10-14", "#severity=9&kind=nonsense&answer=x"],
)
def test_a_link_with_nonsense_in_it_opens_the_map(origin: str, browser: Browser, watch: Watch, address: str) -> None:
    with people.person(browser, watch, DESKTOP) as page:
        open_map(page, f"{origin}/{address}")
        expect(page.locator(".map-age")).to_contain_text("数据更新于")
        if "map=" not in address:
            expect(page.locator("#map-in-view-count")).to_contain_text("片带警示的水体")


def test_a_day_that_cannot_be_read_is_said_and_the_map_stays(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    for month in (published.folder / "history").iterdir():
        month.unlink()
    with people.person(browser, watch, PHONE) as page:
        open_map(page, f"{origin}/{WUHAN}&day={_days_ago(40)}")
        expect(page.locator("#map-day-said")).to_have_text(
            f"{_days_ago(40)} 的等级没有读到，地图还是原来的样子。可以稍后再试。"
        )
        expect(page.locator(".map-age")).to_contain_text("数据更新于")
        expect(page.locator("#map-in-view-count")).to_contain_text("片带警示的水体")
        page.get_by_role("button", name="回到今天").click()
        expect(page.locator("#map-day-said")).to_have_text("")


def test_a_month_that_was_published_anew_is_found_by_reading_the_pointer_again(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    with people.person(browser, watch, DESKTOP) as page:
        open_map(page, origin + "/" + WUHAN)
        history = {}
        for month, name in published.manifest()["history"].items():
            history[month] = f"history/{month}.0000000000000000.json"
            (published.folder / name).rename(published.folder / history[month])
        published.change(history=history)
        page.get_by_role("button", name="一年来").click()
        expect(page.locator("#map-play")).to_be_focused()
        page.locator("#map-day").press("Home")
        expect(page.locator(".map-age")).to_contain_text("显示的是")
        expect(page.locator("#map-day-said")).to_have_text("")


def test_on_a_day_of_the_past_the_slider_stays_and_a_filter_taken_off_brings_its_waters_back(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    day = _days_ago(40)
    spans = {str(rank): [[number, 1, 31] for number in range(rank, 2000, 4)] for rank in (1, 2, 3, 4)}
    for name in published.manifest()["history"].values():
        (published.folder / name).write_text(json.dumps({"month": name[8:15], "spans": spans}))
    with people.person(browser, watch, DESKTOP) as page:
        open_map(page, f"{origin}/{WUHAN}&day={day}")
        expect(page.locator("#map-in-view-count")).to_contain_text("片带警示的水体")
        before = page.locator("#map-in-view-count").inner_text()  # so many at least: more may yet be drawn
        page.get_by_role("button", name="筛选").click()
        expect(page.locator("#map-time")).to_be_visible()
        red = page.locator('#map-filters [data-facet="severity"][data-value="4"]')
        red.click()
        expect(page.locator("#map-in-view-count")).not_to_have_text(before)
        red.click()
        page.wait_for_function(
            """before => {
                const count = (words) => Number(words.match(/\\d+/)[0]);
                return count(document.querySelector("#map-in-view-count").textContent) >= count(before);
            }""",
            arg=before,
        )
        page.keyboard.press("Escape")
        expect(page.locator("#map-filters")).to_be_hidden()
        expect(page.locator("#map-time")).to_be_visible()
        expect(page.locator("#map-day-words")).to_have_text(day)


def test_files_superseded_while_the_page_opens_are_asked_for_by_their_new_names(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    manifest = published.manifest()
    stale = json.dumps(manifest | {key: f"{key}.ffffffffffffffff.json" for key in ("levels", "incidents")})
    served = []

    def answer(route: Route) -> None:
        served.append(route.request.url)
        if len(served) == 1:
            route.fulfill(body=stale, content_type="application/json")
        else:
            route.continue_()

    with people.person(browser, watch, DESKTOP) as page:
        page.context.route("**/published/map.json", answer)
        open_map(page, origin + "/" + WUHAN)
        expect(page.locator("#map-in-view-count")).to_contain_text("片带警示的水体")
        expect(page.locator("#map-missed-incidents")).to_be_hidden()
        assert len(served) >= 2, "the pointer was read again; the worker reads it, too"


def test_without_the_incidents_the_map_stays_says_so_and_takes_them_when_they_are_there(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    index = published.folder / published.manifest()["incidents"]
    content = index.read_bytes()
    index.unlink()
    with people.person(browser, watch, PHONE) as page:
        open_map(page, origin + "/" + WUHAN)
        expect(page.locator("#map-missed-incidents")).to_contain_text("事件没有读到，地图上只有水体的等级")
        expect(page.locator("#map-in-view-count")).to_contain_text("片带警示的水体")
        assert people.overflow_px(page) == 0
        index.write_bytes(content)
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator("#map-missed-incidents")).to_be_hidden()


@pytest.mark.parametrize("kept", [0, 16_384], ids=["from its first byte", "after its head"])
def test_an_archive_of_garbage_is_said_and_the_drawn_map_offered(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch, kept: int
) -> None:
    archive = published.folder / published.manifest()["tiles"]
    content = archive.read_bytes()
    archive.write_bytes(content[:kept] + bytes(7 for _ in content[kept:]))
    with people.person(browser, watch, PHONE) as page:
        page.goto(origin)
        if kept:
            expect(page.locator("#map-missed-tiles")).to_contain_text("地图有的部分没有读到，可能不全")
            link = page.locator("#map-missed-tiles a")
            expect(link).to_have_attribute("href", "/published/maps/national.html?lang=zh-Hans")
        else:
            expect(page.locator("#map")).to_contain_text("地图的数据文件坏了")
            expect(page.frame_locator("#map iframe").locator("body")).to_contain_text("简化的地图（测试）")
            expect(page.locator("#map .map-canvas")).to_have_count(0)
        assert people.overflow_px(page) == 0


def test_the_drawn_map_says_how_old_the_data_is_in_the_pages_language(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    published.age(datetime.now(UTC) - timedelta(hours=3, minutes=5))
    with people.person(browser, watch, PHONE) as page:
        page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
        page.goto(f"{origin}/?lang=en")
        expect(page.locator("#map iframe")).to_have_attribute("src", f"{origin}/published/maps/national.html?lang=en")
        expect(page.locator("#map .map-snapshot")).to_contain_text("3 h")
        page.goto(origin)
        expect(page.locator("#map .map-snapshot")).to_contain_text("数据已有 3 小时没有更新")


def test_a_map_that_loses_its_graphics_leaves_no_canvas_and_no_tools(
    origin: str, browser: Browser, watch: Watch
) -> None:
    with people.person(browser, watch, DESKTOP) as page:
        open_map(page, origin)
        page.evaluate(
            "document.querySelector('#map canvas').getContext('webgl2')"
            ".getExtension('WEBGL_lose_context').loseContext()"
        )
        expect(page.locator("#map .map-snapshot")).to_contain_text("数据更新于")
        expect(page.locator("#map .map-canvas")).to_have_count(0)
        expect(page.locator(".map-tools")).to_be_hidden()


def test_the_language_of_a_link_is_for_one_visit(origin: str, browser: Browser, watch: Watch) -> None:
    with people.person(browser, watch, PHONE) as page:
        page.goto(f"{origin}/{WUHAN}&lang=en")
        page.wait_for_function(
            "() => document.documentElement.lang === 'en' && document.querySelector('#map[data-ready]')"
        )
        assert view_of(page) == (8, 30.5, 114.4)
        assert "language" not in {one.get("name") for one in page.context.cookies(origin)}
        open_map(page, origin)
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"


def test_a_name_without_end_stays_on_the_page(
    settings: Settings, origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    engine = make_engine(settings.database_url)
    with transaction(make_sessions(engine)) as session:
        load_builtin(session, now=utc_now())
        session.execute(
            text("UPDATE water_name SET name = :name WHERE is_primary AND lang = 'zh-Hans' AND water_body_id ="
                 " (SELECT id FROM water_body WHERE public_id = 'w-tangxun')"),
            {"name": LONG},
        )  # fmt: skip
    engine.dispose()
    incidents = published.incidents()
    for path in (published.folder / "incidents").iterdir():
        tile = json.loads(path.read_text())
        for one in tile["features"]:
            one["properties"]["names"] = {"zh-Hans": LONG}
        path.write_text(json.dumps(tile))
    lon, lat = incidents[0]["geometry"]["coordinates"]
    with people.person(browser, watch, PHONE) as page:
        page.goto(f"{origin}/w/w-tangxun")
        expect(page.get_by_role("heading", level=1)).to_have_text(LONG)
        assert people.overflow_px(page) == 0
        open_map(page, f"{origin}/#map=12/{lat}/{lon}")
        expect(page.locator("#map-in-view")).to_contain_text(LONG)
        assert people.overflow_px(page) == 0
        box = page.locator("#map .maplibregl-canvas").bounding_box()
        assert box is not None
        page.locator("#map .maplibregl-canvas").click(position={"x": box["width"] / 2, "y": box["height"] / 2})
        popup = page.locator(".map-popup")
        expect(popup).to_contain_text(LONG)
        assert popup.evaluate("(one) => one.scrollWidth - one.clientWidth") == 0


def test_without_the_site_a_name_that_is_not_at_hand_is_not_said_to_be_nowhere(
    origin: str, browser: Browser, watch: Watch
) -> None:
    with people.person(browser, watch, PHONE) as page:
        page.route("**/api/**", lambda route: route.abort())
        open_map(page, origin)
        page.locator("#map-search").press_sequentially("没有这条河")
        expect(page.locator("#map-search-status")).to_have_text(
            "大江大湖和地图视野里没有叫这个名字的。其他名字要到网站上查，现在连不上网站。"
        )
        expect(page.locator("#map-found")).to_be_hidden()


def test_the_printed_picture_fills_its_frame(origin: str, browser: Browser, watch: Watch) -> None:
    for size in (PHONE, DESKTOP):
        with people.person(browser, watch, size) as page:
            open_map(page, origin + "/" + WUHAN)
            page.evaluate("window.print = () => null")
            page.get_by_role("button", name="打印").click()
            page.wait_for_function("() => document.querySelector('#map-print img')?.naturalWidth > 300")
            page.set_viewport_size({"width": 680, "height": 960})  # the written part of A4
            page.emulate_media(media="print")
            shown, drawn, free = page.evaluate(
                """() => { const i = document.querySelector('#map-print img');
                return [i.clientWidth / i.clientHeight, i.naturalWidth / i.naturalHeight,
                        i.clientWidth / i.parentElement.clientWidth] }"""
            )
            assert shown == pytest.approx(drawn, rel=0.02)
            assert free > (0.6 if size == PHONE else 0.99), "an upright picture ends where the paper does"
