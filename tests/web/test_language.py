"""The viewer's language and clock."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from tests.web.site import Visitor
from waterwatch.web.language import elapsed, local_time

PAGES = ("/", "/report", "/login", "/search?q=none", "/nowhere", "/w/none", "/i/NONE-NONE")
HAN = re.compile(r"[\u4e00-\u9fff]+")
# Names stay as they are written: the project's own, and each language's in the language switch.
NAMES = ("江湖網", "简体中文", "繁體中文")


def language_of(visitor: Visitor, **headers: str) -> str:
    found = re.search(r'<html lang="([\w-]+)"', visitor.get("/", headers=headers).text)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "zh-Hans"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("zh-TW", "zh-Hant"),
        ("zh-HK,en;q=0.5", "zh-Hant"),
        ("zh-Hant-CN", "zh-Hant"),
        ("en-GB,en;q=0.9", "en"),
        ("fr,de", "zh-Hans"),
        ("fr,en;q=0.5", "en"),
        ("*", "zh-Hans"),
        ("\x00;;q=x", "zh-Hans"),
    ],
)
def test_the_browser_says_which_language(visitor: Visitor, accepted: str, language: str) -> None:
    assert language_of(visitor, **{"Accept-Language": accepted}) == language


def test_a_choice_outlives_the_browsers_wish_and_leads_back(visitor: Visitor) -> None:
    response = visitor.post("/language", {"language": "en", "next": "/search?q=x"}, page="/")
    assert (response.status_code, response.location) == (303, "/search?q=x")
    assert language_of(visitor, **{"Accept-Language": "zh-CN"}) == "en"


def test_an_address_states_the_language_of_one_visit_until_another_is_chosen(visitor: Visitor) -> None:
    assert '<html lang="en"' in visitor.get("/?lang=en").text
    assert '<html lang="zh-Hans"' in visitor.get("/?lang=xx").text
    assert language_of(visitor) == "zh-Hans"
    for asked, led in (("/?lang=en", "/"), ("/?lang=en&slang=1", "/?slang=1"), ("/search?q=a&lang=en", "/search?q=a")):
        assert visitor.post("/language", {"language": "en", "next": asked}, page="/").location == led


def test_a_language_we_do_not_speak_changes_nothing(visitor: Visitor) -> None:
    visitor.post("/language", {"language": "xx"}, page="/")
    assert language_of(visitor) == "zh-Hans"
    visitor.client.set_cookie("language", "../../etc")
    assert language_of(visitor) == "zh-Hans"


@pytest.mark.parametrize("path", PAGES)
def test_an_english_page_holds_no_chinese_but_names(visitor: Visitor, path: str) -> None:
    page = visitor.get(path, headers={"Accept-Language": "en"}).text
    for name in NAMES:
        page = page.replace(name, "")
    assert HAN.findall(page) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_traditional_page_holds_no_simplified_characters(visitor: Visitor, path: str) -> None:
    page = visitor.get(path, headers={"Accept-Language": "zh-TW"}).text.replace("简体中文", "")
    "".join(HAN.findall(page)).encode("big5hkscs")


def test_times_are_told_by_the_viewers_clock_and_machines_read_the_instant(app: Flask) -> None:
    moment = datetime(2026, 5, 20, 2, 30, tzinfo=UTC)
    with app.test_request_context():
        assert local_time(moment) == '<time datetime="2026-05-20T02:30:00+00:00">2026-05-20 10:30</time>'
    with app.test_request_context(headers={"Cookie": "tz=America/New_York"}):
        assert ">2026-05-19 22:30<" in local_time(moment)
    for nonsense in ("Nowhere/City", "../../etc/passwd", "\x00"):
        with app.test_request_context(headers={"Cookie": f"tz={nonsense}"}):
            assert ">2026-05-20 10:30<" in local_time(moment)


@pytest.mark.parametrize(("language", "words"), [("zh-CN", "5分钟"), ("zh-TW", "5 分鐘"), ("en", "5 min")])
def test_a_wait_is_told_shortly(app: Flask, language: str, words: str) -> None:
    with app.test_request_context(headers={"Accept-Language": language}):
        assert f">{words}<" in elapsed(datetime.now(UTC) - timedelta(minutes=5))
