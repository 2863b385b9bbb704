"""What lies around a water, and who answers for it: other waters with their levels, departments, river chiefs."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

UPSTREAM, DOWNSTREAM, NEARBY = "upstream", "downstream", "nearby"
STEPS_DOWN = 5  # waters one after the other on the way down
NEAR_M = 20_000.0
NEIGHBOURS_READ = 200  # reaches and lakes looked at around a place; a river has many


@dataclass(frozen=True)
class Neighbour:
    """A named water above, below or near another; ``level`` is the worst it carries anywhere, None for none."""

    relation: str
    public_id: str
    kind: str
    names: dict[str, str]
    level: int | None


@dataclass(frozen=True)
class Responsible:
    """A department that answers for a water at some place, or was told of an incident of it (``is_told``).

    ``area_code`` is that of its area's page, None where there is none: a basin is no administrative area. How it
    answered is told by its published figures alone (accountability). Names in the reader's language.
    """

    code: str
    name: str | None
    kind: str
    level: str
    area: str | None
    area_code: str | None
    is_told: bool


@dataclass(frozen=True)
class Chief:
    """The office of a river chief, and where. Who holds it, and how they are reached, is for staff."""

    title: str
    level: str
    area: str | None


# Above: whose water comes here, by the network and by what surveys say flows into it. Below: one water after the other.
# Near: around the place of its worst level, else around its first reach.
_AROUND = text(f"""
WITH RECURSIVE own AS (SELECT id FROM water_feature WHERE water_body_id = :id AND retired_at IS NULL),
above AS (
    SELECT u.water_body_id AS id FROM own JOIN water_feature u ON u.next_down_id = own.id AND u.retired_at IS NULL
    UNION SELECT u.water_body_id FROM own JOIN water_link l ON l.lower_id = own.id
          JOIN water_feature u ON u.id = l.upper_id AND u.retired_at IS NULL
    UNION SELECT b.id FROM water_body b WHERE b.parent_id = :id AND b.retired_at IS NULL),
below AS (
    SELECT CAST(:id AS uuid) AS id, 0 AS step
    UNION
    SELECT next.id, below.step + 1 FROM below, LATERAL (
        SELECT d.water_body_id AS id FROM water_feature o JOIN water_feature d ON d.id = o.next_down_id
        WHERE o.water_body_id = below.id AND o.retired_at IS NULL AND d.retired_at IS NULL
        UNION SELECT d.water_body_id FROM water_feature o JOIN water_link l ON l.upper_id = o.id
              JOIN water_feature d ON d.id = l.lower_id
              WHERE o.water_body_id = below.id AND o.retired_at IS NULL AND d.retired_at IS NULL
        UNION SELECT b.parent_id FROM water_body b WHERE b.id = below.id AND b.parent_id IS NOT NULL) next
    WHERE below.step < {STEPS_DOWN} AND next.id <> below.id AND next.id <> :id),
here AS (
    SELECT ST_PointOnSurface(f.geom_3857) AS at FROM water_feature f
    LEFT JOIN advisory a ON a.water_feature_id = f.id AND a.basis = 'confirmed'
    WHERE f.water_body_id = :id AND f.retired_at IS NULL
    ORDER BY a.level DESC NULLS LAST, f.feature_id LIMIT 1),
near AS (
    SELECT n.water_body_id AS id, min(n.far) AS far FROM here, LATERAL (
        SELECT w.water_body_id, w.geom_3857 <-> here.at AS far FROM water_feature w
        WHERE w.retired_at IS NULL AND w.geom_3857 && ST_Expand(here.at, :near)
        ORDER BY w.geom_3857 <-> here.at LIMIT {NEIGHBOURS_READ}) n
    WHERE n.far <= :near GROUP BY n.water_body_id),
found AS (
    SELECT '{DOWNSTREAM}' AS relation, id, min(step)::float8 AS far FROM below WHERE step > 0 GROUP BY id
    UNION ALL SELECT '{UPSTREAM}', id, 0 FROM above WHERE id NOT IN (SELECT id FROM below)
    UNION ALL SELECT '{NEARBY}', id, far FROM near
        WHERE id <> :id AND id NOT IN (SELECT id FROM above UNION ALL SELECT id FROM below)),
levels AS (
    SELECT f.water_body_id AS id, max(a.level) AS level
    FROM advisory a JOIN water_feature f ON f.id = a.water_feature_id
    WHERE a.basis = 'confirmed' AND f.water_body_id IN (SELECT id FROM found) GROUP BY f.water_body_id),
ranked AS (
    SELECT found.relation, b.id, b.public_id, b.kind, levels.level, row_number() OVER (
        PARTITION BY found.relation ORDER BY CASE found.relation WHEN '{UPSTREAM}' THEN -coalesce(levels.level, 0)
            ELSE found.far END, b.rank, b.public_id) AS nth
    FROM found JOIN water_body b ON b.id = found.id LEFT JOIN levels ON levels.id = found.id
    WHERE EXISTS (SELECT FROM water_name n WHERE n.water_body_id = b.id AND n.is_primary))
SELECT relation, public_id, kind, level,
       (SELECT jsonb_object_agg(n.lang, n.name) FROM water_name n WHERE n.water_body_id = ranked.id AND n.is_primary)
           AS names
FROM ranked WHERE nth <= :limit ORDER BY relation, nth
""")  # noqa: S608  # the pieces are constants of this module
_NAME_OF = "ORDER BY n.lang = :lang DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1"
# The most local department of each kind at each of the places, and every one that was told of this water.
_RESPONSIBLE = text(f"""
WITH place AS (
    SELECT nth, ST_SetSRID(ST_MakePoint(lon, lat), 4326) AS at
    FROM unnest(CAST(:lons AS float8[]), CAST(:lats AS float8[])) WITH ORDINALITY p (lon, lat, nth)),
able AS (
    SELECT a.id, place.nth, a.kind,
           array_position(ARRAY['county', 'prefecture', 'province', 'basin'], a.level) AS distance
    FROM place JOIN jurisdiction_part part ON ST_Intersects(part.geom, place.at)
    JOIN agency a ON a.jurisdiction_id = part.jurisdiction_id AND a.retired_at IS NULL
    WHERE EXISTS (SELECT FROM competence c WHERE c.agency_id = a.id)),
nearest AS (SELECT able.*, min(distance) OVER (PARTITION BY kind, nth) AS closest FROM able),
told AS (
    SELECT c.agency_id AS id, count(*) AS cases
    FROM water_feature f JOIN incident i ON i.water_feature_id = f.id
    JOIN escalation_case c ON c.incident_id = i.id
    WHERE f.water_body_id = :id AND c.agency_id IS NOT NULL AND c.state <> 'withdrawn' AND c.role <> 'downstream'
    GROUP BY c.agency_id)
SELECT a.code, (SELECT n.name FROM agency_name n WHERE n.agency_id = a.id {_NAME_OF}) AS name, a.kind, a.level,
       (SELECT n.name FROM jurisdiction_name n WHERE n.jurisdiction_id = a.jurisdiction_id {_NAME_OF}) AS area,
       CASE WHEN j.level <> 'basin' AND j.retired_at IS NULL AND j.code ~ '^[0-9]{{6}}$' THEN j.code END AS area_code,
       told.id IS NOT NULL AS is_told
FROM (SELECT id FROM nearest WHERE distance = closest UNION SELECT id FROM told) who
JOIN agency a ON a.id = who.id JOIN jurisdiction j ON j.id = a.jurisdiction_id LEFT JOIN told ON told.id = a.id
ORDER BY coalesce(told.cases, 0) DESC,
         array_position(ARRAY['county', 'prefecture', 'province', 'basin'], a.level), a.code
LIMIT :limit
""")  # noqa: S608  # the pieces are constants of this module
_CHIEFS = text(f"""
SELECT DISTINCT c.title, j.level, j.code, array_position(ARRAY['province', 'prefecture', 'county'], j.level) AS nth,
       (SELECT n.name FROM jurisdiction_name n WHERE n.jurisdiction_id = j.id {_NAME_OF}) AS area
FROM river_chief c JOIN jurisdiction j ON j.id = c.jurisdiction_id
WHERE c.water_body_id = :id AND c.retired_at IS NULL ORDER BY nth, j.code, c.title LIMIT :limit
""")  # noqa: S608  # the piece is a constant of this module


def waters_around(session: Session, water_body_id: uuid.UUID, *, limit: int = 12) -> dict[str, list[Neighbour]]:
    """Named waters above, below and near a water, by relation: above the coloured ones first, below in their order.

    One query. Near is within :data:`NEAR_M` (measured as the map draws, so up to a third less far north).
    """
    found: dict[str, list[Neighbour]] = {UPSTREAM: [], DOWNSTREAM: [], NEARBY: []}
    for row in session.execute(_AROUND, {"id": water_body_id, "near": NEAR_M, "limit": limit}):
        found[row.relation].append(Neighbour(**row._mapping))
    return found


def responsible_for(
    session: Session,
    water_body_id: uuid.UUID,
    places: Sequence[tuple[float, float]],
    *,
    lang: str,
    limit: int = 24,
) -> list[Responsible]:
    """The departments competent at places (lon, lat) of a water, and those told of its incidents. One query."""
    lons, lats = [lon for lon, _lat in places], [lat for _lon, lat in places]
    values = {"id": water_body_id, "lons": lons, "lats": lats, "lang": lang, "limit": limit}
    return [Responsible(**row._mapping) for row in session.execute(_RESPONSIBLE, values)]


def chiefs_of(session: Session, water_body_id: uuid.UUID, *, lang: str, limit: int = 24) -> list[Chief]:
    """The offices of a water's river chiefs, high before low. One query."""
    rows = session.execute(_CHIEFS, {"id": water_body_id, "lang": lang, "limit": limit})
    return [Chief(row.title, row.level, row.area) for row in rows]
