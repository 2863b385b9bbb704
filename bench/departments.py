"""What a quarter's books cost: counting every department's figures, and making one department's bulletin.

A private PostgreSQL with 3,161 departments of three levels. ``figures``: cases of one quarter, then ten times as many;
the floor is one grouping of the same cases by department alone, without areas, shares or medians of seconds.
``bulletin``: one department's quarter of so many incidents, then ten times as many; processor time for each incident,
and the memory at its highest.

    python -m bench.departments [--cases 30000] [--incidents 200] [--rounds 3] [figures] [bulletin]
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from bench.waters import Goal, _postgres, _ratio, _timed
from tests.bulletins.rows import NOW, PERIOD, SYSTEM, add_department, context_of
from tests.escalation.rows import add_incident
from waterwatch.accountability import queries as figures
from waterwatch.bulletins import jobs
from waterwatch.bulletins import service as bulletins
from waterwatch.kernel import migrate
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.settings import Settings

WITHIN = datetime(2026, 2, 1, tzinfo=UTC)
STATEMENT_TIMEOUT_S = 900
TENFOLD = 10
TEN_TIMES_AT_MOST = 1.5  # for each case or incident, beside the small size: a sort adds a logarithm

AREAS = text("""
INSERT INTO jurisdiction (id, code, level, parent_id, geom)
SELECT gen_random_uuid(), CAST(:base + g AS text), :level, parent.id,
       ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))', 4326)
FROM generate_series(0, CAST(:count AS int) - 1) g
LEFT JOIN jurisdiction parent ON parent.code = CAST(:parents + g % :parent_count AS text)
""")
LEVELS = (("province", 100_000, 31, 0, 1), ("prefecture", 200_000, 330, 100_000, 31),
          ("county", 300_000, 2_800, 200_000, 330))  # fmt: skip
AGENCIES = text("""
INSERT INTO agency (id, code, kind, level, jurisdiction_id)
SELECT gen_random_uuid(), 'a-' || code, 'water', level, id FROM jurisdiction
""")
INCIDENTS = text("""
INSERT INTO incident (id, code, organisation_id, state, state_since, kind, severity, graded_severity, water_feature_id,
                      exact_point, public_point, opened_at, last_confirmed_at, closed_at)
SELECT gen_random_uuid(), 'B' || lpad(CAST(g AS text), 8, '0'), i.organisation_id,
       CASE WHEN g % 3 = 0 THEN 'verified_clean' ELSE 'open' END, now(), i.kind, 1 + g % 3, 1 + g % 3,
       i.water_feature_id, i.exact_point, i.public_point, i.opened_at, i.opened_at,
       CASE WHEN g % 3 = 0 THEN i.opened_at + interval '20 days' END
FROM generate_series(CAST(:first AS int), CAST(:last AS int)) g, incident i WHERE i.id = :like
""")
CASES = text("""
WITH departments AS (SELECT id, row_number() OVER (ORDER BY code) - 1 AS n FROM agency
                     WHERE id = coalesce(CAST(:only AS uuid), id)),
numbered AS (SELECT id, opened_at, CAST(substr(code, 2) AS int) AS g FROM incident WHERE code LIKE 'B________'),
seen AS (SELECT id, g, opened_at + g % 50 * interval '1 day' AS at FROM numbered WHERE g BETWEEN :first AND :last)
INSERT INTO escalation_case (id, incident_id, agency_id, state, state_since, severity, created_at, delivered_at,
                             acknowledged_at, answered_at, acknowledge_by, answer_by, finish_by)
SELECT gen_random_uuid(), seen.id, d.id, 'delivered', now(), 3, at, at,
       CASE WHEN g % 4 > 0 THEN at + g % 5000 * interval '1 minute' END,
       CASE WHEN g % 2 > 0 THEN at + g % 20000 * interval '1 minute' END,
       at + interval '1 day', at + interval '7 days', at + interval '60 days'
FROM seen JOIN departments d ON d.n = CAST(g AS bigint) * 7919 % (SELECT count(*) FROM departments)
""")
FLOOR = text("""
SELECT c.agency_id, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY c.answered_at - c.delivered_at)
FROM escalation_case c JOIN incident i ON i.id = c.incident_id GROUP BY c.agency_id
""")
RELEASE = text("""
INSERT INTO period_release (period, id, as_of, state, state_since, state_deadline_at)
VALUES (:period, gen_random_uuid(), now(), 'shown', now(), now())
""")


def main() -> None:
    """One part or both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="figures, bulletin")
    parser.add_argument("--cases", type=int, default=30_000)
    parser.add_argument("--incidents", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--made-here", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.made_here:
        _make_bulletin(asked.made_here)
        return
    if not asked.parts or "figures" in asked.parts:
        _figures(asked.cases, asked.rounds)
    if not asked.parts or "bulletin" in asked.parts:
        _bulletins(asked.incidents)


@contextmanager
def _base() -> Iterator[tuple[str, sessionmaker[Session], Path]]:
    with tempfile.TemporaryDirectory(prefix="waterwatch-bench-") as made, _postgres(Path(made)) as url:
        migrate.upgrade(url)
        engine = make_engine(url, role=None, statement_timeout_s=STATEMENT_TIMEOUT_S)
        yield url, make_sessions(engine), Path(made)
        engine.dispose()


def _load(session: Session, like: object, first: int, last: int, only: object = None) -> None:
    session.execute(INCIDENTS, {"first": first, "last": last, "like": like})
    session.execute(CASES, {"first": first, "last": last, "only": only})


def _figures(cases: int, rounds: int) -> None:
    with _base() as (_url, sessions, _folder):
        with transaction(sessions) as session:
            for level, base, count, parents, parent_count in LEVELS:
                values = {"level": level, "base": base, "count": count}
                session.execute(AREAS, {**values, "parents": parents, "parent_count": parent_count})
            session.execute(AGENCIES)
            session.execute(RELEASE, {"period": PERIOD.code})
            like = add_incident(session, now=WITHIN)
        cost: dict[int, float] = {}
        for size, first in ((cases, 1), (cases * TENFOLD, cases + 1)):
            print(f"loading cases {first:,} to {size:,} …", flush=True)
            with transaction(sessions) as session:
                _load(session, like, first, size)
            with transaction(sessions) as session:
                session.execute(text("ANALYZE escalation_case, incident"))
            ratios, times = [], []
            for _ in range(rounds):
                floor = _timed(lambda count: _group(sessions, count), size)
                ours = _timed(lambda count: _count(sessions, count), size)
                times.append(ours)
                ratios.append(ours / floor)
            cost[size] = min(times) / size
            print(f"{size:,} cases of 3,161 departments: {min(times):.2f} s, fastest of {rounds}")
            middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
            print(f"  counting / one grouping by department: {middle:.1f}x, {low:.1f} to {high:.1f}")
        small, large = cost.values()
        _ratio("a case among ten times as many", [large / small], Goal(at_most=TEN_TIMES_AT_MOST))


def _group(sessions: sessionmaker[Session], _count: int) -> None:
    with transaction(sessions) as session:
        session.execute(FLOOR).all()


def _count(sessions: sessionmaker[Session], cases: int) -> None:
    with transaction(sessions) as session:
        session.execute(text("DELETE FROM period_figures"))
        written = figures.count(session, PERIOD, as_of=datetime(2026, 4, 10, tzinfo=UTC))
        national = session.execute(text("SELECT max(cases) FROM period_figures WHERE agency_id IS NULL")).scalar_one()
        assert written > 0
        assert national == cases


def _bulletins(incidents: int) -> None:
    """Each size in a process of its own, whose memory is then its own."""
    cost: dict[int, float] = {}
    for size in (incidents, incidents * TENFOLD):
        command = [sys.executable, "-m", "bench.departments", "--made-here", str(size)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(said, end="", flush=True)
        cost[size] = float(said.rsplit("cpu ", 1)[1].split()[0]) / size
    small, large = cost.values()
    _ratio("an incident in a bulletin ten times as long", [large / small], Goal(at_most=TEN_TIMES_AT_MOST))


def _make_bulletin(incidents: int) -> None:
    with _base() as (url, sessions, folder):
        settings = Settings(
            mode="test", secret_key="bench-bench-bench-bench-bench-bench", public_url="http://localhost",
            database_url=url, redis_url="redis://127.0.0.1:9/0", smtp_url="smtp://127.0.0.1:9",
            objects_url=f"file://{folder}/objects", spool_dir=folder / "spool", publish_dir=folder / "published",
        )  # fmt: skip
        context = context_of(settings, sessions)
        with transaction(sessions) as session:
            agency_id = add_department(session)
            _load(session, add_incident(session, now=WITHIN), 1, incidents, only=agency_id)
        with transaction(sessions) as session:
            session.execute(text("ANALYZE"))
            row = bulletins.propose(session, agency_id, PERIOD, actor=SYSTEM, now=NOW)
            bulletin_id, revision = row.id, row.revision
        before, began = time.process_time(), time.perf_counter()

        def tell(_what: str, done: int, of: int) -> None:
            print(f"\r  volume {done} of {of}", end="", file=sys.stderr, flush=True)

        jobs.make_files(context, bulletin_id, revision, tell=tell)
        cpu, took = time.process_time() - before, time.perf_counter() - began
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"bulletin of {incidents:,} incidents: {took:.1f} s, peak {peak_mb} MB, cpu {cpu:.1f} s")


if __name__ == "__main__":
    main()
