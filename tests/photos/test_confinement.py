"""The limits hold in effect: work that takes too much dies, and nothing of the caller's is in its hands."""

import os
import signal
import socket
from pathlib import Path

import numpy as np
import pytest

from tests.photos.forge import encode, jpeg, scene
from waterwatch.kernel.errors import Unavailable
from waterwatch.photos import redaction
from waterwatch.photos.confinement import ChildDiedError, run_confined
from waterwatch.photos.pixels import Refused, rebuild_in_child
from waterwatch.photos.rules import Limits

LIMITS = Limits(max_pixels=60_000_000, memory_bytes=512 << 20, cpu_s=20, wall_s=60.0, file_bytes=1 << 20)


@pytest.fixture(scope="module", autouse=True)
def _weights() -> None:
    """Load them before any fork, as a worker does: a child so narrow as these could not."""
    redaction.load()


def _code_of(work: object, limits: Limits = LIMITS) -> str:
    with pytest.raises(ChildDiedError) as caught:
        run_confined(work, limits)  # type: ignore[arg-type]
    return caught.value.code


def _kill_myself(number: signal.Signals) -> bytes:
    os.kill(os.getpid(), number)
    return b"survived"


def _spin() -> bytes:
    while True:
        pass


def _raise() -> bytes:
    raise ValueError("broken")


def test_an_answer_comes_back_whole() -> None:
    assert run_confined(lambda: b"x" * 60_000, LIMITS) == b"x" * 60_000


def test_death_without_an_answer_is_a_refusal() -> None:
    assert _code_of(lambda: _kill_myself(signal.SIGSEGV)) == "undecodable"
    assert _code_of(lambda: _kill_myself(signal.SIGABRT)) == "undecodable"
    assert _code_of(lambda: _kill_myself(signal.SIGKILL)) == "too_heavy"
    assert _code_of(lambda: os._exit(0)) == "undecodable"
    assert _code_of(_raise) == "undecodable"


def test_an_endless_answer_is_none() -> None:
    assert _code_of(lambda: b"x" * 70_000) in ("undecodable", "too_heavy")


def test_memory_beyond_the_limit_is_not_given() -> None:
    assert _code_of(lambda: bytes(np.ones(1 << 30, dtype=np.uint8)[:1])) == "too_heavy"


def test_cpu_beyond_the_limit_is_not_given() -> None:
    assert _code_of(_spin, Limits(60_000_000, 256 << 20, cpu_s=1, wall_s=120.0)) == "too_heavy"


def test_late_is_timed_out() -> None:
    assert _code_of(lambda: bytes(signal.sigwait([signal.SIGUSR1])), Limits(1, 256 << 20, 5, wall_s=0.2)) == "timed_out"


def test_files_beyond_the_limit_are_not_written(tmp_path: Path) -> None:
    def write() -> bytes:
        (tmp_path / "large").write_bytes(bytes(2 << 20))
        return b"written"

    assert _code_of(write) == "undecodable"


def test_the_child_holds_no_connection_of_the_caller() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seen = run_confined(
            lambda: ",".join(sorted(entry.name for entry in Path("/proc/self/fd").iterdir())).encode(), LIMITS
        )
        theirs.send(b"still open here")
        assert ours.recv(64) == b"still open here"
    # Standard streams, the pipe, and the listing's own descriptor.
    assert seen.split(b",") == [b"0", b"1", b"2", b"3", b"4"]


def _children() -> set[str]:
    """The processes this one has started and not yet taken leave of; other tests' services may be among them."""
    return {child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()}


def test_the_caller_keeps_no_descriptor_and_no_zombie() -> None:
    before = sorted(Path("/proc/self/fd").iterdir()), _children()
    for _ in range(5):
        run_confined(lambda: b"ok", LIMITS)
    assert (sorted(Path("/proc/self/fd").iterdir()), _children()) == before


def test_a_photo_too_large_for_the_memory_given_is_too_heavy(tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(encode(scene(6000, 5000), "PNG"))
    limits = Limits(max_pixels=60_000_000, memory_bytes=64 << 20, cpu_s=20, wall_s=60.0)
    assert rebuild_in_child(original, tmp_path, limits) == Refused("too_heavy")


def test_a_photo_not_done_in_time_is_timed_out(tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(encode(scene(6000, 5000), "PNG"))
    limits = Limits(max_pixels=60_000_000, memory_bytes=1536 << 20, cpu_s=20, wall_s=0.02)
    assert rebuild_in_child(original, tmp_path, limits) == Refused("timed_out")


def test_trouble_of_the_machine_is_not_blamed_on_the_photo(tmp_path: Path) -> None:
    original = tmp_path / "original"
    original.write_bytes(jpeg())
    with pytest.raises(Unavailable) as caught:
        rebuild_in_child(original, tmp_path / "gone", LIMITS)
    assert caught.value.facts == {"retry_after_s": 30.0, "reason": "ENOENT"}
