"""A network that has sent very many reports: the page does the work it is asked for, and nobody has to do anything."""

import json
import re
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, expect

from tests.journeys.conftest import Site
from tests.journeys.people import PHONE, Watch, person, report_pollution, take_photo

FREE = 60  # reports of one network within an hour


def use_up_what_is_free(origin: str) -> int:
    """Ask as a program would until work is asked for; returns how often."""
    for asked in range(1, FREE + 2):
        request = Request(f"{origin}/api/v1/reports", data=b"{}", headers={"Content-Type": "application/json"})
        try:
            urlopen(request, timeout=30)
        except HTTPError as refused:
            if refused.code == 428:
                assert json.loads(refused.read())["code"] == "work_needed"
                return asked
    raise AssertionError("work was never asked for")


@pytest.mark.journey
def test_a_report_from_a_network_that_sent_very_many_does_its_work_and_arrives(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    assert use_up_what_is_free(site.origin) <= FREE + 1
    with person(browser, watch, PHONE) as page:
        answers: list[int] = []
        page.on("response", lambda one: answers.append(one.status) if one.url.endswith("/api/v1/reports") else None)
        follow = report_pollution(page, site.origin, take_photo(tmp_path / "a.jpg", seed=77))
        assert re.search(r"/f/[\w-]+$", follow)
        assert answers == [428, 201]
        assert page.evaluate("localStorage.getItem('device')").partition(".")[0].isalnum()
        page.goto(f"{site.origin}/report")
        expect(page.locator("#homepage")).to_be_hidden()
        page.locator("[data-quick-exit]").click()
        page.wait_for_url("**/leave")
        page.goto(f"{site.origin}/search")
        assert page.evaluate("localStorage.getItem('device')") is None
