"""What was decided: one row for each act of a moderator, written in its transaction beside its audit rows."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, NotFound
from waterwatch.kernel.gathering import put
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.moderation.tables import Decision

PAGE = 50


@dataclass(frozen=True)
class About:
    """What a decision is about, and how it came about."""

    report_id: uuid.UUID | None = None
    incident_id: uuid.UUID | None = None
    other_incident_id: uuid.UUID | None = None
    batch_id: uuid.UUID | None = None
    took_s: float | None = None


def undo_until(settings: Settings, now: datetime) -> datetime:
    """Until when whoever decides now may undo it; what tells others leaves no sooner."""
    return now + timedelta(seconds=settings.undo_s)


def decide(
    session: Session,
    action: str,
    about: About,
    *,
    settings: Settings,
    actor: Actor,
    now: datetime,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> uuid.UUID:
    """Write one decision; returns its id. ``before`` and ``after`` hold what the audit may hold, and lists of ids.

    Raises :class:`Forbidden` ``decides_nothing`` unless a person acts.
    """
    if actor.id is None:
        raise Forbidden("decides_nothing")
    decision = Decision(
        id=new_id(),
        at=now,
        person_id=actor.id,
        organisation_id=actor.organisation_id,
        action=action,
        report_id=about.report_id,
        incident_id=about.incident_id,
        other_incident_id=about.other_incident_id,
        before=_plain(before or {}),
        after=_plain(after or {}),
        batch_id=about.batch_id,
        undo_until=undo_until(settings, now),
        took_s=about.took_s,
    )
    decision_id = decision.id
    put(session, decision)
    session.flush()
    return decision_id


def mark_reversed(
    session: Session, decision: Decision, reason_code: str | None, *, actor: Actor, now: datetime
) -> uuid.UUID:
    """Note that a decision no longer stands, and who took it back; returns the id of the decision that says so."""
    if actor.id is None:
        raise Forbidden("decides_nothing")
    decision.reversed_at, decision.reversed_by = now, actor.id
    reversing = Decision(
        id=new_id(),
        at=now,
        person_id=actor.id,
        organisation_id=actor.organisation_id,
        action="reversed",
        report_id=decision.report_id,
        incident_id=decision.incident_id,
        other_incident_id=decision.other_incident_id,
        before={"action": decision.action},
        after={},
        batch_id=decision.batch_id,
        reason_code=reason_code,
        reverses_id=decision.id,
    )
    session.add(reversing)
    session.flush()
    audit.record(
        session,
        action="decision.undone" if reason_code is None else "decision.reversed",
        subject_kind="decision",
        subject_id=decision.id,
        actor=actor,
        now=now,
        before={"action": decision.action},
        after={"reason": reason_code},
    )
    return reversing.id


def decision_by_id(session: Session, decision_id: uuid.UUID) -> Decision:
    """One decision. Raises :class:`NotFound`."""
    found = session.get(Decision, decision_id)
    if found is None:
        raise NotFound("decision_not_found")
    return found


def lock_decision(session: Session, decision_id: uuid.UUID) -> Decision:
    """One decision that still stands, locked. Raises :class:`NotFound`, :class:`Conflict` ``already_reversed``."""
    statement = select(Decision).where(Decision.id == decision_id).with_for_update()
    found = session.scalars(statement.execution_options(populate_existing=True)).one_or_none()
    if found is None:
        raise NotFound("decision_not_found")
    if found.reversed_at is not None:
        raise Conflict("already_reversed")
    return found


def of_batch(session: Session, batch_id: uuid.UUID) -> list[Decision]:
    """A batch's decisions that stand, the latest first."""
    wanted = select(Decision).where(
        Decision.batch_id == batch_id, Decision.reversed_at.is_(None), Decision.action != "reversed"
    )
    return list(session.scalars(wanted.order_by(Decision.at.desc(), Decision.id.desc())))


_LATER = text("""
SELECT d.id, d.action, d.at FROM decision d
WHERE d.reversed_at IS NULL AND d.action <> 'reversed' AND (d.at, d.id) > (:at, :id) AND (
    d.report_id = :report_id
    OR (:incident_id IN (d.incident_id, d.other_incident_id) AND d.action = ANY(:of_incident))
    OR (:other_incident_id IN (d.incident_id, d.other_incident_id)))
ORDER BY d.at, d.id LIMIT 1
""")
# Acts on an incident that stand on what came before them; a further report that joined does not.
_DEPENDS = {
    "accepted": ("seconded", "regraded", "split", "absorbed"),
    "joined": ("seconded", "regraded", "split", "absorbed"),
    "seconded": ("regraded", "split", "absorbed"),
    "regraded": ("seconded", "regraded", "split", "absorbed"),
    "split": ("seconded", "regraded", "split", "absorbed"),
    "absorbed": ("seconded", "regraded", "split", "absorbed"),
}


def refuse_if_built_upon(session: Session, decision: Decision) -> None:
    """Raises :class:`Conflict` ``later_acts`` naming the first act that depends on this one and still stands."""
    values = {
        "at": decision.at,
        "id": decision.id,
        "report_id": decision.report_id,
        "incident_id": decision.incident_id,
        "other_incident_id": decision.other_incident_id,
        "of_incident": list(_DEPENDS.get(decision.action, ())),
    }
    later = session.execute(_LATER, values).first()
    if later is not None:
        raise Conflict("later_acts", decision_id=later.id, action=later.action)


@dataclass(frozen=True)
class Wanted:
    """Which decisions a lead looks for; None: any. ``code`` is a report's or an incident's; ``day`` is UTC."""

    person_id: uuid.UUID | None = None
    action: str | None = None
    code: str | None = None
    day: date | None = None


_RECORD = text("""
SELECT d.*, r.code AS report_code, i.code AS incident_code, o.code AS other_incident_code, p.email AS person_name,
       (SELECT action FROM decision x WHERE x.id = d.reverses_id) AS reversed_action,
       d.reversed_at IS NULL AND d.action <> 'reversed' AS stands
FROM decision d
JOIN person p ON p.id = d.person_id
LEFT JOIN report r ON r.id = d.report_id
LEFT JOIN incident i ON i.id = d.incident_id
LEFT JOIN incident o ON o.id = d.other_incident_id
WHERE (CAST(:person_id AS uuid) IS NULL OR d.person_id = :person_id)
  AND (CAST(:action AS text) IS NULL OR d.action = :action)
  AND (CAST(:code AS text) IS NULL
       OR d.report_id = (SELECT id FROM report WHERE code = :code)
       OR d.incident_id = (SELECT id FROM incident WHERE code = :code)
       OR d.other_incident_id = (SELECT id FROM incident WHERE code = :code))
  AND (CAST(:begins AS timestamptz) IS NULL OR d.at >= :begins AND d.at < CAST(:begins AS timestamptz) + :lasts)
ORDER BY d.at DESC, d.id DESC LIMIT :limit OFFSET :offset
""")


def decisions_on_record(session: Session, wanted: Wanted, *, page: int = 1) -> list[Row[Any]]:
    """Decisions, newest first, ``PAGE`` a page, with the codes of what they are about and whose they were."""
    begins = datetime.fromisoformat(f"{wanted.day.isoformat()}T00:00:00+00:00") if wanted.day else None
    values = {
        "person_id": wanted.person_id,
        "action": wanted.action,
        "code": wanted.code,
        "begins": begins,
        "lasts": timedelta(days=1),
        "limit": PAGE + 1,
        "offset": (page - 1) * PAGE,
    }
    return list(session.execute(_RECORD, values))


_DECIDERS = text("""
SELECT p.id, p.email AS name FROM person p WHERE EXISTS (SELECT FROM decision d WHERE d.person_id = p.id)
ORDER BY p.email
""")


def deciders(session: Session) -> list[tuple[uuid.UUID, str]]:
    """Who has decided anything, by name."""
    return [(row.id, row.name) for row in session.execute(_DECIDERS)]


@dataclass(frozen=True)
class Undoable:
    """What somebody may still undo: one act, or a whole batch of ``reports``."""

    decision_id: uuid.UUID
    action: str
    report_id: uuid.UUID | None
    code: str | None
    batch_id: uuid.UUID | None
    reports: int
    until: datetime


_UNDOABLE = text("""
SELECT d.id AS decision_id, d.action, d.report_id, coalesce(r.code, i.code) AS code, d.batch_id,
       CASE WHEN d.batch_id IS NULL THEN 1
            ELSE (SELECT count(*)::int FROM decision b WHERE b.batch_id = d.batch_id AND b.reversed_at IS NULL) END
           AS reports,
       d.undo_until AS until
FROM decision d LEFT JOIN report r ON r.id = d.report_id LEFT JOIN incident i ON i.id = d.incident_id
WHERE d.person_id = :person_id AND d.at >= :since AND d.undo_until > :now AND d.reversed_at IS NULL
  AND d.action <> 'reversed'
ORDER BY d.at DESC, d.id DESC LIMIT 1
""")


def undoable_by(session: Session, person_id: uuid.UUID, *, settings: Settings, now: datetime) -> Undoable | None:
    """The last thing somebody decided, as long as they may undo it."""
    since = now - timedelta(seconds=settings.undo_s)
    row = session.execute(_UNDOABLE, {"person_id": person_id, "now": now, "since": since}).first()
    return None if row is None else Undoable(**row._mapping)


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Ids as text, lists of them too: what JSON holds."""
    return {name: _value(value) for name, value in facts.items()}


def _value(value: Any) -> Any:
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_value(one) for one in value]
    return _plain(value) if isinstance(value, Mapping) else value
