"""Many reports decided as one: first what will happen to each, then all of it in one transaction, or nothing.

A batch raises no incident: a report the rubric finds graver than the incident has is looked at by itself.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session

from waterwatch.incidents.queries import IncidentView, incident_by_code
from waterwatch.incidents.rules import score
from waterwatch.incidents.service import Judgement
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import service
from waterwatch.moderation.service import GradeReport
from waterwatch.reports import queries as report_queries
from waterwatch.reports.tables import ALL_CLEAR
from waterwatch.triage import service as triage
from waterwatch.triage.rules import rubric_inputs

MAX_BATCH = 100


@dataclass(frozen=True)
class Batch:
    """What is to be done with some reports. ``code`` and ``words`` for a refusal, ``incident_code`` for a join."""

    what: str
    report_ids: tuple[uuid.UUID, ...]
    codes: tuple[str, ...] = ()
    code: str | None = None
    words: str | None = None
    incident_code: str | None = None


@dataclass(frozen=True)
class Line:
    """What will happen to one report: ``obstacle`` says why nothing, ``judgement`` how it is graded when it joins."""

    report_id: uuid.UUID
    code: str
    kind: str
    received_at: datetime
    version: int
    judgement: Judgement | None
    obstacle: str | None


@dataclass(frozen=True)
class Plan:
    """What a batch will do to each; ``unknown`` are the codes of no report."""

    batch: Batch
    incident: IncidentView | None
    lines: list[Line]
    unknown: tuple[str, ...]

    @property
    def doable(self) -> list[Line]:
        """Those something will happen to."""
        return [line for line in self.lines if line.obstacle is None]


_ROWS = text("""
SELECT r.id AS report_id, r.code, r.kind, r.received_at, r.version, r.state, r.water_feature_id,
       q.set_aside,
       coalesce(q.leased_until > :now AND q.leased_by <> :person_id, false) AS held_by_other,
       coalesce(q.not_for = :person_id, false) AS is_not_for
FROM report r LEFT JOIN review_item q ON q.report_id = r.id
WHERE (r.id = ANY(:ids) OR r.code = ANY(:codes)) AND r.erased_at IS NULL ORDER BY r.id
""").bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))


def plan(session: Session, batch: Batch, *, actor: Actor, now: datetime) -> Plan:
    """What the batch would do now. Raises :class:`Invalid` (``incident``) for an incident that cannot be joined."""
    incident = None
    if batch.what == "join":
        incident = incident_by_code(session, batch.incident_code or "")
        if incident is None or not incident.is_open:
            raise Invalid({"incident": ["incident_unknown" if incident is None else "incident_is_closed"]})
    values = {
        "ids": list(batch.report_ids),
        "codes": list(batch.codes),
        "now": now,
        "person_id": service.person_of(actor),
    }
    lines, codes = [], set()
    for row in session.execute(_ROWS, values):
        judgement = _judgement(session, row.report_id) if incident is not None else None
        lines.append(
            Line(
                row.report_id,
                row.code,
                row.kind,
                row.received_at,
                row.version,
                judgement,
                _obstacle(row, incident, judgement),
            )
        )
        codes.add(row.code)
    return Plan(batch, incident, lines, tuple(code for code in batch.codes if code not in codes))


def carry_out(
    session: Session,
    batch: Batch,
    versions: dict[uuid.UUID, int],
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> tuple[uuid.UUID, int]:
    """Do what was listed; returns the batch's id and to how many.

    ``versions``: which version of each report was listed. Raises :class:`Conflict` ``batch_changed`` when anything of
    it can no longer be done as listed: then nothing was, and it is to be listed anew.
    """
    # Before any incident: a grade that waits for one of those holds its report.
    report_queries.lock_reports(session, {*versions, *batch.report_ids})
    found = plan(session, batch, actor=actor, now=now)
    listed = {line.report_id: line.version for line in found.doable}
    if not listed or listed != versions:
        raise Conflict("batch_changed")
    batch_id = new_id()
    try:
        for line in found.doable:  # by id: two batches that share reports do not wait for each other for ever
            _decide(session, found, line, batch_id, settings=settings, actor=actor, now=now)
    except Conflict as conflict:
        raise Conflict("batch_changed", report_id=line.report_id, because=conflict.error_code) from conflict
    return batch_id, len(listed)


def _decide(
    session: Session, found: Plan, line: Line, batch_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime
) -> None:
    if found.incident is None:
        assert found.batch.code is not None
        service.refuse_report(
            session,
            line.report_id,
            found.batch.code,
            found.batch.words,
            seen_version=line.version,
            settings=settings,
            actor=actor,
            now=now,
            batch_id=batch_id,
        )
        return
    assert line.judgement is not None
    command = GradeReport(line.report_id, line.judgement, None, found.incident.incident_id, line.version)
    service.grade_report(session, command, settings=settings, actor=actor, now=now, batch_id=batch_id)


def _judgement(session: Session, report_id: uuid.UUID) -> Judgement | None:
    """What the observer's own answers, the place and its neighbours come to by the rubric; None where none waits."""
    observed = triage.observed(session, report_id)
    if observed is None:
        return None
    inputs = rubric_inputs(observed)
    return Judgement(inputs, score(inputs).proposed)


def _obstacle(row: Row[Any], incident: IncidentView | None, judgement: Judgement | None) -> str | None:
    """Why nothing can be done with a report; None when all is well."""
    obstacles = [
        ("not_in_review", row.state != "in_review"),
        ("held_by_other", row.held_by_other),
        ("appealed_against_you", row.is_not_for),
        (f"set_aside_{row.set_aside}", row.set_aside is not None),
    ]
    if incident is not None and judgement is not None:
        obstacles += [
            ("is_patrol", row.kind == ALL_CLEAR),
            ("water_unknown", row.water_feature_id is None),
            ("graver", int(judgement.severity) > incident.severity),
        ]
    return next((name for name, is_there in obstacles if is_there), None)
