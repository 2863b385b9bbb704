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
        self._timer: threading.Timer | None = None

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
        self._timer = threading.Timer(self.left_s, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _cut(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Limit":
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        if self._handle is not None:
            self._handle.close()
