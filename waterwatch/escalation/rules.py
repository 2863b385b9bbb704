"""Decisions of escalation: the lives of cases and deliveries, their deadlines, the pauses between attempts. No I/O."""

from dataclasses import replace
from datetime import timedelta

from waterwatch.kernel.outbox import NORMAL, URGENT
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.states import Machine
from waterwatch.messaging.attempts import DEFERRAL_PAUSES_S, pause_s

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
            # The one letter that had arrived came back.
            ("delivered", "dead"),
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
            ("sending", "refused"),
            ("sending", "dead"),
            # The acceptance came after the claim had run out, and somebody else recorded a failure meanwhile.
            ("pending", "sent"),
            ("refused", "sent"),
            ("dead", "sent"),
            ("sent", "refused"),  # it came back
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

_PRIORITIES = {4: URGENT, 3: 2, 2: NORMAL, 1: 7}


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
    return PREPARATION_S + settings.smtp_timeout_s + 2.0


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
