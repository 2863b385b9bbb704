"""The archive: what the database holds and nothing else, the same bytes for the same ground, whole or not there.

What was cut is read by GDAL, which shares no line with what cut it.
"""

import gzip
import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import shapely
from pmtiles.reader import MmapSource, Reader, all_tiles
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_incident
from tests.mapping.ground import HOSTILE, Decoded, add_area, add_water, add_zone, box_of, decode, mercator, winding
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import archive
from waterwatch.mapping.archive_pieces import Spool

Tiles = dict[tuple[int, int, int], dict[str, list[Decoded]]]
LARGE, SMALL = 2e5, 2.0  # km² drained
SHORE, ISLAND = "114.5 30.5, 114.8 30.5, 114.8 30.75, 114.5 30.75, 114.5 30.5", "114.6 30.6, 114.7 30.6, 114.7 30.65"
LAKE = f"POLYGON(({SHORE}), ({ISLAND}, 114.6 30.6))"
POND = "POLYGON((114.1 30.1, 114.101 30.1, 114.101 30.101, 114.1 30.1))"


@pytest.fixture
def context(make_settings: Callable[..., Settings], database_url: str, sessions: sessionmaker[Session]) -> JobContext:
    settings = make_settings(database_url=database_url)
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


@pytest.fixture
def ground(context: JobContext) -> dict[str, list[int]]:
    """A river of three reaches, a brook, a lake with an island, a pond; areas and zones. Feature ids by name."""
    with transaction(context.sessions) as session:
        shapes = [winding(114 + 0.3 * step, 30.3, 0.3) for step in range(3)]
        names = {"zh-Hans": "长江", "zh-Hant": "長江", "en": "Yangtze", "pinyin": "Cháng Jiāng"}
        found = {
            "river": add_water(session, shapes, names=names, upland_skm=LARGE),
            "brook": add_water(session, [winding(114.2, 30.4, 0.05)], upland_skm=SMALL),
            "lake": add_water(session, [LAKE], names={"zh-Hans": "东湖", "zh-Hant": "东湖"}, kind="lake", area_km2=700),
            "pond": add_water(session, [POND], kind="lake", area_km2=0.005),
        }
        session.execute(  # the way to the mouth from each reach's lower end: by it the middle of a course is known
            text("UPDATE water_feature SET dist_dn_km = 300 - 100 * feature_id WHERE feature_id = ANY(:ids)"),
            {"ids": found["river"]},
        )
        square = "MULTIPOLYGON((({w} 30, {e} 30, {e} 31, {w} 31, {w} 30)))"
        add_area(session, "420000", "province", square.format(w=114, e=115), {"zh-Hans": "湖北省", "en": "Hubei"})
        add_area(session, "420100", "prefecture", square.format(w=114, e=115), {"zh-Hans": "武汉市"})
        add_area(session, "420102", "county", square.format(w=114.2, e=114.4), {"zh-Hans": "江岸区", "en": "江岸区"})
        add_zone(session, POND, kind="bathing")
        add_zone(session, LAKE, kind="drinking_water", grade=2, name="二级保护区")
        add_zone(session, "POINT(114.55 30.55)", kind="intake", name="某水厂取水口")
    return found


def read(path: Path) -> Tiles:
    with path.open("rb") as file:
        reader = Reader(MmapSource(file))
        return {zxy: decode(gzip.decompress(tile), *zxy) for zxy, tile in all_tiles(reader.get_bytes)}


def ids_of(tiles: Tiles, layer: str, zoom: int) -> set[int | None]:
    return {f.feature_id for (z, *_xy), layers in tiles.items() if z == zoom for f in layers.get(layer, [])}


def attributes(tiles: Tiles, layer: str, zoom: int) -> list[dict[str, Any]]:
    """Each feature's attributes once, however many tiles it lies in."""
    found: list[dict[str, Any]] = []
    for drawn in (f for (z, *_xy), layers in sorted(tiles.items()) if z == zoom for f in layers.get(layer, [])):
        if drawn.attributes not in found:
            found.append(drawn.attributes)
    return found


def test_every_tile_holds_each_water_that_reaches_into_it_once_and_no_other(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    tiles = read(archive.build(context, folder=tmp_path).path)
    with transaction(context.sessions) as session:
        rows = session.execute(text("SELECT feature_id, kind, ST_AsBinary(geom) AS shape FROM water_feature")).all()
    shapes = {row.feature_id: (row.kind, mercator(shapely.from_wkb(bytes(row.shape)))) for row in rows}
    seen = 0
    for zoom in (8, 9, 10, 11):  # everything but the brook and the pond is drawn from 8 on, all of it from 11
        drawn = ids_of(tiles, "rivers", zoom) | ids_of(tiles, "lakes", zoom)
        assert drawn >= set(ground["river"]) | set(ground["lake"])
        boxes = {(x, y) for z, x, y in tiles if z == zoom}
        for x, y in {(x + dx, y + dy) for x, y in boxes for dx in (-1, 0, 1) for dy in (-1, 0, 1)}:
            held = tiles.get((zoom, x, y), {})
            for layer, kind in (("rivers", "reach"), ("lakes", "lake")):
                found = sorted(f.feature_id or 0 for f in held.get(layer, []))
                assert found == sorted(set(found))
                # Nearer to the buffer's edge than half a pixel it is generalising that decides.
                sure, perhaps = box_of(zoom, x, y, grown_units=59), box_of(zoom, x, y, grown_units=69)
                mine = {i: shape for i, (its_kind, shape) in shapes.items() if its_kind == kind and i in drawn}
                must = {i for i, shape in mine.items() if shape.intersects(sure)}
                may = {i for i, shape in mine.items() if shape.intersects(perhaps)}
                assert must <= set(found) <= may, (zoom, x, y, layer)
                seen += len(found)
    assert seen > 50


def test_what_is_drawn_lies_within_half_a_unit_of_what_the_database_has_generalised(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    tiles = read(archive.build(context, folder=tmp_path).path)
    with transaction(context.sessions) as session:
        rows = session.execute(text("SELECT band, feature_id, ST_AsBinary(geom) AS shape FROM water_tile")).all()
        truth = session.execute(text("SELECT feature_id, ST_AsBinary(geom_3857) AS shape FROM water_feature")).all()
    generalised = {(row.band, row.feature_id): shapely.from_wkb(bytes(row.shape)) for row in rows}
    exact = {row.feature_id: shapely.from_wkb(bytes(row.shape)) for row in truth}
    checked = 0
    for (zoom, x, y), layers in tiles.items():
        unit_m = box_of(zoom, x, y).length / 4 / 4096
        band = {8: 8, 9: 10, 10: 10, 11: 11}.get(zoom)
        for drawn in (*layers.get("rivers", []), *layers.get("lakes", [])) if band else ():
            shape = generalised[band, drawn.feature_id]  # type: ignore[index]
            here = box_of(zoom, x, y, grown_units=64)
            # Corners of a clipped lake lie where the shape crosses the edge of the buffer.
            lines = shape.boundary.union(here.boundary) if shape.geom_type.endswith("Polygon") else shape
            vertices = shapely.points(shapely.get_coordinates(drawn.shape))
            assert shapely.distance(vertices, lines).max() <= unit_m * 0.5 * 2**0.5 + 1e-6
            checked += len(vertices)
    assert checked > 500
    for feature_id in ground["river"]:  # and the generalised line leaves the true one by less than a unit of zoom 11
        unit_m = 2 * 20037508.342789244 / 2**11 / 4096
        assert shapely.hausdorff_distance(exact[feature_id], generalised[11, feature_id]) <= unit_m


def test_waters_carry_their_address_their_size_and_from_zoom_7_their_names(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    tiles = read(archive.build(context, folder=tmp_path).path)
    (river,) = attributes(tiles, "rivers", 7)
    assert river == {"o": 1, "w": river["w"], "n": "长江", "nt": "長江", "ne": "Yangtze"}
    assert river["w"].startswith("w-")
    assert attributes(tiles, "rivers", 6) == [{"o": 1, "w": river["w"]}]
    (lake,) = attributes(tiles, "lakes", 7)  # its traditional name is its simplified one, so it has only that
    assert lake == {"o": 2, "w": lake["w"], "n": "东湖"}


def test_each_named_water_has_one_label_and_an_unnamed_one_none(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    tiles = read(archive.build(context, folder=tmp_path).path)
    for zoom in (5, 8, 11):
        shown = [f for (z, *_), layers in tiles.items() if z == zoom for f in layers.get("labels", [])]
        assert sorted(f.attributes["n"] for f in shown) == ["东湖", "长江"]
    river = next(f for f in shown if f.attributes["k"] == "river")
    middle = mercator(winding(114.3, 30.3, 0.3))  # the second of three reaches
    assert river.shape.distance(middle) < 5
    lake = next(f for f in shown if f.attributes["k"] == "lake")
    assert mercator(LAKE).contains(lake.shape)


def test_provinces_are_named_from_zoom_3_prefectures_from_6_and_counties_from_8(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    tiles = read(archive.build(context, folder=tmp_path).path)
    province = {"l": 1, "c": "420000", "n": "湖北省", "ne": "Hubei"}
    prefecture = {"l": 2, "c": "420100", "n": "武汉市"}
    county = {"l": 3, "c": "420102", "n": "江岸区"}
    found = {zoom: sorted(attributes(tiles, "places", zoom), key=lambda one: one["l"]) for zoom in range(12)}
    assert [found[zoom] for zoom in (2, 3, 5)] == [[], [province], [province]]
    assert [found[zoom] for zoom in (6, 7)] == [[province, prefecture]] * 2
    assert [found[zoom] for zoom in (8, 11)] == [[province, prefecture, county]] * 2


def test_zones_are_shown_from_zoom_6_and_where_water_is_taken_never(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    info = archive.build(context, folder=tmp_path)
    tiles = read(info.path)
    drinking = {"k": "drinking_water", "g": 2, "n": "二级保护区"}
    assert attributes(tiles, "zones", 5) == []
    assert attributes(tiles, "zones", 6) == [drinking]  # the bathing water is smaller than half a unit there
    assert sorted(map(str, attributes(tiles, "zones", 11))) == sorted(map(str, [drinking, {"k": "bathing"}]))
    whole = b"".join(gzip.decompress(tile) for tile in _raw(info.path))
    assert "取水口".encode() not in whole
    assert b"intake" not in whole


def _raw(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [tile for _zxy, tile in all_tiles(Reader(MmapSource(file)).get_bytes)]


def test_a_brook_and_a_pond_are_left_to_the_zooms_that_show_their_size_and_the_last_shows_all(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    tiles = read(archive.build(context, folder=tmp_path).path)
    brook, pond = set(ground["brook"]), set(ground["pond"])
    assert [zoom for zoom in range(12) if brook & ids_of(tiles, "rivers", zoom)] == [9, 10, 11]  # 10 km² at zoom 8
    assert [zoom for zoom in range(12) if pond & ids_of(tiles, "lakes", zoom)] == [10, 11]  # four square pixels
    assert ids_of(tiles, "rivers", 11) == {*ground["river"], *ground["brook"]}
    assert ids_of(tiles, "lakes", 11) == {*ground["lake"], *ground["pond"]}


def test_what_was_retired_is_gone_unless_it_has_carried_a_warning(context: JobContext, tmp_path: Path) -> None:
    with transaction(context.sessions) as session:
        (gone,) = add_water(session, [winding(114, 30, 0.3)], upland_skm=LARGE)
        (lives,) = add_water(session, [winding(114, 30.2, 0.3)], upland_skm=LARGE)
        add_incident(session, now=datetime.now(UTC))
        warned = session.execute(text("SELECT max(feature_id) FROM water_feature")).scalar_one()
        session.execute(
            text("UPDATE water_feature SET retired_at = now() WHERE feature_id = ANY(:ids)"), {"ids": [gone, warned]}
        )
    assert ids_of(read(archive.build(context, folder=tmp_path).path), "rivers", 11) == {lives, warned}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_is_text(context: JobContext, tmp_path: Path, name: str) -> None:
    with transaction(context.sessions) as session:
        add_water(session, [winding(114, 30, 0.1)], names={"zh-Hans": name, "en": name + "!"}, upland_skm=LARGE)
        add_area(session, "420000", "province", "MULTIPOLYGON(((114 30, 115 30, 115 31, 114 30)))", {"en": name})
    info = archive.build(context, folder=tmp_path)
    tiles = read(info.path)
    (river,) = attributes(tiles, "rivers", 11)
    assert (river["n"], river["ne"]) == (name, name + "!")
    assert attributes(tiles, "places", 11) == [{"l": 1, "c": "420000", "ne": name}]
    with info.path.open("rb") as file:
        assert Reader(MmapSource(file)).metadata()["attribution"] == "A &lt;b&gt;survey&lt;/b&gt; (CC0)"


def test_the_same_ground_gives_the_same_bytes_and_a_change_another_name(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    first = archive.build(context, folder=tmp_path / "first").path
    again = archive.build(context, folder=tmp_path / "again").path
    assert (first.name, first.read_bytes()) == (again.name, again.read_bytes())
    assert first.name == f"waters.{first.name.split('.')[1]}.pmtiles"
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE water_name SET name = '大江' WHERE name = '长江'"))
    changed = archive.ensure(context, folder=tmp_path / "first")
    assert changed.name != first.name
    assert {river["n"] for river in attributes(read(changed), "rivers", 11) if "n" in river} == {"大江"}


WRITES = {
    "a river's name": "UPDATE water_name SET name = '大江' WHERE name = '长江'",
    "a reach's shape": "UPDATE water_feature SET geom = ST_Translate(geom, 0, 0.01) WHERE kind = 'reach'",
    "an area's name": "UPDATE jurisdiction_name SET name = '鄂' WHERE name = '湖北省'",
    "a zone": "UPDATE protected_zone SET retired_at = now()",
}


@pytest.mark.parametrize("statement", WRITES.values(), ids=WRITES.keys())
def test_a_publication_learns_by_one_question_whether_the_ground_has_changed(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path, statement: str
) -> None:
    built = archive.ensure(context, folder=tmp_path)
    with transaction(context.sessions) as session:
        known = archive.fingerprint(session)
    assert archive.latest(context, folder=tmp_path) == (known, built)
    with transaction(context.sessions) as session:
        session.execute(text(statement))
        assert archive.fingerprint(session) is None
    assert archive.ensure(context, folder=tmp_path) != built
    with transaction(context.sessions) as session:
        assert archive.fingerprint(session) not in (None, known)


def test_an_incident_leaves_the_archive_as_it_is(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    built = archive.ensure(context, folder=tmp_path)
    before = built.stat().st_mtime_ns
    with transaction(context.sessions) as session:
        known = archive.fingerprint(session)
        session.execute(
            text("""INSERT INTO advisory (water_feature_id, basis, level, since, changed_at)
                    SELECT id, 'confirmed', 4, now(), now() FROM water_feature""")
        )
        assert archive.fingerprint(session) == known
    assert archive.ensure(context, folder=tmp_path) == built
    assert built.stat().st_mtime_ns == before


def test_only_what_changed_is_generalised_anew(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    def rows() -> dict[tuple[int, int], str]:
        with transaction(context.sessions) as session:
            return {
                (row.band, row.feature_id): row.place
                for row in session.execute(text("SELECT band, feature_id, ctid::text AS place FROM water_tile"))
            }

    archive.build(context, folder=tmp_path)
    before = rows()
    with transaction(context.sessions) as session:
        session.execute(
            text("UPDATE water_feature SET geom = ST_Translate(geom, 0, 0.01) WHERE feature_id = :id"),
            {"id": ground["brook"][0]},
        )
    archive.build(context, folder=tmp_path)
    changed = {key for key, place in rows().items() if before[key] != place}
    assert changed == {(band, ground["brook"][0]) for band in (10, 11)}


def test_a_country_without_water_has_an_archive_all_the_same(context: JobContext, tmp_path: Path) -> None:
    info = archive.build(context, folder=tmp_path)
    assert info.tiles == 0
    with info.path.open("rb") as file:
        assert Reader(MmapSource(file)).metadata()["attribution"] == ""


def _build_and_die(settings: Settings, folder: Path, survive: int) -> None:
    """In a child: killed for good as the file after ``survive`` files gets its name."""
    renames = [0]
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        renames[0] += 1
        if renames[0] > survive:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(path, target)

    Path.replace = replace  # type: ignore[method-assign, assignment]
    sessions = make_sessions(make_engine(settings.database_url))
    archive.build(JobContext(settings, sessions, ObjectStore(settings.objects_url)), folder=folder)


@pytest.mark.parametrize("survive", [0, 1, 4, 9, 13])
def test_a_build_killed_anywhere_goes_on_and_ends_with_the_same_bytes(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survive: int
) -> None:
    monkeypatch.setattr(archive, "PIECE_TILES", 4)
    child = multiprocessing.get_context("fork").Process(
        target=_build_and_die, args=(context.settings, tmp_path / "killed", survive)
    )
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert list((tmp_path / "killed").glob("waters.*")) == []
    told: list[tuple[str, int, int]] = []
    info = archive.build(context, folder=tmp_path / "killed", progress=lambda *step: told.append(step))
    assert info.resumed == max(0, survive - 1)  # the first file is the plan
    assert [step for step in told if step[0] == "cut"][-1] == ("cut", info.pieces, info.pieces)
    whole = archive.build(context, folder=tmp_path / "whole")
    assert (whole.resumed, whole.path.read_bytes()) == (0, info.path.read_bytes())
    assert list((context.settings.spool_dir / "tiles").glob("pieces-*")) == []
    assert list((tmp_path / "killed").glob(".*")) == []


def test_generalising_that_was_broken_off_keeps_what_was_done_and_says_that_it_is_not_all(
    context: JobContext, ground: dict[str, list[int]], tmp_path: Path
) -> None:
    def bands() -> set[int]:
        with transaction(context.sessions) as session:
            return set(session.execute(text("SELECT DISTINCT band FROM water_tile")).scalars())

    def tell(step: str, done: int, _total: int) -> None:
        if (step, done) == ("generalise", 4):  # the third band is about to begin
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.build(context, folder=tmp_path, progress=tell)
    assert bands() == {4, 6}
    with transaction(context.sessions) as session:
        assert archive.fingerprint(session) is None
    assert archive.build(context, folder=tmp_path).tiles > 0
    assert bands() == {4, 6, 8, 10, 11}


def test_pieces_of_another_ground_are_thrown_away(tmp_path: Path) -> None:
    old = Spool(tmp_path, "yesterday")
    old.write(3, [(17, b"tile")])
    assert Spool(tmp_path, "yesterday").pieces_there() == {3}
    assert Spool(tmp_path, "today").pieces_there() == set()
    assert Spool(tmp_path, "yesterday").pieces_there() == set()
