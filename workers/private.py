"""A private server in a folder: its owner, its port, its password, its start and stop."""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from workers.processes import Account, ChildProcess, ServiceError, is_port_free, own_account, pick_free_port

# For the servers that give up root's rights and then cannot reach the asked folder (a checkout under /root, mode 0700).
FALLBACK_FOLDER = Path("/var/lib/waterwatch")


def say_nothing(_sentence: str) -> None:
    """The default listener."""


class PrivateServer:
    """What the private servers share: a folder with one owner at a time, a remembered port, a remembered password.

    Args:
        folder: where everything of this server lies; created when missing. One process may use it at a time.
        port: the port to listen on; None picks a free one and remembers it in the folder.
        say: is told, in one sentence, what a person should know (e.g. that another folder is used).
    """

    title = "server"

    def __init__(self, folder: Path, port: int | None = None, *, say: Callable[[str], None] = say_nothing) -> None:
        self.account = self._choose_account()
        self.folder = self._reachable(folder.resolve(), say)
        self._asked_port = port
        self._lock: int | None = None
        self._child: ChildProcess | None = None
        self.log = self.folder / "server.log"

    def _choose_account(self) -> Account:
        return own_account()

    def _reachable(self, folder: Path, say: Callable[[str], None]) -> Path:
        """``folder``, or one under ``FALLBACK_FOLDER`` when the server's account cannot get there."""
        self._make_folder(folder)
        if self._can_enter(folder):
            return folder
        digest = hashlib.sha256(str(folder.parent).encode()).hexdigest()[:12]
        fallback = FALLBACK_FOLDER / digest / folder.name
        say(f"{self.title} runs as the system user {self.account.name}, who cannot reach {folder}; using {fallback}.")
        for parent in (FALLBACK_FOLDER, fallback.parent):
            parent.mkdir(parents=True, exist_ok=True)
            parent.chmod(0o711)  # may be passed through by the server's account, not listed
        self._make_folder(fallback)
        return fallback

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if self.account.is_other:
            os.chown(folder, self.account.uid, self.account.gid)
        folder.chmod(0o700)

    def _can_enter(self, folder: Path) -> bool:
        command = ["setpriv", *self.account.setpriv_options(), "--", "test", "-w", str(folder)]
        return not self.account.is_other or subprocess.run(command, check=False).returncode == 0

    @property
    def port(self) -> int:
        """The port it listens on, remembered between starts."""
        if self._asked_port is not None:
            return self._asked_port
        remembered = self.folder / "port"
        if not remembered.exists():
            remembered.write_text(str(self._pick_port()))
        return int(remembered.read_text())

    def _pick_port(self) -> int:
        return pick_free_port()

    @property
    def password(self) -> str:
        """The generated password, in a file that only the account which runs this program can read."""
        return self._secret("password")

    def _secret(self, name: str) -> str:
        path = self.folder / name
        if not path.exists():
            self._write_private(path, secrets.token_hex(24))
        return path.read_text()

    def _write_private(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            if self.account.is_other:
                os.fchown(file.fileno(), self.account.uid, self.account.gid)

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs, else None."""
        return None if self._child is None else self._child.pid

    def start(self) -> Self:
        """Start the server and return when it answers.

        Raises:
            ServiceError: which step failed, why, and what to do.
        """
        if self.pid is not None:
            return self
        self._take_folder()
        try:
            self._clear_leftovers()
            self._settle_port()
            self._launch()
        except BaseException:
            self._release()
            raise
        return self

    def _take_folder(self) -> None:
        if self._lock is not None:
            return
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ServiceError(
                self.title, f"another process uses {self.folder}", "Stop that one first, or use another folder."
            ) from None
        self._lock = descriptor

    def _clear_leftovers(self) -> None:
        """Deal with what an earlier, killed owner of the folder left running."""

    def _settle_port(self) -> None:
        if is_port_free(self.port):
            return
        if self._asked_port is not None:
            raise ServiceError(self.title, f"port {self.port} is taken", "Name another port, or none.")
        (self.folder / "port").unlink()

    def _launch(self) -> None:
        raise NotImplementedError

    def _run(
        self, command: Sequence[str], *, orphan_signal: signal.Signals = signal.SIGTERM, timeout_s: float = 30.0
    ) -> None:
        self._child = ChildProcess(
            self.title,
            command,
            log=self.log,
            account=self.account,
            folder=self.folder,
            orphan_signal=orphan_signal,
        )
        self._child.start()
        try:
            self._child.wait_until(self.is_answering, timeout_s=timeout_s)
        except ServiceError:
            self._child.stop()
            raise

    def is_answering(self) -> bool:
        """Whether the server answers a request under its password; never raises."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the server and let go of the folder; harmless when it does not run."""
        if self._child is not None:
            self._child.stop()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def delete(self) -> None:
        """Stop the server and remove its folder with everything in it."""
        self._take_folder()
        self._clear_leftovers()
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.parent.parent == FALLBACK_FOLDER:
            for parent in (self.folder.parent, FALLBACK_FOLDER):
                with contextlib.suppress(OSError):  # another server's folder is still in it
                    parent.rmdir()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
