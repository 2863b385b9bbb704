"""What agencies say, and what follows: the case, the incident, the public page, whoever reported it. None commits.

Every use case locks the incident, then the case, then the answer, and moves them by their machines. An agency's "done"
is a claim and never counts as fixed: only a citizen's photo shows the water clean.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy.orm import Session

from waterwatch.casework import queries, rules
from waterwatch.casework.tables import WITHHOLDING_REASONS, CaseAnswer, CaseAnswerPhoto, CaseAssignment
from waterwatch.escalation import clocks, rerouting
from waterwatch.escalation import queries as escalation_queries
from waterwatch.escalation import rules as escalation_rules
from waterwatch.escalation import service as escalation
from waterwatch.escalation.rules import DOWNSTREAM
from waterwatch.escalation.tables import Case
from waterwatch.incidents import answering
from waterwatch.incidents.service import lock_incident
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import service as mapping
from waterwatch.photos import service as photos
from waterwatch.reports.intake import ReceivedPhoto
from waterwatch.workdays.rules import CHINA_TIME

_UNHEARD = ("queued", "delivered", "dead", "no_contact")  # nobody of the agency has said a word yet
TOPIC_ANSWER_PUBLIC = "casework.answer_public"
TOPIC_REMOTE_STATUS = "escalation.remote_status"  # said by whoever polls the agencies' servers, taken in here


@dataclass(frozen=True)
class Answer:
    """What an agency says. ``words`` are cleaned here; ``photos`` lie durably in quarantine, undecoded.

    ``via``: ``link``, ``desk``, ``email``, ``open311`` or ``api``. ``source_key``: what it came from, where the same
    may come twice; the second time nothing happens. ``is_comment``: it adds to what was said, and answers nothing.
    ``digest_id``: it answers a mail about several cases; which one it means a lead says, and none moves before.
    """

    words: str
    planned_on: date | None = None
    photos: tuple[ReceivedPhoto, ...] = ()
    via: str = "link"
    source_key: str | None = None
    is_comment: bool = False
    digest_id: uuid.UUID | None = None


def answer(
    session: Session, case_id: uuid.UUID, said: Answer, *, settings: Settings, actor: Actor, now: datetime
) -> uuid.UUID:
    """The agency answers: its case is ``answered`` at once, the public reads it once it may. Returns the answer's id.

    A case not acknowledged before is so now. A mail alone moves nothing before a lead has read it. Each answer is kept
    beside the others: two officers at once lose nothing. In a closed case, and as a comment, it changes no state.

    Raises:
        NotFound: there is no such case.
        Invalid: ``words`` ``missing``, ``planned_on`` ``out_of_range``, ``photo`` ``too_many``.
        Conflict: ``case_taken_back``, ``case_refused``, ``case_has_nobody``: nothing can be said in it.
    """
    case = _held(session, case_id)
    if (before := _said_before(session, said)) is not None:
        return before
    if case.role == DOWNSTREAM:
        return _reply(session, case, said, settings=settings, actor=actor, now=now)
    kind = "comment" if said.is_comment else "answer"
    row = _keep(session, case, kind, said, settings=settings, actor=actor, now=now)
    if rules.moves_at_once(said.via) and not said.is_comment and case.state not in ("answered", "closed"):
        _bring_to(session, case, "answered", actor=actor, now=now)
    _publish_unless_checked(session, case, row, settings=settings, actor=actor, now=now)
    return row.id


def report_done(
    session: Session, case_id: uuid.UUID, said: Answer, *, settings: Settings, actor: Actor, now: datetime
) -> uuid.UUID:
    """The agency says that it is done, with evidence: its case is closed. Returns the answer's id.

    Once it is public and every competent agency has said so, the incident is ``resolved_claimed``. Raises as
    :func:`answer`.
    """
    case = _held(session, case_id)
    if (before := _said_before(session, said)) is not None:
        return before
    if case.role == DOWNSTREAM:
        return _reply(session, case, said, settings=settings, actor=actor, now=now)
    row = _keep(session, case, "done", said, settings=settings, actor=actor, now=now)
    if case.state != "closed":
        _bring_to(session, case, "closed", actor=actor, now=now)
        case.closed_at = now
        clocks.stop(case)
        _release_supervisors(session, case, actor=actor, now=now)
    _publish_unless_checked(session, case, row, settings=settings, actor=actor, now=now)
    return row.id


def refuse_not_ours(
    session: Session,
    case_id: uuid.UUID,
    said: Answer,
    suggested_agency_id: uuid.UUID | None = None,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
) -> uuid.UUID | None:
    """The agency says that it is not its business, and why: the case goes on. Returns the case it goes on as.

    To the agency named, else to one of the same kind a level up, never to one that refused it; None: nobody is left,
    which is loud, or the incident has ended. The reason is an answer like any other. Raises as :func:`answer`;
    :class:`Invalid` ``suggested_agency`` ``choice_unknown``; :class:`Conflict` ``case_closed``.
    """
    case = _held(session, case_id)
    if case.state == "closed":
        raise Conflict("case_closed")
    if suggested_agency_id is not None and (
        suggested_agency_id == case.agency_id or not escalation_queries.is_known_agency(session, suggested_agency_id)
    ):
        raise Invalid({"suggested_agency": ["choice_unknown"]})
    if case.role == DOWNSTREAM:
        _reply(session, case, said, settings=settings, actor=actor, now=now)
        return None
    row = _keep(
        session, case, "not_ours", said, settings=settings, actor=actor, now=now, suggested_id=suggested_agency_id
    )
    _bring_to(session, case, "refused_not_ours", actor=actor, now=now)
    clocks.stop(case)
    _release_supervisors(session, case, actor=actor, now=now)
    onward = None
    if case.role == "competent" and not escalation_queries.is_over(session, case.incident_id):
        onward = rerouting.reroute(session, case, suggested_agency_id, settings=settings, actor=actor, now=now)
    _publish_unless_checked(session, case, row, settings=settings, actor=actor, now=now)
    _follow(session, case.incident_id, actor=actor, now=now)
    mapping.request_publication(session, now=now)
    return None if onward is None else onward.id


def _reply(session: Session, case: Case, said: Answer, *, settings: Settings, actor: Actor, now: datetime) -> uuid.UUID:
    """Whoever was only warned of what comes down the river says something: a lead reads it, and it is no answer to the
    incident. Whoever says something has received the warning."""
    row = _keep(session, case, "comment", said, settings=settings, actor=actor, now=now)
    if rules.moves_at_once(said.via) and case.state in _UNHEARD:
        _bring_to(session, case, "acknowledged", actor=actor, now=now)
    return row.id


def assign(
    session: Session,
    case_id: uuid.UUID,
    person_id: uuid.UUID | None,
    office: str | None,
    *,
    actor: Actor,
    now: datetime,
) -> uuid.UUID:
    """Somebody inside the agency works on a case: a person, an office, or both; besides whoever does already.

    Idempotent. Whether the person belongs to the agency the caller has asked. Raises :class:`Invalid` ``assignee``
    ``missing``; :class:`Conflict` as :func:`answer`.
    """
    office = rules.clean_office(office or "") or None
    if person_id is None and office is None:
        raise Invalid({"assignee": ["missing"]})
    case = _held(session, case_id)
    standing = queries.standing_assignment(session, case_id, person_id, office)
    if standing is not None:
        return standing.id
    made = CaseAssignment(
        id=new_id(), case_id=case_id, person_id=person_id, office=office, assigned_at=now, assigned_by=_person(actor)
    )
    session.add(made)
    session.flush()
    facts: dict[str, audit.Fact] = {"assignment_id": made.id, "person_id": person_id, "has_office": office is not None}
    escalation.record(session, "case.staffed", case, actor=actor, now=now, after=facts)
    return made.id


def unassign(session: Session, assignment_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """Somebody works on a case no more. Idempotent. Raises :class:`NotFound`."""
    one = session.get(CaseAssignment, assignment_id, with_for_update=True)
    if one is None:
        raise NotFound("assignment_not_found")
    if one.ended_at is None:
        one.ended_at = now
        case = escalation_queries.locked_case(session, one.case_id)
        facts: dict[str, audit.Fact] = {"assignment_id": one.id, "person_id": one.person_id}
        escalation.record(session, "case.unstaffed", case, actor=actor, now=now, before=facts)


def publish_answer(session: Session, answer_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """A lead lets the public read an answer: the incident follows, and whoever reported it is told. Idempotent.

    Raises :class:`NotFound`; :class:`Conflict` ``answer_erased``, ``answer_to_warning``: a word to a warning is for the
    lead alone.
    """
    case, row = _held_answer(session, answer_id)
    if case.role == DOWNSTREAM:
        raise Conflict("answer_to_warning")
    if row.erased_at is not None:
        raise Conflict("answer_erased")
    if row.state == "published":
        return
    _publish(session, case, row, checked_by=_person(actor), actor=actor, now=now)


def withhold_answer(session: Session, answer_id: uuid.UUID, reason: str, *, actor: Actor, now: datetime) -> None:
    """A lead keeps an answer from the public, or takes it back, for one of ``WITHHOLDING_REASONS``. Idempotent.

    The case stands where it stood: that the agency answered is true; where it did so by mail, the case learns it now,
    if the reason does not say otherwise. An incident that was said to be done in public by
    this answer alone is said to be so no more. Raises :class:`Invalid`, :class:`NotFound`.
    """
    if reason not in WITHHOLDING_REASONS:
        raise Invalid({"reason": ["choice_unknown" if reason else "missing"]})
    case, row = _held_answer(session, answer_id)
    if row.state == "withheld":
        return
    before = rules.ANSWER.move(row, "withheld", now=now)
    row.withheld_reason, row.checked_by = reason, _person(actor)
    if before == "held" and rules.is_the_agencys_word(reason):
        _move_by_mail(session, case, row, actor=actor, now=now)
    session.flush()
    if before == "published":
        _follow(session, case.incident_id, actor=actor, now=now)
        mapping.request_publication(session, now=now)
    facts: dict[str, audit.Fact] = {"answer_id": row.id, "reason": reason}
    escalation.record(session, "answer.withheld", case, actor=actor, now=now, before={"state": before}, after=facts)


def _held(session: Session, case_id: uuid.UUID) -> Case:
    """The case, locked after its incident, if its agency can say anything in it."""
    case = _locked(session, case_id)
    if case.state == "withdrawn":
        raise Conflict("case_taken_back")
    if case.agency_id is None:
        raise Conflict("case_has_nobody")
    if case.state == "refused_not_ours":
        raise Conflict("case_refused")
    return case


def _locked(session: Session, case_id: uuid.UUID) -> Case:
    incident_id = escalation_queries.incident_of_case(session, case_id)
    lock_incident(session, incident_id, may_be_closed=True)
    return escalation_queries.locked_case_of(session, incident_id, case_id)


def _held_answer(session: Session, answer_id: uuid.UUID) -> tuple[Case, CaseAnswer]:
    case = _locked(session, queries.case_of_answer(session, answer_id))
    return case, queries.locked_answer(session, answer_id)


def _said_before(session: Session, said: Answer) -> uuid.UUID | None:
    return None if said.source_key is None else queries.answer_from(session, said.source_key)


def _keep(
    session: Session,
    case: Case,
    kind: str,
    said: Answer,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    suggested_id: uuid.UUID | None = None,
) -> CaseAnswer:
    words = rules.clean_words(said.words)
    errors: dict[str, list[str]] = {}
    if not words:
        errors["words"] = ["missing"]
    if len(said.photos) > rules.MAX_PHOTOS:
        errors["photo"] = ["too_many"]
    if said.planned_on is not None and not rules.is_plan(said.planned_on, today=now.astimezone(CHINA_TIME).date()):
        errors["planned_on"] = ["out_of_range"]
    if errors:
        raise Invalid(errors)
    row = CaseAnswer(
        id=new_id(),
        case_id=case.id,
        kind=kind,
        via=said.via,
        words=words,
        planned_on=said.planned_on,
        suggested_agency_id=suggested_id,
        said_at=now,
        said_by=_person(actor),
        source_key=said.source_key,
        digest_id=said.digest_id,
    )
    rules.ANSWER.enter(row, now=now)
    session.add(row)
    session.flush()
    _take_photos(session, row, said.photos, settings=settings, now=now)
    facts: dict[str, audit.Fact] = {
        "answer_id": row.id,
        "kind": kind,
        "via": said.via,
        "photos": len(said.photos),
        "planned_on": None if said.planned_on is None else said.planned_on.isoformat(),
        "suggested_agency_id": suggested_id,
    }
    escalation.record(session, "answer.received", case, actor=actor, now=now, after=facts)
    return row


def _take_photos(
    session: Session, row: CaseAnswer, received: Sequence[ReceivedPhoto], *, settings: Settings, now: datetime
) -> None:
    """The same way as a citizen's: nobody sees a picture before it was rebuilt, and faces and plates are covered."""
    for position, photo in enumerate(received, start=1):
        arrived = photos.arrival(
            photo.photo_id, photo.object_key, photo.size_bytes, photo.sha256, settings=settings, now=now
        )
        photos.register(session, arrived)
        session.add(CaseAnswerPhoto(photo_id=photo.photo_id, answer_id=row.id, position=position))
    session.flush()


def _move_by_mail(session: Session, case: Case, row: CaseAnswer, *, actor: Actor, now: datetime) -> None:
    """A lead has read a mail: it moves its case as of when it came, unless the case began anew since."""
    if rules.moves_at_once(row.via) or row.said_at < queries.round_began(session, case.id):
        return
    target = "answered" if row.kind == "answer" else "acknowledged"
    if case.state in _UNHEARD or (target, case.state) == ("answered", "acknowledged"):
        _bring_to(session, case, target, actor=actor, now=now, said_at=row.said_at)


def _bring_to(
    session: Session, case: Case, target: str, *, actor: Actor, now: datetime, said_at: datetime | None = None
) -> None:
    """Move a case on, through all that this implies: who answers has received it and acknowledged it.

    ``said_at``: when they did, where a lead reads it only now.
    """
    before, at = case.state, said_at or now
    if before in _UNHEARD:
        escalation.begin_if_lost(case, now=now)
        at = max(at, case.delivered_at or at)  # a mail may be faster than the record of the letter it answers
        escalation_rules.CASE.move(case, "acknowledged", now=now)
        case.acknowledged_at = case.acknowledged_at or at
        escalation.say_moved(session, case, now=now)
        clocks.begin(session, case, now=at)
    for state in ("answered", "closed") if target == "closed" else (target,):
        if case.state != state:
            escalation_rules.CASE.move(case, state, now=now)
    if target in ("answered", "closed"):
        case.answered_at = case.answered_at or at
    clocks.run(case)
    mapping.request_publication(session, now=now)
    facts: dict[str, audit.Fact] = {"state": case.state}
    escalation.record(session, f"case.{case.state}", case, actor=actor, now=now, before={"state": before}, after=facts)


def _publish_unless_checked(
    session: Session, case: Case, row: CaseAnswer, *, settings: Settings, actor: Actor, now: datetime
) -> None:
    if not rules.is_checked_first(row.via, answers_are_checked=settings.answers_are_checked):
        _publish(session, case, row, checked_by=None, actor=actor, now=now)


def _publish(
    session: Session, case: Case, row: CaseAnswer, *, checked_by: uuid.UUID | None, actor: Actor, now: datetime
) -> None:
    before = rules.ANSWER.move(row, "published", now=now)
    row.published_at, row.checked_by, row.withheld_reason = row.published_at or now, checked_by, None
    _move_by_mail(session, case, row, actor=actor, now=now)
    session.flush()
    _follow(session, case.incident_id, actor=actor, now=now, is_answer=row.kind in ("answer", "done"))
    if case.role == "competent" and escalation_queries.is_anybody_told(session, case.incident_id):
        outbox.emit(session, TOPIC_ANSWER_PUBLIC, {"answer_id": str(row.id)}, now=now)
    mapping.request_publication(session, now=now)
    facts: dict[str, audit.Fact] = {"answer_id": row.id, "kind": row.kind}
    escalation.record(session, "answer.published", case, actor=actor, now=now, before={"state": before}, after=facts)


def _follow(session: Session, incident_id: uuid.UUID, *, actor: Actor, now: datetime, is_answer: bool = False) -> None:
    """Let the incident follow what is public of its cases."""
    if rules.is_claimed_done(queries.standings(session, incident_id)):
        answering.claim_resolved(session, incident_id, actor=actor, now=now)
        return
    answering.unclaim(session, incident_id, actor=actor, now=now)
    if is_answer:
        answering.note_answered(session, incident_id, actor=actor, now=now)


def _release_supervisors(session: Session, case: Case, *, actor: Actor, now: datetime) -> None:
    """What an agency missed it has made up for: those above it owe nothing for it any more."""
    for above in escalation_queries.supervisors_of(session, case.id):
        if above.state_deadline_at is not None:
            clocks.stop(above)
            facts: dict[str, audit.Fact] = {"case_id": case.id}
            escalation.record(session, "case.supervision_ended", above, actor=actor, now=now, after=facts)


def _person(actor: Actor) -> uuid.UUID | None:
    return actor.id if actor.kind == "person" else None
