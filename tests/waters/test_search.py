"""Waters by name: any name in any spelling, and what is offered first."""

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.waters.database import Statements
from waterwatch.waters import service
from waterwatch.waters.search import search_names


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("长江", "w-yangtze"),
        ("長江", "w-yangtze"),
        ("扬子江", "w-yangtze"),
        ("yangtze", "w-yangtze"),
        ("  POYANG  lake ", "w-poyang"),
        ("cháng jiāng", "w-yangtze"),
        ("松花", "w-songhua"),
        ("汉江", "w-hanjiang"),
        ("changjiang", "w-yangtze"),
        ("Chang Jiang", "w-yangtze"),
        ("cj", "w-yangtze"),
        ("ＣＪ", "w-yangtze"),
        ("poyanghu", "w-poyang"),
        ("pyh", "w-poyang"),
        ("poya", "w-poyang"),
        ("鄱羊湖", "w-poyang"),  # what an input method offers for the same sound
        ("po阳", "w-poyang"),
        ("yangtse", "w-yangtze"),
        ("poyong lake", "w-poyang"),
        ("songhuajang", "w-songhua"),
    ],
)
def test_a_water_is_found_by_any_of_its_names(session: Session, words: str, first: str) -> None:
    assert search_names(session, words)[0].public_id == first


def test_the_larger_of_two_alike_and_the_whole_name_come_first(session: Session) -> None:
    found = [water.names["zh-Hans"] for water in search_names(session, "jiang", limit=50)]
    assert len(found) > 10
    assert found.index("长江") < found.index("鸭绿江")
    assert search_names(session, "太湖")[0].names["zh-Hans"] == "太湖"


def test_a_search_is_one_question_and_two_when_nothing_is_found(session: Session) -> None:
    with Statements(session) as sent:
        search_names(session, "changjiang")
    assert len(sent) == 1
    with Statements(session) as sent:
        assert search_names(session, "qqqqqqqq") == []
    assert len(sent) == 3  # one of them says how alike is alike


def test_names_that_change_leave_no_key_behind(session: Session) -> None:
    def kept() -> set[tuple[str, int]]:
        return {(row.key, row.grade) for row in session.execute(text("SELECT key, grade FROM water_key"))}

    before = kept()
    session.execute(text("UPDATE water_name SET name = '某某江' WHERE name = '长江'"))
    service.make_keys(session, list(session.execute(text("SELECT id FROM water_body")).scalars()))
    assert ("长江", 0) not in kept()
    assert {("某某江", 0), ("moumoujiang", 2), ("mmj", 4), ("江", 6)} <= kept()
    session.execute(text("UPDATE water_name SET name = '长江' WHERE name = '某某江'"))
    service.make_keys(session, list(session.execute(text("SELECT id FROM water_body")).scalars()))
    assert kept() == before


@pytest.mark.parametrize("words", ["%", "_", "\\", "100%", "没有这条河"])
def test_wildcards_are_plain_characters_in_a_search(session: Session, words: str) -> None:
    assert search_names(session, words) == []
