"""A citizen's report where the signal is bad or gone: kept on the phone, sent when it can be, received once, whole."""

import io
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import psutil
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.journeys import people
from tests.journeys.bad_line import bad_line
from tests.journeys.conftest import Site
from tests.journeys.people import PHONE, Watch

pytestmark = pytest.mark.journey

WUHAN = {"longitude": 114.288, "latitude": 30.549, "accuracy": 12}
MEGABYTE = 1_000_000
THIRD_GENERATION = {"offline": False, "latency": 300, "downloadThroughput": 200_000, "uploadThroughput": 94_000}


@contextmanager
def citizen(
    browser: Browser, watch: Watch, origin: str | None = None, *, service_workers: Literal["allow", "block"] = "allow"
) -> Iterator[tuple[BrowserContext, Page]]:
    """Somebody by the water with a phone that knows where it is, at the report form."""
    context = browser.new_context(
        base_url=origin or watch.origin,
        viewport=PHONE,
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        geolocation=WUHAN,
        permissions=["geolocation"],
        reduced_motion="reduce",
        service_workers=service_workers,
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    if origin is None:
        watch.follow(page)
    try:
        open_form(page)
        yield context, page
    finally:
        context.close()


def open_form(page: Page) -> None:
    page.goto("/report")
    page.wait_for_selector("form#report[data-ready]")


def await_worker(page: Page) -> None:
    """Until the service worker rules the page and has the form."""
    page.evaluate("""async () => {
        await navigator.serviceWorker.ready;
        const pages = await caches.open("pages");
        while (!(await pages.match("/report", {ignoreVary: true}))) await new Promise(requestAnimationFrame);
    }""")


def fill(page: Page, photo: Path, kind: str = "foam") -> None:
    """Photo, confirmed place, kind."""
    page.set_input_files("#photo", photo)
    expect(page.locator("#lat")).not_to_have_value("")
    page.locator("#place_confirmed").check(force=True)
    page.locator(f"input[name=kind][value={kind}]").check(force=True)


def large_photo(path: Path, megabytes: float) -> Path:
    """Noise that no phone can make smaller: the name says HEIC, which Chromium does not decode."""
    rng, edge = np.random.default_rng(7), 200
    while True:
        encoded = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (edge, edge, 3), dtype=np.uint8)).save(encoded, "JPEG", quality=98)
        if encoded.tell() >= megabytes * MEGABYTE:
            break
        edge = int(edge * (megabytes * MEGABYTE / encoded.tell()) ** 0.5) + 8
    path.write_bytes(encoded.getvalue())
    return path


def test_a_report_made_without_a_network_goes_out_once_when_it_returns(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    photo = people.take_photo(tmp_path / "foam.jpg", seed=21)
    with citizen(browser, watch) as (context, page):
        await_worker(page)
        context.set_offline(True)
        page.close()
        offline = context.new_page()
        open_form(offline)  # from the phone itself
        fill(offline, photo)
        offline.click("#send")
        expect(offline.locator("#kept")).to_contain_text("没有网络，联网后自动发送")
        expect(offline.locator("#send-progress")).to_contain_text("已经存在这台手机上")
        offline.close()
        context.set_offline(False)
        later = context.new_page()
        open_form(later)
        expect(later.locator("#kept")).to_contain_text("已收到")
        assert later.locator("#kept .kept").count() == 1
        later.get_by_role("link", name="查看进展").click()
        people.await_step(later, "照片已处理")
        kept = later.evaluate(KEPT)
        assert [report["photos"] for report in kept] == [0]  # the server has them


KEPT = """() => new Promise((resolve) => {
    const opening = indexedDB.open("waterwatch");
    opening.onsuccess = () => {
        const asking = opening.result.transaction("reports").objectStore("reports").getAll();
        asking.onsuccess = () => {
            opening.result.close();
            resolve(asking.result.map((one) => ({state: one.state, photos: one.photos.length})));
        };
    };
})"""


def test_a_photo_of_8_mb_arrives_over_a_line_that_drops_every_500_kb(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    photo = large_photo(tmp_path / "IMG_0001.heic", 8)
    with bad_line(site.origin, 500_000) as line, citizen(browser, watch, line.origin) as (_context, page):
        before = line.sent
        fill(page, photo)
        page.click("#send")
        page.wait_for_url(re.compile(r"/f/[\w-]+$"), timeout=120_000)
        sent, size = line.sent - before, photo.stat().st_size
        assert size >= 8 * MEGABYTE
        assert line.drops >= size // 500_000 - 1
        # No connection carried more than 500 KB: a photo begun anew each time would never have arrived.
        assert sent >= size
        people.await_step(page, "照片已处理")


def test_over_3g_it_takes_its_time_shows_how_far_it_is_and_arrives(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    with citizen(browser, watch) as (context, page):
        context.new_cdp_session(page).send("Network.emulateNetworkConditions", THIRD_GENERATION)
        fill(page, large_photo(tmp_path / "a.heic", 0.5))
        page.click("#send")
        expect(page.locator("#kept [data-state]").first).to_have_text(re.compile(r"正在发送 [1-9]\d?%"))
        page.wait_for_url(re.compile(r"/f/[\w-]+$"), timeout=60_000)


def test_a_server_killed_in_the_middle_costs_what_was_under_way(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    photo = large_photo(tmp_path / "b.heic", 3)
    slow = THIRD_GENERATION | {"latency": 20, "uploadThroughput": 600_000}
    with citizen(browser, watch) as (context, page):
        cdp = context.new_cdp_session(page)
        cdp.send("Network.emulateNetworkConditions", slow)
        fill(page, photo)
        page.click("#send")
        expect(page.locator("#kept [data-state]").first).to_have_text(re.compile(r"正在发送 [3-9]\d%"))
        for worker in web_workers(site):
            os.kill(worker, signal.SIGKILL)
        page.wait_for_url(re.compile(r"/f/[\w-]+$"), timeout=60_000)
        people.await_step(page, "照片已处理")


def web_workers(site: Site) -> list[int]:
    """The demonstration's web server's workers: who holds its port, less the parent that starts them anew."""
    port = int(site.origin.rsplit(":", 1)[1])
    holders = []
    for process in psutil.process_iter(["pid", "ppid", "cmdline"]):
        if any("wsgi:application" in part for part in process.info["cmdline"] or ()):
            with_port = [part for part in process.info["cmdline"] if str(port) in part]
            holders += [process] if with_port else []
    pids = {process.pid for process in holders}
    return [process.pid for process in holders if process.info["ppid"] in pids]


def test_a_phone_without_room_says_so_and_loses_nothing(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    photo = people.take_photo(tmp_path / "full.jpg", seed=23)
    with citizen(browser, watch) as (context, page):
        fill(page, photo)
        cdp = context.new_cdp_session(page)
        cdp.send("Storage.overrideQuotaForOrigin", {"origin": site.origin, "quotaSize": 1000})
        context.set_offline(True)
        page.click("#send")
        expect(page.locator("#send-progress")).to_contain_text("现在没有网络", timeout=15_000)
        expect(page.locator("#kept")).to_contain_text("没有网络")
        context.set_offline(False)
        page.wait_for_url(re.compile(r"/f/[\w-]+$"))
        people.await_step(page, "照片已处理")


def test_a_report_without_a_place_is_kept_corrected_and_sent(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    photo = people.take_photo(tmp_path / "later.jpg", seed=24)
    with citizen(browser, watch) as (context, page):
        context.set_geolocation(None)
        page.set_input_files("#photo", photo)
        page.locator("input[name=kind][value=oil_slick]").check(force=True)
        page.fill("#note", "桥下第二个桥墩")
        page.fill("#place_words", "过了铁路桥")
        page.click("#send")
        expect(page.locator(".error-summary")).to_contain_text("标错河比没有更糟")
        page.get_by_role("button", name="先存在手机里，以后再补").click()
        expect(page.locator("#kept")).to_contain_text("还没有填完，没有发送。还差：地图上的位置")
        expect(page.locator("#place_words")).to_have_value("")  # the next report begins empty
        page.reload()
        page.wait_for_selector("form#report[data-ready]")
        page.get_by_role("button", name="修改").click()
        expect(page.locator("#photo-list li")).to_have_count(1)
        expect(page.locator("#note")).to_have_value("桥下第二个桥墩")
        expect(page.locator("#place_words")).to_have_value("过了铁路桥")
        expect(page.locator("input[name=kind][value=oil_slick]")).to_be_checked()
        page.locator("#place-typed").evaluate("box => { box.open = true }")
        page.fill("#lon", "114°17′16.8″")
        page.fill("#lat", "30.549")
        page.locator("#lat").blur()
        page.locator("#place_confirmed").check(force=True)
        page.click("#send")
        page.wait_for_url(re.compile(r"/f/[\w-]+$"))


def test_what_the_server_refuses_is_explained_corrected_and_sent(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    with citizen(browser, watch) as (_context, page):
        fill(page, people.take_photo(tmp_path / "ph.jpg", seed=25))
        page.get_by_text("有仪器的话").click()
        page.fill("#ph", "71")
        page.click("#send")
        expect(page.locator(".error-summary")).to_contain_text("pH")
        expect(page.locator("#photo-list li")).to_have_count(1)
        page.get_by_text("有仪器的话").click() if not page.locator("#ph").is_visible() else None
        page.fill("#ph", "7.1")
        page.click("#send")
        page.wait_for_url(re.compile(r"/f/[\w-]+$"))


def test_before_the_camera_opens_once_how_to_stay_safe(site: Site, browser: Browser, watch: Watch) -> None:
    with citizen(browser, watch) as (_context, page):
        with page.expect_file_chooser():
            page.click("label[for=photo-camera]")
            expect(page.locator("#safety-dialog")).to_contain_text("离岸边远一点")
            page.get_by_role("button", name="明白了，继续").click()
        with page.expect_file_chooser():
            page.click("label[for=photo-camera]")  # the second time at once


KEPT_ON_THE_PHONE = """async () => [(await indexedDB.databases()).length, (await caches.keys()).length,
    Object.keys(localStorage).join(), (await navigator.serviceWorker.getRegistrations()).length]"""
# Nobody else sends meanwhile: not this page, not the worker.
HOLD_SENDING = """() => new Promise((held) => {
    navigator.locks.request("waterwatch-outbox", () => new Promise(held));
})"""


ELSEWHERE = "https://www.baidu.com/"  # which lies outside of this machine
# What the worker keeps of a map that is read; then the same once it has heard that somebody left.
KEEP = """async () => {
    await (await fetch("/published/map.json")).text();
    while (!(await caches.has("map-pieces"))) await new Promise(requestAnimationFrame);  // opened last
}"""
HEAR = """async () => {
    const {active} = await navigator.serviceWorker.ready;
    const {port1, port2} = new MessageChannel();
    const heard = new Promise((resolve) => { port1.onmessage = resolve; });
    active.postMessage({left: true}, [port2]);
    await heard;
    for (const name of await caches.keys()) await caches.delete(name);
    for (let nth = 0; nth < 5; nth += 1) await (await fetch("/published/map.json")).text();
    return caches.keys();
}"""


@contextmanager
def another_page(context: BrowserContext, watch: Watch, *, status: int = 503) -> Iterator[None]:
    """While this lasts, whither the exit leads is a page of two words.

    Our server's answer, which lets the browser forget, is a failure: the page has to have done so by itself.
    """
    watch.allowed = (*watch.allowed, ELSEWHERE)
    context.route(ELSEWHERE, lambda route: route.fulfill(body="another page", content_type="text/plain"))
    context.route("**/leave", lambda route: route.fulfill(status=status))
    yield


def leave(page: Page) -> None:
    page.get_by_role("link", name="快速离开").click()


def await_elsewhere(page: Page) -> None:
    expect(page.locator("body")).to_have_text("another page")


def test_the_quick_exit_leaves_nothing_on_the_phone(site: Site, browser: Browser, watch: Watch, tmp_path: Path) -> None:
    with citizen(browser, watch) as (context, page), another_page(context, watch):
        await_worker(page)
        other = context.new_page()
        other.goto("/")
        context.set_offline(True)
        fill(page, people.take_photo(tmp_path / "exit.jpg", seed=27))
        page.click("#send")
        expect(page.locator("#kept")).to_contain_text("没有网络")
        page.evaluate(HOLD_SENDING)
        context.set_offline(False)
        leave(page)
        await_elsewhere(page)
        await_elsewhere(other)  # what another tab shows would tell as much
        page.goto("/healthz")
        assert page.evaluate(KEPT_ON_THE_PHONE) == [0, 0, "", 0]


def test_the_servers_answer_signs_out_and_who_comes_back_has_the_form_without_a_network(
    site: Site, browser: Browser, watch: Watch
) -> None:
    with citizen(browser, watch) as (context, page):
        with another_page(context, watch):
            context.unroute("**/leave")
            context.add_cookies([{"name": "language", "value": "en", "url": site.origin, "httpOnly": True}])
            await_worker(page)
            leave(page)
            await_elsewhere(page)
        assert [cookie for cookie in context.cookies(site.origin) if cookie["name"] == "language"] == []
        open_form(page)
        await_worker(page)
        context.set_offline(True)
        open_form(page)
        expect(page.locator("h1")).to_contain_text("上报")


def test_the_worker_keeps_nothing_any_more_once_it_has_heard_of_the_exit(
    site: Site, browser: Browser, watch: Watch
) -> None:
    with citizen(browser, watch) as (_context, page):
        await_worker(page)
        page.evaluate(KEEP)
        assert page.evaluate(HEAR) == []


def test_whoever_leaves_while_a_report_is_on_its_way_sees_nothing_more_of_it(
    browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    """The answer comes, and its page is being opened, when the person has to be gone."""
    with citizen(browser, watch, service_workers="block") as (context, page), another_page(context, watch):
        context.route(re.compile(r"/f/[\w-]+$"), lambda _asked: None)  # it is asked for and does not come yet
        fill(page, people.take_photo(tmp_path / "sent.jpg", seed=29))
        button = page.get_by_role("link", name="快速离开").bounding_box()  # it stays in its corner of the screen
        assert button is not None
        with page.expect_request(re.compile(r"/f/[\w-]+$")):
            page.click("#send")
        page.mouse.click(button["x"] + button["width"] / 2, button["y"] + button["height"] / 2)  # awaits no page
        await_elsewhere(page)
        page.goto("/healthz")
        assert page.evaluate(KEPT_ON_THE_PHONE) == [0, 0, "", 0]


def test_an_answer_that_comes_while_one_leaves_opens_nothing(browser: Browser, watch: Watch, tmp_path: Path) -> None:
    with citizen(browser, watch, service_workers="block") as (context, page), another_page(context, watch):
        fill(page, people.take_photo(tmp_path / "answer.jpg", seed=30))
        # The exit is pressed in the moment in which the answer is there and nothing was done with it yet.
        page.evaluate("""() => {
            const ask = window.fetch;
            window.fetch = async (...asked) => {
                const answer = await ask(...asked);
                if (String(asked[0]).endsWith("/api/v1/reports")) document.querySelector("[data-quick-exit]").click();
                return answer;
            };
        }""")
        page.click("#send")
        await_elsewhere(page)
        page.goto("/healthz")
        assert page.evaluate(KEPT_ON_THE_PHONE) == [0, 0, "", 0]


def test_the_quick_exit_asks_nothing_of_whoever_has_half_a_report(
    browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    with citizen(browser, watch) as (context, page), another_page(context, watch):
        asked: list[str] = []
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
        fill(page, people.take_photo(tmp_path / "half.jpg", seed=31))
        leave(page)
        await_elsewhere(page)
        assert asked == []


@pytest.mark.parametrize("line", ["gone", "silent"])
def test_where_the_site_cannot_be_reached_the_quick_exit_leads_to_an_empty_page(
    browser: Browser, watch: Watch, line: str
) -> None:
    """The browser's own page about it would name this site."""
    with citizen(browser, watch) as (context, page):
        if line == "gone":
            context.set_offline(True)
        else:
            context.route("**/leave", lambda _asked: None)  # there is a network, and nobody answers
        leave(page)
        if line == "silent":
            expect(page.locator("body")).to_be_hidden()  # for as long as an answer is waited for
        page.wait_for_url("about:blank")


WIDER = """() => [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().left + one.scrollWidth > innerWidth + 1)
    .map((one) => `${one.tagName}.${one.className}#${one.id} ${one.textContent.trim().slice(0, 30)}`)"""


@pytest.mark.parametrize("language", ["zh-Hans", "zh-Hant", "en"])
@pytest.mark.parametrize("scale", [1, 2])
def test_the_form_reads_well_in_every_language_and_in_large_letters(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path, language: str, scale: int
) -> None:
    with citizen(browser, watch) as (context, page):
        context.add_cookies([{"name": "language", "value": language, "url": site.origin}])
        open_form(page)
        page.evaluate("scale => { document.documentElement.style.fontSize = `${100 * scale}%` }", scale)
        context.set_offline(True)
        fill(page, people.take_photo(tmp_path / "axe.jpg", seed=28))
        page.click("#send")
        expect(page.locator("#kept .kept")).to_have_count(1)
        expect(page.locator("#send")).not_to_have_attribute("aria-disabled", "true")
        assert people.overflow_px(page) == 0, page.evaluate(WIDER)
        assert people.find_violations(page) == []
