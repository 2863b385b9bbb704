"""A line that drops: a TCP relay on loopback that resets each connection after so many bytes from the phone."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PIECE_BYTES = 16 * 1024


@dataclass
class BadLine:
    """``drops`` counts the connections it cut, ``sent`` the bytes that went from the phone to the server."""

    origin: str
    cut_after: int
    drops: int = 0
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def bad_line(target: str, cut_after: int) -> Iterator[BadLine]:
    """A line to ``target`` (an origin) on a port of its own."""
    address = urlsplit(target)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = BadLine(f"http://127.0.0.1:{listener.getsockname()[1]}", cut_after)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    phone, _ = listener.accept()
                    try:
                        server = socket.create_connection((address.hostname, address.port))
                    except OSError:
                        _reset(phone)
                        raise
                    threading.Thread(target=_carry_up, args=(line, phone, server), daemon=True).start()
                    threading.Thread(target=_carry_down, args=(server, phone), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield line
        listener.shutdown(socket.SHUT_RDWR)


def _carry_up(line: BadLine, phone: socket.socket, server: socket.socket) -> None:
    carried = 0
    with contextlib.suppress(OSError):
        while piece := phone.recv(PIECE_BYTES):
            server.sendall(piece)
            carried += len(piece)
            with line.lock:
                line.sent += len(piece)
            if carried >= line.cut_after:
                with line.lock:
                    line.drops += 1
                break
    _reset(phone)
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_WR)  # what has passed the bad place arrives


def _carry_down(server: socket.socket, phone: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := server.recv(PIECE_BYTES):
            phone.sendall(piece)
    server.close()


def _reset(connection: socket.socket) -> None:
    """Close without a farewell, as a lost signal does."""
    # Whatever fails: a phone that hung up first is not connected any more, and is to be closed all the same.
    with connection, contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)  # wakes the other thread, which would keep the connection alive
