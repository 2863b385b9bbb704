"""Answers for the public pages."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session

NUMBERS_WINDOW_DAYS = 30
GALLERY_LIMIT = 24


@dataclass(frozen=True)
class FrontNumbers:
    """The three numbers of the front page, with what stands behind the share."""

    open_incidents: int
    reports_in_window: int
    forwarded_in_window: int
    acknowledged_in_window: int

    @property
    def acknowledged_percent(self) -> int | None:
        """Share of forwarded cases the departments acknowledged, in whole percent; None without any case."""
        if self.forwarded_in_window == 0:
            return None
        return round(100 * self.acknowledged_in_window / self.forwarded_in_window)


@dataclass(frozen=True)
class PublicPhoto:
    """A picture the public may see, by its place in its incident's gallery."""

    photo_id: uuid.UUID
    position: int
    width: int
    height: int
    seen_on: date


_NUMBERS = text("""
SELECT (SELECT count(*) FROM incident WHERE closed_at IS NULL)::int AS open_incidents,
       (SELECT count(*) FROM report WHERE received_at > now() - make_interval(days => :days)
        AND state <> 'withdrawn')::int AS reports_in_window,
       count(c.id) FILTER (WHERE c.agency_id IS NOT NULL)::int AS forwarded_in_window,
       count(c.acknowledged_at)::int AS acknowledged_in_window
FROM escalation_case c WHERE c.created_at > now() - make_interval(days => :days) AND c.role <> 'downstream'
""")
_PHOTOS = text("""
SELECT * FROM (
SELECT ir.incident_id, p.id AS photo_id, d.width, d.height,
       (least(r.observed_at, r.received_at) AT TIME ZONE 'Asia/Shanghai')::date AS seen_on, (row_number() OVER (
           PARTITION BY ir.incident_id ORDER BY ir.joined_at, rp.report_id, rp.position))::int AS position
FROM incident_report ir
JOIN report r ON r.id = ir.report_id AND r.state IN ('accepted', 'merged')
JOIN report_photo rp ON rp.report_id = r.id
JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready'
JOIN photo_derivative d ON d.photo_id = p.id AND d.size_px = 1024
WHERE ir.incident_id = ANY(:incident_ids)
) AS gallery WHERE position <= :limit ORDER BY incident_id, position
""")

# The pictures of the patrols that showed it clean, as long as they stand.
_AFTER = text("""
SELECT * FROM (
SELECT v.incident_id, p.id AS photo_id, d.width, d.height,
       (least(r.observed_at, r.received_at) AT TIME ZONE 'Asia/Shanghai')::date AS seen_on, (row_number() OVER (
           PARTITION BY v.incident_id ORDER BY v.verified_at DESC, v.report_id, rp.position))::int AS position
FROM incident_verification v
JOIN report r ON r.id = v.report_id AND r.state = 'accepted'
JOIN report_photo rp ON rp.report_id = r.id
JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready'
JOIN photo_derivative d ON d.photo_id = p.id AND d.size_px = 1024
WHERE v.incident_id = ANY(:incident_ids)
) AS gallery WHERE position <= :limit ORDER BY incident_id, position
""")


def front_numbers(session: Session) -> FrontNumbers:
    """Open incidents now; reports, forwarded and acknowledged cases of the last 30 days. One query."""
    return FrontNumbers(**session.execute(_NUMBERS, {"days": NUMBERS_WINDOW_DAYS}).one()._mapping)


def public_photos(session: Session, incident_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[PublicPhoto]]:
    """The pictures of each incident: rebuilt ones, of accepted reports only. One query for all."""
    return _galleries(session, _PHOTOS, incident_ids)


def photos_after(session: Session, incident_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[PublicPhoto]]:
    """The pictures that show each incident's water clean again, the latest patrol's first. One query for all."""
    return _galleries(session, _AFTER, incident_ids)


def _galleries(
    session: Session, statement: TextClause, incident_ids: Sequence[uuid.UUID]
) -> dict[uuid.UUID, list[PublicPhoto]]:
    found: dict[uuid.UUID, list[PublicPhoto]] = {incident_id: [] for incident_id in incident_ids}
    for row in session.execute(statement, {"incident_ids": list(incident_ids), "limit": GALLERY_LIMIT}):
        facts = dict(row._mapping)
        found[facts.pop("incident_id")].append(PublicPhoto(**facts))
    return found
