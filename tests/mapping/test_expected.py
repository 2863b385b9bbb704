"""What is published of early warnings: only what is public, compact, and gone with the incident."""

import gzip
import uuid
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sqlalchemy import text

from tests.advisories.rows import add_chain, network_of
from tests.incidents.rows import open_on
from tests.mapping.publishing import end, every_byte, later, levels, pointer, read, run
from tests.moderation.rows import add_moderator
from tests.reports.rows import LAT, LON
from waterwatch.advisories import forecasts
from waterwatch.incidents.rules import Severity
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.mapping.expected import ExpectedGroup, encoded, steps
from waterwatch.mapping.publishing_pages import joined
from waterwatch.mapping.queries import LevelledWater
from waterwatch.mapping.rules import LEVEL_COLOURS

TESTS = Actor.system("tests")


def warn(
    context: JobContext, *, head_start_s: int = 0, discharge_cms: float | None = 30.0
) -> tuple[str, uuid.UUID, list[int]]:
    """An orange incident at the source of a river of four reaches, the last of them in a reservoir; and its warning."""
    now = datetime.now(UTC)
    with transaction(context.sessions) as session:
        river = add_chain(session, 4, lakes=[3], is_reservoir=True, dis_av_cms=discharge_cms)
        actor = add_moderator(session, "甲", now=now)
        incident, _report = open_on(
            session, river.ids[0], actor, now=now, at=(LON + 0.02, LAT), severity=Severity.MAJOR
        )
        session.flush()
        settings = context.settings.model_copy(update={"downstream_head_start_s": head_start_s})
        forecasts.reckon(session, [incident.id], network_of(session), settings=settings, actor=TESTS, now=now)
        return incident.code, incident.id, list(river.feature_ids)


def published(context: JobContext) -> list[dict[str, Any]]:
    return read(context, pointer(context)["expected"])["incidents"]  # type: ignore[no-any-return]


def test_the_windows_below_an_incident_are_published_in_columns_with_the_levels_they_belong_to(
    context: JobContext,
) -> None:
    code, _id, river = warn(context)
    run(context)
    (one,) = published(context)
    assert (one["code"], one["kind"], one["level"]) == (code, "sewage_outfall", 2)
    found = list(accumulate(one["ids"]))
    assert [*found[:2], found[3]] == river[1:]  # the reservoir comes before the reach that leads through it
    assert list(accumulate(one["hm"])) == [60, 160, 260, 260]
    earliest, probable = list(accumulate(one["from"][:3])), list(accumulate(one["to"][:3]))
    assert earliest == sorted(earliest)
    assert all(begins < ends for begins, ends in zip(earliest, probable, strict=True))
    assert abs(earliest[0] - datetime.now(UTC).timestamp() / 60) < 6 * 60
    assert (one["peak"], one["pass"]) == ([[-1, 4]], [[0, 1], [1, 3]])
    assert one["lakes"] == [2]
    assert one["dams"] == [2]
    coded = read(context, pointer(context)["levels"])["approaching"]
    assert sorted(found) == list(accumulate(coded["2"]))
    assert set(levels(context)).isdisjoint(found)


def test_without_discharge_there_are_distances_and_no_times(context: JobContext) -> None:
    warn(context, discharge_cms=None)
    run(context)
    (one,) = published(context)
    assert one["from"] == one["to"] == [None] * 4
    assert one["peak"] == one["pass"] == [[None, 4]]
    assert list(accumulate(one["hm"])) == [60, 160, 260, 260]


def test_nothing_is_published_before_the_head_start_is_over_nor_after_the_last_window(context: JobContext) -> None:
    warn(context, head_start_s=600)
    run(context)
    assert published(context) == []
    run(later(context, minutes=11))
    assert len(published(context)) == 1
    run(later(context, days=30))
    assert published(context) == []


@pytest.mark.parametrize("state", ["expired", "retracted", "verified_clean"])
def test_with_the_incident_its_windows_go_though_nobody_has_reckoned_anew(context: JobContext, state: str) -> None:
    code, _id, _river = warn(context)
    run(context)
    end(context, code, state)
    run(context)
    assert published(context) == []
    if state == "retracted":
        assert [name for name, content in every_byte(context).items() if code.encode() in content] == []


def test_a_window_tells_no_instant_of_a_photo(context: JobContext) -> None:
    warn(context)
    run(context)
    name = pointer(context)["expected"]
    (one,) = read(context, name)["incidents"]
    assert one.keys() == {"code", "kind", "level", "ids", "hm", "from", "to", "peak", "pass", "lakes", "dams"}


@given(st.lists(st.none() | st.integers(-(2**53), 2**53)))
def test_steps_are_read_back_as_they_were(values: list[int | None]) -> None:
    last, found = 0, []
    for step in steps(values):
        last = last if step is None else last + step
        found.append(None if step is None else last)
    assert found == values


def test_twenty_thousand_reaches_are_a_small_file() -> None:
    """A hundred incidents with two hundred reaches each: numbers as an import of HydroRIVERS gives them."""
    groups = [
        ExpectedGroup(
            code=f"A{nth:05}",
            kind="sewage_outfall",
            level=2,
            feature_ids=[40_000_000 + nth * 7919 + (place * 137) % 2003 for place in range(200)],
            hectometres=[place * 9 + place % 4 for place in range(200)],
            earliest=[29_000_000 + place * 11 for place in range(200)],
            probable=[29_000_300 + place * 19 for place in range(200)],
            unit_peaks=[0.9 * 1000 / (place + 1) for place in range(200)],
            passages=[2500.0 * (place + 1) for place in range(200)],
            are_lakes=[place % 20 == 0 for place in range(200)],
            are_dammed=[place % 40 == 0 for place in range(200)],
        )
        for nth in range(100)
    ]
    content = encoded(groups)
    assert len(content) < 400_000
    assert len(gzip.compress(content)) < 100_000


def test_a_publication_without_warnings_says_so(context: JobContext) -> None:
    run(context)
    assert published(context) == []


def test_pages_and_pictures_show_what_comes_dashed_and_say_so(context: JobContext) -> None:
    warn(context)
    run(context)
    maps = context.settings.publish_dir / "maps"
    page = (maps / "national.html").read_text()
    assert "将受影响（预计到达）" in page
    assert "下游预计将受影响的水体 4 段、片" in page
    assert '"dashArray": "6 6"' in page
    (river,) = maps.glob("water-*.png")
    assert '"dashArray": "6 6"' in river.with_suffix(".html").read_text()
    picture = np.asarray(Image.open(river).convert("RGB")).astype(int)
    yellow = [int(LEVEL_COLOURS[2][at : at + 2], 16) for at in (1, 3, 5)]
    assert bool((np.abs(picture - yellow).max(axis=2) <= 12).any())


def test_short_reaches_are_dashed_as_the_one_line_they_are() -> None:
    def reach(nth: int, *points: tuple[float, float], level: int = 2, water: str = "w-a") -> LevelledWater:
        return LevelledWater(nth, water, level, "river", {}, {"type": "LineString", "coordinates": points})

    lake = LevelledWater(
        9, "w-l", 2, "lake", {}, {"type": "Polygon", "coordinates": [[(0, 0), (0, 1), (1, 1), (0, 0)]]}
    )
    found = joined([reach(1, (0, 0), (0, 1)), reach(2, (0, 1), (0, 2)), reach(3, (0, 2), (0, 3), level=3), lake,
                    reach(4, (0, 3), (0, 4), water="w-b")])  # fmt: skip
    assert [(one.public_id, one.level, one.geometry["type"]) for one in found] == [
        ("w-a", 3, "LineString"), ("w-a", 2, "LineString"), ("w-b", 2, "LineString"), ("w-l", 2, "Polygon"),
    ]  # fmt: skip
    assert found[1].geometry["coordinates"] == ((0, 0), (0, 1), (0, 2))


def test_a_water_to_which_something_only_comes_has_no_page_for_that(context: JobContext) -> None:
    warn(context)
    run(context)
    with transaction(context.sessions) as session:
        bodies = {row.kind: row.public_id for row in session.execute(text("SELECT kind, public_id FROM water_body"))}
    found = {path.stem for path in (context.settings.publish_dir / "maps").glob("water-*.html")}
    assert found == {f"water-{bodies['river']}"}


def test_when_it_ends_the_pages_are_made_anew_without_it(context: JobContext) -> None:
    _code, incident_id, _river = warn(context)
    run(context)
    with transaction(context.sessions) as session:
        session.execute(text("UPDATE incident SET state = 'expired', closed_at = now()"))
        forecasts.reckon(
            session, [incident_id], network_of(session), settings=context.settings, actor=TESTS, now=datetime.now(UTC)
        )
    run(context)
    page = (context.settings.publish_dir / "maps" / "national.html").read_text()
    assert "下游预计将受影响的水体" not in page
    assert '"dashArray": "6 6"' not in page
