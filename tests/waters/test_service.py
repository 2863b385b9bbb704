"""Loading the built-in waters: complete, repeatable, and never losing what hangs on a water."""

import csv
import gzip
import json
from datetime import datetime

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.waters import service
from waterwatch.waters.service import load_builtin


def test_the_load_says_how_much_there_is(session: Session, now: datetime) -> None:
    report = load_builtin(session, now=now)
    content = json.loads(gzip.decompress(service.BUILTIN.read_bytes()))
    assert (report.waters, report.features, report.retired) == (len(content["bodies"]), len(content["features"]), 0)


def test_the_file_was_derived_from_the_facts_as_they_stand() -> None:
    with (service.BUILTIN.parent / "facts.csv").open(encoding="utf-8") as source:
        facts = list(csv.DictReader(source))
    bodies = json.loads(gzip.decompress(service.BUILTIN.read_bytes()))["bodies"]
    columns = ("key", "kind", "flows_into", "basin", "basin_area_km2", "mean_discharge_cms", "source")
    stated = [(*(fact[column] for column in columns), fact["zh_hans"], fact["en"]) for fact in facts]
    derived = [
        (
            *("" if body[c] is None else f"{body[c]:.0f}" if isinstance(body[c], float) else body[c] for c in columns),
            body["names"]["zh-Hans"],
            body["names"]["en"],
        )
        for body in bodies
    ]
    assert derived == stated


def test_loading_again_leaves_identical_rows(session: Session, now: datetime) -> None:
    def everything() -> list[str]:
        tables = ("source", "water_body", "water_name", "water_feature")
        rows = [session.execute(text(f"SELECT t::text FROM {table} t ORDER BY id")).scalars() for table in tables]
        return [row for result in rows for row in result]

    before = everything()
    load_builtin(session, now=now)
    assert everything() == before


def test_a_feature_that_left_the_file_is_retired_and_comes_back_under_its_id(session: Session, now: datetime) -> None:
    stray = text("""
        INSERT INTO water_feature (id, kind, water_body_id, geom, source_id, source_key)
        SELECT gen_random_uuid(), 'reach', water_body_id, geom, source_id, 'stray/1'
        FROM water_feature WHERE source_key = 'yangtze/1' RETURNING id
    """)
    stray_id = session.execute(stray).scalar_one()
    assert load_builtin(session, now=now).retired == 1
    retired = session.execute(text("SELECT retired_at FROM water_feature WHERE id = :id"), {"id": stray_id})
    assert retired.scalar_one() == now
    lost = text("UPDATE water_feature SET retired_at = now() WHERE source_key = 'yangtze/1' RETURNING id, feature_id")
    known = session.execute(lost).one()
    load_builtin(session, now=now)
    found = text("SELECT id, feature_id FROM water_feature WHERE source_key = 'yangtze/1' AND retired_at IS NULL")
    assert session.execute(found).one() == known


def test_progress_is_told_in_whole_steps(session: Session, now: datetime) -> None:
    told: list[tuple[int, int]] = []
    load_builtin(session, now=now, progress=lambda done, total: told.append((done, total)))
    assert told == [(step, service.STEPS) for step in range(1, service.STEPS + 1)]


def test_every_lake_is_valid_and_no_reach_is_longer_than_sixty_kilometres(session: Session) -> None:
    faults = text("""
        SELECT source_key FROM water_feature
        WHERE NOT ST_IsValid(geom) OR (kind = 'reach' AND (length_km > 60.5 OR ST_Length(geom::geography) > 61000))
    """)
    assert session.execute(faults).scalars().all() == []


def test_water_never_flows_in_a_circle_and_distance_falls_on_the_way(session: Session) -> None:
    walk = text("""
        WITH RECURSIVE way AS (
            SELECT id AS start, id, next_down_id, 0 AS step FROM water_feature
            UNION ALL SELECT way.start, f.id, f.next_down_id, way.step + 1
            FROM way JOIN water_feature f ON f.id = way.next_down_id WHERE way.step < 400)
        SELECT max(step) FROM way
    """)
    assert session.execute(walk).scalar_one() < 300
    rising = text("""
        SELECT f.source_key FROM water_feature f JOIN water_feature below ON below.id = f.next_down_id
        WHERE f.kind = 'reach' AND below.kind = 'reach'
          AND abs(f.dist_dn_km - below.dist_dn_km - below.length_km) > 0.2
    """)
    assert session.execute(rising).scalars().all() == []


@pytest.mark.parametrize(
    ("start", "way"),
    [
        ("weihe", ["渭河", "黄河"]),
        ("huanjiang", ["环江", "泾河", "渭河", "黄河"]),
        ("hanjiang", ["汉江", "长江"]),
        ("tuotuo", ["沱沱河", "通天河", "金沙江", "长江"]),
        ("xiangjiang", ["湘江", "洞庭湖", "长江"]),
        ("meijiang", ["梅江", "赣江", "鄱阳湖", "长江"]),
        ("yinghe", ["沙颍河", "淮河", "洪泽湖", "淮河入江水道", "长江"]),
        ("sanggan", ["桑干河", "永定河", "海河"]),
        ("nanpan", ["南盘江", "红水河", "黔江", "浔江", "西江"]),
        ("second-songhua", ["第二松花江", "松花江", "黑龙江"]),
        ("khanka", ["兴凯湖", "松阿察河", "乌苏里江", "黑龙江"]),
        ("maquan", ["马泉河", "雅鲁藏布江", "布拉马普特拉河"]),
        ("toxkan", ["托什干河", "阿克苏河", "塔里木河"]),
        ("buha", ["布哈河", "青海湖"]),
    ],
)
def test_the_network_leads_where_the_rivers_lead(session: Session, start: str, way: list[str]) -> None:
    walk = text("""
        WITH RECURSIVE way AS (
            SELECT f.id, f.next_down_id, f.water_body_id, 0 AS step FROM water_feature f WHERE f.source_key = :start
            UNION ALL SELECT f.id, f.next_down_id, f.water_body_id, way.step + 1
            FROM way JOIN water_feature f ON f.id = way.next_down_id)
        SELECT n.name FROM way JOIN water_name n USING (water_body_id)
        WHERE n.lang = 'zh-Hans' AND n.is_primary ORDER BY step
    """)
    names = session.execute(walk, {"start": f"{start}/1"}).scalars().all()
    assert list(dict.fromkeys(names)) == way


def test_every_water_has_one_primary_name_in_every_language(session: Session) -> None:
    counted = text("""
        SELECT b.source_key FROM water_body b JOIN water_name n ON n.water_body_id = b.id AND n.is_primary
        GROUP BY b.source_key HAVING count(DISTINCT n.lang) <> 4 OR count(*) <> 4
    """)
    assert session.execute(counted).scalars().all() == []
    unnamed = text(
        "SELECT count(*) FROM water_body b WHERE NOT EXISTS (SELECT FROM water_name WHERE water_body_id = b.id)"
    )
    assert session.execute(unnamed).scalar_one() == 0


@pytest.mark.parametrize(
    ("key", "hans", "hant", "pinyin", "english"),
    [
        ("yangtze", "长江", "長江", "Cháng Jiāng", "Yangtze River"),
        ("yarlung", "雅鲁藏布江", "雅魯藏布江", "Yǎlǔzàngbù Jiāng", "Yarlung Tsangpo"),
        ("sanggan", "桑干河", "桑乾河", "Sānggān Hé", "Sanggan River"),
        ("toxkan", "托什干河", "托什干河", "Tuōshígān Hé", "Toxkan River"),
        ("xinanjiang", "新安江水库", "新安江水庫", "Xīn'ānjiāng Shuǐkù", "Xin'anjiang Reservoir"),
        ("dongting", "洞庭湖", "洞庭湖", "Dòngtíng Hú", "Dongting Lake"),
    ],
)
def test_names_are_written_right(session: Session, key: str, hans: str, hant: str, pinyin: str, english: str) -> None:
    statement = text("""
        SELECT n.lang, n.name FROM water_name n JOIN water_body b ON b.id = n.water_body_id
        WHERE b.source_key = :key AND n.is_primary
    """)
    names = {row.lang: row.name for row in session.execute(statement, {"key": key})}
    assert names == {"zh-Hans": hans, "zh-Hant": hant, "pinyin": pinyin, "en": english}
