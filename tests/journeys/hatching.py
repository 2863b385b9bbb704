"""What the live map draws of what is expected to come down a river: asked of the map itself, as its user sees it."""

import time
from typing import Any

from playwright.sync_api import Page

from tests.journeys.published_map import open_map

HEAR = "document.addEventListener('map-drawn', (event) => { window.drawnMap = event.detail; });"
# Of what the hatching layers draw here, what shows: where the water itself carries a level, that counts.
DRAWN = """(box) => window.drawnMap
  .queryRenderedFeatures(box ?? undefined, {layers: ["rivers-approaching", "lakes-approaching"]})
  .filter(({state}) => state.near > 0 && !(state.level > 0)).map(({id}) => id)"""
EXPECTED = """async (code) => {
  const pointer = await (await fetch("/published/map.json", {cache: "no-cache"})).json();
  const {incidents} = await (await fetch("/published/" + pointer.expected)).json();
  let last = 0;
  return incidents.filter((one) => one.code === code).flatMap(({ids}) => ids.map((step) => (last += step)));
}"""
LOOK_AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"
IS_STILL = "window.drawnMap.loaded() && window.drawnMap.areTilesLoaded() && !window.drawnMap.isMoving()"
AT = """([lon, lat]) => {
  const {x, y} = window.drawnMap.project([lon, lat]);
  const {left, top} = window.drawnMap.getCanvas().getBoundingClientRect();
  return [x, y, left, top];
}"""
WITHIN_S = 90.0


def listen(page: Page) -> None:
    """From the next page on, keep the map that is drawn at hand."""
    page.add_init_script(HEAR)


def drawn(page: Page, box: list[list[float]] | None = None) -> set[int]:
    """The features that are hatched in view, or in a box of the map's pixels."""
    return set(page.evaluate(DRAWN, box))


def expected(page: Page, code: str) -> set[int]:
    """The features below an incident as they are published for everybody."""
    return set(page.evaluate(EXPECTED, code))


def await_what(page: Page, script: str, *, is_so: bool = True, of: Any = None) -> None:
    """Until a script says so, or no longer does."""
    ends = time.monotonic() + WITHIN_S
    while bool(page.evaluate(script, of)) is not is_so:
        assert time.monotonic() < ends, f"not within {WITHIN_S:g} s: {script}"
        page.wait_for_timeout(100)


def await_published(page: Page, code: str, *, is_there: bool = True) -> None:
    """Until the published file tells of the incident, or no longer does."""
    await_what(page, f"async (code) => (await ({EXPECTED})(code)).length > 0", is_so=is_there, of=code)


def await_drawn(page: Page, *, is_there: bool = True) -> set[int]:
    """Until something in view is hatched, or nothing is any more, on a map that stays open; gives what is."""
    page.evaluate(LOOK_AGAIN)  # as its user would, who comes back to it, a minute before it would look by itself
    await_what(page, f"() => ({DRAWN})().length > 0", is_so=is_there)
    await_what(page, IS_STILL)
    return drawn(page)


def look_at(page: Page, origin: str, place: tuple[float, float], zoom: float) -> None:
    """Open the map with a place in its middle, once all of it is drawn."""
    page.goto("about:blank")
    open_map(page, f"{origin}/#map={zoom:g}/{place[1]:.4f}/{place[0]:.4f}")
    await_what(page, IS_STILL)


def touch(page: Page, place: tuple[float, float]) -> None:
    """Touch the map at a place of the water."""
    page.locator("#map").scroll_into_view_if_needed()
    x, y, left, top = page.evaluate(AT, list(place))
    assert drawn(page, [[x - 8, y - 8], [x + 8, y + 8]]), "nothing is hatched there"
    page.mouse.click(left + x, top + y)
    page.locator(".map-popup").wait_for()
    await_what(page, IS_STILL)
    popup, frame = page.locator(".map-popup").bounding_box(), page.locator("#map").bounding_box()
    assert popup is not None
    assert frame is not None
    assert popup["y"] >= frame["y"], "all of what is said can be read"
    assert popup["y"] + popup["height"] <= frame["y"] + frame["height"], "all of what is said can be read"
