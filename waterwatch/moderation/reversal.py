"""One inverse for each act: undone by whoever acted, within seconds, or reversed by a lead at any time.

What stands on an act must be reversed first. Everything follows as it followed the act: the level of the water, the
cases, the map, what the author is told.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from waterwatch.advisories import forecasts
from waterwatch.casework import pressing
from waterwatch.fairness import service as fairness
from waterwatch.incidents import service as incidents
from waterwatch.incidents import undoing
from waterwatch.incidents.tables import Incident
from waterwatch.incidents.undoing import Holding
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.moderation import decisions
from waterwatch.moderation.service import set_moving
from waterwatch.moderation.tables import Decision
from waterwatch.reports import amending, appeals, questions
from waterwatch.reports import queries as report_queries
from waterwatch.reports import service as reports
from waterwatch.triage import service as triage

REASON_CODES = ("wrong_level", "wrong_refusal", "wrong_incident", "wrong_place", "not_pollution", "other_mistake")
# In which state an act left its report; it must still be in it.
_LEFT_IN = {"accepted": "accepted", "joined": "merged", "refused": "refused", "patrol_accepted": "accepted"}


@dataclass(frozen=True)
class _Taking:
    """Who takes a decision back, when; ``is_told``: its author has heard of it."""

    settings: Settings
    actor: Actor
    now: datetime
    is_told: bool


def undo(
    session: Session, decision_id: uuid.UUID, *, settings: Settings, actor: Actor, now: datetime
) -> list[Decision]:
    """Take back one's own act, or the whole batch it belongs to, within ``settings.undo_s``; returns what was undone.

    Raises :class:`Forbidden` ``not_yours``, :class:`Conflict` ``undo_over``, and as :func:`reverse`.
    """
    decision = decisions.decision_by_id(session, decision_id)
    if actor.id is None or decision.person_id != actor.id:
        raise Forbidden("not_yours")
    if decision.undo_until is None or now >= decision.undo_until:
        raise Conflict("undo_over")
    several = [decision] if decision.batch_id is None else decisions.of_batch(session, decision.batch_id)
    taking = _Taking(settings, actor, now, is_told=False)
    # Before any incident: a grade that waits for one of those holds its report.
    report_queries.lock_reports(session, [one.report_id for one in several if one.report_id is not None])
    for one in several or [decision]:
        _take_back(session, one.id, None, taking)
        if one.report_id is not None and one.action in _LEFT_IN:  # no other act is a judgement
            fairness.drop(session, one.report_id, actor=actor, now=now)
    return several or [decision]


def reverse(
    session: Session, decision_id: uuid.UUID, reason_code: str, *, settings: Settings, actor: Actor, now: datetime
) -> Decision:
    """A lead takes an act back, whoever's it was. Whether ``actor`` is one is for the caller to know.

    Raises :class:`Invalid` (``reason``), :class:`NotFound`, :class:`Conflict` ``already_reversed``, ``not_reversible``,
    ``later_acts`` (``facts`` name the first), ``moved_on``: the report has left the state the act put it in,
    ``erased``: nothing is left of it, or ``appealed_against_you``: it was decided on an appeal against ``actor``.
    """
    if reason_code not in REASON_CODES:
        raise Invalid({"reason": ["choice_unknown" if reason_code else "missing"]})
    decision = decisions.decision_by_id(session, decision_id)
    if decision.report_id is not None and appeals.is_against(session, decision.report_id, actor.id, since=decision.at):
        raise Conflict("appealed_against_you")
    is_told = decision.undo_until is not None and now >= decision.undo_until
    return _take_back(session, decision_id, reason_code, _Taking(settings, actor, now, is_told))


def _take_back(session: Session, decision_id: uuid.UUID, reason_code: str | None, taking: _Taking) -> Decision:
    report_id = decisions.decision_by_id(session, decision_id).report_id
    report = None if report_id is None else report_queries.lock_report(session, report_id)
    decision = decisions.lock_decision(session, decision_id)
    inverse = _INVERSES.get(decision.action)
    if inverse is None:
        raise Conflict("not_reversible")
    decisions.refuse_if_built_upon(session, decision)
    if report is not None:
        if report.erased_at is not None:
            raise Conflict("erased")
        if report.state != _LEFT_IN.get(decision.action, "in_review"):
            raise Conflict("moved_on", state=report.state)
    inverse(session, decision, taking)
    decisions.mark_reversed(session, decision, reason_code, actor=taking.actor, now=taking.now)
    return decision


def _return(session: Session, decision: Decision, taking: _Taking) -> None:
    """The report waits for a moderator again, as it was stated before the act corrected it."""
    assert decision.report_id is not None
    reports.return_to_review(
        session,
        decision.report_id,
        settings=taking.settings,
        actor=taking.actor,
        now=taking.now,
        is_told=taking.is_told,
    )
    if "former_id" in decision.before:
        _restore(session, decision, taking)
    if (person_id := appeals.kept_from(session, decision.report_id)) is not None:
        triage.keep_from(session, decision.report_id, person_id)
    if report_queries.is_handed(session, decision.report_id):
        triage.set_aside(session, decision.report_id, "lead")
    triage.weigh(session, decision.report_id)


def _restore(session: Session, decision: Decision, taking: _Taking) -> None:
    assert decision.report_id is not None
    former_id = uuid.UUID(decision.before["former_id"])
    amending.restore(session, decision.report_id, former_id, actor=taking.actor, now=taking.now)
    triage.weigh(session, decision.report_id)


def _detach(session: Session, decision: Decision, taking: _Taking) -> None:
    assert decision.report_id is not None
    if (grade_id := decision.before.get("seconded_grade_id")) is not None and decision.incident_id is not None:
        undoing.unsecond(session, decision.incident_id, uuid.UUID(grade_id), actor=taking.actor, now=taking.now)
    incident = incidents.detach(session, decision.report_id, actor=taking.actor, now=taking.now)
    if decision.after.get("is_ruled"):  # what was ruled with it; a ruling made since stays
        made_at, by, now = decision.at, taking.actor, taking.now
        forecasts.rule(session, incident.id, incident.kind, None, actor=by, now=now, made_at=made_at)
    if again := decision.before.get("reopened"):
        case_ids = [uuid.UUID(case_id) for case_id in again]
        pressing.close_again(session, incident.id, case_ids, actor=taking.actor, now=taking.now)
    _return(session, decision, taking)
    _follow(session, incident, taking)


def _unaccept_patrol(session: Session, decision: Decision, taking: _Taking) -> None:
    assert decision.report_id is not None
    if decision.incident_id is not None:
        incident = incidents.detach(session, decision.report_id, actor=taking.actor, now=taking.now)
        _follow(session, incident, taking)
    _return(session, decision, taking)


def _unask(session: Session, decision: Decision, taking: _Taking) -> None:
    assert decision.report_id is not None
    question_id = uuid.UUID(decision.after["question_id"])
    questions.withdraw(session, question_id, actor=taking.actor, now=taking.now)
    triage.put_back_if(session, decision.report_id, "question")


def _unhand(session: Session, decision: Decision, taking: _Taking) -> None:
    assert decision.report_id is not None
    triage.put_back(session, decision.report_id)
    reports.say_handed(session, decision.report_id, is_back=True, actor=taking.actor, now=taking.now)


def _unsecond(session: Session, decision: Decision, taking: _Taking) -> None:
    assert decision.incident_id is not None
    grade_id = uuid.UUID(decision.before["seconded_grade_id"])
    incident = undoing.unsecond(session, decision.incident_id, grade_id, actor=taking.actor, now=taking.now)
    _follow(session, incident, taking)


def _unregrade(session: Session, decision: Decision, taking: _Taking) -> None:
    assert decision.incident_id is not None
    incident = incidents.undo_regrade(
        session, decision.incident_id, former_kind=decision.before["kind"], actor=taking.actor, now=taking.now
    )
    _follow(session, incident, taking)


def _unsplit(session: Session, decision: Decision, taking: _Taking) -> None:
    assert decision.incident_id is not None
    assert decision.other_incident_id is not None
    superseded = _ids_by_id(decision.before.get("superseded", {}))
    incident = undoing.unsplit(
        session, decision.incident_id, decision.other_incident_id, superseded, actor=taking.actor, now=taking.now
    )
    _follow(session, _incident(session, decision.other_incident_id), taking)
    _follow(session, incident, taking)


def _unabsorb(session: Session, decision: Decision, taking: _Taking) -> None:
    assert decision.incident_id is not None
    assert decision.other_incident_id is not None
    had = holding_from(decision.before["had"])
    gone = undoing.unabsorb(
        session, decision.incident_id, decision.other_incident_id, had, actor=taking.actor, now=taking.now
    )
    _follow(session, gone, taking)
    _follow(session, _incident(session, decision.incident_id), taking)


_INVERSES: Mapping[str, Callable[[Session, Decision, _Taking], None]] = {
    "accepted": _detach,
    "joined": _detach,
    "refused": _return,
    "patrol_accepted": _unaccept_patrol,
    "corrected": _restore,
    "asked": _unask,
    "handed": _unhand,
    "seconded": _unsecond,
    "regraded": _unregrade,
    "split": _unsplit,
    "absorbed": _unabsorb,
}


def holding_from(kept: Mapping[str, object]) -> Holding:
    """What a decision kept of an incident that was absorbed."""

    def ids(name: str) -> tuple[uuid.UUID, ...]:
        found = kept[name]
        assert isinstance(found, list)
        return tuple(uuid.UUID(one) for one in found)

    return Holding(str(kept["state"]), ids("reports"), ids("grades"), ids("merged"))


def _ids_by_id(kept: Mapping[str, str]) -> dict[uuid.UUID, uuid.UUID]:
    return {uuid.UUID(name): uuid.UUID(value) for name, value in kept.items()}


def _incident(session: Session, incident_id: uuid.UUID) -> Incident:
    found = session.get(Incident, incident_id)
    if found is None:
        raise NotFound("incident_not_found")
    return found


def _follow(session: Session, incident: Incident, taking: _Taking) -> None:
    """What departments were told by mistake is put right at once."""
    set_moving(session, incident, settings=taking.settings, actor=taking.actor, now=taking.now, is_correction=True)
