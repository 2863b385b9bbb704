"""Use cases of watches: tell whoever watches a water what may come to it from upstream, and when that is over.

Nothing here commits but the job. What a warning says is the public forecast and nothing else: see ``advisories``.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from waterwatch.advisories import forecasts
from waterwatch.advisories.forecast_queries import Expected, expected_of_incident
from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.webpush import Subscription
from waterwatch.postbox import service as postbox
from waterwatch.postbox.service import About, Mail
from waterwatch.watches import letters, queries
from waterwatch.watches.letters import Recipient, WatchedWater
from waterwatch.watches.service import TOLD_AT_ONCE, content_of, name_of
from waterwatch.watches.tables import Watch, WatchTold
from waterwatch.waters.queries import bodies_of_features, names_of, public_ids_of

WARNED, OVER = "watch.approaching", "watch.over"
# Who was told of a warning is told of its end, and then forgotten; should that fail, it is forgotten after this long.
TOLD_KEPT = timedelta(days=30)


@dataclass(frozen=True)
class Warned:
    """What one run told: how many of a warning, how many of its end; ``again_at``: when others may be told, if any."""

    told: int
    over: int
    again_at: datetime | None


def tell(session: Session, incident_id: uuid.UUID, *, settings: Settings, now: datetime) -> Warned:
    """Tell watches what this incident's public forecast says of their water, or that it says nothing any more.

    At most :data:`TOLD_AT_ONCE`. Idempotent: who was told is told again only of a higher level. What still waits to be
    sent to somebody of this incident is dropped for it.
    """
    queries.one_at_a_time(session, incident_id)
    coming = _coming(session, incident_id, now=now)
    level = max((one.level for one in coming.values()), default=None)
    untold = queries.lock_untold(session, incident_id, coming, level, now=now, limit=TOLD_AT_ONCE)
    unwarned = [watch for watch in untold if watch.water_body_id in coming]
    ended = [watch for watch in untold if watch.water_body_id not in coming]
    waters = _Waters(session, untold)
    for watch in unwarned:
        _warn(session, watch, waters.of(watch), coming[watch.water_body_id], settings=settings, now=now)
    if ended:
        _end(session, incident_id, ended, waters, settings=settings, now=now)
    session.flush()
    if len(untold) == TOLD_AT_ONCE:
        return Warned(len(unwarned), len(ended), now)
    return Warned(len(unwarned), len(ended), queries.next_warning_at(session, incident_id, coming, level))


def tell_approaching(context: JobContext, message: outbox.Message) -> None:
    """The job of ``forecasts.TOPIC_APPROACHING``. Idempotent: see :func:`tell`.

    Whoever was told of something within the hour is told later, and one job is ordered for that.
    """
    with transaction(context.sessions) as session:
        now, topic, payload = context.now(), forecasts.TOPIC_APPROACHING, message.payload
        found = tell(session, uuid.UUID(payload["incident_id"]), settings=context.settings, now=now)
        if found.again_at is not None and (
            found.again_at <= now
            or not queries.is_ordered_for_later(session, topic, payload, besides=message.id, now=now)
        ):
            outbox.emit(session, topic, payload, now=now, available_at=max(now, found.again_at))
        outbox.finish(session, message.id)


def forget_told(session: Session, *, now: datetime) -> int:
    """Forget who was told of warnings that ended long ago. Returns how many."""
    return queries.forget_told(session, before=now - TOLD_KEPT)


def _coming(session: Session, incident_id: uuid.UUID, *, now: datetime) -> dict[uuid.UUID, Expected]:
    """What the forecast says of each water, by its nearest reach or lake there."""
    expected = expected_of_incident(session, incident_id, now=now, is_public=True)
    bodies = bodies_of_features(session, [one.feature_id for one in expected])
    coming: dict[uuid.UUID, Expected] = {}
    for one in expected:
        coming.setdefault(bodies[one.feature_id], one)
    return coming


class _Waters:
    """The waters of these watches, in each watch's language."""

    def __init__(self, session: Session, watches: list[Watch]) -> None:
        ids = {watch.water_body_id for watch in watches}
        self._names = names_of(session, ids) if ids else {}
        self._public_ids = public_ids_of(session, ids) if ids else {}

    def of(self, watch: Watch) -> WatchedWater:
        public_id = self._public_ids[watch.water_body_id]
        names = self._names.get(watch.water_body_id, {})
        return WatchedWater(public_id, name_of(names, watch.language, public_id))


def _warn(
    session: Session, watch: Watch, water: WatchedWater, coming: Expected, *, settings: Settings, now: datetime
) -> None:
    about = About(WARNED, coming.incident_id, watch.id)
    mail = None
    if watch.channel == "email":
        mail = letters.approaching(_recipient(watch, settings, now), water, coming, settings=settings)
    _post(session, watch, about, water, mail, settings=settings, now=now)
    values = {"level": coming.level, "told_at": now}
    statement = insert(WatchTold).values(watch_id=watch.id, incident_id=coming.incident_id, **values)
    session.execute(statement.on_conflict_do_update(index_elements=["watch_id", "incident_id"], set_=values))


def _end(
    session: Session,
    incident_id: uuid.UUID,
    watches: list[Watch],
    waters: _Waters,
    *,
    settings: Settings,
    now: datetime,
) -> None:
    code = queries.code_of(session, incident_id)
    warned = queries.waters_still_warned(session, {watch.water_body_id for watch in watches}, now=now)
    for watch in watches:
        water, is_warned = waters.of(watch), watch.water_body_id in warned
        mail = None
        if watch.channel == "email":
            recipient = _recipient(watch, settings, now)
            mail = letters.over(recipient, water, code, is_still_warned=is_warned, settings=settings)
        _post(session, watch, About(OVER, incident_id, watch.id), water, mail, settings=settings, now=now)
    queries.forget_told_of(session, incident_id, [watch.id for watch in watches])


def _recipient(watch: Watch, settings: Settings, now: datetime) -> Recipient:
    return Recipient(watch.id, content_of(watch, settings)["address"], watch.language, now)


def _post(
    session: Session,
    watch: Watch,
    about: About,
    water: WatchedWater,
    mail: Mail | None,
    *,
    settings: Settings,
    now: datetime,
) -> None:
    """Send a mail, or without one what a browser shows; in place of what waits of the same incident."""
    postbox.drop(session, subject_id=about.subject_id, recipient_id=watch.id, now=now)
    if mail is not None:
        postbox.post_mail(session, about, mail, settings=settings, now=now)
    else:
        payload = letters.push_payload(watch.language, water, letters.PUSH_WARNING)
        subscription = Subscription(**content_of(watch, settings)["subscription"])
        postbox.post_push(session, about, subscription, payload, settings=settings, now=now)
    watch.told_at = now
