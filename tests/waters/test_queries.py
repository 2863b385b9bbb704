"""Which water lies where: hand-checked places, exact metres, the index in use, one statement a question."""

import math
import uuid

import pytest
from sqlalchemy import text
from sqlalchemy.exc import NoResultFound
from sqlalchemy.orm import Session

from tests.waters.database import Statements, plan_of
from waterwatch.kernel.ids import new_id
from waterwatch.waters import queries

YANGTZE_BRIDGE = (114.288, 30.549)  # 武汉长江大桥
COARSE_M = 5000.0  # Natural Earth 10m lies up to some kilometres from the real bank


def _name(session: Session, candidate: queries.Candidate) -> str:
    return queries.names_of(session, [candidate.water_body_id])[candidate.water_body_id]["zh-Hans"]


@pytest.mark.parametrize(
    ("lon", "lat", "name"),
    [
        (*YANGTZE_BRIDGE, "长江"),
        (118.738, 32.113, "长江"),  # 南京长江大桥
        (100.2, 36.9, "青海湖"),
        (120.14, 31.24, "太湖"),
        (116.99, 36.72, "黄河"),  # 济南泺口
        (108.95, 34.43, "渭河"),  # 西安草滩
        (126.60, 45.79, "松花江"),  # 哈尔滨
        (106.07, 30.79, "嘉陵江"),  # 南充
        (114.38, 30.56, "东湖"),
        (114.36, 30.42, "汤逊湖"),
        (117.38, 32.95, "淮河"),  # 蚌埠
        (113.26, 23.11, None),  # 广州: the source has no river of the delta's arms here
        (90.0, 40.0, None),  # desert
    ],
)
def test_the_water_of_a_known_place(session: Session, lon: float, lat: float, name: str | None) -> None:
    found = queries.nearest_waters(session, lon, lat, 20.0, search_limit_m=COARSE_M)
    assert (_name(session, found[0]) if found else None) == name


def test_nothing_is_found_beyond_the_limit(session: Session) -> None:
    far = queries.nearest_waters(session, *YANGTZE_BRIDGE, 20.0, limit=1, search_limit_m=COARSE_M)[0].distance_m
    assert queries.nearest_waters(session, *YANGTZE_BRIDGE, 20.0, search_limit_m=far - 1) == []
    assert len(queries.nearest_waters(session, *YANGTZE_BRIDGE, 20.0, limit=1, search_limit_m=far + 1)) == 1


@pytest.mark.parametrize(("accuracy_m", "statements"), [(2500.0, 1), (20.0, 2)])
def test_a_nearest_water_is_one_indexed_statement_or_two(session: Session, accuracy_m: float, statements: int) -> None:
    with Statements(session) as sent:
        assert queries.nearest_waters(session, *YANGTZE_BRIDGE, accuracy_m, search_limit_m=5000)
    assert len(sent) == statements
    for one in sent:
        plan = plan_of(session, [one])
        assert "ix_water_feature_geom_3857" in plan
        assert "Seq Scan on water_feature" not in plan


def _add_reach(session: Session, name: str, wkt: str) -> int:
    values = {"id": new_id(), "body": new_id(), "wkt": wkt, "name": name, "source": new_id()}
    for statement in (
        "INSERT INTO source (id, code, title, licence) VALUES (:source, :name, 'tests', 'CC0')",
        "INSERT INTO water_body (id, public_id, kind, rank, source_id, source_key)"
        " VALUES (:body, :name, 'river', 4, :source, :name)",
    ):
        session.execute(text(statement), values)
    insert = text("""
        INSERT INTO water_feature (id, kind, water_body_id, geom, source_id, source_key)
        VALUES (:id, 'reach', :body, ST_GeomFromText(:wkt, 4326), :source, :name) RETURNING feature_id
    """)
    return int(session.execute(insert, values).scalar_one())


def test_metres_decide_where_degrees_would_pick_the_wrong_river(session: Session) -> None:
    # At 60° north a degree of longitude is half a degree of latitude long: 0.006° east is nearer than 0.004° north.
    _add_reach(session, "w-test-north", "LINESTRING(59.999 60.004, 60.001 60.004)")
    _add_reach(session, "w-test-east", "LINESTRING(60.006 59.99, 60.006 60.0035)")
    found = queries.nearest_waters(session, 60.0, 60.0, 10.0)
    assert [one.public_id for one in found] == ["w-test-east", "w-test-north"]
    assert found[0].distance_m == pytest.approx(335.0, abs=1.0)  # 0.006° of a 55,800 m degree
    assert found[1].distance_m == pytest.approx(445.7, abs=1.5)  # 0.004° of a 111,412 m degree


def test_candidates_within_the_accuracy_exclude_those_beyond(session: Session) -> None:
    _add_reach(session, "w-test-near", "LINESTRING(60.0005 59.9, 60.0005 60.1)")  # 28 m
    _add_reach(session, "w-test-far", "LINESTRING(60.003 59.9, 60.003 60.1)")  # 167 m
    assert [one.public_id for one in queries.nearest_waters(session, 60.0, 60.0, 5.0)] == ["w-test-near"]
    within = queries.nearest_waters(session, 60.0, 60.0, 100.0)
    assert [one.public_id for one in within] == ["w-test-near", "w-test-far"]


def test_a_tie_at_a_shared_vertex_goes_to_the_smaller_feature_id(session: Session) -> None:
    first = _add_reach(session, "w-test-b", "LINESTRING(60 59.9, 60 60)")
    second = _add_reach(session, "w-test-a", "LINESTRING(60 60, 60 60.1)")
    found = queries.nearest_waters(session, 60.001, 60.0, 100.0)
    assert [one.feature_id for one in found] == sorted([first, second])


def test_a_retired_reach_is_not_found(session: Session) -> None:
    feature_id = _add_reach(session, "w-test-gone", "LINESTRING(60 59.9, 60 60.1)")
    session.execute(text("UPDATE water_feature SET retired_at = now() WHERE feature_id = :id"), {"id": feature_id})
    assert queries.nearest_waters(session, 60.0, 60.0, 10.0) == []


def _feature(session: Session, key: str) -> uuid.UUID:
    statement = text("SELECT id FROM water_feature WHERE source_key = :key")
    found: uuid.UUID = session.execute(statement, {"key": key}).scalar_one()
    return found


def test_a_river_is_snapped_to_its_line(session: Session) -> None:
    best = queries.nearest_waters(session, *YANGTZE_BRIDGE, 20.0, 1, search_limit_m=COARSE_M)[0]
    lon, lat, distance_m = queries.snap(session, best.water_feature_id, *YANGTZE_BRIDGE)
    assert (lon, lat) == (best.snapped_lon, best.snapped_lat)
    assert distance_m == pytest.approx(best.distance_m, rel=0.02)
    again = queries.snap(session, best.water_feature_id, lon, lat)
    assert again[2] == pytest.approx(0.0, abs=0.01)


def test_nobody_on_a_lakes_bank_is_betrayed_by_the_public_point(session: Session) -> None:
    # All these stand inside the coarse outline of 东湖; what is shown is the same grid node on the lake for all.
    places = [(114.3811, 30.5612), (114.3829, 30.5634), (114.3787, 30.5581)]
    shown = {queries.snap(session, _feature(session, "donghu/1"), *place) for place in places}
    assert {(round(lon, 6), round(lat, 6), distance_m) for lon, lat, distance_m in shown} == {(114.38, 30.56, 0.0)}
    candidates = {
        (round(one.snapped_lon, 6), round(one.snapped_lat, 6))
        for place in places
        for one in queries.nearest_waters(session, *place, 5.0, 1)
    }
    assert candidates == {(114.38, 30.56)}


def test_beside_a_lake_the_public_point_is_on_its_shore(session: Session) -> None:
    lon, lat, distance_m = queries.snap(session, _feature(session, "taihu/1"), 120.7, 31.2)
    statement = text(
        "SELECT ST_Distance(geom, ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)) FROM water_feature WHERE id = :id"
    )
    off_deg = session.execute(statement, {"lon": lon, "lat": lat, "id": _feature(session, "taihu/1")}).scalar_one()
    assert off_deg == pytest.approx(0.0, abs=1e-9)
    assert 1000 < distance_m < 40_000
    direct_m = 111_320 * math.hypot((lon - 120.7) * math.cos(math.radians(31.2)), lat - 31.2)
    assert distance_m == pytest.approx(direct_m, rel=0.01)


def test_snapping_to_an_unknown_water_is_an_error(session: Session) -> None:
    with pytest.raises(NoResultFound):
        queries.snap(session, new_id(), 114.0, 30.0)


def test_a_waters_page_knows_its_parent(session: Session) -> None:
    found = queries.water_by_public_id(session, "w-hanjiang")
    assert found is not None
    assert (found.kind, found.basin, found.parent_public_id) == ("river", "长江", "w-yangtze")
    assert queries.water_by_public_id(session, "w-nowhere") is None


def test_names_of_many_waters_are_one_statement(session: Session) -> None:
    ids = list(session.execute(text("SELECT id FROM water_body")).scalars())
    with Statements(session) as sent:
        names = queries.names_of(session, ids)
    assert len(sent) == 1
    assert len(names) == len(ids) > 250


def test_features_of_a_water_are_its_own(session: Session) -> None:
    water = queries.water_by_public_id(session, "w-yangtze")
    assert water is not None
    statement = text("SELECT feature_id FROM water_feature WHERE source_key LIKE 'yangtze/%' ORDER BY 1")
    assert queries.feature_ids_of(session, water.water_body_id) == list(session.execute(statement).scalars())


def test_the_named_waters_that_flow_into_one_are_listed_the_largest_first(session: Session) -> None:
    yangtze = queries.water_by_public_id(session, "w-yangtze")
    assert yangtze is not None
    found = list(queries.tributaries_of(session, yangtze.water_body_id, limit=50))
    names = queries.names_of(session, found)
    assert {"汉江", "嘉陵江", "鄱阳湖"} <= {names[key]["zh-Hans"] for key in found}
    assert list(queries.tributaries_of(session, yangtze.water_body_id, limit=5)) == found[:5]


def test_the_way_to_the_lower_end_is_a_share_of_the_reach(session: Session) -> None:
    row = session.execute(
        text("SELECT id, length_km, ST_X(ST_EndPoint(geom)) AS lon, ST_Y(ST_EndPoint(geom)) AS lat,"
             " ST_X(ST_StartPoint(geom)) AS first_lon, ST_Y(ST_StartPoint(geom)) AS first_lat FROM water_feature"
             " WHERE GeometryType(geom) = 'LINESTRING' AND length_km > 5 ORDER BY feature_id LIMIT 1")
    ).one()  # fmt: skip
    assert queries.km_to_lower_end(session, row.id, row.lon, row.lat) == pytest.approx(0, abs=1e-6)
    assert queries.km_to_lower_end(session, row.id, row.first_lon, row.first_lat) == pytest.approx(row.length_km)
