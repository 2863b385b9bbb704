"""By which ways a warning goes: an order of work is the last of them, and a rehearsal is one rehearsal."""

import json
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.escalation.engine import Engine
from tests.escalation.rows import add_agency, insert
from tests.escalation.test_warning_letters import NOW, follow, happen, kind_to_all
from tests.escalation.test_warnings import LOWER
from tests.messaging.peers import http_peer, says
from tests.messaging.servers import Fickle, rude_server
from waterwatch.casework import incoming, queries
from waterwatch.kernel.db import transaction

HOUR = timedelta(hours=1)
REHEARSAL = {"staging_mail": "ours@example.org"}


def add_way(session: Session, agency_id: uuid.UUID, channel: str, address: str, position: int, settings: str) -> None:
    insert(session, "agency_contact", agency_id=agency_id, channel=channel, address=address, position=position,
           settings=settings)  # fmt: skip


def add_open311(session: Session, agency_id: uuid.UUID, url: str) -> None:
    add_way(session, agency_id, "open311", url, 0, json.dumps({"services": {"other": "w1"}}))


def grade(engine: Engine, severity: int) -> None:
    with transaction(engine.sessions) as session:
        session.execute(text("UPDATE incident SET severity = :s, graded_severity = :s"), {"s": severity})


def ways(engine: Engine) -> list[tuple[str, str, str]]:
    return [(one.channel, one.says, one.state) for one in engine.deliveries()]


@pytest.mark.parametrize("channels_in", ["parallel", "order"])
def test_it_opens_no_order_of_work_while_there_is_another_way(engine_of: Engine, channels_in: str) -> None:
    with transaction(engine_of.sessions) as session:
        agency_id = add_agency(session, "下游局", [], area=LOWER)
        add_open311(session, agency_id, "https://city.example/open311")
        for nth, address in enumerate(("a@x.example", "b@x.example"), start=1):
            add_way(session, agency_id, "email", address, nth, "{}")
        session.execute(text("UPDATE agency SET channels_in = :how"), {"how": channels_in})
        incident_id = happen(session)
    follow(engine_of, incident_id)
    both = [("email", "warning", "pending")] * (1 if channels_in == "order" else 2)
    assert ways(engine_of) == both
    refused = Fickle(lambda recipient, _nth: "550" if recipient == "a@x.example" else "kind")
    with rude_server(refused) as port:
        engine_of.at(port).run()
    assert ways(engine_of) == [("email", "warning", "refused"), ("email", "warning", "sent")]


def test_where_every_other_way_fails_it_is_the_last_before_paper(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        agency_id = add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        add_open311(session, agency_id, "https://city.example/open311")
        add_way(session, agency_id, "post", "某市某路 1 号", 2, json.dumps({"addressee": "办公室"}))
        incident_id = happen(session)
    follow(engine_of, incident_id)
    with rude_server(Fickle(lambda _recipient, _nth: "550")) as port:
        engine_of.at(port).run()
    assert [channel for channel, *_more in ways(engine_of)] == ["email", "open311"]


def test_its_end_opens_no_second_order_of_work_and_a_closed_one_only_says_that_it_was_received(
    engine_of: Engine,
) -> None:
    created = says(json.dumps([{"service_request_id": "r-1"}]), status="201 Created")
    with http_peer(says("[]"), created) as peer:
        engine = engine_of.at(1, webhook_allow=f"127.0.0.1:{peer.port}")
        with transaction(engine.sessions) as session:
            add_open311(session, add_agency(session, "下游局", [], area=LOWER), peer.url)
            incident_id = happen(session)
        follow(engine, incident_id)
        engine.run()
        assert ways(engine) == [("open311", "warning", "sent")]
        [delivery] = engine.deliveries()
        with transaction(engine.sessions) as session:
            by = {"settings": engine.settings, "now": NOW}
            assert incoming.told_by_remote(session, delivery.id, "closed", "", **by) is None
            assert queries.held_answers(session) == []
        [case] = engine.cases()
        assert (case.state, case.closed_at, case.answered_at) == ("acknowledged", None, None)
        with transaction(engine.sessions) as session:
            assert incoming.told_by_remote(session, delivery.id, "closed", "水还没到", **by) is not None
            assert [one.kind for one in queries.held_answers(session)] == ["comment"]
        grade(engine, 1)
        follow(engine, incident_id)
        engine.run()
        assert ways(engine) == [("open311", "warning", "sent")]
        assert len([one for one in peer.heard if one.method == "POST"]) == 1
    [case] = engine.cases()
    assert case.state == "withdrawn"


def test_what_was_rehearsed_is_rehearsed_again_only_if_there_is_something_to_tell(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        incident_id = happen(session)
    server = Fickle(kind_to_all)
    with rude_server(server) as port:
        engine = engine_of.at(port, **REHEARSAL)
        rehearsed = []
        for severity in (3, 3, 4, 4, 3):
            grade(engine, severity)
            follow(engine, incident_id)
            engine.run()
            rehearsed.append(len(server.copies))
        assert rehearsed == [1, 1, 2, 2, 3]
        assert {one.state for one in engine.deliveries()} == {"cancelled"}
        earnest = engine_of.at(port)
        follow(earnest, incident_id)
        earnest.run()
    assert [copy.recipient for copy in server.copies] == ["ours@example.org"] * 3 + ["a@x.example"]
    assert [case.state for case in engine_of.cases()] == ["delivered"]


def test_what_would_come_sooner_is_rehearsed_once_more(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "下游局", ["a@x.example"], area=LOWER)
        incident_id = happen(session)
    server = Fickle(kind_to_all)
    with rude_server(server) as port:
        engine = engine_of.at(port, **REHEARSAL)
        follow(engine, incident_id)
        engine.run()
        with transaction(engine.sessions) as session:
            session.execute(text("UPDATE case_stretch SET first_at = first_at + interval '2 hours'"))
        for _hour in range(2):
            follow(engine, incident_id)
            engine.run()
    assert len(server.copies) == 2
