"""A folder for servers that run as other users, and the seed of what happens at random."""

import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """World-traversable, because PostgreSQL and Redis may run as users of their own."""
    with tempfile.TemporaryDirectory(prefix="waterwatch-faults-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def chance() -> random.Random:
    """``WATERWATCH_TEST_SEED`` repeats a run, as far as the machine's own timing allows."""
    seed = int(os.environ.get("WATERWATCH_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"WATERWATCH_TEST_SEED={seed}")
    return random.Random(seed)
