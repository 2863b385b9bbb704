"""A case that reached nobody is forwarded again: by a lead, or once its agency can be reached otherwise."""

import uuid
from typing import Any

import pytest
from sqlalchemy import text

from tests.escalation.engine import Engine
from tests.escalation.rows import IN_NOWHERE, add_agency, add_incident
from tests.escalation.test_engine import TESTS, forward, kind, now
from tests.messaging.servers import Fickle, rude_server
from waterwatch.agencies import competence, upkeep
from waterwatch.agencies.competence import TOPIC_REACH_CHANGED, Rule
from waterwatch.agencies.upkeep import ContactFacts
from waterwatch.escalation import again, service
from waterwatch.kernel import outbox
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import Conflict


@pytest.fixture
def dead(engine_of: Engine) -> tuple[Engine, uuid.UUID]:
    """An agency whose only letter was refused."""
    with transaction(engine_of.sessions) as session:
        agency_id = add_agency(session, "武汉市生态环境局", ["wrong@x.example"])
    forward(engine_of)
    with rude_server(Fickle(lambda *_: "550")) as port:
        engine_of.at(port).run()
    assert [case.state for case in engine_of.cases()] == ["dead"]
    return engine_of, agency_id


def forward_all(engine: Engine) -> int:
    """Run the jobs that are ordered; how many there were."""
    with transaction(engine.sessions) as session:
        messages = outbox.take(session, TOPIC_REACH_CHANGED, limit=9, lease_s=30)
    for message in messages:
        again.forward_all(engine.context, message)
    return len(messages)


def told(engine: Engine) -> list[tuple[str, str]]:
    return [(one.address, one.state) for one in engine.deliveries()]


def by(engine: Engine) -> dict[str, Any]:
    return {"settings": engine.settings, "actor": TESTS, "now": now()}


def test_a_corrected_address_gets_the_case_that_was_dead(dead: tuple[Engine, uuid.UUID]) -> None:
    engine, _agency_id = dead
    with transaction(engine.sessions) as session:
        contact_id = session.execute(text("SELECT id FROM agency_contact")).scalar_one()
        upkeep.change_contact(session, contact_id, ContactFacts("email", "right@x.example"), **by(engine))
    assert forward_all(engine) == 1
    with rude_server(Fickle(kind)) as port:
        engine.at(port).run()
    assert told(engine) == [("wrong@x.example", "refused"), ("right@x.example", "sent")]
    assert [case.state for case in engine.cases()] == ["delivered"]


@pytest.mark.parametrize("change", ["taken_up", "added"])
def test_an_agency_without_contacts_gets_its_case_once_it_has_one(engine_of: Engine, change: str) -> None:
    with transaction(engine_of.sessions) as session:
        agency_id = add_agency(session, "武汉市生态环境局", ["duty@x.example"] if change == "taken_up" else [])
        session.execute(text("UPDATE agency_contact SET active = false"))
    forward(engine_of)
    assert [case.state for case in engine_of.cases()] == ["no_contact"]
    with transaction(engine_of.sessions) as session:
        if change == "taken_up":
            contact_id = session.execute(text("SELECT id FROM agency_contact")).scalar_one()
            upkeep.use_contact(session, contact_id, True, actor=TESTS, now=now())
        else:
            upkeep.add_contact(session, agency_id, ContactFacts("email", "duty@x.example"), **by(engine_of))
    forward_all(engine_of)
    assert told(engine_of) == [("duty@x.example", "pending")]


def test_a_rule_that_makes_somebody_competent_gives_them_the_case_nobody_had(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "武汉市生态环境局", ["duty@x.example"])
        session.execute(text("DELETE FROM competence"))
    forward(engine_of)
    with transaction(engine_of.sessions) as session:
        add_incident(session, now=now(), at=IN_NOWHERE)
        competence.set_rule(session, Rule("ecology_environment"), actor=TESTS, now=now())
    assert forward_all(engine_of) == 1
    assert told(engine_of) == [("duty@x.example", "pending")]
    assert [case.state for case in engine_of.cases()] == ["queued"]


def test_a_lead_has_it_tried_again_at_the_address_that_failed_once_and_not_twice(
    dead: tuple[Engine, uuid.UUID],
) -> None:
    engine, _agency_id = dead
    (case,) = engine.cases()
    gone = []
    for _ in range(2):
        with transaction(engine.sessions) as session:
            gone.append(again.forward(session, case.id, **by(engine)))
    assert gone == [True, False]
    assert told(engine) == [("wrong@x.example", "refused"), ("wrong@x.example", "pending")]


def test_a_case_that_was_handed_on_is_tried_again_too(dead: tuple[Engine, uuid.UUID]) -> None:
    engine, _agency_id = dead
    with transaction(engine.sessions) as session:
        session.execute(text("DELETE FROM competence"))
    (case,) = engine.cases()
    with transaction(engine.sessions) as session:
        assert again.forward(session, case.id, **by(engine))
    assert told(engine)[-1] == ("wrong@x.example", "pending")


def test_a_case_of_an_incident_that_has_ended_is_not_forwarded(dead: tuple[Engine, uuid.UUID]) -> None:
    engine, agency_id = dead
    (case,) = engine.cases()
    with transaction(engine.sessions) as session:
        session.execute(text("UPDATE incident SET state = 'verified_clean', closed_at = now()"))
        competence.say_changed(session, agency_id, now=now())
    with transaction(engine.sessions) as session, pytest.raises(Conflict):
        again.forward(session, case.id, **by(engine))
    forward_all(engine)
    assert told(engine) == [("wrong@x.example", "refused")]


def test_more_cases_than_one_job_forwards_are_left_to_a_further_one(
    engine_of: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "BATCH", 2)
    with transaction(engine_of.sessions) as session:
        agency_id = add_agency(session, "武汉市生态环境局", [])
        for _ in range(3):
            incident_id = add_incident(session, now=now())
            service.escalate(session, incident_id, settings=engine_of.settings, actor=TESTS, now=now())
        upkeep.add_contact(session, agency_id, ContactFacts("email", "duty@x.example"), **by(engine_of))
    assert forward_all(engine_of) == 1
    assert len(told(engine_of)) == 2
    assert forward_all(engine_of) == 1
    assert len(told(engine_of)) == 3


def change_address(engine: Engine, address: str) -> None:
    with transaction(engine.sessions) as session:
        contact_id = session.execute(text("SELECT id FROM agency_contact")).scalar_one()
        upkeep.change_contact(session, contact_id, ContactFacts("email", address), **by(engine))


@pytest.mark.parametrize("is_competent", [True, False])
@pytest.mark.parametrize("channels_in", ["parallel", "order"])
def test_a_corrected_address_gets_the_case_whose_letter_to_the_old_one_is_still_tried(
    engine_of: Engine, channels_in: str, is_competent: bool
) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "武汉市生态环境局", ["wrong@x.example"])
        session.execute(text("UPDATE agency SET channels_in = :channels_in"), {"channels_in": channels_in})
    forward(engine_of)
    with rude_server(Fickle(lambda *_: "450")) as port:
        engine_of.at(port).run()
    if not is_competent:  # it has the case by another's refusal
        with transaction(engine_of.sessions) as session:
            session.execute(text("DELETE FROM competence"))
    change_address(engine_of, "right@x.example")
    for _ in range(2):
        forward_all(engine_of)
    assert told(engine_of) == [("wrong@x.example", "pending"), ("right@x.example", "pending")]
    with rude_server(Fickle(kind)) as port:
        engine_of.at(port).run()
    assert [case.state for case in engine_of.cases() if case.agency_id is not None] == ["delivered"]


def test_an_address_taken_out_of_use_leaves_a_case_that_is_under_way_alone(engine_of: Engine) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "武汉市生态环境局", ["duty@x.example"])
    forward(engine_of)
    with transaction(engine_of.sessions) as session:
        contact_id = session.execute(text("SELECT id FROM agency_contact")).scalar_one()
        upkeep.use_contact(session, contact_id, False, actor=TESTS, now=now())
        competence.say_changed(session, engine_of.cases()[0].agency_id, now=now())
    forward_all(engine_of)
    assert [case.state for case in engine_of.cases()] == ["queued"]


def test_where_all_are_told_at_once_a_letter_that_fails_gives_way_to_a_contact_that_has_none(
    engine_of: Engine,
) -> None:
    with transaction(engine_of.sessions) as session:
        add_agency(session, "武汉市生态环境局", ["wrong@x.example"])
    forward(engine_of)
    with transaction(engine_of.sessions) as session:
        session.execute(
            text("INSERT INTO agency_contact (id, agency_id, channel, address, position)"
                 " SELECT gen_random_uuid(), id, 'email', 'right@x.example', 1 FROM agency")
        )  # fmt: skip
    with rude_server(Fickle(lambda recipient, _nth: "550" if recipient.startswith("wrong") else "kind")) as port:
        engine_of.at(port).run()
    assert told(engine_of) == [("wrong@x.example", "refused"), ("right@x.example", "sent")]
    assert [case.state for case in engine_of.cases()] == ["delivered"]
