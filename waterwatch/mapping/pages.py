"""Folium pages: the map for phones without WebGL, for embedding and for print. Every asset is our own.

Folium calls five foreign hosts by default; here each class's assets are replaced by one local Leaflet. Its popups are
raw HTML, so every text is escaped; its element ids are random, so they are pinned and two equal states give equal pages.
"""

import json
from datetime import datetime
from html import escape
from typing import Any

import folium
from branca.element import Element

from waterwatch.mapping.queries import LevelledWater
from waterwatch.mapping.rules import GROUND_COLOUR, LEVEL_COLOURS, LEVEL_WIDTHS_PX

CHINA_CENTRE = (34.5, 106.0)
LOCAL_JS = [("leaflet", "vendor/leaflet.js")]
LOCAL_CSS = [("leaflet_css", "vendor/leaflet.css")]
LEVEL_NAMES = {1: "蓝色·一般", 2: "黄色·较大", 3: "橙色·重大", 4: "红色·特别重大"}


def national_page(waters: list[LevelledWater], *, published_at: datetime) -> str:
    """The country's coloured waters as one self-contained page (besides Leaflet next to it)."""
    page = folium.Map(location=list(CHINA_CENTRE), zoom_start=4, tiles=None, attributionControl=False)
    page.default_js, page.default_css = LOCAL_JS, LOCAL_CSS
    for water in waters:
        _draw(water).add_to(page)
    page.get_root().html.add_child(Element(_legend(published_at)))
    page.get_root().header.add_child(Element(f"<style>.leaflet-container{{background:{GROUND_COLOUR}}}</style>"))
    _pin_ids(page)
    return str(page.get_root().render())


def _draw(water: LevelledWater) -> folium.GeoJson:
    colour = LEVEL_COLOURS[water.level]
    name = escape(water.names.get("zh-Hans") or water.names.get("en") or water.public_id)
    style = {"color": colour, "weight": LEVEL_WIDTHS_PX[water.level], "fillColor": colour, "fillOpacity": 0.45}
    feature: dict[str, Any] = {"type": "Feature", "geometry": water.geometry, "properties": {}}
    drawn = folium.GeoJson(json.dumps(feature), style_function=lambda _feature: style)
    drawn.default_js, drawn.default_css = [], []
    words = f'<a href="/w/{escape(water.public_id)}" target="_top">{name}</a><br>{LEVEL_NAMES[water.level]}'
    drawn.add_child(folium.Popup(words, max_width=240))
    return drawn


def _legend(published_at: datetime) -> str:
    rows = "".join(
        f'<li><span style="background:{LEVEL_COLOURS[level]};height:{LEVEL_WIDTHS_PX[level]}px"></span>{name}</li>'
        for level, name in sorted(LEVEL_NAMES.items(), reverse=True)
    )
    return (
        "<style>.ww-legend{position:absolute;z-index:900;left:12px;bottom:12px;background:#fffffff0;padding:10px 14px;"
        "font:14px/1.6 'PingFang SC','Noto Sans CJK SC',sans-serif;border-radius:8px}.ww-legend ul{margin:0;padding:0;"
        "list-style:none}.ww-legend span{display:inline-block;width:26px;margin-right:8px;vertical-align:middle}</style>"
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
