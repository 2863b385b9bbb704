"""Agencies told one by one: a letter that only waits keeps the next contact from the case for so long only."""

from tests.escalation.conftest import engine_of
from tests.escalation.engine import Engine
from tests.escalation.test_engine import agency, forward, prefer
from workers import deadlines

__all__ = ["engine_of"]


def told(engine: Engine) -> list[tuple[str, str]]:
    return [(one.address, one.state) for one in engine.deliveries()]


def test_a_letter_nobody_could_try_lets_the_next_contact_go_beside_it_once(engine_of: Engine) -> None:
    agency(engine_of, "first@x.example", "second@x.example")
    prefer(engine_of, channels_in="order")
    forward(engine_of, severity=3)
    engine_of.pass_time(0.9)
    assert deadlines.pass_over_slow(engine_of.context) == 0
    engine_of.pass_time(0.2)
    assert deadlines.pass_over_slow(engine_of.context) == 1
    assert deadlines.pass_over_slow(engine_of.context) == 0
    assert told(engine_of) == [("first@x.example", "pending"), ("second@x.example", "pending")]


def test_nothing_is_passed_over_where_all_contacts_are_told_at_once(engine_of: Engine) -> None:
    agency(engine_of, "first@x.example")
    forward(engine_of, severity=4)
    engine_of.pass_time(5)
    assert engine_of.count("SELECT count(*) FROM delivery") == 1
    assert deadlines.pass_over_slow(engine_of.context) == 0
