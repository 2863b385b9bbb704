"""How departments answered, period by period, as it was shown to them and published, and what they say of it."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Person
from waterwatch.agencies.tables import Agency, Jurisdiction
from waterwatch.kernel.db import Base


class PeriodRelease(Base):
    """A period's figures as a whole: ``shown`` to the departments until its deadline, then ``published``."""

    __tablename__ = "period_release"
    __table_args__ = (
        CheckConstraint("period ~ '^20[0-9]{2}(Q[1-4]|-(0[1-9]|1[0-2]))$'", name="period"),
        CheckConstraint("state IN ('shown', 'published')", name="state"),
        CheckConstraint("(state = 'shown') = (state_deadline_at IS NOT NULL)", name="shown_until"),
        CheckConstraint("(state = 'published') = (published_at IS NOT NULL)", name="published_at"),
    )

    period: Mapped[str] = mapped_column(Text, primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True)
    as_of: Mapped[datetime]
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]


class PeriodFigures(Base):
    """The figures of a department or of an area in a period; of the country where both are absent.

    What each means is with :class:`rules.Figures`. They are kept as they were shown: what a department comments on is
    what is published.
    """

    __tablename__ = "period_figures"
    __table_args__ = (
        UniqueConstraint("period", "agency_id", "jurisdiction_id", postgresql_nulls_not_distinct=True),
        CheckConstraint("agency_id IS NULL OR jurisdiction_id IS NULL", name="one_subject"),
        CheckConstraint(
            "least(cases, withdrawn, not_ours, supervising, not_reached, claimed, reopened, overdue) >= 0",
            name="counts",
        ),
        CheckConstraint(
            "acknowledged_on_time <= acknowledged AND acknowledged <= acknowledge_due", name="acknowledged"
        ),
        CheckConstraint("answered_on_time <= answered AND answered <= answer_due", name="answered"),
        CheckConstraint("greatest(acknowledge_due, answer_due, settle_due) <= cases", name="due"),
        CheckConstraint("verified_clean <= settle_due", name="verified_clean"),
        CheckConstraint("acknowledge_median_s >= 0 AND answer_median_s >= 0", name="medians"),
        Index("ix_period_figures_agency_id", "agency_id", postgresql_where=text("agency_id IS NOT NULL")),
        Index(
            "ix_period_figures_jurisdiction_id",
            "jurisdiction_id",
            postgresql_where=text("jurisdiction_id IS NOT NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=text("gen_random_uuid()"))
    period: Mapped[str] = mapped_column(ForeignKey("period_release.period", ondelete="CASCADE"))
    agency_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Agency.id))
    jurisdiction_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Jurisdiction.id))
    cases: Mapped[int] = mapped_column(Integer)
    withdrawn: Mapped[int] = mapped_column(Integer)
    not_ours: Mapped[int] = mapped_column(Integer)
    supervising: Mapped[int] = mapped_column(Integer)
    not_reached: Mapped[int] = mapped_column(Integer)
    acknowledge_due: Mapped[int] = mapped_column(Integer)
    acknowledged: Mapped[int] = mapped_column(Integer)
    acknowledged_on_time: Mapped[int] = mapped_column(Integer)
    acknowledge_median_s: Mapped[float | None]
    answer_due: Mapped[int] = mapped_column(Integer)
    answered: Mapped[int] = mapped_column(Integer)
    answered_on_time: Mapped[int] = mapped_column(Integer)
    answer_median_s: Mapped[float | None]
    settle_due: Mapped[int] = mapped_column(Integer)
    verified_clean: Mapped[int] = mapped_column(Integer)
    claimed: Mapped[int] = mapped_column(Integer)
    reopened: Mapped[int] = mapped_column(Integer)
    overdue: Mapped[int] = mapped_column(Integer)


class AgencyComment(Base):
    """What a department says of its figures of a period; public beside them once the lead has checked it."""

    __tablename__ = "agency_comment"
    __table_args__ = (
        CheckConstraint("state IN ('held', 'published', 'withheld')", name="state"),
        CheckConstraint("length(words) BETWEEN 1 AND 2000", name="words"),
        CheckConstraint("(state = 'withheld') = (withheld_reason IS NOT NULL)", name="withheld_reason"),
        CheckConstraint(
            "withheld_reason IN ('personal_data', 'abuse', 'not_about_figures', 'not_from_the_agency')",
            name="withheld_reason_known",
        ),
        CheckConstraint("(state = 'held') = (checked_by IS NULL)", name="checked"),
        Index("ix_agency_comment_held", "written_at", postgresql_where=text("state = 'held'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    figures_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(PeriodFigures.id), unique=True)
    words: Mapped[str] = mapped_column(Text)
    written_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    checked_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    withheld_reason: Mapped[str | None] = mapped_column(Text)
