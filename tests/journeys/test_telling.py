"""An author corrects a report, hears of it by mail, and finds it again on another device."""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys import people
from tests.journeys.conftest import Site
from tests.journeys.people import DESKTOP, PHONE, Watch

pytestmark = pytest.mark.journey
MODERATOR = "moderator@demo.example"
PASSWORD = "一条清清的小河流过村口边上"


def shoot(page: Page, name: str) -> None:
    """Keep a picture for somebody to look at, where a folder for them is named."""
    if folder := os.environ.get("WATERWATCH_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def await_letters(site: Site, address: str, count: int, *, page: Page) -> list[people.EmailMessage]:
    """The mails to an address, once there are so many."""
    for _ in range(120):
        found = [one for one in people.letters_in(site.folder / "mail") if str(one["To"]) == address]
        if len(found) >= count:
            return found
        page.wait_for_timeout(500)
    raise AssertionError(f"{address} has not got {count} mails")


def link_in(letter: people.EmailMessage, path: str) -> str:
    """The link of a mail whose path begins so."""
    body = letter.get_body(("plain",))
    assert body is not None
    found = re.search(rf"https?://\S+{path}\S+", body.get_content())
    assert found is not None, body.get_content()
    return found.group()


def grade(moderator: Page) -> None:
    """Accept the report on the screen as it stands."""
    moderator.locator("input[name=severity][value='2']").check(force=True)
    if moderator.locator("#departure_reason").is_visible():
        moderator.fill("#departure_reason", "按现场情况")
    moderator.get_by_role("button", name="受理并转交部门").click()


def test_corrected_told_by_mail_and_too_late_afterwards(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    photo = people.take_photo(tmp_path / "told.jpg", seed=71)
    with people.person(browser, watch, PHONE) as citizen, people.person(browser, watch, DESKTOP) as moderator:
        follow = people.report_pollution(citizen, site.origin, photo, "foam", email="wang@example.org")
        people.await_step(citizen, "照片已处理")
        kept = citizen.evaluate(
            """() => new Promise((resolve) => {
                const opening = indexedDB.open("waterwatch");
                opening.onsuccess = () => {
                    const asking = opening.result.transaction("reports").objectStore("reports").getAll();
                    asking.onsuccess = () => resolve(JSON.stringify(asking.result));
                };
            })"""
        )
        assert "foam" in kept
        assert "wang" not in kept

        # The mailbox is asked, and says yes by a button.
        (first,) = await_letters(site, "wang@example.org", 1, page=citizen)
        assert "/f/" not in first.as_string()
        citizen.goto(link_in(first, "/n/confirm/"))
        shoot(citizen, "confirm")
        citizen.get_by_role("button", name="是的，请寄给我").click()
        expect(citizen.locator(".notice-success")).to_contain_text("已确认")
        citizen.goto(follow)
        expect(citizen.locator("main")).to_contain_text("每一步会用邮件告诉你")
        assert people.find_violations(citizen) == []
        shoot(citizen, "follow")

        # The moderator opens it, and then its author corrects it.
        people.sign_in(moderator, site.origin, MODERATOR, site.totp_secret(MODERATOR))
        # By its code: other journeys have left reports of theirs in the queue.
        moderator.locator("[data-desk-list] a", has_text=citizen.locator("h1.code").inner_text()).click()
        expect(moderator.get_by_role("heading", name="泡沫")).to_be_visible()
        citizen.get_by_role("link", name="修改").click()
        assert citizen.locator("input[name=kind][value=foam]").is_checked()
        assert people.find_violations(citizen) == []
        assert people.overflow_px(citizen) == 0
        shoot(citizen, "correct")
        citizen.get_by_text("位置标错了，重新标").click()
        citizen.wait_for_selector("#place-map[data-ready]")
        citizen.fill("#lon", people.YANGTZE_AT_WUHAN[0])
        citizen.fill("#lat", "30.551")
        citizen.locator("#lat").blur()
        citizen.locator("#place_confirmed").check(force=True)
        shoot(citizen, "correct-place")
        citizen.locator("input[name=kind][value=oil_slick]").check(force=True)
        citizen.get_by_role("button", name="保存修改").click()
        expect(citizen.locator(".notice-success")).to_contain_text("已修改")
        grade(moderator)
        expect(moderator.locator(".error-summary")).to_contain_text("上报人修改了它")
        expect(moderator.get_by_role("heading", name="油污")).to_be_visible()
        shoot(moderator, "changed")
        moderator.locator("input[name=water_feature_id]").first.check(force=True)
        moderator.locator("input[name=severity]:checked").wait_for(state="attached")
        moderator.get_by_role("button", name="受理并转交部门").click()
        people.expect_said(moderator, "已受理并评级")

        # Each step is told; what was judged stays.
        letters = await_letters(site, "wang@example.org", 3, page=citizen)
        words = "".join(one.get_body(("plain",)).get_content() for one in letters[1:])  # type: ignore[union-attr]
        assert "评了等级" in words
        assert "已转交主管部门" in words
        assert link_in(letters[1], "/f/") == follow
        citizen.goto(f"{follow}/correct")
        expect(citizen.locator(".notice-warning")).to_contain_text("不能再修改")
        assert citizen.get_by_role("link", name="修改").count() == 0


def test_my_reports_on_a_second_device(site: Site, browser: Browser, watch: Watch, tmp_path: Path) -> None:
    photo = people.take_photo(tmp_path / "mine.jpg", seed=72)
    with people.person(browser, watch, PHONE) as phone, people.person(browser, watch, PHONE) as tablet:
        follow = people.report_pollution(phone, site.origin, photo)
        code = phone.locator("h1.code").inner_text()
        phone.goto(f"{site.origin}/register")
        shoot(phone, "register")
        assert people.find_violations(phone) == []
        phone.fill("#email", "li@example.org")
        phone.fill("#password", PASSWORD)
        phone.get_by_role("button", name="注册").click()
        expect(phone.locator(".notice-success")).to_contain_text("请打开我们刚寄出的邮件")
        (letter,) = await_letters(site, "li@example.org", 1, page=phone)
        for device in (phone, tablet):
            device.goto(link_in(letter, "/confirm/") if device is phone else f"{site.origin}/login?next=/my")
            if device is phone:
                device.goto(f"{site.origin}/login?next=/my")
            device.fill("#email", "li@example.org")
            device.fill("#password", PASSWORD)
            device.get_by_role("button", name="下一步").click()
            expect(device.get_by_role("heading", name="我的上报")).to_be_visible()
        # The receipt that is kept on this phone is offered; one tap.
        shoot(phone, "my-offer")
        phone.locator("#on-this-phone").get_by_role("button", name="存到我的账号").click()
        expect(phone.locator(".my-report")).to_contain_text(code)
        assert people.find_violations(phone) == []
        assert people.overflow_px(phone) == 0
        shoot(phone, "my")
        tablet.reload()
        expect(tablet.locator(".my-report")).to_contain_text(code)
        tablet.locator(".my-report a").click()
        expect(tablet.locator("h1.code")).to_have_text(code)
        assert tablet.url == follow
