"""Use cases: let screened reports pass into the order of the desk, or refuse them. One transaction for all chosen."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Forbidden
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import decisions
from waterwatch.moderation.decisions import About
from waterwatch.reports import service as reports
from waterwatch.screening import queries

PASS, REFUSE = "pass", "refuse"
DECISIONS = (PASS, REFUSE)


@dataclass(frozen=True)
class Screening:
    """What a moderator decides on some reports. ``refusal_code`` exactly when they are refused."""

    report_ids: tuple[uuid.UUID, ...]
    decision: str
    refusal_code: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How many reports were decided, and how many had been decided or opened by somebody else meanwhile."""

    decided: int
    left: int


def screen(session: Session, command: Screening, *, settings: Settings, actor: Actor, now: datetime) -> Outcome:
    """Decide on all chosen reports that can still be decided on; the others are left as they are.

    Each has its own audit entry and its own decision, of one batch, and its author reads the reason of a refusal as of
    any other. Raises :class:`Forbidden` for anybody who is not a person.
    """
    if actor.id is None:
        raise Forbidden("acts_for_nobody")
    batch_id, tell_at = new_id(), decisions.undo_until(settings, now)
    found = queries.lock_decidable(session, actor.id, command.report_ids, now=now)
    for report_id in found:
        if command.refusal_code is None:
            reports.pass_screening(session, report_id, actor=actor, now=now)
        else:
            reports.refuse(session, report_id, command.refusal_code, None, actor=actor, now=now, tell_at=tell_at)
            decisions.decide(
                session,
                "refused",
                About(report_id, batch_id=batch_id),
                settings=settings,
                actor=actor,
                now=now,
                before={"state": "in_review"},
                after={"state": "refused", "code": command.refusal_code},
            )
    return Outcome(len(found), len(set(command.report_ids)) - len(found))
