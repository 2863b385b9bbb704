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

from waterwatch.agencies.competence import compile_agencies, compile_everything
from waterwatch.agencies.search import make_area_keys
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.ids import new_id

BUILTIN = Path(__file__).parent / "builtin"
STEPS = 3
# Who is competent where nobody has entered rules yet: kind of agency → kinds of observation (None: all), from which
# severity on. Ours; an administrator replaces them.
DEFAULT_RULES: dict[str, tuple[tuple[str | None, int], ...]] = {
    "ecology_environment": ((None, 1),),
    "water": tuple(
        (kind, 1) for kind in ("sewage_outfall", "black_odorous", "encroachment", "sand_mining", "algal_bloom")
    ),
    "urban_management": (("floating_garbage", 1), ("waste_dumping", 1)),
    "agriculture": (("farm_runoff", 1), ("fish_kill", 1)),
    "maritime": (("oil_slick", 1),),
    "river_chief_office": ((None, 1),),
    "basin_authority": ((None, 3),),
}


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
    _load_rules(session, agencies, now=now)
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
# What these agencies had as their own before there were rules. An operator may have changed it: then it stays theirs.
_OWN_BECOMES_RULES = text("""
DELETE FROM competence c USING agency a, jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(code text, kinds jsonb)
WHERE a.code = g.code AND c.agency_id = a.id AND c.rule_id IS NULL AND c.min_severity = 1
  AND (SELECT coalesce(jsonb_agg(own.observation_kind ORDER BY own.observation_kind), '[]') FROM competence own
       WHERE own.agency_id = a.id AND own.rule_id IS NULL AND own.min_severity = 1) = g.kinds
""")
_RULES = text("""
INSERT INTO competence_rule (id, agency_kind, observation_kind, min_severity, is_competent, made_at)
SELECT g.id, g.agency_kind, g.observation_kind, g.min_severity, true, :now
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(id uuid, agency_kind text, observation_kind text, min_severity int2)
WHERE NOT EXISTS (SELECT FROM competence_rule)
RETURNING id
""")
_AGENCY_IDS = text("SELECT id FROM agency WHERE code = ANY(:codes)")
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
    """The listed agencies. What they are competent for follows from :data:`DEFAULT_RULES`."""
    with (BUILTIN / "agencies.csv").open(encoding="utf-8", newline="") as source:
        listed = list(csv.DictReader(source))
    return [
        {
            **{column: row[column] for column in ("code", "kind", "level", "jurisdiction", "parent")},
            "names": {"zh-Hans": row["zh_hans"], "zh-Hant": row["zh_hant"], "en": row["en"]},
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
    contacts = [{"id": str(new_id()), "code": a["code"], "address": f"{a['code']}@agency.example"} for a in agencies]
    send(_CONTACTS, contacts)


def _load_rules(session: Session, agencies: list[dict[str, Any]], *, now: datetime) -> None:
    """The rules to begin with, where there never was one; what was the agencies' own and says the same makes way."""
    rules = [
        {"id": str(new_id()), "agency_kind": kind, "observation_kind": observation, "min_severity": severity}
        for kind, told in DEFAULT_RULES.items()
        for observation, severity in told
    ]
    if session.execute(_RULES, {"rows": json.dumps(rules), "now": now}).all():
        own = [
            {"code": a["code"], "kinds": sorted((kind for kind, _from in DEFAULT_RULES[a["kind"]]), key=str)}
            for a in agencies
        ]
        session.execute(_OWN_BECOMES_RULES, {"rows": json.dumps(own)})
        compile_everything(session)
        return
    ids = session.execute(_AGENCY_IDS, {"codes": [a["code"] for a in agencies]}).scalars().all()
    compile_agencies(session, ids)
