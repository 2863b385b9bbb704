"""What becomes of an incident's cases when it ends, verified clean or expired, and when that turns out to be wrong.

They stand where they stood: what a department said or missed stays on record. Nothing more is asked of it.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.escalation import clocks, letters, queries, rerouting, rules, service
from waterwatch.escalation.letters import Telling
from waterwatch.escalation.tables import Case, Delivery
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings

# Why a letter was cancelled: it goes again if the incident turns out not to be over; and that it did, as another one.
INCIDENT_OVER, WRITTEN_ANEW = "incident_over", "written_anew"
_TO_BE_HAD = ("post", "cap_feed")  # on these an awaited letter has reached nobody: it is not posted, or not fetched

# One that was refused while the incident counted as clean, so that it went to nobody, and has gone to nobody since.
# Whether it did is the incident's own record: a case none of whose clocks ran has none of the incident's end.
_REFUSED_IN_VAIN = text("""
SELECT c.id, (SELECT a.suggested_agency_id FROM case_answer a WHERE a.case_id = c.id AND a.kind = 'not_ours'
              ORDER BY a.said_at DESC, a.id DESC LIMIT 1) AS suggested_id
FROM escalation_case c
WHERE c.incident_id = :id AND c.state = 'refused_not_ours' AND c.role = 'competent'
  AND 'incident.verified_clean' = (SELECT e.action FROM audit_entry e
      WHERE e.subject_kind = 'incident' AND e.subject_id = c.incident_id AND e.at <= c.state_since
        AND e.action IN ('incident.verified_clean', 'incident.unverified') ORDER BY e.at DESC, e.id DESC LIMIT 1)
  AND NOT EXISTS (SELECT FROM audit_entry e WHERE e.subject_kind = 'case' AND e.subject_id = c.id
      AND e.action = 'case.resumed' AND e.at >= c.state_since)
ORDER BY c.id
""")


def end_cases(session: Session, incident_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """The incident is over: no clock of its cases runs, and letters nobody has tried yet go no more. Idempotent.

    Neither do those that wait to be posted or fetched. A letter somebody has tried goes on: it may have arrived. What
    tells of a withdrawal goes in any case. A warning ends with its forecast. Assumes the incident's lock.
    """
    session.flush()
    for case in queries.cases_by_agency(session, incident_id).values():
        cancelled, was_running = 0, case.state_deadline_at is not None
        for each in queries.letters_of(session, case.id).values():
            for letter in each:
                if letter.says not in rules.TAKES_BACK and _is_untried(letter):
                    rules.DELIVERY.move(letter, "cancelled", now=now)
                    letter.attempts = letter.deferrals = 0  # nobody had it: of a withdrawal there is nobody to tell
                    letter.awaits, letter.last_error = None, INCIDENT_OVER
                    cancelled += 1
        clocks.stop(case)
        if cancelled or was_running:
            facts: dict[str, audit.Fact] = {"incident_id": incident_id, "letters": cancelled}
            service.record(session, "case.ended", case, actor=actor, now=now, after=facts)
    session.flush()


def _is_untried(letter: Delivery) -> bool:
    if letter.state == "awaiting":
        return letter.channel in _TO_BE_HAD
    return letter.state == "pending" and not letter.attempts


def resume_cases(
    session: Session,
    incident_id: uuid.UUID,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    tell_at: datetime | None = None,
) -> None:
    """The incident is not over after all: the clocks go on as they were promised, and what was cancelled goes again.

    A case that was refused meanwhile goes on to the next agency. To be called before :func:`service.escalate`, which
    would tell of a new case whoever is not told yet. Idempotent. Assumes the incident's lock.
    """
    telling = Telling(settings, now, tell_at or now)
    session.flush()
    cases = _those_below_first(queries.cases_by_agency(session, incident_id).values())
    in_vain = _refused_in_vain(session, incident_id)
    for case in cases:
        if case.state == "withdrawn":
            continue
        again = sum(_again(session, case, each, telling) for each in queries.letters_of(session, case.id).values())
        is_running = case.state_deadline_at is None and _run(session, case, settings, now=now)
        if case.id in in_vain:
            rerouting.reroute(session, case, in_vain[case.id], settings=settings, actor=actor, now=now)
        if again or is_running or case.id in in_vain:
            facts: dict[str, audit.Fact] = {"letters": again}
            service.record(session, "case.resumed", case, actor=actor, now=now, after=facts)
    session.flush()


def _those_below_first(cases: Iterable[Case]) -> list[Case]:
    """An agency above was told after the one it is above of: whether it owes anything follows from that one."""
    return sorted(cases, key=lambda case: (case.role == "supervising", case.created_at, case.id))


def _again(session: Session, case: Case, sent: Sequence[Delivery], telling: Telling) -> int:
    """Write anew what an address was not told because the incident was over, in order; returns how many.

    A reminder is not: the clock that runs again orders its own. What only told of a level that is past is not, either.
    """
    number, waiting = sent[-1].number, list[Delivery]()
    for letter in reversed(sent):
        if letter.state != "cancelled" or letter.last_error != INCIDENT_OVER:
            break
        waiting.insert(0, letter)
    reach = letters.reach_of_each(session, [case.agency_id]).get(case.agency_id) if case.agency_id and waiting else None
    written = 0
    for letter in waiting:
        letter.last_error = WRITTEN_ANEW
        is_past = letter.raised_from is not None and letter.raised_from >= case.severity
        if letter.says == "reminder" or is_past:
            continue
        way, written = letters.way_of(letter), written + 1
        letters.queue(
            session,
            case,
            way,
            telling,
            number=number + written,
            reach=reach,
            raised_from=letter.raised_from,
            says=letter.says,
        )
    return written


def _run(session: Session, case: Case, settings: Settings, *, now: datetime) -> bool:
    """Let a stopped clock run again; whether it does."""
    if case.state == "queued":
        case.state_deadline_at = rules.case_life(settings).deadline("queued", now=now)
        return True
    if clocks.owed_by(case) is None:
        return False
    clocks.run(case)
    if case.supervises_id is not None:
        below = queries.locked_case(session, case.supervises_id)
        if below.state not in clocks.OWED or below.state_deadline_at is None:
            clocks.stop(case)  # what was missed was made up for
            return False
        if below.state_deadline_at > now:
            clocks.follow(case, below)
    if case.escalated_at is not None or queries.was_reminded(session, case.id, since=case.remind_at):
        case.remind_at = None
    return True


def _refused_in_vain(session: Session, incident_id: uuid.UUID) -> dict[uuid.UUID, uuid.UUID | None]:
    """Cases refused after their incident had ended by mistake, each with the agency that was named instead."""
    return {row.id: row.suggested_id for row in session.execute(_REFUSED_IN_VAIN, {"id": incident_id})}
