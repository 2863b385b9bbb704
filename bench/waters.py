"""How fast the database of waters answers and fills, at the size of a country. Ratios, side by side in one run.

A made-up country (``bench.country``) is imported into a private PostgreSQL with fsync on, from the files an operator
would have. Then everything is asked in rounds, each round every contestant in turn, over one connection.

    python -m bench.waters [--reaches 1000000] [--lakes 50000] [--counties 3000] [--rounds 5] [--asked 400]

Without ``--keep FOLDER`` (files and cluster are used again there) all is made anew, which takes some minutes.
"""

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import shapely
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from bench import country

TABLES = ("water_feature", "water_body", "water_name", "water_key", "water_word")
LAYOUTS = {"reaches": ["name.zh-Hans=NAME_ZH"], "lakes": [], "areas": ["key=CODE", "name.zh-Hans=NAME"]}


@dataclass(frozen=True)
class Goal:
    """What a ratio is held against: at most, or at least, so much."""

    at_most: float | None = None
    at_least: float | None = None

    def verdict(self, ratios: Sequence[float]) -> str:
        """In words; none where the rounds lie on both sides of the goal."""
        goal = self.at_most if self.at_most is not None else self.at_least
        assert goal is not None
        said = f"goal {'≤' if self.at_most is not None else '≥'} {goal:g}"
        if min(ratios) <= goal <= max(ratios) and len(ratios) > 1:
            return f"{said}: no verdict, the rounds lie on both sides"
        kept = max(ratios) <= goal if self.at_most is not None else min(ratios) >= goal
        return f"{said}: {'kept' if kept else 'MISSED'}"


def main() -> None:
    """Make the country, import it, ask it."""
    asked = _arguments()
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    with _folder(asked.keep) as folder, _postgres(folder) as url:
        files = _files(folder, asked)
        _import_everything(url, files)
        engine = _engine(url)
        with Session(engine) as session:
            _ask(session, asked)
        _walk(engine, folder)
        engine.dispose()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.waters")
    parser.add_argument("--reaches", type=int, default=1_000_000)
    parser.add_argument("--lakes", type=int, default=50_000)
    parser.add_argument("--counties", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--asked", type=int, default=400, help="questions of each kind in a round")
    parser.add_argument("--keep", type=Path, help="a folder for files and cluster, used again the next time")
    parser.add_argument("--import-one", nargs=3, metavar=("URL", "WHAT", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.import_one:
        _import_one(*asked.import_one)
        raise SystemExit
    return asked


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="waterwatch-bench-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    from workers.services import PrivatePostgres

    with PrivatePostgres(folder / "postgres") as postgres:
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            # As the guide to operations says for such sizes: checkpoints no oftener than needed.
            connection.execute("ALTER SYSTEM SET max_wal_size = '4GB'")
            connection.execute("SELECT pg_reload_conf()")
        yield postgres.url("postgres")


def _engine(url: str) -> Engine:
    from waterwatch.kernel.db import make_engine

    return make_engine(url, role=None)


# ---- the country ---------------------------------------------------------------------------------------------------


def _files(folder: Path, asked: argparse.Namespace) -> dict[str, Path]:
    files = {
        "tenth": folder / f"reaches-{asked.reaches // 10}.shp",
        "reaches": folder / f"reaches-{asked.reaches}.shp",
        "lakes": folder / f"lakes-{asked.lakes}.gpkg",
        "areas": folder / f"areas-{asked.counties}.gpkg",
    }
    began = time.monotonic()
    for what, count in (("tenth", asked.reaches // 10), ("reaches", asked.reaches)):
        if not files[what].exists():
            reaches = country.make_reaches(count)
            country.write_reaches(files[what], reaches, country.shapes_of(reaches))
    if not files["lakes"].exists():
        country.write_lakes(files["lakes"], country.make_lakes(asked.lakes))
    if not files["areas"].exists():
        country.write_areas(files["areas"], country.make_counties(asked.counties))
    print(f"the country's files: made or found in {time.monotonic() - began:.0f} s")
    return files


def _import_everything(url: str, files: dict[str, Path]) -> None:
    from waterwatch.kernel import migrate

    with psycopg.connect(url, autocommit=True) as admin:
        found = admin.execute("SELECT to_regclass('water_feature') IS NOT NULL").fetchone()
        if found and found[0] and admin.execute("SELECT 1 FROM water_feature LIMIT 1").fetchone():
            print("the country was imported before\n")
            return
    migrate.upgrade(url)
    print("\nimport                          rows      seconds   peak memory of the importer")
    told = {}
    for what in ("tenth", "reaches", "lakes", "areas"):
        told[what] = _run_import(url, "reaches" if what == "tenth" else what, files[what])
        print(f"{what:24}{told[what]['rows']:>12,}{told[what]['seconds']:>13.1f}{told[what]['peak_mb']:>14.0f} MB")
        if what == "tenth":
            _forget(url)
        if what == "reaches":
            told["bare"] = {"seconds": _bare_copy(url)}
            print(f"{'bare COPY + indexes':24}{'the same':>12}{told['bare']['seconds']:>13.1f}")
    ratio = told["reaches"]["seconds"] / told["bare"]["seconds"]
    print(
        f"import / bare COPY of the same rows and the same indexes: {ratio:.2f}x   {Goal(at_most=2).verdict([ratio])}"
    )
    grown = told["reaches"]["peak_mb"] / told["tenth"]["peak_mb"]
    print(f"memory at ten times the rows: {grown:.2f}x; peak {told['reaches']['peak_mb']:.0f} MB (goal ≤ 1,000 MB)\n")


def _run_import(url: str, what: str, file: Path) -> dict[str, float]:
    """In a process of its own, so that its memory is its own."""
    command = [sys.executable, "-m", "bench.waters", "--import-one", url, what, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _import_one(url: str, what: str, file: str) -> None:
    from waterwatch.imports import rules
    from waterwatch.imports.reading import Reading
    from waterwatch.imports.service import ImportWaters, import_waters

    layout = {
        "reaches": rules.HYDRORIVERS,
        "lakes": rules.HYDROLAKES,
        "areas": rules.generic("areas", rules.AREA),
    }[what]
    reading = Reading(replace(rules.with_mapping(layout, LAYOUTS[what])))
    command = ImportWaters((Path(file),), reading, partial=what == "areas")
    engine = _engine(url)
    began = time.monotonic()
    report = import_waters(engine, command, now=lambda: datetime.now(UTC), progress=lambda *_told: None)
    seconds = time.monotonic() - began
    assert report.is_live, report.refused
    # Not ru_maxrss: that begins with what the process that started this one had.
    status = Path("/proc/self/status").read_text()
    peak_mb = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"rows": report.read, "seconds": seconds, "peak_mb": peak_mb}))


def _forget(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("TRUNCATE import_run, water_link, river_chief, " + ", ".join(TABLES) + " CASCADE")


def _bare_copy(url: str) -> float:
    """The floor: the same rows into tables with the same generated columns and checks, then the same indexes."""
    seconds = 0.0
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SET maintenance_work_mem = '512MB'")
        admin.execute("CREATE SCHEMA bare")
        for table in TABLES:
            columns = ", ".join(
                str(row[0])
                for row in admin.execute(
                    "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public'"
                    " AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
                    [table],
                )
            )
            pieces = []
            with admin.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) TO STDOUT (FORMAT BINARY)") as out:
                pieces = [bytes(piece) for piece in out]
            admin.execute(
                f"CREATE TABLE bare.{table} (LIKE {table} INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS)"
            )
            began = time.monotonic()
            with admin.cursor() as cursor, cursor.copy(
                f"COPY bare.{table} ({columns}) FROM STDIN (FORMAT BINARY)"
            ) as into:  # fmt: skip
                for piece in pieces:
                    into.write(piece)
            definitions = admin.execute(
                "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = %s", [table]
            ).fetchall()
            for (definition,) in definitions:
                admin.execute(str(definition).replace("public.", "bare."))
            seconds += time.monotonic() - began
        admin.execute("DROP SCHEMA bare CASCADE")
    return seconds


# ---- questions -----------------------------------------------------------------------------------------------------


def _ask(session: Session, asked: argparse.Namespace) -> None:
    from waterwatch.agencies.queries import jurisdictions_at
    from waterwatch.waters.queries import nearest_waters
    from waterwatch.waters.search import search_names

    session.execute(text("SET statement_timeout = 0"))
    session.execute(text("CREATE INDEX IF NOT EXISTS bench_geography ON water_feature USING gist (geography(geom))"))
    session.execute(text("ANALYZE"))
    session.commit()
    choose = random.Random(11)
    places = _places(session, choose, asked.asked)
    words = _words(session, choose, asked.asked)
    one = text("SELECT 1")
    # The same answer by way of a geography index: the same columns, the same order.
    within = text(
        "SELECT f.id, f.feature_id, f.water_body_id, b.public_id, f.kind,"
        " ST_Distance(f.geom::geography, p.at) AS metres,"
        " ST_X(ST_ClosestPoint(f.geom, p.at::geometry)), ST_Y(ST_ClosestPoint(f.geom, p.at::geometry))"
        " FROM (SELECT ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography AS at) p, water_feature f"
        " JOIN water_body b ON b.id = f.water_body_id"
        " WHERE f.retired_at IS NULL AND ST_DWithin(geography(f.geom), p.at, 500)"
        " ORDER BY metres, f.ord_stra DESC NULLS LAST, f.feature_id"
    )
    contestants: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
        "SELECT 1": (lambda _place: session.execute(one).scalar_one(), places),
        "snap within 500 m": (lambda place: nearest_waters(session, *place, 250.0), places),
        "geography ST_DWithin": (
            lambda place: session.execute(within, {"lon": place[0], "lat": place[1]}).all(),
            places,
        ),
        "jurisdictions_at": (lambda place: jurisdictions_at(session, *place), places),
        "search by name": (lambda word: search_names(session, word), words),
    }
    found: dict[str, list[list[float]]] = {name: [] for name in contestants}
    for place in places[:50]:  # until plans are kept
        for name, (ask, items) in contestants.items():
            ask(items[0] if name == "search by name" else place)
    for _round in range(asked.rounds):
        # Question by question in turn: the machine is not the same from one second to the next.
        for times in found.values():
            times.append([])
        for nth in range(asked.asked):
            for name, (ask, items) in contestants.items():
                found[name][-1].append(_timed(ask, items[nth]))
    _print_questions(found, asked)
    _print_batch(session, choose, asked)


def _print_questions(found: dict[str, list[list[float]]], asked: argparse.Namespace) -> None:
    print(f"questions over one connection, {asked.asked} a round, milliseconds")
    print(f"{'':24}" + "".join(f"p50 r{n + 1:<6}" for n in range(asked.rounds)) + "p95 of all")
    p50 = {name: [statistics.median(times) * 1e3 for times in rounds] for name, rounds in found.items()}
    p95 = {name: [_percentile(times, 0.95) * 1e3 for times in rounds] for name, rounds in found.items()}
    for name, rounds in found.items():
        everything = [one for times in rounds for one in times]
        print(
            f"{name:24}"
            + "".join(f"{value:<10.3f}" for value in p50[name])
            + f"{_percentile(everything, 0.95) * 1e3:.3f}"
        )
    bare = p50["SELECT 1"]
    snap, slow = p50["snap within 500 m"], p50["geography ST_DWithin"]
    _ratio("snap p50 / SELECT 1 p50", [s / b for s, b in zip(snap, bare, strict=True)], Goal(at_most=2.5))
    net = [(g - b) / (s - b) for g, s, b in zip(slow, snap, bare, strict=True)]
    _ratio("geography / snap, net of the round trip", net, Goal(at_least=3))
    areas = [a / b for a, b in zip(p50["jurisdictions_at"], bare, strict=True)]
    _ratio("jurisdictions p50 / SELECT 1 p50", areas, Goal(at_most=1.5))
    names = [n / b for n, b in zip(p95["search by name"], bare, strict=True)]
    _ratio("search p95 / SELECT 1 p50", names, Goal(at_most=30))


def _print_batch(session: Session, choose: random.Random, asked: argparse.Namespace) -> None:
    """A set-wise batch against an index in memory, built and asked in one call, on Mercator coordinates."""
    from waterwatch.waters.queries import nearest_of_many
    from waterwatch.waters.rules import to_mercator

    places = _places(session, choose, 20_000)
    shapes = shapely.from_wkb(
        [bytes(row[0]) for row in session.execute(text("SELECT ST_AsBinary(geom_3857) FROM water_feature"))]
    )
    tree = shapely.STRtree(shapes)
    points = shapely.points(np.array([to_mercator(*place) for place in places]))
    tree.query_nearest(points[:10])
    ratios = []
    for _round in range(asked.rounds):
        began = time.monotonic()
        ours = len(nearest_of_many(session, places))
        middle = time.monotonic()
        tree.query_nearest(points, max_distance=4000, all_matches=False)
        ratios.append((time.monotonic() - middle) / (middle - began))
        rate = len(places) / (middle - began)
    print(f"\nbatch of {len(places):,} places: {rate:,.0f} a second in the last round, {ours:,} near a water")
    _ratio("batch / STRtree in memory, places a second", ratios, Goal(at_least=0.35))


def _places(session: Session, choose: random.Random, count: int) -> list[tuple[float, float]]:
    """Places within some hundred metres of a reach, as those of reports are."""
    rows = session.execute(
        text("SELECT ST_X(ST_StartPoint(geom)) AS lon, ST_Y(ST_StartPoint(geom)) AS lat FROM water_feature"
             " TABLESAMPLE SYSTEM (:share) REPEATABLE (7) WHERE kind = 'reach'"),
        {"share": min(100.0, 100 * 4 * count / max(1, _count(session)))},
    ).all()  # fmt: skip
    picked = [choose.choice(rows) for _ in range(count)]
    return [(row.lon + choose.uniform(-0.003, 0.003), row.lat + choose.uniform(-0.003, 0.003)) for row in picked]


def _count(session: Session) -> int:
    found: int = session.execute(text("SELECT count(*) FROM water_feature")).scalar_one()
    return found


def _words(session: Session, choose: random.Random, count: int) -> list[str]:
    """What people type: names, their beginnings, pinyin whole and begun, initials, and slips of the finger."""
    from waterwatch.kernel.spelling import sound_of

    names = [row.name for row in session.execute(text("SELECT DISTINCT name FROM water_name WHERE lang = 'zh-Hans'"))]
    made: list[str] = []
    while len(made) < count:
        name = choose.choice(names)
        syllables = sound_of(name)
        letters = "".join(syllables)
        slip = list(letters)
        at = choose.randrange(1, len(slip))
        slip[at - 1], slip[at] = slip[at], slip[at - 1]
        made += [name, name[:2], name[:1], letters, letters[: choose.randint(1, 6)], "".join(s[0] for s in syllables)]
        made += ["".join(slip)]
    choose.shuffle(made)
    return made[:count]


# ---- the network ---------------------------------------------------------------------------------------------------


def _walk(engine: Engine, folder: Path) -> None:
    from waterwatch.flow.service import open_network

    for old in folder.glob("flow/network-*"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    with Session(engine) as session:
        began = time.monotonic()
        network = open_network(session, folder / "flow")
        compiled_s = time.monotonic() - began
        began = time.monotonic()
        network = open_network(session, folder / "flow")
        mapped_s = time.monotonic() - began
    per_feature = network.bytes / len(network)
    print(
        f"\nnetwork of {len(network):,} features: {per_feature:.1f} bytes each, mapped from one file by every process"
    )
    print(f"  read from the database and written: {compiled_s:.2f} s (goal ≤ 3); mapped again: {mapped_s * 1e3:.1f} ms")
    print(f"  {Goal(at_most=60).verdict([per_feature])}")
    largest = int(network.feature_id[int(np.nanargmax(network.dis_av_cms))])
    began = time.monotonic()
    up = network.upstream(largest)
    middle = time.monotonic()
    down = network.downstream(int(up.feature_ids[-1]))
    ended = time.monotonic()
    print(f"  upstream of the largest mouth: {len(up):,} features in {(middle - began) * 1e3:.0f} ms")
    print(f"  downstream of its farthest source: {len(down):,} features in {(ended - middle) * 1e3:.1f} ms")


def _timed(ask: Callable[[Any], object], item: Any) -> float:
    began = time.perf_counter()
    ask(item)
    return time.perf_counter() - began


def _percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, math.floor(len(values) * share))]


def _ratio(name: str, ratios: Sequence[float], goal: Goal) -> None:
    low, high = min(ratios), max(ratios)
    print(f"{name:44}{statistics.median(ratios):.2f}x   from {low:.2f} to {high:.2f}   {goal.verdict(ratios)}")


if __name__ == "__main__":
    main()
