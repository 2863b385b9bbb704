"""A moderator corrects what kind a report is of, where, or on which water; and the correction can be taken back.

The audit holds codes, ids and by how far a place moved. What the report said before is kept beside it, and erased with
it.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel import audit, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.reports import queries, service
from waterwatch.reports.tables import REPORT_KINDS, Report

MOVED_M = 1.0  # closer than this is the same place, written with other digits
_COLUMNS = "kind, point, place_source, input_datum, accuracy_m, water_feature_id, snapped_point, snap_distance_m"
_KEEP = text(f"""
INSERT INTO report_former (id, report_id, at, version, {_COLUMNS})
SELECT :former_id, id, :now, version, {_COLUMNS} FROM report WHERE id = :id
""")  # noqa: S608  # names of our own
_RESTORE = text(f"""
UPDATE report r SET ({_COLUMNS}) = (SELECT {_COLUMNS} FROM report_former f WHERE f.id = :former_id)
WHERE r.id = :id AND EXISTS (SELECT FROM report_former f WHERE f.id = :former_id AND f.version = r.version)
RETURNING r.kind, r.water_feature_id
""")  # noqa: S608  # names of our own
_FORGET = text("DELETE FROM report_former WHERE id = :former_id")
_MOVED_M = text("""
SELECT ST_Distance(geography(point), geography(ST_SetSRID(ST_MakePoint(:lon, :lat), 4326))) FROM report WHERE id = :id
""")
_MOVE = text("""
UPDATE report SET point = ST_SetSRID(ST_MakePoint(:lon, :lat), 4326), place_source = :source, input_datum = 'wgs84',
       accuracy_m = NULL, water_feature_id = NULL, snapped_point = NULL, snap_distance_m = NULL
WHERE id = :id
""")


@dataclass(frozen=True)
class AmendReport:
    """What a moderator puts right; None stays as it is. ``place``: WGS-84 (lon, lat), with ``is_typed`` as numbers."""

    report_id: uuid.UUID
    kind: str | None = None
    water_feature_id: uuid.UUID | None = None
    place: tuple[float, float] | None = None
    is_typed: bool = False


@dataclass(frozen=True)
class Amended:
    """What was changed, as a record may hold it; ``former_id`` names what is kept of before."""

    former_id: uuid.UUID
    before: dict[str, audit.Fact]
    after: dict[str, audit.Fact]


def amend(session: Session, command: AmendReport, *, settings: Settings, actor: Actor, now: datetime) -> Amended | None:
    """Write what differs; None where nothing does. A new place finds its water anew unless one is named.

    Raises :class:`Invalid`, :class:`NotFound` (report or water), :class:`Conflict` ``not_in_review``.
    """
    if command.kind is not None and command.kind not in REPORT_KINDS:
        raise Invalid({"kind": ["choice_unknown"]})
    report = _in_review(session, command.report_id)
    former_id, was = keep(session, report, now=now), (report.kind, report.water_feature_id)
    before: dict[str, audit.Fact] = {}
    after: dict[str, audit.Fact] = {}
    if command.kind is not None and command.kind != report.kind:
        before["kind"], after["kind"] = report.kind, command.kind
        report.kind = command.kind
        session.flush()
    if command.place is not None and (moved_m := _move(session, report, command)) is not None:
        before["point"], after["point"] = None, f"moved_{round(moved_m)}_m"
        service.settle_water(session, report, settings)
    if command.water_feature_id is not None and command.water_feature_id != report.water_feature_id:
        service.put_on_water(session, report, command.water_feature_id)
    if report.water_feature_id != was[1]:
        before["water_feature_id"], after["water_feature_id"] = was[1], report.water_feature_id
    if not after:
        session.execute(_FORGET, {"former_id": former_id})
        return None
    if after.keys() & {"kind", "point"}:  # other reports may tell of the same now
        outbox.emit(session, service.TOPIC_RESNAP, {"report_id": str(report.id)}, now=now)
    service.put_on_record(session, "report.amended", report.id, actor, now, before, after)
    return Amended(former_id, before, after)


def keep(session: Session, report: Report, *, now: datetime) -> uuid.UUID:
    """Keep what a report says now; returns the name to restore it by. Assumes its lock."""
    session.flush()
    former_id = new_id()
    session.execute(_KEEP, {"former_id": former_id, "id": report.id, "now": now})
    return former_id


def restore(session: Session, report_id: uuid.UUID, former_id: uuid.UUID, *, actor: Actor, now: datetime) -> None:
    """Put back what was kept.

    Raises :class:`NotFound`, :class:`Conflict` ``not_in_review``, or ``report_changed``: its author has stated it anew
    since, and that stands.
    """
    report = _in_review(session, report_id)
    before: dict[str, audit.Fact] = {"kind": report.kind, "water_feature_id": report.water_feature_id}
    session.flush()
    row = session.execute(_RESTORE, {"former_id": former_id, "id": report_id}).first()
    if row is None:
        raise Conflict("report_changed", version=report.version)
    session.execute(_FORGET, {"former_id": former_id})
    session.expire(report)
    after: dict[str, audit.Fact] = {"kind": row.kind, "water_feature_id": row.water_feature_id}
    service.put_on_record(session, "report.restored", report_id, actor, now, before, after)


def _move(session: Session, report: Report, command: AmendReport) -> float | None:
    """Put the report to its new place; by how many metres it moved, or None where it is the same place."""
    assert command.place is not None
    lon, lat = command.place
    values = {"id": report.id, "lon": lon, "lat": lat, "source": "typed" if command.is_typed else "pin"}
    moved_m = float(session.execute(_MOVED_M, values).scalar_one())
    if moved_m < MOVED_M:
        return None
    session.execute(_MOVE, values)
    session.refresh(report, ["water_feature_id", "snap_distance_m", "place_source", "input_datum", "accuracy_m"])
    return moved_m


def _in_review(session: Session, report_id: uuid.UUID) -> Report:
    report = queries.lock_report(session, report_id)
    if report is None:
        raise NotFound("report_not_found")
    if report.state != "in_review":
        raise Conflict("not_in_review", state=report.state)
    return report
