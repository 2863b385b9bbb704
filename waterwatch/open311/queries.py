"""Answers for 311 applications: only what is public. No exact place, word or name of a citizen is ever selected."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.escalation.public_queries import CaseView, cases_of_each
from waterwatch.open311 import rules
from waterwatch.open311.forms import Asked
from waterwatch.waters.queries import names_of


@dataclass(frozen=True)
class PublicRequest:
    """One incident as the public map shows it. ``lon``, ``lat`` is its public point: on the water, WGS-84.

    ``names`` are its water's, by language; ``has_photo``: whether its public page shows a picture.
    """

    incident_id: uuid.UUID
    code: str
    kind: str
    state: str
    severity: int
    opened_at: datetime
    changed_at: datetime
    closed_at: datetime | None
    lon: float
    lat: float
    water_body_id: uuid.UUID
    has_photo: bool
    names: dict[str, str]
    cases: list[CaseView]

    @property
    def updated_at(self) -> datetime:
        """When anything of it last changed that the public may know."""
        steps = (at for case in self.cases for at in (case.created_at, case.delivered_at, case.acknowledged_at))
        return max(self.changed_at, *(at for at in steps if at is not None), self.opened_at)


@dataclass(frozen=True)
class ReportState:
    """How far a report is that is not, or not yet, a public incident: nothing of what it says."""

    code: str
    status: str
    received_at: datetime
    changed_at: datetime


_COLUMNS = """
SELECT i.id AS incident_id, i.code, i.kind, i.state, i.severity, i.opened_at,
       greatest(i.state_since, i.last_confirmed_at, i.closed_at) AS changed_at, i.closed_at,
       ST_X(i.public_point) AS lon, ST_Y(i.public_point) AS lat, f.water_body_id,
       EXISTS (SELECT FROM incident_report ir JOIN report r ON r.id = ir.report_id AND r.state IN ('accepted', 'merged')
               JOIN report_photo rp ON rp.report_id = r.id JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready'
               JOIN photo_derivative d ON d.photo_id = p.id AND d.size_px = 1024
               WHERE ir.incident_id = i.id) AS has_photo
FROM incident i JOIN water_feature f ON f.id = i.water_feature_id
"""
_LISTED = text(f"""{_COLUMNS}
WHERE i.opened_at >= :start AND i.opened_at <= :end AND i.state NOT IN ('merged', 'retracted')
  AND (CAST(:kinds AS text[]) IS NULL OR i.kind = ANY(:kinds))
  AND (CAST(:status AS text) IS NULL OR (i.closed_at IS NULL) = (:status = 'open'))
ORDER BY i.opened_at DESC, i.id LIMIT :limit
""")
_NAMED = text(f"""{_COLUMNS}
WHERE (i.code = ANY(:codes) OR i.id = ANY(:ids)) AND i.state NOT IN ('merged', 'retracted')
""")
# An incident that was merged is answered like a report: by the incident it is part of now.
_REPORTS = text("""
SELECT r.code, r.state, r.received_at, r.state_since, i.id AS incident_id
FROM report r LEFT JOIN incident_report ir ON ir.report_id = r.id AND r.state IN ('accepted', 'merged')
LEFT JOIN incident i ON i.id = ir.incident_id AND i.state <> 'retracted'
WHERE r.code = ANY(:codes)
UNION ALL
SELECT gone.code, gone.state, gone.opened_at, gone.state_since, gone.merged_into_id
FROM incident gone WHERE gone.code = ANY(:codes) AND gone.state = 'merged'
""")


def requests_listed(session: Session, asked: Asked, *, language: str) -> list[PublicRequest]:
    """The public incidents that opened within the times asked for, newest first. Three queries, however many."""
    status = asked.statuses[0] if len(asked.statuses) == 1 else None
    values = {
        "start": asked.start,
        "end": asked.end,
        "kinds": list(asked.kinds) or None,
        "status": status,
        "limit": asked.limit,
    }
    rows = [dict(row._mapping) for row in session.execute(_LISTED, values)]
    return _complete(session, rows, language)


def requests_named(session: Session, codes: Sequence[str], *, language: str) -> dict[str, PublicRequest | ReportState]:
    """What is public of each code that exists: an incident's, or a report's. Four queries, however many.

    A report that was accepted is its incident, and an incident that was merged the one it was merged into; one that was
    withdrawn is none. Before, and where it never became one, only its state is told.
    """
    # The reports first: one that is accepted meanwhile is told as it was, and no incident is named that is not read.
    reports = session.execute(_REPORTS, {"codes": list(codes)}).all()
    ids = [report.incident_id for report in reports if report.incident_id is not None]
    rows = [dict(row._mapping) for row in session.execute(_NAMED, {"codes": list(codes), "ids": ids})]
    incidents = {one.incident_id: one for one in _complete(session, rows, language)}
    found: dict[str, PublicRequest | ReportState] = {}
    for report in reports:
        if report.incident_id in incidents:
            found[report.code] = incidents[report.incident_id]
        else:
            status = rules.report_status(report.state)
            found[report.code] = ReportState(report.code, status, report.received_at, report.state_since)
    found |= {one.code: one for one in incidents.values() if one.code in codes}
    return {code: found[code] for code in codes if code in found}


def _complete(session: Session, rows: list[dict[str, object]], language: str) -> list[PublicRequest]:
    ids = [uuid.UUID(str(row["incident_id"])) for row in rows]
    bodies = {uuid.UUID(str(row["water_body_id"])) for row in rows}
    if not rows:
        return []
    names, cases = names_of(session, bodies), cases_of_each(session, ids, language=language)
    return [
        PublicRequest(
            **row,  # type: ignore[arg-type]  # the columns of the query
            names=names.get(uuid.UUID(str(row["water_body_id"])), {}),
            cases=cases[incident_id],
        )
        for row, incident_id in zip(rows, ids, strict=True)
    ]
