"""What lies around a water: above, below in its order, near; each once, and coloured ones first."""

import uuid
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.reports.rows import add_river
from waterwatch.atlas.surroundings import waters_around


def body_of(session: Session, feature_id: uuid.UUID) -> uuid.UUID:
    found: uuid.UUID = session.execute(
        text("SELECT water_body_id FROM water_feature WHERE id = :id"), {"id": feature_id}
    ).scalar_one()
    return found


def flow(session: Session, upper: uuid.UUID, lower: uuid.UUID) -> None:
    session.execute(
        text("UPDATE water_feature SET next_down_id = :lower WHERE id = :upper"), {"upper": upper, "lower": lower}
    )


def colour(session: Session, feature_id: uuid.UUID, level: int, now: datetime) -> None:
    session.execute(
        text("INSERT INTO advisory VALUES (:id, 'confirmed', :level, :now, :now)"),
        {"id": feature_id, "level": level, "now": now},
    )


def names(session: Session, feature_id: uuid.UUID) -> dict[str, list[tuple[str, int | None]]]:
    around = waters_around(session, body_of(session, feature_id))
    return {relation: [(one.names["zh-Hans"], one.level) for one in found] for relation, found in around.items()}


def test_waters_are_above_below_or_near_and_in_one_list_only(session: Session, now: datetime) -> None:
    brook, creek, river, great, lake = (
        add_river(session, name, lat=30.0 + step / 100)
        for step, name in enumerate(("小溪", "东沟", "清河", "大江", "西湖"))
    )
    far = add_river(session, "远河", lat=34.0)
    for upper, lower in ((brook, river), (creek, river), (river, great)):
        flow(session, upper, lower)
    colour(session, creek, 3, now)
    colour(session, great, 1, now)
    del far
    assert names(session, river) == {
        "upstream": [("东沟", 3), ("小溪", None)],
        "downstream": [("大江", 1)],
        "nearby": [("西湖", None)],
    }
    assert names(session, brook)["downstream"] == [("清河", None), ("大江", 1)]
    assert names(session, lake)["upstream"] == names(session, lake)["downstream"] == []


def test_waters_that_flow_in_a_circle_end_the_walk(session: Session) -> None:
    first, second = add_river(session, "甲河", lat=30.0), add_river(session, "乙河", lat=30.01)
    flow(session, first, second)
    flow(session, second, first)
    assert names(session, first)["downstream"] == [("乙河", None)]


def test_a_water_without_a_name_is_in_no_list(session: Session) -> None:
    quiet, river = add_river(session, "无名", lat=30.0), add_river(session, "清河", lat=30.01)
    flow(session, quiet, river)
    session.execute(text("DELETE FROM water_name WHERE name = '无名'"))
    assert names(session, river) == {"upstream": [], "downstream": [], "nearby": []}
