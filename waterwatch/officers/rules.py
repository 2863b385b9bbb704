"""Decisions of the officers' desk: what a case waits for, how near its deadline is, where a page goes on. No I/O."""

import base64
import binascii
import struct
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from waterwatch.kernel.errors import Invalid

# What a case waits for, by its state. A letter that is still under way may have arrived: it can be acknowledged.
TO_ACKNOWLEDGE = ("queued", "delivered", "dead")
TO_ANSWER = ("acknowledged",)
TO_FINISH = ("answered",)
OPEN = TO_ACKNOWLEDGE + TO_ANSWER + TO_FINISH
RUNNING = ("delivered", *TO_ANSWER, *TO_FINISH)  # a deadline of the agency's runs; before, it is ours: to hand it over
BUCKETS: dict[str, tuple[str, ...]] = {
    "open": OPEN,
    "acknowledge": TO_ACKNOWLEDGE,
    "answer": TO_ANSWER,
    "finish": TO_FINISH,
    "overdue": OPEN,
    "done": ("closed",),
    "refused": ("refused_not_ours",),
    "withdrawn": ("withdrawn",),
    "ended": OPEN,
}
OF_OPEN_INCIDENTS = ("open", "acknowledge", "answer", "finish", "overdue")  # once an incident ends, nothing is owed
REACHES = ("own", "below")  # the agency's own cases, or those of the agencies below it
PAGE_ROWS = 30
EXPORT_ROWS = 20_000
NEAR_SHARE = 0.25  # a reminder goes when a quarter of the time is left; the desk's colour changes then, too
# Sorts last: later than any deadline and still a time that PostgreSQL and Python both know.
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_CURSOR = struct.Struct(">q16s")


@dataclass(frozen=True)
class Wanted:
    """What of the inbox somebody looks at. ``whose``: ``mine``, ``nobody``, an office's name, or None for all."""

    bucket: str = "open"
    severity: int | None = None
    whose: str | None = None
    reach: str = "own"
    after: tuple[datetime, uuid.UUID] | None = None

    @property
    def states(self) -> tuple[str, ...]:
        """The states of the cases that are wanted."""
        return BUCKETS[self.bucket]

    @property
    def is_over(self) -> bool | None:
        """Whether the incidents of the cases that are wanted have ended; None: whatever became of them."""
        return False if self.bucket in OF_OPEN_INCIDENTS else True if self.bucket == "ended" else None

    def from_start(self) -> "Wanted":
        """The same, from its first page."""
        return replace(self, after=None)


@dataclass(frozen=True)
class Due:
    """How a deadline stands: ``late`` is past, ``near`` a quarter of the time is left. ``left``: negative once past."""

    at: datetime
    left: timedelta
    standing: str


def due(deadline: datetime | None, since: datetime, *, now: datetime) -> Due | None:
    """The standing of a deadline that began to run at ``since``; None where nothing is due."""
    if deadline is None:
        return None
    left = deadline - now
    if left < timedelta(0):
        return Due(deadline, left, "late")
    whole = deadline - since
    return Due(deadline, left, "near" if left <= NEAR_SHARE * whole else "ok")


def write_cursor(deadline: datetime | None, case_id: uuid.UUID) -> str:
    """Where the next page begins: after this row."""
    moment = deadline or NEVER
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(_CURSOR.pack(micros, case_id.bytes)).rstrip(b"=").decode()


def read_cursor(written: str) -> tuple[datetime, uuid.UUID]:
    """What :func:`write_cursor` wrote. Raises :class:`Invalid` for anything else."""
    try:
        raw = base64.urlsafe_b64decode(written + "=" * (-len(written) % 4))
        micros, key = _CURSOR.unpack(raw)
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    except (binascii.Error, ValueError, struct.error, OverflowError):
        raise Invalid({"after": ["cursor_malformed"]}) from None
    return moment, uuid.UUID(bytes=key)


def can_acknowledge(state: str, *, is_own: bool) -> bool:
    """Whether the agency may still say that it has the case."""
    return is_own and state in TO_ACKNOWLEDGE


def can_comment(state: str, *, is_own: bool) -> bool:
    """Whether the agency may add to what it said of a case that it has ended."""
    return is_own and state == "closed"


def can_answer(state: str, *, is_own: bool) -> bool:
    """Whether the agency may answer: also again, and without having acknowledged before."""
    return is_own and state in OPEN
