"""The demo's processes: which there are, when each is ready, and what happens when one ends."""

import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import cast

import redis

from workers.processes import ChildProcess, ServiceError, read_tail
from workers.progress import Progress

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 3.0  # of the 5 seconds a Ctrl-C may take, the servers beneath need the rest
RESTARTS_PER_MINUTE = 5
CHECKOUT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Process:
    """One program of the demo.

    Args:
        name: what people call it; also its log's name.
        chinese, english: what it is.
        command: program and arguments.
        environment: added to its environment.
        is_ready: whether it does its work; asked a few times a second, never raises.
    """

    name: str
    chinese: str
    english: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool]


@dataclass
class _Running:
    process: Process
    child: ChildProcess
    ended_at: deque[float] = field(default_factory=deque)


def is_page_answering(port: int, path: str) -> bool:
    """Whether a GET at 127.0.0.1 answers 200; never raises."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def is_queue_served(redis_url: str) -> bool:
    """Whether a worker of every team has registered; never raises."""
    from workers.teams import TEAMS

    client = redis.Redis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=2)
    try:
        return cast(int, client.scard("rq:workers")) >= len(TEAMS)
    except redis.RedisError:
        return False
    finally:
        client.close()


def has_said(log: Path, words: str) -> bool:
    """Whether a log holds ``words``; never raises."""
    try:
        return words in log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _worker(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "workers", name, *arguments)


def mailbox_process(environment: Mapping[str, str], smtp_port: int, http_port: int, folder: Path) -> Process:
    """The demo's SMTP server with a page that shows what arrived."""
    command = _worker("mailbox", "--smtp-port", str(smtp_port), "--http-port", str(http_port), "--folder", str(folder))
    return Process(
        "mailbox", "演示邮箱", "the demo's mailbox", command, environment, lambda: is_page_answering(http_port, "/")
    )


def processes_of(environment: Mapping[str, str], web_port: int, logs: Path) -> list[Process]:
    """Web server, relay, queue workers, sweep and inbox, in the order in which they start.

    The sweep is ready when it runs: it looks at what is overdue, and nothing waits for its first round.
    """

    def is_relay_listening() -> bool:
        return has_said(logs / "relay.log", "relay.listening")

    def is_inbox_listening() -> bool:
        return has_said(logs / "inbox.log", "inbox.listening")

    web = (
        sys.executable,
        *("-m", "gunicorn", "wsgi:application", "--bind", f"127.0.0.1:{web_port}", "--no-control-socket"),
        *("--workers", "1", "--threads", "8", "--graceful-timeout", "2", "--access-logfile", "/dev/null"),
    )
    redis_url = environment["REDIS_URL"]
    return [
        Process("web", "网站", "the web server", web, environment, lambda: is_page_answering(web_port, "/readyz")),
        Process("relay", "转发器", "the relay", _worker("relay"), environment, is_relay_listening),
        Process(
            "work", "任务进程", "the queue workers", _worker("work"), environment, lambda: is_queue_served(redis_url)
        ),
        Process("sweep", "巡检", "the sweep", _worker("sweep"), environment, lambda: True),
        Process("inbox", "收信", "the inbox", _worker("inbox"), environment, is_inbox_listening),
    ]


class Supervisor:
    """Starts processes, waits for them, starts again what ends, and stops them together.

    Args:
        logs: the folder of their logs, one file each, begun anew at every start.
        progress: where steps are told.
    """

    def __init__(self, logs: Path, progress: Progress) -> None:
        self._logs = logs
        self._progress = progress
        self._running: list[_Running] = []

    def start(self, process: Process) -> None:
        """Start one process; :meth:`wait_until_ready` waits for all."""
        log = self._logs / f"{process.name}.log"
        log.unlink(missing_ok=True)
        child = ChildProcess(process.name, process.command, log=log, extra_env=process.environment, folder=CHECKOUT)
        self._running.append(_Running(process, child))
        child.start()

    def wait_until_ready(self) -> None:
        """Wait for each process in turn. Raises :class:`ServiceError` with the end of the log of one that is not."""
        for running in self._running:
            with self._progress.step(f"等待{running.process.chinese}", f"waiting for {running.process.english}"):
                running.child.wait_until(running.process.is_ready, timeout_s=READY_TIMEOUT_S)

    def check(self) -> None:
        """Start again what has ended. Raises :class:`ServiceError` when one ends more than five times in a minute."""
        now = time.monotonic()
        for running in self._running:
            if running.child.pid is not None:
                continue
            running.ended_at.append(now)
            while running.ended_at[0] < now - 60:
                running.ended_at.popleft()
            if len(running.ended_at) > RESTARTS_PER_MINUTE:
                raise ServiceError(
                    running.process.english,
                    f"it keeps ending; its log ends with:\n{read_tail(running.child.log)}",
                    f"The whole log: {running.child.log}",
                )
            self._progress.say(
                f"{running.process.chinese}已退出（{running.child.exit_code}），重新启动 · "
                f"{running.process.english} ended, starting it again"
            )
            running.child.start()

    def stop(self) -> None:
        """Ask all of them to end at once, wait for each, kill what remains after a few seconds."""
        for running in self._running:
            running.child.send(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for running in self._running:
            running.child.stop(timeout_s=max(0.05, deadline - time.monotonic()))
