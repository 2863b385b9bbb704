"""What anybody may know of an incident's cases, each SELECT named for its answer."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.escalation.rules import RED

_NAME_ORDER = (
    "ORDER BY n.lang = :language DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1"
)
# When a case ``c`` was opened, or begun anew last.
BEGAN = "coalesce((SELECT max(r.reopened_at) FROM case_round r WHERE r.case_id = c.id), c.created_at)"
# Until when a lead has time to read a mail that came before what case ``c`` owes was due; NULL where none waits.
MAIL_UNTIL = f"""(SELECT max(a.state_deadline_at) FROM case_answer a
    WHERE a.case_id = c.id AND a.via = 'email' AND a.state = 'held' AND a.erased_at IS NULL
      AND a.said_at BETWEEN {BEGAN} AND c.state_deadline_at)"""  # noqa: S608  # a constant of this module

# The same of a case ``c`` and of all it supervises, one below the other: while a mail waits, none above it is late.
_ANY_MAIL_UNTIL = f"""CASE WHEN c.supervises_id IS NULL THEN {MAIL_UNTIL} ELSE (
    WITH RECURSIVE chain (id) AS (
        SELECT c.id
        UNION SELECT b.supervises_id FROM chain JOIN escalation_case b USING (id) WHERE b.supervises_id IS NOT NULL)
    SELECT max({MAIL_UNTIL}) FROM escalation_case c WHERE c.id IN (SELECT id FROM chain)) END"""  # noqa: S608  # likewise


@dataclass(frozen=True)
class Round:
    """What an agency said and missed in a case before a citizen's photo showed, at ``reopened_at``, that it was not
    over."""

    reopened_at: datetime
    acknowledged_at: datetime | None
    answered_at: datetime | None
    closed_at: datetime | None
    escalated_at: datetime | None


@dataclass(frozen=True)
class CaseView:
    """What anybody may know of a case. ``agency_name`` is None when nobody is competent.

    ``rounds``: the former ones, oldest first; the times beside it are of the present one. ``is_over``: its incident has
    ended. ``mail_until``: a mail that came in time, of this case or one it supervises, waits for a lead, who has until
    then to read it.
    """

    case_id: uuid.UUID
    agency_id: uuid.UUID | None
    agency_name: str | None
    state: str
    severity: int
    created_at: datetime
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    deadline_at: datetime | None
    role: str = "competent"
    answered_at: datetime | None = None
    closed_at: datetime | None = None
    escalated_at: datetime | None = None
    state_since: datetime | None = None
    is_over: bool = False
    mail_until: datetime | None = None
    rounds: tuple[Round, ...] = ()

    def is_late(self, *, now: datetime) -> bool:
        """Whether the agency has not acknowledged, answered or finished although its time for that is over.

        Not once the incident has ended; nor while a lead still has to read a mail that came in time: that delay is
        ours. Red does not wait, as in :func:`casework.pressing.escalate_overdue`.
        """
        is_owing = self.state in ("delivered", "acknowledged", "answered") and not self.is_over
        is_past = self.deadline_at is not None and self.deadline_at < now
        is_unread = self.severity < RED and self.mail_until is not None and self.mail_until > now
        return is_owing and is_past and not is_unread


_CASES = text(f"""
SELECT c.incident_id, c.id AS case_id, c.agency_id, c.state, c.severity, c.created_at, c.delivered_at,
       c.acknowledged_at, c.state_deadline_at AS deadline_at, c.role, c.answered_at, c.closed_at, c.escalated_at,
       c.state_since, i.closed_at IS NOT NULL AS is_over, {_ANY_MAIL_UNTIL} AS mail_until,
       (SELECT n.name FROM agency_name n WHERE n.agency_id = c.agency_id {_NAME_ORDER}) AS agency_name,
       (SELECT jsonb_agg(jsonb_build_array(r.reopened_at, r.acknowledged_at, r.answered_at, r.closed_at, r.escalated_at)
                         ORDER BY r.number) FROM case_round r WHERE r.case_id = c.id) AS rounds
FROM escalation_case c JOIN incident i ON i.id = c.incident_id
WHERE c.incident_id = ANY(:incident_ids) AND c.role <> 'downstream' ORDER BY c.created_at, c.id
""")  # noqa: S608  # the pieces are constants of this module


def cases_of(session: Session, incident_id: uuid.UUID, *, language: str = "zh-Hans") -> list[CaseView]:
    """An incident's cases, oldest first, the agencies' names in ``language`` where known: one query.

    Without those of agencies that are only warned: they owe nothing, and nobody waits for them.
    """
    return cases_of_each(session, [incident_id], language=language)[incident_id]


def cases_of_each(
    session: Session, incident_ids: Sequence[uuid.UUID], *, language: str = "zh-Hans"
) -> dict[uuid.UUID, list[CaseView]]:
    """Every named incident's cases, as :func:`cases_of` gives them, with their former rounds: one query for all."""
    found: dict[uuid.UUID, list[CaseView]] = {incident_id: [] for incident_id in incident_ids}
    for row in session.execute(_CASES, {"incident_ids": list(incident_ids), "language": language}):
        facts = dict(row._mapping)
        rounds = tuple(_round(times) for times in facts.pop("rounds") or ())
        found[facts.pop("incident_id")].append(CaseView(**facts, rounds=rounds))
    return found


def _round(times: Sequence[str | None]) -> Round:
    reopened_at, *said = (None if at is None else datetime.fromisoformat(at) for at in times)
    assert reopened_at is not None
    return Round(reopened_at, *said)
