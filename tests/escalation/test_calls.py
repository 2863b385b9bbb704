"""Letters by HTTP through the whole engine: claimed, handed over to peers good and bad, recorded."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from standardwebhooks import Webhook

from tests.escalation.rows import add_agency, add_incident, insert
from tests.escalation.ways import TESTS
from tests.messaging.city import API_KEY, City
from tests.messaging.peers import HttpPeer, Script, drops, hangs, http_peer, says
from waterwatch.agencies.tables import SEALED_FOR
from waterwatch.escalation import sending, service
from waterwatch.escalation.letters import TOPIC_CALL
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.outbox import Message
from waterwatch.kernel.sealing import seal_value
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.webhook import make_secret

NOW = datetime.now(UTC)
SECRET = make_secret()


class Forwarding:
    """An installation whose agencies' servers are peers of this test."""

    def __init__(self, sessions: sessionmaker[Session], make_settings: Any, database_url: str) -> None:
        self.sessions = sessions
        self.settings: Settings = make_settings(
            database_url=database_url, webhook_allow="127.0.0.1", channel_timeout_s=5
        )

    def agency(self, channel: str, address: str, settings: dict[str, Any] | None = None, secret: str = SECRET) -> None:
        with transaction(self.sessions) as session:
            contact_id = new_id()
            agency_id = add_agency(session, address[-8:], [])
            sealed = seal_value(self.settings, SEALED_FOR, contact_id, secret.encode())
            insert(session, "agency_contact", id=contact_id, agency_id=agency_id, channel=channel, address=address,
                   position=0, settings=json.dumps(settings or {}), sealed_secret=sealed)  # fmt: skip

    def escalate(self) -> uuid.UUID:
        with transaction(self.sessions) as session:
            incident_id = add_incident(session, now=NOW)
            service.escalate(session, incident_id, settings=self.settings, actor=TESTS, now=NOW)
            return incident_id

    def call(self) -> None:
        """One job: begins with the first row that is open, goes on with the others."""
        due = "SELECT id, lease_no, payload FROM outbox WHERE topic = :topic AND done_at IS NULL ORDER BY id LIMIT 1"
        with transaction(self.sessions) as session:
            session.execute(text("UPDATE outbox SET available_at = now() - interval '1 s', leased_until = NULL"))
            row = session.execute(text(due), {"topic": TOPIC_CALL}).one()
            leased = "UPDATE outbox SET leased_until = now() + interval '1 min' WHERE id = :id"
            session.execute(text(leased), {"id": row.id})
        context = JobContext(self.settings, self.sessions, ObjectStore(self.settings.objects_url))
        message = Message(row.id, row.lease_no, TOPIC_CALL, row.payload, 1, timedelta(), None, None)
        sending.call(context, message, go_on_s=30)

    def deliveries(self) -> dict[str, tuple[str, str | None, str]]:
        """By address: state, last error, state of the case."""
        rows = """SELECT d.address, d.state, d.last_error, c.state AS case_state
                  FROM delivery d JOIN escalation_case c ON c.id = d.case_id"""
        with transaction(self.sessions) as session:
            return {row.address: (row.state, row.last_error, row.case_state) for row in session.execute(text(rows))}


@pytest.fixture
def forwarding(sessions: sessionmaker[Session], make_settings: Any, database_url: str) -> Forwarding:
    return Forwarding(sessions, make_settings, database_url)


def test_a_webhook_a_city_and_those_that_misbehave_each_get_what_is_theirs(forwarding: Forwarding) -> None:
    city = City()
    bad: tuple[tuple[Script, str], ...] = (
        (says(status="410 Gone"), "refused"),
        (says(status="302 Found", headers="Location: http://169.254.169.254/\r\n"), "refused"),
        (says(status="503 Busy", headers="Retry-After: 60\r\n"), "pending"),
        (drops, "pending"),
        (hangs, "pending"),
    )
    with http_peer(says(status="200 OK")) as good, http_peer(city) as town:
        forwarding.agency("webhook", f"{good.url}/hook")
        forwarding.agency("open311", f"{town.url}/v2", {"services": {"other": "other"}}, API_KEY)
        peers: list[tuple[HttpPeer, str]] = []
        contexts = [http_peer(script) for script, _state in bad]
        try:
            for context, (_script, state) in zip(contexts, bad, strict=True):
                peer = context.__enter__()
                peers.append((peer, state))
                forwarding.agency("webhook", f"{peer.url}/hook")
            forwarding.escalate()
            forwarding.call()
        finally:
            for context in contexts[: len(peers)]:
                context.__exit__(None, None, None)
    found = forwarding.deliveries()
    assert found[f"{good.url}/hook"] == ("sent", None, "delivered")
    assert found[f"{town.url}/v2"] == ("sent", None, "delivered")
    assert [found[f"{peer.url}/hook"][0] for peer, _state in peers] == [state for _peer, state in peers]
    (request,) = good.heard
    assert Webhook(SECRET).verify(request.body, request.headers)["type"] == "case.forwarded"
    assert len(city.requests) == 1
    for peer, state in peers:
        assert len({heard.headers["webhook-id"] for heard in peer.heard}) == 1
        assert found[f"{peer.url}/hook"][2] == ("dead" if state == "refused" else "queued")


def test_a_letter_that_waits_for_the_host_before_is_not_sent_with_the_secret_of_the_one_now(
    forwarding: Forwarding,
) -> None:
    with http_peer(says()) as former, http_peer(says()) as present:
        forwarding.agency("open311", f"{former.url}/v2", {"services": {"other": "other"}}, API_KEY)
        forwarding.escalate()
        with transaction(forwarding.sessions) as session:
            session.execute(text("UPDATE agency_contact SET address = :address"), {"address": f"{present.url}/v2"})
            waiting = str(session.execute(text("SELECT id FROM delivery")).scalar_one())
        forwarding.call()
        assert former.heard == []
        assert not any(waiting.encode() in request.body for request in present.heard)  # it gets a letter of its own
        assert [request.method for request in present.heard].count("POST") == 1
    assert forwarding.deliveries()[f"{former.url}/v2"][:2] == ("refused", "contact_removed")


def test_what_was_dropped_after_it_was_read_comes_again_under_one_id_and_then_never(forwarding: Forwarding) -> None:
    with http_peer(drops, says()) as peer:
        forwarding.agency("webhook", f"{peer.url}/hook")
        forwarding.escalate()
        forwarding.call()
        assert forwarding.deliveries()[f"{peer.url}/hook"][0] == "pending"
        forwarding.call()
        assert forwarding.deliveries()[f"{peer.url}/hook"] == ("sent", None, "delivered")
    assert len(peer.heard) == 2
    assert len({request.headers["webhook-id"] for request in peer.heard}) == 1


def test_a_city_that_took_it_and_dropped_its_answer_has_one_request(forwarding: Forwarding) -> None:
    city = City(drops_answers=1)
    with http_peer(city) as peer:
        forwarding.agency("open311", f"{peer.url}/v2", {"services": {"other": "other"}}, API_KEY)
        forwarding.escalate()
        forwarding.call()
        forwarding.call()
    assert forwarding.deliveries()[f"{peer.url}/v2"] == ("sent", None, "delivered")
    assert len(city.requests) == 1
