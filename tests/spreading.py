"""How the suite is shared out where several processes run it, as ``bin/test`` without arguments has it.

Each process has servers, databases, folders and ports of its own: what tests of two processes share is the machine
alone. A file stays together, because its tests share what they built once. The files that start the whole system, or
look at the machine's processes, follow each other in one process: none of them meets another. What takes long begins
first, so that no process is left alone with it at the end.
"""

import os
from typing import TYPE_CHECKING

import pytest

from workers import processes

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

WHOLE_SYSTEM = "the whole system"
ONE_AFTER_THE_OTHER = ("tests/faults/", "tests/journeys/", "tests/setup/", "tests/workers/test_processes_of_work.py")

# Seconds on a quiet machine, where they are many. A file that is missing here costs some balance, nothing else.
LONG_S = {
    WHOLE_SYSTEM: 700,
    "tests/moderation/test_walks.py": 200,
    "tests/opendata/test_document.py": 130,
    "tests/moderation/test_photo_views.py": 60,
    "tests/photos/test_cameras.py": 60,
    "tests/photos/test_redacting.py": 50,
    "tests/photos/test_pixels.py": 50,
    "tests/imports/test_service.py": 40,
    "tests/accounts/test_forgotten_password.py": 40,
    "tests/moderation/test_many_hands.py": 40,
}


def scope_of(node_id: str) -> str:
    """A name for all the tests that stay in one process with this one."""
    return WHOLE_SYSTEM if node_id.startswith(ONE_AFTER_THE_OTHER) else node_id.partition("::")[0]


def ports_of(worker: str, count: int, ports: range = processes.PORT_RANGE) -> range:
    """The part of ``ports`` for the process ``worker`` (``gw0``, ``gw1``, …) of ``count``.

    Between choosing a port and listening on it lies the start of a server: two processes must not choose the same one.
    """
    share = len(ports) // count
    number = int(worker.removeprefix("gw")) % count  # one that is started in a dead one's place has a further number
    return ports[number * share : (number + 1) * share]


def pytest_sessionstart() -> None:
    """A process among others keeps to its own ports."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        processes.PORT_RANGE = ports_of(worker, int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Among others the longest come first; whoever runs a part alone keeps the order of the files."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        items.sort(key=lambda item: -LONG_S.get(scope_of(item.nodeid), 0))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "LoadScopeScheduling":
    """Whole files, in the order they were collected, to whoever is free."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # else those with the most tests come first
    return ByFile(config, log)
