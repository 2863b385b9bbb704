"""Waters generalised for tiles: made from the truth by set, and only what has changed since.

Everything here can be made again from waters and areas; nothing is asked of it but tiles.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.mapping.tiles_rules import (
    BANDS,
    CELL_ZOOM,
    FIRST_ORDER_KM2,
    HALF_WORLD_M,
    LAKE_AS_RIVER,
    LARGEST_STEP,
    MAX_ZOOM,
    NAMES_FROM,
    ORDER_RATIO,
    STEPS_A_DECADE,
    Band,
    Cell,
    least_steps,
)

LOCK = 0x57415445_54494C45  # "WATE TILE"
Progress = Callable[[str, int, int], None]

_PLANNING = """
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET work_mem = '256MB'
"""
_STALE = text("SELECT part, version FROM map_ground WHERE version IS DISTINCT FROM drawn_version ORDER BY part")
_DRAWN = text("UPDATE map_ground SET drawn_version = :version WHERE part = :part")
_NAMED = """
    SELECT water_body_id AS id, max(name) FILTER (WHERE lang = 'zh-Hans') AS zh,
           max(name) FILTER (WHERE lang = 'zh-Hant') AS hant, max(name) FILTER (WHERE lang = 'en') AS en
    FROM water_name WHERE is_primary AND lang <> 'pinyin' GROUP BY water_body_id
"""
# Which waters are drawn, and from what. One that was retired stays while it has carried a warning: the warning, and the
# months past, need a place to stand. What is not known of a reach is reckoned, see tiles_rules.
_SEEN = f"""
CREATE TEMP TABLE seen AS
WITH named AS ({_NAMED}),
sized AS (
    SELECT f.feature_id, f.water_body_id, b.public_id, f.kind = 'lake' AS is_lake, f.geom_3857 AS geom, f.dist_dn_km,
           named.zh, nullif(named.hant, named.zh) AS hant, nullif(named.en, named.zh) AS en,
           CASE WHEN f.kind = 'lake' THEN {LAKE_AS_RIVER} * coalesce(f.area_km2, ST_Area(f.geom_3857) / 2e6)
                ELSE coalesce(nullif(f.upland_skm, 0), {FIRST_ORDER_KM2} * {ORDER_RATIO} ^ (f.ord_stra - 1),
                              10 ^ ((12 - b.rank) / 2.0)) END AS size_km2
    FROM water_feature f JOIN water_body b ON b.id = f.water_body_id LEFT JOIN named ON named.id = b.id
    WHERE f.retired_at IS NULL OR EXISTS (SELECT FROM advisory a WHERE a.water_feature_id = f.id)
       OR EXISTS (SELECT FROM incident i WHERE i.water_feature_id = f.id)),
rung AS (
    SELECT sized.*, least({LARGEST_STEP}, floor({STEPS_A_DECADE} * log(greatest(size_km2, 1))))::smallint AS step,
           (CASE WHEN size_km2 >= CASE WHEN is_lake THEN 2e4 ELSE 1e5 END THEN 1
                 WHEN size_km2 >= CASE WHEN is_lake THEN 2e3 ELSE 1e4 END THEN 2
                 WHEN size_km2 >= CASE WHEN is_lake THEN 2e2 ELSE 1e3 END THEN 3
                 WHEN size_km2 >= CASE WHEN is_lake THEN 2e1 ELSE 1e2 END THEN 4 ELSE 5 END)::smallint AS size_class
    FROM sized)
SELECT feature_id, water_body_id, public_id, is_lake, dist_dn_km, zh, hant, en, step, size_class,
       md5(ST_AsBinary(geom) || convert_to(
           ROW(public_id, is_lake, zh, hant, en, step, size_class)::text, 'UTF8'))::uuid AS digest,
       ST_NPoints(geom) AS vertices, CASE WHEN is_lake THEN ST_Perimeter(geom) ELSE ST_Length(geom) END AS length_m,
       (ST_XMin(geom) + ST_XMax(geom)) / 2 AS x, (ST_YMin(geom) + ST_YMax(geom)) / 2 AS y
FROM rung
"""  # noqa: S608  # the pieces are constants
_CELL = f"least({2**CELL_ZOOM - 1}, greatest(0, floor({{}} / {2 * HALF_WORLD_M / 2**CELL_ZOOM})))::int"
_X, _Y = _CELL.format(f"(x + {HALF_WORLD_M})"), _CELL.format(f"({HALF_WORLD_M} - y)")
_CELLS = text(f"""
SELECT CASE WHEN is_lake THEN 'lakes' ELSE 'rivers' END AS layer, {_X} AS x, {_Y} AS y, step, count(*) AS count,
       sum(vertices) AS vertices, sum(length_m) AS length_m
FROM seen GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'labels', {_X}, {_Y}, step, count(*), 0, 0 FROM (
    SELECT step, ST_X(geom) AS x, ST_Y(geom) AS y FROM water_label) labels GROUP BY 2, 3, 4
""")  # noqa: S608  # the pieces are constants
_RULES_GONE = text("DELETE FROM tile_rule")
_RULE = text("INSERT INTO tile_rule (layer, zoom, least_step) VALUES (:layer, :zoom, :least_step)")
_GONE = """
DELETE FROM water_tile t WHERE NOT EXISTS (
    SELECT FROM seen s WHERE s.feature_id = t.feature_id AND s.digest = t.digest)
"""
_SURPLUS = """
DELETE FROM water_tile WHERE band = :band AND step < CASE WHEN is_lake THEN :lakes ELSE :rivers END
"""
# In the order of places on the ground, so that neighbours are neighbours in the table and its index as well.
_MISSING = """
INSERT INTO water_tile (band, feature_id, is_lake, step, size_class, public_id, name, name_hant, name_en, digest, geom)
SELECT :band, s.feature_id, s.is_lake, s.step, s.size_class, s.public_id,
       CASE WHEN :has_names THEN s.zh END, CASE WHEN :has_names THEN s.hant END, CASE WHEN :has_names THEN s.en END,
       s.digest, CASE WHEN s.is_lake THEN ST_SimplifyPreserveTopology(f.geom_3857, :tolerance_m)
                      ELSE ST_Simplify(f.geom_3857, :tolerance_m, true) END
FROM seen s JOIN water_feature f USING (feature_id)
WHERE s.step >= CASE WHEN s.is_lake THEN :lakes ELSE :rivers END AND NOT EXISTS (
    SELECT FROM water_tile t WHERE t.band = :band AND t.feature_id = s.feature_id)
ORDER BY f.geom_3857
"""
# A river's name stands in the middle of its course, a lake's inside its largest part.
_LABELS = """
CREATE TEMP TABLE called AS
WITH course AS (
    SELECT s.*, max(step) OVER water AS water_step, min(size_class) OVER water AS water_class, abs(
               coalesce(dist_dn_km, 0) - (coalesce(min(dist_dn_km) OVER water, 0)
                                          + coalesce(max(dist_dn_km) OVER water, 0)) / 2) AS off_middle
    FROM seen s WHERE num_nonnulls(zh, hant, en) > 0 WINDOW water AS (PARTITION BY water_body_id)),
middle AS (
    SELECT DISTINCT ON (water_body_id) * FROM course
    ORDER BY water_body_id, is_lake DESC, CASE WHEN is_lake THEN -step ELSE off_middle END, length_m DESC, feature_id)
SELECT m.public_id, m.is_lake, m.water_step AS step, m.water_class AS size_class, m.zh, m.hant, m.en,
       CASE WHEN m.is_lake THEN ST_PointOnSurface(f.geom_3857)
            ELSE ST_LineInterpolatePoint((
                SELECT d.geom FROM ST_Dump(f.geom_3857) d ORDER BY ST_Length(d.geom) DESC, d.path LIMIT 1), 0.5)
            END AS geom
FROM middle m JOIN water_feature f USING (feature_id)
"""
_LABELS_GONE = "DELETE FROM water_label l WHERE NOT EXISTS (SELECT FROM called c WHERE c.public_id = l.public_id)"
_LABELS_NEW = """
INSERT INTO water_label AS l (public_id, is_lake, step, size_class, name, name_hant, name_en, geom)
SELECT public_id, is_lake, step, size_class, zh, hant, en, geom FROM called
ON CONFLICT (public_id) DO UPDATE SET is_lake = excluded.is_lake, step = excluded.step,
    size_class = excluded.size_class, name = excluded.name, name_hant = excluded.name_hant, name_en = excluded.name_en,
    geom = excluded.geom
WHERE (l.is_lake, l.step, l.size_class, l.name, l.name_hant, l.name_en, l.geom) IS DISTINCT FROM (excluded.is_lake,
    excluded.step, excluded.size_class, excluded.name, excluded.name_hant, excluded.name_en, excluded.geom)
"""
_AREAS_GONE = "DELETE FROM area_label"
_AREAS = """
INSERT INTO area_label (code, level, name, name_hant, name_en, geom)
SELECT j.code, array_position(ARRAY['province', 'prefecture', 'county'], j.level), n.zh, nullif(n.hant, n.zh),
       nullif(n.en, n.zh), ST_Transform(ST_PointOnSurface(j.geom), 3857)
FROM jurisdiction j LEFT JOIN (
    SELECT jurisdiction_id AS id, max(name) FILTER (WHERE lang = 'zh-Hans') AS zh,
           max(name) FILTER (WHERE lang = 'zh-Hant') AS hant, max(name) FILTER (WHERE lang = 'en') AS en
    FROM jurisdiction_name GROUP BY jurisdiction_id) n ON n.id = j.id
WHERE j.retired_at IS NULL AND j.level <> 'basin' AND num_nonnulls(n.zh, n.hant, n.en) > 0 AND NOT ST_IsEmpty(j.geom)
"""


def draw(sessions: sessionmaker[Session], *, progress: Progress | None = None) -> None:
    """Bring what tiles are cut from up to the present state. Call it outside any transaction.

    One at a time in the whole system: whoever comes second waits and finds it done. Only waters that changed are
    generalised anew; a country of a million reaches takes three minutes the first time, half a minute afterwards.
    Each band is kept as it is done, so a run that is killed leaves the next one the rest; until all are done nothing
    says that they are.
    """
    tell = progress or (lambda _step, _done, _total: None)
    with _alone(sessions) as session:
        stale = {row.part: row.version for row in session.execute(_STALE)}
        if "waters" in stale:
            _draw_waters(session, tell)
        if "areas" in stale:
            session.execute(text(_AREAS_GONE))
            session.execute(text(_AREAS))
        for part, version in stale.items():
            session.execute(_DRAWN, {"part": part, "version": version})
        session.commit()


@contextmanager
def _alone(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """One connection through several transactions, with the lock and with settings for long statements."""
    with sessions() as asked:
        engine = asked.get_bind().engine
    with engine.connect() as connection, Session(connection) as session:
        session.execute(text(_PLANNING))
        session.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
        session.commit()
        try:
            yield session
        finally:
            session.rollback()
            connection.invalidate()  # with its settings, its temporary tables and its lock


def _draw_waters(session: Session, tell: Progress) -> None:
    total = len(BANDS) + 2
    tell("look", 0, total)
    for statement in (_SEEN, "CREATE UNIQUE INDEX ON seen (feature_id)", "ANALYZE seen"):
        session.execute(text(statement))
    tell("labels", 1, total)
    for statement in (_LABELS, _LABELS_GONE, _LABELS_NEW):
        session.execute(text(statement))
    rules = _rule(session)
    session.execute(text(_GONE))
    session.commit()
    for number, band in enumerate(BANDS):
        tell("generalise", 2 + number, total)
        _draw_band(session, band, rules)
        session.commit()
    tell("generalise", total, total)


def _rule(session: Session) -> dict[tuple[str, int], int]:
    rules = least_steps(Cell(*row) for row in session.execute(_CELLS))
    session.execute(_RULES_GONE)
    rows = [{"layer": layer, "zoom": zoom, "least_step": step} for (layer, zoom), step in sorted(rules.items())]
    session.execute(_RULE, rows)
    return rules


def _draw_band(session: Session, band: Band, rules: dict[tuple[str, int], int]) -> None:
    highest = min(band.zooms[-1], MAX_ZOOM)
    values = {
        "band": band.number,
        "tolerance_m": band.tolerance_m,
        "has_names": highest >= NAMES_FROM,
        "rivers": rules["rivers", highest],
        "lakes": rules["lakes", highest],
    }
    session.execute(text(_SURPLUS), values)
    session.execute(text(_MISSING), values)
