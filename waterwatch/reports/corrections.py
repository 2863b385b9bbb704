"""A report stated anew by its author, until it is accepted: the same answers, read by the same code as the first time.

What is not said again stays: above all the place, which the page never shows back, because a follow link may be passed
on.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, NotFound
from waterwatch.kernel.settings import Settings
from waterwatch.reports import queries, rules
from waterwatch.reports.forms import ToWgs84, parse_submission
from waterwatch.reports.intake import ClaimedPhoto, SubmitReport
from waterwatch.reports.service import TOPIC_RESNAP
from waterwatch.reports.tables import MEASURED, Report

# Column → name in the form. What its author may say of a report, its place apart.
ANSWERS = {
    "kind": "kind",
    "note": "note",
    "place_words": "place_words",
    "extent": "extent",
    "smell": "smell",
    "is_ongoing": "ongoing",
    "has_dead_animals": "dead_animals",
    "affects_people": "people_affected",
    "colour": "colour",
    "since": "since",
    "chosen_water_feature_id": "water_feature_id",
    **{name: name for name in MEASURED},
}
WORDS = frozenset({"note", "place_words"})  # what a person wrote: the audit knows that, never what
PLACE_FIELDS = ("lon", "lat", "datum", "place_source", "place_confirmed", "accuracy_m", "device_lon", "device_lat")
PLACED_BY = {"point", "chosen_water_feature_id"}  # what decides on which water a report lies
LIKENED_BY = PLACED_BY | {"kind"}  # what decides which reports tell of the same
WEIGHED_BY = LIKENED_BY | {
    "extent",
    "since",
    "is_ongoing",
    "has_dead_animals",
    "affects_people",
    *MEASURED,
}  # how urgent
MOVED_M = 1.0  # closer than this is the same place, written with other digits
_NO_KEY = "00000000-0000-4000-8000-000000000000"  # a correction makes no report: its key tells it from no other
_MOVED_M = text("""
SELECT ST_Distance(geography(point), geography(ST_SetSRID(ST_MakePoint(:lon, :lat), 4326))) FROM report WHERE id = :id
""")


@dataclass(frozen=True)
class CorrectReport:
    """What the author states now. ``has_place``: a place is among it; else the report's own one stays."""

    statement: SubmitReport
    has_place: bool


@dataclass(frozen=True)
class Corrected:
    """``version`` after the correction; ``changed`` names the columns that differ now, ``point`` for the place."""

    version: int
    changed: tuple[str, ...]


def answers_of(session: Session, report_id: uuid.UUID) -> dict[str, str]:
    """What the author has said so far, as the form's fields; the place is not among it. Raises :class:`NotFound`."""
    row = session.execute(
        text(f"SELECT {', '.join(ANSWERS)} FROM report WHERE id = :id"),  # noqa: S608  # names of our own
        {"id": report_id},
    ).first()
    if row is None:
        raise NotFound("report_not_found")
    return {ANSWERS[name]: _as_field(value) for name, value in row._mapping.items() if value is not None}


def parse_correction(
    session: Session,
    report_id: uuid.UUID,
    fields: Mapping[str, str],
    *,
    photos_per_report: int,
    language: str,
    to_wgs84: ToWgs84,
    now: datetime,
) -> CorrectReport:
    """Read the whole form as a new report's, with the photos that are there. Raises :class:`Invalid` as that does.

    Both ``lon`` and ``lat`` empty: no new place is meant, and what else was said of one is not looked at.
    """
    has_place = any(fields.get(name, "").strip() for name in ("lon", "lat"))
    stated = {name: value for name, value in fields.items() if name not in PLACE_FIELDS or has_place}
    if not has_place:
        place = queries.place_of(session, report_id)
        stated |= {"lon": f"{place.lon:.9f}", "lat": f"{place.lat:.9f}", "place_confirmed": "yes"}
    there = tuple(ClaimedPhoto(photo.photo_id) for photo in queries.photos_of(session, report_id))
    statement = parse_submission(
        stated | {"idempotency_key": _NO_KEY},
        (),
        claimed=there,
        photos_per_report=max(photos_per_report, len(there)),
        language=language,
        to_wgs84=to_wgs84,
        now=now,
    )
    return CorrectReport(statement, has_place)


def correct(session: Session, report_id: uuid.UUID, command: CorrectReport, *, now: datetime) -> Corrected:
    """Write what differs, count the version on, order its water and its likes to be found anew where they may be
    others. Nothing new: nothing done.

    The audit holds codes and numbers; of the note and the place only that they changed, and by how far.

    Raises :class:`NotFound`, or :class:`Conflict` ``too_late_to_correct`` with the state it has reached.
    """
    report = _correctable(session, report_id)
    before, after = _answer_anew(session, report, command.statement)
    if command.has_place and (moved_m := _move(session, report, command.statement)) is not None:
        before["point"], after["point"] = None, f"moved_{round(moved_m)}_m"
    if not after:
        return Corrected(report.version, ())
    report.version += 1
    report.corrected_at = now
    if PLACED_BY & after.keys() and report.state == "in_review":
        report.water_feature_id = report.snapped_point = report.snap_distance_m = None
    if WEIGHED_BY & after.keys() and report.state == "in_review":
        outbox.emit(session, TOPIC_RESNAP, {"report_id": str(report.id)}, now=now)
    session.flush()
    audit.record(
        session,
        action="report.corrected",
        subject_kind="report",
        subject_id=report.id,
        actor=Actor.anonymous(),
        now=now,
        before=before,
        after=after | {"version": report.version},
    )
    return Corrected(report.version, tuple(after))


def restate(
    session: Session,
    report_id: uuid.UUID,
    fields: Mapping[str, str],
    *,
    settings: Settings,
    language: str,
    to_wgs84: ToWgs84,
    now: datetime,
) -> Corrected:
    """Read a correction and write it. Raises as :func:`parse_correction` and :func:`correct`."""
    _correctable(session, report_id)  # before it is read: what was taken back has no place to stay at
    command = parse_correction(
        session,
        report_id,
        fields,
        photos_per_report=settings.photos_per_report,
        language=language,
        to_wgs84=to_wgs84,
        now=now,
    )
    return correct(session, report_id, command, now=now)


def _correctable(session: Session, report_id: uuid.UUID) -> Report:
    report = queries.lock_report(session, report_id)
    if report is None:
        raise NotFound("report_not_found")
    if report.state not in rules.CORRECTABLE:
        raise Conflict("too_late_to_correct", state=report.state)
    return report


def _answer_anew(
    session: Session, report: Report, statement: SubmitReport
) -> tuple[dict[str, audit.Fact], dict[str, audit.Fact]]:
    """Set the answers that differ; what they were and what they are now, as the audit may hold it."""
    before: dict[str, audit.Fact] = {}
    after: dict[str, audit.Fact] = {}
    measured = statement.measured or {}
    for name in ANSWERS:
        value: Any = measured.get(name) if name in MEASURED else getattr(statement, name)
        if name == "chosen_water_feature_id" and value is not None and not queries.has_water(session, value):
            value = None  # a hint, as when the report came
        was = getattr(report, name)
        if was == value:
            continue
        setattr(report, name, value)
        before[name], after[name] = _as_fact(name, was), _as_fact(name, value)
    return before, after


def _move(session: Session, report: Report, statement: SubmitReport) -> float | None:
    """Put the report to its new place; by how many metres it moved, or None where it is the same place."""
    values = {"id": report.id, "lon": statement.lon, "lat": statement.lat}
    moved_m = float(session.execute(_MOVED_M, values).scalar_one())
    if moved_m < MOVED_M:
        return None
    point: Any = queries.point(statement.lon, statement.lat)
    report.point = point
    report.place_source, report.input_datum = statement.place_source, statement.input_datum
    report.accuracy_m = statement.accuracy_m
    if statement.device_lon is not None and statement.device_lat is not None:
        # The first fix stays where there is no new one: it tells where the phone was when the water was seen.
        device: Any = queries.point(statement.device_lon, statement.device_lat)
        report.device_point = device
    return moved_m


def _as_fact(name: str, value: audit.Fact | float) -> audit.Fact:
    if name in WORDS:
        return None if value is None else "given"
    return _digits(value) if isinstance(value, float) else value


def _as_field(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _digits(value) if isinstance(value, float) else str(value)


def _digits(reading: float) -> str:
    """A reading as it was typed: at most six decimals, never an exponent."""
    return f"{reading:.6f}".rstrip("0").rstrip(".")
