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
from waterwatch.advisories.rules import Ruling
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

TESTS = Actor.system("tests")


class Upstream:
    """An incident with what is expected below it."""

    def __init__(self, sessions: sessionmaker[Session], settings: Settings) -> None:
        self.sessions, self.settings = sessions, settings
        self.now = datetime.now(UTC).replace(microsecond=0)
        with transaction(sessions) as session:
            moderator = add_moderator(session, "甲", now=self.now)
            river = add_chain(session, 4)
            incident, _report = open_on(
                session, river.ids[0], moderator, now=self.now, at=(LON + 0.02, LAT + 0.003), severity=Severity.MAJOR
            )
            session.flush()
            self.id: uuid.UUID = incident.id
            self.code = incident.code
            self.moderator, self.reach_id = moderator, river.ids[0]

    def reckon(self, ago: timedelta) -> None:
        with transaction(self.sessions) as session:
            network = network_of(session)
            forecasts.reckon(session, [self.id], network, settings=self.settings, actor=TESTS, now=self.now - ago)

    def public(self, ago: timedelta) -> None:
        """Reckoned then, and once more when everybody may know."""
        self.reckon(ago)
        self.reckon(ago - timedelta(minutes=10))

    def rule(self, ruling: Ruling | None) -> None:
        with transaction(self.sessions) as session:
            forecasts.rule(session, self.id, "sewage_outfall", ruling, actor=self.moderator, now=self.now)

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


def referred(one: Alert) -> list[str]:
    """The identifiers of the messages it follows."""
    return [each.split(",")[1] for each in (one.references or "").split()]


def entries(client: FlaskClient) -> list[str]:
    return [one.link for one in feedparser.parse(client.get("/feeds/cap.xml").data).entries]


def test_it_is_nobodys_before_the_head_start_is_over(client: FlaskClient, upstream: Upstream) -> None:
    upstream.reckon(timedelta(minutes=1))
    assert client.get(f"/feeds/cap/{upstream.code}/downstream.xml").status_code == 404
    assert not [link for link in entries(client) if "downstream" in link]


def test_then_each_stretch_has_its_onset_a_change_updates_it_and_the_end_cancels_it(
    client: FlaskClient, upstream: Upstream
) -> None:
    upstream.public(timedelta(hours=3))
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
    assert referred(last) == [first.identifier, second.identifier]
    assert last.identifier not in {first.identifier, second.identifier}


def test_the_end_is_still_told_however_often_it_is_looked_at_since(client: FlaskClient, upstream: Upstream) -> None:
    upstream.public(timedelta(hours=3))
    first = alert(client, upstream.code)
    upstream.rule(Ruling(is_withheld=True, reason="水闸关了"))
    upstream.reckon(timedelta(hours=2))
    cancelled = alert(client, upstream.code)
    upstream.reckon(timedelta(hours=1))
    upstream.reckon(timedelta(minutes=1))
    last = alert(client, upstream.code)
    assert (cancelled.msg_type.value, last.msg_type.value) == ("Cancel", "Cancel")
    assert last.identifier == cancelled.identifier
    assert first.identifier in (last.references or "")
    assert f"http://localhost/feeds/cap/{upstream.code}/downstream.xml" in entries(client)


def test_what_is_warned_later_is_added_to_the_alert_after_its_own_head_start(
    client: FlaskClient, upstream: Upstream
) -> None:
    upstream.rule(Ruling(limit_km=12.0, reason="先告诉近的"))
    upstream.public(timedelta(hours=3))
    first = alert(client, upstream.code)
    upstream.rule(None)
    upstream.reckon(timedelta(minutes=1))
    assert len(alert(client, upstream.code).infos) == len(first.infos) == 1
    with transaction(upstream.sessions) as session:  # its head start goes by
        session.execute(text("UPDATE downstream_reach SET public_at = public_at - interval '9 min 10 s'"))
        session.execute(text("UPDATE downstream_forecast SET made_at = made_at - interval '9 min 10 s'"))
    upstream.reckon(timedelta(0))
    second = alert(client, upstream.code)
    assert (second.msg_type.value, len(second.infos)) == ("Update", 3)
    assert second.identifier != first.identifier
    assert first.identifier in (second.references or "")


def test_between_its_end_and_its_return_to_everybody_it_is_still_cancelled(
    client: FlaskClient, upstream: Upstream
) -> None:
    upstream.public(timedelta(hours=3))
    first = alert(client, upstream.code)
    upstream.rule(Ruling(is_withheld=True, reason="水闸关了"))
    upstream.reckon(timedelta(hours=2))
    cancelled = alert(client, upstream.code)
    upstream.rule(None)
    upstream.reckon(timedelta(minutes=1))
    between = alert(client, upstream.code)
    assert (between.identifier, between.msg_type.value) == (cancelled.identifier, "Cancel")
    with transaction(upstream.sessions) as session:  # its new head start goes by
        for column in ("downstream_reach SET public_at = public_at", "downstream_forecast SET public_at = public_at"):
            session.execute(text(f"UPDATE {column} - interval '9 min 10 s'"))
        session.execute(text("UPDATE downstream_forecast SET made_at = made_at - interval '9 min 10 s',"
                             " state_since = state_since - interval '9 min 10 s'"))  # fmt: skip
    upstream.reckon(timedelta(0))
    again = alert(client, upstream.code)
    assert (again.msg_type.value, len(again.infos)) == ("Update", 3)
    assert referred(again) == [first.identifier, cancelled.identifier]
    upstream.grade(1)
    upstream.reckon(timedelta(seconds=-5))
    last = alert(client, upstream.code)
    assert last.msg_type.value == "Cancel"
    assert referred(last) == [first.identifier, cancelled.identifier, again.identifier]
    upstream.reckon(timedelta(seconds=-9))
    assert alert(client, upstream.code).identifier == last.identifier


def test_one_whose_incident_is_none_any_more_is_cancelled_without_a_word_of_what_it_was(
    client: FlaskClient, upstream: Upstream
) -> None:
    upstream.public(timedelta(hours=3))
    first = alert(client, upstream.code)
    with transaction(upstream.sessions) as session:
        session.execute(text("UPDATE incident SET state = 'retracted', closed_at = now()"))
    at_once = alert(client, upstream.code)  # before the job has been at it
    assert (at_once.msg_type.value, len(at_once.infos), referred(at_once)) == ("Cancel", 0, [first.identifier])
    upstream.reckon(timedelta(minutes=1))
    last = alert(client, upstream.code)
    assert (last.msg_type.value, len(last.infos), referred(last)) == ("Cancel", 0, [first.identifier])
    [entry] = [one for one in feedparser.parse(client.get("/feeds/cap.xml").data).entries if "downstream" in one.link]
    assert (entry.title, "where" in entry) == (f"下游预警 · {upstream.code}（已结束）", False)
    assert "试河" not in client.get("/feeds/cap.xml").text


def test_another_kind_is_another_message(client: FlaskClient, upstream: Upstream) -> None:
    upstream.public(timedelta(hours=3))
    first = alert(client, upstream.code)
    with transaction(upstream.sessions) as session:
        session.execute(text("UPDATE incident SET kind = 'oil_slick'"))
    assert alert(client, upstream.code).infos[0].event == first.infos[0].event
    upstream.reckon(timedelta(hours=1))
    second = alert(client, upstream.code)
    assert (second.msg_type.value, second.identifier != first.identifier) == ("Update", True)
    assert second.infos[0].event != first.infos[0].event


def test_a_merging_that_may_still_be_undone_ends_nothing_yet(client: FlaskClient, upstream: Upstream) -> None:
    upstream.public(timedelta(hours=3))
    first = alert(client, upstream.code)
    with transaction(upstream.sessions) as session:
        into, _report = open_on(
            session,
            upstream.reach_id,
            upstream.moderator,
            now=upstream.now,
            at=(LON + 0.02, LAT),
            severity=Severity.GENERAL,
        )
        session.flush()
        merged = text("UPDATE incident SET state = 'merged', closed_at = now(), merged_into_id = :into WHERE id = :id")
        session.execute(merged, {"into": into.id, "id": upstream.id})
    assert alert(client, upstream.code).identifier == first.identifier
    upstream.reckon(timedelta(minutes=1))
    last = alert(client, upstream.code)
    assert (last.msg_type.value, referred(last)) == ("Cancel", [first.identifier])
    titles = [one.title for one in feedparser.parse(client.get("/feeds/cap.xml").data).entries]
    assert [one for one in titles if "下游预警" in one] == [f"下游预警 · {upstream.code}（已结束）"]
