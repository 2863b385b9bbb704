"""Filling the database of waters. One set-wise statement per table, at any size; running again changes nothing."""

import gzip
import hashlib
import json
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session

from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.spelling import SOUND, search_keys

BUILTIN = Path(__file__).parent / "builtin" / "waters.geojson.gz"
SOURCE_CODE = "natural-earth-10m"
RETRIEVED_ON = date(2026, 11, 23)
STEPS = 4
_IDS = ARRAY(UUID(as_uuid=True))


@dataclass(frozen=True)
class LoadReport:
    """What a load did: how many waters and reaches or lakes there now are, and how many vanished and were retired."""

    waters: int
    features: int
    retired: int


def load_builtin(session: Session, *, now: datetime, progress: Callable[[int, int], None] | None = None) -> LoadReport:
    """Load the built-in waters of China and its neighbours (Natural Earth 10m, public domain).

    Idempotent: rows are matched by their key in the source and keep their ids, so what hangs on a water stays attached;
    a water that is no longer in the file is retired, not deleted. Takes a few seconds.
    """
    tell = progress or (lambda _done, _total: None)
    raw = BUILTIN.read_bytes()
    content = json.loads(gzip.decompress(raw))
    tell(1, STEPS)
    source_id = _source(session)
    bodies = _bodies(session, source_id, content["bodies"])
    _names(session, bodies, content["bodies"])
    tell(2, STEPS)
    features = _features(session, source_id, bodies, content["features"])
    tell(3, STEPS)
    retired, gone = _retire(session, source_id, [b["key"] for b in content["bodies"]], features, now=now)
    set_extents(session)
    network_changed(session)
    make_keys(session, [*bodies.values(), *gone])
    audit.record(
        session,
        action="waters.loaded",
        subject_kind="source",
        subject_id=source_id,
        actor=Actor.system("loader"),
        now=now,
        after={"sha256": hashlib.sha256(raw).hexdigest(), "waters": len(bodies), "features": len(features)},
    )
    tell(4, STEPS)
    return LoadReport(len(bodies), len(features), retired)


_SOURCE = text("""
INSERT INTO source (id, code, title, licence, url, retrieved_on, citation)
VALUES (:id, :code, 'Natural Earth 10m: rivers, lake centerlines and lakes', 'public domain',
        'https://www.naturalearthdata.com/', :retrieved_on, 'Made with Natural Earth')
ON CONFLICT (code) DO UPDATE SET retrieved_on = excluded.retrieved_on RETURNING id
""")
_BODIES = text("""
WITH given AS (
    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
        id uuid, key text, public_id text, kind text, basin text, basin_area_km2 float8, mean_discharge_cms float8,
        length_km float8, rank smallint))
INSERT INTO water_body (
    id, public_id, kind, basin, basin_area_km2, mean_discharge_cms, length_km, rank, source_id, source_key)
SELECT id, public_id, kind, basin, basin_area_km2, mean_discharge_cms, length_km, rank, :source_id, key FROM given
ON CONFLICT (source_id, source_key) DO UPDATE SET kind = excluded.kind, basin = excluded.basin,
    basin_area_km2 = excluded.basin_area_km2, mean_discharge_cms = excluded.mean_discharge_cms,
    length_km = excluded.length_km, rank = excluded.rank, retired_at = NULL
RETURNING source_key, id
""")
_PARENTS = text("""
UPDATE water_body b SET parent_id = p.id
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(key text, parent text)
LEFT JOIN water_body p ON p.source_id = :source_id AND p.source_key = g.parent
WHERE b.source_id = :source_id AND b.source_key = g.key AND b.parent_id IS DISTINCT FROM p.id
""")
_NAMES_GONE = text("""
DELETE FROM water_name n USING water_body b
WHERE b.id = n.water_body_id AND b.id = ANY(CAST(:ids AS uuid[])) AND NOT EXISTS (
    SELECT FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS g(water_body_id uuid, lang text, name text, is_primary boolean)
    WHERE g.water_body_id = n.water_body_id AND g.lang = n.lang AND g.name = n.name AND g.is_primary = n.is_primary)
""")
_NAMES = text("""
INSERT INTO water_name (id, water_body_id, lang, name, is_primary)
SELECT id, water_body_id, lang, name, is_primary FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS g(id uuid, water_body_id uuid, lang text, name text, is_primary boolean)
ON CONFLICT (water_body_id, lang, name) DO NOTHING
""")
_FEATURES = text("""
WITH given AS (
    SELECT g.id, g.key, g.kind, g.water_body_id, g.length_km, g.dist_dn_km,
           ST_SetSRID(ST_GeomFromGeoJSON(g.geometry), 4326) AS shape
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS g(id uuid, key text, kind text, water_body_id uuid, length_km float8, dist_dn_km float8, geometry text)),
repaired AS (
    SELECT given.*, CASE WHEN kind = 'lake' THEN ST_CollectionExtract(ST_MakeValid(shape), 3) ELSE shape END AS geom
    FROM given)
INSERT INTO water_feature (id, kind, water_body_id, geom, length_km, dist_dn_km, area_km2, source_id, source_key)
SELECT id, kind, water_body_id, geom, length_km, dist_dn_km,
       CASE WHEN kind = 'lake' THEN round((ST_Area(geom::geography) / 1e6)::numeric, 2) END, :source_id, key
FROM repaired ORDER BY key
ON CONFLICT (source_id, source_key) DO UPDATE SET kind = excluded.kind, water_body_id = excluded.water_body_id,
    geom = excluded.geom, length_km = excluded.length_km, dist_dn_km = excluded.dist_dn_km,
    area_km2 = excluded.area_km2, retired_at = NULL
    WHERE (water_feature.geom, water_feature.water_body_id, water_feature.length_km, water_feature.dist_dn_km,
           water_feature.retired_at)
          IS DISTINCT FROM (excluded.geom, excluded.water_body_id, excluded.length_km, excluded.dist_dn_km, NULL)
""")
_NEXT_DOWN = text("""
UPDATE water_feature f SET next_down_id = below.id
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(key text, next_down text)
LEFT JOIN water_feature below ON below.source_id = :source_id AND below.source_key = g.next_down
WHERE f.source_id = :source_id AND f.source_key = g.key AND f.next_down_id IS DISTINCT FROM below.id
""")
_RETIRE_FEATURES = text("""
UPDATE water_feature SET retired_at = :now
WHERE source_id = :source_id AND retired_at IS NULL AND NOT source_key = ANY(:keys)
""")
_RETIRE_BODIES = text("""
UPDATE water_body SET retired_at = :now
WHERE source_id = :source_id AND retired_at IS NULL AND NOT source_key = ANY(:keys) RETURNING id
""")


_KEYS_GONE = text("DELETE FROM water_key WHERE water_body_id = ANY(:ids)").bindparams(bindparam("ids", type_=_IDS))
_NAMES_OF = text("""
SELECT n.water_body_id, b.rank, array_agg(n.name) AS names FROM water_name n JOIN water_body b ON b.id = n.water_body_id
WHERE n.water_body_id = ANY(:ids) AND b.retired_at IS NULL GROUP BY n.water_body_id, b.rank
""").bindparams(bindparam("ids", type_=_IDS))
_WEIGHTS = text("""
UPDATE water_key k SET weight = k.grade + b.rank FROM water_body b
WHERE b.id = k.water_body_id AND k.weight <> k.grade + b.rank
""")
_WORDS_GONE = text("""
DELETE FROM water_word w WHERE NOT EXISTS (SELECT FROM water_key k WHERE k.key = w.word)
""")
_WORDS = text(f"""
INSERT INTO water_word AS w (word, weight, is_name)
SELECT key, min(weight), bool_or(grade <= {SOUND}) FROM water_key GROUP BY key
ON CONFLICT (word) DO UPDATE SET weight = excluded.weight, is_name = excluded.is_name
    WHERE (w.weight, w.is_name) IS DISTINCT FROM (excluded.weight, excluded.is_name)
""")  # noqa: S608  # the piece is a constant
_EXTENTS = text("""
UPDATE water_body b SET extent = around.box FROM (
    SELECT water_body_id, ST_SetSRID(ST_Expand(ST_Extent(geom)::geometry, 0.00001), 4326) AS box
    FROM water_feature WHERE retired_at IS NULL GROUP BY water_body_id) around
WHERE around.water_body_id = b.id AND b.extent IS DISTINCT FROM around.box
""")


_CHANGED = text("UPDATE water_network SET version = version + 1")
# A reach lies in a lake when a point in its middle does. A lake's outlet is the largest reach that leaves it, or one
# that crosses it without ever being more inside than out. What a source says itself is left as it is.
_OUT_OF_LAKE = text("""
UPDATE water_feature f SET lake_id = NULL WHERE f.lake_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM water_feature l
    WHERE l.id = f.lake_id AND l.retired_at IS NULL AND ST_Covers(l.geom, ST_PointOnSurface(f.geom)))
""")
_IN_LAKE = text("""
UPDATE water_feature f SET lake_id = inside.lake_id FROM (
    SELECT DISTINCT ON (r.id) r.id, l.id AS lake_id
    FROM water_feature l JOIN water_feature r ON r.geom_3857 && l.geom_3857
    WHERE l.kind = 'lake' AND l.retired_at IS NULL AND r.kind = 'reach' AND r.retired_at IS NULL
      AND ST_Covers(l.geom, ST_PointOnSurface(r.geom))
    ORDER BY r.id, l.area_km2 DESC NULLS LAST, l.id) inside
WHERE inside.id = f.id AND f.lake_id IS DISTINCT FROM inside.lake_id
""")
_LAKE_OUTLETS = text("""
WITH leaving AS (
    SELECT r.lake_id AS id, below.id AS outlet_id, r.upland_skm, r.dis_av_cms, 1 AS place
    FROM water_feature r JOIN water_feature below ON below.id = r.next_down_id
    WHERE r.lake_id IS NOT NULL AND r.retired_at IS NULL AND below.retired_at IS NULL
      AND below.lake_id IS DISTINCT FROM r.lake_id
    UNION ALL
    SELECT l.id, r.id, r.upland_skm, r.dis_av_cms, 2
    FROM water_feature l JOIN water_feature r ON r.geom_3857 && l.geom_3857
    WHERE l.kind = 'lake' AND l.retired_at IS NULL AND r.kind = 'reach' AND r.retired_at IS NULL
      AND r.lake_id IS NULL AND ST_Intersects(l.geom, r.geom)),
outlet AS (
    SELECT DISTINCT ON (id) id, outlet_id FROM leaving
    ORDER BY id, place, upland_skm DESC NULLS LAST, dis_av_cms DESC NULLS LAST, outlet_id)
UPDATE water_feature l SET next_down_id = outlet.outlet_id FROM outlet
WHERE outlet.id = l.id AND l.next_down_id IS DISTINCT FROM outlet.outlet_id AND NOT EXISTS (
    SELECT FROM water_feature r WHERE r.next_down_id = l.id AND r.retired_at IS NULL)
""")


def connect_lakes(session: Session) -> None:
    """Put every lake on the network: which reaches lie in it, and by which its water leaves.

    A lake that reaches flow *into*, because its source draws it as a part of the network, keeps the outlet it has.
    """
    session.execute(_OUT_OF_LAKE)
    session.execute(_IN_LAKE)
    session.execute(_LAKE_OUTLETS)
    network_changed(session)


def network_changed(session: Session) -> None:
    """Let copies of the network in memory know that they are old."""
    session.execute(_CHANGED)


def set_extents(session: Session) -> None:
    """Set the box around every water from its living reaches and lakes."""
    session.execute(_EXTENTS)


def make_keys(session: Session, water_body_ids: Collection[uuid.UUID]) -> None:
    """Make these waters' keys anew from their names (none for those retired), and set all weights and words right."""
    ids = list(water_body_ids)
    session.execute(_WEIGHTS)
    session.execute(_KEYS_GONE, {"ids": ids})
    found = session.execute(_NAMES_OF, {"ids": ids}).all()
    connection: Any = session.connection().connection.driver_connection
    copy = "COPY water_key (water_body_id, key, grade, weight) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(copy) as to_table:
        to_table.set_types(["uuid", "text", "int2", "int2"])
        for water_body_id, rank, names in found:
            for key, grade in search_keys(names).items():
                to_table.write_row((water_body_id, key, grade, grade + rank))
    session.execute(_WORDS_GONE)
    session.execute(_WORDS)


def _source(session: Session) -> uuid.UUID:
    values = {"id": new_id(), "code": SOURCE_CODE, "retrieved_on": RETRIEVED_ON}
    found: uuid.UUID = session.execute(_SOURCE, values).scalar_one()
    return found


def _bodies(session: Session, source_id: uuid.UUID, bodies: list[dict[str, Any]]) -> dict[str, uuid.UUID]:
    rows = [
        {
            "id": str(new_id()),
            "key": body["key"],
            "public_id": f"w-{body['key']}",
            "kind": body["kind"],
            "basin": body["basin"],
            "basin_area_km2": body["basin_area_km2"],
            "mean_discharge_cms": body["mean_discharge_cms"],
            "length_km": body["length_km"],
            "rank": body["rank"],
        }
        for body in bodies
    ]
    found = session.execute(_BODIES, {"rows": json.dumps(rows), "source_id": source_id})
    ids = {row.source_key: row.id for row in found}
    parents = [{"key": body["key"], "parent": body["flows_into"]} for body in bodies]
    session.execute(_PARENTS, {"rows": json.dumps(parents), "source_id": source_id})
    return ids


def _names(session: Session, ids: dict[str, uuid.UUID], bodies: list[dict[str, Any]]) -> None:
    rows = [
        {
            "id": str(new_id()),
            "water_body_id": str(ids[body["key"]]),
            "lang": lang,
            "name": name,
            "is_primary": is_primary,
        }
        for body in bodies
        for is_primary, names in ((True, body["names"]), (False, body["aliases"]))
        for lang, name in names.items()
    ]
    values = {"rows": json.dumps(rows, ensure_ascii=False), "ids": list(ids.values())}
    session.execute(_NAMES_GONE, values)
    session.execute(_NAMES, {"rows": values["rows"]})


def _features(
    session: Session, source_id: uuid.UUID, ids: dict[str, uuid.UUID], features: list[dict[str, Any]]
) -> list[str]:
    rows = [
        {
            "id": str(new_id()),
            "key": feature["properties"]["key"],
            "kind": feature["properties"]["kind"],
            "water_body_id": str(ids[feature["properties"]["body"]]),
            "length_km": feature["properties"].get("length_km"),
            "dist_dn_km": feature["properties"].get("dist_dn_km"),
            "next_down": feature["properties"]["next_down"],
            "geometry": json.dumps(feature["geometry"]),
        }
        for feature in features
    ]
    values = {"rows": json.dumps(rows), "source_id": source_id}
    session.execute(_FEATURES, values)
    session.execute(_NEXT_DOWN, values)
    return [row["key"] for row in rows]


def _retire(
    session: Session, source_id: uuid.UUID, body_keys: list[str], feature_keys: list[str], *, now: datetime
) -> tuple[int, list[uuid.UUID]]:
    values = {"source_id": source_id, "now": now}
    gone = session.execute(_RETIRE_FEATURES, {**values, "keys": feature_keys})
    bodies = session.execute(_RETIRE_BODIES, {**values, "keys": body_keys}).scalars().all()
    return int(gone.rowcount), list(bodies)  # type: ignore[attr-defined]
