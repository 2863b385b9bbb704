"""Use cases of fairness: ask again, lend out, record; add, retire and answer cases to train by. None commits."""

import uuid
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from waterwatch.fairness import queries
from waterwatch.fairness.rules import OUTCOMES, REFUSED, is_asked_again
from waterwatch.fairness.tables import BlindReview, CalibrationAnswer, CalibrationCase
from waterwatch.incidents.rules import RUBRIC_VERSION, RubricInputs, score
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings

# Whoever made the first judgement, or confirmed it as red, does not judge again. A row somebody else takes at this
# moment is passed over, not waited for.
_CLAIM = text("""
WITH next AS MATERIALIZED (
    SELECT b.id FROM blind_review b JOIN report r ON r.id = b.report_id
    WHERE b.second_at IS NULL AND b.first_person <> :person_id AND r.erased_at IS NULL
      AND (b.leased_until IS NULL OR b.leased_until <= :now OR b.leased_by = :person_id)
      AND NOT EXISTS (SELECT FROM grade g WHERE g.report_id = b.report_id AND g.seconded_by = :person_id)
    ORDER BY b.leased_by IS NOT DISTINCT FROM :person_id DESC, b.first_at, b.id
    LIMIT 1 FOR UPDATE OF b SKIP LOCKED)
UPDATE blind_review SET leased_by = :person_id, leased_until = :until
FROM next WHERE blind_review.id = next.id RETURNING blind_review.id
""")


@dataclass(frozen=True)
class Answer:
    """What a moderator makes of a report: refused (outcome 0, no inputs), or a level with the rubric's inputs."""

    outcome: int
    inputs: RubricInputs | None
    departure_reason: str | None = None


def maybe_ask_again(
    session: Session,
    report_id: uuid.UUID,
    person_id: uuid.UUID,
    outcome: int,
    inputs: RubricInputs | None,
    *,
    settings: Settings,
    now: datetime,
) -> bool:
    """After a first judgement: put the report before a second moderator if it is one of the share that is.

    ``outcome`` 0 is a refusal, whose ``inputs`` are None. Idempotent: a report is asked about once, and its first
    judgement stays the one compared, whatever becomes of it later. Patrols are not asked about: "in order" is no level.
    Returns whether it was.
    """
    key = settings.derive_key("fairness/blind")
    assert key is not None, "only the previous secret may be absent"
    if not is_asked_again(report_id, key=key, share=settings.blind_share):
        return False
    if queries.is_patrol(session, report_id):
        return False
    checked = _checked(Answer(outcome, inputs))
    row = upsert(BlindReview).values(
        id=new_id(),
        report_id=report_id,
        rubric_version=RUBRIC_VERSION,
        first_person=person_id,
        first_outcome=outcome,
        first_inputs=checked.inputs,
        first_points=checked.points,
        first_at=now,
    )
    made = session.execute(row.on_conflict_do_nothing(index_elements=["report_id"]).returning(BlindReview.id)).scalar()
    if made is None:
        return False
    # Not said of the report, where those who judge it next could read it, and by nobody who could be asked about it.
    facts: dict[str, audit.Fact] = {"report_id": report_id, "outcome": outcome, "points": checked.points}
    audit.record(
        session,
        action="blind_review.asked",
        subject_kind="blind_review",
        subject_id=made,
        actor=Actor.system("fairness"),
        now=now,
        after=facts,
    )
    return True


def drop(session: Session, report_id: uuid.UUID, *, now: datetime) -> None:
    """The first judgement was a slip, undone within seconds: nobody is compared with it. One already compared stays."""
    gone = session.execute(
        delete(BlindReview)
        .where(BlindReview.report_id == report_id, BlindReview.second_at.is_(None))
        .returning(BlindReview.id)
    ).scalar_one_or_none()
    if gone is not None:
        audit.record(
            session,
            action="blind_review.dropped",
            subject_kind="blind_review",
            subject_id=gone,
            actor=Actor.system("fairness"),
            now=now,
        )


def claim(session: Session, person_id: uuid.UUID, *, settings: Settings, now: datetime) -> uuid.UUID | None:
    """Lend the longest waiting report to a second moderator for ten minutes; None when none waits for them.

    One's own loan is renewed before another is begun.
    """
    values = {"person_id": person_id, "now": now, "until": now + timedelta(seconds=settings.review_lease_s)}
    found = session.execute(_CLAIM, values).scalar_one_or_none()
    return None if found is None else uuid.UUID(str(found))


def record_second(
    session: Session, blind_review_id: uuid.UUID, answer: Answer, *, actor: Actor, now: datetime
) -> BlindReview:
    """Keep the second judgement. Nothing else changes: neither report nor incident nor grade.

    Raises :class:`Conflict` ``lease_lost`` when another holds it, or nobody does any more, ``already_judged``;
    :class:`Invalid` as a grade does; :class:`NotFound` when the report was taken back meanwhile.
    """
    row = session.get(BlindReview, blind_review_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("report_not_found")
    if row.second_at is not None:
        raise Conflict("already_judged")
    if actor.id is None or row.leased_by != actor.id:
        raise Conflict("lease_lost")
    checked = _checked(answer)
    if checked.is_departure and len(checked.reason or "") < 3:
        raise Invalid({"departure_reason": ["departure_needs_reason"]})
    row.second_person, row.second_outcome, row.second_at = actor.id, answer.outcome, now
    row.second_inputs, row.second_points = checked.inputs, checked.points
    row.second_departure_reason = checked.reason
    row.leased_by = row.leased_until = None
    session.flush()
    audit.record(
        session,
        action="blind_review.judged",
        subject_kind="blind_review",
        subject_id=row.id,
        actor=actor,
        now=now,
        after={"report_id": row.report_id, "outcome": answer.outcome, "points": checked.points},
    )
    return row


def add_case(
    session: Session, report_id: uuid.UUID, outcome: int, explanation: str, *, actor: Actor, now: datetime
) -> uuid.UUID:
    """Let moderators train by a decided report; one that was retired is used again, with the new words.

    Raises :class:`Conflict` ``not_decided``, :class:`Forbidden`, :class:`NotFound`.
    """
    if actor.id is None:
        raise Forbidden("acts_for_nobody")
    if not 0 <= outcome < OUTCOMES:
        raise Invalid({"outcome": ["choice_unknown"]})
    if not queries.lock_decided(session, report_id):
        raise Conflict("not_decided")
    values = {"reference_outcome": outcome, "explanation": explanation, "active": True}
    row = upsert(CalibrationCase).values(id=new_id(), report_id=report_id, added_by=actor.id, added_at=now, **values)
    returning = row.on_conflict_do_update(index_elements=["report_id"], set_=values).returning(CalibrationCase.id)
    case_id = uuid.UUID(str(session.execute(returning).scalar_one()))
    _audit_case(session, case_id, "calibration.added", actor, now, {"report_id": report_id, "outcome": outcome})
    return case_id


def retire_case(session: Session, case_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """Show a case to nobody who has not answered it yet; the answers stay. Raises :class:`NotFound`. Idempotent."""
    case = session.get(CalibrationCase, case_id, with_for_update=True)
    if case is None:
        raise NotFound("case_unknown")
    if case.active:
        case.active = False
        session.flush()
        _audit_case(session, case_id, "calibration.retired", actor, now, {"report_id": case.report_id})


def answer_case(session: Session, case_id: uuid.UUID, answer: Answer, *, actor: Actor, now: datetime) -> bool:
    """Keep a moderator's answer if it is their first; returns whether it was. Raises as :func:`record_second`."""
    if actor.id is None:
        raise Forbidden("acts_for_nobody")
    case = session.get(CalibrationCase, case_id, with_for_update={"read": True})
    if case is None or not case.active:
        raise NotFound("case_unknown")
    checked = _checked(answer)
    row = upsert(CalibrationAnswer).values(
        case_id=case_id,
        person_id=actor.id,
        outcome=answer.outcome,
        inputs=checked.inputs,
        points=checked.points,
        answered_at=now,
    )
    kept = session.execute(row.on_conflict_do_nothing().returning(CalibrationAnswer.case_id)).scalar()
    if kept is None:
        return False
    _audit_case(session, case_id, "calibration.answered", actor, now, {"outcome": answer.outcome})
    return True


@dataclass(frozen=True)
class _Checked:
    inputs: dict[str, object] | None
    points: int | None
    is_departure: bool = False
    reason: str | None = None


def _checked(answer: Answer) -> _Checked:
    """What is stored of an answer; a level other than the rubric's needs its reason where one can be given."""
    if answer.outcome == REFUSED:
        return _Checked(None, None)
    if answer.inputs is None or not 0 < answer.outcome < OUTCOMES:
        raise Invalid({"outcome": ["choice_unknown"]})
    found = score(answer.inputs)
    is_departure = found.proposed != answer.outcome
    reason = (answer.departure_reason or "").strip() or None
    return _Checked(asdict(answer.inputs), found.points, is_departure, reason if is_departure else None)


def _audit_case(
    session: Session, case_id: uuid.UUID, action: str, actor: Actor, now: datetime, after: dict[str, audit.Fact]
) -> None:
    audit.record(
        session, action=action, subject_kind="calibration_case", subject_id=case_id, actor=actor, now=now, after=after
    )
