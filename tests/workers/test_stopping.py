"""A worker that is asked to stop stops, whatever it was doing when it was asked."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from redis import Redis
from rq.exceptions import StopRequested
from rq.worker import WorkerStatus

from waterwatch.kernel.settings import Settings
from workers import queues
from workers.services import PrivateRedis
from workers.stopping import Stop
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


def test_a_worker_that_was_flushed_while_it_noted_its_state_registers_again(
    make_settings: Callable[..., Settings], own_redis: PrivateRedis
) -> None:
    with Redis.from_url(own_redis.url()) as connection:
        worker = queues._make_worker(make_settings(redis_url=own_redis.url()), ["mail"], connection)
        worker.register_birth()
        connection.flushall()
        worker.set_state(WorkerStatus.IDLE)  # makes the worker's own key anew, but not its registration
        worker.heartbeat()
        assert connection.scard("rq:workers") == 1
        worker.heartbeat()
        worker.register_death()
        assert connection.scard("rq:workers") == 0


def _interrupted(act: Callable[[], object], nth: int) -> bool:
    """Do it with a SIGTERM before its nth step, counted in the interpreter's own; whether it had so many."""
    steps = 0

    def trace(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            if steps == nth:
                signal.raise_signal(signal.SIGTERM)
        return trace

    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(None)
    return steps >= nth


def test_a_signal_is_heard_wherever_it_interrupts_the_wait() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        nth = 1
        while True:
            stop = Stop.on_signals()
            was_so_long = _interrupted(lambda: stop.wait(0.01), nth)  # noqa: B023  # called at once
            if not was_so_long:
                break
            assert stop.wait(0)
            nth += 1
        assert nth > 10
        assert not stop.is_set()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_another_thread_may_stop_it_and_more_than_once() -> None:
    stop = Stop()
    assert not stop.wait(0)
    for _ in range(3):
        thread = threading.Thread(target=stop.set)
        thread.start()
        thread.join()
    assert stop.wait(60)
    assert stop.is_set()
