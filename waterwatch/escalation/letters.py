"""Which letters a case gets, for whom, and when they leave. How one is handed over is in ``deliveries``."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from waterwatch.agencies.rules import address_faults
from waterwatch.escalation import clocks, delivery_queries, queries, rules, unheard_queries
from waterwatch.escalation.delivery_queries import Reach, Way
from waterwatch.escalation.tables import Case, Delivery
from waterwatch.kernel import outbox
from waterwatch.kernel.gathering import put
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.email import is_address
from waterwatch.workdays.queries import calendar_from
from waterwatch.workdays.rules import is_working

TOPIC_DELIVER = "escalation.deliver"  # mails: one after the other over one conversation
TOPIC_CALL = "escalation.call"  # every other channel: some at a time, each bounded
PAPER, OPEN311 = "post", "open311"
LAST_RANKS = (1, 2)  # of ways, by ``rank``, that are kept for when all before them have failed
_LEAVES_LATER = frozenset({PAPER, "cap_feed"})  # what awaits somebody is still with us
# What a letter that failed is followed by, where the agency's next contact is to be told: nothing of what it never got.
_TOLD_NEXT = frozenset({"case", "reopened", "overdue", "warning"})
_GOING = frozenset({"sending", "sent", "awaiting"})  # of a letter that has gone, or may be going
# After these an address knows no level that it was told before.
_SAID_ANEW = frozenset({"lowered", "reopened"}) | rules.TAKES_BACK


@dataclass(frozen=True)
class Telling:
    """When letters are written, and before when none of them leaves: whoever caused them may undo it until then."""

    settings: Settings
    now: datetime
    tell_at: datetime


def topic_of(channel: str) -> str:
    """The topic that hands letters of a channel over."""
    return TOPIC_DELIVER if channel == "email" else TOPIC_CALL


def rank(way: Way, role: str) -> int:
    """Which ways come before others whatever their agency prefers: paper is slow, and somebody's work. What only warns
    would be an order of work on a city's Open311 server."""
    if way.channel == PAPER:
        return 2
    return 1 if way.channel == OPEN311 and role == rules.DOWNSTREAM else 0


def usable_ways(
    reach: Reach | None, addresses: Iterable[str] = (), *, role: str = "competent"
) -> tuple[list[Way], list[Way]]:
    """The contacts of an agency that can be used, in their order, and further mail addresses that are none of them.

    Those of a higher :func:`rank` come last, wherever they stand. ``addresses`` are those the case's routing names;
    whoever is a contact is no further one.
    """
    ways = sorted(reach.ways, key=lambda way: rank(way, role)) if reach is not None else []
    known = {way.address for way in ways if way.channel == "email"}
    others = [Way(None, "email", address) for address in dict.fromkeys(addresses) if address not in known]
    return [way for way in ways if _is_usable(way)], [way for way in others if _is_usable(way)]


def _is_usable(way: Way) -> bool:
    return is_address(way.address) if way.channel == "email" else not address_faults(way.channel, way.address)


def first_ways(reach: Reach | None, addresses: Iterable[str]) -> list[Way]:
    """Whom a new case is told to: every usable contact at once, or the first where the agency wants one by one.

    Paper only where nothing else is known. Further addresses are told in any case; where they are all there is,
    they are the agency's.
    """
    contacts, others = usable_ways(reach, addresses)
    contacts = [way for way in contacts if way.channel != PAPER] or contacts
    if reach is not None and reach.channels_in == "order":
        contacts = contacts[:1]
    return contacts + others


def queue(
    session: Session,
    case: Case,
    way: Way,
    telling: Telling,
    *,
    number: int,
    reach: Reach | None = None,
    raised_from: int | None = None,
    says: str = "case",
) -> None:
    """Write one letter and order its hand-over; one that its agency wants in a digest waits for that."""
    delivery_id, settings, now = new_id(), telling.settings, telling.now
    due_at, digest_upto = telling.tell_at, reach.digest_upto if reach is not None and way.contact_id else 0
    is_digested = rules.is_held_for_digest(way.channel, case.severity, says, digest_upto)
    if is_digested and reach is not None:
        days = calendar_from(session, now.astimezone(rules.CHINA_TIME).date())
        leaves_at = rules.next_digest(now, reach.digest_at, is_working=lambda day: is_working(day.date(), days))
        due_at = max(due_at, leaves_at)
    delivery = Delivery(
        id=delivery_id,
        case_id=case.id,
        contact_id=way.contact_id,
        channel=way.channel,
        address=way.address,
        message_id=f"<{delivery_id}@{settings.public_host}>",
        severity=case.severity,
        raised_from=raised_from,
        says=says,
        number=number,
        created_at=now,
        due_at=due_at,
        is_digested=is_digested,
    )
    life = rules.delivery_life(settings)
    life.enter(delivery, now=now)
    if due_at > now:
        delivery.state_deadline_at = life.deadline("pending", now=due_at)
    put(session, delivery)
    outbox.emit(
        session,
        topic_of(way.channel),
        {"delivery_id": str(delivery_id)},
        now=now,
        priority=rules.priority(case.severity),
        available_at=due_at,
    )


def follow_up(session: Session, case: Case, says: str, telling: Telling) -> int:
    """One further letter to every address that has got the case, or that may be getting it; returns how many.

    One whose first letter still waits is told by that.
    """
    reach = _reach(session, case)
    queued = 0
    for letters in queries.letters_of(session, case.id).values():
        told = [letter for letter in letters if letter.state in _GOING]
        standing = [letter for letter in letters if letter.state != "cancelled"]
        if told and standing[-1].says not in rules.TAKES_BACK:
            queue(session, case, way_of(letters[-1]), telling, number=letters[-1].number + 1, reach=reach, says=says)
            queued += 1
    return queued


def tell_raised(session: Session, case: Case, telling: Telling) -> None:
    """One further letter to each address that has got the case, or may be getting it, and knows only of less.

    A first letter that still waits names the severity of the moment it is sent, and so does one that tells of a rise
    already. A severity that was told, and has fallen meanwhile without a word of it, is not told twice; one that was
    said to be lower is, and what would still have said so goes no more.
    """
    reach = _reach(session, case)
    for letters in queries.letters_of(session, case.id).values():
        told = [letter for letter in letters if letter.state in _GOING]
        told += _drop_lowered(letters, told, case, now=telling.now)
        waiting = [letter for letter in letters if letter.state == "pending"]
        is_named = False
        for letter in waiting:
            if not told or letter.raised_from is not None or case.state not in clocks.OWED:
                letter.severity, is_named = case.severity, True
            hurry(session, letter, case, telling, reach)
        standing = [letter for letter in letters if letter.state != "cancelled"]
        is_reached = told and standing and standing[-1].state in _GOING | {"pending"}
        if is_reached and not is_named and _level_told(told) < case.severity:
            number, before = letters[-1].number + 1, told[-1].severity
            queue(session, case, way_of(letters[-1]), telling, number=number, reach=reach, raised_from=before)


def _level_told(told: list[Delivery]) -> int:
    """The highest severity an address was told since it was last told of a lower one, or told anew; at least one."""
    since = max((number for number, letter in enumerate(told) if letter.says in _SAID_ANEW), default=0)
    known = told[since:]
    if known[0].says in rules.TAKES_BACK:
        known = known[1:] or known
    return max(letter.severity for letter in known)


def _drop_lowered(letters: list[Delivery], told: list[Delivery], case: Case, *, now: datetime) -> list[Delivery]:
    """Cancel what would say that the severity is lower than was told, now that it is not. Returns those of it that may
    have been said: that somebody tried to."""
    said: list[Delivery] = []
    for letter in letters:
        if letter.state == "pending" and letter.says == "lowered":
            if told and _level_told(told) > case.severity:
                letter.severity = case.severity
            else:
                rules.DELIVERY.move(letter, "cancelled", now=now)
                said += [letter] if letter.attempts else []
    return said


def hurry(session: Session, letter: Delivery, case: Case, telling: Telling, reach: Reach | None) -> None:
    """A letter that waits has become graver: it goes before others, and no digest holds it back any more.

    Where whoever raised it may still undo that, it does not go before.
    """
    topic, priority = topic_of(letter.channel), rules.priority(case.severity)
    is_held = rules.is_held_for_digest(
        letter.channel, case.severity, letter.says, reach.digest_upto if reach is not None else 0
    )
    if letter.is_digested and not is_held and letter.digest_id is None:
        letter.is_digested = False
        go_now(session, letter, case, telling)
    else:
        outbox.hasten(session, topic, "delivery_id", letter.id, at=None, priority=priority)
    if telling.tell_at > telling.now:
        outbox.postpone(session, topic, "delivery_id", letter.id, until=telling.tell_at)


def go_now(session: Session, letter: Delivery, case: Case, telling: Telling) -> None:
    """A letter that was to leave later leaves as soon as any may, and before others."""
    letter.due_at = telling.tell_at
    letter.state_deadline_at = rules.delivery_life(telling.settings).deadline("pending", now=telling.tell_at)
    priority = rules.priority(case.severity)
    outbox.hasten(session, topic_of(letter.channel), "delivery_id", letter.id, at=telling.tell_at, priority=priority)


def lower(session: Session, case: Case, telling: Telling, *, is_correction: bool) -> None:
    """What still waits tells the lower severity, or nothing where it would only have told of the higher one.

    Where the higher one was an error, whoever was told of it gets one further letter.
    """
    reach = _reach(session, case)
    for letters in queries.letters_of(session, case.id).values():
        latest = letters[-1]
        for letter in letters:
            if letter.state != "pending" or letter.severity <= case.severity:
                continue
            if letter.raised_from is not None and letter.raised_from >= case.severity:
                rules.DELIVERY.move(letter, "cancelled", now=telling.now)
            else:
                letter.severity = case.severity
        told = [letter for letter in letters if letter.state in _GOING]
        if is_correction and told and told[-1].severity > case.severity and told[-1].says not in rules.TAKES_BACK:
            queue(session, case, way_of(latest), telling, number=latest.number + 1, reach=reach, says="lowered")


def take_back(session: Session, case: Case, telling: Telling, *, says: str = "withdrawn") -> None:
    """Cancel what waits; tell each address where something may have reached it since it was last told so.

    What nobody has posted yet, or fetched, has reached nobody. On an Open311 server a request cannot be taken back, and
    that a warning is over is none.
    """
    for letters in queries.letters_of(session, case.id).values():
        for letter in letters:
            is_here = letter.state == "awaiting" and letter.channel in _LEAVES_LATER
            if (letter.state == "pending" or is_here) and letter.says not in rules.TAKES_BACK:
                rules.DELIVERY.move(letter, "cancelled", now=telling.now)
            if is_here and letter.says not in rules.TAKES_BACK:
                letter.awaits, letter.attempts, letter.deferrals = None, 0, 0
        since = [
            number for number, one in enumerate(letters) if one.says in rules.TAKES_BACK and one.state != "cancelled"
        ]
        fresh = letters[since[-1] + 1 :] if since else letters
        if says == "warning_over" and letters[-1].channel == OPEN311:
            continue
        if any(letter.attempts or letter.state == "sent" for letter in fresh):
            is_going = any(letter.state == "sending" for letter in fresh)
            after_it = telling.now + timedelta(seconds=rules.claim_lasts_s(telling.settings))
            later = replace(telling, tell_at=max(after_it, telling.tell_at)) if is_going else telling
            queue(session, case, way_of(letters[-1]), later, number=letters[-1].number + 1, says=says)


def cancel_withdrawals(session: Session, case: Case, *, now: datetime) -> None:
    """Whoever has not yet been told that the case is withdrawn need not be."""
    session.flush()
    for letters in queries.letters_of(session, case.id).values():
        if letters[-1].says in rules.TAKES_BACK and letters[-1].state == "pending" and not letters[-1].attempts:
            rules.DELIVERY.move(letters[-1], "cancelled", now=now)
    session.flush()


def is_still_had(session: Session, case: Case) -> bool:
    """Whether the agency of a withdrawn case has it, by one address at least, and has heard of the withdrawal by none.

    Assumes that what need not be told of the withdrawal is cancelled: :func:`cancel_withdrawals`.
    """
    latest = []
    for letters in queries.letters_of(session, case.id).values():
        latest += [letter for letter in letters if letter.state != "cancelled"][-1:]
    if any(one.says in rules.TAKES_BACK and one.created_at >= case.state_since for one in latest):
        return False
    return any(one.says not in rules.TAKES_BACK and one.state in _GOING for one in latest)


def try_next(session: Session, case: Case, failed: Delivery, *, settings: Settings, now: datetime) -> bool:
    """A letter has failed for good, or is put off for too long: where the agency is told one by one, its next contact
    gets one.

    Where it is told at once, a contact that came to be known since does; or its postal address, when nothing else is
    left. Whether there was one. Contacts that have, or had, a letter of this case are not asked again.
    """
    if case.agency_id is None or failed.says not in _TOLD_NEXT or case.state not in ("queued", "delivered", "dead"):
        return False
    reach = _reach(session, case)
    if reach is None or queries.is_over(session, case.incident_id):  # of what is over nobody further is told
        return False
    contacts, _others = usable_ways(reach, role=case.role)
    so_far = queries.addressed(session, case.id)
    if reach.channels_in != "order":
        fresh = [way for way in contacts if not rank(way, case.role) and (way.channel, way.address) not in so_far]
        contacts = fresh or [way for way in contacts if rank(way, case.role)]
        if not contacts or (not fresh and not unheard_queries.is_hopeless(session, case.id)):
            return False
    if failed.state == "pending":
        contacts = [way for way in contacts if way.channel != PAPER]  # as long as the mail may still arrive
    slow = _put_off(session, case, now=now)
    for way in contacts:
        before = so_far.get((way.channel, way.address))
        if before is None:
            telling = Telling(settings, now, now)
            queue(session, case, way, telling, number=1, reach=reach, says=failed.says)
            return True
        if before.is_live and not before.has_failed and (way.channel, way.address) not in slow:
            return False  # one that was asked after it still may have it
    return False


def _put_off(session: Session, case: Case, *, now: datetime) -> set[tuple[str, str]]:
    """Channel and address of a case's letters that are on their way for longer than others may be kept waiting."""
    return {
        (letter.channel, letter.address)
        for letter in delivery_queries.waiting_letters(session, case.id)
        if is_put_off(letter, now=now)
    }


def is_put_off(letter: Delivery, *, now: datetime) -> bool:
    """Whether a letter that has not arrived yet has been on its way for longer than others may be kept waiting."""
    return now - max(letter.created_at, letter.due_at) >= rules.order_patience(letter.severity)


def way_of(letter: Delivery) -> Way:
    """The way a letter goes, for a further one to the same address."""
    return Way(letter.contact_id, letter.channel, letter.address)


def _reach(session: Session, case: Case) -> Reach | None:
    if case.agency_id is None:
        return None
    return delivery_queries.reach_of(session, [case.agency_id]).get(case.agency_id)


def reach_of_each(session: Session, agency_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, Reach]:
    """How each agency is reached."""
    return delivery_queries.reach_of(session, list(agency_ids))
