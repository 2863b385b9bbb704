"""One pollution problem at one place, evidenced by reports; its grades and its life."""

import uuid
from datetime import datetime
from typing import Any

from geoalchemy2 import Geometry, WKBElement
from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Organisation, Person
from waterwatch.kernel.db import Base
from waterwatch.reports.tables import Report
from waterwatch.waters.tables import WaterFeature

STATES = ("open", "answered", "resolved_claimed", "verified_clean", "reopened", "expired")


class Incident(Base):
    """An incident. Severities are ranks: 1 blue/IV, 2 yellow/III, 3 orange/II, 4 red/I.

    ``severity`` is what acts (map, routing); ``graded_severity`` is what the moderator said. They differ only while a
    red grade waits for a second moderator: until then it stands as orange.
    """

    __tablename__ = "incident"
    __table_args__ = (
        CheckConstraint(
            "state IN ('open', 'answered', 'resolved_claimed', 'verified_clean', 'reopened', 'expired')", name="state"
        ),
        CheckConstraint("severity BETWEEN 1 AND 4 AND graded_severity BETWEEN 1 AND 4", name="severity"),
        CheckConstraint("severity = graded_severity OR (graded_severity = 4 AND severity = 3)", name="four_eyes"),
        CheckConstraint("closed_at IS NULL OR closed_at >= opened_at", name="closed_after_opened"),
        CheckConstraint("(closed_at IS NOT NULL) = (state IN ('verified_clean', 'expired'))", name="closed_state"),
        Index("ix_incident_opened_at", "opened_at", "id"),
        Index("ix_incident_open", "water_feature_id", postgresql_where=text("closed_at IS NULL")),
        Index("ix_incident_deadline", "state_deadline_at", postgresql_where=text("state_deadline_at IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(Text, unique=True)
    organisation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Organisation.id))
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    kind: Mapped[str] = mapped_column(Text)
    severity: Mapped[int] = mapped_column(SmallInteger)
    graded_severity: Mapped[int] = mapped_column(SmallInteger)
    water_feature_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(WaterFeature.id))
    exact_point: Mapped[WKBElement] = mapped_column(Geometry("POINT", srid=4326, spatial_index=False))
    public_point: Mapped[WKBElement] = mapped_column(Geometry("POINT", srid=4326, spatial_index=False))
    opened_at: Mapped[datetime]
    last_confirmed_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class IncidentReport(Base):
    """Which reports evidence an incident."""

    __tablename__ = "incident_report"

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id), primary_key=True)
    incident_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("incident.id"), index=True)
    joined_at: Mapped[datetime]


class Grade(Base):
    """One grading: rubric version, inputs, points, the rubric's proposal, the moderator's level and why they differ."""

    __tablename__ = "grade"
    __table_args__ = (
        CheckConstraint("severity BETWEEN 1 AND 4 AND proposed_severity BETWEEN 1 AND 4", name="severity"),
        CheckConstraint("points >= 0", name="points"),
        CheckConstraint("severity = proposed_severity OR length(departure_reason) >= 3", name="departure_reason"),
        CheckConstraint("seconded_by IS NULL OR (severity = 4 AND seconded_by <> graded_by)", name="seconded_by_other"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    incident_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("incident.id"), index=True)
    graded_at: Mapped[datetime]
    graded_by: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id))
    rubric_version: Mapped[str] = mapped_column(Text)
    inputs: Mapped[dict[str, Any]]
    points: Mapped[int] = mapped_column(SmallInteger)
    proposed_severity: Mapped[int] = mapped_column(SmallInteger)
    severity: Mapped[int] = mapped_column(SmallInteger)
    departure_reason: Mapped[str | None] = mapped_column(Text)
    seconded_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    seconded_at: Mapped[datetime | None]
