"""Rate limits. Counted in Redis; when Redis is away each process counts for itself, so nothing breaks and nothing is open.

The key is an HMAC of the client's address under a key that changes every day: the address itself is stored nowhere.
"""

import hashlib
import hmac
from datetime import UTC, datetime

from flask import Flask, request
from flask_limiter import Limiter

from waterwatch.kernel.settings import Settings

EXTENSION = "waterwatch_limiter"
# Answered as often as asked: probes, and files any static host could serve.
EXEMPT_ENDPOINTS = ("static", "health.healthz", "health.readyz", "health.metrics", "mapping.published")


def install_limits(app: Flask, settings: Settings) -> Limiter:
    """Limit every page by default; :func:`limit` names stricter ones.

    Failure mode: Redis unreachable → the same limits in this process's memory (so a client may get up to one limit per
    process), checked again as soon as Redis answers.
    """
    secret = settings.derive_key("rate-limit")
    assert secret is not None

    def client_key() -> str:
        day = datetime.now(UTC).date().isoformat()
        address = request.remote_addr or "unknown"
        return hmac.new(secret, f"{day}|{address}".encode(), hashlib.sha256).hexdigest()[:32]

    limiter = Limiter(
        client_key,
        app=app,
        default_limits=[settings.page_rate_limit],
        storage_uri=settings.redis_url,
        storage_options={"socket_connect_timeout": 1, "socket_timeout": 1},  # type: ignore[dict-item]
        strategy="fixed-window",
        in_memory_fallback_enabled=True,
        headers_enabled=True,
        key_prefix="waterwatch",
    )
    for endpoint in EXEMPT_ENDPOINTS:
        if endpoint in app.view_functions:
            limiter.exempt(app.view_functions[endpoint])
    _tighten(app, limiter, settings)
    return limiter


def _tighten(app: Flask, limiter: Limiter, settings: Settings) -> None:
    """Stricter limits for what writes or could be guessed; only requests that change something count."""
    stricter = {
        "reports.submit": settings.report_rate_limit,
        "security.login": settings.login_rate_limit,
        "security.two_factor_token_validation": settings.login_rate_limit,
        "security.mf_recovery": settings.login_rate_limit,
    }
    for endpoint, limit in stricter.items():
        view = app.view_functions.get(endpoint)
        if view is not None:
            app.view_functions[endpoint] = limiter.limit(limit, methods=["POST"], override_defaults=False)(view)
