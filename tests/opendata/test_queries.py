"""Places by name: a water, an area, and both together, told apart by where they lie."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from tests.reports.rows import add_river
from tests.waters.database import Statements, loaded_engine, rollback_session
from waterwatch.agencies.queries import JurisdictionAt
from waterwatch.agencies.search import FoundArea
from waterwatch.agencies.service import load_builtin as load_agencies
from waterwatch.opendata.queries import PlacedWater, common_areas, find_places, find_waters
from waterwatch.waters.service import load_builtin as load_waters
from waterwatch.waters.service import make_keys, set_extents


@pytest.fixture(scope="module")
def country(admin_url: str, template_database: str) -> Iterator[Engine]:
    """A clone of the template with the built-in waters and areas."""

    def load(session: Session, **facts: object) -> None:
        load_waters(session, **facts)  # type: ignore[arg-type]
        load_agencies(session, **facts)  # type: ignore[arg-type]

    yield from loaded_engine(admin_url, template_database, load)


@pytest.fixture
def session(country: Engine) -> Iterator[Session]:
    yield from rollback_session(country)


def names(found: list[PlacedWater | FoundArea]) -> list[str]:
    return [(one.names if isinstance(one, FoundArea) else one.found.names)["zh-Hans"] for one in found]


def test_a_lake_is_found_with_the_areas_it_lies_in(session: Session) -> None:
    lake = find_waters(session, "鄱阳湖", lang="zh-Hans")[0]
    assert lake.areas[-1] == "江西省"
    assert lake.bbox is not None
    west, south, east, north = lake.bbox
    assert lake.lon is not None
    assert lake.lat is not None
    assert west <= lake.lon <= east
    assert south <= lake.lat <= north


def test_a_river_through_many_provinces_names_up_to_three_of_them(session: Session) -> None:
    river = find_waters(session, "长江", lang="zh-Hant")[0]
    assert len(river.areas) == 3
    assert all(name.endswith(("省", "市", "區")) for name in river.areas)


@pytest.mark.parametrize("words", ["武汉 长江", "武汉长江", "长江 武汉", "武汉市，长江", "wuhan changjiang"])
def test_a_water_in_an_area_is_placed_there(session: Session, words: str) -> None:
    found = find_places(session, words, lang="zh-Hans")
    assert isinstance(found[0], PlacedWater)
    assert found[0].found.public_id == "w-yangtze"
    assert found[0].areas[-2:] == ("武汉市", "湖北省")
    assert found[0].bbox is not None
    assert 113.5 < found[0].bbox[0] < found[0].bbox[2] < 115.2


def test_an_area_alone_is_found_and_a_water_of_the_same_name_before_it(session: Session) -> None:
    assert names(find_places(session, "洪山区", lang="zh-Hans"))[0] == "洪山区"
    lake, county = find_places(session, "太湖", lang="zh-Hans")[:2]
    assert isinstance(lake, PlacedWater)
    assert isinstance(county, FoundArea)
    assert county.names["zh-Hans"] == "太湖县"


def test_an_area_without_such_a_water_is_offered_itself(session: Session) -> None:
    assert names(find_places(session, "洪山区 没有这条河", lang="zh-Hans")) == ["洪山区"]


def test_of_namesakes_the_one_in_the_area_is_found(session: Session) -> None:
    features = [add_river(session, "月牙沟", lat=lat) for lat in (30.49, 40.0)]
    statement = text("SELECT water_body_id FROM water_feature WHERE id = ANY(:ids)")
    make_keys(session, list(session.execute(statement, {"ids": features}).scalars()))
    set_extents(session)
    assert names(find_places(session, "月牙沟", lang="zh-Hans")) == ["月牙沟", "月牙沟"]
    found = find_places(session, "洪山区月牙沟", lang="zh-Hans")
    assert [one.areas for one in found if isinstance(one, PlacedWater)] == [("洪山区", "武汉市", "湖北省")]
    assert [one.lat for one in found if isinstance(one, PlacedWater)] == [30.49]


@pytest.mark.parametrize("words", ["%", "  ", "没有这条河", ", , ,", "x y z u v w t s"])
def test_what_names_nothing_finds_nothing(session: Session, words: str) -> None:
    assert find_places(session, words, lang="zh-Hans") == []


def test_a_name_is_five_questions_at_most_and_a_pair_sixteen(session: Session) -> None:
    with Statements(session) as sent:
        find_places(session, "鄱阳湖", lang="zh-Hans")
    assert len(sent) <= 5
    with Statements(session) as sent:
        find_places(session, "武汉 长江", lang="zh-Hans")
    assert len(sent) <= 16


def test_the_smallest_areas_that_hold_all_places_are_named() -> None:
    def at(county: str, prefecture: str, province: str) -> list[JurisdictionAt]:
        levels = (("county", county), ("prefecture", prefecture), ("province", province))
        return [JurisdictionAt(name, level, name) for level, name in levels if name]

    one = at("洪山区", "武汉市", "湖北省")
    assert common_areas([one, one]) == ("洪山区", "武汉市", "湖北省")
    assert common_areas([one, at("武昌区", "武汉市", "湖北省")]) == ("武汉市", "湖北省")
    assert common_areas([one, at("", "", "上海市"), at("", "", "江西省"), at("", "", "安徽省")]) == (
        *("湖北省", "上海市", "江西省"),
    )
    assert common_areas([]) == ()
    assert common_areas([[], []]) == ()
