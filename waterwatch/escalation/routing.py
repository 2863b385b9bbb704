"""Who is told of an observation at a place: the departments of both banks, the basin's, the river chiefs. One query."""

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Text, Uuid, bindparam, text
from sqlalchemy.orm import Session

from waterwatch.agencies.queries import ABLE, CompetentAgency, Way, competent_agency
from waterwatch.waters.queries import BANK_M, BANK_REACH_M, BANKS

# Within so far of the water's nearest point lies whatever the banks are looked at.
AROUND_M = BANK_REACH_M + 2 * BANK_M
METRES_PER_DEGREE = 110_500.0  # of latitude, where it is shortest: a box made with it is never too small
# Whose case a river chief's letter is, where several offices answer for the same area.
OFFICES = (
    "river_chief_office",
    "water",
    "ecology_environment",
    "urban_management",
    "agriculture",
    "maritime",
    "basin_authority",
    "waterworks",
)


@dataclass(frozen=True)
class Spot:
    """What is routed: an observation of a kind and severity rank 1 to 4 at a place (WGS-84 degrees).

    ``water_feature_id`` None: on no water known; then nothing is a border and no river chief is told. ``water_lon``,
    ``water_lat``: the nearest point of the reach; of a lake any point of it.
    """

    lon: float
    lat: float
    kind: str
    severity: int
    water_feature_id: uuid.UUID | None
    water_lon: float
    water_lat: float


@dataclass(frozen=True)
class ChiefTold:
    """A river chief with an address: over which area, and what that lies in, the nearest first."""

    chief_id: uuid.UUID
    title: str
    address: str
    is_of_reach: bool
    areas: tuple[uuid.UUID, ...]


@dataclass(frozen=True)
class Route:
    """The competent agencies with their ways, those of river chiefs behind an office's own.

    ``is_border``: the river parts counties here, so both banks' are told. ``chiefs``: by the agency whose case their
    letters belong to; None where no office answers for their area or above it.
    """

    agencies: tuple[CompetentAgency, ...]
    chiefs: tuple[tuple[ChiefTold, uuid.UUID | None], ...]
    is_border: bool


# The pieces around the water serve twice: where they are of one county, no water is a border and nobody need look at
# its banks (by their boxes: one county too many costs a look, never an answer); else the banks are looked up in them.
# What is given is worked out first and by itself, so that no plan for certain places looks better than the one for all,
# which is kept: planning takes many times what the question does.
# A river that is a border has other counties on the left than on the right for most of the way; one that merely crosses
# a border has them for a moment (``agencies.rules.is_border`` says the same, and a test that both do).
_ROUTE = text(f"""
WITH place AS MATERIALIZED (SELECT ST_SetSRID(ST_MakePoint(:lon, :lat), 4326) AS at),
near AS MATERIALIZED (SELECT ST_Expand(ST_SetSRID(ST_MakePoint(:water_lon, :water_lat), 4326), :dx, :dy) AS box),
around AS MATERIALIZED (
    SELECT part.jurisdiction_id AS id, part.geom
    FROM near JOIN jurisdiction_part part ON part.geom && near.box
    JOIN jurisdiction j ON j.id = part.jurisdiction_id AND j.level = 'county'),
one_county AS MATERIALIZED (SELECT count(DISTINCT id) <= 1 AS found FROM around),
bank AS MATERIALIZED (
    SELECT left_at, right_at, row_number() OVER (ORDER BY nth) - 1 = count(*) OVER () / 2 AS is_middle,
           (SELECT array_agg(id) FROM around WHERE ST_Intersects(geom, left_at)) AS left_ids,
           (SELECT array_agg(id) FROM around WHERE ST_Intersects(geom, right_at)) AS right_ids
    FROM ({BANKS.format(feature=":water_feature_id", unless="(SELECT found FROM one_county)")}) along),
border AS MATERIALIZED (
    SELECT 2 * count(*) FILTER (WHERE NOT left_ids && right_ids) > count(*) AS found FROM bank),
here AS MATERIALIZED (
    SELECT DISTINCT part.jurisdiction_id AS id, spot.nth
    FROM (SELECT at, 1 AS nth FROM place
          UNION ALL SELECT left_at, 2 FROM bank WHERE is_middle AND (SELECT found FROM border)
          UNION ALL SELECT right_at, 3 FROM bank WHERE is_middle AND (SELECT found FROM border)) spot
    JOIN jurisdiction_part part ON ST_Intersects(part.geom, spot.at))
SELECT (SELECT coalesce(jsonb_agg(able ORDER BY able.kind, able.code), '[]') FROM ({ABLE}) able) AS agencies,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(
                   c.id, c.title, c.email, c.water_feature_id IS NOT NULL,
                   jsonb_build_array(j.id, j.parent_id, up.parent_id)) ORDER BY c.title, c.id), '[]')
        FROM water_feature f JOIN river_chief c ON c.water_body_id = f.water_body_id
        JOIN jurisdiction j ON j.id = c.jurisdiction_id LEFT JOIN jurisdiction up ON up.id = j.parent_id
        WHERE f.id = :water_feature_id AND (c.water_feature_id IS NULL OR c.water_feature_id = f.id)
          AND c.retired_at IS NULL AND c.email IS NOT NULL AND c.jurisdiction_id IN (SELECT id FROM here)) AS chiefs,
       (SELECT found FROM border) AS is_border
""").bindparams(  # noqa: S608  # the pieces are constants
    bindparam("water_feature_id", type_=Uuid), bindparam("observation_kind", type_=Text)
)


def route(session: Session, spot: Spot) -> Route:
    """Who is told. Empty where nobody is competent, which is an outcome of its own and is made loud."""
    dy = AROUND_M / METRES_PER_DEGREE
    values = {
        "lon": spot.lon,
        "lat": spot.lat,
        "water_lon": spot.water_lon,
        "water_lat": spot.water_lat,
        "dx": dy / max(0.05, math.cos(math.radians(spot.water_lat))),
        "dy": dy,
        "water_feature_id": spot.water_feature_id,
        "observation_kind": spot.kind,
        "severity": spot.severity,
    }
    row = session.execute(_ROUTE, values).one()
    chiefs = [_chief(told) for told in row.chiefs]
    return assign([competent_agency(able) for able in row.agencies], chiefs, is_border=row.is_border)


def assign(agencies: Sequence[CompetentAgency], chiefs: Sequence[ChiefTold], *, is_border: bool) -> Route:
    """Give each river chief's address to the office of the same area, else to the nearest above it.

    Nobody's address is given twice: not to the same agency, nor to two offices where one person is chief of several
    reaches.
    """
    own: dict[uuid.UUID, list[Way]] = {agency.agency_id: list(agency.ways) for agency in agencies}
    told: list[tuple[ChiefTold, uuid.UUID | None]] = []
    given: set[str] = set()
    for chief in chiefs:
        office = office_of(agencies, chief)
        told.append((chief, office))
        if office is None or chief.address in given or any(chief.address == way.address for way in own[office]):
            continue
        given.add(chief.address)
        own[office].append(Way(None, "email", chief.address))
    with_chiefs = tuple(replace(agency, ways=tuple(own[agency.agency_id])) for agency in agencies)
    return Route(with_chiefs, tuple(told), is_border)


def office_of(agencies: Sequence[CompetentAgency], chief: ChiefTold) -> uuid.UUID | None:
    """Whose case a chief's letter belongs to: of the offices of the nearest area, the one named first in OFFICES."""
    for area_id in chief.areas:
        offices = [agency for agency in agencies if agency.area_id == area_id]
        if offices:
            return min(offices, key=lambda agency: (OFFICES.index(agency.kind), agency.code)).agency_id
    return None


def _chief(told: Sequence[Any]) -> ChiefTold:
    chief_id, title, address, is_of_reach, areas = told
    return ChiefTold(
        uuid.UUID(chief_id), title, address, is_of_reach, tuple(uuid.UUID(area) for area in areas if area is not None)
    )
