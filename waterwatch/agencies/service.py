"""Filling the table of agencies with the built-in ones. Set-wise; running again changes nothing."""

import csv
import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.agencies.search import make_area_keys
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.ids import new_id

BUILTIN = Path(__file__).parent / "builtin"
STEPS = 3


@dataclass(frozen=True)
class LoadReport:
    """How many jurisdictions and agencies there now are."""

    jurisdictions: int
    agencies: int


def load_builtin(session: Session, *, now: datetime, progress: Callable[[int, int], None] | None = None) -> LoadReport:
    """Load China's jurisdictions and the demonstration's agencies.

    Idempotent: rows are matched by code and keep their ids. Agencies and contacts an operator added are left alone.
    """
    tell = progress or (lambda _done, _total: None)
    raw = (BUILTIN / "jurisdictions.json.gz").read_bytes()
    jurisdictions = json.loads(gzip.decompress(raw))
    _load_jurisdictions(session, jurisdictions)
    tell(1, STEPS)
    agencies = _agencies()
    _load_agencies(session, agencies)
    tell(2, STEPS)
    audit.record(
        session,
        action="agencies.loaded",
        subject_kind="agency",
        subject_id=new_id(),
        actor=Actor.system("loader"),
        now=now,
        after={"sha256": hashlib.sha256(raw).hexdigest(), "agencies": len(agencies)},
    )
    tell(3, STEPS)
    return LoadReport(len(jurisdictions), len(agencies))


_JURISDICTIONS = text("""
WITH given AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(id uuid, code text, level text, geometry text))
INSERT INTO jurisdiction (id, code, level, geom)
SELECT id, code, level,
       ST_Multi(ST_CollectionExtract(ST_MakeValid(ST_SetSRID(ST_GeomFromGeoJSON(geometry), 4326)), 3))
FROM given
ON CONFLICT (code) DO UPDATE SET level = excluded.level, geom = excluded.geom
""")
_PARENTS = text("""
UPDATE jurisdiction j SET parent_id = p.id
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(code text, parent text)
JOIN jurisdiction p ON p.code = g.parent
WHERE j.code = g.code AND j.parent_id IS DISTINCT FROM p.id
""")
_JURISDICTION_NAMES = text("""
INSERT INTO jurisdiction_name (jurisdiction_id, lang, name)
SELECT j.id, g.lang, g.name
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(code text, lang text, name text)
JOIN jurisdiction j ON j.code = g.code
ON CONFLICT (jurisdiction_id, lang) DO UPDATE SET name = excluded.name
""")
_IDS_OF = text("SELECT id FROM jurisdiction WHERE code = ANY(:codes)")
_AGENCIES = text("""
INSERT INTO agency (id, code, kind, level, jurisdiction_id)
SELECT g.id, g.code, g.kind, g.level, j.id
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(id uuid, code text, kind text, level text, jurisdiction text)
JOIN jurisdiction j ON j.code = g.jurisdiction
ON CONFLICT (code) DO UPDATE SET kind = excluded.kind, level = excluded.level,
    jurisdiction_id = excluded.jurisdiction_id, retired_at = NULL
""")
_AGENCY_PARENTS = text("""
UPDATE agency a SET parent_id = p.id
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(code text, parent text) JOIN agency p ON p.code = g.parent
WHERE a.code = g.code AND a.parent_id IS DISTINCT FROM p.id
""")
_AGENCY_NAMES = text("""
INSERT INTO agency_name (agency_id, lang, name)
SELECT a.id, g.lang, g.name
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(code text, lang text, name text) JOIN agency a ON a.code = g.code
ON CONFLICT (agency_id, lang) DO UPDATE SET name = excluded.name
""")
_COMPETENCES = text("""
INSERT INTO competence (id, agency_id, observation_kind, min_severity)
SELECT g.id, a.id, g.observation_kind, 1
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(id uuid, code text, observation_kind text)
JOIN agency a ON a.code = g.code
ON CONFLICT (agency_id, observation_kind) DO NOTHING
""")
_CONTACTS = text("""
INSERT INTO agency_contact (id, agency_id, channel, address, position, active)
SELECT g.id, a.id, 'email', g.address, 1, true
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(id uuid, code text, address text) JOIN agency a ON a.code = g.code
ON CONFLICT (agency_id, channel, address) DO NOTHING
""")


def _load_jurisdictions(session: Session, jurisdictions: list[dict[str, Any]]) -> None:
    rows = [
        {"id": str(new_id()), "code": j["code"], "level": j["level"], "geometry": json.dumps(j["geometry"])}
        for j in jurisdictions
    ]
    session.execute(_JURISDICTIONS, {"rows": json.dumps(rows)})
    session.execute(_PARENTS, {"rows": json.dumps([{"code": j["code"], "parent": j["parent"]} for j in jurisdictions])})
    names = [
        {"code": j["code"], "lang": lang, "name": name} for j in jurisdictions for lang, name in j["names"].items()
    ]
    session.execute(_JURISDICTION_NAMES, {"rows": json.dumps(names)})
    loaded = session.execute(_IDS_OF, {"codes": [j["code"] for j in jurisdictions]}).scalars()
    make_area_keys(session, list(loaded))


def _agencies() -> list[dict[str, Any]]:
    """The listed agencies. Where ``observation_kinds`` is empty, an agency is competent for every kind."""
    with (BUILTIN / "agencies.csv").open(encoding="utf-8", newline="") as source:
        listed = list(csv.DictReader(source))
    return [
        {
            **{column: row[column] for column in ("code", "kind", "level", "jurisdiction", "parent")},
            "names": {"zh-Hans": row["zh_hans"], "zh-Hant": row["zh_hant"], "en": row["en"]},
            "observation_kinds": row["observation_kinds"].split("|") if row["observation_kinds"] else [None],
        }
        for row in listed
    ]


def _load_agencies(session: Session, agencies: list[dict[str, Any]]) -> None:
    def send(statement: Any, rows: list[dict[str, Any]]) -> None:
        session.execute(statement, {"rows": json.dumps(rows, ensure_ascii=False)})

    columns = ("code", "kind", "level", "jurisdiction")
    send(_AGENCIES, [{"id": str(new_id()), **{column: a[column] for column in columns}} for a in agencies])
    send(_AGENCY_PARENTS, [{"code": a["code"], "parent": a["parent"]} for a in agencies if a["parent"]])
    names = [{"code": a["code"], "lang": lang, "name": name} for a in agencies for lang, name in a["names"].items()]
    send(_AGENCY_NAMES, names)
    competences = [
        {"id": str(new_id()), "code": a["code"], "observation_kind": kind}
        for a in agencies
        for kind in a["observation_kinds"]
    ]
    send(_COMPETENCES, competences)
    contacts = [{"id": str(new_id()), "code": a["code"], "address": f"{a['code']}@agency.example"} for a in agencies]
    send(_CONTACTS, contacts)
