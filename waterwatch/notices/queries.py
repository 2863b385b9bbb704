"""What the author of a report is told: the report behind a follow link, and how far its incident has come."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.casework import queries as casework
from waterwatch.casework.queries import AnswerView
from waterwatch.escalation import public_queries as escalation
from waterwatch.incidents import queries as incidents
from waterwatch.incidents.queries import IncidentView
from waterwatch.notices.rules import Handover, Progress
from waterwatch.reports import queries as reports
from waterwatch.reports.queries import Followed, PhotoView
from waterwatch.reports.tables import ALL_CLEAR
from waterwatch.waters import queries as waters


@dataclass(frozen=True)
class Following:
    """Everything the follow page shows. ``water_names`` by language; empty until an incident names the water."""

    report: Followed
    progress: Progress
    photos: list[PhotoView]
    incident: IncidentView | None
    water_names: dict[str, str]
    answers: list[AnswerView]

    @property
    def is_asked(self) -> bool:
        """Whether its author is asked if the water is clean: an agency says so, and nobody has shown it."""
        return self.incident is not None and self.incident.state == "resolved_claimed"


def following(session: Session, token: str, *, language: str, now: datetime) -> Following:
    """The page behind a follow token. Raises ``NotFound`` ``link_unknown``."""
    report = reports.report_by_follow_token(session, token)
    incident = incidents.incident_of_report(session, report.report_id)
    handovers: tuple[Handover, ...] = ()
    answers: list[AnswerView] = []
    names: dict[str, str] = {}
    if incident is not None:
        handovers = _handovers(session, incident.incident_id, language, now)
        answers = casework.public_answers(session, [incident.incident_id], language=language)[incident.incident_id]
        names = waters.names_of(session, [incident.water_body_id]).get(incident.water_body_id, {})
    opened_at = incident.opened_at if incident is not None else None
    is_patrol = report.kind == ALL_CLEAR
    progress = Progress(report.state, report.received_at, report.state_since, opened_at, handovers, is_patrol)
    return Following(report, progress, reports.photos_of(session, report.report_id), incident, names, answers)


def _handovers(session: Session, incident_id: uuid.UUID, language: str, now: datetime) -> tuple[Handover, ...]:
    return tuple(
        Handover(
            None if case.agency_id is None else case.agency_name or "",
            case.state,
            case.created_at,
            case.delivered_at,
            case.acknowledged_at,
            case.answered_at,
            case.closed_at,
            case.role == "supervising",
            case.is_late(now=now),
            case.state_since,
        )
        for case in escalation.cases_of(session, incident_id, language=language)
    )
