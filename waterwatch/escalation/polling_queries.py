"""Which requests of cities' Open311 servers are to be asked about."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Asked:
    """A request to be asked about: by its token while ``awaits`` says so, by its id afterwards."""

    delivery_id: uuid.UUID
    remote_id: str
    awaits: str | None


_DUE = """
    d.channel = 'open311' AND d.remote_id IS NOT NULL AND d.created_at > :created_after
    AND (d.state = 'awaiting' AND coalesce(d.polled_at, '-infinity') < :token_before
         OR d.state = 'sent' AND coalesce(d.polled_at, '-infinity') < :status_before
            AND d.remote_status IS DISTINCT FROM 'closed'
            AND c.state NOT IN ('withdrawn', 'closed', 'refused_not_ours'))
"""
# A server knows the requests it was sent; another one has others under the same numbers.
_SAME_HOST = "lower(split_part(d.address, '/', 3)) = lower(split_part(k.address, '/', 3))"
_CONTACTS = text(f"""
SELECT DISTINCT d.contact_id FROM delivery d JOIN escalation_case c ON c.id = d.case_id
JOIN agency_contact k ON k.id = d.contact_id AND k.active AND {_SAME_HOST}
WHERE {_DUE} AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'escalation.poll' AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.payload ->> 'contact_id' = d.contact_id::text)
""")  # noqa: S608  # the piece is a constant of this module
_REQUESTS = text(f"""
SELECT d.id AS delivery_id, d.remote_id, d.awaits FROM delivery d JOIN escalation_case c ON c.id = d.case_id
JOIN agency_contact k ON k.id = d.contact_id AND {_SAME_HOST}
WHERE d.contact_id = :contact_id AND {_DUE}
ORDER BY d.polled_at NULLS FIRST, d.id LIMIT :limit FOR UPDATE OF d SKIP LOCKED
""")  # noqa: S608  # the piece is a constant of this module
_MARK = text("UPDATE delivery SET polled_at = :at WHERE id = ANY(:ids)")


def contacts_due(
    session: Session, *, token_before: datetime, status_before: datetime, created_after: datetime
) -> list[uuid.UUID]:
    """The contacts whose servers have something to be asked, and no round ordered: one query."""
    values = {"token_before": token_before, "status_before": status_before, "created_after": created_after}
    return list(session.execute(_CONTACTS, values).scalars())


def requests_due(
    session: Session,
    contact_id: uuid.UUID,
    *,
    token_before: datetime,
    status_before: datetime,
    created_after: datetime,
    limit: int,
) -> list[Asked]:
    """What one server is to be asked about, longest not asked first, locked: one query."""
    values = {"token_before": token_before, "status_before": status_before, "created_after": created_after}
    rows = session.execute(_REQUESTS, {**values, "contact_id": contact_id, "limit": limit})
    return [Asked(**row._mapping) for row in rows]


def mark_polled(session: Session, delivery_ids: Sequence[uuid.UUID], *, at: datetime | None) -> None:
    """When they were asked about; None: they are due, before all others."""
    session.execute(_MARK, {"ids": list(delivery_ids), "at": at})
