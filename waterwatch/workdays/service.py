"""Use cases of the calendar and of deadlines: load a year, set and drop a rule."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from waterwatch.agencies.tables import Jurisdiction
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.workdays.queries import forget_ground
from waterwatch.workdays.rules import MOST, STAGES, UNITS, Limit
from waterwatch.workdays.tables import DeadlineRule, Workday

_CALENDAR = uuid.UUID("01900000-0000-7000-8000-0000000021ca")  # the calendar as the subject of audit entries


def load(session: Session, days: Mapping[date, bool], *, actor: Actor, now: datetime) -> int:
    """Replace whole years of the calendar; returns how many days were written. Idempotent.

    Raises :class:`Invalid` ``days``: ``year_incomplete`` where a year is named and not all its days are, ``missing``.
    """
    if not days:
        raise Invalid({"days": ["missing"]})
    years = sorted({day.year for day in days})
    if any(day not in days for year in years for day in days_of(year)):
        raise Invalid({"days": ["year_incomplete"]})
    rows = [{"day": day, "is_working": is_working} for day, is_working in sorted(days.items())]
    statement = insert(Workday)
    session.execute(
        statement.on_conflict_do_update(index_elements=["day"], set_={"is_working": statement.excluded.is_working}),
        rows,
    )
    forget_ground(session)
    after: dict[str, audit.Fact] = {"from": years[0], "to": years[-1], "days": len(rows)}
    audit.record(
        session,
        action="calendar.loaded",
        subject_kind="calendar",
        subject_id=_CALENDAR,
        actor=actor,
        now=now,
        after=after,
    )
    return len(rows)


def days_of(year: int) -> list[date]:
    """Every day of a year."""
    first = date(year, 1, 1)
    return [first + timedelta(days=number) for number in range((date(year + 1, 1, 1) - first).days)]


@dataclass(frozen=True)
class SetDeadline:
    """How long departments of an area (GB/T 2260 code; None: everywhere) have for a stage of a severity."""

    area_code: str | None
    severity: int
    stage: str
    limit: Limit


def set_deadline(session: Session, command: SetDeadline, *, actor: Actor, now: datetime) -> uuid.UUID:
    """Set one rule, in place of the one there was. Cases that run already keep what they were promised.

    Raises :class:`Invalid`: ``area`` ``area_unknown``, ``amount`` ``out_of_range``, ``choice_unknown`` of the others.
    """
    area_id = None
    errors: dict[str, list[str]] = {}
    if command.area_code is not None:
        area_id = session.scalars(select(Jurisdiction.id).where(Jurisdiction.code == command.area_code)).one_or_none()
        if area_id is None:
            errors["area"] = ["area_unknown"]
    for name, value, known in (
        ("severity", command.severity, (1, 2, 3, 4)),
        ("stage", command.stage, STAGES),
        ("unit", command.limit.unit, UNITS),
    ):
        if value not in known:
            errors[name] = ["choice_unknown"]
    if not 1 <= command.limit.amount <= MOST.get(command.limit.unit, 1):
        errors["amount"] = ["out_of_range"]
    if errors:
        raise Invalid(errors)
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('deadline_rule'))"))  # two at once are one after other
    rule = session.scalars(
        select(DeadlineRule).where(
            DeadlineRule.jurisdiction_id.is_not_distinct_from(area_id),
            DeadlineRule.severity == command.severity,
            DeadlineRule.stage == command.stage,
        )
    ).one_or_none()
    before = None if rule is None else _facts(rule)
    if rule is None:
        rule = DeadlineRule(
            id=new_id(), jurisdiction_id=area_id, severity=command.severity, stage=command.stage, unit="", amount=0
        )
        session.add(rule)
    rule.unit, rule.amount = command.limit.unit, command.limit.amount
    session.flush()
    forget_ground(session)
    _record(session, "deadline_rule.set", rule, before, _facts(rule), actor, now)
    return rule.id


def drop_deadline(session: Session, rule_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """Take a rule away: what is said for a larger area holds again. Raises :class:`NotFound`."""
    rule = session.get(DeadlineRule, rule_id, with_for_update=True)
    if rule is None:
        raise NotFound("deadline_rule_not_found")
    _record(session, "deadline_rule.dropped", rule, _facts(rule), None, actor, now)
    session.execute(delete(DeadlineRule).where(DeadlineRule.id == rule_id))
    forget_ground(session)


def _facts(rule: DeadlineRule) -> dict[str, audit.Fact]:
    return {
        "jurisdiction_id": rule.jurisdiction_id,
        "severity": rule.severity,
        "stage": rule.stage,
        "unit": rule.unit,
        "amount": rule.amount,
    }


def _record(
    session: Session,
    action: str,
    rule: DeadlineRule,
    before: dict[str, audit.Fact] | None,
    after: dict[str, audit.Fact] | None,
    actor: Actor,
    now: datetime,
) -> None:
    audit.record(
        session,
        action=action,
        subject_kind="deadline_rule",
        subject_id=rule.id,
        actor=actor,
        now=now,
        before=before,
        after=after,
    )
