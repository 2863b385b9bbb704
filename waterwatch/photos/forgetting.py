"""What is forgotten of photos, and when: nobody names them, their report is gone, or the original's time is over.

The row goes first, then the files: a file nobody names is found and removed by the reconciler, while a row without its
file would be a picture that is missing.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.photos import queries
from waterwatch.photos.service import FINAL_STATES, TOPIC_ERASED
from waterwatch.photos.tables import Photo, PhotoDerivative

SWEEP = Actor.system("sweep")


def forget_unclaimed(session: Session, photo_id: uuid.UUID, *, now: datetime) -> list[str]:
    """No report came for a photo: delete its row; returns the keys of the objects to delete afterwards.

    One that somebody is claiming at this moment, or that is under work, is left alone. Idempotent.
    """
    photo = session.scalars(
        select(Photo)
        .where(Photo.id == photo_id, Photo.unclaimed_until < now, Photo.state.in_(FINAL_STATES))
        .with_for_update(skip_locked=True)
    ).one_or_none()
    return [] if photo is None else _delete(session, photo, SWEEP, now)


def erase(session: Session, photo_ids: Sequence[uuid.UUID], *, actor: Actor, now: datetime) -> None:
    """Delete photos no report names any more, with all that was read from them, and order that their files go.

    In whatever state they are: work that is under way finds them gone and leaves nothing behind
    (:func:`waterwatch.photos.service.sanitise`). Idempotent: one that is gone is passed over.
    """
    keys: list[str] = []
    for photo_id in sorted(photo_ids):  # one order for everybody who locks several
        photo = queries.lock_photo(session, photo_id)
        if photo is not None:
            keys += _delete(session, photo, actor, now)
    if keys:
        outbox.emit(session, TOPIC_ERASED, {"keys": keys}, now=now)


def delete_files(context: JobContext, message: outbox.Message) -> None:
    """The job of :data:`TOPIC_ERASED`. Idempotent: a file that is gone is as good, and no key is ever used again."""
    for key in message.payload["keys"]:
        context.objects.delete(key)
    with transaction(context.sessions) as session:
        outbox.finish(session, message.id)


def forget_original(session: Session, photo_id: uuid.UUID, *, now: datetime) -> str | None:
    """The retention time is over: drop the reference to the sealed original; returns the key to delete afterwards.

    What its file claimed of place and time goes with it.
    """
    photo = queries.lock_photo(session, photo_id)
    if photo is None or photo.original_key is None or photo.original_delete_after > now:
        return None
    key, photo.original_key = photo.original_key, None
    photo.exif_lon = photo.exif_lat = photo.exif_taken_at = photo.exif_taken_at_local = None
    _record(session, "photo.original_forgotten", photo, SWEEP, now)
    return key


def _delete(session: Session, photo: Photo, actor: Actor, now: datetime) -> list[str]:
    keys = [photo.original_key] if photo.original_key else []
    keys += session.scalars(select(PhotoDerivative.key).where(PhotoDerivative.photo_id == photo.id))
    _record(session, "photo.forgotten", photo, actor, now)
    session.delete(photo)
    session.flush()
    return keys


def _record(session: Session, action: str, photo: Photo, actor: Actor, now: datetime) -> None:
    audit.record(
        session,
        action=action,
        subject_kind="photo",
        subject_id=photo.id,
        actor=actor,
        now=now,
        after={"state": photo.state, "code": photo.refusal_code, "sha256": photo.sha256.hex()},
    )
