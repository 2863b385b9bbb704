"""A bound on a whole conversation, for every client of ours."""

import contextlib
import socket
import threading
import time


class Limit:
    """Cuts a connection when its time is over, whatever it is doing. Per-operation timeouts cannot: each byte resets
    them."""

    def __init__(self, timeout_s: float) -> None:
        self._ends_at = time.monotonic() + timeout_s
        self._handle: socket.socket | None = None
        self._watcher: threading.Thread | None = None
        self._is_let_go = threading.Event()

    @property
    def is_over(self) -> bool:
        """By the clock, not the timer: the socket's own timeout may end an operation before the timer's thread runs."""
        return time.monotonic() >= self._ends_at

    @property
    def left_s(self) -> float:
        """What is left, in seconds; never quite nothing, because a timeout of zero means something else."""
        return max(0.001, self._ends_at - time.monotonic())

    def watch(self, connection: socket.socket) -> None:
        """Cut this connection when the time is over."""
        # A duplicate descriptor survives the wrapping into TLS, and shutting it down ends the shared connection.
        self._handle = connection.dup()
        self._watcher = threading.Thread(target=self._wait_and_cut, args=(self._handle,), daemon=True)
        self._watcher.start()

    def renew(self, timeout_s: float) -> None:
        """A kept connection begins something new, for which it has so long. Never shortens what is left."""
        self._ends_at = max(self._ends_at, time.monotonic() + timeout_s)

    def _wait_and_cut(self, handle: socket.socket) -> None:
        while not self._is_let_go.wait(self.left_s):
            if self.is_over:
                with contextlib.suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)
                return

    def __enter__(self) -> "Limit":
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()

    def let_go(self) -> None:
        """The conversation is over: nothing is cut any more. Idempotent."""
        self._is_let_go.set()
        if self._watcher is not None:
            self._watcher.join()
        if self._handle is not None:
            self._handle.close()
