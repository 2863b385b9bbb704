"""What a spreadsheet of departments or river chiefs says, row by row, or all that is wrong with it."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from waterwatch.agencies.tables import AGENCY_KINDS, AGENCY_LEVELS, BASIN, BASIN_AUTHORITY, LEVELS, WATERWORKS
from waterwatch.messaging.email import is_address
from waterwatch.reports.tables import KINDS as OBSERVATION_KINDS

CODE = re.compile("[a-z0-9][a-z0-9-]{1,60}")
CHANNELS = ("email",)
BY_RULES = "rules"
SEVERITIES = ("1", "2", "3", "4")
LANGUAGES = {"zh_hans": "zh-Hans", "zh_hant": "zh-Hant", "en": "en"}
DEPARTMENT_COLUMNS = ("code", "kind", "jurisdiction", "zh_hans")
CHIEF_COLUMNS = ("water", "jurisdiction", "title")
MAX_CHARACTERS = 2000

Row = Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one row. ``row`` counts from 1 and does not count the header."""

    row: int
    key: str
    code: str
    detail: str = ""


class SheetRefused(ValueError):
    """A file that is no such spreadsheet. ``code`` is stable; ``facts`` are values a sentence may need."""

    def __init__(self, code: str, **facts: str) -> None:
        self.code = code
        self.facts = facts
        super().__init__(f"{code} {facts}")


@dataclass(frozen=True)
class Department:
    """An agency as a row gives it. ``level`` None: its area's. ``duties``: (kind of observation or all, from rank)."""

    row: int
    code: str
    kind: str
    level: str | None
    jurisdiction: str
    parent: str | None
    names: Mapping[str, str]
    duties: tuple[tuple[str | None, int], ...]
    channel: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Chief:
    """A river chief as a row gives it. ``water``: a water's page address, or ``source:key`` of one of its reaches."""

    row: int
    water: str
    jurisdiction: str
    title: str
    name: str | None
    email: str | None
    phone: str | None


def rows_of(raw: bytes, columns: Sequence[str], encoding: str = "UTF-8") -> list[Row]:
    """The rows of a CSV file by column, trimmed. Raises :class:`SheetRefused`."""
    try:
        text = raw.decode("utf-8-sig" if encoding.upper().replace("-", "") == "UTF8" else encoding)
    except (UnicodeDecodeError, LookupError):
        raise SheetRefused("encoding_unknown", tried=encoding) from None
    try:
        read = csv.DictReader(io.StringIO(text, newline=""), strict=True, restkey="")
        has = [name.strip() for name in read.fieldnames or ()]
        missing = [column for column in columns if column not in has]
        if missing:
            raise SheetRefused("column_missing", column=", ".join(missing), has=", ".join(has))
        read.fieldnames = has
        return [{name: (value or "").strip() for name, value in row.items() if name} for row in read]
    except csv.Error as fault:
        raise SheetRefused("file_unreadable", reason=str(fault)) from None


def departments_of(rows: Iterable[Row]) -> tuple[list[Department], list[Fault]]:
    """Every row as a department, and all faults of all rows; a row with a fault is no department."""
    made, faults, seen = [], [], dict[str, int]()
    for number, row in enumerate(rows, 1):
        code = row["code"]
        found = list(_faults_of_department(row))
        if code and seen.setdefault(code, number) != number:
            found.append(("key_doubled", f"row {seen[code]}"))
        faults += [Fault(number, code, fault, detail) for fault, detail in found]
        if not found:
            made.append(_department(number, row))
    return made, faults


def chiefs_of(rows: Iterable[Row]) -> tuple[list[Chief], list[Fault]]:
    """Every row as a river chief, and all faults of all rows."""
    made, faults, seen = [], [], dict[tuple[str, ...], int]()
    for number, row in enumerate(rows, 1):
        key = tuple(row[column] for column in CHIEF_COLUMNS)
        found = [("value_missing", column) for column in CHIEF_COLUMNS if not row[column]]
        found += too_long(row)
        if row.get("email") and not is_address(row["email"]):
            found.append(("address_unreadable", row["email"]))
        if seen.setdefault(key, number) != number:
            found.append(("key_doubled", f"row {seen[key]}"))
        faults += [Fault(number, row["water"], fault, detail) for fault, detail in found]
        if not found:
            told = (row.get(column) or None for column in ("name", "email", "phone"))
            made.append(Chief(number, *key, *told))
    return made, faults


def faults_of_parent(level: str, area: str, parent_level: str, parent_area: str) -> Iterator[str]:
    """Why an agency cannot answer to another: not above it by level, or not by area, both known by GB/T 2260's codes.

    A code's pairs of digits name province, prefecture and county, so what lies in an area begins as its code does.
    """
    if level not in LEVELS or parent_level not in LEVELS or LEVELS.index(parent_level) >= LEVELS.index(level):
        yield "parent_not_above"
    elif not area.startswith(parent_area[:2] if parent_level == "province" else parent_area[:4]):
        yield "parent_elsewhere"


def is_level_of_kind(kind: str, level: str, area_level: str) -> bool:
    """Whether basins have their authorities, and nobody else has basins."""
    return (kind == BASIN_AUTHORITY) == (level == BASIN) == (area_level == BASIN)


def circles_of(parent_of: Mapping[str, str]) -> Iterator[list[str]]:
    """Every circle of an "answers to" relation once, beginning at its smallest member."""
    seen: set[str] = set()
    for start in sorted(parent_of):
        path: list[str] = []
        at = start
        while at in parent_of and at not in seen:
            seen.add(at)
            path.append(at)
            at = parent_of[at]
        if at in path:
            yield path[path.index(at) :]


def _faults_of_department(row: Row) -> Iterator[tuple[str, str]]:
    if not CODE.fullmatch(row["code"]):
        yield "code_unreadable", row["code"]
    if row["kind"] not in AGENCY_KINDS:
        yield "agency_kind_unknown", row["kind"]
    if row.get("level") and row["level"] not in AGENCY_LEVELS:
        yield "level_unknown", row["level"]
    yield from (("value_missing", column) for column in ("jurisdiction", "zh_hans") if not row[column])
    if row.get("channel", "") not in ("", *CHANNELS):
        yield "channel_unknown", row["channel"]
    yield from too_long(row)
    yield from _faults_of_duties(row)


def _faults_of_duties(row: Row) -> Iterator[tuple[str, str]]:
    if row["kind"] == WATERWORKS and row.get("duties", "") not in ("", BY_RULES):
        yield "duty_of_waterworks", row["duties"]
    for kind, rank in _duties(row):
        if kind is not None and kind not in OBSERVATION_KINDS:
            yield "duty_unknown", kind
        if rank not in SEVERITIES:
            yield "severity_unknown", rank
    for address in _addresses(row):
        if not is_address(address):
            yield "address_unreadable", address


def _department(number: int, row: Row) -> Department:
    return Department(
        row=number,
        code=row["code"],
        kind=row["kind"],
        level=row.get("level") or None,
        jurisdiction=row["jurisdiction"],
        parent=row.get("parent") or None,
        names={lang: row[column] for column, lang in LANGUAGES.items() if row.get(column)},
        duties=tuple((kind, int(rank)) for kind, rank in _duties(row)),
        channel=row.get("channel") or CHANNELS[0],
        addresses=_addresses(row),
    )


def _duties(row: Row) -> list[tuple[str | None, str]]:
    """``sewage_outfall|foam:3``: what an agency is competent for, from which severity on, whatever the rules say.

    Nothing said: everything. ``rules``: nothing of its own, the rules decide. Who only runs an intake: nothing.
    """
    if row.get("duties", "").strip() == BY_RULES or row["kind"] == WATERWORKS:
        return []
    parts = [part.strip() for part in row.get("duties", "").split("|") if part.strip()]
    split = [part.partition(":") for part in parts] or [("*", "", "")]
    return [(None if kind.strip() == "*" else kind.strip(), rank.strip() or "1") for kind, _sign, rank in split]


def _addresses(row: Row) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in row.get("email", "").split(";") if part.strip()))


def too_long(row: Row) -> list[tuple[str, str]]:
    """The columns of a row that hold more than they may, as faults."""
    return [("value_too_long", name) for name, value in row.items() if len(value) > MAX_CHARACTERS]
