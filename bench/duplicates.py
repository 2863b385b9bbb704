"""How long it takes to find a picture's likes in 100,000 and in 1,000,000 photos, and whether that stays flat.

A private PostgreSQL with fsync on; hashes drawn at random with half of their bits set, as photographs' are, and a
tenth of them at 0 to 9 bits from another's. ``SELECT 1`` over the same connection is measured in turn with the search
in every round, because machines differ and the same machine differs from minute to minute. The search is the one the
application does (``photos.queries.photos_alike``), with its lookup of the photo itself.

    python -m bench.duplicates [--sizes 100000 1000000] [--rounds 5] [--asked 200]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from waterwatch.kernel import migrate
from waterwatch.kernel.db import make_engine
from waterwatch.photos.queries import photos_alike
from waterwatch.photos.rules import PHASH_NEAR_BITS
from workers.services import PrivatePostgres

SEED = 20
PIECE = 50_000
_ADD = text("""
INSERT INTO photo (id, state, state_since, sha256, original_bytes, received_at, original_delete_after, phash)
SELECT gen_random_uuid(), 'ready', now(), sha256(uuid_send(gen_random_uuid())), 1, now(), now(), phash
FROM unnest(CAST(:hashes AS bigint[])) AS given (phash)
""")
_BY_READING_ALL = text(f"""
SELECT p.id FROM photo p, photo own WHERE own.id = :id AND p.id <> own.id
AND bit_count((p.phash # own.phash)::bit(64)) <= {PHASH_NEAR_BITS}
""")  # names of our own


def draw(count: int, rng: np.random.Generator) -> list[int]:
    """Hashes with 32 of 64 bits set, a tenth of them near another one."""
    places = rng.random((count, 64)).argsort(axis=1)[:, :32]
    bits = np.zeros((count, 64), dtype=np.uint8)
    np.put_along_axis(bits, places, 1, axis=1)
    for one in range(0, count, 10):
        bits[one] = bits[rng.integers(count)]
        bits[one, rng.choice(64, int(rng.integers(0, 10)), replace=False)] ^= 1
    return [int(value) for value in np.packbits(bits, axis=1).view(">i8").ravel()]


def fill(session: Session, count: int, rng: np.random.Generator) -> None:
    """Add photos until there are ``count``, and tell the planner."""
    there = int(session.execute(text("SELECT count(*) FROM photo")).scalar_one())
    for start in range(there, count, PIECE):
        session.execute(_ADD, {"hashes": draw(min(PIECE, count - start), rng)})
    session.commit()


def median_ms(act: Callable[[], object], times: int) -> float:
    """The median of so many acts, in milliseconds."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        found.append(time.perf_counter() - started)
    return statistics.median(found) * 1000


def measure(session: Session, count: int, rounds: int, asked: int) -> float:
    """Print every round and the medians; gives the median ratio to ``SELECT 1``."""
    photos = session.execute(text("SELECT id FROM photo ORDER BY id LIMIT :asked"), {"asked": asked}).scalars().all()
    ratios, searches = [], []
    for _ in range(rounds + 1):
        turn = iter(photos)
        floor_ms = median_ms(lambda: session.execute(text("SELECT 1")).scalar_one(), asked)
        search_ms = median_ms(lambda turn=turn: photos_alike(session, next(turn), limit=100), asked)  # type: ignore[misc]
        ratios.append(search_ms / floor_ms)
        searches.append(search_ms)
    ratios, searches = ratios[1:], searches[1:]  # the first warms caches and plans
    all_ms = median_ms(lambda: session.execute(_BY_READING_ALL, {"id": photos[0]}).all(), 3)
    size = session.execute(
        text(
            "SELECT pg_size_pretty(sum(pg_relation_size(oid))) FROM pg_class WHERE relname LIKE 'ix_photo_phash_band_%'"
        )
    ).scalar_one()
    shown = "  ".join(f"{ratio:.1f}" for ratio in ratios)
    print(f"{count:>9,} photos  search {statistics.median(searches):.2f} ms  ratio to SELECT 1: {shown}", end="")
    print(f"  median {statistics.median(ratios):.1f}   reading all {all_ms:.0f} ms   indexes {size}")
    return statistics.median(ratios)


def main() -> None:
    """Fill, measure, fill more, measure again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--asked", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterwatch-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = PrivatePostgres(folder / "postgres")
        postgres.start()
        try:
            migrate.upgrade(postgres.url("postgres"))
            engine = make_engine(postgres.url("postgres"), role=None, statement_timeout_s=600)
            print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the start")
            found, rng = [], np.random.default_rng(SEED)
            for count in sorted(asked.sizes):
                with Session(engine) as session:
                    fill(session, count, rng)
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                    connection.execute(text("VACUUM ANALYZE photo"))
                with Session(engine) as session:
                    found.append(measure(session, count, asked.rounds, asked.asked))
            print(f"largest / smallest: {found[-1] / found[0]:.2f} times, for {asked.sizes[-1] / asked.sizes[0]:.0f} ×")
            engine.dispose()
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
