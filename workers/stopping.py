"""How a process hears that it is to stop."""

import os
import select
import signal
from types import FrameType
from typing import Self


class Stop:
    """A flag that is raised once, by whoever, and waited for; made for signal handlers.

    ``threading.Event`` is not: its ``set`` takes the lock that ``wait`` may hold in the very thread the signal
    interrupted, and then that process waits for itself for ever. A pipe that is written to needs no lock.
    """

    def __init__(self) -> None:
        self._heard, self._said = os.pipe()
        os.set_blocking(self._said, False)
        self._is_set = False

    @classmethod
    def on_signals(cls) -> Self:
        """One that SIGTERM and SIGINT raise; for the main thread."""
        stop = cls()

        def _note(_number: int, _frame: FrameType | None) -> None:
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _note)
        return stop

    def set(self) -> None:
        """Raise it; harmless when it is raised already."""
        if not self._is_set:
            self._is_set = True
            os.write(self._said, b"\0")

    def is_set(self) -> bool:
        """Whether it was raised."""
        return self._is_set

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is raised, at most so long; whether it was."""
        poll = select.poll()  # select() knows no descriptor above 1023
        poll.register(self._heard, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000)) or self._is_set
