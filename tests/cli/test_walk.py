"""``waterwatch waters walk``: the way down and up from a place, as the operator reads it."""

from pathlib import Path

import pytest

from tests.cli.conftest import Waterwatch
from tests.cli.test_imports import ZONES
from tests.imports.conftest import write_reaches


@pytest.fixture(autouse=True)
def _rivers(waterwatch: Waterwatch, tmp_path: Path) -> None:
    """Two brooks make the 汉江, which ends as the 长江; each reach is 5 km long."""
    file = write_reaches(tmp_path / "rivers.gpkg")
    done = waterwatch("waters", "import", "hydrorivers", file, "--map", "name.zh-Hans=NAME_ZH")
    assert done.exit_code == 0, done.output
    (tmp_path / "zones.geojson").write_text(ZONES, encoding="utf-8")
    words = ("--zone-kind", "drinking_water", "--map", "key=id", "--map", "grade=grade", "--map", "name=name")
    assert waterwatch("zones", "import", "our-zones", tmp_path / "zones.geojson", *words).exit_code == 0


def _rows(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines() if "/w/" in line]


def test_the_way_down_from_a_reach(waterwatch: Waterwatch) -> None:
    told = waterwatch("waters", "walk", "hydrorivers:1")
    assert told.exit_code == 0
    assert _rows(told.output) == [
        ["0.0", "–", "0.0", "汉江", "/w/hr-3", "1"],
        ["5.0", "–", "5.0", "长江", "/w/hr-5", "1"],
    ]
    assert "0.0 km  drinking_water 1  一水厂一级保护区" in told.output


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
