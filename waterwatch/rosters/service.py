"""Bringing in departments and river chiefs: all of a file or nothing, and again without doubling anything.

An agency is who its code says; a chief is who holds a title over a water in an area. What a file lacks stays, unless
it is said to be complete.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.agencies.competence import compile_agencies
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.ids import new_id
from waterwatch.rosters import rules
from waterwatch.rosters.rules import Chief, Department, Fault

_AS_GIVEN = ("code", "kind", "level", "jurisdiction", "parent", "channel", "addresses")


@dataclass(frozen=True)
class ImportRoster:
    """A spreadsheet to bring in. ``complete``: what it lacks is retired."""

    raw: bytes
    encoding: str = "UTF-8"
    complete: bool = False
    accept_refusals: bool = False


@dataclass(frozen=True)
class RosterReport:
    """What came of it; ``is_written`` tells whether anything may have changed."""

    rows: int
    faults: list[Fault]
    added: int = 0
    changed: int = 0
    unchanged: int = 0
    retired: int = 0
    is_written: bool = False


def import_departments(session: Session, command: ImportRoster, *, now: datetime) -> RosterReport:
    """Bring in agencies with what they are competent for and how they are reached.

    Raises :class:`~waterwatch.rosters.rules.SheetRefused` for a file that is no such spreadsheet.
    """
    rows = rules.rows_of(command.raw, rules.DEPARTMENT_COLUMNS, command.encoding)
    made, faults = rules.departments_of(rows)
    known = _codes(session, "SELECT code, level FROM jurisdiction WHERE retired_at IS NULL")
    faults += _loose(made, known, _agencies_there(session))
    bad = {fault.row for fault in faults}
    good = [
        {
            "id": str(new_id()),
            "duties": [{"kind": kind, "rank": rank} for kind, rank in one.duties],
            **{name: getattr(one, name) for name in _AS_GIVEN},
            "names": dict(one.names),
        }
        for one in made
        if one.row not in bad
    ]
    return finish(session, command, rows, faults, good, _departments, "agencies.imported", now=now)


def import_chiefs(session: Session, command: ImportRoster, *, now: datetime) -> RosterReport:
    """Bring in river chiefs of waters and reaches. Raises as :func:`import_departments` does."""
    rows = rules.rows_of(command.raw, rules.CHIEF_COLUMNS, command.encoding)
    made, faults = rules.chiefs_of(rows)
    known = _codes(session, "SELECT code, level FROM jurisdiction WHERE retired_at IS NULL")
    found = session.execute(_WATERS, {"waters": [chief.water for chief in made]})
    waters = {row.water: row for row in found}
    for chief in made:
        if chief.water not in waters:
            faults.append(Fault(chief.row, chief.water, "water_unknown", chief.water))
        if chief.jurisdiction not in known:
            faults.append(Fault(chief.row, chief.water, "jurisdiction_unknown", chief.jurisdiction))
    bad = {fault.row for fault in faults}
    good = [_chief(one, waters[one.water]) for one in made if one.row not in bad]
    return finish(session, command, rows, faults, good, _chiefs, "river_chiefs.imported", now=now)


def _chief(one: Chief, water: Any) -> dict[str, Any]:
    return {
        "id": str(new_id()),
        "body_id": str(water.body_id),
        "feature_id": str(water.feature_id) if water.feature_id else None,
        **{name: getattr(one, name) for name in ("jurisdiction", "title", "name", "email", "phone")},
    }


@dataclass(frozen=True)
class _Place:
    """Where an agency stands in the tree: its level, its area, whom it answers to."""

    level: str
    area: str
    parent: str | None


def _agencies_there(session: Session) -> dict[str, _Place]:
    return {row.code: _Place(row.level, row.area, row.parent) for row in session.execute(_THERE)}


def _loose(made: Sequence[Department], known: dict[str, str], there: dict[str, _Place]) -> list[Fault]:
    """What one row cannot see: areas and parents that are not there or not above, and circles among parents."""
    stand = there | {
        one.code: _Place(one.level or known.get(one.jurisdiction, ""), one.jurisdiction, one.parent) for one in made
    }
    row_of = {one.code: one.row for one in made}
    faults, turning = [], set()
    for circle in rules.circles_of({code: place.parent for code, place in stand.items() if place.parent}):
        turning.update(circle)
        first = next((code for code in circle if code in row_of), None)
        if first is not None:
            faults.append(Fault(row_of[first], first, "answers_in_a_circle", " → ".join(circle)))
    for one in made:
        own, above = stand[one.code], stand.get(one.parent or "")
        if one.jurisdiction not in known:
            faults.append(Fault(one.row, one.code, "jurisdiction_unknown", one.jurisdiction))
        elif not rules.is_level_of_kind(one.kind, own.level, known[one.jurisdiction]):
            faults.append(Fault(one.row, one.code, "basin_and_authority", own.level))
        if one.parent and above is None:
            faults.append(Fault(one.row, one.code, "parent_unknown", one.parent))
        elif above is not None and one.jurisdiction in known and one.code not in turning:
            found = rules.faults_of_parent(own.level, own.area, above.level, above.area)
            faults += [Fault(one.row, one.code, fault, one.parent or "") for fault in found]
    return faults


def finish(
    session: Session,
    command: ImportRoster,
    rows: Sequence[rules.Row],
    faults: list[Fault],
    good: Sequence[dict[str, Any]],
    write: Callable[[Session, Sequence[dict[str, Any]], bool, datetime], tuple[int, int, int]],
    action: str,
    *,
    now: datetime,
) -> RosterReport:
    """Write what is good, if nothing was refused or that was accepted; one entry in the audit."""
    faults = sorted(faults, key=lambda fault: (fault.row, fault.code, fault.detail))
    if faults and not command.accept_refusals:
        return RosterReport(len(rows), faults)
    added, changed, retired = write(session, good, command.complete, now)
    report = RosterReport(len(rows), faults, added, changed, len(good) - added - changed, retired, is_written=True)
    counts = {"added": added, "changed": changed, "retired": retired, "refused": len(faults)}
    audit.record(
        session,
        action=action,
        subject_kind="agency",
        subject_id=new_id(),
        actor=Actor.system("importer"),
        now=now,
        after={"sha256": hashlib.sha256(command.raw).hexdigest(), **counts},
    )
    return report


_GIVEN = """
WITH given AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
        id uuid, code text, kind text, level text, jurisdiction text, parent text, names jsonb, duties jsonb,
        channel text, addresses jsonb))
"""
_AGENCIES = """
INSERT INTO agency AS a (id, code, kind, level, jurisdiction_id)
SELECT g.id, g.code, g.kind, coalesce(g.level, j.level), j.id
FROM given g JOIN jurisdiction j ON j.code = g.jurisdiction
ON CONFLICT (code) DO UPDATE SET kind = excluded.kind, level = excluded.level,
    jurisdiction_id = excluded.jurisdiction_id, retired_at = NULL
WHERE (a.kind, a.level, a.jurisdiction_id, a.retired_at)
    IS DISTINCT FROM (excluded.kind, excluded.level, excluded.jurisdiction_id, NULL)
RETURNING a.code, a.xmax = 0 AS is_new
"""
_PARENTS = """
UPDATE agency a SET parent_id = p.id FROM given g LEFT JOIN agency p ON p.code = g.parent
WHERE a.code = g.code AND a.parent_id IS DISTINCT FROM p.id RETURNING a.code, false
"""
_NAMES = """
INSERT INTO agency_name AS n (agency_id, lang, name)
SELECT a.id, said.key, said.value FROM given g JOIN agency a USING (code), jsonb_each_text(g.names) said
ON CONFLICT (agency_id, lang) DO UPDATE SET name = excluded.name WHERE n.name <> excluded.name
RETURNING (SELECT code FROM agency WHERE id = n.agency_id), false
"""
_DUTIES_GONE = """
DELETE FROM competence c USING agency a, given g
WHERE a.id = c.agency_id AND g.code = a.code AND c.rule_id IS NULL AND NOT EXISTS (
    SELECT FROM jsonb_to_recordset(g.duties) AS d(kind text, rank int2)
    WHERE d.kind IS NOT DISTINCT FROM c.observation_kind)
RETURNING a.code, false
"""
_DUTIES = """
INSERT INTO competence AS c (id, agency_id, observation_kind, min_severity)
SELECT gen_random_uuid(), a.id, d.kind, d.rank
FROM given g JOIN agency a USING (code), jsonb_to_recordset(g.duties) AS d(kind text, rank int2)
ON CONFLICT (agency_id, observation_kind, (rule_id IS NULL)) DO UPDATE SET min_severity = excluded.min_severity
    WHERE c.min_severity <> excluded.min_severity
RETURNING (SELECT code FROM agency WHERE id = c.agency_id), false
"""
_CONTACTS_GONE = """
UPDATE agency_contact k SET active = false FROM agency a, given g
WHERE a.id = k.agency_id AND g.code = a.code AND k.active AND k.channel = g.channel AND NOT g.addresses ? k.address
RETURNING a.code, false
"""
_CONTACTS = """
INSERT INTO agency_contact AS k (id, agency_id, channel, address, position, active)
SELECT gen_random_uuid(), a.id, g.channel, said.address, said.position, true
FROM given g JOIN agency a USING (code),
     jsonb_array_elements_text(g.addresses) WITH ORDINALITY said (address, position)
ON CONFLICT (agency_id, channel, address) DO UPDATE SET position = excluded.position, active = true
    WHERE (k.position, k.active) IS DISTINCT FROM (excluded.position, true)
RETURNING (SELECT code FROM agency WHERE id = k.agency_id), false
"""
_RETIRE = """
UPDATE agency SET retired_at = :now WHERE retired_at IS NULL AND code NOT IN (SELECT code FROM given) RETURNING id
"""
_THERE = text("""
SELECT a.code, a.level, j.code AS area, p.code AS parent FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id
LEFT JOIN agency p ON p.id = a.parent_id WHERE a.retired_at IS NULL
""")
_IDS = "SELECT a.id FROM given g JOIN agency a USING (code)"
_STEPS = (_AGENCIES, _PARENTS, _NAMES, _DUTIES_GONE, _DUTIES, _CONTACTS_GONE, _CONTACTS)
# A water by its page address, or by the key that its source gives one of its reaches.
_WATERS = text("""
SELECT w.water, coalesce(b.id, f.water_body_id) AS body_id, f.id AS feature_id
FROM unnest(CAST(:waters AS text[])) AS w (water)
LEFT JOIN water_body b ON b.public_id = w.water AND b.retired_at IS NULL
LEFT JOIN source o ON b.id IS NULL AND o.code = split_part(w.water, ':', 1)
LEFT JOIN water_feature f ON f.source_id = o.id AND f.source_key = substr(w.water, strpos(w.water, ':') + 1)
    AND f.retired_at IS NULL
WHERE coalesce(b.id, f.id) IS NOT NULL
""")
_GIVEN_CHIEFS = """
WITH given AS (
    SELECT g.*, j.id AS jurisdiction_id FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
        id uuid, body_id uuid, feature_id uuid, jurisdiction text, title text, name text, email text, phone text)
    JOIN jurisdiction j ON j.code = g.jurisdiction)
"""
_CHIEFS = """
INSERT INTO river_chief AS c (id, water_body_id, water_feature_id, jurisdiction_id, title, name, email, phone)
SELECT id, body_id, feature_id, jurisdiction_id, title, name, email, phone FROM given
ON CONFLICT (water_body_id, water_feature_id, jurisdiction_id, title) DO UPDATE
SET name = excluded.name, email = excluded.email, phone = excluded.phone, retired_at = NULL
WHERE (c.name, c.email, c.phone, c.retired_at) IS DISTINCT FROM (excluded.name, excluded.email, excluded.phone, NULL)
RETURNING c.xmax = 0 AS is_new
"""
_RETIRE_CHIEFS = """
UPDATE river_chief c SET retired_at = :now WHERE retired_at IS NULL AND NOT EXISTS (
    SELECT FROM given g WHERE g.body_id = c.water_body_id AND g.feature_id IS NOT DISTINCT FROM c.water_feature_id
      AND g.jurisdiction_id = c.jurisdiction_id AND g.title = c.title)
"""


def _departments(
    session: Session, good: Sequence[dict[str, Any]], complete: bool, now: datetime
) -> tuple[int, int, int]:
    values = {"rows": json.dumps(good, ensure_ascii=False)}
    added: set[str] = set()
    touched: set[str] = set()
    for statement in _STEPS:
        for code, is_new in session.execute(text(_GIVEN + statement), values):
            touched.add(code)
            if is_new:
                added.add(code)
    retired: list[Any] = []
    if complete:
        retired = list(session.execute(text(_GIVEN + _RETIRE), {**values, "now": now}).scalars())
    compile_agencies(session, [*session.execute(text(_GIVEN + _IDS), values).scalars(), *retired])
    return len(added), len(touched - added), len(retired)


def _chiefs(session: Session, good: Sequence[dict[str, Any]], complete: bool, now: datetime) -> tuple[int, int, int]:
    values = {"rows": json.dumps(good, ensure_ascii=False)}
    written = list(session.execute(text(_GIVEN_CHIEFS + _CHIEFS), values).scalars())
    retired = 0
    if complete:
        done = session.execute(text(_GIVEN_CHIEFS + _RETIRE_CHIEFS), {**values, "now": now})
        retired = int(done.rowcount)  # type: ignore[attr-defined]
    return sum(written), len(written) - sum(written), retired


def _codes(session: Session, statement: str) -> dict[str, str]:
    return {row.code: row.level for row in session.execute(text(statement))}
