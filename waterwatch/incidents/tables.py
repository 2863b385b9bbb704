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

STATES = ("open", "answered", "resolved_claimed", "verified_clean", "reopened", "expired", "merged", "retracted")
CLOSED_STATES = ("verified_clean", "expired", "merged", "retracted")
BASES = ("report", "regrade")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Incident(Base):
    """An incident. Severities are ranks: 1 blue/IV, 2 yellow/III, 3 orange/II, 4 red/I.

    ``severity`` is what acts (map, routing); ``graded_severity`` is what the moderator said. They differ only while a
    red grade waits for a second moderator: until then it stands as orange.

    ``public_extent`` is what of its water the reports cover, made of their public points alone; ``extent_m`` is how
    long that is, in metres along a reach, across a lake. ``stepped_down_at``: when it last lost a colour unconfirmed.
    """

    __tablename__ = "incident"
    __table_args__ = (
        CheckConstraint(_one_of("state", STATES), name="state"),
        CheckConstraint("severity BETWEEN 1 AND 4 AND graded_severity BETWEEN 1 AND 4", name="severity"),
        CheckConstraint("severity = graded_severity OR (graded_severity = 4 AND severity = 3)", name="four_eyes"),
        CheckConstraint("closed_at IS NULL OR closed_at >= opened_at", name="closed_after_opened"),
        CheckConstraint(f"(closed_at IS NOT NULL) = ({_one_of('state', CLOSED_STATES)})", name="closed_state"),
        CheckConstraint("(state = 'merged') = (merged_into_id IS NOT NULL)", name="merged_into"),
        CheckConstraint("merged_into_id <> id", name="not_into_itself"),
        CheckConstraint("extent_m >= 0 AND (public_extent IS NULL) = (extent_m IS NULL)", name="extent"),
        Index("ix_incident_opened_at", "opened_at", "id"),
        Index("ix_incident_public_point", "public_point", postgresql_using="gist"),
        Index("ix_incident_open", "water_feature_id", postgresql_where=text("closed_at IS NULL")),
        Index(
            "ix_incident_open_place",
            "public_point",
            postgresql_using="gist",
            postgresql_where=text("closed_at IS NULL"),
        ),
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
    stepped_down_at: Mapped[datetime | None]
    merged_into_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("incident.id"), index=True)
    public_extent: Mapped[WKBElement | None] = mapped_column(Geometry("GEOMETRY", srid=4326, spatial_index=False))
    extent_m: Mapped[float | None]


class IncidentReport(Base):
    """Which reports evidence an incident."""

    __tablename__ = "incident_report"

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id), primary_key=True)
    incident_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("incident.id"), index=True)
    joined_at: Mapped[datetime]


class IncidentVerification(Base):
    """Which accepted patrols show an incident's water clean again."""

    __tablename__ = "incident_verification"

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id), primary_key=True)
    incident_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("incident.id"), index=True)
    verified_at: Mapped[datetime]


class Grade(Base):
    """One grading: rubric version, inputs, points, the rubric's proposal, the moderator's level and why they differ.

    ``basis``: of one ``report_id`` (which it follows from incident to incident), or of the whole incident. It counts
    unless it was reversed or a later regrade took its place (``superseded_by_id``); then ``standing`` is the level it
    still holds its incident at: the one given, less what the incident has lost since for want of confirmation.
    """

    __tablename__ = "grade"
    __table_args__ = (
        CheckConstraint("severity BETWEEN 1 AND 4 AND proposed_severity BETWEEN 1 AND 4", name="severity"),
        CheckConstraint("points >= 0", name="points"),
        CheckConstraint(
            "severity = proposed_severity OR length(departure_reason) >= 3 OR reversed_at IS NOT NULL",
            name="departure_reason",
        ),
        CheckConstraint("seconded_by IS NULL OR (severity = 4 AND seconded_by <> graded_by)", name="seconded_by_other"),
        CheckConstraint(_one_of("basis", BASES), name="basis"),
        CheckConstraint("basis = 'report' OR report_id IS NULL", name="basis_report"),
        CheckConstraint("standing BETWEEN 1 AND severity", name="standing"),
        CheckConstraint("(reversed_at IS NULL) = (reversed_by IS NULL)", name="reversed_whole"),
        CheckConstraint("superseded_by_id <> id", name="not_by_itself"),
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
    basis: Mapped[str] = mapped_column(Text)
    report_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Report.id), index=True)
    standing: Mapped[int] = mapped_column(SmallInteger)
    superseded_by_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("grade.id"), index=True)
    reversed_at: Mapped[datetime | None]
    reversed_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
