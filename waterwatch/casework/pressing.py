"""What becomes of a case nobody finishes: a reminder, a superior; and of one that was finished too soon."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from waterwatch.casework import queries, rules
from waterwatch.casework.tables import CaseAnswer, CaseAnswerPhoto
from waterwatch.escalation import alarms, clocks, rerouting
from waterwatch.escalation import queries as escalation_queries
from waterwatch.escalation import rules as escalation_rules
from waterwatch.escalation import service as escalation
from waterwatch.escalation.tables import Case, CaseRound
from waterwatch.incidents import answering
from waterwatch.incidents.service import lock_incident
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service as mapping
from waterwatch.photos import forgetting

# What a case and a former round of it both hold.
_ROUND = (
    *("delivered_at", "acknowledged_at", "answered_at", "closed_at"),
    *("acknowledge_by", "answer_by", "finish_by", "escalated_at"),
)
log = get_logger(__name__)


def remind(session: Session, case_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime) -> bool:
    """A quarter of the time is left: one letter says so, once for each deadline. Idempotent; whether one was queued.

    None goes where the time is over already, the incident has ended, or another agency's lapse was made up for.
    """
    case, is_over = _held(session, case_id)
    if case.remind_at is None or case.remind_at > now or case.state not in clocks.OWED:
        return False
    if is_over:
        clocks.stop(case)
    if is_over or _has_to_wait(session, case, now=now):
        return False
    case.remind_at = None
    if case.state_deadline_at is None or case.state_deadline_at <= now:
        return False
    escalation.queue_letter(session, case, says="reminder", settings=settings, now=now)
    facts: dict[str, audit.Fact] = {"owes": clocks.OWED[case.state]}
    escalation.record(session, "case.reminded", case, actor=actor, now=now, after=facts)
    return True


def escalate_overdue(
    session: Session, case_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime
) -> uuid.UUID | None:
    """A deadline has passed: the agency above is told by a case of its own, once a level. Returns that case.

    Idempotent: ``escalated_at`` says that it was done in this round of the case. None where there was nothing to do, or
    nobody above can be told: then it is loud, and a lead's business. Where a mail came in time, the lead reads it
    first, within the time there is for that: the delay is ours. Red does not wait: the mail may be a machine's.
    """
    case, is_over = _held(session, case_id)
    owes, due_at = clocks.OWED.get(case.state), case.state_deadline_at
    if owes is None or due_at is None or due_at >= now:
        return None
    if is_over:
        clocks.stop(case)
    if is_over or _has_to_wait(session, case, now=now):
        return None
    if case.escalated_at is not None:
        return None
    if case.severity < escalation_rules.RED and queries.has_mail_in_time(session, case.id, now=now):
        return None
    case.escalated_at, case.remind_at = now, None
    above = rerouting.inform_superior(session, case, settings=settings, actor=actor, now=now)
    mapping.request_publication(session, now=now)  # that it is late is public
    facts: dict[str, audit.Fact] = {
        "owes": owes,
        "case_id": None if above is None else above.id,
        "agency_id": None if above is None else above.agency_id,
    }
    escalation.record(session, "case.overdue", case, actor=actor, now=now, after=facts)
    if above is None:
        alarms.raise_alarm(session, case.id, "overdue", since=case.escalated_at, now=now)
        log.error("case.overdue_unsupervised", case_id=str(case.id), incident_id=str(case.incident_id), owes=owes)
        return None
    return above.id


def reopen(
    session: Session,
    incident_id: uuid.UUID,
    report_id: uuid.UUID,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    tell_at: datetime | None = None,
) -> list[uuid.UUID]:
    """A further report of pollution joined an incident: every case that was said to be done begins anew.

    Its agency is told by a letter, no sooner than ``tell_at``; what it promised and kept before stays on record as a
    round of the case. An incident that was said to be resolved is reopened. Idempotent. Returns the cases.
    """
    lock_incident(session, incident_id)
    closed = select(Case).where(Case.incident_id == incident_id, Case.state == "closed").order_by(Case.id)
    again: list[uuid.UUID] = []
    for case in session.scalars(closed.with_for_update()).all():
        _keep_round(session, case, now=now)
        clocks.reset(case)
        escalation_rules.case_life(settings).move(case, "queued", now=now)
        session.flush()
        escalation.queue_letter(session, case, says="reopened", settings=settings, now=now, tell_at=tell_at)
        facts: dict[str, audit.Fact] = {"state": "queued", "report_id": report_id}
        escalation.record(session, "case.reopened", case, actor=actor, now=now, before={"state": "closed"}, after=facts)
        again.append(case.id)
    if again:
        answering.reopen(session, incident_id, actor=actor, now=now)
        mapping.request_publication(session, now=now)
    return again


def close_again(
    session: Session, incident_id: uuid.UUID, case_ids: Sequence[uuid.UUID], *, actor: Actor, now: datetime
) -> int:
    """The report that reopened some cases was taken back: those whose agency has not heard of it are closed as before.

    Where a letter has gone, or may be going, the case stays open: its agency says again that it is done. Returns how
    many are closed. Assumes the incident's lock.
    """
    closed = 0
    for case_id in sorted(case_ids):  # in the order everybody locks them
        case = escalation_queries.locked_case(session, case_id)
        if case.state != "queued" or not escalation.cancel_waiting(session, case, says="reopened", now=now):
            continue
        kept = session.scalars(
            select(CaseRound).where(CaseRound.case_id == case_id).order_by(CaseRound.number.desc()).limit(1)
        ).one()
        escalation_rules.CASE.move(case, "closed", now=now)
        for name in _ROUND:
            setattr(case, name, getattr(kept, name))
        session.delete(kept)
        session.flush()
        facts: dict[str, audit.Fact] = {"state": "closed"}
        escalation.record(
            session, "case.closed_again", case, actor=actor, now=now, before={"state": "queued"}, after=facts
        )
        closed += 1
    if closed and rules.is_claimed_done(queries.standings(session, incident_id)):
        answering.claim_resolved(session, incident_id, actor=actor, now=now)
    return closed


def erase_withheld(session: Session, answer_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """What was withheld long ago is erased: words, pictures, who wrote it. That it was, when and why, stays."""
    row = queries.locked_answer(session, answer_id)
    if row.state != "withheld" or row.erased_at is not None:
        return
    photo_ids = queries.photos_of_answer(session, answer_id)
    for link in session.scalars(select(CaseAnswerPhoto).where(CaseAnswerPhoto.answer_id == answer_id)):
        session.delete(link)
    row.words, row.planned_on, row.said_by, row.erased_at = None, None, None, now
    session.flush()
    forgetting.erase(session, photo_ids, actor=actor, now=now)
    _record_erasure(session, row, len(photo_ids), actor=actor, now=now)


def _record_erasure(session: Session, row: CaseAnswer, photos: int, *, actor: Actor, now: datetime) -> None:
    audit.record(
        session,
        action="answer.erased",
        subject_kind="case",
        subject_id=row.case_id,
        actor=actor,
        now=now,
        after={"answer_id": row.id, "photos": photos},
    )


def _held(session: Session, case_id: uuid.UUID) -> tuple[Case, bool]:
    """The case, locked after its incident and with all cases of it, and whether that has ended."""
    incident_id = escalation_queries.incident_of_case(session, case_id)
    incident = lock_incident(session, incident_id, may_be_closed=True)
    return escalation_queries.locked_case_of(session, incident_id, case_id), incident.closed_at is not None


def _has_to_wait(session: Session, case: Case, *, now: datetime) -> bool:
    """Whether it supervises a case that is late no more: its clock goes on to what is owed there next, or stops.

    Nobody above an agency is told of a second lapse of it: whoever was told of the first one waits for the second.
    Who supervises a supervisor waits for what that one waits for. So does everybody for a lead who still has to read
    a mail that came in time, but where it is red.
    """
    below_id, seen = case.supervises_id, {case.id}
    while below_id is not None and below_id not in seen:
        seen.add(below_id)
        below = escalation_queries.locked_case(session, below_id)
        due_at = below.state_deadline_at if below.state in clocks.OWED else None
        if due_at is None:
            clocks.stop(case)
            return True
        if due_at > now:
            is_known = due_at == case.state_deadline_at
            if not is_known:
                clocks.follow(case, below)
            return not is_known
        if below.severity < escalation_rules.RED and queries.has_mail_in_time(session, below.id, now=now):
            return True
        below_id = below.supervises_id
    return False


def _keep_round(session: Session, case: Case, *, now: datetime) -> None:
    kept = session.scalar(select(func.count()).select_from(CaseRound).where(CaseRound.case_id == case.id)) or 0
    session.add(
        CaseRound(
            case_id=case.id,
            number=kept + 1,
            severity=case.severity,
            reopened_at=now,
            **{name: getattr(case, name) for name in _ROUND},
        )
    )
    session.flush()
