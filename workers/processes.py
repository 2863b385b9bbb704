"""Child processes that cannot be orphaned, and the small facts about ports and accounts they need.

Every child is started through ``setpriv`` (util-linux, part of every Debian system): the kernel then signals the child
when its parent dies for whatever reason, SIGKILL included. Each child has its own session, so a Ctrl-C typed in the
terminal reaches the parent alone and the parent stops its children in the order it wants.
"""

import contextlib
import os
import pwd
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# Below Linux's ephemeral range (32768 and up), so that no outgoing connection takes a port we remember, and SeaweedFS's
# gRPC ports (port + 10000) stay below 65536. No well-known server's default port lies in it.
PORT_RANGE = range(20_100, 26_300)
LOG_TAIL_LINES = 15


class ServiceError(RuntimeError):
    """A server could not be started, reached or stopped.

    Args:
        step: what was being done, e.g. ``"PostgreSQL: initdb"``.
        reason: why it failed, usually with the end of the server's log.
        remedy: what a person can do about it.
    """

    def __init__(self, step: str, reason: str, remedy: str) -> None:
        super().__init__(f"{step}: {reason}\n{remedy}")
        self.step = step
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Account:
    """A system account that a server runs as."""

    name: str
    uid: int
    gid: int

    @property
    def is_other(self) -> bool:
        """Whether running as this account means giving up the present identity."""
        return self.uid != os.geteuid()

    def setpriv_options(self) -> list[str]:
        """The options of ``setpriv`` that turn a process into this account; none when it already is."""
        if not self.is_other:
            return []
        return [f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups"]


def own_account() -> Account:
    """The account this process runs as."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run under a number that has no name
        name = str(uid)
    return Account(name, uid, os.getegid())


def unprivileged_account(*names: str) -> Account:
    """Oneself, or, for root, the first of the system accounts ``names`` that exists.

    Raises:
        ServiceError: root, and none of ``names`` exists.
    """
    if os.geteuid() != 0:
        return own_account()
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise ServiceError(
        "system account",
        f"none of the system accounts {', '.join(names)} exists",
        "Install the server's Debian package, which creates it.",
    )


def environment_of(account: Account, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment a server of ``account`` gets: ours when it is ourselves, a bare one when it is somebody else."""
    if not account.is_other:
        return {**os.environ, **(extra or {})}
    bare = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/", "USER": account.name}
    return {**bare, **(extra or {})}


def is_port_free(port: int) -> bool:
    """Whether ``port`` can be listened on at 127.0.0.1 right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def pick_free_port(is_wanted: Callable[[int], bool] = is_port_free) -> int:
    """A port of ``PORT_RANGE`` for which ``is_wanted`` holds.

    Raises:
        ServiceError: not one port of the range is free.
    """
    for port in random.sample(PORT_RANGE, len(PORT_RANGE)):
        if is_wanted(port):
            return port
    raise ServiceError("free port", "every port from 20100 to 26299 is taken", "Stop what uses them.")


def open_log(path: Path) -> BinaryIO:
    """A log to append to, private to us. Never through a symbolic link: its folder may belong to a server's account."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600), "ab")


def read_tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last ``lines`` lines of a log file; empty when there is no such file."""
    try:
        with path.open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 16_384))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


class ChildProcess:
    """One program running as a child, its output appended to a log file.

    The kernel ties a child's death signal to the *thread* that started it, so a thread of this object's own starts it:
    the program lives until :meth:`stop`, or until this object or this process is gone, whichever comes first, no matter
    which thread called :meth:`start`.

    Args:
        name: what people call it, for messages.
        command: program and arguments.
        log: where its output goes.
        account: whom it runs as.
        extra_env: added to its environment.
        folder: its working directory.
        orphan_signal: the signal it gets should this process die without stopping it.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        account: Account | None = None,
        extra_env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        orphan_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._account = account or own_account()
        self._command = [
            "setpriv",
            *self._account.setpriv_options(),
            f"--pdeathsig={orphan_signal.name.removeprefix('SIG')}",
            "--",
            *command,
        ]
        self._environment = environment_of(self._account, extra_env)
        self._folder = folder
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"keeps-{name}")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """How it ended (negative: by that signal); None while it runs or before it was started."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start it and return at once; use :meth:`wait_until` for its readiness."""
        if self.pid is not None:
            return
        self._process = self._starter.submit(self._spawn).result()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with open_log(self.log) as output:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
            )

    def wait_until(self, is_ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until ``is_ready()``, which is asked a few times a second and must not raise.

        Raises:
            ServiceError: the program ended first, or ``timeout_s`` seconds passed; with the end of its log.
        """
        process = self._process
        if process is None:
            raise ServiceError(self.name, "it was not started", "Start it first.")
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            pause_s = min(0.05, deadline - time.monotonic())
            if pause_s <= 0:
                raise self._failure(f"not ready after {timeout_s:g} s")
            try:
                code = process.wait(timeout=pause_s)
            except subprocess.TimeoutExpired:
                continue
            raise self._failure(f"it ended with code {code}")

    def _failure(self, reason: str) -> ServiceError:
        tail = read_tail(self.log) or "(nothing)"
        return ServiceError(self.name, f"{reason}; its log ends with:\n{tail}", f"The whole log: {self.log}")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def kill_remains(self) -> None:
        """SIGKILL to it and to the children it may have left behind, as systemd does before it starts a unit again.

        A child that made a process group of its own is not among them. Harmless when nothing is left.
        """
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM, *, timeout_s: float = 10.0) -> None:
        """Ask it to end by ``number``; what remains of its session after ``timeout_s`` seconds is killed.

        Harmless when it has ended or was never started.
        """
        process = self._process
        if process is None:
            return
        self.send(number)
        try:
            process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.kill_remains()
            process.wait()
