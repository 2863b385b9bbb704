"""A photo's way through the database and the object store: once, exactly, and whatever happens twice."""

import hashlib
import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from tests.photos.forge import CANARY, app1, ascii_tag, canary, exif, gps_tags, jpeg, with_segments
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import NotFound, Unavailable
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.photos import forgetting, queries, service
from waterwatch.photos.pixels import Refused, rebuild_in_child
from waterwatch.photos.rules import REFUSALS, Limits, Rectangle
from waterwatch.photos.tables import Photo, PhotoDerivative
from waterwatch.photos.views import REFUSAL_WORDS

PLACE = gps_tags([(30, 1), (35, 1), (0, 1)], "N", [(114, 1), (18, 1), (0, 1)], "E")
TIMES = [ascii_tag(0x9003, "2026:05:20 10:30:00"), ascii_tag(0x9011, "+08:00")]
PHOTO = with_segments(jpeg(), app1(exif([ascii_tag(0x010F, canary("make"))], gps=PLACE, details=TIMES)))


@pytest.fixture
def context(settings: Settings, sessions: sessionmaker[Session]) -> JobContext:
    """A worker's context on a database of its own and a local store."""
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


def _receive(context: JobContext, content: bytes, folder: Path) -> uuid.UUID:
    photo_id = new_id()
    key = f"quarantine/2026/{photo_id}"
    upload = folder / "upload"
    upload.write_bytes(content)
    context.objects.put_file(key, upload)
    digest = hashlib.sha256(content).digest()
    with transaction(context.sessions) as session:
        arrived = service.arrival(photo_id, key, len(content), digest, settings=context.settings, now=utc_now())
        service.register(session, arrived)
    return photo_id


def _photo(context: JobContext, photo_id: uuid.UUID) -> Photo:
    with transaction(context.sessions) as session:
        return session.scalars(select(Photo).where(Photo.id == photo_id)).one()


def _acts(context: JobContext, photo_id: uuid.UUID) -> list[str]:
    with transaction(context.sessions) as session:
        statement = text("SELECT action FROM audit_entry WHERE subject_id = :id ORDER BY id")
        return list(session.execute(statement, {"id": photo_id}).scalars())


def _topics(context: JobContext) -> list[str]:
    with transaction(context.sessions) as session:
        return list(session.execute(text("SELECT topic FROM outbox ORDER BY id")).scalars())


def _public_keys(context: JobContext) -> set[str]:
    return {stored.key for stored in context.objects.list("public")}


def test_a_photo_is_received_with_its_order_to_sanitise(context: JobContext, tmp_path: Path) -> None:
    photo = _photo(context, _receive(context, PHOTO, tmp_path))
    assert (photo.state, photo.original_bytes, photo.sha256) == ("received", len(PHOTO), hashlib.sha256(PHOTO).digest())
    assert photo.state_deadline_at == photo.state_since + timedelta(seconds=120)
    assert photo.original_delete_after == photo.received_at + timedelta(days=90)
    assert (_acts(context, photo.id), _topics(context)) == (["photo.received"], ["photos.sanitise"])


def test_a_sanitised_photo_has_three_bare_pictures_and_its_evidence(context: JobContext, tmp_path: Path) -> None:
    photo_id = _receive(context, PHOTO, tmp_path)
    assert service.sanitise(context, photo_id) == "ready"
    photo = _photo(context, photo_id)
    assert (photo.state, photo.state_deadline_at, photo.media_type) == ("ready", None, "image/jpeg")
    assert (photo.width, photo.height, photo.exif_lon) == (480, 320, pytest.approx(114.3))
    assert (photo.exif_lat, photo.exif_taken_at_local) == (pytest.approx(30 + 35 / 60), "2026-05-20T10:30:00")
    assert photo.exif_taken_at is not None
    assert photo.exif_taken_at.isoformat() == "2026-05-20T02:30:00+00:00"
    with transaction(context.sessions) as session:
        rows = session.scalars(select(PhotoDerivative).where(PhotoDerivative.photo_id == photo_id)).all()
    assert {row.size_px for row in rows} == {2000, 1024, 320}
    for row in rows:
        content = b"".join(context.objects.open(row.key))
        assert (len(content), hashlib.sha256(content).digest()) == (row.bytes, row.sha256)
        assert CANARY.encode() not in content
    assert {row.key for row in rows} == _public_keys(context)
    assert _acts(context, photo_id) == ["photo.received", "photo.sanitising", "photo.ready"]
    assert _topics(context) == ["photos.sanitise"]
    assert list(context.settings.spool_dir.iterdir()) == []


def test_the_audit_knows_neither_place_nor_time_of_a_photo(context: JobContext, tmp_path: Path) -> None:
    photo_id = _receive(context, PHOTO, tmp_path)
    service.sanitise(context, photo_id)
    with transaction(context.sessions) as session:
        statement = text("SELECT after FROM audit_entry WHERE subject_id = :id")
        rows = session.execute(statement, {"id": photo_id}).scalars().all()
    assert {name for row in rows for name in row} == {"state", "code", "sha256"}
    assert [row for row in rows if "114." in json.dumps(row)] == []


def test_sanitising_again_changes_nothing(context: JobContext, tmp_path: Path) -> None:
    photo_id = _receive(context, PHOTO, tmp_path)
    service.sanitise(context, photo_id)
    keys = _public_keys(context)
    assert service.sanitise(context, photo_id) == "ready"
    assert (_public_keys(context), _topics(context)) == (keys, ["photos.sanitise"])


def test_a_run_that_died_half_way_is_taken_up_again(context: JobContext, tmp_path: Path) -> None:
    photo_id = _receive(context, PHOTO, tmp_path)
    with transaction(context.sessions) as session:  # what a killed worker leaves: begun, and nothing more
        photo = session.scalars(select(Photo).where(Photo.id == photo_id)).one()
        service.timed(context.settings).move(photo, "sanitising", now=utc_now())
    assert service.sanitise(context, photo_id) == "ready"


def test_the_slower_of_two_runs_leaves_no_pictures_behind(context: JobContext, tmp_path: Path) -> None:
    photo_id = _receive(context, PHOTO, tmp_path)
    service.sanitise(context, photo_id)
    keys = _public_keys(context)
    original = tmp_path / "original"
    original.write_bytes(PHOTO)
    late = rebuild_in_child(original, tmp_path, Limits.from_settings(context.settings))
    assert not isinstance(late, Refused)
    late_keys = service._store(context, photo_id, late)
    assert service._settle(context, photo_id, late, late_keys) == "ready"
    assert _public_keys(context) == keys


def test_a_photo_taken_back_while_it_is_worked_on_leaves_neither_row_nor_file(
    context: JobContext, tmp_path: Path
) -> None:
    photo_id = _receive(context, PHOTO, tmp_path)
    original = tmp_path / "original"
    original.write_bytes(PHOTO)
    rebuilt = rebuild_in_child(original, tmp_path, Limits.from_settings(context.settings))
    assert not isinstance(rebuilt, Refused)
    keys = service._store(context, photo_id, rebuilt)
    with transaction(context.sessions) as session:
        forgetting.erase(session, [photo_id], actor=Actor.anonymous(), now=utc_now())
    assert service._settle(context, photo_id, rebuilt, keys) == "forgotten"
    assert service.sanitise(context, photo_id) == "forgotten"
    _delete_files(context)
    assert _files(context) == []
    with transaction(context.sessions) as session:
        assert session.execute(text("SELECT count(*) FROM photo")).scalar_one() == 0


def test_pictures_made_anew_of_a_photo_taken_back_meanwhile_are_nobody_s(context: JobContext, tmp_path: Path) -> None:
    photo_id = _receive(context, PHOTO, tmp_path)
    service.sanitise(context, photo_id)
    original = tmp_path / "original"
    original.write_bytes(PHOTO)
    with transaction(context.sessions) as session:
        command = service.ChangeRedactions(photo_id, drawn=(Rectangle("drawn", 0.1, 0.1, 0.2, 0.2),))
        service.change_redactions(session, command, actor=Actor.person(new_id(), None), now=utc_now())
        wanted = queries.redaction_order(session, photo_id)
    assert wanted is not None
    rebuilt = rebuild_in_child(original, tmp_path, Limits.from_settings(context.settings), wanted.rectangles)
    assert not isinstance(rebuilt, Refused)
    with transaction(context.sessions) as session:
        forgetting.erase(session, [photo_id], actor=Actor.anonymous(), now=utc_now())
    with transaction(context.sessions) as session:
        keys = {size: f"public/{size}" for size in (2000, 1024, 320)}
        assert service._exchange(session, photo_id, wanted, rebuilt, keys, utc_now()) is None
    assert service.redact(context, photo_id) is False


def test_files_are_deleted_once_no_row_names_them_and_twice_is_once(context: JobContext, tmp_path: Path) -> None:
    photo_id = _receive(context, PHOTO, tmp_path)
    service.sanitise(context, photo_id)
    with context.sessions() as session:  # killed before the commit
        forgetting.erase(session, [photo_id], actor=Actor.anonymous(), now=utc_now())
    assert (_photo(context, photo_id).state, len(_files(context))) == ("ready", 4)
    assert service.TOPIC_ERASED not in _topics(context)
    for _twice in range(2):
        with transaction(context.sessions) as session:
            forgetting.erase(session, [photo_id], actor=Actor.anonymous(), now=utc_now())
    assert _topics(context).count(service.TOPIC_ERASED) == 1
    for _twice in range(2):
        _delete_files(context)
        assert _files(context) == []
    assert _acts(context, photo_id)[-1] == "photo.forgotten"


def _files(context: JobContext) -> list[str]:
    return [stored.key for zone in ("quarantine", "public") for stored in context.objects.list(zone)]


def _delete_files(context: JobContext) -> None:
    """Do the job, whether it was done before or not."""
    with transaction(context.sessions) as session:
        statement = select(outbox.OutboxRow).where(outbox.OutboxRow.topic == service.TOPIC_ERASED)
        row = session.scalars(statement).one()
        message = outbox.Message(row.id, 1, row.topic, row.payload, 1, timedelta(), None, None)
    forgetting.delete_files(context, message)


@pytest.mark.parametrize(
    ("content", "code"), [(b"", "empty_file"), (b"GIF89a", "type_not_accepted"), (PHOTO[:900], "truncated")]
)
def test_a_photo_that_cannot_be_used_is_refused_with_its_reason(
    context: JobContext, tmp_path: Path, content: bytes, code: str
) -> None:
    photo_id = _receive(context, content, tmp_path)
    assert service.sanitise(context, photo_id) == "refused"
    photo = _photo(context, photo_id)
    assert (photo.refusal_code, photo.width, photo.state_deadline_at) == (code, None, None)
    assert _public_keys(context) == set()
    assert _acts(context, photo_id) == ["photo.received", "photo.sanitising", "photo.refused"]
    assert _topics(context) == ["photos.sanitise"]
    assert service.sanitise(context, photo_id) == "refused"
    assert _topics(context) == ["photos.sanitise"]


def test_a_missing_original_is_not_blamed_on_the_citizen(context: JobContext, tmp_path: Path) -> None:
    photo_id = _receive(context, PHOTO, tmp_path)
    context.objects.delete(f"quarantine/2026/{photo_id}")
    with pytest.raises(NotFound):
        service.sanitise(context, photo_id)
    assert _photo(context, photo_id).state == "sanitising"


def test_a_folder_that_cannot_be_written_asks_for_another_try(context: JobContext, tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(PHOTO)
    with pytest.raises(Unavailable):
        rebuild_in_child(original, tmp_path / "nowhere", Limits.from_settings(context.settings))


def test_recording_twice_says_so_and_does_nothing(
    session: Session, now: datetime, make_settings: Callable[..., Settings]
) -> None:
    settings, photo_id = make_settings(), new_id()
    service.register(
        session, service.arrival(photo_id, f"quarantine/{photo_id}", 1, bytes(32), settings=settings, now=now)
    )
    assert service.record_refused(session, photo_id, "undecodable", settings=settings, now=now) is True
    assert service.record_refused(session, photo_id, "too_heavy", settings=settings, now=now) is False
    photo = session.scalars(select(Photo).where(Photo.id == photo_id)).one()
    assert photo.refusal_code == "undecodable"


def test_an_original_is_forgotten_when_its_time_is_over(
    session: Session, now: datetime, make_settings: Callable[..., Settings]
) -> None:
    settings, photo_id = make_settings(), new_id()
    key = f"quarantine/{photo_id}"
    service.register(session, service.arrival(photo_id, key, 1, bytes(32), settings=settings, now=now))
    session.execute(
        text("""UPDATE photo SET exif_lon = 114, exif_lat = 30, exif_taken_at = now(),
                exif_taken_at_local = '2026-05-20T10:30:00'""")
    )
    assert forgetting.forget_original(session, photo_id, now=now + timedelta(days=89)) is None
    assert session.execute(text("SELECT num_nonnulls(exif_lon, exif_taken_at) FROM photo")).scalar_one() == 2
    assert forgetting.forget_original(session, photo_id, now=now + timedelta(days=90)) == key
    assert forgetting.forget_original(session, photo_id, now=now + timedelta(days=91)) is None
    session.flush()
    claims = text("SELECT num_nonnulls(exif_lon, exif_lat, exif_taken_at, exif_taken_at_local) FROM photo")
    assert session.execute(claims).scalar_one() == 0


def test_an_unknown_photo_is_not_found(session: Session, now: datetime, make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(NotFound):
        service.record_refused(session, new_id(), "undecodable", settings=make_settings(), now=now)
    assert queries.derivative(session, new_id(), 320) is None


@pytest.mark.parametrize(
    "change",
    ["state = 'refused'", "refusal_code = 'undecodable'", "state = 'lost'", "exif_lon = 181, exif_lat = 0",
     "exif_lon = 114",
     "sha256 = 'x'", "original_bytes = -1", "width = 0, height = 1"],
)  # fmt: skip
def test_the_database_itself_refuses_a_contradiction(
    session: Session, now: datetime, make_settings: Callable[..., Settings], change: str
) -> None:
    photo_id = new_id()
    service.register(
        session, service.arrival(photo_id, f"quarantine/{photo_id}", 1, bytes(32), settings=make_settings(), now=now)
    )
    session.flush()
    with pytest.raises(IntegrityError):
        session.execute(text(f"UPDATE photo SET {change} WHERE id = :id"), {"id": photo_id})


def test_every_refusal_has_words_for_the_citizen() -> None:
    assert set(REFUSAL_WORDS) == set(REFUSALS)
