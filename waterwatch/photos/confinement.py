"""The process hostile pictures are decoded in: a forked child under limits, which answers once and is gone.

Limits come from the kernel (``setrlimit``), not from the code they guard. Forking costs a few milliseconds where
starting an interpreter with its imports costs most of a second; what that choice leaves open is written down in
``docs/decisions/0003``.
"""

import ctypes
import gc
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from waterwatch.photos.rules import Limits

ANSWER_LIMIT_BYTES: Final = 64 * 1024
OPEN_FILES_LIMIT: Final = 32
_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_OUT_OF_MEMORY, _FAULT = 3, 1  # exit statuses of the child
_EXHAUSTED = frozenset({signal.SIGXCPU, signal.SIGKILL})


class ChildDiedError(Exception):
    """The child ended without an answer. ``code`` is a refusal: ``too_heavy``, ``timed_out`` or ``undecodable``."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def run_confined(work: Callable[[], bytes], limits: Limits) -> bytes:
    """Call ``work`` in a confined child process and return its answer, at most 64 KiB.

    The child may use ``limits.memory_bytes`` of address space beyond what it inherits, ``limits.cpu_s`` of CPU and
    ``limits.wall_s`` in all; it holds none of the caller's open files and connections. It is dead when this returns.

    Raises:
        ChildDiedError: by a signal, by an exception, or for want of memory or time.
        OSError: no child could be made; nothing is known about the work then.
    """
    reader, writer = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
    if child == 0:
        _live(work, writer, limits)  # never returns
    os.close(writer)
    try:
        raw, is_late = _read_answer(reader, limits.wall_s)
    finally:
        os.close(reader)
        # It has answered, died, or is late: in no case may it live on. One that is already dead does not notice.
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    if is_late:
        raise ChildDiedError("timed_out")
    if not raw:
        raise ChildDiedError(_cause(status))
    return raw


def confine(limits: Limits) -> None:
    """Limit this process for good: address space beyond what it has now, CPU, file sizes, open files, no core dump."""
    present_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    ceiling = present_bytes + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES_LIMIT, OPEN_FILES_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _live(work: Callable[[], bytes], writer: int, limits: Limits) -> None:
    """The child's whole life. Leaves by ``os._exit``: none of the parent's clean-up may run here."""
    status = _FAULT
    try:
        gc.disable()  # no finaliser of the parent's objects may speak on a shared connection
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed worker leaves no decoder behind
        writer = _close_all_but(writer)
        confine(limits)
        _write_all(writer, work())
        status = 0
    except MemoryError:
        status = _OUT_OF_MEMORY
    finally:  # fails closed: no answer is a refusal
        os._exit(status)


def _close_all_but(writer: int) -> int:
    """Close the database's and everybody else's connections; the pipe becomes descriptor 3."""
    if writer != 3:
        os.dup2(writer, 3)
    highest = max((int(entry.name) for entry in Path("/proc/self/fd").iterdir()), default=3)
    os.closerange(4, highest + 1)
    return 3


def _write_all(writer: int, answer: bytes) -> None:
    while answer:
        answer = answer[os.write(writer, answer) :]


def _read_answer(reader: int, wall_s: float) -> tuple[bytes, bool]:
    """(answer, whether time ran out). Only what was followed by end of file is an answer."""
    deadline, raw = time.monotonic() + wall_s, b""
    while len(raw) <= ANSWER_LIMIT_BYTES:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0 or not select.select([reader], [], [], remaining_s)[0]:
            return b"", True
        chunk = os.read(reader, 4096)
        if not chunk:
            return raw, False
        raw += chunk
    return b"", False


def _cause(status: int) -> str:
    """Why a child ended that did not answer, as a refusal."""
    if os.WIFSIGNALED(status):
        with suppress(ValueError):
            return "too_heavy" if signal.Signals(os.WTERMSIG(status)) in _EXHAUSTED else "undecodable"
    elif os.WEXITSTATUS(status) == _OUT_OF_MEMORY:
        return "too_heavy"
    return "undecodable"
