"""Pure decisions about a report: its life, why it may be refused, which place counts, when its photos are settled."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from waterwatch.kernel.settings import Settings
from waterwatch.kernel.states import Machine

REPORT = Machine(
    "report",
    "received",
    frozenset(
        {
            ("received", "sanitising"),
            ("sanitising", "in_review"),
            ("sanitising", "refused"),
            ("in_review", "accepted"),
            ("in_review", "merged"),
            ("in_review", "refused"),
            ("received", "withdrawn"),
            ("sanitising", "withdrawn"),
            ("in_review", "withdrawn"),
            # A decision was undone, reversed, or appealed against.
            ("accepted", "in_review"),
            ("merged", "in_review"),
            ("refused", "in_review"),
        }
    ),
)
JUDGED = frozenset({"accepted", "merged", "refused"})
QUESTION = Machine("question", "open", frozenset({("open", "answered"), ("open", "withdrawn"), ("open", "lapsed")}))
AWAITING_PHOTOS = frozenset({"received", "sanitising"})
WITHDRAWABLE = frozenset(source for source, target in REPORT.moves if target == "withdrawn")
CORRECTABLE = WITHDRAWABLE  # as long as nobody has judged what its author said

PHOTO_UNUSABLE = "photo_unusable"
REFUSAL_CODES = (
    "not_water",
    "unclear",
    "private_matter",
    "indoors",
    "advertisement",
    "abuse",
    "duplicate",
    PHOTO_UNUSABLE,
)

# A device fix worse than this never counts as the place by itself; the pin does (domain rules, location evidence).
DEVICE_TRUST_M = 100.0
# A place and a device fix further apart than this are pointed out to the moderator; it refuses nothing by itself.
DISAGREEMENT_M = 500.0
# A photo older than this at arrival is pointed out likewise (domain rules, location evidence).
PHOTO_OLD = timedelta(days=7)
CLOCKS_DIFFER = timedelta(days=1)  # a zone that is not known, and a camera's clock that is a little off

DATUMS = ("wgs84", "gcj02", "bd09")
PHOTO_FINAL_STATES = frozenset({"ready", "refused"})


def timed(settings: Settings) -> Machine:
    """The machine with this installation's deadlines: photos settled, then reviewed, within the set times."""
    sanitise = timedelta(seconds=settings.sanitise_deadline_s)
    review = timedelta(seconds=settings.in_review_deadline_s)
    return replace(REPORT, deadlines={"received": sanitise, "sanitising": sanitise, "in_review": review})


def asked(settings: Settings) -> Machine:
    """The machine of questions to authors, with how long an answer is waited for."""
    return replace(QUESTION, deadlines={"open": timedelta(seconds=settings.question_wait_s)})


@dataclass(frozen=True)
class Fix:
    """A position as stated: degrees in the datum it came in; ``accuracy_m`` is the radius a device claims."""

    lon: float
    lat: float
    accuracy_m: float | None = None


@dataclass(frozen=True)
class Place:
    """The place that counts, and where it came from: ``pin``, ``device`` or ``typed``."""

    fix: Fix
    source: str


def choose_place(stated: Fix | None, device: Fix | None, *, is_confirmed: bool, is_typed: bool = False) -> Place | None:
    """Which place wins: a confirmed pin, else a confirmed device fix of at most 100 m; None when neither stands.

    A place typed as numbers counts like a pin once confirmed. Nothing counts without the person's confirmation:
    a wrong river is worse than one more question.
    """
    if not is_confirmed:
        return None
    if stated is not None:
        return Place(stated, "typed" if is_typed else "pin")
    if device is not None and device.accuracy_m is not None and device.accuracy_m <= DEVICE_TRUST_M:
        return Place(device, "device")
    return None


def is_place_doubtful(device_distance_m: float | None) -> bool:
    """Whether the confirmed place and the device disagree so far that the moderator should look twice."""
    return device_distance_m is not None and device_distance_m > DISAGREEMENT_M


def photo_age(taken_at_local: str | None, received_at: datetime) -> timedelta | None:
    """How old a photo says it was when its report arrived; None where it says nothing that can be read.

    A camera's time mostly comes without its zone. It is then taken for UTC, which is wrong by at most 14 hours: enough
    to tell a photo of last week, and no more is asked of it.
    """
    if taken_at_local is None:
        return None
    try:
        taken_at = datetime.fromisoformat(taken_at_local)
    except ValueError:
        return None
    return received_at - (taken_at if taken_at.tzinfo else taken_at.replace(tzinfo=UTC))


def is_photo_time_doubtful(age: timedelta | None) -> bool:
    """Whether the moderator should look twice: a photo over 7 days old, or one that comes out of the future."""
    return age is not None and not -CLOCKS_DIFFER <= age <= PHOTO_OLD


def settled_state(photo_states: Sequence[str]) -> str | None:
    """Where a report goes once its photos are known: ``in_review``, ``refused``, or None while one is unsettled.

    One usable photo is enough; the refused ones are shown as refused to the moderator and to their author.
    """
    if not photo_states or any(state not in PHOTO_FINAL_STATES for state in photo_states):
        return None
    return "in_review" if "ready" in photo_states else "refused"
