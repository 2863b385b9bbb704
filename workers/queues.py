"""RQ workers: everything heavy is imported before the fork, and the forked horse lives under limits.

Nothing that holds a connection or a thread is made before the fork: the database engine and the object store's runtime
belong to the process that opened them. Redis may be flushed, restarted or away at any moment: the worker waits for it,
registers anew and goes on.
"""

import os
import resource
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.exceptions import StopRequested
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus
from rq.worker_registration import REDIS_WORKER_KEYS
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, configure_mappers
from sqlalchemy.pool import NullPool

from waterwatch.kernel import outbox
from waterwatch.kernel.db import APP_ROLE, make_engine, make_sessions, normalise_url, transaction
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.settings import Settings
from waterwatch.photos import pixels, redaction  # noqa: F401  # Pillow and NumPy, imported once for all horses to come
from workers import jobs  # noqa: F401  # what the horse will call
from workers.teams import PHOTOS

HORSE_EXTRA_MEMORY = 1024 * 1024 * 1024
HORSE_FILE_BYTES = 512 * 1024 * 1024
GIVE_BACK_AFTER_S = 1.0
REGISTERED_S = 60  # a worker that has not been heard of for so long is gone; also how often an idle one registers
WATCH_EVERY_S = 5  # how often at least the parent looks at its horse and prolongs its lease
REDIS_PAUSE_FIRST_S, REDIS_PAUSE_CAP_S = 0.5, 5.0
log = get_logger(__name__)


class ConfinedWorker(Worker):
    """A forking RQ worker whose horses are limited, and whose dead horses give their row back at once."""

    settings: Settings
    is_stopping = False

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """SIGTERM, SIGINT: finish the job under way, begin no other."""
        self.is_stopping = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # RQ's

    def heartbeat(self, timeout: int | None = None, pipeline: "Pipeline | None" = None) -> None:
        """Say that we live; after Redis was flushed, register again first. Asked to stop meanwhile, stop."""
        if self.is_stopping and not self.is_horse and self.get_state() != WorkerStatus.BUSY:
            # RQ stops by raising from its signal handler; raised while a line was being logged, that was swallowed.
            raise StopRequested
        # Whether our own key exists says nothing: what RQ notes of our state makes it anew right after a flush.
        if pipeline is None and not self.is_horse and not self.connection.sismember(REDIS_WORKER_KEYS, self.key):
            log.warning("worker.registering_again", worker=self.name)
            self.connection.delete(self.key)
            self.register_birth()  # type: ignore[no-untyped-call]  # RQ's
        super().heartbeat(timeout, pipeline)

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """The horse's life: limits first, then the job."""
        confine_horse(self.settings, cpu_s=int(job.timeout or REGISTERED_S))
        super().main_work_horse(job, queue)

    def monitor_work_horse(self, job: Job, queue: Queue, execution: Execution) -> None:
        """Wait for the horse. Redis being away afterwards changes nothing: what became of the job is in its row."""
        try:
            super().monitor_work_horse(job, queue, execution)
        except RedisError as error:
            log.warning("horse.redis_away", error=type(error).__name__)

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """While the horse works, its lease is prolonged from here: should both be killed, the row is soon free."""
        lease_s = self.settings.outbox_lease_s
        self._in_row(job, lambda session, row_id, lease_no: outbox.renew(session, row_id, lease_no, lease_s=lease_s))
        try:
            super().maintain_heartbeats(job, execution)
        except RedisError as error:
            log.warning("horse.redis_away", error=type(error).__name__)

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int | None, rusage: Any) -> None:
        """The horse ended without a word: say so in the row, so it is tried again now, not when its lease runs out."""
        # Without a status it was RQ itself that killed it, long past its time: something it waited for never answered.
        is_signal = ret_val is not None and os.WIFSIGNALED(ret_val)
        if ret_val is None:
            how = "killed_for_its_silence"
        else:
            how = f"killed_by_signal_{os.WTERMSIG(ret_val)}" if is_signal else f"exited_{os.WEXITSTATUS(ret_val)}"
        log.error("horse.died", row_id=str(job.args[0]), how=how)
        # Killed by a signal it may be the work's own fault, so it counts; an exit is RQ's answer to Redis being away.
        self._in_row(
            job,
            lambda session, row_id, lease_no: outbox.retry(
                session, row_id, lease_no, after_s=GIVE_BACK_AFTER_S, error=how, is_counted=is_signal
            ),
        )
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)  # type: ignore[no-untyped-call]  # RQ's

    def _in_row(self, job: Job, act: Callable[[Session, uuid.UUID, int], object]) -> None:
        """Act on the job's row over a connection that is gone before the next fork; a failure leaves the lease."""
        engine = create_engine(
            normalise_url(self.settings.database_url),
            poolclass=NullPool,
            hide_parameters=True,
            connect_args={"connect_timeout": WATCH_EVERY_S},
        )
        try:
            with transaction(make_sessions(engine)) as session:
                session.connection().exec_driver_sql(f'SET LOCAL ROLE "{APP_ROLE}"')
                act(session, uuid.UUID(str(job.args[0])), int(job.args[1]))
        except SQLAlchemyError as error:
            log.warning("horse.row_not_reached", row_id=str(job.args[0]), error=type(error).__name__)
        finally:
            engine.dispose()


def confine_horse(settings: Settings, *, cpu_s: int) -> None:
    """Limit this process: address space beyond what it has now, CPU seconds, size of files; no core dump."""
    present_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    ceiling = present_bytes + settings.photo_memory_bytes + HORSE_EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (HORSE_FILE_BYTES, HORSE_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def work(settings: Settings, queues: Sequence[str], *, burst: bool = False) -> None:
    """Serve these queues in their order until signalled (or, with ``burst``, until they are empty).

    RQ's own loop ends when Redis fails it between two jobs; here it begins again as soon as Redis answers.
    """
    settings.spool_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    _import_driver(settings)
    configure_mappers()  # each horse would do it anew
    if PHOTOS in queues:
        redaction.load()  # 80 MB of weights, shared by all horses to come; they would take each a quarter of a second
    connection = Redis.from_url(settings.redis_url, socket_connect_timeout=2)
    is_over = False
    while not is_over:
        _await_redis(connection)
        worker: ConfinedWorker | None = None
        try:
            worker = _make_worker(settings, queues, connection)
            worker.work(burst=burst, with_scheduler=False, logging_level=settings.log_level)
            is_over = burst or worker.is_stopping
        except StopRequested:
            is_over = True  # signalled while no job was under way
        except RedisError as error:
            log.warning("worker.interrupted", error=type(error).__name__)
            is_over = worker is not None and worker.is_stopping


def _import_driver(settings: Settings) -> None:
    """Connect once and hang up: what the driver imports at its first connection costs each horse 65 ms otherwise."""
    engine = make_engine(settings.database_url, pool_size=1)
    try:
        engine.connect().close()
    except SQLAlchemyError:
        log.warning("worker.database_away")
    finally:
        engine.dispose()


def _make_worker(settings: Settings, queues: Sequence[str], connection: Redis) -> ConfinedWorker:
    """A new worker under a name of its own; asks Redis for our address already here."""
    worker = ConfinedWorker(
        [Queue(name, connection=connection, serializer=JSONSerializer) for name in queues],
        connection=connection,
        serializer=JSONSerializer,
        name=f"{'-'.join(queues)}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
        worker_ttl=REGISTERED_S,
        job_monitoring_interval=max(1, min(WATCH_EVERY_S, int(settings.outbox_lease_s / 3))),
    )
    worker.settings = settings
    return worker


def _await_redis(connection: Redis) -> None:
    # Until RQ's loop installs its own, a signal ends the process: nothing is under way that could be lost.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    pause_s = REDIS_PAUSE_FIRST_S
    while True:
        try:
            connection.ping()
        except RedisError as error:
            log.warning("worker.waits_for_redis", error=type(error).__name__, pause_s=pause_s)
            time.sleep(pause_s)
            pause_s = min(REDIS_PAUSE_CAP_S, 2 * pause_s)
        else:
            return
