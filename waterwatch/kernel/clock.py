"""Time: one source of "now", always aware and in UTC. Services receive it; they never ask for it."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The present instant, timezone-aware, UTC."""
    return datetime.now(UTC)
