"""RQ workers: everything heavy is imported before the fork, and the forked horse lives under limits.

Nothing that holds a connection or a thread is made before the fork: the database engine and the object store's runtime
belong to the process that opened them.
"""

import os
import resource
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redis import Redis
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from waterwatch.kernel import outbox
from waterwatch.kernel.db import APP_ROLE, make_sessions, normalise_url, transaction
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.photos import pixels  # noqa: F401  # Pillow and NumPy, imported once for every horse to come
from workers import jobs  # noqa: F401  # what the horse will call
from workers.topics import MAIL, MAP, PHOTOS

# A mail server that hangs holds the mail process alone; pictures and the map go on beside it.
TEAMS: tuple[tuple[str, ...], ...] = ((PHOTOS, MAP), (MAIL,), (MAP, MAIL, PHOTOS))
HORSE_EXTRA_MEMORY = 1024 * 1024 * 1024
HORSE_FILE_BYTES = 512 * 1024 * 1024
RESTART_PAUSE_S = 1.0
log = get_logger(__name__)


class ConfinedWorker(Worker):
    """A forking RQ worker whose horses are limited, and whose dead horses give their row back at once."""

    settings: Settings

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """The horse's life: limits first, then the job."""
        confine_horse(self.settings, cpu_s=int(job.timeout or 60))
        super().main_work_horse(job, queue)

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:
        """A signal took the horse: say so in the row, so it is tried again now and not when its lease runs out."""
        signal_number = ret_val & 0x7F
        log.error("horse.killed", row_id=str(job.args[0]), signal=signal_number)
        try:
            self._give_back(uuid.UUID(str(job.args[0])), int(job.args[1]), f"killed_by_signal_{signal_number}")
        except SQLAlchemyError as error:
            log.warning("horse.not_given_back", error=type(error).__name__)  # the lease will run out
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)

    def _give_back(self, row_id: uuid.UUID, lease_no: int, error: str) -> None:
        engine = create_engine(normalise_url(self.settings.database_url), poolclass=NullPool)
        with transaction(make_sessions(engine)) as session:
            session.connection().exec_driver_sql(f'SET LOCAL ROLE "{APP_ROLE}"')
            outbox.retry(session, row_id, lease_no, after_s=1.0, error=error)
        engine.dispose()


def confine_horse(settings: Settings, *, cpu_s: int) -> None:
    """Limit this process: address space beyond what it has now, CPU seconds, size of files; no core dump."""
    with Path("/proc/self/statm").open() as statm:
        present_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    ceiling = present_bytes + settings.photo_memory_bytes + HORSE_EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (HORSE_FILE_BYTES, HORSE_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def work(settings: Settings, queues: Sequence[str], *, burst: bool = False) -> None:
    """Serve these queues in their order until signalled (or, with ``burst``, until they are empty)."""
    connection = Redis.from_url(settings.redis_url)
    worker = ConfinedWorker(
        [Queue(name, connection=connection, serializer=JSONSerializer) for name in queues],
        connection=connection,
        serializer=JSONSerializer,
        name=f"{'-'.join(queues)}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
        job_monitoring_interval=5,
    )
    worker.settings = settings
    worker.work(burst=burst, with_scheduler=False, logging_level=settings.log_level)


def supervise(stop: threading.Event) -> None:
    """Run one process per team of queues; whichever dies is started again. Stops them all when told to."""
    running: dict[int, subprocess.Popen[bytes]] = {}
    while not stop.is_set():
        for number, queues in enumerate(TEAMS):
            child = running.get(number)
            if child is None or child.poll() is not None:
                if child is not None:
                    log.error("worker.died", queues=",".join(queues), status=child.returncode)
                running[number] = _start(queues)
        stop.wait(RESTART_PAUSE_S)
    for child in running.values():
        child.send_signal(signal.SIGTERM)
    for child in running.values():
        child.wait()


def _start(queues: Sequence[str]) -> "subprocess.Popen[bytes]":
    # The kernel ends the child with this process, whatever ends this process.
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "workers", "work", "--queues", ",".join(queues)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)
