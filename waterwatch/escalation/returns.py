"""What comes back of a delivery by mail: it did not arrive after all, or somebody's machine says something."""

import contextlib
import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.escalation import queries, rules, service
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import NotFound, Unavailable
from waterwatch.kernel.log import get_logger

_INBOX = Actor.system("inbox")
UNDER_WAY_RETRY_S = 15.0

log = get_logger(__name__)


def record_bounce(session: Session, delivery_id: uuid.UUID, status: str | None, *, now: datetime) -> bool:
    """A letter the first server took was returned: its delivery is ``refused``. Gives whether anything changed.

    A case that nobody can be told of any more is ``dead``, unless the agency has acknowledged it. ``status`` is the
    enhanced code (RFC 3463) the bounce names. Idempotent: only a delivery that was sent can come back. A bounce for a
    delivery that is not there, or that was given up or taken back, changes nothing.

    Raises:
        Unavailable: the delivery is being sent, and its outcome is not recorded yet.
    """
    try:
        delivery = queries.locked_delivery(session, delivery_id)
    except NotFound:
        return False
    if delivery.state in ("pending", "sending"):
        raise Unavailable("delivery_under_way", retry_after_s=UNDER_WAY_RETRY_S)
    if delivery.state != "sent":
        return False
    rules.DELIVERY.move(delivery, "refused", now=now)
    delivery.sent_at, delivery.last_error = None, f"bounced_{status}" if status else "bounced"
    session.flush()
    case = queries.locked_case(session, delivery.case_id)
    facts: dict[str, audit.Fact] = {"delivery_id": delivery.id, "status": status}
    service.record(session, "delivery.bounced", case, actor=_INBOX, now=now, after=facts)
    log.warning("delivery.bounced", case_id=str(case.id), delivery_id=str(delivery.id), status=status)
    if case.state in ("queued", "delivered") and queries.is_hopeless(session, case.id):
        before = case.state
        rules.CASE.move(case, "dead", now=now)
        case.delivered_at = None
        service.record(
            session, "case.dead", case, actor=_INBOX, now=now, before={"state": before}, after={"state": "dead"}
        )
        log.error("case.dead", case_id=str(case.id), incident_id=str(case.incident_id))
    return True


def note_mail(session: Session, delivery_id: uuid.UUID, mail_id: uuid.UUID, kind: str, *, now: datetime) -> None:
    """A mail came that changes nothing by itself (a delay, an automatic reply, one nobody understands): on record."""
    with contextlib.suppress(NotFound):
        delivery = queries.locked_delivery(session, delivery_id)
        case = queries.locked_case(session, delivery.case_id)
        facts: dict[str, audit.Fact] = {"delivery_id": delivery.id, "mail_id": mail_id, "kind": kind}
        service.record(session, "case.mail_came", case, actor=_INBOX, now=now, after=facts)
