"""What agencies say of their cases, with what pictures, and who inside them works on what."""

import uuid
from datetime import date, datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Person
from waterwatch.agencies.tables import Agency
from waterwatch.escalation.tables import Case, Digest
from waterwatch.kernel.db import Base
from waterwatch.photos.tables import Photo

KINDS = ("answer", "done", "not_ours", "comment")
VIAS = ("link", "desk", "email", "open311", "api")
ANSWER_STATES = ("held", "published", "withheld")
WITHHOLDING_REASONS = ("personal_data", "not_an_answer", "not_from_the_agency", "abuse", "other")
MAX_WORDS = 4000
MAX_OFFICE = 60


class CaseAnswer(Base):
    """One thing an agency said. ``words`` are as they were written, plain text.

    ``held`` until the lead has checked it, where that is asked for; only what is ``published`` is public.
    ``source_key``: what it came from, where the same may come twice (a mail, an Open311 status). ``digest_id``: it
    answers a mail that told of several cases, and nobody but a person can tell which of them it means. ``erased_at``:
    it was withheld long ago, or its incident was taken back with its last report: its words and pictures are gone.
    """

    __tablename__ = "case_answer"
    __table_args__ = (
        CheckConstraint("kind IN ('answer', 'done', 'not_ours', 'comment')", name="kind"),
        CheckConstraint("via IN ('link', 'desk', 'email', 'open311', 'api')", name="via"),
        CheckConstraint("state IN ('held', 'published', 'withheld')", name="state"),
        CheckConstraint("length(words) BETWEEN 1 AND 4000", name="words_length"),
        CheckConstraint("(state = 'withheld') = (withheld_reason IS NOT NULL)", name="withheld_reason"),
        CheckConstraint(
            "withheld_reason IN ('personal_data', 'not_an_answer', 'not_from_the_agency', 'abuse', 'other')",
            name="withheld_reason_known",
        ),
        CheckConstraint("(state = 'published') <= (published_at IS NOT NULL)", name="published_at"),
        CheckConstraint("suggested_agency_id IS NULL OR kind = 'not_ours'", name="suggestion"),
        CheckConstraint("erased_at IS NULL OR words IS NULL", name="erased"),
        Index("ix_case_answer_held", "said_at", postgresql_where=text("state = 'held'")),
        Index("ix_case_answer_deadline", "state_deadline_at", postgresql_where=text("state_deadline_at IS NOT NULL")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Case.id), index=True)
    kind: Mapped[str] = mapped_column(Text)
    via: Mapped[str] = mapped_column(Text)
    words: Mapped[str | None] = mapped_column(Text)
    planned_on: Mapped[date | None]
    suggested_agency_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Agency.id))
    said_at: Mapped[datetime]
    said_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    source_key: Mapped[str | None] = mapped_column(Text, unique=True)
    digest_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Digest.id))
    state: Mapped[str] = mapped_column(Text)
    state_since: Mapped[datetime]
    state_deadline_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]
    checked_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    withheld_reason: Mapped[str | None] = mapped_column(Text)
    erased_at: Mapped[datetime | None]


class CaseAnswerPhoto(Base):
    """A picture an answer shows, in order. The photo itself is kept, sanitised and covered as every other."""

    __tablename__ = "case_answer_photo"
    __table_args__ = (
        UniqueConstraint("answer_id", "position"),
        CheckConstraint("position BETWEEN 1 AND 6", name="position"),
    )

    photo_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Photo.id, ondelete="CASCADE"), primary_key=True)
    answer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("case_answer.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(SmallInteger)


class CaseAssignment(Base):
    """Who inside an agency works on a case: a person, an office by its name, or both. Several may at once."""

    __tablename__ = "case_assignment"
    __table_args__ = (
        CheckConstraint("person_id IS NOT NULL OR office IS NOT NULL", name="somebody"),
        CheckConstraint("length(office) BETWEEN 1 AND 60", name="office_length"),
        CheckConstraint("ended_at >= assigned_at", name="ended_after"),
        Index(
            "uq_case_assignment_standing",
            "case_id",
            "person_id",
            "office",
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Case.id))
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id), index=True)
    office: Mapped[str | None] = mapped_column(Text)
    assigned_at: Mapped[datetime]
    assigned_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
    ended_at: Mapped[datetime | None]
