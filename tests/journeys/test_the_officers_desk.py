"""A department's whole part: the letter's link, the desk, an answer, a claim that it is done, and who checks it."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journeys import people
from tests.journeys.conftest import Site
from tests.journeys.people import DESKTOP, PHONE, Watch
from tests.journeys.test_photo_to_department import await_letters

pytestmark = pytest.mark.journey
MODERATOR, LEAD, OFFICER = "moderator@demo.example", "lead@demo.example", "officer@demo.example"


def grade(moderator: Page) -> str:
    """Accept the report on the screen as orange; gives the incident's code."""
    moderator.get_by_role("button", name="领取下一条").click()
    moderator.select_option("#extent", "under_1_km")
    moderator.locator("input[name=severity][value='3']").check(force=True)
    if moderator.locator("#departure_reason").is_visible():
        moderator.fill("#departure_reason", "排口正对取水口")
    moderator.get_by_role("button", name="受理并转交部门").click()
    notice = people.expect_said(moderator, "已受理并评级")
    return (notice.inner_text().split("事件编号")[1].split("；")[0]).strip()


def publish_what_is_held(lead: Page, origin: str, words: str) -> None:
    """The lead lets the public read an answer, once its pictures are ready."""
    lead.goto(f"{origin}/desk/answers")
    card = lead.locator("article").filter(has_text=words).first
    for _ in range(60):
        if card.locator(".loading").count() == 0:
            break
        lead.wait_for_timeout(500)
        lead.reload()
    card.get_by_role("button", name="公开", exact=True).click()
    expect(lead.locator(".notice-success")).to_contain_text("已公开")


def test_a_department_acknowledges_assigns_answers_and_is_checked_by_who_reported(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    photo = people.take_photo(tmp_path / "outfall.jpg", seed=81)
    after = people.take_photo(tmp_path / "after.jpg", seed=82)
    planned = (datetime.now(UTC) + timedelta(days=10)).date().isoformat()
    with (
        people.person(browser, watch, PHONE) as citizen,
        people.person(browser, watch, DESKTOP) as moderator,
        people.person(browser, watch, PHONE) as duty,
        people.person(browser, watch, DESKTOP) as officer,
        people.person(browser, watch, DESKTOP) as lead,
        people.person(browser, watch, PHONE) as anybody,
    ):
        follow = people.report_pollution(citizen, site.origin, photo)
        people.await_step(citizen, "照片已处理")
        people.sign_in(moderator, site.origin, MODERATOR, site.totp_secret(MODERATOR))
        code = grade(moderator)

        # Whoever is on duty has a phone, a letter and no account.
        letters = await_letters(site, code, page_of=citizen)
        letter = next(one for one in letters if "wuchang-water" in str(one["To"]))
        duty.goto(people.link_in(letter))
        expect(duty.locator(".due-card")).to_contain_text("还剩 23 小时")
        duty.get_by_role("button", name="确认收到").click()
        expect(duty.locator("main")).to_contain_text("已确认收到")
        assert people.find_violations(duty) == []
        assert people.overflow_px(duty) == 0

        # The officer at the desk: by keyboard to the case, an office for it, a note, an answer with date and photo.
        people.sign_in(officer, site.origin, OFFICER, site.totp_secret(OFFICER), to="/office/", heading="案件")
        assert people.find_violations(officer) == []
        rows = officer.locator("[data-office-row]").filter(has_text=code)
        rows.filter(has_not_text="下游预警").get_by_role("link").click()  # theirs to do; the other one is a warning
        expect(officer.get_by_role("heading", name="长江：污水直排")).to_be_visible()
        people.press(officer, "s")
        officer.fill("#assign-office", "执法大队")
        officer.get_by_role("button", name="分派", exact=True).click()
        expect(officer.locator("main")).to_contain_text("已分派")
        people.press(officer, "m")
        officer.keyboard.type("下午两点现场碰头")
        officer.keyboard.press("Control+Enter")
        expect(officer.locator(".desk-quote")).to_contain_text("下午两点现场碰头")
        people.press(officer, "r")
        officer.fill("#answer-words", "已查明为雨污混接，正在改造管网。")
        officer.fill("#answer-planned_on", planned)
        officer.set_input_files("#answer-photo", after)
        officer.get_by_role("button", name="提交答复").click()
        expect(officer.locator(".notice-success")).to_contain_text("答复已收到")
        expect(officer.locator(".answers")).to_contain_text("等本站核对后公开")
        officer.evaluate("scrollTo(0, 0)")
        people.keep_picture(officer, "office")
        assert people.find_violations(officer) == []
        anybody.goto(f"{site.origin}/i/{code}")
        expect(anybody.locator("main")).not_to_contain_text("雨污混接")

        # The lead has looked at it: now anybody reads it, with the picture, and nothing of the picture's metadata.
        people.sign_in(lead, site.origin, LEAD, site.totp_secret(LEAD))
        publish_what_is_held(lead, site.origin, "雨污混接")
        for page in (duty, officer):  # a picture that is ready is shown as wide as there is room, on both pages
            page.reload()
            expect(page.locator(".answers img")).to_have_count(1)
            assert people.overflow_px(page) == 0
            assert page.locator(".answers").evaluate("one => one.scrollWidth - one.parentElement.clientWidth") <= 0
        anybody.reload()
        expect(anybody.locator("main")).to_contain_text("已查明为雨污混接，正在改造管网。")
        expect(anybody.locator("main")).to_contain_text(planned)
        picture = anybody.locator(".answer img").first.get_attribute("src") or ""
        assert people.CANARY.encode() not in anybody.request.get(picture).body()
        expect(anybody.locator("main")).not_to_contain_text("现场碰头")

        # Done, says the department; is it, the one who reported is asked.
        officer.reload()
        officer.keyboard.press("d")
        officer.fill("#done-words", "排口已封堵，水面已清理。")
        officer.get_by_role("button", name="提交处理结果").click()
        expect(officer.locator(".notice-success").first).to_contain_text("由公众的照片核实")
        publish_what_is_held(lead, site.origin, "排口已封堵")
        citizen.goto(follow)
        expect(citizen.locator("main")).not_to_contain_text("水真的干净了吗")  # three departments have not said so
        others = {str(one["To"]): one for one in letters if "wuchang-water" not in str(one["To"])}
        for address, one in others.items():
            duty.goto(people.link_in(one))
            duty.get_by_text("附上处理后的照片作为证据").click()
            duty.fill("#done-words", f"{address} 已处理")
            duty.get_by_role("button", name="提交处理结果").click()
            expect(duty.locator("main")).to_contain_text("称处理完")
            publish_what_is_held(lead, site.origin, f"{address} 已处理")
        citizen.reload()
        expect(citizen.locator("main")).to_contain_text("水真的干净了吗")
        citizen.get_by_role("link", name="已经干净").click()
        expect(citizen).to_have_url(re.compile(r"all_clear"))
        report_clean(citizen, people.take_photo(tmp_path / "clean.jpg", seed=83))
        people.await_step(citizen, "照片已处理")
        moderator.goto(f"{site.origin}/desk/")
        moderator.get_by_role("button", name="领取下一条").click()
        moderator.locator("#verifies_incident_id label").filter(has_text=code).locator("input").check(force=True)
        moderator.get_by_role("button", name="确认巡护").first.click()
        people.expect_said(moderator, "已确认这次巡护")
        officer.reload()
        expect(officer.locator("main")).to_contain_text("公众的照片已证实水面干净")
        anybody.goto(f"{site.origin}/i/{code}")
        expect(anybody.locator("main")).to_contain_text("干净")


def report_clean(page: Page, photo: Path) -> None:
    """On the page the question led to, whose kind and incident are chosen already."""
    page.set_input_files("#photo", photo)
    expect(page.locator("#photo-list li")).to_have_count(1)
    page.locator("#place-map").scroll_into_view_if_needed()
    page.wait_for_selector("#place-map[data-ready]")
    page.locator("#place-typed").evaluate("box => { box.open = true }")
    page.fill("#lon", people.YANGTZE_AT_WUHAN[0])
    page.fill("#lat", people.YANGTZE_AT_WUHAN[1])
    page.locator("#lat").blur()
    page.locator("#candidates").get_by_text("长江", exact=False).first.click()
    page.locator("#place_confirmed").check(force=True)
    page.locator("input[name=kind][value=all_clear]").check(force=True)
    page.click("#send")
    page.wait_for_url(re.compile(r"/f/[\w-]+$"))


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_the_desk_fits_and_has_no_serious_barrier(
    site: Site, browser: Browser, watch: Watch, size: dict[str, int], scheme: str
) -> None:
    found: list[str] = []
    with people.person(browser, watch, size) as officer:
        officer.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        people.sign_in(officer, site.origin, OFFICER, site.totp_secret(OFFICER), to="/office/", heading="案件")
        for path in ("/office/", "/office/map", "/office/figures", "/office/colleagues", "/office/settings"):
            officer.goto(site.origin + path)
            found += people.find_violations(officer)
            assert people.overflow_px(officer) == 0, path
        officer.goto(f"{site.origin}/office/map")
        officer.wait_for_selector("[data-office-map][data-ready]")
        officer.keyboard.press("?")
        expect(officer.locator("dialog[data-key-help]")).to_be_visible()
    assert found == []
