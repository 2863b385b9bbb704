"""HTTPS servers on loopback, with a certificate of their own and manners as a script says."""

import contextlib
import datetime
import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from waterwatch.messaging.fetching import Fetcher

Script = Callable[[ssl.SSLSocket, threading.Event], None]


@dataclass
class HttpsServer:
    """Plays ``script`` to whoever connects; ``heard`` are the requests."""

    port: int
    trust: ssl.SSLContext
    heard: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        """As the list of hosts names it."""
        return f"localhost:{self.port}"

    def fetcher(self, *, timeout_s: float = 5.0, trusts: bool = True) -> Fetcher:
        """A client that may go to loopback, and knows this server's certificate."""
        tls = self.trust if trusts else None
        return Fetcher(frozenset({self.host}), timeout_s=timeout_s, is_allowed=lambda _address: True, tls=tls)


def certify(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A self-signed certificate for ``name`` and its key, as files."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    paths[1].write_bytes(secret)
    return paths


def answer(body: bytes, *, status: str = "200 OK", headers: str = "", length: int | None = None) -> Script:
    """A script that answers once, as told."""

    def play(line: ssl.SSLSocket, _is_over: threading.Event) -> None:
        size = len(body) if length is None else length
        line.sendall(f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + body)

    return play


def _read_request(line: ssl.SSLSocket) -> str:
    """Head and body of one request, byte for byte as Latin-1: a body may be anything."""
    data = line.recv(65536)
    if found := re.search(rb"(?i)content-length: (\d+)", data):
        whole = data.index(b"\r\n\r\n") + 4 + int(found[1])
        while len(data) < whole and (piece := line.recv(65536)):
            data += piece
    return data.decode("latin-1")


@contextlib.contextmanager
def https_server(folder: Path, script: Script) -> Iterator[HttpsServer]:
    """A server until the block ends."""
    certificate, key = certify(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    is_over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    made = HttpsServer(listener.getsockname()[1], ssl.create_default_context(cafile=str(certificate)))

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as line:
                made.heard.append(_read_request(line))
                script(line, is_over)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield made
    finally:
        is_over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
