import uuid
from datetime import UTC, datetime, time, timedelta

from hypothesis import given
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


@given(delivery=st.uuids(), attempt=st.integers(1, 10_000))
def test_jitter_is_at_most_a_tenth_and_the_same_each_time(delivery: uuid.UUID, attempt: int) -> None:
    assert 1 <= rules.jitter(delivery, attempt) <= 1.1
    assert rules.jitter(delivery, attempt) == rules.jitter(delivery, attempt)


def test_jitter_spreads_what_was_put_off_together() -> None:
    drawn = [rules.jitter(uuid.UUID(int=number), 1) for number in range(1000)]
    assert len(set(drawn)) == 1000
    assert 1.04 < sum(drawn) / 1000 < 1.06


@given(delivery=st.uuids(), deferrals=st.integers(1, 100), asked=st.none() | st.floats(-1e9, 1e9))
def test_pauses_keep_to_the_schedule_and_to_what_was_asked_up_to_an_hour(
    delivery: uuid.UUID, deferrals: int, asked: float | None
) -> None:
    pause_s = rules.retry_pause_s(delivery, deferrals, deferrals, asked)
    base_s = rules.deferral_pause_s(deferrals)
    assert base_s <= pause_s <= 1.1 * 3600
    assert pause_s >= min(asked or 0, 3600)


def test_a_server_that_is_away_for_three_days_is_asked_seventy_five_times() -> None:
    attempts, at_s = 1, 0.0
    while at_s < 72 * 3600:
        at_s += rules.deferral_pause_s(attempts)
        attempts += 1
    assert attempts == 76


@given(st.lists(st.booleans(), max_size=200))
def test_a_breaker_opens_at_the_fifth_failure_in_a_row_and_never_for_more_than_an_hour(answers: list[bool]) -> None:
    now, breaker = at("2026-05-20T10:30+08:00"), rules.Breaker()
    for is_answer in answers:
        now += timedelta(seconds=30)
        breaker = rules.Breaker() if is_answer else rules.after_failure(breaker, now=now)
        assert (breaker.open_until is None) == (breaker.failures < rules.BREAKER_FAILURES)
        if breaker.open_until is not None:
            assert breaker.open_until - now <= timedelta(hours=1)


def test_a_probe_that_fails_opens_a_breaker_for_twice_as_long() -> None:
    now, breaker = at("2026-05-20T10:30+08:00"), rules.Breaker()
    for _ in range(5):
        breaker = rules.after_failure(breaker, now=now)
    pauses = []
    for _ in range(8):
        assert breaker.open_until is not None
        pauses.append((breaker.open_until - now).total_seconds())
        now = breaker.open_until
        breaker = rules.after_failure(breaker, now=now)
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600]


@given(now=MOMENTS, hour=st.integers(0, 23), minute=st.integers(0, 59))
def test_a_digest_leaves_at_its_time_on_a_working_day_within_three_days(now: datetime, hour: int, minute: int) -> None:
    leaves = rules.next_digest(now, time(hour, minute)).astimezone(rules.CHINA_TIME)
    assert (leaves.hour, leaves.minute, leaves.weekday() < 5) == (hour, minute, True)
    assert timedelta(0) < leaves - now <= timedelta(days=3)


@given(upto=st.integers(0, 4), severity=st.integers(1, 4), says=st.sampled_from(tables.SAYS))
def test_no_red_is_ever_held_for_a_digest(upto: int, severity: int, says: str) -> None:
    is_held = rules.is_held_for_digest("email", severity, says, upto)
    assert not (is_held and severity == 4)
    assert is_held == (severity <= min(upto, 3) and says in ("case", "lowered", "reopened"))
    assert not rules.is_held_for_digest("webhook", severity, says, upto)
