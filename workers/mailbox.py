"""A real mailbox for the demo: an SMTP server on loopback that keeps every mail, and a page that shows them.

A mail is on the disk before it is answered with 250.
"""

import argparse
import asyncio
import re
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from aiosmtpd.smtp import SMTP, Envelope, Session

from workers.mailbox_page import Store, make_page

HOST = "127.0.0.1"
MAX_MAIL_BYTES = 32 * 1024 * 1024


class Receiver:
    """What the SMTP server does with a mail: on to the disk with it, as a mail server delivers into a mailbox."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep the mail, then say so."""
        content = envelope.content
        assert isinstance(content, bytes)
        trace = [("Return-Path", f"<{envelope.mail_from}>"), *(("Delivered-To", to) for to in envelope.rcpt_tos)]
        head = "".join(f"{name}: {_printable(value)}\r\n" for name, value in trace)
        await asyncio.to_thread(self._store.add, head.encode() + content)
        return "250 Message kept"


def _printable(value: str) -> str:
    return re.sub(r"[^\x20-\x7e]", "?", value)


class Mailbox:
    """The two servers over one folder. ``smtp_port`` or ``http_port`` 0 takes a free one."""

    def __init__(self, folder: Path, smtp_port: int, http_port: int, inbox: str = "") -> None:
        self._store = Store(folder)
        self._web = make_server(
            HOST, http_port, make_page(self._store, inbox), server_class=_ThreadingServer, handler_class=_QuietHandler
        )
        self._loop = asyncio.new_event_loop()
        self._smtp = self._loop.run_until_complete(self._loop.create_server(self._speaker, HOST, smtp_port))
        self._threads = [
            threading.Thread(target=self._web.serve_forever, name="mailbox-web"),
            threading.Thread(target=self._loop.run_forever, name="mailbox-smtp"),
        ]

    def _speaker(self) -> SMTP:
        # The machine's own name is not looked up: on a bare machine that can take seconds.
        return SMTP(
            Receiver(self._store), hostname="mailbox.localhost", data_size_limit=MAX_MAIL_BYTES, loop=self._loop
        )

    @property
    def smtp_port(self) -> int:
        """Where mail is taken."""
        return int(self._smtp.sockets[0].getsockname()[1])

    @property
    def http_port(self) -> int:
        """Where the page is."""
        return self._web.server_port

    def __enter__(self) -> "Mailbox":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._web.shutdown()
        self._web.server_close()
        asyncio.run_coroutine_threadsafe(self._hang_up(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join()
        self._loop.close()

    async def _hang_up(self) -> None:
        self._smtp.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # one turn of the loop, in which closed connections let go of their sockets


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
        """Write no access log: mails' names are nobody's business."""


def main(arguments: Sequence[str] | None = None) -> int:
    """``mailbox --smtp-port P --http-port Q --folder DIR``: run until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="mailbox", description="An SMTP server on loopback and a page of its mails.")
    parser.add_argument("--smtp-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--inbox", default="", help="where answers go, host:port")
    asked = parser.parse_args(arguments)
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before any thread starts, so that only sigwait hears them
    with Mailbox(asked.folder, asked.smtp_port, asked.http_port, asked.inbox):
        signal.sigwait(ends)
    return 0
