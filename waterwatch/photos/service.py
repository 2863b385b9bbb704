"""Use cases of a photo: register it, sanitise it, record what came of it. `sanitise` alone opens transactions."""

import secrets
import tempfile
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import INSERT_RECORDS, to_records, transaction
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.photos import pixels, queries
from waterwatch.photos.pixels import Derived, Rebuilt, Refused
from waterwatch.photos.rules import MAX_REDACTIONS, ORIGINAL_REASONS, PHOTO, Limits, Rectangle, timed
from waterwatch.photos.tables import Photo, PhotoDerivative, PhotoRedaction

TOPIC_SANITISE = "photos.sanitise"
TOPIC_SETTLED = "photos.settled"
TOPIC_REDACT = "photos.redact"
TOPIC_ERASED = "photos.erased"
FORGOTTEN = "forgotten"  # what becomes of a photo whose report was taken back while it was worked on
FINAL_STATES = ("ready", "refused")
SANITISER = Actor.system("sanitiser")


@dataclass(frozen=True)
class Arrival:
    """The rows that make a photo known, for a statement that writes several tables at once."""

    photo: dict[str, Any]
    audit: dict[str, Any]
    outbox: dict[str, Any]


def arrival(
    photo_id: uuid.UUID,
    original_key: str,
    original_bytes: int,
    sha256: bytes,
    *,
    settings: Settings,
    now: datetime,
    unclaimed_until: datetime | None = None,
) -> Arrival:
    """A photo whose bytes lie durably in quarantine: its row, its audit entry and the order to sanitise it."""
    photo = {
        "id": photo_id,
        "state": PHOTO.initial,
        "state_since": now,
        "state_deadline_at": timed(settings).deadline(PHOTO.initial, now=now),
        "sha256": sha256,
        "original_key": original_key,
        "original_bytes": original_bytes,
        "received_at": now,
        "original_delete_after": now + timedelta(days=settings.original_retention_days),
        "unclaimed_until": unclaimed_until,
    }
    act = audit.entry(
        action="photo.received",
        subject_kind="photo",
        subject_id=photo_id,
        actor=Actor.anonymous(),
        now=now,
        after={"state": PHOTO.initial, "code": None, "sha256": sha256.hex()},
    )
    return Arrival(photo, act, outbox.row(TOPIC_SANITISE, {"photo_id": str(photo_id)}, now=now))


_ARRIVE = text(f"""
WITH photo_row AS ({INSERT_RECORDS.format(table="photo", rows=":photo")} ON CONFLICT DO NOTHING RETURNING id),
act AS ({INSERT_RECORDS.format(table="audit_entry", rows=":audit")} WHERE EXISTS (SELECT FROM photo_row)),
job AS ({INSERT_RECORDS.format(table="outbox", rows=":outbox")} WHERE EXISTS (SELECT FROM photo_row))
SELECT id FROM photo_row
""")  # noqa: S608  # names of our own


def register(session: Session, arrived: Arrival) -> bool:
    """Write a photo that has arrived, in one statement; False when it was known already."""
    values = {"photo": [arrived.photo], "audit": [arrived.audit], "outbox": [arrived.outbox]}
    return session.execute(_ARRIVE, {name: to_records(rows) for name, rows in values.items()}).first() is not None


def sanitise(context: JobContext, photo_id: uuid.UUID) -> str:
    """Decode a photo in a confined child and store what was rebuilt; returns the state it ends in, or ``forgotten``.

    Idempotent: a photo that is settled is left alone, and a repeated run writes new objects under new keys before the
    one transaction that makes them the photo's; objects of a run that died are nobody's and the reconciler removes
    them. No transaction is open while pixels are worked on or objects move.
    """
    with transaction(context.sessions) as session:
        photo = queries.lock_photo(session, photo_id)
        if photo is None:
            return FORGOTTEN
        if photo.state in FINAL_STATES:
            return photo.state
        if photo.state == "received":
            timed(context.settings).move(photo, "sanitising", now=context.now())
            _record(session, "photo.sanitising", photo, SANITISER, context.now())
        original_key = photo.original_key
    if original_key is None:
        return _settle(context, photo_id, Refused("undecodable"), {})
    context.settings.spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=context.settings.spool_dir, prefix="sanitise-") as folder:
        original = Path(folder) / "original"
        context.objects.fetch(original_key, original)
        outcome = pixels.rebuild_in_child(original, Path(folder), Limits.from_settings(context.settings))
        keys = _store(context, photo_id, outcome) if isinstance(outcome, Rebuilt) else {}
        return _settle(context, photo_id, outcome, keys)


def record_ready(
    session: Session, photo_id: uuid.UUID, rebuilt: Rebuilt, keys: dict[int, str], *, settings: Settings, now: datetime
) -> bool:
    """The photo was rebuilt; ``keys`` maps size to object key. False when it was settled already."""
    photo = _locked(session, photo_id)
    if photo.state in FINAL_STATES:
        return False
    timed(settings).move(photo, "ready", now=now)
    evidence = rebuilt.evidence
    photo.media_type, photo.width, photo.height = rebuilt.media_type, rebuilt.width, rebuilt.height
    photo.phash, photo.exif_lon, photo.exif_lat = rebuilt.phash, evidence.lon, evidence.lat
    photo.exif_taken_at_local = evidence.taken_at_local
    photo.exif_taken_at = datetime.fromisoformat(evidence.taken_at) if evidence.taken_at else None
    session.add_all(_derivative(photo_id, derived, keys[derived.size_px]) for derived in rebuilt.derived)
    session.add_all(_redaction(photo_id, box, None, now) for box in rebuilt.redactions)
    _record(session, "photo.ready", photo, SANITISER, now)
    return True


@dataclass(frozen=True)
class ChangeRedactions:
    """What a moderator covers (``drawn``) and uncovers (``removed``, ids of redactions) in one photo."""

    photo_id: uuid.UUID
    drawn: tuple[Rectangle, ...] = ()
    removed: tuple[uuid.UUID, ...] = ()


def change_redactions(session: Session, command: ChangeRedactions, *, actor: Actor, now: datetime) -> None:
    """Cover more of a photo, or less, and order its pictures anew. Naming a redaction that is gone changes nothing.

    Until they are there the old ones are shown to moderators only (see ``photos.views``).

    Raises :class:`NotFound`; :class:`Conflict` ``photo_not_ready``, ``too_many_redactions``, or ``original_forgotten``
    when something is to be uncovered of which nothing is left.
    """
    photo = _locked(session, command.photo_id)
    if photo.state != "ready":
        raise Conflict("photo_not_ready", state=photo.state)
    if command.removed and photo.original_key is None:
        raise Conflict("original_forgotten")
    standing = select(PhotoRedaction).where(
        PhotoRedaction.photo_id == photo.id,
        PhotoRedaction.id.in_(command.removed),
        PhotoRedaction.removed_at.is_(None),
    )
    for redaction in session.scalars(standing):
        redaction.removed_at, redaction.removed_by = now, actor.id
    session.add_all(_redaction(photo.id, box, actor.id, now) for box in command.drawn)
    session.flush()
    if queries.standing_redactions(session, photo.id) > MAX_REDACTIONS:
        raise Conflict("too_many_redactions")
    photo.redaction_wanted_at = now
    _record(session, "photo.redactions_changed", photo, actor, now)
    outbox.emit(session, TOPIC_REDACT, {"photo_id": str(photo.id)}, now=now)


def redact(context: JobContext, photo_id: uuid.UUID) -> bool:
    """Make a photo's pictures anew as its redactions say; False when they do already.

    Idempotent: what is wanted is compared with what was made within the one transaction that exchanges the pictures; a
    change that came meanwhile leaves them to its own order. The source is the sealed original, or the largest picture
    once that is forgotten. Where nothing was ever covered or uncovered (a photo older than the detectors), they look
    first. No transaction is open while pixels are worked on.
    """
    with transaction(context.sessions) as session:
        wanted = queries.redaction_order(session, photo_id)
    if wanted is None:
        return False
    context.settings.spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=context.settings.spool_dir, prefix="redact-") as folder:
        source = Path(folder) / "source"
        context.objects.fetch(wanted.source_key, source)
        limits = Limits.from_settings(context.settings)
        outcome = pixels.rebuild_in_child(source, Path(folder), limits, wanted.rectangles)
        if isinstance(outcome, Refused):  # it could be decoded before: tried again, and told to whoever runs this
            raise RuntimeError(f"a photo that was rebuilt before is now refused: {outcome.code}")
        keys = _store(context, photo_id, outcome)
    with transaction(context.sessions) as session:
        obsolete = _exchange(session, photo_id, wanted, outcome, keys, context.now())
    for key in keys.values() if obsolete is None else obsolete:
        context.objects.delete(key)
    return obsolete is not None


def _exchange(
    session: Session,
    photo_id: uuid.UUID,
    wanted: queries.RedactionOrder,
    rebuilt: Rebuilt,
    keys: dict[int, str],
    now: datetime,
) -> list[str] | None:
    """Make new pictures the photo's; the old ones' keys, or None when it was changed again or erased meanwhile."""
    photo = queries.lock_photo(session, photo_id)
    if photo is None or photo.redaction_wanted_at != wanted.wanted_at:
        return None
    old = list(session.scalars(select(PhotoDerivative).where(PhotoDerivative.photo_id == photo_id)))
    for derivative in old:
        session.delete(derivative)
    session.flush()
    session.add_all(_derivative(photo_id, derived, keys[derived.size_px]) for derived in rebuilt.derived)
    if wanted.rectangles is None:
        session.add_all(_redaction(photo_id, box, None, now) for box in rebuilt.redactions)
    photo.redaction_wanted_at = None
    _record(session, "photo.redacted", photo, SANITISER, now)
    return [derivative.key for derivative in old]


@dataclass(frozen=True)
class SealedOriginal:
    """An original as it arrived, and where it lies."""

    key: str
    media_type: str
    size_bytes: int
    sha256: bytes


def open_original(session: Session, photo_id: uuid.UUID, reason: str, *, actor: Actor, now: datetime) -> SealedOriginal:
    """Somebody demands the sealed original: the demand is on record before a byte of it is read.

    ``reason`` is one of :data:`waterwatch.photos.rules.ORIGINAL_REASONS`. Raises :class:`Invalid`, :class:`NotFound`,
    or :class:`Conflict` ``photo_not_ready`` (what could not be decoded may be anything, and is handed to nobody) or
    ``original_forgotten``.
    """
    if reason not in ORIGINAL_REASONS:
        raise Invalid({"reason": ["choice_unknown" if reason else "missing"]})
    photo = _locked(session, photo_id)
    if photo.state != "ready":
        raise Conflict("photo_not_ready", state=photo.state)
    if photo.original_key is None:
        raise Conflict("original_forgotten")
    audit.record(
        session,
        action="photo.original_opened",
        subject_kind="photo",
        subject_id=photo.id,
        actor=actor,
        now=now,
        after={"reason": reason, "sha256": photo.sha256.hex()},
    )
    return SealedOriginal(photo.original_key, photo.media_type or "", photo.original_bytes, photo.sha256)


def record_refused(session: Session, photo_id: uuid.UUID, code: str, *, settings: Settings, now: datetime) -> bool:
    """The photo cannot be used, for the reason ``code``. False when it was settled already."""
    photo = _locked(session, photo_id)
    if photo.state in FINAL_STATES:
        return False
    if photo.state == "received":
        timed(settings).move(photo, "sanitising", now=now)
    timed(settings).move(photo, "refused", now=now)
    photo.refusal_code = code
    _record(session, "photo.refused", photo, SANITISER, now)
    return True


def _settle(context: JobContext, photo_id: uuid.UUID, outcome: Rebuilt | Refused, keys: dict[int, str]) -> str:
    with transaction(context.sessions) as session:
        if queries.lock_photo(session, photo_id) is None:
            is_ours = False
        elif isinstance(outcome, Rebuilt):
            is_ours = record_ready(session, photo_id, outcome, keys, settings=context.settings, now=context.now())
        else:
            is_ours = record_refused(session, photo_id, outcome.code, settings=context.settings, now=context.now())
        photo = queries.lock_photo(session, photo_id)
        state = FORGOTTEN if photo is None else photo.state
    for key in () if is_ours else keys.values():  # another run, or its author, was faster: nobody's pictures
        context.objects.delete(key)
    return state


def _store(context: JobContext, photo_id: uuid.UUID, rebuilt: Rebuilt) -> dict[int, str]:
    """Put the pictures under keys nobody can guess from anything public."""
    folder = f"public/{photo_id.hex[-2:]}/{photo_id}-{secrets.token_hex(12)}"
    keys = {derived.size_px: f"{folder}/{derived.size_px}.jpg" for derived in rebuilt.derived}
    for derived in rebuilt.derived:
        context.objects.put_file(keys[derived.size_px], Path(derived.path))
    return keys


def _derivative(photo_id: uuid.UUID, derived: Derived, key: str) -> PhotoDerivative:
    return PhotoDerivative(
        id=new_id(),
        photo_id=photo_id,
        size_px=derived.size_px,
        key=key,
        bytes=derived.bytes,
        width=derived.width,
        height=derived.height,
        sha256=bytes.fromhex(derived.sha256),
    )


def _redaction(photo_id: uuid.UUID, box: Rectangle, made_by: uuid.UUID | None, now: datetime) -> PhotoRedaction:
    return PhotoRedaction(
        id=new_id(),
        photo_id=photo_id,
        kind=box.kind,
        left=box.left,
        top=box.top,
        width=box.width,
        height=box.height,
        score=box.score,
        made_by=made_by,
        created_at=now,
    )


def _locked(session: Session, photo_id: uuid.UUID) -> Photo:
    photo = queries.lock_photo(session, photo_id)
    if photo is None:
        raise NotFound("photo_not_found")
    return photo


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
