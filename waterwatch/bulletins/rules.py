"""Decisions of bulletins: the lives of them and their letters, what their numbers are, what goes where. Pure."""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from waterwatch.accountability.rules import Period
from waterwatch.kernel.settings import Settings
from waterwatch.kernel.states import Machine
from waterwatch.messaging.attempts import DEFERRAL_PAUSES_S, pause_s
from waterwatch.workdays.rules import CHINA_TIME

BULLETIN = Machine(
    "bulletin",
    "making",
    frozenset(
        {
            ("making", "draft"),
            ("draft", "making"),  # the foreword was corrected, or the data
            ("draft", "withheld"),
            ("withheld", "making"),
            ("draft", "approved"),
            ("approved", "archived"),
            # Something it shows may not be shown any more.
            *((state, "recalled") for state in ("draft", "withheld", "approved", "archived")),
        }
    ),
    # Ours: ten thousand incidents take some minutes; a lead looks at drafts once a week.
    deadlines={"making": timedelta(hours=1), "draft": timedelta(days=7)},
)
LETTER = Machine(
    "bulletin_letter",
    "pending",
    frozenset(
        {
            ("pending", "sending"),
            ("sending", "sending"),  # the sender was killed; somebody else takes over when its claim runs out
            ("sending", "pending"),
            ("sending", "sent"),
            ("sending", "refused"),
            ("sending", "dead"),
            ("pending", "sent"),  # the acceptance came after the claim had run out
            ("pending", "cancelled"),
            ("sending", "cancelled"),  # the bulletin was recalled meanwhile, and the letter has not arrived
        }
    ),
)
PUBLIC_STATES = ("approved", "archived")
ENDED_LETTERS = ("sent", "refused", "dead", "cancelled")
PHOTOS_AT_MOST = 24
OVERDUE_AT_MOST = 500  # in the table of its own; all are marked where they are listed
WATERS_AT_MOST = 500
ANSWER_LETTERS = 160  # of an answer's words; the whole is on the incident's page
TRANSPORT_PAUSES_S = (2.0, 5.0, 15.0, 60.0, 300.0)
PREPARATION_S = 20.0  # fetching the files


def letter_life(settings: Settings) -> Machine:
    """The machine of letters with this installation's deadlines; ``sending`` lasts as long as a claim."""
    return replace(
        LETTER,
        deadlines={
            "pending": timedelta(seconds=settings.delivery_deadline_s),
            "sending": timedelta(seconds=PREPARATION_S + settings.smtp_timeout_s + 2.0),
        },
    )


def letter_pause_s(attempts: int, deferrals: int, *, is_deferred: bool) -> float:
    """Seconds until the next try, after ``attempts`` of which the receiving side put off ``deferrals``."""
    if is_deferred:
        return pause_s(DEFERRAL_PAUSES_S, deferrals)
    return pause_s(TRANSPORT_PAUSES_S, max(1, attempts - deferrals))


@dataclass(frozen=True)
class Entry:
    """One incident in a bulletin, by what is public of it, and what the department did about it until then.

    Dates are China's. ``place``: water and county, in words. ``overdue``: which of its times is over, if any.
    """

    incident_id: str
    code: str
    kind: str
    severity: int
    opened_at: datetime
    closed_at: datetime | None
    state: str
    water: str
    water_name: str
    county: str | None
    lon: float
    lat: float
    case_state: str
    reached_at: datetime | None
    acknowledged_at: datetime | None
    answered_at: datetime | None
    done_at: datetime | None
    acknowledge_by: datetime | None
    answer_by: datetime | None
    finish_by: datetime | None
    answer: str | None
    planned_on: date | None
    answer_id: uuid.UUID | None
    photos: int

    def is_open(self, as_of: datetime) -> bool:
        """Whether the incident goes on at that time."""
        return self.closed_at is None or self.closed_at > as_of

    def is_clean(self, as_of: datetime) -> bool:
        """Whether citizens found it clean by then."""
        return self.state == "verified_clean" and not self.is_open(as_of)

    def stage(self, as_of: datetime) -> str:
        """How far the department has come: ``waiting``, ``delivered``, ``acknowledged``, ``answered``, ``done``."""
        for name, at in (
            ("done", self.done_at),
            ("answered", self.answered_at),
            ("acknowledged", self.acknowledged_at),
            ("delivered", self.reached_at),
        ):
            if at is not None and at <= as_of:
                return name
        return "waiting"

    def overdue(self, as_of: datetime) -> str | None:
        """Which time is over: ``acknowledge``, ``answer``, ``finish``; None where none is, or the incident is over."""
        if not self.is_open(as_of) or self.case_state in ("withdrawn", "refused_not_ours"):
            return None
        stage = self.stage(as_of)
        for name, done_from, due_at in (
            ("acknowledge", ("acknowledged", "answered", "done"), self.acknowledge_by),
            ("answer", ("answered", "done"), self.answer_by),
            ("finish", ("done",), self.finish_by),
        ):
            if stage not in done_from and due_at is not None and due_at <= as_of:
                return name
        return None


@dataclass(frozen=True)
class Totals:
    """The numbers of a period, for the department, as of an instant."""

    going_on: int = 0
    opened: int = 0
    carried_over: int = 0
    ended: int = 0
    clean: int = 0
    answered: int = 0
    overdue: int = 0
    waters: int = 0
    by_severity: dict[int, int] = field(default_factory=dict)
    by_kind: dict[str, int] = field(default_factory=dict)
    by_month: dict[str, dict[int, int]] = field(default_factory=dict)

    @property
    def numbers(self) -> dict[str, int]:
        """The plain counts, by name."""
        names = ("going_on", "opened", "carried_over", "ended", "clean", "answered", "overdue", "waters")
        return {name: getattr(self, name) for name in names}


def total(entries: Sequence[Entry], period: Period, as_of: datetime) -> Totals:
    """Count what a bulletin lists. ``going_on`` within the period = ``opened`` in it + ``carried_over`` into it."""
    opened = [one for one in entries if one.opened_at >= period.since]
    by_month: dict[str, dict[int, int]] = {f"{start:%Y-%m}": {} for start in period.month_starts}
    for one in opened:
        month = by_month[f"{one.opened_at.astimezone(CHINA_TIME):%Y-%m}"]
        month[one.severity] = month.get(one.severity, 0) + 1
    return Totals(
        going_on=len(entries),
        opened=len(opened),
        carried_over=len(entries) - len(opened),
        ended=sum(not one.is_open(min(as_of, period.until)) for one in entries),
        clean=sum(one.is_clean(min(as_of, period.until)) for one in entries),
        answered=sum(one.stage(as_of) in ("answered", "done") for one in entries),
        overdue=sum(one.overdue(as_of) is not None for one in entries),
        waters=len({one.water for one in entries}),
        by_severity=dict(Counter(one.severity for one in entries)),
        by_kind=dict(Counter(one.kind for one in entries)),
        by_month=by_month,
    )


@dataclass(frozen=True)
class WaterLine:
    """A water in the list: its level then (of its open incidents), the worst of the period, how many, how many open."""

    water: str
    name: str
    level: int | None
    worst: int
    incidents: int
    open_incidents: int
    overdue: int


def waters_of(entries: Iterable[Entry], as_of: datetime) -> list[WaterLine]:
    """By water: those with the worst open level first, then by how many incidents they had, then by name."""
    by_water: dict[str, list[Entry]] = {}
    for one in entries:
        by_water.setdefault(one.water, []).append(one)
    lines = []
    for water, own in by_water.items():
        open_levels = [one.severity for one in own if one.is_open(as_of)]
        lines.append(
            WaterLine(
                water,
                own[0].water_name,
                max(open_levels, default=None),
                max(one.severity for one in own),
                len(own),
                len(open_levels),
                sum(one.overdue(as_of) is not None for one in own),
            )
        )
    return sorted(lines, key=lambda line: (-(line.level or 0), -line.incidents, line.name, line.water))


def volumes_of(entries: Sequence[Entry], size: int) -> Iterator[Sequence[Entry]]:
    """What each volume lists; a bulletin without any incident is one volume."""
    yield entries[:size]
    for start in range(size, len(entries), size):
        yield entries[start : start + size]


def shortened(words: str, letters: int = ANSWER_LETTERS) -> str:
    """The beginning of somebody's words on one line."""
    line = " ".join(words.split())
    return line if len(line) <= letters else line[: letters - 1] + "…"
