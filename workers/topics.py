"""What is to be done for each topic of the outbox: the handler, where it runs, how long it may take, when it gives up."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from waterwatch.escalation import service as escalation
from waterwatch.kernel import outbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.db import transaction
from waterwatch.kernel.outbox import Message
from waterwatch.mapping import service as mapping
from waterwatch.photos import service as photos
from waterwatch.reports import service as reports

Handler = Callable[[JobContext, Message], None]

PHOTOS, MAIL, MAP = "photos", "mail", "map"
QUEUES = (PHOTOS, MAIL, MAP)


@dataclass(frozen=True)
class Retry:
    """Pauses after a fault: ``first_s``, doubled each time up to ``cap_s``; given up after ``max_attempts``."""

    first_s: float
    cap_s: float
    max_attempts: int

    def pause_s(self, attempt: int) -> float:
        """How long to wait after attempt number ``attempt`` (from 1)."""
        return float(min(self.cap_s, self.first_s * 2 ** (attempt - 1)))


@dataclass(frozen=True)
class Topic:
    """A topic's work. ``on_dead`` tells whoever must know when the work is given up."""

    handler: Handler
    queue: str
    timeout_s: int
    retry: Retry
    on_dead: Handler | None = None


def sanitise(context: JobContext, message: Message) -> None:
    """Idempotent: a settled photo is left alone (see ``photos.service.sanitise``), and finishing twice is nothing."""
    photos.sanitise(context, _id(message, "photo_id"))
    with transaction(context.sessions) as session:
        outbox.finish(session, message.id)


def refuse_photo(context: JobContext, message: Message) -> None:
    """The photo killed its worker or failed it too often: it is refused, and its author is told to take another."""
    with transaction(context.sessions) as session:
        photos.record_refused(
            session, _id(message, "photo_id"), "undecodable", settings=context.settings, now=context.now()
        )


def settle(context: JobContext, message: Message) -> None:
    """Idempotent: only a report that still waits for its photos moves (see ``reports.service.settle_photo``)."""
    with transaction(context.sessions) as session:
        reports.settle_photo(session, _id(message, "photo_id"), settings=context.settings, now=context.now())
        outbox.finish(session, message.id)


TOPICS: Mapping[str, Topic] = MappingProxyType(
    {
        photos.TOPIC_SANITISE: Topic(sanitise, PHOTOS, 60, Retry(1, 30, 4), refuse_photo),
        photos.TOPIC_SETTLED: Topic(settle, PHOTOS, 20, Retry(1, 30, 50)),
        escalation.TOPIC_DELIVER: Topic(escalation.deliver, MAIL, 60, Retry(1, 30, 10_000)),
        mapping.TOPIC_PUBLISH: Topic(mapping.publish, MAP, 120, Retry(1, 30, 10_000)),
    }
)


def _id(message: Message, name: str) -> uuid.UUID:
    return uuid.UUID(message.payload[name])
