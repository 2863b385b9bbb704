"""What the public pages show, put together: names in the reader's language, the past as a chart, links to the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from flask_babel import get_locale, gettext

from waterwatch.advisories import telling
from waterwatch.advisories.rules import Window
from waterwatch.kernel.clock import utc_now
from waterwatch.mapping.history import History, Week
from waterwatch.web.house import house
from waterwatch.web.language import viewer_language, viewer_zone
from waterwatch.web.windows import MAYBE_THERE, window_words


@dataclass(frozen=True)
class DataLinks:
    """Where a page's data and feed are, as paths."""

    geojson: str
    csv: str
    feed: str


def name_in_language(names: Mapping[str, str], fallback: str) -> str:
    """A name in the viewer's language, else in Chinese, else in English, else what it is filed under."""
    locale = str(get_locale() or "zh_Hans").replace("_", "-")
    return names.get(locale) or names.get("zh-Hans") or names.get("en") or fallback


def public_url() -> str:
    """The address of this installation, without the last slash."""
    return house().settings.public_url.rstrip("/")


def eventful(history: History) -> list[Week]:
    """The weeks in which anything was, newest first: what the table beside the chart lists."""
    return [week for week in reversed(history.weeks) if week.level or week.reports]


def chart_of(history: History) -> dict[str, Sequence[Any]]:
    """The columns the chart draws: Mondays, levels (0 to 4), reports."""
    return {
        "mondays": [week.monday.isoformat() for week in history.weeks],
        "levels": [week.level for week in history.weeks],
        "reports": [week.reports for week in history.weeks],
    }


def published_url() -> str:
    """Where the published map lies, without the last slash."""
    settings = house().settings
    return (settings.published_url or f"{public_url()}/published").rstrip("/")


def arrival_words(window: Window) -> str:
    """When something is expected, on the viewer's clock; once its window is over, that it may be there."""
    now = utc_now()
    words = window_words(window.earliest, window.probable, viewer_language(), now=now, zone=ZoneInfo(viewer_zone()))
    if window.probable is not None and window.probable < now:
        return str(gettext("%(maybe)s（预计 %(window)s）", maybe=MAYBE_THERE, window=words))
    return words


def km_words(distance_km: float) -> str:
    """Tenths of a kilometre near by; far away they would only feign exactness."""
    return f"{max(0.1, distance_km):.1f}" if distance_km < 9.95 else f"{distance_km:.0f}"


def passage_words(passage_s: float | None) -> str:
    """How long it takes to pass, as an order of magnitude; empty where it is not known."""
    return telling.passage_words(passage_s, viewer_language()) or ""


def unit_peak_words(unit_peak: float | None) -> str:
    """How high the peak is for each kilogram, as an order of magnitude; empty where it is not known."""
    return telling.unit_peak_words(unit_peak, viewer_language()) or ""


def magnitudes_words() -> str:
    """What these orders of magnitude are, and how far they may be wrong: once beside them."""
    return str(telling.MAGNITUDES)
