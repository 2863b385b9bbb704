"""The worker programs as real processes, for tests that treat them badly."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from waterwatch.kernel.settings import Settings, environment_name
from workers.processes import ChildProcess

ROOT = Path(__file__).resolve().parents[2]


def environment(settings: Settings) -> dict[str, str]:
    """The environment that gives a process these settings."""
    values = settings.model_dump(exclude_none=True)
    values["secret_key"] = settings.secret_key.get_secret_value()
    names = {name: environment_name(name) for name in values}
    return {names[name]: str(value) for name, value in values.items()} | {"PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def running(settings: Settings, log: Path, *arguments: str) -> Iterator[ChildProcess]:
    """``python -m workers <arguments>``, stopped when the block ends."""
    command = [sys.executable, "-m", "workers", *arguments]
    child = ChildProcess(arguments[0], command, log=log, extra_env=environment(settings), folder=ROOT)
    child.start()
    try:
        yield child
    finally:
        child.stop(timeout_s=20)
