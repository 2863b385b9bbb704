"""Tables for spreadsheets: CSV that Excel reads in Chinese and that no spreadsheet computes. No I/O."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

BOM = "\ufeff"
# What a spreadsheet takes for a formula when it begins a cell (OWASP, CSV injection), with the full-width forms that
# some turn into these.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def cell(value: Any) -> Any:
    """A value as a cell that no spreadsheet computes: words that begin like a formula get an apostrophe before them."""
    if isinstance(value, str) and value.lstrip(" \u3000").startswith(FORMULA_STARTS):
        return "'" + value
    return value


def as_csv(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table with a line of column names; begins with a byte order mark, for without one Excel garbles Chinese."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\r\n")
    table.writerow(columns)
    for row in rows:
        table.writerow([cell(value) for value in row])
    return BOM + written.getvalue()
