"""Folium pages: the map for phones without WebGL, for embedding and for print. Every asset is our own.

Folium calls five foreign hosts by default; here each class's assets are replaced by one local Leaflet. Its popups are
raw HTML, so every text is escaped; its element ids are random, so they are pinned: equal states give equal pages.
"""

import json
from datetime import datetime
from html import escape
from typing import Any, cast

import folium
from branca.element import Element, Figure

from waterwatch.mapping.queries import LevelledWater
from waterwatch.mapping.rules import GROUND_COLOUR, LAKE_COLOUR, LEVEL_COLOURS, LEVEL_WIDTHS_PX, WATER_COLOUR

CHINA_CENTRE = (34.5, 106.0)
LOCAL_JS = [("leaflet", "vendor/leaflet.js")]
LOCAL_CSS = [("leaflet_css", "vendor/leaflet.css")]
LEVEL_NAMES = {1: "蓝色·一般", 2: "黄色·较大", 3: "橙色·重大", 4: "红色·特别重大"}


def national_page(waters: list[LevelledWater], background: list[dict[str, Any]], *, published_at: datetime) -> str:
    """The country's coloured waters as one self-contained page (besides Leaflet next to it).

    ``background``: geometries of the larger waters, drawn pale so that one sees where one is.
    """
    page = folium.Map(location=list(CHINA_CENTRE), zoom_start=4, tiles=None, attributionControl=False)
    page.default_js, page.default_css = LOCAL_JS, LOCAL_CSS
    _layer([{"geometry": geometry, "properties": {}} for geometry in background], _pale).add_to(page)
    if waters:
        coloured = _layer([_feature(water) for water in waters], _coloured)
        coloured.add_child(folium.GeoJsonPopup(fields=["words"], labels=False))
        coloured.add_to(page)
    figure = cast(Figure, page.get_root())
    figure.html.add_child(Element(_legend(published_at)))
    figure.header.add_child(
        Element(
            f'<link rel="icon" href="data:,">'
            f"<style>.leaflet-container.leaflet-container{{background:{GROUND_COLOUR}}}</style>"
        )
    )
    _pin_ids(page)
    return str(figure.render())


def _layer(features: list[dict[str, Any]], style: Any) -> folium.GeoJson:
    collection = {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "id": str(number), **feature} for number, feature in enumerate(features)],
    }
    layer = folium.GeoJson(json.dumps(collection), style_function=style)
    for kind in ("default_js", "default_css"):  # of folium's mixin, which its types do not name
        setattr(layer, kind, [])
    return layer


def _pale(_feature: dict[str, Any]) -> dict[str, Any]:
    return {"color": WATER_COLOUR, "weight": 1, "fillColor": LAKE_COLOUR, "fillOpacity": 1, "interactive": False}


def _coloured(feature: dict[str, Any]) -> dict[str, Any]:
    level = feature["properties"]["level"]
    colour = LEVEL_COLOURS[level]
    return {"color": colour, "weight": LEVEL_WIDTHS_PX[level] + 2, "fillColor": colour, "fillOpacity": 0.6}


def _feature(water: LevelledWater) -> dict[str, Any]:
    """A popup's words are raw HTML to folium: every text in them is escaped here."""
    name = escape(water.names.get("zh-Hans") or water.names.get("en") or water.public_id)
    words = f'<a href="/w/{escape(water.public_id)}" target="_top">{name}</a><br>{LEVEL_NAMES[water.level]}'
    return {"geometry": water.geometry, "properties": {"level": water.level, "words": words}}


def _legend(published_at: datetime) -> str:
    rows = "".join(
        f'<li><span style="background:{LEVEL_COLOURS[level]};height:{LEVEL_WIDTHS_PX[level]}px"></span>{name}</li>'
        for level, name in sorted(LEVEL_NAMES.items(), reverse=True)
    )
    return (
        "<style>.ww-legend{position:absolute;z-index:900;left:12px;bottom:12px;background:#fffffff0;padding:10px 14px;"
        "font:14px/1.6 'PingFang SC','Noto Sans CJK SC',sans-serif;border-radius:8px}.ww-legend ul{margin:0;padding:0;"
        "list-style:none}.ww-legend span{display:inline-block;width:26px;margin-right:8px;vertical-align:middle}"
        "</style>"
        f'<div class="ww-legend"><strong>公众观察等级</strong>（非政府预警）<ul>{rows}</ul>'
        f"<small>{published_at:%Y-%m-%d %H:%M} UTC</small></div>"
    )


def _pin_ids(root: Any) -> None:
    """Give every element an id made of its place in the tree instead of a random one."""
    number = 0
    waiting = [root.get_root()]
    while waiting:
        element = waiting.pop(0)
        number += 1
        element._id = f"ww{number:06d}"
        waiting.extend(element._children.values())
