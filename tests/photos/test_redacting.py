"""What a moderator covers or uncovers, and how the pictures follow: the rows, the job, and who waits meanwhile."""

import hashlib
import io
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from flask import Flask
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from bench import privacy_scenes as scenes
from tests.photos.forge import jpeg, scene
from tests.photos.test_service import _acts, _public_keys, _receive, _topics
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.photos import forgetting, queries, redaction, service
from waterwatch.photos.rules import MAX_REDACTIONS, Rectangle
from waterwatch.photos.service import ChangeRedactions
from waterwatch.photos.views import serve_derivative
from waterwatch.web.house import EXTENSION, House

LEFT_HALF, RIGHT_HALF = Rectangle("drawn", 0.0, 0.0, 0.5, 1.0), Rectangle("drawn", 0.5, 0.0, 0.5, 1.0)
CONTENT = jpeg(scene(480, 320))
MODERATOR = Actor.person(new_id(), new_id())


@pytest.fixture
def context(settings: Settings, sessions: sessionmaker[Session]) -> JobContext:
    """A worker's context on a database of its own and a local store."""
    return JobContext(settings, sessions, ObjectStore(settings.objects_url))


@pytest.fixture
def photo_id(context: JobContext, tmp_path: Path) -> uuid.UUID:
    """A photo that is ready, with four corners of four colours and nothing covered."""
    made = _receive(context, CONTENT, tmp_path)
    assert service.sanitise(context, made) == "ready"
    return made


@pytest.fixture
def as_visitor(context: JobContext) -> Iterator[Flask]:
    """An application with nothing but a house."""
    made = Flask(__name__)
    engine = context.sessions.kw["bind"]
    made.extensions[EXTENSION] = House(context.settings, engine, context.sessions, context.objects, engine)
    with made.test_request_context("/"):
        yield made


def _change(context: JobContext, photo_id: uuid.UUID, *drawn: Rectangle, removed: tuple[uuid.UUID, ...] = ()) -> None:
    with transaction(context.sessions) as session:
        command = ChangeRedactions(photo_id, drawn, removed)
        service.change_redactions(session, command, actor=MODERATOR, now=context.now())


def _covered(context: JobContext, photo_id: uuid.UUID) -> queries.Redactable:
    with transaction(context.sessions) as session:
        return queries.redactable(session, [photo_id])[photo_id]


def _pixels(context: JobContext, photo_id: uuid.UUID, size_px: int = 1024) -> NDArray[np.uint8]:
    with transaction(context.sessions) as session:
        stored = queries.derivative(session, photo_id, size_px)
    assert stored is not None
    with Image.open(io.BytesIO(b"".join(context.objects.open(stored.key)))) as picture:
        return np.asarray(picture)


def _spread(part: NDArray[np.uint8]) -> float:
    return float(part.reshape(-1, 3).std(axis=0).max())


def test_what_a_detector_found_is_on_record_and_covered_before_anybody_sees_it(
    context: JobContext, tmp_path: Path
) -> None:
    made = scenes.with_faces(np.random.default_rng(4), scenes.portraits()[:1], 200, 1)
    photo_id = _receive(context, jpeg(Image.fromarray(made.pixels)), tmp_path)
    service.sanitise(context, photo_id)
    (found,) = _covered(context, photo_id).redactions
    assert found.kind == "face"
    left, top, right, bottom = (int(edge) for edge in made.secrets[0])
    assert _spread(_pixels(context, photo_id, 2000)[top:bottom, left:right]) < 3.0
    with transaction(context.sessions) as session:
        row = session.execute(text("SELECT made_by, score > 0.5 AS sure FROM photo_redaction")).one()
    assert tuple(row) == (None, True)


def test_a_photo_whose_detectors_fail_is_neither_published_nor_refused(
    context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_id = _receive(context, CONTENT, tmp_path)
    monkeypatch.setitem(redaction._OCR_OPTIONS, "Det.model_path", str(tmp_path / "lost.onnx"))
    redaction._reader.cache_clear()
    try:
        with pytest.raises(Unavailable):
            service.sanitise(context, photo_id)
    finally:
        monkeypatch.undo()
        redaction._reader.cache_clear()
    with transaction(context.sessions) as session:
        assert session.execute(text("SELECT state FROM photo")).scalar_one() == "sanitising"
    assert _public_keys(context) == set()
    assert service.sanitise(context, photo_id) == "ready"  # once it is mended


@pytest.mark.parametrize("is_original_there", [True, False])
def test_a_photo_older_than_the_detectors_is_looked_at_when_its_pictures_are_ordered(
    context: JobContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_original_there: bool
) -> None:
    made = scenes.with_faces(np.random.default_rng(4), scenes.portraits()[:1], 200, 1)
    photo_id = _receive(context, jpeg(Image.fromarray(made.pixels)), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(redaction, "find", lambda _picture: ())  # as it was before
        service.sanitise(context, photo_id)
    left, top, right, bottom = (int(edge) for edge in made.secrets[0])
    assert _spread(_pixels(context, photo_id, 2000)[top:bottom, left:right]) > 20.0
    with transaction(context.sessions) as session:
        if not is_original_there:
            forgetting.forget_original(session, photo_id, now=utc_now() + timedelta(days=91))
        session.execute(text("UPDATE photo SET redaction_wanted_at = now() - interval '1 hour'"))
    assert service.redact(context, photo_id) is True
    (found,) = _covered(context, photo_id).redactions
    assert found.kind == "face"
    assert _spread(_pixels(context, photo_id, 2000)[top:bottom, left:right]) < 3.0
    assert not _covered(context, photo_id).is_pending


def test_what_was_drawn_is_covered_in_all_sizes_and_the_old_pictures_are_gone(
    context: JobContext, photo_id: uuid.UUID
) -> None:
    old_keys, old_version = _public_keys(context), _covered(context, photo_id).version
    _change(context, photo_id, LEFT_HALF)
    assert _covered(context, photo_id).is_pending
    assert _topics(context)[-1] == "photos.redact"
    assert service.redact(context, photo_id) is True
    for size_px in (2000, 1024, 320):
        made = _pixels(context, photo_id, size_px)
        middle = made.shape[1] // 2
        assert _spread(made[:, : middle - 8]) < 2.0
        assert _spread(made[:, middle + 8 :]) > 60.0
    assert not _public_keys(context) & old_keys
    assert len(_public_keys(context)) == 3
    covered = _covered(context, photo_id)
    assert (covered.is_pending, covered.version == old_version) == (False, False)
    assert _acts(context, photo_id)[-2:] == ["photo.redactions_changed", "photo.redacted"]
    assert list(context.settings.spool_dir.iterdir()) == []


def test_what_was_uncovered_comes_back_from_the_sealed_original(context: JobContext, photo_id: uuid.UUID) -> None:
    before = _pixels(context, photo_id)
    _change(context, photo_id, LEFT_HALF)
    service.redact(context, photo_id)
    (box,) = _covered(context, photo_id).redactions
    _change(context, photo_id, removed=(box.redaction_id,))
    service.redact(context, photo_id)
    assert (_pixels(context, photo_id) == before).all()
    assert _covered(context, photo_id).redactions == ()
    with transaction(context.sessions) as session:
        row = session.execute(text("SELECT removed_by, removed_at IS NOT NULL FROM photo_redaction")).one()
    assert tuple(row) == (MODERATOR.id, True)


def test_a_redaction_of_another_photo_is_not_removed(context: JobContext, photo_id: uuid.UUID, tmp_path: Path) -> None:
    other = _receive(context, jpeg(scene(300, 200)), tmp_path)
    service.sanitise(context, other)
    _change(context, other, LEFT_HALF)
    (box,) = _covered(context, other).redactions
    _change(context, photo_id, removed=(box.redaction_id,))
    assert _covered(context, other).redactions == (box,)


def test_once_the_original_is_forgotten_more_is_covered_but_nothing_uncovered(
    context: JobContext, photo_id: uuid.UUID
) -> None:
    _change(context, photo_id, LEFT_HALF)
    service.redact(context, photo_id)
    with transaction(context.sessions) as session:
        key = forgetting.forget_original(session, photo_id, now=utc_now() + timedelta(days=90, minutes=1))
    assert key is not None
    context.objects.delete(key)
    (box,) = _covered(context, photo_id).redactions
    with pytest.raises(Conflict, match="original_forgotten"):
        _change(context, photo_id, removed=(box.redaction_id,))
    assert not _covered(context, photo_id).is_pending
    _change(context, photo_id, RIGHT_HALF)
    service.redact(context, photo_id)
    made = _pixels(context, photo_id, 2000)
    assert max(_spread(made[:, :230]), _spread(made[:, 250:])) < 2.0


def test_a_change_that_comes_while_pictures_are_made_is_not_lost(context: JobContext, photo_id: uuid.UUID) -> None:
    _change(context, photo_id, LEFT_HALF)
    with transaction(context.sessions) as session:
        first = queries.redaction_order(session, photo_id)
    assert first is not None
    _change(context, photo_id, RIGHT_HALF)
    with transaction(context.sessions) as session:
        second = queries.redaction_order(session, photo_id)
    assert second is not None
    assert second.wanted_at > first.wanted_at
    assert service.redact(context, photo_id) is True
    assert service.redact(context, photo_id) is False  # the first order's own job finds nothing left to do
    assert max(_spread(_pixels(context, photo_id)[:, :230]), _spread(_pixels(context, photo_id)[:, 250:])) < 2.0


def test_until_the_pictures_are_made_anew_only_moderators_see_them(
    context: JobContext, photo_id: uuid.UUID, as_visitor: Flask
) -> None:
    _change(context, photo_id, LEFT_HALF)
    for size_px in (2000, 1024, 320):
        with pytest.raises(Unavailable):
            serve_derivative(photo_id, size_px, cache_control="public, max-age=60")
        shown = serve_derivative(photo_id, size_px, cache_control="private", is_for_moderator=True)
        assert shown.status_code == 200
    service.redact(context, photo_id)
    assert serve_derivative(photo_id, 320, cache_control="public, max-age=60").status_code == 200


def test_the_same_picture_is_still_known_after_it_was_covered(context: JobContext, photo_id: uuid.UUID) -> None:
    hashes = text("SELECT phash FROM photo WHERE id = :id")
    with transaction(context.sessions) as session:
        before = session.execute(hashes, {"id": photo_id}).scalar_one()
    _change(context, photo_id, LEFT_HALF)
    service.redact(context, photo_id)
    with transaction(context.sessions) as session:
        assert session.execute(hashes, {"id": photo_id}).scalar_one() == before


def test_a_photo_takes_no_more_rectangles_than_a_child_may_answer_with(
    context: JobContext, photo_id: uuid.UUID
) -> None:
    _change(context, photo_id, *[LEFT_HALF] * MAX_REDACTIONS)
    assert service.redact(context, photo_id) is True
    with pytest.raises(Conflict, match="too_many_redactions"):
        _change(context, photo_id, RIGHT_HALF)
    assert len(_covered(context, photo_id).redactions) == MAX_REDACTIONS


def test_the_demand_for_an_original_is_on_record_with_its_reason(context: JobContext, photo_id: uuid.UUID) -> None:
    with transaction(context.sessions) as session:
        original = service.open_original(session, photo_id, "authority_demand", actor=MODERATOR, now=context.now())
    assert b"".join(context.objects.open(original.key)) == CONTENT
    with transaction(context.sessions) as session:
        row = session.execute(text("SELECT * FROM audit_entry WHERE action = 'photo.original_opened'")).one()
    assert (row.actor_id, row.subject_id) == (MODERATOR.id, photo_id)
    assert row.after == {"reason": "authority_demand", "sha256": hashlib.sha256(CONTENT).hexdigest()}


@pytest.mark.parametrize("reason", ["", "curiosity", "authority_demand "])
def test_no_original_without_a_reason_of_the_list(context: JobContext, photo_id: uuid.UUID, reason: str) -> None:
    with pytest.raises(Invalid), transaction(context.sessions) as session:
        service.open_original(session, photo_id, reason, actor=MODERATOR, now=context.now())
    assert "photo.original_opened" not in _acts(context, photo_id)


def test_after_its_retention_nobody_gets_an_original_any_more(context: JobContext, photo_id: uuid.UUID) -> None:
    with transaction(context.sessions) as session:
        forgetting.forget_original(session, photo_id, now=utc_now() + timedelta(days=91))
    assert not _covered(context, photo_id).has_original
    with pytest.raises(Conflict, match="original_forgotten"), transaction(context.sessions) as session:
        service.open_original(session, photo_id, "evidence_check", actor=MODERATOR, now=context.now())
    assert "photo.original_opened" not in _acts(context, photo_id)


def test_a_file_that_could_not_be_decoded_is_handed_to_nobody(context: JobContext, tmp_path: Path) -> None:
    photo_id = _receive(context, b"MZ\x90\x00 a program", tmp_path)
    assert service.sanitise(context, photo_id) == "refused"
    with pytest.raises(Conflict, match="photo_not_ready"), transaction(context.sessions) as session:
        service.open_original(session, photo_id, "evidence_check", actor=MODERATOR, now=context.now())
    with pytest.raises(Conflict, match="photo_not_ready"):
        _change(context, photo_id, LEFT_HALF)


def test_an_unknown_photo_is_not_found(context: JobContext) -> None:
    with pytest.raises(NotFound):
        _change(context, new_id(), LEFT_HALF)
    assert service.redact(context, new_id()) is False
