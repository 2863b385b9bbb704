"""The database's part of accepting a photo: one statement against the same rows through separate round trips.

Both write photo, audit entry and outbox row of one photo, prepared beforehand, in a transaction that is rolled back: no
commit and no fsync is in it. The other way is the one an ORM suggests: look the photo up, add and flush each of the
three objects. Over one connection to a private PostgreSQL on the same machine.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.kernel.audit import AuditEntry
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.outbox import OutboxRow
from waterwatch.kernel.settings import Settings
from waterwatch.photos import service
from waterwatch.photos.rules import quarantine_key
from waterwatch.photos.service import Arrival
from waterwatch.photos.tables import Photo


def print_database(settings: Settings, *, rounds: int = 5, each: int = 200) -> None:
    """Print both ways round by round, and the ratio."""
    engine = make_engine(settings.database_url)
    sessions = make_sessions(engine)
    ways: dict[str, Callable[[Session, Arrival], Any]] = {
        "one statement": service.register,
        "separate round trips": _separately,
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            elapsed_s = _median_s(sessions, settings, way, each)
            if number:  # the first warms
                found[name].append(elapsed_s)
    engine.dispose()
    print(f"\nthe database's part of one photo, without commit; medians of {each} in ms, round by round")
    for name, times in found.items():
        print(f"  {name:22}" + "".join(f"{one * 1000:8.2f}" for one in times))
    one, many = found.values()
    ratios = [b / a for a, b in zip(one, many, strict=True)]
    print(f"  ratio {statistics.median(ratios):.1f}×, from {min(ratios):.1f} to {max(ratios):.1f}")


def _median_s(sessions: sessionmaker[Session], settings: Settings, way: Callable[..., Any], each: int) -> float:
    times = []
    with sessions() as session:
        session.connection()
        for _ in range(each):
            photo_id, now = new_id(), utc_now()
            arrived = service.arrival(photo_id, quarantine_key(photo_id), 4 << 20, photo_id.bytes * 2,
                                      settings=settings, now=now, unclaimed_until=now)  # fmt: skip
            started = time.perf_counter()
            way(session, arrived)
            times.append(time.perf_counter() - started)
            session.expunge_all()
        session.rollback()
    return statistics.median(times)


def _separately(session: Session, arrived: Arrival) -> None:
    known = session.scalars(select(Photo).where(Photo.id == arrived.photo["id"])).one_or_none()
    assert known is None
    for row in (Photo(**arrived.photo), AuditEntry(**arrived.audit), OutboxRow(**arrived.outbox)):
        session.add(row)
        session.flush()
