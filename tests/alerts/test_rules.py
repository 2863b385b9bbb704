"""CAP documents as two readers nobody here wrote understand them, and what the standard and our own rule forbid."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from cap_tools.models import Alert as ReadAlert
from cap_tools.models import Reference as ReadReference
from hypothesis import given
from hypothesis import strategies as st
from xsdata.formats.dataclass.parsers import XmlParser

from waterwatch.alerts.rules import (
    BASIS,
    COLOURS,
    NAMESPACE,
    SEVERITIES,
    Alert,
    Area,
    Circle,
    Info,
    Reference,
    Resource,
    cap_xml,
    moment,
)

AT = datetime(2026, 5, 20, 2, 30, 15, 987654, tzinfo=UTC)
# The sequences of the standard's schema (CAP 1.2, section 3.4), by the element they stand in.
ORDER = {
    "alert": "identifier sender sent status msgType source scope restriction addresses code note references incidents"
    " info",
    "info": "language category event responseType urgency severity certainty audience eventCode effective onset expires"
    " senderName headline description instruction web contact parameter resource area",
    "resource": "resourceDesc mimeType size uri derefUri digest",
    "area": "areaDesc polygon circle geocode altitude ceiling",
    "parameter": "valueName value",
    "geocode": "valueName value",
    "eventCode": "valueName value",
}
# Naive, as hypothesis wants its bounds.
EARLY, LATE = AT.replace(year=1990, tzinfo=None), AT.replace(year=2090, tzinfo=None)
POINT = Area("长江武汉段", circles=(Circle(114.3055, 30.5928, 0.5),))
INFO = Info("污水直排", 3, "长江：污水直排（橙色）", "公众上报，已核实。", (POINT,))
ALERT = Alert("WW-ABC-1", "waters.example.org", AT, (INFO,))


def read(alert: Alert) -> ReadAlert:
    """As cap-tools reads it."""
    return XmlParser().from_bytes(cap_xml(alert), ReadAlert)


def test_another_parser_reads_what_was_meant() -> None:
    found = read(ALERT)
    (info,) = found.infos
    (area,) = info.areas
    assert (found.identifier, found.sender, found.status.value, found.msg_type.value, found.scope.value) == (
        *("WW-ABC-1", "waters.example.org", "Actual", "Alert", "Public"),
    )
    assert found.sent.to_datetime() == AT.replace(microsecond=0)
    assert (info.language, [one.value for one in info.categories]) == ("zh-CN", ["Env"])
    assert (info.event, info.urgency.value, info.severity.value, info.certainty.value) == (
        *("污水直排", "Expected", "Severe", "Observed"),
    )
    assert (area.area_desc, area.circles) == ("长江武汉段", ["30.5928,114.3055 0.5"])
    assert dict(info.parameters_to_dict()) == {"waterwatch:level": "orange", "waterwatch:levelBasis": BASIS}


def test_the_time_has_a_numeric_offset_and_whole_seconds() -> None:
    assert b"<sent>2026-05-20T10:30:15+08:00</sent>" in cap_xml(ALERT)


@pytest.mark.parametrize(("level", "severity"), [(4, "Extreme"), (3, "Severe"), (2, "Moderate"), (1, "Minor")])
def test_each_colour_has_its_severity_and_the_document_says_whose_mapping_that_is(level: int, severity: str) -> None:
    (info,) = read(replace(ALERT, infos=(replace(INFO, level=level),))).infos
    assert info.severity.value == severity
    assert info.parameters_to_dict()["waterwatch:level"] == COLOURS[level]
    assert "自定" in info.parameters_to_dict()["waterwatch:levelBasis"]


def test_updates_and_cancellations_name_what_came_before() -> None:
    first = ALERT.reference
    later = replace(ALERT, identifier="WW-ABC-2", sent=AT + timedelta(days=1), kind="Update", references=(first,))
    ended = Alert("WW-ABC-3", ALERT.sender, AT + timedelta(days=2), kind="Cancel", references=(first, later.reference))
    (read_first,) = read(later).references_to_list()
    assert read_first == ReadReference.from_alert(read(ALERT))
    assert [one.identifier for one in read(ended).references_to_list()] == ["WW-ABC-1", "WW-ABC-2"]
    assert read(ended).infos == []


def test_several_expectations_with_areas_and_onsets_of_their_own() -> None:
    ring = ((114.0, 30.0), (114.2, 30.0), (114.2, 30.1), (114.0, 30.0))
    infos = tuple(
        replace(
            INFO,
            level=2,
            urgency="Future",
            certainty="Likely",
            onset=AT + timedelta(hours=hours),
            expires=AT + timedelta(hours=hours + 10),
            areas=(Area(f"第 {hours} 段", polygons=(ring, ring), geocodes=(("GB/T 2260", "420100"),)), POINT),
            responses=("Avoid", "Monitor"),
            event_codes=(("waterwatch:kind", "oil_slick"),),
            resources=(Resource("照片", "image/jpeg", "https://waters.example.org/i/ABC/photo/1/1024"),),
        )
        for hours in (3, 9)
    )
    one, other = read(replace(ALERT, infos=infos)).infos
    assert one.onset is not None
    assert other.onset is not None
    assert other.onset.to_datetime() - one.onset.to_datetime() == timedelta(hours=6)
    assert one.areas[0].polygons == ["30,114 30,114.2 30.1,114.2 30,114"] * 2
    assert [area.area_desc for area in other.areas] == ["第 9 段", "长江武汉段"]
    assert [answer.value for answer in one.response_types] == ["Avoid", "Monitor"]


@pytest.mark.parametrize(
    "changes",
    [
        {"identifier": "with space"},
        {"identifier": "a,b"},
        {"sender": "a<b"},
        {"sender": ""},
        {"sent": AT.replace(tzinfo=None)},
        {"kind": "Update"},
        {"references": (ALERT.reference,)},
        {"infos": ()},
        {"scope": "Restricted"},
        {"restriction": "机关"},
        {"scope": "Private"},
        {"infos": (replace(INFO, level=5),)},
        {"infos": (replace(INFO, areas=()),)},
        {"infos": (replace(INFO, onset=AT.replace(tzinfo=None)),)},
        {"infos": (replace(INFO, areas=(Area("x", circles=(Circle(181, 0),)),)),)},
        {"infos": (replace(INFO, areas=(Area("x", circles=(Circle(1, 0, -1),)),)),)},
        {"infos": (replace(INFO, areas=(Area("x", polygons=(((1, 1), (2, 2), (1, 1)),)),)),)},
        {"infos": (replace(INFO, areas=(Area("x", polygons=(((1, 1), (2, 2), (3, 1), (4, 4)),)),)),)},
    ],
)
def test_what_the_standard_forbids_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        replace(ALERT, **changes)


def test_what_nobody_has_reviewed_is_said_to_few_and_as_possible() -> None:
    doubtful = (replace(INFO, certainty="Possible"),)
    for refused in ({"infos": doubtful}, {"status": "Test"}, {"scope": "Restricted", "restriction": "审核员"}):
        with pytest.raises(ValueError, match="nobody has reviewed"):
            replace(ALERT, is_reviewed=False, **refused)  # type: ignore[arg-type]
    test = replace(ALERT, is_reviewed=False, infos=doubtful, status="Test")
    few = replace(ALERT, is_reviewed=False, infos=doubtful, scope="Restricted", restriction="审核员")
    assert (read(test).status.value, read(few).scope.value) == ("Test", "Restricted")


# That reader takes an empty element for a missing one.
words = st.text(max_size=30).map(lambda drawn: f"词{drawn}")
places = st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.floats(0, 1000))


@given(
    event=words,
    headline=words,
    note=st.none() | words,
    level=st.sampled_from(sorted(SEVERITIES)),
    place=places,
    at=st.datetimes(EARLY, LATE, timezones=st.just(UTC)),
)
def test_whatever_the_words_are_the_document_is_one_that_others_read(
    event: str, headline: str, note: str | None, level: int, place: tuple[float, float, float], at: datetime
) -> None:
    area = Area(
        event, circles=(Circle(*place),), polygons=(((1, 1), (2, 2), (3, 1), (1, 1)),), geocodes=(("x", note or "无"),)
    )
    info = replace(INFO, event=event, headline=headline, level=level, areas=(area,), expires=at)
    reference = Reference("a@example.org", "1", at)
    alert = replace(ALERT, sent=at, infos=(info,), note=note, kind="Update", references=(reference,))
    written = cap_xml(alert)
    assert written == cap_xml(alert)
    found = XmlParser().from_bytes(written, ReadAlert)
    assert found.sent.to_datetime() == at.replace(microsecond=0)
    (circle,) = found.infos[0].areas[0].circles
    at_lat, at_lon, radius_km = map(float, re.split("[ ,]", circle))
    assert (abs(at_lon - place[0]), abs(at_lat - place[1]), abs(radius_km - place[2])) <= (1e-6, 1e-6, 1e-6)
    assert re.fullmatch(r"[-0-9.]+,[-0-9.]+ [0-9.]+", circle)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00", moment(at))
    for element in ElementTree.parse(io.BytesIO(written)).iter():
        names = [child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in element]
        if names:
            order = ORDER[element.tag.removeprefix(f"{{{NAMESPACE}}}")].split()
            assert [order.index(name) for name in names] == sorted(order.index(name) for name in names)
