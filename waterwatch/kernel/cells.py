"""Cells of a CSV table that a spreadsheet may open."""

from typing import Any

BOM = "\ufeff"  # without one Excel garbles Chinese
# What a spreadsheet takes for a formula when it begins a cell (OWASP, CSV injection), with the full-width forms that
# some turn into these.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def cell(value: Any) -> Any:
    """A value as a cell that no spreadsheet computes: words that begin like a formula get an apostrophe before them."""
    if isinstance(value, str) and value.lstrip(" \u3000").startswith(FORMULA_STARTS):
        return "'" + value
    return value
