"""SMTP servers on loopback: one with good manners (aiosmtpd), and ones that break off wherever a script says."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

HOST = "127.0.0.1"


def closed_port() -> int:
    """A port of loopback nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@dataclass
class Inbox:
    """A handler of aiosmtpd that keeps what it accepts; ``answers`` overrides single replies by command."""

    answers: dict[str, str] = field(default_factory=dict)
    received: list[Envelope] = field(default_factory=list)

    async def handle_MAIL(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.answers.get("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.answers.get("RCPT", "250 OK")

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answers.get("DATA", "250 OK")
        if answer.startswith("2"):
            self.received.append(envelope)
        return answer


def _authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object) -> AuthResult:
    return AuthResult(success=data == LoginPassword(b"waters", b"a p@ss:word"))


@contextlib.contextmanager
def kind_server(
    inbox: Inbox,
    *,
    tls: ssl.SSLContext | None = None,
    starttls: ssl.SSLContext | None = None,
    wants_login: bool = False,
) -> Iterator[int]:
    """A server that keeps the rules; gives its port."""
    controller = Controller(
        inbox,
        hostname=HOST,
        port=closed_port(),
        server_hostname="mail.test",
        ssl_context=tls,
        tls_context=starttls,
        require_starttls=starttls is not None,
        authenticator=_authenticate,
        auth_required=wants_login,
    )
    controller.start()
    try:
        yield int(controller.port)
    finally:
        controller.stop()


class Peer:
    """The server's side of one connection, for scripts."""

    def __init__(self, connection: socket.socket, is_over: threading.Event) -> None:
        self.connection = connection
        self.is_over = is_over
        self._lines = connection.makefile("rb")

    def say(self, line: str) -> None:
        self.connection.sendall(line.encode() + b"\r\n")

    def hear(self) -> str:
        return self._lines.readline().decode().strip()

    def exchange(self, *answers: str) -> None:
        """Hear one command for each answer, and give it."""
        for answer in answers:
            self.hear()
            self.say(answer)

    def take_mail(self) -> bytes:
        """Play the whole dialogue up to and including the final dot, without answering it."""
        self.say("220 mail.test")
        self.exchange("250 mail.test", "250 OK", "250 OK", "354 go on")
        return self.hear_mail()

    def hear_mail(self) -> bytes:
        """What follows 354, up to the final dot."""
        lines = []
        while (line := self._lines.readline()) not in (b".\r\n", b""):
            lines.append(line)
        return b"".join(lines)

    def hang(self) -> None:
        """Say nothing more until the test is over."""
        self.is_over.wait()

    def close(self) -> None:
        self._lines.close()
        self.connection.close()


@contextlib.contextmanager
def rude_server(*scripts: Callable[[Peer], None]) -> Iterator[int]:
    """A server that plays one script a connection, in order, the last one again and again; gives its port."""
    is_over = threading.Event()
    listener = socket.create_server((HOST, 0))
    threads: list[threading.Thread] = []

    def play(script: Callable[[Peer], None], connection: socket.socket) -> None:
        peer = Peer(connection, is_over)
        try:
            with contextlib.suppress(OSError):  # the client may hang up on us at any time
                script(peer)
        finally:
            peer.close()

    def serve() -> None:
        turn = 0
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=play, args=(scripts[min(turn, len(scripts) - 1)], connection))
            threads.append(thread)
            thread.start()
            turn += 1

    server = threading.Thread(target=serve)
    server.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join()
        for thread in threads:
            thread.join()


@dataclass
class Copy:
    """One mail as it reached a fickle server; ``is_accepted``: it said so, and the client could hear it."""

    recipient: str
    content: bytes
    is_accepted: bool


Behaviour = Callable[[str, int], str]


class Fickle:
    """A mail server that treats each recipient as a script says: ``behave(recipient, how often it was asked)``.

    ``kind`` · ``450`` · ``550`` (at RCPT) · ``452`` · ``554`` (after the data) · ``drop`` (takes the mail, hangs up) ·
    ``hang`` (takes it and says nothing more) · ``trickle`` (a byte now and then) · ``garbage`` · ``421``.
    """

    def __init__(self, behave: Behaviour) -> None:
        self.copies: list[Copy] = []
        self.conversations = 0
        self._behave = behave
        self._asked: dict[str, int] = {}

    def __call__(self, peer: Peer) -> None:
        self.conversations += 1
        peer.say("220 mail.test")
        recipient = ""
        while line := peer.hear():
            verb = line[:4].upper()
            if verb == "RCPT":
                recipient = line.partition("<")[2].partition(">")[0]
                self._asked[recipient] = self._asked.get(recipient, 0) + 1
                manner = self._behave(recipient, self._asked[recipient])
                peer.say({"450": "450 later", "550": "550 nobody here", "421": "421 closing"}.get(manner, "250 OK"))
                if manner == "421":
                    return
            elif verb == "DATA":
                peer.say("354 go on")
                content = peer.hear_mail()
                if not self._answer(peer, recipient, content):
                    return
            else:
                peer.say("221 bye" if verb == "QUIT" else "250 OK")
                if verb == "QUIT":
                    return

    def _answer(self, peer: Peer, recipient: str, content: bytes) -> bool:
        manner = self._behave(recipient, self._asked[recipient])
        said = {"452": "452 full", "554": "554 not wanted"}.get(manner)
        if said is not None:
            peer.say(said)
            return True
        self.copies.append(Copy(recipient, content, is_accepted=manner == "kind"))
        if manner == "kind":
            peer.say("250 taken")
        elif manner == "hang":
            peer.hang()
        elif manner == "trickle":
            while not peer.is_over.wait(0.05):
                peer.connection.sendall(b"2")
        elif manner == "garbage":
            peer.say("<html>")
        return manner == "kind"
