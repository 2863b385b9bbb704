"""Early warning downstream on a country of a million reaches: the walk, the same by SQL, and forecasts made anew.

The country of ``bench.waters``, imported from the files an operator would have, in a private PostgreSQL with fsync on;
an island for every 50th reach, a canal to a neighbouring river for every 400th (so that water flows in circles too), a
slope for every 20th. Then, each with its goal:

- walks of 200 km in memory (no limit of hours nor of dilution, so that all are as long as that);
- the same by a recursive query, in turn, with the same answers to the last reach;
- 10,000 random incidents with the limits that hold: how long the slowest takes, by the clock and by the processor;
- forecasts of 1,000 open incidents made, made anew with nothing changed, and with other water in all rivers;
- one incident graded otherwise among 1,000 and among 10,000 open ones: the rows written, and the time.

    python -m bench.advisories [--reaches 1000000] [--lakes 50000] [--rounds 5] [--asked 100] [--random 10000]
                               [--incidents 1000] [--only walks|forecasts] [--keep FOLDER]

About ten minutes; with ``--keep`` (files and cluster are used again there) three. For a trial ``--reaches 20000
--lakes 1000 --asked 20 --random 500 --incidents 50``: one minute.
"""

import argparse
import gc
import math
import os
import statistics
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from bench import country
from bench.waters import Goal, _engine, _folder, _percentile, _postgres, _ratio, _run_import
from waterwatch.advisories import forecasts
from waterwatch.advisories.walking import Way, walk
from waterwatch.flow.rules import Network
from waterwatch.flow.service import open_network
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.settings import Settings

ACTOR = Actor.system("bench")
SLOW_S = 0.005
GROWN_BY = 10
BLOCK = 25  # walks of one kind before those of the other: alone in turn, each finds the processor's caches cold
_ARMS = """
INSERT INTO water_link (upper_id, lower_id)
SELECT f.id, twice.id FROM water_feature f JOIN water_feature below ON below.id = f.next_down_id
JOIN water_feature twice ON twice.id = below.next_down_id
WHERE f.feature_id % 50 = 0 AND f.kind = 'reach' AND twice.kind = 'reach' AND twice.id <> f.id
UNION
SELECT f.id, beside.id FROM water_feature f JOIN water_feature beside ON beside.feature_id = f.feature_id + 1
WHERE f.feature_id % 400 = 7 AND f.kind = 'reach' AND beside.kind = 'reach' AND beside.id <> f.next_down_id;
UPDATE water_feature SET slope = 0.0002 + 0.00001 * (feature_id % 997) WHERE kind = 'reach' AND feature_id % 20 = 3;
UPDATE water_network SET version = version + 1;
INSERT INTO organisation (id, code, title, created_at) SELECT gen_random_uuid(), 'bench', 'bench', now()
WHERE NOT EXISTS (SELECT FROM organisation)
"""
# The walk as a query: every way down, without limits but that of distance; then the best of each place. Exponents and
# factors are those of waterwatch.flow.travel, with Q = Qa.
_BY_SQL = text("""
WITH RECURSIVE way (id, km, earliest, probable, path) AS (
    SELECT id, CAST(0 AS float8), CAST(0 AS float8), CAST(0 AS float8), ARRAY[id]
    FROM water_feature WHERE feature_id = :feature_id
    UNION ALL
    SELECT lower.id, way.km + length.km, way.earliest + takes.edge, way.probable + takes.peak, way.path || lower.id
    FROM way JOIN water_feature f ON f.id = way.id
    CROSS JOIN LATERAL (SELECT CASE WHEN cardinality(way.path) = 1 THEN CAST(:start_km AS float8)
                                    ELSE coalesce(f.length_km, 0) END AS km) length
    CROSS JOIN LATERAL (
        SELECT CASE WHEN f.slope > 0 THEN power(d, 0.919) * power(f.slope, 0.159) ELSE power(d, 0.821) END
               * f.dis_av_cms / (f.upland_skm * 1e6) AS term
        FROM (SELECT power(f.upland_skm * 1e6, 1.25) * sqrt(CAST(9.81 AS float8)) / nullif(f.dis_av_cms, 0) AS d) own
    ) reach
    CROSS JOIN LATERAL (
        SELECT CASE WHEN held.still THEN 0 WHEN length.km = 0 THEN 0 WHEN reach.term IS NULL THEN 'Infinity'
               ELSE length.km * 0.89 / (3.6 * CASE WHEN f.slope > 0 THEN 0.25 + 0.02 * reach.term
                                                   ELSE 0.2 + 0.093 * reach.term END) END AS edge,
               CASE WHEN held.still THEN 'Infinity' WHEN length.km = 0 THEN 0 WHEN reach.term IS NULL THEN 'Infinity'
               ELSE length.km / (3.6 * CASE WHEN f.slope > 0 THEN 0.094 + 0.0143 * reach.term
                                            ELSE 0.02 + 0.051 * reach.term END) END AS peak
        FROM (SELECT f.kind = 'lake' OR f.lake_id IS NOT NULL AS still) held) takes
    CROSS JOIN LATERAL (
        SELECT f.next_down_id AS id WHERE f.next_down_id IS NOT NULL
        UNION SELECT l.lower_id FROM water_link l WHERE l.upper_id = f.id
        UNION SELECT f.lake_id WHERE f.lake_id IS NOT NULL AND f.next_down_id IS NULL
                                 AND NOT EXISTS (SELECT FROM water_link l WHERE l.upper_id = f.id)) lower
    WHERE way.km + length.km <= :limit_km AND lower.id <> ALL (way.path)),
place AS (
    SELECT id, min(km) AS km, min(earliest) AS earliest, min(probable) AS probable FROM way GROUP BY id),
told AS (
    SELECT id, km, earliest, probable FROM place
    UNION ALL
    SELECT f.lake_id, p.km, p.earliest, p.probable FROM place p JOIN water_feature f ON f.id = p.id
    WHERE f.lake_id IS NOT NULL)
SELECT f.feature_id, min(t.km), min(t.earliest), min(t.probable)
FROM told t JOIN water_feature f ON f.id = t.id WHERE f.feature_id <> :feature_id GROUP BY f.feature_id
""")
_LONG = text("""
SELECT feature_id FROM water_feature
WHERE kind = 'reach' AND dist_dn_km BETWEEN :km AND 5000 AND lake_id IS NULL
ORDER BY md5(CAST(feature_id AS text)) LIMIT :count
""")
_ANY = text("""
SELECT feature_id, coalesce(length_km, 0) AS km FROM water_feature ORDER BY md5('any' || feature_id) LIMIT :count
""")
_OPEN = text("""
INSERT INTO incident (id, code, organisation_id, state, state_since, kind, severity, graded_severity, water_feature_id,
                      exact_point, public_point, opened_at, last_confirmed_at)
SELECT gen_random_uuid(), 'W' || f.feature_id, o.id, 'open', :now, 'sewage_outfall', 2 + f.feature_id % 3,
       2 + f.feature_id % 3, f.id, f.at, f.at, :seen, :now
FROM organisation o, (
    SELECT id, feature_id, ST_StartPoint(ST_GeometryN(geom, 1)) AS at FROM water_feature
    WHERE kind = 'reach' AND dist_dn_km > 0 AND NOT EXISTS (SELECT FROM incident i WHERE i.code = 'W' || feature_id)
    ORDER BY md5('open' || feature_id) LIMIT :count) f
RETURNING id
""")
_GRADED = text("""
UPDATE incident SET severity = 2 + (severity - 1) % 3, graded_severity = 2 + (severity - 1) % 3 WHERE id = :id
""")
_WRITTEN = text("""
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_xact_user_tables
WHERE relname IN ('downstream_forecast', 'downstream_reach', 'advisory', 'audit_entry', 'outbox')
""")
_CLEAN = """
DELETE FROM advisory WHERE basis = 'approaching'; DELETE FROM downstream_forecast; DELETE FROM incident;
DELETE FROM outbox
"""


def main() -> None:
    """Make the country, walk it, warn in it."""
    asked = _arguments()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    with _folder(asked.keep) as folder, _postgres(folder) as url:
        _fill(url, folder, asked)
        engine = _engine(url)
        with Session(engine) as session:
            session.execute(text("SET statement_timeout = 0"))
            network = open_network(session, folder / "flow")
            print(
                f"{len(network):,} features, {len(network.arm_upper):,} arms, "
                f"{network.bytes / len(network):.1f} bytes a feature"
            )
            session.commit()
            if asked.only != "forecasts":
                _walks(session, network, asked)
                _anywhere(session, network, asked)
        settings = Settings(
            mode="test", secret_key="bench-bench-bench-bench-bench-bench", public_url="http://localhost",
            database_url=url, redis_url="redis://127.0.0.1:9/0", smtp_url="smtp://127.0.0.1:9",
            objects_url=f"file://{folder}/objects", spool_dir=folder / "spool", publish_dir=folder / "published",
        )  # fmt: skip
        if asked.only != "walks":
            _forecasts(engine, network, settings, asked)
        engine.dispose()
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.advisories")
    parser.add_argument("--reaches", type=int, default=1_000_000)
    parser.add_argument("--lakes", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--asked", type=int, default=100, help="walks of each kind in a round")
    parser.add_argument("--random", type=int, default=10_000, help="incidents anywhere")
    parser.add_argument("--incidents", type=int, default=1_000, help="open ones, and then ten times as many")
    parser.add_argument("--only", choices=["walks", "forecasts"], help="the one half of it")
    parser.add_argument("--keep", type=Path, help="a folder for files and cluster, used again the next time")
    return parser.parse_args()


def _fill(url: str, folder: Path, asked: argparse.Namespace) -> None:
    from waterwatch.kernel import migrate

    migrate.upgrade(url)
    with psycopg.connect(url, autocommit=True) as admin:
        there = admin.execute("SELECT count(*) FROM water_feature").fetchone()
        if not there or not there[0]:
            reaches, lakes = folder / f"reaches-{asked.reaches}.shp", folder / f"lakes-{asked.lakes}.gpkg"
            if not reaches.exists():
                made = country.make_reaches(asked.reaches)
                country.write_reaches(reaches, made, country.shapes_of(made))
            if not lakes.exists():
                country.write_lakes(lakes, country.make_lakes(asked.lakes))
            for what, file in (("reaches", reaches), ("lakes", lakes)):
                told = _run_import(url, what, file)
                print(f"{what}: {told['rows']:,.0f} rows in {told['seconds']:.0f} s")
        links = admin.execute("SELECT count(*) FROM water_link").fetchone()
        if not links or not links[0]:
            for statement in _ARMS.split(";"):
                admin.execute(statement.encode())
            admin.execute("VACUUM ANALYZE")


# ---- walks ---------------------------------------------------------------------------------------------------------


def _walks(session: Session, network: Network, asked: argparse.Namespace) -> None:
    """Ours and the query's in turn, block by block, of the same walks."""
    found = session.execute(_LONG, {"km": 200, "count": asked.asked * asked.rounds}).scalars().all()
    starts = list(found) or [row.feature_id for row in session.execute(_ANY, {"count": asked.asked})]
    session.execute(text("SET plan_cache_mode = force_generic_plan"))

    def ours(feature_id: int) -> Way:
        return walk(network, feature_id, start_km=2.0, limit_h=math.inf, diluted_by=math.inf)

    def by_sql(feature_id: int) -> Sequence[Any]:
        values = {"feature_id": feature_id, "start_km": 2.0, "limit_km": 200.0}
        return session.execute(_BY_SQL, values).all()

    for feature_id in starts[:20]:
        ours(feature_id), by_sql(feature_id)
    memory: list[list[float]] = []
    database: list[list[float]] = []
    processor: list[float] = []  # a walk, by block
    sizes: list[int] = []
    sooner = 0
    for nth in range(asked.rounds):
        memory.append([])
        database.append([])
        round_of = starts[nth * asked.asked : (nth + 1) * asked.asked] or starts
        for first in range(0, len(round_of), BLOCK):
            block = round_of[first : first + BLOCK]
            began = time.thread_time()
            ways = [_timed(ours, feature_id) for feature_id in block]
            processor.append((time.thread_time() - began) / len(block))
            answers = [_timed(by_sql, feature_id) for feature_id in block]
            memory[-1] += [took for took, _way in ways]
            database[-1] += [took for took, _rows in answers]
            for feature_id, (_took, way), (_also, rows) in zip(block, ways, answers, strict=True):
                sooner += _same(feature_id, way, rows)
                sizes.append(len(way))
    everything = [one for times in memory for one in times]
    print(
        f"\n{len(everything):,} walks of 200 km, {statistics.median(sizes):.0f} reaches (at most {max(sizes)}): "
        f"p50 {_ms(statistics.median(everything))}, p99 {_ms(_percentile(everything, 0.99))}, "
        f"max {_ms(max(everything))}; "
        f"by the processor {_ms(statistics.median(processor))}, by block at most {_ms(max(processor))}\n"
        f"  all answers the same by SQL, but for {sooner} of {sum(sizes):,} places that a longer way reaches sooner"
    )
    _figure("walk of 200 km, p99", "ms", [_percentile(times, 0.99) * 1e3 for times in memory], Goal(at_most=5))
    slow = [one for times in database for one in times]
    print(f"recursive query: p50 {_ms(statistics.median(slow))}, p99 {_ms(_percentile(slow, 0.99))}")
    pairs = list(zip(database, memory, strict=True))
    medians = [statistics.median(sql) / statistics.median(own) for sql, own in pairs]
    _ratio("recursive query / walk, medians", medians, Goal(at_least=20))
    quick = [_percentile(sql, 0.05) / _percentile(own, 0.05) for sql, own in pairs]
    _ratio("recursive query / walk, fastest 5 %", quick, Goal(at_least=20))
    _ratio("recursive query / walk, all together", [sum(sql) / sum(own) for sql, own in pairs], Goal(at_least=20))


def _same(feature_id: int, way: Way, rows: Sequence[Any]) -> int:
    """The same places, km and hours; the network keeps lengths and terms as float4.

    A place within 200 km may be reached sooner by a way that is longer than that: the query gives such ways up. How
    many places are so; of these ours is sooner.
    """
    told = {row[0]: row[1:] for row in rows}
    columns = (way.distance_km.tolist(), way.earliest_h.tolist(), way.probable_h.tolist())
    found = dict(zip(way.feature_ids.tolist(), zip(*columns, strict=True), strict=True))
    assert found.keys() == told.keys(), (feature_id, found.keys() ^ told.keys())
    sooner = 0
    for place, label in found.items():
        alike = [
            ours == theirs or math.isclose(ours, theirs, rel_tol=1e-5, abs_tol=1e-6)
            for ours, theirs in zip(label, told[place], strict=True)
        ]
        if not all(alike):
            others = zip(alike[1:], label[1:], told[place][1:], strict=True)
            assert alike[0], (feature_id, place)
            assert all(same or ours < theirs for same, ours, theirs in others), (feature_id, place)
            sooner += 1
    return sooner


def _anywhere(session: Session, network: Network, asked: argparse.Namespace) -> None:
    """Incidents anywhere, on lakes too, as they are walked for a forecast."""
    starts = session.execute(_ANY, {"count": asked.random}).all()
    gc.collect()
    clock, processor, sizes = [], [], []
    for row in starts:
        began, began_cpu = time.perf_counter(), time.thread_time()
        way = walk(network, row.feature_id, start_km=row.km / 2)
        processor.append(time.thread_time() - began_cpu)
        clock.append(time.perf_counter() - began)
        sizes.append(len(way))
    late = sum(one > SLOW_S for one in clock)
    print(
        f"\n{len(starts):,} incidents anywhere, {statistics.mean(sizes):.0f} reaches on average, at most "
        f"{max(sizes)}:\n"
        f"  by the clock p50 {_ms(statistics.median(clock))}, p99 {_ms(_percentile(clock, 0.99))}, "
        f"max {_ms(max(clock))}, {late} over 5 ms\n"
        f"  by the processor p99 {_ms(_percentile(processor, 0.99))}, max {_ms(max(processor))}, "
        f"{sum(one > SLOW_S for one in processor)} over 5 ms   "
        f"{Goal(at_most=5).verdict([max(processor) * 1e3])}"
    )


# ---- forecasts -----------------------------------------------------------------------------------------------------


def _forecasts(engine: Engine, network: Network, settings: Settings, asked: argparse.Namespace) -> None:
    _clean(engine)
    now = datetime.now(UTC)
    ids = _opened(engine, asked.incidents, now)
    took, rows = _reckoned(engine, network, settings, ids, now)
    with engine.connect() as connection:
        reaches = connection.execute(text("SELECT count(*) FROM downstream_reach")).scalar_one()
    print(
        f"\n{len(ids):,} open incidents, {reaches:,} reaches warned; "
        f"made for the first time: {took:.2f} s, {rows:,} rows"
    )
    later = now + timedelta(seconds=settings.downstream_head_start_s + 1)
    took, rows = _reckoned(engine, network, settings, ids, later)
    print(f"  public now, so that levels come: {took:.2f} s, {rows:,} rows")
    _settled(engine)
    anew, other = [], []
    for nth in range(asked.rounds):
        took, rows = _reckoned(engine, network, settings, ids, later + timedelta(seconds=nth))
        anew.append(took)
        flow = settings.model_copy(update={"flow_ratio": 1.5 if nth % 2 == 0 else 1.0})
        took, rows = _reckoned(engine, network, flow, ids, later + timedelta(seconds=nth))
        other.append(took)
        _reckoned(engine, network, settings, ids, later + timedelta(seconds=nth))
    _figure(f"{len(ids):,} anew, nothing changed", "s", anew, Goal(at_most=2))
    _figure(f"{len(ids):,} anew, other water in all rivers", "s", other, Goal(at_most=2))
    few = _regrade(engine, network, settings, ids, later, asked.rounds)
    ids += _opened(engine, (GROWN_BY - 1) * asked.incidents, now)
    took, rows = _reckoned(engine, network, settings, ids, later)
    print(f"  {len(ids):,} open incidents: {took:.2f} s, {rows:,} rows")
    _settled(engine)
    many = _regrade(engine, network, settings, ids, later, asked.rounds)
    _ratio(
        f"one of {GROWN_BY} times as many / one of {asked.incidents:,}",
        [b / a for a, b in zip(few, many, strict=True)],
        Goal(at_most=2),
    )


def _regrade(
    engine: Engine, network: Network, settings: Settings, ids: list[uuid.UUID], now: datetime, rounds: int
) -> list[float]:
    """One incident after another graded otherwise: nothing of any other's forecast is written."""
    medians = []
    written: list[int] = []
    for nth in range(rounds):
        times = []
        for one in ids[nth * 20 : nth * 20 + 20] or ids:
            with Session(engine) as session, session.begin():
                session.execute(_GRADED, {"id": one})
            before = _others(engine, one) if nth == 0 else None
            took, rows = _reckoned(engine, network, settings, [one], now + timedelta(seconds=nth + 1))
            assert before is None or before == _others(engine, one)
            times.append(took)
            written.append(rows)
        medians.append(statistics.median(times))
    print(
        f"  one of {len(ids):,} graded otherwise: {_ms(statistics.median(medians))} "
        f"({_ms(min(medians))} to {_ms(max(medians))}), {statistics.median(written):.0f} rows, at most {max(written)}"
    )
    return medians


def _others(engine: Engine, incident_id: uuid.UUID) -> Any:
    """What tells whether rows of other incidents were written since: how many there are, and by whom written last."""
    question = text("""
        SELECT (SELECT array_agg(DISTINCT xmin::text) FROM downstream_forecast WHERE incident_id <> :id),
               (SELECT array_agg(DISTINCT xmin::text) FROM downstream_reach WHERE incident_id <> :id),
               (SELECT count(*) FROM downstream_reach WHERE incident_id <> :id)
    """)
    with engine.connect() as connection:
        return tuple(connection.execute(question, {"id": incident_id}).one())


def _reckoned(
    engine: Engine, network: Network, settings: Settings, ids: list[uuid.UUID], now: datetime
) -> tuple[float, int]:
    """Seconds until it is committed, and how many rows were written."""
    began = time.perf_counter()
    with Session(engine) as session, session.begin():
        session.execute(text("SET LOCAL statement_timeout = 0"))
        forecasts.reckon(session, ids, network, settings=settings, actor=ACTOR, now=now)
        session.flush()
        paused = time.perf_counter()
        rows = int(session.execute(_WRITTEN).scalar_one())
        paused = time.perf_counter() - paused
    return time.perf_counter() - began - paused, rows


def _opened(engine: Engine, count: int, now: datetime) -> list[uuid.UUID]:
    values = {"count": count, "now": now, "seen": now - timedelta(hours=2)}
    with Session(engine) as session, session.begin():
        return list(session.execute(_OPEN, values).scalars())


def _clean(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in _CLEAN.split(";"):
            session.execute(text(statement))


def _settled(engine: Engine) -> None:
    """What autovacuum does by itself within a minute."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE downstream_forecast, downstream_reach, advisory, incident"))


def _timed(ask: Callable[[int], Any], item: int) -> tuple[float, Any]:
    began = time.perf_counter()
    found = ask(item)
    return time.perf_counter() - began, found


def _figure(name: str, unit: str, values: Sequence[float], goal: Goal) -> None:
    middle = statistics.median(values)
    print(f"{name:44}{middle:.2f} {unit}   from {min(values):.2f} to {max(values):.2f}   {goal.verdict(values)}")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


if __name__ == "__main__":
    main()
