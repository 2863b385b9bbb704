"""The only HTTP client: asks addresses that strangers name, and never from inside our own network.

An address that a stranger names can lead anywhere our machine can reach. So: https only, the name looked up once and
the connection made to exactly the address that was examined, nothing but public addresses, no redirect, no proxy from
the environment, no decoding, and the whole conversation bounded in bytes and in time, looking up the name included.
Hosts the operator lists may be inner ones and speak plain http; an address that hands out a machine's own credentials
is nobody's all the same.
"""

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from waterwatch.messaging.attempts import Failure
from waterwatch.messaging.limit import Limit

PORTS: Final = {"https": 443, "http": 80}
PIECE_BYTES = 64 * 1024
ANSWER_MAX_BYTES = 64 * 1024
TIMEOUT_S = 20.0
URL_MAX_CHARACTERS = 2000
USER_AGENT = "WaterWatch"
RETRY_AFTER_CAP_S = 3600.0
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")  # all that was ever given out (IANA, IPv6 Global Unicast Addresses)
# IPv6 that carries IPv4 within: 6to4, Teredo and NAT64 would lead to addresses nobody has looked at.
_CARRIERS = tuple(
    ipaddress.IPv6Network(network) for network in ("2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48")
)
# Where clouds tell a machine its own credentials: most, Alibaba, Oracle, Amazon over IPv6, and Azure, whose is public.
_METADATA = frozenset({"169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "168.63.129.16"})

Headers = Mapping[str, str]


class FetchError(Exception):
    """The conversation came to nothing. ``code`` is stable and holds nothing of the address.

    ``not_https``, ``host_not_listed``: never asked. ``address_not_public``, ``name_not_found``, ``unreachable``,
    ``tls_failed``, ``timeout``, ``answer_refused`` (any status but 200), ``too_large``, ``broken_off``, ``redirected``.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet and to nothing of ours."""
    found = _plain(address)
    if isinstance(found, ipaddress.IPv6Address) and (
        found not in _PUBLIC_V6 or any(found in network for network in _CARRIERS)
    ):
        return False
    return found.is_global and not found.is_multicast and str(found) not in _METADATA


def may_be_listed(address: str) -> bool:
    """Whether an IP address may be asked where the operator lists its host: ours and private ones, too."""
    found = _plain(address)
    if isinstance(found, ipaddress.IPv6Address) and any(found in network for network in _CARRIERS):
        return False
    is_nobodys = found.is_link_local or found.is_multicast or found.is_unspecified
    return not is_nobodys and str(found) not in _METADATA


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address itself; of an IPv4 address written as IPv6, that one. A zone (``%eth0``) is link-local anyway."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


@dataclass(frozen=True)
class Target:
    """Where a request goes, read from an address; ``path`` includes the query."""

    scheme: str
    host: str
    port: int
    netloc: str
    path: str

    @property
    def listed(self) -> str:
        """How lists of hosts name it: the port only where it is not the scheme's own."""
        return self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"


def read_url(url: str, schemes: tuple[str, ...] = ("https",)) -> Target:
    """The parts of an address. Raises :class:`FetchError` ``not_https``, or ``host_not_listed`` where it logs in."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        raise FetchError("not_https") from None
    is_plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= URL_MAX_CHARACTERS
    if parts.scheme not in schemes or not is_plain:
        raise FetchError("not_https")
    if parts.username is not None or parts.password is not None or not host:
        raise FetchError("host_not_listed")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port, parts.netloc, path)


class Guarded:
    """What every client of ours does before and while it speaks. Holds no connection and no state.

    ``is_allowed`` and ``tls`` are for tests, whose servers are on loopback with a certificate of their own; nothing in
    the settings leads there.
    """

    def __init__(
        self,
        *,
        timeout_s: float = TIMEOUT_S,
        is_allowed: Callable[[str], bool] = is_public,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._is_allowed = is_allowed
        self._tls = tls

    @contextlib.contextmanager
    def _conversation(
        self,
        target: Target,
        method: str,
        headers: Headers,
        body: bytes | None = None,
        *,
        is_allowed: Callable[[str], bool] | None = None,
    ) -> Iterator[HTTPResponse]:
        """The answer to one request, its body unread. Whatever breaks within becomes :class:`FetchError`.

        Waits at most ``timeout_s`` in all. Assumes no transaction is open.
        """
        with Limit(self._left_s()) as limit:
            address = _resolve(target, is_allowed or self._is_allowed, limit)
            connection = self._connection(limit, address, target)
            said = {"Host": target.netloc, "Accept-Encoding": "identity", "User-Agent": USER_AGENT, **headers}
            response: HTTPResponse | None = None
            try:
                connection.request(
                    method, target.path, body=body, headers=said, preload_content=False, decode_content=False
                )
                response = connection.getresponse()
                yield response
            except (HTTPError, HTTPException, OSError, ValueError) as error:
                raise FetchError("timeout" if limit.is_over else describe(error)) from None
            finally:
                if response is not None:
                    response.close()  # it holds the socket as well: closing the connection alone would leave it open
                connection.close()
            if limit.is_over:  # the cut may have looked like the end
                raise FetchError("timeout")

    def _left_s(self) -> float:
        return self._timeout_s

    def _connection(self, limit: Limit, address: str, target: Target) -> HTTPConnection:
        if target.scheme == "http":
            return _WatchedPlain(limit, address, target.port)
        tls = self._tls or ssl.create_default_context()
        return _WatchedTls(limit, address, target.port, ssl_context=tls, server_hostname=target.host)


@dataclass(frozen=True)
class Answer:
    """What somebody's server answered, never to be trusted. ``body`` is as much of it as was asked for."""

    status: int
    headers: Headers
    body: bytes


class Client(Guarded):
    """Sends small requests to servers that agencies named. One may serve all threads.

    ``allowed`` are the hosts (``host`` or ``host:port``, lower case) that may be inner ones and speak plain http.
    """

    def __init__(self, allowed: frozenset[str] = frozenset(), *, ends_at: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._allowed = allowed
        self._ends_at = ends_at

    def limited(self) -> "Client":
        """The same client for several requests that take no longer together than one may."""
        return Client(
            self._allowed,
            ends_at=time.monotonic() + self._timeout_s,
            timeout_s=self._timeout_s,
            is_allowed=self._is_allowed,
            tls=self._tls,
        )

    def _left_s(self) -> float:
        if self._ends_at is None:
            return self._timeout_s
        left_s = self._ends_at - time.monotonic()
        if left_s <= 0:
            raise FetchError("timeout")
        return min(left_s, self._timeout_s)

    def examine(self, url: str) -> Target:
        """Where an address leads, without asking anybody. Raises :class:`FetchError`."""
        target = read_url(url, ("https", "http"))
        if target.scheme == "http" and not self._is_listed(target):
            raise FetchError("not_https")
        return target

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Headers | None = None,
        body: bytes | None = None,
        max_bytes: int = ANSWER_MAX_BYTES,
    ) -> Answer:
        """One request and its answer, of whatever status but a redirect. ``max_bytes`` 0 leaves the body unread.

        Raises:
            FetchError: ``too_large`` and ``broken_off`` may come after the other side has acted on the request.
        """
        target = self.examine(url)
        may_be = may_be_listed if self._is_listed(target) else None
        with self._conversation(target, method, headers or {}, body, is_allowed=may_be) as response:
            if 300 <= response.status < 400:
                raise FetchError("redirected")
            is_readable = response.headers.get("Content-Encoding", "identity") == "identity"
            content = b"".join(pieces(response, max_bytes)) if max_bytes and is_readable else b""
            return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, content)

    def _is_listed(self, target: Target) -> bool:
        return bool({target.host, target.listed, f"{target.host}:{target.port}"} & self._allowed)


def pieces(response: HTTPResponse, max_bytes: int) -> Iterator[bytes]:
    """The body of an answer. Raises :class:`FetchError` ``too_large`` at the first byte too many."""
    length = response.length_remaining
    if length is not None and length > max_bytes:
        raise FetchError("too_large")
    size_bytes = 0
    while piece := response.read(PIECE_BYTES, decode_content=False):
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise FetchError("too_large")
        yield piece


# Never to be tried again: what was asked for is refused, or may not be asked for.
_FOR_GOOD = frozenset({"not_https", "host_not_listed", "address_not_public", "redirected"})
# Says "later" although it is a 4xx: time-out, too early, too many.
_LATER = frozenset({408, 425, 429})


def failure_of(error: FetchError) -> Failure:
    """What a conversation that came to nothing means for the next attempt: all but a refusal may pass."""
    is_permanent = error.code in _FOR_GOOD
    return Failure(error.code, is_deferred=not is_permanent, is_permanent=is_permanent)


def judge(answer: Answer, *, now: datetime) -> Failure | None:
    """None for a 2xx; else what the status means: 5xx, 408, 425 and 429 "later", any other "never"."""
    if 200 <= answer.status < 300:
        return None
    is_deferred = answer.status >= 500 or answer.status in _LATER
    return Failure(
        f"http_{answer.status}",
        is_deferred=is_deferred,
        is_permanent=not is_deferred,
        retry_after_s=read_retry_after(answer.headers.get("retry-after", ""), now=now) if is_deferred else None,
    )


def read_retry_after(words: str, *, now: datetime) -> float | None:
    """Seconds a server asks us to wait (RFC 9110, 10.2.3: seconds or a date), at most an hour; None if it does not."""
    words = words.strip()
    if words.isascii() and words.isdigit():
        return min(float(words[:10]), RETRY_AFTER_CAP_S)
    try:
        until = parsedate_to_datetime(words[:64])
        wanted_s = (until - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(wanted_s, 0.0), RETRY_AFTER_CAP_S)


def _resolve(target: Target, is_allowed: Callable[[str], bool], limit: Limit) -> str:
    """The address to connect to. One that is not allowed among several refuses the name: it is not to be trusted.

    The system's own look-up cannot be stopped; it is left behind when the time is over.
    """
    found: list[str] = []
    failed: list[bool] = []

    def look_up() -> None:
        try:
            entries = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            found.extend(str(entry[4][0]) for entry in entries)
        except (OSError, UnicodeError):
            failed.append(True)

    asking = threading.Thread(target=look_up, daemon=True)
    asking.start()
    asking.join(limit.left_s)
    if asking.is_alive():
        raise FetchError("timeout")
    if failed:
        raise FetchError("name_not_found")
    if not found or not all(is_allowed(address) for address in found):
        raise FetchError("address_not_public")
    return found[0]


class _WatchedPlain(HTTPConnection):
    """urllib3's connection, under a limit from its first moment."""

    def __init__(self, limit: Limit, address: str, port: int) -> None:
        super().__init__(address, port, timeout=limit.left_s)
        self._limit = limit

    def _new_conn(self) -> socket.socket:
        made = super()._new_conn()
        self._limit.watch(made)
        return made


class _WatchedTls(HTTPSConnection):
    """The same over TLS."""

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
