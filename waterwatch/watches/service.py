"""Use cases of watches: ask, confirm, end, and tell whoever watches a water when its level has changed.

Nothing here commits. A watch's audit rows name the watch, never the water or the address: the two together would tell
who cares for what.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from waterwatch.advisories import forecasts
from waterwatch.advisories import service as advisories
from waterwatch.advisories.queries import level_of_water
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Gone
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.sealing import open_value, seal_value
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.signing import open_link
from waterwatch.messaging.webpush import Subscription
from waterwatch.postbox import service as postbox
from waterwatch.postbox.service import About
from waterwatch.watches import letters, queries, rules
from waterwatch.watches.letters import Recipient, WatchedWater
from waterwatch.watches.tables import Watch
from waterwatch.waters.queries import names_of

PURPOSE = "watch"
ASKED, TOLD = "watch.confirm", "watch.level"
TOLD_AT_ONCE = 500  # watches told in one transaction; the rest by further jobs
log = get_logger(__name__)


@dataclass(frozen=True)
class WatchWater:
    """Somebody asks to be told of a water by mail, in this language."""

    water_body_id: uuid.UUID
    address: str
    language: str


@dataclass(frozen=True)
class WatchByBrowser:
    """A browser asks to be told of a water."""

    water_body_id: uuid.UUID
    subscription: Subscription
    language: str


def watch_by_mail(session: Session, command: WatchWater, *, settings: Settings, now: datetime) -> bool:
    """Ask an address whether it wants to watch a water. Whether it was asked: for the log and the tests alone.

    Whoever typed the address is told the same in each case, else a stranger could learn who watches what. An address
    that watches already, that was asked too often today, or that watches too many waters, gets no mail.
    """
    digest = postbox.address_digest(settings, command.address)
    content = {"address": command.address}
    watch = _keep(session, command.water_body_id, "email", digest, content, command.language, settings, now)
    if watch is None or watch.confirmed_at is not None:
        return False
    if postbox.is_pestered(session, command.address, ASKED, settings=settings, now=now):
        log.warning("watch.held_back")
        return False
    watch.asked_at, watch.language = now, command.language
    mail = letters.confirmation(
        Recipient(watch.id, command.address, watch.language, now), _water(session, watch), settings=settings
    )
    return postbox.post_mail(session, About(ASKED, watch.id, watch.id), mail, settings=settings, now=now)


def watch_by_browser(session: Session, command: WatchByBrowser, *, settings: Settings, now: datetime) -> None:
    """A browser watches a water: it asked for that itself. Twice is once."""
    digest = postbox.address_digest(settings, command.subscription.endpoint)
    content = {"subscription": asdict(command.subscription)}
    _keep(session, command.water_body_id, "push", digest, content, command.language, settings, now)


def _keep(
    session: Session,
    water_body_id: uuid.UUID,
    channel: str,
    digest: bytes,
    content: Mapping[str, object],
    language: str,
    settings: Settings,
    now: datetime,
) -> Watch | None:
    """The watch of a recipient over a water, made if there is none; None where the recipient has too many."""
    if (found := queries.lock_watch_of(session, water_body_id, digest)) is not None:
        return found
    if queries.count_of(session, digest) >= rules.WATCHES_PER_ADDRESS:
        log.warning("watch.too_many")
        return None
    watch_id = new_id()
    values = {
        "id": watch_id,
        "water_body_id": water_body_id,
        "channel": channel,
        "recipient_digest": digest,
        "sealed": seal_value(settings, PURPOSE, watch_id, json.dumps(content).encode()),
        "language": language,
        "asked_at": now,
        "confirmed_at": now if channel == "push" else None,
        "told_level": level_of_water(session, water_body_id),
    }
    session.execute(insert(Watch).values(**values).on_conflict_do_nothing())
    _record(session, "watch.asked", watch_id, now)
    if channel == "push":
        _order_warnings(session, water_body_id, now=now)
    return queries.lock_watch_of(session, water_body_id, digest)


def _order_warnings(session: Session, water_body_id: uuid.UUID, *, now: datetime) -> None:
    """Ask that who begins to watch a water be told what is on its way there already: see ``approaching``."""
    for incident_id in queries.incidents_warning(session, water_body_id, now=now):
        outbox.emit(session, forecasts.TOPIC_APPROACHING, {"incident_id": str(incident_id)}, now=now)


def confirm(session: Session, token: str, *, settings: Settings, now: datetime) -> str:
    """Whoever reads that mailbox wants to watch; returns the water's page address. Twice is once.

    Raises :class:`NotFound` for a forged link, :class:`Gone` for one that is over or whose watch was ended.
    """
    watch = queries.lock_watch(session, open_link(settings, letters.CONFIRM, token, now=now))
    if watch is None:
        raise Gone("watch_ended")
    if watch.confirmed_at is None:
        watch.confirmed_at, watch.told_level = now, level_of_water(session, watch.water_body_id)
        session.flush()
        _record(session, "watch.confirmed", watch.id, now)
        _order_warnings(session, watch.water_body_id, now=now)
    return queries.address_of(session, watch.water_body_id)


def stop(session: Session, token: str, *, settings: Settings, now: datetime) -> None:
    """The address wants no mail of this water any more: it is erased. Twice is as good. Raises as :func:`confirm`."""
    end(session, open_link(settings, letters.STOP, token, now=now), now=now)


def stop_browser(
    session: Session, water_body_id: uuid.UUID, endpoint: str, *, settings: Settings, now: datetime
) -> None:
    """This browser wants to hear of this water no more. Twice is once."""
    watch = queries.lock_watch_of(session, water_body_id, postbox.address_digest(settings, endpoint))
    if watch is not None:
        end(session, watch.id, now=now)


def end(session: Session, watch_id: uuid.UUID, *, now: datetime, actor: Actor | None = None) -> None:
    """Erase a watch and whatever still waits to be sent to it. Twice is once."""
    watch = queries.lock_watch(session, watch_id)
    if watch is None:
        return
    postbox.drop(session, recipient_id=watch.id, now=now)
    session.delete(watch)
    session.flush()
    _record(session, "watch.ended", watch_id, now, actor)


def forget_unconfirmed(session: Session, *, actor: Actor, now: datetime, limit: int) -> int:
    """Erase addresses that never said they want to watch. Returns how many."""
    due = queries.unconfirmed(session, asked_before=now - letters.CONFIRM_FOR, limit=limit)
    for watch_id in due:
        end(session, watch_id, now=now, actor=actor)
    return len(due)


def tell(session: Session, water_body_id: uuid.UUID, *, settings: Settings, now: datetime) -> int:
    """Tell the level that holds now to watches that know of another; returns how many messages were taken.

    At most :data:`TOLD_AT_ONCE`. Idempotent: who was told knows of it. What still waits to be sent to somebody is
    dropped for it: nobody reads of a level that is over.
    """
    level = level_of_water(session, water_body_id)
    due = queries.lock_due(session, water_body_id, level, now=now, limit=TOLD_AT_ONCE)
    names = names_of(session, [water_body_id]).get(water_body_id, {})
    public_id = queries.address_of(session, water_body_id)
    for watch in due:
        water = WatchedWater(public_id, name_of(names, watch.language, public_id))
        postbox.drop(session, recipient_id=watch.id, kind=TOLD, now=now)
        _tell_one(session, watch, water, level, settings=settings, now=now)
        watch.told_level, watch.told_at = level, now
    session.flush()
    return len(due)


def _tell_one(
    session: Session, watch: Watch, water: WatchedWater, level: int | None, *, settings: Settings, now: datetime
) -> None:
    content = content_of(watch, settings)
    about = About(TOLD, watch.id, watch.id)
    if watch.channel == "push":
        payload = letters.push_payload(watch.language, water)
        postbox.post_push(session, about, Subscription(**content["subscription"]), payload, settings=settings, now=now)
        return
    change = rules.change(watch.told_level, level)
    assert change is not None, "the query gives those that know of another level"
    recipient = Recipient(watch.id, content["address"], watch.language, now)
    mail = letters.changed(recipient, water, change, (watch.told_level, level), settings=settings)
    postbox.post_mail(session, about, mail, settings=settings, now=now)


def tell_changed(context: JobContext, message: outbox.Message) -> None:
    """The job of ``advisories.TOPIC_CHANGED``. Idempotent: see :func:`tell`.

    Whoever was told within the hour is told later, and one job is ordered for that.
    """
    with transaction(context.sessions) as session:
        now = context.now()
        water_body_id = queries.water_of(session, uuid.UUID(message.payload["water_feature_id"]))
        if water_body_id is not None:
            told = tell(session, water_body_id, settings=context.settings, now=now)
            _order_rest(session, message, water_body_id, is_more=told == TOLD_AT_ONCE, now=now)
        outbox.finish(session, message.id)


def _order_rest(
    session: Session, message: outbox.Message, water_body_id: uuid.UUID, *, is_more: bool, now: datetime
) -> None:
    due_at = now if is_more else queries.next_due_at(session, water_body_id, level_of_water(session, water_body_id))
    if due_at is None:
        return
    is_ordered = queries.is_ordered_for_later(
        session, advisories.TOPIC_CHANGED, message.payload, besides=message.id, now=now
    )
    if is_more or not is_ordered:
        outbox.emit(session, advisories.TOPIC_CHANGED, message.payload, now=now, available_at=max(now, due_at))


def _water(session: Session, watch: Watch) -> WatchedWater:
    names = names_of(session, [watch.water_body_id]).get(watch.water_body_id, {})
    public_id = queries.address_of(session, watch.water_body_id)
    return WatchedWater(public_id, name_of(names, watch.language, public_id))


def content_of(watch: Watch, settings: Settings) -> dict[str, Any]:
    """Where a watch writes to: an ``address``, or a browser's ``subscription``."""
    content: dict[str, Any] = json.loads(open_value(settings, PURPOSE, watch.id, watch.sealed))
    return content


def name_of(names: dict[str, str], language: str, fallback: str) -> str:
    """A water's name in a language, else in Chinese or English, else ``fallback``."""
    return names.get(language) or names.get("zh-Hans") or names.get("en") or fallback


def _record(session: Session, action: str, watch_id: uuid.UUID, now: datetime, actor: Actor | None = None) -> None:
    audit.record(
        session,
        action=action,
        subject_kind="watch",
        subject_id=watch_id,
        actor=actor or Actor.anonymous(),
        now=now,
    )
