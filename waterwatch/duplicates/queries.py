"""What is asked to find a report's likes, and what a moderator is shown of them. Withdrawn reports never are."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.orm import Session

from waterwatch.duplicates.rules import NEAR_M, NEAR_TIME, SAME_MINUTE

# What a report tells of was seen when the phone kept it, which without a signal is hours before it arrived.
_SEEN = "coalesce({0}.observed_at, {0}.received_at)"
_APART_S = f"abs(extract(epoch FROM {_SEEN.format('o')} - {_SEEN.format('r')})::float8)"
_DISTANCE_M = "ST_Distance(geography(o.point), geography(r.point))"


@dataclass(frozen=True)
class Apart:
    """How far another report is from this one, in metres and seconds, and which of the two reasons without picture."""

    other_report_id: uuid.UUID
    distance_m: float
    apart_s: float
    is_same_device: bool
    is_near: bool


_OF_PHOTO = text("""
SELECT r.id FROM report_photo rp JOIN report r ON r.id = rp.report_id
WHERE rp.photo_id = :photo_id AND r.state = 'in_review'
""")
_IN_REVIEW = text("SELECT EXISTS (SELECT FROM report WHERE id = :id AND state = 'in_review')")
_PHOTOS = text("""
SELECT rp.photo_id FROM report_photo rp JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready'
WHERE rp.report_id = :id ORDER BY rp.position
""")
_REPORTS_OF = text("""
SELECT rp.photo_id, rp.report_id FROM report_photo rp JOIN report r ON r.id = rp.report_id
WHERE rp.photo_id = ANY(:ids) AND r.state <> 'withdrawn' AND r.id <> :report_id
""").bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))

# Candidates by device and by place come from an index each; the box in degrees is wider than the circle it holds.
_OTHERS = text(f"""
WITH r AS (SELECT * FROM report WHERE id = :id),
candidate AS (
    SELECT o.id FROM r JOIN report o ON o.device_digest = r.device_digest AND o.id <> r.id
    WHERE {_APART_S} <= :same_minute_s
    UNION
    SELECT o.id FROM r JOIN report o ON o.id <> r.id AND o.kind = r.kind AND o.point && ST_Expand(r.point,
            :near_m / (110000.0 * greatest(0.01, cos(radians(ST_Y(r.point))))), :near_m / 110000.0)
    JOIN water_feature theirs ON theirs.id = o.water_feature_id
    JOIN water_feature ours ON ours.id = r.water_feature_id AND ours.water_body_id = theirs.water_body_id
    WHERE {_DISTANCE_M} <= :near_m AND {_APART_S} <= :near_s
    UNION SELECT unnest(CAST(:alike AS uuid[])))
SELECT o.id, {_DISTANCE_M}, {_APART_S},
       coalesce(o.device_digest = r.device_digest, false) AND {_APART_S} <= :same_minute_s,
       o.kind = r.kind AND {_DISTANCE_M} <= :near_m AND {_APART_S} <= :near_s AND coalesce(
           (SELECT ours.water_body_id = theirs.water_body_id FROM water_feature ours, water_feature theirs
            WHERE ours.id = r.water_feature_id AND theirs.id = o.water_feature_id), false)
FROM r, candidate JOIN report o ON o.id = candidate.id
WHERE o.state <> 'withdrawn'
""").bindparams(bindparam("alike", type_=ARRAY(UUID(as_uuid=True))))  # noqa: S608  # names of our own


def report_in_review(session: Session, photo_id: uuid.UUID) -> uuid.UUID | None:
    """The report under review that a photo belongs to, or None."""
    return session.execute(_OF_PHOTO, {"photo_id": photo_id}).scalar_one_or_none()


def is_in_review(session: Session, report_id: uuid.UUID) -> bool:
    """Whether a report is under review."""
    return bool(session.execute(_IN_REVIEW, {"id": report_id}).scalar_one())


def ready_photos(session: Session, report_id: uuid.UUID) -> Sequence[uuid.UUID]:
    """A report's usable photos, in their order."""
    return session.execute(_PHOTOS, {"id": report_id}).scalars().all()


def reports_of(session: Session, photo_ids: Sequence[uuid.UUID], report_id: uuid.UUID) -> dict[uuid.UUID, uuid.UUID]:
    """Which other report each of some photos belongs to; photos of withdrawn ones and of none are left out."""
    rows = session.execute(_REPORTS_OF, {"ids": list(photo_ids), "report_id": report_id})
    return {row.photo_id: row.report_id for row in rows}


def others(session: Session, report_id: uuid.UUID, alike: Sequence[uuid.UUID]) -> list[Apart]:
    """Reports of the same device and minute, those near in place and time, and how far those of ``alike`` are."""
    limits = {"same_minute_s": SAME_MINUTE.total_seconds(), "near_m": NEAR_M, "near_s": NEAR_TIME.total_seconds()}
    return [Apart(*row) for row in session.execute(_OTHERS, limits | {"id": report_id, "alike": list(alike)})]


_LOCK_THERE = text("""
SELECT id FROM report WHERE id = ANY(:ids) AND state <> 'withdrawn' AND erased_at IS NULL ORDER BY id FOR KEY SHARE
""").bindparams(bindparam("ids", type_=ARRAY(UUID(as_uuid=True))))


_NAMED_WITH = text("""
SELECT other_report_id FROM duplicate_candidate WHERE report_id = :id
UNION SELECT report_id FROM duplicate_candidate WHERE other_report_id = :id
""")


def named_with(session: Session, report_id: uuid.UUID) -> set[uuid.UUID]:
    """The reports that stored candidates name together with this one."""
    return set(session.execute(_NAMED_WITH, {"id": report_id}).scalars())


def lock_there(session: Session, report_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    """Which of some reports were not taken back; none of them is until the transaction ends. Locks as a key would."""
    return set(session.execute(_LOCK_THERE, {"ids": list(report_ids)}).scalars())


@dataclass(frozen=True)
class Candidate:
    """One report that may tell of the same, as a moderator sees it. ``is_other_first``: it was seen before this one."""

    report_id: uuid.UUID
    code: str
    kind: str
    state: str
    received_at: datetime
    is_other_first: bool
    score: float
    own_photo_id: uuid.UUID | None
    photo_id: uuid.UUID | None
    picture_bits: int | None
    is_same_file: bool
    is_same_device: bool
    is_near: bool
    is_recycled: bool
    distance_m: float
    apart_s: float
    has_dead_animals: bool | None


_COVER = """(SELECT rp.photo_id FROM report_photo rp JOIN photo p ON p.id = rp.photo_id AND p.state = 'ready'
             WHERE rp.report_id = {} ORDER BY rp.position LIMIT 1)"""
_CANDIDATES = text(f"""
SELECT o.id AS report_id, o.code, o.kind, o.state, o.received_at, {_SEEN.format("o")} < {_SEEN.format("r")}, c.score,
       coalesce(c.own_photo_id, {_COVER.format("r.id")}), coalesce(c.photo_id, {_COVER.format("o.id")}),
       c.picture_bits, c.is_same_file, c.is_same_device, c.is_near, c.is_recycled, c.distance_m, c.apart_s,
       o.has_dead_animals
FROM (SELECT DISTINCT ON (other_id) * FROM (
    SELECT other_report_id AS other_id, photo_id AS own_photo_id, other_photo_id AS photo_id, score, picture_bits,
           is_same_file, is_same_device, is_near, is_recycled, distance_m, apart_s
    FROM duplicate_candidate WHERE report_id = :id
    UNION ALL
    SELECT report_id, other_photo_id, photo_id, score, picture_bits,
           is_same_file, is_same_device, is_near, is_recycled, distance_m, apart_s
    FROM duplicate_candidate WHERE other_report_id = :id) named ORDER BY other_id, is_recycled, score DESC) c
JOIN report o ON o.id = c.other_id AND o.state <> 'withdrawn' JOIN report r ON r.id = :id
ORDER BY c.is_recycled, c.score DESC, o.received_at, o.id LIMIT :limit
""")  # noqa: S608  # names of our own


def candidates(session: Session, report_id: uuid.UUID, *, limit: int) -> list[Candidate]:
    """What a report may repeat and what may repeat it: duplicates before warnings, the most alike first. One query.

    Two that came at once have each found the other: each is shown once.
    """
    return [Candidate(*row) for row in session.execute(_CANDIDATES, {"id": report_id, "limit": limit})]


@dataclass(frozen=True)
class OfDevice:
    """A stored candidate that names the device among its reasons."""

    report_id: uuid.UUID
    other_report_id: uuid.UUID
    distance_m: float
    apart_s: float
    picture_bits: int | None
    is_same_file: bool
    is_near: bool


_OF_DEVICE = text("""
SELECT report_id, other_report_id, distance_m, apart_s, picture_bits, is_same_file, is_near FROM duplicate_candidate
WHERE is_same_device AND found_at < :before ORDER BY found_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")


def candidates_by_device(session: Session, *, before: datetime, limit: int) -> list[OfDevice]:
    """Candidates found before a time because one device sent both, locked."""
    return [OfDevice(*row) for row in session.execute(_OF_DEVICE, {"before": before, "limit": limit})]
