"""What the page of an administrative area tells of itself: its waters by level, and its parts.

An incident lies where its public point lies. A water has in an area the level of the worst open incident there: a river
that is orange in one province is not so in the next for that alone. Borders themselves are never given out.
"""

from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Area:
    """An area by its GB/T 2260 code; ``above``: (code, names) of what it belongs to, the nearest first."""

    code: str
    level: str
    names: dict[str, str]
    above: tuple[tuple[str, dict[str, str]], ...] = ()


@dataclass(frozen=True)
class SubArea:
    """A part of an area, how many open incidents lie in it, and the worst of their levels."""

    code: str
    names: dict[str, str]
    open_incidents: int
    level: int | None


@dataclass(frozen=True)
class WaterThere:
    """A coloured water in an area."""

    public_id: str
    kind: str
    names: dict[str, str]
    level: int
    open_incidents: int


@dataclass(frozen=True)
class AreaNumbers:
    """Open incidents, and how many waters carry which level (rank → count, 4 to 1)."""

    open_incidents: int
    waters_by_level: dict[int, int] = field(default_factory=dict)


_NAMES = "(SELECT jsonb_object_agg(lang, name) FROM jurisdiction_name WHERE jurisdiction_id = {of})"
_AREA = text(f"""
SELECT j.code, j.level, coalesce({_NAMES.format(of="j.id")}, '{{}}'::jsonb) AS names,
       up.code AS code_1, {_NAMES.format(of="up.id")} AS names_1,
       top.code AS code_2, {_NAMES.format(of="top.id")} AS names_2
FROM jurisdiction j LEFT JOIN jurisdiction up ON up.id = j.parent_id LEFT JOIN jurisdiction top ON top.id = up.parent_id
WHERE j.code = :code AND j.retired_at IS NULL AND j.level <> 'basin'
""")  # noqa: S608  # the pieces are constants of this module
_PARTS = f"""
SELECT j.code, coalesce({_NAMES.format(of="j.id")}, '{{{{}}}}'::jsonb) AS names,
       coalesce(found.incidents, 0)::int AS open_incidents, found.level
FROM jurisdiction j LEFT JOIN LATERAL (
    SELECT count(DISTINCT i.id) AS incidents, max(i.severity) AS level
    FROM jurisdiction_part p JOIN incident i ON i.closed_at IS NULL AND ST_Intersects(i.public_point, p.geom)
    WHERE p.jurisdiction_id = j.id) found ON true
WHERE j.retired_at IS NULL AND {{where}}
ORDER BY found.level DESC NULLS LAST, found.incidents DESC, j.code LIMIT :limit
"""  # noqa: S608  # the pieces are constants of this module
_PARTS_OF = text(_PARTS.format(where="j.parent_id = (SELECT id FROM jurisdiction WHERE code = :code)"))
_PROVINCES = text(_PARTS.format(where="j.level = 'province'"))
_INSIDE = """
SELECT DISTINCT i.id, i.severity, i.water_feature_id
FROM jurisdiction j JOIN jurisdiction_part p ON p.jurisdiction_id = j.id
JOIN incident i ON ST_Intersects(i.public_point, p.geom)
WHERE j.code = :code
"""
_WATERS = text(f"""
SELECT b.public_id, b.kind, there.level, there.open_incidents, coalesce((
           SELECT jsonb_object_agg(n.lang, n.name) FROM water_name n WHERE n.water_body_id = b.id AND n.is_primary),
           '{{}}'::jsonb) AS names
FROM (SELECT f.water_body_id, max(inside.severity) AS level, count(*)::int AS open_incidents
      FROM ({_INSIDE} AND i.closed_at IS NULL) inside JOIN water_feature f ON f.id = inside.water_feature_id
      GROUP BY f.water_body_id) there
JOIN water_body b ON b.id = there.water_body_id
ORDER BY there.level DESC, there.open_incidents DESC, b.rank, b.public_id LIMIT :limit
""")  # noqa: S608  # the pieces are constants of this module
_NUMBERS = text(f"""
SELECT level, count(*)::int AS waters, sum(open_incidents)::int AS open_incidents
FROM (SELECT f.water_body_id, max(inside.severity) AS level, count(*) AS open_incidents
      FROM ({_INSIDE} AND i.closed_at IS NULL) inside JOIN water_feature f ON f.id = inside.water_feature_id
      GROUP BY f.water_body_id) there
GROUP BY level
""")  # noqa: S608  # the pieces are constants of this module


def area_by_code(session: Session, code: str) -> Area | None:
    """An area by its GB/T 2260 code; None for one that is not there, or was retired. One query."""
    row = session.execute(_AREA, {"code": code}).first()
    if row is None:
        return None
    above = ((row.code_1, row.names_1 or {}), (row.code_2, row.names_2 or {}))
    return Area(row.code, row.level, row.names, tuple(one for one in above if one[0]))


def parts_of(session: Session, code: str, *, limit: int = 60) -> list[SubArea]:
    """The areas right below one, those with the worst level first. One query."""
    rows = session.execute(_PARTS_OF, {"code": code, "limit": limit})
    return [SubArea(**row._mapping) for row in rows]


def provinces(session: Session, *, limit: int = 60) -> list[SubArea]:
    """The provinces, those with the worst level first. One query."""
    return [SubArea(**row._mapping) for row in session.execute(_PROVINCES, {"limit": limit})]


def waters_there(session: Session, code: str, *, limit: int = 200) -> list[WaterThere]:
    """The waters that carry a level in an area, worst first. One query."""
    return [WaterThere(**row._mapping) for row in session.execute(_WATERS, {"code": code, "limit": limit})]


def numbers_of(session: Session, code: str) -> AreaNumbers:
    """Open incidents of an area, and its waters by level. One query."""
    rows = session.execute(_NUMBERS, {"code": code}).all()
    by_level = {row.level: row.waters for row in sorted(rows, key=lambda row: -row.level)}
    return AreaNumbers(sum(row.open_incidents for row in rows), by_level)
