"""A mail server with bad manners, on loopback. Whatever reaches it whole is written down before it answers."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

LARGEST_MAIL = 32 * 1024 * 1024
MANNERS = ("kind", "refuses", "hangs_after_data", "drops_after_250", "drops_before_250")


@dataclass(frozen=True)
class Received:
    """One copy of a mail. ``is_accepted``: the server answered 250, so the mail is its business."""

    recipient: str
    message: EmailMessage
    is_accepted: bool

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])


class HostilePeer:
    """An SMTP server whose ``manners`` can be changed at any moment, for conversations already begun as well."""

    def __init__(self, folder: Path) -> None:
        self.manners = "kind"
        self.port = 0
        self._folder = folder
        self._folder.mkdir(parents=True)
        self._count = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._live, name="hostile-smtp")

    def start(self) -> None:
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def received(self) -> list[Received]:
        """Every copy so far, as it was written down."""
        found = []
        for path in sorted(self._folder.glob("*.eml")):
            recipient, _, content = path.read_bytes().partition(b"\n")
            message = message_from_bytes(content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            found.append(Received(recipient.decode(), message, path.name.endswith(".accepted.eml")))
        return found

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._converse, "127.0.0.1", 0, limit=LARGEST_MAIL))
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._talk(reader, writer)
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.manners == "refuses":
            writer.write(b"421 not now\r\n")
            return
        writer.write(b"220 mail.test\r\n")
        recipient = ""
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                content = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
                if not await self._take(recipient, content, reader, writer):
                    return
                continue
            if verb == b"RCPT":
                recipient = line.decode().partition("<")[2].partition(">")[0]
            writer.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 OK\r\n")
            if verb == b"QUIT":
                return

    async def _take(
        self, recipient: str, content: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Write the mail down, then answer as the manners of the moment are; False ends the conversation."""
        manners = self.manners
        is_accepted = manners not in ("hangs_after_data", "drops_before_250")
        self._write_down(recipient, content.replace(b"\r\n..", b"\r\n."), is_accepted=is_accepted)
        if manners == "hangs_after_data":
            await reader.read()  # until the client has had enough
            return False
        if manners == "drops_before_250":
            writer.transport.abort()
            return False
        writer.write(b"250 taken over\r\n")
        if manners == "drops_after_250":
            await writer.drain()
            return False
        return True

    def _write_down(self, recipient: str, content: bytes, *, is_accepted: bool) -> None:
        self._count += 1
        name = f"{self._count:06}.{'accepted' if is_accepted else 'unanswered'}.eml"
        draft = self._folder / f"{name}.part"
        with draft.open("wb") as sink:
            sink.write(recipient.encode() + b"\n" + content)
            sink.flush()
            os.fsync(sink.fileno())
        draft.rename(self._folder / name)


@contextlib.contextmanager
def hostile_peer(folder: Path) -> Iterator[HostilePeer]:
    """A running server whose mail lies in ``folder``."""
    peer = HostilePeer(folder)
    peer.start()
    try:
        yield peer
    finally:
        peer.stop()
