"""Taking hold of deliveries in order to hand them over: many in one transaction, each by one worker at a time."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from waterwatch.agencies.rules import is_same_host, read_settings
from waterwatch.agencies.tables import SEALED_FOR, AgencyContact
from waterwatch.escalation import delivery_queries as queries
from waterwatch.escalation import rules
from waterwatch.escalation.channels import Channels, Contact
from waterwatch.escalation.tables import Delivery, Digest, Endpoint
from waterwatch.kernel.errors import Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.sealing import SealBroken, open_value
from waterwatch.kernel.settings import Settings

AT_ONCE = 2  # so many deliveries are handed over to one endpoint at a time, mails excepted: those go one by one
BUSY_PAUSE_S = 1.0
REHEARSED, REHEARSED_PAUSE_S = "rehearsed", 900.0  # how soon it is seen that it is in earnest again
ENDED = frozenset({"sent", "awaiting", "refused", "dead", "cancelled"})


@dataclass(frozen=True)
class Claim:
    """One worker's hold on one delivery. ``attempt`` tells it from every other hold on the same delivery.

    ``contact`` is None where the letter cannot go at all, for the reason ``fault`` (the contact was removed).
    ``others`` go in the same mail. ``is_failing``: the endpoint's breaker has something to forget.
    """

    delivery_id: uuid.UUID
    case_id: uuid.UUID
    channel: str
    address: str
    message_id: str
    attempt: int
    claimed_at: datetime
    send_before: datetime
    with_pictures: bool
    queued_at: datetime
    severity: int
    raised_from: int | None
    says: str = "case"
    answers: str | None = None
    earlier: tuple[tuple[str, datetime], ...] = ()
    contact_id: uuid.UUID | None = None
    contact: Contact | None = field(default=None, repr=False)
    fault: str | None = None
    endpoint: str | None = None
    remote_id: str | None = None
    is_failing: bool = False
    others: tuple["Claim", ...] = ()

    @property
    def all(self) -> tuple["Claim", ...]:
        """Itself and what goes with it."""
        return (self, *self.others)


@dataclass(frozen=True)
class Later:
    """It cannot be claimed just now; nothing was tried, so no attempt is spent."""

    code: str
    retry_after_s: float


@dataclass(frozen=True)
class Joined:
    """It goes in the mail of another delivery that was claimed at the same time."""

    delivery_id: uuid.UUID


Held = Claim | Later | Joined | None  # None: nothing is left to send


def claim(
    session: Session,
    delivery_ids: Sequence[uuid.UUID],
    *,
    settings: Settings,
    channels: Channels,
    now: datetime,
    is_patient: bool = False,
) -> dict[uuid.UUID, Held]:
    """Take hold of deliveries, each if it can be; nothing is handed over before the transaction is committed.

    ``is_patient`` waits for rows that others have locked, instead of leaving them for later.

    Raises :class:`NotFound` (patient only): there is no such delivery.
    """
    find = queries.locked_deliveries if is_patient else queries.free_deliveries
    rows = find(session, delivery_ids)
    withdrawn = queries.withdrawn_among(session, {row.case_id for row in rows.values()})
    digests = queries.digests(session, {row.digest_id for row in rows.values() if row.digest_id is not None})
    held: dict[uuid.UUID, Held] = {}
    free: list[Delivery] = []
    for delivery_id in delivery_ids:
        row = rows.get(delivery_id)
        if row is None and is_patient:
            raise NotFound("delivery_not_found")
        if row is None:
            held[delivery_id] = Later("delivery_claimed", BUSY_PAUSE_S)
        elif (found := _examine(row, withdrawn, digests, settings, now=now)) is not _FREE:
            held[delivery_id] = found  # type: ignore[assignment]  # the sentinel was just excluded
        else:
            free.append(row)
    taking = _Taking(session, settings, channels, digests, now)
    held |= taking.take(free)
    session.flush()
    return held


_FREE = object()


def _examine(
    row: Delivery,
    withdrawn: Collection[uuid.UUID],
    digests: Mapping[uuid.UUID, Digest],
    settings: Settings,
    *,
    now: datetime,
) -> object:
    until = row.state_deadline_at
    paused_until = digests[row.digest_id].retry_at if row.digest_id is not None else None
    if row.state in ENDED:
        return None
    if row.state == "sending" and until is not None and until > now:
        return Later("delivery_claimed", max(1.0, (until - now).total_seconds()))
    if paused_until is not None and paused_until > now:  # its own order came while its digest pauses
        return Later("digest_pauses", (paused_until - now).total_seconds())
    if row.state == "sending":
        row.last_error = "claim_expired"
    if row.says not in rules.TAKES_BACK and row.case_id in withdrawn:
        rules.DELIVERY.move(row, "cancelled", now=now)
        return None
    if settings.staging_mail and row.state == "pending" and row.last_error == REHEARSED:
        return Later(REHEARSED, hold(row, settings=settings, now=now))
    return _FREE


def hold(row: Delivery, *, settings: Settings, now: datetime) -> float:
    """A letter that was rehearsed waits for earnest: seconds until it is looked at again. Nothing counts till then."""
    row.due_at = now + timedelta(seconds=REHEARSED_PAUSE_S)
    row.state_deadline_at = row.due_at + timedelta(seconds=settings.delivery_deadline_s)
    return REHEARSED_PAUSE_S


def _goes_alone(row: Delivery) -> bool:
    """Whether it is none of a digest's: a red one, and what warns of something that comes down the river."""
    return row.severity == rules.RED or row.says in rules.WARNINGS


class _Taking:
    """One transaction's claims."""

    def __init__(
        self,
        session: Session,
        settings: Settings,
        channels: Channels,
        digests: Mapping[uuid.UUID, Digest],
        now: datetime,
    ) -> None:
        self._session, self._settings, self._channels, self._now = session, settings, channels, now
        self._digests = digests
        self._life = rules.delivery_life(settings)
        self._contacts: dict[uuid.UUID, AgencyContact] = {}
        self._failing: set[str] = set()
        self._begun: dict[uuid.UUID, list[Delivery]] = {}

    def take(self, rows: list[Delivery]) -> dict[uuid.UUID, Held]:
        if not rows:
            return {}
        ids = {row.contact_id for row in rows if row.contact_id is not None}
        self._contacts = queries.contacts_by_id(self._session, ids)
        reached = {row.id: self._contact(row) for row in rows}
        names = {row.id: self._endpoint(reached[row.id]) for row in rows}
        held: dict[uuid.UUID, Held] = dict(self._turned_away(rows, names))
        held |= self._hold_digests([row for row in rows if row.id not in held])
        rows = [row for row in rows if row.id not in held]
        groups = self._groups(rows)
        further = [row.id for group, _message_id in groups for row in group if row.number > 1]
        answers = queries.earlier_letters(self._session, further)
        for group, message_id in groups:
            leader = group[0]
            claims = [
                self._claim(row, reached.get(row.id, reached[leader.id]), names[leader.id], answers) for row in group
            ]
            made = claims[0]
            if message_id is not None:
                made = replace(made, message_id=message_id, others=tuple(claims[1:]))
            held[leader.id] = made
            held |= {row.id: Joined(leader.id) for row in group[1:]}
        return held

    def _claim(
        self,
        row: Delivery,
        reached: Contact | str,
        endpoint: str | None,
        answers: dict[uuid.UUID, queries.Earlier],
    ) -> Claim:
        self._life.move(row, "sending", now=self._now)
        row.attempts += 1
        row.endpoint = endpoint
        before = answers.get(row.id)
        return Claim(
            row.id,
            row.case_id,
            row.channel,
            row.address,
            row.message_id,
            row.attempts,
            self._now,
            self._now + timedelta(seconds=rules.PREPARATION_S),
            rules.carries_pictures(row.attempts, row.last_error),
            row.created_at,
            row.severity,
            row.raised_from,
            row.says,
            before.message_id if before is not None else None,
            before.alerts if before is not None else (),
            row.contact_id,
            reached if isinstance(reached, Contact) else None,
            reached if isinstance(reached, str) else None,
            endpoint,
            row.remote_id,
            is_failing=endpoint in self._failing,
        )

    def _contact(self, row: Delivery) -> Contact | str:
        """The contact a letter goes to, or why it goes nowhere."""
        if row.channel not in self._channels:
            return "channel_unknown"
        if row.contact_id is None:
            return Contact(None, row.channel, row.address) if row.channel == "email" else "contact_removed"
        found = self._contacts[row.contact_id]
        if not found.active or not is_same_host(found.channel, row.address, found.address):
            return "contact_removed"  # what is secret between us and the server it has now is none of another's
        try:
            return Contact(
                found.id,
                row.channel,
                row.address,
                read_settings(found.channel, found.settings),
                self._secret(found.id, found.sealed_secret),
                self._secret(found.id, found.sealed_secret_previous),
            )
        except Invalid:
            return "contact_invalid"
        except SealBroken:
            return "secret_lost"

    def _secret(self, contact_id: uuid.UUID, sealed: bytes | None) -> bytes | None:
        return None if sealed is None else open_value(self._settings, SEALED_FOR, contact_id, sealed)

    def _endpoint(self, reached: Contact | str) -> str | None:
        if isinstance(reached, str):
            return None
        return self._channels[reached.channel].endpoint(reached, self._settings)

    def _turned_away(self, rows: Iterable[Delivery], names: dict[uuid.UUID, str | None]) -> dict[uuid.UUID, Later]:
        """Those whose endpoint is not to be asked now: it has not answered for long, or is being asked enough."""
        asked = {name for name in names.values() if name is not None}
        bounded = {name for row in rows if row.channel != "email" and (name := names[row.id]) is not None}
        if bounded:
            queries.take_turns(self._session, bounded)
        in_hand = queries.in_hand(self._session, bounded, now=self._now) if bounded else {}
        closed_not = queries.breakers(self._session, asked)
        away: dict[uuid.UUID, Later] = {}
        for row in rows:
            name = names[row.id]
            if name is None:
                continue
            breaker = closed_not.get(name)
            if breaker is not None:
                self._failing.add(name)
            if breaker is not None and (later := self._behind(breaker, row)) is not None:
                away[row.id] = later
            elif in_hand.get(name, 0) >= AT_ONCE:
                away[row.id] = Later("endpoint_busy", BUSY_PAUSE_S * rules.jitter(row.id, row.attempts))
            elif name in bounded:
                in_hand[name] = in_hand.get(name, 0) + 1
        return away

    def _behind(self, breaker: Endpoint, row: Delivery) -> Later | None:
        """How long a letter waits behind a breaker; None for the one that asks for all.

        A red asks once a minute, however long the breaker would stay open. One that has waited until it would be given
        up asks all the same: else it would wait for ever, and nobody would be told.
        """
        waited_s = (self._now - max(row.created_at, row.due_at)).total_seconds()
        if breaker.open_until is None or waited_s >= self._settings.delivery_give_up_s:
            return None
        now, until = self._now, breaker.open_until
        if row.severity == rules.RED:
            until = min(until, breaker.changed_at + timedelta(seconds=rules.BREAKER_FIRST_S))
        if breaker.probing_until is not None and breaker.probing_until > now:
            until = max(until, now + timedelta(seconds=rules.PROBE_PATIENCE_S))
        if until > now:
            pause_s = (until - now).total_seconds() * rules.jitter(row.id, row.attempts)
            return Later("endpoint_open", max(BUSY_PAUSE_S, pause_s))
        breaker.probing_until = now + timedelta(seconds=rules.claim_lasts_s(self._settings))
        return None

    def _hold_digests(self, rows: Iterable[Delivery]) -> dict[uuid.UUID, Later]:
        """Take hold of the digests some letters are of; those of which somebody holds one are left for later.

        Of a digest whose sender was killed, what was taken back meanwhile goes no more, and what became red goes alone.
        """
        digest_ids = {row.digest_id for row in rows if row.digest_id is not None}
        self._begun, busy = queries.digest_members(self._session, digest_ids)
        members = [one for each in self._begun.values() for one in each]
        withdrawn = queries.withdrawn_among(self._session, {one.case_id for one in members}) if members else set()
        for one in members:
            if one.digest_id not in busy and one.says not in rules.TAKES_BACK and one.case_id in withdrawn:
                rules.DELIVERY.move(one, "cancelled", now=self._now)
        for digest_id, each in self._begun.items():
            self._begun[digest_id] = [one for one in each if one.state != "cancelled" and one.severity != rules.RED]
        return {
            row.id: Later("digest_busy", BUSY_PAUSE_S * rules.jitter(row.id, row.attempts))
            for row in rows
            if row.digest_id in busy and row.severity != rules.RED
        }

    def _groups(self, rows: list[Delivery]) -> list[tuple[list[Delivery], str | None]]:
        """What goes as one: (letters, Message-ID of their digest or None for a letter by itself)."""
        single = [row for row in rows if row.channel != "email" or _goes_alone(row) or row.contact_id is None]
        mails = [row for row in rows if row not in single]
        fresh = {row.contact_id for row in mails if row.digest_id is None and not row.attempts and row.contact_id}
        waiting = queries.waiting_for(self._session, fresh, now=self._now)
        groups: list[tuple[list[Delivery], str | None]] = [([row], None) for row in single]
        done: set[uuid.UUID] = set()
        for row in mails:
            if row.id in done:
                continue
            group, message_id = [row], None
            if row.digest_id is not None:
                group = [row, *(one for one in self._begun[row.digest_id] if one.id != row.id)]
                message_id = self._digests[row.digest_id].message_id
            elif row.contact_id is not None and not row.attempts:
                group = self._companions(row, [one for one in waiting.get(row.contact_id, []) if one.id not in done])
                if len(group) > 1:
                    message_id = self._begin_digest(group)
            done |= {one.id for one in group}
            groups.append((group, message_id))
        return groups

    def _companions(self, row: Delivery, waiting: list[Delivery]) -> list[Delivery]:
        """Those a letter goes with: of its digest, or all that wait where they are too many for a mail each."""
        same = [one for one in waiting if one.address == row.address and one.id != row.id]
        if len(same) + 1 > rules.ONE_BY_ONE:
            return [row, *same][: rules.DIGEST_MAX]
        if row.is_digested:
            return [row, *(one for one in same if one.is_digested)][: rules.DIGEST_MAX]
        return [row]

    def _begin_digest(self, group: list[Delivery]) -> str:
        contact_id = group[0].contact_id
        assert contact_id is not None
        digest_id = new_id()
        message_id = f"<digest.{digest_id}@{self._settings.public_host}>"
        agency_id = self._contacts[contact_id].agency_id
        self._session.add(Digest(id=digest_id, agency_id=agency_id, message_id=message_id, created_at=self._now))
        self._session.flush()
        for row in group:
            row.digest_id = digest_id
        return message_id
