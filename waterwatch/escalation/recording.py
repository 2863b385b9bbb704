"""Puts on record what became of letters: some in one transaction, because each would cost as much as all."""

import threading
import time
from dataclasses import dataclass

from psycopg.errors import DeadlockDetected
from sqlalchemy.exc import OperationalError

from waterwatch.escalation import deliveries
from waterwatch.escalation.channels import Failed, Outcome, Rehearsed
from waterwatch.escalation.claims import REHEARSED, Claim
from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.outbox import Message
from waterwatch.messaging.attempts import Failure

TOGETHER_S = 0.25
TRIES = 3  # the database ends one of two that wait for each other
UNRECORDED_MAX = 16  # how many may have been handed over without being on record, at any moment: the crash window
NOT_TRIED = Failed(Failure(deliveries.NOT_TRIED))

log = get_logger(__name__)


@dataclass(frozen=True)
class Task:
    """A claim, and the outbox rows that ordered it or what goes with it."""

    claim: Claim
    messages: tuple[Message, ...]


class Recorder:
    """Puts outcomes on record, in their order, some in one transaction: at most :data:`UNRECORDED_MAX` wait for it,
    and none for long. Several threads may use one.

    When a transaction fails, its letters are left to their claims, which run out; unless it and another one waited for
    each other: then it is tried again.
    """

    def __init__(self, context: JobContext, *, together: int = UNRECORDED_MAX) -> None:
        self._context, self._together = context, together
        self._waiting: list[tuple[Task, Outcome]] = []
        self._since = 0.0
        self._turn = threading.Lock()

    def put(self, task: Task, outcome: Outcome) -> None:
        """Take an outcome; on record when a further one comes a quarter of a second later, at the latest."""
        with self._turn:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting.append((task, outcome))
            is_due = len(self._waiting) >= self._together or time.monotonic() - self._since >= TOGETHER_S
            results = self._waiting if is_due else []
            if is_due:
                self._waiting = []
        if results:
            self._record(results)

    def flush(self) -> None:
        """Put on record whatever waits."""
        with self._turn:
            results, self._waiting = self._waiting, []
        if results:
            self._record(results)

    close = flush

    def _record(self, results: list[tuple[Task, Outcome]]) -> None:
        """Put them on record: what was handed over must not be handed over again because two waited for each other."""
        for left in reversed(range(TRIES)):
            try:
                self._record_once(results)
                return
            except OperationalError as error:
                if not left or not isinstance(error.orig, DeadlockDetected):
                    raise
                log.warning("recording.deadlock", letters=len(results), tries_left=left)

    def _record_once(self, results: list[tuple[Task, Outcome]]) -> None:
        context = self._context
        with transaction(context.sessions) as session:
            pauses = deliveries.record(
                session,
                [(task.claim, outcome) for task, outcome in results],
                settings=context.settings,
                now=context.now(),
            )
            done = [
                message.id
                for (task, _outcome), pause_s in zip(results, pauses, strict=True)
                if pause_s is None
                for message in task.messages
            ]
            outbox.finish_all(session, done)
            for (task, outcome), pause_s in zip(results, pauses, strict=True):
                if pause_s is not None:
                    code = _code(outcome)
                    log.warning(
                        "delivery.postponed",
                        delivery_id=str(task.claim.delivery_id),
                        error=code,
                        retry_after_s=round(pause_s, 1),
                    )
                    for message in task.messages:
                        outbox.retry(
                            session, message.id, message.lease_no, after_s=pause_s, error=code, is_counted=False
                        )


def _code(outcome: Outcome) -> str:
    """Why a letter is put off."""
    if isinstance(outcome, Rehearsed):
        return REHEARSED
    return outcome.failure.code if isinstance(outcome, Failed) else "claim_lost"
