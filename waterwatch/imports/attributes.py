"""The columns of a source's rows as they are staged: texts, numbers, names, keys, kinds.

What cannot be taken is a fault. ``faults`` everywhere: row of the batch → (code, detail), the first one found.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from waterwatch.imports import rules
from waterwatch.imports.rules import AREA, BASIN, FLOATS, INTEGERS, MISSING, NAME_ROLES, SLOPE, STEEPEST, ZONE, Layout

POINTS, LINES, POLYGONS = (0,), (1, 5), (3, 6)  # GEOS type ids of Point, (Multi)LineString and (Multi)Polygon
MAX_NAME_CHARACTERS = 200
MAX_SMALLINT = 32_767
CODE = re.compile("[1-9][0-9]{5}")  # GB/T 2260
BASIN_CODE = re.compile("basin-[a-z0-9-]{1,40}")


def attributes_of(
    layout: Layout,
    values: dict[str, NDArray[Any]],
    count: int,
    keys: list[str | None],
    shapes: NDArray[Any],
    faults: dict[int, tuple[str, str]],
) -> dict[str, Sequence[Any]]:
    """What is staged of a row beside its key, its names and its shape."""
    following = _texts(values.get("next_down"), count)
    table: dict[str, Sequence[Any]] = {"next_key": [None if key in ("0", "") else key for key in following]}
    if layout.kind == AREA:
        return table | {"level": _levels(layout, values.get("level"), keys, faults)}
    if layout.kind == ZONE:
        return _zones(layout, values, count, shapes, faults)
    for role in FLOATS:
        table[role] = _numbers(values.get(role), count, faults, role, layout.units.get(role, 1.0))
    for row, slope in enumerate(table[SLOPE] if SLOPE in values else ()):
        if slope is not None and slope > STEEPEST:
            faults.setdefault(row, ("slope_too_steep", f"{slope:g} m/m"))
    for role in INTEGERS:
        limit = None if role == "hybas_l12" else MAX_SMALLINT
        table[role] = _integers(values.get(role), count, faults, role, limit)
    endorheic = _texts(values.get("endorheic"), count)
    table["endorheic"] = [None if value is None else value == "1" for value in endorheic]
    table["water_kind"] = _kinds(layout, values.get("water_kind"), count)
    return table


def _levels(
    layout: Layout, column: NDArray[Any] | None, keys: list[str | None], faults: dict[int, tuple[str, str]]
) -> list[str | None]:
    """An area's level: as the source says, else as its code does."""
    levels: list[str | None] = []
    for row, (key, said) in enumerate(zip(keys, _texts(column, len(keys)), strict=True)):
        level = layout.water_kinds.get(said, said) if said else rules.level_of(key or "")
        if key is not None and not (BASIN_CODE if level == BASIN else CODE).fullmatch(key):
            faults.setdefault(row, ("code_unreadable", key))
        if level not in rules.LEVELS:
            faults.setdefault(row, ("level_unknown", level))
        levels.append(level)
    return levels


def _zones(
    layout: Layout,
    values: dict[str, NDArray[Any]],
    count: int,
    shapes: NDArray[Any],
    faults: dict[int, tuple[str, str]],
) -> dict[str, Sequence[Any]]:
    """A zone's kind, and its grade where its kind has grades; an intake is a point, all others are areas."""
    said = _texts(values.get("zone_kind"), count)
    kinds = [layout.water_kinds.get(one, one) if one else layout.default_kind for one in said]
    grades = _integers(values.get("grade"), count, faults, "grade", MAX_SMALLINT)
    types = shapely.get_type_id(shapes).tolist()
    for row, (kind, grade, shape_type) in enumerate(zip(kinds, grades, types, strict=True)):
        known = rules.ZONE_GRADES.get(kind)
        if known is None:
            faults.setdefault(row, ("zone_kind_unknown", kind))
        elif grade is not None and grade not in known:
            faults.setdefault(row, ("grade_unknown", f"{kind}: {grade}"))
        elif shape_type not in (POINTS if kind == "intake" else POLYGONS) and shape_type >= 0:
            faults.setdefault(row, ("geometry_type", str(shapes[row].geom_type)))
    return {"zone_kind": kinds, "grade": grades}


def _kinds(layout: Layout, column: NDArray[Any] | None, count: int) -> list[str]:
    given = _texts(column, count)
    return [layout.water_kinds.get(value or "", layout.default_kind) for value in given]


def _texts(column: NDArray[Any] | None, count: int = 0) -> list[str | None]:
    """Values as trimmed text; what is empty, not a number or HydroSHEDS' mark for "unknown" is None."""
    if column is None:
        return [None] * count
    if column.dtype.kind in "iu":
        return [str(value) for value in column.tolist()]
    return [_text(value) for value in column.tolist()]


def _text(value: Any) -> str | None:
    if value is None or value != value:  # noqa: PLR0124  # not a number
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).replace("\0", "").strip() or None


def _numbers(
    column: NDArray[Any] | None, count: int, faults: dict[int, tuple[str, str]], role: str, units: float = 1.0
) -> list[float | None]:
    """A column's numbers; ``units`` of the source's make one of ours."""
    if column is None:
        return [None] * count
    try:
        values = column.astype(np.float64)
    except (TypeError, ValueError):
        values = np.array([_as_number(value, row, faults, role) for row, value in enumerate(column.tolist())])
    unknown = np.isnan(values) | (values == MISSING)
    for row in np.flatnonzero(~unknown & ((values < 0) | np.isinf(values))).tolist():
        faults.setdefault(row, ("number_out_of_range", f"{role} = {values[row]:g}"))
    values = values / units
    if not unknown.any():
        return list(values.tolist())
    return [None if missing else value for value, missing in zip(values.tolist(), unknown.tolist(), strict=True)]


def _as_number(value: Any, row: int, faults: dict[int, tuple[str, str]], role: str) -> float:
    if value is None or value == "":
        return np.nan
    try:
        return float(value)
    except (TypeError, ValueError):
        faults.setdefault(row, ("not_a_number", f"{role} = {str(value)[:40]}"))
        return np.nan


def _integers(
    column: NDArray[Any] | None, count: int, faults: dict[int, tuple[str, str]], role: str, limit: int | None
) -> list[int | None]:
    numbers = _numbers(column, count, faults, role)
    for row, number in enumerate(numbers if column is not None else []):
        if number is not None and limit is not None and number > limit:
            faults.setdefault(row, ("number_out_of_range", f"{role} = {number:g}"))
    return [None if number is None else int(number) for number in numbers]


def names_of(values: dict[str, NDArray[Any]], count: int) -> dict[str, Sequence[Any]]:
    """Columns ``zh_hans``, ``zh_hant``, ``en`` and ``aliases`` (tab-separated)."""
    found: dict[str, list[str | None]] = {lang: [None] * count for lang in ("zh-Hans", "zh-Hant", "en")}
    for role in NAME_ROLES:
        if role not in values:
            continue
        for row, name in enumerate(_texts(values[role])):
            if name:
                lang = rules.languages_of(name, role)
                found[lang][row] = found[lang][row] or name[:MAX_NAME_CHARACTERS]
    aliases = _texts(values.get("alias"), count)
    split = ["\t".join(part.strip() for part in text.split(";") if part.strip()) if text else None for text in aliases]
    return {"zh_hans": found["zh-Hans"], "zh_hant": found["zh-Hant"], "en": found["en"], "aliases": split}


def keys_of(values: dict[str, NDArray[Any]], shapes: NDArray[Any]) -> list[str | None]:
    """The source's own keys; of a source that gives none, a digest of the shape: the same shape is the same water.

    Where a layer numbers relations and closed ways apart (OpenStreetMap's areas), a way's number gets a sign.
    """
    if "key" not in values:
        return _digests(shapes)
    keys = _texts(values["key"])
    if "key.else" not in values:
        return keys
    others = _texts(values["key.else"])
    return [key or (other and f"way-{other}") for key, other in zip(keys, others, strict=True)]


def _digests(shapes: NDArray[Any]) -> list[str | None]:
    """A key for rows of a source that gives none: the same shape is the same water."""
    return [
        None if wkb is None else hashlib.blake2b(wkb, digest_size=8).hexdigest()
        for wkb in shapely.to_wkb(shapes).tolist()
    ]
