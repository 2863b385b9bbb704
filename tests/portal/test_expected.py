"""What early warnings say on the pages of waters, areas and incidents: to everybody, and in whose words."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.advisories.rows import add_chain, network_of
from tests.incidents.rows import open_on
from tests.moderation.rows import add_moderator
from tests.opendata.places import WUHAN_CODE, add_areas
from tests.portal.test_places import plain
from tests.portal.test_views import section
from tests.reports.rows import LAT, LON
from waterwatch.advisories import forecasts
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import transaction
from waterwatch.kernel.settings import Settings

TESTS = Actor.system("tests")


def moment() -> datetime:
    """Now: the pages ask the clock, and a whole run takes longer than a head start."""
    return datetime.now(UTC).replace(microsecond=0)


def warn(
    sessions: sessionmaker[Session], settings: Settings, *, discharge_cms: float | None = 30.0, head_start_s: int = 0
) -> tuple[str, str, str]:
    """An orange incident; the codes of it, of its river, and of the reservoir at the end of the river."""
    now = moment()
    with transaction(sessions) as session:
        add_areas(session)
        river = add_chain(session, 4, lakes=[3], is_reservoir=True, dis_av_cms=discharge_cms)
        actor = add_moderator(session, "甲", now=now)
        incident, _report = open_on(
            session, river.ids[0], actor, now=now, at=(LON + 0.02, LAT), severity=Severity.MAJOR
        )
        session.flush()
        given = settings.model_copy(update={"downstream_head_start_s": head_start_s})
        forecasts.reckon(session, [incident.id], network_of(session), settings=given, actor=TESTS, now=now)
        water = session.execute(text("SELECT public_id FROM water_body WHERE id = :id"), {"id": river.body_id})
        lake = session.execute(text("SELECT public_id FROM water_body WHERE kind = 'reservoir'"))
        return incident.code, water.scalar_one(), lake.scalar_one()


def has_part(page: str, part: str) -> bool:
    return f'id="{part}"' in page


def test_a_water_says_what_may_come_to_it_from_where_and_when_and_that_it_is_reckoned(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, _river, lake = warn(sessions, settings)
    told = section(client.get(f"/w/{lake}").text, "expected")
    words = plain(told)
    assert "上游有污染，可能到达本水体" in words
    assert "来自上游 26 公里的污水直排" in words
    assert f'href="/i/{code}"' in told
    assert re.search(r"预计到达：\S+ \d\d:00(–| 至 \S+ )\d\d:00", words)
    assert "将受影响 · 黄色" in words
    assert "途经水库，有坝" in words
    assert "±0.15 米/秒" in words
    assert re.search(r"经过要多久 几小时 每公斤的峰浓度 约 0\.1 毫克/升", words)
    assert words.count("实际可能是几倍，也可能是几分之一") == 1
    assert "不是水里实际会有的浓度，也不预报危害" in words
    assert "不是政府预警" in words
    assert 'href="/early-warning"' in told


def test_an_incident_lists_the_waters_below_it_each_once_in_the_order_it_comes_to_them(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, river, lake = warn(sessions, settings)
    told = section(client.get(f"/i/{code}").text, "below")
    assert re.findall(r'href="/w/([^"]+)"', told) == [river, lake]
    words = plain(told)
    assert "6.0–26 公里" in words
    assert told.count("约 0.1 毫克/升") == 2
    assert words.count("它和经过的时间都只是数量级") == 1
    assert "USGS SIR 2013-5182" in words


def test_where_a_water_is_long_its_near_and_far_ends_are_told_apart(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, river, _lake = warn(sessions, settings)
    with transaction(sessions) as session:
        session.execute(text("UPDATE downstream_reach SET unit_peak = 2000, passage_s = 1000 WHERE nth = 0"))
    for page, part in ((f"/i/{code}", "below"), (f"/w/{river}", "expected")):
        words = plain(section(client.get(page).text, part))
        assert re.search(r"不到一小时 最远处：几小时", words)
        assert re.search(r"约 1 毫克/升 最远处：约 0\.1 毫克/升", words)


def test_an_area_counts_the_waters_something_may_come_to(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    _code, river, lake = warn(sessions, settings)
    page = client.get(f"/a/{WUHAN_CODE}").text
    told = section(page, "expected")
    assert "共 2 片" in plain(told)
    assert set(re.findall(r'href="/w/([^"]+)"', told)) == {river, lake}
    assert re.findall(r"离上游的污染 (\S+) 公里", plain(told)) == ["6.0", "26"]


def test_an_area_without_discharge_tells_how_far_its_waters_are_the_nearest_first(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    _code, river, lake = warn(sessions, settings, discharge_cms=None)
    told = section(client.get(f"/a/{WUHAN_CODE}").text, "expected")
    assert re.findall(r'href="/w/([^"]+)"', told) == [river, lake]
    assert plain(told).count("时间不详") == 2
    assert re.findall(r"离上游的污染 (\S+) 公里", plain(told)) == ["6.0", "26"]


def test_near_the_incident_no_peak_is_told_and_what_is_told_has_its_error(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, river, _lake = warn(sessions, settings)
    with transaction(sessions) as session:
        session.execute(text("UPDATE downstream_reach SET unit_peak = NULL WHERE nth = 0"))
    for path, part in ((f"/w/{river}", "expected"), (f"/i/{code}", "below")):
        words = plain(section(client.get(path).text, part))
        assert re.search(r"每公斤的峰浓度 — 最远处：约 0\.1 毫克/升|— 最远处：约 0\.1 毫克/升", words), words
        assert words.count("实际可能是几倍，也可能是几分之一") == 1


def test_without_discharge_the_pages_say_the_distance_and_that_no_time_is_known(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, _river, lake = warn(sessions, settings, discharge_cms=None)
    words = plain(section(client.get(f"/w/{lake}").text, "expected"))
    assert "来自上游 26 公里" in words
    assert "何时到达不详" in words
    assert re.search(r"\d\d:\d\d", words) is None
    below = plain(section(client.get(f"/i/{code}").text, "below"))
    assert below.count("时间不详") == 2
    assert "只知道距离" in below
    assert "毫克" not in below
    assert below.count("—") == 4  # neither how long it takes to pass, nor the peak


def test_before_the_head_start_is_over_nothing_is_said_anywhere(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, river, lake = warn(sessions, settings, head_start_s=600)
    for path in (f"/w/{river}", f"/w/{lake}", f"/a/{WUHAN_CODE}"):
        assert not has_part(client.get(path).text, "expected"), path
    assert not has_part(client.get(f"/i/{code}").text, "below")


def test_with_the_incident_it_is_gone_though_nobody_has_reckoned_anew(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    code, _river, lake = warn(sessions, settings)
    with transaction(sessions) as session:
        session.execute(text("UPDATE incident SET state = 'expired', closed_at = :now"), {"now": moment()})
    assert not has_part(client.get(f"/w/{lake}").text, "expected")
    assert not has_part(client.get(f"/a/{WUHAN_CODE}").text, "expected")
    assert not has_part(client.get(f"/i/{code}").text, "below")


@pytest.mark.parametrize(("hours", "words"), [(-1, "可能已经到达"), (1, "预计到达")])
def test_once_the_window_is_over_it_may_be_there(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings, hours: int, words: str
) -> None:
    _code, _river, lake = warn(sessions, settings)
    with transaction(sessions) as session:
        session.execute(
            text("UPDATE downstream_reach SET earliest_at = CAST(:at AS timestamptz) - interval '2 hours',"
                 " probable_at = :at, lapses_at = CAST(:at AS timestamptz) + interval '1 day'"),
            {"at": moment() + timedelta(hours=hours)},
        )  # fmt: skip
    told = plain(section(client.get(f"/w/{lake}").text, "expected"))
    assert words in told
    assert ("可能已经到达" in told) == (hours < 0)


def test_the_window_is_told_on_the_viewers_clock(
    client: FlaskClient, sessions: sessionmaker[Session], settings: Settings
) -> None:
    _code, _river, lake = warn(sessions, settings)
    here = plain(section(client.get(f"/w/{lake}").text, "expected"))
    client.set_cookie("tz", "America/New_York")
    there = plain(section(client.get(f"/w/{lake}").text, "expected"))
    assert re.findall(r"\d\d:00", here) != re.findall(r"\d\d:00", there)
