"""Where the tests' servers keep their files."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IN_MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 4 * 1024**3  # of two processes with ten servers each
MARK = "waterwatch-tests-"  # and the number of the process that removes it


@contextmanager
def server_folder(name: str) -> Iterator[Path]:
    """A folder that lives as long as this; world-traversable, because PostgreSQL may run as another user.

    In memory where there is enough of it: a clone of a database is a thousand small files, 40 ms there, and up to half
    a second on a disk that somebody else writes to.
    """
    _remove_what_the_dead_left()
    has_room = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free >= ENOUGH_BYTES
    parent = IN_MEMORY if has_room else None
    prefix = f"{MARK}{os.getpid()}-{name}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made)


def _remove_what_the_dead_left() -> None:
    """A process that ends at a test's time limit removes nothing, and memory is scarcer than disk."""
    for left in IN_MEMORY.glob(f"{MARK}*-*-*"):
        owner = left.name.removeprefix(MARK).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(left, ignore_errors=True)
