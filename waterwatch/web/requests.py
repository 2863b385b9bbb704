"""What surrounds every request: an id that follows it into the jobs, and a line of log without trace of a person."""

import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram

from waterwatch.kernel.log import current_request_id, get_logger, request_scope

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = get_logger(__name__)


class RequestScope:
    """WSGI middleware: gives the request an id until its response is made. No id is accepted from outside."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Run the application inside the scope."""
        with request_scope(uuid.uuid4().hex):
            return self._application(environ, start_response)


def install_request_log(app: Flask, registry: CollectorRegistry) -> None:
    """Count, time and log every request by the rule it matched, never by its path: paths carry secrets."""
    requests = Counter("waterwatch_requests_total", "Requests answered", ["route", "status"], registry=registry)
    seconds = Histogram("waterwatch_request_seconds", "Time to answer", ["route"], registry=registry)

    @app.before_request
    def _start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def _finish(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "(none)"
        elapsed_s = time.perf_counter() - getattr(g, "started", time.perf_counter())
        requests.labels(route, str(response.status_code)).inc()
        seconds.labels(route).observe(elapsed_s)
        response.headers["X-Request-ID"] = current_request_id() or ""
        facts: dict[str, Any] = {"method": request.method, "route": route, "status": response.status_code}
        log.info("request", **facts, ms=round(elapsed_s * 1000, 1))
        return response
