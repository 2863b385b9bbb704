"""The interface of a running application, as 311 applications meet it."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_agency, add_incident, add_photo, add_report, insert
from tests.open311.client import NOW, SECRET_NOTE
from waterwatch.accounts.service import add_client
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings


@pytest.fixture
def settings(make_settings: Callable[..., Settings], database_url: str, redis_url: str) -> Settings:
    """A system that takes as many reports as anybody sends."""
    many = "1000000/hour"
    return make_settings(
        database_url=database_url,
        redis_url=redis_url,
        report_rate_limit=many,
        page_rate_limit=many,
        photos_per_report=2,
    )


@pytest.fixture
def api_key(sessions: sessionmaker[Session]) -> str:
    """The token of an application."""
    with transaction(sessions) as session:
        return add_client(session, "市民热线", "1000/hour", actor=Actor.system("operator"), now=utc_now())


@pytest.fixture
def incident(sessions: sessionmaker[Session], settings: Settings, tmp_path: Path) -> dict[str, Any]:
    """A public incident whose exact place is a kilometre off its public point, with a photo, a note and a case."""
    with transaction(sessions) as session:
        incident_id = add_incident(session, now=NOW - timedelta(days=3), water="府河")
        report_id = add_report(
            session, incident_id, now=NOW - timedelta(days=4), note=SECRET_NOTE, place_words=SECRET_NOTE
        )
        add_photo(session, report_id, ObjectStore(settings.objects_url), tmp_path, now=NOW)
        agency_id = add_agency(session, "武汉市水务局", ["secret@wh.example"])
        refused_id = add_agency(session, "某某局", ["other@wh.example"])
        for agency, state in ((agency_id, "acknowledged"), (refused_id, "refused_not_ours")):
            insert(session, "escalation_case", incident_id=incident_id, agency_id=agency, state=state, state_since=NOW,
                   severity=3, created_at=NOW - timedelta(days=2), acknowledged_at=NOW - timedelta(days=1))  # fmt: skip
        session.execute(
            text("""UPDATE incident SET exact_point = ST_SetSRID(ST_MakePoint(114.987654, 30.123456), 4326);
                    UPDATE report SET point = ST_SetSRID(ST_MakePoint(114.987654, 30.123456), 4326)""")
        )
        code = session.execute(text("SELECT code FROM incident")).scalar_one()
        report_code = session.execute(text("SELECT code FROM report")).scalar_one()
    return {"id": incident_id, "code": code, "report_code": report_code}
