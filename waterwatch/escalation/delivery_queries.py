"""What is asked for deliveries: many at once, because a worker takes many at once."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from waterwatch.agencies.tables import AgencyContact
from waterwatch.escalation.rules import RED, TAKES_BACK, WARNINGS
from waterwatch.escalation.tables import Case, Delivery, Digest, Endpoint
from waterwatch.incidents.tables import Incident
from waterwatch.kernel.errors import NotFound


@dataclass(frozen=True)
class Way:
    """One contact of an agency. ``contact_id`` None: an address that is no contact of it, such as a river chief's."""

    contact_id: uuid.UUID | None
    channel: str
    address: str


@dataclass(frozen=True)
class Reach:
    """How an agency is reached, and what it prefers."""

    channels_in: str
    digest_upto: int
    digest_at: time
    ways: tuple[Way, ...]


_REACH = text("""
SELECT a.id, a.channels_in, a.digest_upto, a.digest_at,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(k.id, k.channel, k.address) ORDER BY k.position, k.address), '[]')
        FROM agency_contact k WHERE k.agency_id = a.id AND k.active) AS ways
FROM agency a WHERE a.id = ANY(:ids)
""")


def reach_of(session: Session, agency_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Reach]:
    """How each of these agencies is reached: one query."""
    if not agency_ids:
        return {}
    return {
        row.id: Reach(
            row.channels_in,
            row.digest_upto,
            row.digest_at,
            tuple(Way(uuid.UUID(contact_id), channel, address) for contact_id, channel, address in row.ways),
        )
        for row in session.execute(_REACH, {"ids": list(agency_ids)})
    }


def locked_deliveries(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Delivery]:
    """Deliveries by id, locked in the order of their ids."""
    wanted = select(Delivery).where(Delivery.id.in_(list(ids))).order_by(Delivery.id).with_for_update()
    found = session.scalars(wanted.execution_options(populate_existing=True))
    return {delivery.id: delivery for delivery in found}


def locked_cases(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Case]:
    """Cases by id, locked in the order of their ids."""
    wanted = select(Case).where(Case.id.in_(list(ids))).order_by(Case.id).with_for_update()
    found = session.scalars(wanted.execution_options(populate_existing=True))
    return {case.id: case for case in found}


def free_deliveries(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Delivery]:
    """Those of the deliveries nobody else has locked, locked."""
    wanted = select(Delivery).where(Delivery.id.in_(list(ids))).order_by(Delivery.id)
    found = session.scalars(wanted.with_for_update(skip_locked=True).execution_options(populate_existing=True))
    return {delivery.id: delivery for delivery in found}


def case_of(session: Session, delivery_id: uuid.UUID) -> uuid.UUID:
    """The case a delivery belongs to. Raises :class:`NotFound`."""
    found = session.scalars(select(Delivery.case_id).where(Delivery.id == delivery_id)).one_or_none()
    if found is None:
        raise NotFound("delivery_not_found")
    return found


def was_told_before(session: Session, letter: Delivery) -> bool:
    """Whether the address of a letter was told of its case by an earlier one."""
    earlier = select(Delivery.id).where(Delivery.case_id == letter.case_id, Delivery.number < letter.number)
    earlier = earlier.where(Delivery.channel == letter.channel, Delivery.address == letter.address)
    return bool(session.scalar(select(earlier.where(Delivery.state.in_(("sent", "awaiting"))).exists())))


def digest_of_delivery(session: Session, delivery_id: uuid.UUID) -> uuid.UUID | None:
    """The digest a letter went in, if it did."""
    return session.scalars(select(Delivery.digest_id).where(Delivery.id == delivery_id)).one_or_none()


def keep_told(session: Session, delivery_id: uuid.UUID, told: dict[str, Any] | None) -> None:
    """What an alert that lies to be fetched tells, from now on."""
    session.get_one(Delivery, delivery_id).told = told


def waiting_letters(session: Session, case_id: uuid.UUID) -> list[Delivery]:
    """A case's letters that nobody has taken over yet."""
    return list(
        session.scalars(select(Delivery).where(Delivery.case_id == case_id, Delivery.state.in_(("pending", "sending"))))
    )


def sent_with(session: Session, delivery_id: uuid.UUID) -> dict[uuid.UUID, uuid.UUID]:
    """A letter and those that went in the same mail, each with its case; empty where there is no such letter.

    A red one goes by itself, even if it was in a digest before it became red.
    """
    rows = session.execute(_SENT_WITH, {"id": delivery_id, "red": RED})
    return {row.id: row.case_id for row in rows}


_SENT_WITH = text("""
SELECT d.id, d.case_id FROM delivery asked JOIN delivery d ON d.id = asked.id
    OR d.digest_id = asked.digest_id AND d.severity < :red AND asked.severity < :red AND d.state <> 'cancelled'
WHERE asked.id = :id ORDER BY d.id
""")


def withdrawn_among(session: Session, case_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the cases that were taken back, or whose incident was after their agency had closed them."""
    is_back = (Case.state == "closed") & Incident.state.in_(("retracted", "merged"))
    wanted = select(Case.id).join(Incident, Incident.id == Case.incident_id).where(Case.id.in_(list(case_ids)))
    wanted = wanted.where((Case.state == "withdrawn") | is_back)
    return set(session.scalars(wanted))


@dataclass(frozen=True)
class Earlier:
    """What an address has got of a case: the Message-ID of the first mail, and what went out as an alert (CAP)."""

    message_id: str
    alerts: tuple[tuple[str, datetime], ...]


# A digest has a Message-ID of its own, and no alerts; what was not taken over, or came back, is nobody's alert.
_EARLIER = text("""
SELECT d.id, coalesce(g.message_id, e.message_id) AS message_id, e.id AS identifier, e.created_at, e.says,
       e.state = 'sent' AND e.digest_id IS NULL AS is_alert
FROM delivery d JOIN delivery e ON e.case_id = d.case_id AND e.channel = d.channel AND e.address = d.address
    AND e.id < d.id AND e.state <> 'cancelled'
LEFT JOIN digest g ON g.id = e.digest_id
WHERE d.id = ANY(:ids) ORDER BY d.id, e.id
""")


def earlier_letters(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Earlier]:
    """What the addresses of these deliveries have got of their cases before, where that is anything: one query."""
    if not ids:
        return {}
    found: dict[uuid.UUID, Earlier] = {}
    for row in session.execute(_EARLIER, {"ids": list(ids)}):
        before = found.setdefault(row.id, Earlier(row.message_id, ()))
        if row.is_alert and (before.alerts or row.says not in TAKES_BACK):  # else it had no alert to cancel
            found[row.id] = Earlier(before.message_id, (*before.alerts, (str(row.identifier), row.created_at)))
    return found


def contacts_by_id(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, AgencyContact]:
    """The contacts of deliveries."""
    if not ids:
        return {}
    found = session.scalars(select(AgencyContact).where(AgencyContact.id.in_(list(ids))))
    return {contact.id: contact for contact in found}


def breakers(session: Session, names: Collection[str]) -> dict[str, Endpoint]:
    """The endpoints among these of which something is known to have failed, locked."""
    wanted = select(Endpoint).where(Endpoint.name.in_(list(names)), Endpoint.failures > 0)
    found = session.scalars(wanted.order_by(Endpoint.name).with_for_update().execution_options(populate_existing=True))
    return {endpoint.name: endpoint for endpoint in found}


def endpoints(session: Session, names: Collection[str]) -> dict[str, Endpoint]:
    """What is known of these endpoints, locked."""
    wanted = select(Endpoint).where(Endpoint.name.in_(list(names))).order_by(Endpoint.name).with_for_update()
    found = session.scalars(wanted.execution_options(populate_existing=True))
    return {endpoint.name: endpoint for endpoint in found}


def endpoints_known(session: Session, names: Collection[str]) -> dict[str, Endpoint]:
    """What is known of these endpoints, for somebody to look at."""
    return {row.name: row for row in session.scalars(select(Endpoint).where(Endpoint.name.in_(list(names))))}


@dataclass(frozen=True)
class LastLetter:
    """What became of the last letter to a contact that has an end: sent, refused or dead, and why."""

    state: str
    error: str | None
    at: datetime


_LAST_LETTERS = text("""
SELECT DISTINCT ON (d.contact_id) d.contact_id, d.state, d.last_error AS error, d.state_since AS at
FROM escalation_case c JOIN delivery d ON d.case_id = c.id
WHERE c.agency_id = :agency_id AND d.contact_id IS NOT NULL AND d.state IN ('sent', 'refused', 'dead')
ORDER BY d.contact_id, d.state_since DESC, d.id DESC
""")


def last_letters(session: Session, agency_id: uuid.UUID) -> dict[uuid.UUID, LastLetter]:
    """By contact of an agency, what became of its last letter that has an end."""
    rows = session.execute(_LAST_LETTERS, {"agency_id": agency_id})
    return {row.contact_id: LastLetter(row.state, row.error, row.at) for row in rows}


_TAKE_TURNS = text("""
SELECT pg_advisory_xact_lock(hashtextextended('endpoint ' || name, 0))
FROM (SELECT unnest(CAST(:names AS text[])) AS name ORDER BY 1) named
""")


def take_turns(session: Session, names: Collection[str]) -> None:
    """Whoever else counts what these endpoints have in hand waits until this transaction is over."""
    session.execute(_TAKE_TURNS, {"names": sorted(names)})


_IN_HAND = text("""
SELECT endpoint, count(*) AS deliveries FROM delivery
WHERE state = 'sending' AND endpoint = ANY(:names) AND state_deadline_at > :now GROUP BY endpoint
""")


def in_hand(session: Session, names: Collection[str], *, now: datetime) -> dict[str, int]:
    """How many deliveries somebody is handing over to each of these endpoints just now."""
    rows = session.execute(_IN_HAND, {"names": list(names), "now": now})
    return {row.endpoint: row.deliveries for row in rows}


def waiting_for(
    session: Session, contact_ids: Collection[uuid.UUID], *, now: datetime
) -> dict[uuid.UUID, list[Delivery]]:
    """By contact, the mails below red that are due and that nobody has tried yet, locked; whatever others hold is left
    to them. Those due first come first."""
    if not contact_ids:
        return {}
    wanted = (
        select(Delivery)
        .where(Delivery.contact_id.in_(list(contact_ids)), Delivery.state == "pending", Delivery.due_at <= now)
        .where(Delivery.channel == "email", Delivery.severity < RED, Delivery.attempts == 0)
        .where(Delivery.digest_id.is_(None), Delivery.says.not_in(WARNINGS))
        .order_by(Delivery.due_at, Delivery.id)
    )
    found: dict[uuid.UUID, list[Delivery]] = {}
    for delivery in session.scalars(wanted.with_for_update(skip_locked=True)):
        assert delivery.contact_id is not None
        found.setdefault(delivery.contact_id, []).append(delivery)
    return found


def digest_members(
    session: Session, digest_ids: Collection[uuid.UUID]
) -> tuple[dict[uuid.UUID, list[Delivery]], set[uuid.UUID]]:
    """By digest, its letters that are still to be sent, locked, oldest first; and the digests somebody else holds one
    of. Nobody is waited for: two who each hold some of a digest would wait for each other."""
    if not digest_ids:
        return {}, set()
    wanted = select(Delivery).where(Delivery.digest_id.in_(list(digest_ids)))
    wanted = wanted.where(Delivery.state.in_(("pending", "sending"))).order_by(Delivery.id)
    found: dict[uuid.UUID, list[Delivery]] = {}
    for delivery in session.scalars(wanted.with_for_update(skip_locked=True)):
        assert delivery.digest_id is not None
        found.setdefault(delivery.digest_id, []).append(delivery)
    held = {delivery.id for members in found.values() for delivery in members}
    every = session.execute(wanted.with_only_columns(Delivery.id, Delivery.digest_id)).all()
    return found, {row.digest_id for row in every if row.digest_id is not None and row.id not in held}


def digests(session: Session, ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Digest]:
    """Digests by id."""
    if not ids:
        return {}
    found = session.scalars(select(Digest).where(Digest.id.in_(list(ids))).execution_options(populate_existing=True))
    return {digest.id: digest for digest in found}


@dataclass(frozen=True)
class AlarmingCase:
    """A case the leads are to be told of."""

    case_id: uuid.UUID
    incident_id: uuid.UUID
    code: str
    severity: int
    reason: str
    agency_name: str | None
    state: str


_ALARMS = text("""
SELECT a.case_id, c.incident_id, i.code, c.severity, a.reason, c.state,
       (SELECT n.name FROM agency_name n WHERE n.agency_id = c.agency_id AND n.lang = 'zh-Hans') AS agency_name
FROM case_alarm a JOIN escalation_case c ON c.id = a.case_id JOIN incident i ON i.id = c.incident_id
WHERE a.told_at IS NULL ORDER BY c.severity DESC, a.raised_at
FOR UPDATE OF a SKIP LOCKED
""")


def untold_alarms(session: Session) -> list[AlarmingCase]:
    """Cases that reached nobody and that no lead has been told of; locked, gravest first."""
    return [AlarmingCase(**row._mapping) for row in session.execute(_ALARMS)]
