"""The only SMTP client. One conversation, bounded as a whole, whose end says exactly what is known about the mail."""

import contextlib
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Literal
from urllib.parse import unquote, urlsplit

from waterwatch.messaging.email import is_address
from waterwatch.messaging.limit import Limit

_PORTS = {"smtp": 25, "smtps": 465, "smtp+starttls": 587}
# What broke a conversation, the particular before the general.
_CODES: dict[type[Exception], str] = {
    smtplib.SMTPAuthenticationError: "login_refused",
    smtplib.SMTPServerDisconnected: "disconnected",
    smtplib.SMTPNotSupportedError: "not_supported",
    smtplib.SMTPException: "connection_refused",
    ssl.SSLError: "tls_failed",
    TimeoutError: "timeout",
    socket.gaierror: "name_not_found",
    ConnectionRefusedError: "nobody_listens",
    OSError: "connection_lost",
}
_LEADING_DOT = re.compile(rb"(?m)^\.")
_GO_ON = 354
_SERVICE_CLOSING = 421  # RFC 5321: may answer any command, and speaks of the server, not of the recipient


@dataclass(frozen=True)
class Accepted:
    """The server answered 250 after the last byte: the mail is its business now."""

    duration_s: float


class SendError(Exception):
    """The mail was not, or not surely, taken over. ``code`` is stable and holds nothing of the mail."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class Unreachable(SendError):
    """The server could not be used; it has taken nothing over. Nothing is said about the recipient."""


class Uncertain(SendError):
    """The connection ended after the last byte and before the answer: the mail may have been taken over."""


class Refused(SendError):
    """The server answered, and will not take this mail for this recipient: for good (5xx) or for now (4xx)."""

    def __init__(self, code: str, smtp_code: int) -> None:
        super().__init__(f"{code}_{smtp_code}")
        self.smtp_code = smtp_code

    @property
    def permanent(self) -> bool:
        """Whether trying again is pointless."""
        return self.smtp_code >= 500


@dataclass(frozen=True)
class Server:
    """Where mail is handed over: ``smtp`` in the clear, ``smtps`` TLS from the start, ``smtp+starttls`` on request."""

    scheme: Literal["smtp", "smtps", "smtp+starttls"]
    host: str
    port: int
    user: str | None
    password: str | None


def parse_url(url: str) -> Server:
    """Read ``smtp://``, ``smtps://`` or ``smtp+starttls://`` ``[user:password@]host[:port]``; user and password are
    percent-decoded, the port defaults to 25, 465, 587. Raises ``ValueError`` without repeating the address."""
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("the mail server's address must look like smtp+starttls://user:password@mail.example.org:587")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    port = parts.port or _PORTS[parts.scheme]
    return Server(parts.scheme, parts.hostname, port, user, password)  # type: ignore[arg-type]  # checked just above


def send(
    url: str, message: EmailMessage, *, envelope_from: str, recipients: Sequence[str], timeout_s: float
) -> Accepted:
    """Hand one message over, to one recipient, and hang up.

    ``timeout_s`` bounds the whole conversation: a server that trickles a byte a second is cut off like one that is
    silent. Looking up the server's name comes on top, within the resolver's own limits. TLS certificates are verified.

    Raises:
        Unreachable: nothing was taken over: no connection, no TLS, no log-in, sender refused, connection lost, 421.
        Refused: the recipient or the content was refused; see ``permanent``.
        Uncertain: lost between the last byte and the answer.
        ValueError: the URL or an address is not of its form.
    """
    (recipient,) = recipients
    with contextlib.closing(Outlet(url, timeout_s=timeout_s)) as outlet:
        return outlet.send(message.as_bytes(), envelope_from=envelope_from, recipient=recipient)


class Outlet:
    """One conversation with the mail server, kept from mail to mail. Not for several threads at once.

    Whatever breaks it ends it, and the next mail begins another. A server that hangs up between two mails, as it may
    at any time, costs nothing: nothing was handed over, so the same mail goes over a new connection at once.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._server = parse_url(url)
        self._timeout_s = timeout_s
        self._kept: _Kept | None = None

    def send(self, content: bytes, *, envelope_from: str, recipient: str) -> Accepted:
        """Hand one message over for one address; raises as :func:`send` does. ``timeout_s`` bounds each mail."""
        if not all(is_address(address) for address in (envelope_from, recipient)):
            raise ValueError("not a mail address")
        started = time.monotonic()
        if self._kept is not None:
            self._kept.limit.renew(self._timeout_s)
            with contextlib.suppress(Unreachable):
                self._hand_over(self._kept, content, envelope_from, recipient)
                return Accepted(time.monotonic() - started)
        self._kept = _open(self._server, envelope_from, self._timeout_s)
        self._hand_over(self._kept, content, envelope_from, recipient)
        return Accepted(time.monotonic() - started)

    def close(self) -> None:
        """Hang up; a server that does not answer is left."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            with contextlib.suppress(OSError, smtplib.SMTPException):
                kept.client.quit()
            kept.end()

    def _hand_over(self, kept: "_Kept", content: bytes, envelope_from: str, recipient: str) -> None:
        """One mail. A refusal leaves the conversation as it is, anything else but success ends it."""
        try:
            kept.hand_over(content, envelope_from, recipient)
        except Refused:
            kept.is_fresh = False
            raise
        except SendError:
            self._drop()
            raise
        except (OSError, smtplib.SMTPException) as error:
            code = "timeout" if kept.limit.is_over else _describe(error)
            self._drop()
            raise Unreachable(code) from None

    def _drop(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.end()


@dataclass
class _Kept:
    """An open conversation. ``is_fresh``: the server expects an envelope; else it is told to forget the last one."""

    client: smtplib.SMTP
    limit: Limit
    is_fresh: bool = True

    def hand_over(self, content: bytes, envelope_from: str, recipient: str) -> None:
        client = self.client
        if not self.is_fresh:
            _expect(client.rset(), "reset_refused", Unreachable)
            self.is_fresh = True
        if client.has_extn("pipelining"):  # RFC 2920: one journey instead of three
            self._envelope_at_once(envelope_from, recipient)
        else:
            _expect(client.mail(envelope_from), "sender_refused", Unreachable)
            _expect(client.rcpt(recipient), "recipient_refused")
            _expect(client.docmd("DATA"), "data_refused", Unreachable, wanted=354)
        client.send((_LEADING_DOT.sub(b"..", content) if b"\n." in content else content) + b".\r\n")
        try:
            answer = client.getreply()
        except (OSError, smtplib.SMTPException):
            raise Uncertain("timeout_after_data" if self.limit.is_over else "lost_after_data") from None
        if self.limit.is_over:  # half a line that was cut off reads like an answer
            raise Uncertain("timeout_after_data")
        if not 200 <= answer[0] < 600:
            raise Uncertain("garbage_after_data")
        # Taken over, if so it says. Nothing that happens from here on may be reported as a failure.
        _expect(answer, "content_refused")

    def _envelope_at_once(self, envelope_from: str, recipient: str) -> None:
        self.client.send(f"MAIL FROM:<{envelope_from}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode("ascii"))
        sender, taker, go_on = (self.client.getreply() for _ in range(3))
        is_waiting = go_on[0] == _GO_ON and not (200 <= sender[0] < 300 and 200 <= taker[0] < 300)
        if is_waiting:  # it waits for a mail that it will give nobody: only hanging up keeps it from getting one
            self.client.close()
        _expect(sender, "sender_refused", Unreachable)
        _expect(taker, "recipient_refused")
        _expect(go_on, "data_refused", Unreachable, wanted=_GO_ON)

    def end(self) -> None:
        self.client.close()
        self.limit.let_go()


class _Client(smtplib.SMTP):
    """smtplib's client on a connection made by us."""

    def __init__(self, server: Server, limit: Limit, own_name: str) -> None:
        self._server, self._limit = server, limit
        # Naming ourselves spares smtplib a look-up of this machine's own name.
        super().__init__(server.host, server.port, local_hostname=own_name, timeout=limit.left_s)

    def _get_socket(self, host: str, port: int, _timeout: float) -> socket.socket:
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(self._limit.left_s)
                connection.connect(address)
                self._limit.watch(connection)
                if self._server.scheme == "smtps":
                    connection = ssl.create_default_context().wrap_socket(connection, server_hostname=host)
            except OSError as error:
                connection.close()
                failure = error
                if self._limit.is_over:
                    break
            else:
                return connection
        raise failure


def _open(server: Server, envelope_from: str, timeout_s: float) -> _Kept:
    """A greeted, encrypted and logged-in conversation; whatever breaks in it becomes :class:`Unreachable`."""
    client: smtplib.SMTP | None = None
    limit = Limit(timeout_s)
    try:
        client = _Client(server, limit, envelope_from.rpartition("@")[2])
        _expect(client.ehlo(), "greeting_refused", Unreachable)
        if server.scheme == "smtp+starttls":
            client.starttls(context=ssl.create_default_context())
            _expect(client.ehlo(), "greeting_refused", Unreachable)
        if server.user is not None:
            client.login(server.user, server.password or "")
    except (OSError, smtplib.SMTPException, SendError) as error:
        code = "timeout" if limit.is_over else None
        if client is not None:
            client.close()
        limit.let_go()
        if isinstance(error, SendError):
            raise
        raise Unreachable(code or _describe(error)) from None
    return _Kept(client, limit)


def _describe(error: Exception) -> str:
    """A stable code; the server's own words could repeat the recipient's address."""
    code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
    return f"{code}_{error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else code


def _expect(
    answer: tuple[int, bytes], code: str, blames: type[Unreachable] | None = None, *, wanted: int | None = None
) -> None:
    """Pass when the answer is ``wanted``, or any 2xx when none is named; else raise, blaming the server or the mail."""
    smtp_code = answer[0]
    if smtp_code == wanted or (wanted is None and 200 <= smtp_code < 300):
        return
    if blames is not None or smtp_code == _SERVICE_CLOSING or not 400 <= smtp_code < 600:
        raise Unreachable(f"{code}_{smtp_code}")
    raise Refused(code, smtp_code)
