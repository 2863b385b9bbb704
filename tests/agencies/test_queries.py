"""Who is competent where: hand-checked places, the most local of each kind, one indexed statement."""

from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.waters.database import Statements, plan_of
from tests.waters.known_places import KnownPlace, known_places
from waterwatch.agencies.queries import competent_agencies, jurisdictions_at

WUCHANG = (114.33, 30.54)
JIANGXIA = (114.36, 30.42)  # 汤逊湖


@pytest.mark.parametrize(
    ("lon", "lat", "names"),
    [
        (*WUCHANG, ["武昌区", "武汉市", "湖北省"]),
        (116.46, 39.92, ["朝阳区", "北京市"]),
        (116.50, 40.12, ["顺义区", "北京市"]),  # 温榆河
        (120.25, 31.50, ["滨湖区", "无锡市", "江苏省"]),
        (120.62, 31.31, ["姑苏区", "苏州市", "江苏省"]),
        (106.55, 29.56, ["渝中区", "重庆市"]),
        (113.45, 30.37, ["仙桃市", "湖北省"]),  # a county-level city directly under its province
        (100.62, 36.28, ["共和县", "海南藏族自治州", "青海省"]),
        (135.0, 30.0, []),  # open sea
    ],
)
def test_a_place_lies_in_its_county_prefecture_and_province(
    session: Session, lon: float, lat: float, names: list[str]
) -> None:
    assert [one.name for one in jurisdictions_at(session, lon, lat)] == names


@pytest.mark.parametrize(
    "at", [at for at in known_places() if at.prefecture], ids=lambda at: at.source + " " + at.place
)
def test_a_station_lies_in_the_prefecture_it_is_known_by(session: Session, at: KnownPlace) -> None:
    assert at.prefecture in [one.name for one in jurisdictions_at(session, at.lon, at.lat)]


def test_jurisdictions_are_named_in_the_language_asked_for(session: Session) -> None:
    found = jurisdictions_at(session, *WUCHANG, lang="zh-Hant")
    assert [(one.code, one.level, one.name) for one in found] == [
        ("420106", "county", "武昌區"),
        ("420100", "prefecture", "武漢市"),
        ("420000", "province", "湖北省"),
    ]


@pytest.mark.parametrize(
    ("place", "kind", "codes"),
    [
        (WUCHANG, "sewage_outfall", ["wuhan-06-ecology", "wuchang-water"]),
        (WUCHANG, "floating_garbage", ["wuhan-06-ecology", "wuhan-06-urban"]),
        (WUCHANG, "fish_kill", ["wuhan-agriculture", "wuhan-06-ecology"]),
        (WUCHANG, "foam", ["wuhan-06-ecology"]),
        ((116.50, 40.12), "black_odorous", ["beijing-13-ecology", "shunyi-water"]),
        ((120.25, 31.50), "algal_bloom", ["wuxi-11-ecology", "wuxi-11-water"]),
        ((100.62, 36.28), "sewage_outfall", ["63-ecology"]),
        ((114.17, 22.30), "sewage_outfall", []),  # Hong Kong: nobody listed, and that is said
        ((135.0, 30.0), "oil_slick", []),
    ],
)
def test_the_most_local_agency_of_each_kind_is_competent(
    session: Session, place: tuple[float, float], kind: str, codes: list[str]
) -> None:
    assert [agency.code for agency in competent_agencies(session, *place, kind, 2)] == codes


def test_a_competent_agency_comes_with_its_addresses_in_order(session: Session) -> None:
    second = text("""
        INSERT INTO agency_contact (id, agency_id, channel, address, position)
        SELECT gen_random_uuid(), id, 'email', 'duty@agency.example', 0 FROM agency WHERE code = 'wuchang-water'
    """)
    session.execute(second)
    water = next(one for one in competent_agencies(session, *WUCHANG, "sewage_outfall", 1) if one.kind == "water")
    assert water.addresses == ("duty@agency.example", "wuchang-water@agency.example")
    session.execute(text("UPDATE agency_contact SET active = false WHERE address = 'duty@agency.example'"))
    water = next(one for one in competent_agencies(session, *WUCHANG, "sewage_outfall", 1) if one.kind == "water")
    assert water.addresses == ("wuchang-water@agency.example",)


def test_below_its_least_severity_an_agency_is_not_told_and_the_next_one_up_is(session: Session) -> None:
    raise_bar = text("""
        UPDATE competence SET min_severity = 3
        WHERE agency_id = (SELECT id FROM agency WHERE code = 'wuchang-water')
    """)
    session.execute(raise_bar)

    def water(severity: int) -> list[str]:
        found = competent_agencies(session, *WUCHANG, "sewage_outfall", severity)
        return [agency.code for agency in found if agency.kind == "water"]

    assert (water(2), water(3)) == (["wuhan-water"], ["wuchang-water"])


def test_a_retired_agency_is_not_told(session: Session, now: datetime) -> None:
    session.execute(text("UPDATE agency SET retired_at = :now WHERE code = 'wuchang-water'"), {"now": now})
    assert [one.code for one in competent_agencies(session, *WUCHANG, "sewage_outfall", 2)] == [
        "wuhan-06-ecology",
        "wuhan-water",
    ]


def test_who_is_competent_is_one_statement_that_finds_the_area_by_index(session: Session) -> None:
    with Statements(session) as sent:
        competent_agencies(session, *JIANGXIA, "sewage_outfall", 2)
    assert len(sent) == 1
    plan = plan_of(session, sent)
    assert "ix_jurisdiction_part_geom" in plan
    assert "Seq Scan on jurisdiction" not in plan
