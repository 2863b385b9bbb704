"""Which waters which zoom shows: legible, within budgets, never less than the zoom before, at the last everything."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.mapping.ground import add_water, winding
from waterwatch.mapping.tiles_rules import (
    BANDS,
    CELL_ZOOM,
    FULLEST,
    LARGEST_STEP,
    LEAST_KM2,
    MAX_ZOOM,
    MIDDLE,
    Cell,
    band_of,
    is_desk_tile,
    least_lake_km2,
    least_steps,
    size_of,
    step_of,
    weigh,
)

cells = st.builds(
    Cell,
    layer=st.sampled_from(sorted(FULLEST)),
    x=st.integers(780, 840),
    y=st.integers(390, 450),
    step=st.integers(0, LARGEST_STEP),
    count=st.integers(1, 3000),
    vertices=st.integers(2, 200_000),
    length_m=st.floats(0, 1e8),
)


@given(st.lists(cells, max_size=60))
def test_what_a_zoom_shows_every_higher_one_shows_and_the_last_shows_all(found: list[Cell]) -> None:
    rules = least_steps(found)
    for layer in FULLEST:
        steps = [rules[layer, zoom] for zoom in range(MAX_ZOOM + 1)]
        assert steps == sorted(steps, reverse=True)
        assert steps[-1] == 0


@given(st.lists(cells, max_size=60))
def test_no_zoom_but_the_last_goes_over_a_budget_unless_the_largest_waters_alone_do(found: list[Cell]) -> None:
    rules = least_steps(found)
    for (layer, zoom), least in rules.items():
        if zoom == MAX_ZOOM or least == LARGEST_STEP:
            continue
        tiles: dict[tuple[int, int], float] = {}
        for cell in found:
            if cell.layer == layer:
                key = (cell.x >> (CELL_ZOOM - zoom), cell.y >> (CELL_ZOOM - zoom))
                tiles[key] = tiles.get(key, 0) + (weigh(cell, zoom) if cell.step >= least else 0)
        held = sorted(tiles.values()) or [0]
        assert held[-1] <= FULLEST[layer] * (1 + 1e-9)
        assert held[len(held) // 2] <= MIDDLE[layer] * (1 + 1e-9)


def test_in_an_empty_country_only_legibility_speaks() -> None:
    rules = least_steps([])
    for zoom in range(MAX_ZOOM):
        assert rules["rivers", zoom] == rules["labels", zoom] == step_of(LEAST_KM2.get(zoom, 0))
        assert rules["lakes", zoom] == step_of(20 * least_lake_km2(zoom))


@pytest.mark.parametrize(("zoom", "km2"), [(4, 95.7), (7, 1.4953), (11, 0.00584)])
def test_the_least_lake_has_four_pixels(zoom: int, km2: float) -> None:
    assert least_lake_km2(zoom) == pytest.approx(km2, rel=1e-3)


def test_a_rung_begins_where_the_one_below_ends() -> None:
    assert [step_of(size) for size in (0, 0.5, 1, 1.77, 1.79, 10, 1e5, 1e9)] == [0, 0, 0, 0, 1, 4, 20, LARGEST_STEP]
    assert all(step_of(size_of(step) * 1.0001) == step for step in range(LARGEST_STEP + 1))


def test_each_zoom_has_one_band_and_no_line_moves_more_than_half_a_pixel() -> None:
    for zoom in range(23):
        assert [band for band in BANDS if zoom in band.zooms] == [band_of(zoom)]
    assert [round(band.tolerance_m) for band in BANDS] == [2446, 611, 153, 38, 5]


def test_the_database_finds_the_same_rung_and_class_as_the_rule(session: Session) -> None:
    from waterwatch.mapping.tiles_drawing import _SEEN

    sizes = [0.3, 1.0, 1.8, 99.0, 101.0, 999.0, 5e4, 1e5, 2e6, 9e9]
    ids = [add_water(session, [winding(114, 30, 0.1)], upland_skm=size)[0] for size in sizes]
    (by_order,) = add_water(session, [winding(114, 31, 0.1)], ord_stra=3)
    (by_rank,) = add_water(session, [winding(114, 32, 0.1)], rank=3)
    (lake,) = add_water(session, ["POLYGON((1 1, 2 1, 2 2, 1 1))"], kind="lake", area_km2=150)
    session.execute(text(_SEEN))
    found = {row.feature_id: (row.step, row.size_class) for row in session.execute(text("SELECT * FROM seen"))}
    classes = [5, 5, 5, 5, 4, 4, 2, 1, 1, 1]
    assert [found[i] for i in ids] == [(step_of(size), each) for size, each in zip(sizes, classes, strict=True)]
    assert found[by_order] == (step_of(10 * 4.6**2), 4)
    assert found[by_rank] == (step_of(10**4.5), 2)
    assert found[lake] == (step_of(3000), 2)


def test_the_desk_has_the_tiles_of_its_zooms() -> None:
    assert is_desk_tile(4, 15, 15)
    assert not is_desk_tile(4, 16, 0)
    assert not is_desk_tile(3, 0, 0)
    assert not is_desk_tile(15, 0, 0)
    assert not is_desk_tile(6, -1, 0)


NOW = datetime(2026, 3, 4, 12, 3, tzinfo=UTC)


def test_a_token_of_the_desks_tiles_is_the_same_for_all_and_holds_ten_to_twenty_minutes(make_settings) -> None:  # type: ignore[no-untyped-def]
    from waterwatch.mapping.tiles_access import may_open, tiles_token

    settings = make_settings()
    token, expires_at = tiles_token(settings, now=NOW)
    assert tiles_token(settings, now=NOW + timedelta(minutes=6)) == (token, expires_at)
    assert expires_at == datetime(2026, 3, 4, 12, 20, tzinfo=UTC)
    assert may_open(settings, token, now=expires_at - timedelta(seconds=1))
    assert not may_open(settings, token, now=expires_at)
    other = make_settings(secret_key="another secret of the same length, 0123456789abcdef")
    assert not may_open(other, token, now=NOW)
    for forged in ("", "x", token[:-1], token + "A", "AAAA" * 12, "江"):
        assert not may_open(settings, forged, now=NOW)
