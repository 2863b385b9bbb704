"""What was expected where a report comes from, and what was found of it: the questions, and the rows they keep."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.advisories.goodness import Check
from waterwatch.advisories.rules import Window


@dataclass(frozen=True)
class Arriving:
    """What an incident's forecast says of the reach a report comes from; ``outcome``: what a moderator found already.

    Once somebody has judged, window and distance are those of then. ``since``: from when on it may have come;
    ``observed_at``: when the reporter saw the place, for moderators alone.
    """

    incident_id: uuid.UUID
    incident_code: str
    kind: str
    severity: int
    feature_id: int
    distance_km: float
    window: Window
    lapses_at: datetime | None
    since: datetime | None
    observed_at: datetime
    outcome: str | None


# A window that has lapsed still says what was expected when the report was taken; arrivals asks whether it was before.
# A check stays open to correction when its forecast has ended, or says something else.
_ARRIVING = text("""
WITH here AS MATERIALIZED (
    SELECT r.id, least(r.observed_at, r.received_at) AS observed_at, f.feature_id
    FROM report r JOIN water_feature f ON f.id = r.water_feature_id WHERE r.id = :id AND r.erased_at IS NULL),
concerned AS MATERIALIZED (
    SELECT d.incident_id FROM here JOIN downstream_reach d USING (feature_id)
    JOIN downstream_forecast w ON w.incident_id = d.incident_id AND w.state = 'standing'
    UNION SELECT p.incident_id FROM here JOIN downstream_past p USING (feature_id)
    JOIN downstream_forecast w ON w.incident_id = p.incident_id AND w.state <> 'withheld'
    JOIN incident o ON o.id = p.incident_id AND o.state NOT IN ('retracted', 'merged')
    UNION SELECT a.incident_id FROM here JOIN arrival_check a ON a.report_id = here.id)
SELECT i.id AS incident_id, i.code AS incident_code, i.kind, i.severity,
       coalesce(a.feature_id, here.feature_id) AS feature_id,
       coalesce(a.distance_km, d.distance_km, p.distance_km) AS distance_km,
       CASE WHEN a.report_id IS NOT NULL THEN a.earliest_at WHEN d.nth IS NOT NULL THEN d.earliest_at
            ELSE p.earliest_at END AS earliest_at,
       CASE WHEN a.report_id IS NOT NULL THEN a.probable_at WHEN d.nth IS NOT NULL THEN d.probable_at
            ELSE p.probable_at END AS probable_at,
       coalesce(d.lapses_at, p.lapses_at) AS lapses_at, w.observed_from AS since,
       coalesce(a.observed_at, here.observed_at) AS observed_at, a.outcome
FROM here CROSS JOIN concerned JOIN incident i ON i.id = concerned.incident_id
LEFT JOIN arrival_check a ON a.incident_id = i.id AND a.report_id = here.id
LEFT JOIN downstream_forecast w ON w.incident_id = i.id
LEFT JOIN downstream_reach d ON d.incident_id = i.id AND d.feature_id = here.feature_id
LEFT JOIN downstream_past p ON p.incident_id = i.id AND p.feature_id = here.feature_id
ORDER BY i.code
""")
_KEEP = text("""
INSERT INTO arrival_check (incident_id, report_id, feature_id, outcome, observed_at, distance_km, earliest_at,
                           probable_at, missed_by_s, checked_by, checked_at)
VALUES (:incident_id, :report_id, :feature_id, :outcome, :observed_at, :distance_km, :earliest_at, :probable_at,
        :missed_by_s, :checked_by, :now)
ON CONFLICT (incident_id, report_id) DO UPDATE SET outcome = excluded.outcome, missed_by_s = excluded.missed_by_s,
    checked_by = excluded.checked_by, checked_at = excluded.checked_at
""")
_DROP = text("DELETE FROM arrival_check WHERE incident_id = :incident_id AND report_id = :report_id RETURNING 1")
# What an incident warned that turned out to be none says nothing of the reckoning.
_CHECKS = text("""
SELECT a.outcome, a.missed_by_s, a.distance_km, a.probable_at, a.observed_at
FROM arrival_check a JOIN incident i ON i.id = a.incident_id WHERE i.state <> 'retracted'
""")


def arriving_at(session: Session, report_id: uuid.UUID) -> list[Arriving]:
    """What is expected where a report comes from, and what was found of it. One query; nothing of an erased report."""
    return [
        Arriving(
            row.incident_id, row.incident_code, row.kind, row.severity, row.feature_id, row.distance_km,
            Window(row.earliest_at, row.probable_at), row.lapses_at, row.since, row.observed_at, row.outcome,
        )
        for row in session.execute(_ARRIVING, {"id": report_id})
    ]  # fmt: skip


def keep_check(session: Session, values: Mapping[str, Any]) -> None:
    """Write what was found; of one there is already, only what was found of it."""
    session.execute(_KEEP, values)


def drop_check(session: Session, incident_id: uuid.UUID, report_id: uuid.UUID) -> bool:
    """Take back what was found; whether there was anything."""
    return session.execute(_DROP, {"incident_id": incident_id, "report_id": report_id}).first() is not None


def checks(session: Session) -> list[Check]:
    """Everything that was found so far, without whose report showed it."""
    return [
        Check(row.outcome, row.missed_by_s, row.distance_km, row.probable_at, row.observed_at)
        for row in session.execute(_CHECKS)
    ]
