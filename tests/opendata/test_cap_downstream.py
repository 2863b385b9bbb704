"""The public alert of what may come down a river: not before the head start is over, updated, cancelled."""

import uuid
from datetime import UTC, datetime, timedelta

import feedparser
import pytest
from cap_tools.models import Alert
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from xsdata.formats.dataclass.parsers import XmlParser

from tests.advisories.rows import add_chain, network_of
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator
from tests.reports.rows import LAT, LON
from waterwatch.advisories import forecasts
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

TESTS = Actor.system("tests")
NOW = datetime.now(UTC).replace(microsecond=0)


class Upstream:
    """An incident with what is expected below it."""

    def __init__(self, sessions: sessionmaker[Session], settings: Settings) -> None:
        self.sessions, self.settings = sessions, settings
        with transaction(sessions) as session:
            moderator = add_moderator(session, "甲", now=NOW)
            river = add_chain(session, 4)
            incident, _report = open_on(
                session, river.ids[0], moderator, now=NOW, at=(LON + 0.02, LAT + 0.003), severity=Severity.MAJOR
            )
            session.flush()
            self.id: uuid.UUID = incident.id
            self.code = incident.code

    def reckon(self, ago: timedelta) -> None:
        with transaction(self.sessions) as session:
            network = network_of(session)
            forecasts.reckon(session, [self.id], network, settings=self.settings, actor=TESTS, now=NOW - ago)

    def grade(self, severity: int) -> None:
        with transaction(self.sessions) as session:
            session.execute(text("UPDATE incident SET severity = :s, graded_severity = :s"), {"s": severity})


@pytest.fixture
def upstream(client: FlaskClient, sessions: sessionmaker[Session], settings: Settings) -> Upstream:
    return Upstream(sessions, settings)


def alert(client: FlaskClient, code: str) -> Alert:
    answer = client.get(f"/feeds/cap/{code}/downstream.xml")
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/cap+xml; charset=utf-8"
    assert f"{LAT + 0.003:.4f}" not in answer.text
    return XmlParser().from_bytes(answer.data, Alert)


def entries(client: FlaskClient) -> list[str]:
    return [one.link for one in feedparser.parse(client.get("/feeds/cap.xml").data).entries]


def test_it_is_nobodys_before_the_head_start_is_over(client: FlaskClient, upstream: Upstream) -> None:
    upstream.reckon(timedelta(minutes=1))
    assert client.get(f"/feeds/cap/{upstream.code}/downstream.xml").status_code == 404
    assert not [link for link in entries(client) if "downstream" in link]


def test_then_each_stretch_has_its_onset_a_change_updates_it_and_the_end_cancels_it(
    client: FlaskClient, upstream: Upstream
) -> None:
    upstream.reckon(timedelta(hours=3))
    first = alert(client, upstream.code)
    assert (first.msg_type.value, first.scope.value, first.status.value) == ("Alert", "Public", "Actual")
    assert [info.certainty.value for info in first.infos] == ["Possible"] * 3
    assert all(info.onset is not None and info.areas[0].polygons for info in first.infos)
    assert f"http://localhost/feeds/cap/{upstream.code}/downstream.xml" in entries(client)
    upstream.grade(4)
    upstream.reckon(timedelta(hours=2))
    second = alert(client, upstream.code)
    assert (second.msg_type.value, second.infos[0].severity.value) == ("Update", "Severe")
    assert first.identifier in (second.references or "")
    upstream.grade(1)
    upstream.reckon(timedelta(hours=1))
    last = alert(client, upstream.code)
    assert (last.msg_type.value, len(last.infos)) == ("Cancel", 0)
    assert first.identifier in (last.references or "")
    assert second.identifier in (last.references or "")
    assert last.identifier not in {first.identifier, second.identifier}
