"""Zones of protection: brought in from any vector file, refused exactly, found at a place and along a water."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from tests.imports.conftest import write, write_reaches
from tests.waters.database import Statements, plan_of
from waterwatch.imports import rules
from waterwatch.imports.service import ImportReport
from waterwatch.zones.queries import zones_along, zones_at

Run = Callable[..., ImportReport]
MAPPED = rules.with_mapping(
    rules.generic("wuhan-zones", rules.ZONE),
    ["key=NO", "zone_kind=KIND", "grade=GRADE", "name.zh-Hans=NAME"],
)
LAYOUT = replace(MAPPED, water_kinds={"水源地": "drinking_water", "取水口": "intake", "自然保护区": "nature_reserve"})
INNER = shapely.box(110.14, 30.99, 110.16, 31.01)
OUTER = shapely.box(110.1, 30.95, 110.2, 31.05)
INTAKE = shapely.Point(110.15, 31.001)
ROWS: tuple[tuple[Any, ...], ...] = (
    ("a", "水源地", 1, "一级保护区", INNER),
    ("b", "水源地", 2, "二级保护区", OUTER),
    ("c", "取水口", None, "某水厂取水口", INTAKE),
    ("d", "bathing", None, None, shapely.box(112, 30, 112.1, 30.1)),
)


def write_zones(path: Path, rows: tuple[tuple[Any, ...], ...] = ROWS, **told: Any) -> Path:
    """The rows as a file whose format the name tells."""
    fields = {
        "NO": np.array([row[0] for row in rows], dtype=object),
        "KIND": np.array([row[1] for row in rows], dtype=object),
        "GRADE": np.array([np.nan if row[2] is None else row[2] for row in rows]),
        "NAME": np.array([row[3] for row in rows], dtype=object),
    }
    return write(path, np.array([row[4] for row in rows]), fields, "Unknown", **told)


def alive(owner: Engine) -> dict[str, tuple[Any, ...]]:
    """Key → (id, kind, grade, name, whether retired)."""
    with owner.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT z.source_key, z.id, z.kind, z.grade, n.name, z.retired_at IS NOT NULL FROM protected_zone z"
                " LEFT JOIN protected_zone_name n ON n.zone_id = z.id AND n.lang = 'zh-Hans'"
            )
        )
        return {row.source_key: tuple(row)[1:] for row in rows}


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson"])
def test_areas_and_points_become_zones(suffix: str, run: Run, owner: Engine, tmp_path: Path) -> None:
    report = run(write_zones(tmp_path / f"zones{suffix}"), LAYOUT)
    assert report.is_live
    assert {key: row[1:] for key, row in alive(owner).items()} == {
        "a": ("drinking_water", 1, "一级保护区", False),
        "b": ("drinking_water", 2, "二级保护区", False),
        "c": ("intake", None, "某水厂取水口", False),
        "d": ("bathing", None, None, False),
    }


def test_gb18030_is_read_from_a_shapefile(run: Run, owner: Engine, tmp_path: Path) -> None:
    path = write_zones(tmp_path / "zones.shp", ROWS[:2], encoding="GB18030")
    assert run(path, LAYOUT, encoding="GB18030").is_live
    assert alive(owner)["a"][3] == "一级保护区"


def test_again_nothing_changes_and_what_changes_keeps_its_id(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_zones(tmp_path / "zones.gpkg"), LAYOUT)
    before = alive(owner)
    again = run(write_zones(tmp_path / "again.geojson"), LAYOUT).merged
    assert again is not None
    assert (again.added, again.changed, again.unchanged, again.retired) == (0, 0, 4, 0)
    assert alive(owner) == before
    renamed = (("a", "水源地", 1, "新名", INNER), ROWS[1], ROWS[2])
    report = run(write_zones(tmp_path / "less.gpkg", renamed), LAYOUT).merged
    assert report is not None
    assert (report.added, report.changed, report.unchanged, report.retired) == (0, 1, 2, 1)
    after = alive(owner)
    assert after["a"] == (before["a"][0], "drinking_water", 1, "新名", False)
    assert after["d"][-1] is True


def test_a_part_of_a_source_retires_nothing(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_zones(tmp_path / "zones.gpkg"), LAYOUT)
    run(write_zones(tmp_path / "part.gpkg", ROWS[:1]), LAYOUT, partial=True)
    assert not any(row[-1] for row in alive(owner).values())


BOW_TIE = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1), (0, 0)])


@pytest.mark.parametrize(
    ("row", "code", "detail"),
    [
        (("x", "动物园", 1, "某", INNER), "zone_kind_unknown", "动物园"),
        (("x", None, 1, "某", INNER), "zone_kind_unknown", ""),
        (("x", "水源地", 4, "某", INNER), "grade_unknown", "drinking_water: 4"),
        (("x", "bathing", 1, "某", INNER), "grade_unknown", "bathing: 1"),
        (("x", "取水口", None, "某", INNER), "geometry_type", "Polygon"),
        (("x", "水源地", 1, "某", INTAKE), "geometry_type", "Point"),
        (("x", "水源地", 1, "某", shapely.LineString([(0, 0), (1, 1)])), "geometry_type", "LineString"),
        (("x", "水源地", 1, "某", None), "geometry_empty", ""),
        (("a", "水源地", 1, "某", INNER), "key_doubled", "row 1"),
        ((None, "水源地", 1, "某", INNER), "key_missing", ""),
    ],
)
def test_a_bad_row_is_named_and_nothing_changes(
    row: tuple[Any, ...], code: str, detail: str, run: Run, owner: Engine, tmp_path: Path
) -> None:
    report = run(write_zones(tmp_path / "zones.gpkg", (ROWS[0], row)), LAYOUT)
    assert not report.is_live
    assert [(one.row, one.code, one.detail) for one in report.first] == [(2, code, detail)]
    assert alive(owner) == {}


def test_an_outline_that_crosses_itself_is_mended_and_counted(run: Run, owner: Engine, tmp_path: Path) -> None:
    report = run(write_zones(tmp_path / "zones.gpkg", (("a", "水源地", 1, "某", BOW_TIE),)), LAYOUT)
    assert report.noticed == {"geometry_repaired": 1}
    with owner.connect() as connection:
        assert connection.execute(text("SELECT ST_IsValid(geom) FROM protected_zone")).scalar_one()


def test_a_dry_run_changes_nothing(run: Run, owner: Engine, tmp_path: Path) -> None:
    report = run(write_zones(tmp_path / "zones.gpkg"), LAYOUT, dry_run=True)
    assert report.merged is not None
    assert report.merged.added == 4
    assert alive(owner) == {}


def test_a_place_knows_the_zones_it_lies_in_the_strictest_first(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_zones(tmp_path / "zones.gpkg"), LAYOUT)
    with Session(owner) as session:
        with Statements(session) as sent:
            found = zones_at(session, 110.15, 31.0)
        assert [(zone.kind, zone.grade, zone.distance_m) for zone in found] == [
            ("drinking_water", 1, 0.0),
            ("drinking_water", 2, 0.0),
        ]
        assert found[0].names == {"zh-Hans": "一级保护区"}
        assert len(sent) == 1
        session.execute(text("SET LOCAL enable_seqscan = off"))
        assert "ix_protected_zone_geom_3857" in plan_of(session, sent)
        assert zones_at(session, 110.15, 31.0, within_m=200)[0].kind == "intake"
        assert zones_at(session, 111.0, 31.0) == []


@pytest.mark.parametrize(("lon", "lat"), [(110.3, 31.0), (110.22, 31.06), (110.0, 30.9)])
def test_distances_are_those_on_the_spheroid(lon: float, lat: float, run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_zones(tmp_path / "zones.gpkg", ROWS[1:2]), LAYOUT)
    measured = text("SELECT ST_Distance(geom::geography, ST_MakePoint(:lon, :lat)::geography) FROM protected_zone")
    with Session(owner) as session:
        exact = session.execute(measured, {"lon": lon, "lat": lat}).scalar_one()
        (zone,) = zones_at(session, lon, lat, within_m=exact + 0.01)
        assert zone.distance_m == exact
        assert zones_at(session, lon, lat, within_m=exact - 0.01) == []


def test_a_reach_knows_the_zones_it_passes_and_the_intake_on_its_bank(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_reaches(tmp_path / "reaches.gpkg"))
    run(write_zones(tmp_path / "zones.gpkg"), LAYOUT)
    with Session(owner) as session:
        ids = {
            row.source_key: row.feature_id
            for row in session.execute(text("SELECT source_key, feature_id FROM water_feature"))
        }
        with Statements(session) as sent:
            found = zones_along(session, [ids["3"], ids["5"]])
        assert len(sent) == 1
    assert [(one.feature_id, one.kind, one.grade) for one in found] == [
        (ids["3"], "intake", None),
        (ids["3"], "drinking_water", 1),
        (ids["3"], "drinking_water", 2),
        (ids["5"], "drinking_water", 2),
    ]
