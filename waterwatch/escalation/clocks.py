"""Until when an agency is to acknowledge, answer and finish: what was promised, and which of it runs now.

All three run from the moment a case was handed over, so that nobody gains time by acknowledging late. The one that runs
follows from the case's state. What runs is not the letter's business: it names what :func:`terms` gives.
"""

import uuid
from collections.abc import Callable
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.escalation.rules import DOWNSTREAM
from waterwatch.escalation.tables import Case
from waterwatch.workdays.queries import terms_of
from waterwatch.workdays.rules import CHINA_TIME, Terms, remind_at

# What an agency owes while its case is in a state, and where the time it has for that is kept.
OWED = {"delivered": "acknowledge", "acknowledged": "answer", "answered": "finish"}


def terms(session: Session, agency_id: uuid.UUID | None, now: datetime) -> Terms:
    """How long an agency has, by severity and stage, and the calendar to count by."""
    return terms_of(session, agency_id, now.astimezone(CHINA_TIME).date())


def start(session: Session, case: Case, *, since: datetime) -> None:
    """A case was handed over at ``since``: its clocks begin. Who is only warned owes nothing."""
    if case.role == DOWNSTREAM:
        stop(case)
        return
    held = terms(session, case.agency_id, since)
    case.acknowledge_by = held.due("acknowledge", case.severity, since)
    case.answer_by = held.due("answer", case.severity, since)
    case.finish_by = held.due("finish", case.severity, since)
    run(case)


def start_anew(session: Session, case: Case, *, since: datetime) -> None:
    """An agency that has a case is told at ``since`` that it owes something else: its clocks begin again.

    What it missed before was of another matter; what it has said stays said.
    """
    case.escalated_at = None
    start(session, case, since=since)
    if case.state_deadline_at is not None:
        case.remind_at = remind_at(since, case.state_deadline_at)


def follow(case: Case, below: Case) -> None:
    """A supervised agency has made up for what it missed, and owes more: its superior is asked when that is due."""
    case.state_deadline_at, case.remind_at = below.state_deadline_at, None
    if below.delivered_at is not None and below.state_deadline_at is not None:
        case.remind_at = remind_at(below.delivered_at, below.state_deadline_at)


def begin(session: Session, case: Case, *, now: datetime) -> None:
    """The agency says something of a case: it has received it, by now at the latest, and its clocks run from then.

    Those that run already are left as they were promised.
    """
    if case.delivered_at is None:
        case.delivered_at = now
    if case.acknowledge_by is None:
        start(session, case, since=case.delivered_at)
    else:
        run(case)


def run(case: Case) -> None:
    """Let the clock of the case's state run: whoever moves a case that was handed over calls this afterwards."""
    due_at = owed_by(case)
    case.state_deadline_at = due_at
    case.remind_at = None if due_at is None or case.delivered_at is None else remind_at(case.delivered_at, due_at)


def stop(case: Case) -> None:
    """Nothing is owed any more, or not by this agency; what was promised stays on record."""
    case.state_deadline_at = case.remind_at = None


def owed_by(case: Case) -> datetime | None:
    """Until when the agency is to do what it owes now; None where it owes nothing, or has no clock."""
    kept = {"acknowledge": case.acknowledge_by, "answer": case.answer_by, "finish": case.finish_by}
    return kept.get(OWED.get(case.state, ""))


def shorten(session: Session, case: Case, *, told_at: datetime) -> None:
    """The agency was told at ``told_at`` that the severity is higher: the shorter times count from then on.

    Nothing that was promised is postponed.
    """
    _change(case, terms(session, case.agency_id, told_at), told_at, min)


def lengthen(session: Session, case: Case) -> None:
    """The severity fell: the whole of the longer times, from when it was handed over."""
    if case.delivered_at is not None:
        _change(case, terms(session, case.agency_id, case.delivered_at), case.delivered_at, max)


def _change(case: Case, held: Terms, since: datetime, choose: Callable[[datetime, datetime], datetime]) -> None:
    if case.role == DOWNSTREAM:
        return

    def changed(stage: str, kept: datetime | None) -> datetime:
        due_at = held.due(stage, case.severity, since)
        return due_at if kept is None else choose(kept, due_at)

    case.acknowledge_by = changed("acknowledge", case.acknowledge_by)
    case.answer_by = changed("answer", case.answer_by)
    case.finish_by = changed("finish", case.finish_by)
    was_running = case.state_deadline_at is not None
    was_reminded = was_running and case.remind_at is None
    if was_running:
        run(case)
    if was_reminded:
        case.remind_at = None


def reset(case: Case) -> None:
    """The case begins anew: it was never handed over, nothing was promised or said."""
    case.delivered_at = case.acknowledged_at = case.answered_at = case.closed_at = None
    case.acknowledge_by = case.answer_by = case.finish_by = case.escalated_at = None
    stop(case)
