"""Fetches one file from a host the operator trusts, by the guarded client of :mod:`http`."""

from collections.abc import Callable
from typing import Any

from waterwatch.messaging.http import FetchError, Guarded, Target, pieces, read_url


class Fetcher(Guarded):
    """Fetches files from listed hosts. One may serve all threads.

    ``hosts`` are ``host`` or ``host:port``, lower case.
    """

    def __init__(self, hosts: frozenset[str], **options: Any) -> None:
        super().__init__(**options)
        self._hosts = hosts

    def fetch(self, url: str, sink: Callable[[bytes], object], *, max_bytes: int) -> int:
        """Give ``sink`` the file in pieces; returns its size in bytes. Raises :class:`FetchError`.

        What ``sink`` got before an error is worth nothing. Assumes no transaction is open.
        """
        target, size_bytes = self._examine(url), 0
        with self._conversation(target, "GET", {"Accept": "image/*"}) as response:
            if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
                raise FetchError("answer_refused")
            for piece in pieces(response, max_bytes):
                size_bytes += len(piece)
                sink(piece)
        return size_bytes

    def _is_listed(self, host: str) -> bool:
        return host in self._hosts

    def _examine(self, url: str) -> Target:
        target = read_url(url)
        if not self._is_listed(target.listed):
            raise FetchError("host_not_listed")
        return target
