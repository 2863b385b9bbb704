"""Where waters found by name lie."""

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.waters.search import SAMPLES, places_of, search_names

WUHAN = (113.7, 29.97, 115.08, 31.36)


def test_a_lake_is_placed_on_its_surface(session: Session) -> None:
    lake = search_names(session, "鄱阳湖")[0]
    found = places_of(session, [lake.water_body_id])[lake.water_body_id]
    covered = text(
        "SELECT bool_and(EXISTS (SELECT FROM water_feature f WHERE f.water_body_id = :id"
        " AND ST_Intersects(f.geom, ST_SetSRID(ST_MakePoint(lon, lat), 4326))))"
        " FROM unnest(CAST(:lons AS float8[]), CAST(:lats AS float8[])) p (lon, lat)"
    )
    lons, lats = zip(*found.samples, strict=True)
    assert session.execute(covered, {"id": lake.water_body_id, "lons": list(lons), "lats": list(lats)}).scalar_one()
    west, south, east, north = found.bbox
    assert 115.5 < west < 116.5 < east < 117
    assert 28 < south < 29.5 < north < 30


def test_a_long_river_is_looked_at_along_all_its_way(session: Session) -> None:
    river = search_names(session, "长江")[0]
    found = places_of(session, [river.water_body_id])[river.water_body_id]
    assert 2 <= len(found.samples) <= SAMPLES
    assert found.bbox[2] - found.bbox[0] > 10


def test_within_a_box_only_what_lies_there_counts(session: Session) -> None:
    river = search_names(session, "长江")[0]
    found = places_of(session, [river.water_body_id], within=WUHAN)[river.water_body_id]
    west, south, east, north = WUHAN
    assert all(west <= lon <= east and south <= lat <= north for lon, lat in found.samples)
    assert found.bbox[0] == pytest.approx(west)


def test_what_is_not_there_or_was_retired_has_no_place(session: Session) -> None:
    river, lake = search_names(session, "长江")[0], search_names(session, "鄱阳湖")[0]
    assert places_of(session, [lake.water_body_id], within=(80.0, 40.0, 81.0, 41.0)) == {}
    session.execute(
        text("UPDATE water_feature SET retired_at = now() WHERE water_body_id = :id"), {"id": river.water_body_id}
    )
    assert places_of(session, [river.water_body_id]) == {}
    assert places_of(session, []) == {}
