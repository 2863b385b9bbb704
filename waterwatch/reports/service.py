"""Use cases of a report: submit, settle its photos, withdraw, accept, merge, refuse, correct its water.

Nothing here commits. Every use case locks the report's row, moves it by :data:`rules.REPORT` and writes one audit row.
"""

import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, cast

from sqlalchemy import Table, insert
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from waterwatch.kernel import audit, signing
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.ids import new_code, new_id, token_digest
from waterwatch.kernel.settings import Settings
from waterwatch.photos import service as photos
from waterwatch.reports import queries, rules
from waterwatch.reports.tables import Report, ReportPhoto
from waterwatch.waters import queries as waters

SANITISER = Actor.system("sanitiser")
FOLLOW = "follow"  # purpose of the follow token's key
MAX_REFUSAL_WORDS = 500
# Built once and given parameters: building either for each report costs more than PostgreSQL takes to run it.
_REPORT, _REPORT_PHOTO = cast(Table, Report.__table__), cast(Table, ReportPhoto.__table__)
_INSERT_ONCE = upsert(_REPORT).on_conflict_do_nothing().returning(_REPORT.c.id)
_INSERT_PHOTO = insert(_REPORT_PHOTO)
CODE_ATTEMPTS = 5  # two equal codes meet about once in 10^5 at a million reports; five in a row never


@dataclass(frozen=True)
class ReceivedPhoto:
    """A photo whose bytes already lie durably in the object store, undecoded. ``sha256`` is of those bytes."""

    photo_id: uuid.UUID
    object_key: str
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True)
class SubmitReport:
    """What a citizen states. All degrees are WGS-84 already; ``input_datum`` is what the place was stated in."""

    idempotency_key: uuid.UUID
    kind: str
    lon: float
    lat: float
    place_source: str
    input_datum: str
    language: str
    photos: tuple[ReceivedPhoto, ...]
    accuracy_m: float | None = None
    device_lon: float | None = None
    device_lat: float | None = None
    chosen_water_feature_id: uuid.UUID | None = None
    note: str | None = None
    extent: str | None = None
    smell: int | None = None
    is_ongoing: bool | None = None
    has_dead_animals: bool | None = None
    affects_people: bool | None = None


@dataclass(frozen=True)
class Receipt:
    """What the citizen gets. ``is_repeat``: the same submission had arrived before and nothing new was stored."""

    report_id: uuid.UUID
    code: str
    follow_token: str
    is_repeat: bool


_CHOSEN = (
    *("kind", "lon", "lat", "chosen_water_feature_id", "note", "extent", "smell"),
    *("is_ongoing", "has_dead_animals", "affects_people"),
)


def quarantine_key(photo_id: uuid.UUID, *, now: datetime) -> str:
    """Where an original is kept: ``quarantine/<yyyy>/<mm>/<photo id>``; nothing of the sender's naming is in it."""
    return str(PurePosixPath("quarantine", f"{now:%Y}", f"{now:%m}", str(photo_id)))


def submit(session: Session, command: SubmitReport, *, settings: Settings, now: datetime) -> Receipt:
    """Store a report and its photos as received and ask for the photos to be sanitised.

    Assumes the photos' bytes are durable under their keys. The same submission again, also at the same moment, gives
    the first one's receipt and stores nothing: the second INSERT waits at the UNIQUE index for the first transaction's
    end. The same ``idempotency_key`` with another photo, place or statement is another report: nothing that somebody
    sent is ever dropped (see :func:`submission_digest`). A chosen water that does not exist is dropped: the choice is
    a hint, the place is the evidence.
    """
    if settings.secret_key_previous is not None:
        before = submission_digest(command, settings, previous=True)
        if queries.receipt_facts(session, before) is not None:
            return _first_receipt(session, before, settings)
    report_id = new_id()
    token = signing.derive_token(settings, FOLLOW, report_id)
    code = _insert(session, _new_row(session, command, report_id, token, settings, now))
    if code is None:
        return _first_receipt(session, submission_digest(command, settings), settings)
    for position, photo in enumerate(command.photos):
        photos.register(
            session, photo.photo_id, photo.object_key, photo.size_bytes, photo.sha256, settings=settings, now=now
        )
        link = {"report_id": report_id, "photo_id": photo.photo_id, "position": position}
        session.execute(_INSERT_PHOTO, link)
    after: dict[str, audit.Fact] = {"state": rules.REPORT.initial, "kind": command.kind, "photos": len(command.photos)}
    _record(session, "report.submitted", report_id, Actor.anonymous(), now, None, after)
    return Receipt(report_id, code, token, is_repeat=False)


def settle_photo(session: Session, photo_id: uuid.UUID, *, settings: Settings, now: datetime) -> str | None:
    """A photo is now ready or refused: move its report on as far as its photos allow; returns the report's state.

    Idempotent: the report's row is locked and only a report that still waits for its photos moves, so the same
    message twice, or two photos settling at once, give one move and one audit entry. A photo that belongs to no report
    (anymore) gives None.
    """
    report = queries.lock_report_of_photo(session, photo_id)
    if report is None or report.state not in rules.AWAITING_PHOTOS:
        return None if report is None else report.state
    came_from = report.state
    machine = rules.timed(settings)
    states = queries.photo_states(session, report.id)
    target = rules.settled_state(states)
    if target is None and came_from == "sanitising":
        return came_from
    if came_from == "received":
        machine.move(report, "sanitising", now=now)
    if target == "refused":
        report.refusal_code = rules.PHOTO_UNUSABLE
    if target == "in_review":
        _settle_water(session, report, settings)
    if target is not None:
        machine.move(report, target, now=now)
    session.flush()
    after: dict[str, audit.Fact] = {"state": report.state, "water_feature_id": report.water_feature_id}
    _record(session, "report.settled", report.id, SANITISER, now, {"state": came_from}, after)
    return report.state


def withdraw(session: Session, report_id: uuid.UUID, *, now: datetime) -> None:
    """The author takes the report back, at any time before acceptance. Withdrawing twice is one withdrawal.

    Raises :class:`NotFound`, or :class:`Conflict` ``too_late_to_withdraw`` with the state it has reached.
    """
    report = _locked(session, report_id)
    if report.state == "withdrawn":
        return
    if report.state not in rules.WITHDRAWABLE:
        raise Conflict("too_late_to_withdraw", state=report.state)
    _move(session, report, "withdrawn", "report.withdrawn", Actor.anonymous(), now)


def accept(session: Session, report_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """The report opened an incident. Raises :class:`NotFound`, or ``IllegalMove`` unless it is in review."""
    _move(session, _locked(session, report_id), "accepted", "report.accepted", actor, now)


def merge(session: Session, report_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """The report joined an incident that is already known. Errors as :func:`accept`."""
    _move(session, _locked(session, report_id), "merged", "report.merged", actor, now)


def refuse(
    session: Session, report_id: uuid.UUID, code: str, words: str | None, *, actor: Actor, now: datetime
) -> None:
    """Refuse with a reason from :data:`rules.REFUSAL_CODES` and, if given, words to the author (never audited).

    Raises :class:`Invalid` naming the field, :class:`NotFound`, or ``IllegalMove`` unless it is in review.
    """
    words = (words or "").strip() or None
    errors: dict[str, list[str]] = {}
    if code not in rules.REFUSAL_CODES:
        errors["code"] = ["refusal_code_unknown"]
    if words is not None and len(words) > MAX_REFUSAL_WORDS:
        errors["words"] = ["words_too_long"]
    if errors:
        raise Invalid(errors)
    report = _locked(session, report_id)
    before = report.state
    rules.REPORT.move(report, "refused", now=now)
    report.refusal_code, report.refusal_words = code, words
    session.flush()
    _record(session, "report.refused", report.id, actor, now, {"state": before}, {"state": "refused", "code": code})


def correct_water(
    session: Session, report_id: uuid.UUID, water_feature_id: uuid.UUID, *, actor: Actor, now: datetime
) -> None:
    """The moderator names the water. Snaps the place onto it, however far: the person has looked at the map.

    Raises :class:`NotFound` (report or water), or :class:`Conflict` ``not_in_review``.
    """
    report = _locked(session, report_id)
    if report.state != "in_review":
        raise Conflict("not_in_review", state=report.state)
    before = report.water_feature_id
    place = queries.place_of(session, report.id)
    if not queries.has_water(session, water_feature_id):
        raise NotFound("water_not_found")
    _snap_to(session, report, water_feature_id, waters.snap(session, water_feature_id, place.lon, place.lat))
    facts: dict[str, audit.Fact] = {"water_feature_id": before}
    _record(session, "report.water_corrected", report.id, actor, now, facts, {"water_feature_id": water_feature_id})


def _new_row(
    session: Session, command: SubmitReport, report_id: uuid.UUID, token: str, settings: Settings, now: datetime
) -> dict[str, Any]:
    device = (command.device_lon, command.device_lat)
    chosen = command.chosen_water_feature_id
    return {
        "id": report_id,
        "follow_digest": token_digest(token),
        "submission_digest": submission_digest(command, settings),
        "organisation_id": queries.default_organisation_id(session),
        "state": rules.REPORT.initial,
        "state_since": now,
        "state_deadline_at": rules.timed(settings).deadline(rules.REPORT.initial, now=now),
        "kind": command.kind,
        "note": command.note,
        "extent": command.extent,
        "smell": command.smell,
        "is_ongoing": command.is_ongoing,
        "has_dead_animals": command.has_dead_animals,
        "affects_people": command.affects_people,
        "language": command.language,
        "received_at": now,
        "point": _ewkt(command.lon, command.lat),
        "place_source": command.place_source,
        "input_datum": command.input_datum,
        "accuracy_m": command.accuracy_m,
        "device_point": None if device[0] is None or device[1] is None else _ewkt(device[0], device[1]),
        "chosen_water_feature_id": chosen if chosen and queries.has_water(session, chosen) else None,
    }


def _ewkt(lon: float, lat: float) -> str:
    """A point as PostGIS reads it from a parameter; ``repr`` of a float gives back the same float."""
    return f"SRID=4326;POINT({lon!r} {lat!r})"


def _insert(session: Session, row: dict[str, Any]) -> str | None:
    """Insert the report under a fresh code; None when the same submission is already there."""
    for _attempt in range(CODE_ATTEMPTS):
        code = new_code()
        if session.execute(_INSERT_ONCE, row | {"code": code}).first() is not None:
            return code
        if queries.receipt_facts(session, row["submission_digest"]) is not None:
            return None
    raise Conflict("code_space_exhausted")


def submission_digest(command: SubmitReport, settings: Settings, *, previous: bool = False) -> bytes:
    """What tells one submission from every other, 32 bytes: an HMAC over the sender's key and all that they chose.

    Left out is what a phone adds by itself and may add differently at the next try: its own fix and accuracy. Under a
    key derived from the installation's secret, so that whoever reads the database cannot pass for the sender.
    """
    key = settings.derive_key("submission", previous=previous)
    assert key is not None
    chosen = [
        str(command.idempotency_key),
        *(photo.sha256.hex() for photo in command.photos),
        *(getattr(command, name) for name in _CHOSEN),
    ]
    return hmac.new(key, json.dumps(chosen, default=str).encode(), hashlib.sha256).digest()


def _first_receipt(session: Session, digest: bytes, settings: Settings) -> Receipt:
    found = queries.receipt_facts(session, digest)
    assert found is not None  # it has just been seen, and reports are never deleted by the application
    report_id, code, follow_digest = found
    token = signing.derive_token(settings, FOLLOW, report_id)
    if token_digest(token) != follow_digest and settings.secret_key_previous is not None:
        token = signing.derive_token(settings, FOLLOW, report_id, previous=True)
    return Receipt(report_id, code, token, is_repeat=True)


def _settle_water(session: Session, report: Report, settings: Settings) -> None:
    """Snap onto the water the citizen chose where it lies within the limit, else onto the nearest, else onto none."""
    place = queries.place_of(session, report.id)
    chosen = report.chosen_water_feature_id
    if chosen is not None:
        snapped = waters.snap(session, chosen, place.lon, place.lat)
        if snapped[2] <= settings.snap_limit_m:
            _snap_to(session, report, chosen, snapped)
            return
    nearest = waters.nearest_waters(
        session, place.lon, place.lat, place.accuracy_m or 0.0, 1, search_limit_m=settings.snap_limit_m
    )
    for best in nearest:
        _snap_to(session, report, best.water_feature_id, (best.snapped_lon, best.snapped_lat, best.distance_m))


def _snap_to(session: Session, report: Report, feature_id: uuid.UUID, snapped: tuple[float, float, float]) -> None:
    lon, lat, distance_m = snapped
    report.water_feature_id = feature_id
    report.snapped_point = queries.point(lon, lat)
    report.snap_distance_m = distance_m
    session.flush()


def _locked(session: Session, report_id: uuid.UUID) -> Report:
    report = queries.lock_report(session, report_id)
    if report is None:
        raise NotFound("report_not_found")
    return report


def _move(session: Session, report: Report, to_state: str, action: str, actor: Actor, now: datetime) -> None:
    before = rules.REPORT.move(report, to_state, now=now)
    session.flush()
    _record(session, action, report.id, actor, now, {"state": before}, {"state": to_state})


def _record(
    session: Session,
    action: str,
    report_id: uuid.UUID,
    actor: Actor,
    now: datetime,
    before: dict[str, audit.Fact] | None,
    after: dict[str, audit.Fact],
) -> None:
    audit.record(
        session,
        action=action,
        subject_kind="report",
        subject_id=report_id,
        actor=actor,
        now=now,
        before=before,
        after=after,
    )
