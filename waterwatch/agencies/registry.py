"""The administrator's questions: rules, agencies and areas as they stand, and what was."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Uuid, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from waterwatch.agencies.tables import CompetenceRule, Jurisdiction
from waterwatch.kernel.errors import NotFound

_NAME_ORDER = "ORDER BY n.lang = :lang DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1"
_AGENCY_NAME = f"(SELECT n.name FROM agency_name n WHERE n.agency_id = {{of}} {_NAME_ORDER})"
_AREA_NAME = f"(SELECT n.name FROM jurisdiction_name n WHERE n.jurisdiction_id = {{of}} {_NAME_ORDER})"


def area_id(session: Session, code: str) -> uuid.UUID:
    """The id of a living area. Raises :class:`NotFound` ``area_not_found``."""
    found = session.scalars(
        select(Jurisdiction.id).where(Jurisdiction.code == code, Jurisdiction.retired_at.is_(None))
    ).one_or_none()
    if found is None:
        raise NotFound("area_not_found")
    return found


def living_rule(session: Session, rule_id: uuid.UUID) -> CompetenceRule:
    """A rule in force. Raises :class:`NotFound` ``rule_not_found``."""
    found = session.scalars(
        select(CompetenceRule).where(CompetenceRule.id == rule_id, CompetenceRule.retired_at.is_(None))
    ).one_or_none()
    if found is None:
        raise NotFound("rule_not_found")
    return found


def rule_with_key(
    session: Session, area: uuid.UUID | None, agency_kind: str, level: str | None, observation_kind: str | None
) -> CompetenceRule | None:
    """The rule in force that decides about just this, if any."""
    return session.scalars(
        select(CompetenceRule).where(
            CompetenceRule.retired_at.is_(None),
            CompetenceRule.jurisdiction_id.is_not_distinct_from(area),
            CompetenceRule.agency_kind == agency_kind,
            CompetenceRule.level.is_not_distinct_from(level),
            CompetenceRule.observation_kind.is_not_distinct_from(observation_kind),
        )
    ).one_or_none()


@dataclass(frozen=True)
class RuleView:
    """A rule as it is shown. ``area_name`` and ``area_code`` None: everywhere. ``agencies``: it decides for so many."""

    rule_id: uuid.UUID
    area_code: str | None
    area_level: str | None
    area_name: str | None
    agency_kind: str
    level: str | None
    observation_kind: str | None
    min_severity: int
    is_competent: bool
    made_at: datetime
    retired_at: datetime | None
    agencies: int


_RULES = f"""
SELECT r.id AS rule_id, j.code AS area_code, j.level AS area_level, {_AREA_NAME.format(of="j.id")} AS area_name,
       r.agency_kind, r.level, r.observation_kind, r.min_severity, r.is_competent, r.made_at, r.retired_at,
       (SELECT count(DISTINCT c.agency_id) FROM competence c WHERE c.rule_id = r.id)::int AS agencies
FROM competence_rule r LEFT JOIN jurisdiction j ON j.id = r.jurisdiction_id
"""  # noqa: S608  # the pieces are constants of this module
_LIVING_RULES = text(f"""{_RULES} WHERE r.retired_at IS NULL
ORDER BY r.agency_kind, j.code NULLS FIRST, r.observation_kind NULLS FIRST, r.level NULLS FIRST LIMIT :limit
""")
_RULES_OF = text(f"{_RULES} WHERE r.id = ANY(:ids)").bindparams(bindparam("ids", type_=ARRAY(Uuid)))
_RETIRED_RULES = text(f"{_RULES} WHERE r.retired_at IS NOT NULL ORDER BY r.retired_at DESC, r.id LIMIT :limit")


def rules_in_force(session: Session, *, lang: str = "zh-Hans", limit: int = 2000) -> list[RuleView]:
    """The table of rules: by kind of agency, the wider before the narrower. One query."""
    return [RuleView(**row._mapping) for row in session.execute(_LIVING_RULES, {"lang": lang, "limit": limit})]


def rules_of_the_past(session: Session, *, lang: str = "zh-Hans", limit: int = 30) -> list[RuleView]:
    """What was in force, what ended last first. One query."""
    return [RuleView(**row._mapping) for row in session.execute(_RETIRED_RULES, {"lang": lang, "limit": limit})]


def rules_by_id(
    session: Session, rule_ids: Collection[uuid.UUID], *, lang: str = "zh-Hans"
) -> dict[uuid.UUID, RuleView]:
    """These rules, in force or not. One query."""
    rows = session.execute(_RULES_OF, {"ids": list(rule_ids), "lang": lang})
    return {row.rule_id: RuleView(**row._mapping) for row in rows}
