"""An agency that was only warned of an incident upstream becomes one that is to act on it."""

import uuid
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.orm import Session

from waterwatch.escalation import clocks, queries, rules
from waterwatch.escalation.tables import Case, CaseStretch
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings


def take(
    session: Session,
    agency_id: uuid.UUID,
    held: Mapping[uuid.UUID | None, Case],
    known: dict[uuid.UUID | None, Case],
    severity: int,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> Case | None:
    """The case that an agency which is competent has, or is to have, of those an incident has: its own, the one it was
    warned by, or the one that says nobody is competent. None where a new one is to be opened.

    ``known``: the ones of ``held`` that are not warnings; what is taken goes from there.
    """
    if agency_id in known:
        return known.pop(agency_id)
    if agency_id in held:
        promote(session, held[agency_id], known, severity=severity, settings=settings, actor=actor, now=now)
        return held[agency_id]
    return known.pop(None, None)


def promote(
    session: Session,
    case: Case,
    known: dict[uuid.UUID | None, Case],
    *,
    severity: int,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> None:
    """The case becomes a competent one, ``queued``: whoever calls this has its agency told of the case itself.

    Of ``known``, the incident's cases, the one goes that says that nobody is competent. The case's warnings that wait
    go no more, and whether it acknowledged one says nothing of the case: that begins now. Assumes the incident's lock.
    """
    session.flush()
    for each in queries.letters_of(session, case.id).values():
        for letter in each:
            if letter.state == "pending" and letter.says in rules.WARNINGS:
                rules.DELIVERY.move(letter, "cancelled", now=now)
    if (nobody := known.pop(None, None)) is not None:
        session.delete(nobody)
    session.execute(delete(CaseStretch).where(CaseStretch.case_id == case.id))
    before = case.state
    case.role, case.supervises_id, case.severity, case.created_at = "competent", None, severity, now
    clocks.reset(case)
    life = rules.case_life(settings)
    if before == "queued":
        life.enter(case, now=now)
    else:
        life.move(case, "queued", now=now)
    session.flush()
    audit.record(
        session,
        action="case.made_competent",
        subject_kind="case",
        subject_id=case.id,
        actor=actor,
        now=now,
        before={"state": before, "role": rules.DOWNSTREAM},
        after={"state": case.state, "severity": severity},
    )
