"""What a forecast says as an alert, and how its reaches become stretches: exact, and for whatever a walk gives."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from cap_tools.models import Alert as ReadAlert
from hypothesis import given
from hypothesis import strategies as st
from xsdata.formats.dataclass.parsers import XmlParser

from waterwatch.advisories import telling
from waterwatch.advisories.rules import Window, passage_h, unit_peak_mg_per_l
from waterwatch.advisories.segments import MOST, Segment, WarnedReach, merge
from waterwatch.alerts.rules import Alert, cap_xml

NOW = datetime(2026, 6, 1, 4, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
RIVER, LAKE = uuid.UUID(int=1), uuid.UUID(int=2)
RING = ((114.0, 30.0), (114.1, 30.0), (114.1, 30.1), (114.0, 30.0))


def reach(
    nth: int, km: float, *, body: uuid.UUID = RIVER, hours: float | None = None, lake: bool = False
) -> WarnedReach:
    window = Window(None, None) if hours is None else Window(NOW + hours * HOUR, NOW + (hours + 3) * HOUR)
    return WarnedReach(
        feature_id=nth + 1,
        nth=nth,
        body_id=body,
        water="试河",
        distance_km=km,
        until_km=km + 4,
        window=window,
        lapses_at=NOW + timedelta(hours=72 + nth),
        unit_peak=200.0 / (nth + 1),
        passage_s=3600.0 * (nth + 1),
        is_lake=lake,
        is_dammed=lake,
    )


def segment(hours: float | None = 2.0, **changes: object) -> Segment:
    window = Window(None, None) if hours is None else Window(NOW + hours * HOUR, NOW + (hours + 3) * HOUR)
    facts: dict[str, object] = {
        "water": "试河", "feature_ids": (1, 2), "from_km": 6.0, "until_km": 16.0, "window": window,
        "lapses_at": NOW + 72 * HOUR, "unit_peak": 111.0, "passage_s": 5 * 3600.0,
        "is_lake": False, "is_dammed": False, "rings": (RING,),
    }  # fmt: skip
    return Segment(**(facts | changes))  # type: ignore[arg-type]


def read(*segments: Segment, kind: str = "sewage_outfall") -> ReadAlert:
    infos = telling.infos_of(segments, kind, 2, "7KMQ-2T9X", now=NOW, web="https://x.example/i/1", instruction=None)
    return XmlParser().from_bytes(cap_xml(Alert("one", "x.example", NOW, infos)), ReadAlert)


def test_reaches_of_one_river_within_ten_kilometres_are_one_stretch_of_the_first_ones_window() -> None:
    first, second = merge([reach(0, 1.0, hours=2), reach(1, 5.0, hours=4), reach(2, 11.0, hours=6)])
    assert (first.feature_ids, second.feature_ids) == ((1, 2), (3,))
    assert (first.from_km, first.until_km) == (1.0, 9.0)
    assert first.window == Window(NOW + 2 * HOUR, NOW + 5 * HOUR)
    assert first.lapses_at == NOW + 73 * HOUR
    assert (first.unit_peak, first.passage_s) == (200.0, 7200.0)


def test_a_lake_is_a_stretch_by_itself() -> None:
    found = merge([reach(0, 1.0, hours=2), reach(1, 5.0, hours=4, body=LAKE, lake=True)])
    assert [(one.is_lake, one.is_dammed) for one in found] == [(False, False), (True, True)]


@given(
    st.lists(
        st.tuples(st.floats(0, 200), st.integers(0, 40), st.one_of(st.none(), st.floats(0, 72)), st.booleans()),
        max_size=120,
    )
)
def test_every_reach_is_in_exactly_one_of_twelve_stretches(rows: list[tuple[float, int, float | None, bool]]) -> None:
    reaches = [
        reach(nth, km, body=uuid.UUID(int=body), hours=hours, lake=lake)
        for nth, (km, body, hours, lake) in enumerate(sorted(rows, key=lambda row: row[0]))
    ]
    found = merge(reaches)
    assert len(found) <= MOST
    assert sorted(one for each in found for one in each.feature_ids) == [one.feature_id for one in reaches]
    for each in found:
        own = [one for one in reaches if one.feature_id in each.feature_ids]
        known = [one.window.earliest for one in own if one.window.earliest is not None]
        assert each.window.earliest == min(known, default=None)
        assert each.lapses_at == max(one.lapses_at for one in own)
        assert each.from_km <= each.until_km


def test_each_stretch_is_an_info_with_its_onset_and_its_outline_latitude_first() -> None:
    alert = read(segment(2.0), segment(30.0, water="下河"))
    soon, later = alert.infos
    assert (soon.urgency.value, later.urgency.value) == ("Expected", "Future")
    assert (soon.certainty.value, soon.severity.value) == ("Possible", "Moderate")
    assert [one.value for one in soon.response_types] == ["Monitor"]
    assert soon.areas[0].polygons == ["30,114 30,114.1 30.1,114.1 30,114"]
    assert soon.onset is not None
    assert soon.onset.to_datetime() == NOW + 2 * HOUR
    assert soon.event == "污水直排（下游预警）"
    assert "6月1日 14:00–17:00" in (soon.description or "")
    assert "不是政府发布的预警" in (soon.description or "")
    assert later.headline == "下河：污水直排可能到达（下游预警，黄色·较大）"


def test_without_a_time_there_is_no_onset_and_the_words_say_so() -> None:
    [info] = read(segment(None)).infos
    assert (info.onset, info.urgency.value) == (None, "Unknown")
    assert "时间不详" in (info.description or "")
    assert "推算不出时间" in (info.description or "")


def test_a_stretch_without_an_outline_is_left_to_the_words() -> None:
    assert telling.infos_of([segment(rings=())], "oil_slick", 1, "c", now=NOW, web="w", instruction=None) == ()


def test_how_long_it_takes_to_pass_is_an_order_of_magnitude() -> None:
    assert [telling.passage_words(seconds) for seconds in (None, 600.0, 7200.0, 50_000.0, 200_000.0, 1e6)] == [
        None, "不到一小时", "几小时", "十几小时", "一到三天", "几天"
    ]  # fmt: skip


def test_the_peak_for_a_kilogram_is_the_nearest_power_of_ten() -> None:
    given = [None, 0.2, 31.0, 32.0, 111.0, 316.0, 317.0, 3170.0, 40_000.0]
    assert [telling.unit_peak_words(peak) for peak in given] == [
        None, "约 0.0001 毫克/升", "约 0.01 毫克/升", "约 0.1 毫克/升", "约 0.1 毫克/升", "约 0.1 毫克/升",
        "约 1 毫克/升", "约 10 毫克/升", "约 100 毫克/升",
    ]  # fmt: skip


def test_the_peak_is_told_in_the_readers_language() -> None:
    assert telling.unit_peak_words(111.0, "en") == "about 0.1 mg/L"
    assert telling.peak_line(111.0, "zh-Hant") == "每公斤的峰濃度：約 0.1 毫克/公升（數量級）"
    assert telling.peak_line(None, "en") is None


@given(st.floats(1e-3, 1e9))
def test_what_is_told_of_a_peak_is_at_most_a_root_of_ten_off(peak: float) -> None:
    told = unit_peak_mg_per_l(peak)
    assert told is not None
    assert 10**-0.5001 <= told / (peak / 1000) <= 10**0.5001
    assert telling.unit_peak_words(peak) == f"约 {Decimal(str(told)):f} 毫克/升".replace(".0 ", " ")


def test_hours_of_a_passage_are_the_nearest_power_of_ten() -> None:
    assert [passage_h(seconds) for seconds in (None, 900.0, 3600.0, 11_000.0, 12_000.0, 360_000.0)] == [
        None, 0.1, 1.0, 1.0, 10.0, 100.0
    ]  # fmt: skip


def test_an_alert_tells_the_peak_with_its_error_and_that_it_is_no_concentration_to_expect() -> None:
    description = read(segment()).infos[0].description or ""
    assert "每公斤的峰浓度：约 0.1 毫克/升（数量级）" in description
    assert "实际可能是几倍，也可能是几分之一" in description
    assert "不是水里实际会有的浓度，也不预报危害" in description
    unknown = read(segment(unit_peak=None, passage_s=None)).infos[0].description or ""
    assert "峰浓度" not in unknown


def test_oil_is_told_with_its_own_caution() -> None:
    assert "只作提醒" in telling.how_sure("oil_slick", is_timed=True)
    assert "只作提醒" not in telling.how_sure("sewage_outfall", is_timed=True)
