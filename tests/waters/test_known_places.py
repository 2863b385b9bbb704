"""The water of places that everybody knows, by way of the built-in map of 1:10 million."""

import pytest
from sqlalchemy.orm import Session

from tests.waters.known_places import KnownPlace, known_places
from waterwatch.waters import queries

DRAWN_WITHIN_M = 2800.0  # lines of 1:10 million lie up to so far from the real bank
# Where two waters meet, the map's centre line of the other one is the nearer: the right one is still offered.
AT_A_MEETING = {
    "四川宜宾凉姜沟": "长江",
    "湖南岳阳岳阳楼": "沅江",
    "黑龙江鸡西龙王庙": "松阿察河",
}


def _offered(session: Session, at: KnownPlace) -> list[str]:
    found = queries.nearest_waters(session, at.lon, at.lat, DRAWN_WITHIN_M / 2, search_limit_m=DRAWN_WITHIN_M)
    names = queries.names_of(session, [one.water_body_id for one in found])
    return [names[one.water_body_id]["zh-Hans"] for one in found]


@pytest.mark.parametrize("at", known_places(), ids=lambda at: at.source + " " + at.place)
def test_the_water_of_a_known_place_is_offered_first(session: Session, at: KnownPlace) -> None:
    offered = _offered(session, at)
    assert offered[0] == AT_A_MEETING.get(at.place, at.water)
    assert at.water in offered
