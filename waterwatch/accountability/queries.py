"""What is asked of accountability, each named for its answer. Figures are counted by set, whatever their number."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from waterwatch.accountability.rules import Figures, Period
from waterwatch.accountability.tables import AgencyComment, PeriodFigures, PeriodRelease
from waterwatch.kernel.errors import NotFound

COUNT_TIMEOUT_S = 600
SORT_MEMORY = "128MB"  # a million cases are sorted thrice; on disk that takes twice as long
NUMBERS = (
    *("cases", "withdrawn", "not_ours", "supervising", "not_reached", "acknowledge_due", "acknowledged"),
    *("acknowledged_on_time", "acknowledge_median_s", "answer_due", "answered", "answered_on_time", "answer_median_s"),
    *("settle_due", "verified_clean", "claimed", "reopened", "overdue"),
)
# What is counted is a round: a case that a citizen's photo reopened begins again, and the round before it still counts,
# as one that was closed, whatever its case became since. A round belongs to the period in which it reached the
# department; one that never did, to that in which it began. Whoever answers has acknowledged, and whoever reports it
# done has answered. What came after the instant did not happen yet. Once an incident is over nothing is owed any more:
# the times to acknowledge and to answer are cut at its end. The time to finish is not: whose it is over are counted
# together, whatever became of them, or those that nobody looked at again would leave and only the clean ones stay.
# Whoever was only warned of what comes down the river owed nothing, and is not counted.
# A mail that came in time and waits for the lead to read it is our delay: its stage is neither kept nor missed.
_CASES = """
WITH begun AS (
    SELECT case_id, max(reopened_at) AS at FROM case_round GROUP BY case_id
), mailed AS (
    SELECT a.case_id, min(a.said_at) AS at, min(a.said_at) FILTER (WHERE a.kind = 'answer') AS answer_at
    FROM case_answer a LEFT JOIN begun USING (case_id)
    WHERE a.state = 'held' AND a.via = 'email' AND a.erased_at IS NULL AND a.said_at <= :as_of
      AND (a.said_at < begun.at) IS NOT TRUE GROUP BY a.case_id
), rounds AS (
    SELECT c.incident_id, c.agency_id, c.state, c.role, c.delivered_at, c.acknowledged_at, c.answered_at, c.closed_at,
           c.acknowledge_by, c.answer_by, c.finish_by, true AS is_present, coalesce(begun.at, c.created_at) AS begun_at,
           (mailed.at <= c.acknowledge_by) IS TRUE AS is_acknowledging,
           (mailed.answer_at <= c.answer_by) IS TRUE AS is_answering
    FROM escalation_case c LEFT JOIN begun ON begun.case_id = c.id LEFT JOIN mailed ON mailed.case_id = c.id
    WHERE c.agency_id IS NOT NULL AND c.role <> 'downstream' AND c.created_at < :until
    UNION ALL
    SELECT c.incident_id, c.agency_id, 'closed', c.role, r.delivered_at, r.acknowledged_at, r.answered_at, r.closed_at,
           r.acknowledge_by, r.answer_by, r.finish_by, false, c.created_at, false, false
    FROM case_round r JOIN escalation_case c ON c.id = r.case_id
    WHERE c.agency_id IS NOT NULL AND c.role <> 'downstream'
), seen AS (
    SELECT c.agency_id, c.role, c.is_present, c.acknowledge_by, c.answer_by, c.finish_by, c.begun_at,
           c.is_acknowledging, c.is_answering,
           CASE WHEN i.state IN ('merged', 'retracted') THEN 'withdrawn' ELSE c.state END AS state,
           coalesce(c.delivered_at, CASE WHEN c.acknowledged_at IS NOT NULL THEN c.begun_at END) AS reached_at,
           least(c.acknowledged_at, c.answered_at, c.closed_at) AS said_acknowledged_at,
           least(c.answered_at, c.closed_at) AS said_answered_at, c.closed_at AS said_closed_at,
           least(CAST(:as_of AS timestamptz), i.closed_at) AS ends_at,
           i.state = 'verified_clean' AND i.closed_at <= :as_of AS is_clean,
           i.closed_at <= :as_of AS is_over
    FROM rounds c JOIN incident i ON i.id = c.incident_id
), dated AS (
    SELECT seen.*,
           CASE WHEN said_acknowledged_at <= :as_of THEN said_acknowledged_at END AS acknowledged_at,
           CASE WHEN said_answered_at <= :as_of THEN said_answered_at END AS answered_at,
           CASE WHEN said_closed_at <= :as_of THEN said_closed_at END AS closed_at,
           CASE WHEN state = 'withdrawn' THEN 'withdrawn' WHEN role = 'supervising' THEN 'supervising'
                WHEN state = 'refused_not_ours' THEN 'not_ours' WHEN reached_at IS NULL THEN 'not_reached'
                ELSE 'counts' END AS sort
    FROM seen WHERE coalesce(reached_at, begun_at) >= :since AND coalesce(reached_at, begun_at) < :until
), judged AS MATERIALIZED (
    SELECT agency_id, sort, is_clean, sort = 'counts' AND NOT is_present AS reopened,
           sort = 'counts' AND (
               acknowledged_at IS NOT NULL OR acknowledge_by <= ends_at AND NOT is_acknowledging
           ) IS TRUE AS acknowledge_due,
           sort = 'counts' AND (
               answered_at IS NOT NULL OR answer_by <= ends_at AND NOT is_answering
           ) IS TRUE AS answer_due,
           sort = 'counts' AND is_present AND (finish_by <= :as_of) IS TRUE AS settle_due,
           acknowledged_at IS NOT NULL AS acknowledged, acknowledged_at <= acknowledge_by AS acknowledged_on_time,
           answered_at IS NOT NULL AS answered, answered_at <= answer_by AS answered_on_time,
           is_present AND closed_at IS NOT NULL AND is_clean IS NOT TRUE AS claimed,
           sort = 'counts' AND is_present AND is_over IS NOT TRUE AND (
               acknowledged_at IS NULL AND acknowledge_by <= :as_of AND NOT is_acknowledging
               OR answered_at IS NULL AND answer_by <= :as_of AND NOT is_answering
               OR closed_at IS NULL AND finish_by <= :as_of) IS TRUE AS overdue,
           coalesce(extract(epoch FROM acknowledged_at - reached_at)::float8, 'infinity') AS acknowledge_s,
           coalesce(extract(epoch FROM answered_at - reached_at)::float8, 'infinity') AS answer_s
    FROM dated
)
"""
_COUNTS = """
count(*) FILTER (WHERE sort = 'counts') AS cases,
count(*) FILTER (WHERE sort = 'withdrawn') AS withdrawn,
count(*) FILTER (WHERE sort = 'not_ours') AS not_ours,
count(*) FILTER (WHERE sort = 'supervising') AS supervising,
count(*) FILTER (WHERE sort = 'not_reached') AS not_reached,
count(*) FILTER (WHERE acknowledge_due) AS acknowledge_due,
count(*) FILTER (WHERE acknowledge_due AND acknowledged) AS acknowledged,
count(*) FILTER (WHERE acknowledge_due AND acknowledged_on_time) AS acknowledged_on_time,
percentile_disc(0.5) WITHIN GROUP (ORDER BY acknowledge_s) FILTER (WHERE acknowledge_due) AS acknowledge_median_s,
count(*) FILTER (WHERE answer_due) AS answer_due,
count(*) FILTER (WHERE answer_due AND answered) AS answered,
count(*) FILTER (WHERE answer_due AND answered_on_time) AS answered_on_time,
percentile_disc(0.5) WITHIN GROUP (ORDER BY answer_s) FILTER (WHERE answer_due) AS answer_median_s,
count(*) FILTER (WHERE settle_due) AS settle_due,
count(*) FILTER (WHERE settle_due AND is_clean) AS verified_clean,
count(*) FILTER (WHERE sort = 'counts' AND claimed) AS claimed,
count(*) FILTER (WHERE reopened) AS reopened,
count(*) FILTER (WHERE overdue) AS overdue
"""
# Areas count what the departments of the area, and of those within it, were given. Rows that were counted before keep
# their ids: each department's mail leads to its own. Those that are not counted any more go; one that comes back has
# the id it had.
_MAKE = text(f"""
WITH kept AS (
{_CASES}, around (agency_id, area_id) AS (
    WITH RECURSIVE up (agency_id, area_id) AS (
        SELECT a.id, a.jurisdiction_id FROM agency a
        UNION SELECT up.agency_id, j.parent_id FROM up JOIN jurisdiction j ON j.id = up.area_id
        WHERE j.parent_id IS NOT NULL)
    SELECT agency_id, area_id FROM up)
INSERT INTO period_figures (id, period, agency_id, jurisdiction_id, {", ".join(NUMBERS)})
SELECT CAST(md5(concat_ws(':', CAST(:period AS text), agency_id, area_id)) AS uuid), :period, found.* FROM (
    SELECT agency_id, CAST(NULL AS uuid) AS area_id, {_COUNTS} FROM judged GROUP BY agency_id
    UNION ALL
    SELECT CAST(NULL AS uuid), around.area_id, {_COUNTS} FROM judged JOIN around USING (agency_id)
    GROUP BY around.area_id
    UNION ALL
    SELECT CAST(NULL AS uuid), CAST(NULL AS uuid), {_COUNTS} FROM judged) found
ON CONFLICT (period, agency_id, jurisdiction_id) DO UPDATE
    SET ({", ".join(NUMBERS)}) = ROW ({", ".join(f"excluded.{name}" for name in NUMBERS)})
RETURNING id
), gone AS (
    DELETE FROM period_figures f WHERE f.period = :period AND NOT EXISTS (SELECT FROM kept WHERE kept.id = f.id)
)
SELECT count(*) FROM kept
""")  # noqa: S608  # the pieces are constants of this module
_OF_AGENCY = text(f"{_CASES} SELECT {_COUNTS} FROM judged WHERE agency_id = :agency_id")  # noqa: S608
_NAMES = "coalesce((SELECT jsonb_object_agg(n.lang, n.name) FROM {table} n WHERE n.{key} = {of}), '{{}}'::jsonb)"
_AGENCY_NAMES = _NAMES.format(table="agency_name", key="agency_id", of="a.id")
_AREA_NAMES = _NAMES.format(table="jurisdiction_name", key="jurisdiction_id", of="j.id")
_FIGURES = ", ".join(f"f.{name}" for name in NUMBERS)
_COMMENT = """
LEFT JOIN agency_comment k ON k.figures_id = f.id AND k.state = 'published'
"""
_ROWS = f"""
SELECT f.id AS figures_id, f.period, a.code AS agency_code, a.kind, a.level, {_AGENCY_NAMES} AS names,
       j.code AS area_code, {_AREA_NAMES} AS area_names, k.words AS comment, k.written_at AS commented_at, {_FIGURES}
FROM period_figures f JOIN period_release r ON r.period = f.period
JOIN agency a ON a.id = f.agency_id JOIN jurisdiction j ON j.id = a.jurisdiction_id {_COMMENT}
"""  # noqa: S608
_NATIONAL = text(f"{_ROWS} WHERE f.period = :period AND r.state = 'published' ORDER BY a.code")
_INSIDE = text(f"""
WITH RECURSIVE inside (id) AS (
    SELECT id FROM jurisdiction WHERE code = :area UNION ALL
    SELECT j.id FROM inside JOIN jurisdiction j ON j.parent_id = inside.id)
{_ROWS} WHERE f.period = :period AND r.state = 'published' AND a.jurisdiction_id IN (SELECT id FROM inside)
ORDER BY a.code
""")  # noqa: S608
_HISTORY = text(f"""
{_ROWS} WHERE a.code = :code AND r.state = 'published' AND (f.period LIKE '%Q%') = :quarters
ORDER BY f.period DESC LIMIT :limit
""")
_SHOWN = text(f"{_ROWS} WHERE f.id = :id")
_AREA = text(f"""
SELECT f.period, {_FIGURES} FROM period_figures f JOIN period_release r ON r.period = f.period
LEFT JOIN jurisdiction j ON j.id = f.jurisdiction_id
WHERE f.agency_id IS NULL AND r.state = 'published' AND j.code IS NOT DISTINCT FROM CAST(:code AS text)
  AND (f.period LIKE '%Q%') = :quarters
ORDER BY f.period DESC LIMIT :limit
""")  # noqa: S608
_AGENCY = text(f"""
SELECT a.id AS agency_id, a.code, a.kind, a.level, {_AGENCY_NAMES} AS names, j.code AS area_code,
       {_AREA_NAMES} AS area_names
FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id WHERE a.code = :code OR a.id = CAST(:id AS uuid)
""")  # noqa: S608
_AREA_NAMED = text(f"SELECT {_AREA_NAMES} AS names FROM jurisdiction j WHERE j.code = :code")  # noqa: S608
_HAS_CASES = text("""
SELECT EXISTS (SELECT FROM escalation_case WHERE agency_id IS NOT NULL AND role <> 'downstream'
               AND created_at >= :since AND created_at < :until)
""")
# The first address each department has for mails.
_ADDRESSED = text("""
SELECT f.id AS figures_id, a.id AS agency_id, k.address
FROM period_figures f JOIN agency a ON a.id = f.agency_id
JOIN LATERAL (SELECT address FROM agency_contact WHERE agency_id = a.id AND channel = 'email' AND active
              ORDER BY position, address LIMIT 1) k ON true
WHERE f.period = :period AND a.retired_at IS NULL ORDER BY a.code
""")
_HELD = text(f"""
SELECT k.id AS comment_id, k.words, k.written_at, k.state, k.withheld_reason, f.period, a.code AS agency_code,
       {_AGENCY_NAMES} AS names
FROM agency_comment k JOIN period_figures f ON f.id = k.figures_id JOIN agency a ON a.id = f.agency_id
ORDER BY k.state <> 'held', k.written_at DESC LIMIT :limit
""")  # noqa: S608
_DUE = text("SELECT period FROM period_release WHERE state = 'shown' AND state_deadline_at <= :now ORDER BY period")


@dataclass(frozen=True)
class AgencyView:
    """A department."""

    agency_id: uuid.UUID
    code: str
    kind: str
    level: str
    names: dict[str, str]
    area_code: str
    area_names: dict[str, str]


@dataclass(frozen=True)
class AgencyRow:
    """A department's figures of a period, and its published comment."""

    figures_id: uuid.UUID
    period: str
    agency_code: str
    kind: str
    level: str
    names: dict[str, str]
    area_code: str
    area_names: dict[str, str]
    comment: str | None
    commented_at: datetime | None
    figures: Figures = field(repr=False)


@dataclass(frozen=True)
class CommentView:
    """A comment as the lead sees it."""

    comment_id: uuid.UUID
    words: str
    written_at: datetime
    state: str
    withheld_reason: str | None
    period: str
    agency_code: str
    names: dict[str, str]


def count(session: Session, period: Period, *, as_of: datetime) -> int:
    """Count the cases of a period for every department, every area and the country, into ``period_figures``.

    One statement. What was counted before gives way and keeps its id. Gives how many rows there are; a department
    without a case has none.
    """
    values = {"period": period.code, "since": period.since, "until": period.until, "as_of": as_of}
    session.execute(text(f"SET LOCAL work_mem = '{SORT_MEMORY}'"))
    session.execute(text(f"SET LOCAL statement_timeout = '{COUNT_TIMEOUT_S}s'"))
    return int(session.execute(_MAKE, values).scalar_one())


def figures_of(session: Session, agency_id: uuid.UUID, period: Period, *, as_of: datetime) -> Figures:
    """What would be counted for one department now. One statement."""
    return figures_of_window(session, agency_id, period.since, period.until, as_of=as_of)


def figures_of_window(
    session: Session, agency_id: uuid.UUID, since: datetime, until: datetime, *, as_of: datetime
) -> Figures:
    """One department's figures of the cases that reached it from ``since`` until before ``until``, as of an instant.

    Counted as what is published is. One statement; all zero where there was nothing.
    """
    values = {"agency_id": agency_id, "since": since, "until": until, "as_of": as_of}
    return Figures(**session.execute(_OF_AGENCY, values).one()._mapping)


def _row(found: Any) -> AgencyRow:
    facts: Mapping[str, Any] = found._mapping
    figures = Figures(**{name: facts[name] for name in NUMBERS})
    return AgencyRow(**{name: value for name, value in facts.items() if name not in NUMBERS}, figures=figures)


def published(session: Session, period: str, *, area: str | None = None) -> list[AgencyRow]:
    """Every department's figures of a published period, by code; ``area``: of those in it. One query."""
    found = session.execute(_INSIDE if area else _NATIONAL, {"period": period, "area": area})
    return [_row(row) for row in found]


def history_of(session: Session, code: str, *, quarters: bool = True, limit: int = 12) -> list[AgencyRow]:
    """A department's published figures, the latest period first. One query."""
    return [_row(row) for row in session.execute(_HISTORY, {"code": code, "quarters": quarters, "limit": limit})]


def shown(session: Session, figures_id: uuid.UUID) -> AgencyRow:
    """One department's figures, published or not. Raises :class:`NotFound`."""
    row = session.execute(_SHOWN, {"id": figures_id}).first()
    if row is None:
        raise NotFound("figures_not_found")
    return _row(row)


def area_history(
    session: Session, code: str | None, *, quarters: bool = True, limit: int = 12
) -> list[tuple[str, Figures]]:
    """(period, figures) of an area, or of the country (None), the latest first. One query."""
    rows = session.execute(_AREA, {"code": code, "quarters": quarters, "limit": limit})
    return [(row.period, Figures(**{name: row._mapping[name] for name in NUMBERS})) for row in rows]


def agency_by_code(session: Session, code: str) -> AgencyView | None:
    """A department by its code; also one that was retired: its past is not."""
    row = session.execute(_AGENCY, {"code": code, "id": None}).first()
    return None if row is None else AgencyView(**row._mapping)


def code_of(session: Session, agency_id: uuid.UUID) -> str:
    """A department's code. Raises :class:`NotFound`."""
    row = session.execute(_AGENCY, {"code": None, "id": agency_id}).first()
    if row is None:
        raise NotFound("agency_not_found")
    return str(row.code)


def releases(session: Session, *, limit: int = 200) -> list[PeriodRelease]:
    """The periods whose figures were counted, the latest first."""
    return list(session.scalars(select(PeriodRelease).order_by(PeriodRelease.period.desc()).limit(limit)))


def published_periods(session: Session) -> list[str]:
    """Codes of the periods anybody may see, the latest first; quarters before months."""
    codes = [one.period for one in releases(session) if one.state == "published"]
    return sorted(codes, key=lambda code: ("Q" in code, code), reverse=True)


def locked_release(session: Session, period: str) -> PeriodRelease | None:
    """A period's release, locked."""
    return session.get(PeriodRelease, period, with_for_update=True, populate_existing=True)


def period_of(session: Session, figures_id: uuid.UUID) -> str:
    """Which period these figures are of, for good. Raises :class:`NotFound`."""
    period = session.scalars(select(PeriodFigures.period).where(PeriodFigures.id == figures_id)).one_or_none()
    if period is None:
        raise NotFound("figures_not_found")
    return period


def releases_due(session: Session, *, now: datetime) -> list[str]:
    """Periods the departments have had their time with."""
    return list(session.execute(_DUE, {"now": now}).scalars())


def addressed(session: Session, period: str) -> list[tuple[uuid.UUID, uuid.UUID, str]]:
    """(figures, agency, address) of the departments of a period that can be written to."""
    rows = session.execute(_ADDRESSED, {"period": period})
    return [(row.figures_id, row.agency_id, row.address) for row in rows]


def comments(session: Session, *, limit: int = 200) -> list[CommentView]:
    """What departments said, what waits for the lead first."""
    return [CommentView(**row._mapping) for row in session.execute(_HELD, {"limit": limit})]


def locked_comment(session: Session, comment_id: uuid.UUID) -> AgencyComment:
    """A comment, locked. Raises :class:`NotFound`."""
    found = session.get(AgencyComment, comment_id, with_for_update=True, populate_existing=True)
    if found is None:
        raise NotFound("comment_not_found")
    return found


def comment_on(session: Session, figures_id: uuid.UUID) -> AgencyComment | None:
    """A department's comment on its figures, locked."""
    return session.scalars(
        select(AgencyComment).where(AgencyComment.figures_id == figures_id).with_for_update()
    ).one_or_none()


def has_comments(session: Session, period: str) -> bool:
    """Whether any department has commented on a period."""
    found = select(AgencyComment.id).join(PeriodFigures, PeriodFigures.id == AgencyComment.figures_id)
    return session.scalars(found.where(PeriodFigures.period == period).limit(1)).first() is not None


def release(session: Session, period: str) -> PeriodRelease | None:
    """Where a period's figures stand."""
    return session.get(PeriodRelease, period)


def agency_of(session: Session, figures_id: uuid.UUID) -> uuid.UUID:
    """Whose figures these are. Raises :class:`NotFound` also for an area's."""
    found = session.get(PeriodFigures, figures_id)
    if found is None or found.agency_id is None:
        raise NotFound("figures_not_found")
    return found.agency_id


def area_names(session: Session, code: str) -> dict[str, str] | None:
    """An area's names by language; None where there is no such area."""
    row = session.execute(_AREA_NAMED, {"code": code}).first()
    return None if row is None else row.names


def has_cases(session: Session, period: Period) -> bool:
    """Whether any department was given a case in a period."""
    return bool(session.execute(_HAS_CASES, {"since": period.since, "until": period.until}).scalar_one())
