"""Pure: which change is told, and how often. A level is a severity rank 1 to 4, or None for "no warning"."""

from datetime import datetime, timedelta

RED = 4
ORANGE = 3  # the gravest that a warning from upstream can be
# Not more than one message a water and hour to anybody (ours): a level that goes to and fro is told once it rests. Only
# red, and orange that is on its way, do not wait.
PAUSE = timedelta(hours=1)
WATCHES_PER_ADDRESS = 50  # ours: a county's waters, and not the country's
RISEN, FALLEN, CLEARED = "risen", "fallen", "cleared"


def change(before: int | None, after: int | None) -> str | None:
    """What a change of level is called; None where nothing changed."""
    if before == after:
        return None
    if after is None:
        return CLEARED
    return RISEN if after > (before or 0) else FALLEN


def may_tell_at(level: int | None, told_at: datetime | None, *, now: datetime) -> datetime:
    """When somebody told at ``told_at`` may be told of ``level``: red at once, all else an hour later."""
    if told_at is None or level == RED:
        return now
    return max(now, told_at + PAUSE)


def warning_waits(level: int | None) -> bool:
    """Whether a warning from upstream of this level, or its end (None), waits for an hour after the last message."""
    return level is None or level < ORANGE
