"""What comes back of a delivery by mail: it did not arrive after all, or somebody's machine says something."""

import contextlib
import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.escalation import delivery_queries, queries, service
from waterwatch.escalation.deliveries import record_bounce
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import NotFound, Unavailable
from waterwatch.kernel.settings import Settings

_INBOX = Actor.system("inbox")
UNDER_WAY_RETRY_S = 15.0


def take_bounce(
    session: Session, delivery_id: uuid.UUID, status: str | None, *, settings: Settings, now: datetime
) -> bool:
    """A bounce came for a delivery; gives whether that changed anything. ``status`` is its code (RFC 3463), if any.

    Where a digest comes back, so does every letter in it. A delivery that is gone, was given up or was taken back stays
    what it is. Idempotent.

    Raises:
        Unavailable: the letter is being sent, and what became of it is not recorded yet: bounces may be that fast.
    """
    mail = delivery_queries.same_mail(session, delivery_id)
    if not mail:
        return False
    delivery_queries.locked_cases(session, {case_id for _id, case_id in mail})  # first, as everybody does
    delivery_queries.locked_deliveries(session, {one for one, _case_id in mail})
    if queries.locked_delivery(session, delivery_id).state in ("pending", "sending"):
        raise Unavailable("delivery_under_way", retry_after_s=UNDER_WAY_RETRY_S)
    code = f"bounced_{status}" if status else "bounced"
    ended = [record_bounce(session, one, code, settings=settings, now=now) for one, _case_id in mail]
    return any(ended)


def note_mail(session: Session, delivery_id: uuid.UUID, mail_id: uuid.UUID, kind: str, *, now: datetime) -> None:
    """A mail came that changes nothing by itself (a delay, an automatic reply, one nobody understands): on record."""
    with contextlib.suppress(NotFound):
        case = queries.locked_case(session, delivery_queries.case_of(session, delivery_id))
        facts: dict[str, audit.Fact] = {"delivery_id": delivery_id, "mail_id": mail_id, "kind": kind}
        service.record(session, "case.mail_came", case, actor=_INBOX, now=now, after=facts)
