"""Folium pages: nobody else is asked, no name runs; bounded, equal for equal states, and following what changes."""

import io
import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from tests.escalation.rows import HUBEI, add_agency
from tests.mapping.publishing import end, every_byte, later, open_one, run, waiting
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Unavailable
from waterwatch.mapping import pages, publishing_pages
from waterwatch.mapping import publishing_queries as queries
from waterwatch.mapping.publishing_queries import PlaceView
from waterwatch.mapping.publishing_run import Run, State
from waterwatch.mapping.rules import LEVEL_COLOURS

HOSTILE = [
    "{{7*7}}",
    "{% raw %}江",
    "{% raw",
    "{#",
    "{{cycler.__init__.__globals__.os.popen('id').read()}}",
    "</script><img src=x onerror=alert(1)>{{7*7}}\u2028'\"&",
    "wwinset000000w{{'a' * 9}}\\u007b",
]


def page(context: JobContext, place: str = "national") -> str:
    return (context.settings.publish_dir / "maps" / f"{place}.html").read_text()


def places(context: JobContext) -> set[str]:
    return {path.stem for path in (context.settings.publish_dir / "maps").glob("*.html")}


def shows_red(context: JobContext, place: str) -> bool:
    """Whether any pixel of a place's picture has the colour of the highest level."""
    content = (context.settings.publish_dir / "maps" / f"{place}.png").read_bytes()
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    red = [int(LEVEL_COLOURS[4][at : at + 2], 16) for at in (1, 3, 5)]
    return bool((np.abs(picture - red).max(axis=2) <= 8).any())


def changes(context: JobContext) -> int:
    """How much the publisher has still to take note of."""
    with transaction(context.sessions) as session:
        return int(session.execute(text("SELECT count(*) FROM map_change")).scalar_one())


def place_under(context: JobContext, basin: str | None = None) -> None:
    """Hubei as a province, its water in a basin of the same name."""
    with transaction(context.sessions) as session:
        add_agency(session, "湖北", [], area=HUBEI, level="province")
        session.execute(
            text("INSERT INTO jurisdiction_name (jurisdiction_id, lang, name) SELECT id, 'zh-Hans', '湖北省'"
                 " FROM jurisdiction")
        )  # fmt: skip
        session.execute(text("UPDATE water_body SET basin = :basin"), {"basin": basin})


def test_there_is_a_page_and_a_picture_for_country_province_basin_and_water(context: JobContext) -> None:
    open_one(context)
    place_under(context, "长江")
    run(context)
    with transaction(context.sessions) as session:
        public_id = session.execute(text("SELECT public_id FROM water_body")).scalar_one()
    assert places(context) == {"national", "area-420000", f"basin-{public_id}", f"water-{public_id}"}
    assert "湖北省" in page(context, "area-420000")
    for path in (context.settings.publish_dir / "maps").glob("*.png"):
        with Image.open(path) as picture:
            assert picture.size == (1200, 630)


def test_a_page_asks_nobody_else_and_what_it_names_is_there(context: JobContext) -> None:
    open_one(context)
    run(context)
    for place in places(context):
        html = page(context, place)
        assert re.findall(r"(?:https?:)?//[\w.-]+\.\w{2,}", html.replace("http://www.w3.org/", "")) == []
        for name in re.findall(r'(?:src|href)="([^"#?]+)"', html):
            folder = context.settings.publish_dir / "maps"
            assert name.startswith(("data:", "/w/", "/i/")) or name == "/" or (folder / name).is_file(), name
        assert html.count("公众观察等级，非政府预警") >= 1


class Reader(HTMLParser):
    """What a browser makes of a page: its words by language, its scripts, the tags it opened."""

    def __init__(self) -> None:
        super().__init__()
        self.words: dict[str, list[str]] = {}
        self.scripts: list[str] = []
        self.images: list[str | None] = []
        self.title = ""
        self.root: dict[str, str | None] = {}
        self._in: tuple[str, str | None] = ("", None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self._in = tag, found.get("data-l")
        self.root = found if tag == "html" else self.root
        self.images += [found.get("src")] if tag == "img" else []

    def handle_endtag(self, tag: str) -> None:
        self._in = "", None

    def handle_data(self, data: str) -> None:
        tag, language = self._in
        self.title += data if tag == "title" else ""
        self.scripts += [data] if tag == "script" else []
        if language is not None:
            self.words.setdefault(language, []).append(data)


def reader(html: str) -> Reader:
    found = Reader()
    found.feed(html)
    return found


def popups(page_read: Reader) -> list[str]:
    """The HTML each popup would show, from the data the page's script holds."""
    found = []
    for script in page_read.scripts:
        for data in re.findall(r"_add\((\{.*\})\);", script):
            found += [feature["properties"].get("words", "") for feature in json.loads(data)["features"]]
    return [words for words in found if words]


def call_everything(context: JobContext, name: str) -> None:
    """One name for the water in all languages, the province, and the basin."""
    open_one(context, water=name)
    place_under(context, name)
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE jurisdiction_name SET name = :name"), {"name": name})
        for language in ("zh-Hant", "en"):
            session.execute(
                text("INSERT INTO water_name (id, water_body_id, lang, name, is_primary)"
                     " SELECT gen_random_uuid(), id, :language, :name, true FROM water_body"),
                {"language": language, "name": name},
            )  # fmt: skip
            session.execute(
                text("INSERT INTO jurisdiction_name (jurisdiction_id, lang, name)"
                     " SELECT id, :language, :name FROM jurisdiction"),
                {"language": language, "name": name},
            )  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_every_name_is_shown_literally_in_every_language_and_runs_nowhere(context: JobContext, name: str) -> None:
    call_everything(context, name)
    run(context)
    assert len(places(context)) == 4
    for place in places(context):
        html = page(context, place)
        seen = reader(html)
        for language in ("zh-Hans", "zh-Hant", "en"):
            shown = [words for words in seen.words[language] if words == name]
            assert len(shown) == (1 if place == "national" else 2)  # in the list of waters, and as the page's title
            if place != "national":
                assert (seen.root[f"data-title-{language.lower()}"] or "").startswith(f"{name} · ")
        if place != "national":
            assert seen.title.startswith(f"{name} · ")
        read = [reader(words) for words in popups(seen)]
        assert [r.words["en"][0] for r in read if name in r.words["en"]] == [name]
        assert all(not r.images and not r.scripts for r in read)
        assert seen.images == [f"{place}.png"]
        # folium's own scripts, and no more: a name that ended one would begin another
        assert html.count("<script") == html.count("</script>") == len(seen.scripts) + html.count("<script src")
        assert not re.search(r"\{\{|\{%|\{#", html)


def test_equal_states_give_equal_pages(context: JobContext) -> None:
    open_one(context)
    first = run(context)
    before = page(context)
    with transaction(context.sessions) as session:
        session.execute(text("DELETE FROM published_file WHERE key LIKE 'maps/%'"))
    run(context)
    unstamped = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", html) for html in (before, page(context))]
    assert unstamped[0] == unstamped[1]
    assert first["snapshot"] == "maps/national.html"


def test_a_water_that_lost_its_colour_is_drawn_grey_and_keeps_its_page_for_a_year(context: JobContext) -> None:
    code = open_one(context, severity=4)
    run(context)
    (place,) = places(context) - {"national"}
    assert shows_red(context, place)
    assert code in page(context, place)
    end(context, code)
    run(context)
    assert code not in page(context, place)
    assert not shows_red(context, place)
    run(later(context, days=364))
    assert place in places(context)
    run(later(context, days=367))
    assert places(context) == {"national"}
    assert not (context.settings.publish_dir / "maps" / f"{place}.png").exists()


def test_what_is_withdrawn_is_in_no_page_and_no_picture(context: JobContext) -> None:
    code = open_one(context, severity=4)
    run(context)
    end(context, code, "retracted")
    run(context)
    assert places(context) == {"national"}
    assert code not in page(context)
    assert not shows_red(context, "national")


def test_so_many_are_drawn_the_worst_first_and_the_rest_is_counted(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = {severity: open_one(context, severity=severity) for severity in (1, 4, 2)}
    monkeypatch.setattr(queries, "DRAWN_AT_MOST", 2)
    monkeypatch.setattr(queries.markers_on, "__kwdefaults__", {"limit": 2})
    run(context)
    html = page(context)
    assert [code in html for code in (codes[4], codes[2], codes[1])] == [True, True, False]
    assert "另有 1 段、片水体和 1 起事件没有画出" in html


def test_pages_that_take_too_long_are_left_for_the_next_run_and_withdrawals_are_not(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = [open_one(context) for _ in range(4)]
    monkeypatch.setattr(publishing_pages, "PAGES_FOR_S", 0.0)
    run(context)
    assert waiting(context) == 1  # the country's page is made; the rest was ordered
    assert places(context) == {"national"}
    for _ in range(4):
        run(context)
    assert len(places(context)) == 5
    for code in codes[:2]:
        end(context, code, "retracted")
    run(context)
    assert not any(code in page(context, place) for code in codes[:2] for place in places(context))


def test_the_page_says_when_it_changed_last(context: JobContext) -> None:
    open_one(context)
    run(context)
    said = re.findall(r"数据时间 (\S+ \S+)（北京时间）", page(context))
    assert datetime.strptime(said[0], "%Y-%m-%d %H:%M").replace(tzinfo=UTC) - datetime.now(UTC) > timedelta(hours=7)
    run(later(context, hours=5))
    assert re.findall(r"数据时间 (\S+ \S+)（北京时间）", page(context)) == said


def spoil(monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
    """Pages of these places cannot be made."""
    place_page = pages.place_page

    def failing(place: PlaceView, **values: str) -> str:
        if place.key in keys:
            raise ValueError(place.names)
        return place_page(place, **values)

    monkeypatch.setattr(pages, "place_page", failing)


def test_a_withdrawal_waits_behind_no_backlog_of_pages(context: JobContext, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [open_one(context, severity=4) for _ in range(3)]
    place_under(context, "长江")
    run(context)
    standing = places(context)
    assert len(standing) == 1 + 1 + 1 + 3  # country, province, basin, waters
    monkeypatch.setattr(publishing_pages, "PAGES_VERSION", 99)  # every page is due
    monkeypatch.setattr(publishing_pages, "PAGES_FOR_S", 0.0)
    end(context, codes[0], "retracted")
    run(context)
    assert waiting(context) == 1
    assert len(standing - places(context)) == 1  # its own: nothing else ever coloured that water
    assert [place for place in places(context) if codes[0] in page(context, place)] == []
    assert [place for place in places(context) if codes[1] in page(context, place)] != []
    assert changes(context) == 0


def test_a_page_that_cannot_be_made_stops_no_other(
    context: JobContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = open_one(context, water="某河")
    place_under(context)
    run(context)
    before = places(context)
    spoil(monkeypatch, "national")
    later_code = open_one(context)
    run(context)
    assert len(places(context)) == len(before) + 1
    assert later_code in page(context, "area-420000")
    assert code in page(context)  # of yesterday, but nothing in it was withdrawn
    assert waiting(context) == 0
    assert "page.not_made" in caplog.text
    assert "某河" not in caplog.text


def test_where_something_was_withdrawn_a_page_that_cannot_be_made_goes(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = open_one(context, severity=4)
    place_under(context)
    run(context)
    spoil(monkeypatch, "national", "area-420000")
    end(context, code, "retracted")
    run(context)
    assert list((context.settings.publish_dir / "maps").iterdir()) == []
    assert changes(context) == 0
    monkeypatch.undo()
    run(context)
    assert places(context) == {"national", "area-420000"}


def test_what_is_withdrawn_is_in_no_data_although_pages_stop_the_run(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = open_one(context)
    run(context)
    write = publishing_pages.write

    def killed(run_: Run, state: State) -> bool:
        raise Unavailable("published_not_written", retry_after_s=1.0)

    monkeypatch.setattr(publishing_pages, "write", killed)
    end(context, code, "retracted")
    with pytest.raises(Unavailable):
        run(context)
    data = {name: content for name, content in every_byte(context).items() if ".json" in name}
    assert [name for name, content in data.items() if code.encode() in content] == []
    assert changes(context) > 0  # the next run knows that it is urgent
    monkeypatch.setattr(publishing_pages, "write", write)
    monkeypatch.setattr(publishing_pages, "PAGES_FOR_S", 0.0)
    run(context)
    assert [name for name, content in every_byte(context).items() if code.encode() in content] == []


def test_a_page_that_a_killed_publisher_forgot_goes_with_what_is_withdrawn(context: JobContext) -> None:
    code = open_one(context)
    place_under(context)
    run(context)
    with transaction(context.sessions) as session:
        session.execute(text("DELETE FROM published_file WHERE key LIKE 'maps/water-%'"))
    end(context, code, "retracted")
    run(context)
    assert places(context) == {"national", "area-420000"}
    assert [name for name, content in every_byte(context).items() if code.encode() in content] == []


def test_letters_that_no_drawing_may_hold_spoil_no_page(context: JobContext) -> None:
    open_one(context, water="长\x01\ufffe江")
    run(context)
    assert len(places(context)) == 2


def test_a_page_is_dark_where_its_viewer_is_and_never_on_paper(context: JobContext) -> None:
    open_one(context)
    run(context)
    (night,) = re.findall(r"@media ([^{]*)\{html\{color-scheme:dark\}", page(context))
    assert night == "screen and (prefers-color-scheme:dark)"
    assert 'path[stroke="#8fb2c9"]' in page(context)  # the colour of the waters beneath, which folium writes into them
