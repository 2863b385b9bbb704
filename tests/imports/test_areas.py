"""Areas of jurisdiction brought in by their codes: parents, levels, pieces, refusals, and the real country."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from tests.imports.conftest import write
from waterwatch.agencies.queries import jurisdictions_at
from waterwatch.agencies.service import BUILTIN, load_builtin
from waterwatch.imports import rules
from waterwatch.imports.service import ImportReport

Run = Callable[..., ImportReport]
LAYOUT = rules.with_mapping(rules.generic("areas", rules.AREA), ["key=CODE", "name.zh-Hans=NAME"])
PROVINCE = shapely.box(110, 30, 114, 34)
PREFECTURE = shapely.box(110, 30, 112, 34)
COUNTY = shapely.box(110, 30, 111, 31)
DIRECT = shapely.box(113, 33, 114, 34)
ROWS: tuple[tuple[Any, ...], ...] = (
    ("420000", "湖北省", PROVINCE),
    ("420100", "武汉市", PREFECTURE),
    ("420106", "武昌区", COUNTY),
    ("429004", "仙桃市", DIRECT),  # a county-level city directly under its province
)


def write_areas(path: Path, rows: tuple[tuple[Any, ...], ...] = ROWS, *, parents: Any = None, **told: Any) -> Path:
    """The rows as a file whose format the name tells."""
    fields = {
        "CODE": np.array([row[0] for row in rows], dtype=object),
        "NAME": np.array([row[1] for row in rows], dtype=object),
    }
    if parents is not None:
        fields["PARENT"] = np.array(parents, dtype=object)
    return write(path, np.array([row[2] for row in rows]), fields, "Unknown", **told)


def alive(owner: Engine) -> dict[str, tuple[Any, ...]]:
    """Code → (id, level, the code above, name, whether retired, pieces)."""
    with owner.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT j.code, j.id, j.level, p.code AS above, n.name, j.retired_at IS NOT NULL AS retired,"
                " (SELECT count(*) FROM jurisdiction_part WHERE jurisdiction_id = j.id) AS pieces"
                " FROM jurisdiction j LEFT JOIN jurisdiction p ON p.id = j.parent_id"
                " LEFT JOIN jurisdiction_name n ON n.jurisdiction_id = j.id AND n.lang = 'zh-Hans'"
            )
        )
        return {row.code: tuple(row)[1:] for row in rows}


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg"])
def test_codes_tell_levels_and_parents(suffix: str, run: Run, owner: Engine, tmp_path: Path) -> None:
    assert run(write_areas(tmp_path / f"areas{suffix}"), LAYOUT, partial=True).is_live
    assert {code: row[1:5] for code, row in alive(owner).items()} == {
        "420000": ("province", None, "湖北省", False),
        "420100": ("prefecture", "420000", "武汉市", False),
        "420106": ("county", "420100", "武昌区", False),
        "429004": ("county", "420000", "仙桃市", False),
    }
    with Session(owner) as session:
        assert [one.code for one in jurisdictions_at(session, 110.5, 30.5)] == ["420106", "420100", "420000"]


def test_gb18030_and_another_coordinate_system(run: Run, owner: Engine, tmp_path: Path) -> None:
    path = write_areas(tmp_path / "areas.shp", crs="EPSG:4490", encoding="GB18030")
    assert run(path, LAYOUT, partial=True, encoding="GB18030").is_live
    assert alive(owner)["420106"][3] == "武昌区"


def test_a_file_may_say_another_parent(run: Run, owner: Engine, tmp_path: Path) -> None:
    layout = rules.with_mapping(LAYOUT, ["next_down=PARENT"])
    parents = ["", "420000", "420000", "420000"]
    assert run(write_areas(tmp_path / "areas.gpkg", parents=parents), layout, partial=True).is_live
    assert alive(owner)["420106"][2] == "420000"


def test_again_nothing_changes_and_what_changes_keeps_its_id(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_areas(tmp_path / "areas.gpkg"), LAYOUT, partial=True)
    before = alive(owner)
    again = run(write_areas(tmp_path / "again.geojson"), LAYOUT, partial=True).merged
    assert again is not None
    assert (again.added, again.changed, again.unchanged, again.retired) == (0, 0, 4, 0)
    grown = (("420106", "武昌区", shapely.box(110, 30, 111.5, 31)),)
    report = run(write_areas(tmp_path / "grown.gpkg", grown), LAYOUT, partial=True).merged
    assert report is not None
    assert (report.added, report.changed, report.unchanged, report.retired) == (0, 1, 0, 0)
    assert alive(owner) == before
    with Session(owner) as session:
        assert "420106" in [one.code for one in jurisdictions_at(session, 111.4, 30.5)]


def test_only_a_file_of_the_whole_country_retires_what_it_lacks(run: Run, owner: Engine, tmp_path: Path) -> None:
    run(write_areas(tmp_path / "areas.gpkg"), LAYOUT, partial=True)
    report = run(write_areas(tmp_path / "whole.gpkg", ROWS[:3]), LAYOUT, partial=False).merged
    assert report is not None
    assert report.retired == 1
    assert alive(owner)["429004"][4:] == (True, 0)
    with Session(owner) as session:
        assert [one.code for one in jurisdictions_at(session, 113.5, 33.5)] == ["420000"]
    run(write_areas(tmp_path / "back.gpkg"), LAYOUT, partial=True)
    assert alive(owner)["429004"][4:] == (False, 1)


@pytest.mark.parametrize(
    ("row", "code", "detail"),
    [
        (("42010", "某", COUNTY), "code_unreadable", "42010"),
        (("武昌", "某", COUNTY), "code_unreadable", "武昌"),
        (("430102", "某", COUNTY), "parent_unknown", ""),
        (("420106", "某", COUNTY), "key_doubled", "row 3"),
        (("420107", "某", None), "geometry_empty", ""),
        (("420107", "某", shapely.Point(1, 1)), "geometry_type", "Point"),
    ],
)
def test_a_bad_row_is_named_and_nothing_changes(
    row: tuple[Any, ...], code: str, detail: str, run: Run, owner: Engine, tmp_path: Path
) -> None:
    report = run(write_areas(tmp_path / "areas.gpkg", (*ROWS, row)), LAYOUT, partial=True)
    assert not report.is_live
    assert [(one.row, one.code, one.detail) for one in report.first] == [(5, code, detail)]
    assert alive(owner) == {}


def test_a_parent_must_be_above(run: Run, owner: Engine, tmp_path: Path) -> None:
    layout = rules.with_mapping(LAYOUT, ["next_down=PARENT"])
    path = write_areas(tmp_path / "areas.gpkg", parents=["420100", "420000", "420999", ""])
    report = run(path, layout, partial=True)
    assert [(one.row, one.code, one.detail) for one in report.first] == [
        (1, "parent_not_above", "420100 (prefecture)"),
        (3, "parent_unknown", "420999"),
    ]
    assert alive(owner) == {}


def test_the_real_country_is_what_was_loaded(run: Run, owner: Engine, tmp_path: Path) -> None:
    """The built-in areas as the GeoJSON they came from: over themselves nothing changes, from nothing all are there."""
    with Session(owner) as session, session.begin():
        session.execute(text("SET LOCAL statement_timeout = '120s'"))
        load_builtin(session, now=datetime(2026, 5, 1, tzinfo=UTC))
    loaded = alive(owner)
    features = [
        {
            "type": "Feature",
            "geometry": area["geometry"],
            "properties": {
                "CODE": area["code"],
                "LEVEL": area["level"],
                "PARENT": area["parent"],
                "NAME": area["names"]["zh-Hans"],
            },
        }
        for area in json.loads(gzip.decompress((BUILTIN / "jurisdictions.json.gz").read_bytes()))
    ]
    path = tmp_path / "country.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    layout = rules.with_mapping(LAYOUT, ["next_down=PARENT", "level=LEVEL"])
    merged = run(path, layout, partial=False).merged
    assert merged is not None
    assert (merged.waters, merged.added, merged.retired) == (len(loaded), 0, 0)
    assert alive(owner) == loaded
    assert len(loaded) > 3000
