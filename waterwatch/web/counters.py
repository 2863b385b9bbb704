"""Counts of what somebody did within a time, shared through Redis; kept by each process for itself while Redis is away.

Names are pseudonyms: an HMAC of what is counted under a key of its own. Neither an address nor a device is stored.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter, RateLimiter
from redis.exceptions import RedisError

from waterwatch.kernel.log import get_logger

AWAY_FOR_S = 5.0  # how long Redis is not asked again after it did not answer: each question may wait a second
log = get_logger(__name__)
T = TypeVar("T")


class Counters:
    """Fixed windows that begin with the first act counted.

    Failure mode: Redis unreachable → this process's memory, so that somebody may get up to one limit per process;
    nothing breaks and nothing is open.
    """

    def __init__(self, redis_url: str, key: bytes) -> None:
        storage = storage_from_string(
            redis_url, socket_connect_timeout=1, socket_timeout=1, key_prefix="waterwatch-counters"
        )
        self._shared = FixedWindowRateLimiter(storage)
        self._own = FixedWindowRateLimiter(MemoryStorage())
        self._key = key
        self._away_until = 0.0

    def take(self, limits: str, *names: str) -> bool:
        """Count one act against every limit of ``60/hour;600/day``; False when one of them was used up already."""
        name = self._pseudonym(names)
        taken = [self._ask(partial(_hit, item=item, name=name)) for item in parse_many(limits)]
        return all(taken)

    def retry_after_s(self, limits: str, *names: str) -> float | None:
        """In how many seconds one more act would be within the limits; None when it is now. Counts nothing."""
        name = self._pseudonym(names)
        waits = [self._ask(partial(_wait_s, item=item, name=name)) for item in parse_many(limits)]
        return max(waits) or None

    def _ask(self, question: Callable[[RateLimiter], T]) -> T:
        if time.monotonic() >= self._away_until:
            try:
                return question(self._shared)
            except RedisError:
                self._away_until = time.monotonic() + AWAY_FOR_S
                log.warning("counters.redis_away")
        return question(self._own)

    def _pseudonym(self, names: tuple[str, ...]) -> str:
        return hmac.new(self._key, "|".join(names).encode(), hashlib.sha256).hexdigest()[:32]


def _hit(counted: RateLimiter, item: RateLimitItem, name: str) -> bool:
    return counted.hit(item, name)


def _wait_s(counted: RateLimiter, item: RateLimitItem, name: str) -> float:
    """How long until one more is within one limit, 0 when it is now."""
    if counted.test(item, name):
        return 0.0
    return max(1.0, counted.get_window_stats(item, name).reset_time - time.time())
