"""What the public pages show, put together: names in the reader's language, the past as a chart, links to the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask_babel import get_locale

from waterwatch.mapping.history import History, Week
from waterwatch.web.house import house


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
