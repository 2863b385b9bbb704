"""What forecasts are made of, and what they say of a place; and the statements that keep their rows."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Double, Integer, Text, Uuid, bindparam, text
from sqlalchemy.orm import Session

from waterwatch.advisories.rules import Ruling, Window

MOVED_M = 2000  # as far as a report's place may lie from a water
PAST_KEPT = timedelta(days=14)  # ours: a report waits a day for its review, an appeal or a question some more


@dataclass(frozen=True)
class Origin:
    """An incident as a forecast begins with it.

    ``start_km``: from its public point to the lower end of its reach. ``first_seen``: by the report that saw it first,
    which is told to nobody as it is; ``last_seen``: when it was confirmed last. ``state``, ``public_at``: of the
    forecast it has, if any.
    """

    incident_id: uuid.UUID
    kind: str
    severity: int
    is_open: bool
    feature_id: int
    start_km: float
    first_seen: datetime
    last_seen: datetime
    ruling: Ruling
    state: str | None
    public_at: datetime | None


@dataclass(frozen=True)
class Expected:
    """What one standing forecast says of one reach or lake."""

    incident_id: uuid.UUID
    incident_code: str
    kind: str
    severity: int
    feature_id: int
    nth: int
    level: int
    distance_km: float
    window: Window
    lapses_at: datetime
    unit_peak: float | None
    passage_s: float | None
    is_lake: bool
    is_dammed: bool
    flow_ratio: float
    observed_from: datetime
    public_at: datetime


# Arrays here have three elements or a hundred thousand. A plan kept for both, which believes in ten, compares every one
# with every other: fourteen seconds for what takes a tenth of one.
_SERIAL = text("""
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
       pg_advisory_xact_lock(hashtextextended('waterwatch.advisories.forecasts', 0))
""")
# An import may have retired the reach an incident lies on: then it begins on what is nearest to its place now.
_ORIGINS = text(f"""
SELECT i.id, i.kind, i.severity, i.closed_at IS NULL AS is_open, f.feature_id, i.last_confirmed_at AS last_seen,
       coalesce(f.length_km, 0) * CASE WHEN GeometryType(f.geom) = 'LINESTRING'
           THEN 1 - ST_LineLocatePoint(f.geom, i.public_point) ELSE 0 END AS start_km,
       coalesce((SELECT min(least(r.observed_at, r.received_at)) FROM incident_report ir
                 JOIN report r ON r.id = ir.report_id WHERE ir.incident_id = i.id), i.opened_at) AS first_seen,
       coalesce(d.is_withheld, false) AS is_withheld, d.limit_km, d.reason, w.state, w.public_at
FROM incident i JOIN water_feature own ON own.id = i.water_feature_id
CROSS JOIN LATERAL (
    SELECT feature_id, length_km, geom FROM (
        SELECT own.feature_id, own.length_km, own.geom, CASE WHEN own.retired_at IS NULL THEN 0 ELSE 2 END AS place
        UNION ALL (
        SELECT n.feature_id, n.length_km, n.geom, 1 FROM water_feature n
        WHERE own.retired_at IS NOT NULL AND n.retired_at IS NULL
          AND n.geom_3857 && ST_Expand(
              ST_Transform(i.public_point, 3857), {MOVED_M} * 1.01 / greatest(0.05, cos(radians(ST_Y(i.public_point)))))
          AND ST_Distance(geography(n.geom), geography(i.public_point)) <= {MOVED_M}
        ORDER BY ST_Distance(geography(n.geom), geography(i.public_point)), n.feature_id LIMIT 1)) found
    ORDER BY place LIMIT 1) f
LEFT JOIN downstream_ruling d ON d.incident_id = i.id
LEFT JOIN downstream_forecast w ON w.incident_id = i.id
WHERE i.id = ANY(:ids) ORDER BY i.id
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))  # noqa: S608  # a constant of this module
_MAY_HAVE = text("""
SELECT EXISTS (SELECT FROM downstream_forecast WHERE incident_id = :id)
    OR EXISTS (SELECT FROM outbox WHERE topic = :topic AND done_at IS NULL AND dead_at IS NULL
               AND payload ->> 'incident_id' = :name)
""")
# Those that are ordered already are left out: what a moderator may still undo is not told sooner for that.
_STANDING = text("""
SELECT f.incident_id FROM downstream_forecast f
WHERE f.state = 'standing' AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'advisories.forecast' AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.available_at <= CAST(:now AS timestamptz) + interval '1 minute'
      AND o.payload ->> 'incident_id' = f.incident_id::text)
ORDER BY f.incident_id
""")
_GAUGES = text("""
SELECT g.feature_id, g.discharge_cms / f.dis_av_cms AS ratio
FROM gauge_reading g JOIN water_feature f ON f.feature_id = g.feature_id
WHERE g.measured_at > :since AND g.measured_at <= :now AND f.dis_av_cms > 0 AND f.retired_at IS NULL
""")
# Only what changed is written, so that reckoning anew costs little and says what is new. Times are kept to the minute.
# Whether a forecast stands, and from when on it is public, is decided at the end: see _SETTLE.
_KEEP_FORECASTS = text("""
INSERT INTO downstream_forecast (incident_id, state, state_since, kind, level, observed_from, observed_until,
                                 flow_ratio, limit_km, is_timed, made_at, changed_at, public_at, revision)
SELECT given.*, :now, :now, :public_at, 1 FROM (
    SELECT id, 'ended', CAST(:now AS timestamptz), kind, level, seen_from, seen_until, ratio, limit_km, timed
    FROM unnest(:ids, :kinds, :levels, CAST(:seen_from AS timestamptz[]), CAST(:seen_until AS timestamptz[]),
                :ratios, :limits, CAST(:timed AS boolean[]))
         AS one (id, kind, level, seen_from, seen_until, ratio, limit_km, timed)) given
ON CONFLICT (incident_id) DO UPDATE SET
    kind = excluded.kind, level = excluded.level, observed_from = excluded.observed_from,
    observed_until = excluded.observed_until, limit_km = excluded.limit_km,
    flow_ratio = CASE WHEN downstream_forecast.incident_id = ANY(:lost) THEN downstream_forecast.flow_ratio
                      ELSE excluded.flow_ratio END,
    is_timed = CASE WHEN downstream_forecast.incident_id = ANY(:lost) THEN downstream_forecast.is_timed
                    ELSE excluded.is_timed END,
    made_at = excluded.made_at
""").bindparams(
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("kinds", type_=ARRAY(Text)),
    bindparam("lost", type_=ARRAY(Uuid)),
    bindparam("levels", type_=ARRAY(Integer)),
    bindparam("ratios", type_=ARRAY(Double)),
    bindparam("limits", type_=ARRAY(Double)),
)
# What comes in place of reaches that an import retired, or led elsewhere, is known to everybody since those were:
# nobody is told that it is over, and ten minutes later that it is not.
_KEEP_REACHES = text("""
WITH given AS MATERIALIZED (
    SELECT r.*, f.observed_from, f.observed_until,
           date_trunc('minute', f.observed_from + make_interval(secs => 3600 * earliest_h)) AS earliest_at,
           date_trunc('minute', f.observed_from + make_interval(secs => :blurred_s + 3600 * probable_h)) AS probable_at,
           date_trunc('minute', f.observed_until
               + make_interval(secs => CASE WHEN is_lake THEN coalesce(3600 * probable_h, 0) + :unknown_s
                   ELSE coalesce(3600 * probable_h + coalesce(passage_s, 0), :unknown_s) END))
           + interval '1 minute' AS lapses_at
    FROM unnest(:ids, :features, :nths, :kms, :earliest, :probable, :peaks, :passages, CAST(:lakes AS boolean[]),
                CAST(:dammed AS boolean[]))
         AS r (incident_id, feature_id, nth, distance_km, earliest_h, probable_h, unit_peak, passage_s, is_lake,
               is_dammed)
    JOIN downstream_forecast f USING (incident_id)),
present AS MATERIALIZED (SELECT * FROM downstream_reach WHERE incident_id = ANY(:all_ids)),
warned AS MATERIALIZED (
    SELECT given.* FROM given LEFT JOIN present p USING (incident_id, feature_id)
    WHERE given.lapses_at > :now AND (coalesce(given.earliest_h, 0) <= :limit_h OR p.incident_id IS NOT NULL)),
replaced AS MATERIALIZED (
    SELECT p.incident_id, p.public_at, f.geom, ST_Expand(f.geom, 0.05) AS box
    FROM present p JOIN water_feature f USING (feature_id) LEFT JOIN warned w USING (incident_id, feature_id)
    WHERE w.incident_id IS NULL AND p.lapses_at > :now),
gone AS (
    DELETE FROM downstream_reach r USING (
        SELECT p.incident_id, p.feature_id FROM present p LEFT JOIN warned w USING (incident_id, feature_id)
        JOIN downstream_forecast f ON f.incident_id = p.incident_id
        WHERE w.incident_id IS NULL
          AND (p.incident_id <> ALL(:lost) OR p.lapses_at <= :now OR p.distance_km > f.limit_km)) old
    WHERE r.incident_id = old.incident_id AND r.feature_id = old.feature_id
    RETURNING r.*),
past AS (
    INSERT INTO downstream_past (incident_id, feature_id, distance_km, earliest_at, probable_at, lapses_at, gone_at)
    SELECT incident_id, feature_id, distance_km, earliest_at, probable_at, lapses_at, :now FROM gone
    WHERE lapses_at <= :now
    ON CONFLICT (incident_id, feature_id) DO UPDATE SET
        distance_km = excluded.distance_km, earliest_at = excluded.earliest_at, probable_at = excluded.probable_at,
        lapses_at = excluded.lapses_at, gone_at = excluded.gone_at),
kept AS (
    INSERT INTO downstream_reach AS r (incident_id, feature_id, nth, distance_km, earliest_at, probable_at, lapses_at,
                                       unit_peak, passage_s, is_lake, is_dammed, public_at)
    SELECT w.incident_id, w.feature_id, w.nth, w.distance_km, w.earliest_at, w.probable_at, w.lapses_at, w.unit_peak,
           w.passage_s, w.is_lake, w.is_dammed, coalesce((
               SELECT min(o.public_at) FROM replaced o JOIN water_feature f ON f.feature_id = w.feature_id
               WHERE p.incident_id IS NULL AND o.incident_id = w.incident_id AND f.geom && o.box
                 AND ST_DWithin(geography(f.geom), geography(o.geom), :moved_m)), :public_at)
    FROM warned w LEFT JOIN present p USING (incident_id, feature_id)
    WHERE p.incident_id IS NULL
       OR (p.nth, p.distance_km, p.earliest_at, p.probable_at, p.lapses_at, p.is_lake, p.is_dammed)
          IS DISTINCT FROM (w.nth, w.distance_km, w.earliest_at, w.probable_at, w.lapses_at, w.is_lake, w.is_dammed)
    ON CONFLICT (incident_id, feature_id) DO UPDATE SET
        nth = excluded.nth, distance_km = excluded.distance_km, earliest_at = excluded.earliest_at,
        probable_at = excluded.probable_at, lapses_at = excluded.lapses_at, unit_peak = excluded.unit_peak,
        passage_s = excluded.passage_s, is_lake = excluded.is_lake, is_dammed = excluded.is_dammed
    RETURNING r.incident_id, r.feature_id)
SELECT incident_id, array_agg(feature_id) AS feature_ids
FROM (SELECT incident_id, feature_id FROM gone UNION ALL SELECT * FROM kept) changed GROUP BY incident_id
""").bindparams(
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("all_ids", type_=ARRAY(Uuid)),
    bindparam("lost", type_=ARRAY(Uuid)),
    bindparam("features", type_=ARRAY(BigInteger)),
    bindparam("nths", type_=ARRAY(Integer)),
    *(bindparam(name, type_=ARRAY(Double)) for name in ("kms", "earliest", "probable", "peaks", "passages")),
)
_FORGET_PAST = text("DELETE FROM downstream_past WHERE gone_at < :before")
# A forecast of which everything has lapsed ends; one that stands is looked at again when its next window lapses, when
# something of it becomes public (should the job ordered for that be lost), and every now and then.
_SETTLE = text("""
UPDATE downstream_forecast f SET
    state = next.state,
    state_since = CASE WHEN f.state = next.state THEN f.state_since ELSE :now END,
    public_at = CASE WHEN next.state = 'standing' AND f.state <> 'standing' THEN :public_at ELSE f.public_at END,
    state_deadline_at = CASE WHEN next.lapses_at IS NOT NULL THEN
        least(next.lapses_at, :now + make_interval(secs => :every_s), next.public_at) END
FROM (
    SELECT id, reaches.*, CASE WHEN id = ANY(:withheld) THEN 'withheld'
                               WHEN id = ANY(:warning) AND reaches.lapses_at IS NOT NULL THEN 'standing'
                               ELSE 'ended' END AS state
    FROM unnest(:ids) AS id, LATERAL (
        SELECT min(r.lapses_at) AS lapses_at, min(r.public_at) FILTER (WHERE r.public_at > :now) AS public_at
        FROM downstream_reach r WHERE r.incident_id = id) reaches) next
WHERE f.incident_id = next.id
RETURNING f.incident_id, f.state, f.level, f.kind
""").bindparams(
    bindparam("ids", type_=ARRAY(Uuid)),
    bindparam("withheld", type_=ARRAY(Uuid)),
    bindparam("warning", type_=ARRAY(Uuid)),
)
_CHANGED = text("""
UPDATE downstream_forecast SET changed_at = :now, revision = revision + 1 WHERE incident_id = ANY(:ids)
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
_HEADERS = text("""
SELECT f.incident_id, f.state, f.level, f.kind, f.limit_km, f.flow_ratio, reaches.*
FROM downstream_forecast f, LATERAL (
    SELECT array_agg(r.feature_id) AS feature_ids, coalesce(bool_or(r.public_at <= :now), false) AS is_public,
           coalesce(bool_or(r.public_at <= f.made_at), false) AS was_public,
           bool_or(r.public_at > f.made_at AND r.public_at <= :now) AS is_due,
           bool_or(r.public_at = :public_at) AS is_new
    FROM downstream_reach r WHERE r.incident_id = f.incident_id) reaches
WHERE f.incident_id = ANY(:ids)
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
# The level that approaches each of these reaches and lakes, from every public forecast; only what differs is written.
_APPROACHING = text("""
WITH place AS MATERIALIZED (
    SELECT id AS water_feature_id, feature_id FROM water_feature WHERE feature_id = ANY(:feature_ids)),
wanted AS MATERIALIZED (
    SELECT place.water_feature_id, max(f.level) AS level
    FROM place JOIN downstream_reach r USING (feature_id) JOIN downstream_forecast f USING (incident_id)
    WHERE f.state = 'standing' AND r.public_at <= :now AND r.lapses_at > :now
    GROUP BY place.water_feature_id),
gone AS (
    DELETE FROM advisory a USING place WHERE a.basis = 'approaching' AND a.water_feature_id = place.water_feature_id
      AND NOT EXISTS (SELECT FROM wanted w WHERE w.water_feature_id = a.water_feature_id)
    RETURNING a.water_feature_id),
kept AS (
    INSERT INTO advisory AS a (water_feature_id, basis, level, since, changed_at)
    SELECT water_feature_id, 'approaching', level, :now, :now FROM wanted
    ON CONFLICT (water_feature_id, basis) DO UPDATE SET level = excluded.level, changed_at = excluded.changed_at
    WHERE a.level <> excluded.level
    RETURNING a.water_feature_id)
SELECT (SELECT count(*) FROM gone) AS gone, (SELECT count(*) FROM kept) AS kept
""").bindparams(bindparam("feature_ids", type_=ARRAY(BigInteger)))
_EXPECTED = """
SELECT i.id AS incident_id, i.code AS incident_code, i.kind, i.severity, r.feature_id, r.nth, f.level, r.distance_km,
       r.earliest_at, r.probable_at, r.lapses_at, r.unit_peak, r.passage_s, r.is_lake, r.is_dammed, f.flow_ratio,
       f.observed_from, r.public_at
FROM downstream_reach r JOIN downstream_forecast f USING (incident_id) JOIN incident i ON i.id = r.incident_id
WHERE f.state = 'standing' AND r.lapses_at > :now AND {which}
ORDER BY f.level DESC, r.earliest_at NULLS LAST, r.distance_km, i.code, r.nth
"""
_PUBLIC = "(NOT :is_public OR r.public_at <= :now)"
_OF_INCIDENT = text(_EXPECTED.format(which=f"r.incident_id = :id AND {_PUBLIC}"))
_OF_FEATURES = text(_EXPECTED.format(which=f"r.feature_id = ANY(:ids) AND {_PUBLIC}")).bindparams(
    bindparam("ids", type_=ARRAY(BigInteger))
)
_RULE = text("""
INSERT INTO downstream_ruling (incident_id, is_withheld, limit_km, reason, ruled_by, ruled_at)
VALUES (:incident_id, :is_withheld, :limit_km, :reason, :ruled_by, :now)
ON CONFLICT (incident_id) DO UPDATE SET is_withheld = excluded.is_withheld, limit_km = excluded.limit_km,
    reason = excluded.reason, ruled_by = excluded.ruled_by, ruled_at = excluded.ruled_at
""")
_UNRULE = text("""
DELETE FROM downstream_ruling WHERE incident_id = :id
    AND (CAST(:made_at AS timestamptz) IS NULL OR ruled_at = :made_at)
RETURNING 1
""")


def serialise(session: Session) -> None:
    """Let one transaction at a time write forecasts: they share reaches, and would wait for each other in circles."""
    session.execute(_SERIAL)


def origins(session: Session, incident_ids: Collection[uuid.UUID]) -> list[Origin]:
    """The incidents as forecasts begin with them. One query."""
    rows = session.execute(_ORIGINS, {"ids": list(incident_ids)})
    return [
        Origin(
            row.id, row.kind, row.severity, row.is_open, row.feature_id, row.start_km, row.first_seen, row.last_seen,
            Ruling(row.is_withheld, row.limit_km, row.reason), row.state, row.public_at,
        )
        for row in rows
    ]  # fmt: skip


def may_have_forecast(session: Session, topic: str, incident_id: uuid.UUID) -> bool:
    """Whether an incident has, or had, a forecast, or a job of ``topic`` is open that may be making one.

    One statement, so that the job is seen at work or its outcome, and never neither.
    """
    return bool(session.execute(_MAY_HAVE, {"id": incident_id, "topic": topic, "name": str(incident_id)}).scalar_one())


def standing_incidents(session: Session, *, now: datetime) -> list[uuid.UUID]:
    """Every incident that warns what lies below it."""
    return list(session.execute(_STANDING, {"now": now}).scalars())


def gauge_ratios(session: Session, *, since: datetime, now: datetime) -> dict[int, float]:
    """Q/Qa by feature id of the gauges that told of themselves since then."""
    return {row.feature_id: row.ratio for row in session.execute(_GAUGES, {"since": since, "now": now})}


def keep_forecasts(session: Session, values: Mapping[str, Any]) -> None:
    """Write the forecasts themselves: arrays by name, see the statement."""
    session.execute(_KEEP_FORECASTS, values)


def keep_reaches(session: Session, values: Mapping[str, Any]) -> dict[uuid.UUID, list[int]]:
    """Write what changed of the reaches of these incidents; gives the feature ids that did, by incident.

    Windows that have lapsed are kept beside them for :data:`PAST_KEPT`: reports of them are judged later.
    """
    session.execute(_FORGET_PAST, {"before": values["now"] - PAST_KEPT})
    return {row.incident_id: row.feature_ids for row in session.execute(_KEEP_REACHES, values)}


def settle(session: Session, values: Mapping[str, Any]) -> dict[uuid.UUID, tuple[str, int, str]]:
    """Let each forecast stand, be withheld or end; gives (state, level, kind) by incident."""
    return {row.incident_id: (row.state, row.level, row.kind) for row in session.execute(_SETTLE, values)}


def headers(
    session: Session, incident_ids: Collection[uuid.UUID], *, now: datetime, public_at: datetime
) -> dict[uuid.UUID, Any]:
    """What the forecasts of these incidents say now, with their feature ids.

    ``is_due``: some of it has become public since they were reckoned last; ``was_public``: some of it was by then;
    ``is_new``: some of it will be public at ``public_at``, which is when what is new now will be.
    """
    values = {"ids": list(incident_ids), "now": now, "public_at": public_at}
    return {row.incident_id: row for row in session.execute(_HEADERS, values)}


def count_changed(session: Session, incident_ids: Sequence[uuid.UUID], *, now: datetime) -> None:
    """These forecasts say something else from now on."""
    session.execute(_CHANGED, {"ids": list(incident_ids), "now": now})


def refresh_approaching(session: Session, feature_ids: Collection[int], *, now: datetime) -> tuple[int, int]:
    """Let the approaching levels of these follow from the public forecasts; (how many went, came or changed)."""
    row = session.execute(_APPROACHING, {"feature_ids": sorted(feature_ids), "now": now}).one()
    return row.gone, row.kept


def expected_of_incident(session: Session, incident_id: uuid.UUID, *, now: datetime, is_public: bool) -> list[Expected]:
    """What an incident's forecast says, the nearest first; ``is_public``: only what everybody may know."""
    rows = session.execute(_OF_INCIDENT, {"id": incident_id, "now": now, "is_public": is_public})
    return sorted((_expected(row) for row in rows), key=lambda one: one.nth)


def expected_of_features(
    session: Session, feature_ids: Collection[int], *, now: datetime, is_public: bool
) -> list[Expected]:
    """What is expected to reach these reaches and lakes, the gravest and then the soonest first."""
    rows = session.execute(_OF_FEATURES, {"ids": list(feature_ids), "now": now, "is_public": is_public})
    return [_expected(row) for row in rows]


def keep_ruling(session: Session, values: Mapping[str, Any]) -> None:
    """Write a moderator's ruling over any before it."""
    session.execute(_RULE, values)


def drop_ruling(session: Session, incident_id: uuid.UUID, *, made_at: datetime | None = None) -> bool:
    """Let the warning go as it is reckoned; whether there was a ruling (made just then, where ``made_at`` says so)."""
    return session.execute(_UNRULE, {"id": incident_id, "made_at": made_at}).first() is not None


def has_ruling(session: Session, incident_id: uuid.UUID) -> bool:
    """Whether a moderator has ruled on an incident's warning."""
    found = session.execute(text("SELECT 1 FROM downstream_ruling WHERE incident_id = :id"), {"id": incident_id})
    return found.first() is not None


def _expected(row: Any) -> Expected:
    return Expected(
        incident_id=row.incident_id,
        incident_code=row.incident_code,
        kind=row.kind,
        severity=row.severity,
        feature_id=row.feature_id,
        nth=row.nth,
        level=row.level,
        distance_km=row.distance_km,
        window=Window(row.earliest_at, row.probable_at),
        lapses_at=row.lapses_at,
        unit_peak=row.unit_peak,
        passage_s=row.passage_s,
        is_lake=row.is_lake,
        is_dammed=row.is_dammed,
        flow_ratio=row.flow_ratio,
        observed_from=row.observed_from,
        public_at=row.public_at,
    )
