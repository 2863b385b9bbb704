"""A second thread that puts on record what became of letters, while the first hands the next ones over."""

import queue
import threading
from dataclasses import dataclass

from waterwatch.escalation import deliveries
from waterwatch.escalation.channels import Failed, Outcome
from waterwatch.escalation.claims import Claim
from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.outbox import Message
from waterwatch.messaging.attempts import Failure

UNRECORDED_MAX = 16  # how many may have been handed over without being on record, at any moment: the crash window
NOT_TRIED = Failed(Failure(deliveries.NOT_TRIED))

log = get_logger(__name__)


@dataclass(frozen=True)
class Task:
    """A claim, and the outbox rows that ordered it or what goes with it."""

    claim: Claim
    messages: tuple[Message, ...]


class Recorder:
    """Takes outcomes in the order of their coming; records as many as have come together in one transaction.

    When one transaction fails, everything after it is left to the claims that run out, and whoever puts the next
    outcome, or closes, gets the error.
    """

    def __init__(self, context: JobContext) -> None:
        self._context = context
        self._waiting: queue.Queue[tuple[Task, Outcome] | None] = queue.Queue(maxsize=UNRECORDED_MAX // 2)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def put(self, task: Task, outcome: Outcome) -> None:
        """Let an outcome be recorded; waits while too many wait. Raises what kept an earlier one from it."""
        self._raise()
        self._waiting.put((task, outcome))

    def close(self) -> None:
        """Wait until everything is on record. Raises what kept it from it."""
        self._waiting.put(None)
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _run(self) -> None:
        is_over = False
        while not is_over:
            taken = [self._waiting.get()]
            while len(taken) < UNRECORDED_MAX // 2:
                try:
                    taken.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            is_over = None in taken
            results = [one for one in taken if one is not None]
            if results and self._error is None:
                try:
                    self._record(results)
                except Exception as error:  # whatever it is, the other thread raises it
                    self._error = error

    def _record(self, results: list[tuple[Task, Outcome]]) -> None:
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
                    code = outcome.failure.code if isinstance(outcome, Failed) else "claim_lost"
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
