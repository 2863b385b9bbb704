"""A flow network from lines alone, for sources that draw rivers but do not say what flows into what.

OpenStreetMap draws a waterway downstream and joins two by sharing a node (wiki.openstreetmap.org, Key:waterway). So
lines are cut where another begins or ends on them, and each piece flows into the one that begins where it ends. Where
several begin, the main one is that of the same name, then a river before a canal, then the longest; the others are side
arms.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.imports.rules import WATER_STAGED

_KEPT = ", ".join(name for name, _type in WATER_STAGED if name not in ("ordinal", "key", "length_km", "geom"))
_TIP = """
CREATE TEMP TABLE tip ON COMMIT DROP AS
SELECT ST_StartPoint(geom) AS point FROM {rows} UNION SELECT ST_EndPoint(geom) FROM {rows}
"""
_CUT = """
CREATE TEMP TABLE cut ON COMMIT DROP AS
SELECT s.ordinal, d.path[1] AS vertex
FROM {rows} s, ST_DumpPoints(s.geom) d
WHERE GeometryType(s.geom) = 'LINESTRING' AND d.path[1] > 1 AND d.path[1] < ST_NPoints(s.geom)
  AND d.geom IN (SELECT point FROM tip)
"""
# The first piece keeps the line's key; the others are named by where they begin, so that a new confluence elsewhere on
# the line leaves them who they are.
_PIECES = f"""
CREATE TEMP TABLE piece ON COMMIT DROP AS
WITH bounds AS (
    SELECT ordinal, vertex AS first, lead(vertex) OVER (PARTITION BY ordinal ORDER BY vertex) AS last
    FROM (SELECT ordinal, 1 AS vertex FROM (SELECT DISTINCT ordinal FROM cut) c
          UNION SELECT ordinal, vertex FROM cut
          UNION SELECT ordinal, ST_NPoints(geom) FROM {{rows}} WHERE ordinal IN (SELECT ordinal FROM cut)) v)
SELECT s.ordinal AS line, b.first, {_KEPT}, s.key,
       ST_MakeLine(ARRAY(SELECT ST_PointN(s.geom, n) FROM generate_series(b.first, b.last) n)) AS geom
FROM bounds b JOIN {{rows}} s USING (ordinal) WHERE b.last IS NOT NULL
"""  # noqa: S608  # the columns are constants of this module
_CUT_FIRST = """
UPDATE {rows} s SET geom = piece.geom, length_km = NULL FROM piece WHERE piece.line = s.ordinal AND piece.first = 1
"""
_ADD_PIECES = f"""
INSERT INTO {{rows}} (id, ordinal, key, geom, {_KEPT})
SELECT gen_random_uuid(), :last + row_number() OVER (ORDER BY line, first),
       key || '@' || left(md5(ST_AsBinary(ST_StartPoint(geom))), 10), geom, {_KEPT}
FROM piece WHERE first > 1
"""  # noqa: S608
_WAYS = """
CREATE TEMP TABLE way ON COMMIT DROP AS
SELECT up.key AS upper_key, down.key AS lower_key, row_number() OVER (
           PARTITION BY up.key
           ORDER BY coalesce(up.zh_hans = down.zh_hans, false) DESC, coalesce(up.en = down.en, false) DESC,
                    down.water_kind DESC, ST_Length(down.geom) DESC, down.key) AS place
FROM {rows} up JOIN {rows} down ON ST_StartPoint(down.geom) = ST_EndPoint(up.geom) AND down.key <> up.key
"""
_NEXT = "UPDATE {rows} s SET next_key = way.lower_key FROM way WHERE way.upper_key = s.key AND way.place = 1"


def join_lines(session: Session, rows: str) -> int:
    """Cut the staged lines where they meet and set what each flows into; the number of pieces that were added.

    Leaves the side arms in the temporary table ``way`` (``upper_key``, ``lower_key``, ``place`` from 2 on).
    """

    def run(statement: str, **values: int) -> int:
        return int(session.execute(text(statement.replace("{rows}", rows)), values).rowcount)  # type: ignore[attr-defined]

    run(_TIP)
    run("ANALYZE tip")
    run(_CUT)
    run(_PIECES)
    last = session.execute(text(f"SELECT coalesce(max(ordinal), 0) FROM {rows}")).scalar_one()  # noqa: S608
    run(_CUT_FIRST)
    added = run(_ADD_PIECES, last=last)
    run(f"ANALYZE {rows}")
    run(_WAYS)
    run(_NEXT)
    return added
