"""An agency's own account of itself: how many, how fast, how many on time."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.officers.queries import DEADLINE


@dataclass(frozen=True)
class Figures:
    """An agency's own account of the cases handed over within a time: counts, and medians in hours.

    A median of nothing is None. ``*_due``: those of whose deadline it is known whether it was kept: the agency did it,
    or the time is over. Cases that were withdrawn or are not the agency's are not among them, nor those it supervises.
    """

    cases: int
    acknowledged: int
    acknowledge_due: int
    acknowledged_on_time: int
    acknowledge_median_h: float | None
    answered: int
    answer_due: int
    answered_on_time: int
    answer_median_h: float | None
    closed: int
    verified_clean: int
    overdue: int


_FIGURES = text(f"""
WITH given AS (
    SELECT c.*, i.state AS incident_state, coalesce(c.delivered_at, c.acknowledged_at) AS told_at
    FROM escalation_case c JOIN incident i ON i.id = c.incident_id
    WHERE c.agency_id = :agency_id AND c.role = 'competent' AND c.state NOT IN ('withdrawn', 'refused_not_ours')
      AND coalesce(c.delivered_at, c.acknowledged_at) >= :since)
SELECT count(*) AS cases, count(acknowledged_at) AS acknowledged,
       count(*) FILTER (WHERE acknowledge_by IS NOT NULL AND (acknowledged_at IS NOT NULL OR acknowledge_by < :now))
           AS acknowledge_due,
       count(*) FILTER (WHERE acknowledged_at <= acknowledge_by) AS acknowledged_on_time,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM acknowledged_at - told_at) / 3600)
           FILTER (WHERE acknowledged_at IS NOT NULL) AS acknowledge_median_h,
       count(answered_at) AS answered,
       count(*) FILTER (WHERE answer_by IS NOT NULL AND (answered_at IS NOT NULL OR answer_by < :now)) AS answer_due,
       count(*) FILTER (WHERE answered_at <= answer_by) AS answered_on_time,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM answered_at - told_at) / 3600)
           FILTER (WHERE answered_at IS NOT NULL) AS answer_median_h,
       count(*) FILTER (WHERE state = 'closed') AS closed,
       count(*) FILTER (WHERE incident_state = 'verified_clean') AS verified_clean,
       count(*) FILTER (WHERE {DEADLINE.replace("c.", "")} < :now) AS overdue
FROM given
""")  # noqa: S608  # the pieces are constants of this module


def figures(session: Session, agency_id: uuid.UUID, *, since: datetime, now: datetime) -> Figures:
    """How an agency did with what it was told of since a time."""
    row = session.execute(_FIGURES, {"agency_id": agency_id, "since": since, "now": now}).one()
    return Figures(**row._mapping)


_BY_KIND = text("""
SELECT i.kind, count(*)::int AS cases FROM escalation_case c JOIN incident i ON i.id = c.incident_id
WHERE c.agency_id = :agency_id AND c.role = 'competent' AND c.state NOT IN ('withdrawn', 'refused_not_ours')
  AND coalesce(c.delivered_at, c.acknowledged_at) >= :since
GROUP BY i.kind ORDER BY cases DESC, i.kind
""")


def cases_by_kind(session: Session, agency_id: uuid.UUID, *, since: datetime) -> list[tuple[str, int]]:
    """What the cases were about, the commonest first."""
    rows = session.execute(_BY_KIND, {"agency_id": agency_id, "since": since})
    return [(row.kind, row.cases) for row in rows]
