"""What a report may repeat: candidates a moderator is shown. They merge nothing and refuse nothing by themselves."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from waterwatch.kernel.db import Base
from waterwatch.photos.tables import Photo
from waterwatch.reports.tables import Report


class DuplicateCandidate(Base):
    """Why ``report_id``, when it came to review, looked like ``other_report_id``. Distances in metres and seconds.

    ``picture_bits`` is by how many bits the pair of photos that is most alike differs. ``is_recycled``: the same
    picture was used for another place or time, which is a warning and no duplicate. ``is_same_device`` is forgotten
    when the devices are.
    """

    __tablename__ = "duplicate_candidate"
    __table_args__ = (
        CheckConstraint("report_id <> other_report_id", name="two_reports"),
        CheckConstraint("score BETWEEN 0 AND 1", name="score"),
        CheckConstraint("picture_bits BETWEEN 0 AND 64", name="picture_bits"),
        CheckConstraint("picture_bits IS NOT NULL OR is_same_device OR is_near", name="has_reason"),
        CheckConstraint("num_nonnulls(photo_id, other_photo_id, picture_bits) IN (0, 3)", name="picture_whole"),
        CheckConstraint("picture_bits IS NOT NULL OR NOT (is_same_file OR is_recycled)", name="of_a_picture"),
        CheckConstraint("distance_m >= 0 AND apart_s >= 0", name="apart"),
    )

    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(Report.id, ondelete="CASCADE"), primary_key=True)
    other_report_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey(Report.id, ondelete="CASCADE"), primary_key=True, index=True
    )
    score: Mapped[float]
    photo_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Photo.id, ondelete="CASCADE"))
    other_photo_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(Photo.id, ondelete="CASCADE"))
    picture_bits: Mapped[int | None] = mapped_column(SmallInteger)
    is_same_file: Mapped[bool]
    is_same_device: Mapped[bool]
    is_near: Mapped[bool]
    is_recycled: Mapped[bool]
    distance_m: Mapped[float]
    apart_s: Mapped[float]
    found_at: Mapped[datetime]
