"""Rows the desk's tests stand on: moderators, and reports that wait for them."""

import os
import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.rows import IN_WUHAN, insert
from tests.reports.rows import add_river
from waterwatch.incidents.rules import RubricInputs, Severity, score
from waterwatch.incidents.service import Judgement
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.ids import new_code, new_id
from waterwatch.moderation.service import GradeReport
from waterwatch.triage.service import weigh
from waterwatch.waters.queries import snap

ORGANISATION = uuid.UUID("01900000-0000-7000-8000-000000000010")


def add_moderator(session: Session, name: str, *, now: datetime) -> Actor:
    """Somebody who may review, as the audit names them."""
    person_id = insert(
        session,
        "person",
        email=f"{name}@example.org",
        fs_uniquifier=str(new_id()),
        created_at=now,
    )
    return Actor.person(person_id, ORGANISATION)


def add_waiting(
    session: Session,
    water_feature_id: uuid.UUID | None,
    *,
    now: datetime,
    minutes_old: float = 0,
    at: tuple[float, float] = IN_WUHAN,
    **facts: Any,
) -> uuid.UUID:
    """A report in review, snapped to its water, without photo."""
    if water_feature_id is not None:
        lon, lat, distance_m = snap(session, water_feature_id, *at)
        facts |= {
            "water_feature_id": water_feature_id,
            "snapped_point": f"POINT({lon} {lat})",
            "snap_distance_m": distance_m,
        }
    received_at = now - timedelta(minutes=minutes_old)
    values: dict[str, Any] = {
        "code": new_code(),
        "follow_digest": new_id().bytes * 2,
        "submission_digest": os.urandom(32),
        "organisation_id": ORGANISATION,
        "state": "in_review",
        "state_since": received_at,
        "kind": "sewage_outfall",
        "language": "zh-Hans",
        "received_at": received_at,
        "point": f"POINT({at[0]} {at[1]})",
        "place_source": "pin",
        "input_datum": "wgs84",
    }
    report_id = insert(session, "report", **(values | facts))
    weigh(session, report_id)
    return report_id


def judgement(kind: str = "sewage_outfall", severity: Severity | None = None, **inputs: Any) -> Judgement:
    """What the rubric proposes, or another level with a reason."""
    observed = RubricInputs(kind=kind, **inputs)
    if severity is None or severity == score(observed).proposed:
        return Judgement(observed, score(observed).proposed)
    return Judgement(observed, severity, "看到的比表上更严重")


def grading(report_id: uuid.UUID, **changes: Any) -> GradeReport:
    """The command of a moderator who accepts a report as it is."""
    values: dict[str, Any] = {"judgement": judgement(), "water_feature_id": None}
    return GradeReport(report_id, **(values | changes))


def state_of(session: Session, table: str, row_id: uuid.UUID) -> str:
    """The state of a row."""
    return str(session.execute(text(f"SELECT state FROM {table} WHERE id = :id"), {"id": row_id}).scalar_one())


def count(session: Session, table: str, where: str = "true") -> int:
    """How many rows there are."""
    return int(session.execute(text(f"SELECT count(*) FROM {table} WHERE {where}")).scalar_one())


__all__ = ["ORGANISATION", "add_moderator", "add_river", "add_waiting", "count", "grading", "judgement", "state_of"]
