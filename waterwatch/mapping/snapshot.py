"""Small maps as PNG, for mails, messages and pages without script: SVG of our own waters, rendered by resvg."""

import math
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import resvg_py
from shapely import LineString, box
from shapely.geometry import shape
from sqlalchemy.orm import Session

from waterwatch.incidents.queries import exact_point, incident_by_id
from waterwatch.kernel.errors import NotFound
from waterwatch.mapping.publishing_queries import PlaceView, ground_of
from waterwatch.mapping.publishing_words import COUNTS, NATIONAL, NOT_OFFICIAL, SITE, name_in, say
from waterwatch.mapping.queries import DrawnWater, waters_in_frame
from waterwatch.mapping.rules import (
    GROUND_COLOUR,
    INK_COLOUR,
    LAKE_COLOUR,
    LEVEL_COLOURS,
    LEVEL_WIDTHS_PX,
    METRES_PER_DEGREE,
    WATER_COLOUR,
    Frame,
    scale_bar_m,
)

WIDTH_PX, HEIGHT_PX = 640, 400
PLACE_PX = (1200, 630)  # what messengers and search engines show of a page (Open Graph)
OVERVIEW_PX = (1400, 840)
PANEL_PX = 96  # of its height for words
NAME_PX = 15
HALF_WIDTH_M = 20_000.0
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
FONTS = "Noto Sans CJK SC, Noto Sans CJK JP, sans-serif"


def incident_png(session: Session, incident_id: uuid.UUID) -> bytes:
    """A map of 640 by 400 px around the exact place of an incident: for the competent agency and moderators only.

    Raises :class:`NotFound`. One query for the place, one for the waters.
    """
    incident = incident_by_id(session, incident_id)
    if incident is None:
        raise NotFound("incident_not_found")
    lon, lat = exact_point(session, incident_id)
    frame = Frame(lon, lat, HALF_WIDTH_M, WIDTH_PX, HEIGHT_PX)
    waters = waters_in_frame(session, frame.bounds)
    return render_png(draw_svg(frame, waters, marker=(lon, lat), severity=incident.severity))


def render_png(svg: str) -> bytes:
    """Rasterise an SVG of our own making with the system's fonts (Chinese needs ``fonts-noto-cjk``)."""
    return bytes(resvg_py.svg_to_bytes(svg_string=svg))


def place_png(place: PlaceView, *, time: str) -> bytes:
    """The map of a place, 1200 by 630 px: waters in their colours, incidents, its name, whose levels these are, when.

    ``time``: of the data, as a Chinese clock shows it.
    """
    width_px, height_px = PLACE_PX
    frame = _frame_around(place.bounds, width_px, height_px - PANEL_PX)
    ground = [_as_drawn(geometry, None) for geometry in place.background]
    waters = [_as_drawn(water.geometry, water.level or None) for water in reversed(place.waters)]
    near = [_as_drawn(water.geometry, water.level) for water in reversed(place.near)]
    lakes_first = sorted(ground, key=lambda water: water.kind != "lake")
    dots = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="{LEVEL_COLOURS[marker.severity]}" stroke="#fff" '
        'stroke-width="2"/>'
        for marker in reversed(place.markers)
        for x, y in [frame.project(marker.lon, marker.lat)]
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width_px}" height="{height_px}" '
        f'viewBox="0 0 {width_px} {height_px}" font-family="{FONTS}">',
        f'<rect width="100%" height="100%" fill="{GROUND_COLOUR}"/><g transform="translate(0 {PANEL_PX})">',
        *(_draw_water(frame, water) for water in lakes_first),
        *(_draw_water(frame, water, is_near=True) for water in near),
        *(_draw_water(frame, water) for water in waters),
        *dots,
        "</g>",
        *_draw_panel(place, time),
        "</svg>",
    ]
    return render_png("".join(parts))


def overview_png(
    session: Session, bounds: tuple[float, float, float, float], dots: Sequence[tuple[float, float, int]]
) -> bytes:
    """A map of 1400 by 840 px for print: the larger waters of a box, incidents as dots (lon, lat, severity).

    Without colour the levels are told apart by size; the worst lie above.
    """
    frame = _frame_around(bounds, *OVERVIEW_PX)
    west, _south, east, _north = frame.bounds
    zoom = max(2, min(12, round(math.log2(360 * frame.width_px / 256 / (east - west)))))
    ground = [_as_drawn(geometry, None) for geometry in ground_of(session, frame.bounds, zoom=zoom)]
    waters = ground or [replace(water, level=None) for water in waters_in_frame(session, frame.bounds)]
    marks = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 + 2 * severity}" fill="{LEVEL_COLOURS[severity]}" '
        f'stroke="{INK_COLOUR}" stroke-width="1.5"/>'
        for lon, lat, severity in sorted(dots, key=lambda dot: dot[2])
        for x, y in [frame.project(lon, lat)]
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{frame.width_px}" height="{frame.height_px}" '
        f'viewBox="0 0 {frame.width_px} {frame.height_px}" font-family="{FONTS}">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        *(_draw_water(frame, water) for water in sorted(waters, key=lambda water: water.kind != "lake")),
        *marks,
        _draw_scale(frame),
        "</svg>",
    ]
    return render_png("".join(parts))


def _words(text: str) -> str:
    """A text in a drawing; letters that no XML may hold are left out, for one of them would spoil the picture."""
    return escape(_NOT_XML.sub("", text))


def _draw_panel(place: PlaceView, time: str) -> Iterator[str]:
    width_px = PLACE_PX[0]
    title = say("zh-Hans", NATIONAL) if place.key == "national" else name_in("zh-Hans", place.names, place.key)
    yield f'<rect width="{width_px}" height="{PANEL_PX}" fill="#fff"/>'
    yield f'<text x="28" y="46" font-size="34" font-weight="bold" fill="{INK_COLOUR}">{_words(title[:24])}</text>'
    counts = say("zh-Hans", COUNTS, waters=place.coloured, incidents=place.incidents)
    yield f'<text x="28" y="80" font-size="20" fill="{INK_COLOUR}">{_words(counts)}</text>'
    for y, words in ((42, say("zh-Hans", NOT_OFFICIAL)), (78, f"{say('zh-Hans', SITE)} · {time}")):
        yield (
            f'<text x="{width_px - 28}" y="{y}" font-size="20" fill="{INK_COLOUR}" text-anchor="end">'
            f"{_words(words)}</text>"
        )


def _frame_around(bounds: tuple[float, float, float, float], width_px: int, height_px: int) -> Frame:
    """The frame of a size that holds a box whole."""
    west, south, east, north = bounds
    lon, lat = (west + east) / 2, (south + north) / 2
    wide_m = (east - west) * METRES_PER_DEGREE * math.cos(math.radians(lat))
    high_m = (north - south) * METRES_PER_DEGREE
    half_m = max(wide_m, high_m * width_px / height_px, 2_000.0) / 2 * 1.06
    return Frame(lon, lat, half_m, width_px, height_px)


def _as_drawn(geometry: dict[str, Any], level: int | None) -> DrawnWater:
    kind = "lake" if "Polygon" in geometry["type"] else "reach"
    return DrawnWater(uuid.UUID(int=0), kind, None, level, geometry)


def draw_svg(frame: Frame, waters: list[DrawnWater], *, marker: tuple[float, float], severity: int) -> str:
    """The SVG of a small map: ground, lakes, rivers in their level's colour, names, marker, scale bar."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{frame.width_px}" height="{frame.height_px}" '
        f'viewBox="0 0 {frame.width_px} {frame.height_px}" font-family="{FONTS}">',
        f'<rect width="100%" height="100%" fill="{GROUND_COLOUR}"/>',
        *(_draw_water(frame, water) for water in sorted(waters, key=lambda w: (w.kind != "lake", w.level or 0))),
        *_draw_names(frame, waters, marker),
        _draw_marker(frame, marker, severity),
        _draw_scale(frame),
        "</svg>",
    ]
    return "".join(parts)


def _draw_water(frame: Frame, water: DrawnWater, *, is_near: bool = False) -> str:
    """``is_near``: the level only comes, and is dashed over the water as it is."""
    if is_near:
        return _draw_water(frame, replace(water, level=None)) + _draw_dashes(frame, water)
    colour = LEVEL_COLOURS.get(water.level or 0)
    if water.kind == "lake":
        path = " ".join(_path(frame, ring, closed=True) for ring in _rings(water.geometry))
        return (
            f'<path d="{path}" fill="{colour or LAKE_COLOUR}" fill-opacity="{0.55 if colour else 1}" '
            f'stroke="{colour or WATER_COLOUR}" stroke-width="1.5" fill-rule="evenodd"/>'
        )
    path = " ".join(_path(frame, line, closed=False) for line in _lines(water.geometry))
    width = LEVEL_WIDTHS_PX.get(water.level or 0, 2.2)
    return (
        f'<path d="{path}" fill="none" stroke="{colour or WATER_COLOUR}" stroke-width="{width}" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
    )


def _draw_dashes(frame: Frame, water: DrawnWater) -> str:
    parts = _rings(water.geometry) or _lines(water.geometry)
    path = " ".join(_path(frame, part, closed=water.kind == "lake") for part in parts)
    width = LEVEL_WIDTHS_PX.get(water.level or 0, 2.2)
    return (
        f'<path d="{path}" fill="none" stroke="{LEVEL_COLOURS[water.level or 1]}" stroke-width="{width}" '
        f'stroke-dasharray="{width} {width}"/>'
    )


def _draw_names(frame: Frame, waters: list[DrawnWater], marker: tuple[float, float]) -> Iterator[str]:
    """Each name once, coloured waters' first; a name that finds no free place is left out."""
    x, y = frame.project(*marker)
    taken = [box(x - 14, y - 14, x + 14, y + 14), box(0, frame.height_px - 44, 170, frame.height_px)]  # marker, scale
    written: set[str] = set()
    for water in sorted(waters, key=lambda water: -(water.level or 0)):
        if water.name is None or water.name in written:
            continue
        for x, y in _anchors(frame, water):
            half_px = NAME_PX * len(water.name) / 2 + 4
            place = box(x - half_px, y - NAME_PX - 4, x + half_px, y + 4)
            if place.within(box(0, 0, frame.width_px, frame.height_px)) and not any(map(place.intersects, taken)):
                taken.append(place)
                written.add(water.name)
                yield (
                    f'<text x="{x:.1f}" y="{y:.1f}" font-size="{NAME_PX}" fill="{INK_COLOUR}" stroke="{GROUND_COLOUR}" '
                    f'stroke-width="4" paint-order="stroke" text-anchor="middle">{_words(water.name)}</text>'
                )
                break


def _draw_marker(frame: Frame, marker: tuple[float, float], severity: int) -> str:
    x, y = frame.project(*marker)
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="11" fill="{LEVEL_COLOURS[severity]}" stroke="#fff" stroke-width="3"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="#fff"/>'
    )


def _draw_scale(frame: Frame) -> str:
    length_m = scale_bar_m(frame)
    length_px = length_m / frame.metres_per_px
    label = f"{length_m // 1000} km" if length_m >= 1000 else f"{length_m} m"
    y = frame.height_px - 18
    return (
        f'<path d="M16 {y - 5} v5 h{length_px:.1f} v-5" fill="none" stroke="{INK_COLOUR}" stroke-width="2"/>'
        f'<text x="{16 + length_px / 2:.1f}" y="{y - 9}" font-size="13" fill="{INK_COLOUR}" '
        f'text-anchor="middle">{label}</text>'
    )


def _anchors(frame: Frame, water: DrawnWater) -> Iterator[tuple[float, float]]:
    """Where a name may stand (its baseline's middle, in pixels), best first: inside a lake, above a river."""
    if water.kind == "lake":
        inside = shape(water.geometry).representative_point()
        if not inside.is_empty:
            x, y = frame.project(inside.x, inside.y)
            yield x, y + NAME_PX / 3
        return
    longest = max(_lines(water.geometry), key=len, default=[])
    for share in (0.5, 0.25, 0.75, 0.1, 0.9) if longest else ():
        point = LineString(longest).interpolate(share, normalized=True)
        x, y = frame.project(point.x, point.y)
        yield x, y - 8


def _path(frame: Frame, points: list[list[float]], *, closed: bool) -> str:
    steps = " L".join(f"{x:.1f} {y:.1f}" for x, y in (frame.project(point[0], point[1]) for point in points))
    return f"M{steps}{' Z' if closed else ''}"


def _lines(geometry: dict[str, Any]) -> list[list[list[float]]]:
    match geometry["type"]:
        case "LineString":
            return [geometry["coordinates"]]
        case "MultiLineString":
            return list(geometry["coordinates"])
        case "GeometryCollection":
            return [line for part in geometry["geometries"] for line in _lines(part)]
        case _:
            return []


def _rings(geometry: dict[str, Any]) -> list[list[list[float]]]:
    match geometry["type"]:
        case "Polygon":
            return list(geometry["coordinates"])
        case "MultiPolygon":
            return [ring for polygon in geometry["coordinates"] for ring in polygon]
        case "GeometryCollection":
            return [ring for part in geometry["geometries"] for ring in _rings(part)]
        case _:
            return []
