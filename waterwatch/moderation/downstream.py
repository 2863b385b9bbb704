"""What would be warned below an incident that is being graded, put together for the desk: table, map and a line."""

import math
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from waterwatch.advisories import forecast_queries, forecasts, rules
from waterwatch.advisories.forecast_queries import Origin
from waterwatch.advisories.forecasts import Preview
from waterwatch.advisories.rules import Ruling, Window
from waterwatch.escalation.foreseen import Foreseen, foresee
from waterwatch.flow.rules import Network
from waterwatch.flow.service import open_network
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import queries
from waterwatch.reports import queries as report_queries
from waterwatch.waters import queries as waters
from waterwatch.zones.queries import ZoneAlong, zones_along

MOST_DRAWN = 1200  # reaches on the map: what is farther is in the table
FINE_DEG, COARSE_DEG, COARSE_FROM = 0.0005, 0.002, 300
UNKNOWN = Window(None, None)
DRAWN_ZONES = ("intake", "drinking_water", "nature_reserve")


@dataclass(frozen=True)
class Stretch:
    """What would be warned of one water. ``first``, ``last``: when it is expected at its nearest and farthest part.

    ``unit_peak`` (10⁻⁶/s), ``passage_s``: of the nearest, orders of magnitude; None where they are not known.
    ``last_unit_peak``, ``last_passage_s``: of the farthest.
    """

    names: dict[str, str]
    km_from: float
    km_to: float
    first: Window
    last: Window
    unit_peak: float | None
    passage_s: float | None
    last_unit_peak: float | None
    last_passage_s: float | None
    reaches: int
    is_lake: bool
    is_dammed: bool
    zones: Sequence[ZoneAlong]


@dataclass(frozen=True)
class Below:
    """What would be warned, by water, the nearest first; or why nothing would be (``nothing``).

    ``nothing``: ``kind``, ``level``, ``no_water``, ``no_way``, ``over``, ``withheld``. ``is_timed``: whether any window
    is known. ``farthest_km``: to where the farthest begins. ``level``: of the warning. ``told``: whom it would tell
    before everybody, the nearest first. ``drawn``: GeoJSON features of its reaches and lakes. ``is_withheld``: it is
    ruled that nothing goes out; this is what would.
    """

    nothing: str | None
    severity: int
    level: int = 0
    flow_ratio: float = 1.0
    is_timed: bool = False
    farthest_km: float = 0.0
    reaches: int = 0
    lakes: int = 0
    soonest: Window = UNKNOWN
    stretches: Sequence[Stretch] = ()
    told: Sequence[Foreseen] = ()
    drawn: Sequence[Mapping[str, Any]] = ()
    is_withheld: bool = False

    @property
    def zones(self) -> dict[str, int]:
        """How many zones of each kind lie on the way, the strictest kind first."""
        ids = {kind: {z.zone_id for one in self.stretches for z in one.zones if z.kind == kind} for kind in DRAWN_ZONES}
        return {kind: len(found) for kind, found in ids.items() if found}


def below_report(
    session: Session,
    report_id: uuid.UUID,
    kind: str,
    severity: int,
    water_feature_id: uuid.UUID | None,
    join_incident_id: uuid.UUID | None,
    limit_km: float | None,
    *,
    settings: Settings,
    language: str,
    now: datetime,
) -> Below:
    """What a report would warn of, graded so; joined to an incident, what that one would.

    Raises :class:`NotFound` for an unknown report or incident.
    """
    facts = report_queries.review_facts(session, report_id)
    seen = min(facts.observed_at or facts.received_at, facts.received_at)
    if join_incident_id is not None:
        joined = _origin(session, join_incident_id)
        stands = max(joined.severity, _standing(severity, joined.severity))
        confirmed = replace(joined, severity=stands)
        return _confirmed(session, confirmed, seen, limit_km, settings=settings, language=language, now=now)
    water_feature_id = water_feature_id or facts.water_feature_id
    feature_id = queries.feature_of(session, water_feature_id) if water_feature_id else None
    if water_feature_id is None or feature_id is None:
        return Below("no_water", severity)
    lon, lat, _distance_m = waters.snap(session, water_feature_id, facts.lon, facts.lat)
    start_km = waters.km_to_lower_end(session, water_feature_id, lon, lat)
    stands = _standing(severity, 0)
    # Whoever grades confirms it now, however long ago it was seen.
    origin = Origin(report_id, kind, stands, True, feature_id, start_km, seen, now, Ruling(), None, None)
    return _below(session, _Asked(origin, limit_km, language), settings=settings, now=now)


def below_incident(
    session: Session,
    incident_id: uuid.UUID,
    kind: str,
    severity: int,
    *,
    settings: Settings,
    language: str,
    now: datetime,
) -> Below:
    """What an incident would warn of, graded so. Raises :class:`NotFound`."""
    origin = _origin(session, incident_id)
    graded = replace(origin, kind=kind, severity=_standing(severity, origin.severity))
    asked = _Asked(graded, origin.ruling.limit_km, language)
    below = _below(session, asked, settings=settings, now=now)
    return replace(below, is_withheld=origin.ruling.is_withheld)


def below_joined(
    session: Session,
    incident_id: uuid.UUID,
    report_ids: Collection[uuid.UUID],
    *,
    settings: Settings,
    language: str,
    now: datetime,
) -> Below:
    """What an incident would warn of once these reports, none graver than it, joined it. Raises :class:`NotFound`."""
    joined = _origin(session, incident_id)
    seen = queries.first_seen(session, report_ids) or joined.first_seen
    return _confirmed(session, joined, seen, None, settings=settings, language=language, now=now)


def _confirmed(
    session: Session,
    joined: Origin,
    seen: datetime,
    limit_km: float | None,
    *,
    settings: Settings,
    language: str,
    now: datetime,
) -> Below:
    """Of an incident that is joined now: its clock begins anew, and what joins may have been seen first.

    ``limit_km``: what is asked for; where it was ruled on, that stands.
    """
    if joined.ruling.is_withheld:
        return Below("withheld", joined.severity)
    revived = replace(joined, first_seen=min(joined.first_seen, seen), last_seen=now)
    asked = _Asked(revived, joined.ruling.limit_km or limit_km, language)
    return _below(session, asked, settings=settings, now=now)


def _standing(severity: int, former: int) -> int:
    """A red stands as orange until another moderator has confirmed it, unless it is red already."""
    return severity if former == Severity.ESPECIALLY_MAJOR else min(severity, Severity.MAJOR)


def _origin(session: Session, incident_id: uuid.UUID) -> Origin:
    found = forecast_queries.origins(session, [incident_id])
    if not found:
        raise NotFound("incident_not_found")
    return found[0]


@dataclass(frozen=True)
class _Asked:
    """What is asked about: how it begins, how far at most, and in whose words."""

    origin: Origin
    limit_km: float | None
    language: str


def _below(session: Session, asked: _Asked, *, settings: Settings, now: datetime) -> Below:
    origin, limit_km = asked.origin, asked.limit_km
    if origin.kind not in rules.CARRIED_KINDS:
        return Below("kind", origin.severity)
    if origin.severity < rules.WARNS_FROM:
        return Below("level", origin.severity)
    network = open_network(session, settings.network_dir)
    flow = forecasts.flow_now(session, settings, now=now)
    found = forecasts.preview(network, flow, origin.kind, origin.severity, origin.feature_id, origin.start_km, limit_km)
    if found is None:
        return Below("no_way", origin.severity)
    rows = _still_coming(found, origin, now)
    if not rows:
        return Below("over", origin.severity)
    return _told(session, network, found, rows, asked)


def _still_coming(found: Preview, origin: Origin, now: datetime) -> list[int]:
    way = found.way
    last_seen = max(origin.first_seen, origin.last_seen)
    hours = zip(way.probable_h.tolist(), way.passage_s.tolist(), way.is_lake.tolist(), strict=True)
    return [
        row
        for row, (probable_h, passage_s, is_lake) in enumerate(hours)
        if not forecasts.has_passed(last_seen, probable_h, passage_s, is_lake=is_lake, now=now)
    ]


def _told(session: Session, network: Network, found: Preview, rows: list[int], asked: _Asked) -> Below:
    way, origin = found.way, asked.origin
    ids: list[int] = way.feature_ids.tolist()
    bodies = waters.bodies_of_features(session, [ids[row] for row in rows])
    names = waters.names_of(session, set(bodies.values()))
    along: dict[int, list[ZoneAlong]] = {}
    zones = zones_along(session, [ids[row] for row in rows])
    for zone in zones:
        along.setdefault(zone.feature_id, []).append(zone)
    parts: dict[uuid.UUID, list[int]] = {}
    for row in rows:
        parts.setdefault(bodies[ids[row]], []).append(row)
    peaks, passages = way.unit_peak, way.passage_s
    lengths = np.nan_to_num(np.asarray(network.length_km)[np.searchsorted(network.feature_id, way.feature_ids)])

    def stretch(body_id: uuid.UUID, of: list[int]) -> Stretch:
        last = of[-1]
        km_to = float((way.distance_km[of] + lengths[of]).max())
        on_it = {zone.zone_id: zone for row in of for zone in along.get(ids[row], ())}
        return Stretch(
            names.get(body_id, {}),
            float(way.distance_km[of[0]]),
            km_to,
            _window(found, of[0], origin),
            _window(found, last, origin),
            _known(peaks[of[0]]),
            _known(passages[of[0]]),
            _known(peaks[last]),
            _known(passages[last]),
            len(of),
            bool(way.is_lake[of].any()),
            bool(way.is_dammed[of].any()),
            list(on_it.values()),
        )

    return Below(
        None,
        origin.severity,
        found.level,
        found.flow_ratio,
        bool(np.isfinite(way.probable_h[rows]).any()),
        float(way.distance_km[rows].max()),
        int((~way.is_lake[rows]).sum()),
        int(way.is_lake[rows].sum()),
        _window(found, rows[0], origin),
        [stretch(body_id, of) for body_id, of in parts.items()],
        foresee(session, [ids[row] for row in rows], zones, origin.kind, found.level, language=asked.language),
        _drawn(session, [ids[row] for row in rows[:MOST_DRAWN]], found.level),
    )


def _window(found: Preview, row: int, origin: Origin) -> Window:
    earliest_h, probable_h = float(found.way.earliest_h[row]), float(found.way.probable_h[row])
    if math.isnan(earliest_h):
        return UNKNOWN
    return forecasts.expected_at(origin.first_seen, earliest_h, probable_h)


def _known(number: float) -> float | None:
    return None if math.isnan(number) else float(number)


def _drawn(session: Session, feature_ids: list[int], level: int) -> list[dict[str, Any]]:
    tolerance = FINE_DEG if len(feature_ids) < COARSE_FROM else COARSE_DEG
    shapes = waters.shapes_of(session, feature_ids, tolerance_deg=tolerance)
    return [
        {"type": "Feature", "properties": {"level": level}, "geometry": shape}
        for feature_id in feature_ids
        if (shape := shapes.get(feature_id)) is not None
    ]
