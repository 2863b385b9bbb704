"""Departments and river chiefs from spreadsheets: all or nothing, every fault named, and again without doubling."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from tests.imports.conftest import write_reaches
from tests.imports.test_areas import LAYOUT, write_areas
from tests.waters.database import Statements
from waterwatch.agencies.queries import competent_agencies, river_chiefs_at
from waterwatch.imports.service import ImportReport
from waterwatch.rosters.rules import SheetRefused
from waterwatch.rosters.service import ImportRoster, RosterReport, import_chiefs, import_departments

Run = Callable[..., ImportReport]
NOW = datetime(2026, 5, 20, tzinfo=UTC)
HEADER = "code,kind,level,jurisdiction,parent,zh_hans,zh_hant,en,duties,email,channel"
PROVINCE = (
    "hubei-ecology,ecology_environment,,420000,,湖北省生态环境厅,湖北省生態環境廳,Hubei Ecology,,sheng@hb.example,"
)
CITY = (
    "wuhan-ecology,ecology_environment,,420100,hubei-ecology,武汉市生态环境局,,,,shi@wh.example; zhi@wh.example,email"
)
COUNTY = "wuchang-water,water,county,420106,,武昌区水务局,,,sewage_outfall|black_odorous:3,shui@wc.example,"
SHEET = "\n".join((HEADER, PROVINCE, CITY, COUNTY))


@pytest.fixture
def areas(run: Run, tmp_path: Path) -> None:
    """A province, a prefecture, two counties."""
    assert run(write_areas(tmp_path / "areas.gpkg"), LAYOUT, partial=True).is_live


def departments(owner: Engine, sheet: str | bytes, **told: Any) -> RosterReport:
    """Bring the sheet in."""
    with Session(owner) as session, session.begin():
        raw = sheet.encode() if isinstance(sheet, str) else sheet
        return import_departments(session, ImportRoster(raw, **told), now=NOW)


def everything(owner: Engine) -> list[tuple[Any, ...]]:
    """Whatever an import of departments writes."""
    statement = """
        SELECT a.id, a.code, a.kind, a.level, j.code AS area, p.code AS above, a.retired_at,
            (SELECT array_agg(n.lang || n.name ORDER BY n.lang) FROM agency_name n WHERE n.agency_id = a.id),
            (SELECT array_agg((c.observation_kind, c.min_severity)::text ORDER BY c.observation_kind)
             FROM competence c WHERE c.agency_id = a.id),
            (SELECT array_agg((k.address, k.position, k.active)::text ORDER BY k.position, k.address)
             FROM agency_contact k WHERE k.agency_id = a.id)
        FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id LEFT JOIN agency p ON p.id = a.parent_id
        ORDER BY a.code"""
    with owner.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


@pytest.mark.usefixtures("areas")
def test_departments_are_told_what_they_are_competent_for(owner: Engine) -> None:
    report = departments(owner, SHEET)
    assert (report.rows, report.added, report.changed, report.unchanged, report.faults) == (3, 3, 0, 0, [])
    with Session(owner) as session:
        found = competent_agencies(session, 110.5, 30.5, "sewage_outfall", 2)
        assert [(one.code, one.level, one.addresses) for one in found] == [
            ("wuhan-ecology", "prefecture", ("shi@wh.example", "zhi@wh.example")),
            ("wuchang-water", "county", ("shui@wc.example",)),
        ]
        mild = competent_agencies(session, 110.5, 30.5, "black_odorous", 2)
        assert [one.code for one in mild] == ["wuhan-ecology"]
        assert len(competent_agencies(session, 110.5, 30.5, "black_odorous", 3)) == 2


@pytest.mark.usefixtures("areas")
def test_again_nothing_changes(owner: Engine) -> None:
    departments(owner, SHEET)
    before = everything(owner)
    report = departments(owner, SHEET)
    assert (report.added, report.changed, report.unchanged, report.retired) == (0, 0, 3, 0)
    assert everything(owner) == before


@pytest.mark.usefixtures("areas")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("湖北省生态环境厅", "湖北省环境厅"),
        ("black_odorous:3", "black_odorous:2"),
        ("|black_odorous:3", ""),
        ("zhi@wh.example", "xin@wh.example"),
        ("420106,", "429004,"),
    ],
)
def test_a_change_is_written_and_counted_once(old: str, new: str, owner: Engine) -> None:
    departments(owner, SHEET)
    before = everything(owner)
    report = departments(owner, SHEET.replace(old, new))
    assert (report.added, report.changed, report.unchanged) == (0, 1, 2)
    after = everything(owner)
    assert [row[0] for row in after] == [row[0] for row in before]
    assert after != before


@pytest.mark.usefixtures("areas")
def test_an_address_that_left_the_sheet_is_written_to_no_more(owner: Engine) -> None:
    departments(owner, SHEET)
    departments(owner, SHEET.replace("shi@wh.example; ", ""))
    with Session(owner) as session:
        city = competent_agencies(session, 110.5, 30.5, "foam", 1)[0]
    assert city.addresses == ("zhi@wh.example",)


@pytest.mark.usefixtures("areas")
def test_only_a_complete_sheet_retires_what_it_lacks(owner: Engine) -> None:
    departments(owner, SHEET)
    less = "\n".join((HEADER, PROVINCE, CITY))
    assert departments(owner, less).retired == 0
    assert departments(owner, less, complete=True).retired == 1
    with Session(owner) as session:
        assert [one.code for one in competent_agencies(session, 110.5, 30.5, "sewage_outfall", 2)] == ["wuhan-ecology"]
    assert departments(owner, SHEET).changed == 1


@pytest.mark.usefixtures("areas")
def test_every_fault_of_every_row_is_named_and_nothing_changes(owner: Engine) -> None:
    sheet = "\n".join((
        HEADER,
        PROVINCE,
        "X!,zoo,galaxy,,nobody,,,,dragon:9,no-address,pigeon",
        "hubei-ecology,water,,420000,,湖北,,,,,",
        "a-one,water,,999999,b-two,甲,,,,,",
        "b-two,water,,420000,a-one,乙,,,,,",
        "c-three,water,,420000,d-four,丙,,,,,",
    ))  # fmt: skip
    report = departments(owner, sheet)
    assert not report.is_written
    assert [(one.row, one.code, one.detail) for one in report.faults] == [
        (2, "address_unreadable", "no-address"),
        (2, "agency_kind_unknown", "zoo"),
        (2, "channel_unknown", "pigeon"),
        (2, "code_unreadable", "X!"),
        (2, "duty_unknown", "dragon"),
        (2, "level_unknown", "galaxy"),
        (2, "severity_unknown", "9"),
        (2, "value_missing", "jurisdiction"),
        (2, "value_missing", "zh_hans"),
        (3, "key_doubled", "row 1"),
        (4, "answers_in_a_circle", "a-one → b-two"),
        (4, "jurisdiction_unknown", "999999"),
        (6, "parent_unknown", "d-four"),
    ]
    assert everything(owner) == []


@pytest.mark.usefixtures("areas")
def test_what_is_good_is_taken_when_asked(owner: Engine) -> None:
    report = departments(owner, SHEET + "\nbad row,water,,420000,,丁,,,,,", accept_refusals=True)
    assert (report.is_written, report.added, len(report.faults)) == (True, 3, 1)


@pytest.mark.usefixtures("areas")
def test_gb18030_and_a_byte_order_mark_are_read(owner: Engine) -> None:
    assert departments(owner, SHEET.encode("gb18030"), encoding="GB18030").added == 3
    assert departments(owner, SHEET.encode("utf-8-sig")).unchanged == 3


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("code,kind\n1,2", "column_missing"),
        ("", "column_missing"),
        ("武昌".encode("gb18030"), "encoding_unknown"),
        (HEADER + '\n"open', "file_unreadable"),
        (b"PK\x03\x04\xff\xfe", "encoding_unknown"),
    ],
)
def test_a_file_that_is_no_such_sheet_is_refused(raw: str | bytes, code: str, owner: Engine) -> None:
    with pytest.raises(SheetRefused) as caught:
        departments(owner, raw)
    assert caught.value.code == code


@pytest.mark.usefixtures("areas")
def test_the_audit_tells_of_it_without_anybodys_address(owner: Engine) -> None:
    departments(owner, SHEET)
    with owner.connect() as connection:
        (after,) = connection.execute(
            text("SELECT after FROM audit_entry WHERE action = 'agencies.imported'")
        ).scalars()
    assert {key: value for key, value in after.items() if key != "sha256"} == {
        "added": 3,
        "changed": 0,
        "retired": 0,
        "refused": 0,
    }


CHIEFS = """water,jurisdiction,title,name,email,phone
hr-5,420000,省级河长,张某,,
hydrorivers:3,420106,区级河长,李某,li@wc.example,027-0000
hr-3,420106,区级总河长,,,
"""


@pytest.fixture
def waters(run: Run, tmp_path: Path, areas: None) -> None:  # the areas come first
    """Five reaches in them."""
    assert run(write_reaches(tmp_path / "reaches.gpkg")).is_live


def chiefs(owner: Engine, sheet: str, **told: Any) -> RosterReport:
    """Bring the sheet in."""
    with Session(owner) as session, session.begin():
        return import_chiefs(session, ImportRoster(sheet.encode(), **told), now=NOW)


@pytest.mark.usefixtures("waters")
def test_the_chief_of_a_reach_comes_before_those_of_the_water(owner: Engine) -> None:
    assert chiefs(owner, CHIEFS).added == 3
    with Session(owner) as session:
        reach = session.execute(text("SELECT id, water_body_id FROM water_feature WHERE source_key = '3'")).one()
        with Statements(session) as sent:
            found = river_chiefs_at(session, reach.water_body_id, reach.id, 110.15, 30.5)
        assert len(sent) == 1
        assert [(one.title, one.name, one.area, one.is_of_reach) for one in found] == [
            ("区级河长", "李某", "武昌区", True),
            ("区级总河长", None, "武昌区", False),
        ]
        other = session.execute(text("SELECT id FROM water_feature WHERE source_key = '1'")).scalar_one()
        assert [one.title for one in river_chiefs_at(session, reach.water_body_id, other, 110.15, 30.5)] == [
            "区级总河长"
        ]


@pytest.mark.usefixtures("waters")
def test_chiefs_come_again_change_and_go(owner: Engine) -> None:
    chiefs(owner, CHIEFS)
    assert (chiefs(owner, CHIEFS).unchanged, chiefs(owner, CHIEFS).added) == (3, 0)
    assert chiefs(owner, CHIEFS.replace("李某", "王某")).changed == 1
    only = "\n".join(CHIEFS.splitlines()[:2])
    assert chiefs(owner, only).retired == 0
    assert chiefs(owner, only, complete=True).retired == 2


@pytest.mark.usefixtures("waters")
def test_a_chief_of_nothing_is_refused(owner: Engine) -> None:
    sheet = CHIEFS + "w-nowhere,420106,某,,,\nhr-3,999999,某,,bad,\nhr-3,420106,区级总河长,,,\n,,,,,\n"
    report = chiefs(owner, sheet)
    assert not report.is_written
    assert [(one.row, one.code, one.detail) for one in report.faults] == [
        (4, "water_unknown", "w-nowhere"),
        (5, "address_unreadable", "bad"),
        (6, "key_doubled", "row 3"),
        (7, "value_missing", "jurisdiction"),
        (7, "value_missing", "title"),
        (7, "value_missing", "water"),
    ]
