"""Pure: which steps a report has taken, which one it is at, and whether its page should look again by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from waterwatch.reports.tables import ALL_CLEAR

DONE, CURRENT, WAITING, STOPPED = "done", "current", "waiting", "stopped"

# The step a report stands at while in a state; all before it are done.
_AT_STEP = {"received": 1, "sanitising": 1, "in_review": 2, "accepted": 3, "merged": 3}
_SETTLED = frozenset({"refused", "withdrawn"})
_HANDED_OVER = frozenset({"delivered", "acknowledged", "answered", "closed"})
_ACKNOWLEDGED = frozenset({"acknowledged", "answered", "closed"})
# What a case's state means to those whose reports it rests on.
CASE_STEPS = {"delivered": "handed_over", "acknowledged": "acknowledged"}
# What an answer means to them, by its kind; every other kind is simply an answer.
ANSWER_STEPS = {"done": "claimed_done"}
REFRESH_S = 5
REFRESHING = frozenset({"received", "sanitising"})


@dataclass(frozen=True)
class Handover:
    """One department's case, as the author of a report may know it. ``agency`` is its name, None for "nobody"."""

    agency: str | None
    state: str
    created_at: datetime
    delivered_at: datetime | None
    acknowledged_at: datetime | None
    answered_at: datetime | None = None
    closed_at: datetime | None = None
    is_supervising: bool = False
    is_late: bool = False
    state_since: datetime | None = None

    @property
    def ended_at(self) -> datetime:
        """When it came into the state it is in."""
        return self.state_since or self.created_at


@dataclass(frozen=True)
class Step:
    """One line of the timeline. ``code`` names the words; ``at`` is None where the time is not known or not yet."""

    code: str
    standing: str
    at: datetime | None = None
    agency: str | None = None


@dataclass(frozen=True)
class Progress:
    """What the steps are derived from: the report's own state and the cases of the incident it evidences."""

    state: str
    received_at: datetime
    state_since: datetime
    opened_at: datetime | None
    handovers: tuple[Handover, ...] = ()
    is_patrol: bool = False


def steps(progress: Progress) -> list[Step]:
    """The timeline, oldest first; it always tells what comes next, or where and why it ended."""
    received = Step("received", DONE, progress.received_at)
    if progress.state in _SETTLED:
        return [received, Step(progress.state, STOPPED, progress.state_since)]
    at = _AT_STEP[progress.state]
    photos = Step("photos_ready", _standing(1, at), progress.state_since if progress.state == "in_review" else None)
    review = Step("in_review", _standing(2, at))
    if progress.is_patrol and progress.opened_at is None:
        confirmed = (
            Step("patrol_confirmed", DONE, progress.state_since) if at >= 3 else Step("patrol_confirmed", WAITING)
        )
        return [received, photos, review, confirmed]
    graded = Step("graded", DONE, progress.opened_at or progress.state_since) if at >= 3 else Step("graded", WAITING)
    return [received, photos, review, graded, *_handover_steps(progress.handovers, is_graded=at >= 3)]


def refresh_after_s(progress: Progress) -> int | None:
    """After how many seconds the page should look again: soon while machines work, never while people do."""
    if progress.state in REFRESHING:
        return REFRESH_S
    if progress.state in ("accepted", "merged") and any(case.state == "queued" for case in progress.handovers):
        return REFRESH_S
    return None


def judged_step(state: str, kind: str) -> str | None:
    """What its author is told when a report was judged; None while it is not, or was taken back."""
    if state == "refused":
        return "refused"
    if state in ("accepted", "merged"):
        return "patrol_confirmed" if kind == ALL_CLEAR and state == "accepted" else "graded"
    return None


def time_of(moment: datetime) -> str:
    """Tells a step from the same one at another time, in the key that lets it be told once."""
    return f".{moment:%Y%m%dT%H%M%S.%f}"


def can_be_told(state: str) -> bool:
    """Whether there is anything left to tell the author of."""
    return state not in _SETTLED


def _standing(step: int, at: int) -> str:
    if step < at:
        return DONE
    return CURRENT if step == at else WAITING


def _handover_steps(handovers: Sequence[Handover], *, is_graded: bool) -> list[Step]:
    if not is_graded:
        return [Step("handed_over", WAITING), Step("acknowledged", WAITING)]
    handovers = [case for case in handovers if case.state != "withdrawn"]
    if not handovers:
        return [Step("handed_over", CURRENT), Step("acknowledged", WAITING)]
    return [step for case in sorted(handovers, key=lambda case: case.created_at) for step in _case_steps(case)]


def _case_steps(case: Handover) -> list[Step]:
    if case.is_supervising:
        return [Step("superior_told", DONE, case.created_at, case.agency)]
    if case.agency is None or case.state in ("no_contact", "dead", "refused_not_ours"):
        return [Step("no_contact" if case.agency is None else case.state, STOPPED, case.ended_at, case.agency)]
    is_delivered = case.state in _HANDED_OVER
    is_acknowledged = case.state in _ACKNOWLEDGED
    handed = Step("handed_over", DONE if is_delivered else CURRENT, case.delivered_at, case.agency)
    if not is_acknowledged:
        code = "acknowledged_late" if case.is_late else "acknowledged"
        return [handed, Step(code, CURRENT if is_delivered else WAITING, None, case.agency)]
    steps = [handed, Step("acknowledged", DONE, case.acknowledged_at, case.agency)]
    if case.answered_at is not None:
        steps.append(Step("answered", DONE, case.answered_at, case.agency))
    if case.closed_at is not None:
        steps.append(Step("claimed_done", DONE, case.closed_at, case.agency))
    elif case.is_late:
        steps.append(Step("late", CURRENT, None, case.agency))
    return steps
