"""Judgements that are passed twice, and cases by which new moderators train. No words of a report are kept here."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Person
from waterwatch.kernel.db import Base
from waterwatch.reports.tables import Report


class BlindReview(Base):
    """A report that a second moderator judges without knowing of the first judgement. It changes nothing else.

    Outcomes: 0 refused, 1 to 4 the level. ``*_inputs`` are the rubric's, absent for a refusal. Goes with its report
    when that is erased.
    """

    __tablename__ = "blind_review"
    __table_args__ = (
        CheckConstraint("first_outcome BETWEEN 0 AND 4", name="first_outcome"),
        CheckConstraint("second_outcome BETWEEN 0 AND 4", name="second_outcome"),
        CheckConstraint("(first_outcome = 0) = (first_points IS NULL)", name="first_points"),
        CheckConstraint("(second_at IS NULL) = (second_outcome IS NULL)", name="second_outcome_whole"),
        CheckConstraint("(second_at IS NULL) = (second_person IS NULL)", name="second_person_whole"),
        CheckConstraint("second_person <> first_person", name="second_is_another"),
        CheckConstraint("(leased_by IS NULL) = (leased_until IS NULL)", name="lease_whole"),
        CheckConstraint("leased_by <> first_person", name="leased_by_another"),
        CheckConstraint("length(second_departure_reason) BETWEEN 3 AND 500", name="second_departure_reason"),
        Index("ix_blind_review_waiting", "first_at", "id", postgresql_where=text("second_at IS NULL")),
        Index("ix_blind_review_second_at", "second_at", postgresql_where=text("second_at IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id), unique=True)
    rubric_version: Mapped[str] = mapped_column(Text)
    first_person: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id))
    first_outcome: Mapped[int] = mapped_column(SmallInteger)
    first_inputs: Mapped[dict[str, Any] | None]
    first_points: Mapped[int | None] = mapped_column(SmallInteger)
    first_at: Mapped[datetime]
    leased_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    leased_until: Mapped[datetime | None]
    second_person: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    second_outcome: Mapped[int | None] = mapped_column(SmallInteger)
    second_inputs: Mapped[dict[str, Any] | None]
    second_points: Mapped[int | None] = mapped_column(SmallInteger)
    second_departure_reason: Mapped[str | None] = mapped_column(Text)
    second_at: Mapped[datetime | None]


class CalibrationCase(Base):
    """A decided report that shows how judging goes: what it should be judged as, and why, in the lead's words."""

    __tablename__ = "calibration_case"
    __table_args__ = (
        CheckConstraint("reference_outcome BETWEEN 0 AND 4", name="reference_outcome"),
        CheckConstraint("length(explanation) BETWEEN 3 AND 1000", name="explanation"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id), unique=True)
    reference_outcome: Mapped[int] = mapped_column(SmallInteger)
    explanation: Mapped[str] = mapped_column(Text)
    active: Mapped[bool]
    added_by: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id))
    added_at: Mapped[datetime]


class CalibrationAnswer(Base):
    """A moderator's first answer to a case."""

    __tablename__ = "calibration_answer"
    __table_args__ = (
        CheckConstraint("outcome BETWEEN 0 AND 4", name="outcome"),
        CheckConstraint("(outcome = 0) = (points IS NULL)", name="points"),
    )

    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(CalibrationCase.id, ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id), primary_key=True, index=True)
    outcome: Mapped[int] = mapped_column(SmallInteger)
    inputs: Mapped[dict[str, Any] | None]
    points: Mapped[int | None] = mapped_column(SmallInteger)
    answered_at: Mapped[datetime]
