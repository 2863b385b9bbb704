"""What is asked of bulletins, each named for its answer."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from waterwatch.accountability.rules import Period
from waterwatch.bulletins.rules import PHOTOS_AT_MOST, PUBLIC_STATES, Entry, shortened
from waterwatch.bulletins.tables import Bulletin, BulletinFile, BulletinLetter, BulletinPhoto
from waterwatch.kernel.errors import Invalid, NotFound

PAGE = 50
# What went on within the period and was this department's: taken back, not theirs or only supervised is not.
_ENTRIES = text("""
SELECT CAST(i.id AS text) AS incident_id, i.code, i.kind, i.severity, i.opened_at, i.closed_at, i.state,
       b.public_id AS water, coalesce(n.name, b.public_id) AS water_name, place.county,
       ST_X(i.public_point) AS lon, ST_Y(i.public_point) AS lat, c.state AS case_state,
       coalesce(c.delivered_at, CASE WHEN c.acknowledged_at IS NOT NULL THEN c.created_at END) AS reached_at,
       least(c.acknowledged_at, c.answered_at, c.closed_at) AS acknowledged_at,
       least(c.answered_at, c.closed_at) AS answered_at, c.closed_at AS done_at,
       c.acknowledge_by, c.answer_by, c.finish_by, said.words AS answer, said.planned_on, said.id AS answer_id,
       coalesce(seen.photos, 0)::int AS photos
FROM escalation_case c JOIN incident i ON i.id = c.incident_id
JOIN water_feature f ON f.id = i.water_feature_id JOIN water_body b ON b.id = f.water_body_id
LEFT JOIN LATERAL (
    SELECT name FROM water_name WHERE water_body_id = b.id AND is_primary
    ORDER BY array_position(ARRAY['zh-Hans', 'zh-Hant', 'en', 'pinyin'], lang) LIMIT 1) n ON true
LEFT JOIN LATERAL (
    SELECT jn.name AS county FROM jurisdiction_part p JOIN jurisdiction j ON j.id = p.jurisdiction_id
    JOIN jurisdiction_name jn ON jn.jurisdiction_id = j.id AND jn.lang = 'zh-Hans'
    WHERE ST_Intersects(p.geom, i.public_point)
    ORDER BY array_position(ARRAY['county', 'prefecture', 'province'], j.level), j.code LIMIT 1) place ON true
LEFT JOIN LATERAL (
    SELECT id, words, planned_on FROM case_answer
    WHERE case_id = c.id AND state = 'published' AND erased_at IS NULL AND kind IN ('answer', 'done')
      AND said_at <= :as_of
    ORDER BY said_at DESC, id DESC LIMIT 1) said ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS photos FROM incident_report ir JOIN report r ON r.id = ir.report_id
    JOIN report_photo rp ON rp.report_id = r.id JOIN photo p ON p.id = rp.photo_id
    WHERE ir.incident_id = i.id AND r.state IN ('accepted', 'merged') AND p.state = 'ready') seen ON true
WHERE c.agency_id = :agency_id AND c.role = 'competent' AND c.state NOT IN ('withdrawn', 'refused_not_ours')
  AND i.state NOT IN ('merged', 'retracted') AND i.opened_at < :until AND c.created_at <= :as_of
  AND (i.closed_at IS NULL OR i.closed_at >= :since)
ORDER BY i.severity DESC, i.opened_at, i.code
""")
# One picture of each of the gravest, the first of its gallery, as the public sees it.
_PHOTOS = text("""
SELECT i.code, p.id AS photo_id, d.key, d.sha256, d.width, d.height,
       (least(r.observed_at, r.received_at) AT TIME ZONE 'Asia/Shanghai')::date AS seen_on
FROM unnest(CAST(:codes AS text[])) WITH ORDINALITY AS wanted (code, nth) JOIN incident i ON i.code = wanted.code
JOIN LATERAL (
    SELECT rp.photo_id, ir.report_id FROM incident_report ir
    JOIN report r ON r.id = ir.report_id AND r.state IN ('accepted', 'merged')
    JOIN report_photo rp ON rp.report_id = r.id
    JOIN photo ready ON ready.id = rp.photo_id AND ready.state = 'ready' AND ready.redaction_wanted_at IS NULL
    WHERE ir.incident_id = i.id ORDER BY ir.joined_at, rp.report_id, rp.position LIMIT 1) first ON true
JOIN report r ON r.id = first.report_id JOIN photo p ON p.id = first.photo_id
JOIN photo_derivative d ON d.photo_id = p.id AND d.size_px = 1024
ORDER BY wanted.nth LIMIT :limit
""")
_AGENCY = text("""
SELECT a.id AS agency_id, a.code, a.kind, a.level, coalesce(n.name, a.code) AS name, coalesce(jn.name, j.code) AS area,
       j.code AS area_code, ST_XMin(j.geom) AS west, ST_YMin(j.geom) AS south, ST_XMax(j.geom) AS east,
       ST_YMax(j.geom) AS north
FROM agency a JOIN jurisdiction j ON j.id = a.jurisdiction_id
LEFT JOIN agency_name n ON n.agency_id = a.id AND n.lang = :lang
LEFT JOIN jurisdiction_name jn ON jn.jurisdiction_id = j.id AND jn.lang = :lang
WHERE a.code = :code OR a.id = CAST(:id AS uuid)
""")
_NAMED = text("""
SELECT a.id FROM agency a WHERE a.code = :words OR EXISTS (
    SELECT FROM agency_name n WHERE n.agency_id = a.id AND n.name = :words)
ORDER BY a.code = :words DESC LIMIT 2
""")
# Who may have a bulletin: whoever ever had a case.
_KNOWN = text("""
SELECT a.code, coalesce(n.name, a.code) AS name FROM agency a LEFT JOIN agency_name n
    ON n.agency_id = a.id AND n.lang = 'zh-Hans'
WHERE a.retired_at IS NULL AND EXISTS (
    SELECT FROM escalation_case c WHERE c.agency_id = a.id AND c.role <> 'downstream')
ORDER BY name, a.code LIMIT :limit
""")
_ADDRESSES = text("""
SELECT DISTINCT ON (address) address FROM agency_contact
WHERE agency_id = :agency_id AND channel = 'email' AND active ORDER BY address
""")
# Departments that had anything in a period and have no bulletin of it yet.
_WITHOUT = text("""
SELECT a.id FROM agency a WHERE a.retired_at IS NULL AND EXISTS (
    SELECT FROM escalation_case c JOIN incident i ON i.id = c.incident_id
    WHERE c.agency_id = a.id AND c.role = 'competent' AND c.state NOT IN ('withdrawn', 'refused_not_ours')
      AND i.state NOT IN ('merged', 'retracted') AND i.opened_at < :until
      AND (i.closed_at IS NULL OR i.closed_at >= :since))
  AND NOT EXISTS (SELECT FROM bulletin b WHERE b.agency_id = a.id AND b.period = :period)
ORDER BY a.code LIMIT :limit
""")
# Pictures that are gone or are not what they were, incidents and answers that were taken back since.
_SPOILT = """
EXISTS (SELECT FROM bulletin_photo s LEFT JOIN photo p ON p.id = s.photo_id AND p.state = 'ready'
            AND p.redaction_wanted_at IS NULL
        LEFT JOIN photo_derivative d ON d.photo_id = p.id AND d.size_px = 1024
        LEFT JOIN LATERAL (SELECT true AS stands FROM report_photo rp
            JOIN report r ON r.id = rp.report_id AND r.state IN ('accepted', 'merged')
            WHERE rp.photo_id = p.id LIMIT 1) public ON true
        WHERE s.bulletin_id = b.id AND (d.sha256 IS DISTINCT FROM s.sha256 OR public.stands IS NULL))
OR EXISTS (SELECT FROM incident i WHERE i.id = ANY(b.incident_ids) AND i.state = 'retracted')
OR EXISTS (SELECT FROM unnest(b.answer_ids) AS said (id)
        LEFT JOIN case_answer a ON a.id = said.id AND a.state = 'published' AND a.erased_at IS NULL
        WHERE a.id IS NULL)
"""
_IS_SPOILT = text(f"SELECT {_SPOILT} FROM bulletin b WHERE b.id = :id")  # noqa: S608
_ALL_SPOILT = text(f"""
SELECT b.id FROM bulletin b
WHERE b.made_at IS NOT NULL AND b.state NOT IN ('making', 'recalled') AND ({_SPOILT})
ORDER BY b.id LIMIT :limit
""")  # noqa: S608
_LISTED = """
SELECT b.id AS bulletin_id, b.period, b.edition, b.state, b.as_of, b.made_at, b.approved_at, b.facts,
       a.code AS agency_code, coalesce((SELECT jsonb_object_agg(n.lang, n.name) FROM agency_name n
           WHERE n.agency_id = a.id), '{{}}'::jsonb) AS names, j.code AS area_code,
       (SELECT count(*)::int FROM bulletin_letter l WHERE l.bulletin_id = b.id AND l.state = 'sent') AS sent,
       (SELECT count(*)::int FROM bulletin_letter l WHERE l.bulletin_id = b.id AND l.state IN ('refused', 'dead'))
           AS failed
FROM bulletin b JOIN agency a ON a.id = b.agency_id JOIN jurisdiction j ON j.id = a.jurisdiction_id
WHERE {where} ORDER BY {order} LIMIT :limit OFFSET :offset
"""
_PUBLIC = text(
    _LISTED.format(
        where="""b.state IN ('approved', 'archived') AND NOT EXISTS (
            SELECT FROM bulletin later WHERE later.agency_id = b.agency_id AND later.period = b.period
              AND later.edition > b.edition AND later.state IN ('approved', 'archived'))
          AND (CAST(:period AS text) IS NULL OR b.period = :period)
          AND (CAST(:agency AS text) IS NULL OR a.code = :agency)""",
        order="b.period DESC, a.code",
    )
)
_AT_DESK = text(
    _LISTED.format(
        where="CAST(:state AS text) IS NULL OR b.state = :state",
        order="array_position(ARRAY['draft', 'making', 'recalled', 'approved', 'withheld', 'archived'], b.state),"
        " b.period DESC, a.code, b.edition DESC",
    )
)
_MAKING = text("""
SELECT b.id, b.revision FROM bulletin b WHERE b.state = 'making' AND b.state_deadline_at < :now AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'bulletins.make' AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.payload ->> 'bulletin_id' = b.id::text)
ORDER BY b.state_deadline_at LIMIT :limit
""")


_UNSENT = text("""
SELECT l.id FROM bulletin_letter l
WHERE l.state IN ('pending', 'sending') AND l.state_deadline_at < :now AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.topic = 'bulletins.send' AND o.done_at IS NULL AND o.dead_at IS NULL
      AND o.payload ->> 'letter_id' = l.id::text)
ORDER BY l.state_deadline_at LIMIT :limit
""")


@dataclass(frozen=True)
class Addressee:
    """The department a bulletin is for. ``bounds`` of its area: west, south, east, north in degrees."""

    agency_id: uuid.UUID
    code: str
    kind: str
    level: str
    name: str
    area: str
    area_code: str
    bounds: tuple[float, float, float, float]


@dataclass(frozen=True)
class ShownPhoto:
    """A public picture of an incident."""

    code: str
    photo_id: uuid.UUID
    key: str
    sha256: bytes
    width: int
    height: int
    seen_on: Any


@dataclass(frozen=True)
class Listed:
    """A bulletin in a list."""

    bulletin_id: uuid.UUID
    period: str
    edition: int
    state: str
    as_of: datetime
    made_at: datetime | None
    approved_at: datetime | None
    facts: dict[str, Any]
    agency_code: str
    names: dict[str, str]
    area_code: str
    sent: int
    failed: int


def entries_of(session: Session, agency_id: uuid.UUID, period: Period, *, as_of: datetime) -> list[Entry]:
    """What went on in a department's waters within a period, gravest first. One query."""
    values = {"agency_id": agency_id, "since": period.since, "until": period.until, "as_of": as_of}
    found = []
    for row in session.execute(_ENTRIES, values):
        facts = dict(row._mapping)
        facts["answer"] = shortened(facts["answer"]) if facts["answer"] else None
        found.append(Entry(**facts))
    return found


def photos_of(session: Session, codes: list[str], *, limit: int = PHOTOS_AT_MOST) -> list[ShownPhoto]:
    """One public picture each of the first of these incidents that have one. One query."""
    rows = session.execute(_PHOTOS, {"codes": codes, "limit": limit})
    return [ShownPhoto(**{**row._mapping, "sha256": bytes(row.sha256)}) for row in rows]


def addressee(
    session: Session, *, agency_id: uuid.UUID | None = None, code: str | None = None, lang: str = "zh-Hans"
) -> Addressee:
    """A department by its id or code. Raises :class:`NotFound`."""
    row = session.execute(_AGENCY, {"id": agency_id, "code": code, "lang": lang}).first()
    if row is None:
        raise NotFound("agency_not_found")
    facts = dict(row._mapping)
    bounds = tuple(facts.pop(side) for side in ("west", "south", "east", "north"))
    return Addressee(**facts, bounds=bounds)


def agency_called(session: Session, words: str) -> uuid.UUID:
    """A department by its name in any language, or by its code.

    Raises :class:`NotFound`, :class:`Invalid` where several are called so: their codes tell them apart.
    """
    found = session.execute(_NAMED, {"words": words}).scalars().all()
    if not found:
        raise NotFound("agency_not_found")
    if len(found) > 1:
        raise Invalid({"agency": ["agency_ambiguous"]})
    return uuid.UUID(str(found[0]))


def known_agencies(session: Session, *, limit: int = 500) -> list[tuple[str, str]]:
    """(code, Chinese name) of departments that had a case, for a list to choose from. One query."""
    return [(row.code, row.name) for row in session.execute(_KNOWN, {"limit": limit})]


def addresses_of(session: Session, agency_id: uuid.UUID) -> list[str]:
    """Where a department takes mails."""
    return list(session.execute(_ADDRESSES, {"agency_id": agency_id}).scalars())


def agencies_without(session: Session, period: Period, *, limit: int) -> list[uuid.UUID]:
    """Departments that had something in a period of which they have no bulletin."""
    values = {"period": period.code, "since": period.since, "until": period.until, "limit": limit}
    return list(session.execute(_WITHOUT, values).scalars())


def bulletin(session: Session, bulletin_id: uuid.UUID, *, is_locked: bool = False) -> Bulletin:
    """A bulletin. Raises :class:`NotFound`."""
    found = session.get(Bulletin, bulletin_id, with_for_update=is_locked, populate_existing=is_locked)
    if found is None:
        raise NotFound("bulletin_not_found")
    return found


def public_bulletin(session: Session, agency_code: str, period: str, edition: int | None = None) -> Bulletin:
    """A bulletin anybody may see (one that was recalled included, whose page says so); None: the latest edition.

    Raises :class:`NotFound`.
    """
    agency = addressee(session, code=agency_code)
    wanted = select(Bulletin).where(
        Bulletin.agency_id == agency.agency_id, Bulletin.period == period, Bulletin.approved_at.is_not(None)
    )
    wanted = wanted.where(Bulletin.state.in_((*PUBLIC_STATES, "recalled")))
    if edition is not None:
        wanted = wanted.where(Bulletin.edition == edition)
    found = session.scalars(wanted.order_by(Bulletin.edition.desc()).limit(1)).first()
    if found is None:
        raise NotFound("bulletin_not_found")
    return found


def editions_of(session: Session, found: Bulletin) -> list[Bulletin]:
    """Every edition of the same bulletin that became public, the latest first."""
    wanted = select(Bulletin).where(Bulletin.agency_id == found.agency_id, Bulletin.period == found.period)
    return list(session.scalars(wanted.where(Bulletin.approved_at.is_not(None)).order_by(Bulletin.edition.desc())))


def latest_edition(session: Session, agency_id: uuid.UUID, period: str) -> Bulletin | None:
    """The highest edition, locked; None where there is none."""
    wanted = select(Bulletin).where(Bulletin.agency_id == agency_id, Bulletin.period == period)
    return session.scalars(wanted.order_by(Bulletin.edition.desc()).limit(1).with_for_update()).first()


def files_of(session: Session, bulletin_id: uuid.UUID) -> list[BulletinFile]:
    """A bulletin's files, the PDFs in order first."""
    wanted = select(BulletinFile).where(BulletinFile.bulletin_id == bulletin_id)
    return list(session.scalars(wanted.order_by(BulletinFile.form.desc(), BulletinFile.volume)))


def photos_shown(session: Session, bulletin_id: uuid.UUID) -> list[BulletinPhoto]:
    """Which pictures a bulletin shows."""
    return list(session.scalars(select(BulletinPhoto).where(BulletinPhoto.bulletin_id == bulletin_id)))


def letters_of(session: Session, bulletin_id: uuid.UUID) -> list[BulletinLetter]:
    """A bulletin's letters, by address."""
    wanted = select(BulletinLetter).where(BulletinLetter.bulletin_id == bulletin_id)
    return list(session.scalars(wanted.order_by(BulletinLetter.address)))


def locked_letter(session: Session, letter_id: uuid.UUID) -> tuple[Bulletin, BulletinLetter]:
    """A letter and its bulletin, both locked, the bulletin first as a recall does. Raises :class:`NotFound`."""
    bulletin_id = session.scalar(select(BulletinLetter.bulletin_id).where(BulletinLetter.id == letter_id))
    if bulletin_id is None:
        raise NotFound("letter_not_found")
    row = bulletin(session, bulletin_id, is_locked=True)
    letter = session.get(BulletinLetter, letter_id, with_for_update=True, populate_existing=True)
    assert letter is not None, "letters are never deleted while their bulletin is there"
    return row, letter


def is_spoilt(session: Session, bulletin_id: uuid.UUID) -> bool:
    """Whether a bulletin shows what may not be shown any more. One query, however many bulletins there are."""
    return bool(session.execute(_IS_SPOILT, {"id": bulletin_id}).scalar_one())


def spoilt(session: Session, *, limit: int) -> list[uuid.UUID]:
    """Bulletins that show what may not be shown any more."""
    return list(session.execute(_ALL_SPOILT, {"limit": limit}).scalars())


def public_list(
    session: Session, *, period: str | None = None, agency: str | None = None, page: int = 1
) -> list[Listed]:
    """Public bulletins, each in its latest edition, the latest period first; one more than a page holds."""
    values = {"period": period, "agency": agency, "limit": PAGE + 1, "offset": PAGE * (page - 1)}
    return [Listed(**row._mapping) for row in session.execute(_PUBLIC, values)]


def desk_list(session: Session, *, state: str | None = None, page: int = 1) -> list[Listed]:
    """Every bulletin, what waits for the lead first; one more than a page holds."""
    values = {"state": state, "limit": PAGE + 1, "offset": PAGE * (page - 1)}
    return [Listed(**row._mapping) for row in session.execute(_AT_DESK, values)]


def public_periods(session: Session) -> list[str]:
    """Periods of which there is a public bulletin, the latest first."""
    wanted = select(Bulletin.period).where(Bulletin.state.in_(PUBLIC_STATES)).distinct()
    return list(session.scalars(wanted.order_by(Bulletin.period.desc())))


def letters_under_way(session: Session, bulletin_id: uuid.UUID) -> int:
    """How many letters of a bulletin are not at their end."""
    wanted = select(func.count()).select_from(BulletinLetter).where(BulletinLetter.bulletin_id == bulletin_id)
    return int(session.scalar(wanted.where(BulletinLetter.state.in_(("pending", "sending")))) or 0)


def forgotten_orders(session: Session, *, now: datetime, limit: int) -> list[tuple[uuid.UUID, int]]:
    """(bulletin, revision) that should have been made by now and nobody is making."""
    return [(row.id, row.revision) for row in session.execute(_MAKING, {"now": now, "limit": limit})]


def forgotten_letters(session: Session, *, now: datetime, limit: int) -> list[uuid.UUID]:
    """Letters that should have gone by now and nobody is sending."""
    return list(session.execute(_UNSENT, {"now": now, "limit": limit}).scalars())
