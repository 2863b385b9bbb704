"""The report page on a phone: few taps, light, found by name, drawn without a network, kept on two phones at once."""

import gzip
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.escalation.rows import add_incident
from tests.journeys import people
from tests.journeys.conftest import Site
from tests.journeys.people import Watch
from tests.journeys.test_reporting_on_a_bad_line import WIDER, await_worker, citizen, fill, large_photo, open_form
from waterwatch.kernel.db import make_engine, make_sessions, transaction

pytestmark = pytest.mark.journey

BUDGET_BYTES = 200 * 1024
SMALL_PHONE = {"width": 360, "height": 640}
TALL_SCREEN = {"width": 1280, "height": 2400}
FAR_FROM_ALL = (105.9, 35.2)  # where no other journey reports
TELL_TAPS = 'addEventListener("pointerdown", (event) => event.isTrusted && tapped(event.target.id), true)'
KEPT_WHOLE = """() => new Promise((resolve) => {
    const opening = indexedDB.open("waterwatch");
    opening.onsuccess = () => {
        const asking = opening.result.transaction("reports").objectStore("reports").getAll();
        asking.onsuccess = async () => {
            opening.result.close();
            resolve(await Promise.all(asking.result.map(async (report) => ({...report, photos: await Promise.all(
                report.photos.map(async (photo) => {
                    const bytes = new Uint8Array(await photo.blob.arrayBuffer());
                    const size = await createImageBitmap(photo.blob).then((one) => [one.width, one.height], () => null);
                    const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
                    return {...photo, blob: null, type: photo.blob.type, text, size};
                }))}))));
        };
    };
})"""
RESTORE = """(reports) => new Promise((resolve) => {
    const opening = indexedDB.open("waterwatch");
    opening.onsuccess = () => {
        const writing = opening.result.transaction("reports", "readwrite");
        for (const report of reports) {
            const photos = report.photos.map(({text, type, size, ...photo}) => {
                const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
                return {...photo, blob: new Blob([bytes], {type})};
            });
            writing.objectStore("reports").put({...report, photos});
        }
        writing.oncomplete = () => { opening.result.close(); resolve(); };
    };
})"""


def photograph(path: Path, width: int, height: int, *, orientation: int = 1) -> Path:
    """A photo large enough to be made smaller, lying in its file as the sensor had it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=60, exif=exif)
    assert path.stat().st_size > 1_500_000
    return path


def keep_without_network(context: BrowserContext, page: Page) -> None:
    """Send, and see it kept."""
    context.set_offline(True)
    page.click("#send")
    expect(page.locator("#kept [data-state]").first).to_have_text("没有网络，联网后自动发送")


def test_a_first_report_takes_five_taps_the_safety_words_included(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    taps: list[str] = []
    with citizen(browser, watch) as (_context, page):
        # A lambda, because Playwright marks what it is given, and a method of a list takes no mark.
        page.expose_function("tapped", lambda target: taps.append(target))  # noqa: PLW0108
        page.evaluate(TELL_TAPS)
        with page.expect_file_chooser() as camera:
            page.click("label[for=photo-camera]")
            page.get_by_role("button", name="明白了，继续").click()
        camera.value.set_files(people.take_photo(tmp_path / "tap.jpg", seed=41))
        expect(page.locator("#lat")).not_to_have_value("")
        assert len(taps) == 2
        page.locator("label:has(#place_confirmed)").click()
        page.locator("label:has(input[value=algal_bloom])").click()
        page.click("#send")
        page.wait_for_url(re.compile(r"/f/[\w-]+$"))
        assert len(taps) == 5


@pytest.mark.parametrize("size", [SMALL_PHONE, TALL_SCREEN], ids=["small phone", "tall screen"])
def test_what_a_browser_loads_before_the_map_is_reached_is_light(
    site: Site, browser: Browser, size: dict[str, int]
) -> None:
    context = browser.new_context(base_url=site.origin, viewport=size, service_workers="block")
    page = context.new_page()
    scripts: list[Response] = []
    page.on("response", lambda one: scripts.append(one) if one.url.endswith(".js") else None)
    try:
        open_form(page)
        page.wait_for_load_state("networkidle")
        loaded = {one.url: len(gzip.compress(one.body())) for one in scripts}
        worker = len(gzip.compress(page.request.get("/sw.js").body()))
        assert sum(loaded.values()) + worker <= BUDGET_BYTES, loaded
        assert not any("/open-" in url for url in loaded)
        page.locator("#place-map").scroll_into_view_if_needed()
        page.mouse.wheel(0, 1)
        page.wait_for_selector("#place-map[data-ready]")
        assert any("/open-" in one.url for one in scripts)
    finally:
        context.close()


def test_a_lake_is_found_by_name_with_the_keyboard_alone_and_sets_no_pin(
    site: Site, browser: Browser, watch: Watch
) -> None:
    with citizen(browser, watch) as (_context, page):
        field = page.locator("#place-search")
        field.focus()
        page.keyboard.type("poyanghu")
        options = page.locator("#place-found [role=option]")
        expect(options.first).to_contain_text("鄱阳湖")
        expect(options.first).to_contain_text("江西省")
        expect(field).to_have_attribute("aria-expanded", "true")
        page.keyboard.press("ArrowDown")
        expect(field).to_have_attribute("aria-activedescendant", "place-found-0")
        expect(options.first).to_have_attribute("aria-selected", "true")
        page.keyboard.press("Escape")
        expect(page.locator("#place-found")).to_be_hidden()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(page.locator("#place-search-status")).to_have_text("地图已移到鄱阳湖。请在地图上点出污染的地方。")
        page.wait_for_selector("#place-map[data-ready]")
        expect(page.locator("#lon")).to_have_value("")
        page.locator("#place-map canvas").click()
        expect(page.locator("#lat")).to_have_value(re.compile(r"^(28|29)\.\d+$"))
        expect(page.locator("#lon")).to_have_value(re.compile(r"^11[56]\.\d+$"))


def test_a_river_in_a_city_is_found_there(site: Site, browser: Browser, watch: Watch) -> None:
    with citizen(browser, watch) as (_context, page):
        page.fill("#place-search", "武汉长江")
        page.get_by_role("option").filter(has_text="武汉市").first.click()
        expect(page.locator("#place-search-status")).to_have_text("地图已移到长江。请在地图上点出污染的地方。")
        page.fill("#place-search", "长江")
        page.get_by_role("option").filter(has_text="长江").first.click()
        expect(page.locator("#place-search-status")).to_contain_text("加上地名再搜会更近")
        page.fill("#place-search", "没有这条河")
        expect(page.locator("#place-search-status")).to_contain_text("没有找到")


def test_a_map_seen_before_opens_without_a_network(site: Site, browser: Browser, watch: Watch, tmp_path: Path) -> None:
    with citizen(browser, watch) as (context, page):
        page.set_input_files("#photo", people.take_photo(tmp_path / "seen.jpg", seed=42))
        page.wait_for_selector("#place-map[data-ready]")
        expect(page.locator("#candidates legend")).to_have_text(re.compile("^是.+吗？"))
        await_worker(page)
        page.evaluate("""async () => {
            const count = async (name) => (await (await caches.open(name)).keys()).length;
            while ((await count("map")) < 3 || (await count("map-pieces")) < 3)
                await new Promise(requestAnimationFrame);
        }""")
        page.close()
        context.set_offline(True)
        context.set_geolocation(None)
        offline = context.new_page()
        open_form(offline)
        offline.locator("#place-map").scroll_into_view_if_needed()
        offline.mouse.wheel(0, 1)
        offline.wait_for_selector("#place-map[data-ready]")
        offline.locator("#place-map canvas").click()
        expect(offline.locator("#candidates")).to_have_text(
            "现在没有网络。是哪条河、附近有没有人报过，收到后由审核员核对。"
        )
        # Where it was last looked at, and not the whole country.
        expect(offline.locator("#lon")).to_have_value(re.compile(r"^114\.\d+$"))
        expect(offline.locator("#lat")).to_have_value(re.compile(r"^30\.\d+$"))
        offline.fill("#place-search", "鄱阳")
        offline.get_by_role("option").filter(has_text="鄱阳湖").click()
        expect(offline.locator("#place-search-status")).to_contain_text("地图已移到鄱阳湖")
        context.set_offline(False)
        expect(offline.locator("#candidates legend, #candidates .field-hint")).not_to_contain_text("没有网络")


def test_a_map_never_seen_says_so_without_a_network_and_opens_when_asked_again(
    site: Site, browser: Browser, watch: Watch
) -> None:
    with citizen(browser, watch) as (context, page):
        await_worker(page)
        context.set_offline(True)
        page.fill("#place-search", "长江")
        expect(page.locator("#place-search-status")).to_contain_text("现在没有网络")
        page.mouse.wheel(0, 400)
        page.locator("#place-map").scroll_into_view_if_needed()
        expect(page.locator("#place-map")).to_contain_text("地图没有打开，多半是网络的缘故")
        context.set_offline(False)
        page.get_by_role("button", name="再打开一次").click()
        page.wait_for_selector("#place-map[data-ready]")


def test_the_same_kept_report_sent_from_two_phones_at_once_is_one_report(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    """A backup was restored to a second phone."""
    with citizen(browser, watch) as (one, first), citizen(browser, watch) as (other, second):
        fill(first, people.take_photo(tmp_path / "two.jpg", seed=43))
        keep_without_network(one, first)
        other.set_offline(True)
        second.evaluate(RESTORE, first.evaluate(KEPT_WHOLE))
        one.set_offline(False)
        other.set_offline(False)
        second.evaluate("dispatchEvent(new Event('online'))")
        first.wait_for_url(re.compile(r"/f/[\w-]+$"))
        expect(second.locator("#kept")).to_contain_text("已收到，编号")
        link = second.get_by_role("link", name="查看进展")
        assert first.url == f"{site.origin}{link.get_attribute('href')}"
        people.await_step(first, "照片已处理")


def test_two_tabs_of_one_phone_send_a_kept_report_once(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    with citizen(browser, watch) as (context, page):
        fill(page, people.take_photo(tmp_path / "tabs.jpg", seed=44))
        await_worker(page)
        keep_without_network(context, page)
        tab = context.new_page()
        open_form(tab)
        expect(tab.locator("#kept .kept")).to_have_count(1)
        context.set_offline(False)
        page.wait_for_url(re.compile(r"/f/[\w-]+$"))
        expect(tab.locator("#kept")).to_contain_text("已收到，编号")
        assert tab.locator("#kept .kept").count() == 1
        assert page.url.endswith(str(tab.get_by_role("link", name="查看进展").get_attribute("href")))


def test_two_phones_that_saw_the_same_thing_are_two_reports(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    addresses = []
    for seed in (45, 46):
        with citizen(browser, watch) as (_context, page):
            fill(page, people.take_photo(tmp_path / f"{seed}.jpg", seed=seed))
            page.click("#send")
            page.wait_for_url(re.compile(r"/f/[\w-]+$"))
            addresses.append(page.url)
    assert len(set(addresses)) == 2


def test_a_better_fix_does_not_move_a_place_that_was_confirmed(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    with citizen(browser, watch) as (context, page):
        # First, since drawing may take all of the ten seconds in which the phone looks for a better fix.
        page.locator("#place-map").scroll_into_view_if_needed()
        page.wait_for_selector("#place-map[data-ready]")
        context.set_geolocation({"longitude": 114.3, "latitude": 30.55, "accuracy": 400})
        page.set_input_files("#photo", people.take_photo(tmp_path / "fix.jpg", seed=47))
        expect(page.locator("#lon")).to_have_value(re.compile(r"^114\.3"))
        page.locator("label:has(#place_confirmed)").click()
        context.set_geolocation({"longitude": 114.31, "latitude": 30.56, "accuracy": 15})
        expect(page.locator("input[name=accuracy_m]")).to_have_value("15.0")  # kept as evidence
        expect(page.locator("#lon")).to_have_value(re.compile(r"^114\.30*$"))
        expect(page.locator("#place_confirmed")).to_be_checked()


def test_photos_are_turned_made_smaller_and_appended_and_what_cannot_be_shown_is_kept(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    turned = photograph(tmp_path / "turned.jpg", 3000, 2000, orientation=6)
    wide = photograph(tmp_path / "wide.jpg", 8000, 1500)
    heic = tmp_path / "IMG_1.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(range(256)) * 40)
    with citizen(browser, watch) as (context, page):
        for photo in (turned, wide, heic):  # the camera gives one at a time
            page.set_input_files("#photo-camera", photo)
        expect(page.locator("#photo-list img")).to_have_count(
            2, timeout=30_000
        )  # one after the other, 12 megapixels each
        expect(page.locator("#photo-list li").nth(2)).to_contain_text("无法预览，但可以发送")
        expect(page.locator("#photo-status")).to_contain_text("已选 3 张")
        page.locator("#place_confirmed").check(force=True)
        page.locator("input[name=kind][value=foam]").check(force=True)
        keep_without_network(context, page)
        (report,) = page.evaluate(KEPT_WHOLE)
        assert [photo["size"] for photo in report["photos"]] == [[1707, 2560], [5120, 960], None]
        assert len(report["photos"][2]["text"]) * 3 // 4 >= heic.stat().st_size


def test_six_photos_of_25_mb_are_kept(site: Site, browser: Browser, watch: Watch, tmp_path: Path) -> None:
    content = large_photo(tmp_path / "0.heic", 24.5).read_bytes()
    photos = []
    for number in range(6):
        photos.append(tmp_path / f"{number}.heic")
        photos[-1].write_bytes(content + bytes([number]))
    with citizen(browser, watch) as (context, page):
        page.set_input_files("#photo", photos)
        expect(page.locator("#photo-status")).to_contain_text("已选 6 张")
        page.locator("#place_confirmed").check(force=True)
        page.locator("input[name=kind][value=foam]").check(force=True)
        context.set_offline(True)
        page.click("#send")
        expect(page.locator("#kept [data-state]").first).to_have_text("没有网络，联网后自动发送")


@pytest.fixture(scope="module")
def incident_nearby(site: Site) -> None:
    """An open incident where no other journey reports."""
    engine = make_engine(site.setting("DATABASE_URL"))
    with transaction(make_sessions(engine)) as session:
        add_incident(session, now=datetime.now(UTC), at=FAR_FROM_ALL, water="月牙河")
    engine.dispose()


@pytest.mark.usefixtures("incident_nearby")
@pytest.mark.parametrize("language", ["zh-Hans", "zh-Hant", "en"])
@pytest.mark.parametrize("scale", [1, 2])
def test_every_state_of_the_page_reads_well(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path, language: str, scale: int
) -> None:
    photo = people.take_photo(tmp_path / "axe.jpg", seed=48)
    with citizen(browser, watch) as (context, page):
        context.add_cookies([{"name": "language", "value": language, "url": site.origin}])
        context.set_geolocation({"longitude": FAR_FROM_ALL[0], "latitude": FAR_FROM_ALL[1], "accuracy": 9})
        open_form(page)
        page.evaluate("scale => { document.documentElement.style.fontSize = `${100 * scale}%` }", scale)

        def look(state: str) -> None:
            assert people.overflow_px(page) == 0, (state, page.evaluate(WIDER))
            assert people.find_violations(page) == [], state

        page.click("label[for=photo-camera]")
        page.wait_for_selector("#safety-dialog[open]")
        look("the safety words")
        page.keyboard.press("Escape")
        page.set_input_files("#photo", photo)
        page.wait_for_selector("#place-map[data-ready]")
        expect(page.locator("#candidates input").first).to_be_visible()
        expect(page.locator(".nearby").first).to_be_visible()
        look("candidates and what others reported nearby")
        page.fill("#place-search", "长江")
        page.keyboard.press("ArrowDown")
        expect(page.locator("#place-found [role=option]").first).to_be_visible()
        look("what a search offers")
        page.keyboard.press("Escape")
        page.click("#send")
        expect(page.locator(".error-summary")).to_be_visible()
        look("what is missing")
        page.locator(".error-summary button").click()
        expect(page.locator("#kept .kept-incomplete")).to_have_count(1)
        look("kept though incomplete")
        context.set_offline(True)
        page.fill("#place-search", "长")
        expect(page.locator("#place-search-status")).not_to_be_empty()
        look("no network")
