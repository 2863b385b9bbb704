"""The charts of a bulletin, as SVG; the only importer of pygal. Each value is written at its bar, for black and white.

Drawn from the same numbers, a chart is the same letter for letter.
"""

import math
import re
import sys
from collections.abc import Mapping, Sequence

import pygal
from pygal.style import Style

from waterwatch.mapping.rules import INK_COLOUR, LEVEL_COLOURS

# The library looks for plugins of its own whenever anything is imported, in a manner Python gave up. There are none.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != "PluginImportFixer"]

FONTS = "Noto Sans CJK SC, Noto Sans CJK TC, sans-serif"
QUIET = ("#245a74", "#b9cbd3")  # this period and the one before: dark and pale also without colour
# The library writes the day it draws on; and rules for the whole, whose name it leaves out.
_NEEDLESS = re.compile(r"<!--.*?-->|(?<=[>}])\s*\{[^{}]*\}", re.S)


def levels_by_month(
    months: Sequence[str], by_month: Mapping[str, Mapping[int, int]], names: Mapping[int, str]
) -> bytes:
    """Incidents opened in each month, stacked by severity rank; ``names`` of the ranks."""
    most = max((sum(by_month.get(month, {}).values()) for month in months), default=0)
    chart = _make(pygal.StackedBar, [LEVEL_COLOURS[rank] for rank in sorted(names)], height=280)
    chart.range = (0, max(4, math.ceil(most * 1.1)))
    chart.x_labels = list(months)
    for rank in sorted(names):
        chart.add(names[rank], [by_month.get(month, {}).get(rank, 0) or None for month in months])
    return _drawn(chart)


def kinds_compared(
    now: Mapping[str, int], before: Mapping[str, int], names: Mapping[str, str], *, this: str, last: str
) -> bytes:
    """Incidents by kind in this period and in the one before, the commonest first; at most eight kinds."""
    kinds = sorted(now.keys() | before.keys(), key=lambda kind: (-now.get(kind, 0), -before.get(kind, 0), kind))[7::-1]
    chart = _make(pygal.HorizontalBar, list(QUIET), height=90 + 42 * max(1, len(kinds)))
    chart.x_labels = [names[kind] for kind in kinds]
    chart.margin_left = 70  # it takes Chinese for as narrow as Latin
    chart.range = (0, max(4, math.ceil(max([*now.values(), *before.values(), 0]) * 1.1)))
    chart.add(this, [now.get(kind, 0) for kind in kinds])
    chart.add(last, [before.get(kind, 0) for kind in kinds])
    return _drawn(chart)


def _make(kind: type, colours: Sequence[str], *, height: int) -> pygal.graph.graph.Graph:
    style = Style(
        background="white",
        plot_background="white",
        foreground=INK_COLOUR,
        foreground_strong=INK_COLOUR,
        foreground_subtle="#c3ced3",
        colors=tuple(colours),
        opacity="1",
        transition="0s",
        font_family=FONTS,
        label_font_size=13,
        major_label_font_size=13,
        value_font_size=13,
        legend_font_size=13,
        no_data_font_size=16,
        value_colors=(INK_COLOUR,) * len(colours),
    )
    return kind(
        style=style,
        width=700,
        height=height,
        js=[],
        no_prefix=True,
        disable_xml_declaration=True,
        legend_at_bottom=True,
        legend_box_size=13,
        print_values=True,
        print_values_position="center" if kind is pygal.StackedBar else "top",
        print_zeroes=False,
        show_y_guides=True,
        min_scale=1,
        max_scale=5,
        order_min=0,
        value_formatter=lambda value: f"{value:.0f}" if value is not None else "",
        margin=8,
        spacing=8,
        truncate_legend=-1,
        truncate_label=-1,
        no_data_text="没有事件",
    )


def _drawn(chart: pygal.graph.graph.Graph) -> bytes:
    written = chart.render(is_unicode=True)
    return _NEEDLESS.sub("", written).encode()
