"""A face is covered before anybody sees it, and a moderator covers what the detectors could not know."""

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from bench import privacy_scenes as scenes
from tests.journeys import people
from tests.journeys.conftest import Site
from tests.journeys.people import DESKTOP, PHONE, Watch

pytestmark = pytest.mark.journey
MODERATOR, LEAD = "moderator@demo.example", "lead@demo.example"
MADE_WITHIN_MS = 60_000
STONES = 1150, 1400, 300, 700  # rows and columns of the picture in which the moderator sees something more


@pytest.fixture
def photo(tmp_path: Path) -> tuple[Path, scenes.Scene]:
    """Somebody stands in the middle of the picture."""
    made = scenes.with_faces(np.random.default_rng(4), scenes.portraits()[:1], 260, 1)
    path = tmp_path / "somebody.jpg"
    Image.fromarray(made.pixels).save(path, quality=90)
    return path, made


def _served(page: Page, size_px: int = 2000) -> NDArray[np.uint8]:
    """The picture of the page, as its server gives it."""
    address = page.locator(".redaction-frame img").get_attribute("src") or ""
    answer = page.request.get(address.replace("/1024?", f"/{size_px}?"))
    assert answer.ok
    with Image.open(io.BytesIO(answer.body())) as picture:
        return np.asarray(picture)


def _spread(pixels: NDArray[np.uint8], top: float, bottom: float, left: float, right: float) -> float:
    part = pixels[int(top) : int(bottom), int(left) : int(right)].reshape(-1, 3)
    return float(part.std(axis=0).max())


def _draw(page: Page, top: int, bottom: int, left: int, right: int) -> None:
    """Drag from one corner to the other, in pixels of the large picture."""
    drawing = page.locator("[data-drawing]")
    drawing.scroll_into_view_if_needed()
    box = drawing.bounding_box()
    assert box is not None
    across, down = box["width"] / scenes.WIDTH, box["height"] / scenes.HEIGHT
    page.mouse.move(box["x"] + left * across, box["y"] + top * down)
    page.mouse.down()
    page.mouse.move(box["x"] + (left + right) / 2 * across, box["y"] + bottom * down)
    page.mouse.move(box["x"] + right * across, box["y"] + bottom * down)
    page.mouse.up()


def _open_photo(page: Page, kind: str) -> None:
    """The photo of the report that waits longest among those of a kind nobody else here reports."""
    page.locator("[data-desk-list] a", has_text=kind).first.click()
    expect(page.get_by_role("heading", name=kind)).to_be_visible()
    expect(page.locator("#photos figcaption")).to_contain_text("人脸 1")
    page.get_by_role("link", name="遮盖与原图").click()
    expect(page.locator(".redaction-standing")).to_have_count(1)


def _keep(page: Page, name: str) -> None:
    if folder := os.environ.get("WATERWATCH_KEEP_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_a_face_is_covered_before_the_desk_and_the_moderator_covers_more(
    site: Site, browser: Browser, watch: Watch, photo: tuple[Path, scenes.Scene]
) -> None:
    path, made = photo
    left, top, right, bottom = made.secrets[0]
    with people.person(browser, watch, PHONE) as citizen, people.person(browser, watch, DESKTOP) as moderator:
        people.report_pollution(citizen, site.origin, path, "waste_dumping")
        people.await_step(citizen, "照片已处理")
        people.sign_in(moderator, site.origin, MODERATOR, site.totp_secret(MODERATOR))
        _open_photo(moderator, "倾倒固体废物")
        assert _spread(made.pixels, top, bottom, left, right) > 12.0
        assert _spread(_served(moderator), top, bottom, left, right) < 3.0
        assert _spread(_served(moderator), *STONES) > 5.0

        # By pointer, and one more by keyboard
        _draw(moderator, *STONES)
        moderator.get_by_role("button", name="加一个矩形").click()
        for _ in range(3):
            moderator.keyboard.press("ArrowDown")
            moderator.keyboard.press("Shift+ArrowRight")
        expect(moderator.locator(".redaction-drawn")).to_have_count(2)
        _keep(moderator, "drawn")
        assert people.find_violations(moderator) == []
        moderator.keyboard.press("Delete")
        expect(moderator.locator(".redaction-drawn")).to_have_count(1)
        before = moderator.locator(".redaction-frame img").get_attribute("src")
        moderator.get_by_role("button", name="保存，重新生成照片").click()
        expect(moderator.locator(".notice-success")).to_contain_text("已保存")
        # The page looks again by itself until the picture is there.
        expect(moderator.locator(".redaction-standing")).to_have_count(2)
        expect(moderator.get_by_role("button", name="保存，重新生成照片")).to_be_visible(timeout=MADE_WITHIN_MS)
        assert moderator.locator(".redaction-frame img").get_attribute("src") != before
        for size_px in (2000, 1024, 320):
            served = _served(moderator, size_px)
            scale = served.shape[1] / 2000  # a picture may be somewhat smaller than it is called
            inside = [edge * scale + inset for edge, inset in zip(STONES, (4, -4, 4, -4), strict=True)]
            assert _spread(served, *inside) < 3.0, size_px
        _keep(moderator, "saved")

        # What was drawn by mistake is taken off again
        moderator.locator(".choice", has_text="手画").click()
        moderator.get_by_role("button", name="保存，重新生成照片").click()
        expect(moderator.get_by_role("button", name="保存，重新生成照片")).to_be_visible(timeout=MADE_WITHIN_MS)
        expect(moderator.locator(".redaction-standing")).to_have_count(1)
        assert _spread(_served(moderator), *STONES) > 5.0
        moderator.get_by_role("link", name=re.compile("回到上报")).click()
        moderator.get_by_role("button", name="放回队列").click()
        people.withdraw(citizen)


def test_the_lead_takes_the_original_on_a_phone_and_the_moderators_do_not_see_the_form(
    site: Site, browser: Browser, watch: Watch, photo: tuple[Path, scenes.Scene]
) -> None:
    path, _made = photo
    with people.person(browser, watch, PHONE) as citizen, people.person(browser, watch, PHONE) as lead:
        people.report_pollution(citizen, site.origin, path, "sand_mining")
        people.await_step(citizen, "照片已处理")
        people.sign_in(lead, site.origin, LEAD, site.totp_secret(LEAD))
        _open_photo(lead, "非法采砂")
        _keep(lead, "phone")
        assert people.overflow_px(lead) == 0
        assert people.find_violations(lead) == []
        lead.locator("input[name=reason][value=evidence_check]").check(force=True)
        with lead.expect_download() as download:
            lead.get_by_role("button", name="记录在案并下载原图").click()
        assert download.value.suggested_filename.startswith("original-")
        with Image.open(download.value.path()) as original:
            assert original.size == (scenes.WIDTH, scenes.HEIGHT)
        people.withdraw(citizen)
