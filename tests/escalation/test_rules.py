from datetime import UTC, datetime

from hypothesis import strategies as st

from waterwatch.escalation import rules, tables

MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds are naive by contract


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_the_machines_know_exactly_the_states_the_tables_allow() -> None:
    assert rules.CASE.states == set(tables.CASE_STATES)
    assert rules.DELIVERY.states == set(tables.DELIVERY_STATES)


def test_pauses_of_the_transport_double_up_to_the_cap() -> None:
    assert [rules.transport_pause_s(n, 30.0) for n in range(1, 9)] == [1, 2, 4, 8, 15, 30, 30, 30]
    assert [rules.transport_pause_s(n, 5.0) for n in range(1, 6)] == [1, 2, 4, 5, 5]


def test_pauses_a_recipient_asks_for_grow_to_an_hour() -> None:
    assert [rules.deferral_pause_s(n) for n in range(1, 7)] == [60, 300, 900, 3600, 3600, 3600]


def test_a_mail_that_waits_for_its_pictures_goes_without_them_in_the_end() -> None:
    assert [rules.carries_pictures(n, "preparation_slow") for n in (1, 2, 3, 4)] == [True, True, False, False]
    assert rules.carries_pictures(9, "nobody_listens")


def test_a_graver_case_goes_first() -> None:
    assert sorted((1, 2, 3, 4), key=rules.priority) == [4, 3, 2, 1]
