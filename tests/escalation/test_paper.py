"""Paper is for agencies of which nothing else is known, or that nothing else reaches."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import add_agency, add_incident, insert
from tests.escalation.ways import TESTS
from waterwatch.escalation import deliveries, service
from waterwatch.escalation.channels import Failed
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings
from waterwatch.messaging.attempts import Failure

NOW = datetime.now(UTC)
MAIL, PAPER, HOOK = ("email", "a@wuhan.example"), ("post", "某路 1 号"), ("webhook", "https://hooks.example/in")


@pytest.fixture
def settings(make_settings: Any, database_url: str) -> Settings:
    made: Settings = make_settings(database_url=database_url)
    return made


def escalated(sessions: sessionmaker[Session], settings: Settings, *ways: tuple[str, str], order: str) -> uuid.UUID:
    """The case of an agency with these contacts."""
    with transaction(sessions) as session:
        agency_id = add_agency(session, "武汉局", [])
        session.execute(text("UPDATE agency SET channels_in = :order"), {"order": order})
        for position, (channel, address) in enumerate(ways):
            insert(session, "agency_contact", agency_id=agency_id, channel=channel, address=address, position=position)
        incident_id = add_incident(session, now=NOW)
        (case,) = service.escalate(session, incident_id, settings=settings, actor=TESTS, now=NOW)
        return case.id


def channels(sessions: sessionmaker[Session]) -> list[tuple[str, str]]:
    """The channel and state of each delivery, in order."""
    with transaction(sessions) as session:
        rows = session.execute(text("SELECT channel, state FROM delivery ORDER BY id"))
        return [(row.channel, row.state) for row in rows]


def refuse(sessions: sessionmaker[Session], settings: Settings, channel: str) -> None:
    """The delivery by a channel is refused for good."""
    with transaction(sessions) as session:
        delivery_id = session.execute(
            text("SELECT id FROM delivery WHERE channel = :channel"), {"channel": channel}
        ).scalar_one()
        claim = deliveries.claim_delivery(session, delivery_id, settings=settings, now=NOW)
        assert claim is not None
        outcome = Failed(Failure("refused", is_permanent=True))
        deliveries.record(session, [(claim, outcome)], settings=settings, now=NOW)


@pytest.mark.parametrize("order", ["parallel", "order"])
def test_an_agency_with_a_postal_address_alone_gets_paper(
    sessions: sessionmaker[Session], settings: Settings, order: str
) -> None:
    escalated(sessions, settings, PAPER, order=order)
    assert channels(sessions) == [("post", "pending")]


@pytest.mark.parametrize("order", ["parallel", "order"])
def test_paper_comes_last_wherever_it_stands_and_only_when_all_else_is_refused(
    sessions: sessionmaker[Session], settings: Settings, order: str
) -> None:
    escalated(sessions, settings, PAPER, MAIL, HOOK, order=order)
    assert "post" not in {channel for channel, _state in channels(sessions)}
    refuse(sessions, settings, "email")
    assert {state for channel, state in channels(sessions) if channel != "email"} == {"pending"}
    if order == "parallel":
        assert channels(sessions) == [("email", "refused"), ("webhook", "pending")]
        refuse(sessions, settings, "webhook")
        assert channels(sessions)[-1] == ("post", "pending")
    else:
        assert channels(sessions)[-1][0] in ("webhook", "post")
