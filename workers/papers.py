"""What the sweep does of bulletins and figures: quarters end, drafts are ordered, what is spoilt is recalled."""

from datetime import timedelta

from waterwatch.accountability import service as accountability
from waterwatch.accountability.queries import has_cases, releases
from waterwatch.accountability.rules import ended_quarters
from waterwatch.bulletins import jobs, queries
from waterwatch.bulletins import service as bulletins
from waterwatch.kernel import outbox
from waterwatch.kernel.audit import Actor
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction

BATCH = 200
SWEEP = Actor.system("sweep")
# Nobody waits for these: a draft is reviewed days later, and what may not be shown is not served in the meantime.
EVERY_S = 600.0
PROPOSE_WITHIN = timedelta(days=60)


def make_again(context: JobContext) -> int:
    """Bulletins that should have been made by now and that nobody is making. Returns how many were ordered."""
    now = context.now()
    with transaction(context.sessions) as session:
        found = queries.forgotten_orders(session, now=now, limit=BATCH)
        for bulletin_id, revision in found:
            bulletins.order_again(session, bulletin_id, revision, now=now)
    return len(found)


def send_again(context: JobContext) -> int:
    """Letters with a bulletin that nobody is trying to send any more. Returns how many were ordered."""
    now = context.now()
    with transaction(context.sessions) as session:
        found = queries.forgotten_letters(session, now=now, limit=BATCH)
        for letter_id in found:
            outbox.emit(session, bulletins.TOPIC_SEND, {"letter_id": str(letter_id)}, now=now)
    return len(found)


def publish_figures(context: JobContext) -> int:
    """Figures the departments have had their time with. Returns how many periods were published."""
    with transaction(context.sessions) as session:
        return accountability.publish_due(session, actor=SWEEP, now=context.now())


def show_figures(context: JobContext) -> int:
    """A quarter ended long enough ago for its cases to have come due: count it, show each department its figures.

    Idempotent: a quarter that was counted, or in which nothing was, is left alone. Returns 1 when one was counted.
    """
    now = context.now()
    (period,) = ended_quarters(now, known=())
    if now < period.until + timedelta(days=context.settings.figures_after_days):
        return 0
    with transaction(context.sessions) as session:
        if not has_cases(session, period) or any(one.period == period.code for one in releases(session)):
            return 0
        accountability.show_period(session, period, settings=context.settings, actor=SWEEP, now=now)
    return 1


def propose_bulletins(context: JobContext) -> int:
    """Drafts for the quarter that ended last, for every department that has none. Returns how many were ordered."""
    now = context.now()
    (period,) = ended_quarters(now, known=())
    if now > period.until + PROPOSE_WITHIN or not _is_turn(context):
        return 0
    return jobs.propose_drafts(context)


def recall_bulletins(context: JobContext) -> int:
    """Bulletins that show what may not be shown any more. Returns how many."""
    return jobs.recall_spoilt(context) if _is_turn(context) else 0


def _is_turn(context: JobContext) -> bool:
    """Once in :data:`EVERY_S`, whichever of several sweeps it is."""
    return context.now().timestamp() % EVERY_S < max(1.0, context.settings.sweep_every_s)
