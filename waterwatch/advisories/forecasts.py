"""Use cases of early warning: reckon what an incident means below it, rule on it, preview it. None commits.

The warning is reckoned in a job: the walk needs the network in memory. Whoever changes an incident orders it
(:func:`order`); the job (``workers.handlers.forecast``) writes it and tells the departments in one transaction. What
everybody sees follows a while later (``public_at``): those who must close an intake hear of it first.
"""

import math
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from waterwatch.advisories import forecast_queries as queries
from waterwatch.advisories import rules
from waterwatch.advisories.forecast_queries import Origin
from waterwatch.advisories.rules import Ruling, Window, lapses_at, level_below, warns
from waterwatch.advisories.walking import Flow, Way, ratio_from, walk
from waterwatch.flow import travel
from waterwatch.flow.rules import Network, UnknownFeature
from waterwatch.kernel import audit, gathering, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.settings import Settings

TOPIC_FORECAST = "advisories.forecast"
# Payload incident_id: its forecast became public, changed since, or has ended and was public.
TOPIC_APPROACHING = "advisories.approaching"
# When somebody saw the pollution is told to nobody by less than this: windows are public, and lead back to it.
BLURRED_S = 3 * 3600
MOST_REACHES = 5000  # of one incident: the arms of a delta; the nearest count
# What stands is reckoned anew at least so often: gauges age, and an import may have changed the waters (ours).
RECKONED_EVERY_S = 3600


@dataclass(frozen=True)
class Reckoned:
    """What a run found of one incident: its state and level now, and whether anything differs from before.

    ``is_new_level``: it stands at another level than before, or did not stand. ``is_made_public``: everybody may know
    of it, or of more of it, from now on, though it says what it said before.
    """

    incident_id: uuid.UUID
    state: str
    level: int
    is_changed: bool
    is_new_level: bool
    is_made_public: bool = False


@dataclass(frozen=True)
class Preview:
    """What would be warned: reach by reach, with the hours from when it was first seen; None: nothing is."""

    level: int
    way: Way
    flow_ratio: float


def order(
    session: Session,
    incident_id: uuid.UUID,
    kind: str,
    *,
    now: datetime,
    available_at: datetime | None = None,
    is_new: bool = False,
) -> None:
    """Ask, in the caller's transaction, that the warning below an incident follow what has become of it.

    ``is_new``: it was opened just now, so that nothing below it can have been warned. Else one that is of another kind
    now may have a forecast of its former kind, or be about to get one: a job may have read what it was.
    """
    if kind in rules.CARRIED_KINDS or (not is_new and queries.may_have_forecast(session, TOPIC_FORECAST, incident_id)):
        outbox.emit(session, TOPIC_FORECAST, {"incident_id": str(incident_id)}, now=now, available_at=available_at)


def order_standing(session: Session, *, now: datetime) -> int:
    """Ask that every warning that stands be reckoned anew: rivers carry more or less, or flow otherwise. How many."""
    ids = queries.standing_incidents(session, now=now)
    for incident_id in ids:
        outbox.emit(session, TOPIC_FORECAST, {"incident_id": str(incident_id)}, now=now)
    return len(ids)


def flow_now(session: Session, settings: Settings, *, now: datetime) -> Flow:
    """How much water the rivers carry: as the setting says, and as gauges do that told of it lately."""
    since = now - timedelta(seconds=settings.gauge_fresh_s)
    gauges = {
        feature_id: min(max(ratio, 1 / travel.MAX_FLOW_RATIO), travel.MAX_FLOW_RATIO)
        for feature_id, ratio in queries.gauge_ratios(session, since=since, now=now).items()
    }
    return Flow(settings.flow_ratio, gauges)


def preview(
    network: Network, flow: Flow, kind: str, severity: int, feature_id: int, start_km: float, limit_km: float | None
) -> Preview | None:
    """What an incident graded so would warn below it; None when it would warn of nothing."""
    if not warns(kind, severity, is_open=True):
        return None
    found = _walk(network, flow, feature_id, start_km, limit_km)
    return Preview(level_below(severity), found[0], found[1]) if found is not None and len(found[0]) else None


def expected_at(first_seen: datetime, earliest_h: float, probable_h: float) -> Window:
    """The window of a place that lies so many hours below (infinite: not known), blurred as forecasts keep it."""
    begins = _blurred(first_seen)
    earliest = begins + timedelta(hours=earliest_h) if math.isfinite(earliest_h) else None
    if earliest is None or not math.isfinite(probable_h):
        return Window(earliest, None)
    return Window(earliest, begins + timedelta(seconds=BLURRED_S, hours=probable_h))


def has_passed(last_seen: datetime, probable_h: float, passage_s: float, *, is_lake: bool, now: datetime) -> bool:
    """Whether a place so many hours below (infinite: not known) is no longer warned."""
    until = _blurred(last_seen) + timedelta(seconds=BLURRED_S)
    return lapses_at(until, _known(probable_h), _known(passage_s), is_lake=is_lake) <= now


def rule(
    session: Session,
    incident_id: uuid.UUID,
    kind: str,
    ruling: Ruling | None,
    *,
    actor: Actor,
    now: datetime,
    available_at: datetime | None = None,
    made_at: datetime | None = None,
) -> None:
    """A moderator withholds or shortens the warning below an incident, or (None) lets it go as it is reckoned.

    ``available_at``: the warning follows no sooner. ``made_at``: only the ruling made then is taken back.
    Raises :class:`Invalid` (``downstream_reason``, ``downstream_limit``) for a ruling without reason, or beyond 200 km.
    """
    if ruling is None:
        if not queries.drop_ruling(session, incident_id, made_at=made_at):
            return
        facts: dict[str, audit.Fact] = {"is_withheld": False}
    else:
        reason = (ruling.reason or "").strip()
        if not rules.REASON_MIN <= len(reason) <= rules.REASON_MAX:
            raise Invalid({"reason": ["downstream_reason"]})
        if not ruling.is_withheld and not (ruling.limit_km and 0 < ruling.limit_km <= rules.LIMIT_KM):
            raise Invalid({"limit_km": ["downstream_limit"]})
        limit_km = None if ruling.is_withheld else ruling.limit_km
        values = {"incident_id": incident_id, "is_withheld": ruling.is_withheld, "limit_km": limit_km}
        queries.keep_ruling(session, values | {"reason": reason, "ruled_by": actor.id, "now": now})
        facts = {"is_withheld": ruling.is_withheld, "limit_m": None if limit_km is None else round(1000 * limit_km)}
    _record(session, "downstream.ruled", incident_id, actor, now, facts)
    order(session, incident_id, kind, now=now, available_at=available_at)


def begin(session: Session) -> None:
    """Wait for whoever else reckons: until the caller's transaction ends, nobody does. Said again, it is nothing."""
    queries.serialise(session)


def reckon(
    session: Session,
    incident_ids: Collection[uuid.UUID],
    network: Network,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> list[Reckoned]:
    """Let the forecasts of these incidents, and the approaching levels they make, follow from how things stand.

    Idempotent: what has not changed is not written. Everything is done by a fixed number of statements, however many
    incidents there are. Orders what has to follow: a look when the forecast becomes public, and word to who watches.
    """
    begin(session)
    public_at = now + timedelta(seconds=settings.downstream_head_start_s)
    found = queries.origins(session, incident_ids)
    before = queries.headers(session, [one.incident_id for one in found], now=now, public_at=public_at)
    flow = flow_now(session, settings, now=now)
    made = [one for one in (_make(one, network, flow) for one in found) if one is not None]
    standing = [one for one in made if not one.origin.ruling.is_withheld]
    withheld = [one.incident_id for one in made if one.origin.ruling.is_withheld]
    lost = [one.incident_id for one in standing if one.is_lost and one.origin.state == "standing"]
    concerned = sorted({one.incident_id for one in made} | set(before))
    if not concerned:
        return []
    times = {"now": now, "public_at": public_at}
    queries.keep_forecasts(session, _forecasts(made, now=now) | {"lost": lost} | times)
    touched = queries.keep_reaches(session, _reaches(standing) | {"all_ids": concerned, "lost": lost} | times)
    settling = {"ids": concerned, "withheld": withheld, "warning": [one.incident_id for one in standing]}
    after = queries.settle(session, settling | {"every_s": RECKONED_EVERY_S} | times)
    outcome = [_compare(one, before.get(one), after[one], touched) for one in concerned]
    with gathering.gathered(session):  # one statement for all entries and orders
        _follow(session, outcome, before, touched, actor=actor, now=now, public_at=public_at)
    return outcome


@dataclass(frozen=True)
class _Made:
    """A forecast as it was walked. ``is_lost``: the network does not know the place (any more), nor one near it.

    One that stands is then left as it is until its windows lapse: that nobody knows the way is no all-clear.
    """

    origin: Origin
    level: int
    way: Way
    flow_ratio: float
    limit_km: float
    is_lost: bool

    @property
    def incident_id(self) -> uuid.UUID:
        return self.origin.incident_id

    @property
    def seen_from(self) -> datetime:
        return _blurred(self.origin.first_seen)

    @property
    def seen_until(self) -> datetime:
        last = max(self.origin.first_seen, self.origin.last_seen)
        return _blurred(last) + timedelta(seconds=BLURRED_S)


def _make(origin: Origin, network: Network, flow: Flow) -> _Made | None:
    if not warns(origin.kind, origin.severity, is_open=origin.is_open):
        return None
    limit_km, level = origin.ruling.limit_km or rules.LIMIT_KM, level_below(origin.severity)
    found = _walk(network, flow, origin.feature_id, origin.start_km, limit_km, limit_h=rules.STAYS_H)
    if found is None:
        return _Made(origin, level, Way.nowhere(), flow.ratio, limit_km, is_lost=True)
    return _Made(origin, level, found[0], found[1], limit_km, is_lost=False)


def _walk(
    network: Network,
    flow: Flow,
    feature_id: int,
    start_km: float,
    limit_km: float | None,
    limit_h: float = rules.LIMIT_H,
) -> tuple[Way, float] | None:
    """The way down and the flow ratio it begins with; None where the network does not know the feature (any more)."""
    try:
        ratio = ratio_from(network, feature_id, flow)
        begun = Flow(ratio, flow.gauges)
        limit = min(limit_km or rules.LIMIT_KM, rules.LIMIT_KM)
        way = walk(network, feature_id, start_km=start_km, flow=begun, limit_km=limit, limit_h=limit_h)
        return way.nearest(MOST_REACHES), ratio
    except UnknownFeature:
        return None


def _blurred(moment: datetime) -> datetime:
    seconds = moment.timestamp() % BLURRED_S
    return moment - timedelta(seconds=seconds)


def _forecasts(made: Sequence[_Made], *, now: datetime) -> dict[str, Any]:
    return {
        "ids": [one.incident_id for one in made],
        "kinds": [one.origin.kind for one in made],
        "levels": [one.level for one in made],
        "seen_from": [one.seen_from for one in made],
        "seen_until": [one.seen_until for one in made],
        "ratios": [one.flow_ratio for one in made],
        "limits": [one.limit_km for one in made],
        "timed": [bool(np.isfinite(one.way.probable_h).any()) for one in made],
        "now": now,
    }


def _reaches(made: Sequence[_Made]) -> dict[str, Any]:
    def numbers(name: str) -> list[float | None]:
        return [_known(value) for one in made for value in getattr(one.way, name).tolist()]

    return {
        "ids": [one.incident_id for one in made for _each in range(len(one.way))],
        "features": [value for one in made for value in one.way.feature_ids.tolist()],
        "nths": [nth for one in made for nth in range(len(one.way))],
        "kms": [value for one in made for value in one.way.distance_km.round(2).tolist()],
        "earliest": numbers("earliest_h"),
        "probable": numbers("probable_h"),
        "peaks": numbers("unit_peak"),
        "passages": numbers("passage_s"),
        "lakes": [value for one in made for value in one.way.is_lake.tolist()],
        "dammed": [value for one in made for value in one.way.is_dammed.tolist()],
        "blurred_s": BLURRED_S,
        "unknown_s": rules.LIMIT_H * 3600,
        "limit_h": rules.LIMIT_H,
        "moved_m": queries.MOVED_M,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _compare(
    incident_id: uuid.UUID, before: Any, after: tuple[str, int, str], touched: dict[uuid.UUID, list[int]]
) -> Reckoned:
    state, level, _kind = after
    was = (before.state, before.level, before.kind) if before is not None else (None, None, None)
    # What stands says it to more people from its hour on: the first run after that makes it public. Where everybody
    # knew of some of it, that is another message to them.
    is_due = before is not None and before.state == state == "standing" and bool(before.is_due)
    is_changed = incident_id in touched or was != after or (is_due and before.was_public)
    is_new_level = state == "standing" and was[:2] != after[:2]
    return Reckoned(incident_id, state, level, is_changed, is_new_level, is_due)


def _follow(
    session: Session,
    outcome: Iterable[Reckoned],
    before: dict[uuid.UUID, Any],
    touched: dict[uuid.UUID, list[int]],
    *,
    actor: Actor,
    now: datetime,
    public_at: datetime,
) -> None:
    """Approaching levels, the audit and what is to be done later follow what changed; and what has become public."""
    changed = [one for one in outcome if one.is_changed]
    queries.count_changed(session, [one.incident_id for one in changed], now=now)
    after = queries.headers(session, [one.incident_id for one in outcome], now=now, public_at=public_at)
    features: set[int] = set()
    for one in outcome:
        was, this = before.get(one.incident_id), after[one.incident_id]
        features.update(touched.get(one.incident_id, ()))
        is_shown = one.state == "standing" and this.is_public
        if one.is_new_level or was is None or (was.state == "standing") != (one.state == "standing") or is_shown:
            features.update(this.feature_ids or ())
        if one.state == "standing" and this.is_new and public_at > now:
            payload = {"incident_id": str(one.incident_id)}
            outbox.emit(session, TOPIC_FORECAST, payload, now=now, available_at=public_at)
        if one.is_changed or one.is_made_public:
            # What everybody was told of is told from these entries: see atlas.forecasts.
            facts: dict[str, audit.Fact] = {
                "state": one.state,
                "level": one.level,
                "reaches": len(this.feature_ids or ()),
                "was_public": was is not None and was.state == "standing" and was.was_public,
                "is_public": is_shown,
            }
            _record(session, "downstream.reckoned", one.incident_id, actor, now, facts)
    if features:
        queries.refresh_approaching(session, features, now=now)
    for one in outcome:
        was = before.get(one.incident_id)
        was_shown = was is not None and was.state == "standing" and was.is_public
        is_shown = one.state == "standing" and after[one.incident_id].is_public
        # What changed before everybody may know is told when they may; and its end, to those who were told of it.
        if (was_shown or is_shown) and (one.is_changed or one.is_made_public):
            outbox.emit(session, TOPIC_APPROACHING, {"incident_id": str(one.incident_id)}, now=now)


def _record(
    session: Session, action: str, incident_id: uuid.UUID, actor: Actor, now: datetime, facts: dict[str, audit.Fact]
) -> None:
    audit.record(
        session,
        action=action,
        subject_kind="incident",
        subject_id=incident_id,
        actor=actor,
        now=now,
        after=facts,
    )
