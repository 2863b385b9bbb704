"""After a rehearsal what was only rehearsed is told in earnest, and nothing is lost on who knows already."""

import uuid
from typing import Any

import pytest
from sqlalchemy import text

from tests.escalation.engine import Engine
from tests.escalation.rows import add_agency
from tests.escalation.test_again import forward_all
from tests.escalation.test_engine import TESTS, agency, forward, kind, now
from tests.escalation.test_levels import grade, remind
from tests.escalation.test_taken_back import withdraw
from tests.messaging.servers import Fickle, rude_server
from waterwatch.agencies import competence
from waterwatch.escalation import again, unheard_queries
from waterwatch.kernel.db import transaction

REHEARSAL = {"staging_mail": "ours@example.org"}


@pytest.fixture
def rehearsed(engine_of: Engine) -> tuple[Engine, uuid.UUID]:
    """An agency, one case of which was rehearsed."""
    agency_id = agency(engine_of, "a@x.example")
    forward(engine_of)
    with rude_server(Fickle(kind)) as port:
        engine_of.at(port, **REHEARSAL).run()
    assert [case.state for case in engine_of.cases()] == ["queued"]
    return engine_of, agency_id


def by(engine: Engine) -> dict[str, Any]:
    return {"settings": engine.settings, "actor": TESTS, "now": now()}


def test_a_lead_finds_a_case_that_was_only_rehearsed_and_has_it_told_in_earnest_once(
    rehearsed: tuple[Engine, uuid.UUID],
) -> None:
    engine, _agency_id = rehearsed
    (case,) = engine.cases()
    gone = []
    for _ in range(2):
        with transaction(engine.sessions) as session:
            gone.append((len(unheard_queries.open_no_contact(session)), again.forward(session, case.id, **by(engine))))
    server = Fickle(kind)
    with rude_server(server) as port:
        engine.at(port).run()
    assert gone == [(1, True), (0, False)]
    assert [copy.recipient for copy in server.copies] == ["a@x.example"]
    assert [case.state for case in engine.cases()] == ["delivered"]


def test_a_case_of_an_agency_that_is_not_competent_itself_is_told_in_earnest_too(
    rehearsed: tuple[Engine, uuid.UUID],
) -> None:
    engine, _agency_id = rehearsed
    (case,) = engine.cases()
    with transaction(engine.sessions) as session:
        session.execute(text("DELETE FROM competence"))
        add_agency(session, "武汉市水务局", ["b@x.example"])
    with transaction(engine.sessions) as session:
        assert again.forward(session, case.id, **by(engine))
    assert [(one.address, one.state) for one in engine.deliveries()] == [
        ("a@x.example", "cancelled"),
        ("b@x.example", "pending"),
        ("a@x.example", "pending"),
    ]


def test_a_changed_rule_has_what_was_only_rehearsed_told(rehearsed: tuple[Engine, uuid.UUID]) -> None:
    engine, _agency_id = rehearsed
    with transaction(engine.sessions) as session:
        competence.say_changed(session, None, now=now())
    assert forward_all(engine) == 1
    assert [one.state for one in engine.deliveries()] == ["cancelled", "pending"]


@pytest.mark.parametrize("says", ["reminder", "case", "withdrawn"])
def test_a_further_letter_is_rehearsed_once_and_goes_when_it_is_in_earnest_again(engine_of: Engine, says: str) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    server = Fickle(lambda recipient, nth: "450" if (recipient, nth) == ("a@x.example", 2) else "kind")
    with rude_server(server) as port:
        engine, rehearsal = engine_of.at(port), engine_of.at(port, **REHEARSAL)
        engine.run()
        if says == "reminder":
            remind(engine)
        elif says == "case":
            grade(engine, incident_id, 4)
        else:
            withdraw(engine, incident_id)
        for _ in range(8):  # four days, longer than a letter is tried
            rehearsal.run()
            engine.pass_time(12)
        further = engine.deliveries()[-1]
        assert (further.says, further.state, further.attempts) == (says, "pending", 0)
        assert engine.count("SELECT count(*) FROM audit_entry WHERE action = 'delivery.rehearsed'") == 1
        engine.run()  # put off: its time begins now
        engine.pass_time(1)
        engine.run()
    assert [copy.recipient for copy in server.copies] == ["a@x.example", "ours@example.org", "a@x.example"]
    assert [(one.says, one.state) for one in engine_of.deliveries()] == [("case", "sent"), (says, "sent")]


def test_a_digest_of_which_some_was_told_in_earnest_is_rehearsed_once_and_that_goes_later(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    told = forward(engine_of)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine, rehearsal = engine_of.at(port), engine_of.at(port, **REHEARSAL)
        engine.run()
        for _ in range(11):  # more than go one by one
            forward(engine_of, severity=2)
        grade(engine, told, 3)
        for _ in range(3):
            rehearsal.run()
            engine.pass_time(0.3)
        assert sorted(one.state for one in engine.deliveries()) == ["cancelled"] * 11 + ["pending", "sent"]
        rehearsals = [copy.recipient for copy in server.copies].count("ours@example.org")
        engine.run()
    assert rehearsals == 1
    assert server.copies[-1].recipient == "a@x.example"
    assert sorted(one.state for one in engine_of.deliveries()) == ["cancelled"] * 11 + ["sent", "sent"]
