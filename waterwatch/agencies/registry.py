"""The administrator's questions: rules, agencies and areas as they stand, and what was."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Uuid, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from waterwatch.agencies.tables import Agency, AgencyContact, AgencyName, Competence, CompetenceRule, Jurisdiction
from waterwatch.kernel.errors import NotFound

_NAME_ORDER = (
    "ORDER BY n.lang = :lang DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1"
)
_AGENCY_NAME = f"(SELECT n.name FROM agency_name n WHERE n.agency_id = {{of}} {_NAME_ORDER})"  # noqa: S608
_AREA_NAME = f"(SELECT n.name FROM jurisdiction_name n WHERE n.jurisdiction_id = {{of}} {_NAME_ORDER})"  # noqa: S608


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


@dataclass(frozen=True)
class AgencyRow:
    """An agency in a list. ``ways``: active contacts; ``below``: living agencies that answer to it."""

    agency_id: uuid.UUID
    code: str
    kind: str
    level: str
    name: str | None
    area_code: str
    area_name: str | None
    parent_id: uuid.UUID | None
    retired_at: datetime | None
    ways: int
    below: int


_AGENCIES = f"""
SELECT a.id AS agency_id, a.code, a.kind, a.level, {_AGENCY_NAME.format(of="a.id")} AS name, j.code AS area_code,
       {_AREA_NAME.format(of="j.id")} AS area_name, a.parent_id, a.retired_at,
       (SELECT count(*) FROM agency_contact k WHERE k.agency_id = a.id AND k.active)::int AS ways,
       (SELECT count(*) FROM agency b WHERE b.parent_id = a.id AND b.retired_at IS NULL)::int AS below
FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id
"""  # noqa: S608  # the pieces are constants of this module
_ORDER = "ORDER BY array_position(ARRAY['basin', 'province', 'prefecture', 'county'], a.level), j.code, a.kind, a.code"
_TOPS = text(f"{_AGENCIES} WHERE a.parent_id IS NULL AND a.retired_at IS NULL {_ORDER} LIMIT :limit OFFSET :offset")
_BELOW = text(f"{_AGENCIES} WHERE a.parent_id = :id AND a.retired_at IS NULL {_ORDER} LIMIT :limit")
_FOUND = text(f"""{_AGENCIES}
WHERE (CAST(:words AS text) IS NULL OR starts_with(a.code, lower(:words)) OR EXISTS (
           SELECT FROM agency_name n WHERE n.agency_id = a.id AND strpos(lower(n.name), lower(:words)) > 0))
  AND (CAST(:kind AS text) IS NULL OR a.kind = :kind)
  AND (CAST(:area AS uuid) IS NULL OR j.id = :area OR j.parent_id = :area
       OR EXISTS (SELECT FROM jurisdiction up WHERE up.id = j.parent_id AND up.parent_id = :area))
  AND (a.retired_at IS NOT NULL) = :is_retired
{_ORDER} LIMIT :limit OFFSET :offset""").bindparams(bindparam("area", type_=Uuid))  # noqa: S608
_ABOVE = text(f"""
WITH RECURSIVE up AS (
    SELECT id, parent_id, 0 AS nth FROM agency WHERE id = ANY(:ids)
    UNION ALL SELECT a.id, a.parent_id, up.nth + 1 FROM up JOIN agency a ON a.id = up.parent_id WHERE up.nth < 8)
SELECT * FROM ({_AGENCIES} WHERE a.id IN (SELECT id FROM up)) shown
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))  # noqa: S608  # names of our own


def top_agencies(session: Session, *, lang: str = "zh-Hans", limit: int = 100, offset: int = 0) -> list[AgencyRow]:
    """The roots of the tree: agencies that answer to none. One query."""
    rows = session.execute(_TOPS, {"lang": lang, "limit": limit, "offset": offset})
    return [AgencyRow(**row._mapping) for row in rows]


def agencies_below(
    session: Session, agency_id: uuid.UUID, *, lang: str = "zh-Hans", limit: int = 500
) -> list[AgencyRow]:
    """The agencies that answer to one. One query."""
    rows = session.execute(_BELOW, {"lang": lang, "id": agency_id, "limit": limit})
    return [AgencyRow(**row._mapping) for row in rows]


@dataclass(frozen=True)
class Sought:
    """What is looked for among agencies; None or empty: anything. ``area_code``: there or in areas below."""

    words: str = ""
    kind: str | None = None
    area_code: str | None = None
    is_retired: bool = False


def agencies_found(
    session: Session, sought: Sought, *, lang: str = "zh-Hans", limit: int = 100, offset: int = 0
) -> list[AgencyRow]:
    """Agencies by a part of their name, the beginning of their code, kind and area. Two queries."""
    try:
        area = area_id(session, sought.area_code) if sought.area_code else None
    except NotFound:
        return []
    values = {
        "words": sought.words or None,
        "kind": sought.kind,
        "area": area,
        "is_retired": sought.is_retired,
        "lang": lang,
        "limit": limit,
        "offset": offset,
    }
    return [AgencyRow(**row._mapping) for row in session.execute(_FOUND, values)]


def agencies_with_those_above(
    session: Session, agency_ids: Collection[uuid.UUID], *, lang: str = "zh-Hans"
) -> dict[uuid.UUID, AgencyRow]:
    """These agencies and all they answer to, by id. One query."""
    rows = session.execute(_ABOVE, {"ids": list(agency_ids), "lang": lang})
    return {row.agency_id: AgencyRow(**row._mapping) for row in rows}


@dataclass(frozen=True)
class Duty:
    """What an agency is competent for: a kind of observation (None: all) from a severity on, by a rule or its own."""

    observation_kind: str | None
    min_severity: int
    rule_id: uuid.UUID | None


def duties_of(session: Session, agency_id: uuid.UUID) -> list[Duty]:
    """What an agency is competent for; its own first."""
    rows = session.scalars(
        select(Competence)
        .where(Competence.agency_id == agency_id)
        .order_by(Competence.rule_id.is_not(None), Competence.observation_kind)
    )
    return [Duty(row.observation_kind, row.min_severity, row.rule_id) for row in rows]


def agency_and_names(session: Session, agency_id: uuid.UUID) -> tuple[Agency, dict[str, str]]:
    """An agency, retired or not, with its names by language. Raises :class:`NotFound`."""
    agency = session.get(Agency, agency_id)
    if agency is None:
        raise NotFound("agency_not_found")
    names = session.scalars(select(AgencyName).where(AgencyName.agency_id == agency_id))
    return agency, {name.lang: name.name for name in names}


def agency_id_of(session: Session, code: str) -> uuid.UUID | None:
    """An agency's id by its code, None where there is none."""
    return session.scalars(select(Agency.id).where(Agency.code == code)).one_or_none()


def contacts_of(session: Session, agency_id: uuid.UUID) -> list[AgencyContact]:
    """An agency's contacts, in the order they are used, those out of use last."""
    return list(
        session.scalars(
            select(AgencyContact)
            .where(AgencyContact.agency_id == agency_id)
            .order_by(AgencyContact.active.desc(), AgencyContact.position, AgencyContact.address)
        )
    )


def locked_contact(session: Session, contact_id: uuid.UUID) -> AgencyContact:
    """One contact, locked. Raises :class:`NotFound`."""
    found = session.scalars(
        select(AgencyContact)
        .where(AgencyContact.id == contact_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise NotFound("contact_not_found")
    return found


def locked_agency(session: Session, agency_id: uuid.UUID) -> Agency:
    """One agency, locked. Raises :class:`NotFound`."""
    found = session.scalars(
        select(Agency).where(Agency.id == agency_id).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise NotFound("agency_not_found")
    return found


def agency_name(session: Session, agency_id: uuid.UUID, *, lang: str = "zh-Hans") -> str | None:
    """An agency's name in a language, else in another."""
    row = agencies_with_those_above(session, [agency_id], lang=lang).get(agency_id)
    return row.name if row else None


_NAMES = text(f"""
SELECT a.id, coalesce({_AGENCY_NAME.format(of="a.id")}, a.code) AS name FROM agency a WHERE a.id = ANY(:ids)
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)))  # noqa: S608  # names of our own


def agency_names(session: Session, agency_ids: Collection[uuid.UUID], *, lang: str = "zh-Hans") -> dict[uuid.UUID, str]:
    """The names of these agencies in a language, else in another, else their codes. One query."""
    return {row.id: row.name for row in session.execute(_NAMES, {"ids": list(agency_ids), "lang": lang})}


_LINEAGE = text("""
SELECT j.id, j.level, j.parent_id AS area_1, up.parent_id AS area_2
FROM jurisdiction j LEFT JOIN jurisdiction up ON up.id = j.parent_id WHERE j.id = :id
""")
_BETWEEN = text("""
SELECT EXISTS (
    SELECT FROM agency a WHERE a.retired_at IS NULL AND a.kind = :kind AND a.level = 'prefecture'
      AND a.jurisdiction_id = ANY(:areas) AND a.id <> :id)
""").bindparams(bindparam("areas", type_=ARRAY(Uuid)))


def lineage_of(session: Session, area: uuid.UUID) -> tuple[str, tuple[uuid.UUID, ...]]:
    """An area's level, and the ids of itself and what it lies in, the nearest first."""
    row = session.execute(_LINEAGE, {"id": area}).one()
    return row.level, tuple(one for one in (row.id, row.area_1, row.area_2) if one is not None)


def has_prefectures_agency(session: Session, kind: str, areas: Collection[uuid.UUID], *, besides: uuid.UUID) -> bool:
    """Whether a living agency of a kind answers for one of these areas as a prefecture's."""
    return bool(session.execute(_BETWEEN, {"kind": kind, "areas": list(areas), "id": besides}).scalar_one())


def answers_to(session: Session, agency_id: uuid.UUID) -> list[uuid.UUID]:
    """Whom an agency answers to, upwards, at most eight levels; it begins with the agency itself."""
    chain = [agency_id]
    while len(chain) < 9:
        parent = session.scalars(select(Agency.parent_id).where(Agency.id == chain[-1])).one_or_none()
        if parent is None or parent in chain:
            break
        chain.append(parent)
    return chain


_AREAS_AT = text("""
SELECT j.code, j.level, a.id AS agency_id
FROM (SELECT DISTINCT part.jurisdiction_id AS id FROM jurisdiction_part part
      WHERE ST_Intersects(part.geom, ST_SetSRID(ST_MakePoint(:lon, :lat), 4326))) here
JOIN jurisdiction j ON j.id = here.id LEFT JOIN agency a ON a.jurisdiction_id = j.id AND a.retired_at IS NULL
""")


def agencies_at(session: Session, lon: float, lat: float) -> tuple[int, list[uuid.UUID]]:
    """How many areas a place (WGS-84) lies in, and every living agency that answers for one of them. One query."""
    rows = session.execute(_AREAS_AT, {"lon": lon, "lat": lat}).all()
    return len({row.code for row in rows}), [row.agency_id for row in rows if row.agency_id is not None]


_PLACE_OF_AREA = text("""
SELECT ST_X(at) AS lon, ST_Y(at) AS lat
FROM (SELECT ST_PointOnSurface(geom) AS at FROM jurisdiction WHERE code = :code AND retired_at IS NULL) place
""")


def place_in(session: Session, code: str) -> tuple[float, float] | None:
    """Some place (lon, lat in WGS-84) in an area; None where there is no such area."""
    row = session.execute(_PLACE_OF_AREA, {"code": code}).first()
    return (row.lon, row.lat) if row else None
