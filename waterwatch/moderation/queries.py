"""Answers for the moderators' desk."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel.errors import NotFound


@dataclass(frozen=True)
class Waiting:
    """One report in the queue. ``held_by_other`` is true while another moderator looks at it."""

    report_id: uuid.UUID
    code: str
    kind: str
    received_at: datetime
    is_red_flag: bool
    held_by_other: bool
    photo_count: int


@dataclass(frozen=True)
class ReviewablePhoto:
    """A photo as the desk speaks of it: the ``number``-th of its report, from 1."""

    report_id: uuid.UUID
    code: str
    number: int


@dataclass(frozen=True)
class QueueSummary:
    """How much waits, since when, and how much of it someone is looking at. ``to_screen`` is not among ``waiting``."""

    waiting: int
    oldest_received_at: datetime | None
    held: int
    to_screen: int


_WAITING = text("""
SELECT r.id AS report_id, r.code, r.kind, r.received_at,
       coalesce(r.has_dead_animals, false) OR coalesce(r.affects_people, false) AS is_red_flag,
       coalesce(l.leased_until > :now AND l.person_id <> :person_id, false) AS held_by_other,
       (SELECT count(*)::int FROM report_photo rp JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready'
        WHERE rp.report_id = r.id) AS photo_count
FROM report r
LEFT JOIN review_lease l ON l.report_id = r.id
WHERE r.state = 'in_review' AND NOT r.needs_screening
ORDER BY is_red_flag DESC, r.received_at, r.id
LIMIT :limit
""")
_SUMMARY = text("""
SELECT count(*) FILTER (WHERE NOT r.needs_screening)::int AS waiting,
       min(r.received_at) FILTER (WHERE NOT r.needs_screening) AS oldest_received_at,
       count(l.report_id) FILTER (WHERE l.leased_until > :now)::int AS held,
       count(*) FILTER (WHERE r.needs_screening)::int AS to_screen
FROM report r LEFT JOIN review_lease l ON l.report_id = r.id
WHERE r.state = 'in_review'
""")
_MAY_SEE = text("""
SELECT r.id AS report_id, r.code,
       (SELECT count(*)::int FROM report_photo x WHERE x.report_id = r.id AND x.position <= rp.position) AS number
FROM report_photo rp JOIN report r ON r.id = rp.report_id WHERE rp.photo_id = :photo_id AND r.state <> 'withdrawn'
""")


def waiting_reports(session: Session, person_id: uuid.UUID, *, now: datetime, limit: int = 50) -> list[Waiting]:
    """The head of the queue in the order it will be handed out."""
    rows = session.execute(_WAITING, {"person_id": person_id, "now": now, "limit": limit})
    return [Waiting(**row._mapping) for row in rows]


def queue_summary(session: Session, *, now: datetime) -> QueueSummary:
    """The numbers always in sight on the desk."""
    return QueueSummary(**session.execute(_SUMMARY, {"now": now}).one()._mapping)


def reviewable_photo(session: Session, photo_id: uuid.UUID) -> ReviewablePhoto:
    """What a moderator must know to find back to the photo's report.

    Raises :class:`NotFound` unless a moderator may see it: it evidences a report that was not withdrawn.
    """
    row = session.execute(_MAY_SEE, {"photo_id": photo_id}).first()
    if row is None:
        raise NotFound("photo_not_found")
    return ReviewablePhoto(**row._mapping)
