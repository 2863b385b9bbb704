"""What the tests of early warning at the desk ask it, and a place below which something lies."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.advisories.rows import River, network_of
from tests.web.site import Visitor
from waterwatch.advisories import forecasts
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

SYSTEM = Actor.system("tests")


@dataclass
class Place:
    """A river, and a report from its first reach that waits."""

    river: River
    report_id: uuid.UUID

    def form(self, **changes: str) -> dict[str, str]:
        """A grade of it: orange."""
        graded = {"kind": "sewage_outfall", "severity": "3", "departure_reason": "看到的更严重"}
        return graded | {"water_feature_id": str(self.river.ids[0])} | changes


def asked(desk: Visitor, place: Place, **query: str) -> dict[str, object]:
    values = {"kind": "sewage_outfall", "severity": "3", "water_feature_id": str(place.river.ids[0]), "answer": "json"}
    response = desk.client.get(f"/desk/{place.report_id}/downstream", query_string=values | query)
    assert response.status_code == 200, response.text
    found: dict[str, object] = response.get_json()
    return found


def grade(desk: Visitor, place: Place, **changes: str) -> int:
    page = f"/desk/{place.report_id}"
    desk.get(page)
    return desk.post(f"{page}/grade", place.form(**changes), page=page).status_code


def incident_id(sessions: sessionmaker[Session]) -> uuid.UUID:
    with transaction(sessions) as session:
        found: uuid.UUID = session.execute(text("SELECT id FROM incident")).scalar_one()
        return found


def reckon(sessions: sessionmaker[Session], settings: Settings, *, later: timedelta = timedelta(0)) -> None:
    with transaction(sessions) as session:
        ids = list(session.execute(text("SELECT id FROM incident")).scalars())
        forecasts.reckon(session, ids, network_of(session), settings=settings, actor=SYSTEM, now=utc_now() + later)
