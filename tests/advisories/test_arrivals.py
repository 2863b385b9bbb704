"""Whether what was expected downstream came: what is asked, what is kept of the answer, and what is left of it."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.advisories.rows import STEP_DEG, River, add_chain, network_of
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator, add_waiting, count
from tests.reports.rows import LAT, LON
from waterwatch.advisories import arrivals, forecasts, goodness
from waterwatch.advisories.goodness import DISTANCES, FOUND, Check
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Conflict, Forbidden, Invalid, NotFound
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.reports import service as reports

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
SYSTEM = Actor.system("tests")


@pytest.fixture
def moderator(session: Session) -> Actor:
    return add_moderator(session, "甲", now=NOW)


@pytest.fixture
def river(session: Session) -> River:
    return add_chain(session, 3)


@pytest.fixture
def incident_id(session: Session, settings: Settings, moderator: Actor, river: River) -> uuid.UUID:
    """An orange incident on the first reach, whose forecast stands."""
    incident, _report = open_on(
        session, river.ids[0], moderator, now=NOW, at=(LON + 0.02, LAT), severity=Severity.MAJOR
    )
    forecasts.reckon(session, [incident.id], network_of(session), settings=settings, actor=SYSTEM, now=NOW)
    return incident.id


def seen(session: Session, river: River, at: datetime, *, observed_at: datetime | None = None) -> uuid.UUID:
    """A patrol on the second reach, received then."""
    place = (LON + 1.5 * STEP_DEG, LAT)
    return add_waiting(session, river.ids[1], now=at, at=place, kind="all_clear", observed_at=observed_at)


def window(session: Session, river: River) -> tuple[datetime, datetime]:
    row = session.execute(
        text("SELECT earliest_at, probable_at FROM downstream_reach WHERE feature_id = :id"),
        {"id": river.feature_ids[1]},
    ).one()
    return row.earliest_at, row.probable_at


def missed(session: Session) -> float | None:
    found: float | None = session.execute(text("SELECT missed_by_s FROM arrival_check")).scalar_one()
    return found


def test_a_report_in_the_window_came_in_time(
    session: Session, river: River, incident_id: uuid.UUID, moderator: Actor
) -> None:
    earliest, probable = window(session, river)
    at = earliest + (probable - earliest) / 2
    report_id = seen(session, river, at)
    [asked] = arrivals.asked_of(session, report_id)
    assert (asked.incident_id, asked.distance_km, asked.outcome) == (incident_id, 6.0, None)
    arrivals.judge(session, report_id, incident_id, "arrived", actor=moderator, now=at)
    assert missed(session) == 0.0


@pytest.mark.parametrize(("hours", "seconds"), [(-1, -3600.0), (1, 3600.0)])
def test_before_and_after_the_window_is_told_in_seconds(
    session: Session, river: River, incident_id: uuid.UUID, moderator: Actor, hours: int, seconds: float
) -> None:
    earliest, probable = window(session, river)
    at = (earliest if hours < 0 else probable) + timedelta(hours=hours)
    session.execute(text("UPDATE downstream_reach SET lapses_at = lapses_at + interval '2 h'"))
    report_id = seen(session, river, at)
    arrivals.judge(session, report_id, incident_id, "arrived", actor=moderator, now=at)
    assert missed(session) == seconds


def test_what_counts_is_when_it_was_seen_but_never_later_than_when_it_was_received(
    session: Session, river: River, incident_id: uuid.UUID, moderator: Actor
) -> None:
    _earliest, probable = window(session, river)
    for observed, expected in ((probable - timedelta(minutes=1), 0.0), (probable + timedelta(hours=9), 60.0)):
        at = probable + timedelta(minutes=1)
        report_id = seen(session, river, at, observed_at=observed)
        arrivals.judge(session, report_id, incident_id, "arrived", actor=moderator, now=at)
        assert missed(session) == expected
        arrivals.judge(session, report_id, incident_id, "unclear", actor=moderator, now=at)


def test_an_answer_is_corrected_with_the_window_of_then(
    session: Session, river: River, incident_id: uuid.UUID, moderator: Actor
) -> None:
    earliest, probable = window(session, river)
    report_id = seen(session, river, earliest)
    arrivals.judge(session, report_id, incident_id, "not_arrived", actor=moderator, now=earliest)
    assert missed(session) is None
    session.execute(text("UPDATE downstream_reach SET probable_at = NULL"))
    session.execute(text("UPDATE downstream_forecast SET state = 'ended'"))
    [asked] = arrivals.asked_of(session, report_id)
    assert (asked.window.probable, asked.outcome) == (probable, "not_arrived")
    arrivals.judge(session, report_id, incident_id, "arrived", actor=moderator, now=earliest + timedelta(days=9))
    assert missed(session) == 0.0
    assert count(session, "audit_entry", "action = 'downstream.checked'") == 2


def test_nothing_is_asked_where_nothing_stands_or_the_time_does_not_fit(
    session: Session, river: River, incident_id: uuid.UUID, moderator: Actor
) -> None:
    before = seen(session, river, NOW - timedelta(hours=5))
    elsewhere = add_waiting(session, river.ids[0], now=NOW, at=(LON + 0.02, LAT))
    here = seen(session, river, window(session, river)[0])
    too_late = seen(session, river, NOW + timedelta(days=9))
    assert [one.incident_id for one in arrivals.asked_of(session, here)] == [incident_id]
    for report_id in (before, elsewhere, too_late):
        assert arrivals.asked_of(session, report_id) == []
        with pytest.raises(Conflict) as caught:
            arrivals.judge(session, report_id, incident_id, "arrived", actor=moderator, now=NOW)
        assert caught.value.error_code == "nothing_expected"
    session.execute(text("UPDATE downstream_forecast SET state = 'withheld'"))
    assert arrivals.asked_of(session, here) == []


def test_only_a_person_judges_with_an_answer_of_the_list_a_report_there_is(
    session: Session, river: River, incident_id: uuid.UUID, moderator: Actor
) -> None:
    report_id = seen(session, river, window(session, river)[0])
    with pytest.raises(Forbidden):
        arrivals.judge(session, report_id, incident_id, "arrived", actor=SYSTEM, now=NOW)
    for answer, code in (("", "missing"), ("perhaps", "choice_unknown")):
        with pytest.raises(Invalid) as caught:
            arrivals.judge(session, report_id, incident_id, answer, actor=moderator, now=NOW)
        assert caught.value.errors == {"outcome": [code]}
    with pytest.raises(NotFound):
        arrivals.judge(session, new_id(), incident_id, "arrived", actor=moderator, now=NOW)


def test_what_was_found_goes_with_the_report_and_its_record_does_not_name_it(
    session: Session, river: River, incident_id: uuid.UUID, moderator: Actor
) -> None:
    at = window(session, river)[0]
    report_id = seen(session, river, at)
    arrivals.judge(session, report_id, incident_id, "arrived", actor=moderator, now=at)
    reports.withdraw(session, report_id, now=at)
    assert count(session, "arrival_check") == 0
    assert arrivals.asked_of(session, report_id) == []
    named = text("SELECT count(*) FROM audit_entry WHERE action = 'downstream.checked' AND subject_id = :id")
    assert session.execute(named, {"id": report_id}).scalar_one() == 0


MOMENTS = st.integers(0, 300 * 24).map(lambda hours: NOW + timedelta(hours=hours))
CHECKS = st.lists(
    st.builds(
        Check,
        st.sampled_from(["arrived", "not_arrived"]),
        st.none() | st.floats(-1e6, 1e6),
        st.floats(0, 200),
        st.none() | MOMENTS,
        MOMENTS,
    ),
    max_size=30,
)


@given(CHECKS)
def test_everything_that_was_found_is_counted_once_in_all_and_once_by_distance(found: list[Check]) -> None:
    whole, parts = goodness.tally(found), [part for _limits, part in goodness.by_distance(found)]
    assert sum(whole.found.values()) == whole.count == len(found)
    assert sum(part.count for part in parts) == len(found)
    assert [limits for limits, _part in goodness.by_distance(found)] == list(DISTANCES)


@given(CHECKS)
def test_what_anybody_may_have_is_rounded_and_no_month_stands_for_few(found: list[Check]) -> None:
    rows = goodness.anonymous(found)
    assert len(rows) == (len(found) if len(found) >= goodness.LEAST else 0)
    months = [row.month for row in rows if row.month]
    assert all(months.count(month) >= goodness.LEAST for month in months)
    assert all(row.distance_km % 10 == 0 and row.found in FOUND for row in rows)
