"""A case goes on to another agency: it was not this one's business, or its superior is told what it missed."""

import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.escalation import clocks, letters, queries, rules
from waterwatch.escalation.service import open_case, queue_letter, record, say_no_contact, untried_ways
from waterwatch.escalation.tables import Case
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings

_UNTOLD = ("withdrawn", "no_contact", "dead")  # states of a case whose agency is to be told anew


def reroute(
    session: Session,
    case: Case,
    suggested_agency_id: uuid.UUID | None,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> Case | None:
    """A case was refused as not the agency's: it goes to the agency named, else to one of its kind a level up.

    Never to one that refused the incident, nor to one whose letters of it have all failed, unless it has an address
    that was not tried. Whoever has it already need not be told again; the case it has is returned. Where nobody is
    left, the incident gets a case ``no_contact``: None, loudly. Assumes that the caller holds the incident's lock
    and has moved ``case`` to ``refused_not_ours``.
    """
    session.flush()
    known = queries.cases_by_agency(session, case.incident_id)
    for agency_id in queries.next_agencies(session, case.agency_id, suggested_agency_id):
        held = known.get(agency_id)
        if held is not None and not _may_take(session, held):
            continue
        if held is not None and held.state not in _UNTOLD:
            if held.role == "supervising":
                held.role, held.supervises_id = "competent", None
                _ask_anew(session, held, "case", settings=settings, now=now)
            facts: dict[str, audit.Fact] = {"agency_id": agency_id, "case_id": held.id}
            record(session, "case.rerouted", case, actor=actor, now=now, after=facts)
            return held
        opened = _hand_on(session, case, agency_id, held, "case", settings=settings, actor=actor, now=now)
        facts = {"agency_id": agency_id, "case_id": opened.id, "state": opened.state}
        record(session, "case.rerouted", case, actor=actor, now=now, after=facts)
        if opened.state != "no_contact":
            return opened
    nobody = known.get(None)
    if nobody is None:
        nobody = open_case(session, case.incident_id, None, case.severity, settings=settings, actor=actor, now=now)
    elif nobody.state == "withdrawn":
        rules.CASE.move(nobody, "no_contact", now=now)
    say_no_contact(session, nobody, "all_refused", settings=settings, actor=actor, now=now)
    return None


def inform_superior(session: Session, case: Case, *, settings: Settings, actor: Actor, now: datetime) -> Case | None:
    """The agency of ``case`` missed a deadline: the nearest one above it that can be reached gets a case, supervising.

    One that has a case of the incident already is told so by a letter of it. None where nobody is above, or none of
    them can be reached: a person must be told. Assumes that the caller holds the incident's lock.
    """
    session.flush()
    known = queries.cases_by_agency(session, case.incident_id)
    for agency_id in queries.superiors_of(session, case.agency_id):
        held = known.get(agency_id)
        if held is not None and not _may_take(session, held):
            continue
        if held is not None and held.state not in _UNTOLD:
            watched = next((one for one in known.values() if one.id == held.supervises_id), None)
            if watched is not None and held.state in clocks.OWED and _is_free(held, watched, case, now=now):
                held.supervises_id = case.id
                _ask_anew(session, held, "overdue", settings=settings, now=now)
            else:
                queue_letter(session, held, says="overdue", settings=settings, now=now)
            return held
        opened = _hand_on(session, case, agency_id, held, "overdue", settings=settings, actor=actor, now=now)
        if opened.state != "no_contact":
            return opened
    return None


def _is_free(held: Case, watched: Case, case: Case, *, now: datetime) -> bool:
    """Whether what a superior was asked to see to is done, or its agency has time again: it sees to ``case`` now."""
    if held.state_deadline_at is None:
        return True
    due_at = watched.state_deadline_at if watched.state in clocks.OWED else None
    return watched is not case and (due_at is None or due_at > now)


def _ask_anew(session: Session, held: Case, says: str, *, settings: Settings, now: datetime) -> None:
    """Whoever has a case of the incident owes something else in it from now on, and is told so.

    A first letter that nobody has tried yet says that instead; one that was tried may have arrived, and is followed by
    another. Who has said that it is done is asked nothing.
    """
    if held.state == "closed":
        return
    if held.state in clocks.OWED:
        clocks.start_anew(session, held, since=now)
    if queue_letter(session, held, says=says, settings=settings, now=now):
        return
    telling, reach = letters.Telling(settings, now, now), None
    if held.agency_id is not None:
        reach = letters.reach_of_each(session, [held.agency_id]).get(held.agency_id)
    for each in queries.letters_of(session, held.id).values():
        last = each[-1]
        if last.state != "pending" or last.says == says:
            continue
        if last.attempts:
            letters.queue(session, held, letters.way_of(last), telling, number=last.number + 1, reach=reach, says=says)
        else:
            last.says = says


def _may_take(session: Session, held: Case) -> bool:
    """Whether an agency that has a case of the incident can take this one, too."""
    if held.state == "dead":
        return bool(untried_ways(session, held))
    return held.state != "refused_not_ours"


def _hand_on(
    session: Session,
    case: Case,
    agency_id: uuid.UUID,
    held: Case | None,
    says: str,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> Case:
    """A case of this incident for another agency, with its letters; ``no_contact`` where it has no usable contact."""
    made = held
    if made is None:
        made = open_case(session, case.incident_id, agency_id, case.severity, settings=settings, actor=actor, now=now)
        if says == "overdue":
            made.role, made.supervises_id = "supervising", case.id
    else:
        clocks.reset(made)  # whatever it said of it, or missed, it is told anew
        rules.case_life(settings).move(made, "queued", now=now)
        made.severity = case.severity
        if says == "case":
            made.role, made.supervises_id = "competent", None
        elif made.role == "supervising":
            made.supervises_id = case.id
    session.flush()
    queue_letter(session, made, says=says, settings=settings, now=now)
    session.flush()
    if not queries.letters_of(session, made.id):
        say_no_contact(session, made, "no_address", settings=settings, actor=actor, now=now)
    return made
