"""One photo travels from a phone to a department's inbox, seen by all four kinds of people."""

from itertools import accumulate
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.journeys import people
from tests.journeys.conftest import Site
from tests.journeys.people import DESKTOP, PHONE, Watch

pytestmark = pytest.mark.journey
MODERATOR = "moderator@demo.example"


DEPARTMENTS = 4  # environment and water, of 武昌 and of 汉阳: the Yangtze lies between them


def await_letters(site: Site, code: str, *, page_of: people.Page) -> list[people.EmailMessage]:
    """The mails about an incident, once the competent departments of both banks have theirs: not their warnings."""

    def about() -> list[people.EmailMessage]:
        letters = people.letters_in(site.folder / "mail")
        return [one for one in letters if code in str(one["Subject"]) and "下游预警" not in str(one["Subject"])]

    for _ in range(120):
        if len({str(letter["To"]) for letter in about()}) >= DEPARTMENTS:
            return about()
        page_of.wait_for_timeout(500)
    raise AssertionError(f"the departments have no mail about {code}")


def test_a_photo_reaches_the_department_and_everybody_sees_it(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    photo = people.take_photo(tmp_path / "outfall.jpg", seed=1)
    with (
        people.person(browser, watch, PHONE) as citizen,
        people.person(browser, watch, DESKTOP) as moderator,
        people.person(browser, watch, PHONE) as officer,
        people.person(browser, watch, PHONE) as anybody,
    ):
        coloured = colours(anybody, site.origin)

        # The citizen
        follow = people.report_pollution(citizen, site.origin, photo)
        expect(citizen.locator(".steps")).to_contain_text("已收到")
        people.await_step(citizen, "照片已处理")
        served = citizen.request.get(citizen.locator(".photo img").first.get_attribute("src") or "").body()
        assert served.startswith(b"\xff\xd8")
        assert people.CANARY.encode() not in served
        assert people.CANARY.encode() in photo.read_bytes()

        # The moderator
        people.sign_in(moderator, site.origin, MODERATOR, site.totp_secret(MODERATOR))
        moderator.get_by_role("button", name="领取下一条").click()
        expect(moderator.get_by_role("heading", name="污水直排")).to_be_visible()
        moderator.select_option("#extent", "under_1_km")
        moderator.locator("input[name=severity][value='3']").check(force=True)
        moderator.fill("#departure_reason", "排口正对取水口")
        moderator.get_by_role("button", name="受理并转交部门").click()
        notice = people.expect_said(moderator, "已受理并评级")
        code = (notice.inner_text().split("事件编号")[1].split("；")[0]).strip()

        # The department
        letters = await_letters(site, code, page_of=citizen)
        letter = next(one for one in letters if "wuchang-water" in str(one["To"]))
        assert "橙色" in str(letter["Subject"])
        kinds = [part.get_content_type() for part in letter.walk()]
        assert {"image/jpeg", "image/png", "text/html", "text/plain"} <= set(kinds)
        words = letter.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert all(fact in words for fact in ("长江", "污水直排", "30.549", "114.288"))
        assert people.CANARY not in letter.as_string()
        moderator.goto(site.mailbox)
        expect(moderator.locator("body")).to_contain_text(code)
        officer.goto(people.link_in(letter))
        people.expect(officer.get_by_role("button", name="确认收到")).to_be_visible()
        assert people.find_violations(officer) == []
        officer.get_by_role("button", name="确认收到").click()
        expect(officer.locator(".notice-success")).to_contain_text("确认收到")
        assert people.find_violations(officer) == []

        # The citizen again
        citizen.goto(follow)
        people.await_step(citizen, "部门已确认收到")
        expect(citizen.locator(".steps")).to_contain_text("橙色")

        # Anybody
        await_coloured(anybody, site.origin, coloured)
        anybody.goto(f"{site.origin}/w/w-yangtze")
        expect(anybody.locator("h1")).to_have_text("长江")
        expect(anybody.locator("header .level-3").first).to_be_visible()
        expect(anybody.locator("article")).to_contain_text(["污水直排"])
        picture = anybody.request.get(anybody.locator("article img").first.get_attribute("src") or "").body()
        assert people.CANARY.encode() not in picture
        anybody.goto(site.origin)
        anybody.wait_for_selector("#map[data-ready]")
        expect(anybody.locator("#map-list")).to_contain_text("长江", timeout=60_000)
        expect(anybody.locator("#map-list .level-3").first).to_be_visible()
        people.keep_picture(anybody, "map")
        people.keep_picture(citizen, "follow")
        assert [level for _feature, level in colours(anybody, site.origin) - coloured] == [3]


def await_coloured(page: people.Page, origin: str, before: set[tuple[int, int]]) -> None:
    """Until the map colours something besides: it is published by a job of its own."""
    for _ in range(90):
        if colours(page, origin) - before:
            return
        page.wait_for_timeout(1000)
    raise AssertionError("nothing more is coloured")


def colours(page: people.Page, origin: str) -> set[tuple[int, int]]:
    """The pieces of water the map colours, with their levels: other journeys may have coloured some."""
    page.goto(origin)
    found = page.evaluate(
        "async () => { const m = await (await fetch('/published/map.json')).json();"
        " return (await (await fetch('/published/' + m.levels)).json()).confirmed }"
    )
    return {(feature, int(level)) for level, steps in found.items() for feature in accumulate(steps)}


def test_the_whole_way_by_keyboard_alone(site: Site, browser: Browser, watch: Watch, tmp_path: Path) -> None:
    photo = people.take_photo(tmp_path / "foam.jpg", seed=2)
    with people.person(browser, watch, PHONE) as citizen, people.person(browser, watch, PHONE) as moderator:
        report_by_keyboard(citizen, site.origin, photo)
        people.await_step(citizen, "照片已处理")
        people.sign_in(moderator, site.origin, "second@demo.example", site.totp_secret("second@demo.example"))
        people.press(moderator, "n")
        expect(moderator.get_by_role("heading", name="泡沫")).to_be_visible()
        people.press(moderator, "?")
        expect(moderator.locator("dialog[data-key-help]")).to_be_visible()
        moderator.keyboard.press("Escape")
        moderator.keyboard.press("1")
        expect(moderator.locator("input[name=severity][value='1']")).to_be_checked()
        moderator.keyboard.press("g")
        people.expect_said(moderator, "已受理并评级")
        citizen.reload()
        people.await_step(citizen, "已核实并评级")


def report_by_keyboard(page: people.Page, origin: str, photo: Path) -> None:
    """Tab, space, arrows and letters only; the file dialog is the system's own, so the file is put in its place."""
    page.goto(f"{origin}/report")
    tab_to(page, "#photo-camera")
    page.set_input_files("#photo", photo)
    tab_to(page, "#place-typed > summary")
    if page.locator("#place-typed").get_attribute("open") is None:
        page.keyboard.press("Enter")
    tab_to(page, "#lon")
    page.keyboard.type(people.YANGTZE_AT_WUHAN[0])
    tab_to(page, "#lat")
    page.keyboard.type(people.YANGTZE_AT_WUHAN[1])
    page.keyboard.press("Tab")
    expect(page.locator("#candidates")).to_be_visible()
    tab_to(page, "#place_confirmed")
    page.keyboard.press("Space")
    tab_to(page, "input[name=kind]")
    page.keyboard.press("Space")
    for _ in range(13):
        if page.locator("input[name=kind][value=foam]").is_checked():
            break
        page.keyboard.press("ArrowRight")
    tab_to(page, "#send")
    page.keyboard.press("Enter")
    page.wait_for_url("**/f/*")


def tab_to(page: people.Page, selector: str) -> None:
    """Press Tab until the element (or one of a group of radio buttons) has the focus; it must then be visible."""
    for _ in range(80):
        if page.evaluate("selector => document.activeElement?.matches(selector) ?? false", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached with the Tab key")


@pytest.mark.parametrize("path", ["/", "/report", "/w/w-yangtze", "/search?q=湖", "/login", "/nowhere"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_public_pages_fit_a_small_phone_and_have_no_serious_barrier(
    site: Site, browser: Browser, watch: Watch, path: str, scheme: str
) -> None:
    with people.person(browser, watch, PHONE) as anybody:
        anybody.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        anybody.goto(site.origin + path)
        assert people.overflow_px(anybody) == 0
        assert people.find_violations(anybody) == []


def test_the_desk_and_the_follow_page_have_no_serious_barrier(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    found: list[str] = []
    with people.person(browser, watch, PHONE) as citizen, people.person(browser, watch, PHONE) as moderator:
        people.report_pollution(citizen, site.origin, people.take_photo(tmp_path / "p.jpg", seed=3), "oil_slick")
        people.await_step(citizen, "照片已处理")
        found += people.find_violations(citizen)
        assert people.overflow_px(citizen) == 0
        lead = "lead@demo.example"
        people.sign_in(moderator, site.origin, lead, site.totp_secret(lead))
        found += people.find_violations(moderator)
        assert people.overflow_px(moderator) == 0
        moderator.get_by_role("button", name="领取下一条").click()
        expect(moderator.get_by_role("heading", name="油污")).to_be_visible()
        found += people.find_violations(moderator)
        assert people.overflow_px(moderator) == 0
    assert found == []


def test_without_webgl_the_map_gives_way_to_the_snapshot(site: Site, browser: Browser, watch: Watch) -> None:
    with people.person(browser, watch, PHONE) as anybody:
        anybody.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
        anybody.goto(site.origin)
        expect(anybody.locator("#map")).to_contain_text("简化的地图")
        anybody.goto(f"{site.origin}/published/maps/national.html")
        expect(anybody.locator("path.leaflet-interactive, .leaflet-container path").first).to_be_attached()
