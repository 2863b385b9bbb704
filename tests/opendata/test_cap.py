"""Alerts as feed readers and CAP readers of others meet them: for everybody, and for one agency."""

import uuid
from datetime import UTC, datetime, timedelta

import feedparser
import pytest
from cap_tools.models import Alert as ReadAlert
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from xsdata.formats.dataclass.parsers import XmlParser

from tests.escalation.rows import add_incident, add_report
from tests.escalation.ways import TESTS, Told, add_way, delivery_of, tell
from waterwatch.agencies.tables import AgencyContact
from waterwatch.escalation import service
from waterwatch.escalation.channels import Awaiting
from waterwatch.escalation.feeding import feed_url
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

NOW = datetime.now(UTC).replace(microsecond=0)


def alert(client: FlaskClient, path: str) -> ReadAlert:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/cap+xml; charset=utf-8"
    return XmlParser().from_bytes(answer.data, ReadAlert)


def run(sessions: sessionmaker[Session], statement: str, **values: object) -> None:
    with transaction(sessions) as session:
        session.execute(text(statement), values)


@pytest.fixture
def code(sessions: sessionmaker[Session]) -> str:
    """An orange incident, its exact place not its public one."""
    with transaction(sessions) as session:
        incident_id = add_incident(session, now=NOW - timedelta(days=2))
        return str(
            session.execute(
                text("""UPDATE incident SET public_point = ST_SetSRID(ST_MakePoint(114.31234, 30.58765), 4326)
                        WHERE id = :id RETURNING code"""),
                {"id": incident_id},
            ).scalar_one()
        )


def test_the_public_feed_leads_to_alerts_at_public_points(client: FlaskClient, code: str) -> None:
    answer = client.get("/feeds/cap.xml")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    feed = feedparser.parse(answer.data)
    assert (feed.version, feed.bozo) == ("atom10", False)
    (entry,) = feed.entries
    assert entry.link == f"http://localhost/feeds/cap/{code}.xml"
    found = alert(client, f"/feeds/cap/{code}.xml")
    assert (found.msg_type.value, found.status.value, found.scope.value) == ("Alert", "Actual", "Public")
    (info,) = found.infos
    assert (info.language, info.event, info.severity.value) == ("zh-CN", "污水直排", "Severe")
    assert info.areas[0].circles == ["30.58765,114.31234 0"]
    assert info.expires is not None
    assert info.expires.to_datetime() == NOW + timedelta(days=5)
    assert "非政府预警" in (info.description or "")
    assert "30.5928" not in client.get(f"/feeds/cap/{code}.xml").text


def test_a_change_of_level_updates_what_came_before_and_an_end_cancels_it(
    client: FlaskClient, sessions: sessionmaker[Session], code: str
) -> None:
    first = alert(client, f"/feeds/cap/{code}.xml")
    run(
        sessions,
        "UPDATE incident SET severity = 2, graded_severity = 2, stepped_down_at = :at",
        at=NOW - timedelta(days=1),
    )
    second = alert(client, f"/feeds/cap/{code}.xml")
    assert second.msg_type.value == "Update"
    assert second.infos[0].severity.value == "Moderate"
    assert [one.identifier for one in second.references_to_list()] == [first.identifier]
    assert second.references_to_list()[0].sent == first.sent
    run(sessions, "UPDATE incident SET state = 'verified_clean', closed_at = :at", at=NOW)
    ended = alert(client, f"/feeds/cap/{code}.xml")
    assert ended.msg_type.value == "Cancel"
    assert [one.identifier for one in ended.references_to_list()] == [first.identifier, second.identifier]
    assert len({first.identifier, second.identifier, ended.identifier}) == 3


def test_a_report_that_confirms_it_is_an_update_that_lasts_longer(
    client: FlaskClient, sessions: sessionmaker[Session], code: str
) -> None:
    before = alert(client, f"/feeds/cap/{code}.xml")
    with transaction(sessions) as session:
        incident_id = session.execute(text("SELECT id FROM incident")).scalar_one()
        add_report(session, incident_id, now=NOW - timedelta(hours=1))
    after = alert(client, f"/feeds/cap/{code}.xml")
    assert (before.msg_type.value, after.msg_type.value) == ("Alert", "Update")
    assert after.infos[0].expires.to_datetime() == NOW - timedelta(hours=1) + timedelta(days=7)
    assert alert(client, f"/feeds/cap/{code}.xml").identifier == after.identifier


def test_withdrawn_alerts_are_gone_and_unknown_ones_never_were(
    client: FlaskClient, sessions: sessionmaker[Session], code: str
) -> None:
    run(sessions, "UPDATE incident SET state = 'retracted', closed_at = now()")
    assert client.get(f"/feeds/cap/{code}.xml").status_code == 410
    assert client.get("/feeds/cap/0000-0000.xml").status_code == 404
    assert feedparser.parse(client.get("/feeds/cap.xml").data).entries == []


# --- an agency's own


@pytest.fixture
def told(sessions: sessionmaker[Session], settings: Settings) -> Told:
    with transaction(sessions) as session:
        contact_id = add_way(session, "cap_feed", "值班室", settings=settings)
    return tell(sessions, contact_id, Awaiting("fetch"), settings=settings, now=NOW)


def address(sessions: sessionmaker[Session], settings: Settings, contact_id: uuid.UUID) -> str:
    with transaction(sessions) as session:
        row = session.get(AgencyContact, contact_id)
        assert row is not None
        return feed_url(settings, row).removeprefix(settings.public_url)


def test_it_is_sent_when_its_alert_was_fetched_and_not_before(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings, told: Told
) -> None:
    here = address(sessions, settings, told.contact_id)
    answer = client.get(here)
    feed = feedparser.parse(answer.data)
    (entry,) = feed.entries
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Robots-Tag"] == "noindex, nofollow"
    assert "武汉市生态环境局" in feed.feed.title
    path = entry.link.removeprefix(settings.public_url)
    assert client.head(path).status_code == 200
    assert delivery_of(sessions, told).state == "awaiting"
    found = alert(client, path)
    assert (found.scope.value, found.infos[0].areas[0].circles) == ("Private", ["30.5928,114.3055 0"])
    row = delivery_of(sessions, told)
    assert (row.state, row.case_state, row.awaits) == ("sent", "delivered", None)
    assert alert(client, path).identifier == found.identifier == str(told.delivery_id)
    assert delivery_of(sessions, told).sent_at == row.sent_at


def test_a_feeds_key_ends_when_it_is_made_anew_or_its_contact_ends(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings, told: Told
) -> None:
    here = address(sessions, settings, told.contact_id)
    assert client.get(here).status_code == 200
    assert client.get(here.replace(here[20], "x" if here[20] != "x" else "y", 1)).status_code == 404
    run(sessions, "UPDATE agency_contact SET secret_rotated_at = now()")
    assert client.get(here).status_code == 404
    anew = address(sessions, settings, told.contact_id)
    assert client.get(anew).status_code == 200
    run(sessions, "UPDATE agency_contact SET active = false")
    assert client.get(anew).status_code == 404
    assert client.get(f"{anew.removesuffix('.xml')}/{told.delivery_id}.xml").status_code == 404
    assert delivery_of(sessions, told).state == "awaiting"


def test_one_agency_never_fetches_anothers_alert(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings, told: Told
) -> None:
    with transaction(sessions) as session:
        other = add_way(session, "cap_feed", "别处", settings=settings, name="别的局")
    here = address(sessions, settings, other).removesuffix(".xml")
    assert client.get(f"{here}/{told.delivery_id}.xml").status_code == 404
    assert delivery_of(sessions, told).state == "awaiting"


def test_of_a_withdrawn_case_nothing_stands_in_the_feed_but_its_end(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings, told: Told
) -> None:
    here = address(sessions, settings, told.contact_id)
    first = f"{here.removesuffix('.xml')}/{told.delivery_id}.xml"
    alert(client, first)
    with transaction(sessions) as session:
        service.withdraw_cases(session, told.incident_id, settings=settings, actor=TESTS, now=NOW)
    assert client.get(first).status_code == 410
    assert feedparser.parse(client.get(here).data).entries == []
    run(sessions, "UPDATE delivery SET state = 'awaiting', awaits = 'fetch' WHERE says = 'withdrawn'")
    answer = client.get(here)
    (entry,) = feedparser.parse(answer.data).entries
    assert "30.59" not in answer.text
    ended = alert(client, entry.link.removeprefix(settings.public_url))
    assert (ended.msg_type.value, ended.infos) == ("Cancel", [])
    assert [one.identifier for one in ended.references_to_list()] == [str(told.delivery_id)]
