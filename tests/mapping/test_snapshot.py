"""The small map of a letter: the pixels themselves are looked at."""

import io
import re
import uuid
from datetime import datetime

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import add_incident
from waterwatch.kernel.errors import NotFound
from waterwatch.mapping.queries import DrawnWater
from waterwatch.mapping.rules import LAKE_COLOUR, LEVEL_COLOURS, Frame, scale_bar_m
from waterwatch.mapping.snapshot import HALF_WIDTH_M, HEIGHT_PX, WIDTH_PX, draw_svg, incident_png, render_png

HERE = (114.3, 30.6)
FRAME = Frame(*HERE, HALF_WIDTH_M, WIDTH_PX, HEIGHT_PX)


def pixels(png: bytes) -> np.ndarray:
    """(height, width, 3) of a PNG."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def colour(name: str) -> tuple[int, ...]:
    return tuple(int(name[i : i + 2], 16) for i in (1, 3, 5))


def is_near(pixel: np.ndarray, name: str) -> bool:
    return bool(np.abs(pixel - colour(name)).max() <= 8)


def river(name: str | None, lat: float, level: int | None = None) -> DrawnWater:
    line = {"type": "LineString", "coordinates": [[114.15, lat], [114.3, lat], [114.45, lat]]}
    return DrawnWater(uuid.uuid4(), "reach", name, level, line)


def lake(name: str, west: float, south: float, size: float, level: int | None = None) -> DrawnWater:
    ring = [[west, south], [west + size, south], [west + size, south + size], [west, south + size], [west, south]]
    return DrawnWater(uuid.uuid4(), "lake", name, level, {"type": "Polygon", "coordinates": [ring]})


def names_in(svg: str) -> list[tuple[str, float, float]]:
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" font-size="15"[^>]*>([^<]+)<', svg)
    return [(name, float(x), float(y)) for x, y, name in found]


@pytest.mark.parametrize("severity", [1, 2, 3, 4])
def test_the_marker_has_the_severitys_colour_and_stands_on_the_place(severity: int) -> None:
    png = render_png(draw_svg(FRAME, [], marker=HERE, severity=severity))
    seen = pixels(png)
    assert seen.shape == (HEIGHT_PX, WIDTH_PX, 3)
    ys, xs = np.nonzero(np.abs(seen - colour(LEVEL_COLOURS[severity])).max(axis=2) <= 8)
    assert (abs(xs.mean() - WIDTH_PX / 2), abs(ys.mean() - HEIGHT_PX / 2)) < (1.0, 1.0)


def test_a_coloured_river_is_drawn_in_its_colour_and_a_quiet_lake_pale() -> None:
    waters = [river("长江", 30.65, level=4), lake("东湖", 114.32, 30.52, 0.04)]
    seen = pixels(render_png(draw_svg(FRAME, waters, marker=HERE, severity=3)))
    x, y = FRAME.project(114.2, 30.65)
    assert is_near(seen[round(y), round(x)], LEVEL_COLOURS[4])
    x, y = FRAME.project(114.325, 30.525)
    assert is_near(seen[round(y), round(x)], LAKE_COLOUR)


def test_chinese_names_are_drawn_with_real_glyphs() -> None:
    """A missing font draws nothing, or one box for every character."""
    drawn = [
        pixels(render_png(draw_svg(FRAME, [lake(name, 114.2, 30.62, 0.1)], marker=HERE, severity=1)))
        for name in ("东湖", "太湖", "")
    ]
    assert (drawn[0] != drawn[1]).any()
    assert (drawn[0] != drawn[2]).sum() > 200


def test_names_neither_overlap_nor_leave_the_map() -> None:
    crowd = [lake(f"某某湖{n}", 114.30 + n * 0.002, 30.62 + n * 0.001, 0.03) for n in range(8)]
    svg = draw_svg(FRAME, [*crowd, river("长江", 30.6, level=2)], marker=HERE, severity=2)
    written = names_in(svg)
    assert written[0][0] == "长江"
    assert 2 <= len(written) < len(crowd)
    boxes = [(x - 7.5 * len(name), y - 15, x + 7.5 * len(name), y) for name, x, y in written]
    for number, one in enumerate(boxes):
        assert (one[0] >= 0, one[1] >= 0, one[2] <= WIDTH_PX, one[3] <= HEIGHT_PX) == (True,) * 4
        for other in boxes[number + 1 :]:
            assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_a_name_of_markup_stays_a_name() -> None:
    svg = draw_svg(FRAME, [lake("<script>&湖", 114.2, 30.62, 0.1)], marker=HERE, severity=1)
    assert "<script>" not in svg
    assert "&lt;script&gt;&amp;湖" in svg
    render_png(svg)


@pytest.mark.parametrize("place", [(179.99, 65.0), (-179.99, -16.0), (20.0, 84.0), (0.0, 0.0)])
def test_it_draws_at_the_edges_of_the_world(place: tuple[float, float]) -> None:
    frame = Frame(*place, HALF_WIDTH_M, WIDTH_PX, HEIGHT_PX)
    assert pixels(render_png(draw_svg(frame, [], marker=place, severity=1))).shape == (HEIGHT_PX, WIDTH_PX, 3)


def test_the_scale_bar_is_a_round_distance_and_as_long_as_it_says() -> None:
    length_m = scale_bar_m(FRAME)
    assert length_m == 5000
    assert length_m / FRAME.metres_per_px <= 140


def test_the_map_of_an_incident_shows_its_own_water(session: Session, now: datetime) -> None:
    incident_id = add_incident(session, now=now, severity=4)
    feature_id = session.execute(text("SELECT water_feature_id FROM incident")).scalar_one()
    session.execute(
        text("""INSERT INTO advisory (water_feature_id, basis, level, since, changed_at)
                VALUES (:id, 'confirmed', 4, :now, :now)"""),
        {"id": feature_id, "now": now},
    )
    seen = pixels(incident_png(session, incident_id))
    reds = (np.abs(seen - colour(LEVEL_COLOURS[4])).max(axis=2) <= 8).sum()
    assert reds > 1500  # a line across the map, not the marker alone
    with pytest.raises(NotFound):
        incident_png(session, uuid.uuid4())


def test_a_place_far_from_every_water_still_gives_a_map(session: Session, now: datetime) -> None:
    incident_id = add_incident(session, now=now)
    session.execute(text("UPDATE incident SET exact_point = ST_SetSRID(ST_MakePoint(-140, 0), 4326)"))
    assert pixels(incident_png(session, incident_id)).shape == (HEIGHT_PX, WIDTH_PX, 3)
