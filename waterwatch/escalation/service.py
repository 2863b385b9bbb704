"""Use cases of escalation: one case for each competent agency, as many letters as it has addresses, and its word.

How a letter is handed over is in ``deliveries``.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.agencies.queries import CompetentAgency
from waterwatch.escalation import alarms, clocks, letters, queries, rules, unheard_queries
from waterwatch.escalation.delivery_queries import Reach, Way, reach_of
from waterwatch.escalation.letters import Telling
from waterwatch.escalation.routing import Spot, route
from waterwatch.escalation.tables import Case
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.gathering import put
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service as mapping

TOPIC_DELIVER, TOPIC_CALL = letters.TOPIC_DELIVER, letters.TOPIC_CALL
TOPIC_CASE_MOVED = "escalation.case_moved"

SYSTEM = Actor.system("escalation")
_SAYS_FIRST = {"competent": "case", "supervising": "overdue", rules.DOWNSTREAM: "warning"}
_TOLD_AGAIN = (*alarms.ALARMING, "queued")  # where an address that came to be known is told
log = get_logger(__name__)


def escalate(
    session: Session,
    incident_id: uuid.UUID,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    tell_at: datetime | None = None,
    is_correction: bool = False,
    opened: queries.Place | None = None,
    again_for: frozenset[uuid.UUID] = frozenset(),
) -> list[Case]:
    """Make sure every agency competent for the incident has one case, and the case one delivery for each address.

    Idempotent: called again, e.g. after a new grade, it adds what is missing, corrects the severity, and sends
    nothing twice. That it was warned of what comes down the river is another case.
    An agency without a usable address, or a place for which nobody is competent, gets a case
    ``no_contact``: in the audit, in the log, shown to moderators and the public. Returns the incident's cases, without
    those of agencies that are only warned.
    ``tell_at``: no letter leaves before; None: at once. ``is_correction``: a higher severity was an error, and whoever
    was told of it is told so. A case that was withdrawn comes back: the incident was, too.
    ``again_for``: of these agencies, cases that reached nobody are told also to addresses whose letters failed.
    ``opened``: the place of an incident that this transaction opened. Nobody else sees it yet, so it has no cases.

    Raises:
        NotFound: there is no such incident.
    """
    place = opened or queries.lock_place(session, incident_id)
    known = {} if opened else queries.cases_by_agency(session, incident_id)
    cases = list(known.values())
    telling = Telling(settings, now, tell_at or now)
    for case in known.values():
        _regrade(session, case, place.severity, telling, is_correction=is_correction, actor=actor)
        if case.state == "withdrawn" and case.agency_id is None:
            say_no_contact(session, case, "nobody_competent", settings=settings, actor=actor, now=now)
    agencies = _competent(session, place)
    reaches = reach_of(session, [*(agency.agency_id for agency in agencies), *again_for])
    for agency in agencies:
        is_known = agency.agency_id in known or None in known
        if is_known:  # else the one that says that nobody was competent until now
            case = known.pop(agency.agency_id if agency.agency_id in known else None)
        else:
            case = open_case(
                session, incident_id, agency.agency_id, place.severity, settings=settings, actor=actor, now=now
            )
            cases.append(case)
        found = Found(agency.agency_id, agency.addresses, reaches.get(agency.agency_id), agency.agency_id in again_for)
        address(session, case, found, telling, actor=actor, is_known=is_known)
    if not agencies and not known:
        case = open_case(session, incident_id, None, place.severity, settings=settings, actor=actor, now=now)
        say_no_contact(session, case, "nobody_competent", settings=settings, actor=actor, now=now)
        cases.append(case)
    for case in known.values():
        _come_back(session, case, telling, actor=actor)
        if case.agency_id is None or case.agency_id not in again_for or case.state not in _TOLD_AGAIN:
            continue
        if queries.is_known_agency(session, case.agency_id):  # it was handed on, or supervises
            found = Found(case.agency_id, (), reaches.get(case.agency_id), is_again=True)
            address(session, case, found, telling, actor=actor, is_known=True)
    session.flush()
    return cases


@dataclass(frozen=True)
class Found:
    """An agency to be told, by what ways; ``is_again``: also by those by which it could not be. ``is_once_rehearsed``:
    not by those by which that was rehearsed already."""

    agency_id: uuid.UUID
    addresses: tuple[str, ...]
    reach: Reach | None
    is_again: bool
    is_once_rehearsed: bool = False


def _come_back(session: Session, case: Case, telling: Telling, *, actor: Actor) -> None:
    """A withdrawn case nobody would be told of at this level: it stands where it stood unless they know."""
    if case.state not in ("withdrawn", "closed") or case.agency_id is None:
        return
    letters.cancel_withdrawals(session, case, now=telling.now)
    if case.state != "withdrawn":
        return
    so_far = queries.addressed(session, case.id).values()
    if letters.is_still_had(session, case):
        reach = reach_of(session, [case.agency_id]).get(case.agency_id)
        is_known = queries.is_known_agency(session, case.agency_id)
        found = Found(case.agency_id, (), reach if is_known else None, is_again=False)
        address(session, case, found, telling, actor=actor, is_known=True)
    elif so_far and all(each.is_live for each in so_far):
        _reinstate(session, case, settings=telling.settings, actor=actor, now=telling.now)


def _competent(session: Session, place: queries.Place) -> list[CompetentAgency]:
    """Who must be told, river chiefs among their addresses."""
    spot = Spot(
        place.lon, place.lat, place.kind, place.severity, place.water_feature_id, place.water_lon, place.water_lat
    )
    return list(route(session, spot).agencies)


def open_case(
    session: Session,
    incident_id: uuid.UUID,
    agency_id: uuid.UUID | None,
    severity: int,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    role: str = "competent",
) -> Case:
    """A case of an incident for one agency, ``queued``, nobody told yet; ``no_contact`` where there is no agency."""
    case = Case(id=new_id(), incident_id=incident_id, agency_id=agency_id, severity=severity, created_at=now, role=role)
    rules.case_life(settings).enter(case, now=now)
    if agency_id is None:
        rules.case_life(settings).move(case, "no_contact", now=now)  # the row may exist in no other state
    put(session, case)
    session.flush()
    facts: dict[str, audit.Fact] = {"incident_id": incident_id, "agency_id": agency_id, "severity": severity}
    record(session, "case.opened", case, actor=actor, now=now, after=facts)
    return case


def address(
    session: Session,
    case: Case,
    agency: Found,
    telling: Telling,
    *,
    actor: Actor,
    is_known: bool,
) -> bool:
    """Give the case its agency and a letter for each of its contacts that has none yet, as the agency wants it. Whether
    there was any."""
    settings, now = telling.settings, telling.now
    if case.state in ("withdrawn", "closed"):
        letters.cancel_withdrawals(session, case, now=now)
    if case.state not in ("queued", "no_contact", "dead", "withdrawn"):
        return False
    if case.agency_id is None:
        case.agency_id = agency.agency_id
        record(session, "case.assigned", case, actor=actor, now=now, after={"agency_id": agency.agency_id})
    so_far = queries.addressed(session, case.id) if is_known else {}
    is_again = agency.is_again and case.state in alarms.ALARMING
    usable, missing = _missing(agency, so_far, role=case.role, is_again=is_again)
    if not usable and (not is_known or unheard_queries.is_hopeless(session, case.id)):
        reason = "warning_no_address" if case.role == rules.DOWNSTREAM else "no_address"
        say_no_contact(session, case, reason, settings=settings, actor=actor, now=now)
    if case.state == "withdrawn" and (not missing or letters.is_still_had(session, case)):
        _reinstate(session, case, settings=settings, actor=actor, now=now)
    elif missing and case.state != "queued":
        clocks.reset(case)  # they are told anew; whatever was promised before was promised by nobody
        before = rules.case_life(settings).move(case, "queued", now=now)
        facts: dict[str, audit.Fact] = {"state": "queued", "agency_id": agency.agency_id}
        record(session, "case.queued", case, actor=actor, now=now, before={"state": before}, after=facts)
    says = _SAYS_FIRST[case.role]
    for way in missing:
        before_it = so_far.get((way.channel, way.address))
        number = before_it.number + 1 if before_it else 1
        letters.queue(session, case, way, telling, number=number, reach=agency.reach, says=says)
    return bool(missing)


def _missing(
    agency: Found, so_far: Mapping[tuple[str, str], queries.Addressed], *, role: str, is_again: bool = False
) -> tuple[list[Way], list[Way]]:
    """All that can be told now, and those of them that have no letter yet that stands.

    Where one contact is told after the other and one has the case, the others need not be. Paper is for when there is
    nothing else, or all else has failed (:func:`letters.rank`). ``is_again``: a letter that failed is none.
    """
    reach = agency.reach
    contacts, others = letters.usable_ways(reach, agency.addresses, role=role)

    def has_letter(way: Way) -> bool:
        found = so_far.get((way.channel, way.address))
        if found is not None and found.was_rehearsed and agency.is_once_rehearsed:
            return True
        return found is not None and found.is_live and not (is_again and found.has_failed)

    missing = [way for way in contacts if not has_letter(way)]
    for last in letters.LAST_RANKS:
        tried = [so_far.get((way.channel, way.address)) for way in contacts + others if letters.rank(way, role) < last]
        if any(found is None or not found.has_failed for found in tried):
            missing = [way for way in missing if letters.rank(way, role) < last]
            break
    if reach is not None and reach.channels_in == "order":
        in_hand = [so_far[way.channel, way.address] for way in contacts if has_letter(way)]
        missing = [] if any(not found.has_failed for found in in_hand) else missing[:1]
    return contacts + others, missing + [way for way in others if not has_letter(way)]


def _reinstate(session: Session, case: Case, *, settings: Settings, actor: Actor, now: datetime) -> None:
    """Nobody has heard of the withdrawal: the case stands where it stood."""
    rules.case_life(settings).move(case, "queued", now=now)
    if case.delivered_at is not None:
        rules.CASE.move(case, "delivered", now=now)
    if case.acknowledged_at is not None:
        rules.CASE.move(case, "acknowledged", now=now)
    if case.answered_at is not None:
        rules.CASE.move(case, "answered", now=now)
    if case.state != "queued":  # that one is to be handed over first
        clocks.run(case)
    facts: dict[str, audit.Fact] = {"state": case.state}
    record(session, "case.reinstated", case, actor=actor, now=now, before={"state": "withdrawn"}, after=facts)


def say_no_contact(
    session: Session, case: Case, reason: str, *, settings: Settings, actor: Actor, now: datetime
) -> None:
    """Nobody can be told: the case is ``no_contact``, loudly. Where that was said of an agency before, nothing."""
    if case.state in ("queued", "withdrawn"):
        rules.case_life(settings).move(case, "no_contact", now=now)
    elif case.agency_id is not None:
        return  # said when it happened
    facts: dict[str, audit.Fact] = {"state": case.state, "reason": reason, "severity": case.severity}
    record(session, "case.no_contact", case, actor=actor, now=now, after=facts)
    log.error("case.no_contact", case_id=str(case.id), incident_id=str(case.incident_id), reason=reason)
    alarms.raise_alarm(session, case.id, reason, since=case.state_since, now=now)


def _regrade(
    session: Session, case: Case, severity: int, telling: Telling, *, is_correction: bool, actor: Actor
) -> None:
    """The case follows its incident. Who was told a lower severity is told the higher one by a letter of its own."""
    if case.severity == severity:
        return
    before, now = case.severity, telling.now
    case.severity = severity
    if case.state in ("withdrawn", "refused_not_ours"):
        pass  # its letters say so, and when it comes back those of then; who refused it is told nothing further
    elif severity > before:
        letters.tell_raised(session, case, telling)
    else:
        letters.lower(session, case, telling, is_correction=is_correction)
    if severity < before and case.state in clocks.OWED:
        clocks.lengthen(session, case)
    facts = {"severity": severity}
    record(session, "case.regraded", case, actor=actor, now=now, before={"severity": before}, after=facts)


def cancel_waiting(session: Session, case: Case, *, says: str, now: datetime) -> bool:
    """Cancel a case's letters of a kind that nobody has tried to send; False where one may have gone: then none is."""
    session.flush()
    waiting = [one for letters in queries.letters_of(session, case.id).values() for one in letters if one.says == says]
    latest = [one for one in waiting if one.state in ("pending", "sending", "sent", "awaiting")]
    fresh = [one for one in latest if one.created_at >= case.state_since]
    if any(one.state != "pending" or one.attempts for one in fresh):
        return False
    for one in fresh:
        rules.DELIVERY.move(one, "cancelled", now=now)
    session.flush()
    return True


def withdraw_cases(
    session: Session,
    incident_id: uuid.UUID,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    tell_at: datetime | None = None,
) -> list[Case]:
    """The incident was taken back: so are its cases. Idempotent. Returns those that were withdrawn now.

    A letter nobody has tried to send is cancelled. Whoever may have got one is told by a further letter, which goes at
    ``tell_at``, or at once. A case its agency has closed stays closed, and its agency is told all the same. Who is
    only warned is told as the forecast ends.

    Raises:
        NotFound: there is no such incident.
    """
    queries.lock_place(session, incident_id)
    telling, withdrawn = Telling(settings, now, tell_at or now), []
    for case in queries.cases_by_agency(session, incident_id).values():
        if case.state == "withdrawn":
            continue
        if case.state == "closed":
            letters.take_back(session, case, telling)
            continue
        before = rules.CASE.move(case, "withdrawn", now=now)
        clocks.stop(case)
        letters.take_back(session, case, telling)
        facts: dict[str, audit.Fact] = {"state": "withdrawn", "incident_id": incident_id}
        record(session, "case.withdrawn", case, actor=actor, now=now, before={"state": before}, after=facts)
        withdrawn.append(case)
    session.flush()
    return withdrawn


def queue_letter(
    session: Session,
    case: Case,
    *,
    says: str,
    settings: Settings,
    now: datetime,
    tell_at: datetime | None = None,
    actor: Actor = SYSTEM,
) -> int:
    """Tell the case's agency something further: ``reminder``, ``overdue``, ``reopened``, ``lowered``. Returns to how
    many addresses.

    Whoever has got the case gets it. Where nobody has yet, the agency's contacts are told as of a new case, and where
    it has none, that is said as loudly. Not idempotent: whoever calls it sees to it that it is said once.
    """
    telling = Telling(settings, now, tell_at or now)
    session.flush()
    queued = letters.follow_up(session, case, says, telling)
    if queued or case.agency_id is None:
        return queued
    so_far = queries.addressed(session, case.id)
    if any(each.is_live and not each.has_failed for each in so_far.values()):
        return 0  # the first letter still waits, and tells it
    reach = reach_of(session, [case.agency_id]).get(case.agency_id)
    for way in letters.first_ways(reach, ()):
        before = so_far.get((way.channel, way.address))
        letters.queue(session, case, way, telling, number=before.number + 1 if before else 1, reach=reach, says=says)
        queued += 1
    if not queued and case.state in ("queued", "withdrawn"):
        say_no_contact(session, case, "no_address", settings=settings, actor=actor, now=now)
    return queued


def untried_ways(session: Session, case: Case) -> list[Way]:
    """The contacts of a case's agency that can be used and have had no letter of it, or none that stands."""
    if case.agency_id is None:
        return []
    so_far = queries.addressed(session, case.id)
    ways, _others = letters.usable_ways(reach_of(session, [case.agency_id]).get(case.agency_id))
    return [way for way in ways if (found := so_far.get((way.channel, way.address))) is None or not found.is_live]


@dataclass(frozen=True)
class Acknowledgement:
    """When the agency acknowledged; ``is_new`` is False when it had before."""

    at: datetime
    is_new: bool


def acknowledge(session: Session, case_id: uuid.UUID, *, actor: Actor, now: datetime) -> Acknowledgement:
    """The agency says it has the case. Idempotent: the first time counts.

    Raises:
        NotFound: there is no such case.
        IllegalMove: the case is in no state that can be acknowledged, e.g. nobody was ever told of it.
    """
    case = queries.locked_case(session, case_id)
    if case.acknowledged_at is not None:
        return Acknowledgement(case.acknowledged_at, is_new=False)
    before = case.state
    begin_if_lost(case, now=now)
    rules.CASE.move(case, "acknowledged", now=now)
    case.acknowledged_at = now
    clocks.begin(session, case, now=now)  # whoever says so has received it, even if we do not know of that yet
    say_moved(session, case, now=now)
    mapping.request_publication(session, now=now)  # the map tells how far the answer has come
    facts = {"state": "acknowledged"}
    record(session, "case.acknowledged", case, actor=actor, now=now, before={"state": before}, after=facts)
    return Acknowledgement(now, is_new=True)


def begin_if_lost(case: Case, *, now: datetime) -> None:
    """A case that was thought to have reached nobody has: it is ``queued`` again, and nothing of before counts."""
    if case.state == "dead" or (case.state == "no_contact" and case.agency_id is not None):
        clocks.reset(case)
        rules.CASE.move(case, "queued", now=now)


def say_moved(session: Session, case: Case, *, now: datetime) -> None:
    """Those whose reports the case rests on may want to know; most have left no way to tell them."""
    if queries.is_anybody_told(session, case.incident_id):
        say_moved_now(session, case, now=now)


def say_moved_now(session: Session, case: Case, *, now: datetime) -> None:
    """As :func:`say_moved`, where it is known that one of them does. That somebody was warned is none of it."""
    if case.role == rules.DOWNSTREAM:
        return
    outbox.emit(session, TOPIC_CASE_MOVED, {"case_id": str(case.id), "state": case.state}, now=now)


def record(
    session: Session,
    action: str,
    case: Case,
    *,
    actor: Actor,
    now: datetime,
    before: Mapping[str, audit.Fact] | None = None,
    after: Mapping[str, audit.Fact] | None = None,
) -> None:
    """Put on record what was done to a case."""
    audit.record(
        session,
        action=action,
        subject_kind="case",
        subject_id=case.id,
        actor=actor,
        now=now,
        before=before,
        after=after,
    )
