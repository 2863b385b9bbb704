"""A report whose photos are done comes to review together with what it may repeat."""

import threading
import uuid
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from tests.duplicates.rows import add_photo, add_report, candidates_of
from tests.moderation.rows import add_river, state_of
from tests.notices.test_taking_back import wait_until_somebody_waits
from tests.photos.test_service import PHOTO, _receive
from waterwatch.duplicates import queries as likes
from waterwatch.duplicates import service as duplicates
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.outbox import Message
from waterwatch.reports import service as reports
from waterwatch.reports.queries import lock_report
from workers import handlers

PATIENCE_S = 20.0


def message(photo_id: uuid.UUID) -> Message:
    """That a photo is settled, as the relay hands it on."""
    return Message(uuid.uuid4(), 1, "photos.settled", {"photo_id": str(photo_id)}, 1, timedelta(), None, None)


def test_no_moderator_sees_a_report_without_its_likes(context: JobContext) -> None:
    now = utc_now()
    with transaction(context.sessions) as session:
        river = add_river(session, "长江")
        first = add_report(session, river, now=now, photos=[add_photo(session, now=now)])
        photo = add_photo(session, now=now)
        report = add_report(session, river, now=now, photos=[photo], state="sanitising")
    for _ in range(2):  # the same message twice is once
        handlers.settle(context, message(photo))
    with transaction(context.sessions) as session:
        assert state_of(session, "report", report) == "in_review"
        assert list(candidates_of(session, report)) == [first]
        acts = session.execute(text("SELECT action FROM audit_entry WHERE subject_id = :id"), {"id": report})
        assert sorted(acts.scalars()) == ["report.duplicates_proposed", "report.settled"]


def test_the_job_that_sanitised_a_photo_moves_its_report_on(context: JobContext, tmp_path: Path) -> None:
    photo = _receive(context, PHOTO, tmp_path)
    with transaction(context.sessions) as session:
        river = add_river(session, "长江")
        report = add_report(session, river, now=utc_now(), photos=[photo], state="received")
    for _ in range(2):
        handlers.sanitise(context, message(photo))
    with transaction(context.sessions) as session:
        assert state_of(session, "report", report) == "in_review"
        assert session.execute(text("SELECT topic FROM outbox")).scalars().all() == ["photos.sanitise"]


def test_a_photo_that_is_given_up_moves_its_report_on(context: JobContext, tmp_path: Path) -> None:
    photo = _receive(context, PHOTO, tmp_path)
    with transaction(context.sessions) as session:
        report = add_report(session, None, now=utc_now(), photos=[photo], state="received")
    for _ in range(2):
        handlers.refuse_photo(context, message(photo))
    with transaction(context.sessions) as session:
        assert state_of(session, "photo", photo) == "refused"
        assert state_of(session, "report", report) == "refused"


def test_the_last_photo_of_a_refused_report_proposes_nothing(context: JobContext) -> None:
    now = utc_now()
    with transaction(context.sessions) as session:
        photo = add_photo(session, now=now, state="refused", phash=None)
        report = add_report(session, None, now=now, photos=[photo], state="sanitising")
    handlers.settle(context, message(photo))
    with transaction(context.sessions) as session:
        assert state_of(session, "report", report) == "refused"
        assert candidates_of(session, report) == {}


def corrected(report_id: uuid.UUID) -> Message:
    """That a report was corrected, as the relay hands it on."""
    return Message(uuid.uuid4(), 1, "reports.resnap", {"report_id": str(report_id)}, 1, timedelta(), None, None)


def test_what_a_corrected_report_is_like_is_found_anew(context: JobContext) -> None:
    """A new kind: those of the old kind are no likes any more, whichever of the two had found the other."""
    now = utc_now()
    with transaction(context.sessions) as session:
        river = add_river(session, "长江")
        photos = [add_photo(session, now=now, phash=None) for _ in range(4)]
        earlier, report, later, foam = (
            add_report(session, river, now=now, photos=[photo], kind=kind)
            for photo, kind in zip(photos, ("oil_slick", "oil_slick", "oil_slick", "foam"), strict=True)
        )
        duplicates.propose(session, photos[2], now=now)
        duplicates.propose(session, photos[1], now=now)
        assert candidates_of(session, later).keys() == {earlier, report}
        assert candidates_of(session, report).keys() == {earlier, later}
        session.execute(text("UPDATE report SET kind = 'foam' WHERE id = :id"), {"id": report})
    for _ in range(2):  # the same message twice is once
        handlers.resnap(context, corrected(report))
    with transaction(context.sessions) as session:
        assert candidates_of(session, report).keys() == {foam}
        assert candidates_of(session, later).keys() == {earlier}
        acts = session.execute(text("SELECT after FROM audit_entry WHERE subject_id = :id ORDER BY id"), {"id": report})
        assert acts.scalars().all() == [{"count": 2}, {"count": 1}]


def test_a_report_that_moved_is_compared_where_it_lies_now(context: JobContext) -> None:
    now = utc_now()
    with transaction(context.sessions) as session:
        river = add_river(session, "长江")
        there = add_report(session, river, now=now, photos=[add_photo(session, now=now, phash=None)])
        report = add_report(session, None, now=now, photos=[add_photo(session, now=now, phash=None)])
    handlers.resnap(context, corrected(report))
    with transaction(context.sessions) as session:
        assert candidates_of(session, report).keys() == {there}


def test_two_reports_alike_settle_at_once(context: JobContext) -> None:
    """Neither waits for the other: each would name the other while it is held, and both would stand still."""
    now = utc_now()
    with transaction(context.sessions) as session:
        river = add_river(session, "长江")
        photos = [add_photo(session, now=now) for _ in range(2)]
        one, other = (add_report(session, river, now=now, photos=[photo], state="sanitising") for photo in photos)
    beside = threading.Thread(target=handlers.settle, args=(context, message(photos[1])))
    with transaction(context.sessions) as session:
        reports.settle_photo(session, photos[0], settings=context.settings, now=now)
        beside.start()
        beside.join(PATIENCE_S)
        assert not beside.is_alive(), "the other waits for this one"
        duplicates.propose(session, photos[0], now=now)
    with transaction(context.sessions) as session:
        assert candidates_of(session, one).keys() == {other}
        assert candidates_of(session, other).keys() == {one}


def test_a_report_is_taken_back_while_one_like_it_is_compared_anew(context: JobContext) -> None:
    now = utc_now()
    with transaction(context.sessions) as session:
        river = add_river(session, "长江")
        photos = [add_photo(session, now=now) for _ in range(2)]
        gone, report = (add_report(session, river, now=now, photos=[photo]) for photo in photos)
        duplicates.propose(session, photos[1], now=now)
        assert candidates_of(session, report).keys() == {gone}
    beside = threading.Thread(target=handlers.resnap, args=(context, corrected(report)))
    with transaction(context.sessions) as session:
        lock_report(session, gone)
        beside.start()
        wait_until_somebody_waits(context.sessions)
        reports.withdraw(session, gone, now=now)
    beside.join()
    with transaction(context.sessions) as session:
        assert candidates_of(session, report) == {}


def test_a_report_is_taken_back_while_one_whose_picture_is_its_own_is_stored_beside_it(context: JobContext) -> None:
    now = utc_now()
    with transaction(context.sessions) as session:
        river = add_river(session, "长江")
        photos = [add_photo(session, now=now, sha256=b"s" * 32) for _ in range(2)]
        gone, report = (add_report(session, river, now=now, photos=[photo]) for photo in photos)

    def withdraw() -> None:
        with transaction(context.sessions) as session:
            reports.withdraw(session, gone, now=now)

    beside = threading.Thread(target=withdraw)
    with transaction(context.sessions) as session:
        assert likes.lock_there(session, [gone]) == {gone}
        beside.start()
        wait_until_somebody_waits(context.sessions)
        duplicates.propose(session, photos[1], now=now)
        named = session.execute(text("SELECT other_photo_id FROM duplicate_candidate")).scalars().all()
        assert named == [photos[0]]
    beside.join()
    with transaction(context.sessions) as session:
        assert candidates_of(session, report) == {}


def test_a_report_judged_meanwhile_keeps_what_it_was_like(context: JobContext) -> None:
    now = utc_now()
    with transaction(context.sessions) as session:
        river = add_river(session, "长江")
        photos = [add_photo(session, now=now) for _ in range(2)]
        other, report = (add_report(session, river, now=now, photos=[photo]) for photo in photos)
        duplicates.propose(session, photos[1], now=now)
        session.execute(
            text("UPDATE report SET state = 'withdrawn', state_deadline_at = NULL WHERE id = :id"), {"id": report}
        )
    handlers.resnap(context, corrected(report))
    with transaction(context.sessions) as session:
        assert candidates_of(session, report).keys() == {other}
