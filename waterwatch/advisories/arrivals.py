"""Use cases of what came: whether a report from a warned reach shows that what was expected there had come.

A moderator judges it, whatever else becomes of the report. Kept is the window as it stood then. None commits.
"""

import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.advisories import arrival_queries as queries
from waterwatch.advisories import rules
from waterwatch.advisories.arrival_queries import Arriving
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from waterwatch.reports import queries as report_queries

UNCLEAR = "unclear"  # the picture does not show it: nothing is kept
ANSWERS = (*rules.OUTCOMES, UNCLEAR)


def asked_of(session: Session, report_id: uuid.UUID) -> list[Arriving]:
    """Of which incidents a report may show the arrival, or was found to show it or not. One query."""
    return [one for one in queries.arriving_at(session, report_id) if one.outcome or _may_show(one)]


def judge(
    session: Session, report_id: uuid.UUID, incident_id: uuid.UUID, answer: str, *, actor: Actor, now: datetime
) -> None:
    """Keep what a moderator sees in a report, in place of what was found before; ``unclear`` keeps nothing.

    Raises :class:`Invalid` (``outcome``), :class:`Forbidden` unless a person judges, :class:`Conflict`
    ``nothing_expected``: no forecast says now that it may show it. :class:`NotFound` for an unknown report.
    """
    if answer not in ANSWERS:
        raise Invalid({"outcome": ["choice_unknown" if answer else "missing"]})
    if actor.id is None:
        raise Forbidden("decides_nothing")
    if report_queries.lock_report(session, report_id) is None:
        raise NotFound("report_not_found")
    asked = {one.incident_id: one for one in asked_of(session, report_id)}
    one = asked.get(incident_id)
    if one is None:
        raise Conflict("nothing_expected")
    if answer == (one.outcome or UNCLEAR):
        return
    if answer == UNCLEAR:
        queries.drop_check(session, incident_id, report_id)
    else:
        queries.keep_check(session, _values(one, report_id, answer, actor.id, now))
    # Of the incident, not of the report: of that nothing stays when it is erased.
    audit.record(
        session,
        action="downstream.checked",
        subject_kind="incident",
        subject_id=incident_id,
        actor=actor,
        now=now,
        before={"outcome": one.outcome},
        after={"outcome": None if answer == UNCLEAR else answer},
    )


def _may_show(one: Arriving) -> bool:
    if one.lapses_at is None or one.since is None:
        return False
    return rules.may_show_arrival(one.window, one.lapses_at, one.observed_at, since=one.since)


def _values(one: Arriving, report_id: uuid.UUID, answer: str, person_id: uuid.UUID, now: datetime) -> dict[str, object]:
    missed = rules.missed_by(one.window, one.observed_at) if answer == rules.ARRIVED else None
    return {
        "incident_id": one.incident_id,
        "report_id": report_id,
        "feature_id": one.feature_id,
        "outcome": answer,
        "observed_at": one.observed_at,
        "distance_km": one.distance_km,
        "earliest_at": one.window.earliest,
        "probable_at": one.window.probable,
        "missed_by_s": None if missed is None else missed.total_seconds(),
        "checked_by": person_id,
        "now": now,
    }
