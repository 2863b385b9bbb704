"""The network of the built-in waters, out of the database and mapped from its file."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from waterwatch.flow.service import FORMAT, open_network
from waterwatch.waters import service as waters
from waterwatch.waters.queries import nearest_waters


def test_the_network_is_that_of_the_database(session: Session, tmp_path: Path) -> None:
    network = open_network(session, tmp_path)
    rows = session.execute(
        text(
            "SELECT f.feature_id, b.feature_id AS below, f.length_km, f.kind FROM water_feature f"
            " LEFT JOIN water_feature b ON b.id = f.next_down_id WHERE f.retired_at IS NULL ORDER BY f.feature_id"
        )
    ).all()
    assert network.feature_id.tolist() == [row.feature_id for row in rows]
    below = [int(network.feature_id[row]) if row >= 0 else None for row in network.next_row]
    assert below == [row.below for row in rows]
    assert network.is_lake.tolist() == [row.kind == "lake" for row in rows]
    told = np.array([np.nan if row.length_km is None else row.length_km for row in rows], dtype=np.float32)
    assert np.array_equal(network.length_km, told, equal_nan=True)


def test_the_yangtze_at_wuhan_comes_to_nanjing_and_not_to_chongqing(session: Session, tmp_path: Path) -> None:
    def reach_at(lon: float, lat: float) -> int:
        return nearest_waters(session, lon, lat, 5000, search_limit_m=20_000)[0].feature_id

    network = open_network(session, tmp_path)
    wuhan, nanjing, chongqing = reach_at(114.288, 30.549), reach_at(118.738, 32.113), reach_at(106.58, 29.56)
    down, up = network.downstream(wuhan).as_dict(), network.upstream(wuhan).as_dict()
    # By water some 700 km (recalled); at 1:10 million bends are cut short.
    assert 500 < down[nanjing] < 750
    assert chongqing not in down
    assert 1000 < up[chongqing] < 1400
    assert nanjing not in up


def test_the_file_is_mapped_and_made_once(session: Session, tmp_path: Path) -> None:
    first = open_network(session, tmp_path)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    second = open_network(session, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")} == made
    for network in (first, second):
        for name, array in network.arrays().items():
            assert isinstance(array, np.memmap) or not len(array), name
    with pytest.raises(ValueError, match="read-only"):
        first.next_row[0] = 1


def test_a_change_makes_a_new_file_and_leaves_who_walks_the_old_one_alone(session: Session, tmp_path: Path) -> None:
    before = open_network(session, tmp_path)
    gone = int(before.feature_id[0])
    session.execute(text("UPDATE water_feature SET retired_at = now() WHERE feature_id = :id"), {"id": gone})
    assert gone in open_network(session, tmp_path).feature_id
    waters.network_changed(session)
    assert gone not in open_network(session, tmp_path).feature_id
    assert gone in before.feature_id
    assert len(list(tmp_path.glob("network-*"))) == 1


def test_many_who_ask_at_once_get_the_same(waters_engine: Engine, tmp_path: Path) -> None:
    def ask(_nth: int) -> list[int]:
        with Session(waters_engine) as session:
            feature_ids: list[int] = open_network(session, tmp_path).feature_id.tolist()
            return feature_ids

    with ThreadPoolExecutor(6) as asking:
        answers = list(asking.map(ask, range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert [path.name for path in tmp_path.iterdir()] == [f"network-{FORMAT}-2"]
