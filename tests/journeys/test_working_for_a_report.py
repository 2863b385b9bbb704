"""A network that has sent very many reports: the page does the work it is asked for, and nobody has to do anything."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.journeys.conftest import Site
from tests.journeys.people import PHONE, Watch, person, report_pollution, take_photo

FREE = 60  # reports of one network within an hour

# As a program would, from the same address: nothing of it is a report, all of it counts.
ASK = """async () => {
    const headers = {"Content-Type": "application/json"};
    return (await fetch("/api/v1/reports", {method: "POST", body: "{}", headers})).status;
}"""


@pytest.mark.journey
def test_a_report_from_a_network_that_sent_very_many_does_its_work_and_arrives(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    with person(browser, watch, PHONE) as page:
        page.goto(f"{site.origin}/report")
        expect(page.locator("#homepage")).to_be_hidden()
        answers = [page.evaluate(ASK) for _ in range(FREE + 1)]
        assert answers[-1] == 428
        sent: list[int] = []
        page.on("response", lambda one: sent.append(one.status) if one.url.endswith("/api/v1/reports") else None)
        follow = report_pollution(page, site.origin, take_photo(tmp_path / "a.jpg", seed=77))
        assert re.search(r"/f/[\w-]+$", follow)
        assert sent == [428, 201]
        assert re.fullmatch(r"[0-9a-f]{32}\.\d+", page.evaluate("localStorage.getItem('device')"))
