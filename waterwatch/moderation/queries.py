"""Answers for the moderators' desk."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from waterwatch.escalation.reading import COUNT_TO_POST
from waterwatch.incidents.rules import RED_SECOND_WITHIN, RubricInputs
from waterwatch.kernel.errors import NotFound


@dataclass(frozen=True)
class ReviewablePhoto:
    """A photo as the desk speaks of it: the ``number``-th of its report, from 1."""

    report_id: uuid.UUID
    code: str
    kind: str
    has_dead_animals: bool | None
    number: int


_MAY_SEE = text("""
SELECT r.id AS report_id, r.code, r.kind, r.has_dead_animals,
       (SELECT count(*)::int FROM report_photo x WHERE x.report_id = r.id AND x.position <= rp.position) AS number
FROM report_photo rp JOIN report r ON r.id = rp.report_id WHERE rp.photo_id = :photo_id AND r.state <> 'withdrawn'
""")


def reviewable_photo(session: Session, photo_id: uuid.UUID) -> ReviewablePhoto:
    """What a moderator must know to find back to the photo's report.

    Raises :class:`NotFound` unless a moderator may see it: it evidences a report that was not withdrawn.
    """
    row = session.execute(_MAY_SEE, {"photo_id": photo_id}).first()
    if row is None:
        raise NotFound("photo_not_found")
    return ReviewablePhoto(**row._mapping)


NEAR_M = 300.0
NEAR_TIME = timedelta(days=30)


@dataclass(frozen=True)
class NearReport:
    """Another report of the neighbourhood, for moderators: its place is exact."""

    report_id: uuid.UUID
    code: str
    kind: str
    state: str
    received_at: datetime
    lon: float
    lat: float
    distance_m: float


@dataclass(frozen=True)
class TrackRecord:
    """What became of earlier reports that came the same way. Counts, and nothing that tells who."""

    reports: int
    accepted: int
    refused: int


@dataclass(frozen=True)
class OwnAct:
    """One decision of somebody's own on one report. ``took_s`` is None for one of a batch."""

    at: datetime
    action: str
    took_s: float | None


# A box in degrees is found by the index; metres decide. A degree of latitude is at least 110,574 m long.
_NEAR = text("""
WITH here AS MATERIALIZED (
    SELECT r.id, r.point, :near_m / 110574.0 AS high, :near_m / 110574.0 / greatest(0.05, cos(radians(ST_Y(r.point))))
               * 1.01 AS wide FROM report r WHERE r.id = :report_id AND r.erased_at IS NULL)
SELECT r.id AS report_id, r.code, r.kind, r.state, r.received_at, ST_X(r.point) AS lon, ST_Y(r.point) AS lat,
       ST_Distance(geography(r.point), geography(here.point)) AS distance_m
FROM here JOIN report r ON r.point && ST_Expand(here.point, here.wide, here.high) AND r.id <> here.id
WHERE r.state IN ('in_review', 'accepted', 'merged', 'refused') AND r.erased_at IS NULL AND r.received_at >= :since
  AND ST_DWithin(geography(r.point), geography(here.point), :near_m)
ORDER BY distance_m, r.received_at DESC, r.id LIMIT :limit
""")
# The same account, else the same phone for as long as it is remembered. Nobody learns here which of the two it was.
_TRACK = text("""
WITH this AS MATERIALIZED (SELECT id, device_digest, received_at FROM report WHERE id = :report_id),
same AS (
    SELECT o.report_id FROM this JOIN report_owner mine ON mine.report_id = this.id
    JOIN report_owner o ON o.person_id = mine.person_id
    UNION SELECT r.id FROM this JOIN report r ON r.device_digest = this.device_digest)
SELECT count(*)::int AS reports, count(*) FILTER (WHERE r.state IN ('accepted', 'merged'))::int AS accepted,
       count(*) FILTER (WHERE r.state = 'refused')::int AS refused
FROM same JOIN report r ON r.id = same.report_id JOIN this ON r.id <> this.id AND r.received_at <= this.received_at
WHERE r.state <> 'withdrawn'
""")
_OWN_ACTS = text("""
SELECT at, action, CASE WHEN batch_id IS NULL THEN took_s END AS took_s FROM decision
WHERE person_id = :person_id AND at >= :since AND reversed_at IS NULL
  AND action IN ('accepted', 'joined', 'refused', 'patrol_accepted', 'asked', 'handed')
ORDER BY at, id
""")


def reports_near(session: Session, report_id: uuid.UUID, *, now: datetime, limit: int = 12) -> list[NearReport]:
    """Other reports within :data:`NEAR_M` and :data:`NEAR_TIME`, nearest first; none that was taken back or erased."""
    values = {"report_id": report_id, "near_m": NEAR_M, "since": now - NEAR_TIME, "limit": limit}
    return [NearReport(**row._mapping) for row in session.execute(_NEAR, values)]


def track_record(session: Session, report_id: uuid.UUID) -> TrackRecord:
    """What became of the same sender's earlier reports, as far as that is known at all."""
    return TrackRecord(**session.execute(_TRACK, {"report_id": report_id}).one()._mapping)


def own_acts(session: Session, person_id: uuid.UUID, *, since: datetime) -> list[OwnAct]:
    """Somebody's own decisions on reports since a moment that still stand, in their order."""
    rows = session.execute(_OWN_ACTS, {"person_id": person_id, "since": since})
    return [OwnAct(**row._mapping) for row in rows]


@dataclass(frozen=True)
class Facet:
    """Something the queue can be narrowed to, and how many reports wait there; ``key`` is an area's code or a water."""

    key: str
    name: str
    count: int


# Codes of GB/T 2260: a county's begin as its prefecture's and its province's do.
_AREAS_WAITING = text("""
WITH counted AS (
    SELECT area_code, count(*) AS n FROM review_item WHERE set_aside IS NULL AND area_code IS NOT NULL GROUP BY 1),
rolled AS (
    SELECT code, sum(n)::int AS count
    FROM counted, LATERAL (SELECT DISTINCT unnest(
        ARRAY[left(area_code, 2) || '0000', left(area_code, 4) || '00', area_code]) AS code) codes
    GROUP BY code)
SELECT rolled.code AS key, coalesce(n.name, hans.name, rolled.code) AS name, rolled.count
FROM rolled JOIN jurisdiction j USING (code)
LEFT JOIN jurisdiction_name n ON n.jurisdiction_id = j.id AND n.lang = :lang
LEFT JOIN jurisdiction_name hans ON hans.jurisdiction_id = j.id AND hans.lang = 'zh-Hans'
ORDER BY rolled.code LIMIT :limit
""")
_WATERS_WAITING = text("""
SELECT q.water_body_id::text AS key, coalesce(n.name, hans.name, b.public_id) AS name, q.count
FROM (SELECT water_body_id, count(*)::int AS count FROM review_item
      WHERE set_aside IS NULL AND water_body_id IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :limit) q
JOIN water_body b ON b.id = q.water_body_id
LEFT JOIN water_name n ON n.water_body_id = b.id AND n.lang = :lang AND n.is_primary
LEFT JOIN water_name hans ON hans.water_body_id = b.id AND hans.lang = 'zh-Hans' AND hans.is_primary
ORDER BY q.count DESC, name
""")
_AREA_NAMES = text("""
SELECT j.code, coalesce(n.name, hans.name, j.code) AS name FROM jurisdiction j
LEFT JOIN jurisdiction_name n ON n.jurisdiction_id = j.id AND n.lang = :lang
LEFT JOIN jurisdiction_name hans ON hans.jurisdiction_id = j.id AND hans.lang = 'zh-Hans'
WHERE j.code = ANY(:codes) ORDER BY j.code
""").bindparams(bindparam("codes", type_=ARRAY(Text)))


def areas_waiting(session: Session, *, lang: str, limit: int = 300) -> list[Facet]:
    """The provinces, prefectures and counties where reports wait, by code: each below the one it lies in."""
    return [Facet(**row._mapping) for row in session.execute(_AREAS_WAITING, {"lang": lang, "limit": limit})]


def waters_waiting(session: Session, *, lang: str, limit: int = 60) -> list[Facet]:
    """The waters most reports wait for."""
    return [Facet(**row._mapping) for row in session.execute(_WATERS_WAITING, {"lang": lang, "limit": limit})]


def area_names(session: Session, codes: Sequence[str], *, lang: str) -> dict[str, str]:
    """Names of areas by their codes; a code nobody knows is left out."""
    rows = session.execute(_AREA_NAMES, {"codes": list(codes), "lang": lang})
    return {row.code: row.name for row in rows}


@dataclass(frozen=True)
class Evidence:
    """A report an incident rests on."""

    report_id: uuid.UUID
    code: str
    kind: str
    received_at: datetime
    photo_count: int


_EVIDENCE = text("""
SELECT r.id AS report_id, r.code, r.kind, r.received_at,
       (SELECT count(*)::int FROM report_photo rp WHERE rp.report_id = r.id) AS photo_count
FROM incident_report ir JOIN report r ON r.id = ir.report_id WHERE ir.incident_id = :id
ORDER BY ir.joined_at, r.id
""")


def reports_of_incident(session: Session, incident_id: uuid.UUID) -> list[Evidence]:
    """The reports of an incident, in the order they joined."""
    return [Evidence(**row._mapping) for row in session.execute(_EVIDENCE, {"id": incident_id})]


@dataclass(frozen=True)
class GradeView:
    """One grade of an incident's history; ``counts``: it is among those the level follows from. Never whose."""

    graded_at: datetime
    basis: str
    points: int
    proposed_severity: int
    severity: int
    departure_reason: str | None
    is_seconded: bool
    counts: bool
    inputs: dict[str, Any]


_GRADES = text("""
SELECT graded_at, basis, points, proposed_severity, severity, departure_reason, seconded_by IS NOT NULL AS is_seconded,
       reversed_at IS NULL AND superseded_by_id IS NULL AS counts, inputs
FROM grade WHERE incident_id = :id ORDER BY graded_at DESC, id DESC
""")


def grades_of(session: Session, incident_id: uuid.UUID) -> list[GradeView]:
    """Every grade an incident was given, newest first."""
    return [GradeView(**row._mapping) for row in session.execute(_GRADES, {"id": incident_id})]


def inputs_to_begin_with(kind: str, grades: Sequence[GradeView]) -> RubricInputs:
    """What the form of a new grade is filled with: what the latest that counts was made of."""
    latest = next((grade.inputs for grade in grades if grade.counts and grade.inputs), {})
    known = {name: value for name, value in latest.items() if name in RubricInputs.__dataclass_fields__}
    return RubricInputs(**(known | {"kind": kind}))


@dataclass(frozen=True)
class LeadWaiting:
    """How much waits for a lead beside the queue."""

    answers: int
    letters: int
    bulletins: int
    comments: int


# Letters on paper as ``escalation.reading.to_post`` lists them.
_LEAD = text(f"""
SELECT (SELECT count(*) FROM case_answer a JOIN escalation_case c ON c.id = a.case_id
            JOIN incident i ON i.id = c.incident_id
        WHERE a.state = 'held' AND a.erased_at IS NULL AND i.state NOT IN ('merged', 'retracted')) AS answers,
       ({COUNT_TO_POST}) AS letters,
       (SELECT count(*) FROM bulletin WHERE state = 'draft') AS bulletins,
       (SELECT count(*) FROM agency_comment WHERE state = 'held') AS comments
""")  # noqa: S608  # the piece is a constant


def lead_waiting(session: Session) -> LeadWaiting:
    """How many answers, letters on paper, bulletins and comments wait for a lead. One query."""
    return LeadWaiting(**session.execute(_LEAD).one()._mapping)


@dataclass(frozen=True)
class RedWaiting:
    """A red that waits for its second: since when, and whether it has waited for too long."""

    incident_id: uuid.UUID
    since: datetime
    is_overdue: bool


_REDS = text("""
SELECT g.incident_id, min(g.graded_at) AS since FROM grade g JOIN incident i ON i.id = g.incident_id
WHERE i.closed_at IS NULL AND i.graded_severity > i.severity AND g.standing = 4 AND g.seconded_by IS NULL
  AND g.reversed_at IS NULL AND g.superseded_by_id IS NULL
GROUP BY g.incident_id
""")


def reds_waiting(session: Session, *, now: datetime) -> dict[uuid.UUID, RedWaiting]:
    """By incident, since when its red waits for a second moderator."""
    return {
        row.incident_id: RedWaiting(row.incident_id, row.since, now - row.since > RED_SECOND_WITHIN)
        for row in session.execute(_REDS)
    }


@dataclass(frozen=True)
class BelowNow:
    """How the warning below an incident stands, and what a moderator ruled of it.

    ``state`` is None where nothing was ever reckoned; ``reaches``, ``farthest_km`` of what is warned now; ``agencies``
    are warned, ``agencies_told`` of them have it. ``reason`` is None without a ruling; ``ruled_by`` is a name for the
    desk alone.
    """

    state: str | None
    level: int | None
    public_at: datetime | None
    is_timed: bool | None
    flow_ratio: float | None
    reaches: int
    farthest_km: float | None
    agencies: int
    agencies_told: int
    is_withheld: bool | None
    limit_km: float | None
    reason: str | None
    ruled_by: str | None
    ruled_at: datetime | None


_BELOW = text("""
SELECT f.state, f.level, f.public_at, f.is_timed, f.flow_ratio,
       (SELECT count(*)::int FROM downstream_reach r WHERE r.incident_id = i.id AND r.lapses_at > :now) AS reaches,
       (SELECT max(r.distance_km) FROM downstream_reach r WHERE r.incident_id = i.id AND r.lapses_at > :now)
           AS farthest_km,
       warned.agencies, warned.agencies_told, d.is_withheld, d.limit_km, d.reason, p.email AS ruled_by, d.ruled_at
FROM incident i LEFT JOIN downstream_forecast f ON f.incident_id = i.id
LEFT JOIN downstream_ruling d ON d.incident_id = i.id LEFT JOIN person p ON p.id = d.ruled_by
CROSS JOIN LATERAL (
    SELECT count(*)::int AS agencies,
           (count(*) FILTER (WHERE c.state NOT IN ('queued', 'no_contact', 'dead')))::int AS agencies_told
    FROM escalation_case c WHERE c.incident_id = i.id AND c.role = 'downstream' AND c.state <> 'withdrawn') warned
WHERE i.id = :id
""")
_FEATURE = text("SELECT feature_id FROM water_feature WHERE id = :id AND retired_at IS NULL")


def below_now(session: Session, incident_id: uuid.UUID, *, now: datetime) -> BelowNow:
    """How the warning below an incident stands. One query; raises ``NoResultFound`` for an unknown one."""
    return BelowNow(**session.execute(_BELOW, {"id": incident_id, "now": now}).one()._mapping)


_FIRST_SEEN = text("SELECT min(least(observed_at, received_at)) FROM report WHERE id = ANY(:ids)").bindparams(
    bindparam("ids", type_=ARRAY(Uuid))
)


def first_seen(session: Session, report_ids: Collection[uuid.UUID]) -> datetime | None:
    """When the first of these reports was seen, as a warning begins with it; None where there is none of them."""
    found: datetime | None = session.execute(_FIRST_SEEN, {"ids": list(report_ids)}).scalar_one()
    return found


def feature_of(session: Session, water_feature_id: uuid.UUID) -> int | None:
    """The stable integer of a reach or lake as the network knows it."""
    found: int | None = session.execute(_FEATURE, {"id": water_feature_id}).scalar_one_or_none()
    return found
