"""The import commands from the first word to the last: what is said, what is changed, how it ends."""

import ast
import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import shapely
from sqlalchemy import Engine, text

from tests.cli.conftest import Waterwatch
from tests.imports.conftest import SMALL, Reach, live, write, write_reaches
from waterwatch.cli import imports, rosters

ROOT = Path(__file__).resolve().parents[2]
RAISED = {"FileRefused", "LayoutFault", "SheetRefused", "Refusal", "Fault", "refuse"}
CODE = re.compile(r"[a-z]+(_[a-z]+)+")
AREAS = """{"type": "FeatureCollection", "features": [
{"type": "Feature", "properties": {"code": "420000", "name": "湖北省"},
 "geometry": {"type": "Polygon", "coordinates": [[[110, 30], [112, 30], [112, 32], [110, 32], [110, 30]]]}},
{"type": "Feature", "properties": {"code": "420100", "name": "武汉市"},
 "geometry": {"type": "Polygon", "coordinates": [[[110, 30], [111, 30], [111, 32], [110, 32], [110, 30]]]}}]}"""
ZONES = """{"type": "FeatureCollection", "features": [
{"type": "Feature", "properties": {"id": "z1", "grade": 1, "name": "一水厂一级保护区"},
 "geometry": {"type": "Polygon", "coordinates": [[[110, 30], [111, 30], [111, 32], [110, 32], [110, 30]]]}}]}"""
DEPARTMENTS = "code,kind,jurisdiction,zh_hans,email\nwuhan-water,water,420100,武汉市水务局,shui@wh.example\n"
CHIEFS = "water,jurisdiction,title,name,email\nhydrorivers:5,420100,武汉市河长,某某,hz@wh.example\n"


def _count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_a_survey_is_imported_tried_repeated_and_refused(waterwatch: Waterwatch, owner: Engine, tmp_path: Path) -> None:
    file = write_reaches(tmp_path / "rivers.gpkg")
    words = ("waters", "import", "hydrorivers", file, "--map", "name.zh-Hans=NAME_ZH")
    tried = waterwatch(*words, "--dry-run")
    assert (tried.exit_code, live(owner)) == (0, [])
    assert "河段：新增 5，更新 0，未变 0，停用 0" in tried.output
    assert "试运行，未作任何改动" in tried.output
    done = waterwatch(*words)
    assert done.exit_code == 0
    assert "读取 5 行" in done.output
    assert "水体 4" in done.output
    before = live(owner)
    again = waterwatch(*words)
    assert (again.exit_code, live(owner)) == (0, before)
    assert "新增 0，更新 0，未变 5，停用 0" in again.output
    broken = write_reaches(tmp_path / "broken.gpkg", (*SMALL, Reach(6, 99, [(110.0, 31.5), (110.1, 31.5)])))
    listed = tmp_path / "refused.csv"
    refused = waterwatch("waters", "import", "hydrorivers", broken, "--refused", listed)
    assert (refused.exit_code, live(owner)) == (1, before)
    assert "row 6  6  流入的河段不存在" in refused.output
    assert "有被拒绝的行，未作任何改动" in refused.output
    with listed.open(encoding="utf-8", newline="") as rows:
        assert list(csv.DictReader(rows)) == [{"row": "6", "key": "6", "code": "next_down_unknown", "detail": "99"}]
    taken = waterwatch("waters", "import", "hydrorivers", broken, "--accept-refused")
    assert taken.exit_code == 0
    assert "新增 1" in taken.output


def test_a_survey_of_ones_own_is_mapped_on_the_command_line(
    waterwatch: Waterwatch, owner: Engine, tmp_path: Path
) -> None:
    ring = shapely.Polygon([(114.0, 30.0), (114.2, 30.0), (114.2, 30.1), (114.0, 30.1)])
    fields = {"BM": np.array(["A1"], dtype=object), "HPMC": np.array(["沙湖"], dtype=object)}
    file = write(tmp_path / "lakes.geojson", np.array([ring]), fields, "Polygon")
    done = waterwatch(
        "waters", "import", "hubei-survey", file, "--kind", "lake", "--map", "key=BM", "--map", "name=HPMC"
    )
    assert done.exit_code == 0, done.output
    assert [(row[0], row[2], row[3]) for row in live(owner)] == [("A1", "hubei-survey-a1", "沙湖")]


def test_areas_departments_chiefs_and_zones_follow_each_other(
    waterwatch: Waterwatch, owner: Engine, tmp_path: Path
) -> None:
    files = {"areas.geojson": AREAS, "zones.geojson": ZONES, "departments.csv": DEPARTMENTS, "chiefs.csv": CHIEFS}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    early = waterwatch("agencies", "import", "departments", tmp_path / "departments.csv")
    assert early.exit_code == 1
    assert "请先导入行政区" in early.output
    mapped = ("--map", "key=code", "--map", "name=name")
    commands = (
        ("waters", "import", "hydrorivers", write_reaches(tmp_path / "rivers.gpkg")),
        ("agencies", "import", "areas", tmp_path / "areas.geojson", *mapped),
        ("agencies", "import", "departments", tmp_path / "departments.csv"),
        ("agencies", "import", "river-chiefs", tmp_path / "chiefs.csv"),
        ("zones", "import", "our-zones", tmp_path / "zones.geojson", "--zone-kind", "drinking_water",
         "--map", "key=id", "--map", "grade=grade", "--map", "name=name"),
    )  # fmt: skip
    for words in commands:
        done = waterwatch(*words)
        assert done.exit_code == 0, done.output
    tables = ("jurisdiction", "agency", "river_chief", "protected_zone")
    assert [_count(owner, table) for table in tables] == [2, 1, 1, 1]
    for words in commands:
        assert waterwatch(*words).exit_code == 0
    assert [_count(owner, table) for table in tables] == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("name", "content", "words", "told"),
    [
        ("rivers.gpkg", "not a database", (), "无法读取文件"),
        ("rivers.geojson", '{"type": "FeatureCollection", "features": []}', (), "缺少所需的列"),
        ("rivers.geojson", AREAS, ("--map", "river=code"), "没有这个角色"),
        ("rivers.geojson", AREAS, ("--map", "code"), "应写作 --map"),
        (
            "rivers.geojson",
            AREAS,
            ("--map", "key=code", "--map", "next_down=code", "--crs", "EPSG:1"),
            "不认识的坐标系",
        ),
    ],
)
def test_what_cannot_be_read_is_said_in_words_with_what_to_do(
    name: str, content: str, words: tuple[str, ...], told: str, waterwatch: Waterwatch, owner: Engine, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    outcome = waterwatch("waters", "import", "hydrorivers", tmp_path / name, *words)
    assert (outcome.exit_code, live(owner)) == (1, [])
    assert told in outcome.output
    assert "未作任何改动" in outcome.output
    assert "Traceback" not in outcome.output


def _codes(folder: str) -> Iterator[str]:
    """Every code a refusal may carry: what is given to a fault, or told of a row as (code, detail)."""
    for path in sorted((ROOT / "waterwatch" / folder).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            said: list[ast.expr] = []
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
                said = node.args
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "setdefault":
                said = [arg.elts[0] for arg in node.args if isinstance(arg, ast.Tuple)]
            elif isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
                said = node.value.elts[:1]
            for one in said:
                if isinstance(one, ast.Constant) and isinstance(one.value, str) and CODE.fullmatch(one.value):
                    yield one.value


@pytest.mark.parametrize(
    ("folder", "words", "at_least"), [("imports", imports.WORDS, 25), ("rosters", rosters.WORDS, 14)]
)
def test_every_refusal_has_words(folder: str, words: dict[str, str], at_least: int) -> None:
    codes = set(_codes(folder))
    assert len(codes) >= at_least, sorted(codes)
    assert codes - set(words) == set()


def test_a_mapping_file_of_areas_is_no_survey_of_waters(waterwatch: Waterwatch, tmp_path: Path) -> None:
    (tmp_path / "areas.geojson").write_text(AREAS, encoding="utf-8")
    (tmp_path / "areas.toml").write_text('source = "areas"\nkind = "area"\n', encoding="utf-8")
    told = waterwatch("waters", "import", "x", tmp_path / "areas.geojson", "--mapping", tmp_path / "areas.toml")
    assert told.exit_code == 1
    assert "--kind 应为 reach 或 lake" in told.output
