"""Twenty reports of every kind, cleared by keyboard alone.

It colours waters and wants a queue that holds its own reports alone: it has a site to itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Connection, NullPool, create_engine, text

from tests.journeys import people
from tests.journeys.conftest import Site, running_site
from tests.journeys.people import PHONE, Watch
from tests.journeys.sending import WUHAN_BRIDGE, await_review, draw_scene, send_report, withdraw
from waterwatch.reports.tables import ALL_CLEAR, KINDS

pytestmark = pytest.mark.journey
LAPTOP = {"width": 1280, "height": 800}
SECOND, LEAD = "second@demo.example", "lead@demo.example"  # a code of the day is taken once: two in turn
KM_APART = 0.012  # degrees: no two are within the 500 m in which one joins the other's incident


@dataclass(frozen=True)
class Case:
    """One report and what is to become of it: the keys that decide it, and the state and the decision they lead to."""

    kind: str
    keys: tuple[str, ...] = ("g",)
    state: str = "accepted"
    decision: str | None = "accepted"
    place: int | None = None
    photos: int = 1
    answers: dict[str, Any] = field(default_factory=dict)


RED = {"dead_animals": True, "people_affected": True, "ongoing": True, "extent": "over_1_km"}
CASES = [
    *(Case(kind) for kind in KINDS if kind not in ("fish_kill", "foam")),
    Case("fish_kill", photos=3, answers=RED),
    Case("foam", ("3", "m", "说明：取水口就在旁边", "Escape", "g")),
    Case(ALL_CLEAR, ("p",), decision="patrol_accepted"),
    Case("sewage_outfall", ("j", "g"), "merged", "joined", place=KINDS.index("sewage_outfall")),
    Case("oil_slick", ("r", "1", "Enter"), "refused", "refused"),
    Case("other", ("r", "5", "Enter"), "refused", "refused"),
    Case("floating_garbage", ("r", "2", "Enter"), "refused", "refused"),
    Case("algal_bloom", ("a", "1", "Enter"), "in_review", "asked"),
    Case("black_odorous", ("b", "1", "Enter"), "in_review", "handed"),
]
assert len(CASES) == 20


@pytest.fixture(scope="module")
def site(services_folder: Path) -> Iterator[Site]:
    """A site with an empty queue and a map without colours."""
    with running_site(services_folder / "clearing") as running:
        yield running


def send(origin: str, folder: Path) -> tuple[dict[str, Case], dict[str, str]]:
    """Send them all, in this order; gives them by code, and the tokens by code."""
    cases: dict[str, Case] = {}
    tokens: dict[str, str] = {}
    for number, case in enumerate(CASES):
        cell = number if case.place is None else case.place
        at = (WUHAN_BRIDGE[0] + KM_APART * (cell % 5), WUHAN_BRIDGE[1] + KM_APART * (cell // 5))
        photos = [draw_scene(folder / f"{number}-{one}.jpg", seed=number * 10 + one) for one in range(case.photos)]
        receipt = send_report(origin, photos, case.kind, at, **case.answers)
        cases[receipt["code"]], tokens[receipt["code"]] = case, receipt["token"]
    await_review(origin, list(tokens.values()))
    return cases, tokens


def code_on_screen(page: Page) -> str:
    """The report that is on the screen."""
    return page.locator("main h1 .number").inner_text()


def press(page: Page, keys: tuple[str, ...]) -> None:
    """Keys by their names; what is longer than a name is typed."""
    for key in keys:
        if len(key) > 1 and not key.isascii():
            page.keyboard.type(key)
        else:
            page.keyboard.press(key)


def await_next(page: Page, code: str) -> None:
    """Until another report is on the screen, or the empty queue, and hears its keys.

    Where the next one was not ready the browser goes to a page, and for a moment has neither of them.
    """
    other = page.locator("main h1 .number, .empty-title").filter(has_not_text=code)
    expect(other.first).to_be_visible()
    page.wait_for_load_state("load")


def clear(page: Page, cases: dict[str, Case]) -> list[str]:
    """Decide one report after the other until none waits; gives their codes in the order they came."""
    seen: list[str] = []
    page.keyboard.press("n")
    page.wait_for_selector("[data-review]")
    page.wait_for_load_state("load")
    while page.locator("[data-review]").count():
        code = code_on_screen(page)
        seen.append(code)
        press(page, cases[code].keys)
        await_next(page, code)
    return seen


@contextmanager
def database_of(site: Site) -> Iterator[Connection]:
    """The database of the running demonstration."""
    url = site.setting("DATABASE_URL").replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection


def decided(connection: Connection, codes: list[str]) -> dict[str, tuple[str, list[str]]]:
    """By code: the state of the report, and what was decided about it that still stands, in order."""
    rows = connection.execute(
        text("""
        SELECT r.code, r.state, coalesce(array_agg(d.action ORDER BY d.at)
                   FILTER (WHERE d.reversed_at IS NULL AND d.action <> 'reversed'), '{}') AS actions
        FROM report r LEFT JOIN decision d ON d.report_id = r.id WHERE r.code = ANY(:codes) GROUP BY r.id
        """),
        {"codes": codes},
    )
    return {row.code: (row.state, list(row.actions)) for row in rows}


def test_twenty_reports_of_all_kinds_are_cleared_by_keyboard_alone(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    cases, tokens = send(site.origin, tmp_path)
    with people.person(browser, watch, LAPTOP) as moderator:
        people.sign_in(moderator, site.origin, SECOND, site.totp_secret(SECOND))
        seen = clear(moderator, cases)
        expect(moderator.locator(".empty-title")).to_have_text("没有等待审核的上报")
    assert sorted(seen) == sorted(cases), "every report once"
    assert cases[seen[0]].kind == "fish_kill", "the red flag comes first"
    with database_of(site) as connection:
        found = decided(connection, list(cases))
        assert {code: found[code] for code in cases} == {
            code: (case.state, [case.decision]) for code, case in cases.items()
        }
        severities = connection.execute(
            text("""
            SELECT r.code, i.severity, i.graded_severity
            FROM report r JOIN incident_report x ON x.report_id = r.id JOIN incident i ON i.id = x.incident_id
            WHERE r.code = ANY(:codes)
            """),
            {"codes": list(cases)},
        ).all()
        graded = {cases[row.code].kind: (row.severity, row.graded_severity) for row in severities}
        assert graded["fish_kill"] == (3, 4), "red stands as orange until a second moderator confirms it"
        assert graded["foam"] == (3, 3)
        assert len(severities) == 14
        held = connection.execute(text("SELECT count(*) FROM review_item WHERE leased_by IS NOT NULL")).scalar_one()
        assert held == 0, "no lease is left"
    for code, case in cases.items():
        if case.state == "in_review":
            withdraw(site.origin, tokens[code])


def test_the_desk_fits_both_screens_and_has_no_serious_barrier(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    pictures = [draw_scene(tmp_path / f"{number}.jpg", seed=900 + number) for number in range(3)]
    tokens = [
        send_report(site.origin, pictures[:2], "fish_kill", note="岸边有很多死鱼", **RED)["token"],
        send_report(site.origin, pictures[2:], "foam", (WUHAN_BRIDGE[0] + 0.001, WUHAN_BRIDGE[1]))["token"],
    ]
    await_review(site.origin, tokens)
    found: list[str] = []
    with people.person(browser, watch, LAPTOP) as moderator:
        people.sign_in(moderator, site.origin, LEAD, site.totp_secret(LEAD))
        found += people.find_violations(moderator)
        people.keep_picture(moderator, "desk-queue")
        moderator.keyboard.press("n")
        moderator.wait_for_selector("[data-desk-map][data-ready]")
        found += people.find_violations(moderator)
        people.keep_picture(moderator, "desk")
        inside = moderator.evaluate(
            "innerHeight - document.querySelector('.desk-actions').getBoundingClientRect().bottom"
        )
        assert inside >= 0, "what decides is on the screen without scrolling"
        shown = "document.querySelector('.stage img').matches('.reveal:checked ~ * img')"
        assert not moderator.evaluate(shown), "blurred until asked for"
        moderator.keyboard.press("s")
        assert moderator.evaluate(shown)
        moderator.keyboard.press("]")
        expect(moderator.locator(".stage-photo.is-shown figcaption")).to_contain_text("2/2")
        moderator.keyboard.press("r")
        found += people.find_violations(moderator)
        moderator.keyboard.press("Escape")
        moderator.keyboard.press("?")
        found += people.find_violations(moderator)
        moderator.keyboard.press("Escape")
        moderator.set_viewport_size(PHONE)
        assert people.overflow_px(moderator) == 0
        found += people.find_violations(moderator)
        people.keep_picture(moderator, "desk-phone")
        moderator.goto(f"{site.origin}/desk/pace")
        assert people.overflow_px(moderator) == 0
        found += people.find_violations(moderator)
        moderator.goto(f"{site.origin}/desk/")
        assert people.overflow_px(moderator) == 0
    for token in tokens:
        withdraw(site.origin, token)
    assert found == []


def test_a_decision_is_undone_and_one_that_is_not_taken_comes_back_with_what_was_typed(
    site: Site, browser: Browser, watch: Watch, tmp_path: Path
) -> None:
    receipts = [
        send_report(site.origin, [draw_scene(tmp_path / f"{number}.jpg", seed=700 + number)], "foam", at)
        for number, at in enumerate([WUHAN_BRIDGE, (WUHAN_BRIDGE[0] + 0.03, WUHAN_BRIDGE[1])])
    ]
    codes = [receipt["code"] for receipt in receipts]
    await_review(site.origin, [receipt["token"] for receipt in receipts])
    with people.person(browser, watch, LAPTOP) as moderator:
        people.sign_in(moderator, site.origin, SECOND, site.totp_secret(SECOND))
        moderator.keyboard.press("n")
        moderator.wait_for_selector("[data-review]")
        moderator.wait_for_load_state("networkidle")
        first = code_on_screen(moderator)
        assert first == codes[0]
        # The network is away for a moment.
        moderator.route("**/grade", lambda route: route.abort())
        press(moderator, ("3", "m", "说明：就在取水口", "Escape", "g"))
        toast = moderator.locator(".desk-toast")
        expect(toast).to_contain_text("没有送出去")
        assert code_on_screen(moderator) == first
        assert moderator.locator("#departure_reason").input_value() == "说明：就在取水口"
        moderator.unroute("**/grade")
        # Refused, undone, and refused again.
        press(moderator, ("r", "2", "Enter"))
        await_next(moderator, first)
        people.expect_said(moderator, "已退回")
        moderator.keyboard.press("u")
        expect(moderator.locator("main h1")).to_contain_text(first)
        moderator.wait_for_load_state("networkidle")
        press(moderator, ("r", "2", "Enter"))
        await_next(moderator, first)
        people.expect_said(moderator, "已退回")
        press(moderator, ("r", "2", "Enter"))
        expect(moderator.locator(".empty-title")).to_have_text("没有等待审核的上报")
    with database_of(site) as connection:
        assert decided(connection, codes) == {code: ("refused", ["refused"]) for code in codes}
