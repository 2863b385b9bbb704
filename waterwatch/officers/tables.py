"""What an agency keeps for itself."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Person
from waterwatch.escalation.tables import Case
from waterwatch.kernel.db import Base


class CaseNote(Base):
    """A note of one officer to the others of the agency. Never public, never shown to another agency or to us."""

    __tablename__ = "case_note"
    __table_args__ = (CheckConstraint("length(words) BETWEEN 1 AND 1000", name="words_length"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    case_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Case.id), index=True)
    words: Mapped[str] = mapped_column(Text)
    said_at: Mapped[datetime]
    said_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Person.id))
