"""What reckoning costs: as many statements for many incidents as for one, and nothing written of others."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.advisories.rows import add_chain, network_of, statements
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator
from tests.reports.rows import LAT, LON
from waterwatch.advisories import forecasts
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
SOON = timedelta(minutes=11)  # after which everybody may know
SYSTEM = Actor.system("tests")


def some(session: Session, count: int, *, apart: float = 0.0) -> list[uuid.UUID]:
    """So many incidents, each on a river of its own."""
    moderator = add_moderator(session, f"甲{count}", now=NOW)
    found = []
    for nth in range(count):
        river = add_chain(session, 6, lat=LAT + apart + nth * 0.05, name=f"试河{count}之{nth}", lakes=[3])
        incident, _report = open_on(
            session, river.ids[0], moderator, now=NOW, at=(LON + 0.02, LAT + apart + nth * 0.05),
            severity=Severity.MAJOR, kind="sewage_outfall",
        )  # fmt: skip
        found.append(incident.id)
    session.flush()
    return found


@pytest.fixture
def cost(session: Session, settings: Settings) -> Callable[..., list[str]]:
    def run(ids: list[uuid.UUID], now: datetime = NOW) -> list[str]:
        network = network_of(session)
        with statements(session) as sent:
            forecasts.reckon(session, ids, network, settings=settings, actor=SYSTEM, now=now)
            session.flush()
        return sent

    return run


def test_many_incidents_take_as_many_statements_as_one(session: Session, cost: Callable[..., list[str]]) -> None:
    """For the first time, when everybody may know, with nothing changed, and when all of them end."""
    one, many = some(session, 1), some(session, 9, apart=1.0)
    for now in (NOW, NOW + SOON, NOW + SOON):
        assert cost(one, now) == cost(many, now)
    session.execute(text("UPDATE incident SET state = 'expired', closed_at = :now"), {"now": NOW + SOON})
    assert cost(one, NOW + SOON) == cost(many, NOW + SOON)


def test_reckoning_one_leaves_the_rows_of_the_others_as_they_are(
    session: Session, cost: Callable[..., list[str]]
) -> None:
    """A row that was written again has another place (ctid)."""
    ids = some(session, 4)
    cost(ids)
    cost(ids, NOW + SOON)

    def others() -> list[Any]:
        rows = """
            SELECT CAST(ctid AS text), CAST(xmin AS text), CAST(f AS text) FROM {table} f {where} ORDER BY 1
        """
        found: list[Any] = []
        for table in ("downstream_forecast", "downstream_reach"):
            statement = rows.format(table=table, where="WHERE incident_id <> :id")
            found += session.execute(text(statement), {"id": ids[0]}).all()
        return found

    before, levels = (
        others(),
        session.execute(text("SELECT count(*) FROM advisory WHERE basis = 'approaching'")).scalar(),
    )
    assert len(before) == 3 + 3 * 6
    session.execute(text("UPDATE incident SET severity = 1, graded_severity = 1 WHERE id = :id"), {"id": ids[0]})
    cost(ids[:1], NOW + SOON)
    assert others() == before
    after = session.execute(text("SELECT count(*) FROM advisory WHERE basis = 'approaching'")).scalar_one()
    assert levels is not None
    assert levels - after == 6


def test_with_nothing_changed_no_row_of_a_reach_is_written(session: Session, cost: Callable[..., list[str]]) -> None:
    ids = some(session, 2)
    cost(ids)
    places = text(
        "SELECT CAST(ctid AS text), CAST(xmax AS text) FROM downstream_reach ORDER BY incident_id, feature_id"
    )
    before = session.execute(places).all()
    cost(ids)
    assert session.execute(places).all() == before
