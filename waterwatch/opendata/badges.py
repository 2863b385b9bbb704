"""A water's level as a small picture other sites may show. SVG by hand: two rectangles, two texts. No I/O."""

import unicodedata

from markupsafe import Markup, escape

from waterwatch.opendata.feeds import writable

# The map's colours, with ink that can be read on each (WCAG 2: at least 4.5 : 1).
COLOURS = {None: ("#5d6f79", "#ffffff"), 1: ("#1a5fb4", "#ffffff"), 2: ("#e8b500", "#22343f"),
           3: ("#f07800", "#22343f"), 4: ("#c01f2a", "#ffffff")}  # fmt: skip
NAME_MAX_CHARACTERS = 24
HEIGHT_PX, PADDING_PX = 28, 10
WIDE_PX, NARROW_PX = 13.0, 7.4  # of a character at 13 px
_SVG = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    ' role="img" aria-label="{name}: {level}" lang="{language}"><title>{name}: {level}</title>'
    '<clipPath id="r"><rect width="{width}" height="{height}" rx="5"/></clipPath>'
    '<g clip-path="url(#r)"><rect width="{split}" height="{height}" fill="#22343f"/>'
    '<rect x="{split}" width="{rest}" height="{height}" fill="{fill}"/></g>'
    '<g font-family="PingFang SC,Microsoft YaHei,Noto Sans CJK SC,Noto Sans CJK TC,sans-serif" font-size="13">'
    '<text x="{name_x}" y="18.5" textLength="{name_px}" fill="#ffffff">{name}</text>'
    '<text x="{level_x}" y="18.5" textLength="{level_px}" fill="{ink}">{level}</text></g></svg>'
)


def draw_badge(name: str, level: int | None, words: str, language: str) -> str:
    """The badge: a water's name, and its level in words on its colour. Everything in it is escaped."""
    name = _short(" ".join(writable(name).split()))
    name_px, level_px = _width_px(name), _width_px(words)
    split = round(name_px + 2 * PADDING_PX)
    rest = round(level_px + 2 * PADDING_PX)
    fill, ink = COLOURS[level]
    return str(
        _SVG.format(
            width=split + rest,
            height=HEIGHT_PX,
            split=split,
            rest=rest,
            fill=fill,
            ink=ink,
            name=escape(name),
            level=escape(words),
            language=language,
            name_x=PADDING_PX,
            name_px=round(name_px, 1),
            level_x=split + PADDING_PX,
            level_px=round(level_px, 1),
        )
    )


def _short(name: str) -> str:
    return name if len(name) <= NAME_MAX_CHARACTERS else name[: NAME_MAX_CHARACTERS - 1] + "…"


def _width_px(words: str) -> float:
    return sum(WIDE_PX if unicodedata.east_asian_width(one) in "WFA" else NARROW_PX for one in words) or 1.0
