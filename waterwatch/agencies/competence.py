"""Rules of competence, and the rows that are made from them.

A rule says whether agencies of a kind, of one level or any, are told of an observation of one kind or any, from which
severity on; everywhere, or where their own area is or lies in the rule's. For each agency and kind of observation one
rule decides: that of the smallest area, among those the one that names the observation, then the one that names the
level. What follows is written as rows of ``competence`` in the transaction of the edit, by one statement.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from waterwatch.agencies import registry
from waterwatch.agencies.tables import OBSERVATION_KINDS, CompetenceRule
from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, NotFound
from waterwatch.kernel.ids import new_id

# How an agency is reached, or who is told, has changed: what reached nobody may reach somebody now.
TOPIC_REACH_CHANGED = "agencies.reach_changed"
SAMPLE = 12  # agencies named of each kind of change


@dataclass(frozen=True)
class Rule:
    """What a rule says. ``area_code`` None: everywhere; ``level`` None: any; ``observation_kind`` None: every one."""

    agency_kind: str
    area_code: str | None = None
    level: str | None = None
    observation_kind: str | None = None
    min_severity: int = 1
    is_competent: bool = True


@dataclass(frozen=True)
class Change:
    """What an edit changes for one kind of observation: ``gained``, ``lost``, told ``sooner`` or ``later``.

    ``agencies`` of them, the first few by id. Competence of an agency's own counts: who has it anyway gains nothing.
    """

    observation_kind: str
    verdict: str
    agencies: int
    sample: tuple[uuid.UUID, ...]


@dataclass(frozen=True)
class Edit:
    """What became of an edit: the rule now in force, None where one was only removed, and what it changes."""

    rule_id: uuid.UUID | None
    changes: tuple[Change, ...]


# The lineage of an agency's area: itself, what it lies in, and everywhere, by how far that is.
_EVERYWHERE = "'00000000-0000-0000-0000-000000000000'::uuid"
_SCOPE = """
    SELECT a.id, a.kind, a.level, a.retired_at, j.id AS area_0, j.parent_id AS area_1, up.parent_id AS area_2
    FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id LEFT JOIN jurisdiction up ON up.id = j.parent_id
"""
_WINNER = f"""
    SELECT DISTINCT ON (s.id, k.kind) s.id AS agency_id, k.kind AS observation_kind, r.id AS rule_id, r.min_severity,
           r.is_competent
    FROM scope s
    CROSS JOIN LATERAL (
        VALUES (s.area_0, 0), (s.area_1, 1), (s.area_2, 2), ({_EVERYWHERE}, 3)) area (id, distance)
    JOIN competence_rule r ON r.agency_kind = s.kind AND coalesce(r.jurisdiction_id, {_EVERYWHERE}) = area.id
        AND (r.level IS NULL OR r.level = s.level)
    JOIN unnest(:observation_kinds) k (kind) ON r.observation_kind IS NULL OR r.observation_kind = k.kind
    WHERE s.retired_at IS NULL AND r.retired_at IS NULL
    ORDER BY s.id, k.kind, area.distance, r.observation_kind IS NULL, r.level IS NULL
"""  # noqa: S608  # the pieces are constants of this module
_DECIDING = text(f"WITH scope AS ({_SCOPE} WHERE a.id = ANY(:agency_ids)) {_WINNER}").bindparams(
    bindparam("agency_ids", type_=ARRAY(Uuid)), bindparam("observation_kinds", type_=ARRAY(Text))
)
_COMPILE = text(f"""
WITH scope AS MATERIALIZED ({_SCOPE}
    WHERE CAST(:everything AS bool) OR a.id = ANY(:agency_ids) OR EXISTS (
        SELECT FROM unnest(:kinds, :areas) edited (kind, area)
        WHERE edited.kind = a.kind
          AND (edited.area IS NULL OR edited.area IN (j.id, j.parent_id, up.parent_id)))),
winner AS MATERIALIZED ({_WINNER}),
old AS MATERIALIZED (
    SELECT c.id, c.agency_id, c.observation_kind, c.min_severity FROM scope s JOIN competence c ON c.agency_id = s.id
    WHERE c.rule_id IS NOT NULL),
gone AS (
    DELETE FROM competence c USING old LEFT JOIN winner w
        ON w.agency_id = old.agency_id AND w.observation_kind = old.observation_kind AND w.is_competent
    WHERE c.id = old.id AND w.agency_id IS NULL
    RETURNING c.agency_id, c.observation_kind),
put AS (
    INSERT INTO competence AS c (id, agency_id, observation_kind, min_severity, rule_id)
    SELECT gen_random_uuid(), agency_id, observation_kind, min_severity, rule_id FROM winner WHERE is_competent
    ON CONFLICT (agency_id, observation_kind, (rule_id IS NULL)) DO UPDATE
    SET min_severity = excluded.min_severity, rule_id = excluded.rule_id
    WHERE (c.min_severity, c.rule_id) IS DISTINCT FROM (excluded.min_severity, excluded.rule_id)
    RETURNING c.agency_id, c.observation_kind, c.min_severity),
moved AS (
    SELECT agency_id, observation_kind, NULL::smallint AS min_severity FROM gone UNION ALL SELECT * FROM put),
compared AS (
    SELECT m.agency_id, m.observation_kind, least(old.min_severity, own.least) AS before,
           least(m.min_severity, own.least) AS after
    FROM moved m LEFT JOIN old USING (agency_id, observation_kind)
    LEFT JOIN LATERAL (
        SELECT min(c.min_severity) AS least FROM competence c
        WHERE c.agency_id = m.agency_id AND c.rule_id IS NULL
          AND (c.observation_kind IS NULL OR c.observation_kind = m.observation_kind)) own ON true)
SELECT observation_kind, verdict, count(*)::int AS agencies,
       (array_agg(agency_id ORDER BY agency_id))[1:{SAMPLE}] AS sample
FROM (SELECT agency_id, observation_kind, CASE WHEN before IS NULL THEN 'gained' WHEN after IS NULL THEN 'lost'
                                               WHEN after < before THEN 'sooner' ELSE 'later' END AS verdict
      FROM compared WHERE before IS DISTINCT FROM after) told
GROUP BY observation_kind, verdict
ORDER BY array_position(:observation_kinds, observation_kind), verdict
""").bindparams(  # noqa: S608  # the pieces are constants of this module
    bindparam("agency_ids", type_=ARRAY(Uuid)),
    bindparam("kinds", type_=ARRAY(Text)),
    bindparam("areas", type_=ARRAY(Uuid)),
    bindparam("observation_kinds", type_=ARRAY(Text)),
)
# One edit after the other: two at once would each make rows from rules that the other one is replacing.
_ALONE = text("LOCK TABLE competence_rule IN SHARE ROW EXCLUSIVE MODE")


def say_changed(session: Session, agency_id: uuid.UUID | None, *, now: datetime) -> None:
    """What reached nobody is to be forwarded again: as this agency is reached now, or by rules that changed (None)."""
    payload = {"agency_id": None if agency_id is None else str(agency_id)}
    outbox.emit(session, TOPIC_REACH_CHANGED, payload, now=now)


def compile_everything(session: Session) -> tuple[Change, ...]:
    """Make the rows of all agencies from the rules: after areas have moved. Idempotent."""
    return _compile(session, everything=True)


def compile_agencies(session: Session, agency_ids: Sequence[uuid.UUID]) -> tuple[Change, ...]:
    """Make the rows of these agencies from the rules: after they were added, moved, retired or took up work again."""
    return _compile(session, agency_ids=agency_ids) if agency_ids else ()


def set_rule(session: Session, rule: Rule, *, replaces: uuid.UUID | None = None, actor: Actor, now: datetime) -> Edit:
    """Put a rule in force. It takes the place of ``replaces``, and of the one that decided about just the same.

    Raises:
        NotFound: there is no such area, or no such rule to replace in force.
        Conflict: ``rule_already_there``: nothing would change.
    """
    session.execute(_ALONE)
    area_id = registry.area_id(session, rule.area_code) if rule.area_code is not None else None
    old = [registry.living_rule(session, replaces)] if replaces is not None else []
    twin = registry.rule_with_key(session, area_id, rule.agency_kind, rule.level, rule.observation_kind)
    is_the_same = twin is not None and (twin.min_severity, twin.is_competent) == (rule.min_severity, rule.is_competent)
    if twin is not None and is_the_same and (not old or old[0].id == twin.id):
        raise Conflict("rule_already_there")
    if twin is not None and twin.id != replaces:
        old.append(twin)
    for one in old:
        one.retired_at = now
    session.flush()
    made = CompetenceRule(
        id=new_id(),
        jurisdiction_id=area_id,
        agency_kind=rule.agency_kind,
        level=rule.level,
        observation_kind=rule.observation_kind,
        min_severity=rule.min_severity,
        is_competent=rule.is_competent,
        made_at=now,
    )
    session.add(made)
    session.flush()
    changes = _compile(session, edited=[(one.agency_kind, one.jurisdiction_id) for one in (made, *old)])
    if changes:
        say_changed(session, None, now=now)
    before = _facts(old[0]) if old else None
    _record(session, "rule.set", made.id, actor=actor, now=now, before=before, after=_facts(made) | _counts(changes))
    return Edit(made.id, changes)


def remove_rule(session: Session, rule_id: uuid.UUID, *, actor: Actor, now: datetime) -> Edit:
    """Take a rule out of force; it is kept for the record. Raises :class:`NotFound` unless it is in force."""
    session.execute(_ALONE)
    rule = registry.living_rule(session, rule_id)
    rule.retired_at = now
    session.flush()
    changes = _compile(session, edited=[(rule.agency_kind, rule.jurisdiction_id)])
    if changes:
        say_changed(session, None, now=now)
    _record(session, "rule.removed", rule.id, actor=actor, now=now, before=_facts(rule), after=_counts(changes))
    return Edit(None, changes)


def restore_rule(session: Session, rule_id: uuid.UUID, *, actor: Actor, now: datetime) -> Edit:
    """Put a rule of the past in force again, as a new one; in the place of whatever decides about the same now.

    Raises :class:`NotFound`, or :class:`Conflict` where the same is in force.
    """
    return set_rule(session, said_by(session, rule_id), actor=actor, now=now)


def said_by(session: Session, rule_id: uuid.UUID) -> Rule:
    """What a rule says or said. Raises :class:`NotFound`."""
    found = registry.rules_by_id(session, [rule_id]).get(rule_id)
    if found is None:
        raise NotFound("rule_not_found")
    return Rule(
        found.agency_kind,
        found.area_code,
        found.level,
        found.observation_kind,
        found.min_severity,
        found.is_competent,
    )


def deciding_rules(
    session: Session, agency_ids: Sequence[uuid.UUID], observation_kind: str
) -> dict[uuid.UUID, uuid.UUID]:
    """By agency, the rule that decides about a kind of observation, for or against; without one it is left out."""
    values = {"agency_ids": list(agency_ids), "observation_kinds": [observation_kind]}
    return {row.agency_id: row.rule_id for row in session.execute(_DECIDING, values)}


def preview(
    session: Session, rule: Rule | None, *, replaces: uuid.UUID | None, actor: Actor, now: datetime
) -> tuple[Change, ...]:
    """What an edit would change, found out by doing it and taking it back. ``rule`` None: ``replaces`` is removed.

    Raises as :func:`set_rule` and :func:`remove_rule` do.
    """
    point = session.begin_nested()
    try:
        if rule is not None:
            return set_rule(session, rule, replaces=replaces, actor=actor, now=now).changes
        assert replaces is not None
        return remove_rule(session, replaces, actor=actor, now=now).changes
    finally:
        point.rollback()
        session.expire_all()


def drop_own(session: Session, agency_id: uuid.UUID, *, actor: Actor, now: datetime) -> int:
    """An agency has no competence of its own any more: the rules alone decide. Returns how many rows it had.

    Raises :class:`NotFound`.
    """
    registry.locked_agency(session, agency_id)
    gone = session.execute(_OWN_GONE, {"id": agency_id}).scalars().all()
    if gone:
        audit.record(
            session,
            action="agency.left_to_rules",
            subject_kind="agency",
            subject_id=agency_id,
            actor=actor,
            now=now,
            before={"own": len(gone)},
        )
    return len(gone)


_OWN_GONE = text("DELETE FROM competence WHERE agency_id = :id AND rule_id IS NULL RETURNING 1")


def _compile(
    session: Session,
    *,
    everything: bool = False,
    agency_ids: Sequence[uuid.UUID] = (),
    edited: Sequence[tuple[str, uuid.UUID | None]] = (),
) -> tuple[Change, ...]:
    session.execute(_ALONE)
    values: dict[str, Any] = {
        "everything": everything,
        "agency_ids": list(agency_ids),
        "kinds": [kind for kind, _area in edited],
        "areas": [area for _kind, area in edited],
        "observation_kinds": list(OBSERVATION_KINDS),
    }
    rows = session.execute(_COMPILE, values)
    return tuple(Change(row.observation_kind, row.verdict, row.agencies, tuple(row.sample)) for row in rows)


def _facts(rule: CompetenceRule) -> dict[str, audit.Fact]:
    return {
        "agency_kind": rule.agency_kind,
        "area_id": rule.jurisdiction_id,
        "level": rule.level,
        "observation_kind": rule.observation_kind,
        "min_severity": rule.min_severity,
        "is_competent": rule.is_competent,
    }


def _counts(changes: Sequence[Change]) -> dict[str, audit.Fact]:
    counts = dict.fromkeys(("gained", "lost", "sooner", "later"), 0)
    for change in changes:
        counts[change.verdict] += change.agencies
    return dict(counts)


def _record(
    session: Session,
    action: str,
    rule_id: uuid.UUID,
    *,
    actor: Actor,
    now: datetime,
    before: Mapping[str, audit.Fact] | None,
    after: Mapping[str, audit.Fact],
) -> None:
    audit.record(
        session,
        action=action,
        subject_kind="competence_rule",
        subject_id=rule_id,
        actor=actor,
        now=now,
        before=before,
        after=after,
    )
