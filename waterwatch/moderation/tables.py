"""Who is looking at which report right now."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Person
from waterwatch.kernel.db import Base
from waterwatch.reports.tables import Report


class ReviewLease(Base):
    """A moderator's hold on a report; free again when it runs out or is released."""

    __tablename__ = "review_lease"

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id, ondelete="CASCADE"), primary_key=True)
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id), index=True)
    leased_until: Mapped[datetime]
