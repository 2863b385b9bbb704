"""Whoever answers for waters below an incident is warned of it, once, and told when that changes or is over.

Nothing is asked of them but to look: their cases have the role ``downstream``, and no clock of these runs.
"""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from waterwatch.escalation import clocks, letters, queries, rules, service, warning_queries
from waterwatch.escalation.delivery_queries import Reach, reach_of
from waterwatch.escalation.letters import Telling
from waterwatch.escalation.rules import DOWNSTREAM
from waterwatch.escalation.service import Found
from waterwatch.escalation.tables import Case, CaseStretch, Delivery
from waterwatch.escalation.warning_queries import Stretch
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.gathering import gathered, put
from waterwatch.kernel.settings import Settings

# Ours: what comes so much sooner, or reaches so much farther, than was told is told; and nobody gets more such letters
# than one an hour. That it has become graver does not wait.
SOONER: Final = timedelta(hours=1)
FARTHER_KM: Final = 10.0
PAUSE: Final = timedelta(hours=1)
_GOING: Final = frozenset({"sending", "sent", "awaiting"})


def follow(
    session: Session,
    incident_id: uuid.UUID,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    again_for: frozenset[uuid.UUID] = frozenset(),
) -> list[Case]:
    """Let who is warned follow from an incident's forecast: agencies where it is expected, and who runs intakes there.

    Each has one case with the role ``downstream`` and a letter by each of its ways, whether or not it has another one
    of the incident itself: that says nothing of when its waters below are reached. They are told when level or kind
    change, or it may come clearly sooner or farther than they know, or to other waters or zones; and when nothing is
    expected any more, whoever may have been warned is told that. Idempotent. One that cannot be reached is loud to the
    leads: somebody must phone. Who was warned stays so while it is expected on its reaches, whatever it is competent
    for by now. ``again_for``: of these agencies, also addresses that failed.
    Returns the cases of those who are warned now.

    Raises:
        NotFound: there is no such incident.
    """
    place = queries.lock_place(session, incident_id)
    standing = warning_queries.standing(session, incident_id)
    known = queries.warnings_by_agency(session, incident_id)
    kept = warning_queries.kept_stretches(session, {case.id for case in known.values()})
    wanted: dict[uuid.UUID, Stretch] = {}
    if standing is not None:
        warned = {
            agency_id: kept[case.id].feature_ids
            for agency_id, case in known.items()
            if case.state != "withdrawn" and case.id in kept
        }
        wanted = warning_queries.concerned(session, incident_id, place.kind, standing.level, warned=warned, now=now)
    reaches, telling, cases = reach_of(session, list(wanted)), Telling(settings, now, now), list[Case]()
    with gathered(session):
        for agency_id, stretch in wanted.items():
            found = Found(agency_id, (), reaches.get(agency_id), agency_id in again_for)
            case = known.get(agency_id)
            level = standing.level if standing is not None else 0
            if case is None:
                case = _warn(session, incident_id, found, stretch, level, telling, actor=actor)
            else:
                _warn_anew(session, case, found, stretch, kept.get(case.id), level, telling, actor=actor)
            cases.append(case)
        for case in known.values():
            if case.agency_id not in wanted:
                _end(session, case, telling, actor=actor)
    return cases


def _warn(
    session: Session,
    incident_id: uuid.UUID,
    found: Found,
    stretch: Stretch,
    level: int,
    telling: Telling,
    *,
    actor: Actor,
) -> Case:
    case = service.open_case(
        session,
        incident_id,
        found.agency_id,
        level,
        settings=telling.settings,
        actor=actor,
        now=telling.now,
        role=DOWNSTREAM,
    )
    put(session, _made(case, stretch))
    service.address(session, case, found, telling, actor=actor, is_known=False)
    return case


def _made(case: Case, stretch: Stretch) -> CaseStretch:
    return CaseStretch(
        case_id=case.id,
        feature_ids=list(stretch.feature_ids),
        zone_ids=list(stretch.zone_ids),
        first_at=stretch.first_at,
        told_km=stretch.farthest_km,
        told_zone_ids=list(stretch.zone_ids),
        told_water_ids=list(stretch.water_ids),
        told_kind=stretch.kind,
    )


def _warn_anew(
    session: Session,
    case: Case,
    found: Found,
    stretch: Stretch,
    kept: CaseStretch | None,
    level: int,
    telling: Telling,
    *,
    actor: Actor,
) -> None:
    """Somebody who was warned before: what is new is told, to whoever was not told at all as well."""
    is_news = _is_sooner(kept, stretch) or _is_more(kept, stretch)
    is_to_rehearse = is_news or found.is_again or case.severity != level
    if case.severity != level:
        before, case.severity = case.severity, level
        facts: dict[str, audit.Fact] = {"severity": level}
        service.record(
            session, "case.regraded", case, actor=actor, now=telling.now, before={"severity": before}, after=facts
        )
    found = replace(found, is_once_rehearsed=bool(telling.settings.staging_mail) and not is_to_rehearse)
    is_written = service.address(session, case, found, telling, actor=actor, is_known=True)
    is_again = found.is_again and not is_written
    is_told, are_left = _update(session, case, found.reach, telling, is_news=is_news, is_again=is_again)
    if kept is None:
        put(session, _made(case, stretch))
        return
    kept.feature_ids, kept.zone_ids = list(stretch.feature_ids), list(stretch.zone_ids)
    if (is_told or is_written) and not are_left:
        kept.first_at, kept.told_km = stretch.first_at, stretch.farthest_km
        kept.told_zone_ids, kept.told_water_ids = list(stretch.zone_ids), list(stretch.water_ids)
        kept.told_kind = stretch.kind


def _is_sooner(kept: CaseStretch | None, stretch: Stretch) -> bool:
    """Whether it may come clearly sooner than was told, or it is known only now when."""
    if kept is None or stretch.first_at is None:
        return False
    return kept.first_at is None or stretch.first_at < kept.first_at - SOONER


def _is_more(kept: CaseStretch | None, stretch: Stretch) -> bool:
    """Whether it may reach clearly farther than was told, or a zone, e.g. an intake, or a water not told of; or it is
    of another kind."""
    if kept is None:
        return False
    if kept.told_kind != stretch.kind:
        return True
    new_zones = set(stretch.zone_ids) - set(kept.told_zone_ids)
    new_waters = set(stretch.water_ids) - set(kept.told_water_ids)
    return bool(new_zones or new_waters) or round(stretch.farthest_km - kept.told_km, 1) >= FARTHER_KM


def _update(
    session: Session, case: Case, reach: Reach | None, telling: Telling, *, is_news: bool, is_again: bool
) -> tuple[bool, bool]:
    """One further letter to each address that was told something else. Whether any tells, or will tell, what holds now;
    and whether others are left who know only what they were told before.

    A letter that still waits tells what holds when it goes. Where the latest letter to an address failed, somebody was
    told to phone: no other follows it, unless it is asked for (``is_again``).
    """
    is_told = are_left = False
    for each in queries.letters_of(session, case.id).values():
        standing = _standing(each)
        waiting = [letter for letter in standing if letter.state == "pending"]
        told = [letter for letter in standing if letter.state in _GOING]
        if waiting:
            is_told = True
            _correct(session, case, waiting[-1], told, reach, telling)
        elif told and _is_due(standing[-1], told[-1], case, is_news=is_news, is_again=is_again):
            before, last_at = told[-1].severity, told[-1].created_at
            raised_from = before if case.severity > before else None
            at = telling.now if raised_from is not None else max(telling.now, last_at + PAUSE)
            later = Telling(telling.settings, telling.now, at)
            number = each[-1].number + 1
            way = letters.way_of(each[-1])
            letters.queue(session, case, way, later, number=number, raised_from=raised_from, says="warning")
            is_told = True
        elif told and standing[-1].state in _GOING:
            are_left = True
    return is_told, are_left


def _is_due(latest: Delivery, told: Delivery, case: Case, *, is_news: bool, is_again: bool) -> bool:
    """Whether an address is to have a further letter: ``told`` is the latest that it has got, or may be getting."""
    if latest.state not in _GOING:
        return is_again
    return is_news or told.severity != case.severity


def _standing(sent: list[Delivery]) -> list[Delivery]:
    """An address's letters since it was told last that it is over, without those that were cancelled."""
    live = [letter for letter in sent if letter.state != "cancelled"]
    since = max((number + 1 for number, one in enumerate(live) if one.says in rules.TAKES_BACK), default=0)
    return live[since:]


def _correct(
    session: Session, case: Case, letter: Delivery, told: list[Delivery], reach: Reach | None, telling: Telling
) -> None:
    """A letter that waits is of the level that holds now; one that has become graver than what was told goes at once,
    though it was milder, or of something else, when it was put off."""
    before = letter.severity
    if before == case.severity:
        return
    letter.severity = case.severity
    is_graver = not told or told[-1].severity < case.severity
    letter.raised_from = told[-1].severity if told and is_graver else None
    if case.severity <= before:
        return
    letters.hurry(session, letter, case, telling, reach)
    if is_graver and not letter.attempts and letter.due_at > telling.now:
        letters.go_now(session, letter, case, telling)


def _end(session: Session, case: Case, telling: Telling, *, actor: Actor) -> None:
    """Nothing of it is expected in its area any more: what waits goes no more; whoever may have been warned is told."""
    if case.state == "withdrawn":
        return
    before = rules.CASE.move(case, "withdrawn", now=telling.now)
    clocks.stop(case)
    letters.take_back(session, case, telling, says="warning_over")
    facts: dict[str, audit.Fact] = {"state": "withdrawn", "incident_id": case.incident_id}
    service.record(
        session, "case.warning_over", case, actor=actor, now=telling.now, before={"state": before}, after=facts
    )
