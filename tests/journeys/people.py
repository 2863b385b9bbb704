"""What people do in the browser: each function is one person's step, told in the words on the screen."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Literal

import numpy as np
import pyotp
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from waterwatch.accounts.rules import DEMO_PASSWORD

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
AXE = Path(__file__).resolve().parents[2] / "map_static" / "node_modules" / "axe-core" / "axe.min.js"
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}
YANGTZE_AT_WUHAN = ("114.288", "30.549")  # 武汉长江大桥
CANARY = "CANARY-7f3a"


@dataclass
class Watch:
    """What must not happen while people use the pages."""

    origin: str
    allowed: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        """Note scripts' errors, refused content and every request to another host."""
        page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        page.on(
            "console",
            lambda line: (
                self.faults.append(f"console: {line.text}") if "Content Security Policy" in line.text else None
            ),
        )
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((self.origin, "data:", "blob:", *self.allowed))
                else self.faults.append(f"foreign: {request.url}")
            ),
        )


@contextmanager
def person(
    browser: Browser, watch: Watch, size: dict[str, int], *, service_workers: Literal["allow", "block"] = "allow"
) -> Iterator[Page]:
    """Somebody with a fresh browser, reading simplified Chinese in China's time."""
    context: BrowserContext = browser.new_context(
        base_url=watch.origin,
        viewport=size,
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        device_scale_factor=2 if size is PHONE else 1,
        service_workers=service_workers,
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    watch.follow(page)
    try:
        yield page
    finally:
        context.close()


def take_photo(path: Path, *, seed: int) -> Path:
    """A JPEG of dirty water, unlike any other, with words in its metadata that nobody may ever be served."""
    rng = np.random.default_rng(seed)
    depth = np.linspace(0, 1, 900)[:, None, None]
    water = np.array([92, 118, 112]) * (1 - depth) + np.array([44, 66, 58]) * depth
    waves = 10 * np.sin(np.linspace(0, 60, 900) ** 1.1)[:, None, None]
    pixels = water + waves + rng.normal(0, 7, (900, 1200, 3))
    pixels[420:470, 250:900] = [38, 30, 22]
    exif = Image.Exif()
    exif[0x010E] = CANARY
    exif[0x010F] = CANARY
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=88, exif=exif, comment=CANARY.encode())
    return path


def report_pollution(
    page: Page, origin: str, photo: Path, kind: str = "sewage_outfall", *, email: str | None = None
) -> str:
    """Choose a photo, confirm the place, say what it is, send; returns the address of the follow page."""
    page.goto(f"{origin}/report")
    page.set_input_files("#photo", photo)
    expect(page.locator("#photo-list li")).to_have_count(1)
    page.locator("#place-map").scroll_into_view_if_needed()
    page.wait_for_selector("#place-map[data-ready]")
    page.locator("#place-typed").evaluate("box => { box.open = true }")
    page.fill("#lon", YANGTZE_AT_WUHAN[0])
    page.fill("#lat", YANGTZE_AT_WUHAN[1])
    page.locator("#lat").blur()
    page.locator("#candidates").get_by_text("长江", exact=False).first.click()
    page.locator("#place_confirmed").check(force=True)
    page.locator(f"input[name=kind][value={kind}]").check(force=True)
    if email is not None:
        page.get_by_text("想收到进展？").click()
        page.fill("#contact_email", email)
    page.click("#send")
    page.wait_for_url(re.compile(r"/f/[\w-]+$"))
    return page.url


def keep_picture(page: Page, name: str) -> None:
    """For the guides, when they are made anew."""
    if os.environ.get("WATERWATCH_WRITE_SCREENSHOTS"):
        page.screenshot(path=IMAGES / f"{name}.png")


def press(page: Page, key: str) -> None:
    """Press a key of ours, which works once the page's script has run."""
    page.wait_for_load_state("load")
    page.keyboard.press(key)


def await_step(page: Page, words: str) -> None:
    """Wait until the follow page says so by itself: it looks again without being asked."""
    expect(page.locator(".steps")).to_contain_text(words, timeout=60_000)


def withdraw(page: Page) -> None:
    """Take the report of a follow page back: the journeys of one site share its queue."""
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="撤回这条上报").click()
    page.get_by_text("已撤回").first.wait_for()


def sign_in(page: Page, origin: str, email: str, secret: str, *, to: str = "/desk/", heading: str = "审核台") -> None:
    """E-mail and password, then the code of the authenticator; ends on the page one came for."""
    page.goto(f"{origin}{to}")
    page.fill("#email", email)
    page.fill("#password", DEMO_PASSWORD)
    page.get_by_role("button", name="下一步").click()
    page.fill("#code", _next_code(page, secret))
    page.get_by_role("button", name="登录", exact=True).click()
    expect(page.get_by_role("heading", name=heading).first).to_be_visible()
    page.wait_for_load_state("load")  # the keys work once the script has run


_last_steps: dict[str, int] = {}  # by secret: a code is taken once, whichever journey gave it


def _next_code(page: Page, secret: str) -> str:
    """The code of this half minute, or of the next where that one is used up; the server takes it that early."""
    totp = pyotp.TOTP(secret)
    step = max(_this_step(totp), _last_steps.get(secret, 0) + 1)
    while step > _this_step(totp) + 1:
        page.wait_for_timeout(500)
    _last_steps[secret] = step
    return totp.generate_otp(step)


def _this_step(totp: pyotp.TOTP) -> int:
    return int(time.time()) // totp.interval


def expect_said(moderator: Page, words: str) -> Locator:
    """What the desk says of an act, once it says it.

    It is a line at the foot of the next report where one was ready, and a notice on the page that follows where none
    was: which of them depends on what other journeys have left in the queue.
    """
    said = moderator.locator(".notice-success:visible, .desk-toast:visible").filter(has_text=words).first
    expect(said).to_be_visible()
    return said


def letters_in(folder: Path) -> list[EmailMessage]:
    """Every mail the demonstration's server has taken."""
    found = []
    for path in sorted(folder.rglob("*.eml")):
        letter = message_from_bytes(path.read_bytes(), policy=policy.default)
        assert isinstance(letter, EmailMessage)
        found.append(letter)
    return found


def link_in(letter: EmailMessage) -> str:
    """The signed link of a department's mail."""
    body = letter.get_body(("plain",))
    assert body is not None
    found = re.search(r"https?://\S+/a/[\w-]+", body.get_content())
    assert found is not None, "the mail carries no link"
    return found.group()


def find_violations(page: Page) -> list[str]:
    """What axe-core finds serious or critical on the page as it stands."""
    page.evaluate(AXE.read_text())
    # A colour that has just changed is computed anew with the next frame.
    page.evaluate("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{page.url}: {violation['id']} ({violation['impact']}): {violation['nodes'][0]['html'][:160]}"
        f" {violation['nodes'][0]['failureSummary'][:300]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


def overflow_px(page: Page) -> int:
    """By how much the page is wider than the screen, once maps that are still opening have found their size."""
    return int(
        page.evaluate("""async () => {
            const wider = () => document.documentElement.scrollWidth - document.documentElement.clientWidth;
            for (let frame = 0; frame < 120 && wider() > 0; frame += 1) await new Promise(requestAnimationFrame);
            return wider();
        }""")
    )
