"""Incidents as moderators make them, on a river that flows due east along a parallel, and on a lake."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import insert
from tests.moderation.rows import ORGANISATION, add_moderator, add_river, add_waiting, judgement
from waterwatch.incidents import service
from waterwatch.incidents.rules import Severity
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.ids import new_id
from waterwatch.waters.queries import snap

LON, LAT = 114.3055, 30.5928


def add_lake(session: Session) -> uuid.UUID:
    """A lake of a tenth of a degree, into which a spit of land reaches from the north; its feature."""
    source_id = insert(session, "source", code=f"source-{new_id()}", title="tests", licence="CC0")
    facts = {"source_id": source_id, "source_key": str(new_id())}
    body_id = insert(session, "water_body", public_id=f"w-{new_id()}", kind="lake", rank=1, **facts)
    insert(session, "water_name", id=new_id(), water_body_id=body_id, lang="zh-Hans", name="东湖", is_primary=True)
    spit = "114.06 30.1, 114.06 30.04, 114.04 30.04, 114.04 30.1"
    outline = f"POLYGON((114 30, 114.1 30, 114.1 30.1, {spit}, 114 30.1, 114 30))"
    return insert(session, "water_feature", kind="lake", water_body_id=body_id, geom=outline, **facts)


def open_on(
    session: Session,
    water_feature_id: uuid.UUID,
    actor: Actor,
    *,
    now: datetime,
    at: tuple[float, float] = (LON, LAT + 0.001),
    severity: Severity = Severity.LARGER,
    kind: str = "sewage_outfall",
) -> tuple[Incident, uuid.UUID]:
    """An incident opened of one report, and that report."""
    report_id = add_waiting(session, water_feature_id, now=now, at=at, kind=kind)
    session.execute(text("UPDATE report SET state = 'accepted' WHERE id = :id"), {"id": report_id})
    lon, lat, _distance_m = snap(session, water_feature_id, *at)
    opening = service.OpenIncident(
        report_id=report_id,
        organisation_id=ORGANISATION,
        water_feature_id=water_feature_id,
        exact=at,
        public=(lon, lat),
        judgement=judgement(kind, severity),
    )
    return service.open_incident(session, opening, actor=actor, now=now), report_id


def join(
    session: Session,
    incident: Incident,
    actor: Actor,
    *,
    now: datetime,
    at: tuple[float, float] = (LON, LAT + 0.001),
    severity: Severity = Severity.LARGER,
    water_feature_id: uuid.UUID | None = None,
) -> uuid.UUID:
    """A further report of an incident."""
    report_id = add_waiting(session, water_feature_id or incident.water_feature_id, now=now, at=at)
    session.execute(text("UPDATE report SET state = 'merged' WHERE id = :id"), {"id": report_id})
    graded = judgement("sewage_outfall", severity)
    service.join_incident(session, incident.id, report_id, graded, actor=actor, now=now)
    return report_id


def levels(incident: Incident) -> tuple[int, int]:
    """(graded, acting)."""
    return incident.graded_severity, incident.severity


def audited(session: Session, incident: Incident) -> list[str]:
    """What was done to an incident, in order."""
    acts = session.execute(
        text("SELECT action FROM audit_entry WHERE subject_id = :id ORDER BY id"), {"id": incident.id}
    )
    return [str(action).removeprefix("incident.") for action in acts.scalars()]


def extent_of(session: Session, incident: Incident) -> dict[str, Any]:
    """The public extent: its kind, its length in metres, west and east end."""
    row = session.execute(
        text("""SELECT ST_GeometryType(public_extent) AS kind, extent_m, ST_XMin(public_extent) AS west,
                       ST_XMax(public_extent) AS east, ST_IsValid(public_extent) AS is_valid
                FROM incident WHERE id = :id"""),
        {"id": incident.id},
    ).one()
    return dict(row._mapping)


__all__ = ["LAT", "LON", "ORGANISATION", "add_lake", "add_moderator", "add_river", "add_waiting", "judgement"]
