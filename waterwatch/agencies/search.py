"""Finding administrative areas by name: in characters, by sound or initials, with or without 省, 市, 区, 县."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.agencies.queries import JurisdictionAt
from waterwatch.agencies.rules import BEGINS, area_keys
from waterwatch.kernel.spelling import fold, is_han

LAST_CHARACTER = "\U0010ffff"  # sorts behind every other
MIN_CHARACTERS = 2  # one character or letter begins the names of hundreds


@dataclass(frozen=True)
class FoundArea:
    """An area found by name. ``bbox`` is (west, south, east, north) in degrees WGS-84.

    ``names`` by language; ``above``: those of what it belongs to, the nearest first. ``is_exact``: the whole name, with
    or without its 市 or 县, by characters, sound or initials, and not merely its beginning.
    """

    code: str
    level: str
    names: dict[str, str]
    above: tuple[dict[str, str], ...]
    bbox: tuple[float, float, float, float]
    is_exact: bool


# The higher before the lower: 吉林 is a province first, and a city in it.
_SEARCH = text(f"""
WITH hit AS MATERIALIZED (
    SELECT jurisdiction_id AS id, min(grade + CASE WHEN key = :words THEN 0 ELSE {BEGINS} END) AS place
    FROM jurisdiction_key WHERE key ~>=~ :words AND key ~<~ :beyond GROUP BY jurisdiction_id),
best AS (
    SELECT j.id, j.code, j.level, j.parent_id, j.geom, hit.place, row_number() OVER (
        ORDER BY hit.place, array_position(ARRAY['province', 'prefecture', 'county'], j.level), j.code) AS nth
    FROM hit JOIN jurisdiction j USING (id) WHERE j.retired_at IS NULL ORDER BY nth LIMIT :limit)
SELECT best.code, best.level, best.place < {BEGINS} AS is_exact,
       ST_XMin(best.geom) AS west, ST_YMin(best.geom) AS south, ST_XMax(best.geom) AS east, ST_YMax(best.geom) AS north,
       (SELECT jsonb_object_agg(lang, name) FROM jurisdiction_name WHERE jurisdiction_id = best.id) AS names,
       (SELECT jsonb_object_agg(lang, name) FROM jurisdiction_name WHERE jurisdiction_id = above.id) AS above_1,
       (SELECT jsonb_object_agg(lang, name) FROM jurisdiction_name WHERE jurisdiction_id = above.parent_id) AS above_2
FROM best LEFT JOIN jurisdiction above ON above.id = best.parent_id ORDER BY best.nth
""")  # noqa: S608  # the pieces are constants
_KNOWN = text("SELECT DISTINCT key FROM jurisdiction_key WHERE key = ANY(:keys)")
_AT_MANY = text("""
SELECT place.nth, j.code, j.level, coalesce(n.name, hans.name) AS name
FROM (SELECT nth, ST_SetSRID(ST_MakePoint(lon, lat), 4326) AS at
      FROM unnest(CAST(:lons AS float8[]), CAST(:lats AS float8[])) WITH ORDINALITY p (lon, lat, nth)) place
CROSS JOIN LATERAL (SELECT DISTINCT jurisdiction_id FROM jurisdiction_part part WHERE ST_Intersects(part.geom, at)) here
JOIN jurisdiction j ON j.id = here.jurisdiction_id AND j.level <> 'basin'
LEFT JOIN jurisdiction_name n ON n.jurisdiction_id = j.id AND n.lang = :lang
LEFT JOIN jurisdiction_name hans ON hans.jurisdiction_id = j.id AND hans.lang = 'zh-Hans'
ORDER BY place.nth, array_position(ARRAY['county', 'prefecture', 'province'], j.level), j.code
""")
_KEYS_GONE = text("DELETE FROM jurisdiction_key WHERE jurisdiction_id = ANY(:ids)")
_NAMES_OF = text("""
SELECT n.jurisdiction_id, array_agg(n.name) AS names FROM jurisdiction_name n
JOIN jurisdiction j ON j.id = n.jurisdiction_id AND j.level <> 'basin'
WHERE n.jurisdiction_id = ANY(:ids) GROUP BY n.jurisdiction_id
""")


def search_areas(session: Session, words: str, *, limit: int = 10) -> list[FoundArea]:
    """Areas by a name or its beginning, exact before begun, high before low. One query; none for a single letter."""
    sought = fold(words)
    if len(sought) < MIN_CHARACTERS:
        return []
    rows = session.execute(_SEARCH, {"words": sought, "beyond": sought + LAST_CHARACTER, "limit": limit})
    return [
        FoundArea(
            row.code,
            row.level,
            row.names or {},
            tuple(names for names in (row.above_1, row.above_2) if names),
            (row.west, row.south, row.east, row.north),
            row.is_exact,
        )
        for row in rows
    ]


def split_at_area(session: Session, words: str) -> tuple[str, str] | None:
    """Words without a space in two, where they begin with an area's name: ``"洪山区南湖"`` → 洪山区 and 南湖.

    The longest such name counts, and at least two characters must follow it: 鄱阳湖 is a lake and no 湖 in 鄱阳.
    Chinese characters alone are read so. One query.
    """
    if not is_han(words) or len(words) < 2 * MIN_CHARACTERS:
        return None
    begun = {fold(words[:length]): length for length in range(MIN_CHARACTERS, len(words) - MIN_CHARACTERS + 1)}
    known = session.execute(_KNOWN, {"keys": list(begun)}).scalars()
    length = max((begun[key] for key in known), default=0)
    return (words[:length], words[length:]) if length else None


def areas_at_each(
    session: Session, places: Sequence[tuple[float, float]], *, lang: str = "zh-Hans"
) -> list[list[JurisdictionAt]]:
    """For each place (lon, lat in WGS-84) the county, prefecture and province it lies in. One query."""
    found: list[list[JurisdictionAt]] = [[] for _place in places]
    if places:
        values: dict[str, Any] = {"lons": [lon for lon, _ in places], "lats": [lat for _, lat in places], "lang": lang}
        for row in session.execute(_AT_MANY, values):
            found[row.nth - 1].append(JurisdictionAt(row.code, row.level, row.name))
    return found


def make_area_keys(session: Session, jurisdiction_ids: Collection[UUID]) -> None:
    """Make these areas' keys anew from their names."""
    ids = list(jurisdiction_ids)
    session.execute(_KEYS_GONE, {"ids": ids})
    found = session.execute(_NAMES_OF, {"ids": ids}).all()
    connection: Any = session.connection().connection.driver_connection
    copy = "COPY jurisdiction_key (jurisdiction_id, key, grade) FROM STDIN (FORMAT BINARY)"
    with connection.cursor() as cursor, cursor.copy(copy) as to_table:
        to_table.set_types(["uuid", "text", "int2"])
        for jurisdiction_id, names in found:
            for key, grade in area_keys(names).items():
                to_table.write_row((jurisdiction_id, key, grade))
