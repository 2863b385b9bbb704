"""Whom a forecast concerns, and what a warned agency is told: each SELECT named for its answer."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Uuid, bindparam, select, text
from sqlalchemy.orm import Session

from waterwatch.advisories.forecast_queries import MOVED_M
from waterwatch.advisories.rules import Window
from waterwatch.advisories.segments import Segment, WarnedReach, merge, outlined, warned_reaches
from waterwatch.agencies.queries import NEAREST
from waterwatch.escalation.tables import CaseStretch
from waterwatch.zones.queries import ZoneAlong, zones_along

DRINKING = frozenset({"intake", "drinking_water"})


@dataclass(frozen=True)
class Standing:
    """A forecast that stands, of an open incident: its level (severity rank 1 to 3)."""

    level: int


@dataclass(frozen=True)
class Stretch:
    """What of a forecast concerns one agency: reaches and lakes, the nearest first; zones on them, and the waters they
    are of; ``first_at`` is when it may be there first, None where no time is known; ``farthest_km`` the way to the last
    of them; ``kind`` of the pollution."""

    feature_ids: tuple[int, ...]
    zone_ids: tuple[uuid.UUID, ...]
    water_ids: tuple[uuid.UUID, ...]
    first_at: datetime | None
    farthest_km: float
    kind: str


_FORECAST = text("""
SELECT f.level FROM downstream_forecast f JOIN incident i ON i.id = f.incident_id
WHERE f.incident_id = :id AND f.state = 'standing' AND i.closed_at IS NULL
""")
_ALONG = text("""
SELECT r.feature_id, r.nth, r.earliest_at, r.lapses_at, r.distance_km, f.water_body_id
FROM downstream_reach r JOIN water_feature f USING (feature_id) WHERE r.incident_id = :id ORDER BY r.nth
""")
_NOT_RETIRED = text("SELECT id FROM agency WHERE id = ANY(:ids) AND retired_at IS NULL")
# A reach is asked about at a point of it in each area it touches, of the most local level that it touches: the areas of
# both banks, where it is the border. At each such point the most local agency of each kind counts, as for an incident.
# Points are looked for last, and a place's feature is read from an array: PostgreSQL cannot know how many there are,
# and would compare all places with all agencies.
_CONCERNED = f"""
WITH warned AS MATERIALIZED ({{warned}}),
touched AS MATERIALIZED (
    SELECT DISTINCT ON (warned.reach, j.id) warned.reach, warned.feature_id, warned.geom, part.geom AS area, d.distance
    FROM warned JOIN jurisdiction_part part ON part.geom && warned.geom AND ST_Intersects(part.geom, warned.geom)
    JOIN jurisdiction j ON j.id = part.jurisdiction_id
    CROSS JOIN LATERAL (
        SELECT array_position(ARRAY['county', 'prefecture', 'province', 'basin'], j.level) AS distance) d
    ORDER BY warned.reach, j.id),
place AS MATERIALIZED (
    SELECT row_number() OVER () AS nth, feature_id, ST_PointOnSurface(
               CASE WHEN ST_Covers(area, geom) THEN geom ELSE ST_Intersection(area, geom) END) AS at
    FROM (SELECT touched.*, min(distance) OVER (PARTITION BY reach) AS closest FROM touched) t
    WHERE distance = closest),
here AS MATERIALIZED (
    SELECT DISTINCT part.jurisdiction_id AS id, place.nth
    FROM place JOIN jurisdiction_part part ON ST_Intersects(part.geom, place.at))
SELECT n.id AS agency_id,
       array_agg(DISTINCT (SELECT array_agg(feature_id ORDER BY nth) FROM place)[n.nth]) AS feature_ids
FROM ({NEAREST}) n WHERE n.distance = n.closest GROUP BY n.id ORDER BY n.id
"""  # noqa: S608  # the piece is a constant of ours
_CONCERNED_BY_INCIDENT = text(
    _CONCERNED.format(
        warned="""
    SELECT r.feature_id, r.nth AS reach, w.geom
    FROM downstream_reach r JOIN water_feature w USING (feature_id) WHERE r.incident_id = :incident_id"""
    )
)
_CONCERNED_BY_WAY = text(
    _CONCERNED.format(
        warned="""
    SELECT w.feature_id, way.nth AS reach, w.geom
    FROM unnest(CAST(:feature_ids AS bigint[])) WITH ORDINALITY AS way (feature_id, nth)
    JOIN water_feature w USING (feature_id)"""
    )
)


# By the middle of what came: where a reach ends, another one begins that nobody was warned of.
_INSTEAD = text("""
WITH gone AS MATERIALIZED (
    SELECT feature_id, geom, ST_Expand(geom, 0.05) AS box FROM water_feature
    WHERE feature_id = ANY(:gone) AND retired_at IS NOT NULL),
came AS MATERIALIZED (
    SELECT feature_id, ST_PointOnSurface(geom) AS at FROM water_feature
    WHERE feature_id = ANY(:standing) AND EXISTS (SELECT FROM gone))
SELECT gone.feature_id AS gone_id, came.feature_id FROM gone JOIN came
    ON came.at && gone.box AND ST_DWithin(geography(came.at), geography(gone.geom), :moved_m)
""").bindparams(bindparam("gone", type_=ARRAY(BigInteger)), bindparam("standing", type_=ARRAY(BigInteger)))


def standing(session: Session, incident_id: uuid.UUID) -> Standing | None:
    """The forecast of an incident, if it stands."""
    row = session.execute(_FORECAST, {"id": incident_id}).first()
    return Standing(row.level) if row is not None else None


def competent_along(session: Session, incident_id: uuid.UUID, kind: str, level: int) -> dict[uuid.UUID, list[int]]:
    """The agencies competent for a pollution of this kind and level where a forecast expects it, with the feature ids
    there. One statement."""
    values = {"incident_id": incident_id, "observation_kind": kind, "severity": level}
    return {row.agency_id: list(row.feature_ids) for row in session.execute(_CONCERNED_BY_INCIDENT, values)}


def competent_on(session: Session, feature_ids: Sequence[int], kind: str, level: int) -> dict[uuid.UUID, list[int]]:
    """The same of a forecast that is not there yet, by what it would warn. One statement."""
    values = {"feature_ids": list(feature_ids), "observation_kind": kind, "severity": level}
    return {row.agency_id: list(row.feature_ids) for row in session.execute(_CONCERNED_BY_WAY, values)}


@dataclass(frozen=True)
class Intake:
    """A zone on the way: an intake, or another place that is protected. ``window``: of the water there."""

    name: str | None
    kind: str
    distance_km: float
    window: Window


@dataclass(frozen=True)
class Warned:
    """What the agency of a case with the role ``downstream`` may know of what is expected in its area.

    No ``segments``: nothing is, any more. ``flow_ratio``: the water there is by what is usual, where the way begins.
    """

    segments: tuple[Segment, ...]
    intakes: tuple[Intake, ...]

    @property
    def first(self) -> Window | None:
        """When it may arrive first; None where no time is known."""
        timed = [(one.window.earliest, one.window) for one in self.segments if one.window.earliest is not None]
        return min(timed, key=lambda one: one[0])[1] if timed else None

    @property
    def is_timed(self) -> bool:
        """Whether any time is known."""
        return self.first is not None


_STRETCHES = text("""
SELECT c.id AS case_id, c.incident_id, coalesce(s.feature_ids, '{}') AS feature_ids,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(z.id, z.kind, (
            SELECT n.name FROM protected_zone_name n WHERE n.zone_id = z.id
            ORDER BY n.lang = :language DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en'], n.lang) LIMIT 1),
            (SELECT jsonb_agg(w.feature_id) FROM water_feature w
             WHERE w.feature_id = ANY(s.feature_ids) AND ST_DWithin(w.geom::geography, z.geom::geography, 200)))), '[]')
        FROM protected_zone z WHERE z.id = ANY(s.zone_ids)) AS zones
FROM escalation_case c LEFT JOIN case_stretch s ON s.case_id = c.id
WHERE c.id = ANY(:ids) AND c.role = 'downstream'
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))


def warned_of(
    session: Session,
    case_ids: Collection[uuid.UUID],
    *,
    now: datetime,
    language: str = "zh-Hans",
    with_outlines: bool = True,
) -> dict[uuid.UUID, Warned]:
    """By case with the role ``downstream``, what is expected in its agency's area and has not passed. Three queries,
    one where there is no such case."""
    rows = session.execute(_STRETCHES, {"ids": list(case_ids), "language": language}).all() if case_ids else []
    reaches = warned_reaches(session, {row.incident_id for row in rows}, now=now, language=language)
    found: dict[uuid.UUID, tuple[list[Segment], list[Intake]]] = {}
    for row in rows:
        own = [one for one in reaches.get(row.incident_id, ()) if one.feature_id in set(row.feature_ids)]
        found[row.case_id] = (merge(own), _intakes(row.zones, own))
    every = [one for segments, _intakes_there in found.values() for one in segments]
    drawn = iter(outlined(session, every) if with_outlines else every)
    return {
        case_id: Warned(tuple(next(drawn) for _one in segments), tuple(intakes))
        for case_id, (segments, intakes) in found.items()
    }


def _intakes(zones: Sequence[Any], own: Sequence[WarnedReach]) -> list[Intake]:
    by_id = {one.feature_id: one for one in own}
    found = []
    for _zone_id, kind, name, feature_ids in zones:
        there = [by_id[feature_id] for feature_id in feature_ids or () if feature_id in by_id]
        if there:
            first = min(there, key=lambda one: one.nth)
            found.append(Intake(name, kind, first.distance_km, first.window))
    return sorted(found, key=lambda one: (one.kind not in DRINKING, one.distance_km, one.name or ""))


def concerned(
    session: Session,
    incident_id: uuid.UUID,
    kind: str,
    level: int,
    *,
    warned: Mapping[uuid.UUID, Collection[int]],
    now: datetime,
) -> dict[uuid.UUID, Stretch]:
    """Whom a standing forecast concerns, those first where it is first: who is competent there, and who runs an intake
    or protects drinking water on the way.

    ``warned``: the reaches and lakes agencies were warned of. As long as it is expected on one of them they are
    concerned, also where they would not be warned anew: of a milder level, another kind, under another rule; and so
    they are where an import replaced it. Three queries, at most five where there are such.
    """
    rows = session.execute(_ALONG, {"id": incident_id}).all()
    by_id = {row.feature_id: row for row in rows}
    zones = zones_along(session, list(by_id))
    own = with_operators(competent_along(session, incident_id, kind, level), zones)
    others = {agency_id: features for agency_id, features in warned.items() if agency_id not in own}
    instead = _instead(session, {one for features in others.values() for one in features} - set(by_id), list(by_id))
    for agency_id, features in others.items():
        others[agency_id] = [new for one in features for new in instead.get(one, (one,))]
    on_them = {
        agency_id: {one for one in features if one in by_id and by_id[one].lapses_at > now}
        for agency_id, features in {**warned, **others}.items()
    }
    for agency_id in _not_retired(session, on_them):
        own[agency_id] = on_them[agency_id].union(own.get(agency_id, ()))
    on_it: dict[int, list[ZoneAlong]] = {}
    for zone in zones:
        on_it.setdefault(zone.feature_id, []).append(zone)
    found = {}
    for agency_id, features in own.items():
        ordered = sorted(features, key=lambda feature_id: by_id[feature_id].nth)
        there = dict.fromkeys(zone.zone_id for feature_id in ordered for zone in on_it.get(feature_id, ()))
        times = [at for feature_id in ordered if (at := by_id[feature_id].earliest_at) is not None]
        waters = dict.fromkeys(by_id[feature_id].water_body_id for feature_id in ordered)
        farthest_km = max(by_id[feature_id].distance_km for feature_id in ordered)
        first_at = min(times, default=None)
        found[agency_id] = Stretch(tuple(ordered), tuple(there), tuple(waters), first_at, farthest_km, kind)
    return dict(sorted(found.items(), key=lambda one: (by_id[one[1].feature_ids[0]].nth, one[0])))


def _instead(session: Session, gone: Collection[int], standing_ids: Collection[int]) -> dict[int, list[int]]:
    """What an import brought in place of reaches that it retired: of those that are warned now, what lies near them."""
    found: dict[int, list[int]] = {}
    if gone:
        values = {"gone": list(gone), "standing": list(standing_ids), "moved_m": MOVED_M}
        for row in session.execute(_INSTEAD, values):
            found.setdefault(row.gone_id, []).append(row.feature_id)
    return found


def _not_retired(session: Session, on_them: Mapping[uuid.UUID, Collection[int]]) -> list[uuid.UUID]:
    """Of agencies with any reach those that still exist."""
    ids = [agency_id for agency_id, features in on_them.items() if features]
    return list(session.execute(_NOT_RETIRED, {"ids": ids}).scalars()) if ids else []


def with_operators(
    competent: Mapping[uuid.UUID, Collection[int]], zones: Iterable[ZoneAlong]
) -> dict[uuid.UUID, set[int]]:
    """Who is competent on which reaches and lakes, and beside them who runs an intake or protects drinking water."""
    own = {agency_id: set(feature_ids) for agency_id, feature_ids in competent.items()}
    for zone in zones:
        if zone.operator_id is not None and zone.kind in DRINKING:
            own.setdefault(zone.operator_id, set()).add(zone.feature_id)
    return own


def kept_stretches(session: Session, case_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, CaseStretch]:
    """What cases were told to concern, by case."""
    if not case_ids:
        return {}
    return {one.case_id: one for one in session.scalars(select(CaseStretch).where(CaseStretch.case_id.in_(case_ids)))}
