"""Snapping against brute force in metres: another way to the same answers, ten thousand times."""

import random
from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.waters import queries

POINTS = 10_000
UNINDEXED = 150
LIMIT_M = 2000.0
WITHIN_M = 500.0
# Geography measures on the spheroid and knows no projection. Ties (a shared vertex) go to the smaller feature id.
BY_GEOGRAPHY = text("""
SELECT p.nth, f.feature_id, ST_Distance(f.geom::geography, p.at) AS distance_m
FROM place p, water_feature f
WHERE f.retired_at IS NULL AND ST_DWithin(f.geom::geography, p.at, :limit_m)
""")


def _places(session: Session, count: int) -> list[tuple[float, float]]:
    """Half of them near a vertex of some water, half anywhere about one; the same each time."""
    choose = random.Random(20260524)
    vertices = session.execute(
        text("SELECT ST_X(d.geom) AS x, ST_Y(d.geom) AS y FROM water_feature f, ST_DumpPoints(f.geom) d ORDER BY 1, 2")
    ).all()
    places = []
    for nth in range(count):
        vertex = choose.choice(vertices)
        spread = 0.004 if nth % 2 else 0.03
        places.append((vertex.x + choose.uniform(-spread, spread), vertex.y + choose.uniform(-spread, spread)))
    return places


@pytest.fixture
def place(session: Session) -> Iterator[list[tuple[float, float]]]:
    """The places, and a table of them."""
    places = _places(session, POINTS)
    session.execute(text("CREATE TEMP TABLE place (nth int4, at geography) ON COMMIT DROP"))
    session.execute(
        text("INSERT INTO place SELECT nth, ST_MakePoint(lon, lat)::geography FROM"
             " unnest(CAST(:lons AS float8[]), CAST(:lats AS float8[])) WITH ORDINALITY AS p (lon, lat, nth)"),
        {"lons": [lon for lon, _ in places], "lats": [lat for _, lat in places]},
    )  # fmt: skip
    yield places
    session.execute(text("DROP TABLE place"))


def _nearest(session: Session) -> dict[int, list[tuple[float, int]]]:
    found: dict[int, list[tuple[float, int]]] = {}
    for row in session.execute(BY_GEOGRAPHY, {"limit_m": LIMIT_M}):
        found.setdefault(row.nth - 1, []).append((row.distance_m, row.feature_id))
    return {nth: sorted(waters) for nth, waters in found.items()}


def _ours(session: Session, at: tuple[float, float], accuracy_m: float) -> list[tuple[float, int]]:
    found = queries.nearest_waters(session, *at, accuracy_m, limit=1000, search_limit_m=LIMIT_M)
    return [(one.distance_m, one.feature_id) for one in found]


def test_ten_thousand_places_snap_as_brute_force_in_metres_says(
    session: Session, place: list[tuple[float, float]]
) -> None:
    session.execute(text("SET LOCAL enable_seqscan = on; SET LOCAL statement_timeout = '120s'"))
    session.execute(text("RESET ROLE"))
    session.execute(text("CREATE INDEX by_geography ON water_feature USING gist (geography(geom))"))
    expected = _nearest(session)
    bodies = session.execute(text("SELECT feature_id, water_body_id FROM water_feature"))
    body_of = {row.feature_id: row.water_body_id for row in bodies}
    assert len(expected) > POINTS / 3
    for nth, at in enumerate(place):
        nearest = expected.get(nth, [])
        close = [one for one in nearest if one[0] <= WITHIN_M]
        ours = _ours(session, at, WITHIN_M / 2)
        if close:  # all within the radius, each water by its nearest part
            first: dict[object, tuple[float, int]] = {}
            for one in close:
                first.setdefault(body_of[one[1]], one)
            assert ours == list(first.values()), at
        else:
            assert ours[:1] == nearest[:1], at


def test_many_places_at_once_are_the_same_as_one_by_one(session: Session, place: list[tuple[float, float]]) -> None:
    asked = place[:2000]
    found = {nth: (metres, feature) for nth, feature, metres in queries.nearest_of_many(session, asked)}
    for nth, at in enumerate(asked):
        one = _ours(session, at, 0)
        assert ([found[nth]] if nth in found else []) == one[:1], at
    assert queries.nearest_of_many(session, []) == []
    assert queries.nearest_of_many(session, [(114.288, 30.549)], within_m=10) == []


def test_the_measure_itself_is_brute_force_without_any_index(
    session: Session, place: list[tuple[float, float]]
) -> None:
    session.execute(text("DELETE FROM place WHERE nth > :count"), {"count": UNINDEXED})
    session.execute(text("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off"))
    session.execute(text("SET LOCAL statement_timeout = '120s'"))
    expected = _nearest(session)
    assert expected
    session.execute(text("SET LOCAL enable_indexscan = on; SET LOCAL enable_bitmapscan = on"))
    for nth, at in enumerate(place[:UNINDEXED]):
        assert _ours(session, at, WITHIN_M / 2)[:1] == expected.get(nth, [])[:1], at
