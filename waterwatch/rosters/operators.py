"""Bringing in who runs which intake or other zone: all of a file or nothing, and again without doubling anything.

A zone is the one that its source knows by a key, or the only one of a name. What a file lacks stays as it is, unless
the file is said to be complete.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Text, Uuid, bindparam, text
from sqlalchemy.orm import Session

from waterwatch.rosters import rules
from waterwatch.rosters.rules import Fault, Row
from waterwatch.rosters.service import ImportRoster, RosterReport, finish

COLUMNS = ("agency",)
NOBODY = "-"


@dataclass(frozen=True)
class Operated:
    """A row: the zone by its source's ``key`` or by its ``name``; ``agency`` None: nobody in particular runs it."""

    row: int
    source: str
    key: str
    name: str
    agency: str | None

    @property
    def said(self) -> str:
        """The zone as the row names it."""
        return f"{self.source}:{self.key}" if self.key else self.name


_ZONES = text("""
SELECT w.nth, array_agg(DISTINCT z.id) AS ids
FROM unnest(:sources, :keys, :names) WITH ORDINALITY w (source, key, name, nth)
JOIN protected_zone z ON z.retired_at IS NULL AND CASE WHEN w.key <> ''
    THEN z.source_key = w.key AND z.source_id = (SELECT o.id FROM source o WHERE o.code = w.source)
    ELSE EXISTS (SELECT FROM protected_zone_name n WHERE n.zone_id = z.id AND n.name = w.name) END
GROUP BY w.nth
""").bindparams(*(bindparam(name, type_=ARRAY(Text)) for name in ("sources", "keys", "names")))
_AGENCIES = text("SELECT code, id FROM agency WHERE retired_at IS NULL AND code = ANY(:codes)").bindparams(
    bindparam("codes", type_=ARRAY(Text))
)
_RUN = text("""
UPDATE protected_zone z SET operator_id = given.agency_id
FROM (SELECT z.id, z.operator_id, g.agency_id FROM unnest(:zones, :agencies) g (zone_id, agency_id)
      JOIN protected_zone z ON z.id = g.zone_id
      WHERE z.operator_id IS DISTINCT FROM g.agency_id ORDER BY z.id FOR UPDATE OF z) given
WHERE z.id = given.id RETURNING given.operator_id IS NULL AS is_new
""").bindparams(bindparam("zones", type_=ARRAY(Uuid)), bindparam("agencies", type_=ARRAY(Uuid)))
_RUN_NO_MORE = text("""
UPDATE protected_zone SET operator_id = NULL WHERE operator_id IS NOT NULL AND id <> ALL(:zones)
""").bindparams(bindparam("zones", type_=ARRAY(Uuid)))


def import_operators(session: Session, command: ImportRoster, *, now: datetime) -> RosterReport:
    """Say of zones who runs them. In the report ``added`` are zones that nobody ran before, ``retired`` those that
    nobody runs any more because a complete file lacks them.

    Raises :class:`~waterwatch.rosters.rules.SheetRefused` for a file that is no such spreadsheet.
    """
    rows = rules.rows_of(command.raw, COLUMNS, command.encoding)
    made, faults = operated_of(rows)
    values = {name: [getattr(one, name[:-1]) for one in made] for name in ("sources", "keys", "names")}
    zones: dict[int, list[uuid.UUID]] = {row.nth - 1: row.ids for row in session.execute(_ZONES, values)}
    codes = [one.agency for one in made if one.agency]
    agencies: dict[str | None, uuid.UUID | None] = {None: None}
    agencies.update((row.code, row.id) for row in session.execute(_AGENCIES, {"codes": codes}))
    good: list[dict[str, Any]] = []
    row_of: dict[uuid.UUID, int] = {}
    for nth, one in enumerate(made):
        found = zones.get(nth, [])
        if len(found) != 1:
            faults.append(Fault(one.row, one.said, "zone_ambiguous" if found else "zone_unknown"))
        elif row_of.setdefault(found[0], one.row) != one.row:
            faults.append(Fault(one.row, one.said, "key_doubled", f"row {row_of[found[0]]}"))
        if one.agency not in agencies:
            faults.append(Fault(one.row, one.said, "agency_unknown", one.agency or ""))
        if not faults or faults[-1].row != one.row:
            good.append({"zone": found[0], "agency": agencies[one.agency]})
    return finish(session, command, rows, faults, good, _run, "zone_operators.imported", now=now)


def operated_of(rows: Sequence[Row]) -> tuple[list[Operated], list[Fault]]:
    """Every row as a zone with who runs it, and all faults of all rows."""
    made: list[Operated] = []
    faults: list[Fault] = []
    for number, row in enumerate(rows, 1):
        source, key, name = (row.get(column, "") for column in ("source", "key", "name"))
        found = rules.too_long(row)
        if not row["agency"]:
            found.append(("value_missing", "agency"))
        if not name and not (source and key):
            found.append(("zone_unnamed", ""))
        faults += [Fault(number, key or name, code, detail) for code, detail in found]
        if not found:
            by_key = (source, key) if source and key else ("", "")
            made.append(Operated(number, *by_key, name, None if row["agency"] == NOBODY else row["agency"]))
    return made, faults


def _run(session: Session, good: Sequence[dict[str, Any]], complete: bool, _now: datetime) -> tuple[int, int, int]:
    zones = [one["zone"] for one in good]
    retired = 0
    if complete:
        done = session.execute(_RUN_NO_MORE, {"zones": zones})
        retired = int(done.rowcount)  # type: ignore[attr-defined]
    written = list(session.execute(_RUN, {"zones": zones, "agencies": [one["agency"] for one in good]}).scalars())
    return sum(written), len(written) - sum(written), retired
