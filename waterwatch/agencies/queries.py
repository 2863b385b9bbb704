"""Which jurisdictions a place lies in, and which agencies are competent there. One statement each."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class JurisdictionAt:
    """An administrative area that contains a place."""

    code: str
    level: str
    name: str | None


@dataclass(frozen=True)
class CompetentAgency:
    """An agency that must be told; ``addresses`` are e-mail addresses in order of preference, perhaps none."""

    agency_id: uuid.UUID
    code: str
    kind: str
    level: str
    addresses: tuple[str, ...]


_AT = text("""
SELECT j.code, j.level, n.name
FROM (SELECT DISTINCT jurisdiction_id FROM jurisdiction_part
      WHERE ST_Intersects(geom, ST_SetSRID(ST_MakePoint(:lon, :lat), 4326))) here
JOIN jurisdiction j ON j.id = here.jurisdiction_id
LEFT JOIN jurisdiction_name n ON n.jurisdiction_id = j.id AND n.lang = :lang
ORDER BY array_position(ARRAY['county', 'prefecture', 'province'], j.level), j.code
""")
# The most local agency of each kind; a boundary point lies in several counties, and each of them is told.
_COMPETENT = text("""
WITH here AS (
    SELECT DISTINCT jurisdiction_id AS id FROM jurisdiction_part
    WHERE ST_Intersects(geom, ST_SetSRID(ST_MakePoint(:lon, :lat), 4326))
), able AS (
    SELECT a.id, a.code, a.kind, a.level, array_position(ARRAY['county', 'prefecture', 'province'], a.level) AS distance
    FROM agency a JOIN here ON here.id = a.jurisdiction_id
    WHERE a.retired_at IS NULL AND EXISTS (
        SELECT FROM competence c WHERE c.agency_id = a.id AND c.min_severity <= :severity
          AND (c.observation_kind IS NULL OR c.observation_kind = :observation_kind))
), nearest AS (SELECT able.*, min(distance) OVER (PARTITION BY kind) AS closest FROM able)
SELECT n.id AS agency_id, n.code, n.kind, n.level,
       coalesce((SELECT array_agg(k.address ORDER BY k.position, k.address) FROM agency_contact k
                 WHERE k.agency_id = n.id AND k.active AND k.channel = 'email'), '{}') AS addresses
FROM nearest n WHERE n.distance = n.closest ORDER BY n.kind, n.code
""")


def jurisdictions_at(session: Session, lon: float, lat: float, *, lang: str = "zh-Hans") -> list[JurisdictionAt]:
    """The county, prefecture and province a place (WGS-84) lies in; more than one of a level on a boundary."""
    rows = session.execute(_AT, {"lon": lon, "lat": lat, "lang": lang})
    return [JurisdictionAt(**row._mapping) for row in rows]


def competent_agencies(
    session: Session, lon: float, lat: float, observation_kind: str, severity: int
) -> list[CompetentAgency]:
    """Who must be told of an observation of this kind and severity rank at a place: the most local agency of each kind.

    Empty when nobody is competent, which is an outcome of its own and is made loud by escalation.
    """
    values = {"lon": lon, "lat": lat, "observation_kind": observation_kind, "severity": severity}
    return [
        CompetentAgency(row.agency_id, row.code, row.kind, row.level, tuple(row.addresses))
        for row in session.execute(_COMPETENT, values)
    ]
