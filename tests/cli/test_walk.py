"""``waterwatch waters walk``: the way down and up from a place, as the operator reads it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import shapely

from tests.cli.conftest import Waterwatch
from tests.cli.test_imports import AREAS, ZONES
from tests.imports.conftest import SMALL, write, write_reaches


@pytest.fixture(autouse=True)
def _rivers(waterwatch: Waterwatch, tmp_path: Path) -> None:
    """Two brooks make the 汉江, which ends as the 长江; each reach is 5 km long."""
    file = write_reaches(tmp_path / "rivers.gpkg")
    done = waterwatch("waters", "import", "hydrorivers", file, "--map", "name.zh-Hans=NAME_ZH")
    assert done.exit_code == 0, done.output
    (tmp_path / "zones.geojson").write_text(ZONES, encoding="utf-8")
    words = ("--zone-kind", "drinking_water", "--map", "key=id", "--map", "grade=grade", "--map", "name=name")
    assert waterwatch("zones", "import", "our-zones", tmp_path / "zones.geojson", *words).exit_code == 0


def _reached(output: str) -> list[str]:
    """The last column: when each water is reached."""
    return [line.split("/w/")[1].split(maxsplit=2)[2].strip() for line in output.splitlines() if "/w/" in line]


def _rows(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines() if "/w/" in line]


def test_the_way_down_from_a_reach(waterwatch: Waterwatch) -> None:
    told = waterwatch("waters", "walk", "hydrorivers:1")
    assert told.exit_code == 0
    assert _rows(told.output) == [
        ["0.0", "–", "0.0", "汉江", "/w/hr-3", "1", "0.0", "–", "0.0", "h"],
        ["5.0", "–", "5.0", "长江", "/w/hr-5", "1", "2.1", "–", "5.8", "h"],
    ]
    assert "0.0 km  drinking_water 1  一水厂一级保护区  0.0 – 0.0 h" in told.output
    assert "按多年平均流量的 1 倍推算" in told.output


def test_from_a_place_the_rest_of_its_own_reach_counts(waterwatch: Waterwatch) -> None:
    told = waterwatch("waters", "walk", "110.02,31.0")
    assert [row[0] for row in _rows(told.output)] == ["4.0", "9.0"]


def test_the_way_up_and_no_farther_than_asked(waterwatch: Waterwatch) -> None:
    told = waterwatch("waters", "walk", "hydrorivers:5", "--up")
    assert [(row[0], row[3]) for row in _rows(told.output)] == [("0.0", "汉江"), ("0.0", "堵河"), ("5.0", "（无名")]
    near = waterwatch("waters", "walk", "hydrorivers:5", "--up", "--limit-km", "1")
    assert [row[3] for row in _rows(near.output)] == ["汉江", "堵河"]


@pytest.mark.parametrize("place", ["hydrorivers:99", "nowhere", "200,95", "80.0,40.0", "a,b"])
def test_where_there_is_no_water_it_says_how_to_write_a_place(waterwatch: Waterwatch, place: str) -> None:
    told = waterwatch("waters", "walk", place)
    assert told.exit_code == 1
    assert "那里没有水体" in told.output


def test_with_more_water_it_comes_sooner(waterwatch: Waterwatch, tmp_path: Path) -> None:
    (tmp_path / "gauges.csv").write_text(
        f"lon,lat,discharge_cms,measured_at,source\n110.15,31,2,{datetime.now(UTC).isoformat()},gauge", encoding="utf-8"
    )
    assert waterwatch("gauges", "import", tmp_path / "gauges.csv").exit_code == 0
    told = waterwatch("waters", "walk", "hydrorivers:1")
    assert _reached(told.output) == ["0.0 – 0.0 h", "1.6 – 4.1 h"]
    assert "按多年平均流量的 2 倍推算" in told.output


def test_a_lake_on_the_way_is_marked_and_below_it_only_not_before_is_known(
    waterwatch: Waterwatch, tmp_path: Path
) -> None:
    bent = [replace(one, line=[(110.1, 31.0), (110.15, 31.0), (110.2, 31.0)]) if one.id == 3 else one for one in SMALL]
    rivers = write_reaches(tmp_path / "bent.gpkg", bent)
    assert waterwatch("waters", "import", "hydrorivers", rivers, "--map", "name.zh-Hans=NAME_ZH").exit_code == 0
    shapes = np.array([shapely.box(110.11, 30.99, 110.19, 31.01)])
    fields = {"Hylak_id": np.array([1]), "Lake_type": np.array([2]), "Lake_name": np.array(["Res [1]"], dtype=object)}
    lake = write(tmp_path / "lakes.gpkg", shapes, fields, "Polygon")
    assert waterwatch("waters", "import", "hydrolakes", lake).exit_code == 0
    told = waterwatch("waters", "walk", "hydrorivers:1")
    # One line by one, however the console folds them.
    folded = "".join(told.output.split())
    assert "Res[1]" in folded
    assert "dammed" in folded
    assert "≥0.0h" in folded
    assert "按多年平均流量的 1 倍推算" in told.output


def test_without_discharges_there_are_distances_and_no_times(waterwatch: Waterwatch, tmp_path: Path) -> None:
    file = write_reaches(tmp_path / "dry.gpkg", [replace(reach, discharge=-9999) for reach in SMALL])
    assert waterwatch("waters", "import", "hydrorivers", file, "--map", "name.zh-Hans=NAME_ZH").exit_code == 0
    told = waterwatch("waters", "walk", "hydrorivers:1")
    assert [row[0] for row in _rows(told.output)] == ["0.0", "5.0"]
    assert "只有距离，没有时间" in told.output


def test_who_runs_a_zone_is_named_beside_it(waterwatch: Waterwatch, tmp_path: Path) -> None:
    (tmp_path / "areas.geojson").write_text(AREAS, encoding="utf-8")
    words = ("--map", "key=code", "--map", "name=name")
    assert waterwatch("agencies", "import", "areas", tmp_path / "areas.geojson", *words).exit_code == 0
    sheet = "code,kind,jurisdiction,zh_hans,email\nworks-1,waterworks,420100,第一自来水厂,ban@works.example\n"
    (tmp_path / "works.csv").write_text(sheet, encoding="utf-8")
    assert waterwatch("agencies", "import", "departments", tmp_path / "works.csv").exit_code == 0
    (tmp_path / "operators.csv").write_text("source,key,agency\nour-zones,z1,works-1\n", encoding="utf-8")
    dry = waterwatch("zones", "operators", tmp_path / "operators.csv", "--dry-run")
    assert (dry.exit_code, "1 added" in dry.output) == (0, True)
    assert "第一自来水厂" not in waterwatch("waters", "walk", "hydrorivers:1").output
    assert waterwatch("zones", "operators", tmp_path / "operators.csv").exit_code == 0
    assert "一水厂一级保护区  0.0 – 0.0 h  第一自来水厂" in waterwatch("waters", "walk", "hydrorivers:1").output
