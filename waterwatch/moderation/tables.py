"""What was decided, by whom, and what has become of it."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Organisation, Person
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.db import Base
from waterwatch.reports.tables import Report

ACTIONS = (
    *("accepted", "joined", "refused", "patrol_accepted", "corrected", "asked", "handed"),
    *("seconded", "regraded", "split", "absorbed", "reversed"),
)


class Decision(Base):
    """One act of a moderator, as it may be told, undone and reversed. ``before`` and ``after``: ids, codes, numbers.

    ``incident_id`` is the incident that was opened, joined or changed; ``other_incident_id`` the one it was split into,
    or that it absorbed. ``took_s``: from the hold on the report to the act. ``reverses_id``: the decision this one
    reversed, or undid where there is no ``reason_code``.
    """

    __tablename__ = "decision"
    __table_args__ = (
        CheckConstraint(
            "action IN ('accepted', 'joined', 'refused', 'patrol_accepted', 'corrected', 'asked', 'handed', 'seconded',"
            " 'regraded', 'split', 'absorbed', 'reversed')",
            name="action",
        ),
        CheckConstraint("report_id IS NOT NULL OR incident_id IS NOT NULL", name="has_subject"),
        CheckConstraint("(reversed_at IS NULL) = (reversed_by IS NULL)", name="reversed_by"),
        CheckConstraint("(action = 'reversed') = (reverses_id IS NOT NULL)", name="reverses"),
        CheckConstraint("reversed_at IS NULL OR action <> 'reversed'", name="reversed_once"),
        CheckConstraint("took_s >= 0", name="took_s"),
        Index("ix_decision_at", text("at DESC"), text("id DESC")),
        Index("ix_decision_person_id_at", "person_id", "at"),
        Index("ix_decision_batch_id", "batch_id", postgresql_where=text("batch_id IS NOT NULL")),
        Index(
            "ix_decision_other_incident_id", "other_incident_id", postgresql_where=text("other_incident_id IS NOT NULL")
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id))
    organisation_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Organisation.id))
    action: Mapped[str] = mapped_column(Text)
    report_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Report.id), index=True)
    incident_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Incident.id), index=True)
    other_incident_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Incident.id))
    before: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    after: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'::jsonb"))
    batch_id: Mapped[uuid.UUID | None]
    reason_code: Mapped[str | None] = mapped_column(Text)
    reverses_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("decision.id"), unique=True)
    undo_until: Mapped[datetime | None]
    reversed_at: Mapped[datetime | None]
    reversed_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    took_s: Mapped[float | None]
