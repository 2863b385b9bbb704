"""Which level an address was told of last, and what follows when it changes again."""

import uuid
from datetime import timedelta

from sqlalchemy import text

from tests.escalation.engine import Engine
from tests.escalation.test_engine import TESTS, agency, forward, kind, mails, now
from tests.messaging.servers import Fickle, rude_server
from waterwatch.escalation import service
from waterwatch.escalation.tables import Case
from waterwatch.kernel.db import transaction

Letters = list[tuple[str, str, int, int | None]]


def grade(
    engine: Engine, incident_id: uuid.UUID, severity: int, *, is_error: bool = False, wait: timedelta = timedelta(0)
) -> None:
    """Grade an incident; ``is_error``: what it was graded before was one. Its letters may be undone for ``wait``."""
    with transaction(engine.sessions) as session:
        values = {"id": incident_id, "severity": severity}
        session.execute(
            text("UPDATE incident SET severity = :severity, graded_severity = :severity WHERE id = :id"), values
        )
        at = now()
        service.escalate(
            session,
            incident_id,
            settings=engine.settings,
            actor=TESTS,
            now=at,
            tell_at=at + wait,
            is_correction=is_error,
        )


def remind(engine: Engine) -> None:
    with transaction(engine.sessions) as session:
        case = session.query(Case).one()
        service.queue_letter(session, case, says="reminder", settings=engine.settings, now=now())


def letters_of(engine: Engine) -> Letters:
    return [(one.says, one.state, one.severity, one.raised_from) for one in engine.deliveries()]


def test_a_red_that_comes_back_after_it_was_said_to_be_an_error_is_told_and_shortens_the_time(
    engine_of: Engine,
) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    server = Fickle(kind)
    with rude_server(server) as port:
        engine = engine_of.at(port)
        engine.run()
        grade(engine, incident_id, 4)
        engine.run()
        grade(engine, incident_id, 2, is_error=True)
        engine.run()
        grade(engine, incident_id, 4)
        engine.run()
    assert letters_of(engine_of) == [
        ("case", "sent", 2, None),
        ("case", "sent", 4, 2),
        ("lowered", "sent", 2, None),
        ("case", "sent", 4, 2),
    ]
    assert "上调" in str(mails(server)[-1]["Subject"])
    (case,) = engine_of.cases()
    assert case.acknowledge_by is not None
    assert case.acknowledge_by < now() + timedelta(hours=2, seconds=1)


def test_a_correction_nobody_has_tried_to_send_goes_no_more_once_it_is_none(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of, severity=4)
    with rude_server(Fickle(kind)) as port:
        engine = engine_of.at(port)
        engine.run()
        grade(engine, incident_id, 2, is_error=True)
        grade(engine, incident_id, 4)
        engine.run()
    assert letters_of(engine_of) == [("case", "sent", 4, None), ("lowered", "cancelled", 2, None)]


def test_a_correction_that_may_have_arrived_is_followed_by_the_rise(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of, severity=4)
    with rude_server(Fickle(lambda _recipient, nth: "450" if nth == 2 else "kind")) as port:
        engine = engine_of.at(port)
        engine.run()
        grade(engine, incident_id, 2, is_error=True)
        engine.run()
        grade(engine, incident_id, 4)
        engine.run()
    assert letters_of(engine_of) == [
        ("case", "sent", 4, None),
        ("lowered", "cancelled", 2, None),
        ("case", "sent", 4, 2),
    ]


def test_a_correction_to_less_than_was_told_waits_on_with_the_level_that_holds(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of, severity=4)
    with rude_server(Fickle(kind)) as port:
        engine = engine_of.at(port)
        engine.run()
        grade(engine, incident_id, 1, is_error=True)
        grade(engine, incident_id, 2)
    assert letters_of(engine_of) == [("case", "sent", 4, None), ("lowered", "pending", 2, None)]


def test_a_rise_that_was_undone_before_it_was_told_is_told_when_it_comes_again(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    with rude_server(Fickle(kind)) as port:
        engine = engine_of.at(port)
        engine.run()
        grade(engine, incident_id, 4, wait=timedelta(minutes=5))
        grade(engine, incident_id, 2, is_error=True)
        grade(engine, incident_id, 4)
        engine.run()
    assert letters_of(engine_of) == [("case", "sent", 2, None), ("case", "cancelled", 4, 2), ("case", "sent", 4, 2)]


def test_a_rise_is_told_by_a_letter_of_its_own_beside_a_reminder_that_waits(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    server = Fickle(lambda _recipient, nth: "450" if nth == 2 else "kind")
    with rude_server(server) as port:
        engine = engine_of.at(port)
        engine.run()
        remind(engine)
        engine.run()
        grade(engine, incident_id, 4)
        engine.run()
    assert letters_of(engine_of) == [
        ("case", "sent", 2, None),
        ("reminder", "pending", 2, None),
        ("case", "sent", 4, 2),
    ]
    (case,) = engine_of.cases()
    assert case.acknowledge_by is not None
    assert case.acknowledge_by < now() + timedelta(hours=2, seconds=1)


def test_a_rise_that_was_none_is_not_told_although_a_reminder_was_written_after_it(engine_of: Engine) -> None:
    agency(engine_of, "a@x.example")
    incident_id = forward(engine_of)
    with rude_server(Fickle(kind)) as port:
        engine = engine_of.at(port)
        engine.run()
        grade(engine, incident_id, 4, wait=timedelta(minutes=5))
        remind(engine)
        grade(engine, incident_id, 2, is_error=True)
    assert letters_of(engine_of) == [
        ("case", "sent", 2, None),
        ("case", "cancelled", 4, 2),
        ("reminder", "pending", 2, None),
    ]
