"""Decisions about postings: their life, the pauses between attempts, how many one address gets. No I/O."""

from dataclasses import replace
from datetime import timedelta

from waterwatch.kernel.settings import Settings
from waterwatch.kernel.states import Machine
from waterwatch.messaging.attempts import DEFERRAL_PAUSES_S
from waterwatch.messaging.attempts import pause_s as attempt_pause_s

POSTING = Machine(
    "posting",
    "pending",
    frozenset(
        {
            ("pending", "sending"),
            ("sending", "sending"),  # the sender was killed; somebody else takes over when its claim runs out
            ("sending", "pending"),
            ("sending", "sent"),
            ("sending", "refused"),
            ("sending", "dead"),
            # Whoever it was for does not want it any more, or is gone.
            ("pending", "dropped"),
            ("sending", "dropped"),
        }
    ),
)
FINAL_STATES = frozenset({"sent", "refused", "dead", "dropped"})
# Of these, subject and recipient together tell who cares for which water: once one has ended, it is about itself alone.
SUBJECT_FORGOTTEN = frozenset({"watch.approaching", "watch.over"})
MARGIN_S = 5.0  # opening the seal, and recording what became of it
# After a failure to reach the server.
TRANSPORT_PAUSES_S = (2.0, 5.0, 15.0, 60.0, 300.0)
# Nobody gets more letters they have not asked for than this, whoever types their address how often (ours).
UNASKED_PER_DAY = 3
UNASKED_WITHIN = timedelta(days=1)


def posting_life(settings: Settings) -> Machine:
    """The machine with this installation's deadlines; ``sending`` lasts as long as a claim."""
    return replace(
        POSTING,
        deadlines={
            "pending": timedelta(seconds=settings.delivery_deadline_s),
            "sending": timedelta(seconds=claim_lasts_s(settings)),
        },
    )


def claim_lasts_s(settings: Settings) -> float:
    """How long one worker may hold a posting, seconds."""
    return settings.smtp_timeout_s + settings.push_timeout_s + MARGIN_S


def pause_s(attempts: int, deferrals: int, *, is_deferred: bool) -> float:
    """Seconds until the next try, after ``attempts`` of which the receiving side put off ``deferrals``."""
    if is_deferred:
        return attempt_pause_s(DEFERRAL_PAUSES_S, deferrals)
    return attempt_pause_s(TRANSPORT_PAUSES_S, max(1, attempts - deferrals))
