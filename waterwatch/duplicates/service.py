"""Use cases: look for what a report that comes to review may repeat, and forget which devices were the same."""

import uuid
from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from waterwatch.duplicates import queries, rules
from waterwatch.duplicates.rules import Likeness
from waterwatch.duplicates.tables import DuplicateCandidate
from waterwatch.kernel import audit
from waterwatch.kernel.audit import Actor
from waterwatch.photos.queries import AlikePhoto, photos_alike

FINDER = Actor.system("duplicates")
CANDIDATES_KEPT = 10  # a moderator compares ten pairs at most; the page says so when there are as many
ALIKE_PER_PHOTO = 100  # a picture that went round the country does not make a report's search endless
FORGOTTEN_AT_ONCE = 500
Row = dict[str, object]


def propose(session: Session, photo_id: uuid.UUID, *, now: datetime) -> int:
    """Store what the report of a settled photo may repeat, if it is now under review; returns how many.

    Idempotent: a pair is stored once. Nothing is merged, refused or decided: a person looks at both.
    """
    report_id = queries.report_in_review(session, photo_id)
    if report_id is None:
        return 0
    return _store(session, report_id, _find(session, report_id)[:CANDIDATES_KEPT], (), now)


def propose_anew(session: Session, report_id: uuid.UUID, *, now: datetime) -> int:
    """Its author corrected the report: what it was like before goes, and what it is like now is stored, if it is under
    review. Returns how many are new.

    A report that had found this one keeps it, however many others there are, as long as there is a reason.

    Assumes the report's row is locked. Idempotent: the same report has the same likes.
    """
    if not queries.is_in_review(session, report_id):
        return 0
    likes = _find(session, report_id)
    # Before the rows that name them: whoever takes one of them back holds it first, and then wants those rows.
    queries.lock_there(session, [*queries.named_with(session, report_id), *_others(likes)])
    one, other = DuplicateCandidate.report_id, DuplicateCandidate.other_report_id
    known = session.execute(
        delete(DuplicateCandidate).where((one == report_id) | (other == report_id)).returning(one, other)
    ).all()
    by_others = {found for found, _report in known if found != report_id}
    before = by_others | {found for _report, found in known if found != report_id}
    kept = likes[:CANDIDATES_KEPT] + [row for row in likes[CANDIDATES_KEPT:] if row["other_report_id"] in by_others]
    return _store(session, report_id, kept, before, now)


def _store(
    session: Session, report_id: uuid.UUID, found: list[Row], before: Collection[uuid.UUID], now: datetime
) -> int:
    """Store candidates and say in the audit how many were not known ``before``."""
    there = queries.lock_there(session, _others(found))
    found = [row for row in found if row["other_report_id"] in there]  # one may be taken back at this moment
    if not found:
        return 0
    rows = [row | {"report_id": report_id, "found_at": now} for row in found]
    storing = insert(DuplicateCandidate).on_conflict_do_nothing().returning(DuplicateCandidate.other_report_id)
    if not (new := len(set(session.scalars(storing, rows)).difference(before))):
        return 0
    audit.record(
        session,
        action="report.duplicates_proposed",
        subject_kind="report",
        subject_id=report_id,
        actor=FINDER,
        now=now,
        after={"count": new},
    )
    return new


def forget_devices(session: Session, *, before: datetime) -> int:
    """Forget which candidates found before a time came from one device; those with no other reason go. Idempotent."""
    due = queries.candidates_by_device(session, before=before, limit=FORGOTTEN_AT_ONCE)
    for one in due:
        is_pair = (
            DuplicateCandidate.report_id == one.report_id,
            DuplicateCandidate.other_report_id == one.other_report_id,
        )
        left = Likeness(one.distance_m, one.apart_s, one.picture_bits, one.is_same_file, is_near=one.is_near)
        if not left.has_reason:
            session.execute(delete(DuplicateCandidate).where(*is_pair))
            continue
        values = {"is_same_device": False, "score": rules.score(left), "is_recycled": rules.is_recycled(left)}
        session.execute(update(DuplicateCandidate).where(*is_pair).values(**values))
    return len(due)


def _find(session: Session, report_id: uuid.UUID) -> list[Row]:
    """Candidates as rows, duplicates before warnings, the most alike first."""
    pairs = _alike_pictures(session, report_id)
    rows: list[tuple[tuple[bool, float], Row]] = []
    for apart in queries.others(session, report_id, list(pairs)):
        own_photo_id, alike = pairs.get(apart.other_report_id, (None, None))
        likeness = Likeness(
            apart.distance_m,
            apart.apart_s,
            alike.bits if alike else None,
            alike.is_same_file if alike else False,
            apart.is_same_device,
            apart.is_near,
        )
        row: Row = vars(likeness) | {
            "other_report_id": apart.other_report_id,
            "photo_id": own_photo_id,
            "other_photo_id": alike.photo_id if alike else None,
            "score": rules.score(likeness),
            "is_recycled": rules.is_recycled(likeness),
        }
        rows.append(((rules.is_recycled(likeness), -rules.score(likeness)), row))
    return [row for _order, row in sorted(rows, key=lambda one: one[0])]


def _others(found: Sequence[Row]) -> list[uuid.UUID]:
    return [uuid.UUID(str(row["other_report_id"])) for row in found]


def _alike_pictures(session: Session, report_id: uuid.UUID) -> dict[uuid.UUID, tuple[uuid.UUID, AlikePhoto]]:
    """By other report: the pair of photos, this one's and that one's, that is most alike."""
    found = [
        (own_id, alike)
        for own_id in queries.ready_photos(session, report_id)
        for alike in photos_alike(session, own_id, limit=ALIKE_PER_PHOTO)
    ]
    owners = _owners(session, report_id, [alike.photo_id for _own_id, alike in found])
    best: dict[uuid.UUID, tuple[uuid.UUID, AlikePhoto]] = {}
    for own_id, alike in sorted(found, key=lambda pair: (pair[1].bits, not pair[1].is_same_file)):
        if (other_id := owners.get(alike.photo_id)) is not None:
            best.setdefault(other_id, (own_id, alike))
    return best


def _owners(session: Session, report_id: uuid.UUID, photo_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
    return queries.reports_of(session, photo_ids, report_id) if photo_ids else {}
