"""What cities' Open311 servers say of our requests: ids for tokens, status and notes, asked again and again.

What one says is kept as a digest, so that only news is told on: in the outbox alone, for the slice of answers. It is
the city's own words, hostile like everything from outside, and in no audit entry and no log.
"""

import hashlib
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from waterwatch.agencies.rules import Open311Settings, read_settings
from waterwatch.agencies.tables import SEALED_FOR, AgencyContact
from waterwatch.escalation import deliveries, service
from waterwatch.escalation import delivery_queries as found
from waterwatch.escalation import polling_queries as queries
from waterwatch.escalation.channels import Contact
from waterwatch.escalation.channels.http import make_client
from waterwatch.escalation.channels.open311 import AWAITS_ID, server_of
from waterwatch.escalation.polling_queries import Asked
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.outbox import Message
from waterwatch.kernel.sealing import SealBroken, open_value
from waterwatch.kernel.settings import Settings
from waterwatch.messaging import open311
from waterwatch.messaging.http import Client
from waterwatch.messaging.open311 import Refused, RemoteState, Server

TOPIC_POLL = "escalation.poll"
REMOTE_STATUS = "escalation.remote_status"  # declared as a topic by whoever takes it in: a room above
# How often is asked: for an id we were promised, and for what became of a request. Ours.
TOKEN_EVERY, STATUS_EVERY = timedelta(minutes=5), timedelta(minutes=30)
ASKED_FOR = timedelta(days=180)  # a request nobody closes is given up some time
BATCH = 50
# What is taken but not reached comes before what was asked, when it is due again.
BEFORE_THE_ASKED = timedelta(seconds=1)
# The server is not to be had, or asks for a pause. Any other odd answer is about the one request it was given to.
AWAY = frozenset({"timeout", "unreachable", "tls_failed", "name_not_found", "http_429", "http_503"})
NOTE_MAX = 1000  # characters told on
POLLER = Actor.system("poll")

log = get_logger(__name__)


@dataclass(frozen=True)
class Said:
    """What a server answered about one request: the id a token became, or a state."""

    request_id: str | None = None
    state: RemoteState | None = None


def order(session: Session, *, now: datetime) -> int:
    """Order a round for every server that has something to be asked. Idempotent: one round a server at a time."""
    due = queries.contacts_due(session, token_before=now - TOKEN_EVERY, status_before=now - STATUS_EVERY,
                               created_after=now - ASKED_FOR)  # fmt: skip
    for contact_id in due:
        outbox.emit(session, TOPIC_POLL, {"contact_id": str(contact_id)}, now=now, priority=outbox.BACKGROUND)
    return len(due)


def poll(context: JobContext, message: Message, *, client: Client | None = None) -> None:
    """The job of :data:`TOPIC_POLL`: ask one server about its requests, within the time one letter may take.

    Idempotent: what it says is told on only where it differs from what is kept. What a server that is away was not
    asked is due after the usual pause, and then first: one request it never answers holds up no other. What there was
    no time for is due at once.
    """
    contact_id, settings = uuid.UUID(message.payload["contact_id"]), context.settings
    with transaction(context.sessions) as session:
        server = _server(session, contact_id, settings)
        asked = _take(session, contact_id, now=context.now()) if server is not None else []
        outbox.finish(session, message.id)
    if server is None:
        return
    limited = (client or make_client(settings)).limited()
    ends_at = time.monotonic() + settings.channel_timeout_s
    has_answered = False
    while asked and time.monotonic() < ends_at:
        one = asked.pop(0)
        with transaction(context.sessions) as session:
            queries.mark_polled(session, [one.delivery_id], at=context.now())
        try:
            said = _ask(limited, server, one, now=context.now())
        except Refused as refusal:
            code = refusal.failure.code
            log.warning("poll.failed", delivery_id=str(one.delivery_id), error=code)
            if code in AWAY and not (code == "timeout" and has_answered):
                return  # the others would only wait for it
            has_answered = has_answered or code not in AWAY
            continue
        has_answered = True
        with transaction(context.sessions) as session:
            note(session, one.delivery_id, said, now=context.now())
    if asked:
        with transaction(context.sessions) as session:
            queries.mark_polled(session, [one.delivery_id for one in asked], at=None)


def note(session: Session, delivery_id: uuid.UUID, said: Said, *, now: datetime) -> bool:
    """Keep what a server says of a request, and tell it on where it is new. Whether it was."""
    if said.request_id is not None:
        return deliveries.settle_awaiting(session, delivery_id, now=now, remote_id=said.request_id)
    if said.state is None:
        return False
    case_id = found.case_of(session, delivery_id)
    case = found.locked_cases(session, [case_id])[case_id]
    row = found.locked_deliveries(session, [delivery_id])[delivery_id]
    status, words = said.state.status, said.state.notes
    digest = hashlib.sha256((words or "").encode()).digest()
    # A request that is merely open, with nothing said, is no news.
    is_first_word = row.remote_digest is None and status == "open" and not words
    is_news = (row.remote_status, row.remote_digest) != (status, digest) and not is_first_word
    row.remote_status, row.remote_digest = status, digest
    if is_news:
        told = {"delivery_id": str(row.id), "status": status, "note": words[:NOTE_MAX] if words else None}
        service.record(
            session,
            "delivery.remote_status",
            case,
            actor=POLLER,
            now=now,
            after={"delivery_id": row.id, "state": status},
        )
        outbox.emit(session, REMOTE_STATUS, told, now=now)
    return is_news


def _take(session: Session, contact_id: uuid.UUID, *, now: datetime) -> list[Asked]:
    """What is to be asked now, so marked: no other round takes it, and whatever happens, the pause is kept."""
    asked = queries.requests_due(
        session,
        contact_id,
        token_before=now - TOKEN_EVERY,
        status_before=now - STATUS_EVERY,
        created_after=now - ASKED_FOR,
        limit=BATCH,
    )
    queries.mark_polled(session, [one.delivery_id for one in asked], at=now - BEFORE_THE_ASKED)
    return asked


def _ask(client: Client, server: Server, one: Asked, *, now: datetime) -> Said:
    if one.awaits == AWAITS_ID:
        return Said(request_id=open311.exchange(client, server, one.remote_id, now=now))
    return Said(state=open311.state_of(client, server, one.remote_id, now=now))


def _server(session: Session, contact_id: uuid.UUID, settings: Settings) -> Server | None:
    """The server of a contact; None where it is no longer one, or its key is lost."""
    row = session.get(AgencyContact, contact_id)
    if row is None or not row.active or row.channel != "open311":
        return None
    try:
        read = read_settings(row.channel, row.settings)
        key = None if row.sealed_secret is None else open_value(settings, SEALED_FOR, row.id, row.sealed_secret)
    except (Invalid, SealBroken):
        return None
    assert isinstance(read, Open311Settings)
    return server_of(Contact(row.id, row.channel, row.address, read, key))
