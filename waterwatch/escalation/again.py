"""Cases that reached nobody are tried again: a lead asks for it, or agencies are reached otherwise by now."""

import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.escalation import queries, service, unheard_queries, warnings
from waterwatch.escalation.rules import DOWNSTREAM
from waterwatch.incidents.service import lock_incident
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service as mapping

BATCH = 100
BY = Actor.system("escalation")


def forward(session: Session, case_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime) -> bool:
    """A lead has a case that reached nobody forwarded once more, to addresses that failed, too. Whether a letter goes.

    Idempotent: one that is under way, or has arrived, is left alone. One that was only rehearsed is neither.

    Raises:
        NotFound: there is no such case.
        Conflict: ``incident_is_closed``.
    """
    incident_id = queries.incident_of_case(session, case_id)
    lock_incident(session, incident_id)
    before = queries.locked_case_of(session, incident_id, case_id)
    is_idle = before.state == "queued" and unheard_queries.is_hopeless(session, case_id)
    if before.state not in ("dead", "no_contact") and not is_idle:
        return False
    again_for = frozenset() if before.agency_id is None else frozenset({before.agency_id})
    tell = warnings.follow if before.role == DOWNSTREAM else service.escalate
    tell(session, incident_id, settings=settings, actor=actor, now=now, again_for=again_for)
    mapping.request_publication(session, now=now)
    return before.state == "queued" and not unheard_queries.is_hopeless(session, case_id)


def forward_all(context: JobContext, message: outbox.Message) -> None:
    """The job of ``agencies.reach_changed``: open cases that reached nobody are forwarded as agencies are reached now.

    Those of the agency that was changed, also to addresses that failed, or while its letters are still tried, and those
    nobody was competent for; where a rule was changed, every one, to whom has not been told. Each in a transaction of
    its own. Idempotent: a case that is under way has all its letters.
    """
    changed = message.payload.get("agency_id")
    agency_id = None if changed is None else uuid.UUID(changed)
    after = uuid.UUID(message.payload.get("after") or str(uuid.UUID(int=0)))
    again_for = frozenset() if agency_id is None else frozenset({agency_id})
    settings = context.settings
    with transaction(context.sessions) as session:
        found = unheard_queries.unheard_incidents(session, agency_id, after=after, limit=BATCH)
    for incident_id in found:
        with transaction(context.sessions) as session:
            now = context.now()
            service.escalate(session, incident_id, settings=settings, actor=BY, now=now, again_for=again_for)
            warnings.follow(session, incident_id, settings=settings, actor=BY, now=now, again_for=again_for)
            mapping.request_publication(session, now=now)
    with transaction(context.sessions) as session:
        if len(found) == BATCH:
            further = {"agency_id": changed, "after": str(found[-1])}
            outbox.emit(session, message.topic, further, now=context.now())
        outbox.finish(session, message.id)
