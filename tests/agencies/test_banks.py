"""Rivers that are borders, over the built-in rivers and areas: both banks' jurisdictions, on real borders."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from tests.waters.database import Statements, loaded_engine, rollback_session
from waterwatch.agencies import service as agencies
from waterwatch.agencies.queries import jurisdictions_at, opposite_banks
from waterwatch.agencies.rules import is_border
from waterwatch.waters import service as waters
from waterwatch.waters.queries import banks_along, nearest_waters


@pytest.fixture(scope="module")
def engine(admin_url: str, template_database: str) -> Iterator[Engine]:
    """A clone that holds the built-in waters and areas."""

    def load(session: Session, *, now: datetime) -> Any:
        waters.load_builtin(session, now=now)
        agencies.load_builtin(session, now=now)

    yield from loaded_engine(admin_url, template_database, load)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session on it."""
    yield from rollback_session(engine)


# Borders of provinces and districts that follow a river, as every atlas shows them; and rivers within one county.
@pytest.mark.parametrize(
    ("lon", "lat", "counties"),
    [
        (110.45, 36.14, {"吉县", "宜川县"}),  # 黄河, 壶口: 山西 | 陕西
        (110.60, 35.66, {"河津市", "韩城市"}),  # 黄河, 龙门: 山西 | 陕西
        (110.79, 37.64, {"临县", "吴堡县"}),  # 黄河, 碛口: 山西 | 陕西
        (116.00, 29.75, {"黄梅县", "浔阳区"}),  # 长江, 九江: 湖北 | 江西
        (114.288, 30.549, {"武昌区", "汉阳区"}),  # 长江, 武汉长江大桥
        (116.99, 36.72, {"天桥区"}),  # 黄河, 济南: one district on both sides
        (124.39, 40.11, {"振兴区"}),  # 鸭绿江, 丹东: abroad is nobody's area
    ],
)
def test_a_river_that_is_a_border_has_the_counties_of_both_banks(
    session: Session, lon: float, lat: float, counties: set[str]
) -> None:
    water = nearest_waters(session, lon, lat, 1500, search_limit_m=5000)[0]
    with Statements(session) as sent:
        banks = banks_along(session, water.water_feature_id, lon, lat)
        also = opposite_banks(session, [(pair.left, pair.right) for pair in banks])
        found = jurisdictions_at(session, lon, lat, also=also)
    assert len(sent) == 3
    assert {one.name for one in found if one.level == "county"} == counties


def test_a_lake_has_no_banks(session: Session) -> None:
    lake = nearest_waters(session, 114.38, 30.56, 50)[0]
    assert lake.kind == "lake"
    assert banks_along(session, lake.water_feature_id, 114.38, 30.56) == []
    assert opposite_banks(session, []) == []


def test_left_and_right_are_those_of_the_water(session: Session) -> None:
    """The Yangtze at Wuhan flows to the north-east: 汉阳 lies to its left, 武昌 to its right."""
    water = nearest_waters(session, 114.288, 30.549, 1500)[0]
    middle = banks_along(session, water.water_feature_id, 114.288, 30.549)[4]
    assert "汉阳区" in [one.name for one in jurisdictions_at(session, *middle.left)]
    assert "武昌区" in [one.name for one in jurisdictions_at(session, *middle.right)]


@pytest.mark.parametrize(
    ("sides", "border"),
    [
        ([({"a"}, {"b"}), ({"a"}, {"b"}), ({"a"}, {"a"})], True),
        ([({"a"}, {"b"}), ({"a"}, {"a"})], False),  # half the way is not most of it
        ([({"a"}, {"a"}), ({"b"}, {"b"}), ({"a"}, {"b"})], False),  # it crosses a border
        ([({"a"}, set()), ({"a"}, set())], False),
        ([({"a", "b"}, {"b"})], False),
        ([], False),
    ],
)
def test_a_border_parts_areas_for_most_of_a_stretch(sides: list[tuple[set[str], set[str]]], border: bool) -> None:
    assert is_border(sides) is border
