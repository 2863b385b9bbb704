"""The process that takes mail in: bounces and answers to what we sent, by SMTP or LMTP from the operator's own server.

No mail server for the world: it takes only what is for an address we gave out, relays nothing, and never writes a mail
itself. It says 250 once the mail is safely kept, and 451 when it cannot be, so whoever sends it tries again.
"""

import asyncio
import contextlib
import logging
import signal
from typing import Any, Final
from urllib.parse import urlsplit

from aiosmtpd.smtp import SMTP, Envelope, Session, syntax

from waterwatch.inbox import service
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import make_engine, make_sessions
from waterwatch.kernel.errors import NotFound
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.objects import ObjectStore
from waterwatch.kernel.settings import Settings

MAX_CONNECTIONS: Final = 20  # each may hold one mail in memory
CONVERSATION_S: Final = 600.0
SILENCE_S: Final = 60.0  # for a command, and for the whole of one mail's content
MAX_LINE_BYTES: Final = 256 * 1024  # servers do write lines beyond the 998 of RFC 5321
MIN_LINES: Final = 100_000  # so many every mail may have; a longer one must have lines of LINE_BYTES on average
LINE_BYTES: Final = 40  # an attachment's have 78; each line costs some 60 bytes of memory besides its own
MAX_STRANGERS: Final = 20  # addresses that are not ours, in one conversation
CALLS: Final = {"MAIL": 500, "RCPT": 500, "DATA": 500, "RSET": 500, "NOOP": 500, "*": 20}
STOP_GRACE_S: Final = 10.0

log = get_logger(__name__)
logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # it quotes addresses, which are keys, and who called


class Receiver:
    """What becomes of a recipient and of a mail."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self.under_way: set[asyncio.Task[Any]] = set()

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Only addresses of ours. One at a time: LMTP wants an answer for each, and a mail of ours has one anyway."""
        assert isinstance(server, Conversation)
        try:
            service.destination(address, settings=self._context.settings)
        except NotFound:
            server.strangers += 1
            is_guessing = server.strangers > MAX_STRANGERS
            return "421 4.7.0 Too many unknown recipients" if is_guessing else "550 5.1.1 No such address"
        if envelope.rcpt_tos:
            return "452 4.5.3 One recipient at a time"
        envelope.rcpt_tos.append(address)
        server.lines = 0  # of the mail that now comes
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep it, then say so. What is being kept is kept, even if the other side hangs up meanwhile."""
        content = envelope.content
        assert isinstance(content, bytes)
        has_null_sender = not (envelope.mail_from or "").strip("<>")
        keeping = asyncio.ensure_future(
            asyncio.to_thread(self._keep, envelope.rcpt_tos[0], content, has_null_sender=has_null_sender)
        )
        self.under_way.add(keeping)
        keeping.add_done_callback(self.under_way.discard)
        return "250 2.0.0 Kept" if await asyncio.shield(keeping) else "451 4.3.0 Cannot be kept now, try again"

    def _keep(self, address: str, content: bytes, *, has_null_sender: bool) -> bool:
        try:
            to = service.destination(address, settings=self._context.settings)
            service.take_in(self._context, to, content, has_null_sender=has_null_sender)
        except Exception as error:  # whatever it is, it is ours: the other side keeps the mail and comes again
            log.error("mail.not_kept", error=type(error).__name__)
            return False
        return True

    async def handle_exception(self, error: Exception) -> str:
        """A fault within a conversation is nobody's business."""
        log.error("inbox.fault", error=type(error).__name__)
        return "451 4.3.0 Try again later"


class Conversation(SMTP):
    """One conversation, in SMTP or LMTP as the other side greets; bounded in time and in what it may ask."""

    line_length_limit = MAX_LINE_BYTES

    def __init__(self, door: "Door", settings: Settings) -> None:
        super().__init__(
            door.receiver,
            data_size_limit=settings.inbox_max_bytes,
            enable_SMTPUTF8=True,
            hostname=settings.inbox_domain,
            ident="WaterWatch",
            timeout=SILENCE_S,
            command_call_limit=dict(CALLS),
            loop=asyncio.get_running_loop(),
        )
        self._door = door
        self._is_in = False
        self.strangers = 0  # recipients that are not ours
        self.lines = 0  # of this mail so far
        self._max_lines = max(MIN_LINES, settings.inbox_max_bytes // LINE_BYTES)
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let in while there is room."""
        assert isinstance(transport, asyncio.Transport)
        if len(self._door.inside) >= MAX_CONNECTIONS:
            transport.write(b"421 4.3.2 Too many connections\r\n")
            transport.close()
            return
        self._is_in = True
        self._door.inside.add(transport)
        self._end = self.loop.call_later(CONVERSATION_S, transport.close)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Make room."""
        if not self._is_in:
            return
        assert self._end is not None
        self._end.cancel()
        self._door.inside.discard(self.transport)
        super().connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """A mail of millions of empty lines is small by its bytes, and would fill memory and time line by line."""
        if not self._is_in:
            return
        self.lines += data.count(b"\n")
        if self.lines > self._max_lines and isinstance(self.transport, asyncio.Transport):
            self.transport.write(b"552 5.3.4 Too many lines\r\n")
            self.transport.close()
            return
        super().data_received(data)

    def eof_received(self) -> bool | None:
        """The other side has hung up."""
        return super().eof_received() if self._is_in else None

    @syntax("LHLO hostname")
    async def smtp_LHLO(self, hostname: str) -> None:  # noqa: N802
        """The greeting of LMTP (RFC 2033); with one recipient a mail, its answers are those of SMTP."""
        await self.smtp_EHLO(hostname)

    async def smtp_VRFY(self, _arg: str) -> None:  # noqa: N802
        """Says of no address whether it exists."""
        await self.push("252 2.1.5 Cannot say")


class Door:
    """Who is inside."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.inside: set[Any] = set()


def run(settings: Settings) -> None:
    """Take mail in until SIGTERM or SIGINT; then finish what is being kept."""
    engine = make_engine(settings.database_url, pool_size=4)
    context = JobContext(settings, make_sessions(engine), ObjectStore(settings.objects_url))
    asyncio.run(_serve(context))
    engine.dispose()


async def _serve(context: JobContext) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    receiver = Receiver(context)
    door = Door(receiver)
    parts = urlsplit(f"//{context.settings.inbox_listen}")
    host, port = parts.hostname, parts.port or 0
    server = await loop.create_server(lambda: Conversation(door, context.settings), host, port)
    log.info("inbox.listening", port=server.sockets[0].getsockname()[1])
    await stopped.wait()
    server.close()
    if receiver.under_way:
        await asyncio.wait(receiver.under_way, timeout=STOP_GRACE_S)
    for transport in list(door.inside):
        transport.close()
    await asyncio.sleep(0)  # one turn of the loop, in which the last answers leave
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.wait_closed(), 1.0)
