"""Rate limits, counted in Redis. When Redis is away each process counts for itself: nothing breaks, nothing is open.

The key is an HMAC of the client's address under a key that changes every day: the address itself is stored nowhere.
"""

import hashlib
import hmac
import ipaddress
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from flask import Flask, Request, Response, request
from flask_limiter import Limiter

from waterwatch.kernel.settings import Settings

NETWORK_BITS_V6 = 64  # what one subscriber is given (RFC 6177): single addresses in it cost an attacker nothing
# Answered as often as asked: probes, and files any static host could serve.
EXEMPT_ENDPOINTS = (
    "static",
    "health.healthz",
    "health.readyz",
    "health.metrics",
    "mapping.published",
    "installed.leave",
)
REPORTING = ("reports.submit", "opendata.create_report", "open311.create_request")
UPLOADING = (
    *("uploads.create", "opendata.create_photo"),
    *("case_link.answer", "case_link.report_done", "office_case.answer", "office_case.report_done"),
)
# Where an address is named that we shall write to, or taken back, or a report is said anew. Not among them: the address
# for mail programs (RFC 8058), where one server of a mail provider unsubscribes all who read their mail there.
WRITING = (
    "following.keep_contact",
    "api_following.keep_contact",
    "following.erase_contact",
    "api_following.erase_contact",
    "following.correct",
    "api_following.correct",
    "following.subscribe",
    "following.unsubscribe",
    "following.confirm",
    "following.stop",
    "mine.keep",
    "watches.watch",
    "watches.watch_by_browser",
    "watches.stop_browser",
    "watches.confirm",
    "watches.stop",
    "office_people.invite",
)
# Asked anew while somebody types, and dear: each looks through every name there is.
SEARCHING = ("opendata.search_places", "opendata.search_waters", "portal.search")
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
# Where a password or a code could be tried out.
GUESSABLE = (
    "security.login",
    "security.two_factor_token_validation",
    "security.two_factor_setup_validate",
    "security.mf_recovery",
    "security.verify",
    "security.register",
    "security.send_confirmation",
    "security.forgot_password",
    "security.reset_password",
    "mine.delete_account",
    "office_people.join",
)


@dataclass(frozen=True)
class KnownSender:
    """An application that sends for many people: counted by itself, under a limit of its own."""

    name: str
    rate_limit: str


def install_limits(app: Flask, settings: Settings, known_sender: Callable[[], KnownSender | None]) -> None:
    """Limit every address of the site; stricter where something is written or could be guessed.

    ``known_sender`` names the application that sends this request, if it showed a token that holds.

    Call before whatever reads a request's body: who is over a limit uploads nothing.

    Failure mode: Redis unreachable → the same limits in this process's memory (so a client may get up to one limit per
    process), checked again as soon as Redis answers.
    """
    secret = settings.derive_key("rate-limit")
    assert secret is not None
    stricter = (
        dict.fromkeys(REPORTING, settings.report_rate_limit)
        | dict.fromkeys(UPLOADING, settings.photo_rate_limit)
        | dict.fromkeys(WRITING, settings.report_rate_limit)
        | dict.fromkeys(GUESSABLE, settings.login_rate_limit)
    )

    def client_key() -> str:
        if (sender := known_sender()) is not None:
            return f"client|{sender.name}"
        day = datetime.now(UTC).date().isoformat()
        return hmac.new(secret, f"{day}|{network_of(request)}".encode(), hashlib.sha256).hexdigest()[:32]

    def limit_of_request() -> str:
        """Searches have a limit of their own beside the pages'; of all else, only what changes something."""
        endpoint = str(request.endpoint)
        if request.method in CHANGING and endpoint in stricter:
            sender = known_sender()
            return stricter[endpoint] if sender is None else sender.rate_limit
        if endpoint in SEARCHING and known_sender() is None:
            return f"{settings.page_rate_limit};{settings.search_rate_limit}"
        return settings.page_rate_limit

    limiter = Limiter(
        client_key,
        app=app,
        default_limits=[limit_of_request],
        storage_uri=settings.redis_url,
        storage_options={"socket_connect_timeout": 1, "socket_timeout": 1},
        strategy="fixed-window",
        in_memory_fallback_enabled=True,
        key_prefix="waterwatch",
    )
    # At INFO it writes the pseudonym of whoever is over a limit, which would join the lines of one visitor.
    limiter.logger.setLevel(logging.WARNING)
    limiter.request_filter(lambda: request.endpoint in EXEMPT_ENDPOINTS)

    @app.after_request
    def _say_when_to_come_again(response: Response) -> Response:
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS and limiter.current_limit is not None:
            response.headers["Retry-After"] = str(max(1, limiter.current_limit.reset_at - int(time.time())))
        return response


def network_of(asked: Request) -> str:
    """Where a request comes from: an IPv4 address, or the /64 network of an IPv6 address. To be counted, never kept."""
    try:
        found = ipaddress.ip_address(asked.remote_addr or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, NETWORK_BITS_V6), strict=False))
    return str(found)
