"""What is asked of reports, each named for its answer. Geometry leaves as numbers: degrees WGS-84, metres."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session, defer

from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.ids import token_digest
from waterwatch.reports.tables import MEASURED, Report, ReportPhoto


@dataclass(frozen=True)
class ExactPlace:
    """The confirmed place of a report. For snapping, moderators and the agency; never for the public."""

    lon: float
    lat: float
    accuracy_m: float | None


@dataclass(frozen=True)
class PhotoView:
    """One photo of a report. ``sizes``: longest edges in pixels of the rebuilt pictures there are, smallest first."""

    photo_id: uuid.UUID
    state: str
    refusal_code: str | None
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class ReviewFacts:
    """Everything a moderator sees of a report. Distances in metres; the place is exact."""

    report_id: uuid.UUID
    code: str
    state: str
    kind: str
    place_words: str | None
    note: str | None
    extent: str | None
    smell: int | None
    is_ongoing: bool | None
    has_dead_animals: bool | None
    affects_people: bool | None
    received_at: datetime
    lon: float
    lat: float
    place_source: str
    accuracy_m: float | None
    device_distance_m: float | None
    water_feature_id: uuid.UUID | None
    snapped_lon: float | None
    snapped_lat: float | None
    snap_distance_m: float | None
    colour: str | None
    since: str | None
    observed_at: datetime | None
    same_as_code: str | None
    source: str
    version: int
    corrected_at: datetime | None
    measured: dict[str, float]
    photos: list[PhotoView]


@dataclass(frozen=True)
class Followed:
    """What its author sees of a report; its place is not among it, because a follow link may be passed on."""

    report_id: uuid.UUID
    code: str
    state: str
    state_since: datetime
    received_at: datetime
    kind: str
    refusal_code: str | None
    refusal_words: str | None
    version: int
    erased_at: datetime | None


@dataclass(frozen=True)
class Telling:
    """What is needed to tell a report's author how far it has come."""

    code: str
    state: str
    kind: str
    language: str
    follow_digest: bytes
    refusal_code: str | None
    state_since: datetime


@dataclass(frozen=True)
class QueueCounts:
    """How full the review queue is; ``oldest_received_at`` is None when nothing waits."""

    waiting: int
    overdue: int
    oldest_received_at: datetime | None


def point(lon: float, lat: float) -> ColumnElement[Any]:
    """SQL expression for a WGS-84 point, to be written into a geometry column."""
    return func.ST_SetSRID(func.ST_MakePoint(lon, lat), 4326)


def default_organisation_id(session: Session) -> uuid.UUID:
    """The organisation that runs this installation: the oldest one."""
    found = session.execute(text("SELECT id FROM organisation ORDER BY created_at, id LIMIT 1")).scalar_one_or_none()
    if found is None:
        raise NotFound("no_organisation")
    return uuid.UUID(str(found))


def has_water(session: Session, water_feature_id: uuid.UUID) -> bool:
    """Whether a river or lake of that id exists."""
    statement = text("SELECT EXISTS (SELECT FROM water_feature WHERE id = :id)")
    return bool(session.execute(statement, {"id": water_feature_id}).scalar_one())


def receipt_facts(session: Session, submission_digest: bytes) -> tuple[uuid.UUID, str, bytes] | None:
    """Id, code and the follow token's digest of the report that a submission made, or None."""
    row = session.execute(
        select(Report.id, Report.code, Report.follow_digest).where(Report.submission_digest == submission_digest)
    ).first()
    return (row.id, row.code, row.follow_digest) if row else None


def report_id_by_code(session: Session, code: str) -> uuid.UUID | None:
    """The report a person reads aloud, or None."""
    return session.execute(select(Report.id).where(Report.code == code)).scalar_one_or_none()


def lock_report(session: Session, report_id: uuid.UUID, *, may_be_named: bool = False) -> Report | None:
    """The report's row, locked until the transaction ends, without its geometry; None when there is none.

    ``may_be_named``: rows that name it may be written meanwhile. So two reports that are compared at once, each of
    which will name the other, do not wait for each other for ever.
    """
    statement = (
        select(Report)
        .where(Report.id == report_id)
        .options(defer(Report.point), defer(Report.device_point), defer(Report.snapped_point))
        .with_for_update(key_share=may_be_named)
        .execution_options(populate_existing=True)
    )
    return session.scalars(statement).one_or_none()


def lock_reports(session: Session, report_ids: Collection[uuid.UUID]) -> None:
    """Lock many reports in the order of everybody who locks several, before anything that follows from one of them."""
    statement = select(Report.id).where(Report.id.in_(report_ids)).order_by(Report.id).with_for_update()
    session.execute(statement).all()


_IS_HANDED = text("""
SELECT action = 'report.handed' FROM audit_entry WHERE subject_kind = 'report' AND subject_id = :id
  AND action IN ('report.handed', 'report.handed_back') ORDER BY id DESC LIMIT 1
""")


def is_handed(session: Session, report_id: uuid.UUID) -> bool:
    """Whether a report was handed to the lead, who has not given it back: whatever was decided and undone since."""
    return bool(session.execute(_IS_HANDED, {"id": report_id}).scalar_one_or_none())


@dataclass(frozen=True)
class Judged:
    """A report somebody is about to decide on: its locked row, and its place."""

    row: Report
    lon: float
    lat: float


def lock_to_judge(session: Session, report_id: uuid.UUID) -> Judged | None:
    """As :func:`lock_report`, with what a judgement stands on. One query."""
    statement = (
        select(Report, func.ST_X(Report.point), func.ST_Y(Report.point))
        .where(Report.id == report_id)
        .options(defer(Report.point), defer(Report.device_point), defer(Report.snapped_point))
        .with_for_update(of=Report)
        .execution_options(populate_existing=True)
    )
    found = session.execute(statement).one_or_none()
    return None if found is None else Judged(*found)


def lock_report_of_photo(session: Session, photo_id: uuid.UUID) -> Report | None:
    """The report a photo evidences, locked but for rows that name it; None when it evidences none."""
    statement = select(ReportPhoto.report_id).where(ReportPhoto.photo_id == photo_id)
    report_id = session.execute(statement).scalar_one_or_none()
    return None if report_id is None else lock_report(session, report_id, may_be_named=True)


def place_of(session: Session, report_id: uuid.UUID) -> ExactPlace:
    """The confirmed place. Raises :class:`NotFound`, also when it was erased."""
    row = session.execute(
        text("""SELECT ST_X(point) AS lon, ST_Y(point) AS lat, accuracy_m FROM report
                WHERE id = :id AND erased_at IS NULL"""),
        {"id": report_id},
    ).first()
    if row is None:
        raise NotFound("report_not_found")
    return ExactPlace(row.lon, row.lat, row.accuracy_m)


def photo_states(session: Session, report_id: uuid.UUID) -> list[str]:
    """The states of a report's photos, in their order."""
    return [photo.state for photo in photos_of(session, report_id)]


_PHOTOS = text("""
SELECT p.id, p.state, p.refusal_code,
       array_remove(array_agg(d.size_px ORDER BY d.size_px), NULL) AS sizes
FROM report_photo rp JOIN photo p ON p.id = rp.photo_id LEFT JOIN photo_derivative d ON d.photo_id = p.id
WHERE rp.report_id = :id GROUP BY rp.position, p.id ORDER BY rp.position
""")


def photos_of(session: Session, report_id: uuid.UUID) -> list[PhotoView]:
    """A report's photos in the order they were sent."""
    rows = session.execute(_PHOTOS, {"id": report_id}).all()
    return [PhotoView(row.id, row.state, row.refusal_code, tuple(row.sizes)) for row in rows]


@dataclass(frozen=True)
class PhotoEvidence:
    """What a photo's file claims: how far from the confirmed place, in metres, and the camera's own time.

    From the file as it arrived, else as the phone read it before making it smaller.
    """

    photo_id: uuid.UUID
    distance_m: float | None
    taken_at_local: str | None


_EVIDENCE = text("""
SELECT photo_id, ST_Distance(geography(point), geography(ST_SetSRID(ST_MakePoint(lon, lat), 4326))) AS distance_m,
       taken_at_local
FROM (
    SELECT rp.photo_id, rp.position, r.point, coalesce(p.exif_lon, rp.stated_lon) AS lon,
           CASE WHEN p.exif_lon IS NULL THEN rp.stated_lat ELSE p.exif_lat END AS lat,
           coalesce(p.exif_taken_at_local, rp.stated_taken_at_local) AS taken_at_local
    FROM report r JOIN report_photo rp ON rp.report_id = r.id JOIN photo p ON p.id = rp.photo_id
    WHERE r.id = :id) claimed
WHERE lon IS NOT NULL OR taken_at_local IS NOT NULL
ORDER BY position
""")


def photo_evidence(session: Session, report_id: uuid.UUID) -> list[PhotoEvidence]:
    """Those photos of a report whose files claim a place or a time, in their order. For moderators only."""
    return [PhotoEvidence(*row) for row in session.execute(_EVIDENCE, {"id": report_id})]


def has_photo(session: Session, report_id: uuid.UUID, photo_id: uuid.UUID) -> bool:
    """Whether a photo belongs to a report."""
    statement = select(ReportPhoto.photo_id).where(ReportPhoto.report_id == report_id, ReportPhoto.photo_id == photo_id)
    return session.execute(statement).first() is not None


READINGS = ", ".join(f"'{name}', {name}" for name in MEASURED)
_REVIEW = text(f"""
SELECT id AS report_id, code, state, kind, place_words, note, extent, smell, is_ongoing, has_dead_animals,
       affects_people, received_at, ST_X(point) AS lon, ST_Y(point) AS lat, place_source, accuracy_m,
       ST_Distance(geography(point), geography(device_point)) AS device_distance_m,
       water_feature_id, ST_X(snapped_point) AS snapped_lon, ST_Y(snapped_point) AS snapped_lat, snap_distance_m,
       colour, since, observed_at, same_as_code, source, version, corrected_at,
       jsonb_strip_nulls(jsonb_build_object({READINGS})) AS measured
FROM report WHERE id = :id AND erased_at IS NULL
""")  # noqa: S608  # names of our own


def review_facts(session: Session, report_id: uuid.UUID) -> ReviewFacts:
    """Everything a moderator sees. Raises :class:`NotFound`, also when it was erased."""
    row = session.execute(_REVIEW, {"id": report_id}).mappings().first()
    if row is None:
        raise NotFound("report_not_found")
    return ReviewFacts(**row, photos=photos_of(session, report_id))


def report_by_follow_token(session: Session, token: str) -> Followed:
    """The report a follow link opens. Only the token's digest is stored. Raises :class:`NotFound` ``link_unknown``."""
    row = session.execute(
        select(
            Report.id.label("report_id"),
            Report.code,
            Report.state,
            Report.state_since,
            Report.received_at,
            Report.kind,
            Report.refusal_code,
            Report.refusal_words,
            Report.version,
            Report.erased_at,
        ).where(Report.follow_digest == token_digest(token))
    ).first()
    if row is None:
        raise NotFound("link_unknown")
    return Followed(**row._mapping)


def telling(session: Session, report_id: uuid.UUID) -> Telling:
    """What its author may be told. Raises :class:`NotFound`."""
    row = session.execute(
        select(
            Report.code,
            Report.state,
            Report.kind,
            Report.language,
            Report.follow_digest,
            Report.refusal_code,
            Report.state_since,
        ).where(Report.id == report_id)
    ).first()
    if row is None:
        raise NotFound("report_not_found")
    return Telling(**row._mapping)


_COUNTS = text("""
SELECT count(*) AS waiting, count(*) FILTER (WHERE state_deadline_at < :now) AS overdue,
       min(received_at) AS oldest_received_at
FROM report WHERE state = 'in_review'
""")


def queue_counts(session: Session, *, now: datetime) -> QueueCounts:
    """How many reports wait for a moderator, how many past their deadline, and since when the oldest one waits."""
    row = session.execute(_COUNTS, {"now": now}).one()
    return QueueCounts(row.waiting, row.overdue, row.oldest_received_at)
