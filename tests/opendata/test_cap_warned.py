"""An agency's own feed of warnings: what one identifier names is said once and for all, and only who read it has it."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import feedparser
import pytest
from cap_tools.models import Alert
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from xsdata.formats.dataclass.parsers import XmlParser

from tests.escalation.engine import Engine
from tests.escalation.rows import add_agency, insert
from tests.escalation.test_warning_letters import follow, happen
from tests.escalation.test_warnings import LOWER
from waterwatch.agencies.tables import AgencyContact
from waterwatch.escalation.feeding import feed_url
from waterwatch.escalation.queries import case_facts
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.reports import erasure

LATER = "UPDATE downstream_reach SET earliest_at = earliest_at - interval '30 minutes', distance_km = distance_km + 1"
LAPSES = "UPDATE downstream_reach SET earliest_at = NULL, probable_at = NULL, lapses_at = now() + {} WHERE nth < {}"
PASSED, HOUR = "interval '-1 minute'", "interval '1 hour'"


class Subscribed:
    """An agency below an incident that fetches its warnings."""

    def __init__(self, engine: Engine, client: FlaskClient) -> None:
        self.engine, self.client = engine, client
        with transaction(engine.sessions) as session:
            agency_id = add_agency(session, "下游局", [], area=LOWER)
            contact_id = insert(session, "agency_contact", agency_id=agency_id, channel="cap_feed", address="值班室",
                                position=0, settings="{}")  # fmt: skip
            self.incident_id: uuid.UUID = happen(session)
        with transaction(engine.sessions) as session:
            self.feed = feed_url(engine.settings, session.get_one(AgencyContact, contact_id))
        self.tell()

    def tell(self) -> None:
        follow(self.engine, self.incident_id)
        self.engine.run()

    def run(self, statement: str) -> None:
        with transaction(self.engine.sessions) as session:
            session.execute(text(statement))

    def alerts(self) -> list[str]:
        """Where each lies, oldest first."""
        base = self.engine.settings.public_url
        entries = feedparser.parse(self.client.get(self.feed.removeprefix(base)).data).entries
        return [entry.link.removeprefix(base) for entry in reversed(entries)]

    def fetch(self, path: str) -> bytes:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return bytes(answer.data)


@pytest.fixture
def subscribed(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings, make_settings: Callable[..., Settings]
) -> Subscribed:
    return Subscribed(Engine(settings, sessions), client)


def read(alert: bytes) -> Alert:
    return XmlParser().from_bytes(alert, Alert)


def test_an_identifier_names_one_content_whatever_becomes_of_the_forecast(subscribed: Subscribed) -> None:
    [path] = subscribed.alerts()
    first = subscribed.fetch(path)
    assert len(read(first).infos) == 4
    subscribed.run(LATER)
    subscribed.run(LAPSES.format(PASSED, 1))
    subscribed.run("UPDATE incident SET kind = 'oil_slick'")
    assert subscribed.fetch(path) == first
    subscribed.run("UPDATE incident SET severity = 4, graded_severity = 4, kind = 'sewage_outfall'")
    subscribed.tell()
    _first, second = subscribed.alerts()
    update = read(subscribed.fetch(second))
    assert update.msg_type.value == "Update"
    assert [one.identifier for one in update.references_to_list()] == [read(first).identifier]
    assert subscribed.fetch(path) == first


def test_what_an_alert_follows_is_kept_with_it(subscribed: Subscribed) -> None:
    """Whatever becomes of the alerts before it: each identifier names one kind of message and the same references."""
    [first] = subscribed.alerts()
    subscribed.run("UPDATE incident SET severity = 4, graded_severity = 4")
    subscribed.tell()
    _first, second = subscribed.alerts()
    update, id_of_first = subscribed.fetch(second), read(subscribed.fetch(first)).identifier
    assert [one.identifier for one in read(update).references_to_list()] == [id_of_first]
    subscribed.run("UPDATE incident SET severity = 1, graded_severity = 1")
    subscribed.tell()
    [last] = subscribed.alerts()
    end = subscribed.fetch(last)
    assert read(end).msg_type.value == "Cancel"
    assert [one.identifier for one in read(end).references_to_list()] == [id_of_first, read(update).identifier]
    subscribed.run("UPDATE incident SET severity = 3, graded_severity = 3")
    subscribed.tell()
    back = {path: subscribed.fetch(path) for path in (second, last)}
    assert back == {second: update, last: end}
    subscribed.run("UPDATE delivery SET state = 'cancelled', sent_at = NULL WHERE number = 1")
    assert subscribed.fetch(second) == update
    assert subscribed.fetch(last) == end


def test_one_that_says_nothing_is_no_receipt(subscribed: Subscribed) -> None:
    [path] = subscribed.alerts()
    subscribed.run("UPDATE delivery SET told = NULL")
    subscribed.run(LAPSES.format(PASSED, 9))
    assert subscribed.client.get(path).status_code == 410
    assert [one.state for one in subscribed.engine.deliveries()] == ["awaiting"]
    subscribed.run(LAPSES.format(HOUR, 9))
    subscribed.fetch(path)
    assert [one.state for one in subscribed.engine.deliveries()] == ["sent"]


def test_what_has_passed_is_told_no_more(subscribed: Subscribed) -> None:
    [case] = subscribed.engine.cases()
    subscribed.run(LAPSES.format(PASSED, 2))
    now = datetime.now(UTC)
    with transaction(subscribed.engine.sessions) as session:
        here, before = case_facts(session, case.id).warned, case_facts(session, case.id, now=now - timedelta(hours=1))
    assert here is not None
    assert before.warned is not None
    assert (len(here.segments), len(before.warned.segments)) == (2, 4)


def test_what_an_alert_told_goes_with_the_last_report_of_an_incident_that_was_taken_back(
    subscribed: Subscribed,
) -> None:
    told = "SELECT told IS NOT NULL FROM delivery"
    with transaction(subscribed.engine.sessions) as session:
        assert session.execute(text(told)).scalars().all() == [True]
        report_id = session.execute(text("SELECT report_id FROM incident_report")).scalar_one()
        session.execute(text("UPDATE incident SET state = 'retracted', closed_at = now()"))
        session.execute(text("DELETE FROM incident_report"))
        session.execute(text("UPDATE report SET state = 'withdrawn'"))
        erasure.erase(session, report_id, "author", actor=Actor.anonymous(), now=datetime.now(UTC))
        assert session.execute(text(told)).scalars().all() == [False]
