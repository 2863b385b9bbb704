"""How a report comes in: once, whole, and in one statement.

Phones on bad lines send twice, two processes of one phone may send at the same moment, and an answer may be lost: what
tells submissions apart is a keyed digest of all their author chose, and the same one again gets the first receipt.
"""

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel import audit, outbox, signing
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import INSERT_RECORDS, to_records
from waterwatch.kernel.errors import Conflict, NotFound
from waterwatch.kernel.ids import new_code, new_id, token_digest
from waterwatch.kernel.settings import Settings
from waterwatch.photos import service as photos
from waterwatch.photos.queries import Claimable, lock_claimable
from waterwatch.reports import queries, rules
from waterwatch.reports.tables import MEASURED

FOLLOW = "follow"  # purpose of the follow token's key
CODE_ATTEMPTS = 5  # two equal codes meet about once in 10^5 at a million reports; five in a row never


@dataclass(frozen=True)
class ReceivedPhoto:
    """A photo whose bytes already lie durably in the object store, undecoded. ``sha256`` is of those bytes."""

    photo_id: uuid.UUID
    object_key: str
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True)
class ClaimedPhoto:
    """A photo that arrived before its report, and what the phone read from the file before making it smaller.

    Degrees are WGS-84, the time is the camera's own: ``2026-05-20T10:30:00``, with an offset where the file had one.
    """

    photo_id: uuid.UUID
    stated_lon: float | None = None
    stated_lat: float | None = None
    stated_taken_at_local: str | None = None


@dataclass(frozen=True)
class SubmitReport:
    """What a citizen states. All degrees are WGS-84 already; ``input_datum`` is what the place was stated in.

    ``measured`` has values for some keys of :data:`MEASURED`. ``photos`` come with the report, ``claimed`` came before.
    ``device_id`` is the random number the phone made for itself. ``needs_screening``: something about how it came asks
    for a look before it enters the order of the desk.
    """

    idempotency_key: uuid.UUID
    kind: str
    lon: float
    lat: float
    place_source: str
    input_datum: str
    language: str
    photos: tuple[ReceivedPhoto, ...] = ()
    claimed: tuple[ClaimedPhoto, ...] = ()
    accuracy_m: float | None = None
    device_lon: float | None = None
    device_lat: float | None = None
    chosen_water_feature_id: uuid.UUID | None = None
    place_words: str | None = None
    note: str | None = None
    extent: str | None = None
    smell: int | None = None
    is_ongoing: bool | None = None
    has_dead_animals: bool | None = None
    affects_people: bool | None = None
    colour: str | None = None
    since: str | None = None
    measured: Mapping[str, float] | None = None
    observed_at: datetime | None = None
    same_as_code: str | None = None
    source: str = "web"
    api_client_id: uuid.UUID | None = None
    device_id: bytes | None = field(default=None, repr=False)
    needs_screening: bool = False


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
# Answers that came later: all of them are part of the digest as soon as one is given, none before, so that submissions
# without any keep theirs. One more here would change the digest of those with any: sent or imported again after the
# upgrade they would be another report. The next ones need a tuple of their own.
_CHOSEN_SINCE = ("colour", "since", "measured", "same_as_code", "place_words")

# Nobody vouches for a newcomer: no application, no operator, and its device has sent nothing before the present window.
# When the window already has as many newcomers' reports as make a flood, the next ones are screened.
_NEWCOMER = """
SELECT CAST(:is_anonymous AS boolean) AND NOT EXISTS (
    SELECT FROM report WHERE device_digest = CAST(:device AS bytea) AND received_at < CAST(:window_start AS timestamptz)
    AND state NOT IN ('refused', 'withdrawn')) AS is_one"""
_FLOOD = """
SELECT count(*) >= :flood_reports AS is_on FROM (
    SELECT FROM report WHERE is_newcomer AND received_at >= CAST(:window_start AS timestamptz) LIMIT :flood_reports) met
"""

# A report, its photos, their audit entries and orders: all or nothing, in one round trip. The same submission at the
# same moment waits at the UNIQUE index for the first one's end; then nothing is stored of it.
_SUBMIT = text(f"""
WITH newcomer AS ({_NEWCOMER}), flood AS ({_FLOOD}), stored AS (
    INSERT INTO report SELECT r.* FROM jsonb_populate_record(NULL::report, CAST(:report AS jsonb) || jsonb_build_object(
        'organisation_id', (SELECT id FROM organisation ORDER BY created_at, id LIMIT 1),
        'chosen_water_feature_id', (SELECT id FROM water_feature WHERE id = CAST(:chosen AS uuid)),
        'is_newcomer', (SELECT is_one FROM newcomer),
        'needs_screening', CAST(:needs_screening AS boolean) OR (SELECT is_one AND is_on FROM newcomer, flood))) r
    ON CONFLICT DO NOTHING RETURNING id),
photo_row AS ({INSERT_RECORDS.format(table="photo", rows=":photos")} WHERE EXISTS (SELECT FROM stored)),
claim AS (UPDATE photo SET unclaimed_until = NULL FROM stored WHERE photo.id = ANY(CAST(:claimed AS uuid[]))),
link AS ({INSERT_RECORDS.format(table="report_photo", rows=":links")} WHERE EXISTS (SELECT FROM stored)),
act AS ({INSERT_RECORDS.format(table="audit_entry", rows=":acts")} WHERE EXISTS (SELECT FROM stored)),
job AS ({INSERT_RECORDS.format(table="outbox", rows=":jobs")} WHERE EXISTS (SELECT FROM stored))
SELECT id FROM stored
""")  # noqa: S608  # names of our own


def submit(session: Session, command: SubmitReport, *, settings: Settings, now: datetime) -> Receipt:
    """Store a report and its photos as received and ask for the photos to be sanitised. One statement.

    Assumes the photos' bytes are durable under their keys. The same submission again, also at the same moment, gives
    the first one's receipt and stores nothing. The same ``idempotency_key`` with another photo, place or statement is
    another report: nothing that somebody sent is ever dropped (see :func:`submission_digest`). A chosen water that does
    not exist is dropped: the choice is a hint, the place is the evidence.

    Raises :class:`NotFound` ``photo_unknown`` when a claimed photo never arrived or was forgotten, :class:`Conflict`
    ``photo_taken`` when another report has it.
    """
    known = lock_claimable(session, [photo.photo_id for photo in command.claimed]) if command.claimed else {}
    if any(photo.photo_id not in known for photo in command.claimed):
        raise NotFound("photo_unknown")
    sums = [known[photo.photo_id].sha256 for photo in command.claimed] + [photo.sha256 for photo in command.photos]
    if settings.secret_key_previous is not None:
        before = submission_digest(command, sums, settings, previous=True)
        if queries.receipt_facts(session, before) is not None:
            return _first_receipt(session, before, settings)
    digest = submission_digest(command, sums, settings)
    if any(photo.report_id is not None for photo in known.values()):
        if queries.receipt_facts(session, digest) is None:
            raise Conflict("photo_taken")
        return _first_receipt(session, digest, settings)
    report_id = new_id()
    token = signing.derive_token(settings, FOLLOW, report_id)
    row = _report_row(command, report_id, digest, token, settings, now)
    code = _store(session, row, command, known, settings, now)
    if code is None:
        return _first_receipt(session, digest, settings)
    return Receipt(report_id, code, token, is_repeat=False)


def submission_digest(
    command: SubmitReport, photo_sums: list[bytes], settings: Settings, *, previous: bool = False
) -> bytes:
    """What tells one submission from every other, 32 bytes: an HMAC over the sender's key and all that they chose.

    Left out is what a phone adds by itself and may add differently at the next try: its own fix and accuracy. Under a
    key derived from the installation's secret, so that whoever reads the database cannot pass for the sender.
    """
    key = settings.derive_key("submission", previous=previous)
    assert key is not None
    chosen: list[Any] = [
        str(command.idempotency_key),
        *(photo_sum.hex() for photo_sum in photo_sums),
        *(getattr(command, name) for name in _CHOSEN),
    ]
    later = {name: getattr(command, name) for name in _CHOSEN_SINCE}
    if any(later.values()):
        chosen.append(later)
    return hmac.new(key, json.dumps(chosen, default=str, sort_keys=True).encode(), hashlib.sha256).digest()


def _store(
    session: Session,
    row: dict[str, Any],
    command: SubmitReport,
    known: Mapping[uuid.UUID, Claimable],
    settings: Settings,
    now: datetime,
) -> str | None:
    """Store the submission under a fresh code; None when the same one is already there."""
    arrivals = [
        photos.arrival(one.photo_id, one.object_key, one.size_bytes, one.sha256, settings=settings, now=now)
        for one in command.photos
    ]
    values = _values(row, command, known, arrivals, settings, now)
    for _attempt in range(CODE_ATTEMPTS):
        code = new_code()
        if session.execute(_SUBMIT, values | {"report": _record_of(row | {"code": code})}).first() is not None:
            return code
        if queries.receipt_facts(session, row["submission_digest"]) is not None:
            return None
    raise Conflict("code_space_exhausted")


def _act(row: Mapping[str, Any], command: SubmitReport, now: datetime) -> dict[str, Any]:
    after: dict[str, audit.Fact] = {
        "state": rules.REPORT.initial,
        "kind": command.kind,
        "photos": len(command.photos) + len(command.claimed),
    }
    return audit.entry(
        action="report.submitted",
        subject_kind="report",
        subject_id=row["id"],
        actor=Actor.anonymous(),
        now=now,
        after=after,
    )


def _values(
    row: Mapping[str, Any],
    command: SubmitReport,
    known: Mapping[uuid.UUID, Claimable],
    arrivals: Sequence[photos.Arrival],
    settings: Settings,
    now: datetime,
) -> dict[str, Any]:
    """All that :data:`_SUBMIT` is given but the report itself, whose code may have to be drawn again."""
    jobs = [one.outbox for one in arrivals]
    settled = [photo_id for photo_id, photo in known.items() if photo.state in rules.PHOTO_FINAL_STATES]
    if settled:  # nobody will say so again
        jobs.append(outbox.row(photos.TOPIC_SETTLED, {"photo_id": str(settled[-1])}, now=now))
    return {
        "chosen": command.chosen_water_feature_id,
        **_sender_values(command, row["device_digest"], settings, now),
        "photos": to_records([one.photo for one in arrivals]),
        "claimed": [photo.photo_id for photo in command.claimed],
        "links": to_records(_links(row["id"], command)),
        "acts": to_records([_act(row, command, now), *(one.audit for one in arrivals)]),
        "jobs": to_records(jobs),
    }


def _sender_values(command: SubmitReport, device: bytes | None, settings: Settings, now: datetime) -> dict[str, object]:
    """What decides whether a report is a newcomer's, whether that makes a flood, and whether it is screened."""
    return {
        "is_anonymous": command.api_client_id is None and command.source != "import",
        "device": device,
        "needs_screening": command.needs_screening,
        "window_start": now - timedelta(seconds=settings.flood_window_s),
        "flood_reports": settings.flood_reports,
    }


def device_digest(device_id: bytes, settings: Settings) -> bytes:
    """What is kept of a device for some days, 32 bytes: an HMAC, so that the database tells no device."""
    key = settings.derive_key("device")
    assert key is not None
    return hmac.new(key, device_id, hashlib.sha256).digest()


def _record_of(row: dict[str, Any]) -> str:
    """One row as a JSON object."""
    return to_records([row])[1:-1]


def _links(report_id: uuid.UUID, command: SubmitReport) -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = [
        {
            "photo_id": photo.photo_id,
            "stated_lon": photo.stated_lon,
            "stated_lat": photo.stated_lat,
            "stated_taken_at_local": photo.stated_taken_at_local,
        }
        for photo in command.claimed
    ]
    links += [{"photo_id": photo.photo_id} for photo in command.photos]
    return [link | {"report_id": report_id, "position": position} for position, link in enumerate(links)]


def _report_row(
    command: SubmitReport, report_id: uuid.UUID, digest: bytes, token: str, settings: Settings, now: datetime
) -> dict[str, Any]:
    device = (command.device_lon, command.device_lat)
    measured = command.measured or {}
    return {
        "id": report_id,
        "follow_digest": token_digest(token),
        "submission_digest": digest,
        "state": rules.REPORT.initial,
        "state_since": now,
        "state_deadline_at": rules.timed(settings).deadline(rules.REPORT.initial, now=now),
        "kind": command.kind,
        "place_words": command.place_words,
        "note": command.note,
        "extent": command.extent,
        "smell": command.smell,
        "is_ongoing": command.is_ongoing,
        "has_dead_animals": command.has_dead_animals,
        "affects_people": command.affects_people,
        "colour": command.colour,
        "since": command.since,
        **{name: measured.get(name) for name in MEASURED},
        "observed_at": command.observed_at,
        "same_as_code": command.same_as_code,
        "source": command.source,
        "api_client_id": command.api_client_id,
        "language": command.language,
        "received_at": now,
        "version": 1,
        "point": _ewkt(command.lon, command.lat),
        "place_source": command.place_source,
        "input_datum": command.input_datum,
        "accuracy_m": command.accuracy_m,
        "device_digest": None if command.device_id is None else device_digest(command.device_id, settings),
        "device_point": None if device[0] is None or device[1] is None else _ewkt(device[0], device[1]),
    }


def _ewkt(lon: float, lat: float) -> str:
    """A point as PostGIS reads it from a parameter; ``repr`` of a float gives back the same float."""
    return f"SRID=4326;POINT({lon!r} {lat!r})"


def _first_receipt(session: Session, digest: bytes, settings: Settings) -> Receipt:
    found = queries.receipt_facts(session, digest)
    assert found is not None  # it has just been seen, and reports are never deleted by the application
    report_id, code, follow_digest = found
    token = follow_token(settings, report_id, follow_digest)
    # Where the secret is gone, so is the link: this one opens nothing, and the code still names the report.
    return Receipt(report_id, code, token or signing.derive_token(settings, FOLLOW, report_id), is_repeat=True)


def follow_token(settings: Settings, report_id: uuid.UUID, follow_digest: bytes) -> str | None:
    """The token of a report's follow link, made again; None when it was made under a secret that is gone."""
    for is_previous in (False, True):
        if is_previous and settings.secret_key_previous is None:
            continue
        token = signing.derive_token(settings, FOLLOW, report_id, previous=is_previous)
        if token_digest(token) == follow_digest:
            return token
    return None
