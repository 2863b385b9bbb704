"""Every SELECT of escalation, named for its answer."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from waterwatch.escalation.rules import DOWNSTREAM
from waterwatch.escalation.tables import Case, Delivery
from waterwatch.escalation.warning_queries import Warned, warned_of
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.errors import NotFound
from waterwatch.waters.rules import from_wgs84, is_mainland
from waterwatch.workdays.queries import terms_of
from waterwatch.workdays.rules import Terms


@dataclass(frozen=True)
class Place:
    """Where and what an incident is, for routing: exact point in WGS-84 degrees, severity rank 1 to 4.

    ``water_lon``, ``water_lat``: the nearest point of its reach; of a lake, any point of it.
    """

    lon: float
    lat: float
    kind: str
    severity: int
    water_feature_id: uuid.UUID
    water_lon: float
    water_lat: float


def lock_place(session: Session, incident_id: uuid.UUID) -> Place:
    """The incident's place, its row locked so that two escalations of one incident follow each other.

    Raises :class:`NotFound`.
    """
    row = session.execute(
        text("""SELECT ST_X(i.exact_point) AS lon, ST_Y(i.exact_point) AS lat, i.kind, i.severity, i.water_feature_id,
                       ST_X(near.at) AS water_lon, ST_Y(near.at) AS water_lat
                FROM incident i JOIN water_feature f ON f.id = i.water_feature_id,
                     LATERAL (SELECT ST_ClosestPoint(f.geom, i.exact_point) AS at) near
                WHERE i.id = :id FOR NO KEY UPDATE OF i"""),
        {"id": incident_id},
    ).first()
    if row is None:
        raise NotFound("incident_not_found")
    return Place(**row._mapping)


def cases_by_agency(session: Session, incident_id: uuid.UUID) -> dict[uuid.UUID | None, Case]:
    """The incident's cases, locked, by agency; None is the case that says nobody is competent. Those that only warn of
    it are not among them."""
    return {case.agency_id: case for case in _cases_of(session, incident_id) if case.role != DOWNSTREAM}


def warnings_by_agency(session: Session, incident_id: uuid.UUID) -> dict[uuid.UUID, Case]:
    """The cases that warn of the incident whoever lies below it, locked, by agency."""
    found = [case for case in _cases_of(session, incident_id) if case.role == DOWNSTREAM]
    return {case.agency_id: case for case in found if case.agency_id is not None}


def _cases_of(session: Session, incident_id: uuid.UUID) -> list[Case]:
    """All of them, locked in one order whichever are wanted: others lock some of both kinds."""
    wanted = select(Case).where(Case.incident_id == incident_id).order_by(Case.id)
    return list(session.scalars(wanted.with_for_update()))


_TOLD = text("""
SELECT DISTINCT ir.incident_id FROM incident_report ir WHERE ir.incident_id = ANY(:incident_ids) AND (
    EXISTS (SELECT FROM report_contact c WHERE c.report_id = ir.report_id)
    OR EXISTS (SELECT FROM push_subscription s WHERE s.report_id = ir.report_id))
""")


def is_anybody_told(session: Session, incident_id: uuid.UUID) -> bool:
    """Whether the author of a report an incident rests on left a way to be told."""
    return bool(told_among(session, [incident_id]))


def told_among(session: Session, incident_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the incidents of whose authors one at least left a way to be told."""
    return set(session.execute(_TOLD, {"incident_ids": list(incident_ids)}).scalars())


def locked_case(session: Session, case_id: uuid.UUID) -> Case:
    """One case, locked. Raises :class:`NotFound`."""
    case = session.scalars(
        select(Case).where(Case.id == case_id).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if case is None:
        raise NotFound("case_not_found")
    return case


def locked_case_of(session: Session, incident_id: uuid.UUID, case_id: uuid.UUID) -> Case:
    """One case of an incident, locked with all others of it in the order of their ids. Raises :class:`NotFound`.

    For whoever goes on to another case of it: cases are locked in one order by everybody, also by those who record
    what became of letters and hold no incident.
    """
    wanted = select(Case).where(Case.incident_id == incident_id).order_by(Case.id).with_for_update()
    for case in session.scalars(wanted.execution_options(populate_existing=True)).all():
        if case.id == case_id:
            return case
    raise NotFound("case_not_found")


def lock_all_of(session: Session, case_ids: Iterable[uuid.UUID]) -> None:
    """Lock the incidents of some cases, then all cases of them, each in the order of their ids: for whoever may go on
    from one incident to the next."""
    incidents = select(Case.incident_id).where(Case.id.in_(list(case_ids)))
    incident_ids = list(session.scalars(incidents).unique())
    session.execute(_LOCK_INCIDENTS, {"ids": incident_ids})
    cases = select(Case.id).where(Case.incident_id.in_(incident_ids)).order_by(Case.id).with_for_update()
    session.scalars(cases).all()


_LOCK_INCIDENTS = text("SELECT id FROM incident WHERE id = ANY(:ids) ORDER BY id FOR UPDATE")


def incident_of_case(session: Session, case_id: uuid.UUID) -> uuid.UUID:
    """The incident a case is of, for good. Raises :class:`NotFound`."""
    incident_id = session.scalars(select(Case.incident_id).where(Case.id == case_id)).one_or_none()
    if incident_id is None:
        raise NotFound("case_not_found")
    return incident_id


def agency_of_case(session: Session, case_id: uuid.UUID) -> uuid.UUID | None:
    """The agency a case is for; None where nobody is competent."""
    return session.scalars(select(Case.agency_id).where(Case.id == case_id)).one_or_none()


def is_only_warned(session: Session, case_id: uuid.UUID) -> bool:
    """Whether a case only tells of what may come down the river."""
    return session.scalars(select(Case.role).where(Case.id == case_id)).one_or_none() == DOWNSTREAM


def case_of_delivery(session: Session, delivery_id: uuid.UUID) -> uuid.UUID:
    """The case a letter is of. Raises :class:`NotFound`."""
    case_id = session.scalars(select(Delivery.case_id).where(Delivery.id == delivery_id)).one_or_none()
    if case_id is None:
        raise NotFound("delivery_not_found")
    return case_id


def supervisors_of(session: Session, case_id: uuid.UUID) -> list[Case]:
    """The cases of those above an agency that were opened for what it missed, locked; theirs above them included."""
    found: list[Case] = []
    waiting = [case_id]
    while waiting:
        wanted = select(Case).where(Case.supervises_id.in_(waiting)).order_by(Case.id).with_for_update()
        above = [case for case in session.scalars(wanted) if case not in found]
        found += above
        waiting = [case.id for case in above]
    return found


def locked_delivery(session: Session, delivery_id: uuid.UUID) -> Delivery:
    """One delivery, locked. Raises :class:`NotFound`."""
    delivery = session.scalars(
        select(Delivery).where(Delivery.id == delivery_id).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()
    if delivery is None:
        raise NotFound("delivery_not_found")
    return delivery


_ADDRESSED = text("""
SELECT DISTINCT ON (channel, address) channel, address, max(number) OVER (PARTITION BY channel, address) AS number,
       state <> 'cancelled' AND says NOT IN ('withdrawn', 'warning_over') AS is_live,
       state IN ('refused', 'dead') AS has_failed, state = 'cancelled' AND last_error = 'rehearsed' AS was_rehearsed
FROM delivery WHERE case_id = :id
ORDER BY channel, address, state = 'cancelled' AND says IN ('withdrawn', 'warning_over'), delivery.number DESC
""")


@dataclass(frozen=True)
class Addressed:
    """How many letters a case has for one address; ``is_live``: the latest stands, whatever became of it; or it
    ``has_failed``; or it ``was_rehearsed``: nobody has it, and we have seen what it would have said."""

    number: int
    is_live: bool
    has_failed: bool
    was_rehearsed: bool = False


def addressed(session: Session, case_id: uuid.UUID) -> dict[tuple[str, str], Addressed]:
    """By channel and address, what a case has for it."""
    rows = session.execute(_ADDRESSED, {"id": case_id})
    return {
        (row.channel, row.address): Addressed(row.number, row.is_live, row.has_failed, bool(row.was_rehearsed))
        for row in rows
    }


def is_withdrawn(session: Session, case_id: uuid.UUID) -> bool:
    """Whether a case was taken back."""
    return session.scalars(select(Case.state).where(Case.id == case_id)).one_or_none() == "withdrawn"


def is_over(session: Session, incident_id: uuid.UUID) -> bool:
    """Whether an incident has ended, whatever its end."""
    return bool(session.execute(_IS_OVER, {"id": incident_id}).scalar_one())


_IS_OVER = text("SELECT closed_at IS NOT NULL FROM incident WHERE id = :id")
_WAS_REMINDED = text("""
SELECT EXISTS (SELECT FROM delivery WHERE case_id = :id AND says = 'reminder' AND state <> 'cancelled'
               AND created_at >= :since)
""")


def was_reminded(session: Session, case_id: uuid.UUID, *, since: datetime | None) -> bool:
    """Whether a reminder of a case was written since a time that one was due at."""
    return bool(session.execute(_WAS_REMINDED, {"id": case_id, "since": since}).scalar_one())


def letters_of(session: Session, case_id: uuid.UUID) -> dict[tuple[str, str], list[Delivery]]:
    """A case's deliveries by channel and address, oldest first, locked."""
    letters: dict[tuple[str, str], list[Delivery]] = {}
    wanted = select(Delivery).where(Delivery.case_id == case_id).order_by(Delivery.id)
    for delivery in session.scalars(wanted.with_for_update()):
        letters.setdefault((delivery.channel, delivery.address), []).append(delivery)
    for each in letters.values():
        each.sort(key=lambda letter: letter.number)
    return letters


# From an agency up its tree; should the tree bite its tail, ten levels are enough.
_ABOVE = """
WITH RECURSIVE above (id, parent_id, kind, depth) AS (
    SELECT a.id, a.parent_id, a.kind, 0 FROM agency a WHERE a.id = :id
    UNION ALL SELECT a.id, a.parent_id, a.kind, above.depth + 1
    FROM above JOIN agency a ON a.id = above.parent_id WHERE above.depth < 10)
"""
_SUPERIORS = text(f"""{_ABOVE}
SELECT above.id FROM above JOIN agency a USING (id) WHERE depth > 0 AND a.retired_at IS NULL AND above.id <> :id
GROUP BY above.id ORDER BY min(depth)
""")  # noqa: S608  # the piece is a constant of this module
# The one that was named; else those of the same kind above, by the tree of agencies or, where that has a gap, of areas.
_NEXT = text(f"""{_ABOVE},
areas (id, parent_id, depth) AS (
    SELECT j.id, j.parent_id, 0 FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id WHERE a.id = :id
    UNION ALL SELECT j.id, j.parent_id, areas.depth + 1
    FROM areas JOIN jurisdiction j ON j.id = areas.parent_id WHERE areas.depth < 10),
next (id, rank) AS (
    SELECT id, -1 FROM agency WHERE id = :suggested_id
    UNION ALL SELECT above.id, above.depth FROM above JOIN agency me ON me.id = :id
    WHERE depth > 0 AND above.kind = me.kind
    UNION ALL SELECT a.id, areas.depth FROM areas JOIN agency a ON a.jurisdiction_id = areas.id
    JOIN agency me ON me.id = :id WHERE depth > 0 AND a.kind = me.kind)
SELECT next.id FROM next JOIN agency a USING (id)
WHERE a.retired_at IS NULL AND a.kind <> 'waterworks' AND next.id <> :id GROUP BY next.id ORDER BY min(rank), next.id
""")  # noqa: S608  # the piece is a constant of this module


def superiors_of(session: Session, agency_id: uuid.UUID | None) -> list[uuid.UUID]:
    """The agencies above one, the nearest first."""
    return list(session.execute(_SUPERIORS, {"id": agency_id}).scalars())


def next_agencies(session: Session, agency_id: uuid.UUID | None, suggested_id: uuid.UUID | None) -> list[uuid.UUID]:
    """Who may take a case an agency refused: the one it named, then those of its kind above it, the nearest first."""
    return list(session.execute(_NEXT, {"id": agency_id, "suggested_id": suggested_id}).scalars())


def is_known_agency(session: Session, agency_id: uuid.UUID) -> bool:
    """Whether an agency exists, was not retired, and may be competent at all: waterworks are not."""
    found = text("SELECT EXISTS (SELECT FROM agency WHERE id = :id AND retired_at IS NULL AND kind <> 'waterworks')")
    return bool(session.execute(found, {"id": agency_id}).scalar_one())


_REPORTS_BEHIND = text("""
SELECT ir.report_id FROM escalation_case c JOIN incident_report ir ON ir.incident_id = c.incident_id
WHERE c.id = :id ORDER BY ir.joined_at, ir.report_id
""")


def reports_behind(session: Session, case_id: uuid.UUID) -> list[uuid.UUID]:
    """The reports that evidence a case's incident, oldest first."""
    return list(session.execute(_REPORTS_BEHIND, {"id": case_id}).scalars())


@dataclass(frozen=True)
class CaseFacts:
    """What the competent agency may know of its case, exact place included; of the citizen, nothing. One that is only
    warned knows the public point, and not when it was seen.

    ``terms``: how long the agency has, where it was asked for (:func:`facts_of_cases`); else what holds by default.
    The note a citizen may have written is not among it: it could name a person. ``lon``, ``lat`` are WGS-84 degrees.
    ``warned``: what is expected in its area, of a case that only warns; ``is_warned_besides``: other incidents are
    warned of there.
    ``is_photo_pending``: the photo is being made anew, because more of it must be covered. ``public_lon``,
    ``public_lat`` are the place as anybody may know it.
    """

    case_id: uuid.UUID
    incident_id: uuid.UUID
    agency_id: uuid.UUID | None
    agency_name: str | None
    state: str
    severity: int
    created_at: datetime
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    state_deadline_at: datetime | None
    code: str
    kind: str
    lon: float
    lat: float
    public_lon: float
    public_lat: float
    water_name: str | None
    seen_at: datetime | None
    reports: int
    extent: str | None
    is_ongoing: bool | None
    has_dead_animals: bool | None
    affects_people: bool | None
    photo_key: str | None
    is_photo_pending: bool | None
    terms: Terms = field(default_factory=Terms)
    role: str = "competent"
    warned: Warned | None = None
    is_warned_besides: bool = False

    @cached_property
    def gcj02(self) -> tuple[float, float] | None:
        """(lon, lat) as Chinese maps count, or None off the mainland, where they do not shift positions."""
        if not is_mainland(self.lon, self.lat):
            return None
        return from_wgs84(self.lon, self.lat, "gcj02")


_NAME_ORDER = (
    "ORDER BY n.lang = :language DESC, array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], n.lang) LIMIT 1"
)
_FACTS = text(f"""
SELECT c.id AS case_id, c.incident_id, c.agency_id, c.role, c.state, c.severity, c.created_at, c.delivered_at,
       c.acknowledged_at, c.state_deadline_at, i.code, i.kind, ST_X(place.at) AS lon, ST_Y(place.at) AS lat,
       round(ST_X(i.public_point)::numeric, 5)::float8 AS public_lon,
       round(ST_Y(i.public_point)::numeric, 5)::float8 AS public_lat,
       (SELECT n.name FROM agency_name n WHERE n.agency_id = c.agency_id {_NAME_ORDER}) AS agency_name,
       (SELECT n.name FROM water_name n WHERE n.water_body_id = f.water_body_id AND n.is_primary {_NAME_ORDER})
           AS water_name,
       c.role = 'downstream' AND EXISTS (
           SELECT FROM escalation_case o WHERE o.agency_id = c.agency_id AND o.role = 'downstream' AND o.id <> c.id
             AND o.state <> 'withdrawn') AS is_warned_besides,
       seen.*, cover.*
FROM escalation_case c JOIN incident i ON i.id = c.incident_id JOIN water_feature f ON f.id = i.water_feature_id
CROSS JOIN LATERAL (SELECT CASE WHEN c.role = 'downstream' THEN i.public_point ELSE i.exact_point END AS at) place
CROSS JOIN LATERAL (
    SELECT CASE WHEN c.role <> 'downstream' THEN min(r.received_at) END AS seen_at, count(*) AS reports,
           (ARRAY['spot', 'under_100_m', 'under_1_km', 'over_1_km'])[
               max(array_position(ARRAY['spot', 'under_100_m', 'under_1_km', 'over_1_km'], r.extent))] AS extent,
           bool_or(r.is_ongoing) AS is_ongoing, bool_or(r.has_dead_animals) AS has_dead_animals,
           bool_or(r.affects_people) AS affects_people
    FROM incident_report ir JOIN report r ON r.id = ir.report_id WHERE ir.incident_id = i.id) seen
LEFT JOIN LATERAL (
    SELECT d.key AS photo_key, p.redaction_wanted_at IS NOT NULL AS is_photo_pending
    FROM incident_report ir JOIN report_photo rp ON rp.report_id = ir.report_id
    JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready'
    JOIN photo_derivative d ON d.photo_id = p.id AND d.size_px = 1024
    WHERE ir.incident_id = i.id ORDER BY ir.joined_at, ir.report_id, rp.position LIMIT 1) cover ON true
WHERE c.id = ANY(:ids)
""")  # noqa: S608  # the pieces are constants of this module


def case_facts(
    session: Session, case_id: uuid.UUID, *, language: str = "zh-Hans", now: datetime | None = None
) -> CaseFacts:
    """The case as its agency sees it: one query. Where several reports differ, the graver statement stands.

    ``now``: when what is expected has passed is not told (None: by the clock). Raises :class:`NotFound`.
    """
    row = session.execute(_FACTS, {"ids": [case_id], "language": language}).first()
    if row is None:
        raise NotFound("case_not_found")
    return CaseFacts(**row._mapping, warned=_warned(session, [row], language, now).get(case_id))


def _warned(session: Session, rows: Iterable[Any], language: str, now: datetime | None) -> dict[uuid.UUID, Warned]:
    found = [row.case_id for row in rows if row.role == DOWNSTREAM]
    return warned_of(session, found, now=now or utc_now(), language=language)


def facts_of_cases(
    session: Session, case_ids: Sequence[uuid.UUID], *, language: str = "zh-Hans", now: datetime | None = None
) -> dict[uuid.UUID, CaseFacts]:
    """Every named case as :func:`case_facts` gives it, with the terms of its agency: some queries for all."""
    rows = session.execute(_FACTS, {"ids": list(case_ids), "language": language}).all()
    warned = _warned(session, rows, language, now)
    return {
        row.case_id: CaseFacts(
            **row._mapping,
            terms=terms_of(session, row.agency_id, row.created_at.date()),
            warned=warned.get(row.case_id),
        )
        for row in rows
    }
