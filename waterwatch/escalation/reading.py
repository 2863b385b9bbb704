"""Deliveries as letters once more, outside of any hand-over: for who fetches a feed, or prints."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import dropwhile
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.agencies.rules import NoSettings, read_settings
from waterwatch.agencies.tables import AgencyContact
from waterwatch.escalation import rules
from waterwatch.escalation.channels import Contact, Letter, Pictures
from waterwatch.escalation.channels.letter import acknowledge_url, reply_by
from waterwatch.escalation.channels.wording import LANGUAGE
from waterwatch.escalation.queries import CaseFacts, facts_of_cases
from waterwatch.escalation.told import Chain, chain_from_kept, from_kept
from waterwatch.kernel.errors import Gone, Invalid, NotFound
from waterwatch.kernel.settings import Settings


@dataclass(frozen=True)
class Kept:
    """A delivery as it is kept. ``taken_at``: when it was first handed to its channel."""

    delivery_id: uuid.UUID
    case_id: uuid.UUID
    contact_id: uuid.UUID | None
    channel: str
    address: str
    message_id: str
    says: str
    state: str
    severity: int
    raised_from: int | None
    attempts: int
    created_at: datetime
    sent_at: datetime | None
    remote_id: str | None
    told: dict[str, Any] | None


_KEPT = """
SELECT d.id AS delivery_id, d.case_id, d.contact_id, d.channel, d.address, d.message_id, d.says, d.state, d.severity,
       d.raised_from, d.attempts, d.created_at, d.sent_at, d.remote_id,
       d.told
FROM delivery d WHERE {where} ORDER BY {order}
"""
_ONE = text(_KEPT.format(where="d.id = :id AND d.channel = :channel", order="d.id"))
# Of a case that was withdrawn only that it was: what it said of place and kind is gone.
_STANDS = """(d.says IN ('withdrawn', 'warning_over') OR NOT EXISTS (
    SELECT FROM escalation_case c WHERE c.id = d.case_id AND c.state = 'withdrawn'))"""
# That it was withdrawn is said to who could fetch what it was.
_CANCELS = """(d.says NOT IN ('withdrawn', 'warning_over') OR EXISTS (
    SELECT FROM delivery e WHERE e.case_id = d.case_id AND e.contact_id = d.contact_id AND e.channel = 'cap_feed'
      AND e.state IN ('awaiting', 'sent') AND e.says NOT IN ('withdrawn', 'warning_over') AND e.id < d.id))"""
_FED = text(
    _KEPT.format(
        where="d.contact_id = :contact_id AND d.channel = 'cap_feed' AND d.state IN ('awaiting', 'sent')"
        f" AND d.created_at > :since AND {_STANDS} AND {_CANCELS}",
        order="d.created_at DESC, d.id DESC LIMIT :limit",
    )
)
_BEFORE = text("""
SELECT e.id AS delivery_id, e.says, e.created_at
FROM delivery d JOIN delivery e ON e.case_id = d.case_id AND e.contact_id = d.contact_id AND e.id < d.id
WHERE d.id = :id AND e.channel = 'cap_feed' AND e.state IN ('awaiting', 'sent') ORDER BY e.id
""")
# What was taken back before it was posted need not be, and neither need that it was.
_TO_POST = f"""d.channel = 'post' AND d.state = 'awaiting' AND {_STANDS}
      AND (d.says NOT IN ('withdrawn', 'warning_over') OR EXISTS (
            SELECT FROM delivery e WHERE e.case_id = d.case_id AND e.address = d.address AND e.channel = 'post'
              AND e.state = 'sent' AND e.id < d.id))"""  # the pieces are constants of this module
COUNT_TO_POST = f"SELECT count(*) FROM delivery d WHERE {_TO_POST}"  # noqa: S608
_WAITING = text(_KEPT.format(where=_TO_POST, order="d.severity DESC, d.id LIMIT :limit"))
_POSTED = text(_KEPT.format(where="d.channel = 'post' AND d.state = 'sent'", order="d.sent_at DESC, d.id LIMIT :limit"))


def kept_delivery(session: Session, delivery_id: uuid.UUID, channel: str) -> Kept:
    """One delivery of a channel. Raises :class:`NotFound`."""
    row = session.execute(_ONE, {"id": delivery_id, "channel": channel}).first()
    if row is None:
        raise NotFound("delivery_not_found")
    return Kept(**row._mapping)


def fed(session: Session, contact_id: uuid.UUID, *, since: datetime, limit: int) -> list[Kept]:
    """What stands in a contact's feed, newest first: one query."""
    rows = session.execute(_FED, {"contact_id": contact_id, "since": since, "limit": limit})
    return [Kept(**row._mapping) for row in rows]


def fed_before(session: Session, delivery_id: uuid.UUID) -> Chain:
    """What alert stood in the feed of the same case before one: one query."""
    found = session.execute(_BEFORE, {"id": delivery_id}).all()
    stood = dropwhile(lambda before: before.says in rules.TAKES_BACK, found)  # it had no alert to cancel
    return tuple((str(one.delivery_id), one.created_at) for one in stood)


def chain_of(session: Session, one: Kept) -> Chain:
    """The alerts that one in a feed follows: as it was kept, else by what stands before it."""
    return chain_from_kept(one.told) if one.told is not None else fed_before(session, one.delivery_id)


def to_post(session: Session, *, limit: int = 200) -> list[Kept]:
    """Letters that wait to be posted, gravest, then oldest: one query."""
    return [Kept(**row._mapping) for row in session.execute(_WAITING, {"limit": limit})]


def posted(session: Session, *, limit: int = 20) -> list[Kept]:
    """Letters that went last: one query."""
    return [Kept(**row._mapping) for row in session.execute(_POSTED, {"limit": limit})]


def facts_of(session: Session, kept: Sequence[Kept]) -> dict[uuid.UUID, CaseFacts]:
    """The facts of their cases, by case: one query."""
    return facts_of_cases(session, [one.case_id for one in kept], language=LANGUAGE) if kept else {}


def letter_of(session: Session, kept: Kept, facts: CaseFacts, pictures: Pictures, *, settings: Settings) -> Letter:
    """The letter a delivery is. Its deadline runs from when it was written, where none runs yet.

    Raises :class:`Gone`: its case was withdrawn, and it is not the letter that says so.
    """
    if facts.state == "withdrawn" and kept.says not in rules.TAKES_BACK:
        raise Gone("case_withdrawn")
    facts = replace(facts, severity=kept.severity)  # what it said, whatever holds by now
    if kept.told is not None:
        facts = from_kept(session, facts, kept.told)
    url = acknowledge_url(settings, facts.case_id, kept.created_at)
    return Letter(
        delivery_id=kept.delivery_id,
        case_id=kept.case_id,
        says=kept.says,
        facts=facts,
        pictures=pictures,
        contact=_contact(session, kept),
        message_id=kept.message_id,
        attempt=kept.attempts,
        claimed_at=kept.created_at,
        queued_at=kept.created_at,
        reply_by=reply_by(facts, kept.created_at, kept.raised_from),
        answer_url=url,
        photo_url=f"{url}/photo.jpg" if facts.photo_key else None,
        map_url=f"{url}/map.png",
        incident_url=f"{settings.public_url}/i/{facts.code}",
        raised_from=kept.raised_from,
        remote_id=kept.remote_id,
    )


def _contact(session: Session, kept: Kept) -> Contact:
    """Without its secrets. Settings that cannot be read are none."""
    row = session.get(AgencyContact, kept.contact_id) if kept.contact_id is not None else None
    try:
        settings = read_settings(kept.channel, row.settings) if row is not None else NoSettings()
    except Invalid:
        settings = NoSettings()
    return Contact(kept.contact_id, kept.channel, kept.address, settings)
