"""Areas by name, in characters, by sound or initials."""

import pytest
from sqlalchemy.orm import Session

from tests.waters.database import Statements, plan_of
from waterwatch.agencies.rules import area_keys
from waterwatch.agencies.search import areas_at_each, search_areas, split_at_area

WUCHANG = (114.3055, 30.5444)


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("洪山区", "420111"),
        ("洪山", "420111"),
        ("洪山區", "420111"),
        ("hongshanqu", "420111"),
        ("武汉", "420100"),
        ("武漢市", "420100"),
        ("Wuhan", "420100"),
        ("whs", "420100"),
        ("湖北", "420000"),
        ("吉林", "220000"),
    ],
)
def test_an_area_is_found_by_its_name_its_sound_and_its_initials(session: Session, words: str, first: str) -> None:
    found = search_areas(session, words)
    assert first in [one.code for one in found if one.is_exact]
    assert found[0].is_exact


def test_an_area_says_what_it_belongs_to_and_the_box_around_it(session: Session) -> None:
    found = search_areas(session, "洪山区")[0]
    assert [names["zh-Hans"] for names in found.above] == ["武汉市", "湖北省"]
    west, south, east, north = found.bbox
    assert 114 < west < 114.4 < east < 114.8
    assert 30.2 < south < 30.5 < north < 30.8


def test_namesakes_are_all_offered_and_what_merely_begins_so_comes_after(session: Session) -> None:
    found = search_areas(session, "朝阳")
    assert {"110105", "211300"} <= {one.code for one in found if one.is_exact}
    is_exact = [one.is_exact for one in found]
    assert is_exact == sorted(is_exact, reverse=True)


@pytest.mark.parametrize("words", ["", " ", "区", "h", "%", "没有这个地方"])
def test_what_names_no_area_finds_none(session: Session, words: str) -> None:
    assert search_areas(session, words) == []


@pytest.mark.parametrize(
    ("words", "pair"),
    [
        ("洪山区南湖", ("洪山区", "南湖")),
        ("武汉东湖", ("武汉", "东湖")),
        ("鄱阳湖", None),
        ("长江", None),
        ("wuhandonghu", None),
        ("没有这个地方南湖", None),
    ],
)
def test_words_without_a_space_are_parted_behind_an_areas_name(
    session: Session, words: str, pair: tuple[str, str] | None
) -> None:
    assert split_at_area(session, words) == pair


def test_the_kind_of_an_area_may_be_left_out_but_not_its_name() -> None:
    assert {"洪山区": 0, "洪山": 1, "hongshanqu": 2, "hongshan": 3, "hsq": 4, "hs": 5}.items() <= area_keys(
        ["洪山区"]
    ).items()
    assert "山区" not in area_keys(["洪山区"])
    assert {"延边": 0, "延边朝鲜族": 1}.items() <= area_keys(["延边", "延边朝鲜族自治州"]).items()
    assert "东" not in area_keys(["东区"])


def test_the_areas_of_many_places_are_one_question(session: Session) -> None:
    with Statements(session) as sent:
        found = areas_at_each(session, [WUCHANG, (150.0, 10.0)], lang="zh-Hant")
    assert len(sent) == 1
    assert [[one.name for one in at] for at in found] == [["武昌區", "武漢市", "湖北省"], []]
    assert areas_at_each(session, []) == []


def test_a_search_reads_no_table_through(session: Session) -> None:
    with Statements(session) as sent:
        search_areas(session, "洪山区")
    plan = plan_of(session, sent)
    assert "ix_jurisdiction_key_key" in plan
    assert "Seq Scan" not in plan
