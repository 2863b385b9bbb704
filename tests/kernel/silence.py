"""A server that takes every connection and never says a word."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Silent:
    """Where it listens, and who has come."""

    url: str
    visits: list[socket.socket] = field(default_factory=list)


@contextmanager
def silent_server() -> Iterator[Silent]:
    """Listens on loopback until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        silent = Silent(f"http://127.0.0.1:{door.getsockname()[1]}")

        def welcome() -> None:
            while True:
                try:
                    silent.visits.append(door.accept()[0])
                except OSError:
                    return

        host = threading.Thread(target=welcome, daemon=True)
        host.start()
        try:
            yield silent
        finally:
            door.shutdown(socket.SHUT_RDWR)
            for visit in silent.visits:
                visit.close()
            host.join(10)
