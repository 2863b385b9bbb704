"""The warning each reach or lake carries. No hidden index: a level is the highest severity among its open incidents."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base
from waterwatch.waters.tables import WaterFeature


class Advisory(Base):
    """The present level of one reach or lake; no row means no warning. ``level`` is a severity rank 1 to 4."""

    __tablename__ = "advisory"
    __table_args__ = (
        CheckConstraint("level BETWEEN 1 AND 4", name="level"),
        CheckConstraint("basis IN ('confirmed', 'approaching')", name="basis"),
    )

    water_feature_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(WaterFeature.id), primary_key=True)
    basis: Mapped[str] = mapped_column(Text, primary_key=True)
    level: Mapped[int] = mapped_column(SmallInteger)
    since: Mapped[datetime]
    changed_at: Mapped[datetime]
