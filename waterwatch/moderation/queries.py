"""Answers for the moderators' desk."""

import uuid
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel.errors import NotFound


@dataclass(frozen=True)
class ReviewablePhoto:
    """A photo as the desk speaks of it: the ``number``-th of its report, from 1."""

    report_id: uuid.UUID
    code: str
    number: int


_MAY_SEE = text("""
SELECT r.id AS report_id, r.code,
       (SELECT count(*)::int FROM report_photo x WHERE x.report_id = r.id AND x.position <= rp.position) AS number
FROM report_photo rp JOIN report r ON r.id = rp.report_id WHERE rp.photo_id = :photo_id AND r.state <> 'withdrawn'
""")


def reviewable_photo(session: Session, photo_id: uuid.UUID) -> ReviewablePhoto:
    """What a moderator must know to find back to the photo's report.

    Raises :class:`NotFound` unless a moderator may see it: it evidences a report that was not withdrawn.
    """
    row = session.execute(_MAY_SEE, {"photo_id": photo_id}).first()
    if row is None:
        raise NotFound("photo_not_found")
    return ReviewablePhoto(**row._mapping)
