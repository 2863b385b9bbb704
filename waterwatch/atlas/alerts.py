"""The steps an incident went through, as alerts follow each other: its levels, and the reports that confirmed it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Step:
    """From when on an incident stood at a severity, 1 to 4, or was confirmed at it."""

    at: datetime
    severity: int


# A report that joined confirms the level that held then. The same second is one step: alerts count no fractions.
_STEPS = text("""
WITH i AS (SELECT id, opened_at, severity, closed_at FROM incident WHERE code = :code),
step AS (
    SELECT s.started_at AS at, s.severity FROM incident_span s JOIN i ON i.id = s.incident_id
    UNION ALL
    SELECT r.joined_at, s.severity FROM incident_report r JOIN i ON i.id = r.incident_id
    JOIN incident_span s ON s.incident_id = i.id AND s.started_at < r.joined_at
      AND coalesce(s.ended_at, 'infinity') > r.joined_at
    UNION ALL
    SELECT i.opened_at, i.severity FROM i WHERE NOT EXISTS (SELECT FROM incident_span s WHERE s.incident_id = i.id))
SELECT DISTINCT ON (date_trunc('second', at)) date_trunc('second', at) AS at, severity FROM step
ORDER BY date_trunc('second', at), step.at DESC
""")


def steps_of(session: Session, code: str) -> list[Step]:
    """The steps of an incident, oldest first, one at least: one query."""
    return [Step(**row._mapping) for row in session.execute(_STEPS, {"code": code})]
