"""What of an incident follows from its grades and its reports: severity, clock, place, extent.

Every use case that adds, moves or takes away a grade or a report ends with :func:`settle`, so there is one answer to
"why this level?": the highest of the grades that count.
"""

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Select, func, select, text, update
from sqlalchemy.orm import Session

from waterwatch.incidents.rules import (
    RUBRIC_VERSION,
    Held,
    RubricInputs,
    Severity,
    held_severity,
    score,
    step_down_at,
)
from waterwatch.incidents.tables import Grade, Incident, IncidentReport
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Forbidden, Invalid
from waterwatch.kernel.gathering import write
from waterwatch.kernel.ids import new_id
from waterwatch.waters import queries as waters

OTHER_WATER_M = 500.0  # a report on a neighbouring reach belongs to this one's extent no farther from it than this

_HELD = text("""
SELECT standing AS level, seconded_by IS NOT NULL AS is_seconded, graded_at, seconded_at FROM grade
WHERE incident_id = :id AND reversed_at IS NULL AND superseded_by_id IS NULL
""")
_JOINED = text("SELECT max(joined_at) FROM incident_report WHERE incident_id = :id")
_FIRST_PLACE = text("""
SELECT ir.report_id, ST_X(r.point) AS lon, ST_Y(r.point) AS lat, r.water_feature_id
FROM incident_report ir JOIN report r ON r.id = ir.report_id
WHERE ir.incident_id = :id ORDER BY ir.joined_at, ir.report_id LIMIT 1
""")
_LOWER = text("UPDATE grade SET standing = :level WHERE incident_id = :id AND standing > :level")
# Of public points only, so no extent betrays where anybody stood. A reach may be of several lines: each has its stretch
# between the outermost reports on it. In a lake it is what of the water lies between the reports.
_EXTENT = text("""
WITH water AS (
    SELECT i.id, i.public_point, i.water_feature_id, f.kind, f.geom
    FROM incident i JOIN water_feature f ON f.id = i.water_feature_id
    WHERE i.id = :id),
seen AS (
    SELECT r.snapped_point AS at
    FROM water JOIN incident_report ir ON ir.incident_id = water.id
    JOIN report r ON r.id = ir.report_id AND r.water_feature_id = water.water_feature_id
    WHERE r.snapped_point IS NOT NULL
    UNION ALL
    SELECT ST_ClosestPoint(water.geom, r.snapped_point)
    FROM water JOIN incident_report ir ON ir.incident_id = water.id
    JOIN report r ON r.id = ir.report_id AND r.water_feature_id <> water.water_feature_id
    WHERE ST_Distance(water.geom::geography, r.snapped_point::geography) <= :other_water_m),
places AS (
    SELECT at FROM seen UNION ALL SELECT public_point FROM water WHERE NOT EXISTS (SELECT FROM seen)),
lines AS (
    SELECT d.path, d.geom FROM water, ST_Dump(ST_LineMerge(water.geom)) d WHERE water.kind = 'reach'),
stretches AS (
    SELECT ST_LineSubstring(geom, min(here), max(here)) AS geom FROM (
        SELECT near.path, near.geom, ST_LineLocatePoint(near.geom, places.at) AS here FROM places,
            LATERAL (SELECT * FROM lines ORDER BY lines.geom <-> places.at, lines.path LIMIT 1) near) located
    GROUP BY path, geom),
hull AS (SELECT ST_ConvexHull(ST_Collect(at)) AS geom FROM places),
wet AS (
    SELECT CASE WHEN ST_Dimension(hull.geom) = 0 THEN hull.geom
                ELSE ST_Intersection(ST_MakeValid(water.geom), hull.geom) END AS geom FROM water, hull),
corners AS (SELECT (ST_DumpPoints(geom)).geom AS at FROM hull)
UPDATE incident SET
    public_extent = CASE water.kind
        WHEN 'reach' THEN (SELECT CASE count(*) WHEN 1 THEN (array_agg(geom))[1] ELSE ST_Collect(geom) END
                           FROM stretches)
        ELSE (SELECT CASE WHEN ST_IsEmpty(wet.geom) THEN hull.geom ELSE wet.geom END FROM hull, wet) END,
    extent_m = CASE water.kind
        WHEN 'reach' THEN (SELECT coalesce(sum(ST_Length(geom::geography)), 0) FROM stretches)
        ELSE (SELECT coalesce(max(ST_Distance(a.at::geography, b.at::geography)), 0) FROM corners a, corners b) END
FROM water WHERE incident.id = water.id
""")


NEWEST = (Grade.graded_at.desc(), Grade.id.desc())


@dataclass(frozen=True)
class Judgement:
    """A moderator's grade: the rubric's inputs, the level given, and why it departs from the rubric if it does."""

    inputs: RubricInputs
    severity: Severity
    departure_reason: str | None = None


def counting(incident: Incident) -> Select[Grade]:
    """The grades that hold an incident at its level."""
    return select(Grade).where(
        Grade.incident_id == incident.id, Grade.reversed_at.is_(None), Grade.superseded_by_id.is_(None)
    )


def grade_as(
    session: Session,
    incident: Incident,
    judgement: Judgement,
    *,
    report_id: uuid.UUID | None,
    actor: Actor,
    now: datetime,
) -> Grade:
    """Add a grade as :func:`make_grade` makes it."""
    grade = make_grade(incident, judgement, report_id=report_id, actor=actor, now=now)
    session.add(grade)
    return grade


def make_grade(
    incident: Incident, judgement: Judgement, *, report_id: uuid.UUID | None, actor: Actor, now: datetime
) -> Grade:
    """A grade of one report, or of the whole incident. Raises :class:`Invalid`, :class:`Forbidden`."""
    answer = score(judgement.inputs)
    is_departure = judgement.severity != answer.proposed
    if is_departure and len((judgement.departure_reason or "").strip()) < 3:
        raise Invalid({"departure_reason": ["departure_needs_reason"]})
    if actor.id is None:
        raise Forbidden("grader_must_be_person")
    return Grade(
        id=new_id(),
        incident_id=incident.id,
        graded_at=now,
        graded_by=actor.id,
        rubric_version=RUBRIC_VERSION,
        inputs=asdict(judgement.inputs),
        points=answer.points,
        proposed_severity=int(answer.proposed),
        severity=int(judgement.severity),
        departure_reason=judgement.departure_reason if is_departure else None,
        basis="regrade" if report_id is None else "report",
        report_id=report_id,
        standing=int(judgement.severity),
    )


def take_over(session: Session, incident: Incident, judgement: Judgement, *, actor: Actor, now: datetime) -> None:
    """Let a grade of the whole incident count instead of all that count now."""
    taken = session.scalars(counting(incident)).all()
    grade = grade_as(session, incident, judgement, report_id=None, actor=actor, now=now)
    session.flush()
    for earlier in taken:
        earlier.superseded_by_id = grade.id
    incident.kind = judgement.inputs.kind


def second(session: Session, incident: Incident, actor: Actor, *, now: datetime) -> bool:
    """Let ``actor`` second a red grade that waits; False when none does, or only their own."""
    if actor.id is None or incident.graded_severity == incident.severity:
        return False
    waiting = counting(incident).where(Grade.standing == int(Severity.ESPECIALLY_MAJOR), Grade.seconded_by.is_(None))
    grade = session.scalars(waiting.where(Grade.graded_by != actor.id).order_by(*NEWEST).limit(1)).first()
    if grade is None:
        return False
    grade.seconded_by, grade.seconded_at = actor.id, now
    return True


def move_reports(session: Session, source: Incident, target: Incident, report_ids: Sequence[uuid.UUID]) -> None:
    """Let reports and their grades follow to another incident, where no regrade of the first takes their place."""
    links = update(IncidentReport).where(
        IncidentReport.incident_id == source.id, IncidentReport.report_id.in_(report_ids)
    )
    grades = update(Grade).where(Grade.incident_id == source.id, Grade.report_id.in_(report_ids))
    session.execute(links.values(incident_id=target.id))
    session.execute(grades.values(incident_id=target.id, superseded_by_id=None))


def settle(session: Session, incident: Incident) -> None:
    """Let the incident follow from its grades and reports. Assumes that the caller holds its lock.

    A closed incident keeps its level, which is history; its extent and last confirmation still follow its reports.
    Where no grade counts (all were taken back, and the caller has not yet said what holds) the level stays.
    """
    write(session)
    session.flush()
    joined_at = session.execute(_JOINED, {"id": incident.id}).scalar_one()
    if joined_at is not None:
        incident.last_confirmed_at = joined_at
    if incident.closed_at is None:
        _hold(session, incident)
    session.flush()
    session.execute(_EXTENT, {"id": incident.id, "other_water_m": OTHER_WATER_M})


def lower(session: Session, incident: Incident, level: Severity, *, now: datetime) -> None:
    """Let an unconfirmed incident lose what is above ``level``, every one of its grades with it."""
    session.flush()
    session.execute(_LOWER, {"id": incident.id, "level": int(level)})
    incident.severity = incident.graded_severity = int(level)
    incident.stepped_down_at = now
    incident.state_deadline_at = step_down_at(level, confirmed_at=now)


def first_report(session: Session, incident_id: uuid.UUID) -> uuid.UUID | None:
    """The report whose place is the incident's; None where none is left."""
    row = session.execute(_FIRST_PLACE, {"id": incident_id}).first()
    return None if row is None else uuid.UUID(str(row.report_id))


def water_of_first(session: Session, report_ids: Sequence[uuid.UUID], otherwise: uuid.UUID) -> uuid.UUID:
    """The water of the first of some reports of one incident that is on any, else another."""
    statement = text("""
    SELECT r.water_feature_id FROM report r JOIN incident_report ir ON ir.report_id = r.id
    WHERE r.id = ANY(:ids) AND r.water_feature_id IS NOT NULL ORDER BY ir.joined_at, r.id LIMIT 1
    """)
    found = session.execute(statement, {"ids": list(report_ids)}).scalar_one_or_none()
    return otherwise if found is None else uuid.UUID(str(found))


def place_by_first(session: Session, incident: Incident) -> None:
    """Put an incident where its first report is: of one that left, nothing of its place stays."""
    session.flush()
    row = session.execute(_FIRST_PLACE, {"id": incident.id}).first()
    if row is None:
        return
    lon, lat, _distance_m = waters.snap(session, incident.water_feature_id, row.lon, row.lat)
    incident.exact_point = func.ST_SetSRID(func.ST_MakePoint(row.lon, row.lat), 4326)
    incident.public_point = func.ST_SetSRID(func.ST_MakePoint(lon, lat), 4326)


def _hold(session: Session, incident: Incident) -> None:
    rows = session.execute(_HELD, {"id": incident.id}).all()
    held = held_severity(Held(Severity(row.level), row.is_seconded) for row in rows)
    if held is None:
        return
    incident.graded_severity, incident.severity = int(held[0]), int(held[1])
    begun = [at for row in rows for at in (row.graded_at, row.seconded_at) if at is not None]
    begun += [at for at in (incident.last_confirmed_at, incident.stepped_down_at) if at is not None]
    incident.state_deadline_at = step_down_at(held[1], confirmed_at=max(begun))
