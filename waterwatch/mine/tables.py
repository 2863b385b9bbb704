"""Which reports somebody has taken into their account. Nobody but themselves ever sees it."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.accounts.tables import Person
from waterwatch.kernel.db import Base
from waterwatch.reports.tables import Report


class ReportOwner(Base):
    """Somebody showed the follow link of a report and keeps it in their account. It gives them nothing the link does
    not give; several people may keep the same report. ``added_at`` is the day, not the hour: by that
    the report could be told from all others of the day."""

    __tablename__ = "report_owner"

    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Person.id, ondelete="CASCADE"), primary_key=True)
    report_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey(Report.id, ondelete="CASCADE"), primary_key=True, index=True
    )
    added_at: Mapped[datetime]
