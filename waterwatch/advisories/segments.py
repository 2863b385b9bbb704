"""The reaches a forecast names, put together to stretches that are told as one; and where each of them lies."""

import json
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ARRAY, BigInteger, Integer, Uuid, bindparam, text
from sqlalchemy.orm import Session

from waterwatch.advisories.rules import Window

MOST: Final = 12  # stretches of one alert or letter
STEPS_KM: Final = (10.0, 20.0, 40.0, 80.0, 1000.0)
POLYGON_POINTS: Final = 100
Ring = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class WarnedReach:
    """One reach or lake that a forecast names. ``water`` is the name of its water, None where it has none."""

    feature_id: int
    nth: int
    body_id: uuid.UUID
    water: str | None
    distance_km: float
    until_km: float
    window: Window
    lapses_at: datetime
    unit_peak: float | None
    passage_s: float | None
    is_lake: bool
    is_dammed: bool


@dataclass(frozen=True)
class Segment:
    """A stretch of one water. ``window`` is that of its place reached first; ``lapses_at`` the latest of its places.

    ``unit_peak`` (10⁻⁶/s) and ``passage_s``: orders of magnitude, the most of any of its places; None: not known.
    ``water`` None: it has no name. ``is_rest``: the farthest waters, told together. ``rings``: closed
    outlines some half a kilometre around it, of (lon, lat), of at most :data:`POLYGON_POINTS` points each.
    """

    water: str | None
    feature_ids: tuple[int, ...]
    from_km: float
    until_km: float
    window: Window
    lapses_at: datetime
    unit_peak: float | None
    passage_s: float | None
    is_lake: bool
    is_dammed: bool
    is_rest: bool = False
    rings: tuple[Ring, ...] = ()


_REACHES = text("""
SELECT r.incident_id, r.feature_id, r.nth, f.water_body_id AS body_id, r.distance_km,
       r.distance_km + CASE WHEN r.is_lake THEN 0 ELSE coalesce(f.length_km, 0) END AS until_km,
       r.earliest_at, r.probable_at, r.lapses_at, r.unit_peak, r.passage_s, r.is_lake, r.is_dammed,
       (SELECT n.name FROM water_name n WHERE n.water_body_id = f.water_body_id AND n.is_primary
        ORDER BY n.lang = :language DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1)
           AS water
FROM downstream_reach r JOIN downstream_forecast d USING (incident_id) JOIN water_feature f USING (feature_id)
WHERE r.incident_id = ANY(:ids) AND d.state = 'standing' AND r.lapses_at > :now
  AND (CAST(:public_at AS timestamptz) IS NULL OR r.public_at <= :public_at)
ORDER BY r.incident_id, r.nth
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
# A stretch in many pieces is outlined as a whole. In degrees: half a kilometre to the north, somewhat less to the east.
_RINGS = text(f"""
SELECT one.nth, ST_AsGeoJSON(ST_ForcePolygonCCW(fitting.ring), 5) AS ring
FROM (SELECT given.nth, ST_Buffer(ST_Simplify(ST_Collect(f.geom), 0.001), 0.005, 'quad_segs=2') AS geom
      FROM unnest(:nths, :feature_ids) AS given (nth, feature_id) JOIN water_feature f USING (feature_id)
      GROUP BY given.nth) one
CROSS JOIN LATERAL ST_Dump(CASE WHEN ST_NumGeometries(one.geom) > 8 THEN ST_ConvexHull(one.geom) ELSE one.geom END) part
CROSS JOIN LATERAL (SELECT ST_MakePolygon(ST_ExteriorRing(part.geom)) AS whole) filled
CROSS JOIN LATERAL (
    SELECT coalesce((
        SELECT shape FROM unnest(ARRAY[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.03, 0.1]) AS tolerance,
               LATERAL (SELECT ST_SimplifyPreserveTopology(filled.whole, tolerance) AS shape) simple
        WHERE ST_NPoints(shape) <= {POLYGON_POINTS} ORDER BY tolerance LIMIT 1), ST_Envelope(filled.whole)) AS ring
    ) fitting
ORDER BY one.nth, ST_Area(part.geom) DESC
""").bindparams(  # noqa: S608  # a constant of this module
    bindparam("nths", type_=ARRAY(Integer)), bindparam("feature_ids", type_=ARRAY(BigInteger))
)


def warned_reaches(
    session: Session,
    incident_ids: Collection[uuid.UUID],
    *,
    now: datetime,
    public_at: datetime | None = None,
    language: str = "zh-Hans",
) -> dict[uuid.UUID, list[WarnedReach]]:
    """What the standing forecasts of these incidents name and has not passed by ``now``, the nearest first. One query.

    ``public_at``: only what everybody may know at that moment.
    """
    found: dict[uuid.UUID, list[WarnedReach]] = {}
    if incident_ids:
        values = {"ids": list(incident_ids), "language": language, "now": now, "public_at": public_at}
        for row in session.execute(_REACHES, values):
            found.setdefault(row.incident_id, []).append(_reach(row))
    return found


def _reach(row: Any) -> WarnedReach:
    return WarnedReach(
        feature_id=row.feature_id,
        nth=row.nth,
        body_id=row.body_id,
        water=row.water,
        distance_km=row.distance_km,
        until_km=row.until_km,
        window=Window(row.earliest_at, row.probable_at),
        lapses_at=row.lapses_at,
        unit_peak=row.unit_peak,
        passage_s=row.passage_s,
        is_lake=row.is_lake,
        is_dammed=row.is_dammed,
    )


def merge(reaches: Sequence[WarnedReach], *, most: int = MOST) -> list[Segment]:
    """The reaches as at most ``most`` stretches, the nearest first; each reach is in exactly one of them.

    A stretch is of one water, of at most 10 km where that is enough, else of longer steps; a lake is one by itself, and
    so is what lies below one. Where there are too many waters all the same, the farthest ones are told together.
    """
    for step_km in STEPS_KM:
        groups = _grouped(reaches, step_km)
        if len(groups) <= most:
            return [_segment(group) for group in groups]
    nearest, rest = groups[: most - 1], [reach for group in groups[most - 1 :] for reach in group]
    return [_segment(group) for group in nearest] + [replace(_segment(rest), water=None, is_rest=True)]


def _grouped(reaches: Iterable[WarnedReach], step_km: float) -> list[list[WarnedReach]]:
    groups: dict[tuple[object, ...], list[WarnedReach]] = {}
    for reach in sorted(reaches, key=lambda one: one.nth):
        known = (reach.window.earliest is None, reach.window.probable is None)
        groups.setdefault((reach.body_id, reach.is_lake, known, int(reach.distance_km // step_km)), []).append(reach)
    return list(groups.values())


def _segment(group: Sequence[WarnedReach]) -> Segment:
    timed = [reach for reach in group if reach.window.earliest is not None]
    first = min(timed, key=lambda reach: (reach.window.earliest, reach.nth)) if timed else group[0]
    peaks = [reach.unit_peak for reach in group if reach.unit_peak is not None]
    passages = [reach.passage_s for reach in group if reach.passage_s is not None]
    return Segment(
        water=group[0].water,
        feature_ids=tuple(reach.feature_id for reach in group),
        from_km=min(reach.distance_km for reach in group),
        until_km=max(reach.until_km for reach in group),
        window=first.window,
        lapses_at=max(reach.lapses_at for reach in group),
        unit_peak=max(peaks, default=None),
        passage_s=max(passages, default=None),
        is_lake=all(reach.is_lake for reach in group),
        is_dammed=any(reach.is_dammed for reach in group),
    )


def outlined(session: Session, segments: Sequence[Segment]) -> list[Segment]:
    """The same stretches with their outlines. One query."""
    if not segments:
        return []
    given = [(nth, feature_id) for nth, one in enumerate(segments) for feature_id in one.feature_ids]
    values = {"nths": [nth for nth, _one in given], "feature_ids": [feature_id for _nth, feature_id in given]}
    rings: dict[int, list[Ring]] = {}
    for row in session.execute(_RINGS, values):
        outline = json.loads(row.ring)["coordinates"][0]
        rings.setdefault(row.nth, []).append(tuple((lon, lat) for lon, lat in outline))
    return [replace(one, rings=tuple(rings.get(nth, ()))) for nth, one in enumerate(segments)]
