"""Use cases of the queue: hand out, hold, give back, set aside, weigh. None commits.

Only a lease is written by these, but for what :func:`set_aside` and :func:`keep_from` do on behalf of an act of
moderation, whose slice writes the audit.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from waterwatch.agencies.queries import jurisdictions_at
from waterwatch.kernel.errors import Conflict, Invalid
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.triage import queries, rules
from waterwatch.triage.queries import Wanted
from waterwatch.triage.rules import Observed
from waterwatch.triage.tables import DeskView, ModeratorArea
from waterwatch.zones.queries import zones_at

OTHERS_WEIGHED = 10  # beyond ten near reports one more says nothing new
RETURNED_AT_ONCE = 500
MAX_VIEWS = 20
EVERYTHING = Wanted()


def claim_next(
    session: Session, person_id: uuid.UUID, wanted: Wanted = EVERYTHING, *, settings: Settings, now: datetime
) -> uuid.UUID | None:
    """Lease the most urgent waiting report to a moderator; None when nothing waits.

    Assumes a transaction of its own: it is committed without waiting for the disk.
    """
    return queries.claim(session, person_id, wanted, until=_until(settings, now), now=now)


def resume_or_claim(
    session: Session,
    person_id: uuid.UUID,
    wanted: Wanted = EVERYTHING,
    *,
    but: Sequence[uuid.UUID],
    settings: Settings,
    now: datetime,
) -> uuid.UUID | None:
    """As :func:`claim_next`, but first what a moderator still holds and has no longer before them.

    ``but``: what they have before them. Browsers do not always say that a page was closed, and nobody else gets what it
    held until the lease runs out.
    """
    found = queries.left_over(session, person_id, wanted, but=but, now=now)
    if found is not None and hold(session, found, person_id, settings=settings, now=now):
        return found
    return claim_next(session, person_id, wanted, settings=settings, now=now)


def hold(session: Session, report_id: uuid.UUID, person_id: uuid.UUID, *, settings: Settings, now: datetime) -> bool:
    """Lease one report by name, or renew one's own lease. False when another moderator holds it, or must decide."""
    return held_since(session, report_id, person_id, settings=settings, now=now) is not None


def held_since(
    session: Session, report_id: uuid.UUID, person_id: uuid.UUID, *, settings: Settings, now: datetime
) -> datetime | None:
    """As :func:`hold`: since when this moderator has had the report without a break, or None."""
    return queries.hold(session, report_id, person_id, until=_until(settings, now), now=now)


def release(session: Session, report_id: uuid.UUID, person_id: uuid.UUID) -> None:
    """Give a report back to the queue. One that somebody else holds is left alone."""
    queries.release(session, person_id, report_id)


def set_aside(session: Session, report_id: uuid.UUID, reason: str, *, until: datetime | None = None) -> None:
    """Take a report out of the order, for the lead or while its author is asked. Raises ``not_in_review``."""
    if not queries.set_aside(session, report_id, reason, until=until):
        raise Conflict("not_in_review")


def put_back(session: Session, report_id: uuid.UUID) -> None:
    """Return a report to the order. Raises ``not_in_review``."""
    if not queries.set_aside(session, report_id, None, until=None):
        raise Conflict("not_in_review")


def put_back_if(session: Session, report_id: uuid.UUID, reason: str) -> bool:
    """Return a report to the order where it was set aside for ``reason``; whether it was. Idempotent."""
    return queries.put_back_if(session, report_id, reason)


def put_back_due(session: Session, *, now: datetime) -> int:
    """Return to the order what was set aside until now: its author did not answer. Idempotent."""
    return len(queries.put_back_due(session, now=now, limit=RETURNED_AT_ONCE))


def keep_from(session: Session, report_id: uuid.UUID, person_id: uuid.UUID) -> None:
    """See that somebody else decides: an appeal is never judged by whoever is appealed against."""
    queries.keep_from(session, report_id, person_id)


def weigh(session: Session, report_id: uuid.UUID) -> None:
    """Find out how urgent a report under review is, and of which area; and, by it, those beside it. Idempotent.

    Assumes that its likes have been proposed in the same transaction, or before.
    """
    if _weigh_one(session, report_id):
        for other_id in queries.near_others(session, report_id, limit=OTHERS_WEIGHED):
            _weigh_one(session, other_id)


def keep_view(session: Session, person_id: uuid.UUID, name: str, wanted: Wanted, *, now: datetime) -> DeskView:
    """Keep a view under a name. Raises :class:`Invalid` ``name`` missing, too_long, taken, or too_many."""
    name = " ".join(name.split())
    views = queries.views_of(session, person_id)
    fault = "missing" if not name else "too_long" if len(name) > 40 else None
    if fault is None and any(view.name == name for view in views):
        fault = "taken"
    if fault is None and len(views) >= MAX_VIEWS:
        fault = "too_many"
    if fault is not None:
        raise Invalid({"name": [fault]})
    area_code = wanted.area_codes[0] if wanted.area_codes else None
    view = DeskView(
        id=new_id(),
        person_id=person_id,
        name=name,
        area_code=area_code,
        water_body_id=wanted.water_body_id,
        kind=wanted.kind,
        created_at=now,
    )
    session.add(view)
    session.flush()
    return view


def drop_view(session: Session, view_id: uuid.UUID, person_id: uuid.UUID) -> None:
    """Forget one's own view. Raises :class:`NotFound`."""
    session.delete(queries.own_view(session, view_id, person_id))


def choose_areas(session: Session, person_id: uuid.UUID, area_codes: tuple[str, ...]) -> None:
    """Say which areas a moderator works for; none for the whole country. Assumes codes that exist."""
    session.execute(delete(ModeratorArea).where(ModeratorArea.person_id == person_id))
    session.add_all(ModeratorArea(person_id=person_id, area_code=code) for code in sorted(set(area_codes)))


def observed(session: Session, report_id: uuid.UUID) -> Observed | None:
    """What is known of a report under review that the rubric weighs; None for any other."""
    found = _observed(session, report_id)
    return None if found is None else found[0]


def _observed(session: Session, report_id: uuid.UUID) -> tuple[Observed, float, float] | None:
    found = queries.weighed(session, report_id)
    if found is None:
        return None
    seen, lon, lat = found
    zones = zones_at(session, lon, lat, within_m=rules.ZONE_NEAR_M)
    return replace(seen, zone_kinds=tuple(zone.kind for zone in zones)), lon, lat


def _weigh_one(session: Session, report_id: uuid.UUID) -> bool:
    session.flush()
    found = _observed(session, report_id)
    if found is None:
        return False
    seen, lon, lat = found
    result = rules.urgency(seen)
    areas = jurisdictions_at(session, lon, lat)
    queries.weigh(
        session, report_id, result.rank, result.points, json.dumps(result.hints), areas[0].code if areas else None
    )
    return True


def _until(settings: Settings, now: datetime) -> datetime:
    return now + timedelta(seconds=settings.review_lease_s)
