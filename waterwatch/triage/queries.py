"""The queue: who gets what next, what waits and since when. Every statement looks at what waits, never at the rest."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import TextClause, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session

from waterwatch.kernel.errors import NotFound
from waterwatch.reports.tables import MEASURED
from waterwatch.triage.rules import Observed, area_prefix
from waterwatch.triage.tables import DeskView, ModeratorArea


@dataclass(frozen=True)
class Wanted:
    """What of the queue a moderator wants to see; nothing said is everything. Areas are GB/T 2260 codes."""

    area_codes: tuple[str, ...] = ()
    water_body_id: uuid.UUID | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Waiting:
    """One report in the queue. ``held_by_other`` is true while another moderator looks at it."""

    report_id: uuid.UUID
    code: str
    kind: str
    received_at: datetime
    urgency: int
    points: int
    hints: list[str]
    area_code: str | None
    set_aside: str | None
    held_by_other: bool
    is_mine: bool
    photo_count: int

    @property
    def is_red_flag(self) -> bool:
        """Whether it goes before everything else."""
        return self.urgency == 2


@dataclass(frozen=True)
class QueueSummary:
    """How much waits, since when, and how much of it someone is looking at. What is set aside is not ``waiting``."""

    waiting: int
    oldest_received_at: datetime | None
    held: int
    to_screen: int
    for_lead: int
    asked: int


_MATCHES = {
    "area": "q.area_code LIKE ANY(:areas)",
    "water": "q.water_body_id = :water_body_id",
    "kind": "q.kind = :kind",
}
_FREE = "(q.leased_until IS NULL OR q.leased_until <= :now OR q.leased_by = :person_id)"
_FOR_ME = "q.not_for IS DISTINCT FROM :person_id"
# What was handed to the lead is held by nobody else.
_MAY_LEAD = """(q.set_aside IS DISTINCT FROM 'lead' OR EXISTS (
    SELECT FROM membership m JOIN role ro ON ro.id = m.role_id
    WHERE m.person_id = :person_id AND ro.permissions ? 'reverse'))"""
_ORDER = "ORDER BY q.urgency DESC, q.received_at, q.report_id"
# Nothing but the lease is written, and a lease that is lost in a crash is a report handed out again: the moderator
# does not wait for the disk.
_NO_WAIT = "set_config('synchronous_commit', 'off', true)"
_CLAIM = """
WITH next AS (
    SELECT q.report_id FROM review_item q
    WHERE q.set_aside IS NULL AND (q.leased_until IS NULL OR q.leased_until <= :now) AND {for_me} {matches}
    {order} LIMIT 1 FOR UPDATE SKIP LOCKED)
UPDATE review_item SET leased_by = :person_id, leased_until = :until, leased_at = :now
FROM next WHERE review_item.report_id = next.report_id
RETURNING review_item.report_id, {no_wait}
"""
_HOLD = text(f"""
UPDATE review_item q SET leased_by = :person_id, leased_until = :until,
       leased_at = CASE WHEN q.leased_by = :person_id AND q.leased_until > :now THEN q.leased_at ELSE :now END
WHERE q.report_id = :report_id AND {_FREE} AND {_FOR_ME} AND {_MAY_LEAD} RETURNING q.leased_at
""")  # noqa: S608  # the pieces are constants of this module
_RELEASE = text("""
UPDATE review_item SET leased_by = NULL, leased_until = NULL, leased_at = NULL
WHERE report_id = :report_id AND leased_by = :person_id
""")
# What was handed to the lead stays theirs while its author is asked.
_STAYS_LEADS = "CAST(:reason AS text) = 'question' AND set_aside = 'lead'"
_SET_ASIDE = text(f"""
UPDATE review_item SET leased_by = NULL, leased_until = NULL, leased_at = NULL,
       set_aside = CASE WHEN {_STAYS_LEADS} THEN set_aside ELSE CAST(:reason AS text) END,
       set_aside_until = CASE WHEN {_STAYS_LEADS} THEN NULL ELSE CAST(:until AS timestamptz) END
WHERE report_id = :report_id RETURNING report_id
""")  # noqa: S608  # a constant
_PUT_BACK_IF = text("""
UPDATE review_item SET set_aside = NULL, set_aside_until = NULL WHERE report_id = :report_id AND set_aside = :reason
RETURNING report_id
""")
_KEEP_FROM = text("""
UPDATE review_item SET not_for = :person_id, leased_by = NULL, leased_until = NULL, leased_at = NULL
WHERE report_id = :report_id
""")
_PUT_BACK_DUE = text("""
UPDATE review_item SET set_aside = NULL, set_aside_until = NULL WHERE report_id IN (
    SELECT report_id FROM review_item WHERE set_aside_until <= :now ORDER BY report_id LIMIT :limit
    FOR UPDATE SKIP LOCKED)
RETURNING report_id
""")
_WAITING = """
SELECT q.report_id, r.code, q.kind, q.received_at, q.urgency, q.points, q.hints, q.area_code, q.set_aside,
       coalesce(q.leased_until > :now AND q.leased_by <> :person_id, false) AS held_by_other,
       coalesce(q.leased_until > :now AND q.leased_by = :person_id, false) AS is_mine,
       (SELECT count(*)::int FROM report_photo rp JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready'
        WHERE rp.report_id = q.report_id) AS photo_count
FROM (SELECT q.* FROM review_item q WHERE {aside} {matches} {order} LIMIT :limit) q JOIN report r ON r.id = q.report_id
{order}
"""
_SUMMARY = text("""
SELECT count(*) FILTER (WHERE set_aside IS NULL)::int AS waiting,
       min(received_at) FILTER (WHERE set_aside IS NULL) AS oldest_received_at,
       count(*) FILTER (WHERE leased_until > :now)::int AS held,
       count(*) FILTER (WHERE set_aside = 'screening')::int AS to_screen,
       count(*) FILTER (WHERE set_aside = 'lead')::int AS for_lead,
       count(*) FILTER (WHERE set_aside = 'question')::int AS asked
FROM review_item
""")
_READINGS = ", ".join(f"'{name}', r.{name}" for name in MEASURED)
_WEIGHED = text(f"""
SELECT r.kind, r.extent, r.since, r.is_ongoing, r.has_dead_animals, r.affects_people,
       jsonb_strip_nulls(jsonb_build_object({_READINGS})) AS measured, ST_X(r.point) AS lon, ST_Y(r.point) AS lat,
       EXISTS (SELECT FROM duplicate_candidate c WHERE (c.report_id = r.id OR c.other_report_id = r.id)
               AND c.is_near AND NOT c.is_same_device AND NOT c.is_recycled) AS has_independent_reports
FROM review_item q JOIN report r ON r.id = q.report_id WHERE q.report_id = :report_id
""")  # noqa: S608  # names of our own
_WEIGH = text("""
UPDATE review_item SET urgency = :urgency, points = :points, hints = CAST(:hints AS jsonb), area_code = :area_code
WHERE report_id = :report_id
""")
# Those another transaction holds are being weighed or claimed at this moment: nobody waits for them.
_NEAR_OTHERS = text("""
SELECT q.report_id FROM review_item q JOIN (
    SELECT other_report_id AS id FROM duplicate_candidate
    WHERE report_id = :report_id AND is_near AND NOT is_same_device
    UNION SELECT report_id FROM duplicate_candidate
    WHERE other_report_id = :report_id AND is_near AND NOT is_same_device) near ON near.id = q.report_id
WHERE NOT q.hints ? 'independent_reports'
ORDER BY q.report_id LIMIT :limit FOR UPDATE OF q SKIP LOCKED
""")


@cache
def _claim_statement(matches: tuple[str, ...]) -> TextClause:
    clauses = "".join(f" AND {_MATCHES[name]}" for name in matches)
    return text(_CLAIM.format(for_me=_FOR_ME, matches=clauses, order=_ORDER, no_wait=_NO_WAIT))


_OWN = """
SELECT q.report_id FROM review_item q
WHERE q.leased_by = :person_id AND q.leased_until > :now AND q.set_aside IS NULL AND NOT q.report_id = ANY(:but)
  {matches} {order} LIMIT 1
"""


@cache
def _own_statement(matches: tuple[str, ...]) -> TextClause:
    clauses = "".join(f" AND {_MATCHES[name]}" for name in matches)
    statement = text(_OWN.format(matches=clauses, order=_ORDER))
    return statement.bindparams(bindparam("but", type_=ARRAY(UUID(as_uuid=True))))


@cache
def _waiting_statement(matches: tuple[str, ...], is_aside: bool) -> TextClause:
    clauses = "".join(f" AND {_MATCHES[name]}" for name in matches)
    aside = "q.set_aside = :aside" if is_aside else "q.set_aside IS NULL"
    return text(_WAITING.format(aside=aside, matches=clauses, order=_ORDER))


def _values(wanted: Wanted) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if wanted.area_codes:
        values["areas"] = [f"{area_prefix(code)}%" for code in wanted.area_codes]
    if wanted.water_body_id is not None:
        values["water_body_id"] = wanted.water_body_id
    if wanted.kind is not None:
        values["kind"] = wanted.kind
    return values


def _names(wanted: Wanted) -> tuple[str, ...]:
    said = (("area", wanted.area_codes), ("water", wanted.water_body_id), ("kind", wanted.kind))
    return tuple(name for name, value in said if value)


def claim(
    session: Session, person_id: uuid.UUID, wanted: Wanted, *, until: datetime, now: datetime
) -> uuid.UUID | None:
    """Lease the first report nobody holds; None when none is left. SKIP LOCKED: nobody waits, none is given twice."""
    values = {"person_id": person_id, "until": until, "now": now} | _values(wanted)
    row = session.execute(_claim_statement(_names(wanted)), values).first()
    return None if row is None else uuid.UUID(str(row.report_id))


def left_over(
    session: Session, person_id: uuid.UUID, wanted: Wanted, *, but: Sequence[uuid.UUID], now: datetime
) -> uuid.UUID | None:
    """The first report a moderator still holds besides those they have before them, or None."""
    values = {"person_id": person_id, "now": now, "but": list(but)} | _values(wanted)
    return session.execute(_own_statement(_names(wanted)), values).scalars().first()


def hold(
    session: Session, report_id: uuid.UUID, person_id: uuid.UUID, *, until: datetime, now: datetime
) -> datetime | None:
    """Lease one report by name, or renew one's own lease; since when it is held, or None when another holds it."""
    values = {"report_id": report_id, "person_id": person_id, "until": until, "now": now}
    row = session.execute(_HOLD, values).first()
    return None if row is None else row.leased_at


def release(session: Session, person_id: uuid.UUID, report_id: uuid.UUID) -> None:
    """Give back one report, if this moderator holds it."""
    session.execute(_RELEASE, {"report_id": report_id, "person_id": person_id})


def set_aside(session: Session, report_id: uuid.UUID, reason: str | None, *, until: datetime | None) -> bool:
    """Take a report out of the order for a reason, or back into it (None). False when it is not under review."""
    values = {"report_id": report_id, "reason": reason, "until": until}
    return session.execute(_SET_ASIDE, values).first() is not None


def put_back_if(session: Session, report_id: uuid.UUID, reason: str) -> bool:
    """Return a report to the order where it was set aside for a reason. Whether it was."""
    return session.execute(_PUT_BACK_IF, {"report_id": report_id, "reason": reason}).first() is not None


def keep_from(session: Session, report_id: uuid.UUID, person_id: uuid.UUID) -> None:
    """Never hand a report to somebody."""
    session.execute(_KEEP_FROM, {"report_id": report_id, "person_id": person_id})


def put_back_due(session: Session, *, now: datetime, limit: int) -> Sequence[uuid.UUID]:
    """Return to the order what was set aside until now."""
    return session.execute(_PUT_BACK_DUE, {"now": now, "limit": limit}).scalars().all()


def waiting(
    session: Session,
    person_id: uuid.UUID,
    wanted: Wanted = Wanted(),  # frozen
    *,
    aside: str | None = None,
    now: datetime,
    limit: int = 50,
) -> list[Waiting]:
    """The head of the queue in the order it is handed out, or of what is set ``aside`` for one reason. One query."""
    values = {"person_id": person_id, "now": now, "limit": limit} | _values(wanted)
    if aside is not None:
        values["aside"] = aside
    rows = session.execute(_waiting_statement(_names(wanted), aside is not None), values)
    return [Waiting(**row._mapping) for row in rows]


def queue_summary(session: Session, *, now: datetime) -> QueueSummary:
    """The numbers always in sight on the desk."""
    return QueueSummary(**session.execute(_SUMMARY, {"now": now}).one()._mapping)


def weighed(session: Session, report_id: uuid.UUID) -> tuple[Observed, float, float] | None:
    """What is known of a report's urgency but its zones, and its place (lon, lat); None when it is not under review."""
    row = session.execute(_WEIGHED, {"report_id": report_id}).mappings().first()
    if row is None:
        return None
    return (
        Observed(**{name: value for name, value in row.items() if name not in ("lon", "lat")}),
        row["lon"],
        row["lat"],
    )


def weigh(session: Session, report_id: uuid.UUID, urgency: int, points: int, hints: str, area_code: str | None) -> None:
    """Write what was weighed; ``hints`` is a JSON list."""
    values = {"urgency": urgency, "points": points, "hints": hints, "area_code": area_code}
    session.execute(_WEIGH, values | {"report_id": report_id})


def near_others(session: Session, report_id: uuid.UUID, *, limit: int) -> Sequence[uuid.UUID]:
    """Other reports under review that tell of the same, and do not yet count this one. Locked."""
    return session.execute(_NEAR_OTHERS, {"report_id": report_id, "limit": limit}).scalars().all()


def areas_of(session: Session, person_id: uuid.UUID) -> tuple[str, ...]:
    """The areas a moderator works for; none means the whole country."""
    chosen = select(ModeratorArea.area_code).where(ModeratorArea.person_id == person_id)
    return tuple(session.scalars(chosen.order_by(ModeratorArea.area_code)))


def views_of(session: Session, person_id: uuid.UUID) -> list[DeskView]:
    """The views a moderator keeps, by name."""
    return list(session.scalars(select(DeskView).where(DeskView.person_id == person_id).order_by(DeskView.name)))


def own_view(session: Session, view_id: uuid.UUID, person_id: uuid.UUID) -> DeskView:
    """One's own view. Raises :class:`NotFound`."""
    found = session.get(DeskView, view_id)
    if found is None or found.person_id != person_id:
        raise NotFound("view_not_found")
    return found
