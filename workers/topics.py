"""What is to be done for each topic of the outbox: the handler, its queue, how long it may take, when it gives up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from waterwatch.advisories import forecasts
from waterwatch.advisories import service as advisories
from waterwatch.agencies.competence import TOPIC_REACH_CHANGED
from waterwatch.bulletins import jobs as bulletins
from waterwatch.bulletins.service import TOPIC_MAKE, TOPIC_SEND
from waterwatch.casework import service as casework
from waterwatch.contacts import service as contacts
from waterwatch.escalation import again, alarms, polling, sending
from waterwatch.escalation import service as escalation
from waterwatch.inbox import service as inbox
from waterwatch.kernel.context import JobContext
from waterwatch.kernel.outbox import Message
from waterwatch.mapping import service as mapping
from waterwatch.notices import service as notices
from waterwatch.photos import forgetting
from waterwatch.photos import service as photos
from waterwatch.postbox import service as postbox
from waterwatch.reports import service as reports
from waterwatch.watches import approaching
from waterwatch.watches import service as watches
from workers import handlers
from workers.teams import CALLS, LETTERS, MAIL, MAP, PAPER, PHOTOS

Handler = Callable[[JobContext, Message], None]

DAY_S = 24 * 3600.0
_MAX_DOUBLINGS = 30  # beyond it every pause is the cap, and a float would overflow some time


@dataclass(frozen=True)
class Retry:
    """Pauses between attempts: ``first_s``, doubled each time up to ``cap_s``.

    Given up after ``max_attempts`` faults of the work itself (None: never for that), and in any case once the row is
    older than ``give_up_s``. Attempts that failed because a server was away count only towards the age.
    """

    first_s: float
    cap_s: float
    max_attempts: int | None
    give_up_s: float = 3 * DAY_S

    def pause_s(self, attempt: int) -> float:
        """How long to wait after attempt number ``attempt`` (from 1)."""
        return float(min(self.cap_s, self.first_s * 2 ** min(attempt - 1, _MAX_DOUBLINGS)))

    def is_over(self, attempt: int, age_s: float) -> bool:
        """Whether no attempt is to follow attempt number ``attempt`` of a row ``age_s`` old."""
        return age_s >= self.give_up_s or (self.max_attempts is not None and attempt >= self.max_attempts)


@dataclass(frozen=True)
class Topic:
    """A topic's work. ``timeout_s`` bounds one attempt; ``on_dead`` tells whoever must know when it is given up."""

    handler: Handler
    queue: str
    timeout_s: int
    retry: Retry
    on_dead: Handler | None = None


TOPICS: Mapping[str, Topic] = MappingProxyType(
    {
        photos.TOPIC_SANITISE: Topic(handlers.sanitise, PHOTOS, 60, Retry(1, 15, 8), handlers.refuse_photo),
        photos.TOPIC_REDACT: Topic(handlers.redact, PHOTOS, 60, Retry(1, 30, 8)),
        # Given up, the files are left to the reconciler, which removes what no row names.
        photos.TOPIC_ERASED: Topic(forgetting.delete_files, PHOTOS, 60, Retry(1, 60, None)),
        photos.TOPIC_SETTLED: Topic(handlers.settle, PHOTOS, 20, Retry(1, 30, 50)),
        reports.TOPIC_RESNAP: Topic(handlers.resnap, PHOTOS, 20, Retry(1, 30, 50)),
        # A delivery gives itself up by its own age; only a fault of ours ever ends here.
        escalation.TOPIC_DELIVER: Topic(sending.deliver, LETTERS, 60, Retry(1, 30, None), handlers.abandon_delivery),
        escalation.TOPIC_CALL: Topic(sending.call, CALLS, 60, Retry(1, 30, None), handlers.abandon_delivery),
        TOPIC_REACH_CHANGED: Topic(again.forward_all, MAIL, 60, Retry(5, 60, 20)),
        polling.TOPIC_POLL: Topic(polling.poll, MAIL, 30, Retry(5, 60, 20)),
        alarms.TOPIC_ALARM: Topic(alarms.tell, MAIL, 20, Retry(1, 30, 50)),
        contacts.TOPIC_GIVEN: Topic(notices.tell_given, MAIL, 20, Retry(1, 30, 50)),
        reports.TOPIC_JUDGED: Topic(notices.tell_judged, MAIL, 20, Retry(1, 30, 50)),
        reports.TOPIC_RETURNED: Topic(notices.tell_returned, MAIL, 20, Retry(1, 30, 50)),
        reports.TOPIC_ASKED: Topic(notices.tell_asked, MAIL, 20, Retry(1, 30, 50)),
        escalation.TOPIC_CASE_MOVED: Topic(notices.tell_case_moved, MAIL, 20, Retry(1, 30, 50)),
        forecasts.TOPIC_FORECAST: Topic(handlers.forecast, MAIL, 60, Retry(1, 30, 50)),
        forecasts.TOPIC_APPROACHING: Topic(approaching.tell_approaching, MAIL, 60, Retry(1, 30, 50)),
        advisories.TOPIC_CHANGED: Topic(watches.tell_changed, MAIL, 60, Retry(1, 30, 50)),
        inbox.TOPIC_SORT: Topic(inbox.sort, MAIL, 60, Retry(1, 60, 5), inbox.give_up),
        casework.TOPIC_REMOTE_STATUS: Topic(handlers.take_remote_status, MAIL, 20, Retry(1, 30, 50)),
        casework.TOPIC_ANSWER_PUBLIC: Topic(notices.tell_answer, MAIL, 20, Retry(1, 30, 50)),
        inbox.TOPIC_RECEIVED: Topic(handlers.take_mail, MAIL, 20, Retry(1, 30, 50)),
        # A posting gives itself up by its own age, as a delivery does.
        postbox.TOPIC_SEND: Topic(postbox.send, MAIL, 60, Retry(1, 30, None), postbox.abandon),
        postbox.TOPIC_UNDELIVERABLE: Topic(handlers.give_up_address, MAIL, 20, Retry(1, 30, 50)),
        # Whatever is published next holds what this request asked for.
        mapping.TOPIC_PUBLISH: Topic(mapping.publish, MAP, 120, Retry(1, 30, None, DAY_S)),
        # A country of a million reaches takes its time; killed, the next attempt goes on where this one was.
        mapping.TOPIC_ARCHIVE: Topic(mapping.build_archive, MAP, 3600, Retry(5, 60, None, DAY_S)),
        # Ten thousand incidents take some minutes. A bulletin that cannot be made is ordered again by the sweep.
        TOPIC_MAKE: Topic(bulletins.make, PAPER, 1800, Retry(5, 600, 5, DAY_S)),
        TOPIC_SEND: Topic(bulletins.send, MAIL, 60, Retry(1, 30, None)),
    }
)


def topics_of(queue: str) -> tuple[str, ...]:
    """The topics whose jobs run in a queue."""
    return tuple(name for name, topic in TOPICS.items() if topic.queue == queue)
