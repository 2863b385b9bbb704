"""The only HTTP client: fetches one file from a host the operator trusts, and never from inside our own network.

An address that a stranger names can lead anywhere our machine can reach. So: https only, hosts from a list, the name
looked up once and the connection made to exactly the address that was examined, nothing but public addresses, no
redirect, no proxy from the environment, no decoding, and the whole conversation bounded in bytes and in time.
"""

import ipaddress
import socket
import ssl
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.parse import SplitResult, urlsplit

from urllib3.connection import HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from waterwatch.messaging.limit import Limit

HTTPS_PORT = 443
PIECE_BYTES = 64 * 1024
TIMEOUT_S = 20.0
URL_MAX_CHARACTERS = 2000
USER_AGENT = "WaterWatch"
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")  # all that was ever given out (IANA, IPv6 Global Unicast Addresses)
# IPv6 that carries IPv4 within: 6to4, Teredo and NAT64 would lead to addresses nobody has looked at.
_CARRIERS = tuple(
    ipaddress.IPv6Network(network) for network in ("2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48")
)


class FetchError(Exception):
    """The file was not fetched. ``code`` is stable and holds nothing of the address.

    ``not_https``, ``host_not_listed``: never asked. ``address_not_public``, ``name_not_found``, ``unreachable``,
    ``tls_failed``, ``timeout``, ``answer_refused`` (any status but 200), ``too_large``, ``broken_off``.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet and to nothing of ours."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found not in _PUBLIC_V6 or any(found in network for network in _CARRIERS):
            return False
    return found.is_global and not found.is_multicast


class Fetcher:
    """Fetches files from listed hosts. Holds no connection and no state: one may serve all threads.

    ``hosts`` are ``host`` or ``host:port``, lower case. ``is_allowed`` and ``tls`` are for tests, whose servers are on
    loopback with a certificate of their own; nothing in the settings leads there.
    """

    def __init__(
        self,
        hosts: frozenset[str],
        *,
        timeout_s: float = TIMEOUT_S,
        is_allowed: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._hosts = hosts
        self._timeout_s = timeout_s
        self._is_allowed = is_allowed
        self._tls = tls

    def fetch(self, url: str, sink: Callable[[bytes], object], *, max_bytes: int) -> int:
        """Give ``sink`` the file in pieces; returns its size in bytes. Raises :class:`FetchError`.

        Waits at most ``timeout_s`` in all, besides the look-up of the name. What ``sink`` got before an error is worth
        nothing. Assumes no transaction is open.
        """
        parts, host, port = self._examine(url)
        address = self._resolve(host, port)
        with Limit(self._timeout_s) as limit:
            connection = Watched(limit, address, port, ssl_context=self._context(), server_hostname=host)
            try:
                size_bytes = _converse(connection, parts, sink, max_bytes)
            except (HTTPError, HTTPException, OSError) as error:
                raise FetchError("timeout" if limit.is_over else describe(error)) from None
            finally:
                connection.close()
            if limit.is_over:  # the cut may have looked like the end
                raise FetchError("timeout")
        return size_bytes

    def _context(self) -> ssl.SSLContext:
        return self._tls or ssl.create_default_context()

    def _is_listed(self, host: str) -> bool:
        return host in self._hosts

    def _examine(self, url: str) -> tuple[SplitResult, str, int]:
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port or HTTPS_PORT
        except ValueError:
            raise FetchError("not_https") from None
        is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= URL_MAX_CHARACTERS
        if parts.scheme != "https" or not is_plain:
            raise FetchError("not_https")
        listed = host if port == HTTPS_PORT else f"{host}:{port}"
        if not self._is_listed(listed) or parts.username is not None or parts.password is not None:
            raise FetchError("host_not_listed")
        return parts, host, port

    def _resolve(self, host: str, port: int) -> str:
        """The address to connect to. One that is not public among several refuses the name: it is not to be trusted."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise FetchError("name_not_found") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise FetchError("address_not_public")
        return addresses[0]


def _converse(connection: HTTPSConnection, parts: SplitResult, sink: Callable[[bytes], object], max_bytes: int) -> int:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Host": parts.netloc, "Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
    connection.request("GET", target, headers=headers, preload_content=False, decode_content=False)
    response = connection.getresponse()
    try:
        return _read(response, sink, max_bytes)
    finally:
        response.close()  # it holds the socket as well: closing the connection alone would leave it open


def _read(response: HTTPResponse, sink: Callable[[bytes], object], max_bytes: int) -> int:
    if response.status != 200 or response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchError("answer_refused")
    length = response.length_remaining
    if length is not None and length > max_bytes:
        raise FetchError("too_large")
    size_bytes = 0
    while piece := response.read(PIECE_BYTES, decode_content=False):
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise FetchError("too_large")
        sink(piece)
    return size_bytes


class Watched(HTTPSConnection):
    """urllib3's connection, under a limit from its first moment."""

    def __init__(self, limit: Limit, address: str, port: int, **options: Any) -> None:
        super().__init__(address, port, timeout=limit.left_s, **options)
        self._limit = limit

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self._limit.watch(made)
        return made


def describe(error: Exception) -> str:
    """A stable code for what broke the conversation."""
    while isinstance(error, HTTPError) and error.args and isinstance(error.args[-1], Exception):
        error = error.args[-1]
    if isinstance(error, ssl.SSLError) or "SSL" in type(error).__name__:
        return "tls_failed"
    name = type(error).__name__
    if isinstance(error, TimeoutError) or "Timeout" in name:
        return "timeout"
    return "unreachable" if name == "NewConnectionError" else "broken_off"
