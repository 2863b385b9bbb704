"""What gauges tell: every fault of every row named, the right reach found, the newest kept, forecasts reckoned anew."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.advisories.rows import River, add_chain, network_of
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator
from tests.reports.rows import LAT, LON
from waterwatch.advisories import forecasts, gauge_queries, gauges
from waterwatch.advisories.gauges import GaugeReport, ImportReadings
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings
from waterwatch.rosters.rules import SheetRefused

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
SYSTEM = Actor.system("tests")
HEADER = "lon,lat,discharge_cms,measured_at,source,feature_id"
AT_NOON = "2026-06-01T20:00:00+08:00"


def row(
    *,
    lon: object = LON + 0.02,
    lat: object = LAT,
    cms: object = 45,
    at: str = AT_NOON,
    source: str = "试站",
    of: object = "",
) -> str:
    return f"{lon},{lat},{cms},{at},{source},{of}"


def brought(session: Session, *rows: str, accept: bool = False, now: datetime = NOW) -> GaugeReport:
    session.flush()
    raw = "\n".join((HEADER, *rows)).encode()
    return gauges.import_readings(session, ImportReadings(raw, accept), actor=SYSTEM, now=now)


def kept(session: Session) -> list[tuple[int, float, datetime, str]]:
    found = session.execute(text("SELECT * FROM gauge_reading ORDER BY feature_id"))
    return [(one.feature_id, one.discharge_cms, one.measured_at, one.source) for one in found]


@pytest.fixture
def river(session: Session) -> River:
    return add_chain(session, 3)


def test_a_gauge_belongs_to_the_nearest_reach_whose_discharge_is_known(session: Session, river: River) -> None:
    add_chain(session, 1, dis_av_cms=None, name="无数", lat=LAT + 0.005)
    report = brought(session, row(lat=LAT + 0.006))

    [taken] = report.taken
    assert (taken.reach.feature_id, taken.reach.water, taken.outcome) == (river.feature_ids[0], "试河", "added")
    assert taken.reach.distance_m == pytest.approx(665, abs=3)
    assert kept(session) == [(river.feature_ids[0], 45.0, datetime(2026, 6, 1, 12, tzinfo=UTC), "试站")]


def test_the_reach_that_is_named_is_taken_though_another_is_nearer(session: Session, river: River) -> None:
    below = river.feature_ids[1]
    by_number = brought(session, row(lon="", lat="", of=below))
    assert [(one.reach.feature_id, one.reach.distance_m) for one in by_number.taken] == [(below, None)]
    beside = brought(session, row(lon=LON + 0.049, of=below, cms=46))
    assert [one.reach.feature_id for one in beside.taken] == [below]
    assert beside.taken[0].reach.distance_m == pytest.approx(96, abs=2)


def test_json_lines_are_read_as_well(session: Session, river: River) -> None:
    first = {"lon": LON + 0.02, "lat": LAT, "discharge_cms": 30.5, "measured_at": AT_NOON, "source": "试站"}
    second = first | {"feature_id": river.feature_ids[2], "lon": None, "lat": None}
    raw = "\ufeff" + "\n".join(json.dumps(one) for one in (first, second)) + "\r\n"
    report = gauges.import_readings(session, ImportReadings(raw.encode()), actor=SYSTEM, now=NOW)
    assert (report.rows, report.faults, len(report.taken)) == (2, [], 2)
    assert [one[:2] for one in kept(session)] == sorted((one, 30.5) for one in river.feature_ids[::2])


def test_the_newest_of_a_file_is_kept_and_never_an_older_one_over_it(session: Session, river: River) -> None:
    earlier = "2026-06-01T19:00:00+08:00"
    both = brought(session, row(at=earlier, cms=40), row(cms=45), row(at=earlier, cms=41))
    assert [one.outcome for one in both.taken] == ["older", "added", "older"]
    assert [one.outcome for one in brought(session, row(cms=45)).taken] == ["unchanged"]
    assert [one.outcome for one in brought(session, row(at=earlier, cms=50)).taken] == ["older"]
    newer = brought(session, row(at="2026-06-01T12:20:00Z", cms=60))
    assert [one.outcome for one in newer.taken] == ["changed"]
    assert [one[1] for one in kept(session)] == [60.0]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"cms": 0}, "discharge_unusable"),
        ({"cms": -3}, "discharge_unusable"),
        ({"cms": 1_000_000}, "discharge_unusable"),
        ({"cms": 3001}, "out_of_proportion"),
        ({"cms": 0.29}, "out_of_proportion"),
        ({"cms": "nan"}, "not_a_number"),
        ({"cms": "很多"}, "not_a_number"),
        ({"cms": ""}, "value_missing"),
        ({"lon": 181}, "place_unusable"),
        ({"lon": ""}, "value_missing"),
        ({"lat": LAT + 0.02}, "no_reach_near"),
        ({"at": ""}, "value_missing"),
        ({"at": "昨天"}, "time_unreadable"),
        ({"at": "2026-06-01T20:00:00"}, "time_without_zone"),
        ({"at": "2026-06-01T21:00:00+08:00"}, "time_unlikely"),
        ({"at": "0001-01-01T00:00:00+14:00"}, "time_unlikely"),
        ({"source": ""}, "value_missing"),
        ({"source": "站" * 201}, "source_unusable"),
        ({"source": "\x1b[31m"}, "source_unusable"),
        ({"of": "x"}, "reach_unknown"),
        ({"of": "99999999999999999"}, "reach_unknown"),
        ({"of": "9007199254740000"}, "reach_unknown"),
    ],
)
def test_what_no_river_carries_is_refused_and_nothing_kept(
    bad: dict[str, object], code: str, session: Session, river: River
) -> None:
    report = brought(session, row(), row(**bad))  # type: ignore[arg-type]
    assert [(fault.row, fault.code) for fault in report.faults] == [(2, code)]
    assert (report.is_written, kept(session)) == (False, [])
    accepted = brought(session, row(), row(**bad), accept=True)  # type: ignore[arg-type]
    assert (accepted.is_written, len(kept(session))) == (True, 1)


def test_a_reach_that_is_far_or_has_no_mean_discharge_is_refused(session: Session, river: River) -> None:
    dry = add_chain(session, 1, dis_av_cms=None, lat=LAT + 1)
    report = brought(session, row(of=river.feature_ids[2]), row(lon="", lat="", of=dry.feature_ids[0]))
    assert [(fault.row, fault.code) for fault in report.faults] == [(1, "far_from_reach"), (2, "no_mean_discharge")]


def test_a_clock_that_is_a_little_fast_is_put_right(session: Session, river: River) -> None:
    brought(session, row(at="2026-06-01T12:40:00Z"))
    assert [one[2] for one in kept(session)] == [NOW]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"lon,lat\n1,2", "column_missing"),
        ("lon,lat,discharge_cms,measured_at,source\n1,2,3,4,水文".encode("gb18030"), "encoding_unknown"),
        ('{"source": "水文"}'.encode("gb18030"), "encoding_unknown"),
        (b"", "column_missing"),
    ],
)
def test_a_file_of_something_else_is_refused(raw: bytes, code: str, session: Session) -> None:
    with pytest.raises(SheetRefused) as fault:
        gauges.import_readings(session, ImportReadings(raw), actor=SYSTEM, now=NOW)
    assert fault.value.code == code


@pytest.mark.parametrize(
    "line", ["{", '{"source": []}', "[1]", "{" * 100_000, '{"source": true}', '{"lon": ' + "9" * 5000 + "}", "5"]
)
def test_a_line_that_is_no_object_of_plain_values_is_named(line: str, session: Session) -> None:
    raw = '{"source": "a"}\n' + line
    report = gauges.import_readings(session, ImportReadings(raw.encode()), actor=SYSTEM, now=NOW)
    assert (2, "line_unreadable") in [(fault.row, fault.code) for fault in report.faults]
    assert not report.is_written


@given(st.dictionaries(st.sampled_from([*gauges.COLUMNS, "feature_id", "else"]), st.text(max_size=30)))
def test_no_row_whatever_it_holds_breaks_the_reading(given_row: dict[str, str]) -> None:
    made, faults = gauges.readings_of([given_row], now=NOW)
    assert bool(made) != bool(faults)


def test_a_reading_is_reckoned_with_until_it_is_old(session: Session, river: River, settings: Settings) -> None:
    brought(session, row(cms=60))
    flow = forecasts.flow_now(session, settings, now=NOW)
    assert dict(flow.gauges) == {river.feature_ids[0]: 2.0}
    later = NOW + timedelta(seconds=settings.gauge_fresh_s)
    assert forecasts.flow_now(session, settings, now=later).gauges == {}
    [gauge] = gauge_queries.gauges(session)
    assert (gauge.water, gauge.ratio, gauge.source) == ("试河", 2.0, "试站")


def test_forecasts_that_stand_are_ordered_anew_where_something_changed(
    session: Session, river: River, settings: Settings
) -> None:
    moderator = add_moderator(session, "甲", now=NOW)
    incident, _report = open_on(session, river.ids[0], moderator, now=NOW, at=(LON + 0.02, LAT))
    session.flush()
    network = network_of(session)
    forecasts.reckon(session, [incident.id], network, settings=settings, actor=SYSTEM, now=NOW)

    def ordered() -> list[uuid.UUID]:
        statement = text("SELECT payload ->> 'incident_id' FROM outbox WHERE topic = :topic AND available_at <= :now")
        values = {"topic": forecasts.TOPIC_FORECAST, "now": NOW}
        return [uuid.UUID(one) for one in session.execute(statement, values).scalars()]

    before = len(ordered())
    assert brought(session, row(cms=60)).ordered == 1
    assert ordered()[before:] == [incident.id]
    assert brought(session, row(cms=60)).ordered == 0
    windows = forecasts.reckon(session, [incident.id], network, settings=settings, actor=SYSTEM, now=NOW)
    assert [one.is_changed for one in windows] == [True]


def test_the_audit_tells_of_it_in_numbers_alone(session: Session, river: River) -> None:
    brought(session, row(), row(cms=-1), accept=True)
    found = session.execute(text("SELECT after FROM audit_entry WHERE action = 'gauges.imported'")).scalar_one()
    assert {name: found[name] for name in found if name != "sha256"} == {
        "added": 1, "changed": 0, "unchanged": 0, "older": 0, "refused": 1, "forecasts": 0,
    }  # fmt: skip
