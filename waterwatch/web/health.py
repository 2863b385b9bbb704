"""Liveness, readiness, metrics. A probe learns what is broken; the world learns nothing about anybody."""

import ipaddress
import os
import threading
import time
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import text

from waterwatch.kernel import migrate, outbox
from waterwatch.kernel.db import is_answering, transaction
from waterwatch.web.guards import public
from waterwatch.web.house import House, house

PROBE_KEY = "probe/ready"
EXAMINED_FOR_S = 2.0  # any number of probes costs one examination in this time


def make_blueprint(registry: CollectorRegistry) -> Blueprint:
    """The three addresses; ``registry`` holds the counters of this process."""
    bp = Blueprint("health", __name__)
    gauges = _Gauges(registry)
    examination = _Examination()

    @bp.get("/healthz")
    @public
    def healthz() -> Response:
        return jsonify({"status": "alive"})

    @bp.get("/readyz")
    @public
    def readyz() -> Response:
        checks = examination.outcome(house())
        is_ready = all(value == "ok" for name, value in checks.items() if name != "redis")
        mode = "rehearsal" if house().settings.staging_mail else "live"
        response = jsonify({"status": "ready" if is_ready else "not_ready", "mail": mode, "checks": checks})
        response.status_code = 200 if is_ready else 503
        return response

    @bp.get("/metrics")
    @public
    def metrics() -> Response:
        if not _is_local():
            abort(404)
        gauges.read(house())
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return bp


class _Examination:
    """The latest outcome of :func:`_check`. While one request examines, the others are told what was last found.

    Anybody may ask, as often as they like; what is examined can be slow just when it is broken.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._latest: tuple[float, dict[str, Any]] | None = None

    def outcome(self, found: House) -> dict[str, Any]:
        """What works and what does not, at most some seconds old."""
        latest = self._latest
        if latest is not None and time.monotonic() - latest[0] < EXAMINED_FOR_S:
            return latest[1]
        if not self._turn.acquire(blocking=latest is None):
            return latest[1] if latest is not None else {}
        try:
            checks = _check(found)
            self._latest = time.monotonic(), checks
            return checks
        finally:
            self._turn.release()


class _Gauges:
    """Figures read from the database whenever somebody scrapes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._waiting = Gauge("waterwatch_outbox_waiting", "Outbox rows still to do", registry=registry)
        self._dead = Gauge("waterwatch_outbox_dead", "Dead letters", registry=registry)
        self._oldest = Gauge("waterwatch_outbox_oldest_seconds", "Age of the oldest open outbox row", registry=registry)
        self._states = Gauge("waterwatch_rows", "Rows by table and state", ["table", "state"], registry=registry)
        self._overdue = Gauge("waterwatch_overdue", "Rows past their state's deadline", ["table"], registry=registry)

    def read(self, found: House) -> None:
        with transaction(found.sessions) as session:
            depth = outbox.depth(session)
            states = session.execute(_STATES).all()
        self._waiting.set(depth.waiting)
        self._dead.set(depth.dead)
        self._oldest.set(depth.oldest_s)
        overdue: dict[str, int] = {}
        for row in states:
            self._states.labels(row.name, row.state).set(row.rows)
            overdue[row.name] = overdue.get(row.name, 0) + row.overdue
        for name, count in overdue.items():
            self._overdue.labels(name).set(count)


_STATES = text(
    " UNION ALL ".join(
        f"SELECT '{name}' AS name, state, count(*)::int AS rows,"  # noqa: S608  # names of our own, below
        f" (count(*) FILTER (WHERE state_deadline_at < now()))::int AS overdue FROM {name} GROUP BY state"
        for name in ("report", "photo", "incident", "escalation_case", "delivery")
    )
)


def _check(found: House) -> dict[str, Any]:
    checks = {"database": "ok" if is_answering(found.engine) else "not_answering"}
    if checks["database"] == "ok":
        is_current = migrate.current_revision(found.engine) == migrate.expected_head()
        checks["migrations"] = "ok" if is_current else "run_waterwatch_migrate"
    checks["objects"] = _outcome(lambda: found.objects.has(PROBE_KEY))
    checks["spool"] = "ok" if os.access(found.settings.spool_dir, os.W_OK) else "not_writable"
    # Redis only rings: without it everything is accepted and done later, so it degrades and does not stop us.
    checks["redis"] = "ok" if _redis_answers(found.settings.redis_url) else "degraded_jobs_wait"
    return checks


def _outcome(probe: Any) -> str:
    try:
        probe()
    except Exception:  # whatever an object store's client raises, the answer is the same
        return "not_answering"
    return "ok"


def _redis_answers(url: str) -> bool:
    try:
        with Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
            return bool(client.ping())
    except RedisError:
        return False


def _is_local() -> bool:
    """Metrics answer only to this machine, and not through a proxy."""
    if request.headers.get("X-Forwarded-For") or not request.remote_addr:
        return False
    return ipaddress.ip_address(request.remote_addr).is_loopback
