"""Ways a letter reaches an agency, one module each behind one Protocol.

The engine (``escalation.deliveries``) claims a delivery in a transaction, gives the letter to the channel with no
transaction open, and records the outcome in another. A channel decides nothing of retries, breakers or cases.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from waterwatch.escalation.queries import CaseFacts
from waterwatch.escalation.rules import TAKES_BACK
from waterwatch.escalation.warning_queries import Warned
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure
from waterwatch.messaging.smtp import Outlet


@dataclass(frozen=True)
class Pictures:
    """The photo (JPEG) and the map (PNG); None where one cannot be had.

    ``are_held_back``: one of them is there, but whatever holds it does not answer just now.
    """

    photo: bytes | None
    map: bytes | None
    are_held_back: bool = False


@dataclass(frozen=True)
class Contact:
    """Where a letter goes. ``contact_id`` is None where the address is no row of the agency's (a river chief's).

    ``settings`` is what ``agencies.rules.read_settings`` made of the row's. ``secret`` and, while it is being rotated
    out, ``previous_secret`` are opened; they are in no ``repr``.
    """

    contact_id: uuid.UUID | None
    channel: str
    address: str
    settings: Any = None
    secret: bytes | None = field(default=None, repr=False)
    previous_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Letter:
    """Everything there is to say in one delivery, the exact place included; of the citizen, nothing.

    ``message_id`` is the same at every attempt, and so is ``delivery_id``, the idempotency key for the other side.
    ``answers`` is the Message-ID of the mail it follows, ``earlier`` the identifiers and times of the alerts (CAP) that
    address has got of the case. ``remote_id`` is what an earlier attempt was told.
    ``reply_by`` is when the case is to be acknowledged. ``answer_url`` acknowledges or answers; with ``photo_url`` and
    ``map_url`` it is a key: only for the agency. ``others`` go in the same mail (a digest; e-mail alone has them).
    """

    delivery_id: uuid.UUID
    case_id: uuid.UUID
    says: str
    facts: CaseFacts
    pictures: Pictures
    contact: Contact
    message_id: str
    attempt: int
    claimed_at: datetime
    queued_at: datetime
    reply_by: datetime
    answer_url: str
    photo_url: str | None
    map_url: str
    incident_url: str
    raised_from: int | None = None
    answers: str | None = None
    earlier: tuple[tuple[str, datetime], ...] = ()
    remote_id: str | None = None
    others: tuple["Letter", ...] = ()

    @property
    def takes_back(self) -> bool:
        """Whether it tells that what was told before holds no more: then it says nothing of place and kind."""
        return self.says in TAKES_BACK

    @property
    def warned(self) -> Warned | None:
        """What comes down the river, where that is what it tells of; None for a letter about a case."""
        return self.facts.warned if self.says == "warning" else None


@dataclass(frozen=True)
class Wire:
    """What a channel sends through: the settings, and this process's one kept conversation with the mail server.

    ``kept`` is for a client that a channel wants to keep between letters, by the channel's name; HTTP channels are
    used by several threads at once, of which each has a wire of its own.
    """

    settings: Settings
    mail: Outlet
    kept: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Handed:
    """The other side has it: the letter is its business now."""

    remote_id: str | None = None


@dataclass(frozen=True)
class Awaiting:
    """Taken, but somebody has yet to do something, which ``code`` names: fetch the feed, post the letter, say the id.

    ``patience_s``: how long that may take (None: by severity, ``rules.awaiting_patience``); then the delivery is dead.
    ``deliveries.settle_awaiting`` makes it sent, ``deliveries.fail_awaiting`` ends it sooner.
    """

    code: str
    remote_id: str | None = None
    patience_s: float | None = None


@dataclass(frozen=True)
class Failed:
    """It was not, or not surely, taken. Of an HTTP peer, everything that may pass (no connection, timeout, 5xx, 429)
    is ``Failure(is_deferred=True)``: it is tried again after 1, 5, 15 min, then hourly, and counts for the breaker."""

    failure: Failure


@dataclass(frozen=True)
class Rehearsed:
    """It was said to ourselves alone: the other side has nothing of it."""


Outcome = Handed | Awaiting | Failed | Rehearsed


class Channel(Protocol):
    """One way to hand a letter over. Holds no state: one object serves all threads."""

    name: str

    def endpoint(self, contact: Contact, settings: Settings) -> str:
        """What a breaker watches, and of what at most two are asked at once; short, without any secret.

        Two agencies share one only if neither can be reached while it is away: ``https://host:port``. A mail address
        is in it only as a digest.
        """
        ...

    def hand_over(self, letter: Letter, wire: Wire) -> Outcome:
        """Give the letter to the other side, or say why not. No transaction is open, and none may be opened for long.

        Bounded as a whole by ``settings.smtp_timeout_s`` (mail) or ``settings.channel_timeout_s`` (all others). Never
        raises for what the other side does; what it says is hostile and stays out of logs.
        """
        ...


Channels = Mapping[str, Channel]
