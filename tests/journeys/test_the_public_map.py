"""The live map as people use it, on a phone and on a desk: every control, every failure, nothing from elsewhere."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.journeys import people
from tests.journeys.people import DESKTOP, PHONE, Watch
from tests.journeys.published_map import PublishedMap, compare_picture, open_map, publish_fixture, serving, view_of
from tests.web.site import running
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.settings import Settings
from waterwatch.waters.service import load_builtin

pytestmark = pytest.mark.journey
SIZES = pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
WUHAN = "#map=8/30.5/114.4"


@pytest.fixture(scope="module")
def fixture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published files, made once; tests that change them take a copy."""
    return publish_fixture(tmp_path_factory.mktemp("published")).folder


@pytest.fixture
def published(settings: Settings, fixture_folder: Path) -> PublishedMap:
    """A copy of its own in the application's folder."""
    folder = settings.publish_dir
    folder.mkdir(parents=True)
    for path in sorted(fixture_folder.rglob("*")):
        target = folder / path.relative_to(fixture_folder)
        target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
    return PublishedMap(folder)


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


@SIZES
def test_every_tool_works_and_the_address_keeps_what_was_chosen(
    origin: str, browser: Browser, watch: Watch, size: dict[str, int], tmp_path: Path
) -> None:
    with people.person(browser, watch, size) as page:
        open_map(page, origin)
        expect(page.locator("#map-in-view-count")).to_contain_text("片带警示的水体")
        assert people.overflow_px(page) == 0
        _filter_by_red(page)
        assert people.find_violations(page) == []
        page.keyboard.press("Escape")
        expect(page.locator("#map-filters")).to_be_hidden()
        expect(page.locator('[data-tool="filters"]')).to_be_focused()
        page.get_by_role("button", name="加强区分").click()
        expect(page.get_by_role("button", name="加强区分")).to_have_attribute("aria-pressed", "true")
        assert "strong=1" in page.url
        _walk_through_the_year(page)
        assert people.find_violations(page) == []
        _print(page)
        _every_target_is_large_enough(page)
        assert people.overflow_px(page) == 0
        assert page.title() == "江湖網·预警图"


def _filter_by_red(page: Page) -> None:
    page.get_by_role("button", name="筛选").click()
    sheet = page.locator("#map-filters")
    red = sheet.locator('[data-facet="severity"][data-value="4"]')
    shown = int(red.locator(".map-facet-count").inner_text())
    assert shown > 0
    red.click()
    assert "severity=4" in page.url
    expect(page.locator("#map-in-view .level-4").first).to_be_visible()
    expect(page.locator("#map-in-view .level:not(.level-4)")).to_have_count(0)
    of_kinds = sheet.locator('[data-facet="kind"] .map-facet-count').all_inner_texts()
    assert sum(map(int, of_kinds)) == shown, "the kinds are counted among the chosen levels"
    sheet.get_by_role("button", name="显示全部").click()
    assert "severity" not in page.url


def _walk_through_the_year(page: Page) -> None:
    page.get_by_role("button", name="一年来").click()
    day, words = page.locator("#map-day"), page.locator("#map-day-words")
    expect(words).to_have_text("今天")
    expect(page.locator("#map-play")).to_be_focused()
    day.focus()
    page.keyboard.press("Home")
    expect(page.locator(".map-age")).to_contain_text("显示的是")
    first = words.inner_text()
    assert first in page.locator(".map-age").inner_text()
    assert day.get_attribute("aria-valuetext") == first
    page.get_by_role("button", name="播放").click()
    expect(words).not_to_have_text(first)
    page.get_by_role("button", name="暂停").click()
    assert f"day={words.inner_text()}" in page.url
    page.get_by_role("button", name="回到今天").click()
    expect(page.locator(".map-age")).to_contain_text("数据更新于")
    assert "day=" not in page.url


def _print(page: Page) -> None:
    page.get_by_role("button", name="打印").click()
    page.wait_for_function("() => document.querySelector('#map-print img')?.naturalWidth > 300")
    page.emulate_media(media="print")
    expect(page.locator("#map-print img")).to_be_visible()
    expect(page.locator("#map-print")).to_contain_text("公众观察等级，非政府预警")
    expect(page.locator("#map-print")).to_contain_text("#map=")
    expect(page.locator("#map-legend")).to_be_visible()
    expect(page.locator(".map-tools")).to_be_hidden()
    colours = page.evaluate(
        """async () => { const i = document.querySelector('#map-print img'), c = document.createElement('canvas');
        c.width = 200; c.height = 200; const x = c.getContext('2d'); x.drawImage(i, 0, 0, 200, 200);
        return new Set(new Uint32Array(x.getImageData(0, 0, 200, 200).data.buffer)).size }"""
    )
    assert colours > 20, "the printed picture is empty"
    page.emulate_media(media="screen")


def _every_target_is_large_enough(page: Page) -> None:
    small = page.evaluate(
        """() => [...document.querySelectorAll('.map-room button, .map-room input, .map-room a, .map-facet-row')]
        .filter((e) => e.offsetParent && !['checkbox', 'radio'].includes(e.type))
        .map((e) => [e.outerHTML.slice(0, 80), e.getBoundingClientRect().height])
        .filter(([, height]) => height < 44)"""
    )
    assert small == []


@SIZES
def test_a_shared_link_shows_another_person_the_same(
    origin: str, browser: Browser, watch: Watch, size: dict[str, int]
) -> None:
    day = (datetime.now(UTC) - timedelta(days=40)).date().isoformat()
    with people.person(browser, watch, size) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=origin)
        open_map(page, f"{origin}/#map=6.5/30.5/114.3&day={day}&severity=4.3&answer=none&strong=1")
        page.get_by_role("button", name="分享").click()
        expect(page.locator("#map-said")).to_contain_text("链接已复制")
        link = page.evaluate("navigator.clipboard.readText()")
    assert link.endswith("&lang=zh-Hans")
    with people.person(browser, watch, size) as page:
        open_map(page, link)
        page.get_by_role("button", name="放大").click()
        page.wait_for_function("() => location.hash.includes('map=7.5')")
        zoom, lat, lon = view_of(page)
        assert (zoom, round(lat, 2), round(lon, 2)) == (7.5, 30.5, 114.3)
        assert f"day={day}" in page.url
        assert "severity=4.3&answer=none&strong=1" in page.url
        expect(page.locator("#map-day-words")).to_have_text(day)


def test_a_link_shared_in_english_opens_in_english_and_can_be_changed_back(
    origin: str, browser: Browser, watch: Watch
) -> None:
    with people.person(browser, watch, PHONE) as page:
        open_map(page, f"{origin}/#map=6.5/30.5/114.3&lang=en")
        page.wait_for_function(
            "() => document.documentElement.lang === 'en' && document.querySelector('#map[data-ready]')"
        )
        assert "map=6.5" in page.url
        assert "lang" not in page.url.partition("#")[2]
        page.get_by_role("button", name="简体中文").click()
        page.wait_for_function("() => document.documentElement.lang === 'zh-Hans'")
        assert "lang" not in page.url


def test_what_is_pointed_at_says_what_it_is_and_markup_in_it_stays_text(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    hostile = next(one for one in published.incidents() if "<img" in str(one["properties"]["names"]))
    lon, lat = hostile["geometry"]["coordinates"]
    with people.person(browser, watch, DESKTOP) as page:
        open_map(page, f"{origin}/#map=12/{lat}/{lon}")
        expect(page.locator("#map-in-view")).to_contain_text("<img src=x")  # incidents come after the waters
        frame = page.locator("#map .maplibregl-canvas")
        box = frame.bounding_box()
        assert box is not None
        frame.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
        popup = page.locator(".map-popup")
        expect(popup).to_contain_text("<img src=x")
        assert popup.locator("img").count() == 0
        link = popup.get_by_role("link", name="查看这个事件")
        assert link.get_attribute("href") == f"/i/{hostile['properties']['code']}"
        assert page.locator("#map-in-view img").count() == 0
        page.locator("#map-in-view a").first.hover()
        assert page.title() == "江湖網·预警图"
        href = page.locator("#map-in-view a").first.get_attribute("href")
        assert href is not None
        assert href.startswith("/w/")


def test_a_name_or_its_pinyin_moves_the_map(settings: Settings, origin: str, browser: Browser, watch: Watch) -> None:
    engine = make_engine(settings.database_url)
    with transaction(make_sessions(engine)) as session:
        load_builtin(session, now=utc_now())
    engine.dispose()
    with people.person(browser, watch, PHONE) as page:
        open_map(page, origin)
        for words, name in (("鄱阳湖", "鄱阳湖"), ("poyang", "鄱阳湖")):
            page.fill("#map-search", "")
            page.locator("#map-search").press_sequentially(words)
            page.locator("#map-found [role=option]").first.wait_for()
            page.keyboard.press("ArrowDown")
            page.keyboard.press("Enter")
            expect(page.locator("#map-search-status")).to_contain_text(f"地图已移到{name}")
        assert people.find_violations(page) == []


def test_with_the_application_stopped_the_search_knows_what_is_in_view(
    origin: str, browser: Browser, watch: Watch
) -> None:
    with people.person(browser, watch, PHONE) as page:
        page.route("**/api/**", lambda route: route.abort())
        open_map(page, origin + WUHAN)
        page.locator("#map-search").press_sequentially("东湖")
        expect(page.locator("#map-search-status")).to_contain_text("下面只是大江大湖和地图视野里的")
        page.locator("#map-found [role=option]").first.click()
        expect(page.locator("#map-search-status")).to_contain_text("地图已移到东湖")


def test_a_new_publication_reaches_an_open_map(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    with people.person(browser, watch, DESKTOP) as page:
        open_map(page, origin + WUHAN)
        expect(page.locator("#map-in-view-count")).to_contain_text("片带警示的水体")
        (published.folder / "levels.0000000000000000.json").write_text(json.dumps({"confirmed": {}, "approaching": {}}))
        published.change(levels="levels.0000000000000000.json", generated_at="2026-01-01T00:00:00+00:00")
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        expect(page.locator("#map-in-view-count")).to_have_text("地图视野里没有带警示的水体。")


def test_a_map_that_is_not_renewed_says_how_old_it_is(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    published.age(datetime.now(UTC) - timedelta(hours=3, minutes=5))
    with people.person(browser, watch, PHONE) as page:
        open_map(page, origin)
        expect(page.locator(".map-age[role=status]")).to_contain_text("数据已有 3 小时没有更新")


def test_without_a_network_the_last_map_opens_with_its_time(origin: str, browser: Browser, watch: Watch) -> None:
    with people.person(browser, watch, PHONE) as page:
        open_map(page, origin)
        page.evaluate("navigator.serviceWorker.ready.then(() => null)")
        open_map(page, origin)  # now through the worker
        page.wait_for_function(
            """async () => { const count = async (name) => (await (await caches.open(name)).keys()).length;
            return await count('map-pieces') >= 3 && await count('map') >= 3 && await count('assets') >= 4
            && (await (await caches.open('pages')).match('/')) }"""
        )
        page.context.set_offline(True)
        open_map(page, f"{origin}/")
        expect(page.locator(".map-age")).to_contain_text("没有网络。显示的是")
        expect(page.locator("#map-in-view-count")).to_contain_text("片带警示的水体")


def test_a_device_without_webgl_shows_the_drawn_map(origin: str, browser: Browser, watch: Watch) -> None:
    with people.person(browser, watch, PHONE) as page:
        page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
        page.goto(origin)
        expect(page.locator("#map")).to_contain_text("下面是简化的地图")
        expect(page.frame_locator("#map iframe").locator("body")).to_contain_text("简化的地图（测试）")
        assert people.overflow_px(page) == 0


def test_a_device_that_loses_its_graphics_shows_the_drawn_map(origin: str, browser: Browser, watch: Watch) -> None:
    with people.person(browser, watch, DESKTOP) as page:
        open_map(page, origin)
        page.evaluate(
            "document.querySelector('#map canvas').getContext('webgl2')"
            ".getExtension('WEBGL_lose_context').loseContext()"
        )
        expect(page.frame_locator("#map iframe").locator("body")).to_contain_text("简化的地图（测试）")


def test_before_the_first_publication_and_when_it_cannot_be_read_the_frame_says_so(
    origin: str, published: PublishedMap, browser: Browser, watch: Watch
) -> None:
    manifest = (published.folder / "map.json").read_text()
    (published.folder / "map.json").unlink()
    with people.person(browser, watch, PHONE) as page:
        page.goto(origin)
        expect(page.locator("#map")).to_contain_text("地图正在准备")
        (published.folder / "map.json").write_text("no json")
        page.get_by_role("button", name="再试一次").click()
        expect(page.locator("#map")).to_contain_text("地图数据没有取到")
        (published.folder / "map.json").write_text(manifest)
        page.get_by_role("button", name="再试一次").click()
        page.wait_for_selector("#map[data-ready]")


@pytest.mark.parametrize(
    ("name", "size", "address", "scheme"),
    [
        ("wuhan-phone", PHONE, WUHAN, "light"),
        ("wuhan-phone-dark-strong", PHONE, WUHAN + "&strong=1", "dark"),
        ("east-desktop", DESKTOP, "#map=5.6/31/114", "light"),
    ],
)
def test_the_map_looks_as_it_did(
    origin: str,
    browser: Browser,
    watch: Watch,
    name: str,
    size: dict[str, int],
    address: str,
    scheme: Any,
    tmp_path: Path,
) -> None:
    with people.person(browser, watch, size) as page:
        page.emulate_media(color_scheme=scheme)
        open_map(page, origin + "/" + address)
        compare_picture(page, name, tmp_path)


def test_day_and_night_change_under_an_open_map_and_nothing_is_lost(
    origin: str, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    with people.person(browser, watch, PHONE) as page:
        page.emulate_media(color_scheme="light")
        open_map(page, origin + "/" + WUHAN + "&strong=1")
        page.emulate_media(color_scheme="dark")
        compare_picture(page, "wuhan-phone-dark-strong", tmp_path)


FRAMEFUL_OF_TILES = 8  # a desktop's map needs more


class _Tiles(BaseHTTPRequestHandler):
    """An operator's other map: white tiles, each with its own number asked for noted."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        picture = io.BytesIO()
        Image.new("RGB", (256, 256), "#dde5d8").save(picture, "PNG")
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        self.wfile.write(picture.getvalue())

    def log_message(self, *_: object) -> None:
        """Nothing: its lines would stand between the tests'."""


def test_an_operators_own_base_map_is_asked_only_when_chosen_and_shifted_to_fit(
    make_settings: Callable[..., Settings], database_url: str, redis_url: str, fixture_folder: Path, browser: Browser
) -> None:
    tiles = ThreadingHTTPServer(("127.0.0.1", 0), _Tiles)
    threading.Thread(target=tiles.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{tiles.server_port}"
    source = {"names": {"zh-Hans": "卫星图"}, "url": host + "/{z}/{x}/{y}.png", "datum": "gcj02", "attribution": "© 甲"}
    settings = make_settings(
        database_url=database_url, redis_url=redis_url, publish_dir=fixture_folder, base_tiles=json.dumps([source])
    )
    with running(settings) as app, serving(app) as origin:
        watch = Watch(origin, allowed=(host,))
        with people.person(browser, watch, DESKTOP) as page:
            open_map(page, f"{origin}/#map=14/30.55/114.3")
            assert _Tiles.asked == []
            page.get_by_role("button", name="底图").click()
            page.get_by_label("卫星图").check()
            expect(page.locator(".map-attribution")).to_have_text("© 甲")
            page.wait_for_function("() => document.querySelector('#map-base').hidden === false")
            for _ in range(200):
                if len(set(_Tiles.asked)) > FRAMEFUL_OF_TILES:
                    break
                page.wait_for_timeout(100)
            assert len(set(_Tiles.asked)) > FRAMEFUL_OF_TILES
            assert {path.split("/")[1] for path in _Tiles.asked} <= {"14", "15"}
            page.get_by_label("本站底图").check()
            expect(page.locator(".map-attribution")).to_have_text("")
        assert watch.faults == []
    tiles.shutdown()
    tiles.server_close()
