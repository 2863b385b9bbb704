"""Answers about incidents. Positions leave here as numbers; the exact point only where the caller names it."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session

from waterwatch.incidents.rules import TOLD, Event, told


@dataclass(frozen=True)
class IncidentView:
    """What anybody may know of an incident. ``lon``, ``lat`` are the public point: on the water.

    They have the same five digits everywhere, so that no two accounts of one place add up to more.
    """

    incident_id: uuid.UUID
    code: str
    state: str
    kind: str
    severity: int
    graded_severity: int
    water_feature_id: uuid.UUID
    feature_id: int
    water_body_id: uuid.UUID
    lon: float
    lat: float
    opened_at: datetime
    last_confirmed_at: datetime
    closed_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether it still colours its water."""
        return self.closed_at is None

    @property
    def awaits_second(self) -> bool:
        """Graded red by one moderator, standing as orange until another confirms."""
        return self.graded_severity != self.severity


_SELECT = """
SELECT i.id AS incident_id, i.code, i.state, i.kind, i.severity, i.graded_severity, i.water_feature_id,
       f.feature_id, f.water_body_id, round(ST_X(i.public_point)::numeric, 5)::float8 AS lon,
       round(ST_Y(i.public_point)::numeric, 5)::float8 AS lat,
       i.opened_at, i.last_confirmed_at, i.closed_at
FROM incident i JOIN water_feature f ON f.id = i.water_feature_id
"""
_BY_ID = text(_SELECT + "WHERE i.id = :id")
_BY_CODE = text(_SELECT + "WHERE i.code = :code")
_OF_REPORT = text(
    _SELECT + "JOIN incident_report r ON r.incident_id = i.id WHERE r.report_id = :report_id AND i.state <> 'retracted'"
)
_OF_REPORTS = text(
    _SELECT.replace("SELECT", "SELECT r.report_id,", 1)
    + "JOIN incident_report r ON r.incident_id = i.id WHERE r.report_id = ANY(:ids)"
).bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))
_OF_WATER = text(
    _SELECT
    + "WHERE f.water_body_id = :water_body_id AND i.state NOT IN ('merged', 'retracted')"
    + " ORDER BY i.closed_at IS NOT NULL, i.severity DESC, i.opened_at DESC LIMIT :limit"
)
_OPEN = text(_SELECT + "WHERE i.closed_at IS NULL ORDER BY i.severity DESC, i.opened_at DESC LIMIT :limit")
_EXACT = text("SELECT ST_X(exact_point) AS lon, ST_Y(exact_point) AS lat FROM incident WHERE id = :id")
_REPORTS = text("SELECT report_id FROM incident_report WHERE incident_id = :id ORDER BY joined_at, report_id")
_AWAITING = text(_SELECT + "WHERE i.closed_at IS NULL AND i.graded_severity > i.severity ORDER BY i.opened_at")
_OVERDUE = text("SELECT id FROM incident WHERE state_deadline_at < :now ORDER BY state_deadline_at LIMIT :limit")
_NEARBY = text(
    _SELECT
    + """WHERE i.closed_at IS NULL
         AND ST_DWithin(i.exact_point::geography, ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography, :radius_m)
         ORDER BY i.severity DESC, i.opened_at DESC LIMIT 10"""
)
_PUBLIC_NEARBY = text(
    f"""
    WITH here AS (SELECT ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography AS place)
    SELECT found.*, ST_Distance(ST_MakePoint(found.lon, found.lat)::geography, here.place) AS distance_m
    FROM here, LATERAL ({_SELECT} WHERE i.closed_at IS NULL
        AND ST_DWithin(i.public_point::geography, here.place, :radius_m)) found
    ORDER BY distance_m, found.incident_id LIMIT :limit
    """  # noqa: S608  # names of our own
)
# Where the incident lies, or what of its water is known to be affected; or the one the patrol's author names, by its
# own code or that of one that was merged into it.
_FOR_PATROL = text(
    f"""{_SELECT} JOIN report r ON r.id = :report_id
         LEFT JOIN water_feature w ON w.id = r.water_feature_id
         WHERE i.closed_at IS NULL AND (
             i.code = r.same_as_code
             OR i.id = (SELECT gone.merged_into_id FROM incident gone WHERE gone.code = r.same_as_code)
             OR f.water_body_id = w.water_body_id AND (
                 ST_DWithin(i.exact_point::geography, r.point::geography, :radius_m)
                 OR ST_DWithin(i.public_extent::geography, r.snapped_point::geography, :radius_m)))
         ORDER BY coalesce(i.code = r.same_as_code, false) DESC, i.severity DESC, i.opened_at DESC LIMIT 10
    """  # noqa: S608  # names of our own
)
_MERGED_INTO = text("""
SELECT i.code FROM incident gone JOIN incident i ON i.id = gone.merged_into_id WHERE gone.id = :id
""")
# Days, and none later than the report came: what a phone says of time may be anything.
_LIFE = text("""
SELECT i.state_deadline_at AS steps_down_at, i.extent_m, f.kind AS water_kind, seen.*
FROM incident i JOIN water_feature f ON f.id = i.water_feature_id, LATERAL (
    SELECT count(*)::int AS reports,
           (min(least(r.observed_at, r.received_at)) AT TIME ZONE 'Asia/Shanghai')::date AS first_seen_on,
           (max(least(r.observed_at, r.received_at)) AT TIME ZONE 'Asia/Shanghai')::date AS last_seen_on
    FROM incident_report ir JOIN report r ON r.id = ir.report_id WHERE ir.incident_id = i.id) seen
WHERE i.id = :id
""")
_ACTS = text("""
SELECT at, action, before, after FROM audit_entry
WHERE subject_kind = 'incident' AND subject_id = :id AND action = ANY(:actions) ORDER BY id
""")
_SECONDABLE = text("""
SELECT DISTINCT incident_id FROM grade
WHERE incident_id = ANY(:ids) AND standing = 4 AND seconded_by IS NULL AND graded_by <> :person_id
  AND reversed_at IS NULL AND superseded_by_id IS NULL
""").bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))


def incident_by_id(session: Session, incident_id: uuid.UUID) -> IncidentView | None:
    """One incident."""
    return _one(session.execute(_BY_ID, {"id": incident_id}).first())


def incident_by_code(session: Session, code: str) -> IncidentView | None:
    """One incident by the code people read aloud; case does not matter."""
    return _one(session.execute(_BY_CODE, {"code": code.upper()}).first())


def incident_of_report(session: Session, report_id: uuid.UUID) -> IncidentView | None:
    """The incident a report evidences, if it was accepted, and the incident was not withdrawn since."""
    return _one(session.execute(_OF_REPORT, {"report_id": report_id}).first())


def incidents_of_reports(session: Session, report_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, IncidentView]:
    """By report, the incident it evidences; reports that were not accepted are left out. One query."""
    rows = session.execute(_OF_REPORTS, {"ids": list(report_ids)}).mappings()
    return {
        row["report_id"]: IncidentView(**{name: value for name, value in row.items() if name != "report_id"})
        for row in rows
    }


def incidents_of_water(session: Session, water_body_id: uuid.UUID, *, limit: int = 50) -> list[IncidentView]:
    """A water's incidents: open ones first, worst first, newest first."""
    rows = session.execute(_OF_WATER, {"water_body_id": water_body_id, "limit": limit})
    return [IncidentView(**row._mapping) for row in rows]


def open_incidents(session: Session, *, limit: int = 10_000) -> list[IncidentView]:
    """Every incident that colours a water, worst first."""
    return [IncidentView(**row._mapping) for row in session.execute(_OPEN, {"limit": limit})]


def incidents_near(session: Session, lon: float, lat: float, *, radius_m: float = 500.0) -> list[IncidentView]:
    """Open incidents within ``radius_m`` of a place: the moderator may join one instead of opening another."""
    rows = session.execute(_NEARBY, {"lon": lon, "lat": lat, "radius_m": radius_m})
    return [IncidentView(**row._mapping) for row in rows]


@dataclass(frozen=True)
class NearbyIncident:
    """An open incident and how far its public point is from where somebody asks, in metres."""

    incident: IncidentView
    distance_m: float


def public_incidents_near(
    session: Session, lon: float, lat: float, *, radius_m: float, limit: int = 5
) -> list[NearbyIncident]:
    """Open incidents by their public points, nearest first: nothing of the exact places can be told from the answer."""
    rows = session.execute(_PUBLIC_NEARBY, {"lon": lon, "lat": lat, "radius_m": radius_m, "limit": limit}).mappings()
    return [
        NearbyIncident(
            IncidentView(**{name: value for name, value in row.items() if name != "distance_m"}), row["distance_m"]
        )
        for row in rows
    ]


def incidents_awaiting_second(session: Session) -> list[IncidentView]:
    """Incidents graded red by one moderator only, oldest first."""
    return [IncidentView(**row._mapping) for row in session.execute(_AWAITING)]


def overdue_incidents(session: Session, *, now: datetime, limit: int = 200) -> Sequence[uuid.UUID]:
    """Incidents whose colour nobody has confirmed for too long."""
    return session.execute(_OVERDUE, {"now": now, "limit": limit}).scalars().all()


def exact_point(session: Session, incident_id: uuid.UUID) -> tuple[float, float]:
    """(lon, lat) of the place itself: for moderators and the competent agency only."""
    row = session.execute(_EXACT, {"id": incident_id}).one()
    return row.lon, row.lat


def reports_of(session: Session, incident_id: uuid.UUID) -> Sequence[uuid.UUID]:
    """The reports that evidence an incident, in the order they joined."""
    return session.execute(_REPORTS, {"id": incident_id}).scalars().all()


def is_accepted_patrol(session: Session, report_id: uuid.UUID) -> bool:
    """Whether a report says that its water is in order, and a moderator found so too."""
    statement = text("SELECT EXISTS (SELECT FROM report WHERE id = :id AND kind = 'all_clear' AND state = 'accepted')")
    return bool(session.execute(statement, {"id": report_id}).scalar_one())


def secondable_by(session: Session, incident_ids: Sequence[uuid.UUID], person_id: uuid.UUID) -> set[uuid.UUID]:
    """Those of the incidents whose red grade this person may second: it was another's. One query."""
    return set(session.execute(_SECONDABLE, {"ids": list(incident_ids), "person_id": person_id}).scalars())


@dataclass(frozen=True)
class Life:
    """What the public may know of how an incident has gone. Days are those of Beijing time.

    ``steps_down_at``: when it loses a colour, or ends, if nobody reports it again. ``extent_m``: how long a stretch of
    a reach, or how far across a lake, its reports cover; None where it was never worked out.
    """

    reports: int
    first_seen_on: date | None
    last_seen_on: date | None
    steps_down_at: datetime | None
    extent_m: float | None
    water_kind: str


def life_of(session: Session, incident_id: uuid.UUID) -> Life:
    """How an incident has gone, in numbers and days. Raises ``NoResultFound``."""
    return Life(**session.execute(_LIFE, {"id": incident_id}).one()._mapping)


def timeline(session: Session, incident_id: uuid.UUID) -> list[Event]:
    """What became of an incident, oldest first, as the public may know it: from the audit, without people or reports.

    Reports that confirmed it on one day and changed nothing are one event.
    """
    rows = session.execute(_ACTS, {"id": incident_id, "actions": list(TOLD)})
    return told((row.at, row.action, row.before, row.after) for row in rows)


def code_merged_into(session: Session, incident_id: uuid.UUID) -> str | None:
    """The code of the incident another was merged into; None where it was not."""
    code: str | None = session.execute(_MERGED_INTO, {"id": incident_id}).scalar_one_or_none()
    return code


def incidents_for_patrol(session: Session, report_id: uuid.UUID, *, radius_m: float = 300.0) -> list[IncidentView]:
    """Open incidents a patrol may show to be clean: on the same water within ``radius_m``, or named by its author."""
    rows = session.execute(_FOR_PATROL, {"report_id": report_id, "radius_m": radius_m})
    return [IncidentView(**row._mapping) for row in rows]


def _one(row: object) -> IncidentView | None:
    return IncidentView(**row._mapping) if row is not None else None  # type: ignore[attr-defined]
