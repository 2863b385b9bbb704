"""Imports: one row a run, so that an interrupted one goes on where it stopped."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base

STATES = ("staging", "refused", "done", "tried")


class ImportRun(Base):
    """One import of one source. ``fingerprint``: the files and how they are read; ``next_row``: where to go on."""

    __tablename__ = "import_run"
    __table_args__ = (
        CheckConstraint("state IN ('staging', 'refused', 'done', 'tried')", name="state"),
        CheckConstraint("next_row >= 0 AND staged >= 0", name="counts"),
        Index("uq_import_run_unfinished", "fingerprint", unique=True, postgresql_where=text("state = 'staging'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source_code: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    next_row: Mapped[int] = mapped_column(BigInteger)
    staged: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    report: Mapped[dict[str, Any] | None]
