"""Folium pages: the map for phones without WebGL, for embedding and for print. Every asset is our own.

Folium calls five foreign hosts by default; here each class's assets are replaced by one local Leaflet. Its popups are
raw HTML, so every text is escaped; it compiles what it is given, so it is given no text (``insets``); its element ids
are random, so they are pinned: equal states give equal pages. One page holds all three languages: a page on a static
host has nobody to ask which one its viewer reads.
"""

from collections.abc import Callable
from typing import Any, cast

import folium
from branca.element import Element, Figure

from waterwatch.mapping.insets import Insets, plain
from waterwatch.mapping.publishing_queries import Marker, PlaceView
from waterwatch.mapping.publishing_words import (
    CHANGED,
    COUNTS,
    INCIDENT,
    LANGUAGES,
    LEFT_OUT,
    LEVEL_WORDS,
    LIST,
    NATIONAL,
    NEAR,
    NO_SCRIPT,
    NONE,
    NOT_OFFICIAL,
    OPEN_LIVE,
    OPENED_ON,
    REACHED,
    SITE,
    kind_in,
    name_in,
    say,
)
from waterwatch.mapping.queries import LevelledWater
from waterwatch.mapping.rules import GROUND_COLOUR, LAKE_COLOUR, LEVEL_COLOURS, LEVEL_WIDTHS_PX, WATER_COLOUR

LISTED_AT_MOST = 60
QUIET_COLOUR = "#5d7f92"
# The page runs one script of its own beside folium's: which language is shown. ``?lang=en`` chooses.
_CHOOSE = """
(function(){var l=new URLSearchParams(location.search).get('lang'),h=document.documentElement;
if(['zh-Hans','zh-Hant','en'].indexOf(l)<0)l='zh-Hans';h.lang=l;
var t=h.getAttribute('data-title-'+l.toLowerCase());if(t)document.title=t})()
"""
_STYLE = (
    """
<style>
html,body{margin:0;padding:0;height:auto}body{display:flex;flex-direction:column;min-height:100vh;color:#22343f;background:#fff;
font:15px/1.6 'PingFang SC','Noto Sans CJK SC','Microsoft YaHei',sans-serif}
[data-l]{display:none}html[lang=zh-Hans] [data-l=zh-Hans],html[lang=zh-Hant] [data-l=zh-Hant],
html[lang=en] [data-l=en]{display:inline}
.ww-head{padding:10px 14px 8px}.ww-head h1{margin:0;font-size:19px;line-height:1.3}.ww-head p{margin:2px 0 0}
.ww-quiet{color:#4a616d;font-size:13px}
.ww-head nav{float:right;font-size:13px}.ww-head nav a{display:inline-block;padding:12px 6px}
.folium-map{position:relative!important;width:100%!important;height:62vh!important;min-height:260px;order:1}
.ww-foot{order:2}
.leaflet-container.leaflet-container{background:GROUND;font:inherit}
.ww-legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:8px 14px;padding:0;list-style:none}
.ww-near{height:6px;background:repeating-linear-gradient(90deg,#f07800 0 5px,transparent 5px 9px)}
.ww-legend i{display:inline-block;width:26px;margin-right:8px;vertical-align:middle}
.ww-list{margin:0 14px 18px;padding:0;list-style:none;display:grid;gap:0 24px;
grid-template-columns:repeat(auto-fill,minmax(min(260px,100%),1fr))}
.ww-list a{display:flex;gap:8px;min-height:44px;align-items:center;color:inherit}
.ww-list i{flex:none;width:12px;height:12px;border-radius:3px}h2{margin:14px 14px 4px;font-size:16px}
.ww-picture{max-width:100%}
@media screen and (prefers-color-scheme:dark){html{color-scheme:dark}body{color:#e4ebee;background:#10181d}
.ww-quiet{color:#a3b3bb}a{color:#8ec3da}.leaflet-container.leaflet-container{background:#131c21}
path[stroke="RIVER"]{stroke:#3d6379}path[fill="LAKE"]{fill:#233c49}
.leaflet-container.leaflet-container a{color:#8ec3da}.leaflet-container .leaflet-bar.leaflet-bar a,
.leaflet-container .leaflet-popup-content-wrapper,.leaflet-container .leaflet-popup-tip{
background:#18232a;color:#e4ebee}
.ww-picture{filter:brightness(.85)}}
@media print{*{print-color-adjust:exact;-webkit-print-color-adjust:exact}.folium-map{height:420px!important}
.ww-head nav,.leaflet-control{display:none}.ww-list a{min-height:0}}
</style>
""".replace("GROUND", GROUND_COLOUR)
    .replace("RIVER", WATER_COLOUR)
    .replace("LAKE", LAKE_COLOUR)
)


def place_page(place: PlaceView, *, vendor: str, links: str, time: str) -> str:
    """One place as a page of its own, besides Leaflet in the folder ``vendor`` next to it.

    ``links``: where the application's addresses begin, empty where it shares the page's host. ``time``: of the data,
    as a Chinese clock shows it. Waters and incidents come worst first and bounded, see ``queries``.
    """
    insets = Insets()
    west, south, east, north = place.bounds
    still: Any = {"zoom_animation": False, "fade_animation": False}  # an old phone draws each step of one anew
    page = folium.Map(tiles=None, attributionControl=False, zoom_snap=0.25, **still)
    page.default_js = [("leaflet", f"{vendor}/leaflet.js")]
    page.default_css = [("leaflet_css", f"{vendor}/leaflet.css")]
    page.fit_bounds([[south, west], [north, east]])
    _layer([{"geometry": geometry, "properties": {}} for geometry in place.background], _pale).add_to(page)
    if place.near:
        reached = _layer([_water_feature(water, links, insets, is_near=True) for water in place.near], _hatched)
        reached.add_child(folium.GeoJsonPopup(fields=["words"], labels=False))
        reached.add_to(page)
    if place.waters:
        coloured = _layer([_water_feature(water, links, insets) for water in place.waters], _coloured)
        coloured.add_child(folium.GeoJsonPopup(fields=["words"], labels=False))
        coloured.add_to(page)
    if place.markers:
        points = _layer([_marker_feature(marker, links, insets) for marker in place.markers], _dot, is_point=True)
        points.add_child(folium.GeoJsonPopup(fields=["words"], labels=False))
        points.add_to(page)
    figure = cast(Figure, page.get_root())
    _furnish(figure, place, insets, links=links, time=time)
    _pin_ids(page)
    return insets.fill(_with_language(figure.render(), insets, place))


def _furnish(figure: Figure, place: PlaceView, insets: Insets, *, links: str, time: str) -> None:
    """Title, head, legend and list around the map."""
    policy = (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'"
    )
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<script>{_CHOOSE}</script>{_STYLE}"
    )
    figure.title = insets.html(_full_title(place, LANGUAGES[0]))
    figure.header.add_child(Element(insets.html(head)), name="ww_head")
    figure.html.add_child(Element(insets.html(_head(place, time))), name="ww_top", index=0)
    figure.html.add_child(Element(insets.html(_foot(place, links))), name="ww_foot")


def title_of(place: PlaceView, language: str) -> str:
    """What the page is of."""
    return say(language, NATIONAL) if place.key == "national" else name_in(language, place.names, place.key)


def _full_title(place: PlaceView, language: str) -> str:
    return plain(f"{title_of(place, language)} · {say(language, SITE)}")


def _head(place: PlaceView, time: str) -> str:
    counts = {"waters": place.coloured, "incidents": place.incidents}
    names = {"zh-Hans": "简体", "zh-Hant": "繁體", "en": "English"}
    switch = "".join(f'<a href="?lang={language}" lang="{language}">{names[language]}</a>' for language in LANGUAGES)
    picture = place.key.rpartition("/")[2]
    reached = f"<p>{_said(lambda to: say(to, REACHED, waters=place.reached))}</p>" if place.reached else ""
    left_out = {"waters": place.coloured - place.drawn, "incidents": place.incidents - len(place.markers)}
    more = (
        f'<p class="ww-quiet">{_said(lambda to: say(to, LEFT_OUT, **left_out))}</p>' if any(left_out.values()) else ""
    )
    return (
        f'<header class="ww-head"><nav>{switch}</nav><h1>{_said(lambda to: title_of(place, to))}</h1>'
        f"<p><strong>{_said(lambda to: say(to, NOT_OFFICIAL))}</strong></p>"
        f"<p>{_said(lambda to: say(to, COUNTS, **counts))}</p>{reached}"
        f'<p class="ww-quiet">{_said(lambda to: say(to, CHANGED, time=time))} {more}</p></header>'
        f"<noscript><p>{_said(lambda to: say(to, NO_SCRIPT))}</p>"
        f'<img class="ww-picture" src="{plain(picture)}.png" alt=""></noscript>'
    )


def _foot(place: PlaceView, links: str) -> str:
    legend = "".join(
        f'<li><i style="background:{_colour(level)};height:{LEVEL_WIDTHS_PX.get(level, 2)}px"></i>{_level(level)}</li>'
        for level in (4, 3, 2, 1, 0)
    )
    legend += f'<li><i class="ww-near"></i>{_said(lambda to: say(to, NEAR))}</li>'
    worst: dict[str, LevelledWater] = {}
    for water in place.waters:
        if water.level and len(worst) < LISTED_AT_MOST:
            worst.setdefault(water.public_id, water)
    rows = "".join(
        f'<li><a href="{plain(links)}/w/{plain(water.public_id)}" target="_top">'
        f'<i style="background:{_colour(water.level)}"></i><span>{_name(water)} · {_level(water.level)}</span></a></li>'
        for water in worst.values()
    )
    body = f'<ul class="ww-list">{rows}</ul>' if rows else f'<p class="ww-head">{_said(lambda to: say(to, NONE))}</p>'
    live = f'<p class="ww-head"><a href="{plain(links)}/" target="_top">{_said(lambda to: say(to, OPEN_LIVE))}</a></p>'
    title = _said(lambda to: say(to, LIST))
    return f'<div class="ww-foot"><ul class="ww-legend">{legend}</ul><h2>{title}</h2>{body}{live}</div>'


def _name(water: LevelledWater) -> str:
    return _said(lambda to: name_in(to, water.names, water.public_id))


def _level(level: int) -> str:
    return _said(lambda to: say(to, LEVEL_WORDS[level]))


def _said(in_language: Callable[[str], str]) -> str:
    """One sentence in all languages, of which the page shows one; escaped."""
    return "".join(
        f'<span data-l="{language}" lang="{language}">{plain(in_language(language))}</span>' for language in LANGUAGES
    )


def _layer(
    features: list[dict[str, Any]], style: Callable[[dict[str, Any]], dict[str, Any]], *, is_point: bool = False
) -> folium.GeoJson:
    collection = {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "id": str(number), **feature} for number, feature in enumerate(features)],
    }
    marker = folium.CircleMarker(radius=7, weight=2, color="#fff", fill_opacity=1) if is_point else None
    layer = folium.GeoJson(collection, style_function=style, marker=marker)
    for kind in ("default_js", "default_css"):  # of folium's mixin, which its types do not name
        setattr(layer, kind, [])
    return layer


def _colour(level: int) -> str:
    return LEVEL_COLOURS.get(level, QUIET_COLOUR)


def _pale(_feature: dict[str, Any]) -> dict[str, Any]:
    return {"color": WATER_COLOUR, "weight": 1, "fillColor": LAKE_COLOUR, "fillOpacity": 1, "interactive": False}


def _coloured(feature: dict[str, Any]) -> dict[str, Any]:
    level = feature["properties"]["level"]
    colour = _colour(level)
    return {
        "color": colour,
        "weight": LEVEL_WIDTHS_PX.get(level, 1.0) + 2,
        "fillColor": colour,
        "fillOpacity": 0.6 if level else 0.25,
    }


def _hatched(feature: dict[str, Any]) -> dict[str, Any]:
    """What only comes is dashed: never the look of what is there."""
    level = feature["properties"]["level"]
    colour = _colour(level)
    width_px = LEVEL_WIDTHS_PX.get(level, 1.0) + 2
    dashes = f"{width_px:.0f} {width_px:.0f}"
    look = {"color": colour, "weight": width_px, "dashArray": dashes, "lineCap": "butt"}
    return look | {"fillColor": colour, "fillOpacity": 0.15}


def _dot(feature: dict[str, Any]) -> dict[str, Any]:
    return {"fillColor": _colour(feature["properties"]["level"])}


def _water_feature(water: LevelledWater, links: str, insets: Insets, *, is_near: bool = False) -> dict[str, Any]:
    """A popup's words are raw HTML to folium: every text in them is escaped here."""
    to_water = f'<a href="{plain(links)}/w/{plain(water.public_id)}" target="_top">{_name(water)}</a>'
    near = f"{_said(lambda to: say(to, NEAR))}<br>" if is_near else ""
    words = f"{to_water}<br>{near}{_level(water.level)}"
    return {"geometry": water.geometry, "properties": {"level": water.level, "words": insets.string(words)}}


def _marker_feature(marker: Marker, links: str, insets: Insets) -> dict[str, Any]:
    kind = _said(lambda to: f"{say(to, INCIDENT)} {marker.code} · {kind_in(to, marker.kind)}")
    since = _said(lambda to: say(to, OPENED_ON, date=f"{marker.opened_on:%Y-%m-%d}"))
    to_incident = f'<a href="{plain(links)}/i/{plain(marker.code)}" target="_top">{kind}</a>'
    words = f"{to_incident}<br>{_level(marker.severity)}<br>{since}"
    point = {"type": "Point", "coordinates": [round(marker.lon, 5), round(marker.lat, 5)]}
    return {"geometry": point, "properties": {"level": marker.severity, "words": insets.string(words)}}


def _with_language(shell: str, insets: Insets, place: PlaceView) -> str:
    """Folium's page says nothing of its language; without script it is simplified Chinese."""
    titles = " ".join(f'data-title-{language.lower()}="{_full_title(place, language)}"' for language in LANGUAGES)
    return shell.replace("<html>", f'<html lang="{LANGUAGES[0]}" {insets.html(titles)}>', 1)


def _pin_ids(root: Any) -> None:
    """Give every element an id made of its place in the tree instead of a random one."""
    number = 0
    waiting = [root.get_root()]
    while waiting:
        element = waiting.pop(0)
        number += 1
        element._id = f"ww{number:06d}"
        waiting.extend(element._children.values())
