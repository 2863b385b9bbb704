"""Somebody's own pace: pure arithmetic over their own decisions, for nobody's eyes but theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from statistics import median

BREAK = timedelta(minutes=15)  # a pause this long is a rest: the next decision begins a new stretch
REST_AFTER = timedelta(minutes=90)


@dataclass(frozen=True)
class Act:
    """One decision: when, what became of the report (``accepted``, ``merged``, ``refused``), and how long it took."""

    at: datetime
    outcome: str
    took_s: float | None = None


@dataclass(frozen=True)
class Pace:
    """``median_s``: of what is known, None where nothing is; ``stretch``: how long without a break until now."""

    today: int
    week: int
    accepted: int
    refused: int
    median_s: float | None
    stretch: timedelta

    @property
    def needs_rest(self) -> bool:
        """Whether it is time to look away from the screen."""
        return self.stretch >= REST_AFTER


def pace(acts: Sequence[Act], *, now: datetime, zone: tzinfo) -> Pace:
    """One's own pace from the acts of the last week, in their order. Days and weeks (from Monday) are the viewer's."""
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    monday = midnight - timedelta(days=midnight.weekday())
    this_week = [act for act in acts if act.at >= monday]
    times = durations(this_week)
    return Pace(
        today=sum(act.at >= midnight for act in acts),
        week=len(this_week),
        accepted=sum(act.outcome in ("accepted", "merged") for act in this_week),
        refused=sum(act.outcome == "refused" for act in this_week),
        median_s=median(times) if times else None,
        stretch=stretch([act.at for act in acts], now=now),
    )


def durations(acts: Sequence[Act]) -> list[float]:
    """How long each act took, in seconds: as measured, else since the act before unless a rest lies between."""
    found = [act.took_s for act in acts if act.took_s is not None]
    if found:
        return found
    gaps = (after.at - before.at for before, after in pairwise(acts))
    return [gap.total_seconds() for gap in gaps if gap < BREAK]


def stretch(moments: Sequence[datetime], *, now: datetime) -> timedelta:
    """How long somebody has worked without a break of :data:`BREAK` until now; nothing when they rest already."""
    begun = now
    for moment in reversed(moments):
        if begun - moment >= BREAK:
            break
        begun = moment
    return now - begun
