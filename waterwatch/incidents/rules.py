"""Severity and the life of an incident: pure decisions.

The four levels and their colours are those of China's emergency-warning law (Emergency Response Law, art. 42: I, red,
is the highest). The rubric is our own triage aid; the moderator decides and says why on departing from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from enum import IntEnum
from typing import Any

from waterwatch.kernel.states import Machine

RUBRIC_VERSION = "2026-1"
RED_SECOND_WITHIN = timedelta(minutes=30)
_BEIJING = timezone(timedelta(hours=8))


class Severity(IntEnum):
    """Rank of a severity: higher is worse, so the level of a water is a plain maximum."""

    GENERAL = 1
    LARGER = 2
    MAJOR = 3
    ESPECIALLY_MAJOR = 4

    @property
    def roman(self) -> str:
        """The legal name: IV, III, II, I."""
        return {1: "IV", 2: "III", 3: "II", 4: "I"}[int(self)]

    @property
    def colour(self) -> str:
        """The legal colour."""
        return {1: "blue", 2: "yellow", 3: "orange", 4: "red"}[int(self)]


HAZARD_POINTS = {
    "floating_garbage": 1,
    "foam": 1,
    "other": 1,
    "black_odorous": 2,
    "farm_runoff": 2,
    "algal_bloom": 2,
    "sand_mining": 2,
    "encroachment": 3,
    "sewage_outfall": 3,
    "waste_dumping": 3,
    "oil_slick": 4,
    "industrial_discharge": 4,
    "fish_kill": 4,
}
EXTENT_POINTS = {None: 0, "spot": 0, "under_100_m": 1, "under_1_km": 2, "over_1_km": 3}
RECEPTOR_POINTS = {None: 0, "bathing_fishing": 1, "nature_reserve": 2, "drinking_water": 4}
# What is ticked: the input, the reason it is shown as, its points.
FLAG_POINTS = (
    ("is_ongoing", "ongoing", 1),
    ("is_persisting", "persisting", 1),
    ("has_dead_animals", "dead_animals", 2),
    ("has_ill_people", "ill_people", 4),
    ("has_independent_reports", "independent_reports", 1),
)

# From how many points on; the highest that is reached counts.
LEVEL_FROM = ((10, Severity.ESPECIALLY_MAJOR), (7, Severity.MAJOR), (4, Severity.LARGER), (0, Severity.GENERAL))
# What is at least so severe, whatever its points: the input, the kind it counts for (None: any), the level.
FLOORS = (
    ("is_heavy_by_instrument", None, Severity.LARGER),
    ("is_being_filled", "encroachment", Severity.MAJOR),
)

# domain: an incident nobody confirms steps down one colour after this long.
STEP_DOWN_AFTER = {
    Severity.ESPECIALLY_MAJOR: timedelta(days=3),
    Severity.MAJOR: timedelta(days=7),
    Severity.LARGER: timedelta(days=14),
    Severity.GENERAL: timedelta(days=30),
}

OPEN_STATES = ("open", "answered", "resolved_claimed", "reopened")

INCIDENT = Machine(
    name="incident",
    initial="open",
    moves=frozenset(
        {
            ("open", "answered"),
            ("open", "resolved_claimed"),
            ("open", "verified_clean"),
            ("open", "expired"),
            ("answered", "resolved_claimed"),
            ("answered", "verified_clean"),
            ("answered", "expired"),
            ("resolved_claimed", "verified_clean"),
            ("resolved_claimed", "reopened"),
            ("resolved_claimed", "answered"),  # what said so is withheld, or another agency turned out to be competent
            ("resolved_claimed", "expired"),
            ("reopened", "answered"),
            ("reopened", "resolved_claimed"),
            ("reopened", "verified_clean"),
            ("reopened", "expired"),
            ("verified_clean", "reopened"),  # the patrol that showed it clean was itself reversed
            ("verified_clean", "retracted"),
            ("expired", "retracted"),
            *((state, end) for state in OPEN_STATES for end in ("merged", "retracted")),
            *(("merged", state) for state in OPEN_STATES),  # they were two after all
        }
    ),
)


@dataclass(frozen=True)
class RubricInputs:
    """What the rubric weighs. Unknown answers count nothing: absence of evidence never raises a level."""

    kind: str
    extent: str | None = None
    is_ongoing: bool = False
    is_persisting: bool = False
    receptor: str | None = None
    has_dead_animals: bool = False
    has_ill_people: bool = False
    has_independent_reports: bool = False
    is_being_filled: bool = False
    is_heavy_by_instrument: bool = False


@dataclass(frozen=True)
class Score:
    """The rubric's answer: points, (reason code, points) pairs that add up to them, and the proposed level."""

    points: int
    reasons: tuple[tuple[str, int], ...]
    proposed: Severity


def score(inputs: RubricInputs) -> Score:
    """Points and proposed level for ``inputs`` (rubric ``RUBRIC_VERSION``).

    0-3 points IV, 4-6 III, 7-9 II, 10 and more I. A lake or bank that is being filled now is at least II; heavy
    pollution by any instrument reading is at least III. Raises ``KeyError`` for a kind, extent or receptor it does
    not know: forms let none through.
    """
    weighed = (
        (f"hazard.{inputs.kind}", HAZARD_POINTS[inputs.kind]),
        (f"extent.{inputs.extent}", EXTENT_POINTS[inputs.extent]),
        (f"receptor.{inputs.receptor}", RECEPTOR_POINTS[inputs.receptor]),
        *((reason, points if getattr(inputs, name) else 0) for name, reason, points in FLAG_POINTS),
    )
    reasons = tuple((reason, points) for reason, points in weighed if points)
    total = sum(points for _, points in reasons)
    reached = next(level for least, level in LEVEL_FROM if total >= least)
    floors = (level for name, kind, level in FLOORS if getattr(inputs, name) and kind in (None, inputs.kind))
    return Score(total, reasons, max(reached, *floors, Severity.GENERAL))


def rubric() -> dict[str, Any]:
    """The whole rubric as plain values, for whoever computes it elsewhere while a form is filled in.

    What counts is :func:`score`; both are fed from the same tables, and a test compares what they give.
    """
    return {
        "version": RUBRIC_VERSION,
        "hazard": HAZARD_POINTS,
        "extent": {name or "": points for name, points in EXTENT_POINTS.items()},
        "receptor": {name or "": points for name, points in RECEPTOR_POINTS.items()},
        "flags": [list(flag) for flag in FLAG_POINTS],
        "levels": [[least, int(level)] for least, level in LEVEL_FROM],
        "floors": [[name, kind, int(level)] for name, kind, level in FLOORS],
    }


def acting_severity(graded: Severity, *, is_seconded: bool) -> Severity:
    """Red takes a second moderator; until then it stands as orange and is already forwarded."""
    if graded is Severity.ESPECIALLY_MAJOR and not is_seconded:
        return Severity.MAJOR
    return graded


@dataclass(frozen=True)
class Held:
    """A grade that counts: the level it holds its incident at, and whether a second moderator confirmed it as red."""

    level: Severity
    is_seconded: bool = False


def held_severity(grades: Iterable[Held]) -> tuple[Severity, Severity] | None:
    """(graded, acting) of an incident: the highest of the grades that count; None where none does.

    A seconded grade that has stepped down since is no red any more and makes none of another.
    """
    counting = list(grades)
    if not counting:
        return None
    graded = max(grade.level for grade in counting)
    is_seconded = any(grade.is_seconded and grade.level is Severity.ESPECIALLY_MAJOR for grade in counting)
    return graded, acting_severity(graded, is_seconded=is_seconded)


def step_down_at(severity: Severity, *, confirmed_at: datetime) -> datetime:
    """When an incident that nobody confirms loses a colour (blue: ends)."""
    return confirmed_at + STEP_DOWN_AFTER[severity]


# What the public is told of an incident's life, by the audit's word for it.
TOLD = {
    "incident.opened": "opened",
    "incident.split_off": "opened",
    "incident.joined": "confirmed",
    "incident.seconded": "seconded",
    "incident.regraded": "regraded",
    "incident.regrade_undone": "regraded",
    "incident.stepped_down": "stepped_down",
    "incident.split": "split",
    "incident.absorbed": "absorbed",
    "incident.detached": "detached",
    "incident.verified_clean": "verified_clean",
    "incident.unverified": "reopened",
    "incident.reopened": "reopened",
    "incident.resolved_claimed": "resolved_claimed",
    "incident.expired": "expired",
}


@dataclass(frozen=True)
class Event:
    """One step of an incident's public life. Severities are ranks; ``times``: how many reports confirmed it."""

    at: datetime
    code: str
    severity_before: int | None
    severity_after: int
    times: int = 1

    @property
    def changes_level(self) -> bool:
        """Whether the colour is another since."""
        return self.severity_before != self.severity_after


Act = tuple[datetime, str, Mapping[str, Any] | None, Mapping[str, Any] | None]


def told(acts: Iterable[Act]) -> list[Event]:
    """The public life of one incident from what the audit says of it (at, action, before, after), oldest first.

    Only the level is taken from an entry. Reports that confirm it on one day without changing it are one event; one
    that was taken away is told where the level changed by it, else it is as if it had never confirmed anything.
    """
    events: list[Event] = []
    confirming: list[list[Any]] = []  # by event, the reports it counts: they are not told themselves
    severity: int | None = None
    for at, action, before, after in acts:
        was = severity if before is None else before.get("severity", severity)
        is_now = (after or {}).get("severity", was)
        severity = is_now
        if is_now is None or action not in TOLD:
            continue
        event = Event(at, TOLD[action], was, is_now)
        report_id = (after or {}).get("report_id")
        if event.code == "detached" and not event.changes_level:
            _untell(events, confirming, report_id)
            continue
        last = events[-1] if events else None
        if last and event.code == "confirmed" == last.code and not event.changes_level and _same_day(last.at, at):
            events[-1] = replace(last, times=last.times + 1)
            confirming[-1].append(report_id)
        else:
            events.append(event)
            confirming.append([report_id])
    return events


def _untell(events: list[Event], confirming: list[list[Any]], report_id: object) -> None:
    """Take a report out of the confirmations it is counted in, and those out that were its alone."""
    for index in reversed(range(len(events))):
        event = events[index]
        if event.code != "confirmed" or event.changes_level or report_id not in confirming[index]:
            continue
        confirming[index].remove(report_id)
        if confirming[index]:
            events[index] = replace(event, times=event.times - 1)
        else:
            del events[index], confirming[index]
        return


def _same_day(one: datetime, other: datetime) -> bool:
    return one.astimezone(_BEIJING).date() == other.astimezone(_BEIJING).date()
