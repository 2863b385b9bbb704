"""From staged rows to living waters: the flow walked once, rivers grouped, identities kept, all in one transaction.

Every statement is set-wise. ``{rows}`` is the run's staged table. What the statements share are temporary tables that
end with the transaction: ``stem`` (who flows into whom), ``river`` (which water each row belongs to), ``body`` (one row
a water).
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.imports.rules import LAKE, REACH, Layout, strahler_orders
from waterwatch.kernel.ids import new_id
from waterwatch.waters.service import connect_lakes, make_keys

# When so many more rows come than there are, building an index anew beats keeping it up to date row by row.
BULK_FACTOR = 4
TABLES = ("water_feature", "water_body", "water_name", "water_key", "water_word")


@dataclass(frozen=True)
class Merged:
    """What a merge did, in rows of water features, and how many waters they make."""

    waters: int
    added: int
    changed: int
    unchanged: int
    retired: int


_PLANNING = """
SET LOCAL work_mem = '256MB';
SET LOCAL maintenance_work_mem = '512MB';
SET LOCAL max_parallel_workers_per_gather = 2;
SET LOCAL jit = off
"""
# All that the later statements ask of a row but its shape: they hash a million narrow rows instead of wide ones.
_STEM = """
CREATE TEMP TABLE stem ON COMMIT DROP AS
SELECT s.ordinal, s.id, s.key, n.ordinal AS next_ordinal, n.id AS next_id,
       coalesce(s.zh_hans, s.zh_hant, s.en) AS name, s.water_kind, s.length_km, s.upland_skm, s.dis_av_cms, s.area_km2,
       Box2D(s.geom) AS box, s.next_key IS NOT NULL AND n.ordinal IS NULL AS is_loose,
       n.ordinal IS NOT NULL AND row_number() OVER (
           PARTITION BY n.ordinal ORDER BY s.upland_skm DESC NULLS LAST, (coalesce(s.zh_hans, s.zh_hant, s.en) IS NOT
               DISTINCT FROM coalesce(n.zh_hans, n.zh_hant, n.en)) DESC, s.ordinal) = 1 AS is_main
FROM {rows} s LEFT JOIN {rows} n ON n.key = s.next_key
"""
_STEM_INDEX = "CREATE INDEX ON stem (next_ordinal) INCLUDE (ordinal, name, is_main, length_km)"
# From every mouth upward. A reach belongs to the water below it when they share a name, or when both have none and it
# is the larger arm; otherwise a water begins. dist_dn_km is the way from a reach's lower end to the mouth.
_RIVER = """
CREATE TEMP TABLE river ON COMMIT DROP AS
WITH RECURSIVE walk (ordinal, body, mouth, name, dist_dn_km, length_km) AS (
    SELECT ordinal, ordinal, ordinal, name, 0::float8, coalesce(length_km, 0) FROM stem WHERE next_ordinal IS NULL
    UNION ALL
    SELECT up.ordinal,
           CASE WHEN up.name = walk.name OR (up.is_main AND up.name IS NULL AND walk.name IS NULL)
                THEN walk.body ELSE up.ordinal END,
           walk.mouth, up.name, walk.dist_dn_km + walk.length_km, coalesce(up.length_km, 0)
    FROM walk JOIN stem up ON up.next_ordinal = walk.ordinal)
SELECT ordinal, body, mouth, dist_dn_km FROM walk
"""
_UNREACHED = """
SELECT stem.ordinal, stem.next_ordinal FROM stem LEFT JOIN river USING (ordinal) WHERE river.ordinal IS NULL
"""
_KEEP_IDS = """
UPDATE {rows} s SET id = f.id FROM water_feature f JOIN source o ON o.id = f.source_id
WHERE o.code = :source_code AND f.source_key = s.key
"""
_BODY = """
CREATE TEMP TABLE body ON COMMIT DROP AS
WITH sums AS (
    SELECT r.body AS ordinal, r.mouth, nullif(sum(s.length_km), 0) AS length_km, sum(s.area_km2) AS area_km2,
           ST_Extent(s.box::geometry) AS extent
    FROM river r JOIN stem s USING (ordinal) GROUP BY r.body, r.mouth)
SELECT sums.ordinal, sums.extent, s.id, s.id AS own_id, s.key, s.water_kind AS kind, sums.length_km, s.dis_av_cms,
       nullif(s.upland_skm, 0) AS upland_skm, below.body AS parent_ordinal, outlet.name AS basin,
       greatest(0, least(20, round(12 - 2 * log(greatest(0.01,
           CASE WHEN :kind = 'lake' THEN sums.area_km2 * 20 ELSE coalesce(s.upland_skm, sums.length_km) END)))
       ))::smallint AS rank
FROM sums JOIN stem s USING (ordinal) JOIN stem outlet ON outlet.ordinal = sums.mouth
LEFT JOIN river below ON below.ordinal = s.next_ordinal
"""
# A water that was known keeps its identity with the group that has most of its reaches, and each group keeps one.
_CLAIM = """
WITH shared AS (
    SELECT f.water_body_id, r.body, count(*) AS reaches
    FROM river r JOIN stem s USING (ordinal) JOIN water_feature f ON f.id = s.id AND f.source_id = :source_id
    GROUP BY f.water_body_id, r.body),
heir AS (SELECT DISTINCT ON (water_body_id) * FROM shared ORDER BY water_body_id, reaches DESC, body),
kept AS (SELECT DISTINCT ON (body) * FROM heir ORDER BY body, reaches DESC, water_body_id)
UPDATE body SET id = kept.water_body_id FROM kept WHERE kept.body = body.ordinal
"""
_FRESH_IDS = """
UPDATE body SET id = gen_random_uuid() WHERE id = own_id AND EXISTS (
    SELECT FROM water_body b WHERE b.id = body.own_id) AND NOT EXISTS (
    SELECT FROM water_feature f WHERE f.id = body.own_id AND f.water_body_id = body.own_id)
"""
_BODIES = """
INSERT INTO water_body AS b (id, public_id, kind, parent_id, basin, basin_area_km2, mean_discharge_cms, length_km, rank,
                             extent, source_id, source_key)
SELECT body.id, :prefix || '-' || {key}, body.kind, parent.id, body.basin, body.upland_skm, body.dis_av_cms,
       body.length_km, body.rank, ST_SetSRID(ST_Expand(body.extent::geometry, 0.00001), 4326), :source_id, {key}
FROM body LEFT JOIN body parent ON parent.ordinal = body.parent_ordinal,
LATERAL (SELECT left(trim(BOTH '-' FROM regexp_replace(lower(body.key), '[^a-z0-9]+', '-', 'g')), 40) AS key) plain
"""
_BODIES_KNOWN = """
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, parent_id = excluded.parent_id, basin = excluded.basin,
    basin_area_km2 = excluded.basin_area_km2, mean_discharge_cms = excluded.mean_discharge_cms,
    length_km = excluded.length_km, rank = excluded.rank, extent = excluded.extent, retired_at = NULL
WHERE (b.kind, b.parent_id, b.basin, b.basin_area_km2, b.mean_discharge_cms, b.length_km, b.rank, b.extent,
       b.retired_at)
    IS DISTINCT FROM (excluded.kind, excluded.parent_id, excluded.basin, excluded.basin_area_km2,
                      excluded.mean_discharge_cms, excluded.length_km, excluded.rank, excluded.extent, NULL)
"""
# An address that another water has already gets a few characters of our own.
_PLAIN_KEY = "plain.key"
_NEW_KEY = """CASE WHEN EXISTS (
        SELECT FROM water_body o WHERE o.public_id = :prefix || '-' || plain.key AND o.id <> body.id)
    THEN plain.key || '-' || right(body.id::text, 12) ELSE plain.key END"""
_FEATURES = """
INSERT INTO water_feature AS f (id, kind, water_body_id, geom, next_down_id, length_km, dist_dn_km, dist_up_km,
    upland_skm, catch_skm, ord_stra, ord_clas, ord_flow, hybas_l12, endorheic, dis_av_cms, area_km2, slope,
    source_id, source_key)
SELECT s.id, :kind, body.id, ST_SetSRID(s.geom, 4326), {next_id}, s.length_km,
       CASE WHEN :kind = 'reach' THEN coalesce(s.dist_dn_km, r.dist_dn_km) END,
       s.dist_up_km, s.upland_skm, s.catch_skm, s.ord_stra, s.ord_clas, s.ord_flow, s.hybas_l12, s.endorheic,
       s.dis_av_cms, s.area_km2, s.slope, :source_id, s.key
FROM {rows} s JOIN river r USING (ordinal) JOIN stem USING (ordinal) JOIN body ON body.ordinal = r.body
"""
# Where waters of this source are there already: a part of it may flow into what is not in its files, and what has not
# changed is left alone.
_KNOWN = """
LEFT JOIN water_feature known
    ON :partial AND stem.is_loose AND known.source_id = :source_id AND known.source_key = s.next_key
       AND known.retired_at IS NULL
ON CONFLICT (id) DO UPDATE SET (water_body_id, geom, next_down_id, length_km, dist_dn_km, dist_up_km, upland_skm,
        catch_skm, ord_stra, ord_clas, ord_flow, hybas_l12, endorheic, dis_av_cms, area_km2, slope, retired_at)
    = (excluded.water_body_id, excluded.geom, {kept_next}, excluded.length_km, excluded.dist_dn_km,
       excluded.dist_up_km, excluded.upland_skm, excluded.catch_skm, excluded.ord_stra, excluded.ord_clas,
       excluded.ord_flow, excluded.hybas_l12, excluded.endorheic, excluded.dis_av_cms, excluded.area_km2,
       excluded.slope, NULL)
WHERE (f.water_body_id, f.geom, f.next_down_id, f.length_km, f.dist_dn_km, f.dist_up_km, f.upland_skm, f.catch_skm,
       f.ord_stra, f.ord_clas, f.ord_flow, f.hybas_l12, f.endorheic, f.dis_av_cms, f.area_km2, f.slope,
       f.retired_at)
    IS DISTINCT FROM
      (excluded.water_body_id, excluded.geom, {kept_next}, excluded.length_km, excluded.dist_dn_km,
       excluded.dist_up_km, excluded.upland_skm, excluded.catch_skm, excluded.ord_stra, excluded.ord_clas,
       excluded.ord_flow, excluded.hybas_l12, excluded.endorheic, excluded.dis_av_cms, excluded.area_km2,
       excluded.slope, NULL)
"""
_MEASURE = {
    "reach": """
UPDATE {rows} SET length_km = round((ST_Length(geom::geography) / 1000)::numeric, 3) WHERE length_km IS NULL
""",
    "lake": """
UPDATE {rows} SET area_km2 = round((ST_Area(geom::geography) / 1e6)::numeric, 4) WHERE area_km2 IS NULL
""",
}
# What the outlet's row says comes first; other rows' names are aliases.
_NAMES = """
CREATE TEMP TABLE given_name ON COMMIT DROP AS
WITH said AS (
    SELECT DISTINCT ON (r.body, n.lang, n.name) r.body, n.lang, n.name, n.place, s.ordinal = r.body AS is_outlet
    FROM river r JOIN {rows} s USING (ordinal), LATERAL (
        VALUES ('zh-Hans', s.zh_hans, 0), ('zh-Hant', s.zh_hant, 0), ('en', s.en, 0)) n (lang, name, place)
    WHERE num_nonnulls(s.zh_hans, s.zh_hant, s.en) > 0 AND n.name IS NOT NULL
    ORDER BY r.body, n.lang, n.name, s.ordinal = r.body DESC
    ), more AS (
    SELECT DISTINCT r.body, CASE WHEN a.name ~ '[\u4e00-\u9fff]' THEN 'zh-Hans' ELSE 'en' END AS lang, a.name
    FROM river r JOIN {rows} s USING (ordinal), LATERAL string_to_table(s.aliases, E'\\t') a (name)
    WHERE s.aliases IS NOT NULL)
SELECT body.id AS water_body_id, lang, name, row_number() OVER (
           PARTITION BY body.id, lang ORDER BY is_outlet DESC, name) = 1 AS is_primary
FROM said JOIN body ON body.ordinal = said.body
UNION ALL
SELECT body.id, more.lang, more.name, false FROM more JOIN body ON body.ordinal = more.body
WHERE NOT EXISTS (SELECT FROM said WHERE (said.body, said.lang, said.name) = (more.body, more.lang, more.name))
"""
_NAMES_GONE = """
WITH gone AS (
    DELETE FROM water_name n USING body
    WHERE n.water_body_id = body.id AND NOT EXISTS (
        SELECT FROM given_name g WHERE (g.water_body_id, g.lang, g.name, g.is_primary)
                                     = (n.water_body_id, n.lang, n.name, n.is_primary))
    RETURNING n.water_body_id)
SELECT DISTINCT water_body_id FROM gone
"""
_NAMES_NEW = """
INSERT INTO water_name (id, water_body_id, lang, name, is_primary)
SELECT gen_random_uuid(), water_body_id, lang, name, is_primary FROM given_name g
WHERE NOT EXISTS (
    SELECT FROM water_name n WHERE (n.water_body_id, n.lang, n.name) = (g.water_body_id, g.lang, g.name))
RETURNING water_body_id
"""
_ARMS_GONE = """
DELETE FROM water_link l USING {rows} s WHERE l.upper_id = s.id
"""
_ARMS = """
INSERT INTO water_link (upper_id, lower_id)
SELECT up.id, down.id FROM way JOIN {rows} up ON up.key = way.upper_key JOIN {rows} down ON down.key = way.lower_key
WHERE way.place > 1
"""
_RETIRE = """
UPDATE water_feature f SET retired_at = :now
WHERE f.source_id = :source_id AND f.kind = :kind AND f.retired_at IS NULL
  AND NOT EXISTS (SELECT FROM {rows} s WHERE s.id = f.id)
"""
_RETIRE_OTHER = """
UPDATE water_feature f SET retired_at = :now FROM source o
WHERE o.code = :code AND f.source_id = o.id AND f.retired_at IS NULL
"""
_RETIRE_BODIES = """
UPDATE water_body b SET retired_at = :now FROM source o
WHERE o.id = b.source_id AND (o.id = :source_id OR o.code = :code) AND b.retired_at IS NULL
  AND NOT EXISTS (SELECT FROM water_feature f WHERE f.water_body_id = b.id AND f.retired_at IS NULL)
RETURNING b.id
"""
_SOURCE = """
INSERT INTO source (id, code, title, licence, url, retrieved_on) VALUES (:id, :code, :title, :licence, :url, :on)
ON CONFLICT (code) DO UPDATE SET retrieved_on = excluded.retrieved_on RETURNING id
"""


class Merge:
    """One run's merge inside the caller's transaction. ``rows`` is the quoted name of its staged table.

    ``is_trial``: it will be taken back, so it must not make readers wait as dropping an index would.
    """

    def __init__(self, session: Session, rows: str, layout: Layout, *, now: datetime, is_trial: bool = False) -> None:
        self._session = session
        self._rows = rows
        self._layout = layout
        self._now = now
        self._is_trial = is_trial
        self._run(_PLANNING)
        self._kept = self._run(_KEEP_IDS, source_code=layout.code)

    def walk(self) -> list[tuple[int, int]]:
        """Walk the flow from every mouth; the (row, row below) of reaches no mouth is reached from: circles."""
        self._run(_MEASURE[self._layout.kind])
        walked = self._run(_STEM)
        self._run(_STEM_INDEX)
        self._run("ANALYZE stem")
        # Round by round it must join by index: the planner cannot know how small each round is.
        self._run("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
        reached = self._run(_RIVER)
        self._run("SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on")
        self._run("CREATE UNIQUE INDEX ON river (ordinal); ANALYZE river")
        if reached == walked:
            return []
        return [(row.ordinal, row.next_ordinal) for row in self._session.execute(text(_UNREACHED))]

    def order(self) -> None:
        """Give every reach its stream order, where the source tells none. Some forty bytes a reach of memory."""
        found = self._session.execute(text("SELECT ordinal, next_ordinal FROM stem ORDER BY ordinal")).all()
        place_of = {row.ordinal: place for place, row in enumerate(found)}
        orders = strahler_orders([place_of.get(row.next_ordinal, -1) for row in found])
        self._run("CREATE TEMP TABLE stream_order (ordinal int8, ord_stra int2) ON COMMIT DROP")
        driver: Any = self._session.connection().connection.driver_connection
        with driver.cursor() as cursor, cursor.copy("COPY stream_order FROM STDIN") as into:
            for row, order in zip(found, orders, strict=True):
                into.write_row((row.ordinal, order or None))
        self._run("ANALYZE stream_order")
        self._run("UPDATE {rows} s SET ord_stra = o.ord_stra FROM stream_order o WHERE o.ordinal = s.ordinal")

    def forget(self) -> None:
        """Take back a walk, to walk again."""
        self._run("DROP TABLE stem, river")

    def live(self, *, partial: bool, replaces: str | None) -> Merged:
        """Make the staged rows live. What the source no longer has is retired, unless the files are a part of it."""
        kind = self._layout.kind
        values = {"kind": kind, "prefix": self._layout.prefix, "now": self._now, "code": replaces}
        values["partial"] = partial
        values["source_id"] = source_id = source_of(self._session, self._layout, now=self._now)
        before = self._count("SELECT count(*) FROM water_feature")
        values["is_first"] = self._count("SELECT count(*) FROM water_feature WHERE source_id = :id", id=source_id) == 0
        self._run(_BODY, **values)
        if self._kept:
            self._run(_CLAIM, **values)
            self._run(_FRESH_IDS)
        self._run("CREATE UNIQUE INDEX ON body (ordinal); ANALYZE body")
        staged = self._count(f"SELECT count(*) FROM {self._rows}")  # noqa: S608  # a name this module makes
        with _rebuilt(self._session, needed=staged > BULK_FACTOR * before and not self._is_trial):
            written = self._write(values)
            self._run(_NAMES)
            self._name()
            if "next_down" not in self._layout.columns and kind == REACH:
                self._run(_ARMS_GONE, **values)
                self._run(_ARMS)
        retired = 0 if partial or values["is_first"] else self._run(_RETIRE, **values)
        if replaces:
            retired += self._run(_RETIRE_OTHER, **values)
        if retired or self._kept:
            make_keys(self._session, self._session.execute(text(_RETIRE_BODIES), values).scalars().all())
        connect_lakes(self._session)
        added = staged - self._kept
        waters = self._count("SELECT count(*) FROM body")
        return Merged(waters, added, written - added, staged - written, retired)

    def _write(self, values: dict[str, Any]) -> int:
        """Waters, then their reaches or lakes; how many of these were written."""
        if values["is_first"]:
            self._run(_BODIES.replace("{key}", _PLAIN_KEY), **values)
            return self._run(_FEATURES.replace("{next_id}", "stem.next_id"), **values)
        self._run((_BODIES + _BODIES_KNOWN).replace("{key}", _NEW_KEY), **values)
        # The outlet of a lake whose source names none was found by us.
        is_found = self._layout.kind == LAKE and "next_down" not in self._layout.columns
        insert = (_FEATURES + _KNOWN).replace("{kept_next}", "f.next_down_id" if is_found else "excluded.next_down_id")
        return self._run(insert.replace("{next_id}", "coalesce(stem.next_id, known.id)"), **values)

    def _name(self) -> None:
        self._run("ANALYZE given_name")
        # Where the names' own statistics are old, as after a table was emptied, the planner would read all of them for
        # each: half a minute instead of half a second.
        self._run("SET LOCAL enable_nestloop = off")
        renamed = set(self._session.execute(text(_NAMES_GONE)).scalars())
        renamed.update(self._session.execute(text(_NAMES_NEW)).scalars())
        self._run("SET LOCAL enable_nestloop = on")
        make_keys(self._session, renamed)

    def _run(self, statement: str, **values: Any) -> int:
        done = self._session.execute(text(statement.replace("{rows}", self._rows)), values)
        return int(done.rowcount)  # type: ignore[attr-defined]

    def _count(self, statement: str, **values: Any) -> int:
        found: int = self._session.execute(text(statement), values).scalar_one()
        return found


def source_of(session: Session, layout: Layout, *, now: datetime) -> uuid.UUID:
    """The row of a layout's source, made or renewed."""
    values = {"code": layout.code, "title": layout.title, "licence": layout.licence, "url": layout.url}
    found: uuid.UUID = session.execute(text(_SOURCE), {"id": new_id(), "on": now.date(), **values}).scalar_one()
    return found


_INDEXES = """
SELECT format('DROP INDEX %s', i.indexrelid::regclass), pg_get_indexdef(i.indexrelid)
FROM pg_index i WHERE i.indrelid = ANY(CAST(:tables AS regclass[])) AND NOT i.indisprimary
  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
"""
# References of other tables to what is unique beside the key (a feature's number) go with it, and come back after it.
_CONSTRAINTS = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname),
       format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))
FROM pg_constraint c
WHERE c.conrelid = ANY(CAST(:tables AS regclass[])) AND c.contype IN ('u', 'f')
   OR c.contype = 'f' AND c.conindid IN (
       SELECT u.conindid FROM pg_constraint u WHERE u.conrelid = ANY(CAST(:tables AS regclass[])) AND u.contype = 'u')
ORDER BY c.contype
"""


@contextmanager
def _rebuilt(session: Session, *, needed: bool) -> Iterator[None]:
    """Drop what is kept row by row, and build it again in one go afterwards. Readers of the waters wait meanwhile."""
    tables = {"tables": list(TABLES)}
    rows = [*session.execute(text(_CONSTRAINTS), tables), *session.execute(text(_INDEXES), tables)] if needed else []
    for drop, _make in rows:
        session.execute(text(drop))
    yield
    for _drop, make in reversed(rows):
        session.execute(text(make.replace(":", "\\:")))
    # What follows asks of what has just been written; without this the planner believes that there is none of it.
    session.execute(text("ANALYZE " + ", ".join(TABLES)))
