"""The calendar of working days, and how long departments have by area and severity."""

import uuid
from datetime import date

from sqlalchemy import CheckConstraint, ForeignKey, SmallInteger, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.agencies.tables import Jurisdiction
from waterwatch.kernel.db import Base


class Workday(Base):
    """One day of a year whose calendar is loaded: all of its days have a row, so that what is missing is seen."""

    __tablename__ = "workday"

    day: Mapped[date] = mapped_column(primary_key=True)
    is_working: Mapped[bool]


class DeadlineRule(Base):
    """How long a department has for a stage; ``jurisdiction_id`` null: everywhere. ``severity``: rank 1 to 4.

    What no rule says is :data:`waterwatch.workdays.rules.DEFAULTS`. The rule of the smallest area that contains the
    department's counts.
    """

    __tablename__ = "deadline_rule"
    __table_args__ = (
        UniqueConstraint("jurisdiction_id", "severity", "stage", postgresql_nulls_not_distinct=True),
        CheckConstraint("severity BETWEEN 1 AND 4", name="severity"),
        CheckConstraint("stage IN ('acknowledge', 'answer', 'finish')", name="stage"),
        CheckConstraint("unit IN ('hours', 'working_days', 'days')", name="unit"),
        CheckConstraint("amount BETWEEN 1 AND 1000", name="amount"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    jurisdiction_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Jurisdiction.id))
    severity: Mapped[int] = mapped_column(SmallInteger)
    stage: Mapped[str] = mapped_column(Text)
    unit: Mapped[str] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(SmallInteger)
