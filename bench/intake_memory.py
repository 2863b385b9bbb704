"""Memory of the web process while fifty photos of 25 MB come at once: in a form, as the body, and by tus.

All fifty connections are open and sending together; a gunicorn of two workers serves eight of them at a time. What is
printed is the resident size of both workers together, before, and the largest seen while they are at it.
"""

import http.client
import os
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from bench.intake import MEBIBYTE, Way, upload

AT_ONCE = 50
SIZE_BYTES = 25 * MEBIBYTE
TUS = {"Tus-Resumable": "1.0.0"}


def print_memory(direct: int, front: int, photo: Callable[[int], bytes]) -> None:
    """Send fifty photos at once by each way and print what the workers held."""
    content = photo(SIZE_BYTES)
    ways: dict[str, Callable[[], None]] = {
        "in a form": lambda: _send(Way(direct, "/api/v1/photos"), content),
        "as the body": lambda: _send(Way(direct, "/api/v1/photos", is_raw=True), content),
        "as the body, nginx": lambda: _send(Way(front, "/api/v1/photos", is_raw=True), content),
        "tus": lambda: _send_by_tus(direct, content),
    }
    print(f"\nmemory of the web process, {AT_ONCE} photos of {SIZE_BYTES // MEBIBYTE} MB at once")
    for name, send in ways.items():
        before, peak = _watched(direct, lambda send=send: _all_at_once(send))  # type: ignore[misc]
        print(f"  {name:20} {before:6.0f} MB before, {peak:6.0f} MB at most: {peak - before:+.0f} MB")


def _send(way: Way, content: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", way.port, timeout=300)
    upload(connection, content, way)
    connection.close()


def _send_by_tus(port: int, content: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", "/api/v1/uploads", headers=TUS | {"Upload-Length": str(len(content))})
    answer = connection.getresponse()
    answer.read()
    headers = TUS | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    connection.request("PATCH", answer.headers["Location"], body=content, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 204:
        raise SystemExit(f"an upload was answered {answer.status}")


def _all_at_once(send: Callable[[], None]) -> None:
    senders = [threading.Thread(target=send) for _ in range(AT_ONCE)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()


def _watched(port: int, work: Callable[[], None]) -> tuple[float, float]:
    """(before, peak) of the workers of the gunicorn at this port, in MB."""
    workers = [one for one in psutil.Process().children(recursive=True) if _serves(one, port)]
    before = peak = _resident_mb(workers)
    is_done = threading.Event()
    runner = threading.Thread(target=lambda: (work(), is_done.set()))
    runner.start()
    while not is_done.wait(0.02):
        peak = max(peak, _resident_mb(workers))
    runner.join()
    return before, peak


def _serves(process: psutil.Process, port: int) -> bool:
    words = process.cmdline()
    return f"127.0.0.1:{port}" in words and process.ppid() != os.getpid()


def _resident_mb(processes: list[psutil.Process]) -> float:
    pages = (int(Path(f"/proc/{one.pid}/statm").read_text().split()[1]) for one in processes)
    return sum(pages) * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE
