"""Which jurisdictions a place lies in, and which agencies are competent there. One statement each."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, column, text
from sqlalchemy.orm import Session

from waterwatch.agencies.rules import is_border
from waterwatch.agencies.tables import LEVELS


@dataclass(frozen=True)
class JurisdictionAt:
    """An administrative area that contains a place."""

    code: str
    level: str
    name: str | None


@dataclass(frozen=True)
class Way:
    """One way to reach an agency: a row of its contacts, or of one beside them whose ``contact_id`` is None."""

    contact_id: uuid.UUID | None
    channel: str
    address: str


@dataclass(frozen=True)
class CompetentAgency:
    """An agency that must be told, and its ways in order of preference, perhaps none.

    ``rule_ids``: the rules it is competent by; none where it is by a competence of its own. ``area_id``: what it
    answers for.
    """

    agency_id: uuid.UUID
    code: str
    kind: str
    level: str
    area_id: uuid.UUID
    ways: tuple[Way, ...]
    rule_ids: tuple[uuid.UUID, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its e-mail addresses."""
        return tuple(way.address for way in self.ways if way.channel == "email")


# A place with its opposite bank, where the water between is the border; each piece of an area is found by the index.
_HERE = """
SELECT DISTINCT part.jurisdiction_id AS id, place.nth
FROM unnest(CAST(:lons AS float8[]), CAST(:lats AS float8[])) WITH ORDINALITY AS place (lon, lat, nth)
JOIN jurisdiction_part part ON ST_Intersects(part.geom, ST_SetSRID(ST_MakePoint(place.lon, place.lat), 4326))
"""
_AT = text(f"""
SELECT j.code, j.level, n.name
FROM (SELECT DISTINCT id FROM ({_HERE}) places) here JOIN jurisdiction j USING (id)
LEFT JOIN jurisdiction_name n ON n.jurisdiction_id = j.id AND n.lang = :lang
WHERE j.level <> 'basin' ORDER BY array_position(ARRAY['county', 'prefecture', 'province'], j.level), j.code
""")  # noqa: S608  # the piece is a constant of this module
# The same for one place, which is asked far oftener: worked out first and by itself, so that its plan is kept.
_AT_ONE = text("""
WITH place AS MATERIALIZED (SELECT ST_SetSRID(ST_MakePoint(:lon, :lat), 4326) AS at)
SELECT DISTINCT j.code, j.level, n.name
FROM place, jurisdiction_part part JOIN jurisdiction j ON j.id = part.jurisdiction_id
LEFT JOIN jurisdiction_name n ON n.jurisdiction_id = j.id AND n.lang = :lang
WHERE j.level <> 'basin' AND ST_Intersects(part.geom, place.at)
""").columns(column("code", Text()), column("level", Text()), column("name", Text()))
_CODES = text("""
SELECT place.nth, array_agg(DISTINCT j.code) AS codes
FROM unnest(CAST(:lons AS float8[]), CAST(:lats AS float8[])) WITH ORDINALITY AS place (lon, lat, nth)
JOIN jurisdiction_part part ON ST_Intersects(part.geom, ST_SetSRID(ST_MakePoint(place.lon, place.lat), 4326))
JOIN jurisdiction j ON j.id = part.jurisdiction_id AND j.level = 'county'
GROUP BY place.nth
""")
# The most local agency of each kind, on each bank, and whoever answers for a basin around it; a boundary point lies in
# several counties, and each of them is told. ``here`` is (id of an area, number of the bank). PostgreSQL cannot know
# that it has but a few rows: OFFSET keeps it from reading all agencies for them.
NEAREST = """
    SELECT a.id, a.code, a.kind, a.level, a.jurisdiction_id, able.rule_ids, here.nth, d.distance,
           min(d.distance) OVER (PARTITION BY a.kind, here.nth) AS closest
    FROM here
    CROSS JOIN LATERAL (
        SELECT one.* FROM agency one WHERE one.jurisdiction_id = here.id AND one.retired_at IS NULL OFFSET 0) a
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(c.rule_id ORDER BY c.rule_id) FILTER (WHERE c.rule_id IS NOT NULL) AS rule_ids
        FROM competence c
        WHERE c.agency_id = a.id AND c.min_severity <= :severity
          AND (c.observation_kind IS NULL OR c.observation_kind = :observation_kind)
        HAVING count(*) > 0) able
    CROSS JOIN LATERAL (
        SELECT array_position(ARRAY['county', 'prefecture', 'province', 'basin'], a.level) AS distance) d
"""
ABLE = f"""
SELECT DISTINCT n.id AS agency_id, n.code, n.kind, n.level, n.jurisdiction_id AS area_id, n.rule_ids,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(k.id, k.channel, k.address) ORDER BY k.position, k.address), '[]')
        FROM agency_contact k WHERE k.agency_id = n.id AND k.active) AS ways
FROM ({NEAREST}) n
WHERE n.distance = n.closest
"""  # noqa: S608  # the piece is a constant of this module
_COMPETENT = text(f"WITH here AS ({_HERE}) {ABLE} ORDER BY n.kind, n.code")


Place = tuple[float, float]


@dataclass(frozen=True)
class RiverChiefAt:
    """Who answers for a water at a place; for staff."""

    title: str
    level: str
    area: str | None
    name: str | None
    email: str | None
    phone: str | None
    is_of_reach: bool


_CHIEFS = text(f"""
SELECT c.title, j.level, n.name AS area, c.name, c.email, c.phone, c.water_feature_id IS NOT NULL AS is_of_reach
FROM (SELECT DISTINCT id FROM ({_HERE}) places) here JOIN jurisdiction j USING (id)
JOIN river_chief c ON c.jurisdiction_id = j.id
LEFT JOIN jurisdiction_name n ON n.jurisdiction_id = j.id AND n.lang = :lang
WHERE c.retired_at IS NULL AND c.water_body_id = :water_body_id
  AND (c.water_feature_id IS NULL OR c.water_feature_id = :water_feature_id)
ORDER BY is_of_reach DESC, array_position(ARRAY['county', 'prefecture', 'province'], j.level), c.title
""")  # noqa: S608  # the piece is a constant of this module


def river_chiefs_at(
    session: Session,
    water_body_id: uuid.UUID,
    water_feature_id: uuid.UUID,
    lon: float,
    lat: float,
    *,
    lang: str = "zh-Hans",
) -> list[RiverChiefAt]:
    """The river chiefs of a water at a place (WGS-84): the reach's before the whole water's, local ones first."""
    values = {"water_body_id": water_body_id, "water_feature_id": water_feature_id, "lang": lang}
    rows = session.execute(_CHIEFS, _coordinates([(lon, lat)]) | values)
    return [RiverChiefAt(**row._mapping) for row in rows]


def jurisdictions_at(
    session: Session, lon: float, lat: float, *, also: Sequence[Place] = (), lang: str = "zh-Hans"
) -> list[JurisdictionAt]:
    """The county, prefecture and province a place (WGS-84) lies in; more than one of a level on a boundary.

    ``also``: places that count like this one, such as :func:`opposite_banks` of a river that is the border.
    """
    if also:
        rows = session.execute(_AT, {**_coordinates([(lon, lat), *also]), "lang": lang})
        return [JurisdictionAt(*row) for row in rows]
    found = session.execute(_AT_ONE, {"lon": lon, "lat": lat, "lang": lang}).all()
    return [JurisdictionAt(*row) for row in sorted(found, key=lambda row: (-LEVELS.index(row.level), row.code))]


def competent_agencies(
    session: Session, lon: float, lat: float, observation_kind: str, severity: int, *, also: Sequence[Place] = ()
) -> list[CompetentAgency]:
    """Who must be told of an observation of this kind and severity rank at a place: the most local agency of each kind.

    On both banks where ``also`` names the other one. Empty when nobody is competent, which is an outcome of its own
    and is made loud by escalation.
    """
    places = _coordinates([(lon, lat), *also])
    rows = session.execute(_COMPETENT, {**places, "observation_kind": observation_kind, "severity": severity})
    return [competent_agency(row._asdict()) for row in rows]


def competent_agency(row: Mapping[str, Any]) -> CompetentAgency:
    """A row of :data:`ABLE`, or the same as JSON."""
    return CompetentAgency(
        _id(row["agency_id"]),
        row["code"],
        row["kind"],
        row["level"],
        _id(row["area_id"]),
        tuple(Way(_id(key), channel, address) for key, channel, address in row["ways"]),
        tuple(_id(rule_id) for rule_id in row["rule_ids"] or ()),
    )


def _id(value: str | uuid.UUID) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def opposite_banks(session: Session, banks: Sequence[tuple[Place, Place]]) -> list[Place]:
    """Both banks in the middle of a stretch, if the water between them is a border there; else none.

    ``banks``: (left, right) along the stretch. A river that is a border has other counties on the left than on the
    right for most of the way; one that merely crosses a border has them for a moment. One query.
    """
    if not banks:
        return []
    places = [place for pair in banks for place in pair]
    codes: list[set[str]] = [set() for _place in places]
    for row in session.execute(_CODES, _coordinates(places)):
        codes[row.nth - 1] = set(row.codes)
    sides = list(zip(codes[::2], codes[1::2], strict=True))
    return list(banks[len(banks) // 2]) if is_border(sides) else []


def _coordinates(places: Sequence[Place]) -> dict[str, list[float]]:
    return {"lons": [lon for lon, _lat in places], "lats": [lat for _lon, lat in places]}
