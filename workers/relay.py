"""The relay: leases outbox rows and rings a worker for each. Several may run at once.

It listens for the database's NOTIFY and polls besides, because a notification is lost when nobody listens. Redis is
only the doorbell: what it forgets comes back when the lease runs out.
"""

import math
import time
from collections.abc import Iterable, Mapping
from contextlib import closing

import psycopg
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from waterwatch.kernel import outbox
from waterwatch.kernel.db import make_engine, make_sessions, transaction
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.outbox import Ring
from waterwatch.kernel.settings import Settings
from workers.stopping import Stop
from workers.teams import DRAINED, QUEUES
from workers.topics import TOPICS, topics_of

JOB = "workers.jobs.run"
DRAINED_WINDOW = 4
BACKOFF_FIRST_S, BACKOFF_CAP_S = 0.4, 5.0
log = get_logger(__name__)


class Relay:
    """Runs until ``stop`` is set; every connection is remade after a failure."""

    def __init__(self, settings: Settings, stop: Stop) -> None:
        self._settings, self._stop = settings, stop
        self._engine = make_engine(settings.database_url, pool_size=2)
        self._sessions = make_sessions(self._engine)
        self._redis = Redis.from_url(settings.redis_url, socket_connect_timeout=2, socket_timeout=5)
        self._queues = {name: Queue(name, connection=self._redis, serializer=JSONSerializer) for name in QUEUES}

    def run(self) -> None:
        """Serve until told to stop."""
        pause_s = BACKOFF_FIRST_S
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                with psycopg.connect(_plain_url(self._settings.database_url), autocommit=True) as listener:
                    listener.execute(f"LISTEN {outbox.CHANNEL}")
                    log.info("relay.listening")
                    self._serve(listener)
            except (psycopg.Error, SQLAlchemyError, RedisError) as error:
                if time.monotonic() - began > BACKOFF_CAP_S:  # it had worked for a while
                    pause_s = BACKOFF_FIRST_S
                log.warning("relay.interrupted", error=type(error).__name__, pause_s=pause_s)
                self._stop.wait(pause_s)
                pause_s = min(BACKOFF_CAP_S, 2 * pause_s)

    def close(self) -> None:
        """Hang up on the database and on Redis."""
        self._engine.dispose()
        self._redis.close()

    def _serve(self, listener: "psycopg.Connection[tuple[object, ...]]") -> None:
        while not self._stop.is_set():
            if self.ring_once() == 0:
                # One notification is enough to look again; the time limit is the poll.
                for _ in listener.notifies(timeout=self._settings.relay_poll_s, stop_after=1):
                    pass

    def ring_once(self) -> int:
        """Lease what is due, queue by queue, and ring for it; returns how many.

        The leases are committed before the bell is touched: a ring for a row that is not leased would be refused. Each
        queue has a window of its own, so that mails waiting behind a hanging server leave the photos theirs.
        """
        rung: dict[str, list[Ring]] = {}
        with transaction(self._sessions) as session:
            for name in QUEUES:
                rung[name] = outbox.lease(
                    session,
                    window=DRAINED_WINDOW if name in DRAINED else self._settings.relay_window,
                    lease_s=self._settings.outbox_lease_s,
                    topics=topics_of(name),
                    counts_begun=name not in DRAINED,
                )
        self._ring(rung)
        return sum(len(rings) for rings in rung.values())

    def _ring(self, rung: Mapping[str, Iterable[Ring]]) -> None:
        for name, rings in rung.items():
            jobs = [
                Queue.prepare_data(
                    JOB,
                    (str(ring.id), ring.lease_no),
                    timeout=TOPICS[ring.topic].timeout_s,
                    # The lease number belongs in the id: an old key may live on when the row is rung again.
                    job_id=f"{ring.id}-{ring.lease_no}",
                    result_ttl=0,
                    failure_ttl=60,
                    # A ring that waited longer than its lease is worthless, and must not cost a worker a fork.
                    ttl=math.ceil(self._settings.outbox_lease_s),
                )
                for ring in rings
            ]
            if jobs:
                self._queues[name].enqueue_many(jobs)


def run(settings: Settings, stop: Stop) -> None:
    """Run a relay until ``stop`` is set."""
    started = time.monotonic()
    with closing(Relay(settings, stop)) as relay:
        relay.run()
    log.info("relay.stopped", after_s=round(time.monotonic() - started, 1))


def _plain_url(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
