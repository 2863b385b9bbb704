"""What an incident means below it, kept in rows: what is written, what is left, what ends."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.advisories.rows import River, add_chain, network_of
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator, add_waiting
from tests.reports.rows import LAT, LON
from waterwatch.advisories import arrivals, forecasts
from waterwatch.advisories import forecast_queries as queries
from waterwatch.advisories.rules import Ruling
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.errors import Invalid
from waterwatch.kernel.settings import Settings

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
SYSTEM = Actor.system("tests")
SOON = timedelta(minutes=11)  # after which everybody may know

Reckon = Callable[..., list[forecasts.Reckoned]]


@pytest.fixture
def moderator(session: Session) -> Actor:
    return add_moderator(session, "甲", now=NOW)


@pytest.fixture
def reckon(session: Session, settings: Settings) -> Reckon:
    def run(*ids: uuid.UUID, now: datetime = NOW) -> list[forecasts.Reckoned]:
        session.flush()
        return forecasts.reckon(session, ids, network_of(session), settings=settings, actor=SYSTEM, now=now)

    return run


def opened(
    session: Session, river: River, actor: Actor, severity: Severity = Severity.MAJOR, **changes: object
) -> uuid.UUID:
    incident, _report = open_on(
        session,
        river.ids[0],
        actor,
        now=NOW,
        at=(LON + 0.02, LAT),
        severity=severity,
        **changes,  # type: ignore[arg-type]
    )
    session.flush()
    return incident.id


def approaching(session: Session, river: River) -> list[int | None]:
    rows = session.execute(
        text("SELECT water_feature_id AS id, level FROM advisory WHERE basis = 'approaching'"),
    )
    levels = {row.id: row.level for row in rows}
    return [levels.get(one) for one in river.ids]


def expected(
    session: Session, incident_id: uuid.UUID, now: datetime = NOW, *, is_public: bool = False
) -> list[queries.Expected]:
    return queries.expected_of_incident(session, incident_id, now=now, is_public=is_public)


def test_the_waters_below_are_warned_one_colour_lower_and_the_incidents_own_reach_is_not(
    session: Session, moderator: Actor, reckon: Reckon
) -> None:
    river = add_chain(session, 4)
    incident_id = opened(session, river, moderator)
    [found] = reckon(incident_id)
    assert (found.state, found.level, found.is_changed, found.is_new_level) == ("standing", Severity.LARGER, True, True)
    rows = expected(session, incident_id)
    assert [row.feature_id for row in rows] == list(river.feature_ids[1:])
    assert [row.distance_km for row in rows] == [6.0, 16.0, 26.0]
    assert [row.level for row in rows] == [2, 2, 2]


def test_departments_know_at_once_and_everybody_after_the_head_start(
    session: Session, moderator: Actor, reckon: Reckon
) -> None:
    river = add_chain(session, 3)
    incident_id = opened(session, river, moderator)
    reckon(incident_id)
    assert len(expected(session, incident_id)) == 2
    assert expected(session, incident_id, is_public=True) == []
    assert approaching(session, river) == [None, None, None]
    reckon(incident_id, now=NOW + SOON)
    assert len(expected(session, incident_id, NOW + SOON, is_public=True)) == 2
    assert approaching(session, river) == [None, 2, 2]


def test_a_second_run_writes_nothing(session: Session, moderator: Actor, reckon: Reckon) -> None:
    river = add_chain(session, 3)
    incident_id = opened(session, river, moderator)
    reckon(incident_id)
    [again] = reckon(incident_id)
    assert (again.is_changed, again.is_new_level) == (False, False)
    revision = session.execute(text("SELECT revision FROM downstream_forecast")).scalar_one()
    assert revision == 2


def test_the_window_begins_and_ends_at_hours_that_tell_nobody_when_the_photo_was_taken(
    session: Session, moderator: Actor, reckon: Reckon
) -> None:
    river = add_chain(session, 2)
    incident_id = opened(session, river, moderator)
    reckon(incident_id)
    header = session.execute(text("SELECT observed_from, observed_until FROM downstream_forecast")).one()
    assert header.observed_from == NOW.replace(hour=12, minute=0)
    assert header.observed_until == NOW.replace(hour=15, minute=0)


def test_a_milder_grade_ends_it_and_the_hatching_goes(session: Session, moderator: Actor, reckon: Reckon) -> None:
    river = add_chain(session, 3)
    incident_id = opened(session, river, moderator)
    reckon(incident_id)
    reckon(incident_id, now=NOW + SOON)
    session.execute(text("UPDATE incident SET severity = 1, graded_severity = 1 WHERE id = :id"), {"id": incident_id})
    [found] = reckon(incident_id, now=NOW + SOON)
    assert found.state == "ended"
    assert expected(session, incident_id) == []
    assert approaching(session, river) == [None, None, None]


@pytest.mark.parametrize("kind", ["floating_garbage", "encroachment", "sand_mining", "black_odorous"])
def test_what_the_river_does_not_carry_warns_nobody(
    session: Session, moderator: Actor, reckon: Reckon, kind: str
) -> None:
    river = add_chain(session, 3)
    incident_id = opened(session, river, moderator, kind=kind)
    assert reckon(incident_id) == []
    assert expected(session, incident_id) == []


def test_of_two_incidents_the_graver_warning_shows_until_it_ends(
    session: Session, moderator: Actor, reckon: Reckon
) -> None:
    river = add_chain(session, 4)
    mild = opened(session, river, moderator, Severity.LARGER)
    grave = opened(session, river, moderator, Severity.MAJOR)
    reckon(mild, grave)
    reckon(mild, grave, now=NOW + SOON)
    assert approaching(session, river) == [None, 2, 2, 2]
    session.execute(
        text("UPDATE incident SET state = 'expired', closed_at = :now WHERE id = :id"),
        {"id": grave, "now": NOW + SOON},
    )
    reckon(grave, now=NOW + SOON)
    assert approaching(session, river) == [None, 1, 1, 1]


def test_without_discharges_the_way_is_told_and_no_time(session: Session, moderator: Actor, reckon: Reckon) -> None:
    river = add_chain(session, 3, dis_av_cms=None, upland_skm=None)
    incident_id = opened(session, river, moderator)
    reckon(incident_id)
    rows = expected(session, incident_id)
    assert [(row.distance_km, row.window.earliest, row.window.probable) for row in rows] == [
        (6.0, None, None), (16.0, None, None)
    ]  # fmt: skip
    assert session.execute(text("SELECT is_timed FROM downstream_forecast")).scalar_one() is False


def test_a_lake_stops_the_clock(session: Session, moderator: Actor, reckon: Reckon) -> None:
    river = add_chain(session, 4, lakes=[2], is_reservoir=True)
    incident_id = opened(session, river, moderator)
    reckon(incident_id)
    rows = expected(session, incident_id)
    timed = [
        (row.is_lake, row.is_dammed, row.window.earliest is not None, row.window.probable is not None) for row in rows
    ]
    assert sorted(timed) == [
        (False, False, True, False),  # below the lake: not before
        (False, False, True, True),  # the reach above it, and
        (False, False, True, True),  # the one in it, as it is entered
        (True, True, True, True),  # the lake
    ]


def test_a_ruling_withholds_or_shortens_and_can_be_taken_back(
    session: Session, moderator: Actor, reckon: Reckon
) -> None:
    river = add_chain(session, 5)
    incident_id = opened(session, river, moderator)
    reckon(incident_id)

    def rule(ruling: Ruling | None) -> None:
        forecasts.rule(session, incident_id, "sewage_outfall", ruling, actor=moderator, now=NOW)

    rule(Ruling(limit_km=20, reason="下游有水闸，已经关闭"))
    reckon(incident_id)
    assert [row.distance_km for row in expected(session, incident_id)] == [6.0, 16.0]
    rule(Ruling(is_withheld=True, reason="只是一次演练"))
    assert [one.state for one in reckon(incident_id)] == ["withheld"]
    assert expected(session, incident_id) == []
    rule(None)
    assert [one.state for one in reckon(incident_id)] == ["standing"]
    assert len(expected(session, incident_id)) == 4


@pytest.mark.parametrize(
    ("ruling", "field", "code"),
    [
        (Ruling(is_withheld=True, reason="  "), "reason", "downstream_reason"),
        (Ruling(limit_km=0, reason="因为太远"), "limit_km", "downstream_limit"),
        (Ruling(limit_km=201, reason="因为太近"), "limit_km", "downstream_limit"),
        (Ruling(reason="什么也没有决定"), "limit_km", "downstream_limit"),
    ],
)
def test_a_ruling_that_decides_nothing_is_refused(
    session: Session, moderator: Actor, ruling: Ruling, field: str, code: str
) -> None:
    with pytest.raises(Invalid) as caught:
        forecasts.rule(session, uuid.uuid4(), "sewage_outfall", ruling, actor=moderator, now=NOW)
    assert caught.value.errors == {field: [code]}


def test_windows_lapse_when_what_was_seen_last_has_passed(session: Session, moderator: Actor, reckon: Reckon) -> None:
    river = add_chain(session, 4)
    incident_id = opened(session, river, moderator)
    reckon(incident_id)
    rows = expected(session, incident_id)
    assert rows[0].lapses_at < rows[-1].lapses_at
    later = rows[0].lapses_at + timedelta(minutes=1)
    reckon(incident_id, now=later)
    assert [row.feature_id for row in expected(session, incident_id, later)] == list(river.feature_ids[2:])
    assert [one.state for one in reckon(incident_id, now=rows[-1].lapses_at)] == ["ended"]


def test_a_window_that_has_lapsed_still_judges_a_report_that_was_taken_in_it(
    session: Session, moderator: Actor, reckon: Reckon
) -> None:
    river = add_chain(session, 3)
    incident_id = opened(session, river, moderator)
    reckon(incident_id)
    nearest, farthest = expected(session, incident_id)
    seen_at = nearest.window.probable
    assert seen_at is not None
    seen_at += timedelta(minutes=30)
    report_id = add_waiting(session, river.ids[1], now=seen_at, at=(LON + 0.07, LAT))
    reckon(incident_id, now=farthest.lapses_at + timedelta(minutes=1))
    assert expected(session, incident_id, farthest.lapses_at) == []
    [asked] = arrivals.asked_of(session, report_id)
    assert (asked.window, asked.distance_km) == (nearest.window, nearest.distance_km)
    arrivals.judge(session, report_id, incident_id, "arrived", actor=moderator, now=farthest.lapses_at)
    assert session.execute(text("SELECT missed_by_s FROM arrival_check")).scalar_one() == 1800
    reckon(incident_id, now=farthest.lapses_at + queries.PAST_KEPT + timedelta(days=1))
    assert session.execute(text("SELECT count(*) FROM downstream_past")).scalar_one() == 0


def test_a_lake_is_warned_for_as_long_as_nobody_knows_how_long_it_holds_the_water(
    session: Session, moderator: Actor, reckon: Reckon
) -> None:
    river = add_chain(session, 3, lakes=[0, 2])
    incident_id = opened(session, river, moderator)
    reckon(incident_id)
    until = NOW.replace(hour=15, minute=0)
    lakes = [row for row in expected(session, incident_id) if row.is_lake]
    assert [row.distance_km for row in lakes] == [0.0, 16.0]
    assert all(row.lapses_at >= until + timedelta(hours=72) for row in lakes)


def test_a_gauge_changes_the_windows_below_it(session: Session, moderator: Actor, reckon: Reckon) -> None:
    river = add_chain(session, 3)
    incident_id = opened(session, river, moderator)
    reckon(incident_id)
    before = expected(session, incident_id)[-1].window.probable
    session.execute(
        text("INSERT INTO gauge_reading VALUES (:id, 120, :now, '水文站')"),
        {"id": river.feature_ids[0], "now": NOW - timedelta(hours=1)},
    )
    reckon(incident_id)
    row = expected(session, incident_id)[-1]
    assert row.flow_ratio == pytest.approx(4.0)
    assert before is not None
    assert row.window.probable is not None
    assert row.window.probable < before
