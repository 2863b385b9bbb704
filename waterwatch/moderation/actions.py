"""What a moderator may do with a report but judge it, and with an incident. None commits.

Each act writes its decision; what it did is taken back in ``reversal``.
"""

import uuid
from collections.abc import Collection
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.incidents import service as incidents
from waterwatch.incidents import undoing
from waterwatch.incidents.rules import Severity
from waterwatch.incidents.service import Judgement
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import decisions
from waterwatch.moderation.decisions import About
from waterwatch.moderation.service import level_of, set_moving, under_review
from waterwatch.reports import amending, questions
from waterwatch.reports import queries as report_queries
from waterwatch.reports import service as reports
from waterwatch.reports.amending import Amended, AmendReport
from waterwatch.reports.rules import asked as question_life
from waterwatch.triage import service as triage

HAND_REASONS = ("unsure", "involves_staff", "threat", "legal", "large_event", "other")


def correct(
    session: Session,
    command: AmendReport,
    *,
    seen_version: int | None = None,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> Amended | None:
    """Put right what kind a report is of, where, or on which water; it stays with the moderator. None: nothing new.

    Raises as :func:`service.grade_report` and :func:`amending.amend`.
    """
    under = under_review(session, command.report_id, actor, seen_version, settings=settings, now=now)
    done = amending.amend(session, command, settings=settings, actor=actor, now=now)
    if done is None:
        return None
    triage.weigh(session, command.report_id)
    decisions.decide(
        session,
        "corrected",
        About(command.report_id, took_s=under.took_s),
        settings=settings,
        actor=actor,
        now=now,
        before={"former_id": done.former_id} | done.before,
        after=done.after,
    )
    return done


def ask(
    session: Session,
    report_id: uuid.UUID,
    code: str,
    words: str | None,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> uuid.UUID:
    """Ask a report's author; the report waits aside until they answer, or have had their time.

    Raises as :func:`service.grade_report`, and :class:`Conflict` ``question_open``.
    """
    under = under_review(session, report_id, actor, None, settings=settings, now=now)
    tell_at = decisions.undo_until(settings, now)
    question_id = questions.ask(
        session, report_id, code, words, settings=settings, actor=actor, now=now, tell_at=tell_at
    )
    triage.set_aside(session, report_id, "question", until=question_life(settings).deadline("open", now=now))
    decisions.decide(
        session,
        "asked",
        About(report_id, took_s=under.took_s),
        settings=settings,
        actor=actor,
        now=now,
        after={"question_id": question_id, "code": code},
    )
    return question_id


def lapse_question(session: Session, question_id: uuid.UUID, *, now: datetime) -> bool:
    """An answer was waited for long enough: the report returns to the queue. Whether it did. Idempotent."""
    report_id = questions.lapse(session, question_id, now=now)
    if report_id is None:
        return False
    triage.put_back_if(session, report_id, "question")
    return True


def hand_to_lead(
    session: Session, report_id: uuid.UUID, reason_code: str, *, settings: Settings, actor: Actor, now: datetime
) -> None:
    """Only a lead decides on it from now on. Raises as :func:`service.grade_report`, and :class:`Invalid`."""
    if reason_code not in HAND_REASONS:
        raise Invalid({"reason": ["choice_unknown" if reason_code else "missing"]})
    under = under_review(session, report_id, actor, None, settings=settings, now=now)
    if questions.open_question(session, report_id) is not None:
        raise Conflict("question_open")
    triage.set_aside(session, report_id, "lead")
    reports.say_handed(session, report_id, is_back=False, actor=actor, now=now)
    decisions.decide(
        session,
        "handed",
        About(report_id, took_s=under.took_s),
        settings=settings,
        actor=actor,
        now=now,
        after={"reason": reason_code},
    )


def take_from_lead(session: Session, report_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """A lead returns a report to everybody's queue. Whether ``actor`` is one is for the caller to know.

    Raises :class:`Conflict` ``not_in_review``, ``not_handed``.
    """
    report_queries.lock_report(session, report_id)
    if not triage.put_back_if(session, report_id, "lead"):
        raise Conflict("not_handed")
    reports.say_handed(session, report_id, is_back=True, actor=actor, now=now)


def regrade(
    session: Session,
    incident_id: uuid.UUID,
    judgement: Judgement,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> Incident:
    """Grade an incident as a whole, anew. Raises as :func:`incidents.regrade`."""
    before = level_of(incidents.lock_incident(session, incident_id))
    incident = incidents.regrade(session, incident_id, judgement, actor=actor, now=now)
    _move(session, incident, judgement, settings=settings, actor=actor, now=now)
    decisions.decide(
        session,
        "regraded",
        About(incident_id=incident_id),
        settings=settings,
        actor=actor,
        now=now,
        before=before,
        after=level_of(incident) | {"given": int(judgement.severity)},
    )
    return incident


def split(
    session: Session,
    incident_id: uuid.UUID,
    report_ids: Collection[uuid.UUID],
    judgement: Judgement,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> Incident:
    """Some reports of an incident become one of their own; returns it. Raises as :func:`incidents.split`."""
    incident = incidents.lock_incident(session, incident_id)
    before, chosen = level_of(incident), sorted(set(report_ids))
    superseded = {str(one): other for one, other in undoing.superseded_of(session, chosen).items()}
    made = incidents.split(session, incident_id, chosen, judgement, actor=actor, now=now)
    _move(session, made, judgement, settings=settings, actor=actor, now=now)
    tell_at = decisions.undo_until(settings, now)
    set_moving(session, incident, settings=settings, actor=actor, now=now, tell_at=tell_at)
    decisions.decide(
        session,
        "split",
        About(incident_id=incident_id, other_incident_id=made.id),
        settings=settings,
        actor=actor,
        now=now,
        before=before | {"superseded": superseded},
        after=level_of(incident) | {"reports": chosen, "given": int(judgement.severity)},
    )
    return made


def absorb(
    session: Session,
    into_id: uuid.UUID,
    from_id: uuid.UUID,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> Incident:
    """Two incidents were one; the cases of the one that goes are withdrawn. Raises as :func:`incidents.absorb`."""
    if into_id == from_id:
        raise Conflict("same_incident")
    locked = {one: incidents.lock_incident(session, one) for one in sorted((into_id, from_id))}
    before, had = level_of(locked[into_id]), undoing.holding_of(session, from_id)
    into = incidents.absorb(session, into_id, from_id, actor=actor, now=now)
    tell_at = decisions.undo_until(settings, now)
    set_moving(session, locked[from_id], settings=settings, actor=actor, now=now, tell_at=tell_at)
    set_moving(session, into, settings=settings, actor=actor, now=now, tell_at=tell_at)
    kept = {"state": had.state, "reports": had.reports, "grades": had.grades, "merged": had.merged}
    decisions.decide(
        session,
        "absorbed",
        About(incident_id=into_id, other_incident_id=from_id),
        settings=settings,
        actor=actor,
        now=now,
        before=before | {"had": kept},
        after=level_of(into),
    )
    return into


def _move(
    session: Session, incident: Incident, judgement: Judgement, *, settings: Settings, actor: Actor, now: datetime
) -> None:
    is_red = judgement.severity is Severity.ESPECIALLY_MAJOR
    tell_at = None if is_red else decisions.undo_until(settings, now)
    set_moving(session, incident, settings=settings, actor=actor, now=now, tell_at=tell_at)
