"""A network that has sent very many reports: page and service worker do the work they are asked for by themselves."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys.conftest import Site
from tests.journeys.people import PHONE, Watch, person, report_pollution, take_photo
from tests.journeys.test_reporting_on_a_bad_line import KEPT, await_worker, citizen, fill, open_form
from tests.setup.test_demo import RunningDemo, read_facts

pytestmark = pytest.mark.journey

# As a program would, from the same address: it is no report, but it counts.
ASK = """async () => {
    const headers = {"Content-Type": "application/json"};
    return (await fetch("/api/v1/reports", {method: "POST", body: "{}", headers})).status;
}"""


@pytest.fixture(scope="module")
def strict_site(services_folder: Path) -> Iterator[Site]:
    """A demonstration where one report an hour is free; its own, because all journeys come from one address."""
    running = RunningDemo(services_folder / "strict", WATERWATCH_REPORT_FREE_LIMIT="1/hour")
    try:
        running.wait_for("Ctrl-C")
        facts = read_facts(running)
        yield Site(facts["url"], facts["mailbox"], running.folder)
    finally:
        if running.process.poll() is None:
            running.interrupt()


@pytest.fixture
def strict_watch(strict_site: Site) -> Iterator[Watch]:
    watching = Watch(strict_site.origin, allowed=(strict_site.mailbox,))
    yield watching
    assert watching.faults == []


def use_up_what_is_free(page: Page) -> None:
    """The next report from this address has to be worked for."""
    page.evaluate(ASK)
    assert page.evaluate(ASK) == 428


def test_a_report_from_a_network_that_sent_very_many_does_its_work_and_arrives(
    strict_site: Site, browser: Browser, strict_watch: Watch, tmp_path: Path
) -> None:
    # Where there is a service worker it may be first to send, unseen by the page; that one has its own journey below.
    with person(browser, strict_watch, PHONE, service_workers="block") as page:
        page.goto(f"{strict_site.origin}/report")
        expect(page.locator("#homepage")).to_be_hidden()
        use_up_what_is_free(page)
        sent: list[int] = []
        page.on("response", lambda one: sent.append(one.status) if one.url.endswith("/api/v1/reports") else None)
        follow = report_pollution(page, strict_site.origin, take_photo(tmp_path / "a.jpg", seed=77))
        assert re.search(r"/f/[\w-]+$", follow)
        assert sent == [428, 201]
        assert re.fullmatch(r"[0-9a-f]{32}\.\d+", page.evaluate("localStorage.getItem('device')"))


def test_with_no_page_open_the_service_worker_does_the_work(
    strict_site: Site, browser: Browser, strict_watch: Watch, tmp_path: Path
) -> None:
    with citizen(browser, strict_watch) as (context, page):
        use_up_what_is_free(page)
        await_worker(page)
        context.set_offline(True)
        fill(page, take_photo(tmp_path / "b.jpg", seed=78))
        page.click("#send")
        expect(page.locator("#kept")).to_contain_text("没有网络，联网后自动发送")
        page.close()
        context.set_offline(False)
        elsewhere = context.new_page()
        elsewhere.goto("/search")  # of this origin, so that its store can be looked into; it sends nothing
        cdp = context.new_cdp_session(elsewhere)
        found: list[str] = []
        cdp.on(
            "ServiceWorker.workerRegistrationUpdated",
            lambda told: found.extend(one["registrationId"] for one in told["registrations"]),
        )
        cdp.send("ServiceWorker.enable")
        elsewhere.wait_for_function("() => navigator.serviceWorker.controller !== null")
        sync = {"origin": strict_site.origin, "registrationId": found[0], "tag": "outbox", "lastChance": False}
        cdp.send("ServiceWorker.dispatchSyncEvent", sync)
        elsewhere.wait_for_function(
            f"async () => (await ({KEPT})()).every((one) => one.state === 'sent')", timeout=30_000
        )
        open_form(elsewhere)
        expect(elsewhere.locator("#kept")).to_contain_text("已收到")
