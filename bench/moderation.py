"""What a claim costs with a million and ten million reports in the base, and how much ten moderators grade together.

A private PostgreSQL with fsync on. The base: reports that were judged long ago, on 2,000 rivers in 320 areas, each with
one department; and 10,000 that wait, of four kinds, a hundredth of them urgent. Claiming the next report is measured in
turn with ``SELECT 1``, each in a transaction of its own over the same connection. Then so many threads as there are
moderators, in a process for each core as the web server has them, claim and grade (the whole of
``moderation.service.grade_report``: incident, grade, level of the water, cases, letters, audit, outbox, committed to
disk); whoever loses a report to another is counted. The floor beside it: the same threads each claim a report and
commit that it is out of the queue.

    python -m bench.moderation [--sizes 1000000 10000000] [--waiting 10000] [--moderators 10]
        [--rounds 5] [--grades 2000]
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from waterwatch.incidents.rules import RubricInputs, score
from waterwatch.incidents.service import Judgement
from waterwatch.kernel import migrate
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.errors import DomainError
from waterwatch.kernel.ids import new_id
from waterwatch.kernel.settings import Settings
from waterwatch.moderation.service import GradeReport, grade_report
from waterwatch.triage import service as triage
from workers.services import PrivatePostgres

ORGANISATION = uuid.UUID("01900000-0000-7000-8000-000000000010")
RIVERS, AREAS, PIECE = 2_000, 300, 500_000
# A river lies in each cell of a grid of 50 x 40 between 100 and 120 degrees east; an area is a block of cells.
_COUNTRY = (
    "INSERT INTO source (id, code, title, licence) VALUES (gen_random_uuid(), 'bench', 'bench', 'CC0')",
    """INSERT INTO water_body (id, public_id, kind, rank, source_id, source_key)
       SELECT gen_random_uuid(), 'w-' || n, 'river', 1, s.id, n::text FROM source s, generate_series(0, 1999) n""",
    """INSERT INTO water_feature (id, kind, water_body_id, geom, source_id, source_key)
       SELECT gen_random_uuid(), 'reach', b.id, ST_SetSRID(ST_MakeLine(ST_MakePoint(
           100 + (b.source_key::int % 50) * 0.4 + k * 0.015, 22.2 + (b.source_key::int / 50) * 0.4) ORDER BY k), 4326),
           b.source_id, b.source_key
       FROM water_body b, generate_series(0, 20) k GROUP BY b.id, b.source_id, b.source_key""",
    """INSERT INTO jurisdiction (id, code, level, geom)
       SELECT gen_random_uuid(), (400000 + n)::text, 'county', ST_Multi(ST_MakeEnvelope(
           100 + (n % 20), 22 + (n / 20), 101 + (n % 20), 23 + (n / 20), 4326)) FROM generate_series(0, 319) n""",
    """INSERT INTO agency (id, code, kind, level, jurisdiction_id)
       SELECT gen_random_uuid(), 'a-' || code, 'water', 'county', id FROM jurisdiction""",
    "INSERT INTO competence (id, agency_id, min_severity) SELECT gen_random_uuid(), id, 1 FROM agency",
    """INSERT INTO agency_contact (id, agency_id, channel, address, position, active)
       SELECT gen_random_uuid(), id, 'email', code || '@agency.example', 0, true FROM agency""",
)
# Judged reports: no trigger and no key is checked while they are filled in, or ten million would take an hour.
_BASE = text("""
INSERT INTO report (id, code, follow_digest, submission_digest, organisation_id, state, state_since, kind, language,
                    received_at, point, place_source, input_datum, water_feature_id)
SELECT gen_random_uuid(), 'B' || n, sha256(int8send(n)), sha256(int8send(-n - 1)), :organisation, 'accepted',
       now() - interval '1 year', 'foam', 'zh-Hans', now() - interval '1 year' - n * interval '1 second',
       ST_SetSRID(ST_MakePoint(100 + (n % 19999) * 0.001, 22 + (n % 15997) * 0.001), 4326), 'pin', 'wgs84', f.id
FROM generate_series(CAST(:first AS bigint), :last) n
JOIN (SELECT id, source_key::int AS nth FROM water_feature) f ON f.nth = n % 2000
""")
_WAITING = text("""
INSERT INTO report (id, code, follow_digest, submission_digest, organisation_id, state, state_since, kind, language,
                    received_at, point, place_source, input_datum, water_feature_id, snapped_point, snap_distance_m)
SELECT gen_random_uuid(), :mark || n, sha256(convert_to(:mark || n, 'utf8')), sha256(convert_to(:mark || -n, 'utf8')),
       :organisation, 'in_review', now(), (ARRAY['sewage_outfall', 'foam', 'oil_slick', 'fish_kill'])[1 + n % 4],
       'zh-Hans', now() - n * interval '1 second', ST_Translate(ST_StartPoint(f.geom), 0.1, 0.001), 'pin', 'wgs84',
       f.id, ST_Translate(ST_StartPoint(f.geom), 0.1, 0), 111
FROM generate_series(1, :count) n JOIN (SELECT id, geom, source_key::int AS nth FROM water_feature) f
  ON f.nth = (n * 7) % 2000
""")
_GIVE_BACK = text("UPDATE review_item SET leased_by = NULL, leased_until = NULL, leased_at = NULL")
_URGENT = text("UPDATE review_item SET urgency = 2 WHERE abs(hashtext(report_id::text)) % 100 = 0")
_INDEXES = text("""
SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'report' AND indexname NOT IN (
    SELECT conname FROM pg_constraint WHERE contype IN ('p', 'u'))
""")


def fill(engine: Engine, there: int, count: int) -> None:
    """Add judged reports until there are ``count``."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        indexes = connection.execute(_INDEXES).all()
        for index in indexes:
            connection.execute(text(f"DROP INDEX {index.indexname}"))
        connection.execute(text("SET session_replication_role = replica"))
        for first in range(there, count, PIECE):
            last = min(first + PIECE, count) - 1
            connection.execute(_BASE, {"organisation": ORGANISATION, "first": first, "last": last})
            print(f"\r{last + 1:>10,} reports", end="", flush=True, file=sys.stderr)
        for index in indexes:
            connection.execute(text(index.indexdef))
        connection.execute(text("SET session_replication_role = origin"))
        connection.execute(text("VACUUM ANALYZE report"))
    print(file=sys.stderr)


def wait(engine: Engine, mark: str, count: int) -> None:
    """Let so many reports wait for a moderator, and no others."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("UPDATE report SET state = 'accepted' WHERE state = 'in_review'"))
        connection.execute(_WAITING, {"organisation": ORGANISATION, "mark": mark, "count": count})
        connection.execute(_URGENT)
        connection.execute(text("VACUUM ANALYZE report, review_item, incident, grade, advisory"))


def add_moderators(engine: Engine, count: int) -> list[uuid.UUID]:
    """People who may be told to act."""
    found = []
    with Session(engine) as session:
        for number in range(count):
            values = {"id": new_id(), "email": f"m{number}@bench.example", "uniquifier": f"m{number}"}
            session.execute(
                text("""INSERT INTO person (id, email, fs_uniquifier, created_at)
                        VALUES (:id, :email, :uniquifier, now())"""),
                values,
            )
            found.append(values["id"])
        session.commit()
    return found


def median_ms(act: Callable[[], object], times: int) -> float:
    """The median of so many acts, in milliseconds."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        found.append(time.perf_counter() - started)
    return statistics.median(found) * 1000


def measure_claims(engine: Engine, person_id: uuid.UUID, size: int, rounds: int, settings: Settings) -> float:
    """Print every round and the medians; gives the median ratio to ``SELECT 1``."""
    sessions = make_sessions(engine)

    def floor() -> None:
        with transaction(sessions) as session:
            session.execute(text("SELECT 1")).scalar_one()

    def claim() -> None:
        with transaction(sessions) as session:
            assert triage.claim_next(session, person_id, settings=settings, now=datetime.now(UTC)) is not None

    ratios, claims = [], []
    for _ in range(rounds + 1):
        floor_ms, claim_ms = median_ms(floor, 200), median_ms(claim, 200)
        ratios.append(claim_ms / floor_ms)
        claims.append(claim_ms)
        with transaction(sessions) as session:
            session.execute(_GIVE_BACK)
    shown = "  ".join(f"{ratio:.2f}" for ratio in ratios[1:])  # the first warms caches and plans
    middle = statistics.median(ratios[1:])
    print(f"{size:>10,} reports  claim {statistics.median(claims[1:]):.2f} ms  ratio to SELECT 1: {shown}", end="")
    print(f"  median {middle:.2f}")
    return middle


def serve(url: str, people: list[uuid.UUID], limit: int, is_bare: bool, done: Any, lost: Any, ready: Any) -> None:
    """One process, with a thread for each of its moderators."""
    settings, sessions = _settings(url), make_sessions(make_engine(url, pool_size=len(people)))
    with transaction(sessions) as session:
        kinds: dict[uuid.UUID, str] = {
            row.report_id: row.kind for row in session.execute(text("SELECT report_id, kind FROM review_item"))
        }
    ready.wait()
    with ThreadPoolExecutor(len(people)) as pool:
        each = [pool.submit(work, sessions, settings, one, kinds, limit, is_bare, done, lost) for one in people]
        for hand in each:
            hand.result()


def work(
    sessions: sessionmaker[Session],
    settings: Settings,
    person_id: uuid.UUID,
    kinds: dict[uuid.UUID, str],
    limit: int,
    is_bare: bool,
    done: Any,
    lost: Any,
) -> None:
    """One moderator: claim, grade as the rubric says, until the limit of all or the end of the queue."""
    actor = Actor.person(person_id, ORGANISATION)
    while done.value < limit:
        now = datetime.now(UTC)
        with transaction(sessions) as session:
            report_id = triage.claim_next(session, person_id, settings=settings, now=now)
        if report_id is None:
            return
        try:
            with transaction(sessions) as session:
                if is_bare:
                    session.execute(text("DELETE FROM review_item WHERE report_id = :id"), {"id": report_id})
                else:
                    _grade(session, report_id, kinds[report_id], settings, actor, now)
        except DomainError:
            with lost.get_lock():
                lost.value += 1
            continue
        with done.get_lock():
            done.value += 1


def _grade(session: Session, report_id: uuid.UUID, kind: str, settings: Settings, actor: Actor, now: datetime) -> None:
    inputs = RubricInputs(kind=kind, is_ongoing=True)
    command = GradeReport(report_id, Judgement(inputs, score(inputs).proposed), None, seen_version=1)
    grade_report(session, command, settings=settings, actor=actor, now=now)


def measure_grades(url: str, people: list[uuid.UUID], limit: int, *, is_bare: bool) -> tuple[float, int]:
    """Reports a second by all together, and how many were lost to another."""
    context = multiprocessing.get_context("spawn")
    servers = min(len(people), os.cpu_count() or 1)
    done, lost, ready = context.Value("i", 0), context.Value("i", 0), context.Barrier(servers + 1)
    shares = [people[number::servers] for number in range(servers)]
    hands = [context.Process(target=serve, args=(url, share, limit, is_bare, done, lost, ready)) for share in shares]
    for hand in hands:
        hand.start()
    ready.wait()
    started = time.perf_counter()
    for hand in hands:
        hand.join()
        if hand.exitcode:
            raise RuntimeError("a moderator failed")
    return done.value / (time.perf_counter() - started), lost.value


def _settings(url: str) -> Settings:
    return Settings(
        mode="test",
        secret_key="only-for-a-benchmark-0123456789abcdef",
        database_url=url,
        redis_url="redis://localhost:6379/0",
        objects_url="file:///nowhere/objects",
        publish_dir="/nowhere/published",
        spool_dir="/nowhere/spool",
        public_url="http://localhost",
        smtp_url="smtp://localhost",
    )


def main() -> None:
    """Fill, measure claims, fill more; then grade."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--moderators", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--grades", type=int, default=2_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterwatch-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        postgres = PrivatePostgres(Path(name) / "postgres")
        postgres.start()
        try:
            run(postgres.url("postgres"), asked)
        finally:
            postgres.stop()


def run(url: str, asked: argparse.Namespace) -> None:
    """All of it, on one server."""
    migrate.upgrade(url)
    engine = make_engine(url, role=None, statement_timeout_s=3600)
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
    with engine.begin() as connection:
        for statement in _COUNTRY:
            connection.execute(text(statement))
    people = add_moderators(engine, asked.moderators)
    application, there, ratios = make_engine(url), 0, []
    for number, size in enumerate(sorted(asked.sizes)):
        fill(engine, there, size)
        wait(engine, f"W{number}-", asked.waiting)
        ratios.append(measure_claims(application, people[0], size, asked.rounds, _settings(url)))
        if number == 0:
            _grades(engine, url, people, asked)
        there = size
    print(f"largest / smallest: {ratios[-1] / ratios[0]:.2f} times, for {max(asked.sizes) / min(asked.sizes):.0f} ×")


def _grades(engine: Engine, url: str, people: list[uuid.UUID], asked: argparse.Namespace) -> None:
    for number in range(3):
        wait(engine, f"F{number}-", asked.waiting)
        floor, _ = measure_grades(url, people, min(4 * asked.grades, asked.waiting), is_bare=True)
        wait(engine, f"G{number}-", asked.waiting)
        rate, lost = measure_grades(url, people, asked.grades, is_bare=False)
        print(f"{len(people)} moderators, {asked.grades:,} reports: {rate:.0f} grades/s, {lost} lost", end="")
        print(f"; only out of the queue: {floor:.0f}/s, ratio {rate / floor:.2f}")


if __name__ == "__main__":
    main()
