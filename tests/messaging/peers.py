"""Plain HTTP peers on loopback, well-behaved and not: what each request is answered, a script says."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from waterwatch.messaging.http import Client

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class HttpPeer:
    """Where a peer listens, and what it heard."""

    port: int
    heard: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def client(self, **options: Any) -> Client:
        """A client that the operator allowed to go here."""
        return Client(frozenset({f"{HOST}:{self.port}"}), **({"timeout_s": 5.0} | options))


Script = Callable[[Request, socket.socket, threading.Event], None]


def says(body: bytes | str = b"", *, status: str = "200 OK", headers: str = "") -> Script:
    """Answers once, in good order."""
    content = body.encode() if isinstance(body, str) else body

    def play(_request: Request, line: socket.socket, _is_over: threading.Event) -> None:
        line.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n".encode() + content)

    return play


def sends(raw: bytes) -> Script:
    """Sends bytes as they are, and hangs up."""
    return lambda _request, line, _is_over: line.sendall(raw)


def hangs(_request: Request, _line: socket.socket, is_over: threading.Event) -> None:
    """Reads, and never says a word."""
    is_over.wait()


def trickles(head: bytes = b"") -> Script:
    """A byte now and then, for ever."""

    def play(_request: Request, line: socket.socket, is_over: threading.Event) -> None:
        line.sendall(head)
        while not is_over.wait(0.05):
            line.sendall(b"X")

    return play


def drops(_request: Request, _line: socket.socket, _is_over: threading.Event) -> None:
    """Takes the request, and hangs up without a word."""


def _read(line: socket.socket) -> Request | None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = line.recv(65536)
        if not piece:
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(found[1]) if (found := re.search(rb"(?i)content-length: (\d+)", head)) else 0
    while len(body) < length and (piece := line.recv(65536)):
        body += piece
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _version = first.split(" ", 2)
    headers = {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}
    return Request(method, path, headers, body)


@contextlib.contextmanager
def http_peer(*scripts: Script) -> Iterator[HttpPeer]:
    """A server until the block ends; it plays one script a request, in order, the last one again and again."""
    is_over = threading.Event()
    listener = socket.create_server((HOST, 0))
    made = HttpPeer(listener.getsockname()[1])
    threads: list[threading.Thread] = []

    def play(line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            request = _read(line)
            if request is not None:
                turn = len(made.heard)
                made.heard.append(request)
                scripts[min(turn, len(scripts) - 1)](request, line, is_over)

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=play, args=(line,)))
            threads[-1].start()

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield made
    finally:
        is_over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join()
        for thread in threads:
            thread.join()
