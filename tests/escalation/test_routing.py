"""Routing over China's real jurisdictions and the built-in agencies."""

from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_incident
from waterwatch.agencies.service import load_builtin
from waterwatch.escalation import service
from waterwatch.escalation.public_queries import cases_of
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings

YANGTZE_AT_WUHAN = (114.288, 30.556)
HAN_RIVER_AT_XIANGYANG = (112.142, 32.021)
EAST_CHINA_SEA = (124.5, 29.5)


@pytest.fixture
def told(
    sessions: sessionmaker[Session], make_settings: Callable[..., Settings], now: datetime
) -> Callable[[tuple[float, float], str], list[tuple[str | None, str]]]:
    """Escalates an incident at a place; gives the agencies' names with the state of their cases."""
    with sessions.begin() as session:
        load_builtin(session, now=now)

    def tell(at: tuple[float, float], kind: str) -> list[tuple[str | None, str]]:
        with sessions.begin() as session:
            incident_id = add_incident(session, now=now, at=at, kind=kind)
            settings, actor = make_settings(), Actor.system("tests")
            service.escalate(session, incident_id, settings=settings, actor=actor, now=now)
            return sorted((case.agency_name, case.state) for case in cases_of(session, incident_id))

    return tell


def test_each_place_is_told_to_its_own_departments_and_the_sea_to_nobody(
    told: Callable[[tuple[float, float], str], list[tuple[str | None, str]]],
) -> None:
    # The Yangtze parts 武昌 from 汉阳: each bank's departments are told.
    assert told(YANGTZE_AT_WUHAN, "sewage_outfall") == [
        ("武汉市武昌区水务和湖泊局", "queued"),
        ("武汉市汉阳区水务和湖泊局", "queued"),
        ("武汉市生态环境局武昌区分局", "queued"),
        ("武汉市生态环境局汉阳区分局", "queued"),
    ]
    assert told(HAN_RIVER_AT_XIANGYANG, "sewage_outfall") == [
        ("湖北省水利厅", "queued"),
        ("湖北省生态环境厅", "queued"),
    ]
    assert told(EAST_CHINA_SEA, "oil_slick") == [(None, "no_contact")]
