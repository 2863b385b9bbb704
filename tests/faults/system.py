"""The whole system as it runs in production, on servers of its own that a test may break at will."""

import contextlib
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from tests.escalation.rows import HUBEI, add_agency
from tests.faults.smtp_peer import HostilePeer, hostile_peer
from tests.reports.rows import add_river
from waterwatch.accounts.service import CreatePerson, create_person
from waterwatch.kernel import migrate, outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.clock import utc_now
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.settings import Settings
from workers.processes import ChildProcess, pick_free_port
from workers.services import PrivatePostgres, PrivateRedis
from workers.teams import TEAMS

ROOT = Path(__file__).resolve().parents[2]
INJECTED = Path(__file__).parent / "injected"
PROCESSES = ("web", "relay", "work", "sweep")
LOOK_EVERY_S = 0.1


class System:
    """Servers, processes and a keeper that starts again whatever dies, as systemd would."""

    def __init__(self, folder: Path, peer: HostilePeer, **settings: str) -> None:
        self.folder, self.peer = folder, peer
        self.postgres = PrivatePostgres(folder / "postgres", is_durable=False)
        self.redis = PrivateRedis(folder / "redis")
        self.web_port = pick_free_port()
        self.faults = folder / "faults"
        for name in ("seen", "armed", "fired", "rows"):
            (self.faults / name).mkdir(parents=True)
        self._changes = settings
        self._children: dict[str, ChildProcess] = {}
        self._is_over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper")
        self.restarts = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    def start(self) -> None:
        """Servers, schema, a river with its departments and a moderator, then the processes."""
        self.postgres.start()
        self.redis.start()
        self.url = self.postgres.create_database("faults")
        migrate.upgrade(self.url)
        self.engine: Engine = make_engine(self.url)
        self.sessions: sessionmaker[Session] = make_sessions(self.engine)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._environment().items():
                patch.setenv(name, value)
            self.settings = Settings.from_environ()
        self._settle()
        for name in PROCESSES:
            self._children[name] = self._make(name)
            self._children[name].start()
        self._keeper.start()
        await_true(self.is_ready, limit_s=60, what="all processes are up")

    def stop(self) -> None:
        self._is_over.set()
        if self._keeper.ident is not None:
            self._keeper.join()
        for child in self._children.values():
            child.stop(timeout_s=15)
        if hasattr(self, "engine"):
            self.engine.dispose()
        self.redis.stop()
        self.postgres.stop(mode="immediate")

    def is_ready(self) -> bool:
        """Whether the relay listens and every team has registered."""
        log = self.folder / "relay.log"
        with contextlib.suppress(Exception), Redis.from_url(self.redis.url()) as client:
            return client.scard("rq:workers") >= len(TEAMS) and log.exists() and "relay.listening" in log.read_text()
        return False

    def pid_of(self, name: str) -> int | None:
        return self._children[name].pid

    def forks_of(self, name: str) -> list[psutil.Process]:
        """The direct children of one of our processes: gunicorn's workers, or the teams."""
        with contextlib.suppress(psutil.Error):
            pid = self.pid_of(name)
            return psutil.Process(pid).children() if pid is not None else []
        return []

    def horses(self) -> list[psutil.Process]:
        found = []
        for team in self.forks_of("work"):
            with contextlib.suppress(psutil.Error):
                found += team.children()
        return found

    def crash_postgres(self) -> None:
        """What ``pg_ctl stop -m immediate`` and a start do."""
        self.postgres.stop(mode="immediate")
        self.postgres.start()

    def restart_redis(self) -> None:
        self.redis.stop()
        self.redis.start()

    def flush_redis(self) -> None:
        with Redis.from_url(self.redis.url()) as client:
            client.flushall()

    def waiting(self) -> int:
        """Outbox rows still to do; while the database is away, one at least."""
        try:
            with transaction(self.sessions) as session:
                return outbox.depth(session).waiting
        except SQLAlchemyError:
            return 1

    def count(self, statement: str, **values: object) -> int:
        with transaction(self.sessions) as session:
            return int(session.execute(text(statement), values).scalar_one())

    def logs(self, *, lines: int = 40) -> str:
        """The ends of the processes' logs, for a failing test."""
        parts = []
        for name in PROCESSES:
            path = self.folder / f"{name}.log"
            tail = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
            parts.append(f"--- {name}\n" + "\n".join(tail))
        return "\n".join(parts)

    def _keep(self) -> None:
        while not self._is_over.wait(LOOK_EVERY_S):
            for name, child in list(self._children.items()):
                if child.exit_code is not None:
                    self.restarts += 1
                    child.kill_remains()  # a web worker that outlives its master keeps the port as long as it loads
                    self._children[name] = self._make(name)
                    self._children[name].start()

    def _make(self, name: str) -> ChildProcess:
        command = [sys.executable, "-m", "workers", name]
        if name == "web":
            bind = f"127.0.0.1:{self.web_port}"
            command = [sys.executable, "-m", "gunicorn", "wsgi:application", "--bind", bind, "--no-control-socket"]
            command += ["--workers", "2", "--threads", "4", "--graceful-timeout", "2"]
        log = self.folder / f"{name}.log"
        return ChildProcess(name, command, log=log, extra_env=self._environment(), folder=ROOT)

    def _environment(self) -> dict[str, str]:
        values = {
            "WATERWATCH_MODE": "test",
            "WATERWATCH_SECRET_KEY": "known to the tests alone, 0123456789abcdef",
            "WATERWATCH_PUBLIC_URL": self.address,
            "WATERWATCH_OBJECTS_URL": f"file://{self.folder}/objects",
            "WATERWATCH_SPOOL_DIR": f"{self.folder}/spool",
            "WATERWATCH_PUBLISH_DIR": f"{self.folder}/published",
            "WATERWATCH_REPORT_RATE_LIMIT": "1000000/hour",
            "WATERWATCH_REPORT_FREE_LIMIT": "1000000/hour",
            "WATERWATCH_FLOOD_REPORTS": "1000000",
            "WATERWATCH_PAGE_RATE_LIMIT": "1000000/hour",
            "WATERWATCH_SWEEP_EVERY_S": "1",
            "WATERWATCH_UNDO_S": "0",  # nobody here changes their mind
            "WATERWATCH_MAIL_FROM": "waterwatch@example.org",
            "WATERWATCH_FAULTS": str(self.faults),
            "DATABASE_URL": self.url,
            "REDIS_URL": self.redis.url(),
            "SMTP_URL": f"smtp://127.0.0.1:{self.peer.port}",
            "PYTHONPATH": os.pathsep.join([str(INJECTED), str(ROOT)]),
        }
        return values | {f"WATERWATCH_{name.upper()}": value for name, value in self._changes.items()}

    def _settle(self) -> None:
        now = utc_now()
        with transaction(self.sessions) as session:
            add_river(session, "长江")
            add_agency(session, "武汉市生态环境局", ["wuhan@example.org"])
            add_agency(
                session, "湖北省农业农村厅", ["hubei@example.org"], area=HUBEI, level="province",
                kind="agriculture", observation_kind="fish_kill",
            )  # fmt: skip
            command = CreatePerson("moderator@example.org", f"a long password {uuid.uuid4()}", "moderator")
            self.moderator_id = create_person(session, command, actor=Actor.system("tests"), now=now).id
            self.organisation_id = session.execute(text("SELECT id FROM organisation")).scalar_one()


@contextlib.contextmanager
def running_system(folder: Path, **settings: str) -> Iterator[System]:
    """The system, up and running; everything it started is gone afterwards."""
    with hostile_peer(folder / "mail") as peer:
        system = System(folder, peer, **settings)
        try:
            system.start()
            yield system
        finally:
            system.stop()


def await_true(is_true: Callable[[], bool], *, limit_s: float, what: str) -> float:
    """Wait until a condition holds; gives the seconds it took."""
    began = time.monotonic()
    pause = threading.Event()
    while not is_true():
        assert time.monotonic() - began < limit_s, f"not within {limit_s} s: {what}"
        pause.wait(0.1)
    return time.monotonic() - began


def kill(process: psutil.Process | int | None) -> None:
    """SIGKILL; a process that is gone already is as good."""
    pid = process.pid if isinstance(process, psutil.Process) else process
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
