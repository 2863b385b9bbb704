"""The demo: the whole system on one machine, until Ctrl-C. ``bin/demo`` prepares the machine and then runs this.

Everything it makes lies in ``var/demo``. It starts private servers (unless ``DATABASE_URL``, ``REDIS_URL`` or
``SMTP_URL`` name others), brings the database up to date, loads the built-in waters, agencies and demo people, and
keeps the web server and the workers running. Nothing it starts outlives it.
"""

import argparse
import fcntl
import json
import os
import secrets
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Never

from workers.demo_contents import DemoLogin, load_contents, print_welcome
from workers.demo_processes import Supervisor, mailbox_process, processes_of
from workers.processes import ServiceError, is_port_free, pick_free_port
from workers.progress import Progress, describe_failure
from workers.services import PrivatePostgres, PrivateRedis

CHECKOUT = Path(__file__).resolve().parents[1]
FIRST_PORT = 8010
PORTS_TRIED = 50
CHECK_EVERY_S = 0.5
# Everything the demo makes in its folder: nothing else there is ever removed.
MARKER = "this-is-a-waterwatch-demo"
OWN = frozenset(
    {
        *(MARKER, "lock", "running.json", "environment", "loaded", "secret", "smtp.port", "mailbox.port", "inbox.port"),
        *("postgres", "redis", "objects", "spool", "published", "mail", "logs"),
    }
)


class Stopped(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal: the way out of whatever the demo is doing."""


def _stop(_number: int, _frame: FrameType | None) -> Never:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # stopping has begun; it is short and must finish
    raise Stopped


class Demo:
    """One run of the demo.

    Args:
        folder: where everything of it lies.
        progress: where steps are told.
        port: the web address' port; None takes 8010 or the next free one.
    """

    def __init__(self, folder: Path, progress: Progress, *, port: int | None = None) -> None:
        self.folder = folder
        self.progress = progress
        self._asked_port = port
        self._started = ExitStack()
        self._lock: int | None = None
        self.environment: dict[str, str] = {}
        self.mailbox_url: str | None = None

    def claim(self) -> None:
        """Make the folder ours. Raises :class:`ServiceError` when it is not, or a demo already runs from it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        strangers = sorted({entry.name for entry in self.folder.iterdir()} - OWN)
        if strangers and not (self.folder / MARKER).exists():
            raise ServiceError(
                "演示目录 · the demo's folder",
                f"{self.folder} is not empty and not a demo's: {', '.join(strangers[:3])}",
                "Name an empty or a new folder with --folder.",
            )
        (self.folder / MARKER).touch()
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = json.loads(self._read("running.json") or "{}")
            raise ServiceError(
                "演示已在运行 · a demo already runs here",
                f"process {running.get('pid', '?')}, {running.get('url', 'still starting')}",
                "Use that one, or stop it with Ctrl-C in its terminal first.",
            ) from None

    def reset(self) -> None:
        """Remove the data of earlier runs: the private servers' and the photos, the mail, the maps, the secret.

        Raises :class:`ServiceError` where the database is not the demo's own: its rows would outlive their photos.
        """
        if os.environ.get("DATABASE_URL"):
            raise ServiceError(
                "清除旧的演示数据 · removing the earlier demo's data",
                "DATABASE_URL names a database that is not the demo's own, and its rows need their photos",
                "Drop and create that database yourself, or name a new folder with --folder and a new database.",
            )
        with self.progress.step("清除旧的演示数据", "removing the earlier demo's data"):
            PrivatePostgres(self.folder / "postgres", say=self.progress.say).delete()
            PrivateRedis(self.folder / "redis", say=self.progress.say).delete()
            for entry in (self.folder / name for name in OWN - {MARKER, "lock"}):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink(missing_ok=True)
        if os.environ.get("REDIS_URL"):
            self.progress.say("REDIS_URL 指向的服务未被改动 · what REDIS_URL names was not touched")

    def run(self) -> None:
        """Start everything, print the welcome, and watch over it until a signal ends it."""
        has_mail_server = bool(os.environ.get("SMTP_URL"))
        database_url = self._start_database()
        redis_url = self._start_redis()
        self._describe_environment(database_url, redis_url)
        supervisor = Supervisor(self.folder / "logs", self.progress)
        self._started.callback(supervisor.stop)
        if has_mail_server:
            self.progress.say("使用 SMTP_URL 指定的邮件服务器 · using the mail server that SMTP_URL names")
        else:
            self._start_mailbox(supervisor)
        logins = self._load()
        for process in processes_of(self.environment, self._web_port, self.folder / "logs"):
            supervisor.start(process)
        supervisor.wait_until_ready()
        self._announce(logins)
        while True:
            supervisor.check()
            time.sleep(CHECK_EVERY_S)

    def _start_database(self) -> str:
        if url := os.environ.get("DATABASE_URL"):
            self.progress.say("使用 DATABASE_URL 指定的数据库 · using the database that DATABASE_URL names")
            return url
        with self.progress.step("启动私有 PostgreSQL", "starting the private PostgreSQL"):
            server = PrivatePostgres(self.folder / "postgres", say=self.progress.say)
            self._started.callback(server.stop)
            server.start()
            return server.create_database("waterwatch")

    def _start_redis(self) -> str:
        if url := os.environ.get("REDIS_URL"):
            self.progress.say("使用 REDIS_URL 指定的 Redis · using the Redis that REDIS_URL names")
            return url
        with self.progress.step("启动私有 Redis", "starting the private Redis"):
            server = PrivateRedis(self.folder / "redis", say=self.progress.say)
            self._started.callback(server.stop)
            return server.start().url()

    def _describe_environment(self, database_url: str, redis_url: str) -> None:
        self._web_port = self._choose_web_port()
        self._smtp_port, self._mailbox_port = self._remembered_port("smtp"), self._remembered_port("mailbox")
        defaults = {
            "WATERWATCH_SECRET_KEY": self._secret(),
            "WATERWATCH_PUBLIC_URL": f"http://127.0.0.1:{self._web_port}",
            "SMTP_URL": f"smtp://127.0.0.1:{self._smtp_port}",
            "WATERWATCH_OBJECTS_URL": (self.folder / "objects").as_uri(),
            "WATERWATCH_SPOOL_DIR": str(self.folder / "spool"),
            "WATERWATCH_PUBLISH_DIR": str(self.folder / "published"),
            "WATERWATCH_MAIL_FROM": "waterwatch@demo.invalid",
            "WATERWATCH_INBOX_DOMAIN": "inbox.demo.invalid",
            "WATERWATCH_INBOX_LISTEN": f"127.0.0.1:{self._remembered_port('inbox')}",
            "WATERWATCH_SNAP_LIMIT_M": "5000",  # at 1:10 million a drawn river is up to 2 km from its bank
        }
        names = ("WATERWATCH_", "SMTP_URL")
        chosen = {name: value for name, value in os.environ.items() if name.startswith(names) and value}
        fixed = {"WATERWATCH_MODE": "demo", "DATABASE_URL": database_url, "REDIS_URL": redis_url}
        self.environment = {**defaults, **chosen, **fixed}
        for name in ("objects", "spool", "published", "mail", "logs"):
            (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in sorted(self.environment.items())]
        self._write("environment", "".join(lines))
        os.environ.update(self.environment)

    def _choose_web_port(self) -> int:
        if self._asked_port is not None:
            if not is_port_free(self._asked_port):
                raise ServiceError("web server", f"port {self._asked_port} is taken", "Name another by --port.")
            return self._asked_port
        for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
            if is_port_free(port):
                return port
        raise ServiceError("web server", f"{PORTS_TRIED} ports from {FIRST_PORT} are taken", "Name one by --port.")

    def _remembered_port(self, name: str) -> int:
        """The port this folder's demo used before, when it is still free; else a new one, which is remembered."""
        known = self._read(f"{name}.port")
        if known is not None and is_port_free(int(known)):
            return int(known)
        port = pick_free_port()
        self._write(f"{name}.port", str(port))
        return port

    def _start_mailbox(self, supervisor: Supervisor) -> None:
        process = mailbox_process(self.environment, self._smtp_port, self._mailbox_port, self.folder / "mail")
        self.mailbox_url = f"http://127.0.0.1:{self._mailbox_port}/"
        supervisor.start(process)

    def _load(self) -> list[DemoLogin]:
        from waterwatch.kernel import migrate

        with self.progress.step("更新数据库结构", "bringing the database schema up to date"):
            migrate.upgrade(self.environment["DATABASE_URL"])
        return load_contents(self.progress, self.folder / "loaded")

    def _announce(self, logins: Sequence[DemoLogin]) -> None:
        url = self.environment["WATERWATCH_PUBLIC_URL"]
        self._write("running.json", json.dumps({"pid": os.getpid(), "url": url, "mailbox": self.mailbox_url}))
        print_welcome(self.progress, url, self.mailbox_url, logins)

    def _secret(self) -> str:
        if (secret := self._read("secret")) is None:
            secret = secrets.token_hex(32)
            self._write("secret", secret)
        return secret

    def _read(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)

    def close(self) -> None:
        """Stop all that was started, the servers after the programs that use them."""
        (self.folder / "running.json").unlink(missing_ok=True)
        self._started.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code is 0 after Ctrl-C or SIGTERM, 1 when a step failed."""
    parser = argparse.ArgumentParser(prog="bin/demo", description="江湖網·預警圖: the whole system, until Ctrl-C")
    parser.add_argument("--port", type=int, help=f"the web address' port ({FIRST_PORT} or the next free one)")
    parser.add_argument("--reset", action="store_true", help="begin anew: remove the demo's own data first")
    parser.add_argument("--folder", type=Path, default=CHECKOUT / "var" / "demo", help="where its data lie (var/demo)")
    parser.add_argument("--no-install", action="store_true", help="never install system packages")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    progress = Progress()
    demo = Demo(options.folder.resolve(), progress, port=options.port)
    try:
        demo.claim()
    except ServiceError as error:
        progress.console.print(describe_failure(error), markup=False)
        return 1
    try:
        if options.reset:
            demo.reset()
        demo.run()
    except Stopped:
        progress.console.print("\n正在停止… · stopping …")
    except ServiceError as error:
        progress.console.print(describe_failure(error), markup=False)
        return 1
    finally:
        demo.close()
    progress.console.print("已全部停止 · everything it started is stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
