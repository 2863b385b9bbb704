"""The database's part of accepting a photo, or a report: one statement against the same rows by separate round trips.

Both ways are given the same prepared rows and answer the same questions (is it known already? whose desk, which water,
a newcomer, a flood?), in a transaction that is rolled back: no commit and no fsync is in it. The other way is the one
an ORM suggests: ask each question, add and flush each object. Over one connection to a private PostgreSQL on the same
machine, where a round trip costs least; ``SELECT 1`` through the same session is the floor.
"""

import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import exists, func, select, text
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.accounts.tables import Organisation
from waterwatch.kernel.audit import AuditEntry
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions
from waterwatch.kernel.ids import new_code, new_id
from waterwatch.kernel.outbox import OutboxRow
from waterwatch.kernel.settings import Settings
from waterwatch.photos import service
from waterwatch.photos.rules import quarantine_key
from waterwatch.photos.service import Arrival
from waterwatch.photos.tables import Photo
from waterwatch.reports import intake
from waterwatch.reports.intake import ReceivedPhoto, SubmitReport
from waterwatch.reports.tables import Report, ReportPhoto
from waterwatch.waters.tables import WaterFeature

PHOTOS = (1, 3)


@dataclass(frozen=True)
class Prepared:
    """One submission, ready to be written."""

    command: SubmitReport
    row: dict[str, Any]
    arrivals: list[Arrival]
    settings: Settings
    now: datetime


def print_database(settings: Settings, *, rounds: int = 5, each: int = 200) -> None:
    """Print all ways round by round, and the ratios."""
    engine = make_engine(settings.database_url)
    sessions = make_sessions(engine)
    try:
        print(f"\nthe database's part, without commit; medians of {each} in ms, round by round")
        floor: Callable[[Session], Any] = lambda session: session.execute(text("SELECT 1")).all()  # noqa: E731
        _print_ways(sessions, "one round trip (SELECT 1)", {"": lambda: floor}, rounds, each)
        _print_ways(
            sessions,
            "one photo",
            {
                "one statement": lambda: _photo(service.register, settings),
                "separate round trips": lambda: _photo(_photo_separately, settings),
            },
            rounds,
            each,
        )
        for count in PHOTOS:
            _print_ways(
                sessions,
                f"a report with {count} photo{'s' * (count > 1)}",
                {
                    "one statement": lambda count=count: partial(_report, prepared=_prepare(settings, count)),
                    "separate round trips": lambda count=count: partial(
                        _report_separately, prepared=_prepare(settings, count)
                    ),
                },
                rounds,
                each,
            )
    finally:
        engine.dispose()


def _print_ways(
    sessions: sessionmaker[Session],
    title: str,
    ways: dict[str, Callable[[], Callable[[Session], Any]]],
    rounds: int,
    each: int,
) -> None:
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, prepare in ways.items():
            elapsed_s = _median_s(sessions, prepare, each)
            if number:  # the first warms
                found[name].append(elapsed_s)
    print(f"  {title}")
    for name, times in found.items():
        print(f"    {name:22}" + "".join(f"{one * 1000:8.2f}" for one in times))
    if len(found) > 1:
        one, many = found.values()
        ratios = [b / a for a, b in zip(one, many, strict=True)]
        print(f"    ratio {statistics.median(ratios):.1f}×, from {min(ratios):.1f} to {max(ratios):.1f}")


def _median_s(sessions: sessionmaker[Session], prepare: Callable[[], Callable[[Session], Any]], each: int) -> float:
    times = []
    with sessions() as session:
        session.connection()
        for _ in range(each):
            act = prepare()
            started = time.perf_counter()
            act(session)
            times.append(time.perf_counter() - started)
            session.expunge_all()
        session.rollback()
    return statistics.median(times)


def _photo(write: Callable[[Session, Arrival], Any], settings: Settings) -> Callable[[Session], Any]:
    photo_id, now = new_id(), utc_now()
    arrived = service.arrival(
        photo_id, quarantine_key(photo_id), 4 << 20, photo_id.bytes * 2, settings=settings, now=now, unclaimed_until=now
    )
    return lambda session: write(session, arrived)


def _photo_separately(session: Session, arrived: Arrival) -> None:
    known = session.scalars(select(Photo).where(Photo.id == arrived.photo["id"])).one_or_none()
    assert known is None
    for row in (Photo(**arrived.photo), AuditEntry(**arrived.audit), OutboxRow(**arrived.outbox)):
        session.add(row)
        session.flush()


def _prepare(settings: Settings, photos: int) -> Prepared:
    ids = [new_id() for _ in range(photos)]
    command = SubmitReport(
        idempotency_key=uuid.uuid4(),
        kind="sewage_outfall",
        lon=114.3055,
        lat=30.5928,
        place_source="pin",
        input_datum="wgs84",
        language="zh-Hans",
        photos=tuple(ReceivedPhoto(one, quarantine_key(one), 4 << 20, one.bytes * 2) for one in ids),
        note="水是黑的，很臭",
        extent="under_100_m",
        smell=2,
        is_ongoing=True,
        chosen_water_feature_id=new_id(),
        device_id=uuid.uuid4().bytes,
    )
    now = utc_now()
    row = intake._report_row(command, new_id(), uuid.uuid4().bytes * 2, str(new_id()), settings, now)
    arrivals = [
        service.arrival(one.photo_id, one.object_key, one.size_bytes, one.sha256, settings=settings, now=now)
        for one in command.photos
    ]
    return Prepared(command, row, arrivals, settings, now)


def _report(session: Session, prepared: Prepared) -> None:
    values = intake._values(prepared.row, prepared.command, {}, prepared.arrivals, prepared.settings, prepared.now)
    stored = session.execute(
        intake._SUBMIT, values | {"report": intake._record_of(prepared.row | {"code": new_code()})}
    )
    assert stored.first() is not None


def _report_separately(session: Session, prepared: Prepared) -> None:
    """What five careful questions and one object after the other cost."""
    row, command = dict(prepared.row), prepared.command
    known = session.scalars(select(Report).where(Report.submission_digest == row["submission_digest"])).one_or_none()
    assert known is None
    first = select(Organisation.id).order_by(Organisation.created_at, Organisation.id).limit(1)
    row["organisation_id"] = session.scalars(first).one()
    chosen = select(WaterFeature.id).where(WaterFeature.id == command.chosen_water_feature_id)
    row["chosen_water_feature_id"] = session.scalars(chosen).one_or_none()
    since = prepared.now - timedelta(seconds=prepared.settings.flood_window_s)
    known_device = exists().where(Report.device_digest == row["device_digest"], Report.received_at < since)
    row["is_newcomer"] = not session.scalar(select(known_device))
    met = select(Report.id).where(Report.is_newcomer, Report.received_at >= since)
    flood = session.scalar(select(func.count()).select_from(met.limit(prepared.settings.flood_reports).subquery()))
    row["needs_screening"] = row["is_newcomer"] and (flood or 0) >= prepared.settings.flood_reports
    act = intake._act(row, command, prepared.now)
    objects: list[Any] = [Report(**row, code=new_code())]
    for position, arrived in enumerate(prepared.arrivals):
        objects.append(Photo(**arrived.photo))
        objects.append(ReportPhoto(report_id=row["id"], photo_id=arrived.photo["id"], position=position))
        objects += [AuditEntry(**arrived.audit), OutboxRow(**arrived.outbox)]
    for one in (*objects, AuditEntry(**act)):
        session.add(one)
        session.flush()
