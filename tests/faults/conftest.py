"""A folder for servers that run as other users, and the seed of what happens at random."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import server_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """For the servers of one test."""
    with server_folder("faults") as made:
        yield made


@pytest.fixture
def chance() -> random.Random:
    """``WATERWATCH_TEST_SEED`` repeats a run, as far as the machine's own timing allows."""
    seed = int(os.environ.get("WATERWATCH_TEST_SEED", random.SystemRandom().randrange(10**6)))
    print(f"WATERWATCH_TEST_SEED={seed}")
    return random.Random(seed)
