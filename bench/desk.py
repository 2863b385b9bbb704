"""How long the next report takes to be on the screen after the key that decides the present one.

The demonstration, running for real, and Debian's Chromium at 1280 by 800 with a software renderer. Per decision: from
the key to the next report's picture decoded and painted and its form in the page. Beside it, in turn, a floor on the
same machine in the same minute: a page of the same picture that replaces its content by script, without any server.
The machine's load is printed, for it is in every figure.

    python -m bench.desk [--decisions 20] [--pause 2.0]
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.journeys import people
from tests.journeys.conftest import CHROMIUM, CHROMIUM_OPTIONS, Site
from tests.journeys.sending import await_review, draw_scene, send_report
from tests.setup.test_demo import RunningDemo, read_facts

LAPTOP = {"width": 1280, "height": 800}
MODERATOR = "moderator@demo.example"
LIMIT_MS = 150
# Painted: two frames after the picture is decoded.
WATCH = """(selector) => {
  let tell;
  window.took = new Promise((resolve) => { tell = resolve; });
  const main = document.querySelector(selector);
  addEventListener("keydown", () => { window.pressed = performance.now(); }, { capture: true, once: true });
  new MutationObserver((_, observer) => {
    observer.disconnect();
    const painted = () => requestAnimationFrame(() => requestAnimationFrame(() => {
      tell(performance.now() - window.pressed);
    }));
    const picture = main.querySelector("img");
    (picture ? picture.decode() : Promise.resolve()).then(painted);
  }).observe(main, { childList: true });
}"""
STATIC = """<!doctype html><main></main><script>
const pages = [1, 2].map((n) => {
  const part = document.createElement("article");
  const row = "<p><label><input type=checkbox> words</label></p>";
  part.innerHTML = `<h1>${n}</h1><img width="458" src="/%s">` + row.repeat(40);
  return part;
});
let shown = 0;
const main = document.querySelector("main");
main.append(pages[0]);
addEventListener("keydown", () => { shown = 1 - shown; main.replaceChildren(pages[shown]); });
</script>"""


def took_ms(page: Page, selector: str, key: str) -> float:
    """Press a key; how long until what replaces the content is painted, in milliseconds."""
    page.evaluate(WATCH, selector)
    page.keyboard.press(key)
    return float(page.evaluate("window.took"))


def open_floor(browser: Browser, folder: Path) -> Page:
    """The static page, from files."""
    draw_scene(folder / "picture.jpg", seed=1)
    (folder / "floor.html").write_text(STATIC.replace("/%s", "picture.jpg"))
    page = browser.new_page(viewport=LAPTOP)
    page.goto((folder / "floor.html").as_uri())
    page.wait_for_load_state("load")
    return page


def describe(name: str, found: list[float]) -> None:
    """One line: the median, the 95th percentile and the worst."""
    ranked = sorted(found)
    p95 = ranked[min(len(ranked) - 1, round(0.95 * len(ranked)))]
    print(f"{name:<34} p50 {statistics.median(found):6.0f} ms   p95 {p95:6.0f} ms   most {ranked[-1]:6.0f} ms")


def measure(site: Site, folder: Path, decisions: int, pause_s: float) -> None:
    """Send reports, decide on them one by one, and print both."""
    tokens = []
    for number in range(decisions + 2):
        photo = draw_scene(folder / f"{number}.jpg", seed=number)
        at = (114.25 + 0.012 * (number % 6), 30.52 + 0.012 * (number // 6))
        tokens.append(send_report(site.origin, [photo], "sewage_outfall", at)["token"])
    await_review(site.origin, tokens, within_s=300)
    with sync_playwright() as playwright:
        options = [*CHROMIUM_OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        floor = open_floor(browser, folder)
        desk = browser.new_page(viewport=LAPTOP, base_url=site.origin, locale="zh-CN")
        people.sign_in(desk, site.origin, MODERATOR, site.totp_secret(MODERATOR))
        desk.keyboard.press("n")
        desk.wait_for_selector("[data-desk-map][data-ready]", timeout=120_000)
        found, floors = [], []
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
        for _ in range(decisions):
            desk.wait_for_timeout(pause_s * 1000)  # what a person takes at least; the next report is fetched meanwhile
            found.append(took_ms(desk, "#main", "g"))
            floors.append(took_ms(floor, "main", "x"))
        describe("next report, key to painted", found)
        describe("floor: a static page's swap", floors)
        print(f"within {LIMIT_MS} ms: {sum(one <= LIMIT_MS for one in found)} of {len(found)}", end="")
        print(f"; load average {os.getloadavg()[0]:.1f} at the end")
        browser.close()


def main() -> None:
    """Run the demonstration for the time of the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=20)
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two decisions")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterwatch-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        running = RunningDemo(folder / "demo", WATERWATCH_FLOOD_REPORTS="10000")
        try:
            running.wait_for("Ctrl-C")
            facts = read_facts(running)
            measure(Site(facts["url"], facts["mailbox"], running.folder), folder, asked.decisions, asked.pause)
        finally:
            running.interrupt()


if __name__ == "__main__":
    main()
