"""A worker that is asked to stop stops, whatever it was doing when it was asked."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from redis import Redis
from rq.exceptions import StopRequested
from rq.worker import WorkerStatus

from waterwatch.kernel.settings import Settings
from workers import queues
from workers.teams import Team

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()"


class DeafTeam(Team):
    """Its process hears no SIGTERM, as one that swallowed it."""

    def _start(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout as output:
            assert output.readline() == b"deaf\n"
        return process


def test_a_worker_that_does_not_stop_is_ended() -> None:
    team = DeafTeam(["mail"])
    team.look_after(time.monotonic())
    process = team._process
    assert process is not None
    team.ask_to_stop()
    assert process.poll() is None
    team.await_end(time.monotonic() + 0.2)
    assert process.returncode == -9


def test_a_signal_that_was_swallowed_is_heard_at_the_next_heartbeat(
    make_settings: Callable[..., Settings], redis_url: str
) -> None:
    with Redis.from_url(redis_url) as connection:
        worker = queues._make_worker(make_settings(redis_url=redis_url), ["mail"], connection)
        worker.register_birth()
        worker.heartbeat()
        worker.is_stopping = True
        worker.set_state(WorkerStatus.BUSY)
        worker.heartbeat()  # the job under way is finished first
        worker.set_state(WorkerStatus.IDLE)
        with pytest.raises(StopRequested):
            worker.heartbeat()
        worker.register_death()
    assert str(os.getpid()) in worker.name
