"""Rate limits, counted in Redis. When Redis is away each process counts for itself: nothing breaks, nothing is open.

The key is an HMAC of the client's address under a key that changes every day: the address itself is stored nowhere.
"""

import hashlib
import hmac
import ipaddress
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from flask_limiter import Limiter

from waterwatch.kernel.settings import Settings

NETWORK_BITS_V6 = 64  # what one subscriber is given (RFC 6177): single addresses in it cost an attacker nothing
# Answered as often as asked: probes, and files any static host could serve.
EXEMPT_ENDPOINTS = ("static", "health.healthz", "health.readyz", "health.metrics", "mapping.published")


def make_limiter(app: Flask, settings: Settings) -> Limiter:
    """Limit every page by default; :func:`limit_views` names stricter ones.

    Failure mode: Redis unreachable → the same limits in this process's memory (so a client may get up to one limit per
    process), checked again as soon as Redis answers.
    """
    secret = settings.derive_key("rate-limit")
    assert secret is not None

    def client_key() -> str:
        day = datetime.now(UTC).date().isoformat()
        return hmac.new(secret, f"{day}|{_source(request.remote_addr)}".encode(), hashlib.sha256).hexdigest()[:32]

    limiter = Limiter(
        client_key,
        app=app,
        default_limits=[settings.page_rate_limit],
        storage_uri=settings.redis_url,
        storage_options={"socket_connect_timeout": 1, "socket_timeout": 1},
        strategy="fixed-window",
        in_memory_fallback_enabled=True,
        key_prefix="waterwatch",
    )

    @app.after_request
    def _say_when_to_come_again(response: Response) -> Response:
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS and limiter.current_limit is not None:
            response.headers["Retry-After"] = str(max(1, limiter.current_limit.reset_at - int(time.time())))
        return response

    return limiter


def _source(address: str | None) -> str:
    """Where a request comes from: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, NETWORK_BITS_V6), strict=False))
    return str(found)


def limit_views(app: Flask, limiter: Limiter, settings: Settings) -> None:
    """Stricter limits for what writes or could be guessed; only requests that change something count.

    Called when every view is registered.
    """
    for endpoint in EXEMPT_ENDPOINTS:
        if endpoint in app.view_functions:
            limiter.exempt(app.view_functions[endpoint])
    stricter = {
        "reports.submit": settings.report_rate_limit,
        "security.login": settings.login_rate_limit,
        "security.two_factor_token_validation": settings.login_rate_limit,
        "security.two_factor_setup_validate": settings.login_rate_limit,
        "security.mf_recovery": settings.login_rate_limit,
        "security.verify": settings.login_rate_limit,
    }
    for endpoint, limit in stricter.items():
        view = app.view_functions.get(endpoint)
        if view is not None:
            limited: Any = limiter.limit(limit, methods=["POST"], override_defaults=False)(view)
            app.view_functions[endpoint] = limited
