"""Decisions of escalation: the lives of cases and deliveries, their deadlines, the pauses between attempts. No I/O."""

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

from waterwatch.kernel.outbox import NORMAL, URGENT
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.states import Machine
from waterwatch.messaging.attempts import DEFERRAL_PAUSES_S, pause_s
from waterwatch.workdays import rules as workdays

CHINA_TIME = workdays.CHINA_TIME

CASE = Machine(
    "case",
    "queued",
    frozenset(
        {
            ("queued", "delivered"),
            ("queued", "no_contact"),
            ("queued", "dead"),
            # A mail may arrive although its acceptance was lost on the way to us: the link works before we know.
            ("queued", "acknowledged"),
            ("dead", "acknowledged"),
            ("delivered", "dead"),  # the mail came back
            ("delivered", "acknowledged"),
            ("delivered", "refused_not_ours"),
            ("acknowledged", "refused_not_ours"),
            ("acknowledged", "answered"),
            ("delivered", "answered"),
            ("answered", "closed"),
            ("answered", "refused_not_ours"),
            # A citizen's photo shows that it is not over: the agency is told anew.
            ("closed", "queued"),
            ("queued", "closed"),  # that report was taken back before the agency heard of it
            # An address became known, or another one was entered.
            ("no_contact", "queued"),
            ("dead", "queued"),
            # The moderators took the incident back; and, where that was the error, back again.
            ("queued", "withdrawn"),
            ("delivered", "withdrawn"),
            ("acknowledged", "withdrawn"),
            ("answered", "withdrawn"),
            ("no_contact", "withdrawn"),
            ("refused_not_ours", "withdrawn"),
            ("dead", "withdrawn"),
            ("withdrawn", "queued"),
            ("withdrawn", "no_contact"),
        }
    ),
)
DELIVERY = Machine(
    "delivery",
    "pending",
    frozenset(
        {
            ("pending", "sending"),
            ("sending", "sending"),  # the sender was killed; somebody else takes over when its claim runs out
            ("sending", "pending"),
            ("sending", "sent"),
            ("sending", "awaiting"),  # handed over, but somebody has yet to do something
            ("awaiting", "sent"),
            ("awaiting", "refused"),
            ("awaiting", "dead"),
            ("awaiting", "cancelled"),
            ("sent", "refused"),  # it came back
            ("sending", "refused"),
            ("sending", "dead"),
            # The acceptance came after the claim had run out, and somebody else recorded a failure meanwhile.
            ("pending", "sent"),
            ("refused", "sent"),
            ("dead", "sent"),
            ("pending", "awaiting"),
            ("refused", "awaiting"),
            ("dead", "awaiting"),
            ("cancelled", "awaiting"),
            # What it says was taken back before it went, or before it went again.
            ("pending", "cancelled"),
            ("sending", "cancelled"),
            ("cancelled", "sent"),  # and it had gone after all
        }
    ),
)

# Before the send itself: reading the case, fetching the photo, drawing the map.
PREPARATION_S = 20.0

# Pauses after a failure to reach our own mail server.
TRANSPORT_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)

PICTURE_PATIENCE = {
    4: timedelta(seconds=30),
    3: timedelta(minutes=1),
    2: timedelta(minutes=5),
    1: timedelta(minutes=10),
}

# What tells that something told before holds no more; and what is told of waters below an incident.
TAKES_BACK = frozenset({"withdrawn", "warning_over"})
WARNINGS = frozenset({"warning", "warning_over"})
DOWNSTREAM = "downstream"  # the role of a case of which nothing is asked

_PRIORITIES = {4: URGENT, 3: 2, 2: NORMAL, 1: 7}

RED = 4
# An agency that gets more letters than ten at one time gets one mail that lists them, fifty at most.
ONE_BY_ONE = 10
DIGEST_MAX = 50
# What a digest may hold back: what is near its deadline goes by itself.
DIGESTED = frozenset({"case", "lowered", "reopened"})

JITTER = 0.1
RETRY_AFTER_MAX_S = 3600.0

# A breaker: after so many failures in a row it opens for a minute, doubled each time its probe fails, up to an hour.
BREAKER_FAILURES = 5
BREAKER_FIRST_S, BREAKER_CAP_S = 60.0, 3600.0
PROBE_PATIENCE_S = 5.0  # how long others wait while one asks for all

# How long somebody may take for what is left to do after the hand-over; ours.
AWAITING_PATIENCE = {
    4: timedelta(minutes=30),
    3: timedelta(hours=4),
    2: timedelta(days=1),
    1: timedelta(days=2),
}


# How long the first of an agency's contacts may keep the others, which it wants told one by one, from the case; ours.
ORDER_PATIENCE = {
    4: timedelta(minutes=5),
    3: timedelta(hours=1),
    2: timedelta(hours=4),
    1: timedelta(days=1),
}


def case_life(settings: Settings) -> Machine:
    """The machine of cases with the deadline for handing them over; the one to acknowledge depends on the severity."""
    return replace(CASE, deadlines={"queued": timedelta(seconds=settings.delivery_deadline_s)})


def delivery_life(settings: Settings) -> Machine:
    """The machine of deliveries; ``sending`` lasts as long as a claim."""
    return replace(
        DELIVERY,
        deadlines={
            "pending": timedelta(seconds=settings.delivery_deadline_s),
            "sending": timedelta(seconds=claim_lasts_s(settings)),
        },
    )


def claim_lasts_s(settings: Settings) -> float:
    """How long one worker may hold a delivery, seconds: preparation, plus the send, which is bounded as a whole."""
    return PREPARATION_S + max(settings.smtp_timeout_s, settings.channel_timeout_s) + 2.0


def priority(severity: int) -> int:
    """Place in the outbox for a severity rank 1 (blue) to 4 (red): a red case overtakes everything that waits."""
    return _PRIORITIES[severity]


def transport_pause_s(attempts: int, cap_s: float) -> float:
    """Seconds to wait after ``attempts`` (≥ 1) tries when our own mail server could not be used."""
    return min(pause_s(TRANSPORT_PAUSES_S, attempts), cap_s)


def carries_pictures(attempts: int, last_error: str | None) -> bool:
    """Whether the ``attempts``-th try includes photo and map: from the third on not, if getting them took too long.

    Where the object store hangs, the mail goes out without them; its link shows them as soon as the store is back.
    """
    return attempts < 3 or last_error not in ("preparation_slow", "claim_expired")


def picture_patience(severity: int) -> timedelta:
    """How long after it was queued a mail waits for photo and map that cannot be had just now; then it goes without.

    Ours: a store or a database that restarts is back in seconds, and what is due in hours may not wait for minutes.
    """
    return PICTURE_PATIENCE[severity]


def deferral_pause_s(deferrals: int) -> float:
    """Seconds to wait after the recipient's server has said "later" for the ``deferrals``-th time (≥ 1)."""
    return pause_s(DEFERRAL_PAUSES_S, deferrals)


def jitter(delivery_id: uuid.UUID, attempt: int) -> float:
    """By which factor a pause is longer, 1 to 1.1: the same each time for one attempt, and different for another.

    A thousand letters that were put off by one server do not come back in the same second.
    """
    drawn = hashlib.sha256(delivery_id.bytes + attempt.to_bytes(8, "big")).digest()
    return 1 + JITTER * int.from_bytes(drawn[:4], "big") / 2**32


def retry_pause_s(delivery_id: uuid.UUID, attempt: int, deferrals: int, retry_after_s: float | None) -> float:
    """Seconds until the next try after the recipient's side put one off for the ``deferrals``-th time (≥ 1).

    1, 5, 15 min, then an hour each time, with jitter; never sooner than the other side asked for, up to an hour.
    """
    asked_s = min(max(retry_after_s or 0.0, 0.0), RETRY_AFTER_MAX_S)
    return max(deferral_pause_s(deferrals), asked_s) * jitter(delivery_id, attempt)


def awaiting_patience(severity: int) -> timedelta:
    """How long a delivery may await somebody: fetching the feed, posting the letter, naming the request."""
    return AWAITING_PATIENCE[severity]


def order_patience(severity: int) -> timedelta:
    """How long one contact's letter may be put off before the agency's next one is told beside it."""
    return ORDER_PATIENCE[severity]


@dataclass(frozen=True)
class Breaker:
    """What is known of an endpoint: failures in a row, how often it opened since it last answered, until when."""

    failures: int = 0
    opened: int = 0
    open_until: datetime | None = None


def after_failure(breaker: Breaker, *, now: datetime) -> Breaker:
    """One more failure: opens it at the fifth in a row, and anew, for twice as long, when it was a probe that failed.

    Failures of what was under way when it opened change nothing.
    """
    failures = breaker.failures + 1
    if breaker.open_until is not None and breaker.open_until > now:
        return replace(breaker, failures=failures)
    if breaker.open_until is None and failures < BREAKER_FAILURES:
        return replace(breaker, failures=failures)
    pause = min(BREAKER_CAP_S, BREAKER_FIRST_S * 2 ** min(breaker.opened, 16))
    return Breaker(failures, breaker.opened + 1, now + timedelta(seconds=pause))


def next_digest(now: datetime, at: time, *, is_working: Callable[[datetime], bool] | None = None) -> datetime:
    """The next time of day ``at`` in China on a working day, after ``now`` (aware).

    ``is_working`` tells of a day in China's time; by default Monday to Friday.
    """
    is_working = is_working or (lambda day: day.weekday() < 5)
    day = now.astimezone(CHINA_TIME).replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    while day <= now or not is_working(day):
        day += timedelta(days=1)
    return day.astimezone(now.tzinfo)


def is_held_for_digest(channel: str, severity: int, says: str, digest_upto: int) -> bool:
    """Whether a letter waits for its agency's digest. Red never does, whatever the agency prefers."""
    return channel == "email" and severity <= min(digest_upto, RED - 1) and says in DIGESTED
