"""The jobs that hand letters over, and go on with further ones while they have a worker.

A process forked for each letter, and a conversation begun for each, would be most of the work. So a job that has handed
its own letter over leases further rows of its topic itself, most urgent first, in small batches: claims them in one
transaction, hands them over with none open, and records what became of them some at a time. A red that is graded now
goes before everything that is not claimed yet.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from jinja2 import TemplateError
from sqlalchemy.orm import Session

from waterwatch.escalation import claims, letters, rules, staging
from waterwatch.escalation.channels import Channels, Failed, Letter, Outcome, Pictures, Wire
from waterwatch.escalation.channels.cap_feed import CAP_FEED
from waterwatch.escalation.channels.known import CHANNELS
from waterwatch.escalation.channels.letter import PictureShelf, gather_pictures, make_letter
from waterwatch.escalation.channels.wording import LANGUAGE
from waterwatch.escalation.claims import Claim, Later
from waterwatch.escalation.delivery_queries import keep_told
from waterwatch.escalation.queries import CaseFacts, facts_of_cases
from waterwatch.escalation.reading import fed_before
from waterwatch.escalation.recording import NOT_TRIED, Recorder, Task
from waterwatch.escalation.told import as_kept
from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.errors import DomainError
from waterwatch.kernel.log import get_logger
from waterwatch.kernel.outbox import Message
from waterwatch.messaging.attempts import Failure
from waterwatch.messaging.smtp import Outlet

GO_ON_S = 20.0  # then another job takes its turn: of a job's minute, this and one slow letter
BATCH_S, BATCH_MAX = 0.5, 32  # what is claimed at once takes half a second, as far as the last batch tells
THREADS = 16  # of which one endpoint has two at most
LOOK_AGAIN_S = 0.5
BROKEN_MAX = 2  # conversations that break one after the other: the mail server is away, and the others would only wait
# One letter that cannot be written must not keep the others: faults of the program and of what it is given.
FAULTS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError),
    *(TemplateError, DomainError),
)
# Failures on our side that say nothing of the mail server.
_NOT_THE_SERVER = frozenset({"pictures_unavailable", "preparation_slow", "worker_failed"})

log = get_logger(__name__)


@dataclass(frozen=True)
class _Batch:
    """What was claimed in one transaction, most urgent first, with what is to be said of it."""

    tasks: tuple[Task, ...] = ()
    facts: dict[uuid.UUID, CaseFacts] | None = None


def deliver(context: JobContext, message: Message, *, channels: Channels = CHANNELS, go_on_s: float = GO_ON_S) -> None:
    """The job of :data:`letters.TOPIC_DELIVER`: hand one mail over, and go on with others over the same conversation.

    Each row is marked done, or given back until its next attempt, in the transaction that records what became of it.
    Idempotent: what was sent or given up is only marked done; two workers at once cannot both claim; a worker killed
    at any point leaves claims that run out. Sent at least once, always under the delivery's one Message-ID; no more
    than ``recording.UNRECORDED_MAX`` mails are sent again after a crash.
    """
    began = time.monotonic()
    with contextlib.closing(Recorder(context)) as recorder, contextlib.closing(_Mouth(context, channels)) as mouth:
        batch, size, broken = _begin(context, channels, message), 1, 0
        while batch.tasks:
            started = time.monotonic()
            for number, task in enumerate(batch.tasks):
                outcome = mouth.say(task, batch)
                recorder.put(task, outcome)
                if isinstance(outcome, Failed):
                    recorder.flush()  # whatever it waits for next may take its time as well
                broken = broken + 1 if _is_broken(outcome) else 0
                if broken == BROKEN_MAX:
                    for left in batch.tasks[number + 1 :]:
                        recorder.put(left, NOT_TRIED)
                    return
            recorder.flush()
            pace_s = (time.monotonic() - started) / len(batch.tasks)
            left_s = go_on_s - (time.monotonic() - began)
            if left_s <= 0:
                return
            size = max(1, min(BATCH_MAX, int(min(BATCH_S, left_s) / max(pace_s, 0.001))))
            batch = _take(context, channels, letters.TOPIC_DELIVER, size)


def call(context: JobContext, message: Message, *, channels: Channels = CHANNELS, go_on_s: float = GO_ON_S) -> None:
    """The job of :data:`letters.TOPIC_CALL`: hand a letter over by any other channel, and go on with others.

    Some at a time, two at most to one endpoint, so that whoever waits for one that hangs is not in anybody's way.
    Idempotent as :func:`deliver`.
    """
    ends_at, own = time.monotonic() + go_on_s, threading.local()
    mouths: list[_Mouth] = []

    def say(task: Task, batch: _Batch) -> None:
        if not hasattr(own, "mouth"):
            own.mouth = _Mouth(context, channels)
            mouths.append(own.mouth)
        recorder.put(task, own.mouth.say(task, batch))

    with contextlib.closing(Recorder(context, together=1)) as recorder:
        with ThreadPoolExecutor(THREADS) as pool:
            batch, running = _begin(context, channels, message), set[Future[None]]()
            while True:
                running |= {pool.submit(say, task, batch) for task in batch.tasks}
                if time.monotonic() >= ends_at or not (running or batch.tasks):
                    break
                done, running = wait(running, timeout=LOOK_AGAIN_S, return_when=FIRST_COMPLETED)
                for finished in done:
                    finished.result()
                free = THREADS - len(running)
                batch = _take(context, channels, letters.TOPIC_CALL, free) if free else _Batch()
        for mouth in mouths:
            mouth.close()


def _begin(context: JobContext, channels: Channels, message: Message) -> _Batch:
    with transaction(context.sessions) as session:
        return _claim(session, context, channels, [message])


def _take(context: JobContext, channels: Channels, topic: str, size: int) -> _Batch:
    """Lease and claim further rows that are due."""
    with transaction(context.sessions) as session:
        messages = outbox.take(session, topic, limit=size, lease_s=context.settings.outbox_lease_s)
        return _claim(session, context, channels, messages) if messages else _Batch()


def _claim(session: Session, context: JobContext, channels: Channels, messages: Sequence[Message]) -> _Batch:
    """Claim what rows of the outbox order; those that order nothing any more are done, others are given back."""
    ordered: dict[uuid.UUID, list[Message]] = {}
    for message in messages:
        ordered.setdefault(uuid.UUID(message.payload["delivery_id"]), []).append(message)
    held = claims.claim(session, list(ordered), settings=context.settings, channels=channels, now=context.now())
    finished = [message.id for delivery_id, each in ordered.items() if held[delivery_id] is None for message in each]
    leaders: dict[uuid.UUID, list[Message]] = {}
    for delivery_id, each in ordered.items():
        found = held[delivery_id]
        if isinstance(found, Later):
            for message in each:
                outbox.retry(
                    session,
                    message.id,
                    message.lease_no,
                    after_s=found.retry_after_s,
                    error=found.code,
                    is_counted=False,
                )
        elif found is not None:
            leader = found.delivery_id
            leaders.setdefault(leader, []).extend(each)
    if finished:
        outbox.finish_all(session, finished)
    tasks = [Task(one, tuple(leaders[one.delivery_id])) for one in held.values() if isinstance(one, Claim)]
    cases = {one.case_id for task in tasks for one in task.claim.all}
    facts = facts_of_cases(session, list(cases), language=LANGUAGE, now=context.now()) if tasks else {}
    for one in (each for task in tasks for each in task.claim.all if each.channel == CAP_FEED):
        if one.says in rules.WARNINGS:
            earlier = fed_before(session, one.delivery_id)
            keep_told(session, one.delivery_id, as_kept(facts[one.case_id], one.says, earlier))
    return _Batch(tuple(tasks), facts)


class _Mouth:
    """Says letters, one after the other: a conversation with the mail server, and the pictures it has just used."""

    def __init__(self, context: JobContext, channels: Channels) -> None:
        settings = context.settings
        self._context, self._channels, self._shelf = context, channels, PictureShelf()
        self._wire = Wire(settings, Outlet(settings.smtp_url, timeout_s=settings.smtp_timeout_s))

    def close(self) -> None:
        """Hang up."""
        self._wire.mail.close()

    def say(self, task: Task, batch: _Batch) -> Outcome:
        """Write the letter and hand it over, with no transaction open during either."""
        try:
            return self._say(task.claim, batch.facts or {})
        except FAULTS as error:
            log.exception("delivery.fault", delivery_id=str(task.claim.delivery_id), error=type(error).__name__)
            return Failed(Failure("worker_failed"))

    def _say(self, claim: Claim, facts: dict[uuid.UUID, CaseFacts]) -> Outcome:
        context = self._context
        if claim.fault is not None:
            return Failed(Failure(claim.fault, is_permanent=True))
        letter = self._letter(claim, facts)
        is_patient = context.now() < claim.queued_at + rules.picture_patience(letter.facts.severity)
        if letter.pictures.are_held_back and is_patient:
            return Failed(Failure("pictures_unavailable"))
        if context.now() >= claim.send_before:
            return Failed(Failure("preparation_slow"))  # the claim may run out meanwhile: somebody else would send, too
        channel = self._channels[claim.channel]
        if context.settings.staging_mail:
            return staging.hand_over(letter, self._wire)
        return channel.hand_over(letter, self._wire)

    def _letter(self, claim: Claim, facts: dict[uuid.UUID, CaseFacts]) -> Letter:
        settings, of_case = self._context.settings, facts[claim.case_id]
        others = tuple(
            make_letter(one, facts[one.case_id], Pictures(None, None), settings=settings) for one in claim.others
        )
        wants_pictures = claim.with_pictures and claim.says not in rules.TAKES_BACK | rules.WARNINGS and not others
        pictures = gather_pictures(self._context, of_case, self._shelf) if wants_pictures else Pictures(None, None)
        return make_letter(claim, of_case, pictures, settings=settings, others=others)


def _is_broken(outcome: Outcome) -> bool:
    """Whether the mail server could not be used."""
    if not isinstance(outcome, Failed):
        return False
    failure = outcome.failure
    return not (failure.is_deferred or failure.is_permanent or failure.code in _NOT_THE_SERVER)
