"""What is asked of postings."""

import uuid
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from waterwatch.kernel.errors import NotFound
from waterwatch.postbox.tables import Posting


def locked_posting(session: Session, posting_id: uuid.UUID) -> Posting:
    """One posting, locked until the transaction ends. Raises :class:`NotFound` ``posting_not_found``."""
    found = session.scalars(
        select(Posting).where(Posting.id == posting_id).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise NotFound("posting_not_found")
    return found


def sent_to(session: Session, recipient_digest: bytes, kind: str, *, since: datetime) -> int:
    """How many postings of a kind were addressed to one address since then, whatever became of them."""
    statement = select(func.count()).where(
        Posting.recipient_digest == recipient_digest, Posting.kind == kind, Posting.created_at >= since
    )
    return int(session.execute(statement).scalar_one())


def lock_open(
    session: Session, *, subject_id: uuid.UUID | None, recipient_id: uuid.UUID | None, kind: str | None
) -> list[Posting]:
    """The postings about a subject, to a recipient, of a kind (None: of any), that may still be sent; locked."""
    wanted = select(Posting).where(Posting.state.in_(("pending", "sending")))
    if subject_id is not None:
        wanted = wanted.where(Posting.subject_id == subject_id)
    if recipient_id is not None:
        wanted = wanted.where(Posting.recipient_id == recipient_id)
    if kind is not None:
        wanted = wanted.where(Posting.kind == kind)
    return list(session.scalars(wanted.with_for_update().execution_options(populate_existing=True)))
