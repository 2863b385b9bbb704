"""Publishing the map: what a run costs with 1,000 and 10,000 open incidents, how soon a grade is seen, sizes, serving.

``python -m bench.map_publish``; about eight minutes. ``--incidents``, ``--rounds``, ``--minutes``, ``--seconds`` change
the size of the work.
"""

import argparse
import gzip
import os
import random
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.mapping.publishing import order, pointer, read
from tests.web.proxy import MAIN, make_bodies_folder, nginx
from waterwatch.advisories.service import refresh
from waterwatch.kernel import migrate
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings
from waterwatch.mapping import publishing, service
from waterwatch.mapping.publishing_queries import ColouredGroup
from workers.processes import pick_free_port
from workers.services import PrivatePostgres

PAGES_OF = 2_000  # of more incidents not all pages are awaited: the rest of the bench runs while they wait to be made
LEVELS_GOAL_BYTES, COLOUR_GOAL_S, SERVING_GOAL = 150_000, 60.0, 0.95
WATERS, COLOURED, FEATURES = 20_000, 20_000, 1_050_000

_COUNTRY = """
INSERT INTO source (id, code, title, licence) VALUES (gen_random_uuid(), 'bench', 'bench', 'CC0');
INSERT INTO organisation (id, code, title, created_at) SELECT gen_random_uuid(), 'bench', 'bench', now()
WHERE NOT EXISTS (SELECT FROM organisation);
INSERT INTO jurisdiction (id, code, level, geom)
SELECT gen_random_uuid(), lpad((110000 + n * 10000)::text, 6, '0'), 'province',
       ST_Multi(ST_MakeEnvelope(80 + w * (n % 6), 20 + 5 * (n / 6), 80 + w * (n % 6 + 1), 25 + 5 * (n / 6), 4326))
FROM generate_series(0, 33) n, (SELECT 50.0 / 6 AS w) width;
INSERT INTO jurisdiction_name (jurisdiction_id, lang, name) SELECT id, 'zh-Hans', '省' || code FROM jurisdiction;
INSERT INTO water_body (id, public_id, kind, rank, basin, source_id, source_key)
SELECT gen_random_uuid(), 'w-' || n, 'river', 1 + n % 5, '流域' || n % 40, s.id, n::text
FROM generate_series(1, :waters) n, source s;
INSERT INTO water_name (id, water_body_id, lang, name, is_primary)
SELECT gen_random_uuid(), id, 'zh-Hans', CASE WHEN source_key::int <= 40 THEN '流域' || (source_key::int % 40)
                                              ELSE '第' || source_key || '河' END, true FROM water_body;
INSERT INTO water_feature (id, kind, water_body_id, geom, source_id, source_key, length_km, upland_skm)
SELECT gen_random_uuid(), 'reach', b.id, ST_SetSRID(ST_MakeLine(ARRAY(
    SELECT ST_MakePoint(80 + 50 * x + 0.004 * v, 20 + 30 * y + 0.003 * sin(v * 1.7)) FROM generate_series(0, 20) v)),
    4326),
    b.source_id, b.source_key, 9, 10 ^ (1 + 4 * random())
FROM (SELECT b.*, random() AS x, random() AS y FROM water_body b) b
"""
_INCIDENTS = text("""
INSERT INTO incident (id, code, organisation_id, state, state_since, kind, severity, graded_severity, water_feature_id,
                      exact_point, public_point, opened_at, last_confirmed_at)
SELECT gen_random_uuid(), 'B' || f.feature_id, o.id, 'open', now(),
       (ARRAY['foam', 'black_odorous', 'oil_slick'])[1 + f.feature_id % 3],
       1 + f.feature_id % 4, 1 + f.feature_id % 4, f.id, p.at, p.at, now() - interval '2 days', now()
FROM organisation o, LATERAL (SELECT f.* FROM water_feature f WHERE NOT EXISTS (
    SELECT FROM incident i WHERE i.water_feature_id = f.id) ORDER BY f.feature_id LIMIT :count) f,
LATERAL (SELECT ST_StartPoint(f.geom) AS at) p
""")
_LEVELS = text("""
INSERT INTO advisory (water_feature_id, basis, level, since, changed_at)
SELECT water_feature_id, 'confirmed', max(severity), now(), now() FROM incident GROUP BY 1 ON CONFLICT DO NOTHING
""")


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--seconds", type=int, default=4)
    wanted = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    measure_levels()
    with tempfile.TemporaryDirectory(prefix="waterwatch-publish-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with publisher(folder) as context:
            for count in wanted.incidents:
                measure_runs(context, count, rounds=wanted.rounds)
            measure_colour(context, minutes=wanted.minutes)
            measure_serving(context, folder, rounds=wanted.rounds, seconds=wanted.seconds)


def measure_levels() -> None:
    """The levels file of 20,000 coloured waters of a country of a million reaches and 50,000 lakes."""
    ids = random.Random(7).sample(range(1, FEATURES + 1), COLOURED)
    groups = [ColouredGroup("confirmed", rank, ids[rank - 1 :: 4]) for rank in (1, 2, 3, 4)]
    content = publishing.levels(groups)
    packed = len(gzip.compress(content, 6, mtime=0))
    verdict = "reached" if packed <= LEVELS_GOAL_BYTES else "MISSED"
    print(
        f"levels of {COLOURED} waters: {len(content):,} bytes, gzip {packed:,}; goal {LEVELS_GOAL_BYTES:,}: {verdict}"
    )


@contextmanager
def publisher(folder: Path) -> Any:
    """A private PostgreSQL with fsync, a country of 20,000 waters, a folder to publish into."""
    server = PrivatePostgres(folder / "postgres")
    server.start()
    try:
        url = server.create_database("bench")
        migrate.upgrade(url)
        settings = Settings(
            mode="test",
            secret_key="bench, which keeps no secret 0123456789",
            public_url="http://localhost",
            database_url=url,
            redis_url="redis://127.0.0.1:9/0",
            smtp_url="smtp://127.0.0.1:9",
            objects_url=f"file://{folder}/objects",
            spool_dir=folder / "spool",
            publish_dir=folder / "published",
        )  # type: ignore[call-arg]
        settings.spool_dir.mkdir()
        engine = make_engine(url)
        context = JobContext(settings, make_sessions(engine), ObjectStore(settings.objects_url))
        with transaction(context.sessions) as session:
            for statement in _COUNTRY.split(";"):
                if statement.strip():
                    session.execute(text(statement), {"waters": WATERS} if ":waters" in statement else {})
        began = time.monotonic()
        service.build_archive(context, order(context, service.TOPIC_ARCHIVE))
        print(f"archive of {WATERS:,} waters: {time.monotonic() - began:.1f} s")
        yield context
        engine.dispose()
    finally:
        server.stop(mode="immediate")


def measure_runs(context: JobContext, count: int, *, rounds: int) -> None:
    """A run after nothing, and one after one grade, with so many incidents open; pages made beforehand."""
    with transaction(context.sessions) as session:
        present = session.execute(text("SELECT count(*) FROM incident")).scalar_one()
        session.execute(_INCIDENTS, {"count": count - present})
        session.execute(_LEVELS)
        session.execute(text("ANALYZE"))
    began, runs = time.monotonic(), 1
    first_pointed = pointed(context, lambda: service.publish(context, order(context)))
    while waiting(context) and count <= PAGES_OF:
        service.publish(context, order(context))
        runs += 1
    whole = time.monotonic() - began
    files = sum(1 for path in context.settings.publish_dir.rglob("*") if path.is_file())
    everything = "everything" if count <= PAGES_OF else "the first pages"
    print(f"{count:,} open incidents: pointer of the first run after {first_pointed:.2f} s,"
          f" {everything} after {whole:.0f} s in {runs} runs, {files:,} files")  # fmt: skip
    nothing, one, one_pointed = [], [], []
    for _ in range(rounds):
        nothing.append(timed(lambda: service.publish(context, order(context))))
        grade(context)
        began = time.monotonic()
        one_pointed.append(pointed(context, lambda: service.publish(context, order(context))))
        one.append(time.monotonic() - began)
    print(f"  nothing changed: {spread(nothing)}")
    print(f"  one grade, to the pointer: {spread(one_pointed)}; to the last page: {spread(one)}")


class Colours:
    """Watches the pointer: when each grade became a colour."""

    def __init__(self, context: JobContext) -> None:
        self.context = context
        self.stop = threading.Event()
        self.due: dict[int, tuple[int, float]] = {}
        self.took: list[float] = []
        self._lock = threading.Lock()

    def expect(self, feature_id: int, level: int) -> None:
        """A grade was committed just now."""
        with self._lock:
            self.due[feature_id] = (level, time.monotonic())

    def look(self) -> None:
        """Read each new levels file as a browser would."""
        last = None
        while not self.stop.wait(0.05):
            if (named := pointer(self.context)["levels"]) == last:
                continue
            last = named
            coded = read(self.context, named)["confirmed"]
            shown = {found: int(rank) for rank, ids in coded.items() for found in accumulate(ids)}
            with self._lock:
                for feature_id in [found for found, (level, _at) in self.due.items() if shown.get(found) == level]:
                    self.took.append(time.monotonic() - self.due.pop(feature_id)[1])

    def work(self) -> None:
        """One publisher, as a worker of the queue is one."""
        while not self.stop.is_set():
            if waiting(self.context):
                service.publish(self.context, order(self.context))
            else:
                self.stop.wait(0.2)


def measure_colour(context: JobContext, *, minutes: float) -> None:
    """Two grades a second while one publisher works: from each grade's commit to a pointer that shows its level."""
    colours = Colours(context)
    threads = [threading.Thread(target=target) for target in (colours.look, colours.work)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + minutes * 60
    while time.monotonic() < until:
        colours.expect(*grade(context))
        time.sleep(0.5)
    deadline = time.monotonic() + 120
    while colours.due and time.monotonic() < deadline:
        time.sleep(0.1)
    colours.stop.set()
    for thread in threads:
        thread.join()
    took = sorted(colours.took)
    p95 = took[int(len(took) * 0.95)]
    verdict = "reached" if p95 <= COLOUR_GOAL_S and not colours.due else "MISSED"
    print(
        f"two grades a second: {len(took)} became colours, p50 {statistics.median(took):.1f} s, p95 {p95:.1f} s,"
        f" longest {took[-1]:.1f} s; {len(colours.due)} did not; goal p95 {COLOUR_GOAL_S:.0f} s: {verdict}"
    )


def measure_serving(context: JobContext, folder: Path, *, rounds: int, seconds: int) -> None:
    """The documented nginx before a stopped application against the plainest nginx on the same files."""
    named = pointer(context)
    port, plain = pick_free_port(), pick_free_port()
    bodies = make_bodies_folder(folder / "bodies")
    published = context.settings.publish_dir
    with (
        nginx(
            folder / "nginx", port=port, backend=pick_free_port(), bodies=bodies, secret="0" * 32, published=published
        ),
        plain_nginx(folder / "plain", port=plain, root=published),
    ):
        for what in ("map.json", named["levels"], named["tiles"], "maps/national.html"):
            ratios = []
            for number in range(rounds):
                asked = [f"http://127.0.0.1:{port}/published/{what}", f"http://127.0.0.1:{plain}/{what}"]
                rates = {url: load(url, seconds) for url in (asked if number % 2 else reversed(asked))}
                ratios.append(rates[asked[0]] / rates[asked[1]])
                print(f"  {what}: {rates[asked[0]]:,.0f}/s, plain {rates[asked[1]]:,.0f}/s, {ratios[-1]:.2f}")
            middle = statistics.median(ratios)
            verdict = "reached" if middle >= SERVING_GOAL else "MISSED"
            if min(ratios) < 1 < max(ratios):
                verdict = "no verdict, the ranges overlap"
            print(f"{what}: {middle:.2f} ({min(ratios):.2f}-{max(ratios):.2f}); goal {SERVING_GOAL}: {verdict}")


@contextmanager
def plain_nginx(folder: Path, *, port: int, root: Path) -> Any:
    """nginx with nothing but a root."""
    (folder / "tmp").mkdir(parents=True)
    temp = "".join(f"{k}_temp_path {folder}/tmp/{k};\n" for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    server = f"{temp} access_log off; server {{ listen 127.0.0.1:{port}; root {root}; gzip_static on; }}"
    user = "user www-data;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user, server=server))
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    time.sleep(1)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def load(url: str, seconds: int) -> float:
    """Requests a second by wrk over 16 connections; of the archive a part of 16 KB, as the browser asks."""
    header = ["-H", "Range: bytes=0-16383"] if url.endswith(".pmtiles") else ["-H", "Accept-Encoding: gzip"]
    told = subprocess.run(
        ["wrk", "-t1", "-c16", f"-d{seconds}s", *header, url], capture_output=True, text=True, check=True
    ).stdout
    assert "Non-2xx" not in told, told
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", told)[0])


def grade(context: JobContext) -> tuple[int, int]:
    """Let one incident have another level, its water's with it, and ask for a publication; (feature id, level)."""
    with transaction(context.sessions) as session:
        one = text("SELECT id, water_feature_id, severity FROM incident ORDER BY random() LIMIT 1")
        row = session.execute(one).one()
        level = row.severity % 4 + 1
        session.execute(
            text("UPDATE incident SET severity = :level, graded_severity = :level WHERE id = :id"),
            {"level": level, "id": row.id},
        )
        refresh(session, row.water_feature_id, actor=Actor.system("bench"), now=datetime.now(UTC))
        service.request_publication(session, now=datetime.now(UTC))
        statement = text("SELECT feature_id FROM water_feature WHERE id = :id")
        return int(session.execute(statement, {"id": row.water_feature_id}).scalar_one()), level


def waiting(context: JobContext) -> bool:
    """Whether a publication is asked for."""
    with transaction(context.sessions) as session:
        statement = "SELECT EXISTS (SELECT FROM outbox WHERE topic = 'mapping.publish' AND done_at IS NULL)"
        return bool(session.execute(text(statement)).scalar_one())


def pointed(context: JobContext, work: Callable[[], None]) -> float:
    """Seconds from now until the pointer is replaced by ``work``."""
    path = context.settings.publish_dir / "map.json"
    began = time.time()
    work()
    return path.stat().st_mtime - began


def timed(work: Callable[[], None]) -> float:
    """Seconds."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def spread(seconds: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"


if __name__ == "__main__":
    main()
