"""What the pages and files of accountability show, put together: columns, their order, shares and what is behind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _l

from waterwatch.accountability.queries import NUMBERS, AgencyRow
from waterwatch.accountability.rules import LEAST_CASES, Figures, Period
from waterwatch.kernel import sheets
from waterwatch.web.language import duration, viewer_language

PAGE = 100
AREA_DIGITS = 6  # of a code by GB/T 2260
NOTICE = "公众观察，非政府考核 · observed by the public, no assessment of an authority"


@dataclass(frozen=True)
class Column:
    """A column of the table: its address, its words, what it is sorted by (None last), whether more comes first."""

    key: str
    words: Any
    value: Callable[[AgencyRow], Any]
    more_first: bool = True


COLUMNS = (
    Column("name", _l("部门"), lambda row: row.agency_code, more_first=False),
    Column("cases", _l("送达的转交"), lambda row: row.figures.cases),
    Column("acknowledged", _l("按时确认收到"), lambda row: row.figures.acknowledged_on_time_percent),
    Column("acknowledge_time", _l("确认用时（中位数）"), lambda row: row.figures.acknowledge_median, more_first=False),
    Column("answered", _l("已答复"), lambda row: row.figures.answered_percent),
    Column("answered_on_time", _l("按时答复"), lambda row: row.figures.answered_on_time_percent),
    Column("answer_time", _l("答复用时（中位数）"), lambda row: row.figures.answer_median, more_first=False),
    Column("clean", _l("公众核实已清洁"), lambda row: row.figures.verified_clean_percent),
    Column("overdue", _l("当时逾期"), lambda row: row.figures.overdue),
)
_BY_KEY = {column.key: column for column in COLUMNS}


@dataclass(frozen=True)
class Order:
    """How the table is sorted: by which column, and whether the other way round."""

    key: str = "cases"
    is_reversed: bool = False

    def address(self, key: str) -> str:
        """What a heading leads to: that column, or the other way round."""
        return f"-{key}" if key == self.key and not self.is_reversed else key

    def standing(self, column: Column) -> str | None:
        """What a heading says of itself (``aria-sort``)."""
        if column.key != self.key:
            return None
        return "descending" if column.more_first != self.is_reversed else "ascending"


def parse_order(asked: str) -> Order:
    """``cases`` or ``-cases``; what cannot be read is not asked."""
    key = asked.removeprefix("-")
    return Order(key, asked.startswith("-")) if key in _BY_KEY else Order()


def in_order(rows: Sequence[AgencyRow], order: Order) -> list[AgencyRow]:
    """Sorted; those without the value come last either way, and equal ones by their code."""
    column = _BY_KEY[order.key]
    if order.key == "name":
        return sorted(rows, key=lambda row: row.agency_code, reverse=order.is_reversed)
    known = [row for row in rows if column.value(row) is not None]
    rest = [row for row in rows if column.value(row) is None]
    is_falling = column.more_first != order.is_reversed
    known.sort(key=lambda row: (-column.value(row) if is_falling else column.value(row), row.agency_code))
    return known + sorted(rest, key=lambda row: row.agency_code)


@dataclass(frozen=True)
class Share:
    """A share as a cell shows it: in percent (None of too few), with the counts behind it.

    ``is_early``: nothing of it can be told yet.
    """

    percent: int | None
    part: int
    whole: int
    is_early: bool = False


def shares_of(figures: Figures) -> dict[str, Share]:
    """The four shares."""
    return {
        "acknowledged": Share(
            figures.acknowledged_on_time_percent, figures.acknowledged_on_time, figures.acknowledge_due
        ),
        "answered": Share(figures.answered_percent, figures.answered, figures.answer_due),
        "answered_on_time": Share(figures.answered_on_time_percent, figures.answered_on_time, figures.answer_due),
        "clean": Share(
            figures.verified_clean_percent,
            figures.verified_clean,
            figures.settle_due,
            is_early=figures.is_clean_too_early,
        ),
    }


def median_words(seconds: float | None) -> str:
    """A median in the viewer's words."""
    if seconds is None:
        return str(gettext("不足 %(least)s 起", least=LEAST_CASES))
    if seconds == float("inf"):
        return str(gettext("过半没有做到"))
    return duration(seconds)


def period_words(code: str) -> str:
    """A period in the viewer's words."""
    period = Period.parse(code)
    if period.months == 1:
        return str(gettext("%(year)s 年 %(month)s 月", year=period.starts_on.year, month=period.starts_on.month))
    return str(gettext("%(year)s 年第 %(quarter)s 季度", year=period.starts_on.year, quarter=code[-1]))


def has_page(area_code: str) -> bool:
    """Whether an area has a page of its own: a basin, which lies across many, has none."""
    return len(area_code) == AREA_DIGITS and area_code.isascii() and area_code.isdigit()


def name_of(row: Any) -> str:
    """A department's name in the viewer's language."""
    return named(row.names, getattr(row, "agency_code", None) or row.code)


def named(names: Mapping[str, str], otherwise: str) -> str:
    """A name in the viewer's language, else in Chinese, else in English, else what it is filed under."""
    return names.get(viewer_language()) or names.get("zh-Hans") or names.get("en") or otherwise


def facts_of(figures: Figures) -> dict[str, Any]:
    """The numbers as programs read them. A median that is not told is null; ``more_than_half_not_done`` says why."""
    facts: dict[str, Any] = {name: getattr(figures, name) for name in NUMBERS if not name.endswith("_median_s")}
    for stage, median in (("acknowledge", figures.acknowledge_median), ("answer", figures.answer_median)):
        facts[f"{stage}_median_s"] = None if median in (None, float("inf")) else round(median or 0)
        facts[f"{stage}_more_than_half_not_done"] = median == float("inf")
    return facts | {
        "acknowledged_on_time_percent": figures.acknowledged_on_time_percent,
        "answered_percent": figures.answered_percent,
        "answered_on_time_percent": figures.answered_on_time_percent,
        "verified_clean_percent": figures.verified_clean_percent,
    }


def _columns() -> list[str]:
    names = ["period", "agency", "name_zh_hans", "kind", "level", "area"]
    return [*names, *facts_of(Figures()), "comment"]


def as_csv(rows: Sequence[AgencyRow]) -> str:
    """The table for spreadsheets."""
    return sheets.as_csv(
        _columns(),
        (
            [
                *(row.period, row.agency_code, row.names.get("zh-Hans"), row.kind, row.level, row.area_code),
                *facts_of(row.figures).values(),
                row.comment,
            ]
            for row in rows
        ),
    )


def as_facts(rows: Sequence[AgencyRow], period: str, public_url: str) -> dict[str, Any]:
    """The table for programs."""
    return {
        "notice": NOTICE,
        "period": period,
        "rules": f"{public_url}/accountability/rules",
        "least_cases": LEAST_CASES,
        "agencies": [
            {
                "agency": row.agency_code,
                "names": row.names,
                "kind": row.kind,
                "level": row.level,
                "area": row.area_code,
                "figures": facts_of(row.figures),
                "comment": row.comment,
                "url": f"{public_url}/accountability/agencies/{row.agency_code}",
            }
            for row in rows
        ],
    }
